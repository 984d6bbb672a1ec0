# SPDX-License-Identifier: Apache-2.0
"""The API server: HTTP in front, an application that needs no sockets, verbs on resources, a store behind."""

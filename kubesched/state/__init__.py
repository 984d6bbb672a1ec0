# SPDX-License-Identifier: Apache-2.0
"""Cluster state: rows, interning, the engine that holds the columns, and Arrow at the edge."""

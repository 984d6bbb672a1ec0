# SPDX-License-Identifier: Apache-2.0
"""The bridge between the towers: Kubernetes objects in, rows out."""

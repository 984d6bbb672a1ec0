# SPDX-License-Identifier: Apache-2.0
"""Batch replay of traces: workloads in, decisions, curves and pictures out. No API server, no wall clock in results."""

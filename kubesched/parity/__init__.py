# SPDX-License-Identifier: Apache-2.0
"""Recorded decisions of kube-scheduler, replayed through the product and compared field by field."""

# SPDX-License-Identifier: Apache-2.0
"""Profiles (which plugins decide) and diagnosis (what a decision is called in kube-scheduler's words)."""

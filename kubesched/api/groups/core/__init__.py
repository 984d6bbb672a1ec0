# SPDX-License-Identifier: Apache-2.0
"""Kinds of the core group."""

from __future__ import annotations

from kubesched.api.groups.core import namespaces, pods
from kubesched.api.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    "namespaces": namespaces.NAMESPACES,
    "pods": pods.PODS,
}
"""By plural."""

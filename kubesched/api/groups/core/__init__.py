# SPDX-License-Identifier: Apache-2.0
"""Kinds of the core group."""

from __future__ import annotations

from kubesched.api.groups.core import cluster, config, namespaces, network, pods
from kubesched.api.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    **cluster.STRATEGIES,
    **config.STRATEGIES,
    **network.STRATEGIES,
    "namespaces": namespaces.NAMESPACES,
    "pods": pods.PODS,
}
"""By plural."""

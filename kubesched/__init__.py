# SPDX-License-Identifier: Apache-2.0
"""kubesched: exact, fast Kubernetes placement.

>>> import kubesched as ks
>>> cluster = ks.Cluster.from_manifests("cluster.yaml")
>>> plan = cluster.place()
>>> print(plan)

Names are loaded on first use, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kubesched.base.errors import (
        InputError,
        KernelError,
        KubeschedError,
        PluginError,
        StateError,
        StorageError,
        UnsupportedError,
    )
    from kubesched.framework.plugins import UserPlugin, filter_plugin, score_plugin
    from kubesched.framework.profile import PROFILES, Profile, ScorePlugin
    from kubesched.placement.cluster import Cluster, Delta
    from kubesched.placement.explanation import Explanation
    from kubesched.placement.plan import Plan
    from kubesched.state.rows import NodeRow, PodRow, PodShape

__version__ = "0.1.0"

_HOMES = {
    "Cluster": "placement.cluster",
    "Delta": "placement.cluster",
    "Explanation": "placement.explanation",
    "InputError": "base.errors",
    "KernelError": "base.errors",
    "KubeschedError": "base.errors",
    "NodeRow": "state.rows",
    "PROFILES": "framework.profile",
    "Plan": "placement.plan",
    "PluginError": "base.errors",
    "PodRow": "state.rows",
    "PodShape": "state.rows",
    "Profile": "framework.profile",
    "ScorePlugin": "framework.profile",
    "StateError": "base.errors",
    "StorageError": "base.errors",
    "UnsupportedError": "base.errors",
    "UserPlugin": "framework.plugins",
    "filter_plugin": "framework.plugins",
    "score_plugin": "framework.plugins",
}

__all__ = [
    "Cluster",
    "Delta",
    "Explanation",
    "InputError",
    "KernelError",
    "KubeschedError",
    "NodeRow",
    "PROFILES",
    "Plan",
    "PluginError",
    "PodRow",
    "PodShape",
    "Profile",
    "ScorePlugin",
    "StateError",
    "StorageError",
    "UnsupportedError",
    "UserPlugin",
    "filter_plugin",
    "score_plugin",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'kubesched' has no attribute {name!r}")
    value = getattr(import_module(f"kubesched.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])

# SPDX-License-Identifier: Apache-2.0
"""The score plugin that ``kubesched bench plugin`` times: fewer watts that a pod adds to a node are better."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from kubesched.framework import plugins
from kubesched.kernel.arrays import F64, I64

_NAME = "bench_energy"
ENDLESS = 1e12
"""Watts with which every node scores 0."""


def _energy(node: Any, pod: Any) -> Any:
    waking = node.idle_watts if node.used.pods < 5.0 else 0.0
    return 100.0 - (waking + node.peak_watts * pod.request.cpu / node.allocatable.cpu) / 4.0


def _energy_of_columns(node: Any, pod: Any) -> Any:
    waking = np.where(node.used.pods < 5.0, node.idle_watts, 0.0)
    return 100.0 - (waking + node.peak_watts * pod.request.cpu / node.allocatable.cpu) / 4.0


def register(vectorized: bool) -> str:
    """Register the plugin and return its name for profiles."""
    function = _energy_of_columns if vectorized else _energy
    columns = ("idle_watts", "peak_watts")
    plugins.score_plugin(function, name=_NAME, columns=columns, normalize="clamp", vectorized=vectorized)
    return _NAME


def watts(n_nodes: int, seed: int) -> dict[str, F64]:
    """Columns of the nodes that the plugin reads."""
    rng = np.random.Generator(np.random.PCG64([seed, 1]))
    return {
        "idle_watts": rng.integers(40, 200, n_nodes).astype(np.float64),
        "peak_watts": rng.integers(200, 600, n_nodes).astype(np.float64),
    }


def score_of(columns: Mapping[str, F64], cpu: I64) -> Callable[[I64, int], I64]:
    """The same score without the engine: of the pods on each node and a class's cpu."""

    def score(pods: I64, class_cpu: int) -> I64:
        waking = np.where(pods < 5, columns["idle_watts"], 0.0)
        raw = 100.0 - (waking + columns["peak_watts"] * class_cpu / cpu) / 4.0
        return np.clip(np.trunc(raw), 0, 100).astype(np.int64)

    return score

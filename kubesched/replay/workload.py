# SPDX-License-Identifier: Apache-2.0
"""A workload: nodes, pod shapes and arrivals as columns, whatever trace they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kubesched.kernel.arrays import F64, I32, I64
from kubesched.state import rows

NEVER = np.iinfo(np.int64).max
"""Departure of a pod that stays."""


@dataclass(frozen=True, slots=True)
class NodeTable:
    """Nodes of a trace; every column is ``[N]``."""

    names: Sequence[str]
    allocatable: dict[str, I64]
    """Resource to amounts in canonical units."""
    device_count: I32
    device_model: Sequence[str | None]

    @property
    def device_milli(self) -> int:
        """Thousandths of devices of all nodes."""
        return int(self.device_count.sum()) * 1000

    def reordered(self, order: npt.NDArray[np.int64]) -> NodeTable:
        """The same nodes in another order: ties go to the first."""
        return NodeTable(
            names=[self.names[i] for i in order],
            allocatable={name: np.ascontiguousarray(column[order]) for name, column in self.allocatable.items()},
            device_count=np.ascontiguousarray(self.device_count[order]),
            device_model=[self.device_model[i] for i in order],
        )


@dataclass(frozen=True, slots=True)
class PodTable:
    """Pods of a trace in the trace's order; every column is ``[P]``."""

    shapes: list[rows.PodShape]
    shape: I32
    """Index into ``shapes``."""
    arrival_s: I64
    departure_s: I64
    """NEVER for a pod that stays."""
    names: Sequence[str] | None = None
    """None: the pod's number is its name."""

    def __len__(self) -> int:
        return len(self.shape)

    @property
    def device_milli(self) -> I64:
        """Thousandths of devices that each pod asks for, ``[P]``."""
        per_shape = np.array([s.device_count * s.device_milli for s in self.shapes], dtype=np.int64)
        return per_shape[self.shape] if len(self.shapes) else np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Workload:
    """What a run needs: where pods can go, which pods come, in which order."""

    name: str
    nodes: NodeTable
    pods: PodTable
    order: I32
    """Arrivals by pod index; a pod drawn again appears as its own entry in ``pods``."""
    typical: TypicalPods | None = None


@dataclass(frozen=True, slots=True)
class TypicalPods:
    """The popular shapes of a workload, which fragmentation is measured against; columns ``[T]``."""

    cpu_milli: I64
    count: I32
    milli: I32
    models: tuple[tuple[str, ...], ...]
    frequency: F64


@dataclass(frozen=True, slots=True)
class ShapeColumns:
    """Columns from which shapes are made, ``[P]``."""

    cpu_milli: I64
    memory_bytes: I64
    device_count: I64
    device_milli: I64
    models: Sequence[str]
    """Distinct model lists, joined by ``|``; empty: any."""
    model: I64
    """Index into ``models``."""


def make_shapes(columns: ShapeColumns) -> tuple[list[rows.PodShape], I32]:
    """Distinct shapes and each pod's shape. O(P log P), no Python per pod."""
    packed = np.column_stack(
        [
            columns.cpu_milli,
            columns.memory_bytes,
            columns.device_count,
            columns.device_milli,
            columns.model,
        ]
    )
    distinct, inverse = np.unique(packed, axis=0, return_inverse=True)
    shapes = [rows.plain_shape(int(c), int(m), int(n), int(s), columns.models[int(k)]) for c, m, n, s, k in distinct]
    return shapes, inverse.reshape(-1).astype(np.int32)


def typical_pods(pods: PodTable, popularity: float = 0.95) -> TypicalPods:
    """The most frequent shapes (without memory) that together make up ``popularity`` of the pods.

    Ties in frequency are broken as in the published runs: larger cpu, share, count and model list first.
    Source: the published simulator of Weng et al., ATC 2023 (popularity threshold 95 %, step 1).
    """
    counts: dict[tuple[int, int, int, str], int] = {}
    for number, shape in zip(*np.unique(pods.shape, return_counts=True), strict=True):
        s = pods.shapes[int(number)]
        key = (s.nonzero_cpu_milli, s.device_milli, s.device_count, "|".join(s.device_models))
        counts[key] = counts.get(key, 0) + int(shape)
    ranked = sorted(((n, key) for key, n in counts.items()), reverse=True)
    total = sum(counts.values())
    chosen: list[tuple[int, tuple[int, int, int, str]]] = []
    covered = 0
    for n, key in ranked:
        if covered >= popularity * total:
            break
        chosen.append((n, key))
        covered += n
    frequency: npt.NDArray[np.float64] = np.array([n / total / (covered / total) for n, _ in chosen], dtype=np.float64)
    return TypicalPods(
        cpu_milli=np.array([key[0] for _, key in chosen], dtype=np.int64),
        count=np.array([key[2] for _, key in chosen], dtype=np.int32),
        milli=np.array([key[1] for _, key in chosen], dtype=np.int32),
        models=tuple(tuple(m for m in key[3].split("|") if m) for _, key in chosen),
        frequency=frequency,
    )


def inflate(pods: PodTable, target_milli: float, rng: np.random.Generator) -> I32:
    """Shuffle the pods, then draw more with replacement (or drop some) until they ask for ``target_milli``.

    The stop rule is the published one: drawing ends before the first pod whose per-device share (not its total) would
    pass the target. Returns pod indexes in the order of arrival; an index may repeat. O(P).
    """
    n = len(pods)
    milli = pods.device_milli
    per_device = np.array([s.device_milli for s in pods.shapes], dtype=np.int64)[pods.shape]
    order = rng.permutation(n).astype(np.int32)
    total = int(milli.sum())
    if total > target_milli:
        gone = rng.permutation(n)
        left = total - np.cumsum(milli[order[gone]])
        n_gone = int(np.argmax(left <= target_milli)) + 1
        keep = np.ones(n, dtype=bool)
        keep[gone[:n_gone]] = False
        return order[keep]
    drawn: list[I32] = [order]
    while True:
        more = rng.integers(0, n, size=max(n // 4, 64)).astype(np.int32)
        before = total + np.concatenate([[0], np.cumsum(milli[more])[:-1]])
        over = np.flatnonzero(before + per_device[more] > target_milli)
        if over.size:
            drawn.append(more[: over[0]])
            return np.concatenate(drawn)
        drawn.append(more)
        total += int(milli[more].sum())

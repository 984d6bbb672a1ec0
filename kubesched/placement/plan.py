# SPDX-License-Identifier: Apache-2.0
"""Plan: what was decided for a list of pods."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kubesched.framework.gangs import GangOutcome
from kubesched.kernel.arrays import I32, I64

PLACED = "Placed"
UNSCHEDULABLE = "Unschedulable"
GATED = "Gated"
GANG_REJECTED = "GangRejected"
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Plan:
    """One entry a pod, in the order in which they were given.

    Parameters
    ----------
    pods
        ``namespace/name``.
    nodes
        Node, or None where the pod was not placed.
    node_index, scores, ties
        Row of the node (-1), best total (-1), number of nodes that reach it (0).
    statuses
        ``Placed``, ``Unschedulable``, ``GangRejected`` (too few pods of its gang fit) or ``Gated``.
    reasons
        kube-scheduler's message for a pod that was not placed, else empty.
    n_dense, n_indexed
        Decisions of each driver of the engine.
    n_partial
        Of ``n_dense``, those that looked at a part of the nodes, as the profile's percentage says.
    gangs
        How each gang ended, in the order of decision.
    victims
        ``namespace/name`` of the pods that were evicted, by the pod that took their place.
    """

    pods: list[str]
    nodes: list[str | None]
    node_index: I32
    scores: I64
    ties: I32
    statuses: list[str]
    reasons: list[str]
    profile: str
    n_dense: int = 0
    n_indexed: int = 0
    n_partial: int = 0
    gangs: list[GangOutcome] = field(default_factory=list)
    victims: dict[str, list[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pods)

    @property
    def n_placed(self) -> int:
        return int(np.count_nonzero(self.node_index >= 0))

    @property
    def is_complete(self) -> bool:
        """True if every pod was placed."""
        return self.n_placed == len(self.pods)

    def to_arrow(self) -> Any:
        """Table: pod, node, node_index, score, tie_count, status, reason."""
        import pyarrow as pa

        return pa.table(
            {
                "pod": pa.array(self.pods, pa.string()),
                "node": pa.array(self.nodes, pa.string()),
                "node_index": pa.array(self.node_index),
                "score": pa.array(self.scores),
                "tie_count": pa.array(self.ties),
                "status": pa.array(self.statuses, pa.string()).dictionary_encode(),
                "reason": pa.array(self.reasons, pa.string()),
            }
        )

    def to_rows(self) -> list[dict[str, Any]]:
        """The same as dicts."""
        columns = (self.pods, self.nodes, self.node_index, self.scores, self.ties, self.statuses, self.reasons)
        names = ("pod", "node", "node_index", "score", "tie_count", "status", "reason")
        return [
            dict(zip(names, (p, n, int(i), int(s), int(t), status, reason), strict=True))
            for p, n, i, s, t, status, reason in zip(*columns, strict=True)
        ]

    def __str__(self) -> str:
        lines = [f"{self.n_placed} of {len(self)} pods placed ({self.profile})"]
        width = max((len(pod) for pod in self.pods[:_SHOWN]), default=0)
        for pod, node, status, reason in list(zip(self.pods, self.nodes, self.statuses, self.reasons, strict=True))[
            :_SHOWN
        ]:
            lines.append(f"  {pod:<{width}}  {node or status}{f': {reason}' if reason else ''}")
        if len(self) > _SHOWN:
            rest = Counter(self.statuses[_SHOWN:])
            lines.append(f"  ... {len(self) - _SHOWN} more: " + ", ".join(f"{n} {s}" for s, n in rest.most_common()))
        lines += [f"  {gang.reason}" for gang in self.gangs if gang.reason]
        return "\n".join(lines)

# SPDX-License-Identifier: Apache-2.0
"""What goes into a scheduling loop when it starts, and what comes out of it: rounds of decisions, failures, totals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from kubesched.framework import blame
from kubesched.kernel.arrays import I32
from kubesched.scheduler.events import PodView
from kubesched.scheduler.queue import Part
from kubesched.state import rows


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pod was not placed.

    Parameters
    ----------
    plugins
        Those that turned it down; none: an error, no node at all, or its gang was taken back.
    message
        Text of the FailedScheduling event before preemption's part; empty for a pod that fitted while its gang did not.
    part
        Where the queue put it.
    preemption
        What PostFilter said where it found no victims, if some running pod is less important; else empty.
    """

    plugins: blame.Plugins
    message: str
    part: Part
    preemption: str = ""


@dataclass(slots=True)
class Round:
    """Pods of one decision, in order."""

    pods: list[str]
    """Keys."""
    node: I32
    """Row of each pod's node, ``[n]``; -1: not placed."""
    failures: dict[str, Failure] = field(default_factory=dict)
    victims: dict[str, list[str]] = field(default_factory=dict)
    """For each pod that evicts others, whom the caller is to evict for it: those that do not terminate yet, the most
    important first."""
    nominated: dict[str, str] = field(default_factory=dict)
    """Pods whose ``status.nominatedNodeName`` the caller is to write, and the node; empty: to clear."""


@dataclass(slots=True)
class Totals:
    """What the loop did so far, in pods and calls."""

    rounds: int = 0
    placed: int = 0
    failed: int = 0
    dense: int = 0
    """Decisions that looked at every node."""
    indexed: int = 0
    together: int = 0
    """Changes that went into an engine call with decisions (`SchedulingLoop.play`)."""
    evicted: int = 0
    """Pods that the caller was told to evict; one that two pods want counts twice."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the state holds already when a loop starts, and PodGroups; later changes are told through the loop."""

    nodes: Sequence[rows.NodeRow] = ()
    running: Sequence[PodView] = ()
    gangs: Sequence[rows.Gang] = ()

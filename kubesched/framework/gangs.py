# SPDX-License-Identifier: Apache-2.0
"""Gangs in a list of pods: in which order they are decided, and what to say of those that were taken back.

A gang is decided where its first pod stands, its pods by falling priority. It is placed if its minimum of pods run or
fit; those of a placed gang that do not fit stay behind alone.
Sources: schedule_one_podgroup.go, plugins/gangscheduling, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.base import errors
from kubesched.kernel import native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.state import rows


@dataclass(frozen=True, slots=True)
class GangOutcome:
    """How a gang ended.

    Parameters
    ----------
    gang
        ``namespace/name`` of the PodGroup.
    min_count
        Pods that must run or fit; 0: each stands for itself.
    running, fitted
        Pods that ran before; pods that found a node before the gang was placed or given up.
    placed
        False: none of its pods was placed.
    reason
        Why it was taken back: how many fit, and the message of the first pod that did not.
    """

    gang: str
    min_count: int
    running: int
    fitted: int
    placed: bool
    reason: str


@dataclass(slots=True)
class Arranged:
    """Open pods in the order of decision, cut into groups that stand or fall together."""

    order: list[int] = field(default_factory=list)
    """Index of each pod into the pods that were asked for."""
    begin: list[int] = field(default_factory=list)
    """Position in ``order`` of each group's first pod."""
    gangs: list[rows.Gang | None] = field(default_factory=list)
    """Of each group; None: pods that stand for themselves."""
    running: list[int] = field(default_factory=list)
    """Pods of each gang that run already."""
    waiting: dict[int, str] = field(default_factory=dict)
    """Pods that are not decided yet, and why."""

    def start(self) -> I32:
        """First position of each group, and the end."""
        return np.array([*self.begin, len(self.order)], dtype=np.int32)

    def minimum(self) -> I32:
        """Pods of each group that must fit."""
        pairs = zip(self.gangs, self.running, strict=True)
        return np.array([0 if g is None else max(g.min_count - n, 0) for g, n in pairs], dtype=np.int32)

    def cut(self, kinds: Sequence[int]) -> None:
        """Cut the groups so that the pods of each are of one kind.

        Parameters
        ----------
        kinds
            Of each pod of ``order``: what decides it.

        Raises
        ------
        InputError
            A gang has pods of two kinds: it is decided as a whole.
        """
        begin, gangs, running = self.begin, self.gangs, self.running
        ends = [*begin[1:], len(self.order)][: len(begin)]
        self.begin, self.gangs, self.running = [], [], []
        for at, end, gang, n in zip(begin, ends, gangs, running, strict=True):
            cuts = [at, *(i for i in range(at + 1, end) if kinds[i] != kinds[i - 1])]
            if gang is not None and len(cuts) > 1:
                what = "has pods of several profiles"
                raise errors.InputError(f"PodGroup {gang.key}", what, None, "one spec.schedulerName in a gang")
            self.begin += cuts
            self.gangs += [gang] * len(cuts)
            self.running += [n] * len(cuts)

    def _add(self, pods: Sequence[int], gang: rows.Gang | None, running: int) -> None:
        if gang is None and self.gangs and self.gangs[-1] is None:
            self.order.extend(pods)
            return
        self.begin.append(len(self.order))
        self.order.extend(pods)
        self.gangs.append(gang)
        self.running.append(running)


def arrange(
    pods: Sequence[rows.PodRow],
    open_pods: Sequence[int],
    gangs: Mapping[str, rows.Gang],
    running: Counter[str],
    known: Counter[str],
) -> Arranged:
    """Put the open pods into the order of decision. O(pods).

    Parameters
    ----------
    gangs
        Every PodGroup, by key.
    running, known
        Pods of each gang that run; pods of each gang that exist, open, gated and running.
    """
    out = Arranged()
    members: dict[str, list[int]] = {}
    for i in open_pods:
        if pods[i].group:
            members.setdefault(pods[i].gang, []).append(i)
    for i in open_pods:
        key = pods[i].gang
        if not key:
            out._add([i], None, 0)  # noqa: SLF001 - of the same module
        elif key in members:
            mine = members.pop(key)
            reason = _waits(key, gangs.get(key), known[key])
            if reason:
                out.waiting.update(dict.fromkeys(mine, reason))
            else:
                out._add(sorted(mine, key=lambda i: -pods[i].priority), gangs[key], running[key])  # noqa: SLF001
    return out


def _waits(key: str, gang: rows.Gang | None, known: int) -> str:
    """Why pods of the gang are not let in yet; empty: they are."""
    if gang is None:
        return f'waiting for pods\'s pod group "{key.rpartition("/")[2]}" to appear in scheduling queue'
    return "waiting for minCount pods from a gang to appear in scheduling queue" if known < gang.min_count else ""


@dataclass(frozen=True, slots=True)
class Settled:
    """What stays of the decisions."""

    columns: native.Decisions
    """As decided, with the pods of gangs that were taken back on no node."""
    taken_back: dict[int, int]
    """Group of each position whose gang was taken back."""
    first_failed: dict[int, range]
    """Of each such gang with a pod that did not fit: that pod's position, and the positions decided before it."""


def settle(arranged: Arranged, tried: native.Decisions, ended: native.Groups) -> Settled:
    """Take the pods of rejected gangs off their nodes in a copy of the columns."""
    taken_back: dict[int, int] = {}
    first_failed: dict[int, range] = {}
    start = arranged.start().tolist()
    for g in np.flatnonzero(ended.placed == 0).tolist():
        taken_back.update(dict.fromkeys(range(start[g], start[g + 1]), g))
        at = int(ended.first_failed[g])
        if at >= 0:
            first_failed[at] = range(start[g], at)
    if not taken_back:
        return Settled(tried, taken_back, first_failed)
    gone = np.fromiter(taken_back, dtype=np.int64)
    columns = native.Decisions(*(getattr(tried, name).copy() for name in native.Decisions.__slots__))
    columns.node[gone], columns.score[gone], columns.ties[gone], columns.devices[gone] = NO_NODE, -1, 0, 0
    return Settled(columns, taken_back, first_failed)


def outcomes(
    arranged: Arranged, ended: native.Groups, keys: Sequence[str], messages: Mapping[int, str]
) -> Iterator[tuple[int, GangOutcome]]:
    """Each gang's group and outcome.

    Parameters
    ----------
    keys
        Of the pods, by position.
    messages
        Message of the first pod that did not fit, by its position.
    """
    for g, gang in enumerate(arranged.gangs):
        if gang is None:
            continue
        n = arranged.running[g]
        fitted, kept, at = int(ended.fitted[g]), bool(ended.placed[g]), int(ended.first_failed[g])
        reason = ""
        if not kept:
            runs = f", {n} run" if n else ""
            fit = f"{fitted} fit; pod {keys[at]}: {messages[at]}" if at in messages else "too few are let in"
            reason = f"gang {gang.key} needs {gang.min_count} pods{runs}: {fit}"
        yield g, GangOutcome(gang.key, gang.min_count, n, fitted, kept and fitted > 0, reason)

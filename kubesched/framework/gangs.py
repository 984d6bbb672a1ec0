# SPDX-License-Identifier: Apache-2.0
"""Gangs in a list of pods: in which order they are decided, and what to say of those that were taken back.

A gang is decided where its first pod stands, its pods by falling priority. It is placed if its minimum of pods run or
fit; those of a placed gang that do not fit stay behind alone. A gang with a topology is tried in every domain of it and
gets the best one; pods of it that run already leave only theirs.
Sources: schedule_one_podgroup.go, plugins/gangscheduling, plugins/topologyaware, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.state import live, rows


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
    placement
        ``label=value`` of the nodes that it was placed on, or, where no such set of nodes would do, of the first one,
        which ``reason`` tells of; empty: it has no topology, or no node has the label.
    n_placements, placement_ties
        Placements that were tried, and how many of them are best.
    """

    gang: str
    min_count: int
    running: int
    fitted: int
    placed: bool
    reason: str
    placement: str = ""
    n_placements: int = 0
    placement_ties: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """Where a gang may go.

    Parameters
    ----------
    topology
        The engine's, -1: anywhere.
    anchor
        Row of a pod that runs, whose domain it must be; -1: any domain.
    problem
        Why that cannot be said; empty: it can.
    """

    topology: int = NO_NODE
    anchor: int = NO_NODE
    problem: str = ""


_ANYWHERE = Place()


def place_of(state: live.ClusterState, gang: rows.Gang, there: Sequence[tuple[str, int]]) -> Place:
    """Where a gang may go whose pods ``there`` run already, by key and row."""
    if not gang.topology_key:
        return _ANYWHERE
    topology, domain, anchor = state.pairwise.topology(gang.topology_key), "", NO_NODE
    for key, row in there:
        value = None if row == NO_NODE else state.nodes.label_of(row, gang.topology_key)
        problem = ""
        if row == NO_NODE:
            problem = f"getting node for pod {key}: nodeinfo not found"
        elif value is None:
            problem = f"no topology domain found for pod {key}"
        elif domain not in ("", value):
            problem = f"more than 1 domain found for pod group: {domain}, {value}"
        if problem or value is None:
            return Place(topology, problem=f"cannot determine domain for already scheduled pods: {problem}")
        domain, anchor = value, row
    return Place(topology, anchor)


def no_generator(gang: rows.Gang, profile: str) -> errors.UnsupportedError:
    """A profile cannot decide a gang with a topology."""
    what = "asks for a topology, and the profile has no TopologyPlacementGenerator"
    return errors.UnsupportedError(f"PodGroup {gang.key}", what, profile)


def least_of(gang: rows.Gang, running: int, place: Place) -> int:
    """Pods that must fit beside those that run; with a topology at least one, or no placement will do."""
    return max(gang.min_count - running, int(place.topology >= 0))


@dataclass(slots=True)
class Members:
    """Pods of gangs beside those that are to be decided."""

    known: Counter[str] = field(default_factory=Counter)
    """Pods of each gang that exist, open, gated and running."""
    running: dict[str, list[tuple[str, int]]] = field(default_factory=dict)
    """Key and row of the pods of each gang that run."""


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
    places: list[Place] = field(default_factory=list)
    """Where each group may go."""
    waiting: dict[int, str] = field(default_factory=dict)
    """Pods that are not decided yet, and why."""
    refused: dict[int, GangOutcome] = field(default_factory=dict)
    """Pods of gangs that cannot be decided, and how those end."""

    def spec(self) -> native.GroupSpec:
        """What is asked of each group."""
        places = [(place.topology, place.anchor) for place in self.places]
        asked = zip(self.gangs, self.running, self.places, strict=True)
        least = [0 if gang is None else least_of(gang, n, place) for gang, n, place in asked]
        return native.GroupSpec(
            start=arrays.int32([*self.begin, len(self.order)]),
            minimum=arrays.int32(least),
            topology=arrays.int32([topology for topology, _ in places]),
            anchor=arrays.int32([anchor for _, anchor in places]),
            running=arrays.int32(self.running),
        )

    def cut(self, kinds: I32) -> None:
        """Cut the groups so that the pods of each are of one kind.

        Parameters
        ----------
        kinds
            ``[len(order)]``: what decides each pod.

        Raises
        ------
        InputError
            A gang has pods of two kinds: it is decided as a whole.
        """
        if len(kinds) == 0 or (kinds == kinds[0]).all():
            return
        changes = (np.flatnonzero(kinds[1:] != kinds[:-1]) + 1).tolist()
        begin, gangs, running, places = self.begin, self.gangs, self.running, self.places
        ends = [*begin[1:], len(self.order)][: len(begin)]
        self.begin, self.gangs, self.running, self.places = [], [], [], []
        for at, end, gang, n, place in zip(begin, ends, gangs, running, places, strict=True):
            cuts = [at, *(i for i in changes if at < i < end)]
            if gang is not None and len(cuts) > 1:
                what = "has pods of several profiles"
                raise errors.InputError(f"PodGroup {gang.key}", what, None, "one spec.schedulerName in a gang")
            self.begin += cuts
            self.gangs += [gang] * len(cuts)
            self.running += [n] * len(cuts)
            self.places += [place] * len(cuts)

    def _add(self, pods: Sequence[int], gang: rows.Gang | None, running: int, place: Place) -> None:
        if gang is None and self.gangs and self.gangs[-1] is None:
            self.order.extend(pods)
            return
        self.begin.append(len(self.order))
        self.order.extend(pods)
        self.gangs.append(gang)
        self.running.append(running)
        self.places.append(place)


def arrange(
    state: live.ClusterState,
    pods: Sequence[rows.PodRow],
    open_pods: Sequence[int],
    gangs: Mapping[str, rows.Gang],
    others: Members,
) -> Arranged:
    """Put the open pods into the order of decision. O(pods).

    Parameters
    ----------
    gangs
        Every PodGroup, by key.
    """
    out = Arranged()
    members: dict[str, list[int]] = {}
    gang_of = [pods[i].gang if pods[i].group else "" for i in open_pods]
    for i, key in zip(open_pods, gang_of, strict=True):
        if key:
            members.setdefault(key, []).append(i)
    if not members:
        if open_pods:
            out._add(open_pods, None, 0, _ANYWHERE)  # noqa: SLF001 - of the same module
        return out
    for i, key in zip(open_pods, gang_of, strict=True):
        if not key:
            out._add([i], None, 0, _ANYWHERE)  # noqa: SLF001
        elif key in members:
            mine, there = members.pop(key), others.running.get(key, ())
            reason = _waits(key, gangs.get(key), others.known[key])
            if reason:
                out.waiting.update(dict.fromkeys(mine, reason))
                continue
            place = place_of(state, gangs[key], there)
            if place.problem:
                out.refused.update(dict.fromkeys(mine, _undecided(gangs[key], len(there), place.problem)))
                continue
            mine.sort(key=lambda i: -pods[i].priority)
            out._add(mine, gangs[key], len(there), place)  # noqa: SLF001
    return out


def _undecided(gang: rows.Gang, running: int, problem: str) -> GangOutcome:
    return GangOutcome(gang.key, gang.min_count, running, 0, False, f"gang {gang.key}: {problem}")


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
    spec: native.GroupSpec
    ended: native.Groups

    def placement_of(self, at: int) -> tuple[int, int]:
        """Topology and row of the placement that the pod at a position was decided in, -1 and -1: none."""
        group = int(np.searchsorted(self.spec.start, at, side="right")) - 1
        return int(self.spec.topology[group]), int(self.ended.placement[group])


def settle(spec: native.GroupSpec, tried: native.Decisions, ended: native.Groups) -> Settled:
    """Take the pods of rejected gangs off their nodes in a copy of the columns."""
    taken_back: dict[int, int] = {}
    first_failed: dict[int, range] = {}
    start = spec.start.tolist()
    for g in np.flatnonzero(ended.placed == 0).tolist():
        taken_back.update(dict.fromkeys(range(start[g], start[g + 1]), g))
        at = int(ended.first_failed[g])
        if at >= 0:
            first_failed[at] = range(start[g], at)
    if not taken_back:
        return Settled(tried, taken_back, first_failed, spec, ended)
    gone = np.fromiter(taken_back, dtype=np.int64)
    columns = native.Decisions(*(getattr(tried, name).copy() for name in native.Decisions.__slots__))
    columns.node[gone], columns.score[gone], columns.ties[gone], columns.devices[gone] = NO_NODE, -1, 0, 0
    return Settled(columns, taken_back, first_failed, spec, ended)


def outcomes(
    state: live.ClusterState,
    arranged: Arranged,
    ended: native.Groups,
    keys: Sequence[str],
    messages: Mapping[int, str],
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
        n, topology = arranged.running[g], arranged.places[g].topology
        fitted, kept, at = int(ended.fitted[g]), bool(ended.placed[g]), int(ended.first_failed[g])
        row, n_placements, ties = int(ended.placement[g]), int(ended.n_placements[g]), int(ended.placement_ties[g])
        placement = f"{gang.topology_key}={state.nodes.label_of(row, gang.topology_key)}" if row >= 0 else ""
        reason = ""
        if not kept:
            runs = f", {n} run" if n else ""
            fit = f"{fitted} fit; pod {keys[at]}: {messages[at]}" if at in messages else "too few are let in"
            if topology >= 0:
                fit = f"{_no_placement(n_placements)}; with {placement} {fit}" if placement else NO_PLACEMENTS
            reason = f"gang {gang.key} needs {max(gang.min_count, 1)} pods{runs}: {fit}"
        placed = kept and fitted > 0
        yield g, GangOutcome(gang.key, gang.min_count, n, fitted, placed, reason, placement, n_placements, ties)


NO_PLACEMENTS = "no feasible placements found"
"""What TopologyPlacementGenerator says of a gang for whose label no node has a value."""


def _no_placement(n: int) -> str:
    return f"0/{n} placements are available, first placement status: pod group is unschedulable"

# SPDX-License-Identifier: Apache-2.0
"""Deciding a list of pods, one after another.

Plain pods go to the engine in runs, one call a run. For a pod that a stateful plugin concerns, the plugin brings its
verdicts up to date first, and reserves what the pod takes before the next one is decided; pods whose volumes do not
touch each other go together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from kubesched.base import errors
from kubesched.kernel import arrays
from kubesched.kernel.arrays import I32, I64, NO_NODE
from kubesched.kernel.native import Decisions, Groups, GroupSpec, Options, Placing
from kubesched.state import live, stateful

Bool = npt.NDArray[np.bool_]
LEAST_BATCH, _FIRST_BATCH, _MOST_BATCH = 4, 64, 4096
"""Pods with volumes in one call: arbitrary."""


@dataclass(slots=True)
class BatchSizes:
    """How many pods with volumes to try in one call: twice as many as long as no node comes to a limit of volumes."""

    most: int = _FIRST_BATCH

    def follow(self, n_done: int, n_tried: int) -> None:
        """So many of the tried pods were decided; none was tried: the next one goes alone."""
        if n_tried == 0:
            self.most = max(self.most // 2, LEAST_BATCH)
        else:
            self.most = min(2 * self.most, _MOST_BATCH) if n_done == n_tried else max(2 * n_done, LEAST_BATCH)


@dataclass(frozen=True, slots=True)
class Decided:
    """Columns of the engine, one entry a pod, and the pods that PreFilter rejected before the engine was asked."""

    columns: Decisions
    rejected: dict[int, stateful.Rejection]
    """By position of the pod."""


def decide(state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32) -> Decided:
    """Decide pods on the state; with ``options.commit`` each is put on its node before the next.

    Parameters
    ----------
    options
        The engine's; written back.
    keys
        ``namespace/name`` of each pod: under this name stateful plugins remember what it takes.
    class_of
        ``[n]``: engine class of each pod.

    Raises
    ------
    PluginError
        A user's plugin failed; no pod is placed.
    """
    concerned = are_concerned(state, class_of)
    if not concerned.any():
        return Decided(state.engine.place(options, class_of), {})
    if not state.engine.has_users:
        return _decide_runs(state, options, keys, class_of, concerned)
    mark = state.speculate()
    try:
        decided = _decide_runs(state, options, keys, class_of, concerned)
    except BaseException:  # of a user's function, an interrupt included
        state.rollback(mark)
        raise
    state.keep(mark)
    return decided


def _decide_runs(
    state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32, concerned: Bool
) -> Decided:
    placing, rejected = Placing(state.engine, class_of), dict[int, stateful.Rejection]()
    out = placing.out
    for begin, end, is_concerned in runs(concerned):
        if not is_concerned:
            placing.place(options, begin, end)
            continue
        at, sizes = begin, BatchSizes()
        while at < end:
            stop = min(at + sizes.most, end)
            n = state.batch(keys[at:stop], class_of[at:stop].tolist(), LEAST_BATCH)
            if n == 0:
                _decide_alone(state, options, keys[at], at, placing, rejected)
                at += 1
                sizes.follow(0, 0)
                continue
            found = _decide_batch(state, options, keys[at : at + n], class_of[at : at + n])
            copy(found, out, at, at + len(found.node))
            at += len(found.node)
            sizes.follow(len(found.node), n)
    return Decided(out, rejected)


def _decide_alone(
    state: live.ClusterState,
    options: Options,
    key: str,
    at: int,
    placing: Placing,
    rejected: dict[int, stateful.Rejection],
) -> None:
    """Decide one pod that a stateful plugin concerns."""
    class_id = int(placing.class_of[at])
    rejection = state.prepare(key, class_id, options.profile)
    if rejection is not None:
        rejected[at] = rejection
        return
    placing.place(options, at, at + 1)
    row = int(placing.out.node[at])
    if options.commit and row >= 0:
        state.reserve(key, class_id, row)


def _decide_batch(state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32) -> Decisions:
    """Decide pods whose volumes do not touch each other in one call, up to the one that brings a node to a limit.

    What was decided behind that one was decided on verdicts that it changed: it is taken back.
    """
    if not options.commit:
        return state.engine.place(options, class_of)
    before, mark = replace(options), state.engine.speculate()
    try:
        found = state.engine.place(options, class_of)
    except errors.KubeschedError:
        state.engine.rollback(mark)
        raise
    n = state.volumes.settle(keys, found.node.tolist())
    if n == len(class_of):
        state.engine.keep(mark)
        return found
    state.engine.rollback(mark)
    options.rng, options.next_node = before.rng, before.next_node
    options.n_dense, options.n_indexed, options.n_partial = before.n_dense, before.n_indexed, before.n_partial
    return state.engine.place(options, class_of[:n])


def decide_groups(
    state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32, spec: GroupSpec
) -> tuple[Decided, Groups]:
    """Decide groups of pods, each all or nothing.

    The decisions of a group that was taken back tell what was tried.
    """
    if not are_concerned(state, class_of).any():
        columns, ended = state.engine.place_groups(options, spec, class_of)
        return Decided(columns, {}), ended
    out, ended = Decided(Decisions.empty(len(class_of)), {}), Groups.empty(len(spec))
    for g in range(len(spec)):
        begin, end = int(spec.start[g]), int(spec.start[g + 1])
        mine = Group(state, options, keys[begin:end], class_of[begin:end], spec.part(g, g + 1))
        decided, tried = mine.decide(), mine.tried
        copy(decided.columns, out.columns, begin, end)
        out.rejected.update({begin + at: rejection for at, rejection in decided.rejected.items()})
        ended.n_decided[g] = end - begin if tried is None or tried.n else 0
        ended.fitted[g], ended.placed[g] = mine.fitted(decided), mine.fits(decided)
        if tried is not None:
            ended.placement[g], ended.n_placements[g], ended.placement_ties[g] = tried.row, tried.n, tried.n_best
        node = decided.columns.node
        if (node < 0).any() and ended.n_decided[g]:
            ended.first_failed[g] = begin + int((node < 0).argmax())
    return out, ended


def decide_profiles(
    state: live.ClusterState,
    options: Options,
    profile_of: I32,
    keys: Sequence[str],
    class_of: I32,
    spec: GroupSpec,
) -> tuple[Decided, Groups]:
    """Decide groups of pods, those of one profile in a row together; ``options.profile`` is set on the way.

    Parameters
    ----------
    profile_of
        ``[n]``: engine profile of each pod, the same within a group.
    """
    if len(spec) == 0:
        return Decided(Decisions.empty(0), {}), Groups.empty(0)
    of_group = profile_of[spec.start[:-1]]
    cuts = [0, *(np.flatnonzero(of_group[1:] != of_group[:-1]) + 1).tolist(), len(of_group)]
    if len(cuts) <= 2:
        options.profile = int(of_group[0])
        return decide_groups(state, options, keys, class_of, spec)
    out, ended = Decided(Decisions.empty(len(class_of)), {}), Groups.empty(len(spec))
    for first, last in pairwise(cuts):
        begin, end = int(spec.start[first]), int(spec.start[last])
        options.profile = int(of_group[first])
        decided, groups = decide_groups(state, options, keys[begin:end], class_of[begin:end], spec.part(first, last))
        copy(decided.columns, out.columns, begin, end)
        out.rejected.update({begin + at: rejection for at, rejection in decided.rejected.items()})
        groups.first_failed[groups.first_failed >= 0] += begin
        for name in Groups.__slots__:
            getattr(ended, name)[first:last] = getattr(groups, name)
    return out, ended


@dataclass(frozen=True, slots=True)
class Tried:
    """The placements of a group with a topology.

    Parameters
    ----------
    row
        Of the best one, or if none will do of the first; -1: there is none.
    n, n_best
        How many were tried, and how many are best.
    rng, next_node
        The engine's numbers from which the group is decided there as it was when it was tried.
    """

    row: int = NO_NODE
    n: int = 0
    n_best: int = 0
    rng: int = 0
    next_node: int = 0


@dataclass(slots=True)
class Group:
    """One group whose pods are not, or not all, the engine's business alone; core/src/groups.c goes the same way.

    Parameters
    ----------
    options
        Written back.
    spec
        Of this group only.
    """

    state: live.ClusterState
    options: Options
    keys: Sequence[str]
    class_of: I32
    spec: GroupSpec
    tried: Tried | None = None
    """Of a group with a topology that was decided."""

    @staticmethod
    def fitted(decided: Decided) -> int:
        """Pods that found a node."""
        return int((decided.columns.node >= 0).sum())

    def fits(self, decided: Decided) -> bool:
        """Whether enough of them did."""
        return self.fitted(decided) >= int(self.spec.minimum[0])

    def decide(self) -> Decided:
        """Decide the group, and take it back unless enough of it fits."""
        before, commits = replace(self.options), self.options.commit
        if self.spec.topology[0] >= 0:
            decided = self._decide_in_best(commits)
        elif self.spec.minimum[0] == 0:
            return decide(self.state, self.options, self.keys, self.class_of)
        else:
            decided = self._try(keep=commits)
        if not self.fits(decided):
            self.options.rng = before.rng
        if not commits:
            self.options.next_node = before.next_node
        return decided

    def _try(self, *, keep: bool) -> Decided:
        """Decide the pods and take them back, unless they fit and are to be kept."""
        trial = replace(self.options, commit=True)
        mark = self.state.speculate()
        try:
            decided = decide(self.state, trial, self.keys, self.class_of)
        except errors.KubeschedError:
            self.state.rollback(mark)
            raise
        fits = self.fits(decided)
        if fits and keep:
            self.state.keep(mark)
        else:
            self.state.rollback(mark)
        options = self.options
        options.n_dense, options.n_indexed, options.n_partial = trial.n_dense, trial.n_indexed, trial.n_partial
        options.next_node = trial.next_node
        options.rng = trial.rng if fits else options.rng
        return decided

    def _decide_in_best(self, keep: bool) -> Decided:
        """Decide the group once more in the placement that it gets, from the numbers that it had there."""
        self.tried = tried = self.try_placements()
        if tried.n == 0:
            return Decided(Decisions.empty(len(self.class_of)), {})
        options = self.options
        rng, next_node = options.rng, options.next_node
        options.rng, options.next_node = tried.rng, tried.next_node
        with self.state.within(int(self.spec.topology[0]), tried.row):
            decided = self._try(keep=keep)
        options.rng, options.next_node = rng, next_node
        return decided

    def try_placements(self) -> Tried:
        """Decide the group in each placement, always from the same state, which stays; the best one."""
        topology, anchor = int(self.spec.topology[0]), int(self.spec.anchor[0])
        rows = self.state.engine.placements(topology).tolist() if anchor < 0 else [anchor]
        options, first, good = self.options, list[Tried](), list[tuple[Tried, int, int]]()
        for row in rows:
            trial = Tried(row, len(rows), 0, options.rng, options.next_node)
            first = first or [trial]
            with self.state.within(topology, row):
                decided = self._try(keep=False)
                if self.fits(decided):
                    fit = self.state.engine.placement_fit(options.profile, self.class_of, decided.columns.node)
                    good.append((trial, int(self.spec.running[0]) + self.fitted(decided), fit))
        if len(good) < 2:
            return replace(good[0][0], n_best=1) if good else first[0] if first else Tried()
        pods, fits = arrays.int32([pods for _, pods, _ in good]), arrays.int64([fit for _, _, fit in good])
        at, n_best = self.state.engine.choose_placement(options, pods, fits)
        return replace(good[at][0], n_best=n_best)


def undo(state: live.ClusterState, keys: Sequence[str], class_of: I32, found: Decisions, at: I64) -> None:
    """Take placed pods ``at`` off again, the last first, inside a speculation: the state that earlier ones met."""
    state.engine.release(class_of[at], found.node[at], found.devices[at])
    for plugin in state.stateful:
        for i in at[::-1].tolist():
            plugin.unreserve(keys[i])


def are_concerned(state: live.ClusterState, class_of: I32) -> Bool:
    """Whether a stateful plugin has a say in each pod, ``[n]``."""
    hits = [class_id for class_id in set(class_of.tolist()) if state.is_concerned(class_id)]
    concerned: Bool = np.isin(class_of, hits) if hits else np.zeros(len(class_of), dtype=np.bool_)
    return concerned


def runs(concerned: Bool) -> Iterator[tuple[int, int, bool]]:
    """Ranges of pods, and whether a stateful plugin concerns those of the range."""
    ends = [*(np.flatnonzero(concerned[1:] != concerned[:-1]) + 1).tolist(), len(concerned)]
    begin = 0
    for end in ends:
        yield begin, end, bool(concerned[begin])
        begin = end


def copy(found: Decisions, out: Decisions, begin: int, end: int) -> None:
    for name in ("node", "score", "ties", "feasible", "devices"):
        getattr(out, name)[begin:end] = getattr(found, name)

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
from kubesched.kernel.arrays import I32, I64
from kubesched.kernel.native import Decisions, Groups, Options
from kubesched.state import live, stateful

Bool = npt.NDArray[np.bool_]
_FIRST_BATCH, _LEAST_BATCH, _MOST_BATCH = 64, 4, 4096
"""Pods with volumes in one call: arbitrary, it doubles as long as no node comes to a limit of volumes."""


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
    concerned = _concerned(state, class_of)
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
    out, rejected = Decisions.empty(len(class_of)), dict[int, stateful.Rejection]()
    for begin, end, is_concerned in runs(concerned):
        if not is_concerned:
            copy(state.engine.place(options, class_of[begin:end]), out, begin, end)
            continue
        at, most = begin, _FIRST_BATCH
        while at < end:
            stop = min(at + most, end)
            n = state.batch(keys[at:stop], class_of[at:stop].tolist(), _LEAST_BATCH)
            if n == 0:
                _decide_alone(state, options, keys, class_of, at, Decided(out, rejected))
                at, most = at + 1, max(most // 2, _LEAST_BATCH)
                continue
            found = _decide_batch(state, options, keys[at : at + n], class_of[at : at + n])
            copy(found, out, at, at + len(found.node))
            at += len(found.node)
            most = min(2 * most, _MOST_BATCH) if len(found.node) == n else max(2 * len(found.node), _LEAST_BATCH)
    return Decided(out, rejected)


def _decide_alone(
    state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32, at: int, out: Decided
) -> None:
    """Decide one pod that a stateful plugin concerns."""
    rejection = state.prepare(keys[at], int(class_of[at]), options.profile)
    if rejection is not None:
        out.rejected[at] = rejection
        return
    found = state.engine.place(options, class_of[at : at + 1])
    copy(found, out.columns, at, at + 1)
    if options.commit and found.node[0] >= 0:
        state.reserve(keys[at], int(class_of[at]), int(found.node[0]))


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
    state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32, start: I32, minimum: I32
) -> tuple[Decided, Groups]:
    """Decide groups of pods, each all or nothing; ``start`` and ``minimum`` as in `native.Engine.place_groups`.

    The decisions of a group that was taken back tell what was tried.
    """
    if not _concerned(state, class_of).any():
        columns, ended = state.engine.place_groups(options, start, minimum, class_of)
        return Decided(columns, {}), ended
    out, ended = Decided(Decisions.empty(len(class_of)), {}), Groups.empty(len(minimum))
    for g, least in enumerate(minimum.tolist()):
        begin, end = int(start[g]), int(start[g + 1])
        decided = _decide_group(state, options, keys[begin:end], class_of[begin:end], least)
        copy(decided.columns, out.columns, begin, end)
        out.rejected.update({begin + at: rejection for at, rejection in decided.rejected.items()})
        node = decided.columns.node
        ended.fitted[g], ended.n_decided[g] = (node >= 0).sum(), end - begin
        ended.placed[g] = ended.fitted[g] >= least
        if (node < 0).any():
            ended.first_failed[g] = begin + int((node < 0).argmax())
    return out, ended


def decide_profiles(
    state: live.ClusterState,
    options: Options,
    profile_of: I32,
    keys: Sequence[str],
    class_of: I32,
    start: I32,
    minimum: I32,
) -> tuple[Decided, Groups]:
    """Decide groups of pods, those of one profile in a row together; ``options.profile`` is set on the way.

    Parameters
    ----------
    profile_of
        ``[n]``: engine profile of each pod, the same within a group.
    """
    if len(minimum) == 0:
        return Decided(Decisions.empty(0), {}), Groups.empty(0)
    of_group = profile_of[start[:-1]]
    cuts = [0, *(np.flatnonzero(of_group[1:] != of_group[:-1]) + 1).tolist(), len(of_group)]
    if len(cuts) <= 2:
        options.profile = int(of_group[0])
        return decide_groups(state, options, keys, class_of, start, minimum)
    out, ended = Decided(Decisions.empty(len(class_of)), {}), Groups.empty(len(minimum))
    for first, last in pairwise(cuts):
        begin, end = int(start[first]), int(start[last])
        options.profile = int(of_group[first])
        decided, groups = decide_groups(
            state, options, keys[begin:end], class_of[begin:end], start[first : last + 1] - begin, minimum[first:last]
        )
        copy(decided.columns, out.columns, begin, end)
        out.rejected.update({begin + at: rejection for at, rejection in decided.rejected.items()})
        groups.first_failed[groups.first_failed >= 0] += begin
        for name in ("placed", "fitted", "first_failed", "n_decided"):
            getattr(ended, name)[first:last] = getattr(groups, name)
    return out, ended


def _decide_group(
    state: live.ClusterState, options: Options, keys: Sequence[str], class_of: I32, least: int
) -> Decided:
    """Decide one group, and take it back unless enough of it fits."""
    if least == 0:
        return decide(state, options, keys, class_of)
    trial = replace(options, commit=True)
    mark = state.speculate()
    try:
        decided = decide(state, trial, keys, class_of)
    except errors.KubeschedError:
        state.rollback(mark)
        raise
    fits = int((decided.columns.node >= 0).sum()) >= least
    if fits and options.commit:
        state.keep(mark)
    else:
        state.rollback(mark)
    options.n_dense, options.n_indexed, options.n_partial = trial.n_dense, trial.n_indexed, trial.n_partial
    options.next_node = trial.next_node if options.commit else options.next_node
    options.rng = trial.rng if fits else options.rng
    return decided


def undo(state: live.ClusterState, keys: Sequence[str], class_of: I32, found: Decisions, at: I64) -> None:
    """Take placed pods ``at`` off again, the last first, inside a speculation: the state that earlier ones met."""
    state.engine.release(class_of[at], found.node[at], found.devices[at])
    for plugin in state.stateful:
        for i in at[::-1].tolist():
            plugin.unreserve(keys[i])


def _concerned(state: live.ClusterState, class_of: I32) -> Bool:
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

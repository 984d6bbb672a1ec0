# SPDX-License-Identifier: Apache-2.0
"""Deciding a list of pods, one after another.

Plain pods go to the engine in runs, one call a run. A pod that a stateful plugin concerns is a run of its own: the
plugin brings its verdicts up to date first, and reserves what the pod takes before the next one is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from kubesched.base import errors
from kubesched.kernel.arrays import I32
from kubesched.kernel.native import Decisions, Groups, Options
from kubesched.state import live, stateful

Bool = npt.NDArray[np.bool_]


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
    """
    rejected: dict[int, stateful.Rejection] = {}
    concerned = _concerned(state, class_of)
    if not concerned.any():
        return Decided(state.engine.place(options, class_of), rejected)
    out = Decisions.empty(len(class_of))
    for begin, end, alone in _runs(concerned):
        if alone:
            rejection = state.prepare(keys[begin], int(class_of[begin]))
            if rejection is not None:
                rejected[begin] = rejection
                continue
        found = state.engine.place(options, class_of[begin:end])
        _copy(found, out, begin, end)
        if alone and options.commit and found.node[0] >= 0:
            state.reserve(keys[begin], int(class_of[begin]), int(found.node[0]))
    return Decided(out, rejected)


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
        _copy(decided.columns, out.columns, begin, end)
        out.rejected.update({begin + at: rejection for at, rejection in decided.rejected.items()})
        node = decided.columns.node
        ended.fitted[g], ended.n_decided[g] = (node >= 0).sum(), end - begin
        ended.placed[g] = ended.fitted[g] >= least
        if (node < 0).any():
            ended.first_failed[g] = begin + int((node < 0).argmax())
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
    options.n_dense, options.n_indexed = trial.n_dense, trial.n_indexed
    options.rng = trial.rng if fits else options.rng
    return decided


def _concerned(state: live.ClusterState, class_of: I32) -> Bool:
    """Whether a stateful plugin has a say in each pod, ``[n]``."""
    out = np.zeros(int(class_of.max(initial=-1)) + 1, dtype=np.bool_)
    if state.stateful:
        for class_id in np.unique(class_of).tolist():
            out[class_id] = state.is_concerned(class_id)
    concerned: Bool = out[class_of]
    return concerned


def _runs(concerned: Bool) -> Iterator[tuple[int, int, bool]]:
    """Ranges of pods; ``True``: one pod that a stateful plugin concerns."""
    begin = 0
    for at in np.flatnonzero(concerned).tolist():
        if begin < at:
            yield begin, at, False
        yield at, at + 1, True
        begin = at + 1
    if begin < len(concerned):
        yield begin, len(concerned), False


def _copy(found: Decisions, out: Decisions, begin: int, end: int) -> None:
    for name in ("node", "score", "ties", "feasible", "devices"):
        getattr(out, name)[begin:end] = getattr(found, name)

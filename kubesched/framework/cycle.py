# SPDX-License-Identifier: Apache-2.0
"""Deciding a list of pods, one after another.

Plain pods go to the engine in runs, one call a run. A pod that a stateful plugin concerns is a run of its own: the
plugin brings its verdicts up to date first, and reserves what the pod takes before the next one is decided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kubesched.kernel.arrays import I32
from kubesched.kernel.native import Decisions, Options
from kubesched.state import live, stateful


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
    if not state.stateful:
        return Decided(state.engine.place(options, class_of), rejected)
    out = Decisions.empty(len(class_of))
    for begin, end, alone in _runs(state, class_of):
        if alone:
            rejection = state.prepare(int(class_of[begin]))
            if rejection is not None:
                rejected[begin] = rejection
                continue
        found = state.engine.place(options, class_of[begin:end])
        _copy(found, out, begin, end)
        if alone and options.commit and found.node[0] >= 0:
            state.reserve(keys[begin], int(class_of[begin]), int(found.node[0]))
    return Decided(out, rejected)


def _runs(state: live.ClusterState, class_of: I32) -> Iterator[tuple[int, int, bool]]:
    """Ranges of pods; ``True``: one pod that a stateful plugin concerns."""
    concerned = {int(c): state.is_concerned(int(c)) for c in set(class_of.tolist())}
    begin = 0
    for at, class_id in enumerate(class_of.tolist()):
        if not concerned[class_id]:
            continue
        if begin < at:
            yield begin, at, False
        yield at, at + 1, True
        begin = at + 1
    if begin < len(class_of):
        yield begin, len(class_of), False


def _copy(found: Decisions, out: Decisions, begin: int, end: int) -> None:
    for name in ("node", "score", "ties", "feasible", "devices"):
        getattr(out, name)[begin:end] = getattr(found, name)

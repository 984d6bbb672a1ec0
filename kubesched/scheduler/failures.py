# SPDX-License-Identifier: Apache-2.0
"""Why pods were not placed: the plugins that turned each down, and what is said of it, on the state that it met."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kubesched.framework import blame, cycle, diagnosis
from kubesched.kernel.arrays import I32
from kubesched.state import live
from kubesched.state.stateful import Rejection


@dataclass(frozen=True, slots=True)
class Blame:
    """Why a pod failed; as in `rounds.Failure`."""

    plugins: blame.Plugins
    message: str
    preemption: str = ""


def of_batch(
    state: live.ClusterState,
    profile: int,
    keys: Sequence[str],
    class_of: I32,
    decided: cycle.Decided,
    failed: Sequence[int],
) -> dict[int, Blame]:
    """Who turned each failed pod of a batch down, on the state that it met; by position.

    Going backwards through the placements inside a speculation brings that state back; pods of one class that
    failed without a placement between them failed for the same reason.
    """
    out: dict[int, Blame] = {}
    known: dict[int, Blame] = {}
    mark, undone = state.speculate(), len(keys)
    for i in reversed(failed):
        later = np.flatnonzero(decided.columns.node[i:undone] >= 0) + i
        if later.size:
            cycle.undo(state, keys, class_of, decided.columns, later)
            known.clear()
        undone, class_id = i, int(class_of[i])
        if i in decided.rejected or state.is_concerned(class_id):
            out[i] = of_class(state, profile, class_id, state.prepare(keys[i], class_id, profile))
            continue
        if class_id not in known:
            known[class_id] = of_class(state, profile, class_id, None)
        out[i] = known[class_id]
    state.rollback(mark)
    return out


def of_class(state: live.ClusterState, profile: int, class_id: int, rejection: Rejection | None) -> Blame:
    """Who turns the class down now."""
    shape = state.shape_of(class_id)
    plugins = blame.blame(state, profile, class_id, shape, rejection)
    return Blame(plugins, diagnosis.summarize(state, profile, class_id, shape, rejection).message)

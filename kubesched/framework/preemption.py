# SPDX-License-Identifier: Apache-2.0
"""PostFilter: what becomes of a pod that fits nowhere, and who would be evicted for it.

Texts and order are upstream's: DynamicResources speaks first, then DefaultPreemption.
Source: framework/preemption, plugins/defaultpreemption, v1.36.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kubesched.framework import diagnosis as diagnoses
from kubesched.framework.diagnosis import UNRESOLVABLE, UNSCHEDULABLE, PreFilter, Why
from kubesched.kernel import native
from kubesched.kernel.arrays import NO_NODE, U8
from kubesched.state import live, rows

_NOT_HELPFUL = "Preemption is not helpful for scheduling"
_NEVER = "not eligible due to preemptionPolicy=Never."
_WAITING = "not eligible due to a terminating pod on the nominated node."
_NO_VICTIMS = "No preemption victims found for incoming pod"


@dataclass(frozen=True, slots=True)
class PostFilter:
    """Outcome for one pod.

    Parameters
    ----------
    code
        ``Success``: it is nominated for ``row``; else ``Unschedulable`` or ``Error`` with ``message``.
    row
        -1: no node.
    victims
        Keys of the pods to evict, the most important first.
    ties
        Nodes that are as good as this one, itself included.
    gives_up
        It may evict, and nowhere would that help: a node that it waits for is no longer its own.
    candidates
        All nodes on which evicting helps, if asked for; victims by handle.
    """

    code: str
    message: str = ""
    row: int = NO_NODE
    victims: tuple[str, ...] = ()
    ties: int = 0
    candidates: tuple[native.Candidate, ...] = ()
    gives_up: bool = False


def post_filter(
    state: live.ClusterState,
    profile: int,
    pod: rows.PodRow,
    class_id: int,
    why: Why,
    list_all: bool = False,
    options: native.Options | None = None,
) -> PostFilter:
    """Whom to evict for a pod that fits nowhere; changes nothing. O(nodes), see ``ks_preempt``.

    Parameters
    ----------
    profile, class_id
        Of the engine.
    why
        Why it fits nowhere, asked for this pod (`live.ClusterState.evictions`).
    list_all
        Also every candidate.
    options
        As in `native.Engine.preempt`.
    """
    pre_filter = why.pre_filter
    if pre_filter.status is not None:
        # PreFilter stopped before DynamicResources kept its state, and its PostFilter does not find it.
        return PostFilter("Error", "not found")
    claims = diagnoses.claims_text(state, pod.key, class_id, why)
    refusal = _refusal(state, pod, why)
    if refusal:
        return PostFilter(UNSCHEDULABLE, f"{claims}, preemption: {refusal}")
    state.evictions.know_all()
    open_rows = _open_rows(state, pre_filter)
    with state.evictions.asking(pod):
        found = state.engine.preempt(profile, class_id, pod.priority, open_rows, list_all, options=options)
        if found.row == NO_NODE:
            found = state.engine.preempt(profile, class_id, pod.priority, open_rows, count=True)
    if found.row == NO_NODE:
        return PostFilter(UNSCHEDULABLE, f"{claims}, preemption: {_message(state, found)}", gives_up=True)
    victims = tuple(state.evictions.keys(found.victims))
    return PostFilter("Success", "", found.row, victims, found.ties, found.candidates)


def _open_rows(state: live.ClusterState, pre_filter: PreFilter) -> U8 | None:
    if pre_filter.rows is None:
        return None
    out = np.zeros(state.engine.n_rows, dtype=np.uint8)
    out[pre_filter.rows] = 1
    return out


def _refusal(state: live.ClusterState, pod: rows.PodRow, why: Why) -> str:
    """Why the pod may not evict anybody; empty: it may."""
    if not pod.preempts:
        return _NEVER
    row = state.evictions.nominated_row(pod.key)
    if row == NO_NODE:
        return ""
    number = int(why.diagnosis.status_of[row])
    if number >= 0 and why.diagnosis.statuses[number].code == UNRESOLVABLE:
        return ""
    leaving = (p for p in state.pods.values() if p.row == row and p.is_evicted and p.priority < pod.priority)
    return _WAITING if any(leaving) else ""


def _message(state: live.ClusterState, found: native.Preemption) -> str:
    histogram = diagnoses.histogram_of(state, found.counts) if found.counts is not None else {}
    histogram[_NO_VICTIMS] = found.n_without_victims
    histogram[_NOT_HELPFUL] = state.n_nodes - found.n_tried
    return diagnoses.fit_error(state.n_nodes, histogram)

# SPDX-License-Identifier: Apache-2.0
"""From the engine's verdicts to kube-scheduler's words: plugin, code and reasons per node, and the event's text.

Texts are upstream's to the letter, each built in one place. The engine reports the first failing filter; the one
thing it does not know is PreFilter's restriction: when every required term names nodes (metadata.name In), the other
nodes never reach the filters.
Sources: pkg/scheduler/framework/types.go (FitError), plugins/*/ (reasons), framework/preemption, v1.36.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.kernel.native import Verdicts
from kubesched.state import live, rows
from kubesched.state.claims import NO_CLAIMS, UNAVAILABLE
from kubesched.state.stateful import Rejection

ERROR = "Error"
UNSCHEDULABLE = "Unschedulable"
UNRESOLVABLE = "UnschedulableAndUnresolvable"
PREFILTER_RESULT = "PreFilterResult"
"""Plugin name under which nodes are listed that a PreFilter restriction cut off."""

REASONS: dict[str, str] = {
    "NodeUnschedulable": "node(s) were unschedulable",
    "NodeName": "node(s) didn't match the requested node name",
    "TaintToleration": "node(s) had untolerated taint(s)",
    "NodeAffinity": "node(s) didn't match Pod's node affinity/selector",
    "NodePorts": "node(s) didn't have free ports for the requested pod ports",
    "GpuShare": "node(s) didn't have the requested device share",
}
_ENFORCED = "node(s) didn't match scheduler-enforced node affinity"
_DETAILS: dict[int, str] = {
    native.DETAIL_NO_TOPOLOGY: "node(s) didn't match pod topology spread constraints (missing required label)",
    native.DETAIL_SKEW: "node(s) didn't match pod topology spread constraints",
    native.DETAIL_AFFINITY: "node(s) didn't match pod affinity rules",
    native.DETAIL_ANTI_AFFINITY: "node(s) didn't match pod anti-affinity rules",
    native.DETAIL_EXISTING: "node(s) didn't satisfy existing pods anti-affinity rules",
}
"""Reasons of the pairwise filters, which fail in several ways."""
_PAIRWISE = ("PodTopologySpread", "InterPodAffinity")
_CONFLICT = "pod affinity terms conflict"
NO_NODES = "no nodes available to schedule pods"


@dataclass(frozen=True, slots=True)
class Status:
    """Why a node (or the pod itself) was turned down."""

    plugin: str
    code: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PreFilter:
    """What PreFilter said: a rejection, or the rows that are left."""

    status: Status | None = None
    rows: I32 | None = None


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One pod, all nodes.

    Parameters
    ----------
    statuses
        Distinct statuses.
    status_of
        Shape ``(N,)``: index into ``statuses``, -1 feasible, -2 no node in this row (or PreFilter said no).
    pre_filter
        PreFilter's part.
    n_nodes
        Nodes that can be chosen, removed rows left out.
    """

    statuses: tuple[Status, ...]
    status_of: I32
    n_nodes: int
    pre_filter: PreFilter = field(default_factory=PreFilter)

    @property
    def feasible(self) -> I32:
        """Rows that every filter passes, ascending."""
        return np.flatnonzero(self.status_of == NO_NODE).astype(np.int32)

    def histogram(self) -> dict[str, int]:
        """Nodes by reason; a node with several reasons counts for each."""
        counts: dict[str, int] = {}
        for number, status in enumerate(self.statuses):
            nodes = int(np.count_nonzero(self.status_of == number))
            for reason in status.reasons or (_restricted_reason(),):
                counts[reason] = counts.get(reason, 0) + nodes
        return counts

    def message(self) -> str:
        """Text of the FailedScheduling event before preemption's part; empty if a node is feasible."""
        if self.n_nodes == 0:
            return NO_NODES
        rejected = self.pre_filter.status
        if rejected is not None:
            return f"0/{self.n_nodes} nodes are available: {', '.join(rejected.reasons)}."
        if np.any(self.status_of == NO_NODE):
            return ""
        return fit_error(self.n_nodes, self.histogram())


def fit_error(n_nodes: int, histogram: dict[str, int]) -> str:
    """``0/N nodes are available: ...``; the parts are sorted as text, count first, as upstream does."""
    parts = sorted(f"{count} {reason}" for reason, count in histogram.items() if count)
    return f"0/{n_nodes} nodes are available: {', '.join(parts)}." if parts else f"0/{n_nodes} nodes are available:"


def _restricted_reason() -> str:
    return "node(s) didn't satisfy plugin(s) [NodeAffinity]"


# ---- PreFilter ----


def named_nodes(shape: rows.PodShape) -> set[str] | None:
    """Names that the required terms restrict the pod to, or None if some term leaves all nodes open."""
    if not shape.required_terms:
        return None
    names: set[str] = set()
    for term in shape.required_terms:
        lists = [set(q.values) for q in term.requirements if q.is_field and q.operator == "In"]
        if not lists:
            return None
        names |= set.intersection(*lists)
    return names


def _pre_filter(state: live.ClusterState, shape: rows.PodShape, rejection: Rejection | None) -> PreFilter:
    names = named_nodes(shape)
    if names is not None and not names:
        return PreFilter(Status("NodeAffinity", UNRESOLVABLE, (_CONFLICT,)))
    if rejection is not None:
        return PreFilter(rejection_status(rejection))
    if names is None:
        return PreFilter()
    found = sorted(row for row in (state.row_of(name) for name in names) if row is not None)
    return PreFilter(rows=np.array(found, dtype=np.int32))


def rejection_status(rejection: Rejection) -> Status:
    """What a stateful plugin's PreFilter said, as a status."""
    code = ERROR if rejection.is_error else UNRESOLVABLE if rejection.unresolvable else UNSCHEDULABLE
    return Status(rejection.plugin, code, rejection.reasons)


# ---- Filter ----


def diagnose(
    state: live.ClusterState, shape: rows.PodShape, verdicts: Verdicts, rejection: Rejection | None = None
) -> Diagnosis:
    """Name what the engine found. O(N), no Python per node.

    Parameters
    ----------
    verdicts
        Of ``state.engine.explain``.
    rejection
        What ``state.prepare`` said before.
    """
    n = len(verdicts.filter)
    status_of = np.full(n, -2, dtype=np.int32)
    pre_filter = _pre_filter(state, shape, rejection)
    if pre_filter.status is not None:
        return Diagnosis((), status_of, state.n_choosable, pre_filter)
    open_rows = verdicts.filter != native.REMOVED_ROW
    statuses: list[Status] = []
    if pre_filter.rows is not None:
        outside = open_rows.copy()
        outside[pre_filter.rows] = False
        if outside.any():
            status_of[outside] = len(statuses)
            statuses.append(Status(PREFILTER_RESULT, UNRESOLVABLE))
        open_rows &= ~outside
    status_of[open_rows & (verdicts.filter == NO_NODE)] = NO_NODE
    for number, name in native.FILTER_NAMES.items():
        failing = np.flatnonzero(open_rows & (verdicts.filter == number))
        if failing.size and name == "NodeResourcesFit":
            _add_fit(state, verdicts, failing, statuses, status_of)
        elif failing.size:
            _add_filter(state, verdicts, name, failing, statuses, status_of)
    for number, (name, reason) in state.user_filters.items():
        failing = np.flatnonzero(open_rows & (verdicts.filter == number))
        if failing.size:
            status_of[failing] = len(statuses)
            statuses.append(Status(name, UNSCHEDULABLE, (reason,)))
    return Diagnosis(tuple(statuses), status_of, state.n_choosable, pre_filter)


@dataclass(frozen=True, slots=True)
class Found:
    """What the engine says of a pod, and in kube-scheduler's words."""

    diagnosis: Diagnosis
    verdicts: Verdicts
    rejection: Rejection | None
    """What PreFilter of a stateful plugin said."""


def ask(state: live.ClusterState, profile: int, pod: rows.PodRow, class_id: int, n_scores: int = 0) -> Found:
    """PreFilter, every node, and `diagnose`, for this pod by name; ``n_scores``: how many scores to tell. O(N)."""
    with state.evictions.asking(pod):
        rejection = state.prepare(pod.key, class_id, profile)
        verdicts = state.engine.explain(profile, class_id, n_scores)
    return Found(diagnose(state, pod.shape, verdicts, rejection), verdicts, rejection)


class Why:
    """Why a pod fits nowhere; nodes are looked at only where somebody wants to know of single ones.

    Parameters
    ----------
    known
        The answer, where it was asked before.
    """

    def __init__(
        self, state: live.ClusterState, profile: int, pod: rows.PodRow, class_id: int, known: Diagnosis | None = None
    ) -> None:
        self._state, self._profile, self._pod, self._class_id, self._known = state, profile, pod, class_id, known

    @property
    def diagnosis(self) -> Diagnosis:
        """Of every node, for this pod by name."""
        if self._known is None:
            self._known = ask(self._state, self._profile, self._pod, self._class_id).diagnosis
        return self._known

    @property
    def pre_filter(self) -> PreFilter:
        if self._state.is_concerned(self._class_id) or named_nodes(self._pod.shape) is not None:
            return self.diagnosis.pre_filter
        return PreFilter()


def _add_filter(
    state: live.ClusterState,
    verdicts: Verdicts,
    name: str,
    failing: np.ndarray[tuple[int], np.dtype[np.intp]],
    statuses: list[Status],
    status_of: I32,
) -> None:
    """One status for each detail of a filter that fails in one way per node."""
    kinds = verdicts.detail[failing].astype(np.int64) * 2 + verdicts.unresolvable[failing]
    for kind in np.unique(kinds):
        status_of[failing[kinds == kind]] = len(statuses)
        code = UNRESOLVABLE if kind % 2 else UNSCHEDULABLE
        statuses.append(Status(name, code, _reasons(state, name, int(kind // 2))))


def _reasons(state: live.ClusterState, name: str, detail: int) -> tuple[str, ...]:
    if name == "NodeAffinity" and detail == native.DETAIL_ENFORCED:
        return (_ENFORCED,)
    if name in REASONS:
        return (REASONS[name],)
    return (_DETAILS[detail],) if name in _PAIRWISE else state.reasons.reasons(name, detail)


def _add_fit(
    state: live.ClusterState,
    verdicts: Verdicts,
    failing: np.ndarray[tuple[int], np.dtype[np.intp]],
    statuses: list[Status],
    status_of: I32,
) -> None:
    """One status for each distinct set of short resources and code."""
    keys = np.column_stack([verdicts.insufficient[failing], verdicts.unresolvable[failing].astype(np.uint64)])
    order = np.lexsort(keys.T[::-1])  # np.unique over rows sorts them as records, which is slow
    ordered = keys[order]
    first = np.ones(len(order), dtype=bool)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    status_of[failing[order]] = np.cumsum(first, dtype=np.int32) - 1 + len(statuses)
    for key in ordered[first]:
        bits = [64 * word + bit for word, mask in enumerate(key[:-1]) for bit in _bits(int(mask))]
        reasons = sorted(_short(state.names.resources.value(bit)) for bit in bits)
        statuses.append(Status("NodeResourcesFit", UNRESOLVABLE if key[-1] else UNSCHEDULABLE, tuple(reasons)))


# ---- in numbers ----


@dataclass(frozen=True, slots=True)
class Summary:
    """One pod against all nodes, in numbers.

    Parameters
    ----------
    histogram
        Nodes by reason; a node with several reasons counts for each.
    best_score, n_best, best_row
        Highest total, how many nodes have it, and the first of them; -1, 0 and -1 without a feasible node.
    unresolvable
        Nodes on which evicting pods cannot help.
    message
        Text of the FailedScheduling event before preemption's part; empty if a node is feasible.
    """

    n_nodes: int
    feasible: int
    histogram: dict[str, int]
    best_score: int
    n_best: int
    best_row: int
    unresolvable: int
    message: str


def summarize(
    state: live.ClusterState, profile: int, class_id: int, shape: rows.PodShape, rejection: Rejection | None = None
) -> Summary:
    """Count instead of naming: the numbers of `diagnose`. O(N), a few ns a node; with arrays if terms name nodes."""
    pre_filter = _pre_filter(state, shape, rejection)
    if pre_filter.status is not None or pre_filter.rows is not None:
        verdicts = state.engine.explain(profile, class_id, 0)
        found = diagnose(state, shape, verdicts, rejection)
        return summary_of(found, verdicts)
    counts = state.engine.summarize(profile, class_id)
    histogram = histogram_of(state, counts)
    message = "" if counts.feasible else fit_error(state.n_choosable, histogram) if state.n_choosable else NO_NODES
    unresolvable = int(counts.rejected[:, native.VERDICT_UNRESOLVABLE :].sum())
    best = counts.score, counts.ties, counts.node
    return Summary(state.n_choosable, counts.feasible, histogram, *best, unresolvable, message)


def histogram_of(state: live.ClusterState, counts: native.Counts) -> dict[str, int]:
    """Nodes by reason."""
    histogram: dict[str, int] = {}
    for number, detail in zip(*np.nonzero(counts.rejected), strict=True):
        for reason in _counted_reasons(state, int(number), int(detail) & ~native.VERDICT_UNRESOLVABLE):
            histogram[reason] = histogram.get(reason, 0) + int(counts.rejected[number, detail])
    for resource in np.flatnonzero(counts.insufficient).tolist():
        histogram[_short(state.names.resources.value(resource))] = int(counts.insufficient[resource])
    return histogram


def _counted_reasons(state: live.ClusterState, number: int, detail: int) -> tuple[str, ...]:
    """Those of a filter by its number; of NodeResourcesFit none, whose resources are counted one by one."""
    if number in state.user_filters:
        return (state.user_filters[number][1],)
    name = native.FILTER_NAMES[number]
    return () if name == "NodeResourcesFit" else _reasons(state, name, detail)


def summary_of(found: Diagnosis, verdicts: Verdicts) -> Summary:
    """The numbers of a diagnosis."""
    feasible = found.feasible
    best = feasible[verdicts.total[feasible] == verdicts.total[feasible].max()] if feasible.size else feasible
    score = int(verdicts.total[best[0]]) if best.size else -1
    hard = [i for i, status in enumerate(found.statuses) if status.code == UNRESOLVABLE]
    unresolvable = int(np.isin(found.status_of, hard).sum())
    first = int(best[0]) if best.size else NO_NODE
    histogram, message = found.histogram(), found.message()
    return Summary(found.n_nodes, feasible.size, histogram, score, best.size, first, unresolvable, message)


def _bits(mask: int) -> list[int]:
    return [bit for bit in range(64) if mask >> bit & 1]


def _short(resource: str) -> str:
    return "Too many pods" if resource == rows.PODS else f"Insufficient {resource}"


# ---- gates and claims ----


def gate_status(gates: tuple[str, ...]) -> Status:
    """Why a gated pod does not enter the queue."""
    return Status("SchedulingGates", UNRESOLVABLE, (f"waiting for scheduling gates: [{' '.join(gates)}]",))


def gate_reason(gates: tuple[str, ...]) -> str:
    """What `gate_status` says of a gated pod; empty for one without gates."""
    return gate_status(gates).reasons[0] if gates else ""


def claims_text(state: live.ClusterState, key: str, class_id: int, why: Why) -> str:
    """What DynamicResources' PostFilter says of a pod that fits nowhere."""
    if not state.claims.concerns(state.shape_of(class_id)):
        return NO_CLAIMS
    return state.claims.post_filter(key, unavailable_rows(why.diagnosis))


def unavailable_rows(diagnosis: Diagnosis) -> I32:
    """Rows that an allocated claim does not reach and that have devices for the others."""
    unavailable = [i for i, status in enumerate(diagnosis.statuses) if status.reasons == (UNAVAILABLE,)]
    return np.flatnonzero(np.isin(diagnosis.status_of, unavailable)).astype(np.int32)

# SPDX-License-Identifier: Apache-2.0
"""Recorded sequences through the product path, with both drivers.

Pods are placed one after another; pods and nodes come, change and go in between.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.framework import cycle, preemption
from kubesched.framework import diagnosis as diagnoses
from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.parity.cases import Case
from kubesched.parity.loading import load, objects
from kubesched.parity.outcome import Difference
from kubesched.scheduler import encode, pods
from kubesched.state import rows
from kubesched.state.evictions import BoundPod

_DRIVERS = ("dense", "indexed")


def replay_sequence(case: Case) -> list[Difference]:
    state, pods = load(case, case["sequence"])
    profile = profiles.register(state, profiles.find(case["profile"]))
    open_pods = [i for i, pod in enumerate(pods) if not pod.scheduling_gates]
    classes = state.classes_of([pods[i] for i in open_pods])
    out = []
    for name in _DRIVERS:
        mark = state.speculate()
        options = native.Options(profile, driver=native.DRIVERS[name])
        decided = cycle.decide(state, options, [pods[i].key for i in open_pods], classes)
        state.rollback(mark)
        got = _sequence_columns(len(pods), open_pods, decided.columns)
        for field, column in got.items():
            wanted = case["expect"].get(field)
            if wanted != column:
                step = _first_difference(wanted, column)
                out.append(Difference(f"{name} driver: {field}[{step}]", _at(wanted, step), _at(column, step)))
    unknown = case["expect"].keys() - {"node", "ties", "feasible", "score"}
    return out + [Difference(field, case["expect"][field], None) for field in sorted(unknown)]


def _sequence_columns(n: int, open_pods: list[int], d: native.Decisions) -> dict[str, list[int]]:
    """Columns as recorded: -2 for gated pods; no score where the real scheduler does not score."""
    node, ties, feasible, score = [-2] * n, [0] * n, [0] * n, [-1] * n
    for at, i in enumerate(open_pods):
        node[i], feasible[i] = int(d.node[at]), int(d.feasible[at])
        ties[i] = int(d.ties[at])
        score[i] = int(d.score[at]) if feasible[i] > 1 else -1
    return {"node": node, "ties": ties, "feasible": feasible, "score": score}


def _first_difference(a: Any, b: list[int]) -> int:
    if not isinstance(a, list):
        return 0
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _at(column: Any, step: int) -> Any:
    return column[step] if isinstance(column, list) and step < len(column) else None


# ---- operations ----


def replay_operations(case: Case) -> list[Difference]:
    """Do all steps with each driver, and compare every recorded column."""
    out = []
    for name in _DRIVERS:
        run = _Operations(case, name)
        for step, op in enumerate(case["ops"]):
            run.do(step, op)
        expect = {"victims": {}, "preemptTies": {}} | case["expect"]
        for field, got in run.columns.items():
            wanted = expect.pop(field, None)
            if wanted != got:
                at = _first_difference(wanted, got) if isinstance(got, list) else 0
                shown = (_at(wanted, at), _at(got, at)) if isinstance(got, list) else (wanted, got)
                out.append(Difference(f"{name} driver: {field}[{at}]", *shown))
        out += [Difference(field, value, None) for field, value in sorted(expect.items())]
    return out


class _Operations:
    """One run. Numbers of nodes are those of the record: a node that is added gets the next one."""

    def __init__(self, case: Case, driver: str) -> None:
        self._state = load(case, [])[0]
        self._profile = profiles.find(case["profile"])
        self._number = profiles.register(self._state, self._profile)
        self._driver = native.DRIVERS[driver]
        self._spread = pods.DefaultSpread(objects(case, []))
        self._node_of = {row: row for row in range(self._state.n_nodes)}
        self._n_nodes = self._state.n_nodes
        self.columns: dict[str, Any] = {"node": [], "ties": [], "feasible": [], "score": []}
        self.columns |= {"victims": {}, "preemptTies": {}}

    def do(self, step: int, op: dict[str, Any]) -> None:
        state = self._state
        if op["op"] == "schedule":
            self._schedule(str(step), op)
        elif op["op"] == "deletePod":
            if op["name"] in state.pods:
                state.release([op["name"]])
        elif op["op"] == "addNode":
            state.add_nodes([encode.node_row(op["node"])])
            self._node_of[state.row_of(op["node"]["metadata"]["name"]) or 0] = self._n_nodes
            self._n_nodes += 1
        elif op["op"] == "updateNode":
            state.update_node(encode.node_row(op["node"]))
        elif op["op"] == "deleteNode":
            state.remove_node(op["name"])
        else:
            raise errors.UnsupportedError(f"operation {op['op']}", "is not known")

    def _schedule(self, step: str, op: dict[str, Any]) -> None:
        pod = encode.pod_row(op["pod"], spread=self._spread)
        if pod.scheduling_gates:
            self._record(-2, 0, 0, -1)
            return
        class_id = self._state.class_of(pod)
        options = native.Options(self._number, driver=self._driver, commit=False)
        found = cycle.decide(self._state, options, [pod.key], arrays.int32([class_id])).columns
        feasible, score = int(found.feasible[0]), int(found.score[0])
        if feasible > 0:
            row = self._first_of_best(pod, class_id, int(found.node[0]), int(found.ties[0]))
            self._put(pod, class_id, row)
            self._record(self._node_of[row], int(found.ties[0]), feasible, score if feasible > 1 else -1)
        elif not op.get("preempt") or not self._evict(step, pod, class_id):
            self._record(-1, 0, 0, -1)

    def _record(self, *entry: int) -> None:
        for name, value in zip(("node", "ties", "feasible", "score"), entry, strict=True):
            self.columns[name].append(value)

    def _first_of_best(self, pod: rows.PodRow, class_id: int, chosen: int, ties: int) -> int:
        """The driver takes the lowest row; rows of deleted nodes are used again, numbers of the record are not."""
        if ties == 1 or all(row == node for row, node in self._node_of.items()):
            return chosen
        found = diagnoses.ask(self._state, self._number, pod, class_id)
        feasible = found.diagnosis.feasible
        total = found.verdicts.total[feasible]
        best = feasible[total == total.max()].tolist()
        if chosen not in best or len(best) != ties:
            raise errors.KubeschedError(f"Pod {pod.key}", "the driver's choice is not among the best", (chosen, best))
        return int(min(best, key=lambda row: self._node_of[row]))

    def _put(self, pod: rows.PodRow, class_id: int, row: int) -> None:
        state = self._state
        state.engine.bind(arrays.int32([class_id]), arrays.int32([row]), np.zeros(1, dtype=np.uint64))
        state.remember([pod.key], [BoundPod.of(pod, class_id, row)])
        state.reserve(pod.key, class_id, row)

    def _evict(self, step: str, pod: rows.PodRow, class_id: int) -> bool:
        why = diagnoses.Why(self._state, self._number, pod, class_id)
        found = preemption.post_filter(self._state, self._number, pod, class_id, why)
        if found.row < 0:
            return False
        self._state.release(list(found.victims))
        self._put(pod, class_id, found.row)
        self.columns["victims"][step] = list(found.victims)
        if found.ties > 1:
            self.columns["preemptTies"][step] = found.ties
        self._record(self._node_of[found.row], 1, 1, -1)
        return True

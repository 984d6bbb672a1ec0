# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about gangs: pods of a PodGroup decided one by one, on copies of the nodes.

Written from the specification: PreEnqueue lets a gang's pods in once minCount of them exist; the cycle assumes each
pod that fits; Permit succeeds for a pod if minCount pods of its group run or are assumed by then; if it succeeded for
none, nothing is bound. A group with a topology constraint goes through that once for each value of the label, with only
the nodes that have it to choose from; the best of the successful attempts counts. Imports nothing of kubesched.

Source: pkg/scheduler (schedule_one_podgroup.go, framework/plugins/{gangscheduling,topologyaware,podgrouppodscount,
noderesources}), v1.36.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import oracle
from tests.oracle import Obj

Decide = Callable[[Obj, list[oracle.Node], list[int]], Obj]
"""Decides one pod on nodes, as `oracle.decide` does, choosing among some of them."""
Groups = dict[str, int | None]
"""minCount by name; None: the Basic policy."""


@dataclass
class Ending:
    """What became of the pods of a list, and of its groups."""

    node: list[int] = field(default_factory=list)
    """Index of the node; -1: none, -2: not let in."""
    fits: dict[str, bool] = field(default_factory=dict)
    """By name of the group: Permit succeeded for some pod."""
    messages: dict[str, list[str]] = field(default_factory=dict)
    """By name of the group: messages of the pods that did not fit, in order; of the best placement, or the first."""
    placements: dict[str, int] = field(default_factory=dict)
    """By name of a group with a topology: how many were tried."""
    best: dict[str, list[str]] = field(default_factory=dict)
    """Label values of the placements with the best score."""
    errors: dict[str, str] = field(default_factory=dict)
    """Why a group could not be decided at all."""


def group_of(pod: Obj) -> str:
    return str(pod["spec"].get("schedulingGroup", {}).get("podGroupName", ""))


@dataclass
class Attempt:
    """A group decided on some of the nodes."""

    nodes: list[oracle.Node]
    """As they are afterwards."""
    chosen: dict[int, int] = field(default_factory=dict)
    """Node of each pod, by position; -1: none."""
    messages: list[str] = field(default_factory=list)
    permitted: bool = False


@dataclass
class Round:
    """Pods of a list, decided on nodes that change.

    running: pods that count for their groups. topologies: label keys by name of the group.
    """

    nodes: list[oracle.Node]
    running: list[Obj]
    groups: Groups
    pods: list[Obj]
    decide: Decide
    topologies: dict[str, str] = field(default_factory=dict)
    out: Ending = field(default_factory=Ending)

    def run(self) -> Ending:
        self.out.node = [-1] * len(self.pods)
        seen: set[str] = set()
        for i, pod in enumerate(self.pods):
            name = group_of(pod)
            if pod["spec"].get("schedulingGates"):
                self.out.node[i] = -2
            elif not name:
                self.out.node[i] = self.bind(self.nodes, pod, list(range(len(self.nodes))))[0]
            elif name not in seen:
                seen.add(name)
                self.place_group(name)
        return self.out

    def bind(self, nodes: list[oracle.Node], pod: Obj, rows: list[int]) -> tuple[int, str]:
        answer = self.decide(pod, nodes, rows)
        if not answer["feasible"]:
            return -1, str(answer["message"])
        row = int(answer["best"][0])
        nodes[row].add(pod)
        return row, ""

    def members(self, name: str) -> list[int]:
        mine = [k for k, p in enumerate(self.pods) if group_of(p) == name and not p["spec"].get("schedulingGates")]
        return sorted(mine, key=lambda k: -self.pods[k]["spec"].get("priority", 0))

    def place_group(self, name: str) -> None:
        exist = sum(group_of(p) == name for p in self.running + self.pods)
        least = self.groups.get(name)
        if name not in self.groups or (least is not None and exist < least):
            for k in self.members(name):
                self.out.node[k] = -2
            return
        self.out.fits[name] = False
        try:
            placements = self.placements(name)
        except LookupError as error:
            self.out.errors[name] = f"cannot determine domain for already scheduled pods: {error.args[0]}"
            return
        attempts = {value: self.attempt(name, rows) for value, rows in placements.items()}
        good = {value: attempt for value, attempt in attempts.items() if attempt.permitted}
        best = self.best(name, good, placements)
        if name in self.topologies:
            self.out.placements[name], self.out.best[name] = len(placements), best
        told = [attempts[value] for value in best or list(attempts)][:1]
        self.out.messages[name] = told[0].messages if told else []
        if best:
            self.out.fits[name] = True
            self.nodes[:] = told[0].nodes
            for k, row in told[0].chosen.items():
                self.out.node[k] = row

    def attempt(self, name: str, rows: list[int]) -> Attempt:
        least = self.groups[name]
        made = Attempt(copy.deepcopy(self.nodes))
        scheduled = sum(group_of(p) == name for p in self.running)
        for k in self.members(name):
            made.chosen[k], message = self.bind(made.nodes, self.pods[k], rows)
            if made.chosen[k] < 0:
                made.messages.append(message)
                continue
            scheduled += 1
            made.permitted = made.permitted or least is None or scheduled >= least
        return made

    # ---- placements ----

    def placements(self, name: str) -> dict[str, list[int]]:
        """Rows of each, by value of the label, in the order of the nodes; without a topology all nodes are one."""
        key = self.topologies.get(name)
        if key is None:
            return {"": list(range(len(self.nodes)))}
        domain = self.domain(name, key)
        out: dict[str, list[int]] = {}
        for row, node in enumerate(self.nodes):
            if key in node.labels and domain in (None, node.labels[key]):
                out.setdefault(node.labels[key], []).append(row)
        return out

    def domain(self, name: str, key: str) -> str | None:
        """Where the group's pods run already; None: none does."""
        found: str | None = None
        for pod in self.running:
            if group_of(pod) != name:
                continue
            where = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
            node = next(n for n in self.nodes if n.name == pod["spec"]["nodeName"])
            if key not in node.labels:
                raise LookupError(f"no topology domain found for pod {where}")
            domain = node.labels[key]
            if found and found != domain:
                raise LookupError(f"more than 1 domain found for pod group: {found}, {domain}")
            found = domain
        return found

    def best(self, name: str, good: dict[str, Attempt], placements: dict[str, list[int]]) -> list[str]:
        """Values with the greatest sum of PodGroupPodsCount and NodeResourcesFit, each 0 to 100 of weight 1."""
        if len(good) < 2:
            return list(good)
        there = sum(group_of(p) == name for p in self.running)
        counts = {value: there + sum(row >= 0 for row in a.chosen.values()) for value, a in good.items()}
        total = {
            value: counts[value] * 100 // max(counts.values()) + self.packing(good[value], placements[value])
            for value in good
        }
        return [value for value in good if total[value] == max(total.values())]

    def packing(self, attempt: Attempt, rows: list[int]) -> int:
        """MostAllocated of the placement as if it were one node, on the nodes without the group's new pods."""
        placed = [oracle.fit_requests(self.pods[k]) for k, row in attempt.chosen.items() if row >= 0]
        scores = []
        for name in ("cpu", "memory"):
            mine = [self.nodes[row] for row in rows if self.nodes[row].alloc.get(name, 0) > 0]
            alloc = sum(node.alloc[name] for node in mine)
            asked = sum(p.get(name, 0) for p in placed) + sum(node.nonzero[name] for node in mine)
            if alloc > 0:
                scores.append(min(asked, alloc) * 100 // alloc)
        return sum(scores) // len(scores) if scores else 0

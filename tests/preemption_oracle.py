# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about eviction: nominated pods, who is evicted where, and which node is taken.

Written from the specification; the filters are those of the other oracles, put in order here and asked again while a
trial takes pods away and puts them back. Imports nothing of kubesched. Decided here, for pods without claims on
devices: the statuses of all nodes with nominated pods in mind, the pod's own nominated node, who may evict, the
candidates with their victims and broken budgets, the choice and its ties, and the message. Scores are not
(tests/decision_oracle.py).

Source: pkg/scheduler (schedule_one.go, framework/runtime RunFilterPluginsWithNominatedPods, framework/preemption,
framework/plugins/defaultpreemption), v1.36.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any

from tests import oracle, volume_oracle
from tests.oracle import UNRESOLVABLE, UNSCHEDULABLE, Node, Obj, Status
from tests.pairwise_oracle import Affinity, Defaults, Spread, is_empty, labels, namespace, selects
from tests.volume_oracle import Storage

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER = "not eligible due to preemptionPolicy=Never."
WAITING = "not eligible due to a terminating pod on the nominated node."

# ---- small readings ----


def key(pod: Obj) -> str:
    return f"{namespace(pod)}/{pod['metadata']['name']}"


def priority(pod: Obj) -> int:
    return pod["spec"].get("priority") or 0


def started(pod: Obj) -> str:
    """RFC 3339 in UTC sorts as text. A pod that has not started counts as started last."""
    return (pod.get("status") or {}).get("startTime") or "~"


def nominated_node(pod: Obj) -> str:
    return (pod.get("status") or {}).get("nominatedNodeName") or ""


# ---- a cluster ----


@dataclass
class World:
    """Nodes with their pods, pods that wait for a nominated node, budgets, and what the filters look up."""

    nodes: list[Node]
    waiting: list[Obj] = field(default_factory=list)
    budgets: list[Obj] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels of the namespaces that exist."""
    defaults: Defaults = field(default_factory=Defaults)
    storage: Storage = field(default_factory=Storage)
    enough: tuple[int, int] = (100, 0)
    """``minCandidateNodesPercentage`` and ``minCandidateNodesAbsolute``."""
    offset: int = 0
    """Which of the nodes that eviction may help is tried first."""


def build(case: Obj) -> World:
    """The cluster of a recorded case, before the decision."""
    pods = case.get("pods") or []
    return World(
        nodes=oracle.build(case["nodes"], pods),
        waiting=[p for p in pods if not p["spec"].get("nodeName") and nominated_node(p)],
        budgets=case.get("pdbs") or [],
        namespaces={n["metadata"]["name"]: labels(n) for n in case.get("namespaces") or []},
        defaults=Defaults.of(case),
        storage=Storage.of(case),
    )


class Trial:
    """What the filters of one pod see; pods can be taken off and put back on a copy of a node."""

    def __init__(self, pod: Obj, world: World) -> None:
        self.pod, self.world, self.ask = pod, world, oracle.Ask(pod)
        self.nodes = list(world.nodes)
        self.spread = Spread(pod, world.nodes, world.defaults)
        self.affinity = Affinity(pod, world.nodes, world.namespaces)

    def on_copy(self, node: Node) -> tuple[Trial, Node]:
        """A copy of the counts and of one node."""
        trial, mine = copy.copy(self), copy.copy(node)
        trial.spread, trial.affinity = copy.copy(self.spread), copy.copy(self.affinity)
        trial.spread.counts = [dict(c) for c in self.spread.counts]
        for name in ("existing", "near_counts", "apart_counts"):
            setattr(trial.affinity, name, Counter(getattr(self.affinity, name)))
        mine.pods, mine.used, mine.ports = list(node.pods), dict(node.used), set(node.ports)
        mine.nonzero = dict(node.nonzero)
        trial.nodes = [mine if n is node else n for n in self.nodes]
        return trial, mine

    def add(self, node: Node, pod: Obj) -> None:
        node.add(pod)
        self.spread.update(node, pod, 1)
        self.affinity.update(node, pod, 1)

    def remove(self, node: Node, pod: Obj) -> None:
        node.remove(pod)
        self.spread.update(node, pod, -1)
        self.affinity.update(node, pod, -1)

    def _once(self, node: Node) -> Status | None:
        return (
            volume_oracle.filter_node(self.pod, self.ask, node, self.nodes, self.world.storage)
            or self.spread.judge(node)
            or self.affinity.judge(node)
            or oracle.declared_features(self.ask, node)
        )

    def judge(self, node: Node) -> Status | None:
        """With the nominated pods that this one must yield to, and without them."""
        there = [
            other
            for other in self.world.waiting
            if nominated_node(other) == node.name
            and priority(other) >= priority(self.pod)
            and key(other) != key(self.pod)
        ]
        if there:
            trial, mine = self.on_copy(node)
            for other in there:
                trial.add(mine, other)
            status = trial._once(mine)
            if status is not None:
                return status
        return self._once(node)


# ---- whom to evict on a node ----


@dataclass(frozen=True)
class Candidate:
    index: int
    victims: list[Obj]
    violations: int


def more_important(a: Obj, b: Obj) -> int:
    if priority(a) != priority(b):
        return -1 if priority(a) > priority(b) else 1
    return -1 if started(a) < started(b) else int(started(a) > started(b))


IMPORTANCE = cmp_to_key(more_important)


def breaks_budget(pods: Sequence[Obj], budgets: Sequence[Obj]) -> list[bool]:
    """For each pod in turn, whether evicting it would be one too many for a budget."""
    left = [(b.get("status") or {}).get("disruptionsAllowed") or 0 for b in budgets]
    out = []
    for pod in pods:
        broken = False
        for i, b in enumerate(budgets):
            selector = b["spec"].get("selector")
            if namespace(b) != namespace(pod) or not labels(pod) or selector is None or is_empty(selector):
                continue
            disrupted = (b.get("status") or {}).get("disruptedPods") or {}
            if not selects(selector, labels(pod)) or pod["metadata"]["name"] in disrupted:
                continue
            left[i] -= 1
            broken |= left[i] < 0
        out.append(broken)
    return out


def try_node(outer: Trial, index: int) -> Candidate | Status:
    """Take all pods of lower priority away; put back whom the pod leaves room for, the most important first."""
    trial, node = outer.on_copy(outer.world.nodes[index])
    lower = [other for other in node.pods if priority(other) < priority(trial.pod)]
    if not lower:
        return "", UNRESOLVABLE, [NO_VICTIMS]
    for other in lower:
        trial.remove(node, other)
    status = trial.judge(node)
    if status is not None:
        return status
    lower.sort(key=IMPORTANCE)
    broken = breaks_budget(lower, trial.world.budgets)
    victims: list[Obj] = []
    violations = 0
    for wanted in (True, False):
        for other, breaks in zip(lower, broken, strict=True):
            if breaks != wanted:
                continue
            trial.add(node, other)
            if trial.judge(node) is not None:
                trial.remove(node, other)
                victims.append(other)
                violations += wanted
    victims.sort(key=IMPORTANCE)
    return Candidate(index, victims, violations)


def worth(c: Candidate) -> tuple[int, int, int, int]:
    """Smaller is better; the start times come after."""
    numbers = [priority(v) for v in c.victims]
    return c.violations, max(numbers), sum(n + 2**31 for n in numbers), len(numbers)


def earliest(c: Candidate) -> str:
    top = max(priority(v) for v in c.victims)
    return min(started(v) for v in c.victims if priority(v) == top)


def best_of(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates that are equal under all criteria."""
    least = min(map(worth, candidates))
    left = [c for c in candidates if worth(c) == least]
    latest = max(map(earliest, left))
    return [c for c in left if earliest(c) == latest]


# ---- the decision ----


def decide(pod: Obj, world: World) -> Obj:
    """Statuses of all nodes, or the pod's nominated node if it still fits; ``preemption`` where nothing does."""
    names = oracle.named_nodes(oracle.Ask(pod))
    if names == set() or not world.nodes:
        return oracle.decide(pod, world.nodes)
    rejected = volume_oracle.rejection(pod, world.nodes, world.storage)
    if rejected is not None:
        return rejected
    trial = Trial(pod, world)
    own = next((i for i, n in enumerate(world.nodes) if n.name == nominated_node(pod)), None)
    if own is not None and trial.judge(world.nodes[own]) is None:
        return {"nominatedNodeUsed": True, "feasible": [own], "best": [own]}
    statuses = [
        trial.judge(n) if names is None or n.name in names else ("PreFilterResult", UNRESOLVABLE, [])
        for n in world.nodes
    ]
    result: Obj = {"status": statuses, "feasible": [i for i, s in enumerate(statuses) if s is None]}
    if names is not None:
        left = [i for i, n in enumerate(world.nodes) if n.name in names]
        result["preFilter"] = {"plugin": "NodeAffinity", "code": "Success", "nodes": left}
    if not result["feasible"]:
        result["message"] = oracle.fit_error(len(world.nodes), oracle.histogram(statuses))
        if not pod["spec"].get("nodeName"):
            result["preemption"] = post_filter(trial, statuses)
    return result


def refusal(trial: Trial, statuses: Sequence[Status | None]) -> str:
    """Why the pod may not evict anybody; empty if it may."""
    pod = trial.pod
    if pod["spec"].get("preemptionPolicy") == "Never":
        return NEVER
    for node, status in zip(trial.world.nodes, statuses, strict=True):
        if node.name == nominated_node(pod) and (status is None or status[1] != UNRESOLVABLE):
            gone = [p for p in node.pods if priority(p) < priority(pod) and is_being_evicted(p)]
            return WAITING if gone else ""
    return ""


def is_being_evicted(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    target = next((c for c in conditions if c["type"] == "DisruptionTarget"), None)
    by_scheduler = target is not None and target["status"] == "True" and target["reason"] == "PreemptionByScheduler"
    return by_scheduler and bool(pod["metadata"].get("deletionTimestamp"))


def post_filter(trial: Trial, statuses: Sequence[Status | None]) -> Obj:
    failed = {"code": UNSCHEDULABLE, "nominatedNode": -1}
    text = refusal(trial, statuses)
    if text:
        return failed | {"message": f"{oracle.NO_CLAIMS}, preemption: {text}"}
    tried = [i for i, s in enumerate(statuses) if s is not None and s[1] == UNSCHEDULABLE]
    answers, candidates = dry_run(trial, tried)
    if not candidates:
        reasons = Counter(r for a in answers if not isinstance(a, Candidate) for r in a[2])
        reasons[NOT_HELPFUL] = len(statuses) - len(tried)
        text = oracle.fit_error(len(statuses), reasons)
        return failed | {"message": f"{oracle.NO_CLAIMS}, preemption: {text}"}
    tie = best_of(candidates)
    return {
        "code": "Success",
        "nominatedNode": tie[0].index,
        "victims": [key(v) for v in tie[0].victims],
        "tie": [c.index for c in tie],
        "candidates": [recorded(c) for c in candidates],
    }


def dry_run(trial: Trial, tried: Sequence[int]) -> tuple[list[Candidate | Status], list[Candidate]]:
    """Answers of nodes, in a circle from the offset on, until enough are candidates; and the candidates kept."""
    percentage, least = trial.world.enough
    enough = min(max(len(tried) * percentage // 100, least), len(tried))
    answers: list[Candidate | Status] = []
    kind: dict[bool, list[Candidate]] = {False: [], True: []}  # whether it breaks budgets
    for at in range(len(tried)):
        answer = try_node(trial, tried[(trial.world.offset + at) % len(tried)])
        answers.append(answer)
        if isinstance(answer, Candidate):
            kind[answer.violations > 0].append(answer)
            if kind[False] and len(kind[False]) + len(kind[True]) >= enough:
                break
    kept = kind[False][:enough] + kind[True][:enough]
    return answers, sorted(kept, key=lambda c: c.index)


def recorded(c: Candidate) -> Obj:
    out: dict[str, Any] = {"node": c.index, "victims": [key(v) for v in c.victims]}
    return out | ({"pdbViolations": c.violations} if c.violations else {})

# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about eviction: nominated pods, who is evicted where, and which node is taken.

Written from the specification like tests/oracle.py, which it uses for what a node alone decides; the filters that look
at other pods are here, as counts that follow the pods which a trial takes away and puts back. Imports nothing of
kubesched. Decided here, for pods without volumes and claims: the statuses of all nodes with nominated pods in mind, the
pod's own nominated node, who may evict, the candidates with their victims and broken budgets, the choice and its ties,
and the message. Scores are not (tests/oracle.py has those of the plugins that look at one node).

Source: pkg/scheduler (schedule_one.go, framework/runtime RunFilterPluginsWithNominatedPods, framework/preemption,
framework/plugins/{defaultpreemption,podtopologyspread,interpodaffinity}), v1.36.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cmp_to_key
from typing import Any

from tests import oracle
from tests.oracle import UNRESOLVABLE, UNSCHEDULABLE, Node, Obj, Status

NO_VICTIMS = "No preemption victims found for incoming pod"
NOT_HELPFUL = "Preemption is not helpful for scheduling"
NEVER = "not eligible due to preemptionPolicy=Never."
WAITING = "not eligible due to a terminating pod on the nominated node."

# ---- small readings ----


def namespace(obj: Obj) -> str:
    return obj["metadata"].get("namespace") or "default"


def key(pod: Obj) -> str:
    return f"{namespace(pod)}/{pod['metadata']['name']}"


def labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def priority(pod: Obj) -> int:
    return pod["spec"].get("priority") or 0


def started(pod: Obj) -> str:
    """RFC 3339 in UTC sorts as text. A pod that has not started counts as started last."""
    return (pod.get("status") or {}).get("startTime") or "~"


def nominated_node(pod: Obj) -> str:
    return (pod.get("status") or {}).get("nominatedNodeName") or ""


def selects(selector: Obj | None, of: dict[str, str]) -> bool:
    if selector is None:
        return False
    exact = (selector.get("matchLabels") or {}).items()
    return all(of.get(k) == v for k, v in exact) and all(
        oracle.holds(of, q) for q in selector.get("matchExpressions") or []
    )


def is_empty(selector: Obj) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def required(pod: Obj, kind: str) -> list[Obj]:
    rules = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []


# ---- topology spreading ----


class Spread:
    """Counts of the hard constraints of one pod, by domain."""

    def __init__(self, pod: Obj, nodes: Sequence[Node]) -> None:
        self.pod, self.ask = pod, oracle.Ask(pod)
        rules = pod["spec"].get("topologySpreadConstraints") or []
        self.hard = [c for c in rules if c["whenUnsatisfiable"] == "DoNotSchedule"]
        self.selectors = [self._selector(c) for c in self.hard]
        self.counts: list[dict[str, int]] = [{} for _ in self.hard]
        for node in nodes:
            for i in self._counted(node):
                value = node.labels[self.hard[i]["topologyKey"]]
                self.counts[i][value] = self.counts[i].get(value, 0) + self._pods_on(node, i)

    def _selector(self, c: Obj) -> Obj | None:
        selector = c.get("labelSelector")
        mine = labels(self.pod)
        given = {k: mine[k] for k in c.get("matchLabelKeys") or [] if k in mine}
        if selector is None or not given:
            return selector
        more = [{"key": k, "operator": "In", "values": [v]} for k, v in given.items()]
        return selector | {"matchExpressions": (selector.get("matchExpressions") or []) + more}

    def _counted(self, node: Node) -> Iterator[int]:
        """Constraints for which the node counts."""
        if not all(c["topologyKey"] in node.labels for c in self.hard):
            return
        for i, c in enumerate(self.hard):
            by_affinity = (c.get("nodeAffinityPolicy") or "Honor") == "Ignore" or oracle.affinity_matches(
                self.ask, node
            )
            by_taints = (c.get("nodeTaintsPolicy") or "Ignore") == "Ignore" or oracle.taints(self.ask, node) is None
            if by_affinity and by_taints:
                yield i

    def _pods_on(self, node: Node, i: int) -> int:
        """An empty selector counts nobody; terminating pods do not count."""
        selector = self.selectors[i]
        if selector is None or is_empty(selector):
            return 0
        return sum(not other["metadata"].get("deletionTimestamp") and self._takes_in(i, other) for other in node.pods)

    def _takes_in(self, i: int, other: Obj) -> bool:
        return namespace(other) == namespace(self.pod) and selects(self.selectors[i], labels(other))

    def update(self, node: Node, other: Obj, sign: int) -> None:
        """A pod comes or goes during a trial: here terminating pods and empty selectors do count (upstream's way)."""
        for i in self._counted(node):
            if self._takes_in(i, other):
                self.counts[i][node.labels[self.hard[i]["topologyKey"]]] += sign

    def judge(self, node: Node) -> Status | None:
        name = "PodTopologySpread"
        for c, selector, counts in zip(self.hard, self.selectors, self.counts, strict=True):
            value = node.labels.get(c["topologyKey"])
            if value is None:
                text = "node(s) didn't match pod topology spread constraints (missing required label)"
                return name, UNRESOLVABLE, [text]
            fewest = 0 if len(counts) < (c.get("minDomains") or 1) else min(counts.values(), default=2**31 - 1)
            if counts.get(value, 0) + selects(selector, labels(self.pod)) - fewest > c["maxSkew"]:
                return name, UNSCHEDULABLE, ["node(s) didn't match pod topology spread constraints"]
        return None


# ---- inter-pod affinity ----


class Affinity:
    """Required affinity and anti-affinity of one pod, and anti-affinity of the others against it, by domain."""

    def __init__(self, pod: Obj, nodes: Sequence[Node], namespaces: dict[str, dict[str, str]]) -> None:
        self.pod, self.namespaces = pod, namespaces
        self.near, self.apart = required(pod, "podAffinity"), required(pod, "podAntiAffinity")
        self.existing: Counter[tuple[str, str]] = Counter()
        self.near_counts: Counter[tuple[str, str]] = Counter()
        self.apart_counts: Counter[tuple[str, str]] = Counter()
        for node in nodes:
            for other in node.pods:
                self.update(node, other, 1)
        # Where nothing speaks for or against the pod, the plugin leaves the cycle; nominated pods do not call it back.
        self.left_out = not self.near and not self.apart and not self.existing

    def _own_term(self, term: Obj, other: Obj) -> bool:
        names, selector = term.get("namespaces") or [], term.get("namespaceSelector")
        if not names and selector is None:
            names = [namespace(self.pod)]
        there = namespace(other)
        known = there in self.namespaces and selects(selector, self.namespaces[there])
        everywhere = selector is not None and is_empty(selector)
        return (there in names or everywhere or known) and selects(term.get("labelSelector"), labels(other))

    def _their_term(self, term: Obj, owner: Obj) -> bool:
        names, selector = term.get("namespaces") or [], term.get("namespaceSelector")
        if not names and selector is None:
            names = [namespace(owner)]
        mine = namespace(self.pod)
        near = mine in names or selects(selector, self.namespaces.get(mine, {}))
        return near and selects(term.get("labelSelector"), labels(self.pod))

    def update(self, node: Node, other: Obj, sign: int) -> None:
        for term in required(other, "podAntiAffinity"):
            if term["topologyKey"] in node.labels and self._their_term(term, other):
                self.existing[term["topologyKey"], node.labels[term["topologyKey"]]] += sign
        if self.near and all(self._own_term(t, other) for t in self.near):
            for t in self.near:
                if t["topologyKey"] in node.labels:
                    self.near_counts[t["topologyKey"], node.labels[t["topologyKey"]]] += sign
        for t in self.apart:
            if t["topologyKey"] in node.labels and self._own_term(t, other):
                self.apart_counts[t["topologyKey"], node.labels[t["topologyKey"]]] += sign

    def judge(self, node: Node) -> Status | None:
        name = "InterPodAffinity"
        if self.left_out:
            return None
        if not self._affinity_holds(node):
            return name, UNRESOLVABLE, ["node(s) didn't match pod affinity rules"]
        for t in self.apart:
            if self.apart_counts[t["topologyKey"], node.labels.get(t["topologyKey"], "")] > 0:
                return name, UNSCHEDULABLE, ["node(s) didn't match pod anti-affinity rules"]
        if any(self.existing[pair] > 0 for pair in node.labels.items()):
            return name, UNSCHEDULABLE, ["node(s) didn't satisfy existing pods anti-affinity rules"]
        return None

    def _affinity_holds(self, node: Node) -> bool:
        if not all(t["topologyKey"] in node.labels for t in self.near):
            return False
        if all(self.near_counts[t["topologyKey"], node.labels[t["topologyKey"]]] > 0 for t in self.near):
            return True
        return not any(self.near_counts.values()) and all(self._own_term(t, self.pod) for t in self.near)


# ---- a cluster ----


@dataclass
class World:
    """Nodes with their pods, pods that wait for a nominated node, budgets, labels of namespaces."""

    nodes: list[Node]
    waiting: list[Obj] = field(default_factory=list)
    budgets: list[Obj] = field(default_factory=list)
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)


def build(case: Obj) -> World:
    """The cluster of a recorded case, before the decision."""
    pods = case.get("pods") or []
    return World(
        nodes=oracle.build(case["nodes"], pods),
        waiting=[p for p in pods if not p["spec"].get("nodeName") and nominated_node(p)],
        budgets=case.get("pdbs") or [],
        namespaces={n["metadata"]["name"]: labels(n) for n in case.get("namespaces") or []},
    )


class Trial:
    """What the filters of one pod see; pods can be taken off and put back on a copy of a node."""

    def __init__(self, pod: Obj, world: World) -> None:
        self.pod, self.world, self.ask = pod, world, oracle.Ask(pod)
        self.spread = Spread(pod, world.nodes)
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
        return oracle.filter_node(self.ask, node) or self.spread.judge(node) or self.affinity.judge(node)

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
    answers = [try_node(trial, i) for i in tried]
    candidates = [a for a in answers if isinstance(a, Candidate)]
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


def recorded(c: Candidate) -> Obj:
    out: dict[str, Any] = {"node": c.index, "victims": [key(v) for v in c.victims]}
    return out | ({"pdbViolations": c.violations} if c.violations else {})

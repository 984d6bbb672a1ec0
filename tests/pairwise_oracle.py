# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about rules between pods: PodTopologySpread and InterPodAffinity, filters and scores.

Written from the plugins' rules, one pod and one node at a time, beside `oracle` (what one node alone decides); it
imports nothing of kubesched. Objects are as the API server stores them: ``matchLabelKeys`` of topology spreading may or
may not be merged into the selector, those of affinity are. ``Spread`` and ``Affinity`` also follow pods that a trial
takes away and puts back, as eviction and nominated pods need it.

Source: plugins/{podtopologyspread,interpodaffinity}, plugins/helper/spread.go, framework/types.go (affinity terms),
v1.36.
"""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests import oracle
from tests.oracle import UNRESOLVABLE, UNSCHEDULABLE, Node, Obj, Status

HOSTNAME = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

NO_KEY = "node(s) didn't match pod topology spread constraints (missing required label)"
SKEWED = "node(s) didn't match pod topology spread constraints"
NOT_NEAR = "node(s) didn't match pod affinity rules"
NOT_APART = "node(s) didn't match pod anti-affinity rules"
UNWANTED = "node(s) didn't satisfy existing pods anti-affinity rules"

Scores = tuple[list[int], list[int]]
"""Raw and normalised scores of the feasible nodes."""

# ---- small readings ----


def namespace(obj: Obj) -> str:
    return obj["metadata"].get("namespace") or "default"


def labels(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def selects(selector: Obj | None, of: dict[str, str]) -> bool:
    """Nothing for an absent selector, everything for an empty one."""
    if selector is None:
        return False
    exact = (selector.get("matchLabels") or {}).items()
    return all(of.get(k) == v for k, v in exact) and all(
        oracle.holds(of, q) for q in selector.get("matchExpressions") or []
    )


def is_empty(selector: Obj) -> bool:
    return not selector.get("matchLabels") and not selector.get("matchExpressions")


def both(selector: Obj, exact: dict[str, str]) -> Obj:
    """A selector that asks for some labels as well."""
    more = [{"key": k, "operator": "In", "values": [v]} for k, v in exact.items()]
    return selector | {"matchExpressions": (selector.get("matchExpressions") or []) + more}


def terms(pod: Obj, kind: str, strength: str) -> list[Obj]:
    rules = (pod["spec"].get("affinity") or {}).get(kind) or {}
    return rules.get(strength) or []


def stored(pod: Obj) -> Obj:
    """The pod as the API server stores it: label keys of affinity terms are part of their selectors.

    A key whose label the pod does not have is left alone, and so is a term without a selector.
    """
    out = copy.deepcopy(pod)
    for kind in ("podAffinity", "podAntiAffinity"):
        mine = terms(out, kind, REQUIRED) + [wish["podAffinityTerm"] for wish in terms(out, kind, PREFERRED)]
        for term in mine:
            for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")):
                for key in term.get(name) or []:
                    if key in labels(out) and term.get("labelSelector") is not None:
                        more = {"key": key, "operator": operator, "values": [labels(out)[key]]}
                        term["labelSelector"].setdefault("matchExpressions", []).append(more)
    return out


# ---- default constraints ----


@dataclass
class Defaults:
    """Constraints of pods that have none of their own, and the objects that say which pods get them."""

    services: list[Obj] = field(default_factory=list)
    controllers: dict[tuple[str, str], list[Obj]] = field(default_factory=dict)
    """By apiVersion and kind."""
    constraints: tuple[Obj, ...] = (
        {"topologyKey": HOSTNAME, "maxSkew": 3, "whenUnsatisfiable": "ScheduleAnyway"},
        {"topologyKey": ZONE, "maxSkew": 5, "whenUnsatisfiable": "ScheduleAnyway"},
    )
    system: bool = True
    """The constraints are the system's: a node without one of the keys is scored like others."""

    @classmethod
    def of(cls, case: Obj) -> Defaults:
        kinds = {
            ("v1", "ReplicationController"): "replicationcontrollers",
            ("apps/v1", "ReplicaSet"): "replicasets",
            ("apps/v1", "StatefulSet"): "statefulsets",
        }
        return cls(
            services=case.get("services") or [],
            controllers={kind: case.get(name) or [] for kind, name in kinds.items()},
        )

    def selector(self, pod: Obj) -> Obj | None:
        """What the services that select the pod and its controller select together; None: nothing does."""
        exact: dict[str, str] = {}
        for service in self.services:
            wanted = service["spec"].get("selector")
            if wanted is not None and namespace(service) == namespace(pod) and wanted.items() <= labels(pod).items():
                exact |= wanted
        found: Obj = {}
        owner = next((o for o in pod["metadata"].get("ownerReferences") or [] if o.get("controller")), None)
        kind = ("", "") if owner is None else (owner.get("apiVersion") or "", owner.get("kind") or "")
        for obj in self.controllers.get(kind, []):
            if owner is not None and (namespace(obj), obj["metadata"]["name"]) == (namespace(pod), owner["name"]):
                if kind[0] == "v1":
                    exact |= obj["spec"].get("selector") or {}
                else:
                    found = obj["spec"].get("selector") or {}
        merged = both(found, exact)
        return None if is_empty(merged) else merged


# ---- topology spreading ----


@dataclass(frozen=True)
class Constraint:
    key: str
    max_skew: int
    min_domains: int
    selector: Obj | None
    honor_affinity: bool
    honor_taints: bool

    def counts_node(self, ask: oracle.Ask, node: Node) -> bool:
        by_affinity = not self.honor_affinity or oracle.affinity_matches(ask, node)
        return by_affinity and (not self.honor_taints or oracle.taints(ask, node) is None)

    def takes_in(self, pod: Obj, other: Obj) -> bool:
        return namespace(other) == namespace(pod) and selects(self.selector, labels(other))

    def pods_on(self, pod: Obj, node: Node) -> int:
        """An empty selector counts nobody; terminating pods do not count."""
        if self.selector is None or is_empty(self.selector):
            return 0
        return sum(not p["metadata"].get("deletionTimestamp") and self.takes_in(pod, p) for p in node.pods)


def read_constraint(pod: Obj, c: Obj) -> Constraint:
    selector, mine = c.get("labelSelector"), labels(pod)
    given = {k: mine[k] for k in c.get("matchLabelKeys") or [] if k in mine}
    return Constraint(
        key=c["topologyKey"],
        max_skew=c["maxSkew"],
        min_domains=c.get("minDomains") or 1,
        selector=both(selector, given) if selector is not None and given else selector,
        honor_affinity=(c.get("nodeAffinityPolicy") or "Honor") == "Honor",
        honor_taints=(c.get("nodeTaintsPolicy") or "Ignore") == "Honor",
    )


def constraints(pod: Obj, action: str, defaults: Defaults) -> list[Constraint]:
    """The pod's own, or else the defaults, as far as they have this ``whenUnsatisfiable``."""
    own = pod["spec"].get("topologySpreadConstraints") or []
    if own:
        return [read_constraint(pod, c) for c in own if c["whenUnsatisfiable"] == action]
    selector = defaults.selector(pod)
    if selector is None:
        return []
    given = [c | {"labelSelector": selector} for c in defaults.constraints if c["whenUnsatisfiable"] == action]
    return [read_constraint(pod, c) for c in given]


def has_keys(node: Node, asked: Sequence[Constraint]) -> bool:
    return all(c.key in node.labels for c in asked)


class Spread:
    """Counts of the hard constraints of one pod, by domain."""

    def __init__(self, pod: Obj, nodes: Sequence[Node], defaults: Defaults | None = None) -> None:
        self.pod, self.ask = pod, oracle.Ask(pod)
        self.hard = constraints(pod, "DoNotSchedule", defaults or Defaults())
        self.counts: list[dict[str, int]] = [{} for _ in self.hard]
        for node in nodes:
            for i in self._counted(node):
                value = node.labels[self.hard[i].key]
                self.counts[i][value] = self.counts[i].get(value, 0) + self.hard[i].pods_on(pod, node)

    def _counted(self, node: Node) -> Iterator[int]:
        """Constraints for which the node counts."""
        if has_keys(node, self.hard):
            yield from (i for i, c in enumerate(self.hard) if c.counts_node(self.ask, node))

    def update(self, node: Node, other: Obj, sign: int) -> None:
        """A pod comes or goes during a trial: here terminating pods and empty selectors do count (upstream's way)."""
        for i in self._counted(node):
            if self.hard[i].takes_in(self.pod, other):
                value = node.labels[self.hard[i].key]
                self.counts[i][value] = self.counts[i].get(value, 0) + sign

    def judge(self, node: Node) -> Status | None:
        name = "PodTopologySpread"
        for c, counts in zip(self.hard, self.counts, strict=True):
            value = node.labels.get(c.key)
            if value is None:
                return name, UNRESOLVABLE, [NO_KEY]
            fewest = 0 if len(counts) < c.min_domains else min(counts.values(), default=2**31 - 1)
            if counts.get(value, 0) + selects(c.selector, labels(self.pod)) - fewest > c.max_skew:
                return name, UNSCHEDULABLE, [SKEWED]
        return None


def spread_scores(
    pod: Obj, nodes: Sequence[Node], feasible: Sequence[Node], defaults: Defaults | None = None
) -> Scores | None:
    """Scores by the soft constraints; None without any: the plugin skips."""
    defaults = defaults or Defaults()
    soft, ask = constraints(pod, "ScheduleAnyway", defaults), oracle.Ask(pod)
    if not soft:
        return None
    need_all = bool(pod["spec"].get("topologySpreadConstraints")) or not defaults.system
    scored = [n for n in feasible if not need_all or has_keys(n, soft)]
    counts: list[dict[str, int]] = [{} for _ in soft]
    weights = []
    for c, of in zip(soft, counts, strict=True):
        if c.key == HOSTNAME:  # every node is its own domain, and counted as it is, whatever the policies say
            weights.append(math.log(float(len(scored) + 2)))
            continue
        of.update({n.labels.get(c.key, ""): 0 for n in scored})  # nodes without the key stand together for one domain
        weights.append(math.log(float(len(of) + 2)))
        for n in nodes:
            value = n.labels.get(c.key, "")
            if (not need_all or has_keys(n, soft)) and c.counts_node(ask, n) and value in of:
                of[value] += c.pods_on(pod, n)
    is_scored = [not need_all or has_keys(n, soft) for n in feasible]
    raw = [0] * len(feasible)
    for i, n in enumerate(feasible):
        if is_scored[i]:
            total = 0.0
            for c, of, weight in zip(soft, counts, weights, strict=True):
                if c.key in n.labels:
                    count = c.pods_on(pod, n) if c.key == HOSTNAME else of[n.labels[c.key]]
                    total += float(count) * weight + float(c.max_skew - 1)
            raw[i] = oracle.half_away(total)
    return raw, _spread_normalized(raw, is_scored)


def _spread_normalized(raw: list[int], scored: list[bool]) -> list[int]:
    """The fewer the better; what is not scored gets nothing."""
    there = [r for r, s in zip(raw, scored, strict=True) if s]
    high, low = max(there, default=0), min(there, default=0)
    share = [100 * (high + low - r) // high if high else 100 for r in raw]
    return [x if s else 0 for x, s in zip(share, scored, strict=True)]


# ---- inter-pod affinity ----

Namespaces = dict[str, dict[str, str]]
"""Labels of the namespaces that exist."""


class Eyes:
    """One pod's view of the others' terms, and its terms' view of the others."""

    def __init__(self, pod: Obj, namespaces: Namespaces) -> None:
        self.pod, self.namespaces = pod, namespaces

    def sees(self, term: Obj, other: Obj) -> bool:
        """Whether a term of the pod takes in another pod.

        The namespace selector picks namespaces that exist by their labels. It is then tried once more, against no
        labels at all: where it is content with that (it is empty, or says only what must not be), it takes in every
        namespace, also those whose labels contradict it. That is how 1.36 decides, since it keeps the selector of a
        copy that it meant to clear.
        """
        names, selector, there = term.get("namespaces") or [], term.get("namespaceSelector"), namespace(other)
        if not names and selector is None:
            names = [namespace(self.pod)]
        chosen = there in self.namespaces and selects(selector, self.namespaces[there])
        near = there in names or chosen or selects(selector, {})
        return near and selects(term.get("labelSelector"), labels(other))

    def is_seen(self, term: Obj, owner: Obj) -> bool:
        """Whether another's term takes in the pod; a namespace that is not known has no labels."""
        names, selector, mine = term.get("namespaces") or [], term.get("namespaceSelector"), namespace(self.pod)
        if not names and selector is None:
            names = [namespace(owner)]
        near = mine in names or selects(selector, self.namespaces.get(mine, {}))
        return near and selects(term.get("labelSelector"), labels(self.pod))


class Affinity:
    """Required affinity and anti-affinity of one pod, and anti-affinity of the others against it, by domain."""

    def __init__(self, pod: Obj, nodes: Sequence[Node], namespaces: Namespaces) -> None:
        self.pod, self.eyes = pod, Eyes(pod, namespaces)
        self.near, self.apart = terms(pod, "podAffinity", REQUIRED), terms(pod, "podAntiAffinity", REQUIRED)
        self.existing: Counter[tuple[str, str]] = Counter()
        self.near_counts: Counter[tuple[str, str]] = Counter()
        self.apart_counts: Counter[tuple[str, str | None]] = Counter()
        for node in nodes:
            for other in node.pods:
                self.update(node, other, 1)
        # Where nothing speaks for or against the pod, the plugin leaves the cycle; nominated pods do not call it back.
        self.left_out = not self.near and not self.apart and not self.existing

    def update(self, node: Node, other: Obj, sign: int) -> None:
        for term in terms(other, "podAntiAffinity", REQUIRED):
            if term["topologyKey"] in node.labels and self.eyes.is_seen(term, other):
                self.existing[term["topologyKey"], node.labels[term["topologyKey"]]] += sign
        if self.near and all(self.eyes.sees(t, other) for t in self.near):
            for t in self.near:
                if t["topologyKey"] in node.labels:
                    self.near_counts[t["topologyKey"], node.labels[t["topologyKey"]]] += sign
        for t in self.apart:
            if t["topologyKey"] in node.labels and self.eyes.sees(t, other):
                self.apart_counts[t["topologyKey"], node.labels[t["topologyKey"]]] += sign

    def judge(self, node: Node) -> Status | None:
        name = "InterPodAffinity"
        if self.left_out:
            return None
        if not self._affinity_holds(node):
            return name, UNRESOLVABLE, [NOT_NEAR]
        for t in self.apart:
            if self.apart_counts[t["topologyKey"], node.labels.get(t["topologyKey"])] > 0:
                return name, UNSCHEDULABLE, [NOT_APART]
        if any(self.existing[pair] > 0 for pair in node.labels.items()):
            return name, UNSCHEDULABLE, [UNWANTED]
        return None

    def _affinity_holds(self, node: Node) -> bool:
        if not all(t["topologyKey"] in node.labels for t in self.near):
            return False
        if all(self.near_counts[t["topologyKey"], node.labels[t["topologyKey"]]] > 0 for t in self.near):
            return True
        return not any(self.near_counts.values()) and all(self.eyes.sees(t, self.pod) for t in self.near)


def wishes(pod: Obj) -> Iterator[tuple[Obj, int]]:
    """Preferred terms with their weight, negative for anti-affinity."""
    for kind, sign in (("podAffinity", 1), ("podAntiAffinity", -1)):
        for wish in terms(pod, kind, PREFERRED):
            yield wish["podAffinityTerm"], sign * wish["weight"]


def affinity_scores(
    pod: Obj,
    nodes: Sequence[Node],
    feasible: Sequence[Node],
    namespaces: Namespaces,
    hard_weight: int = 1,
    ignore_preferred_of_others: bool = False,
) -> Scores | None:
    """Scores by everybody's wishes; None where no term touches a node: the plugin skips."""
    eyes, mine = Eyes(pod, namespaces), list(wishes(pod))
    if ignore_preferred_of_others and not mine:
        return None
    score: dict[tuple[str, str], int] = {}

    def add(term: Obj, weight: int, node: Node) -> None:
        value: Any = node.labels.get(term["topologyKey"])
        if value is not None:
            pair = term["topologyKey"], value
            score[pair] = score.get(pair, 0) + weight

    for node in nodes:
        for other in node.pods:
            for term, weight in mine:
                if eyes.sees(term, other):
                    add(term, weight, node)
            needs = [(t, hard_weight) for t in terms(other, "podAffinity", REQUIRED)] if hard_weight else []
            for term, weight in (*needs, *wishes(other)):
                if eyes.is_seen(term, other):
                    add(term, weight, node)
    if not score:
        return None
    raw = [sum(score.get(pair, 0) for pair in n.labels.items()) for n in feasible]
    low, high = min(raw), max(raw)
    span = float(high - low)
    return raw, [int(100.0 * (float(r - low) / span)) if high > low else 0 for r in raw]

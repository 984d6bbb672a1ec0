# SPDX-License-Identifier: Apache-2.0
"""Random clusters, pods and changes in which pods look at each other; seeded, as the API server would store them.

Labels, selectors, domains and namespaces are few, so that they meet; each has its odd cases: keys that no node has,
empty values, host names that two nodes share, selectors that are absent, empty, contradictory or negative.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

from tests import builders, pairwise_oracle, strategies
from tests.builders import HOSTNAME
from tests.pairwise_oracle import PREFERRED, REQUIRED, ZONE
from tests.strategies import Rng, below, chance, pick

Obj = dict[str, Any]

TOPOLOGY_KEYS = (ZONE, ZONE, ZONE, HOSTNAME, HOSTNAME, "rack", "rack", "absent")
DOMAINS = {ZONE: ("a", "b", "c", "d", ""), "rack": ("r1", "r2", "r3", "r4", "r5", "r6", "r7"), "disk": ("ssd", "hdd")}
LABELS = {"app": ("x", "y", "z"), "tier": ("p", "q"), "hash": ("1", "2", "3")}
"""Labels of pods."""
NAMESPACES = ("n1", "n2", "n3", "n4")
NAMESPACE_LABELS = {"env": ("prod", "test"), "team": ("red", "blue")}
OWNERS = {"ReplicationController": "v1", "ReplicaSet": "apps/v1", "StatefulSet": "apps/v1"}
KINDS = {"replicationcontrollers": "ReplicationController", "replicasets": "ReplicaSet", "statefulsets": "StatefulSet"}
"""Lists of a case that hold controllers, and their kind."""


@dataclass(frozen=True)
class Family:
    """What the pods of a random cluster ask for: chances of each rule."""

    hard: float = 0
    soft: float = 0
    defaults: float = 0
    required: float = 0
    preferred: float = 0
    by_namespace: float = 0.3
    """Of the terms that select namespaces by labels."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj:
        """A recorded-case-like dict without anything to decide."""
        nodes = [self.node(rng, i) for i in range(n_nodes)]
        there = [self.running(rng, f"r{i}", f"node-{below(rng, n_nodes)}") for i in range(n_running)]
        known = [namespace(rng, name) for name in NAMESPACES[:3]]
        return {"nodes": nodes, "namespaces": known, "pods": there, **workloads(rng, self)}

    def node(self, rng: Rng, i: int) -> Obj:
        return node(rng, f"node-{i}")

    def pod(self, rng: Rng, name: str) -> Obj:
        return pod(rng, name, self)

    def running(self, rng: Rng, name: str, node: str) -> Obj:
        """A pod on a node, whether its rules would let it or not; some are terminating."""
        obj = self.pod(rng, name)
        obj["spec"]["nodeName"] = node
        if chance(rng, 0.1):
            obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return obj


FAMILIES = {
    "spread-hard": Family(hard=0.8),
    "spread-soft": Family(soft=0.8),
    "spread-default": Family(defaults=0.9, hard=0.05, soft=0.05),
    "pod-affinity": Family(required=0.7, preferred=0.1),
    "pod-affinity-preferred": Family(preferred=0.7, required=0.1),
    "pod-affinity-sparse": Family(required=0.1, preferred=0.1, by_namespace=0.9),
    "pairwise-mixed": Family(hard=0.2, soft=0.25, defaults=0.3, required=0.25, preferred=0.3),
}


# ---- selectors ----


def some(rng: Rng, of: dict[str, tuple[str, ...]], p: float) -> dict[str, str]:
    return {key: pick(rng, values) for key, values in of.items() if chance(rng, p)}


def requirement(rng: Rng, of: dict[str, tuple[str, ...]]) -> Obj:
    key = pick(rng, sorted(of))
    operator = pick(rng, ("In", "In", "NotIn", "Exists", "DoesNotExist"))
    if operator in ("Exists", "DoesNotExist"):
        return builders.need(key, operator)
    return builders.need(key, operator, *sorted({pick(rng, of[key]) for _ in range(1 + below(rng, 2))}))


def selector(rng: Rng, of: dict[str, tuple[str, ...]]) -> Obj | None:
    """A label selector; None: the field is left out."""
    if chance(rng, 0.1):
        return pick(rng, (None, {}))
    if chance(rng, 0.6):
        return {"matchLabels": some(rng, of, 0.5) or {pick(rng, sorted(of)): "none"}}
    made: Obj = {"matchExpressions": [requirement(rng, of) for _ in range(1 + below(rng, 2))]}
    return made | ({"matchLabels": some(rng, of, 0.3)} if chance(rng, 0.2) else {})


def with_selector(made: Obj, name: str, found: Obj | None) -> Obj:
    return made if found is None else made | {name: found}


# ---- rules of pods ----


def constraint(rng: Rng, action: str) -> Obj:
    made: Obj = {"topologyKey": pick(rng, TOPOLOGY_KEYS), "whenUnsatisfiable": action}
    made["maxSkew"] = pick(rng, (1, 1, 1, 2, 3, 2**31 - 1 if chance(rng, 0.1) else 5))
    made = with_selector(made, "labelSelector", selector(rng, LABELS))
    if action == "DoNotSchedule" and chance(rng, 0.3):
        made["minDomains"] = pick(rng, (1, 2, 3, 4, 9))
    for policy in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
        if chance(rng, 0.3):
            made[policy] = pick(rng, ("Honor", "Ignore"))
    if "labelSelector" in made and chance(rng, 0.25):
        made["matchLabelKeys"] = pick(rng, (["hash"], ["hash", "tier"], ["unknown"]))
    return made


def constraints(rng: Rng, family: Family) -> list[Obj]:
    """At most one for each key and action, as validation has it."""
    made = [constraint(rng, "DoNotSchedule") for _ in range(1 + below(rng, 2)) if chance(rng, family.hard)]
    made += [constraint(rng, "ScheduleAnyway") for _ in range(1 + below(rng, 3)) if chance(rng, family.soft)]
    order = rng.permutation(len(made)).tolist()
    return list({(made[i]["topologyKey"], made[i]["whenUnsatisfiable"]): made[i] for i in order}.values())


def term(rng: Rng, family: Family) -> Obj:
    made = with_selector({"topologyKey": pick(rng, TOPOLOGY_KEYS)}, "labelSelector", selector(rng, LABELS))
    if chance(rng, 0.25):
        made["namespaces"] = sorted({pick(rng, (*NAMESPACES, "elsewhere")) for _ in range(2)})
    if chance(rng, family.by_namespace):
        made["namespaceSelector"] = selector(rng, NAMESPACE_LABELS) or {}
    if "labelSelector" in made and chance(rng, 0.15):
        name = pick(rng, ("matchLabelKeys", "mismatchLabelKeys"))
        made[name] = pick(rng, (["hash"], ["unknown"]))
    return made


def affinity(rng: Rng, family: Family) -> Obj:
    made: Obj = {}
    for kind, p in (("podAffinity", 0.5), ("podAntiAffinity", 0.6)):
        if chance(rng, p * family.required):
            made.setdefault(kind, {})[REQUIRED] = [term(rng, family) for _ in range(1 + below(rng, 2))]
        if chance(rng, p * family.preferred):
            wishes = [
                {"weight": 1 + below(rng, 100), "podAffinityTerm": term(rng, family)} for _ in range(1 + below(rng, 2))
            ]
            made.setdefault(kind, {})[PREFERRED] = wishes
    return made


def node_rules(rng: Rng, made: builders.PodBuilder) -> None:
    """Now and then a rule about nodes, for policies to honour."""
    if chance(rng, 0.15):
        key = pick(rng, ("disk", ZONE))
        made.select(key, pick(rng, DOMAINS[key]))
    if chance(rng, 0.1):
        key = pick(rng, ("disk", ZONE, "rack"))
        made.require(builders.term(requirement(rng, {key: DOMAINS[key]})))
    if chance(rng, 0.2):
        made.tolerate(key="k", operator="Exists")


def pod(rng: Rng, name: str, family: Family) -> Obj:
    """A pod to place, as the API server stores it."""
    return pairwise_oracle.stored(submitted(rng, name, family))


def submitted(rng: Rng, name: str, family: Family) -> Obj:
    """A pod as its user wrote it: label keys of terms are not part of the selectors yet."""
    made = builders.make_pod(name, pick(rng, NAMESPACES if chance(rng, 0.4) else NAMESPACES[:1]))
    made.container(pick(rng, (None, "100m", "500m", "2")), pick(rng, (None, "64Mi", "1Gi")))
    node_rules(rng, made)
    obj = made.build()
    labels = some(rng, LABELS, 0.7)
    if labels:
        obj["metadata"]["labels"] = labels
    if chance(rng, family.defaults):
        owner = pick(rng, sorted(OWNERS))
        version = "extensions/v1beta1" if chance(rng, 0.05) else OWNERS[owner]
        reference = {"apiVersion": version, "kind": owner, "name": f"o{below(rng, 3)}", "uid": "u"}
        obj["metadata"]["ownerReferences"] = [reference | {"controller": chance(rng, 0.9)}]
    rules = constraints(rng, family)
    if rules:
        obj["spec"]["topologySpreadConstraints"] = rules
    between = affinity(rng, family)
    if between:
        obj["spec"].setdefault("affinity", {}).update(between)
    return obj


def relabelled(rng: Rng, obj: Obj) -> Obj:
    """The same pod with other labels, or terminating."""
    made = copy.deepcopy(obj)
    if chance(rng, 0.5):
        made["metadata"]["labels"] = some(rng, LABELS, 0.7)
    else:
        made["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return made


# ---- nodes, namespaces, workloads ----


def node(rng: Rng, name: str) -> Obj:
    made = builders.make_node(name).cpu(pick(rng, ("2", "4", "8", "64"))).memory(pick(rng, ("4Gi", "16Gi", "64Gi")))
    made.pods(pick(rng, (3, 10, 110, 110)))
    for key, values in DOMAINS.items():
        if chance(rng, 0.88):
            made.label(key, pick(rng, values[:-1] if chance(rng, 0.9) else values))
    if chance(rng, 0.05):
        made.no_hostname()
    elif chance(rng, 0.05):
        made.label(HOSTNAME, "shared")
    if chance(rng, 0.2):
        made.taint("k", pick(rng, strategies.EFFECTS))
    if chance(rng, 0.05):
        made.unschedulable()
    return made.build()


def namespace(rng: Rng, name: str) -> Obj:
    return {"kind": "Namespace", "metadata": {"name": name, "labels": some(rng, NAMESPACE_LABELS, 0.6)}}


def workloads(rng: Rng, family: Family) -> Obj:
    """Lists of services and controllers, by their name in a case."""
    made: Obj = {"services": [], **{name: [] for name in KINDS}}
    if not family.defaults:
        return made
    for i in range(below(rng, 7)):
        key = pick(rng, sorted(LABELS))
        chosen = {key: pick(rng, LABELS[key])} if chance(rng, 0.7) else some(rng, LABELS, 0.4)
        spec: Obj = {"selector": chosen} if chance(rng, 0.9) else {}
        made["services"].append({"metadata": {"name": f"s{i}", "namespace": pick(rng, NAMESPACES[:2])}, "spec": spec})
    for name, kind in KINDS.items():
        for i in range(below(rng, 4)):
            spec = {"selector": some(rng, LABELS, 0.6) if kind == "ReplicationController" else selector(rng, LABELS)}
            metadata = {"name": f"o{i}", "namespace": pick(rng, NAMESPACES[:2])}
            made[name].append({"metadata": metadata, "spec": {k: v for k, v in spec.items() if v is not None}})
    return made

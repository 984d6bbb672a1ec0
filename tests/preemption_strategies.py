# SPDX-License-Identifier: Apache-2.0
"""Random recorded-like cases in which pods evict others; seeded.

The clusters, pods and rules are those of the other families. Here they get priorities, start times, budgets, pods that
wait for a node, and pods that fill the nodes, so that next to nothing fits without evicting somebody.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from tests import builders, decision_oracle, pairwise_strategies, preemption_oracle, strategies
from tests.parity import test_oracle_golden as records
from tests.property.test_decisions import Volumes
from tests.strategies import Rng, below, chance, pick

Obj = dict[str, Any]

PRIORITIES = (-5, 0, 0, 3, 3, 7, 100)
TIMES = tuple(f"2026-03-01T00:00:{s:02d}Z" for s in (0, 1, 1, 2, 30, 59))
CPU = ("500m", "1", "1500m", "3", "7")


class Base(Protocol):
    """The form of `pairwise_strategies.Family`."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj: ...
    def node(self, rng: Rng, i: int) -> Obj: ...
    def pod(self, rng: Rng, name: str) -> Obj: ...
    def running(self, rng: Rng, name: str, node: str) -> Obj: ...


class Plain:
    """Pods that ask for cpu alone."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj:
        nodes = [self.node(rng, i) for i in range(n_nodes)]
        return {"nodes": nodes, "pods": [self.running(rng, f"r{i}", f"node-{i % n_nodes}") for i in range(n_running)]}

    def node(self, rng: Rng, i: int) -> Obj:
        return builders.make_node(f"node-{i}").cpu(pick(rng, ("2", "4", "8"))).pods(pick(rng, (2, 6, 110))).build()

    def pod(self, rng: Rng, name: str) -> Obj:
        return builders.make_pod(name).container(pick(rng, CPU), None).build()

    def running(self, rng: Rng, name: str, node: str) -> Obj:
        obj = self.pod(rng, name)
        obj["spec"]["nodeName"] = node
        return obj


FAMILIES: dict[str, Callable[[], Base]] = {
    "plain": Plain,
    "node-local": strategies.NodeLocal,
    "spread": lambda: pairwise_strategies.Family(hard=0.5),
    "affinity": lambda: pairwise_strategies.Family(required=0.6),
    "volumes": Volumes,
}


def ranked(rng: Rng, obj: Obj) -> Obj:
    """The pod with a priority, more cpu, labels that budgets select, and perhaps a start."""
    obj = copy.deepcopy(obj)
    spec, status = obj["spec"], obj.setdefault("status", {})
    if chance(rng, 0.8):
        spec["priority"] = pick(rng, PRIORITIES)
    if chance(rng, 0.1):
        spec["preemptionPolicy"] = pick(rng, ("Never", "PreemptLowerPriority"))
    if chance(rng, 0.8):
        status["startTime"] = pick(rng, TIMES)
    if chance(rng, 0.5):
        first = spec["containers"][0].setdefault("resources", {}).setdefault("requests", {})
        first["cpu"] = pick(rng, CPU)
    if chance(rng, 0.6):
        labels = obj["metadata"].setdefault("labels", {})
        labels.setdefault("app", pick(rng, ("x", "y", "z")))
    return obj


def there(rng: Rng, obj: Obj) -> Obj:
    """A running pod; now and then one that another has evicted and that is not gone yet."""
    made = ranked(rng, obj)
    if chance(rng, 0.05):
        made["metadata"]["deletionTimestamp"] = "2026-03-02T00:00:00Z"
        reason = pick(rng, ("PreemptionByScheduler", "EvictionByEvictionAPI"))
        made["status"]["conditions"] = [{"type": "DisruptionTarget", "status": "True", "reason": reason}]
    return made


def waiting(rng: Rng, obj: Obj, nodes: list[Obj]) -> Obj:
    """A pod for which others were evicted; its node may be gone."""
    made = ranked(rng, obj)
    made["status"]["nominatedNodeName"] = pick(rng, [*(node["metadata"]["name"] for node in nodes), "gone"])
    return made


def budget(rng: Rng, i: int) -> Obj:
    selector: Obj = {"matchLabels": {"app": pick(rng, ("x", "y", "z"))}} if chance(rng, 0.9) else {}
    status: Obj = {"disruptionsAllowed": pick(rng, (0, 0, 1, 2))}
    if chance(rng, 0.2):
        status["disruptedPods"] = {f"r{below(rng, 20)}": "2026-03-01T00:00:00Z" for _ in range(3)}
    spec = {"selector": selector} if chance(rng, 0.95) else {}
    metadata = {"name": f"b{i}", "namespace": pick(rng, ("default", "default", "n1"))}
    return {"metadata": metadata, "spec": spec, "status": status}


def cluster(rng: Rng, family: Base, with_waiting: bool) -> Obj:
    """A case without anything to decide."""
    n_nodes = 1 + below(rng, 10)
    case = family.case(rng, n_nodes, 2 * n_nodes + below(rng, 6 * n_nodes))
    case.pop("sequence", None)
    case["pods"] = [there(rng, obj) for obj in case["pods"]]
    share_nothing(case)
    if chance(rng, 0.6):
        case["pdbs"] = [budget(rng, i) for i in range(1 + below(rng, 4))]
    if with_waiting and chance(rng, 0.5):
        for i in range(1 + below(rng, 4)):
            case["pods"].append(waiting(rng, portless(family.pod(rng, f"w{i}")), case["nodes"]))
    return {"profile": "default-v1.36", "family": "random", "seed": 0} | case


def share_nothing(case: Obj) -> None:
    """No two pods use a claim of which only one may: upstream counts such a claim once, and each of its users."""
    used: Counter[str] = Counter()
    for obj in case["pods"]:
        volumes = obj["spec"].get("volumes") or []
        used.update(v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v)
    for claim in case.get("pvcs") or []:
        if used[claim["metadata"]["name"]] > 1:
            modes = claim["spec"].get("accessModes") or []
            claim["spec"]["accessModes"] = [m for m in modes if m != "ReadWriteOncePod"] or ["ReadWriteOnce"]


def portless(obj: Obj) -> Obj:
    """Two pods of a node never share a host port; whether upstream would count it once or twice is no question here."""
    for container in obj["spec"]["containers"] + obj["spec"].get("initContainers", []):
        container.pop("ports", None)
    return obj


def single(rng: Rng, family: Base) -> Obj:
    """One decision, with what the oracle expects."""
    case = cluster(rng, family, with_waiting=True)
    pod = ranked(rng, family.pod(rng, "asks"))
    if chance(rng, 0.7):
        pod["spec"]["priority"] = pick(rng, (50, 100, 7))
    if chance(rng, 0.6):
        first = pod["spec"]["containers"][0].setdefault("resources", {})
        first["requests"] = (first.get("requests") or {}) | {"cpu": pick(rng, ("1", "3", "4"))}
    if chance(rng, 0.15):
        pod["status"]["nominatedNodeName"] = pick(rng, case["nodes"])["metadata"]["name"]
    case |= {"id": "single", "pod": pod}
    found = records.as_recorded(decision_oracle.decide(pod, decision_oracle.build(case)))
    return case | {"expect": as_case(found)}


def as_case(found: Obj) -> Obj:
    """The oracle's answer as a record has it: statuses by number."""
    if "node" not in found:
        return found
    distinct = sorted({str(s): s for s in found["node"] if s is not None}.items())
    numbers = {text: i for i, (text, _) in enumerate(distinct)}
    statuses = [recorded_status(s) for _, s in distinct]
    nodes = [-1 if s is None else numbers[str(s)] for s in found["node"]]
    return found | {"node": nodes} | ({"statuses": statuses} if statuses else {})


def recorded_status(status: tuple[str, str, list[str]]) -> Obj:
    plugin, code, reasons = status
    return {"plugin": plugin, "code": code} | ({"reasons": list(reasons)} if reasons else {})


def sequence(rng: Rng, family: Base) -> Obj:
    """Operations on a cluster, with what the oracle expects."""
    case = cluster(rng, family, with_waiting=False)
    ops: list[Obj] = []
    names = [preemption_oracle.key(p) for p in case["pods"]]
    numbers = list(range(len(case["nodes"])))
    for i in range(4 + below(rng, 20)):
        draw = below(rng, 10)
        if draw < 7 or not names:
            pod = ranked(rng, portless(family.pod(rng, f"p{i}")))
            names.append(preemption_oracle.key(pod))
            ops.append({"op": "schedule", "pod": pod, "preempt": chance(rng, 0.8)})
        elif draw == 7:
            ops.append({"op": "deletePod", "name": pick(rng, names)})
        elif draw == 8:
            numbers.append(len(case["nodes"]) + i)
            ops.append({"op": "addNode", "node": family.node(rng, numbers[-1])})
        elif len(numbers) > 1 and chance(rng, 0.5):
            gone = family.node(rng, numbers.pop(below(rng, len(numbers))))
            ops.append({"op": "deleteNode", "name": gone["metadata"]["name"]})
        else:
            ops.append({"op": "updateNode", "node": family.node(rng, pick(rng, numbers))})
    start_apart(rng, case["pods"] + [op["pod"] for op in ops if op["op"] == "schedule"])
    case |= {"id": "sequence", "ops": ops}
    return case | {"expect": by_operation(decision_oracle.replay(case), ops)}


def start_apart(rng: Rng, pods: list[Obj]) -> None:
    """Pods that are equally important keep the order of their node's list, which is no question here."""
    for obj, second in zip(pods, rng.permutation(len(pods)).tolist(), strict=True):
        obj["status"]["startTime"] = f"2026-03-01T00:{second // 60:02d}:{second % 60:02d}Z"


def by_operation(found: Obj, ops: list[Obj]) -> Obj:
    """The oracle numbers evictions by the pods that were decided, replays by operation."""
    at = [i for i, op in enumerate(ops) if op["op"] == "schedule"]
    fields = [name for name in ("victims", "preemptTies") if name in found]
    return found | {name: {str(at[int(step)]): v for step, v in found[name].items()} for name in fields}

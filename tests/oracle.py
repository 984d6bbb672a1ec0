# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth: node-local decisions of kube-scheduler 1.36, from Kubernetes objects.

Written from the specification (the plugins' documented rules and the release's formulas), one node at a time, with
exact fractions where upstream sums quantities; it imports nothing of kubesched, so that a shared mistake shows.
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

Obj = dict[str, Any]
MIB = 1024 * 1024
SUFFIX = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
SUFFIX |= {s: Fraction(10 ** (3 * (i + 1))) for i, s in enumerate("kMGTPE")}
SUFFIX |= {s + "i": Fraction(1024 ** (i + 1)) for i, s in enumerate("KMGTPE")}


def quantity(text: Any) -> Fraction:
    text = str(text)
    for size in (2, 1, 0):
        suffix = text[len(text) - size :] if size else ""
        if suffix in SUFFIX and len(suffix) == size:
            try:
                return Fraction(text[: len(text) - size]) * SUFFIX[suffix]
            except ValueError:
                continue
    raise ValueError(text)


def amounts(resources: Obj | None) -> dict[str, Fraction]:
    return {name: quantity(value) for name, value in (resources or {}).items()}


def whole(name: str, value: Fraction) -> int:
    return math.ceil(value * 1000) if name == "cpu" else math.ceil(value)


# ---- what a pod asks for ----


def container_requests(pod: Obj, container: Obj) -> dict[str, Fraction]:
    asked = amounts((container.get("resources") or {}).get("requests"))
    status = pod.get("status") or {}
    sidecar = container.get("restartPolicy") == "Always"
    in_init = container in (pod["spec"].get("initContainers") or [])
    if in_init and not sidecar:
        return asked
    reported = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    for entry in reported:
        if entry["name"] != container["name"] or not entry.get("resources"):
            continue
        conditions = [c for c in status.get("conditions") or [] if c["type"] == "PodResizePending"]
        infeasible = bool(conditions) and conditions[0].get("reason") == "Infeasible"
        parts = [amounts(entry["resources"].get("requests")), amounts(entry.get("allocatedResources"))]
        parts += [] if infeasible else [asked]
        return {n: max(p.get(n, Fraction(0)) for p in parts) for n in set().union(*parts)}
    return asked


def pod_requests(pod: Obj, pod_level: bool = True, fill: tuple[str, ...] = ()) -> dict[str, Fraction]:
    spec = pod["spec"]
    default = {"cpu": Fraction(1, 10), "memory": Fraction(200 * MIB)}

    def of(container: Obj) -> dict[str, Fraction]:
        found = container_requests(pod, container)
        return {n: default[n] for n in fill if n not in found} | found

    def plus(a: dict[str, Fraction], b: dict[str, Fraction]) -> dict[str, Fraction]:
        return {n: a.get(n, Fraction(0)) + b.get(n, Fraction(0)) for n in a.keys() | b.keys()}

    total: dict[str, Fraction] = {}
    for container in spec.get("containers") or []:
        total = plus(total, of(container))
    sidecars: dict[str, Fraction] = {}
    peak: dict[str, Fraction] = {}
    for container in spec.get("initContainers") or []:
        if container.get("restartPolicy") == "Always":
            total = plus(total, of(container))
            sidecars = plus(sidecars, of(container))
            now = sidecars
        else:
            now = plus(of(container), sidecars)
        peak = {n: max(peak.get(n, Fraction(0)), now.get(n, Fraction(0))) for n in peak.keys() | now.keys()}
    total = {n: max(total.get(n, Fraction(0)), peak.get(n, Fraction(0))) for n in total.keys() | peak.keys()}
    if pod_level:
        for name, value in amounts((spec.get("resources") or {}).get("requests")).items():
            if name in ("cpu", "memory") or name.startswith("hugepages-"):
                total[name] = value
    return plus(total, amounts(spec.get("overhead")))


def has_pod_level(pod: Obj) -> bool:
    names = ((pod["spec"].get("resources") or {}).get("requests") or {}).keys()
    return any(n in ("cpu", "memory") or n.startswith("hugepages-") for n in names)


def nonzero(pod: Obj) -> tuple[int, int]:
    fill = ("cpu", "memory")
    if has_pod_level(pod):
        real = pod_requests(pod)
        fill = tuple(n for n in fill if n not in real)
    total = pod_requests(pod, fill=fill)
    return whole("cpu", total.get("cpu", Fraction(0))), whole("memory", total.get("memory", Fraction(0)))


def counted(name: str) -> bool:
    return name in ("cpu", "memory", "ephemeral-storage") or "/" in name or name.startswith("hugepages-")


def real(pod: Obj) -> dict[str, int]:
    return {n: whole(n, v) for n, v in pod_requests(pod).items() if counted(n)}


def host_ports(pod: Obj) -> list[tuple[str, str, int]]:
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"]
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in (spec.get("containers") or []) + sidecars
        for port in container.get("ports") or []
        if port.get("hostPort")
    ]


# ---- a node with its pods ----


class Node:
    def __init__(self, obj: Obj) -> None:
        self.name = obj["metadata"]["name"]
        self.labels = obj["metadata"].get("labels") or {}
        self.taints = (obj.get("spec") or {}).get("taints") or []
        self.unschedulable = bool((obj.get("spec") or {}).get("unschedulable"))
        self.images = {n: i["sizeBytes"] for i in (obj["status"].get("images") or []) for n in i["names"]}
        self.alloc = {n: whole(n, v) for n, v in amounts(obj["status"].get("allocatable")).items()}
        self.used: dict[str, int] = {}
        self.nonzero = [0, 0]
        self.n_pods = 0
        self.ports: list[tuple[str, str, int]] = []

    def add(self, pod: Obj) -> None:
        for name, value in real(pod).items():
            self.used[name] = self.used.get(name, 0) + value
        cpu, memory = nonzero(pod)
        self.nonzero = [self.nonzero[0] + cpu, self.nonzero[1] + memory]
        self.n_pods += 1
        self.ports += host_ports(pod)


# ---- filters: (plugin, code, reasons) or None ----

UNSCHEDULABLE, UNRESOLVABLE = "Unschedulable", "UnschedulableAndUnresolvable"


def tolerated(pod: Obj, taint: Obj, effects: tuple[str, ...] | None = None) -> bool:
    for t in pod["spec"].get("tolerations") or []:
        effect, key, operator = t.get("effect") or "", t.get("key") or "", t.get("operator") or "Equal"
        if effects is not None and effect not in effects:
            continue
        if (effect and effect != taint["effect"]) or (key and key != taint["key"]):
            continue
        if operator == "Exists" or (operator == "Equal" and (t.get("value") or "") == (taint.get("value") or "")):
            return True
    return False


def is_int(text: str) -> bool:
    sign = text[:1] in ("+", "-")
    digits = text[1:] if sign else text
    return digits.isascii() and digits.isdigit() and -(2**63) <= int(text) < 2**63


def expression(labels: Obj, q: Obj) -> bool:
    value, values = labels.get(q["key"]), q.get("values") or []
    match q["operator"]:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case operator:
            if value is None or not is_int(value) or not is_int(values[0]):
                return False
            return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def term(node: Node, t: Obj) -> bool:
    expressions, fields = t.get("matchExpressions") or [], t.get("matchFields") or []
    if not expressions and not fields:
        return False
    names = {"metadata.name": node.name}
    return all(expression(node.labels, q) for q in expressions) and all(expression(names, q) for q in fields)


def node_affinity(pod: Obj) -> Obj:
    return (pod["spec"].get("affinity") or {}).get("nodeAffinity") or {}


def required_terms(pod: Obj) -> list[Obj] | None:
    required = node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
    return None if required is None else required.get("nodeSelectorTerms") or []


def affinity_ok(pod: Obj, node: Node) -> bool:
    selector = pod["spec"].get("nodeSelector") or {}
    if any(node.labels.get(k) != v for k, v in selector.items()):
        return False
    terms = required_terms(pod)
    return terms is None or any(term(node, t) for t in terms)


def ports_clash(a: tuple[str, str, int], b: tuple[str, str, int]) -> bool:
    return a[1:] == b[1:] and (a[0] == b[0] or "0.0.0.0" in (a[0], b[0]))


def fit(pod: Obj, node: Node) -> tuple[str, str, list[str]] | None:
    reasons, code = [], UNSCHEDULABLE
    if node.n_pods + 1 > node.alloc.get("pods", 0):
        reasons.append("Too many pods")
    for name, amount in real(pod).items():
        alloc = node.alloc.get(name, 0)
        if amount > 0 and amount > alloc - node.used.get(name, 0):
            reasons.append(f"Insufficient {name}")
            code = UNRESOLVABLE if amount > alloc else code
    return ("NodeResourcesFit", code, sorted(reasons)) if reasons else None


def filter_node(pod: Obj, node: Node) -> tuple[str, str, list[str]] | None:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if node.unschedulable and not tolerated(pod, taint):
        return "NodeUnschedulable", UNRESOLVABLE, ["node(s) were unschedulable"]
    wanted = pod["spec"].get("nodeName")
    if wanted and wanted != node.name:
        return "NodeName", UNRESOLVABLE, ["node(s) didn't match the requested node name"]
    if any(t["effect"] != "PreferNoSchedule" and not tolerated(pod, t) for t in node.taints):
        return "TaintToleration", UNRESOLVABLE, ["node(s) had untolerated taint(s)"]
    if not affinity_ok(pod, node):
        return "NodeAffinity", UNRESOLVABLE, ["node(s) didn't match Pod's node affinity/selector"]
    if any(ports_clash(a, b) for a in host_ports(pod) for b in node.ports):
        return "NodePorts", UNSCHEDULABLE, ["node(s) didn't have free ports for the requested pod ports"]
    return fit(pod, node)


# ---- scores ----


def least_allocated(pod: Obj, node: Node) -> int:
    asked = pod_requests(pod, pod_level=False, fill=("cpu", "memory"))
    scores = []
    for i, name in enumerate(("cpu", "memory")):
        alloc = node.alloc.get(name, 0)
        if alloc == 0:
            continue
        total = node.nonzero[i] + whole(name, asked.get(name, Fraction(0)))
        scores.append(0 if total > alloc else (alloc - total) * 100 // alloc)
    return sum(scores) // len(scores) if scores else 0


def balance(node: Node, more: dict[str, int]) -> int:
    fractions = [
        min(1.0, (node.used.get(n, 0) + more.get(n, 0)) / node.alloc[n]) for n in ("cpu", "memory") if node.alloc.get(n)
    ]
    deviation = abs((fractions[0] - fractions[1]) / 2) if len(fractions) == 2 else 0.0
    return int((1 - deviation) * 100)


def balanced_allocation(pod: Obj, node: Node) -> int:
    return 50 + (50 + balance(node, real(pod)) - balance(node, {})) // 2


def image_name(name: str) -> str:
    return name if name.rfind(":") > name.rfind("/") else name + ":latest"


def image_locality(pod: Obj, node: Node, nodes: list[Node]) -> int:
    spec = pod["spec"]
    containers = (spec.get("initContainers") or []) + (spec.get("containers") or [])
    names = [c.get("image") or "" for c in containers]
    names += [v["image"].get("reference") or "" for v in spec.get("volumes") or [] if v.get("image")]
    total = 0
    for name in names:
        name = image_name(name)
        if name in node.images:
            holders = [n for n in nodes if name in n.images]
            total += int(float(holders[0].images[name]) * (len(holders) / len(nodes)))
    low, high = 23 * MIB, 1000 * MIB * len(containers)
    return 100 * (min(max(total, low), high) - low) // (high - low)


def preferred_terms(pod: Obj) -> list[Obj]:
    return node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution") or []


def score_columns(pod: Obj, feasible: list[Node], nodes: list[Node]) -> list[tuple[str, int, list[int]]]:
    """(plugin, weight, normalised score of each feasible node), plugins that skip left out."""
    effects = ("", "PreferNoSchedule")
    taints = [
        sum(t["effect"] == "PreferNoSchedule" and not tolerated(pod, t, effects) for t in n.taints) for n in feasible
    ]
    most = max(taints, default=0)
    out = [("TaintToleration", 3, [100 if most == 0 else 100 - 100 * t // most for t in taints])]
    terms = preferred_terms(pod)
    if terms:
        raw = [sum(t["weight"] for t in terms if term(n, t["preference"])) for n in feasible]
        out.append(("NodeAffinity", 2, [100 * r // max(raw) if max(raw) else r for r in raw]))
    out.append(("NodeResourcesFit", 1, [least_allocated(pod, n) for n in feasible]))
    out.append(("DynamicResources", 2, [0] * len(feasible)))
    if any(real(pod).get(n) for n in ("cpu", "memory")):
        out.append(("NodeResourcesBalancedAllocation", 1, [balanced_allocation(pod, n) for n in feasible]))
    out.append(("ImageLocality", 1, [image_locality(pod, n, nodes) for n in feasible]))
    return out


# ---- the decision ----


def named(pod: Obj) -> set[str] | None:
    terms = required_terms(pod)
    if not terms:
        return None
    names: set[str] = set()
    for t in terms:
        lists = [set(q["values"]) for q in t.get("matchFields") or [] if q["operator"] == "In"]
        if not lists:
            return None
        names |= set.intersection(*lists)
    return names


def fit_error(n: int, histogram: dict[str, int]) -> str:
    return f"0/{n} nodes are available: {', '.join(sorted(f'{c} {r}' for r, c in histogram.items() if c))}."


def decide(pod: Obj, nodes: list[Node]) -> Obj:
    """Everything that a record holds, except preemption."""
    gates = [g["name"] for g in pod["spec"].get("schedulingGates") or []]
    if gates:
        reason = f"waiting for scheduling gates: [{' '.join(gates)}]"
        return {"gated": {"plugin": "SchedulingGates", "code": UNRESOLVABLE, "reasons": [reason]}}
    names = named(pod)
    if names == set():
        text = "pod affinity terms conflict"
        return {
            "preFilter": {"plugin": "NodeAffinity", "code": UNRESOLVABLE, "reasons": [text]},
            "feasible": [],
            "message": f"0/{len(nodes)} nodes are available: {text}.",
        }
    status: list[tuple[str, str, list[str]] | None] = []
    for node in nodes:
        out = names is not None and node.name not in names
        status.append(("PreFilterResult", UNRESOLVABLE, []) if out else filter_node(pod, node))
    feasible = [i for i, s in enumerate(status) if s is None]
    result: Obj = {"status": status, "feasible": feasible}
    if not feasible:
        histogram: dict[str, int] = {}
        for s in status:
            for reason in s[2] or ["node(s) didn't satisfy plugin(s) [NodeAffinity]"]:
                histogram[reason] = histogram.get(reason, 0) + 1
        return result | {"message": fit_error(len(nodes), histogram)}
    columns = score_columns(pod, [nodes[i] for i in feasible], nodes)
    total = [sum(weight * scores[k] for _, weight, scores in columns) for k in range(len(feasible))]
    return result | {
        "scorePlugins": [c[0] for c in columns],
        "weights": [c[1] for c in columns],
        "scores": [[c[2][k] for c in columns] for k in range(len(feasible))],
        "total": total,
        "best": [i for i, t in zip(feasible, total, strict=True) if t == max(total)],
    }


def build(nodes: list[Obj], pods: list[Obj]) -> list[Node]:
    made = [Node(n) for n in nodes]
    by_name = {n.name: n for n in made}
    for pod in pods:
        if pod["spec"].get("nodeName") and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            by_name[pod["spec"]["nodeName"]].add(pod)
    return made


def sequence(nodes: list[Node], pods: list[Obj]) -> Obj:
    """Pods one after another, the lowest index wins ties."""
    out: Obj = {"node": [], "ties": [], "feasible": [], "score": []}
    for pod in pods:
        d = decide(pod, nodes)
        best = d.get("best", [])
        out["node"].append(-2 if "gated" in d else best[0] if best else -1)
        out["ties"].append(len(best))
        out["feasible"].append(len(d.get("feasible", [])))
        out["score"].append(max(d["total"]) if len(d.get("feasible", [])) > 1 else -1)
        if best:
            nodes[best[0]].add(pod)
    return out

# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth: node-local decisions of kube-scheduler 1.36, from Kubernetes objects.

Written from the specification (the plugins' rules and the release's formulas), one pod and one node at a time, with
exact fractions where upstream adds up quantities. It imports nothing of kubesched, so that a shared mistake shows.

Decided here: SchedulingGates, NodeUnschedulable, NodeName, TaintToleration, NodeAffinity (with nodeSelector,
matchFields and PreFilter's restriction to names), NodePorts, NodeResourcesFit with its three strategies,
NodeResourcesBalancedAllocation of 1.36 and of releases before, ImageLocality, DynamicResources for pods without claims
(a constant 0), the event's message, and what preemption answers while nobody of lower priority runs.
Not here: spreading, inter-pod affinity, volumes, claims, victims of preemption. Objects are defaulted, as in the
recorded cases; one that the API server would refuse is decided as the scheduler's own code decides it.

Source: pkg/scheduler (schedule_one.go, framework/types.go, framework/plugins/*, framework/preemption) and
component-helpers (resource/helpers.go, scheduling/corev1/nodeaffinity), v1.36.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Obj = dict[str, Any]
Amounts = dict[str, Fraction]
"""Resource to amount, in cores, bytes and counts."""
Status = tuple[str, str, list[str]]
"""Plugin, code, sorted reasons."""

ZERO = Fraction(0)
MIB = 1024 * 1024

# ---- quantities ----

SUFFIX = {"n": Fraction(1, 10**9), "u": Fraction(1, 10**6), "m": Fraction(1, 1000), "": Fraction(1)}
SUFFIX |= {s: Fraction(10 ** (3 * (i + 1))) for i, s in enumerate("kMGTPE")}
SUFFIX |= {s + "i": Fraction(1024 ** (i + 1)) for i, s in enumerate("KMGTPE")}


NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")


def quantity(value: Any) -> Fraction:
    """An amount as written (``1.5Gi``, ``100m``, ``2e3``), rounded up to billionths as the API does."""
    return parsed(str(value))


@functools.lru_cache(maxsize=10_000)
def parsed(text: str) -> Fraction:
    for size in (2, 1, 0):
        number, suffix = text[: len(text) - size], text[len(text) - size :]
        if suffix in SUFFIX and NUMBER.fullmatch(number):
            return Fraction(math.ceil(Fraction(number) * SUFFIX[suffix] * 10**9), 10**9)
    raise ValueError(text)


def amounts(resources: Obj | None) -> Amounts:
    return {name: quantity(value) for name, value in (resources or {}).items()}


def whole(name: str, value: Fraction) -> int:
    """Canonical units: thousandths of a core for cpu, else bytes and counts; rounded up."""
    return math.ceil(value * 1000) if name == "cpu" else math.ceil(value)


def counted(name: str) -> bool:
    """Whether the scheduler keeps account of a resource (``pods`` it counts apart)."""
    scalar = "/" in name or name.startswith(("hugepages-", "attachable-volumes-"))
    return name in ("cpu", "memory", "ephemeral-storage") or scalar


# ---- what a pod asks for ----


def plus(a: Amounts, b: Amounts) -> Amounts:
    return {n: a.get(n, ZERO) + b.get(n, ZERO) for n in a.keys() | b.keys()}


def largest(*parts: Amounts) -> Amounts:
    """Resource by resource, the largest of the parts that name it."""
    names = set().union(*parts)
    return {n: max(p[n] for p in parts if n in p) for n in names}


def resize_is_infeasible(pod: Obj) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or []
    pending = [c for c in conditions if c["type"] == "PodResizePending"]
    return bool(pending) and pending[0].get("reason") == "Infeasible"


def resized(pod: Obj, asked: Amounts, applied: Obj | None, granted: Obj | None) -> Amounts:
    """What a running pod counts while it is resized: the largest of asked (unless infeasible), applied, granted."""
    parts = [] if resize_is_infeasible(pod) else [asked]
    return largest(*parts, amounts(applied), amounts(granted))


def container_requests(pod: Obj, container: Obj, from_status: bool) -> Amounts:
    asked = amounts((container.get("resources") or {}).get("requests"))
    status = pod.get("status") or {}
    entries = (status.get("containerStatuses") or []) + (status.get("initContainerStatuses") or [])
    found = [e for e in entries if e["name"] == container["name"]]
    if not from_status or not found or found[-1].get("resources") is None:
        return asked
    return resized(pod, asked, found[-1]["resources"].get("requests"), found[-1].get("allocatedResources"))


def is_sidecar(init: Obj) -> bool:
    return init.get("restartPolicy") == "Always"


def is_pod_level(name: str) -> bool:
    return name in ("cpu", "memory") or name.startswith("hugepages-")


def pod_level(pod: Obj, from_status: bool) -> Amounts:
    """Requests of the pod as a whole, which replace the sum over its containers."""
    asked = {n: v for n, v in amounts((pod["spec"].get("resources") or {}).get("requests")).items() if is_pod_level(n)}
    status = pod.get("status") or {}
    if not asked or not from_status or status.get("resources") is None:
        return asked
    now = resized(pod, asked, status["resources"].get("requests"), status.get("allocatedResources"))
    return {n: now.get(n, ZERO) for n in asked}


DEFAULTS = {"cpu": Fraction(1, 10), "memory": Fraction(200 * MIB)}
"""What a container counts that leaves the resource out, where "non-zero" requests are asked for."""


def pod_requests(
    pod: Obj, *, with_pod_level: bool = True, fill: tuple[str, ...] = (), from_status: bool = True
) -> Amounts:
    """Containers and sidecars together, or the worst moment of the init containers; pod level; overhead.

    ``fill`` names the resources for which DEFAULTS count; ``from_status`` says whether a resize counts.
    """
    spec = pod["spec"]
    default = {name: DEFAULTS[name] for name in fill}
    total: Amounts = {}
    for container in spec.get("containers") or []:
        total = plus(total, default | container_requests(pod, container, from_status))
    sidecars: Amounts = {}
    worst: Amounts = {}
    for container in spec.get("initContainers") or []:
        own = default | container_requests(pod, container, from_status and is_sidecar(container))
        now = plus(own, sidecars)
        if is_sidecar(container):
            total, sidecars = plus(total, own), now
        worst = largest(worst, now)
    total = largest(total, worst)
    if with_pod_level:
        total = total | pod_level(pod, from_status)
    return plus(total, amounts(spec.get("overhead")))


def canonical(requests: Amounts) -> dict[str, int]:
    return {n: whole(n, v) for n, v in requests.items() if counted(n)}


def real(pod: Obj, from_status: bool = True) -> dict[str, int]:
    """What a pod takes of its node, canonical units."""
    return canonical(pod_requests(pod, from_status=from_status))


def nonzero(pod: Obj) -> tuple[int, int]:
    """cpu and memory that a running pod adds to its node's non-zero usage."""
    fill = tuple(DEFAULTS)
    if pod_level(pod, from_status=False):
        known = pod_requests(pod)
        fill = tuple(n for n in fill if n not in known)
    total = pod_requests(pod, fill=fill)
    return whole("cpu", total.get("cpu", ZERO)), whole("memory", total.get("memory", ZERO))


def fit_requests(pod: Obj) -> dict[str, int]:
    """What NodeResourcesFit scores the pod to place with: containers only, defaults filled in."""
    return canonical(pod_requests(pod, with_pod_level=False, fill=tuple(DEFAULTS), from_status=False))


Port = tuple[str, str, int]


def host_ports(pod: Obj) -> list[Port]:
    spec = pod["spec"]
    sidecars = [c for c in spec.get("initContainers") or [] if is_sidecar(c)]
    return [
        (port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
        for container in sidecars + (spec.get("containers") or [])
        for port in container.get("ports") or []
        if port.get("hostPort")
    ]


# ---- a node with its pods ----


@dataclass
class Image:
    """An image as the cluster knows it: the size that its first node reported, until its last node drops it."""

    size: int
    holders: set[str] = field(default_factory=set)


Images = dict[str, Image]


class Node:
    """A node and the account of what runs there."""

    def __init__(self, obj: Obj, images: Images | None = None) -> None:
        """``images`` is shared by the nodes of a cluster; without it the node is alone."""
        self.pods: list[Obj] = []
        self.used: dict[str, int] = {}
        self.nonzero = {"cpu": 0, "memory": 0}
        self.ports: set[Port] = set()
        self.images: Images = {}
        self._known: Images = {} if images is None else images
        self.update(obj)

    def update(self, obj: Obj) -> None:
        """Take over what the object says; what runs there stays."""
        spec = obj.get("spec") or {}
        self.drop_images()
        self.name: str = obj["metadata"]["name"]
        self.labels: dict[str, str] = obj["metadata"].get("labels") or {}
        self.taints: list[Obj] = spec.get("taints") or []
        self.unschedulable = bool(spec.get("unschedulable"))
        self.features = set(obj["status"].get("declaredFeatures") or [])
        self.alloc = {n: whole(n, v) for n, v in amounts(obj["status"].get("allocatable")).items()}
        for image in obj["status"].get("images") or []:
            for name in image["names"]:
                self.images[name] = self._known.setdefault(name, Image(image["sizeBytes"]))
                self.images[name].holders.add(self.name)

    def drop_images(self) -> None:
        """Leave the cluster's images; the node must not be used before the next update."""
        for name, image in self.images.items():
            image.holders.remove(self.name)
            if not image.holders:
                del self._known[name]
        self.images = {}

    @property
    def n_pods(self) -> int:
        return len(self.pods)

    def add(self, pod: Obj) -> None:
        self.pods.append(pod)
        self._account(pod, 1)
        self.ports |= set(host_ports(pod))

    def remove(self, pod: Obj) -> None:
        self.pods.remove(pod)
        self._account(pod, -1)
        self.ports -= set(host_ports(pod))  # upstream's set does not count users either

    def _account(self, pod: Obj, sign: int) -> None:
        for name, value in real(pod).items():
            self.used[name] = self.used.get(name, 0) + sign * value
        cpu, memory = nonzero(pod)
        self.nonzero = {"cpu": self.nonzero["cpu"] + sign * cpu, "memory": self.nonzero["memory"] + sign * memory}


def build(nodes: list[Obj], pods: list[Obj]) -> list[Node]:
    """Nodes in case order, with the pods that run on them; finished pods hold nothing."""
    images: Images = {}
    made = [Node(n, images) for n in nodes]
    by_name = {n.name: n for n in made}
    for pod in pods:
        if pod["spec"].get("nodeName") and (pod.get("status") or {}).get("phase") not in ("Succeeded", "Failed"):
            by_name[pod["spec"]["nodeName"]].add(pod)
    return made


# ---- the pod to place ----


class Ask:
    """The pod to place, read once."""

    def __init__(self, pod: Obj) -> None:
        self.spec: Obj = pod["spec"]
        self.filtered = real(pod, from_status=False)
        self.fit = fit_requests(pod)
        self.balanced = real(pod)
        self.ports = host_ports(pod)
        self.tolerations: list[Obj] = self.spec.get("tolerations") or []
        affinity = (self.spec.get("affinity") or {}).get("nodeAffinity") or {}
        required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
        self.required: list[Obj] | None = None if required is None else required.get("nodeSelectorTerms") or []
        self.preferred: list[Obj] = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or []


# ---- taints ----


def tolerates(t: Obj, taint: Obj) -> bool:
    if t.get("effect") and t["effect"] != taint["effect"]:
        return False
    if t.get("key") and t["key"] != taint["key"]:
        return False
    operator = t.get("operator") or "Equal"
    if operator == "Equal":
        return bool((t.get("value") or "") == (taint.get("value") or ""))
    return bool(operator == "Exists")  # Gt and Lt: their feature gate is off


def tolerated(tolerations: list[Obj], taint: Obj) -> bool:
    return any(tolerates(t, taint) for t in tolerations)


# ---- node selectors ----

LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")


def is_label_value(text: str) -> bool:
    return len(text) <= 63 and LABEL_VALUE.fullmatch(text) is not None


def is_int64(text: str) -> bool:
    digits = text[1:] if text[:1] in ("+", "-") else text
    return digits.isascii() and digits.isdigit() and -(2**63) <= int(text) < 2**63


def is_requirement(q: Obj) -> bool:
    """Whether the scheduler can parse a requirement on labels; a term with one that it cannot matches nothing."""
    values = q.get("values") or []
    if not all(is_label_value(v) for v in values):
        return False
    match q["operator"]:
        case "In" | "NotIn":
            return len(values) > 0
        case "Exists" | "DoesNotExist":
            return len(values) == 0
        case "Gt" | "Lt":
            return len(values) == 1 and is_int64(values[0])
    return False


def is_field(q: Obj) -> bool:
    """The same for a requirement on fields."""
    return q["operator"] in ("In", "NotIn") and len(q.get("values") or []) == 1


def is_term(t: Obj) -> bool:
    expressions, fields = t.get("matchExpressions") or [], t.get("matchFields") or []
    return all(is_requirement(q) for q in expressions) and all(is_field(q) for q in fields)


def holds(labels: dict[str, str], q: Obj) -> bool:
    value, values = labels.get(q["key"]), q.get("values") or []
    match q["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
    if value is None or not is_int64(value):
        return False
    return int(value) > int(values[0]) if q["operator"] == "Gt" else int(value) < int(values[0])


def term_matches(node: Node, t: Obj) -> bool:
    expressions, fields = t.get("matchExpressions") or [], t.get("matchFields") or []
    if not (expressions or fields) or not is_term(t):
        return False
    name = {"metadata.name": node.name}
    return all(holds(node.labels, q) for q in expressions) and all(holds(name, q) for q in fields)


def affinity_matches(ask: Ask, node: Node) -> bool:
    selector = ask.spec.get("nodeSelector") or {}
    if any(node.labels.get(k) != v for k, v in selector.items()):
        return False
    return ask.required is None or any(term_matches(node, t) for t in ask.required)


# ---- filters: a status, or None where the node passes ----

UNSCHEDULABLE, UNRESOLVABLE = "Unschedulable", "UnschedulableAndUnresolvable"


def unschedulable(ask: Ask, node: Node) -> Status | None:
    taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
    if not node.unschedulable or tolerated(ask.tolerations, taint):
        return None
    return "NodeUnschedulable", UNRESOLVABLE, ["node(s) were unschedulable"]


def node_name(ask: Ask, node: Node) -> Status | None:
    if ask.spec.get("nodeName") in (None, "", node.name):
        return None
    return "NodeName", UNRESOLVABLE, ["node(s) didn't match the requested node name"]


def taints(ask: Ask, node: Node) -> Status | None:
    hard = [t for t in node.taints if t["effect"] in ("NoSchedule", "NoExecute")]
    if all(tolerated(ask.tolerations, t) for t in hard):
        return None
    return "TaintToleration", UNRESOLVABLE, ["node(s) had untolerated taint(s)"]


def node_affinity(ask: Ask, node: Node) -> Status | None:
    if affinity_matches(ask, node):
        return None
    return "NodeAffinity", UNRESOLVABLE, ["node(s) didn't match Pod's node affinity/selector"]


def clash(a: Port, b: Port) -> bool:
    return a[1:] == b[1:] and (a[0] == b[0] or "0.0.0.0" in (a[0], b[0]))


def ports(ask: Ask, node: Node) -> Status | None:
    if not any(clash(a, b) for a in ask.ports for b in node.ports):
        return None
    return "NodePorts", UNSCHEDULABLE, ["node(s) didn't have free ports for the requested pod ports"]


def fit(ask: Ask, node: Node) -> Status | None:
    """Every short resource is named; one request above what the empty node has cannot be cured by evicting."""
    reasons, code = [], UNSCHEDULABLE
    if node.n_pods + 1 > node.alloc.get("pods", 0):
        reasons.append("Too many pods")
    for name, amount in ask.filtered.items():
        alloc = node.alloc.get(name, 0)
        if amount > 0 and amount > alloc - node.used.get(name, 0):
            reasons.append(f"Insufficient {name}")
            code = UNRESOLVABLE if amount > alloc else code
    return ("NodeResourcesFit", code, sorted(reasons)) if reasons else None


FILTERS = (unschedulable, node_name, taints, node_affinity, ports, fit)


def filter_node(ask: Ask, node: Node) -> Status | None:
    """The first filter that fails."""
    return next((status for status in (f(ask, node) for f in FILTERS) if status is not None), None)


def needed_features(spec: Obj) -> set[str]:
    """Features that only nodes honour which declare them."""
    found = set()
    for container in (spec.get("initContainers") or []) + (spec.get("containers") or []):
        if any(rule.get("action") == "RestartAllContainers" for rule in container.get("restartPolicyRules") or []):
            found.add("RestartAllContainersOnContainerExits")
    if spec.get("hostNetwork") and spec.get("hostUsers") is False:
        found.add("UserNamespacesHostNetworkSupport")
    return found


def declared_features(ask: Ask, node: Node) -> Status | None:
    """The last filter of all; not in FILTERS, since those of other oracles stand between."""
    if needed_features(ask.spec) <= node.features:
        return None
    return "NodeDeclaredFeatures", UNRESOLVABLE, ["node(s) didn't match Pod's required features"]


# ---- profiles ----

DEFAULT_PLUGINS = (
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodeResourcesFit", 1),
    ("DynamicResources", 2),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
)


@dataclass(frozen=True)
class Profile:
    """Score plugins with weights, and the arguments of the two that look at resources."""

    plugins: tuple[tuple[str, int], ...] = DEFAULT_PLUGINS
    strategy: str = "LeastAllocated"
    resources: tuple[tuple[str, int], ...] = (("cpu", 1), ("memory", 1))
    """(resource, weight) of NodeResourcesFit."""
    shape: tuple[tuple[int, int], ...] = ()
    """(utilization 0..100, score 0..10) of RequestedToCapacityRatio."""
    balanced: tuple[str, ...] = ("cpu", "memory")
    release: str = "v1.36"
    """``v1.35``: the balanced-allocation formula of that release and before."""


DEFAULT = Profile()

# ---- scores ----


def toward_zero(a: int, b: int) -> int:
    """Integer division as Go and C do it; Python's rounds down."""
    return a // b if (a >= 0) == (b > 0) else -(-a // b)


def is_scalar(name: str) -> bool:
    return name not in ("cpu", "memory", "ephemeral-storage")


@dataclass(frozen=True)
class Load:
    """A resource of a node: what there is, what is used, what is used with the pod."""

    alloc: int
    used: int
    with_pod: int


def load(node: Node, name: str, asked: int, use_nonzero: bool) -> Load | None:
    """None where a resource is left out: the node has none, or it is a scalar that the pod does not ask for."""
    alloc = node.alloc.get(name, 0)
    if alloc == 0 or (is_scalar(name) and asked == 0):
        return None
    used = node.nonzero[name] if use_nonzero and name in node.nonzero else node.used.get(name, 0)
    return Load(alloc, used, used + asked)


def on_shape(shape: Sequence[tuple[int, int]], utilization: int) -> int:
    """The broken line through (utilization, 10 x score), constant outside its ends."""
    points = [(u, 10 * s) for u, s in shape]
    if utilization <= points[0][0]:
        return points[0][1]
    for (u0, s0), (u1, s1) in itertools.pairwise(points):
        if utilization <= u1:
            return s0 + toward_zero((s1 - s0) * (utilization - u0), u1 - u0)
    return points[-1][1]


def strategy_score(profile: Profile, of: Load) -> int:
    match profile.strategy:
        case "LeastAllocated":
            return 0 if of.with_pod > of.alloc else (of.alloc - of.with_pod) * 100 // of.alloc
        case "MostAllocated":
            return min(of.with_pod, of.alloc) * 100 // of.alloc
    return on_shape(profile.shape, 100 if of.with_pod > of.alloc else of.with_pod * 100 // of.alloc)


def half_away(x: float) -> int:
    """Round a positive double to the nearest integer, halves up."""
    return math.floor(Fraction(x) + Fraction(1, 2))


def fit_score(profile: Profile, ask: Ask, node: Node) -> int:
    """Weighted integer mean over the resources; with a shape, only over those that score, and rounded."""
    scored: list[tuple[int, int]] = []
    for name, weight in profile.resources:
        of = load(node, name, ask.fit.get(name, 0), use_nonzero=True)
        if of is not None:
            scored.append((strategy_score(profile, of), weight))
    by_shape = profile.strategy == "RequestedToCapacityRatio"
    if by_shape:
        scored = [(score, weight) for score, weight in scored if score > 0]
    total, weights = sum(s * w for s, w in scored), sum(w for _, w in scored)
    if weights == 0:
        return 0
    return half_away(float(total) / float(weights)) if by_shape else total // weights


def evenness(fractions: list[float]) -> int:
    """100 x (1 - standard deviation), truncated; upstream's order of operations in doubles."""
    deviation = 0.0
    if len(fractions) == 2:
        deviation = abs((fractions[0] - fractions[1]) / 2)
    elif len(fractions) > 2:
        total = 0.0
        for f in fractions:
            total += f
        mean, square = total / len(fractions), 0.0
        for f in fractions:
            square = square + (f - mean) * (f - mean)
        deviation = math.sqrt(square / len(fractions))
    return int((1 - deviation) * 100.0)


def balanced_score(profile: Profile, ask: Ask, node: Node) -> int:
    """Evenness with the pod, until 1.35; since 1.36 how much the pod improves it, 75 for no change."""
    loads = [load(node, name, ask.balanced.get(name, 0), use_nonzero=False) for name in profile.balanced]
    there = [of for of in loads if of is not None]
    # float(a) / float(b), not a / b: beyond 2**53 Python divides integers more exactly than doubles do.
    with_pod = evenness([min(1.0, float(of.with_pod) / float(of.alloc)) for of in there])
    if profile.release == "v1.35":
        return with_pod
    return 50 + (50 + with_pod - evenness([min(1.0, float(of.used) / float(of.alloc)) for of in there])) // 2


def image_name(name: str) -> str:
    return name if name.rfind(":") > name.rfind("/") else name + ":latest"


def image_score(ask: Ask, node: Node, nodes: list[Node]) -> int:
    """Bytes of the pod's images that are there already, each scaled by how many of all nodes have it."""
    containers = (ask.spec.get("initContainers") or []) + (ask.spec.get("containers") or [])
    names = [c.get("image") or "" for c in containers]
    names += [v["image"].get("reference") or "" for v in ask.spec.get("volumes") or [] if v.get("image")]
    total = 0
    for name in map(image_name, names):
        if name in node.images:
            image = node.images[name]
            total += int(float(image.size) * (float(len(image.holders)) / float(len(nodes))))
    low, high = 23 * MIB, 1000 * MIB * len(containers)
    return 100 * (min(max(total, low), high) - low) // (high - low)


def soft_taints(ask: Ask, node: Node) -> int:
    """PreferNoSchedule taints that no toleration of that effect, or of every effect, tolerates."""
    tolerations = [t for t in ask.tolerations if (t.get("effect") or "PreferNoSchedule") == "PreferNoSchedule"]
    return sum(t["effect"] == "PreferNoSchedule" and not tolerated(tolerations, t) for t in node.taints)


def preference(ask: Ask, node: Node) -> int:
    return sum(t["weight"] for t in ask.preferred if term_matches(node, t["preference"]))


def reversed_share(raw: list[int]) -> list[int]:
    return [100 - 100 * r // max(raw) if max(raw) else 100 for r in raw]


def share(raw: list[int]) -> list[int]:
    return [100 * r // max(raw) if max(raw) else 0 for r in raw]


def skips(plugin: str, profile: Profile, ask: Ask) -> bool:
    """Whether PreScore takes the plugin out of this decision."""
    if plugin == "NodeAffinity":
        return not ask.preferred
    if plugin == "NodeResourcesBalancedAllocation":
        return not any(ask.balanced.get(name) for name in profile.balanced)
    return False


def raw_scores(plugin: str, profile: Profile, ask: Ask, feasible: list[Node], nodes: list[Node]) -> list[int]:
    match plugin:
        case "TaintToleration":
            return [soft_taints(ask, n) for n in feasible]
        case "NodeAffinity":
            return [preference(ask, n) for n in feasible]
        case "NodeResourcesFit":
            return [fit_score(profile, ask, n) for n in feasible]
        case "NodeResourcesBalancedAllocation":
            return [balanced_score(profile, ask, n) for n in feasible]
        case "ImageLocality":
            return [image_score(ask, n, nodes) for n in feasible]
        case "DynamicResources":
            return [0] * len(feasible)
    raise ValueError(plugin)


def normalized(plugin: str, raw: list[int]) -> list[int]:
    if plugin == "TaintToleration":
        return reversed_share(raw)
    return share(raw) if plugin == "NodeAffinity" else raw


# ---- the decision ----

NO_NODES = "no nodes available to schedule pods"
CUT_OFF = "node(s) didn't satisfy plugin(s) [NodeAffinity]"


def named_nodes(ask: Ask) -> set[str] | None:
    """Names to which PreFilter restricts the nodes: every required term has to name some."""
    if not ask.required:
        return None
    names: set[str] = set()
    for t in ask.required:
        lists = [set(q["values"]) for q in t.get("matchFields") or [] if q["operator"] == "In"]
        if not lists:
            return None
        names |= set.intersection(*lists)
    return names


def histogram(statuses: Sequence[Status | None]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in statuses:
        for reason in (status[2] if status else []) or [CUT_OFF]:
            counts[reason] = counts.get(reason, 0) + 1
    return counts


def fit_error(n: int, reasons: dict[str, int]) -> str:
    return f"0/{n} nodes are available: {', '.join(sorted(f'{c} {r}' for r, c in reasons.items() if c))}."


def decide(pod: Obj, nodes: list[Node], profile: Profile = DEFAULT) -> Obj:
    """Decide one pod and change nothing.

    Returns a record as the recorded cases have it (``gated``, ``preFilter``, ``feasible``, ``scorePlugins``,
    ``weights``, ``scores``, ``total``, ``best``, ``message``, ``preemption``), with ``status`` per node in place of
    ``node`` and ``statuses``, and ``raw`` beside ``scores``. ``error``: the scheduler stops here; the text's beginning.
    """
    gates = [g["name"] for g in pod["spec"].get("schedulingGates") or []]
    if gates:
        reason = f"waiting for scheduling gates: [{' '.join(gates)}]"
        return {"gated": {"plugin": "SchedulingGates", "code": UNRESOLVABLE, "reasons": [reason]}}
    if not nodes:
        return {"feasible": [], "status": [], "message": NO_NODES}
    ask = Ask(pod)
    result = filter_all(ask, nodes)
    if not result["feasible"]:
        answer = post_filter(pod, nodes, result)
        return result | ({} if answer is None else {"preemption": answer})
    return result | score_all(ask, nodes, result["feasible"], profile)


def filter_all(ask: Ask, nodes: list[Node]) -> Obj:
    names = named_nodes(ask)
    if names == set():
        text = "pod affinity terms conflict"
        rejected = {"plugin": "NodeAffinity", "code": UNRESOLVABLE, "reasons": [text]}
        return {"preFilter": rejected, "feasible": [], "message": f"0/{len(nodes)} nodes are available: {text}."}
    statuses: list[Status | None] = [
        filter_node(ask, n) if names is None or n.name in names else ("PreFilterResult", UNRESOLVABLE, [])
        for n in nodes
    ]
    result: Obj = {"status": statuses, "feasible": [i for i, s in enumerate(statuses) if s is None]}
    if names is not None:
        left = [i for i, n in enumerate(nodes) if n.name in names]
        result["preFilter"] = {"plugin": "NodeAffinity", "code": "Success", "nodes": left}
    if not result["feasible"]:
        result["message"] = fit_error(len(nodes), histogram(statuses))
    return result


def score_all(
    ask: Ask,
    nodes: list[Node],
    feasible: list[int],
    profile: Profile,
    others: dict[str, tuple[list[int], list[int]]] | None = None,
) -> Obj:
    """``others``: raw and normalised scores, by name, of plugins that are not decided here."""
    unreadable = any(t["weight"] and not is_term(t["preference"]) for t in ask.preferred)
    if unreadable and len(feasible) > 1:
        return {"error": 'running PreScore plugin "NodeAffinity"'}
    chosen = [nodes[i] for i in feasible]
    plugins = [(name, weight) for name, weight in profile.plugins if not skips(name, profile, ask)]
    given = others or {}
    raw = [given[n][0] if n in given else raw_scores(n, profile, ask, chosen, nodes) for n, _ in plugins]
    columns = [
        given[n][1] if n in given else normalized(n, column) for (n, _), column in zip(plugins, raw, strict=True)
    ]
    rows = [[column[k] for column in columns] for k in range(len(chosen))]
    total = [sum(weight * s for (_, weight), s in zip(plugins, row, strict=True)) for row in rows]
    return {
        "scorePlugins": [name for name, _ in plugins],
        "weights": [weight for _, weight in plugins],
        "raw": [[column[k] for column in raw] for k in range(len(chosen))],
        "scores": rows,
        "total": total,
        "best": [i for i, t in zip(feasible, total, strict=True) if t == max(total)],
    }


# ---- after a failure ----

NO_CLAIMS = "no new claims to deallocate"


def post_filter(pod: Obj, nodes: list[Node], decision: Obj) -> Obj | None:
    """What DynamicResources and DefaultPreemption say; None for a pod that names its node and never comes here."""
    if pod["spec"].get("nodeName"):
        return None
    if "status" not in decision:  # PreFilter stopped before DynamicResources left the state that its PostFilter reads
        return {"code": "Error", "message": "not found", "nominatedNode": -1}
    text = preemption_text(pod, nodes, decision["status"])
    return {"code": UNSCHEDULABLE, "message": f"{NO_CLAIMS}, preemption: {text}", "nominatedNode": -1}


def preemption_text(pod: Obj, nodes: list[Node], statuses: list[Status | None]) -> str:
    if pod["spec"].get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    tried = [n for n, s in zip(nodes, statuses, strict=True) if s is not None and s[1] == UNSCHEDULABLE]
    mine = pod["spec"].get("priority") or 0
    if any((other["spec"].get("priority") or 0) < mine for n in tried for other in n.pods):
        raise NotImplementedError("pods of lower priority run: whom to evict is not decided here")
    reasons = {
        "No preemption victims found for incoming pod": len(tried),
        "Preemption is not helpful for scheduling": len(nodes) - len(tried),
    }
    return fit_error(len(nodes), reasons)


# ---- sequences ----


def sequence(nodes: list[Node], pods: list[Obj], profile: Profile = DEFAULT) -> Obj:
    """Pods one after another, each assumed on its node before the next; the lowest index wins ties."""
    return one_after_another(nodes, pods, lambda pod: decide(pod, nodes, profile), lambda *_: None)


def one_after_another(
    nodes: list[Node], pods: list[Obj], decide: Callable[[Obj], Obj], reserve: Callable[[Obj, int, Obj], None]
) -> Obj:
    """Columns of a sequence; ``reserve(pod, node, decision)`` is run before the pod is on the node."""
    out: Obj = {"node": [], "ties": [], "feasible": [], "score": []}
    for pod in pods:
        d = decide(pod)
        best, n_feasible = d.get("best", []), len(d.get("feasible", []))
        out["node"].append(-2 if "gated" in d else best[0] if best else -1)
        out["ties"].append(len(best))
        out["feasible"].append(n_feasible)
        out["score"].append(max(d["total"]) if n_feasible > 1 else -1)
        if best:
            reserve(pod, best[0], d)
            nodes[best[0]].add(pod)
    return out

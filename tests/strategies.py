# SPDX-License-Identifier: Apache-2.0
"""Random clusters, pods and changes, with the edges that decisions trip over; seeded, or drawn by Hypothesis.

Everything is made as Kubernetes objects, such as the API server accepts. `node_row` and `pod_row` give the equal rows
of `kubesched.state.rows`, by the oracle's reading and not by kubesched's own encoding, so that each can judge the
other. The GPU-share part makes the oracle's tuples, and their rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from hypothesis import strategies as st

from kubesched.state import rows
from tests import builders, gpu_oracle, oracle

Obj = dict[str, Any]
Rng = np.random.Generator
T = TypeVar("T")

KEYS = ("zone", "disk", "gen")
VALUES = ("a", "b", "1", "7", "007", "x9", "", "9223372036854775807", "9223372036854775808")
"""Label values, among them integers, nearly integers, and one beyond int64."""
OPERANDS = ("0", "5", "7", "9223372036854775806")
TAINT_KEYS = ("k1", "k2", "k3")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
NODE_CPU = ("0", "1m", "2", "3920m", "8", "64", "1G")
NODE_MEMORY = ("0", "1", "4Gi", "16256784Ki", "64Gi", "64Ti", "8Pi", "64Pi")
"""From nothing over 2^46 bytes to the most that the engine takes, 2^56."""
POD_CPU = ("0", "100m", "250m", "1", "1500m", "3", "0.0015", "7", "12e-1", "1m")
POD_MEMORY = ("0", "128Mi", "1Gi", "1500M", "123456789", "6Gi", "1.5Gi", "1", "48Ti", "7Pi")
EXTENDED = ("example.com/gpu", "hugepages-2Mi", "ephemeral-storage")
IMAGES = ("app0:latest", "app1:v2", "reg:5000/app2:latest", "app3@sha256:0123")
IMAGE_REFERENCES = ("app0", "app0:latest", "app1:v2", "app1", "reg:5000/app2", "app3@sha256:0123", "unknown:1")


def pick(rng: Rng, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def chance(rng: Rng, p: float) -> bool:
    return bool(rng.random() < p)


def below(rng: Rng, n: int) -> int:
    return int(rng.integers(n))


def value(rng: Rng) -> str:
    """A label value; mostly one of a few, so that selectors meet them."""
    return pick(rng, VALUES[1:4] if chance(rng, 0.7) else VALUES)


# ---- nodes ----


def node(rng: Rng, i: int) -> Obj:
    """The node ``node-<i>``."""
    made = builders.make_node(f"node-{i}").cpu(pick(rng, NODE_CPU[3:] if chance(rng, 0.9) else NODE_CPU))
    made.memory(pick(rng, NODE_MEMORY[2:5] if chance(rng, 0.7) else NODE_MEMORY))
    made.pods(pick(rng, (1, 4, 110, 110)))
    for resource in EXTENDED:
        if chance(rng, 0.5):
            made.allocatable(resource, pick(rng, ("0", "1", "4", "9")))
    if chance(rng, 0.1):
        made.no_hostname()
    for key in KEYS:
        if chance(rng, 0.7):
            made.label(key, value(rng))
    if chance(rng, 0.4):
        for _ in range(1 + below(rng, 4)):
            effect = pick(rng, EFFECTS) if chance(rng, 0.3) else "PreferNoSchedule"
            made.taint(pick(rng, TAINT_KEYS), effect, pick(rng, ("", "v")))
    if chance(rng, 0.1):
        made.unschedulable()
    if chance(rng, 0.5):
        for name in IMAGES:
            if chance(rng, 0.6):
                made.image(below(rng, 2000) << 20, name, f"{name}-alias")
    return made.build()


# ---- pods ----


def toleration(rng: Rng) -> Obj:
    key = pick(rng, (*TAINT_KEYS, "node.kubernetes.io/unschedulable"))
    made: Obj = {"operator": pick(rng, ("Exists", "Equal", "Equal", "Gt"))}
    if made["operator"] != "Exists" or chance(rng, 0.7):
        made["key"] = key
    if made["operator"] != "Exists":
        made["value"] = pick(rng, ("", "v"))
    if made["operator"] == "Equal" and chance(rng, 0.3):
        del made["operator"]
    if chance(rng, 0.6):
        made["effect"] = pick(rng, EFFECTS)
    return made


def requirement(rng: Rng, junk: bool) -> Obj:
    """A requirement on labels; ``junk`` allows an operand that is not an integer, with which a term matches nothing."""
    operator = pick(rng, ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"))
    if operator in ("In", "NotIn"):
        if chance(rng, 0.3):
            names = {f"node-{below(rng, 12)}" for _ in range(3)}
            return builders.need(builders.HOSTNAME, operator, *sorted(names))
        return builders.need(pick(rng, KEYS), operator, *sorted({value(rng) for _ in range(1 + below(rng, 3))}))
    if operator in ("Gt", "Lt"):
        return builders.need(pick(rng, KEYS), operator, pick(rng, (*OPERANDS, "junk") if junk else OPERANDS))
    return builders.need(pick(rng, (*KEYS, builders.HOSTNAME)), operator)


def term(rng: Rng, junk: bool) -> Obj:
    expressions = [requirement(rng, junk) for _ in range(1 + below(rng, 2))] if chance(rng, 0.85) else []
    fields = []
    if chance(rng, 0.2):
        fields = [builders.need("metadata.name", pick(rng, ("In", "NotIn")), f"node-{below(rng, 14)}")]
    return builders.term(*expressions, fields=tuple(fields))


def named_term(rng: Rng) -> Obj:
    """A term that names its node, now and then two of them, which no node can have."""
    n = 2 if chance(rng, 0.2) else 1
    names = [builders.need("metadata.name", "In", f"node-{below(rng, 14)}") for _ in range(n)]
    return builders.term(*([requirement(rng, False)] if chance(rng, 0.3) else []), fields=tuple(names))


def container(rng: Rng, with_ports: bool) -> Obj:
    """Arguments of the builder's ``container``, ``init`` and ``sidecar``."""
    big = chance(rng, 0.1)
    made: Obj = {
        "cpu": pick(rng, POD_CPU) if chance(rng, 0.7) else None,
        "memory": pick(rng, POD_MEMORY if big else POD_MEMORY[:-2]) if chance(rng, 0.7) else None,
        "more": {name: pick(rng, ("0", "1", "2")) for name in EXTENDED if chance(rng, 0.07)},
        "image": pick(rng, IMAGE_REFERENCES),
    }
    if with_ports and chance(rng, 0.15):
        ip = pick(rng, ("", "", "0.0.0.0", "10.0.0.1", "127.0.0.1"))
        made["ports"] = (builders.host_port(pick(rng, (80, 443)), ip, pick(rng, ("", "TCP", "UDP"))),)
    return made


def pod(rng: Rng, name: str, *, with_ports: bool = True) -> Obj:
    """A pod to place. Some name their node, some are gated; see `running` for one that has a node."""
    made = builders.make_pod(name)
    for _ in range(1 + below(rng, 2)):
        made.container(**container(rng, with_ports))
    if chance(rng, 0.25):
        for _ in range(1 + below(rng, 3)):
            (made.sidecar if chance(rng, 0.4) else made.init)(**container(rng, with_ports))
    if chance(rng, 0.1):
        made.image_volume(pick(rng, IMAGE_REFERENCES))
    if chance(rng, 0.15):
        made.overhead("50m", "64Mi")
    if chance(rng, 0.15):
        made.pod_level("2", None) if chance(rng, 0.5) else made.pod_level("1", "3Gi")
    rules(rng, made)
    return made.build()


def rules(rng: Rng, made: builders.PodBuilder) -> None:
    """Tolerations, selectors and affinity."""
    if chance(rng, 0.4):
        for _ in range(1 + below(rng, 3)):
            given = toleration(rng)
            made.tolerate(**given)
    if chance(rng, 0.1):
        made.select(pick(rng, KEYS), value(rng))
    if chance(rng, 0.2):
        named = chance(rng, 0.2)
        made.require(*(named_term(rng) if named else term(rng, True) for _ in range(1 + below(rng, 2))))
    if chance(rng, 0.3):
        for _ in range(1 + below(rng, 2)):
            made.prefer(1 + below(rng, 100), term(rng, False))


def renamed(obj: Obj, name: str) -> Obj:
    """The same pod under another name."""
    return obj | {"metadata": obj["metadata"] | {"name": name}}


def empty(rng: Rng, name: str) -> Obj:
    """A pod that asks for nothing at all, in one of the ways to say so."""
    return builders.make_pod(name).container(*pick(rng, ((None, None), ("0", "0"), ("0", None)))).build()


def running(rng: Rng, name: str, n_nodes: int) -> Obj:
    """A pod on some node, whether it fits there or not; without ports, which two pods cannot share in earnest."""
    made = pod(rng, name, with_ports=False)
    made["spec"]["nodeName"] = f"node-{below(rng, n_nodes)}"
    return made


def case(rng: Rng, n_nodes: int, n_running: int, n_pods: int) -> Obj:
    """A recorded-case-like dict without expectations."""
    nodes = [node(rng, i) for i in range(n_nodes)]
    there = [running(rng, f"r{i}", n_nodes) for i in range(n_running)]
    new = [empty(rng, f"p{i}") if chance(rng, 0.05) else pod(rng, f"p{i}") for i in range(n_pods)]
    return {"nodes": nodes, "pods": there, "sequence": new}


KINDS = {
    "nodes": "Node",
    "namespaces": "Namespace",
    "services": "Service",
    "replicationcontrollers": "ReplicationController",
    "replicasets": "ReplicaSet",
    "statefulsets": "StatefulSet",
    "pvs": "PersistentVolume",
    "pvcs": "PersistentVolumeClaim",
    "storageclasses": "StorageClass",
    "csinodes": "CSINode",
    "csidrivers": "CSIDriver",
    "csistoragecapacities": "CSIStorageCapacity",
    "volumeattachments": "VolumeAttachment",
    "pdbs": "PodDisruptionBudget",
    "pods": "Pod",
}
"""Lists of a case in the order in which objects are read, and their kind."""


def objects(case: Obj) -> list[Obj]:
    """All objects of a case in one list, with their kinds."""
    return [{**obj, "kind": kind} for name, kind in KINDS.items() for obj in case.get(name) or []]


class NodeLocal:
    """Clusters whose pods do not look at each other; the form of `pairwise_strategies.Family`."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj:
        return case(rng, n_nodes, n_running, 0)

    def node(self, rng: Rng, i: int) -> Obj:
        return node(rng, i)

    def pod(self, rng: Rng, name: str) -> Obj:
        return empty(rng, name) if chance(rng, 0.05) else pod(rng, name)

    def running(self, rng: Rng, name: str, node: str) -> Obj:
        obj = pod(rng, name, with_ports=False)
        obj["spec"]["nodeName"] = node
        return obj


# ---- the equal rows, by the oracle's reading ----


def sorted_amounts(amounts: dict[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((name, amount) for name, amount in amounts.items() if amount))


def node_row(obj: Obj) -> rows.NodeRow:
    read = oracle.Node(obj)
    return rows.NodeRow(
        name=read.name,
        allocatable=sorted_amounts(read.alloc),
        labels=tuple(sorted(read.labels.items())),
        taints=tuple(rows.Taint(t["key"], t.get("value") or "", t["effect"]) for t in read.taints),
        images=tuple(rows.Image(name, image.size) for name, image in read.images.items()),
        unschedulable=read.unschedulable,
    )


def term_row(t: Obj, weight: int = 0) -> rows.Term:
    found = [(q, False) for q in t.get("matchExpressions") or []] + [(q, True) for q in t.get("matchFields") or []]
    made = [rows.Requirement(q["key"], q["operator"], tuple(q.get("values") or ()), is_field) for q, is_field in found]
    return rows.Term(tuple(made), weight)


def toleration_row(t: Obj) -> rows.Toleration:
    operator = t.get("operator") or "Equal"
    return rows.Toleration(t.get("key") or "", operator, t.get("value") or "", t.get("effect") or "")


def shape(obj: Obj) -> rows.PodShape:
    ask, spec = oracle.Ask(obj), obj["spec"]
    containers = (spec.get("initContainers") or []) + spec["containers"]
    images = [c.get("image") or "" for c in containers]
    images += [v["image"]["reference"] for v in spec.get("volumes") or [] if "image" in v]
    cpu, memory = oracle.nonzero(obj)
    return rows.PodShape(
        requests=sorted_amounts(ask.filtered),
        fit_requests=sorted_amounts(ask.fit),
        nonzero_cpu_milli=cpu,
        nonzero_memory_bytes=memory,
        node_name=spec.get("nodeName") or None,
        node_selector=tuple(sorted((spec.get("nodeSelector") or {}).items())),
        required_terms=None if ask.required is None else tuple(term_row(t) for t in ask.required),
        preferred_terms=tuple(term_row(t["preference"], t["weight"]) for t in ask.preferred),
        tolerations=tuple(toleration_row(t) for t in ask.tolerations),
        host_ports=tuple(rows.HostPort(*port) for port in dict.fromkeys(ask.ports)),
        images=tuple(oracle.image_name(name) for name in images if name),
        n_image_containers=len(containers),
        namespace=obj["metadata"]["namespace"],
        labels=tuple(sorted((obj["metadata"].get("labels") or {}).items())),
    )


def pod_row(obj: Obj) -> rows.PodRow:
    metadata, spec = obj["metadata"], obj["spec"]
    return rows.PodRow(
        namespace=metadata["namespace"],
        name=metadata["name"],
        shape=shape(obj),
        node_name=spec.get("nodeName"),
        priority=spec.get("priority") or 0,
        preempts=spec.get("preemptionPolicy") != "Never",
        scheduling_gates=tuple(g["name"] for g in spec.get("schedulingGates") or []),
    )


# ---- profiles: the same for both sides ----

PROFILES = (
    oracle.DEFAULT,
    oracle.Profile(release="v1.35"),
    oracle.Profile(
        (("NodeResourcesFit", 1),),
        strategy="MostAllocated",
        resources=(("cpu", 3), ("memory", 1), ("ephemeral-storage", 2)),
    ),
    oracle.Profile(
        (("ImageLocality", 5), ("NodeResourcesFit", 2), ("TaintToleration", 1)),
        strategy="RequestedToCapacityRatio",
        resources=(("cpu", 1), ("memory", 2), ("example.com/gpu", 7)),
        shape=((10, 0), (40, 10), (70, 3), (100, 9)),
    ),
    oracle.Profile(
        (("NodeResourcesFit", 1), ("NodeResourcesBalancedAllocation", 3), ("NodeAffinity", 1)),
        resources=(("memory", 100), ("hugepages-2Mi", 1)),
        balanced=("cpu", "memory", "example.com/gpu", "ephemeral-storage"),
    ),
    oracle.Profile(
        (("NodeResourcesBalancedAllocation", 1),),
        balanced=("example.com/gpu",),
        release="v1.35",
    ),
)
"""Profiles that reach every strategy and formula."""


# ---- GPU-share ----

MODELS = ("A", "B", "C")


def gpu_models(rng: Rng) -> str:
    return "|".join(m for m in MODELS if chance(rng, 0.4)) if chance(rng, 0.4) else ""


def gpu_pod(rng: Rng) -> gpu_oracle.Pod:
    what, cpu, memory = rng.random(), below(rng, 9) * 1000, below(rng, 5) << 30
    if what < 0.2:
        return gpu_oracle.Pod(cpu, memory)
    if what < 0.7:
        milli = pick(rng, (1, 50, 100, 250, 333, 500, 500, 900, 999))
        return gpu_oracle.Pod(cpu, memory, 1, milli, gpu_models(rng))
    return gpu_oracle.Pod(cpu, memory, pick(rng, (1, 1, 2, 4, 8)), 1000, gpu_models(rng))


def gpu_node(rng: Rng) -> gpu_oracle.Node:
    """An empty node, without devices now and then."""
    left = [1000] * pick(rng, (0, 1, 2, 4, 8, 8))
    return gpu_oracle.Node((4 + below(rng, 60)) * 1000, below(rng, 64) << 30, left, pick(rng, MODELS) if left else "")


def gpu_typical(rng: Rng) -> gpu_oracle.Typical:
    """Typical pods of a small made-up workload."""
    drawn = [gpu_pod(rng) for _ in range(8)]
    return gpu_oracle.typical_pods([pick(rng, drawn) for _ in range(60)])


def gpu_shape(pod: gpu_oracle.Pod) -> rows.PodShape:
    amounts = sorted_amounts({rows.CPU: pod.cpu, rows.MEMORY: pod.memory})
    return rows.PodShape(
        requests=amounts,
        fit_requests=amounts,
        nonzero_cpu_milli=pod.cpu,
        nonzero_memory_bytes=pod.memory,
        device_count=pod.count,
        device_milli=pod.milli,
        device_models=tuple(sorted(m for m in pod.models.split("|") if m)),
    )


def gpu_node_row(name: str, node: gpu_oracle.Node) -> rows.NodeRow:
    return rows.NodeRow(
        name=name,
        allocatable=sorted_amounts({rows.CPU: node.cpu, rows.MEMORY: node.memory, rows.PODS: 1000}),
        device_count=len(node.left),
        device_model=node.model or None,
    )


# ---- Hypothesis: small worlds that shrink ----

NEAR = [0, 1, 2, 3, 99, 100, 101, 2**31, 2**46, 2**53, 2**53 + 1, 2**56 - 1, 2**56]
amounts = st.sampled_from(NEAR) | st.integers(0, 2**56)
"""Quantities in canonical units, with the borders of exactness in them."""

label_values = st.sampled_from(VALUES)
labels = st.dictionaries(st.sampled_from(KEYS), label_values)
taint_objects = st.builds(
    lambda key, value, effect: {"key": key, "value": value, "effect": effect},
    st.sampled_from(TAINT_KEYS),
    st.sampled_from(["", "v"]),
    st.sampled_from(EFFECTS),
)


@st.composite
def toleration_objects(draw: st.DrawFn) -> Obj:
    made = {"operator": draw(st.sampled_from(["", "Equal", "Exists", "Gt", "Lt"]))}
    for name, values in (("key", ["", *TAINT_KEYS]), ("value", ["", "v"]), ("effect", ["", *EFFECTS])):
        made[name] = draw(st.sampled_from(values))
    if made["operator"] != "Exists" and not made["key"]:
        made["key"] = TAINT_KEYS[0]  # the API wants Exists without a key
    return made


@st.composite
def requirement_objects(draw: st.DrawFn, junk: bool) -> Obj:
    operator = draw(st.sampled_from(["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]))
    key = draw(st.sampled_from(KEYS))
    if operator in ("In", "NotIn"):
        return builders.need(key, operator, *draw(st.lists(label_values, min_size=1, max_size=3, unique=True)))
    if operator in ("Gt", "Lt"):
        return builders.need(key, operator, draw(st.sampled_from([*OPERANDS, *(["junk"] if junk else [])])))
    return builders.need(key, operator)


@st.composite
def term_objects(draw: st.DrawFn, junk: bool) -> Obj:
    expressions = draw(st.lists(requirement_objects(junk), max_size=3))
    names = st.builds(
        lambda op, name: builders.need("metadata.name", op, name),
        st.sampled_from(["In", "NotIn"]),
        st.sampled_from(["node-0", "node-1", "node-9"]),
    )
    return builders.term(*expressions, fields=tuple(draw(st.lists(names, max_size=2))))

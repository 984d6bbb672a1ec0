# SPDX-License-Identifier: Apache-2.0
"""Random clusters and pods as Kubernetes objects, with the edges that decisions trip over."""

from __future__ import annotations

from typing import Any

import numpy as np

Obj = dict[str, Any]
KEYS = ("zone", "disk", "gen", "kubernetes.io/hostname")
VALUES = ("a", "b", "1", "7", "-3", "+4", "x9", "")


def pick(rng: np.random.Generator, items: tuple[Any, ...] | list[Any]) -> Any:
    return items[int(rng.integers(len(items)))]


def chance(rng: np.random.Generator, p: float) -> bool:
    return bool(rng.random() < p)


def cpu(rng: np.random.Generator) -> str:
    return pick(rng, ["0", "100m", "250m", "1", "1500m", "3", "0.0015", "7"])


def memory(rng: np.random.Generator) -> str:
    return pick(rng, ["0", "128Mi", "1Gi", "1500M", "123456789", "6Gi", "1.5Gi"])


def node(rng: np.random.Generator, i: int) -> Obj:
    name = f"node-{i}"
    alloc = {"cpu": pick(rng, ["0", "2", "3920m", "8", "64"]), "memory": pick(rng, ["0", "4Gi", "16256784Ki", "64Gi"])}
    alloc["pods"] = pick(rng, ["1", "3", "110"])
    if chance(rng, 0.05):
        alloc["memory"] = "2048Ti"  # beyond what doubles hold exactly
    if chance(rng, 0.3):
        alloc["example.com/gpu"] = pick(rng, ["1", "4"])
    labels = {"kubernetes.io/hostname": name} if chance(rng, 0.9) else {}
    labels |= {key: pick(rng, VALUES) for key in KEYS[:3] if chance(rng, 0.7)}
    obj: Obj = {
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "status": {"allocatable": alloc},
        "spec": {},
    }
    if chance(rng, 0.4):
        obj["spec"]["taints"] = [taint(rng) for _ in range(int(rng.integers(1, 4)))]
    if chance(rng, 0.1):
        obj["spec"]["unschedulable"] = True
    if chance(rng, 0.5):
        sizes = [int(rng.integers(1, 2000)) << 20 for _ in range(3)]
        names = [f"app{k}:latest" for k in range(3) if chance(rng, 0.6)]
        obj["status"]["images"] = [{"names": [n], "sizeBytes": s} for n, s in zip(names, sizes, strict=False)]
    return obj


def taint(rng: np.random.Generator) -> Obj:
    effect = pick(rng, ["PreferNoSchedule", "PreferNoSchedule", "NoSchedule", "NoExecute"])
    return {"key": pick(rng, ["k1", "k2", "k3"]), "value": pick(rng, ["", "v"]), "effect": effect}


def toleration(rng: np.random.Generator) -> Obj:
    t: Obj = {"operator": pick(rng, ["Exists", "Equal"])}
    if t["operator"] == "Equal" or chance(rng, 0.7):
        t["key"] = pick(rng, ["k1", "k2", "k3", "node.kubernetes.io/unschedulable"])
    if t["operator"] == "Equal":
        t["value"] = pick(rng, ["", "v"])
    if chance(rng, 0.6):
        t["effect"] = pick(rng, ["PreferNoSchedule", "NoSchedule", "NoExecute"])
    return t


def requirement(rng: np.random.Generator) -> Obj:
    operator = pick(rng, ["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"])
    key = pick(rng, KEYS[:3] if operator in ("Gt", "Lt") else KEYS)
    q: Obj = {"key": key, "operator": operator}
    if operator in ("In", "NotIn"):
        values = [pick(rng, [*VALUES, "node-1", "node-2"]) for _ in range(int(rng.integers(1, 4)))]
        q["values"] = values
    elif operator in ("Gt", "Lt"):
        q["values"] = [pick(rng, ["0", "5", "-9", "junk", "+4"])]
    return q


def term(rng: np.random.Generator) -> Obj:
    t: Obj = {}
    if chance(rng, 0.85):
        t["matchExpressions"] = [requirement(rng) for _ in range(int(rng.integers(1, 3)))]
    if chance(rng, 0.2):
        names = [f"node-{int(rng.integers(12))}" for _ in range(2)]
        t["matchFields"] = [{"key": "metadata.name", "operator": pick(rng, ["In", "NotIn"]), "values": names}]
    return t


def container(rng: np.random.Generator, name: str) -> Obj:
    requests = {}
    if chance(rng, 0.7):
        requests["cpu"] = cpu(rng)
    if chance(rng, 0.7):
        requests["memory"] = memory(rng)
    if chance(rng, 0.15):
        requests["example.com/gpu"] = "1"
    c: Obj = {"name": name, "image": f"app{int(rng.integers(4))}", "resources": {"requests": requests}}
    if chance(rng, 0.15):
        port = {"hostPort": pick(rng, [80, 443]), "containerPort": 1}
        port |= {"hostIP": pick(rng, ["10.0.0.1", "127.0.0.1", "0.0.0.0"])} if chance(rng, 0.5) else {}
        c["ports"] = [port | {"protocol": pick(rng, ["TCP", "UDP"])}]
    return c


def pod(rng: np.random.Generator, name: str) -> Obj:
    spec: Obj = {"containers": [container(rng, f"c{k}") for k in range(int(rng.integers(1, 3)))]}
    if chance(rng, 0.25):
        spec["initContainers"] = [container(rng, f"i{k}") for k in range(int(rng.integers(1, 3)))]
        for init in spec["initContainers"]:
            if chance(rng, 0.4):
                init["restartPolicy"] = "Always"
    if chance(rng, 0.15):
        spec["overhead"] = {"cpu": "50m", "memory": "64Mi"}
    if chance(rng, 0.15):
        spec["resources"] = {"requests": {"cpu": "2"} if chance(rng, 0.5) else {"memory": "3Gi", "cpu": "1"}}
    if chance(rng, 0.4):
        spec["tolerations"] = [toleration(rng) for _ in range(int(rng.integers(1, 4)))]
    if chance(rng, 0.15):
        spec["nodeSelector"] = {pick(rng, KEYS[:3]): pick(rng, VALUES)}
    affinity: Obj = {}
    if chance(rng, 0.2):
        terms = [term(rng) for _ in range(int(rng.integers(1, 3)))]
        affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": terms}
    if chance(rng, 0.3):
        preferred = [
            {"weight": int(rng.integers(1, 101)), "preference": term(rng)} for _ in range(int(rng.integers(1, 3)))
        ]
        affinity["preferredDuringSchedulingIgnoredDuringExecution"] = preferred
    if affinity:
        spec["affinity"] = {"nodeAffinity": affinity}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def case(rng: np.random.Generator, n_nodes: int, n_running: int, n_pods: int) -> Obj:
    """A recorded-case-like dict without expectations."""
    nodes = [node(rng, i) for i in range(n_nodes)]
    running = [pod(rng, f"r{i}") for i in range(n_running)]
    for obj in running:
        obj["spec"]["nodeName"] = f"node-{int(rng.integers(n_nodes))}"
    return {"nodes": nodes, "pods": running, "sequence": [pod(rng, f"p{i}") for i in range(n_pods)]}

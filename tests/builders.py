# SPDX-License-Identifier: Apache-2.0
"""Fluent builders of Kubernetes objects as plain dicts, for tests that want to say only what matters.

``make_node("a").cpu("4").memory("8Gi").taint("spot", "NoSchedule").build()``
``make_pod("web").container(cpu="500m").prefer(10, term(need("zone", "In", "a"))).build()``
A node has room for 110 pods and carries its name as hostname label unless it is told otherwise.
"""

from __future__ import annotations

import copy
from typing import Any, Self, TypedDict, Unpack

Obj = dict[str, Any]
HOSTNAME = "kubernetes.io/hostname"


# ---- parts ----


def need(key: str, operator: str, *values: str) -> Obj:
    """A requirement on labels, or on fields."""
    return {"key": key, "operator": operator} | ({"values": list(values)} if values else {})


def term(*expressions: Obj, fields: tuple[Obj, ...] = ()) -> Obj:
    """A node selector term; without anything it matches nothing."""
    out: Obj = {}
    if expressions:
        out["matchExpressions"] = list(expressions)
    if fields:
        out["matchFields"] = list(fields)
    return out


def host_port(port: int, ip: str = "", protocol: str = "") -> Obj:
    out: Obj = {"containerPort": port, "hostPort": port}
    if ip:
        out["hostIP"] = ip
    if protocol:
        out["protocol"] = protocol
    return out


def requests(cpu: str | None, memory: str | None, more: dict[str, str] | None = None) -> dict[str, str]:
    """A resource list; None leaves the resource out, "0" asks for nothing."""
    out = {} if cpu is None else {"cpu": cpu}
    return out | ({} if memory is None else {"memory": memory}) | (more or {})


# ---- nodes ----


class NodeBuilder:
    """See `make_node`."""

    def __init__(self, name: str) -> None:
        self._labels = {HOSTNAME: name}
        self._allocatable = {"pods": "110"}
        self._spec: Obj = {}
        self._images: list[Obj] = []
        self._name = name

    def allocatable(self, resource: str, amount: str) -> Self:
        self._allocatable[resource] = amount
        return self

    def cpu(self, amount: str) -> Self:
        return self.allocatable("cpu", amount)

    def memory(self, amount: str) -> Self:
        return self.allocatable("memory", amount)

    def pods(self, amount: int) -> Self:
        return self.allocatable("pods", str(amount))

    def label(self, key: str, value: str) -> Self:
        self._labels[key] = value
        return self

    def no_hostname(self) -> Self:
        self._labels.pop(HOSTNAME)
        return self

    def taint(self, key: str, effect: str, value: str = "") -> Self:
        taint = {"key": key, "effect": effect} | ({"value": value} if value else {})
        self._spec.setdefault("taints", []).append(taint)
        return self

    def unschedulable(self) -> Self:
        self._spec["unschedulable"] = True
        return self

    def image(self, size_bytes: int, *names: str) -> Self:
        self._images.append({"names": list(names), "sizeBytes": size_bytes})
        return self

    def build(self) -> Obj:
        status: Obj = {"allocatable": self._allocatable} | ({"images": self._images} if self._images else {})
        metadata = {"name": self._name, "labels": self._labels}
        return copy.deepcopy({"kind": "Node", "metadata": metadata, "spec": self._spec, "status": status})


def make_node(name: str) -> NodeBuilder:
    return NodeBuilder(name)


# ---- pods ----


class Parts(TypedDict, total=False):
    """Parts of a container beside cpu and memory."""

    more: dict[str, str]
    """Other resources that it requests."""
    image: str | None
    ports: tuple[Obj, ...]


class PodBuilder:
    """See `make_pod`."""

    def __init__(self, name: str, namespace: str) -> None:
        self._metadata = {"name": name, "namespace": namespace}
        self._spec: Obj = {"containers": []}
        self._status: Obj = {}

    def _container(
        self, kind: str, cpu: str | None, memory: str | None, parts: Parts, restart_policy: str | None = None
    ) -> Self:
        listed = self._spec.setdefault(kind, [])
        asked = requests(cpu, memory, parts.get("more"))
        made: Obj = {"name": f"{kind[0]}{len(listed)}", "resources": {"requests": asked}}
        image, ports = parts.get("image"), parts.get("ports")
        if image is not None:
            made["image"] = image
        if ports:
            made["ports"] = list(ports)
        if restart_policy is not None:
            made["restartPolicy"] = restart_policy
        listed.append(made)
        return self

    def container(self, cpu: str | None = None, memory: str | None = None, **parts: Unpack[Parts]) -> Self:
        return self._container("containers", cpu, memory, parts)

    def init(self, cpu: str | None = None, memory: str | None = None, **parts: Unpack[Parts]) -> Self:
        return self._container("initContainers", cpu, memory, parts)

    def sidecar(self, cpu: str | None = None, memory: str | None = None, **parts: Unpack[Parts]) -> Self:
        return self._container("initContainers", cpu, memory, parts, "Always")

    def image_volume(self, reference: str) -> Self:
        volumes = self._spec.setdefault("volumes", [])
        volumes.append({"name": f"v{len(volumes)}", "image": {"reference": reference}})
        return self

    def overhead(self, cpu: str | None = None, memory: str | None = None) -> Self:
        self._spec["overhead"] = requests(cpu, memory)
        return self

    def pod_level(self, cpu: str | None = None, memory: str | None = None) -> Self:
        self._spec["resources"] = {"requests": requests(cpu, memory)}
        return self

    def resized(self, applied: dict[str, str], granted: dict[str, str], reason: str = "") -> Self:
        """The first container is being resized; ``reason`` is why that is pending."""
        name = self._spec["containers"][0]["name"]
        entry = {"name": name, "resources": {"requests": applied}, "allocatedResources": granted}
        self._status["containerStatuses"] = [entry]
        if reason:
            self._status["conditions"] = [{"type": "PodResizePending", "status": "True", "reason": reason}]
        return self

    def tolerate(self, key: str = "", operator: str = "", value: str = "", effect: str = "") -> Self:
        parts = {"key": key, "operator": operator, "value": value, "effect": effect}
        self._spec.setdefault("tolerations", []).append({k: v for k, v in parts.items() if v})
        return self

    def select(self, key: str, value: str) -> Self:
        self._spec.setdefault("nodeSelector", {})[key] = value
        return self

    def _affinity(self) -> Obj:
        found: Obj = self._spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
        return found

    def require(self, *terms: Obj) -> Self:
        self._affinity()["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": list(terms)}
        return self

    def prefer(self, weight: int, preference: Obj) -> Self:
        listed = self._affinity().setdefault("preferredDuringSchedulingIgnoredDuringExecution", [])
        listed.append({"weight": weight, "preference": preference})
        return self

    def gate(self, name: str) -> Self:
        self._spec.setdefault("schedulingGates", []).append({"name": name})
        return self

    def priority(self, value: int) -> Self:
        self._spec["priority"] = value
        return self

    def never_preempts(self) -> Self:
        self._spec["preemptionPolicy"] = "Never"
        return self

    def on(self, node: str) -> Self:
        self._spec["nodeName"] = node
        return self

    def build(self) -> Obj:
        status = {"status": self._status} if self._status else {}
        return copy.deepcopy({"kind": "Pod", "metadata": self._metadata, "spec": self._spec} | status)


def make_pod(name: str, namespace: str = "default") -> PodBuilder:
    return PodBuilder(name, namespace)

# SPDX-License-Identifier: Apache-2.0
"""Kubernetes objects to rows: the only place where units and shapes of the API are translated.

Objects are taken as the API server would return them: defaulted. Manifests from files go through
``defaults.apply`` first. A pod that uses something placement does not implement is refused by name
(``UnsupportedError``); the caller can leave some features out of the decision (``ignore``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubesched.api import fields, quantity
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.scheduler import budgets, claims, podgroups, pods, requests, selectors, storage
from kubesched.state import claim_rows, rows, storage_rows

FEATURES: dict[str, str] = {
    "nominated": "nominated nodes",
    "volumes": "volumes that bind a pod to nodes",
}
"""What can be left out of decisions: id and what it is."""

GPU_COUNT = "alibabacloud.com/gpu-count"
GPU_MILLI = "alibabacloud.com/gpu-milli"
GPU_MODEL = "alibabacloud.com/gpu-card-model"
GPU_INDEX = "alibabacloud.com/gpu-index"

_TERMINAL = ("Succeeded", "Failed")


@dataclass(slots=True)
class Encoded:
    """Rows of a list of objects."""

    nodes: list[rows.NodeRow] = field(default_factory=list)
    running: list[rows.PodRow] = field(default_factory=list)
    pending: list[rows.PodRow] = field(default_factory=list)
    gangs: list[rows.Gang] = field(default_factory=list)
    budgets: list[rows.Budget] = field(default_factory=list)
    """PodDisruptionBudgets."""
    storage: list[storage_rows.StorageRow] = field(default_factory=list)
    """Claims, volumes and what stands behind them."""
    namespaces: dict[str, dict[str, str]] = field(default_factory=dict)
    """Labels of the namespaces that are listed."""
    devices: claim_rows.Devices = field(default_factory=claim_rows.Devices)
    """Device classes, slices and claims."""
    ignored: Counter[str] = field(default_factory=Counter)
    """Objects that placement does not look at, by kind."""
    shapes: dict[rows.PodShape, rows.PodShape] = field(default_factory=dict)
    """Distinct shapes: equal ones are one object, which is cheaper to hold and to look up."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Features that were left out because the caller asked for it."""


# ---- nodes ----


def node_row(obj: dict[str, Any], cluster: str = "") -> rows.NodeRow:
    """Encode a v1 Node; only ``status.allocatable`` counts, as in kube-scheduler."""
    node = fields.of(obj, "Node")
    metadata, spec, status = node.view("metadata"), node.view("spec"), node.view("status")
    amounts = requests.read_amounts(status, "allocatable")
    pods = amounts.pop(rows.PODS, 0)
    allocatable = dict(requests.canonical(amounts))
    if pods:
        allocatable[rows.PODS] = quantity.whole(pods)
    labels = metadata.pairs("labels")
    return rows.NodeRow(
        name=metadata.text("name"),
        allocatable=tuple(sorted(allocatable.items())),
        labels=labels,
        taints=tuple(_taint(view) for view in spec.views("taints")),
        images=_images(status),
        unschedulable=spec.flag("unschedulable"),
        device_count=allocatable.get(GPU_COUNT, 0),
        device_model=dict(labels).get(GPU_MODEL),
        cluster=cluster,
        declared_features=tuple(sorted(set(status.texts("declaredFeatures")))),
    )


def _taint(view: View) -> rows.Taint:
    effect = view.text("effect")
    if effect not in rows.TAINT_EFFECTS:
        raise errors.InputError(view.where("effect"), "is not a taint effect", effect, ", ".join(rows.TAINT_EFFECTS))
    if not view.text("key"):
        raise view.missing("key", "a taint key")
    return rows.Taint(view.text("key"), view.text("value"), effect)


def _images(status: View) -> tuple[rows.Image, ...]:
    found: dict[str, int] = {}
    for view in status.views("images"):
        size = view.integer("sizeBytes")
        if not 0 <= size <= rows.MAX_QUANTITY:
            raise errors.InputError(view.where("sizeBytes"), "is out of range", size, "bytes, 0 or more")
        found.update(dict.fromkeys(view.texts("names"), size))
    return tuple(rows.Image(name, size) for name, size in found.items())


# ---- pods ----


def pod_row(
    obj: dict[str, Any],
    ignore: Collection[str] = (),
    cluster: str = "",
    spread: pods.DefaultSpread | None = None,
) -> rows.PodRow:
    """Encode a v1 Pod.

    Parameters
    ----------
    obj
        The object, defaulted.
    ignore
        Ids of FEATURES to leave out of the decision.
    cluster
        The pod's cluster in a fleet.
    spread
        Services and controllers that may ask for default spreading; None: there are none.

    Raises
    ------
    UnsupportedError
        The pod uses something that is not implemented.
    InputError
        A field is wrong.
    """
    return _pod_row(fields.of(obj, "Pod"), ignore, cluster, spread or pods.DefaultSpread(()))[0]


def _pod_row(
    pod: View, ignore: Collection[str], cluster: str, spread: pods.DefaultSpread
) -> tuple[rows.PodRow, list[str]]:
    """The row, and the features that it was decided without, one entry for each field that asks."""
    metadata, spec = pod.view("metadata"), pod.view("spec")
    node_name = spec.text("nodeName") or None
    nominated = "" if node_name else pod.view("status").text("nominatedNodeName")
    volumes = storage.volumes_of(pod)
    asked = {"nominated": nominated, "volumes": volumes}
    left_out = [feature for feature in ignore if asked[feature]]
    indexes = metadata.view("annotations").text(GPU_INDEX) if node_name else ""
    row = rows.PodRow(
        namespace=metadata.text("namespace") or "default",
        name=metadata.text("name"),
        shape=_shape(pod, cluster, spread),
        node_name=node_name,
        priority=spec.integer("priority"),
        preempts=spec.text("preemptionPolicy") != "Never",
        started=budgets.started(pod),
        nominated_node="" if "nominated" in ignore else nominated,
        is_evicted=budgets.is_evicted(pod),
        scheduling_gates=tuple(view.text("name") for view in spec.views("schedulingGates")),
        device_ids=_device_ids(pod, indexes),
        cluster=cluster,
        group=podgroups.group_of(pod),
        volumes=None if "volumes" in ignore else volumes,
        devices=claims.of_pod(pod, cluster),
        scheduler_name=spec.text("schedulerName") or "default-scheduler",
    )
    if cluster and row.volumes is not None:
        raise errors.UnsupportedError(pod.owner, "has volumes, which a fleet does not support", cluster)
    return row, left_out


def _node_features(spec: View) -> Iterable[str]:
    """Features that nodes must declare, by the fields that only those nodes honour.

    Source: component-helpers/nodedeclaredfeatures, v1.36.
    """
    for container in [*spec.views("containers"), *spec.views("initContainers")]:
        if any(rule.text("action") == "RestartAllContainers" for rule in container.views("restartPolicyRules")):
            yield "RestartAllContainersOnContainerExits"
    if spec.flag("hostNetwork") and spec.has("hostUsers") and not spec.flag("hostUsers"):
        yield "UserNamespacesHostNetworkSupport"


def _shape(pod: View, cluster: str, spread: pods.DefaultSpread) -> rows.PodShape:
    metadata, spec = pod.view("metadata"), pod.view("spec")
    total = requests.PodRequests(pod)
    nonzero_cpu, nonzero_memory = total.nonzero()
    node_affinity = spec.view("affinity").view("nodeAffinity")
    required = node_affinity.view("requiredDuringSchedulingIgnoredDuringExecution")
    containers, init = list(spec.views("containers")), list(spec.views("initContainers"))
    count, milli, models = _devices(pod)
    namespace = metadata.text("namespace") or "default"
    labels = metadata.pairs("labels")
    own = pods.spread_constraints(spec, dict(labels))
    # The defaults of a running pod bind nobody.
    default = spread.constraints(pod) if not own and not spec.text("nodeName") else ()
    affinity = spec.view("affinity")
    near, apart = affinity.view("podAffinity"), affinity.view("podAntiAffinity")
    if cluster and (own or default or near.data or apart.data):
        raise errors.UnsupportedError(pod.owner, "has rules about other pods, which a fleet does not support", cluster)
    return rows.PodShape(
        requests=requests.canonical(total.total()),
        fit_requests=requests.canonical(total.total(pod_level=False, defaults=(rows.CPU, rows.MEMORY))),
        nonzero_cpu_milli=nonzero_cpu,
        nonzero_memory_bytes=nonzero_memory,
        node_name=spec.text("nodeName") or None,
        node_selector=spec.pairs("nodeSelector"),
        required_terms=selectors.terms(required.views("nodeSelectorTerms")) if required.data else None,
        preferred_terms=_preferred(node_affinity),
        tolerations=tuple(_toleration(view) for view in spec.views("tolerations")),
        host_ports=_host_ports(containers, init),
        images=_image_names(spec, containers, init),
        n_image_containers=len(containers) + len(init),
        device_count=count,
        device_milli=milli,
        device_models=models,
        namespace=f"{cluster}/{namespace}" if cluster else namespace,
        labels=labels,
        terminating=metadata.has("deletionTimestamp"),
        spread=own or default,
        spread_is_default=bool(default),
        required_pods=pods.required_terms(near, namespace),
        required_anti_pods=pods.required_terms(apart, namespace),
        preferred_pods=pods.preferred_terms(near, namespace, 1) + pods.preferred_terms(apart, namespace, -1),
        node_features=tuple(sorted(set(_node_features(spec)))),
    )


def _preferred(affinity: View) -> tuple[rows.Term, ...]:
    out = []
    for view in affinity.views("preferredDuringSchedulingIgnoredDuringExecution"):
        weight = view.integer("weight")
        if not 0 <= weight <= 100:
            raise errors.InputError(view.where("weight"), "is out of range", weight, "1 to 100")
        if weight:  # upstream leaves out terms of weight 0
            out.append(rows.Term(selectors.requirements(view.view("preference")), weight))
    return tuple(out)


def _toleration(view: View) -> rows.Toleration:
    effect = view.text("effect")
    if effect and effect not in rows.TAINT_EFFECTS:
        raise errors.InputError(view.where("effect"), "is not a taint effect", effect, ", ".join(rows.TAINT_EFFECTS))
    return rows.Toleration(view.text("key"), view.text("operator") or "Equal", view.text("value"), effect)


def _host_ports(containers: list[View], init: list[View]) -> tuple[rows.HostPort, ...]:
    """Host ports of containers and sidecars. Source: schedutil.GetHostPorts, v1.36."""
    sidecars = [view for view in init if view.text("restartPolicy") == "Always"]
    found: dict[rows.HostPort, None] = {}
    for container in containers + sidecars:
        for view in container.views("ports"):
            port = view.integer("hostPort")
            if port == 0:
                continue
            if not 1 <= port <= 65535:
                raise errors.InputError(view.where("hostPort"), "is not a port", port, "1 to 65535")
            found[rows.HostPort(view.text("hostIP") or rows.WILDCARD_IP, view.text("protocol") or "TCP", port)] = None
    return tuple(found)


def _image_names(spec: View, containers: list[View], init: list[View]) -> tuple[str, ...]:
    names = [view.text("image") for view in init + containers]
    names += [view.view("image").text("reference") for view in spec.views("volumes") if view.has("image")]
    return tuple(normalized_image(name) for name in names if name)


def normalized_image(name: str) -> str:
    """Append ``:latest`` to a name without tag or digest. Source: imagelocality, v1.36."""
    return name if name.rfind(":") > name.rfind("/") else f"{name}:latest"


# ---- shares of devices: the annotations of the open GPU-share plugin ----


def _devices(pod: View) -> tuple[int, int, tuple[str, ...]]:
    annotations = pod.view("metadata").view("annotations")
    count = _annotation(annotations, GPU_COUNT, 64)
    milli = _annotation(annotations, GPU_MILLI, 1000)
    if count == 0 or milli == 0:
        return 0, 0, ()
    if count > 1 and milli < 1000:
        raise errors.InputError(
            annotations.where(GPU_MILLI),
            "shares several devices",
            milli,
            "1000 with more than one",
        )
    return count, milli, rows.split_models(annotations.text(GPU_MODEL))


def _annotation(annotations: View, name: str, limit: int) -> int:
    text = annotations.text(name) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 6 or int(text) > limit:
        raise errors.InputError(annotations.where(name), "is not a number", text, f"0 to {limit}")
    return int(text)


def _device_ids(pod: View, text: str) -> tuple[int, ...]:
    if not text:
        return ()
    parts = text.split("-")
    if not all(part.isascii() and part.isdigit() and len(part) <= 2 and int(part) < 64 for part in parts):
        where = pod.view("metadata").view("annotations").where(GPU_INDEX)
        raise errors.InputError(where, "is not a list of devices", text, "numbers below 64, joined by -")
    return tuple(sorted({int(part) for part in parts}))


# ---- lists of objects ----


def encode(objects: Sequence[dict[str, Any]], ignore: Collection[str] = (), cluster: str = "") -> Encoded:
    """Encode Nodes and Pods; other kinds are counted and left alone.

    Parameters
    ----------
    objects
        Kubernetes objects, defaulted, workloads already expanded to pods.
    ignore
        Ids of FEATURES to leave out of the decision; they are counted in ``left_out``.
    cluster
        The cluster of all of them in a fleet.

    Raises
    ------
    UnsupportedError
        An object uses something that is not implemented.
    InputError
        A field is wrong, or a name exists twice.
    """
    unknown = set(ignore) - FEATURES.keys()
    if unknown:
        raise errors.InputError("ignore", "is not a feature", min(unknown), ", ".join(FEATURES))
    out = Encoded(devices=claims.devices(objects))
    seen: set[tuple[str, str]] = set()
    spread = pods.DefaultSpread(objects)
    for obj in objects:
        kind = obj.get("kind")
        if kind == "Node":
            row = node_row(obj, cluster)
            _once(seen, "Node", row.name)
            out.nodes.append(row)
        elif kind == "Pod":
            _add_pod(out, obj, ignore, cluster, spread, seen)
        elif kind in storage.KINDS:
            found = storage.storage_row(obj)
            _once(seen, kind, f"{getattr(found, 'namespace', '')}/{found.name}")
            out.storage.append(found)
        elif kind == "PodGroup" and podgroups.is_ours(obj):
            gang = podgroups.gang(obj)
            _once(seen, "PodGroup", gang.key)
            out.gangs.append(gang)
        elif kind == "PodDisruptionBudget":
            budget = budgets.budget(obj)
            _once(seen, "PodDisruptionBudget", f"{budget.namespace}/{budget.name}")
            out.budgets.append(budget)
        elif kind == "Namespace":
            metadata = fields.of(obj).view("metadata")
            out.namespaces[metadata.text("name")] = dict(metadata.pairs("labels"))
        elif kind in claims.KINDS:
            metadata = fields.of(obj).view("metadata")
            _once(seen, str(kind), f"{metadata.text('namespace')}/{metadata.text('name')}")
        else:
            out.ignored[str(kind)] += 1
    return out


def _once(seen: set[tuple[str, str]], kind: str, name: str) -> None:
    if (kind, name) in seen:
        raise errors.InputError(f"{kind} {name}", "exists twice", name, f"one {kind} of a name")
    seen.add((kind, name))


def _add_pod(
    out: Encoded,
    obj: dict[str, Any],
    ignore: Collection[str],
    cluster: str,
    spread: pods.DefaultSpread,
    seen: set[tuple[str, str]],
) -> None:
    pod = fields.of(obj, "Pod")
    if pod.view("status").text("phase") in _TERMINAL:
        out.ignored["Pod (finished)"] += 1
        return
    row, left_out = _pod_row(pod, ignore, cluster, spread)
    row = replace(row, shape=out.shapes.setdefault(row.shape, row.shape))
    _once(seen, "Pod", row.key)
    out.left_out.update(left_out)
    if row.node_name is not None:
        out.running.append(row)
        return
    out.pending.append(row)

# SPDX-License-Identifier: Apache-2.0
"""What the API server would fill in before a scheduler sees a pod, and the pods that workloads stand for.

Only what placement looks at: requests from limits, host ports of host-network pods, the default protocol, label keys
of affinity terms. Used for manifests from files; objects from a server have it already.
Sources: pkg/apis/core/v1/defaults.go, pkg/registry/core/pod/strategy.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubesched.api import fields, manifest
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.scheduler import storage

MAX_REPLICAS = 1_000_000  # arbitrary: guards against a typing error, not a real limit
_DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
_TEMPLATED = ("Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "Job")


def apply(obj: dict[str, Any]) -> dict[str, Any]:
    """Return a pod or class with the defaults that placement sees; other kinds unchanged. Inputs are not modified."""
    if obj.get("kind") == "StorageClass" and obj.get("volumeBindingMode") is None:
        return manifest.like({**obj, "volumeBindingMode": "Immediate"}, obj)
    if obj.get("kind") != "Pod":
        return obj
    pod = fields.of(obj)
    spec = pod.view("spec")
    host_network = spec.flag("hostNetwork")
    changed = dict(spec.data)
    for name in ("containers", "initContainers"):
        if spec.has(name):
            changed[name] = [_container(view, host_network) for view in spec.views(name)]
    if spec.has("affinity"):
        labels = dict(pod.view("metadata").pairs("labels"))
        changed["affinity"] = _affinity(spec.view("affinity"), labels)
    return manifest.like({**obj, "spec": changed}, obj)


def _affinity(affinity: View, labels: dict[str, str]) -> dict[str, Any]:
    """Inter-pod terms with their matchLabelKeys and mismatchLabelKeys made part of the selector."""
    out = dict(affinity.data)
    for kind in ("podAffinity", "podAntiAffinity"):
        if not affinity.has(kind):
            continue
        view, required = affinity.view(kind), "requiredDuringSchedulingIgnoredDuringExecution"
        preferred = "preferredDuringSchedulingIgnoredDuringExecution"
        out[kind] = dict(view.data)
        if view.has(required):
            out[kind][required] = [_merged_keys(term, labels) for term in view.views(required)]
        if view.has(preferred):
            out[kind][preferred] = [
                {**term.data, "podAffinityTerm": _merged_keys(term.view("podAffinityTerm"), labels)}
                for term in view.views(preferred)
            ]
    return out


def _merged_keys(term: View, labels: dict[str, str]) -> dict[str, Any]:
    if not term.has("labelSelector"):
        return dict(term.data)
    selector = term.view("labelSelector")
    added = [
        {"key": key, "operator": operator, "values": [labels[key]]}
        for name, operator in (("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn"))
        for key in term.texts(name)
        if key in labels
    ]
    expressions = [view.data for view in selector.views("matchExpressions")]
    return {**term.data, "labelSelector": {**selector.data, "matchExpressions": expressions + added}}


def _container(view: View, host_network: bool) -> dict[str, Any]:
    out = dict(view.data)
    resources = view.view("resources")
    limits = resources.view("limits").data
    if limits:
        out["resources"] = {**resources.data, "requests": {**limits, **resources.view("requests").data}}
    if view.has("ports"):
        out["ports"] = [_port(port, host_network) for port in view.views("ports")]
    return out


def _port(view: View, host_network: bool) -> dict[str, Any]:
    out = {"protocol": "TCP", **view.data}
    if host_network and not view.has("hostPort"):
        out["hostPort"] = view.integer("containerPort")
    return out


def expand(objects: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Replace workloads by the pods that they stand for; they stay in the list, too.

    A Deployment's pods are owned by a ReplicaSet that is added, as its controller would; a StatefulSet's claims are
    added where they are missing, and claims that name no class get the default one. DaemonSets and CronJobs are left
    alone: their pods depend on nodes and time.
    """
    out: list[dict[str, Any]] = []
    claims = {_claim_key(obj) for obj in objects if obj.get("kind") == "PersistentVolumeClaim"}
    for obj in objects:
        out.append(obj)
        if obj.get("kind") in _TEMPLATED:
            made = _pods_of(obj)  # a claim that is there already stays as it is
            out += [one for one in made if one["kind"] != "PersistentVolumeClaim" or _claim_key(one) not in claims]
    default = _default_class(objects)
    return [_classified(obj, default) for obj in out] if default else out


def _default_class(objects: Sequence[dict[str, Any]]) -> str:
    """Name of the newest storage class that is marked as the default; empty: there is none.

    Source: plugin/pkg/admission/storage/storageclass/setdefault, v1.36.
    """
    found = [fields.of(obj).view("metadata") for obj in objects if obj.get("kind") == "StorageClass"]
    marked = [view for view in found if view.view("annotations").text(_DEFAULT_CLASS) == "true"]
    by_name = sorted(marked, key=lambda view: view.text("name"))
    newest = sorted(by_name, key=lambda view: view.text("creationTimestamp"), reverse=True)
    return newest[0].text("name") if newest else ""


def _classified(obj: dict[str, Any], default: str) -> dict[str, Any]:
    """A claim that names no class and has no volume, with the default class; other objects unchanged."""
    if obj.get("kind") != "PersistentVolumeClaim":
        return obj
    claim = fields.of(obj)
    spec, annotations = claim.view("spec"), claim.view("metadata").view("annotations")
    if spec.has("storageClassName") or spec.has("volumeName") or annotations.has(storage.CLASS_ANNOTATION):
        return obj
    return manifest.like({**obj, "spec": {**spec.data, "storageClassName": default}}, obj)


def _claim_key(obj: dict[str, Any]) -> tuple[str, str]:
    metadata = fields.of(obj).view("metadata")
    return metadata.text("namespace") or "default", metadata.text("name")


def _claim_name(template: View, owner: str, number: int) -> str:
    return f"{template.view('metadata').text('name')}-{owner}-{number}"


def _mount(template: View, owner: str, number: int) -> dict[str, Any]:
    """The volume of a StatefulSet's pod that a claim template stands for."""
    name = template.view("metadata").text("name")
    return {"name": name, "persistentVolumeClaim": {"claimName": _claim_name(template, owner, number)}}


def _claim(template: View, owner: dict[str, Any], namespace: str, number: int) -> dict[str, Any]:
    """The claim that a StatefulSet makes for one of its pods; it waits for a volume."""
    name = _claim_name(template, str(owner["metadata"]["name"]), number)
    metadata = {**template.view("metadata").data, "name": name, "namespace": namespace}
    made = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template.data["spec"]}
    return manifest.like(made, owner)


def _pods_of(obj: dict[str, Any]) -> list[dict[str, Any]]:
    kind = str(obj["kind"])
    view = fields.of(obj)
    spec, metadata = view.view("spec"), view.view("metadata")
    field = "parallelism" if kind == "Job" else "replicas"
    replicas = spec.integer(field, 1)
    if not 0 <= replicas <= MAX_REPLICAS:
        raise errors.InputError(spec.where(field), "is out of range", replicas, f"0 to {MAX_REPLICAS}")
    template = spec.view("template")
    namespace = metadata.text("namespace") or "default"
    owner = {
        "apiVersion": "apps/v1" if kind == "Deployment" else str(obj.get("apiVersion")),
        "kind": "ReplicaSet" if kind == "Deployment" else kind,
        "name": metadata.text("name"),
        "controller": True,
    }
    out: list[dict[str, Any]] = []
    if kind == "Deployment":
        replica_set = {"name": metadata.text("name"), "namespace": namespace}
        out.append({"kind": "ReplicaSet", "metadata": replica_set, "spec": {"selector": spec.view("selector").data}})
    labels = template.view("metadata").data
    pod_spec = dict(template.view("spec").data)
    claims = list(spec.views("volumeClaimTemplates"))
    plain = list(pod_spec.get("volumes") or [])
    for i in range(replicas):
        if claims:
            pod_spec = {**pod_spec, "volumes": plain + [_mount(view, metadata.text("name"), i) for view in claims]}
            out += [_claim(view, obj, namespace, i) for view in claims]
        named = {**labels, "name": f"{metadata.text('name')}-{i}", "namespace": namespace, "ownerReferences": [owner]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": named, "spec": pod_spec}
        out.append(manifest.like(pod, obj))
    return out

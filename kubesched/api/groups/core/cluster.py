# SPDX-License-Identifier: Apache-2.0
"""Nodes, volumes, events, replication controllers.

Source: pkg/apis/core/v1/defaults.go, pkg/printers/internalversion, pkg/registry/core, v1.36.
"""

from __future__ import annotations

import dataclasses
import datetime
from typing import Any

from kubesched.api import checks, columns, names, status
from kubesched.api.columns import at
from kubesched.api.groups import workloads
from kubesched.api.groups.core import nodes, persistent, podrules, podspec
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Column, Object, Scale, Strategy, fill, fill_empty

_ROLE = "node-role.kubernetes.io/"
_OLD_ROLE = "kubernetes.io/role"
_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_EVENT_SECONDS = 3600.0


# ---- nodes ----


def _default_node(obj: Object) -> None:
    state = obj.get("status") or {}
    if state.get("allocatable") is None and state.get("capacity") is not None:
        state["allocatable"] = dict(state["capacity"])


def _node_status(obj: Object) -> str:
    words = [
        "Ready" if item.get("status") == "True" else "NotReady"
        for item in at(obj, "status", "conditions") or ()
        if item.get("type") == "Ready"
    ][-1:] or ["Unknown"]
    if at(obj, "spec", "unschedulable"):
        words.append("SchedulingDisabled")
    return ",".join(words)


def _roles(obj: Object) -> str:
    labels = obj["metadata"].get("labels") or {}
    found = {key.removeprefix(_ROLE) for key in labels if key.startswith(_ROLE)} | {labels.get(_OLD_ROLE, "")}
    return ",".join(sorted(found - {""})) or "<none>"


def _node_address(kind: str) -> Any:
    def value(obj: Object) -> str:
        found = at(obj, "status", "addresses") or ()
        return next((item.get("address", "") for item in found if item.get("type") == kind), "<none>")

    return value


def _kernel(obj: Object) -> str:
    info = at(obj, "status", "nodeInfo") or {}
    version = info.get("kernelVersion") or "<unknown>"
    return f"{version} ({info['architecture']})" if info.get("architecture") else version


# ---- volumes ----


def _default_volume(obj: Object) -> None:
    obj.setdefault("status", {}).setdefault("phase", "Pending")
    spec: Object = obj.setdefault("spec", {})
    fill_empty(spec, "persistentVolumeReclaimPolicy", "Retain")
    fill(spec, "volumeMode", "Filesystem")
    podspec.default_source(spec)


def _default_claim(obj: Object) -> None:
    fill(obj.setdefault("spec", {}), "volumeMode", "Filesystem")
    obj.setdefault("status", {}).setdefault("phase", "Pending")


def _pending(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


def _phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else at(obj, "status", "phase") or ""


def _access(modes: Any) -> str:
    found = list(dict.fromkeys(modes or ()))
    return ",".join(short for mode, short in _MODES.items() if mode in found)


def _volume_claim(obj: Object) -> str:
    claim = at(obj, "spec", "claimRef")
    return f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else ""


def _claim_capacity(obj: Object) -> str:
    return at(obj, "status", "capacity", "storage") or "0" if at(obj, "spec", "volumeName") else ""


def _claim_modes(obj: Object) -> str:
    return _access(at(obj, "status", "accessModes")) if at(obj, "spec", "volumeName") else ""


# ---- events ----


def _first_seen(obj: Object, now: datetime.datetime) -> str:
    return columns.since(obj.get("firstTimestamp") or obj.get("eventTime"), now)


def _last_seen(obj: Object, now: datetime.datetime) -> str:
    if obj.get("series"):
        return columns.since(obj["series"].get("lastObservedTime"), now)
    return columns.since(obj["lastTimestamp"], now) if obj.get("lastTimestamp") else _first_seen(obj, now)


def _about(obj: Object) -> str:
    target = obj.get("involvedObject") or {}
    kind = (target.get("kind") or "").lower()
    return f"{kind}/{target['name']}" if target.get("name") else kind


def _event_source(obj: Object) -> str:
    source = obj.get("source") or {}
    component = source.get("component") or obj.get("reportingComponent") or ""
    instance = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component


def _times_seen(obj: Object) -> int:
    found: int = at(obj, "series", "count") if obj.get("series") else obj.get("count") or 1
    return found


def _select_event(obj: Object) -> dict[str, str]:
    target = obj.get("involvedObject") or {}
    names = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    source = at(obj, "source", "component") or obj.get("reportingComponent") or ""
    return {f"involvedObject.{name}": target.get(name) or "" for name in names} | {
        "reason": obj.get("reason") or "",
        "reportingComponent": obj.get("reportingComponent") or "",
        "source": source,
        "type": obj.get("type") or "",
    }


_MAX_WORD = 128
_MAX_MESSAGE = 1024


def validate_event(obj: Object, controller: str = "reportingComponent") -> list[FieldError]:
    """An event; one with a time says who reports it. ``controller`` is how the request's version names that."""
    out: list[FieldError] = []
    namespace, about = obj["metadata"].get("namespace") or "", at(obj, "involvedObject", "namespace") or ""
    timed = bool(obj.get("eventTime"))
    known = ("default", "kube-system") if timed else ("", "default")
    if namespace not in known if not about else not timed and about != namespace:
        out.append(status.invalid_value("involvedObject.namespace", about, "does not match event.namespace"))
    if timed:
        reporter = obj.get("reportingComponent") or ""
        if not reporter:
            out.append(status.required(controller))
        checks.by(names.qualified_name, reporter, controller, out)
        for name in ("reportingInstance", "action", "reason", "message"):
            text, most = obj.get(name) or "", _MAX_MESSAGE if name == "message" else _MAX_WORD
            if not text and name != "message":
                out.append(status.required(name))
            if len(text.encode()) > most:
                out.append(status.invalid_value(name, "", f"can have at most {most} characters"))
    checks.by(names.subdomain, namespace, "namespace", out)
    return out


# ---- components ----


def _is_healthy(obj: Object) -> bool:
    return any(item.get("type") == "Healthy" and item.get("status") == "True" for item in obj.get("conditions") or ())


def _said(obj: Object, field: str) -> str:
    found = (item.get(field) or "" for item in obj.get("conditions") or () if item.get("type") == "Healthy")
    return next(found, "")


# ---- replication controllers ----


def _default_controller(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill(spec, "replicas", 1)
    template = spec.get("template")
    if template is not None:
        podspec.default_template(template)
        labels = at(template, "metadata", "labels")
        if labels:
            fill_empty(spec, "selector", dict(labels))
            obj["metadata"]["labels"] = obj["metadata"].get("labels") or dict(labels)


def _validate_controller(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    spec = obj.get("spec") or {}
    selector, template = spec.get("selector") or {}, spec.get("template")
    checks.not_negative(spec, "spec", out, "minReadySeconds")
    if not selector:
        out.append(status.required("spec.selector"))
    checks.not_negative(spec, "spec", out, "replicas")
    if template is None:
        out.append(status.required("spec.template"))
        return out
    labels = at(template, "metadata", "labels") or {}
    if not selector.items() <= labels.items():
        why = "`selector` does not match template `labels`"
        out.append(status.invalid_value("spec.template.metadata.labels", dict(sorted(labels.items())) or None, why))
    podrules.check_template(template, "spec.template", out)
    workloads.always_restarted(template, "ReplicationController", out)
    return out


STRATEGIES: dict[str, Strategy] = {
    "nodes": Strategy(
        default=_default_node,
        validate=nodes.validate,
        validate_update=nodes.validate_update,
        parts={"status": dataclasses.replace(STATUS, validate=nodes.validate_update)},
        has_status=True,
        created_with_status=True,
        returns_deleted=False,
        select=lambda obj: {"spec.unschedulable": "true" if at(obj, "spec", "unschedulable") else "false"},
        selectable=("spec.unschedulable",),
        columns=(
            columns.name(),
            columns.made("Status", _node_status, description="The status of the node"),
            columns.made("Roles", _roles, description="The roles of the node"),
            columns.age(),
            columns.text("Version", "status", "nodeInfo", "kubeletVersion"),
            columns.made("Internal-IP", _node_address("InternalIP"), wide=True),
            columns.made("External-IP", _node_address("ExternalIP"), wide=True),
            columns.text("OS-Image", "status", "nodeInfo", "osImage", empty="<unknown>", wide=True),
            columns.made("Kernel-Version", _kernel, wide=True),
            columns.text(
                "Container-Runtime", "status", "nodeInfo", "containerRuntimeVersion", empty="<unknown>", wide=True
            ),
        ),
    ),
    "persistentvolumes": Strategy(
        default=_default_volume,
        prepare_create=_pending,
        validate=persistent.volume,
        validate_update=persistent.volume_update,
        has_status=True,
        returns_deleted=True,
        columns=(
            columns.name(),
            columns.text("Capacity", "spec", "capacity", "storage", empty="0"),
            columns.made("Access Modes", lambda obj: _access(at(obj, "spec", "accessModes"))),
            columns.text("Reclaim Policy", "spec", "persistentVolumeReclaimPolicy"),
            columns.made("Status", _phase),
            columns.made("Claim", _volume_claim),
            columns.made("StorageClass", persistent.class_of),
            columns.text("VolumeAttributesClass", "spec", "volumeAttributesClassName", empty="<unset>"),
            columns.text("Reason", "status", "reason"),
            columns.age(),
            columns.text("VolumeMode", "spec", "volumeMode", empty="<unset>", wide=True),
        ),
    ),
    "persistentvolumeclaims": Strategy(
        default=_default_claim,
        prepare_create=_pending,
        validate=persistent.claim,
        validate_update=persistent.claim_update,
        has_status=True,
        returns_deleted=True,
        columns=(
            columns.name(),
            columns.made("Status", _phase),
            columns.text("Volume", "spec", "volumeName"),
            columns.made("Capacity", _claim_capacity),
            columns.made("Access Modes", _claim_modes),
            columns.made("StorageClass", persistent.class_of),
            columns.text("VolumeAttributesClass", "spec", "volumeAttributesClassName", empty="<unset>"),
            columns.age(),
            columns.text("VolumeMode", "spec", "volumeMode", empty="<unset>", wide=True),
        ),
    ),
    "events": Strategy(
        validate=validate_event,
        validate_update=lambda new, old: validate_event(new),
        create_on_update=True,
        collectable=False,
        ttl=_EVENT_SECONDS,
        select=_select_event,
        selectable=tuple(_select_event({})),
        columns=(
            Column("Last Seen", value=_last_seen),
            columns.text("Type", "type"),
            columns.text("Reason", "reason"),
            columns.made("Object", _about),
            columns.text("Subobject", "involvedObject", "fieldPath", wide=True),
            columns.made("Source", _event_source, wide=True),
            columns.made("Message", lambda obj: (obj.get("message") or "").strip()),
            Column("First Seen", priority=1, value=_first_seen),
            columns.made("Count", _times_seen, wide=True),
            Column("Name", format="name", priority=1, value=lambda obj, now: obj["metadata"]["name"]),
        ),
    ),
    "componentstatuses": Strategy(
        columns=(
            columns.name(),
            columns.made("Status", lambda obj: "Healthy" if _is_healthy(obj) else "Unhealthy"),
            columns.made("Message", lambda obj: _said(obj, "message")),
            columns.made("Error", lambda obj: _said(obj, "error")),
        ),
    ),
    "replicationcontrollers": Strategy(
        default=_default_controller,
        validate=_validate_controller,
        validate_update=lambda new, old: _validate_controller(new),
        parts={"status": dataclasses.replace(STATUS, validate=workloads.status_update)},
        has_status=True,
        has_generation=True,
        orphan_by_default=True,
        scale=Scale(),
        select=lambda obj: {"status.replicas": str(at(obj, "status", "replicas") or 0)},
        selectable=("status.replicas",),
        columns=(
            columns.name(),
            columns.number("Desired", "spec", "replicas"),
            columns.number("Current", "status", "replicas"),
            columns.number("Ready", "status", "readyReplicas"),
            columns.age(),
            *columns.containers("spec", "template"),
            columns.made("Selector", lambda obj: columns.labels(at(obj, "spec", "selector")), wide=True),
        ),
    ),
}
"""By plural."""

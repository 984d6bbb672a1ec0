# SPDX-License-Identifier: Apache-2.0
"""Storage classes, CSI drivers and what they say of nodes, attachments.

Source: pkg/apis/storage, pkg/registry/storage, v1.36.
"""

from __future__ import annotations

import dataclasses

from kubesched.api import checks, columns, status
from kubesched.api.columns import at
from kubesched.api.groups import csi
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Strategy, fill

DEFAULT_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
"""Annotations of which ``"true"`` marks the default class, today's and the old one."""


def _default_class(obj: Object) -> None:
    fill(obj, "reclaimPolicy", "Delete")
    fill(obj, "volumeBindingMode", "Immediate")


def _default_driver(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill(spec, "attachRequired", True)
    fill(spec, "podInfoOnMount", False)
    fill(spec, "storageCapacity", False)
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType")
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]
    fill(spec, "requiresRepublish", False)
    fill(spec, "seLinuxMount", False)


def _validate_class(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    csi.provisioner(obj.get("provisioner") or "", "provisioner", out)
    csi.parameters(obj.get("parameters") or {}, out)
    checks.option(obj.get("reclaimPolicy") or None, "reclaimPolicy", ["Delete", "Retain"], out)
    mode = obj.get("volumeBindingMode")
    if mode is None:
        out.append(status.required("volumeBindingMode"))
    checks.option(mode, "volumeBindingMode", ["Immediate", "WaitForFirstConsumer"], out)
    csi.topologies(obj.get("allowedTopologies") or [], out)
    return out


def _validate_class_update(new: Object, old: Object) -> list[FieldError]:
    out: list[FieldError] = []
    for name in ("parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"):
        checks.unlike(new.get(name), old.get(name), name, out)
    return out


def _class_name(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    default = "true" in map(annotations.get, DEFAULT_MARKS)
    name: str = obj["metadata"]["name"]
    return f"{name} (default)" if default else name


def _audiences(obj: Object) -> str:
    requests = at(obj, "spec", "tokenRequests")
    return "<unset>" if requests is None else ",".join(item.get("audience", "") for item in requests)


STRATEGIES: dict[str, Strategy] = {
    "storageclasses": Strategy(
        default=_default_class,
        validate=_validate_class,
        validate_update=_validate_class_update,
        returns_deleted=True,
        columns=(
            columns.made("Name", _class_name),
            columns.text("Provisioner", "provisioner"),
            columns.text("ReclaimPolicy", "reclaimPolicy", empty="Delete"),
            columns.text("VolumeBindingMode", "volumeBindingMode", empty="Immediate"),
            columns.boolean("AllowVolumeExpansion", "allowVolumeExpansion"),
            columns.age(),
        ),
    ),
    "csidrivers": Strategy(
        default=_default_driver,
        validate=csi.driver,
        validate_update=csi.driver_update,
        warnings=csi.driver_warnings,
        has_generation=True,
        unconditional_update=False,
        returns_deleted=True,
        columns=(
            columns.name(),
            columns.boolean("AttachRequired", "spec", "attachRequired", default=True),
            columns.boolean("PodInfoOnMount", "spec", "podInfoOnMount"),
            columns.boolean("StorageCapacity", "spec", "storageCapacity"),
            columns.made("TokenRequests", _audiences),
            columns.boolean("RequiresRepublish", "spec", "requiresRepublish"),
            columns.made("Modes", lambda obj: ",".join(at(obj, "spec", "volumeLifecycleModes") or ()) or "<none>"),
            columns.age(),
        ),
    ),
    "csinodes": Strategy(
        validate=csi.node,
        validate_update=csi.node_update,
        unconditional_update=False,
        returns_deleted=True,
        columns=(columns.name(), columns.count("Drivers", "spec", "drivers"), columns.age()),
    ),
    "csistoragecapacities": Strategy(
        validate=csi.capacity,
        validate_update=csi.capacity_update,
        unconditional_update=False,
        columns=(
            columns.name(),
            columns.text("StorageClassName", "storageClassName"),
            columns.text("Capacity", "capacity", empty="<unset>"),
        ),
    ),
    "volumeattachments": Strategy(
        validate=csi.attachment,
        validate_update=csi.attachment_update,
        parts={"status": dataclasses.replace(STATUS, validate=csi.attachment_update)},
        has_status=True,
        unconditional_update=False,
        returns_deleted=True,
        columns=(
            columns.name(),
            columns.text("Attacher", "spec", "attacher"),
            columns.text("PV", "spec", "source", "persistentVolumeName"),
            columns.text("Node", "spec", "nodeName"),
            columns.boolean("Attached", "status", "attached"),
            columns.age(),
        ),
    ),
    "volumeattributesclasses": Strategy(
        validate=csi.attributes_class,
        validate_update=csi.attributes_class_update,
        columns=(columns.name(), columns.text("DriverName", "driverName"), columns.age()),
    ),
}
"""By plural."""

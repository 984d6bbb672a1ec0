# SPDX-License-Identifier: Apache-2.0
"""Pods. Source: pkg/registry/core/pod, v1.36."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from kubesched.api import shared, status
from kubesched.api.columns import at
from kubesched.api.groups.core import placing, pod_columns, podrules, podspec, podupdate
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Part, Strategy, carry

_ENDED = ("Succeeded", "Failed")
_GATED = {
    "type": "PodScheduled",
    "status": "False",
    "lastProbeTime": None,
    "reason": "SchedulingGated",
    "message": "Scheduling is blocked due to non-empty scheduling gates",
}


def _prepare_create(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    if spec.get("affinity") or spec.get("topologySpreadConstraints"):
        spec = obj["spec"] = shared.plain(spec)
        placing.merge_label_keys(spec, obj["metadata"].get("labels") or {})
    state: Object = {"phase": "Pending", "qosClass": podrules.quality(spec)}
    if spec.get("schedulingGates"):
        state["conditions"] = [{**_GATED, "lastTransitionTime": obj["metadata"].get("creationTimestamp")}]
    obj["status"] = state


def _grace(obj: Object, wanted: int | None) -> int:
    """Seconds that a pod has to end; none if it runs nowhere (any more)."""
    spec = obj.get("spec") or {}
    if not spec.get("nodeName") or (obj.get("status") or {}).get("phase") in _ENDED:
        return 0
    if wanted is not None:
        return wanted
    grace: int = spec.get("terminationGracePeriodSeconds", 0)
    return grace


def _select(obj: Object) -> dict[str, str]:
    spec, state = obj.get("spec") or {}, obj.get("status") or {}
    return {
        "spec.nodeName": spec.get("nodeName", ""),
        "spec.restartPolicy": spec.get("restartPolicy", ""),
        "spec.schedulerName": spec.get("schedulerName", ""),
        "spec.serviceAccountName": spec.get("serviceAccountName", ""),
        "spec.hostNetwork": "true" if spec.get("hostNetwork") else "false",
        "status.phase": state.get("phase", ""),
        "status.podIP": state.get("podIP", ""),
        "status.nominatedNodeName": state.get("nominatedNodeName", ""),
    }


def _only(*path: str) -> Callable[[Object, Object], None]:
    """A part that is one field: everything else is put back."""

    def prepare(new: Object, old: Object) -> None:
        wanted = at(new, *path)
        carry(new, old, "spec", "status")
        target = new
        for name in path[:-1]:
            target[name] = dict(target.get(name) or {})  # the old object has the one that was carried
            target = target[name]
        if wanted is None:
            target.pop(path[-1], None)
        else:
            target[path[-1]] = wanted

    return prepare


def _resize(new: Object, old: Object) -> None:
    """Resources and resize policies of containers that are there."""
    wanted = {
        (part, item["name"]): item for part in ("containers", "initContainers") for item in at(new, "spec", part) or ()
    }
    carry(new, old, "spec", "status")
    new["spec"] = shared.plain(new.get("spec") or {})
    for part in ("containers", "initContainers"):
        for item in new["spec"].get(part) or ():
            given = wanted.get((part, item["name"]), {})
            for name in ("resources", "resizePolicy"):
                carry(item, given, name)


def _validate(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    podrules.check_pod(obj, out)
    spec = obj.get("spec") or {}
    if spec.get("ephemeralContainers"):
        out.append(status.forbidden_field("spec.ephemeralContainers", "cannot be set on create"))
    if spec.get("nodeName") and spec.get("schedulingGates"):
        why = "cannot be set until all schedulingGates have been cleared"
        out.append(status.forbidden_field("spec.nodeName", why))
    return out


PODS = Strategy(
    default=podspec.default_pod,
    prepare_create=_prepare_create,
    validate=_validate,
    validate_update=podupdate.validate,
    has_status=True,
    has_generation=True,
    parts={
        "status": dataclasses.replace(STATUS, validate=podupdate.validate_status),
        "ephemeralcontainers": Part(_only("spec", "ephemeralContainers"), podupdate.validate_ephemeral),
        "resize": Part(_resize, podupdate.validate_resize),
    },
    grace=_grace,
    returns_deleted=True,
    select=_select,
    selectable=tuple(_select({})),
    columns=pod_columns.COLUMNS,
)

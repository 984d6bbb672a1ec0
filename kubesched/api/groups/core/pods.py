# SPDX-License-Identifier: Apache-2.0
"""Pods. Source: pkg/registry/core/pod, v1.36."""

from __future__ import annotations

import copy
from collections.abc import Callable

from kubesched.api import gotext, status
from kubesched.api.columns import at
from kubesched.api.groups.core import pod_columns, podspec
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Part, Strategy, carry

_ENDED = ("Succeeded", "Failed")


def _default(obj: Object) -> None:
    spec = obj.setdefault("spec", {})
    podspec.default_spec(spec)
    podspec.default_pod(spec)


def _prepare_create(obj: Object) -> None:
    obj["status"] = {"phase": "Pending"}


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
            target = target.setdefault(name, {})
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
    new["spec"] = copy.deepcopy(new.get("spec") or {})
    for part in ("containers", "initContainers"):
        for item in new["spec"].get(part) or ():
            given = wanted.get((part, item["name"]), {})
            for name in ("resources", "resizePolicy"):
                carry(item, given, name)


def _validate_ephemeral(new: Object, old: Object) -> list[FieldError]:
    """Ephemeral containers are added, never changed or taken away."""
    before, after = at(old, "spec", "ephemeralContainers") or [], at(new, "spec", "ephemeralContainers") or []
    by_name = {item.get("name"): item for item in after}
    found = []
    for item in before:
        field = "spec.ephemeralContainers"
        if item.get("name") not in by_name:
            found.append(
                status.forbidden_field(
                    field, f"existing ephemeral containers {gotext.quote(item['name'])} may not be removed"
                )
            )
        elif by_name[item["name"]] != item:
            found.append(
                status.forbidden_field(
                    field, f"existing ephemeral containers {gotext.quote(item['name'])} may not be changed"
                )
            )
    return found


PODS = Strategy(
    default=_default,
    prepare_create=_prepare_create,
    has_status=True,
    has_generation=True,
    parts={
        "ephemeralcontainers": Part(_only("spec", "ephemeralContainers"), _validate_ephemeral),
        "resize": Part(_resize),
    },
    grace=_grace,
    returns_deleted=True,
    select=_select,
    selectable=tuple(_select({})),
    columns=pod_columns.COLUMNS,
)

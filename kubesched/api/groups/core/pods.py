# SPDX-License-Identifier: Apache-2.0
"""Pods. Source: pkg/registry/core/pod, v1.36."""

from __future__ import annotations

from kubesched.api.groups.core import pod_columns, podspec
from kubesched.api.strategy import Object, Strategy

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


PODS = Strategy(
    default=_default,
    prepare_create=_prepare_create,
    has_status=True,
    has_generation=True,
    grace=_grace,
    returns_deleted=True,
    select=_select,
    selectable=tuple(_select({})),
    columns=pod_columns.COLUMNS,
)

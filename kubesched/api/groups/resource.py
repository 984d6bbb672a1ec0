# SPDX-License-Identifier: Apache-2.0
"""Devices: classes, claims, slices. Source: pkg/apis/resource/v1/defaults.go, v1.36."""

from __future__ import annotations

import dataclasses

from kubesched.api import columns
from kubesched.api.columns import at
from kubesched.api.groups import device_claims, device_slices
from kubesched.api.strategy import STATUS, Object, Strategy, fill_empty


def _default_requests(spec: Object) -> None:
    for request in at(spec, "devices", "requests") or ():
        for exact in filter(None, [request.get("exactly"), *(request.get("firstAvailable") or ())]):
            fill_empty(exact, "allocationMode", "ExactCount")
            if exact["allocationMode"] == "ExactCount":
                fill_empty(exact, "count", 1)


def _default_claim(obj: Object) -> None:
    _default_requests(obj.setdefault("spec", {}))


def _default_claim_template(obj: Object) -> None:
    _default_requests(obj.setdefault("spec", {}).setdefault("spec", {}))


def _claim_state(obj: Object) -> str:
    words = []
    if obj["metadata"].get("deletionTimestamp"):
        words.append("deleted")
    if at(obj, "status", "allocation") is None:
        if not words:
            words.append("pending")
    else:
        words += ["allocated", "reserved"] if at(obj, "status", "reservedFor") else ["allocated"]
    return ",".join(words)


_NAME_AGE = (columns.name(), columns.age())


STRATEGIES: dict[str, Strategy] = {
    "deviceclasses": Strategy(
        validate=device_claims.device_class,
        validate_update=lambda new, old: device_claims.device_class(new),
        has_generation=True,
        columns=_NAME_AGE,
    ),
    "resourceclaims": Strategy(
        default=_default_claim,
        validate=device_claims.claim,
        validate_update=device_claims.unchanged,
        parts={"status": dataclasses.replace(STATUS, validate=device_claims.claim_status)},
        has_status=True,
        columns=(columns.name(), columns.made("State", _claim_state), columns.age()),
    ),
    "resourceclaimtemplates": Strategy(
        default=_default_claim_template,
        validate=device_claims.template,
        validate_update=device_claims.unchanged,
        columns=_NAME_AGE,
    ),
    "resourceslices": Strategy(
        validate=device_slices.resource_slice,
        validate_update=device_slices.resource_slice_update,
        warnings=device_slices.warnings,
        has_generation=True,
        select=lambda obj: {
            "spec.nodeName": at(obj, "spec", "nodeName") or "",
            "spec.driver": at(obj, "spec", "driver") or "",
        },
        selectable=("spec.nodeName", "spec.driver"),
        columns=(
            columns.name(),
            columns.text("Node", "spec", "nodeName"),
            columns.text("Driver", "spec", "driver"),
            columns.text("Pool", "spec", "pool", "name"),
            columns.age(),
        ),
    ),
}
"""By plural."""

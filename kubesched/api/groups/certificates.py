# SPDX-License-Identifier: Apache-2.0
"""Requests for certificates. Source: pkg/registry/certificates, v1.36."""

from __future__ import annotations

from kubesched.api import columns, names
from kubesched.api.columns import at
from kubesched.api.strategy import Object, Part, Strategy, carry


def _only_conditions(new: Object, old: Object) -> None:
    """Approval changes conditions alone."""
    carry(new, old, "spec")
    conditions = at(new, "status", "conditions")
    carry(new, old, "status")
    if conditions is not None:
        new.setdefault("status", {})["conditions"] = conditions


def _request_status(obj: Object) -> str:
    kinds = {item.get("type") for item in at(obj, "status", "conditions") or ()}
    word = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    word += ",Failed" if "Failed" in kinds else ""
    return word + (",Issued" if at(obj, "status", "certificate") else "")


def _requested(obj: Object) -> str:
    seconds = at(obj, "spec", "expirationSeconds")
    return "<none>" if seconds is None else columns.human(seconds)


STRATEGIES: dict[str, Strategy] = {
    "certificatesigningrequests": Strategy(
        name_rule=names.path_segment,
        has_status=True,
        parts={"approval": Part(_only_conditions)},
        select=lambda obj: {"spec.signerName": at(obj, "spec", "signerName") or ""},
        selectable=("spec.signerName",),
        columns=(
            columns.name(),
            columns.age(),
            columns.text("SignerName", "spec", "signerName", empty="<none>"),
            columns.text("Requestor", "spec", "username"),
            columns.made("RequestedDuration", _requested),
            columns.made("Condition", _request_status),
        ),
    ),
}
"""By plural."""

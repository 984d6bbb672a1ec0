# SPDX-License-Identifier: Apache-2.0
"""Requests for certificates. Source: pkg/apis/certificates/validation, pkg/registry/certificates, v1.36."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from kubesched.api import checks, columns, gotext, names, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Part, Strategy, carry


def _only_conditions(new: Object, old: Object) -> None:
    """Approval changes conditions alone."""
    carry(new, old, "spec")
    conditions = at(new, "status", "conditions")
    carry(new, old, "status")
    if conditions is not None:
        new["status"] = {**(old.get("status") or {}), "conditions": conditions}


def _request_status(obj: Object) -> str:
    kinds = {item.get("type") for item in at(obj, "status", "conditions") or ()}
    word = "Denied" if "Denied" in kinds else "Approved" if "Approved" in kinds else "Pending"
    word += ",Failed" if "Failed" in kinds else ""
    return word + (",Issued" if at(obj, "status", "certificate") else "")


def _requested(obj: Object) -> str:
    seconds = at(obj, "spec", "expirationSeconds")
    return "<none>" if seconds is None else columns.human(seconds)


_USAGES = sorted(
    (
        *("signing", "digital signature", "content commitment", "key encipherment", "key agreement"),
        *("data encipherment", "cert sign", "crl sign", "encipher only", "decipher only", "any", "server auth"),
        *("client auth", "code signing", "email protection", "s/mime", "ipsec end system", "ipsec tunnel"),
        *("ipsec user", "timestamping", "ocsp signing", "microsoft sgc", "netscape sgc"),
    )
)
_LEGACY = "kubernetes.io/legacy-unknown"
_MIN_SECONDS = 600
_DECIDED = ("Approved", "Denied")
_ALWAYS_TRUE = (*_DECIDED, "Failed")


def _validate(obj: Object) -> list[FieldError]:
    """A request; its content is not read here."""
    out: list[FieldError] = []
    spec = obj.get("spec") or {}
    usages, signer = spec.get("usages") or (), spec.get("signerName") or ""
    if not usages:
        out.append(status.required("spec.usages"))
    for i, usage in enumerate(usages):
        checks.option(usage, f"spec.usages[{i}]", _USAGES, out)
    out += [status.duplicate(f"spec.usages[{i}]", usages[i]) for i in sorted(checks.repeated(usages))]
    if signer == _LEGACY:
        why = "the legacy signerName is not allowed via this API version"
        out.append(status.invalid_value("spec.signerName", signer, why))
    else:
        checks.signer_name(signer, "spec.signerName", out)
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _MIN_SECONDS:
        why = "may not specify a duration less than 600 seconds (10 minutes)"
        out.append(status.invalid_value("spec.expirationSeconds", seconds, why))
    _validate_conditions(at(obj, "status", "conditions") or (), "status.conditions", out)
    return out


def _validate_conditions(conditions: Sequence[Object], field: str, out: list[FieldError]) -> None:
    seen: list[str] = []
    for i, condition in enumerate(conditions):
        kind, state = condition.get("type") or "", condition.get("status") or ""
        if not kind:
            out.append(status.required(f"{field}[{i}].type"))
        known = ("True",) if kind in _ALWAYS_TRUE else ("False", "True", "Unknown")
        checks.choice(state, f"{field}[{i}].status", known, out)
        if kind in _DECIDED and any(other in seen for other in _DECIDED if other != kind):
            why = "Approved and Denied conditions are mutually exclusive"
            out.append(status.invalid_value(field, kind, why))
        if kind in seen:
            out.append(status.duplicate(f"{field}[{i}].type", kind))
        seen.append(kind)


def _validate_update(new: Object, old: Object, *, decides: bool = False, signs: bool = False) -> list[FieldError]:
    """Decisions come with an approval and stay; the certificate comes with the status, once."""
    out = _validate(new)
    for kind in _ALWAYS_TRUE:
        after, before = (
            [item for item in at(obj, "status", "conditions") or () if item.get("type") == kind] for obj in (new, old)
        )
        if len(after) < len(before):
            why = f"updates may not remove a condition of type {gotext.quote(kind)}"
        elif decides or kind == "Failed" or after == before:
            continue
        elif len(after) > len(before):
            why = f"updates may not add a condition of type {gotext.quote(kind)}"
        else:
            why = f"updates may not modify a condition of type {gotext.quote(kind)}\n{gotext.difference(before, after)}"
        out.append(status.forbidden_field("status.conditions", why))
    had, has = at(old, "status", "certificate"), at(new, "status", "certificate")
    if has != had and not signs:
        out.append(status.forbidden_field("status.certificate", "updates may not set certificate content"))
    elif has != had and had:
        out.append(status.forbidden_field("status.certificate", "updates may not modify existing certificate content"))
    return out


STRATEGIES: dict[str, Strategy] = {
    "certificatesigningrequests": Strategy(
        name_rule=names.path_segment,
        has_status=True,
        prepare_update=lambda new, old: carry(new, old, "spec"),
        validate=_validate,
        validate_update=_validate_update,
        parts={
            "approval": Part(_only_conditions, functools.partial(_validate_update, decides=True)),
            "status": dataclasses.replace(STATUS, validate=functools.partial(_validate_update, signs=True)),
        },
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

# SPDX-License-Identifier: Apache-2.0
"""Leases. Source: pkg/registry/coordination, v1.36."""

from __future__ import annotations

from kubesched.api import checks, columns, status
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy


def _validate(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    spec = obj.get("spec") or {}
    seconds, strategy = spec.get("leaseDurationSeconds"), spec.get("strategy")
    if seconds is not None and seconds <= 0:
        out.append(status.invalid_value("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    checks.not_negative(spec, "spec", out, "leaseTransitions")
    if spec.get("preferredHolder") and not strategy:
        why = "may only be specified if `strategy` is defined"
        out.append(status.forbidden_field("spec.preferredHolder", why))
    return out


STRATEGIES: dict[str, Strategy] = {
    "leases": Strategy(
        validate=_validate,
        validate_update=lambda new, old: _validate(new),
        create_on_update=True,
        unconditional_update=False,
        columns=(columns.name(), columns.text("Holder", "spec", "holderIdentity"), columns.age()),
    ),
}
"""By plural."""

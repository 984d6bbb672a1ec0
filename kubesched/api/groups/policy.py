# SPDX-License-Identifier: Apache-2.0
"""Disruption budgets.

Source: pkg/apis/policy/validation, pkg/registry/policy, v1.36.
"""

from __future__ import annotations

from kubesched.api import columns, selectors, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy


def _validate(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        why = "minAvailable and maxUnavailable cannot be both set"
        found.append(status.invalid_value("spec", spec, why))
    for name in ("minAvailable", "maxUnavailable"):
        value = spec.get(name)
        if isinstance(value, int) and value < 0:
            found.append(status.invalid_value(f"spec.{name}", value, "must be greater than or equal to 0"))
    return found + selectors.validate_object(spec.get("selector"), "spec.selector")


def _or_none(name: str) -> columns.Getter:
    return lambda obj: "N/A" if (found := at(obj, "spec", name)) is None else str(found)


STRATEGIES: dict[str, Strategy] = {
    "poddisruptionbudgets": Strategy(
        validate=_validate,
        validate_update=lambda new, old: _validate(new),
        has_status=True,
        has_generation=True,
        unconditional_update=False,
        columns=(
            columns.name(),
            columns.made("Min Available", _or_none("minAvailable")),
            columns.made("Max Unavailable", _or_none("maxUnavailable")),
            columns.number("Allowed Disruptions", "status", "disruptionsAllowed"),
            columns.age(),
        ),
    ),
}
"""By plural."""

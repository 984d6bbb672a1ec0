# SPDX-License-Identifier: Apache-2.0
"""Disruption budgets.

Source: pkg/apis/policy/validation, pkg/registry/policy, v1.36.
"""

from __future__ import annotations

import dataclasses

from kubesched.api import checks, columns, gotext, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Strategy

_SPEC = gotext.Struct(
    {"MinAvailable": None, "Selector": None, "MaxUnavailable": None, "UnhealthyPodEvictionPolicy": None}
)
_UNHEALTHY = ("AlwaysAllow", "IfHealthyBudget")


def _validate(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        why = "minAvailable and maxUnavailable cannot be both set"
        out.append(status.invalid_value("spec", _SPEC.show(spec), why))
    for name in ("minAvailable", "maxUnavailable"):
        checks.count_or_percent(spec.get(name), f"spec.{name}", out)
        checks.at_most_all(spec.get(name), f"spec.{name}", out)
    checks.selector(spec.get("selector"), "spec.selector", out)
    checks.option(spec.get("unhealthyPodEvictionPolicy"), "spec.unhealthyPodEvictionPolicy", _UNHEALTHY, out)
    return out


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    out: list[FieldError] = []
    numbers = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    checks.not_negative(new.get("status") or {}, "status", out, *numbers)
    return out


def _or_none(name: str) -> columns.Getter:
    return lambda obj: "N/A" if (found := at(obj, "spec", name)) is None else str(found)


STRATEGIES: dict[str, Strategy] = {
    "poddisruptionbudgets": Strategy(
        validate=_validate,
        validate_update=lambda new, old: _validate(new),
        parts={"status": dataclasses.replace(STATUS, validate=_validate_status)},
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

# SPDX-License-Identifier: Apache-2.0
"""Priority classes. Source: pkg/apis/scheduling/v1/defaults.go, v1.36."""

from __future__ import annotations

from kubesched.api import checks, columns, status
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy, fill

_SYSTEM = "system-"
_HIGHEST = 1_000_000_000
_KNOWN = {"system-node-critical": 2_000_001_000, "system-cluster-critical": 2_000_000_000}


def _validate(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    name, value = obj["metadata"].get("name") or "", obj.get("value", 0)
    if name.startswith(_SYSTEM):
        if wrong := _not_of_system(obj, name, value):
            why = f"priority class names with '{_SYSTEM}' prefix are reserved for system use only. error: {wrong}"
            out.append(status.forbidden_field("metadata.name", why))
    elif value > _HIGHEST:
        why = f"maximum allowed value of a user defined priority is {_HIGHEST}"
        out.append(status.forbidden_field("value", why))
    checks.option(obj.get("preemptionPolicy"), "preemptionPolicy", ("PreemptLowerPriority", "Never"), out)
    return out


def _not_of_system(obj: Object, name: str, value: int) -> str:
    if name not in _KNOWN:
        return f"{name} is not a known system priority class"
    if value != _KNOWN[name]:
        return f"value of {name} PriorityClass must be {_KNOWN[name]}"
    return f"globalDefault of {name} PriorityClass must be false" if obj.get("globalDefault") else ""


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    out: list[FieldError] = []
    if new.get("value", 0) != old.get("value", 0):
        out.append(status.forbidden_field("value", "may not be changed in an update."))
    checks.unlike(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy", out)
    return out


STRATEGIES: dict[str, Strategy] = {
    "priorityclasses": Strategy(
        default=lambda obj: fill(obj, "preemptionPolicy", "PreemptLowerPriority"),
        validate=_validate,
        validate_update=_validate_update,
        has_generation=True,
        generation_of=(),
        columns=(
            columns.name(),
            columns.number("Value", "value"),
            columns.boolean("Global-Default", "globalDefault"),
            columns.age(),
            columns.text("PreemptionPolicy", "preemptionPolicy"),
        ),
    ),
}
"""By plural."""

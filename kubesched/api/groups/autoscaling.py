# SPDX-License-Identifier: Apache-2.0
"""Horizontal pod autoscalers.

Source: pkg/apis/autoscaling/v2/defaults.go, pkg/registry/autoscaling, v1.36.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from kubesched.api import columns
from kubesched.api.columns import at
from kubesched.api.groups import autoscalers, scaler_conversion
from kubesched.api.strategy import STATUS, Object, Strategy, fill, fill_empty

_UP: Object = {
    "stabilizationWindowSeconds": 0,
    "selectPolicy": "Max",
    "policies": [
        {"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15},
    ],
}
_DOWN: Object = {
    "selectPolicy": "Max",
    "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
}
_CPU: Object = {
    "type": "Resource",
    "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
}


def _default(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill(spec, "minReplicas", 1)
    if obj.get("apiVersion") != "autoscaling/v1":
        fill_empty(spec, "metrics", [_CPU])
    behavior = spec.get("behavior")
    if behavior is not None:
        for name, rules in (("scaleUp", _UP), ("scaleDown", _DOWN)):
            given = {key: value for key, value in (behavior.get(name) or {}).items() if value is not None}
            behavior[name] = {**rules, **given}


def _metric(spec: Object, state: Object) -> str:
    """``current/target`` of one metric."""
    kind = spec.get("type", "")
    field = kind[:1].lower() + kind[1:]
    target, current = at(spec, field, "target") or {}, at(state, field, "current") or {}
    prefix = f"{spec[field]['name']}: " if kind in ("Resource", "ContainerResource") else ""
    if target.get("averageValue") is not None:
        suffix = " (avg)" if kind in ("External", "Object") else ""
        return f"{prefix}{current.get('averageValue') or '<unknown>'}/{target['averageValue']}{suffix}"
    if prefix:
        return f"{prefix}{_percent(current, '<unknown>')}/{_percent(target, '<auto>')}"
    if kind in ("External", "Object"):
        return f"{current.get('value') or '<unknown>'}/{target.get('value', '0')}"
    return "<unknown type>"


def _percent(found: Object, empty: str) -> str:
    value: Any = found.get("averageUtilization")
    return empty if value is None else f"{value}%"


def _targets(obj: Object) -> str:
    specs, states = at(obj, "spec", "metrics") or (), at(obj, "status", "currentMetrics") or ()
    if not specs:
        return "<none>"
    shown = [_metric(spec, states[i] if i < len(states) else {}) for i, spec in enumerate(specs)]
    text = ", ".join(shown[:2])
    return f"{text} + {len(shown) - 2} more..." if len(shown) > 2 else text


def _reference(obj: Object) -> str:
    return f"{at(obj, 'spec', 'scaleTargetRef', 'kind') or ''}/{at(obj, 'spec', 'scaleTargetRef', 'name') or ''}"


STRATEGIES: dict[str, Strategy] = {
    "horizontalpodautoscalers": Strategy(
        default=_default,
        validate=autoscalers.validate,
        validate_update=autoscalers.validate_update,
        parts={"status": dataclasses.replace(STATUS, validate=autoscalers.validate_status)},
        has_status=True,
        columns=(
            columns.name(),
            columns.made("Reference", _reference),
            columns.made("Targets", _targets),
            columns.text("MinPods", "spec", "minReplicas", empty="<unset>"),
            columns.number("MaxPods", "spec", "maxReplicas"),
            columns.number("Replicas", "status", "currentReplicas"),
            columns.age(),
        ),
    ),
}
"""By plural."""
CONVERSIONS = {("v1", "horizontalpodautoscalers"): scaler_conversion.CONVERSION}
"""By version and plural."""

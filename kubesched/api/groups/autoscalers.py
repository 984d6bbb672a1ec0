# SPDX-License-Identifier: Apache-2.0
"""What is wrong with horizontal pod autoscalers, as they are stored.

Source: pkg/apis/autoscaling/validation/validation.go, v1.36.
"""

from __future__ import annotations

from kubesched.api import checks, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_SOURCES = {
    "Object": "object",
    "External": "external",
    "Pods": "pods",
    "Resource": "resource",
    "ContainerResource": "containerResource",
}
"""Types of metrics and their fields, in the order in which fields are looked at."""
_TYPES = tuple(sorted(_SOURCES))
_TARGETS = ("Utilization", "Value", "AverageValue")
_SELECTS = ("Disabled", "Max", "Min")
_POLICIES = ("Percent", "Pods")
_MAX_WINDOW = 3600
_MAX_PERIOD = 1800
_MISSING = "must populate information for the given metric source"


def validate(obj: Object) -> list[FieldError]:
    """A new autoscaler."""
    return _validate(obj, {})


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return _validate(new, at(old, "spec", "scaleTargetRef") or {})


def _validate(obj: Object, before: Object) -> list[FieldError]:
    """``before`` is what it scaled: a version that stays is not judged anew."""
    out: Errors = []
    spec = obj.get("spec") or {}
    low, high = spec.get("minReplicas"), spec.get("maxReplicas", 0)
    if low is not None and low < 1:
        out.append(invalid_value("spec.minReplicas", low, "must be greater than or equal to 1"))
    if not high:
        out.append(status.required("spec.maxReplicas", "must be set and greater than 0"))
    elif high < 0:
        out.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to 1"))
    if low is not None and high < low:
        out.append(invalid_value("spec.maxReplicas", high, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    same = bool(before) and all(before.get(name) == target.get(name) for name in ("apiVersion", "kind"))
    core = target.get("kind") == "ReplicationController"
    _reference(target, "spec.scaleTargetRef", out, any_version=same, core=core)
    metrics = spec.get("metrics") or ()
    for i, metric in enumerate(metrics):
        _metric(metric, f"spec.metrics[{i}]", out)
    if low == 0 and not any(metric.get("type") in ("Object", "External") for metric in metrics):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        out.append(status.forbidden_field("spec.metrics", why))
    for name in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(name)
        if rules is not None:
            _rules(rules, f"spec.behavior.{name}", out)
    return out


def validate_status(new: Object, old: Object) -> list[FieldError]:
    """What the controller reports."""
    out: Errors = []
    checks.not_negative(new.get("status") or {}, "status", out, "currentReplicas", "desiredReplicas")
    return out


def _reference(target: Object, field: str, out: Errors, *, any_version: bool = False, core: bool = False) -> None:
    for name in ("kind", "name"):
        checks.named(names.path_segment, target, name, field, out)
    version: str = target.get("apiVersion") or ""
    if any_version:
        return
    if version.count("/") > 1:
        why = f"unexpected GroupVersion string: {version}"
    elif not core and not version.partition("/")[1]:
        why = "apiVersion must specify API group"
    else:
        return
    out.append(invalid_value(f"{field}.apiVersion", version, why))


# ---- metrics ----


def _metric(metric: Object, field: str, out: Errors) -> None:
    kind = metric.get("type") or ""
    if not kind:
        out.append(status.required(f"{field}.type", "must specify a metric source type"))
    checks.option(kind, f"{field}.type", _TYPES, out)
    present = [name for name in _SOURCES.values() if metric.get(name) is not None]
    if present:
        _source(present[0], metric[present[0]], f"{field}.{present[0]}", out)
    expected = _SOURCES.get(kind, "")
    if not expected:
        out.append(status.not_supported(f"{field}.type", kind, _TYPES))
    elif expected not in present:
        out.append(status.required(f"{field}.{expected}", _MISSING))
    if len(present) > 1:
        for name in present:
            if name != expected:
                why = "must populate the given metric source only"
                out.append(status.forbidden_field(f"{field}.{name}", why))


def _source(name: str, source: Object, field: str, out: Errors) -> None:
    if name == "object":
        _reference(source.get("describedObject") or {}, f"{field}.describedObject", out, core=True)
    if name in ("resource", "containerResource"):
        _resource(name, source, field, out)
    else:
        metric = at(source, "metric", "name") or ""
        if not metric:
            out.append(status.required(f"{field}.metric.name", "must specify a metric name"))
        checks.by(names.path_segment, metric, f"{field}.metric.name", out)
    target, here = source.get("target") or {}, f"{field}.target"
    _target(target, here, out)
    value, average, part = (target.get(key) is not None for key in ("value", "averageValue", "averageUtilization"))
    if name == "pods":
        if not average:
            out.append(status.required(f"{here}.averageValue", "must specify a positive target averageValue"))
    elif name in ("object", "external"):
        what = "value or averageValue" if name == "object" else "value for metric or a per-pod target"
        if not value and not average:
            out.append(status.required(f"{here}.averageValue", f"must set either a target {what}"))
        if name == "external" and value and average:
            why = "may not set both a target value for metric and a per-pod target"
            out.append(status.forbidden_field(f"{here}.value", why))
    elif not part and not average:
        why = "must set either a target raw value or a target utilization"
        out.append(status.required(f"{here}.averageUtilization", why))
    elif part and average:
        why = "may not set both a target raw value and a target utilization"
        out.append(status.forbidden_field(f"{here}.averageValue", why))


def _resource(name: str, source: Object, field: str, out: Errors) -> None:
    if not source.get("name"):
        out.append(status.required(f"{field}.name", "must specify a resource name"))
    if name == "resource":
        return
    if source.get("name"):
        checks.by(checks.container_resource, source["name"], f"{field}.name", out)
    if not source.get("container"):
        out.append(status.required(f"{field}.container", "must specify a container"))
    else:
        checks.by(names.label, source["container"], f"{field}.container", out)


def _target(target: Object, field: str, out: Errors) -> None:
    kind = target.get("type") or ""
    if not kind:
        out.append(status.required(f"{field}.type", "must specify a metric target type"))
    if kind not in _TARGETS:
        out.append(invalid_value(f"{field}.type", kind, "must be either Utilization, Value, or AverageValue"))
    for name in ("value", "averageValue"):
        amount = target.get(name)
        if amount is not None and quantity.parse_nano(amount) <= 0:
            out.append(invalid_value(f"{field}.{name}", amount, "must be positive"))
    part = target.get("averageUtilization")
    if part is not None and part < 1:
        out.append(invalid_value(f"{field}.averageUtilization", part, "must be greater than 0"))


# ---- behaviour ----


def _rules(rules: Object, field: str, out: Errors) -> None:
    window, here = rules.get("stabilizationWindowSeconds"), f"{field}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        out.append(invalid_value(here, window, "must be greater than or equal to zero"))
    if window is not None and window > _MAX_WINDOW:
        out.append(invalid_value(here, window, f"must be less than or equal to {_MAX_WINDOW}"))
    checks.option(rules.get("selectPolicy"), f"{field}.selectPolicy", _SELECTS, out)
    policies = rules.get("policies") or ()
    if not policies:
        out.append(status.required(f"{field}.policies", "must specify at least one Policy"))
    for i, policy in enumerate(policies):
        at_policy = f"{field}.policies[{i}]"
        checks.option(policy.get("type") or "", f"{at_policy}.type", _POLICIES, out)
        for name in ("value", "periodSeconds"):
            if policy.get(name, 0) <= 0:
                out.append(invalid_value(f"{at_policy}.{name}", policy.get(name, 0), checks.NOT_POSITIVE))
        if policy.get("periodSeconds", 0) > _MAX_PERIOD:
            why = f"must be less than or equal to {_MAX_PERIOD}"
            out.append(invalid_value(f"{at_policy}.periodSeconds", policy["periodSeconds"], why))
    tolerance = rules.get("tolerance")
    if tolerance is not None and quantity.parse_nano(tolerance) < 0:
        out.append(invalid_value(f"{field}.tolerance", tolerance, checks.NEGATIVE))

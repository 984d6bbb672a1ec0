# SPDX-License-Identifier: Apache-2.0
"""Horizontal pod autoscalers of autoscaling/v1: one target for processors; all else of v2 travels in annotations.

Source: pkg/apis/autoscaling/v1/conversion.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kubesched.api import gotext
from kubesched.api.columns import at
from kubesched.api.conversion import Conversion, printed
from kubesched.api.strategy import Object

_PREFIX = "autoscaling.alpha.kubernetes.io/"
_METRICS = f"{_PREFIX}metrics"
_STATUSES = f"{_PREFIX}current-metrics"
_CONDITIONS = f"{_PREFIX}conditions"
_BEHAVIOR = f"{_PREFIX}behavior"
_ALL = (_METRICS, _STATUSES, _CONDITIONS, _BEHAVIOR, f"{_PREFIX}scale-down-tolerance", f"{_PREFIX}scale-up-tolerance")
_CPU_PERCENT = 80

_POLICY = gotext.Struct({"Type": "", "Value": 0, "PeriodSeconds": 0})
_RULES = gotext.Struct({"StabilizationWindowSeconds": None, "SelectPolicy": None, "Policies": None, "Tolerance": None})


# ---- metrics ----
#
# v1 keeps the amounts of a metric beside its name, v2 in a target (or, of a status, in `current`). A row says for one
# kind of metric: the field of v1 for each amount of v2, and the field of the metric's selector. Amounts that v1 cannot
# leave out are there as zero.

_SPEC_AMOUNTS: Mapping[str, dict[str, str]] = {
    "object": {"value": "targetValue", "averageValue": "averageValue"},
    "pods": {"averageValue": "targetAverageValue"},
    "resource": {"averageUtilization": "targetAverageUtilization", "averageValue": "targetAverageValue"},
    "containerResource": {"averageUtilization": "targetAverageUtilization", "averageValue": "targetAverageValue"},
    "external": {"value": "targetValue", "averageValue": "targetAverageValue"},
}
_STATUS_AMOUNTS: Mapping[str, dict[str, str]] = {
    "object": {"value": "currentValue", "averageValue": "averageValue"},
    "pods": {"averageValue": "currentAverageValue"},
    "resource": {"averageUtilization": "currentAverageUtilization", "averageValue": "currentAverageValue"},
    "containerResource": {"averageUtilization": "currentAverageUtilization", "averageValue": "currentAverageValue"},
    "external": {"value": "currentValue", "averageValue": "currentAverageValue"},
}
_ALWAYS = {
    ("object", "targetValue"),
    ("pods", "targetAverageValue"),
    ("object", "currentValue"),
    ("pods", "currentAverageValue"),
    ("resource", "currentAverageValue"),
    ("containerResource", "currentAverageValue"),
    ("external", "currentValue"),
}
_PREFERRED = (("averageUtilization", "Utilization"), ("averageValue", "AverageValue"), ("value", "Value"))


def _source(metric: Object) -> str:
    """The field that a metric's type names."""
    kind: str = metric.get("type") or ""
    return kind[:1].lower() + kind[1:]


def _old_metric(metric: Object, place: str, amounts: Mapping[str, dict[str, str]]) -> Object:
    """A metric of v2 as v1 writes it; ``place`` is where v2 has its amounts."""
    name = _source(metric)
    source = metric.get(name)
    if source is None or name not in amounts:
        return {"type": metric.get("type") or ""}
    out: Object = {}
    if name == "object":
        out["target"] = {key: at(source, "describedObject", key) for key in ("kind", "name", "apiVersion")}
        out["target"] = {key: value for key, value in out["target"].items() if value is not None}
    for key in ("name", "container"):
        if key in source:
            out[key] = source[key]
    if "metric" in source:
        out["metricName"] = at(source, "metric", "name") or ""
        selector = at(source, "metric", "selector")
        if selector is not None:
            out["metricSelector" if name == "external" else "selector"] = selector
    for new, old in amounts[name].items():
        value = at(source, place, new)
        if value is None and (name, old) in _ALWAYS:
            value = "0"
        if value is not None:
            out[old] = value
    return {"type": metric["type"], name: out}


def _new_metric(metric: Object, place: str, amounts: Mapping[str, dict[str, str]]) -> Object:
    """A metric of v1 as v2 writes it."""
    name = _source(metric)
    source = metric.get(name)
    if not isinstance(source, dict) or name not in amounts:
        return {"type": metric.get("type") or ""}
    out: Object = {key: source[key] for key in ("name", "container") if key in source}
    if name == "object":
        out["describedObject"] = source.get("target") or {}
    if "metricName" in source:
        out["metric"] = {"name": source["metricName"]}
        selector = source.get("metricSelector" if name == "external" else "selector")
        if selector is not None:
            out["metric"]["selector"] = selector
    found = {new: source[old] for new, old in amounts[name].items() if source.get(old) is not None}
    if place == "target":
        if name == "object" and "averageValue" in found and found.get("value") == "0":
            del found["value"]
        found["type"] = _target_type(name, found)
    out[place] = found
    return {"type": metric["type"], name: out}


def _target_type(name: str, found: Object) -> str:
    if name == "external" and "value" in found:
        return "Value"
    return next((kind for field, kind in _PREFERRED if field in found), "AverageValue")


def _is_cpu(metric: Object) -> bool:
    return metric.get("type") == "Resource" and at(metric, "resource", "name") == "cpu"


def _cpu(place: str, percent: int) -> Object:
    amount = {"averageUtilization": percent}
    return {
        "type": "Resource",
        "resource": {"name": "cpu", place: {"type": "Utilization", **amount} if place == "target" else amount},
    }


# ---- behaviour: kept as upstream's own type writes itself ----


def _behavior_text(behavior: Object) -> str:
    def rules(name: str) -> Any:
        found = behavior.get(name)
        if found is None:
            return None
        policies = found.get("policies")
        shown = None if policies is None else [_POLICY.show(policy) for policy in policies]
        return _RULES.show({**found, "policies": shown})

    return _text({"ScaleUp": rules("scaleUp"), "ScaleDown": rules("scaleDown")})


def _lower(value: Any) -> Any:
    """Names as JSON of v2 has them."""
    if isinstance(value, list):
        return [_lower(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name[:1].lower() + name[1:]: _lower(item) for name, item in value.items() if item is not None}


def _text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _read(annotations: Mapping[str, str], name: str, type_: type) -> Any:
    """What an annotation holds; None if it is absent or somebody broke it."""
    try:
        found = orjson.loads(annotations.get(name) or "null")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, type_) else None


# ---- whole objects ----


def _from_v2(obj: Object) -> Object:
    spec, state, metadata = obj.get("spec") or {}, obj.get("status") or {}, dict(obj["metadata"])
    metrics, current = spec.get("metrics") or (), state.get("currentMetrics") or ()
    cpu = [metric for metric in metrics if _is_cpu(metric) and _utilization(metric, "target") is not None]
    annotations = {key: value for key, value in (metadata.get("annotations") or {}).items() if key not in _ALL}
    others = [_old_metric(metric, "target", _SPEC_AMOUNTS) for metric in metrics if metric not in cpu]
    if others:
        annotations[_METRICS] = _text(others)
    if current:
        annotations[_STATUSES] = _text([_old_metric(metric, "current", _STATUS_AMOUNTS) for metric in current])
    if spec.get("behavior") is not None:
        annotations[_BEHAVIOR] = _behavior_text(spec["behavior"])
    if state.get("conditions"):
        annotations[_CONDITIONS] = _text(state["conditions"])
    _set_annotations(metadata, annotations)
    out_spec = {name: value for name, value in spec.items() if name not in ("metrics", "behavior")}
    out_state = {name: value for name, value in state.items() if name not in ("currentMetrics", "conditions")}
    if cpu:
        out_spec["targetCPUUtilizationPercentage"] = _utilization(cpu[0], "target")
    for metric in current:
        if _is_cpu(metric) and _utilization(metric, "current") is not None:
            out_state["currentCPUUtilizationPercentage"] = _utilization(metric, "current")
    out = {**obj, "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": out_spec, "status": out_state}
    return printed(out, "autoscaling", "v1", "HorizontalPodAutoscaler")


def _utilization(metric: Object, place: str) -> Any:
    return at(metric, "resource", place, "averageUtilization")


def _set_annotations(metadata: Object, annotations: Mapping[str, str]) -> None:
    if annotations:
        metadata["annotations"] = dict(annotations)
    else:
        metadata.pop("annotations", None)


def _to_v2(obj: Object) -> Object:
    spec, state, metadata = dict(obj.get("spec") or {}), dict(obj.get("status") or {}), dict(obj["metadata"])
    annotations = metadata.get("annotations") or {}
    percent = spec.pop("targetCPUUtilizationPercentage", None)
    metrics = [_new_metric(item, "target", _SPEC_AMOUNTS) for item in _read(annotations, _METRICS, list) or ()]
    if percent is not None or not metrics:
        metrics.append(_cpu("target", _CPU_PERCENT if percent is None else percent))
    spec["metrics"] = metrics
    behavior = _lower(_read(annotations, _BEHAVIOR, dict))
    if behavior:
        spec["behavior"] = behavior
    percent = state.pop("currentCPUUtilizationPercentage", None)
    current = _read(annotations, _STATUSES, list)
    if current is not None:
        state["currentMetrics"] = [_new_metric(item, "current", _STATUS_AMOUNTS) for item in current]
    elif percent is not None:
        state["currentMetrics"] = [_cpu("current", percent)]
    conditions = _read(annotations, _CONDITIONS, list)
    if conditions is not None:
        state["conditions"] = conditions
    _set_annotations(metadata, {key: value for key, value in annotations.items() if key not in _ALL})
    out = {**obj, "apiVersion": "autoscaling/v2", "metadata": metadata, "spec": spec, "status": state}
    return printed(out, "autoscaling", "v2", "HorizontalPodAutoscaler")


CONVERSION = Conversion(_to_v2, _from_v2)

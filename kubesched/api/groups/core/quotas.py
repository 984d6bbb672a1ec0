# SPDX-License-Identifier: Apache-2.0
"""What is wrong with ResourceQuotas and LimitRanges. Source: pkg/apis/core/validation/validation.go, v1.36."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubesched.api import checks, gotext, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_OF_PODS = {"pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"}
_SCOPES: Mapping[str, set[str]] = {
    "Terminating": _OF_PODS,
    "NotTerminating": _OF_PODS,
    "BestEffort": {"pods"},
    "NotBestEffort": _OF_PODS,
    "PriorityClass": _OF_PODS,
    "CrossNamespacePodAffinity": _OF_PODS,
    "VolumeAttributesClass": {"persistentvolumeclaims", "requests.storage"},
}
"""What each scope counts."""
_PLAIN_SCOPES = ("BestEffort", "NotBestEffort", "Terminating", "NotTerminating", "CrossNamespacePodAffinity")
_CONFLICTS = ({"BestEffort", "NotBestEffort"}, {"Terminating", "NotTerminating"})
_QUOTA = checks.STANDARD - {"storage"}


# ---- quotas ----


def quota(obj: Object) -> list[FieldError]:
    """A ResourceQuota."""
    out: Errors = []
    spec = obj.get("spec") or {}
    _amounts(spec.get("hard") or {}, "spec.hard", out)
    _scopes(spec, spec.get("scopes") or [], out)
    if spec.get("scopeSelector") is not None:
        _scope_selector(spec, spec["scopeSelector"], "spec.scopeSelector.matchExpressions", out)
    return out


def quota_update(new: Object, old: Object) -> list[FieldError]:
    out = quota(new)
    after, before = ((obj.get("spec") or {}).get("scopes") or [] for obj in (new, old))
    if set(after) != set(before):
        out.append(invalid_value("spec.scopes", after or None, checks.IMMUTABLE))
    return out


def quota_status(new: Object, old: Object) -> list[FieldError]:
    """What is counted."""
    out: Errors = []
    for part in ("hard", "used"):
        _amounts((new.get("status") or {}).get(part) or {}, f"status.{part}", out)
    return out


def _is_standard(name: str) -> bool:
    return name in _QUOTA or name.startswith(("hugepages-", "requests.hugepages-"))


def _amounts(amounts: Mapping[str, str], field: str, out: Errors) -> None:
    for name, text in amounts.items():
        at = f"{field}[{name}]"
        checks.by(checks.resource_name, name, at, out)
        if "/" not in name and not _is_standard(name):
            out.append(invalid_value(at, name, "must be a standard resource for quota"))
        checks.amount(name, text, at, out)


def _uncounted(scope: str, spec: Object) -> int:
    """How many of the limits a scope does not count."""
    counted = _SCOPES.get(scope)
    hard = spec.get("hard") or ()
    return 0 if counted is None else sum(_is_standard(name) and name not in counted for name in hard)


def _scopes(spec: Object, scopes: list[str], out: Errors) -> None:
    for scope in scopes:
        if scope not in _SCOPES:
            out.append(invalid_value("spec.scopes", scopes, "unsupported scope"))
        wrong = invalid_value("spec.scopes", scopes, "unsupported scope applied to resource")
        out.extend([wrong] * _uncounted(scope, spec))
    _conflicts(set(scopes), scopes, "spec.scopes", out)


def _conflicts(found: set[str], shown: Any, field: str, out: Errors) -> None:
    for pair in _CONFLICTS:
        if pair <= found:
            out.append(invalid_value(field, shown, "conflicting scopes"))


_SCOPE_TERM = gotext.Struct({"ScopeName": "", "Operator": "", "Values": None})


def _scope_selector(spec: Object, selector: Object, field: str, out: Errors) -> None:
    terms = selector.get("matchExpressions") or ()
    for term in terms:
        scope, operator, values = term.get("scopeName") or "", term.get("operator") or "", term.get("values")
        if scope not in _SCOPES:
            out.append(invalid_value(f"{field}.scopeName", scope, "unsupported scope"))
        shown = {"MatchExpressions": [_SCOPE_TERM.show(item) for item in terms]}
        out.extend([invalid_value(field, shown, "unsupported scope applied to resource")] * _uncounted(scope, spec))
        if scope in _PLAIN_SCOPES and operator != "Exists":
            why = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or "
                "ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            out.append(invalid_value(f"{field}.operator", operator, why))
        if operator in ("In", "NotIn"):
            if not values:
                why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
                out.append(status.required(f"{field}.values", why))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
                out.append(invalid_value(f"{field}.values", values, why))
        else:
            out.append(invalid_value(f"{field}.operator", operator, "not a valid selector operator"))
    _conflicts({term.get("scopeName") or "" for term in terms}, spec.get("scopes"), field, out)


# ---- limits ----

_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")


def limit_range(obj: Object) -> list[FieldError]:
    """A LimitRange."""
    out: Errors = []
    seen: set[str] = set()
    for i, limit in enumerate((obj.get("spec") or {}).get("limits") or ()):
        at, kind = f"spec.limits[{i}]", limit.get("type") or ""
        if wrong := names.qualified_name(kind):
            out.extend(invalid_value(f"{at}.type", kind, why) for why in wrong)
        elif "/" not in kind and kind not in _LIMIT_TYPES:
            why = "must be a standard limit type or fully qualified"
            out.append(invalid_value(f"{at}.type", kind, why))
        if kind in seen:
            out.append(status.duplicate(f"{at}.type", kind))
        seen.add(kind)
        _limit(limit, kind, at, out)
    return out


def _limit(limit: Object, kind: str, at: str, out: Errors) -> None:
    rule = checks.container_resource if kind in ("Pod", "Container") else checks.resource_name
    amounts: dict[str, Mapping[str, str]] = {}
    for part in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
        found = limit.get(part) or {}
        if kind == "Pod" and part.startswith("default"):
            if found:
                out.append(status.forbidden_field(f"{at}.{part}", "may not be specified when `type` is 'Pod'"))
            found = {}
        sized = any("storage" in amounts.get(bound, ()) for bound in ("min", "max"))
        if part == "maxLimitRequestRatio" and kind == "PersistentVolumeClaim" and not sized:
            why = "either minimum or maximum storage value is required, but neither was provided"
            out.append(status.required(f"{at}.limits", why))
        for name in found:
            checks.by(rule, name, f"{at}.{part}[{name}]", out)
        amounts[part] = found
    for name in dict.fromkeys(name for part in amounts.values() for name in part):
        _compare({part: found[name] for part, found in amounts.items() if name in found}, name, at, out)


_ORDER = (
    ("min", "max", "min", "min", "min value {} is greater than max value {}"),
    (
        "min",
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "max",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "default",
        "defaultRequest",
        "defaultRequest",
        "default request value {} is greater than default limit value {}",
    ),
    ("min", "default", "default", "min", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)
"""The smaller and the larger amount, the field that is wrong, the value that is shown, the text."""


def _compare(found: Mapping[str, str], name: str, at: str, out: Errors) -> None:
    nano = {part: quantity.parse_nano(text) for part, text in found.items()}
    for small, large, field, value, text in _ORDER:
        if small in nano and large in nano and nano[small] > nano[large]:
            out.append(invalid_value(f"{at}.{field}[{name}]", found[value], text.format(found[small], found[large])))
    ratio, here = nano.get("maxLimitRequestRatio"), f"{at}.maxLimitRequestRatio[{name}]"
    if ratio is not None:
        shown = found["maxLimitRequestRatio"]
        if ratio < quantity.NANO:
            out.append(invalid_value(here, shown, f"ratio {shown} is less than 1"))
        if nano.get("min") and "max" in nano and ratio * nano["min"] > nano["max"] * quantity.NANO:
            why = f"ratio {shown} is greater than max/min = {nano['max'] / nano['min']:f}"
            out.append(invalid_value(here, shown, why))
    shared = checks.is_native(name) and not checks.is_huge(name)
    if not shared and "default" in nano and nano.get("defaultRequest", nano["default"]) != nano["default"]:
        asked = found["defaultRequest"]
        why = f"default value {found['default']} must equal to defaultRequest value {asked} in {name}"
        out.append(invalid_value(f"{at}.defaultRequest[{name}]", asked, why))

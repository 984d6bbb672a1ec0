# SPDX-License-Identifier: Apache-2.0
"""What is wrong with flow schemas and priority levels.

Source: pkg/apis/flowcontrol/validation/validation.go, apiserver/pkg/apis/flowcontrol/bootstrap/default.go, v1.36.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_MAX_PRECEDENCE = 10_000
_METHODS = ("ByNamespace", "ByUser")
_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch")
_SUBJECTS = ("Group", "ServiceAccount", "User")
_LEVELS = ("Exempt", "Limited")
_RESPONSES = ("Queue", "Reject")
_MAX_QUEUES = 10_000_000
_MAX_BITS = 60
_PRESERVE_ZERO = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
_EVERYTHING = [
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": True, "namespaces": ["*"]},
]
_ALL_PATHS = [{"verbs": ["*"], "nonResourceURLs": ["*"]}]


def _rules(*groups: str) -> list[Object]:
    subjects = [{"kind": "Group", "group": {"name": name}} for name in groups]
    return [{"subjects": subjects, "resourceRules": _EVERYTHING, "nonResourceRules": _ALL_PATHS}]


FIXED_SCHEMAS: dict[str, Object] = {
    "exempt": {
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": _rules("system:masters"),
    },
    "catch-all": {
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10_000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": _rules("system:unauthenticated", "system:authenticated"),
    },
}
"""Flow schemas that every cluster has as they are."""
FIXED_LEVELS: dict[str, Object] = {
    "exempt": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}},
    "catch-all": {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}, "lendablePercent": 0},
    },
}
"""Priority levels that every cluster has; of the first the shares may change."""

_METHOD = gotext.Struct({"Type": ""})

# ---- schemas ----


def schema(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name")
    precedence = spec.get("matchingPrecedence", 0)
    for wrong, why in (
        (precedence <= 0, "must be a positive value"),
        (precedence > _MAX_PRECEDENCE, f"must not be greater than {_MAX_PRECEDENCE}"),
        (precedence == 1 and name != "exempt", "only the schema named 'exempt' may have matchingPrecedence 1"),
    ):
        if wrong:
            out.append(invalid_value("spec.matchingPrecedence", precedence, why))
    method = spec.get("distinguisherMethod")
    if method is not None and method.get("type") not in _METHODS:
        out.append(status.not_supported("spec.distinguisherMethod.type", _METHOD.show(method), _METHODS))
    level = (spec.get("priorityLevelConfiguration") or {}).get("name")
    if level:
        checks.by(names.subdomain, level, "spec.priorityLevelConfiguration.name", out)
    else:
        why = "must reference a priority level"
        out.append(status.required("spec.priorityLevelConfiguration.name", why))
    for i, rule in enumerate(spec.get("rules") or ()):
        _rule(rule, f"spec.rules[{i}]", out)
    _fixed(name in FIXED_SCHEMAS and spec != FIXED_SCHEMAS[name], spec, f"spec of '{name}' must equal", out)
    conditions(obj, out)
    return out


def _fixed(differs: bool, spec: Object, what: str, out: Errors) -> None:
    """Upstream shows its own type here; ours shows the fields as the API names them."""
    if differs:
        out.append(invalid_value("spec", spec, f"{what} the fixed value"))


def conditions(obj: Object, out: Errors) -> None:
    """Those of a status."""
    seen: set[str] = set()
    for i, condition in enumerate((obj.get("status") or {}).get("conditions") or ()):
        field, kind = f"status.conditions[{i}].type", condition.get("type") or ""
        if kind in seen:
            out.append(status.duplicate(field, kind))
        seen.add(kind)
        if not kind:
            out.append(status.required(field))


def status_update(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    conditions(new, out)
    return out


def _rule(rule: Object, at: str, out: Errors) -> None:
    if not rule.get("subjects"):
        out.append(status.required(f"{at}.subjects", "subjects must contain at least one value"))
    for i, subject in enumerate(rule.get("subjects") or ()):
        _subject(subject, f"{at}.subjects[{i}]", out)
    resources, paths = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not paths:
        why = "at least one of resourceRules and nonResourceRules has to be non-empty"
        out.append(status.required(at, why))
    for i, found in enumerate(resources):
        _resources(found, f"{at}.resourceRules[{i}]", out)
    for i, found in enumerate(paths):
        _paths(found, f"{at}.nonResourceRules[{i}]", out)


_FIELDS = {"ServiceAccount": "serviceAccount", "User": "user", "Group": "group"}


def _subject(subject: Object, at: str, out: Errors) -> None:
    kind = subject.get("kind") or ""
    if kind not in _FIELDS:
        out.append(status.not_supported(f"{at}.kind", kind, _SUBJECTS))
        return
    own = _FIELDS[kind]
    found = subject.get(own)
    if found is None:
        out.append(status.required(f"{at}.{own}", f"{own} is required when subject kind is '{kind}'"))
    else:
        _subject_name(found, kind, f"{at}.{own}", out)
    for other, field in _FIELDS.items():
        if other != kind and subject.get(field) is not None:
            why = f"{field} is forbidden when subject kind is not '{other}'"
            out.append(status.forbidden_field(f"{at}.{field}", why))


def _subject_name(found: Object, kind: str, at: str, out: Errors) -> None:
    name, namespace = found.get("name"), found.get("namespace")
    checks.needed(found, ("name",), at, out)
    if kind != "ServiceAccount":
        return
    if name and name != "*":
        checks.by(names.subdomain, name, f"{at}.name", out)
    if namespace:
        checks.by(names.label, namespace, f"{at}.namespace", out)
    else:
        out.append(status.required(f"{at}.namespace", "must specify namespace for service account"))


def _verbs(verbs: list[str], field: str, out: Errors) -> None:
    if not verbs:
        out.append(status.required(field, "verbs must contain at least one value"))
    elif "*" in verbs:
        _alone(verbs, field, "verbs", out)
    elif not set(verbs) <= set(_VERBS):
        out.append(status.not_supported(field, verbs, _VERBS))


def _alone(found: list[str], field: str, what: str, out: Errors) -> None:
    if len(found) > 1 and "*" in found:
        out.append(invalid_value(field, found, f"if '*' is present, must not specify other {what}"))


def _resources(rule: Object, at: str, out: Errors) -> None:
    _verbs(rule.get("verbs") or [], f"{at}.verbs", out)
    for name, one, several in (("apiGroups", "api group", "api groups"), ("resources", "resource", "resources")):
        if not rule.get(name):
            out.append(status.required(f"{at}.{name}", f"resource rules must supply at least one {one}"))
        _alone(rule.get(name) or [], f"{at}.{name}", several, out)
    namespaces = rule.get("namespaces") or []
    if not namespaces and not rule.get("clusterScope"):
        why = "resource rules that are not cluster scoped must supply at least one namespace"
        out.append(status.required(f"{at}.namespaces", why))
    elif "*" in namespaces:
        _alone(namespaces, f"{at}.namespaces", "namespaces", out)
    else:
        for i, name in enumerate(namespaces):
            for wrong in names.label(name):
                why = f"each member of this list must be '*' or a DNS-1123 label; {wrong}"
                out.append(invalid_value(f"{at}.namespaces[{i}]", name, why))


def _paths(rule: Object, at: str, out: Errors) -> None:
    _verbs(rule.get("verbs") or [], f"{at}.verbs", out)
    urls, field = rule.get("nonResourceURLs") or [], f"{at}.nonResourceURLs"
    if not urls:
        out.append(status.required(field, "nonResourceURLs must contain at least one value"))
    elif "*" in urls:
        _alone(urls, field, "non-resource URLs", out)
    else:
        for i, url in enumerate(urls):
            if why := _wrong_path(url):
                out.append(invalid_value(f"{field}[{i}]", url, why))


def _wrong_path(path: str) -> str:
    if not path:
        return "must not be empty"
    if path == "/":
        return ""
    if not path.startswith("/"):
        return "must start with slash"
    if " " in path:
        return "must not contain white-space"
    if "//" in path:
        return "must not contain double slash"
    stars = path.count("*")
    return "wildcard can only do suffix matching" if stars > 1 or (stars and not path.endswith("/*")) else ""


# ---- levels ----


def level(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name")
    if _PRESERVE_ZERO in (obj["metadata"].get("annotations") or {}):
        out.append(status.forbidden_field("metadata.annotations", f"annotation '{_PRESERVE_ZERO}' is forbidden"))
    kind = spec.get("type") or ""
    if (name == "exempt") != (kind == "Exempt"):
        out.append(invalid_value("spec.type", kind, "must be 'Exempt' if and only if `name` is 'exempt'"))
    exempt, limited = spec.get("exempt"), spec.get("limited")
    if kind == "Exempt":
        if limited is not None:
            out.append(status.forbidden_field("spec.limited", "must be nil if the type is not Limited"))
        _shares(exempt or {}, "spec.exempt", out)
    elif kind == "Limited":
        if exempt is not None:
            out.append(status.forbidden_field("spec.exempt", "must be nil if the type is Limited"))
        if limited is None:
            out.append(status.required("spec.limited", "must not be empty when type is Limited"))
        else:
            _limited(limited, "spec.limited", out)
    else:
        out.append(status.not_supported("spec.type", kind, _LEVELS))
    _fixed_level(name, spec, out)
    conditions(obj, out)
    return out


def _fixed_level(name: Any, spec: Object, out: Errors) -> None:
    fixed = FIXED_LEVELS.get(name)
    if fixed is None:
        return
    if name == "exempt":
        rest = {key: value for key, value in spec.items() if key != "exempt"}
        _fixed(rest != {"type": "Exempt"}, spec, f"spec of '{name}' except the 'spec.exempt' field must equal", out)
    else:
        _fixed(spec != fixed, spec, f"spec of '{name}' must equal", out)


def _shares(found: Object, at: str, out: Errors, between: Collection[Object] = ()) -> None:
    shares = found.get("nominalConcurrencyShares")
    if shares is not None and shares < 0:
        why = "must be a non-negative integer"
        out.append(invalid_value(f"{at}.nominalConcurrencyShares", shares, why))
    for response in between:
        _response(response, f"{at}.limitResponse", out)
    checks.number_within(found.get("lendablePercent"), 0, 100, f"{at}.lendablePercent", out)


def _limited(limited: Object, at: str, out: Errors) -> None:
    _shares(limited, at, out, [limited.get("limitResponse") or {}])
    borrowed = limited.get("borrowingLimitPercent")
    if borrowed is not None and borrowed < 0:
        why = "if specified, must be a non-negative integer"
        out.append(invalid_value(f"{at}.borrowingLimitPercent", borrowed, why))


def _response(response: Object, at: str, out: Errors) -> None:
    kind, queuing = response.get("type") or "", response.get("queuing")
    if kind not in _RESPONSES:
        out.append(status.not_supported(f"{at}.type", kind, _RESPONSES))
    elif kind == "Reject" and queuing is not None:
        why = "must be nil if limited.limitResponse.type is not Limited"
        out.append(status.forbidden_field(f"{at}.queuing", why))
    elif kind == "Queue" and queuing is None:
        why = "must not be empty if limited.limitResponse.type is Limited"
        out.append(status.required(f"{at}.queuing", why))
    elif queuing is not None:
        _queuing(queuing, f"{at}.queuing", out)


def _queuing(queuing: Object, at: str, out: Errors) -> None:
    length, queues, hand = (queuing.get(name, 0) for name in ("queueLengthLimit", "queues", "handSize"))
    if length <= 0:
        out.append(invalid_value(f"{at}.queueLengthLimit", length, "must be positive"))
    if queues <= 0:
        out.append(invalid_value(f"{at}.queues", queues, "must be positive"))
    elif queues > _MAX_QUEUES:
        out.append(invalid_value(f"{at}.queues", queues, f"must not be greater than {_MAX_QUEUES}"))
    if hand <= 0:
        out.append(invalid_value(f"{at}.handSize", hand, "must be positive"))
    elif hand > queues:
        out.append(invalid_value(f"{at}.handSize", hand, f"should not be greater than queues ({queues})"))
    elif math.ceil(math.log2(queues) * hand) > _MAX_BITS:
        why = f"required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {_MAX_BITS}"
        out.append(invalid_value(f"{at}.handSize", hand, why))

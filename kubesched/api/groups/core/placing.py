# SPDX-License-Identifier: Apache-2.0
"""What is wrong with where pods may go: node selectors, affinity, tolerations, spreading, gates.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import invalid_value
from kubesched.api.strategy import Object

EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_OPERATORS = ["Equal", "Exists"]
_GATED_OPERATORS = ["Equal", "Exists", "Lt", "Gt"]  # named where one of the last two is refused
_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")
_POLICIES = ("Honor", "Ignore")
_WEIGHT = "must be in the range 1-100"
_BOTH = "exists in both matchLabelKeys and labelSelector"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"

REQUIREMENT = gotext.Struct({"Key": "", "Operator": "", "Values": None})
TOLERATION = gotext.Struct({"Key": "", "Operator": "", "Value": "", "Effect": "", "TolerationSeconds": None})


def term_as_go(term: Object) -> dict[str, Any]:
    """A node selector term as upstream's texts show it."""

    def shown(name: str) -> list[Any] | None:
        found = term.get(name)
        return None if found is None else [REQUIREMENT.show(item) for item in found]

    return {"MatchExpressions": shown("matchExpressions"), "MatchFields": shown("matchFields")}


# ---- nodes ----


def check_node_selector(selector: Object, at: str, out: Errors) -> None:
    """A required selector of nodes: any of its terms."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        out.append(status.required(f"{at}.nodeSelectorTerms", "must have at least one node selector term"))
    for i, term in enumerate(terms):
        check_node_term(term, f"{at}.nodeSelectorTerms[{i}]", out)


def check_node_term(term: Object, at: str, out: Errors, *, any_value: bool = False) -> None:
    """One term: all of its requirements. Preferences may compare with what is no label's value."""
    for i, requirement in enumerate(term.get("matchExpressions") or ()):
        _check_requirement(requirement, f"{at}.matchExpressions[{i}]", out, any_value=any_value)
    for i, requirement in enumerate(term.get("matchFields") or ()):
        _check_field(requirement, f"{at}.matchFields[{i}]", out)


def _check_requirement(requirement: Object, at: str, out: Errors, *, any_value: bool) -> None:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    match operator:
        case "In" | "NotIn":
            if not values:
                why = "must be specified when `operator` is 'In' or 'NotIn'"
                out.append(status.required(f"{at}.values", why))
        case "Exists" | "DoesNotExist":
            if values:
                why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                out.append(status.forbidden_field(f"{at}.values", why))
        case "Gt" | "Lt":
            if len(values) != 1:
                why = "must be specified single value when `operator` is 'Lt' or 'Gt'"
                out.append(status.required(f"{at}.values", why))
        case _:
            out.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
    checks.by(names.qualified_name, requirement.get("key") or "", f"{at}.key", out)
    if not any_value:
        for i, value in enumerate(values):
            checks.by(names.label_value, value, f"{at}.values[{i}]", out)


def _check_field(requirement: Object, at: str, out: Errors) -> None:
    operator, values, key = requirement.get("operator") or "", requirement.get("values") or (), requirement.get("key")
    if operator not in ("In", "NotIn"):
        out.append(invalid_value(f"{at}.operator", operator, "not a valid selector operator"))
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        out.append(status.required(f"{at}.values", why))
    if key != "metadata.name":
        out.append(invalid_value(f"{at}.key", key or "", "not a valid field selector key"))
        return
    for i, value in enumerate(values):
        checks.by(names.subdomain, value, f"{at}.values[{i}]", out)


# ---- affinity ----


def check_affinity(affinity: Object, at: str, out: Errors) -> None:
    """To nodes, to other pods, and away from them."""
    nodes = affinity.get("nodeAffinity")
    if nodes is not None:
        if nodes.get(_REQUIRED) is not None:
            check_node_selector(nodes[_REQUIRED], f"{at}.nodeAffinity.{_REQUIRED}", out)

        def preference(term: Object, here: str) -> None:
            check_node_term(term.get("preference") or {}, f"{here}.preference", out, any_value=True)

        _weighted(nodes.get(_PREFERRED) or (), f"{at}.nodeAffinity.{_PREFERRED}", preference, out)
    for name in ("podAffinity", "podAntiAffinity"):
        pods = affinity.get(name)
        if pods is None:
            continue
        for i, term in enumerate(pods.get(_REQUIRED) or ()):
            _check_pod_term(term, f"{at}.{name}.{_REQUIRED}[{i}]", out)

        def wish(term: Object, here: str) -> None:
            _check_pod_term(term.get("podAffinityTerm") or {}, f"{here}.podAffinityTerm", out)

        _weighted(pods.get(_PREFERRED) or (), f"{at}.{name}.{_PREFERRED}", wish, out)


def _weighted(terms: Sequence[Object], at: str, check: Callable[[Object, str], None], out: Errors) -> None:
    for i, term in enumerate(terms):
        weight = term.get("weight", 0)
        if not 1 <= weight <= 100:
            out.append(invalid_value(f"{at}[{i}].weight", weight, _WEIGHT))
        check(term, f"{at}[{i}]")


def _check_pod_term(term: Object, at: str, out: Errors) -> None:
    checks.selector(term.get("labelSelector"), f"{at}.labelSelector", out)
    checks.selector(term.get("namespaceSelector"), f"{at}.namespaceSelector", out)
    for name in term.get("namespaces") or ():
        checks.by(names.label, name, f"{at}.namespace", out)
    if term.get("matchLabelKeys") or term.get("mismatchLabelKeys"):
        _check_label_keys(term, at, out)
    key = term.get("topologyKey") or ""
    if not key:
        out.append(status.required(f"{at}.topologyKey", "can not be empty"))
    checks.by(names.qualified_name, key, f"{at}.topologyKey", out)


def _check_label_keys(term: Object, at: str, out: Errors) -> None:
    """Keys of the pod's own labels that others must share, or must not."""
    selector = term.get("labelSelector")
    same, other = term.get("matchLabelKeys") or (), term.get("mismatchLabelKeys") or ()
    for name, keys in (("matchLabelKeys", same), ("mismatchLabelKeys", other)):
        if keys and selector is None:
            why = "must not be specified when labelSelector is not set"
            out.append(status.forbidden_field(f"{at}.{name}", why))
        elif keys:
            for i, key in enumerate(keys):
                checks.by(names.qualified_name, key, f"{at}.{name}[{i}]", out)
    seen = set((selector or {}).get("matchLabels") or ())
    places = {key: i for i, key in enumerate(same)}
    for expression in (selector or {}).get("matchExpressions") or ():
        key = expression.get("key") or ""
        if key in places and key in seen:
            out.append(invalid_value(f"{at}[{places[key]}]", key, _BOTH))
        seen.add(key)
    for i, key in enumerate(same):
        if key in other:
            why = "exists in both matchLabelKeys and mismatchLabelKeys"
            out.append(invalid_value(f"{at}.matchLabelKeys[{i}]", key, why))


def merge_label_keys(spec: Object, labels: Mapping[str, str]) -> None:
    """Write what the pod's own labels say into the selectors that name their keys, when a pod is made."""
    for name in ("podAffinity", "podAntiAffinity"):
        pods = (spec.get("affinity") or {}).get(name) or {}
        terms = [*(pods.get(_REQUIRED) or ())]
        terms += [term.get("podAffinityTerm") or {} for term in pods.get(_PREFERRED) or ()]
        for term in terms:
            _merge(term, "matchLabelKeys", "In", labels)
            _merge(term, "mismatchLabelKeys", "NotIn", labels)
    for constraint in spec.get("topologySpreadConstraints") or ():
        _merge(constraint, "matchLabelKeys", "In", labels)


def _merge(term: Object, field: str, operator: str, labels: Mapping[str, str]) -> None:
    selector = term.get("labelSelector")
    if not term.get(field) or selector is None:
        return
    found = [{"key": key, "operator": operator, "values": [labels[key]]} for key in term[field] if key in labels]
    if found:
        selector["matchExpressions"] = [*(selector.get("matchExpressions") or ()), *found]


# ---- spreading ----


def check_spreading(constraints: Sequence[Object], at: str, out: Errors) -> None:
    for i, constraint in enumerate(constraints):
        here = f"{at}[{i}]"
        skew, action = constraint.get("maxSkew", 0), constraint.get("whenUnsatisfiable") or ""
        if skew <= 0:
            out.append(invalid_value(f"{here}.maxSkew", skew, checks.NOT_POSITIVE))
        key = constraint.get("topologyKey") or ""
        if not key:
            out.append(status.required(f"{here}.topologyKey", "can not be empty"))
        checks.option(action, f"{here}.whenUnsatisfiable", _ACTIONS, out)
        if any((o.get("topologyKey"), o.get("whenUnsatisfiable")) == (key, action) for o in constraints[i + 1 :]):
            out.append(status.duplicate(f"{here}.{{topologyKey, whenUnsatisfiable}}", f"{{{key}, {action}}}"))
        domains = constraint.get("minDomains")
        if domains is not None:
            if domains <= 0:
                out.append(invalid_value(f"{here}.minDomains", domains, checks.NOT_POSITIVE))
            if action != "DoNotSchedule":
                why = f"can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"
                out.append(invalid_value(f"{here}.minDomains", domains, why))
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            checks.option(constraint.get(name), f"{here}.{name}", _POLICIES, out)
        if constraint.get("matchLabelKeys"):
            _check_label_keys(constraint, here, out)
        checks.selector(constraint.get("labelSelector"), f"{here}.labelSelector", out)


# ---- tolerations and gates ----


def check_effect(effect: str, at: str, out: Errors) -> None:
    """The effect of a taint."""
    checks.option(effect, at, EFFECTS, out)


def check_tolerations(tolerations: Sequence[Object], at: str, out: Errors) -> None:
    for i, toleration in enumerate(tolerations):
        here = f"{at}[{i}]"
        get = toleration.get
        key, operator, value, effect = (get(name) or "" for name in ("key", "operator", "value", "effect"))
        if key:
            checks.by(names.qualified_name, key, f"{here}.key", out)
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            out.append(invalid_value(f"{here}.operator", operator, why))
        if get("tolerationSeconds") is not None and effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            out.append(invalid_value(f"{here}.effect", effect, why))
        _check_toleration_value(operator, value, f"{here}.operator", out)
        if effect:
            check_effect(effect, f"{here}.effect", out)


def _check_toleration_value(operator: str, value: str, at: str, out: Errors) -> None:
    if operator in ("", "Equal"):
        if wrong := names.label_value(value):
            out.append(invalid_value(at, value, ";".join(wrong)))
    elif operator == "Exists":
        if value:
            out.append(invalid_value(at, value, "value must be empty when `operator` is 'Exists'"))
    else:
        known = _GATED_OPERATORS if operator in ("Lt", "Gt") else _OPERATORS
        out.append(status.not_supported(at, operator, known))


def check_gates(gates: Sequence[Object], at: str, out: Errors) -> None:
    """Scheduling gates."""
    seen: set[str] = set()
    for i, gate in enumerate(gates):
        name = gate.get("name") or ""
        checks.by(names.qualified_name, name, f"{at}[{i}]", out)
        if name in seen:
            out.append(status.duplicate(f"{at}[{i}]", name))
        seen.add(name)

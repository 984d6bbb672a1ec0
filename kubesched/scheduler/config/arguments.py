# SPDX-License-Identifier: Apache-2.0
"""What kube-scheduler refuses in the arguments of its plugins, in its words.

Sources: apis/config/validation/validation_pluginargs.go, component-helpers/scheduling/corev1/nodeaffinity, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kubesched.api import checks, names
from kubesched.scheduler.config.problems import Problem, duplicate, forbidden, invalid, not_supported, required
from kubesched.scheduler.config.schema import nanoseconds

Args = dict[str, Any]
STRATEGIES = ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio")
_SECOND = 10**9


def validate(plugin: str, args: Args, path: str) -> Iterator[Problem]:
    """Problems of a plugin's defaulted arguments."""
    rule = _RULES.get(plugin)
    if rule is not None:
        yield from rule(args, path)


def extended_resource_name(path: str, name: str) -> Iterator[Problem]:
    """Problems of the name of a resource that an extender manages."""
    found = names.qualified_name(name)
    yield from (invalid(path, name, text) for text in found)
    if not found and not checks.is_extended(name):
        yield invalid(path, name, "is an invalid extended resource name")


# ---- preemption, inter-pod affinity, volumes, devices ----


def _preemption(args: Args, path: str) -> Iterator[Problem]:
    share, least = args["minCandidateNodesPercentage"], args["minCandidateNodesAbsolute"]
    of_share, of_least = f"{path}.minCandidateNodesPercentage", f"{path}.minCandidateNodesAbsolute"
    if not 0 <= share <= 100:
        yield invalid(of_share, share, "not in valid range [0, 100]")
    if least < 0:
        yield invalid(of_least, least, "not in valid range [0, inf)")
    if share == 0 and least == 0:
        yield invalid(of_share, share, "cannot be zero at the same time as minCandidateNodesAbsolute")
        yield invalid(of_least, least, "cannot be zero at the same time as minCandidateNodesPercentage")


def _pod_affinity(args: Args, path: str) -> Iterator[Problem]:
    weight = args["hardPodAffinityWeight"]
    if not 0 <= weight <= 100:
        yield invalid(f"{path}.hardPodAffinityWeight", weight, "not in valid range [0, 100]")


def _volume_binding(args: Args, path: str) -> Iterator[Problem]:
    timeout = args["bindTimeoutSeconds"]
    if timeout < 0:
        detail = "invalid BindTimeoutSeconds, should not be a negative value"
        yield invalid(f"{path}.bindTimeoutSeconds", timeout, detail)
    if "shape" in args:
        detail = "unexpected field `shape`, remove it or turn on the feature gate StorageCapacityScoring"
        yield invalid(f"{path}.shape", args["shape"], detail)


def _dynamic_resources(args: Args, path: str) -> Iterator[Problem]:
    if nanoseconds(args["filterTimeout"]) < 0:
        yield invalid(f"{path}.filterTimeout", args["filterTimeout"], "must be zero or positive")
    if nanoseconds(args["bindingTimeout"]) < _SECOND:
        yield invalid(f"{path}.bindingTimeout", args["bindingTimeout"], "must be at least 1 second")


# ---- resources ----


def _fit(args: Args, path: str) -> Iterator[Problem]:
    for i, name in enumerate(args.get("ignoredResources") or ()):
        yield from (invalid(f"{path}.ignoredResources[{i}]", name, text) for text in names.qualified_name(name))
    for i, group in enumerate(args.get("ignoredResourceGroups") or ()):
        at = f"{path}.ignoredResourceGroups[{i}]"
        if "/" in group:
            yield invalid(at, group, "resource group name can't contain '/'")
        yield from (invalid(at, group, text) for text in names.qualified_name(group))
    yield from _strategy(args["scoringStrategy"], f"{path}.scoringStrategy")


def _strategy(strategy: Args, path: str) -> Iterator[Problem]:
    kind = strategy.get("type") or ""
    if kind not in STRATEGIES:
        yield not_supported(f"{path}.type", kind, STRATEGIES)
    for i, resource in enumerate(strategy["resources"]):
        if not 0 < resource["weight"] <= 100:
            detail = f"resource weight of {resource.get('name') or ''} not in valid range (0, 100]"
            yield invalid(f"{path}.resources[{i}].weight", resource["weight"], detail)
    ratio, at = strategy.get("requestedToCapacityRatio"), f"{path}.requestedToCapacityRatio"
    if kind != "RequestedToCapacityRatio":
        if ratio is not None:
            yield forbidden(at, "must be nil when type is not RequestedToCapacityRatio")
    elif ratio is None:
        yield required(at, "must be specified when type is RequestedToCapacityRatio")
    else:
        yield from _shape(ratio.get("shape") or [], f"{at}.shape")


def _shape(shape: list[Args], path: str) -> Iterator[Problem]:
    if not shape:
        yield required(path, "at least one point must be specified")
    used = [point.get("utilization") or 0 for point in shape]
    for i in range(1, len(used)):
        if used[i - 1] >= used[i]:
            yield invalid(f"{path}[{i}].utilization", used[i], "values must be sorted in increasing order")
            break
    for i, point in enumerate(shape):
        score = point.get("score") or 0
        if not 0 <= used[i] <= 100:
            yield invalid(f"{path}[{i}].utilization", used[i], "not in valid range [0, 100]")
        if not 0 <= score <= 10:
            yield invalid(f"{path}[{i}].score", score, "not in valid range [0, 10]")


def _balanced(args: Args, path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, resource in enumerate(args["resources"]):
        at, name = f"{path}.resources[{i}]", resource.get("name") or ""
        if name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        if resource["weight"] != 1:
            yield invalid(f"{at}.weight", resource["weight"], "must be 1")


# ---- topology spreading ----


def _spread(args: Args, path: str) -> Iterator[Problem]:
    kind, constraints = args["defaultingType"], args.get("defaultConstraints") or []
    if kind not in ("System", "List"):
        yield not_supported(f"{path}.defaultingType", kind, ("System", "List"))
    elif kind == "System" and constraints:
        yield invalid(f"{path}.defaultingType", kind, "when .defaultConstraints are not empty")
    seen: set[tuple[str, str]] = set()
    for i, constraint in enumerate(constraints):
        at = f"{path}.defaultConstraints[{i}]"
        yield from _constraint(constraint, at)
        pair = constraint.get("topologyKey") or "", constraint.get("whenUnsatisfiable") or ""
        if pair in seen:
            yield duplicate(at, f"{{{pair[0]}, {pair[1]}}}")
        seen.add(pair)


def _constraint(constraint: Args, path: str) -> Iterator[Problem]:
    skew, key = constraint.get("maxSkew") or 0, constraint.get("topologyKey") or ""
    action = constraint.get("whenUnsatisfiable") or ""
    if skew <= 0:
        yield invalid(f"{path}.maxSkew", skew, "not in valid range (0, inf)")
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from (invalid(f"{path}.topologyKey", key, text) for text in names.qualified_name(key))
    if not action:
        yield required(f"{path}.whenUnsatisfiable", "can not be empty")
    elif action not in ("DoNotSchedule", "ScheduleAnyway"):
        yield not_supported(f"{path}.whenUnsatisfiable", action, ("DoNotSchedule", "ScheduleAnyway"))
    if "labelSelector" in constraint:
        detail = "constraint must not define a selector, as they deduced for each pod"
        yield forbidden(f"{path}.labelSelector", detail)


# ---- added node affinity ----


def _node_affinity(args: Args, path: str) -> Iterator[Problem]:
    affinity, at = args.get("addedAffinity") or {}, f"{path}.addedAffinity"
    required_terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    inner = f"{at}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
    for i, term in enumerate(required_terms.get("nodeSelectorTerms") or ()):
        yield from _term(term, f"{inner}[{i}]")
    preferred = affinity.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    for i, item in enumerate(preferred):
        if item.get("weight"):
            yield from _term(item.get("preference") or {}, f"{at}.preferredDuringSchedulingIgnoredDuringExecution[{i}]")


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")


def _term(term: Args, path: str) -> Iterator[Problem]:
    for i, q in enumerate(term.get("matchExpressions") or ()):
        at, operator = f"{path}.matchExpressions[{i}]", q.get("operator") or ""
        if operator not in _OPERATORS:
            yield not_supported(f"{at}.operator", operator, _OPERATORS)
        else:
            yield from _requirement(q.get("key") or "", operator, q.get("values") or [], at)
    for i, q in enumerate(term.get("matchFields") or ()):
        at, operator, values = f"{path}.matchFields[{i}]", q.get("operator") or "", q.get("values") or []
        if operator not in ("In", "NotIn"):
            yield not_supported(f"{at}.operator", operator, ("In", "NotIn"))
        elif len(values) != 1:
            yield invalid(f"{at}.values", values, "must have one element")


def _requirement(key: str, operator: str, values: list[str], path: str) -> Iterator[Problem]:
    """Source: labels.NewRequirement."""
    yield from (invalid(f"{path}.key", key, text) for text in names.qualified_name(key))
    if operator in ("In", "NotIn") and not values:
        yield invalid(f"{path}.values", values, "for 'in', 'notin' operators, values set can't be empty")
    if operator in ("Exists", "DoesNotExist") and values:
        yield invalid(f"{path}.values", values, "values set must be empty for exists and does not exist")
    if operator in ("Gt", "Lt"):
        if len(values) != 1:
            yield invalid(f"{path}.values", values, "for 'Gt', 'Lt' operators, exactly one value is required")
        for i, value in enumerate(values):
            if not value.removeprefix("-").removeprefix("+").isdecimal():
                yield invalid(f"{path}.values[{i}]", value, "for 'Gt', 'Lt' operators, the value must be an integer")


_RULES: dict[str, Callable[[Args, str], Iterator[Problem]]] = {
    "DefaultPreemption": _preemption,
    "InterPodAffinity": _pod_affinity,
    "NodeAffinity": _node_affinity,
    "NodeResourcesBalancedAllocation": _balanced,
    "NodeResourcesFit": _fit,
    "PodTopologySpread": _spread,
    "VolumeBinding": _volume_binding,
    "DynamicResources": _dynamic_resources,
}

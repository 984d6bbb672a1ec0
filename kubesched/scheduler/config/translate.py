# SPDX-License-Identifier: Apache-2.0
"""From a configuration's plugins and arguments to a profile of the engine.

The engine runs a plugin's filter and what prepares it (preFilter) as one, and so score and preScore. A configuration
that tears them apart, or that needs something the engine lacks, is refused by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from kubesched.api.fields import View
from kubesched.framework.adapts import Adapts
from kubesched.framework.profile import Profile, ScorePlugin
from kubesched.scheduler import pods, selectors
from kubesched.scheduler.config.plugins import REGISTRY, Enabled
from kubesched.scheduler.config.problems import Problem, unimplemented
from kubesched.state import rows

Points = Mapping[str, Enabled]
Args = Mapping[str, dict[str, Any]]

_PAIRS = (("preFilter", "filter"), ("preScore", "score"))
_REJECT_EARLY = (
    "NodeAffinity",
    "VolumeRestrictions",
    "NodeVolumeLimits",
    "VolumeBinding",
    "VolumeZone",
    "DynamicResources",
)
"""Plugins that may end a decision in PreFilter, in the order in which they are asked."""
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_MOST_WEIGHT = 1_000_000
_MOST_BALANCED = 64


def unsupported(points: Points, args: Args, path: str) -> list[Problem]:
    """What kubesched does not implement of a valid profile."""
    out = list(_torn(points, path))
    out += _order(points, path)
    out += _reserve(points, path)
    for point in ("score", "placementScore"):
        for name, weight in points[point]:
            if not 1 <= weight <= _MOST_WEIGHT:
                out.append(unimplemented(f"{path}.plugins.{point}", f"weight {weight} of {name} (1 to {_MOST_WEIGHT})"))
    if [name for name, _ in points["score"]] == ["VolumeBinding"]:  # it counts, but scores nothing
        out.append(unimplemented(f"{path}.plugins.score", "VolumeBinding as the only plugin that scores"))
    balanced = args.get("NodeResourcesBalancedAllocation", {}).get("resources") or ()
    if len(balanced) > _MOST_BALANCED:
        out.append(unimplemented(f"{path}.pluginConfig", f"balancing over {_MOST_BALANCED} resources"))
    added = args.get("NodeAffinity", {}).get("addedAffinity") or {}
    return out + list(_affinity(added, f"{path}.pluginConfig[NodeAffinity].args.addedAffinity"))


def _affinity(added: dict[str, Any], path: str) -> Iterator[Problem]:
    """Fields beside metadata.name, which match nothing upstream, and weights that no pod may have."""
    terms = [(f"{path}.{_REQUIRED}", t) for t in (added.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()]
    preferred = added.get(_PREFERRED) or ()
    terms += [(f"{path}.{_PREFERRED}", item.get("preference") or {}) for item in preferred]
    for at, term in terms:
        for q in term.get("matchFields") or ():
            if q.get("key") != "metadata.name":
                yield unimplemented(at, f"matchFields on {q.get('key')!r}")
    for item in preferred:
        if not 0 <= (item.get("weight") or 0) <= 100:
            yield unimplemented(f"{path}.{_PREFERRED}", f"weight {item['weight']} (0 to 100)")


def _torn(points: Points, path: str) -> Iterator[Problem]:
    """Plugins at only one of two extension points that work together."""
    for first, second in _PAIRS:
        one, two = ({name for name, _ in points[point]} for point in (first, second))
        for name, known in REGISTRY.items():
            if first in known and second in known and (name in one) != (name in two):
                at, off = (first, second) if name in one else (second, first)
                yield unimplemented(f"{path}.plugins.{off}", f"{name} at {at} without {off}")


def _order(points: Points, path: str) -> Iterator[Problem]:
    """PreFilter asks in a fixed order who may end a decision."""
    asked = [name for name, _ in points["preFilter"] if name in _REJECT_EARLY]
    if asked != sorted(asked, key=_REJECT_EARLY.index):
        yield unimplemented(f"{path}.plugins.preFilter", f"the order {', '.join(asked)}")


def _reserve(points: Points, path: str) -> Iterator[Problem]:
    """What a pod takes is always reserved."""
    filters, on = ({name for name, _ in points[point]} for point in ("filter", "reserve"))
    for name in ("VolumeBinding", "DynamicResources"):
        if name in filters and name not in on:
            yield unimplemented(f"{path}.plugins.reserve", f"{name} at filter without reserve")


def profile(name: str, percentage: int, points: Points, args: Args) -> Profile:
    """The engine's profile; `unsupported` must be empty."""
    filters = tuple(plugin for plugin, _ in points["filter"])
    affinity = args.get("InterPodAffinity", {})
    spread = args.get("PodTopologySpread", {})
    return Profile(
        name=name,
        filters=filters,
        scores=tuple(_scores(points["score"], args)),
        summary="of a KubeSchedulerConfiguration",
        hard_pod_weight=affinity.get("hardPodAffinityWeight", 1),
        ignore_existing_terms=affinity.get("ignorePreferredTermsOfExistingPods", False),
        adapts=_adapts(_without(points), args.get("NodeResourcesFit", {}), args.get("NodeAffinity", {}), spread),
        evicts="DefaultPreemption" in {plugin for plugin, _ in points["postFilter"]},
        node_percentage=percentage,
        placement_scores=tuple(_placement_scores(points["placementScore"], args)),
        generates_placements=bool(points["placementGenerate"]),
        candidates=_candidates(args.get("DefaultPreemption", {})),
    )


def _candidates(given: Mapping[str, Any]) -> tuple[int, int]:
    return given.get("minCandidateNodesPercentage", 100), given.get("minCandidateNodesAbsolute", 0)


# ---- scores ----


def _scores(enabled: Enabled, args: Args) -> Iterator[ScorePlugin]:
    for name, weight in enabled:
        given = args.get(name, {})
        if name == "NodeResourcesFit":
            yield _fit(weight, given["scoringStrategy"])
        elif name == "NodeResourcesBalancedAllocation":
            resources = tuple((item["name"], item["weight"]) for item in given["resources"])
            yield ScorePlugin(name, weight, "v1.36", resources)
        elif name != "VolumeBinding":  # scores only with the feature gate StorageCapacityScoring, which is off
            yield ScorePlugin(name, weight)


def _placement_scores(enabled: Enabled, args: Args) -> Iterator[ScorePlugin]:
    """NodeResourcesFit packs placements whatever its strategy says of nodes; only the resources are the same."""
    for name, weight in enabled:
        if name == "NodeResourcesFit":
            fit = _fit(weight, args[name]["scoringStrategy"])
            yield replace(fit, variant="MostAllocated", shape=())
        else:
            yield ScorePlugin(name, weight)


def _fit(weight: int, strategy: dict[str, Any]) -> ScorePlugin:
    resources = tuple((item["name"], item["weight"]) for item in strategy["resources"])
    points = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
    shape = tuple((point.get("utilization") or 0, point.get("score") or 0) for point in points)
    return ScorePlugin("NodeResourcesFit", weight, strategy["type"], resources, shape)


# ---- what changes pods ----


def _adapts(without: tuple[str, ...], fit: dict[str, Any], affinity: dict[str, Any], spread: dict[str, Any]) -> Adapts:
    added = View(affinity, "NodeAffinityArgs").view("addedAffinity")
    required = selectors.terms(added.view(_REQUIRED).views("nodeSelectorTerms"))
    return Adapts(
        required_terms=required if added.has(_REQUIRED) else None,
        preferred_terms=tuple(
            rows.Term(selectors.requirements(term.view("preference")), term.integer("weight"))
            for term in added.views(_PREFERRED)
        ),
        ignored_resources=tuple(fit.get("ignoredResources") or ()),
        ignored_groups=tuple(fit.get("ignoredResourceGroups") or ()),
        default_spread=_default_spread(spread),
        without=without,
    )


def _without(points: Points) -> tuple[str, ...]:
    """Plugins that are off, of those that decide only some pods: these are refused."""
    on = {name for point in ("filter", "preEnqueue") for name, _ in points[point]}
    return tuple(name for name in ("SchedulingGates", *_REJECT_EARLY) if name not in on)


def _default_spread(spread: dict[str, Any]) -> tuple[rows.SpreadConstraint, ...] | None:
    """The listed constraints, their selectors still open; None for those of the system."""
    if spread.get("defaultingType", "System") == "System":
        return None
    return pods.listed_constraints(View(spread, "PodTopologySpreadArgs"))

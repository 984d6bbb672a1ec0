# SPDX-License-Identifier: Apache-2.0
"""The plugins of kube-scheduler 1.36: which there are, at which extension points, and what a profile makes of them.

Merging a profile with the default one, and expanding multiPoint, follow upstream step by step: their order decides in
which order filters run. Sources: apis/config/v1/default_plugins.go, framework/runtime/framework.go
(expandMultiPointPlugins), v1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubesched.scheduler.config.problems import Problem, invalid, nearest, shown
from kubesched.scheduler.config.schema import POINTS

Enabled = tuple[tuple[str, int], ...]
"""(plugin, weight) in order; weight 0 where there is none."""

REGISTRY: dict[str, tuple[str, ...]] = {
    "SchedulingGates": ("preEnqueue",),
    "PrioritySort": ("queueSort",),
    "NodeUnschedulable": ("filter",),
    "NodeName": ("filter",),
    "TaintToleration": ("filter", "preScore", "score"),
    "NodeAffinity": ("preFilter", "filter", "preScore", "score"),
    "NodePorts": ("preFilter", "filter"),
    "NodeResourcesFit": ("preFilter", "filter", "preScore", "score", "placementScore"),
    "VolumeRestrictions": ("preFilter", "filter"),
    "NodeVolumeLimits": ("preFilter", "filter"),
    "VolumeBinding": ("preFilter", "filter", "reserve", "preBind", "preScore", "score"),
    "VolumeZone": ("preFilter", "filter"),
    "PodTopologySpread": ("preFilter", "filter", "preScore", "score"),
    "InterPodAffinity": ("preFilter", "filter", "preScore", "score"),
    "DynamicResources": ("preEnqueue", "preFilter", "filter", "postFilter", "score", "reserve", "preBind"),
    "DefaultPreemption": ("preEnqueue", "postFilter"),
    "NodeResourcesBalancedAllocation": ("preScore", "score"),
    "ImageLocality": ("score",),
    "DefaultBinder": ("bind",),
    "NodeDeclaredFeatures": ("preFilter", "filter"),
    "GangScheduling": ("preEnqueue", "permit"),
    "TopologyPlacementGenerator": ("placementGenerate",),
    "PodGroupPodsCount": ("placementScore",),
}
"""In-tree plugins and the extension points that they implement."""

_DEFAULT_WEIGHTS = {
    "TaintToleration": 3,
    "NodeAffinity": 2,
    "NodeResourcesFit": 1,
    "PodTopologySpread": 2,
    "InterPodAffinity": 2,
    "DynamicResources": 2,
    "NodeResourcesBalancedAllocation": 1,
    "ImageLocality": 1,
}
_GATED = ("GangScheduling", "TopologyPlacementGenerator", "PodGroupPodsCount")
"""Known, but not enabled by default: their feature gates are off in 1.36."""
_INTERFACES = {point: f"{point[0].upper()}{point[1:]}Plugin" for point in POINTS}
REMOVED = ("AzureDiskLimits", "CinderLimits", "EBSLimits", "GCEPDLimits")
"""Plugins of older releases that v1 refuses."""


def default_plugins() -> dict[str, Any]:
    """The default ``plugins`` of a profile: everything through multiPoint."""
    enabled = []
    for name in REGISTRY:
        if name not in _GATED:
            weight = _DEFAULT_WEIGHTS.get(name)
            enabled.append({"name": name} | ({} if weight is None else {"weight": weight}))
    return {"multiPoint": {"enabled": enabled}}


# ---- merging with the defaults ----


def merged(custom: dict[str, Any] | None) -> dict[str, Any]:
    """``plugins`` of a profile on top of the default ones."""
    default = default_plugins()
    if custom is None:
        return default
    out = {}
    for point in ("multiPoint", *POINTS):
        found = _merged_set(default.get(point) or {}, custom.get(point) or {})
        if found:
            out[point] = found
    return out


def _merged_set(default: dict[str, Any], custom: dict[str, Any]) -> dict[str, Any]:
    disabled = [{"name": item["name"]} for item in custom.get("disabled") or ()]
    off = {item["name"] for item in disabled}
    given = custom.get("enabled") or []
    replaced: set[int] = set()
    enabled = []
    for item in default.get("enabled") or () if "*" not in off else ():
        if item["name"] in off:
            continue
        same = [i for i, mine in enumerate(given) if mine["name"] == item["name"]]
        if same:
            replaced.add(same[-1])
        enabled.append(given[same[-1]] if same else item)  # in the place of the default one
    enabled += [item for i, item in enumerate(given) if i not in replaced]
    return ({"enabled": enabled} if enabled else {}) | ({"disabled": disabled} if disabled else {})


def named(plugins: dict[str, Any]) -> list[str]:
    """Names that are enabled anywhere, sorted."""
    found = {item["name"] for point in plugins.values() for item in point.get("enabled") or ()}
    return sorted(found)


# ---- expanding multiPoint ----


def check_names(plugins: dict[str, Any], path: str) -> list[Problem]:
    """Plugins that do not exist, and plugins at extension points that they do not implement."""
    out = []
    for point, found in plugins.items():
        for i, item in enumerate(found.get("enabled") or ()):
            name, at = item["name"], f"{path}.{point}.enabled[{i}]"
            if name in REMOVED:
                continue  # the validation says so in its own words
            if name not in REGISTRY:
                interface = _INTERFACES.get(point, "plugin")
                out.append(Problem(at, f"{interface} {shown(name)} does not exist{nearest(name, REGISTRY)}"))
            elif point != "multiPoint" and point not in REGISTRY[name]:
                out.append(Problem(at, f"plugin {shown(name)} does not extend {_INTERFACES[point]} plugin"))
        out += _check_disabled(found, f"{path}.{point}")
    return out


def _check_disabled(found: dict[str, Any], path: str) -> Iterable[Problem]:
    """Upstream ignores unknown names here; a name that disables nothing is a typing error, and is refused."""
    for i, item in enumerate(found.get("disabled") or ()):
        name = item["name"]
        if name != "*" and name not in REGISTRY and name not in REMOVED:
            yield invalid(f"{path}.disabled[{i}]", name, f"plugin does not exist{nearest(name, REGISTRY)}")


def expanded(plugins: dict[str, Any], path: str) -> tuple[dict[str, Enabled], list[Problem]]:
    """Plugins of each extension point in the order in which they run.

    Returns
    -------
    tuple
        By extension point, and plugins that are registered twice.
    """
    problems: list[Problem] = []
    out: dict[str, Enabled] = {}
    wide = (plugins.get("multiPoint") or {}).get("enabled") or []
    for point in POINTS:
        found = plugins.get(point) or {}
        given = [item["name"] for item in found.get("enabled") or ()]
        problems += _twice(given, point, f"{path}.{point}")
        off = {item["name"] for item in found.get("disabled") or ()}
        shared = [
            item["name"]
            for item in (wide if "*" not in off else ())
            if point in REGISTRY[item["name"]] and item["name"] not in off
        ]
        problems += _twice([name for name in shared if name not in given], point, f"{path}.multiPoint")
        overrides = [name for name in given if name in shared]
        order = overrides + [name for name in shared if name not in given]
        order += [name for name in given if name not in overrides]
        weights = _weights(found, wide) if point in ("score", "placementScore") else {}
        out[point] = tuple((name, weights.get(name, 0)) for name in order)
    return out, problems


def _twice(names: list[str], point: str, path: str) -> Iterable[Problem]:
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(path, f"plugin {shown(name)} already registered as {shown(_INTERFACES[point])}")


def _weights(found: dict[str, Any], wide: list[dict[str, Any]]) -> dict[str, int]:
    """Weight of each plugin: the extension point's first, then multiPoint's; 0 means 1."""
    out: dict[str, int] = {}
    for item in (*(found.get("enabled") or ()), *wide):
        out.setdefault(item["name"], item.get("weight") or 1)
    return out


def check_config(name: str, path: str) -> list[Problem]:
    """Arguments for a plugin that does not exist."""
    if name in REGISTRY or name in REMOVED:
        return []
    return [invalid(path, name, f"plugin does not exist{nearest(name, REGISTRY)}")]


def check_points(points: dict[str, Enabled], scheduler: str, path: str) -> list[Problem]:
    """Extension points that need a plugin, or one at most. Source: NewFramework."""
    out = []
    of = f"profile with scheduler name {shown(scheduler)}"
    sorts = len(points["queueSort"])
    if sorts != 1:
        out.append(Problem(f"{path}.queueSort", f"only one queue sort plugin required for {of}, but got {sorts}"))
    if not points["bind"]:
        out.append(Problem(f"{path}.bind", f"at least one bind plugin is needed for {of}"))
    if len(points["placementGenerate"]) > 1:
        text = f"at most one placement generate plugin is allowed for {of}"
        out.append(Problem(f"{path}.placementGenerate", text))
    return out

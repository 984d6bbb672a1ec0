# SPDX-License-Identifier: Apache-2.0
"""What kube-scheduler fills in where a configuration is silent.

Sources: apis/config/v1/defaults.go, component-base/config/v1alpha1/defaults.go, v1.36.
"""

from __future__ import annotations

from typing import Any

from kubesched.scheduler.config import plugins
from kubesched.scheduler.config.schema import API_VERSION, KIND, args_structure

DEFAULT_SCHEDULER = "default-scheduler"
_RESOURCES = (("cpu", 1), ("memory", 1))


def apply(document: dict[str, Any]) -> dict[str, Any]:
    """A checked document with every default written out; the input is not modified."""
    given = _without_nulls(document)
    profiling = given.get("enableProfiling", True)
    out = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "parallelism": 16,
        "percentageOfNodesToScore": 0,
        "podInitialBackoffSeconds": 1,
        "podMaxBackoffSeconds": 10,
        "enableProfiling": True,
        "enableContentionProfiling": bool(profiling),
        "delayCacheUntilActive": False,
        **given,
        "clientConnection": _client(given.get("clientConnection") or {}),
        "leaderElection": _election(given.get("leaderElection") or {}),
    }
    profiles = given.get("profiles") or [{}]
    if len(profiles) == 1 and "schedulerName" not in profiles[0]:
        profiles = [{"schedulerName": DEFAULT_SCHEDULER, **profiles[0]}]
    out["profiles"] = [_profile(profile) for profile in profiles]
    return out


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _filled(given: dict[str, Any], **defaults: Any) -> dict[str, Any]:
    """Defaults for fields that are absent or have Go's zero value, as for fields that are no pointers."""
    return {**given, **{name: given.get(name) or default for name, default in defaults.items()}}


def _client(given: dict[str, Any]) -> dict[str, Any]:
    base = {"acceptContentTypes": "", "kubeconfig": "", **given}
    return _filled(base, contentType="application/vnd.kubernetes.protobuf", qps=50, burst=100)


def _election(given: dict[str, Any]) -> dict[str, Any]:
    out = _filled(
        {"leaderElect": True, **given},
        resourceLock="leases",
        resourceName="kube-scheduler",
        resourceNamespace="kube-system",
    )
    for name, default in (("leaseDuration", "15s"), ("renewDeadline", "10s"), ("retryPeriod", "2s")):
        if out.get(name, "0") in ("0", "0s", ""):
            out[name] = default
    return out


def _profile(given: dict[str, Any]) -> dict[str, Any]:
    merged = plugins.merged(given.get("plugins"))
    configs = [{**config, "args": _args(config)} for config in given.get("pluginConfig") or ()]
    known = {config["name"] for config in configs}
    more = [name for name in plugins.named(merged) if name not in known and args_structure(name) is not None]
    configs += [{"name": name, "args": _args({"name": name})} for name in more]
    return {**given, "plugins": merged, "pluginConfig": configs}


# ---- arguments ----


def _args(config: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a plugin with their defaults; unchanged for plugins that have none."""
    name, given = config["name"], config.get("args") or {}
    structure = args_structure(name)
    if structure is None:
        return dict(given)
    fill = _DEFAULTS.get(name)
    typed = {**given, "apiVersion": API_VERSION, "kind": structure}
    return typed if fill is None else fill(typed)


def _fit(given: dict[str, Any]) -> dict[str, Any]:
    if "scoringStrategy" not in given:
        return {**given, "scoringStrategy": {"type": "LeastAllocated", "resources": _weighted([])}}
    strategy = given["scoringStrategy"]
    return {**given, "scoringStrategy": {**strategy, "resources": _weighted(strategy.get("resources") or [])}}


def _weighted(given: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Resources with weight 1 where none is given; cpu and memory where there are no resources."""
    listed = given or [{"name": name, "weight": weight} for name, weight in _RESOURCES]
    return [{**resource, "weight": resource.get("weight") or 1} for resource in listed]


_DEFAULTS: dict[str, Any] = {
    "DefaultPreemption": lambda a: {"minCandidateNodesPercentage": 10, "minCandidateNodesAbsolute": 100, **a},
    "InterPodAffinity": lambda a: {"hardPodAffinityWeight": 1, "ignorePreferredTermsOfExistingPods": False, **a},
    "NodeResourcesFit": _fit,
    "NodeResourcesBalancedAllocation": lambda a: {**a, "resources": _weighted(a.get("resources") or [])},
    "PodTopologySpread": lambda a: _filled(a, defaultingType="System"),
    "VolumeBinding": lambda a: {"bindTimeoutSeconds": 600, **a},
    "DynamicResources": lambda a: {"filterTimeout": "10s", "bindingTimeout": "600s", **a},
}

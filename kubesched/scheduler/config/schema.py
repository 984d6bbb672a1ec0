# SPDX-License-Identifier: Apache-2.0
"""The fields of a KubeSchedulerConfiguration v1 file, and the strict check that nothing else is in it.

One table: a structure's fields and their types. A type is a name of ``_SCALARS``, a structure, ``[T]`` for a list,
``args`` for a plugin's arguments (checked with the plugin's own structure). Sources: kube-scheduler/config/v1/types.go,
types_pluginargs.go, component-base/config/v1alpha1, core/v1 (affinity, spread constraints), v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from kubesched.scheduler.config.problems import Problem, nearest, required, shown

API_VERSION = "kubescheduler.config.k8s.io/v1"
KIND = "KubeSchedulerConfiguration"
POINTS = (
    "preEnqueue",
    "queueSort",
    "preFilter",
    "filter",
    "postFilter",
    "preScore",
    "score",
    "reserve",
    "permit",
    "preBind",
    "bind",
    "postBind",
    "placementGenerate",
    "placementScore",
)
"""Extension points that a profile may configure, beside multiPoint."""

_ARGS = {"kind": "string", "apiVersion": "string"}
STRUCTURES: dict[str, dict[str, str]] = {
    KIND: {
        "kind": "string",
        "apiVersion": "string",
        "parallelism": "int32",
        "leaderElection": "LeaderElection",
        "clientConnection": "ClientConnection",
        "enableProfiling": "bool",
        "enableContentionProfiling": "bool",
        "percentageOfNodesToScore": "int32",
        "podInitialBackoffSeconds": "int64",
        "podMaxBackoffSeconds": "int64",
        "profiles": "[Profile]",
        "extenders": "[Extender]",
        "delayCacheUntilActive": "bool",
    },
    "LeaderElection": {
        "leaderElect": "bool",
        "leaseDuration": "duration",
        "renewDeadline": "duration",
        "retryPeriod": "duration",
        "resourceLock": "string",
        "resourceName": "string",
        "resourceNamespace": "string",
    },
    "ClientConnection": {
        "kubeconfig": "string",
        "acceptContentTypes": "string",
        "contentType": "string",
        "qps": "number",
        "burst": "int32",
    },
    "Profile": {
        "schedulerName": "string",
        "percentageOfNodesToScore": "int32",
        "plugins": "Plugins",
        "pluginConfig": "[PluginConfig]",
    },
    "Plugins": dict.fromkeys((*POINTS, "multiPoint"), "PluginSet"),
    "PluginSet": {"enabled": "[Plugin]", "disabled": "[Plugin]"},
    "Plugin": {"name": "string", "weight": "int32"},
    "PluginConfig": {"name": "string", "args": "args"},
    "Extender": {
        "urlPrefix": "string",
        "filterVerb": "string",
        "preemptVerb": "string",
        "prioritizeVerb": "string",
        "weight": "int64",
        "bindVerb": "string",
        "enableHTTPS": "bool",
        "tlsConfig": "ExtenderTLS",
        "httpTimeout": "duration",
        "nodeCacheCapable": "bool",
        "managedResources": "[ExtenderResource]",
        "ignorable": "bool",
    },
    "ExtenderTLS": {
        "insecure": "bool",
        "serverName": "string",
        "certFile": "string",
        "keyFile": "string",
        "caFile": "string",
        "certData": "string",
        "keyData": "string",
        "caData": "string",
    },
    "ExtenderResource": {"name": "string", "ignoredByScheduler": "bool"},
    # arguments of plugins
    "DefaultPreemptionArgs": {**_ARGS, "minCandidateNodesPercentage": "int32", "minCandidateNodesAbsolute": "int32"},
    "InterPodAffinityArgs": {**_ARGS, "hardPodAffinityWeight": "int32", "ignorePreferredTermsOfExistingPods": "bool"},
    "NodeResourcesFitArgs": {
        **_ARGS,
        "ignoredResources": "[string]",
        "ignoredResourceGroups": "[string]",
        "scoringStrategy": "ScoringStrategy",
    },
    "ScoringStrategy": {
        "type": "string",
        "resources": "[ResourceSpec]",
        "requestedToCapacityRatio": "RequestedToCapacityRatio",
    },
    "RequestedToCapacityRatio": {"shape": "[ShapePoint]"},
    "ResourceSpec": {"name": "string", "weight": "int64"},
    "ShapePoint": {"utilization": "int32", "score": "int32"},
    "PodTopologySpreadArgs": {**_ARGS, "defaultConstraints": "[SpreadConstraint]", "defaultingType": "string"},
    "NodeResourcesBalancedAllocationArgs": {**_ARGS, "resources": "[ResourceSpec]"},
    "VolumeBindingArgs": {**_ARGS, "bindTimeoutSeconds": "int64", "shape": "[ShapePoint]"},
    "NodeAffinityArgs": {**_ARGS, "addedAffinity": "NodeAffinity"},
    "DynamicResourcesArgs": {**_ARGS, "filterTimeout": "duration", "bindingTimeout": "duration"},
    # parts of core/v1
    "SpreadConstraint": {
        "maxSkew": "int32",
        "topologyKey": "string",
        "whenUnsatisfiable": "string",
        "labelSelector": "LabelSelector",
        "minDomains": "int32",
        "nodeAffinityPolicy": "string",
        "nodeTaintsPolicy": "string",
        "matchLabelKeys": "[string]",
    },
    "LabelSelector": {"matchLabels": "labels", "matchExpressions": "[Requirement]"},
    "Requirement": {"key": "string", "operator": "string", "values": "[string]"},
    "NodeAffinity": {
        "requiredDuringSchedulingIgnoredDuringExecution": "NodeSelector",
        "preferredDuringSchedulingIgnoredDuringExecution": "[PreferredTerm]",
    },
    "NodeSelector": {"nodeSelectorTerms": "[NodeTerm]"},
    "NodeTerm": {"matchExpressions": "[Requirement]", "matchFields": "[Requirement]"},
    "PreferredTerm": {"weight": "int32", "preference": "NodeTerm"},
}

_DURATION = re.compile(r"[-+]?(0|(\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)((\d+(\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h))*)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def _is_int(value: Any, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(1 << bits - 1) <= value < 1 << bits - 1


_SCALARS: dict[str, tuple[Any, str]] = {
    "string": (lambda v: isinstance(v, str), "a string"),
    "bool": (lambda v: isinstance(v, bool), "true or false"),
    "int32": (lambda v: _is_int(v, 32), "an integer of 32 bits"),
    "int64": (lambda v: _is_int(v, 64), "an integer of 64 bits"),
    "number": (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"),
    "duration": (lambda v: isinstance(v, str) and _DURATION.fullmatch(v) is not None, "a duration such as 15s"),
    "labels": (
        lambda v: isinstance(v, dict) and all(isinstance(x, str) for pair in v.items() for x in pair),
        "a mapping of strings",
    ),
}


def nanoseconds(text: str) -> int:
    """A checked duration, in nanoseconds."""
    sign = -1 if text.startswith("-") else 1
    parts = re.findall(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)", text)
    return sign * sum(int(float(number) * _UNITS[unit]) for number, unit in parts)


def check(document: Any) -> list[Problem]:
    """Another kind, unknown fields and values of the wrong type, in the order of the file; null counts as absent."""
    if not isinstance(document, dict):
        return [_wrong("", document, "a mapping")]
    for name, wanted in (("apiVersion", API_VERSION), ("kind", KIND)):
        given = document.get(name)
        if given != wanted:
            return [Problem(name, f"is {shown(given)}, expected {shown(wanted)}")]
    return list(_check(document, KIND, ""))


def args_structure(plugin: str) -> str | None:
    """Structure of a plugin's arguments, None if it has none."""
    name = f"{plugin}Args"
    return name if name in STRUCTURES else None


def _check(value: Any, kind: str, path: str) -> Iterator[Problem]:
    if value is None:
        return
    if kind.startswith("["):
        yield from _check_list(value, kind[1:-1], path)
    elif kind in _SCALARS:
        accepts, expected = _SCALARS[kind]
        if not accepts(value):
            yield _wrong(path, value, expected)
    elif not isinstance(value, dict):
        yield _wrong(path, value, "a mapping")
    elif kind != "args":  # those are checked where the plugin's name is known
        yield from _check_fields(value, kind, path)


def _check_list(value: Any, kind: str, path: str) -> Iterator[Problem]:
    if not isinstance(value, list):
        yield _wrong(path, value, "a list")
        return
    for i, item in enumerate(value):
        at = f"{path}[{i}]"
        if item is None:
            yield _wrong(at, item, _SCALARS[kind][1] if kind in _SCALARS else "a mapping")
        yield from _check(item, kind, at)


def _check_fields(value: dict[Any, Any], kind: str, path: str) -> Iterator[Problem]:
    fields = STRUCTURES[kind]
    for name, inner in value.items():
        at = f"{path}.{name}" if path else str(name)
        if name not in fields:
            yield Problem(at, f"unknown field{nearest(str(name), fields)}")
        else:
            yield from _check(inner, fields[name], at)
    if kind in ("Plugin", "PluginConfig") and not value.get("name"):
        yield required(f"{path}.name")
    if kind == "PluginConfig":
        yield from _check_args(value, path)


def _check_args(config: dict[str, Any], path: str) -> Iterator[Problem]:
    """Arguments of a plugin that has some; they may repeat their type, which must be the plugin's."""
    name, args = config.get("name"), config.get("args")
    structure = args_structure(name) if isinstance(name, str) else None
    if structure is None or not isinstance(args, dict):
        return
    yield from _check_fields(args, structure, f"{path}.args")
    if args.get("kind") not in (None, "", structure):
        yield Problem(f"{path}.args.kind", f"args for plugin {name} were not of type {structure}.{API_VERSION[:-3]}")
    if args.get("apiVersion") not in (None, "", API_VERSION):
        yield Problem(f"{path}.args.apiVersion", f"is {shown(args['apiVersion'])}, expected {shown(API_VERSION)}")


def _wrong(path: str, value: Any, expected: str) -> Problem:
    return Problem(path or "document", f"has the wrong type, got {shown(value)[:120]}, expected {expected}")

# SPDX-License-Identifier: Apache-2.0
"""What kube-scheduler refuses in a defaulted configuration, in its words.

Sources: apis/config/validation/validation.go, component-base/config/validation, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kubesched.scheduler.config import arguments, plugins
from kubesched.scheduler.config.problems import Problem, duplicate, invalid, required
from kubesched.scheduler.config.schema import API_VERSION, POINTS, nanoseconds


def validate(document: dict[str, Any]) -> list[Problem]:
    """Problems of a document that `defaulting.apply` has filled in."""
    out = [*_client(document["clientConnection"]), *_election(document["leaderElection"])]
    if document["parallelism"] <= 0:
        out.append(invalid("parallelism", document["parallelism"], "should be an integer value greater than zero"))
    out += _profiles(document["profiles"])
    out += _percentage(document, "percentageOfNodesToScore")
    first, most = document["podInitialBackoffSeconds"], document["podMaxBackoffSeconds"]
    if first <= 0:
        out.append(invalid("podInitialBackoffSeconds", first, "must be greater than 0"))
    if most < first:
        detail = "must be greater than or equal to PodInitialBackoffSeconds"
        out.append(invalid("podMaxBackoffSeconds", most, detail))
    return out + list(_extenders(document.get("extenders") or []))


def _client(client: dict[str, Any]) -> Iterator[Problem]:
    if client["burst"] < 0:
        yield invalid("clientConnection.burst", client["burst"], "must be non-negative")


def _election(election: dict[str, Any]) -> Iterator[Problem]:
    if not election["leaderElect"]:
        return
    path = "leaderElection"
    times = {name: nanoseconds(election[name]) for name in ("leaseDuration", "renewDeadline", "retryPeriod")}
    for name, time in times.items():
        if time <= 0:
            yield invalid(f"{path}.{name}", election[name], "must be greater than zero")
    if times["leaseDuration"] < times["renewDeadline"]:
        detail = "LeaseDuration must be greater than RenewDeadline"
        yield invalid(f"{path}.leaseDuration", election["renewDeadline"], detail)
    if election["resourceLock"] != "leases":
        yield invalid(f"{path}.resourceLock", election["resourceLock"], 'resourceLock value must be "leases"')


def _percentage(holder: dict[str, Any], path: str) -> Iterator[Problem]:
    value = holder.get("percentageOfNodesToScore")
    if value is not None and not 0 <= value <= 100:
        yield invalid(path, value, "not in valid range [0-100]")


# ---- profiles ----


def _profiles(profiles: list[dict[str, Any]]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    for i, profile in enumerate(profiles):
        path = f"profiles[{i}]"
        name = profile.get("schedulerName") or ""
        if not name:
            yield required(f"{path}.schedulerName")
        yield from _percentage(profile, f"{path}.percentageOfNodesToScore")
        yield from _removed(profile["plugins"], f"{path}.plugins")
        yield from _plugin_config(profile["pluginConfig"], path)
        if name in seen:
            yield duplicate(f"{path}.schedulerName", f"profiles[{seen[name]}].schedulerName")
        seen[name] = i
    yield from _queue_sort(profiles)


def _removed(found: dict[str, Any], path: str) -> Iterator[Problem]:
    for point in ("multiPoint", *POINTS):
        for i, item in enumerate((found.get(point) or {}).get("enabled") or ()):
            if item["name"] in plugins.REMOVED:
                yield invalid(f"{path}.{point}.enabled[{i}]", item["name"], _REMOVED)


_REMOVED = f'was invalid in version "{API_VERSION}" (KubeSchedulerConfiguration is version "{API_VERSION}")'


def _plugin_config(configs: list[dict[str, Any]], path: str) -> Iterator[Problem]:
    seen: set[str] = set()
    for i, config in enumerate(configs):
        at, name = f"{path}.pluginConfig[{i}]", config["name"]
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
        if name in plugins.REMOVED:
            yield invalid(at, name, _REMOVED)
        else:
            yield from arguments.validate(name, config["args"], f"{at}.args")


def _queue_sort(profiles: list[dict[str, Any]]) -> Iterator[Problem]:
    sets = [profile["plugins"].get("queueSort") or {} for profile in profiles]
    first = sets[0].get("enabled") or []
    if len(first) > 1:
        detail = "only one queue sort plugin can be enabled"
        yield invalid("profiles[0].plugins.queueSort.Enabled", len(first), detail)
    for i, found in enumerate(sets[1:], 1):
        if found != sets[0]:
            yield invalid(f"profiles[{i}].plugins.queueSort", found, "must be the same for all profiles")


# ---- extenders ----


def _extenders(extenders: list[dict[str, Any]]) -> Iterator[Problem]:
    managed: set[str] = set()
    for i, extender in enumerate(extenders):
        path, weight = f"extenders[{i}]", extender.get("weight") or 0
        if extender.get("prioritizeVerb") and weight <= 0:
            yield invalid(f"{path}.weight", weight, "must have a positive weight applied to it")
        for j, resource in enumerate(extender.get("managedResources") or ()):
            at, name = f"{path}.managedResources[{j}].name", resource.get("name") or ""
            yield from arguments.extended_resource_name(at, name)
            if name in managed:
                yield invalid(at, name, "duplicate extender managed resource name")
            managed.add(name)
    binders = sum(bool(extender.get("bindVerb")) for extender in extenders)
    if binders > 1:
        yield invalid(
            "extenders", f"found {binders} extenders implementing bind", "only one extender can implement bind"
        )

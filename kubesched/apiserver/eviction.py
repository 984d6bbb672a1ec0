# SPDX-License-Identifier: Apache-2.0
"""Evictions: deleting a pod if its disruption budget allows.

Source: pkg/registry/core/pod/storage/eviction.go, v1.36.
"""

from __future__ import annotations

import dataclasses
import datetime

from kubesched.api import meta, selectors, status
from kubesched.api.options import DeleteOptions
from kubesched.api.strategy import Object
from kubesched.apiserver.resource import Resource

_REFUSED = "Cannot evict pod as it would violate the pod's disruption budget."
_CAUSE = "DisruptionBudget"
_MAX_DISRUPTED = 2000
_RETRY_SECONDS = 10
_IGNORED = ("Succeeded", "Failed", "Pending")


async def evict(pods: Resource, budgets: Resource, namespace: str, name: str, options: DeleteOptions) -> None:
    """Delete a pod, or raise StatusError: 429 while a budget forbids it."""
    pod = pods.decode(await pods.get(namespace, name))
    state = pod.get("status") or {}
    if pod["metadata"].get("deletionTimestamp") or state.get("phase") in _IGNORED:
        pinned = state.get("phase") == "Pending" and not pod["metadata"].get("deletionTimestamp")
        await _delete(pods, pod, _pinned(options, pod) if pinned else options)
        return
    found = await _budgets_of(budgets, pod)
    if len(found) > 1:
        why = "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        raise status.StatusError(500, "", why)
    if found and not _may_ignore(pod, found[0]):
        await _spend(budgets, namespace, found[0]["metadata"]["name"], name, dry_run=options.dry_run)
    elif found:
        options = _pinned(options, pod)
    await _delete(pods, pod, options)


def _pinned(options: DeleteOptions, pod: Object) -> DeleteOptions:
    """Only if the pod is still as it was seen."""
    if options.revision is not None:
        return options
    return dataclasses.replace(options, revision=pod["metadata"]["resourceVersion"])


async def _budgets_of(budgets: Resource, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels") or {}
    found = []
    for budget in await budgets.all(pod["metadata"]["namespace"]):
        selector = (budget.get("spec") or {}).get("selector")
        if selector is not None and selectors.of_object(selector).matches(labels):
            found.append(budget)
    return found


def _may_ignore(pod: Object, budget: Object) -> bool:
    """A pod that does not work costs its budget nothing, if enough others do or the budget says so."""
    if meta.has_condition(pod, "Ready"):
        return False
    if (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy") == "AlwaysAllow":
        return True
    state = budget.get("status") or {}
    desired = state.get("desiredHealthy", 0)
    return desired > 0 and bool(state.get("currentHealthy", 0) >= desired)


async def _spend(budgets: Resource, namespace: str, name: str, pod: str, *, dry_run: bool) -> None:
    """Take one disruption from a budget."""

    def renew(live: Object) -> Object:
        _check(live, name)
        state = live["status"]
        state["disruptionsAllowed"] -= 1
        state.setdefault("disruptedPods", {})[pod] = meta.timestamp(budgets.now())
        return live

    await budgets.update(namespace, name, renew, subresource="status", dry_run=dry_run)


def _check(budget: Object, name: str) -> None:
    state = budget.setdefault("status", {})
    if state.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        why = f"The disruption budget {name} is still being processed by the server."
        raise status.too_many_requests(_REFUSED, _RETRY_SECONDS, [{"reason": _CAUSE, "message": why}])
    allowed = state.setdefault("disruptionsAllowed", 0)
    if allowed < 0:
        raise status.forbidden("policy", "poddisruptionbudget", name, "pdb disruptions allowed is negative")
    if len(state.get("disruptedPods") or {}) > _MAX_DISRUPTED:
        why = "DisruptedPods map too big - too many evictions not confirmed by PDB controller"
        raise status.forbidden("policy", "poddisruptionbudget", name, why)
    if not allowed:
        raise status.too_many_requests(_REFUSED, 0, [{"reason": _CAUSE, "message": _why(state, name)}])


def _why(state: Object, name: str) -> str:
    found = (item for item in state.get("conditions") or () if item.get("type") == "DisruptionAllowed")
    condition: Object = next(found, {})
    told = condition.get("message") if condition.get("status") == "False" else ""
    if told and condition.get("reason") == "SyncFailed":
        return f"The disruption budget {name} does not allow evicting pods currently because it failed sync: {told}"
    current, desired = state.get("currentHealthy", 0), state.get("desiredHealthy", 0)
    if current <= desired:
        return f"The disruption budget {name} needs {desired} healthy pods and has {current} currently"
    if told:
        return f"The disruption budget {name} does not allow evicting pods currently ({condition['reason']}): {told}"
    return f"The disruption budget {name} does not allow evicting pods currently"


async def _delete(pods: Resource, pod: Object, options: DeleteOptions) -> None:
    """Say on the pod that it is evicted, then delete it."""
    metadata = pod["metadata"]

    def mark(live: Object) -> Object:
        pods.check_preconditions(live, options)
        _add_condition(live, pods.now())
        return live

    if not options.dry_run:
        item = await pods.update(metadata["namespace"], metadata["name"], mark, subresource="status")
        if options.revision is not None and item.entry is not None:
            options = dataclasses.replace(options, revision=str(item.entry.revision))
    await pods.delete(metadata["namespace"], metadata["name"], options)


def _add_condition(pod: Object, now: datetime.datetime) -> None:
    if meta.has_condition(pod, "DisruptionTarget"):
        return
    told = {"reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting"}
    target = {"type": "DisruptionTarget", "status": "True", "lastProbeTime": None}
    meta.set_condition(pod, {**target, "lastTransitionTime": meta.timestamp(now), **told})

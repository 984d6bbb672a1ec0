# SPDX-License-Identifier: Apache-2.0
"""Workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions.

Source: pkg/apis/apps/v1/defaults.go, pkg/registry/apps, v1.36.
"""

from __future__ import annotations

import dataclasses

from kubesched.api import checks, columns, names, status
from kubesched.api.columns import at
from kubesched.api.groups import workloads
from kubesched.api.groups.core import podspec
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Scale, Strategy, fill, fill_empty


def _spec(obj: Object) -> Object:
    spec: Object = obj.setdefault("spec", {})
    podspec.default_template(spec.setdefault("template", {}))
    return spec


def _default_deployment(obj: Object) -> None:
    spec = _spec(obj)
    fill(spec, "replicas", 1)
    strategy = spec.setdefault("strategy", {})
    fill_empty(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        fill(rolling, "maxUnavailable", "25%")
        fill(rolling, "maxSurge", "25%")
    fill(spec, "revisionHistoryLimit", 10)
    fill(spec, "progressDeadlineSeconds", 600)


def _default_replica_set(obj: Object) -> None:
    fill(_spec(obj), "replicas", 1)


def _default_daemon_set(obj: Object) -> None:
    spec = _spec(obj)
    strategy = spec.setdefault("updateStrategy", {})
    fill_empty(strategy, "type", "RollingUpdate")
    if strategy["type"] == "RollingUpdate":
        rolling = strategy["rollingUpdate"] = strategy.get("rollingUpdate") or {}
        fill(rolling, "maxUnavailable", 1)
        fill(rolling, "maxSurge", 0)
    fill(spec, "revisionHistoryLimit", 10)


def _default_stateful_set(obj: Object) -> None:
    spec = _spec(obj)
    fill_empty(spec, "podManagementPolicy", "OrderedReady")
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        strategy["type"] = "RollingUpdate"
        fill(strategy, "rollingUpdate", {})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        fill(strategy["rollingUpdate"], "partition", 0)
    retention = spec["persistentVolumeClaimRetentionPolicy"] = spec.get("persistentVolumeClaimRetentionPolicy") or {}
    for when in ("whenDeleted", "whenScaled"):
        retention[when] = retention.get(when) or "Retain"
    fill(spec, "replicas", 1)
    fill(spec, "revisionHistoryLimit", 10)
    for claim in spec.get("volumeClaimTemplates") or ():
        fill(claim.setdefault("spec", {}), "volumeMode", "Filesystem")
        claim.setdefault("status", {}).setdefault("phase", "Pending")


# ---- revisions ----


def _validate_revision(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    checks.not_negative(obj, "", out, "revision")
    data = obj.get("data")
    if data is None:
        out.append(status.required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        out.append(status.required("data", "data must be a valid JSON object"))
    return out


def _validate_revision_update(new: Object, old: Object) -> list[FieldError]:
    out: list[FieldError] = []
    checks.not_negative(new, "", out, "revision")
    checks.unlike(new.get("data"), old.get("data"), "data", out)
    return out


_PARTS = {"status": dataclasses.replace(STATUS, validate=workloads.status_update)}


# ---- columns ----


def _ready_of_wanted(obj: Object) -> str:
    return f"{at(obj, 'status', 'readyReplicas') or 0}/{at(obj, 'spec', 'replicas') or 0}"


def _controller(obj: Object) -> str:
    for owner in obj["metadata"].get("ownerReferences") or ():
        if owner.get("controller"):
            group = owner.get("apiVersion", "").rpartition("/")[0]
            kind = owner["kind"].lower()
            return f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return "<none>"


_SELECTOR = columns.made("Selector", lambda obj: columns.selector(at(obj, "spec", "selector")), wide=True)
_TEMPLATE = columns.containers("spec", "template")

STRATEGIES: dict[str, Strategy] = {
    "deployments": Strategy(
        default=_default_deployment,
        validate=workloads.deployment,
        validate_update=workloads.deployment_update,
        parts=_PARTS,
        has_status=True,
        has_generation=True,
        scale=Scale(),
        columns=(
            columns.name(),
            columns.made("Ready", _ready_of_wanted, description="Number of the pod with ready state"),
            columns.number("Up-to-date", "status", "updatedReplicas"),
            columns.number("Available", "status", "availableReplicas"),
            columns.age(),
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    "replicasets": Strategy(
        default=_default_replica_set,
        validate=workloads.replica_set,
        validate_update=workloads.replica_set_update,
        parts=_PARTS,
        has_status=True,
        has_generation=True,
        scale=Scale(),
        select=lambda obj: {"status.replicas": str(at(obj, "status", "replicas") or 0)},
        selectable=("status.replicas",),
        columns=(
            columns.name(),
            columns.number("Desired", "spec", "replicas"),
            columns.number("Current", "status", "replicas"),
            columns.number("Ready", "status", "readyReplicas"),
            columns.age(),
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    "statefulsets": Strategy(
        default=_default_stateful_set,
        validate=workloads.stateful_set,
        validate_update=workloads.stateful_set_update,
        parts=_PARTS,
        has_status=True,
        has_generation=True,
        name_rule=names.label,
        scale=Scale(),
        columns=(
            columns.name(),
            columns.made("Ready", _ready_of_wanted, description="Number of the pod with ready state"),
            columns.age(),
            *_TEMPLATE,
        ),
    ),
    "daemonsets": Strategy(
        default=_default_daemon_set,
        validate=workloads.daemon_set,
        validate_update=workloads.daemon_set_update,
        parts=_PARTS,
        has_status=True,
        has_generation=True,
        columns=(
            columns.name(),
            columns.number("Desired", "status", "desiredNumberScheduled"),
            columns.number("Current", "status", "currentNumberScheduled"),
            columns.number("Ready", "status", "numberReady"),
            columns.number("Up-to-date", "status", "updatedNumberScheduled"),
            columns.number("Available", "status", "numberAvailable"),
            columns.made(
                "Node Selector", lambda obj: columns.labels(at(obj, "spec", "template", "spec", "nodeSelector"))
            ),
            columns.age(),
            *_TEMPLATE,
            _SELECTOR,
        ),
    ),
    "controllerrevisions": Strategy(
        validate=_validate_revision,
        validate_update=_validate_revision_update,
        columns=(
            columns.name(),
            columns.made("Controller", _controller, description="Controller of the object"),
            columns.number("Revision", "revision"),
            columns.age(),
        ),
    ),
}
"""By plural."""

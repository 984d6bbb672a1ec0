# SPDX-License-Identifier: Apache-2.0
"""Workloads: Deployments, ReplicaSets, StatefulSets, DaemonSets, ControllerRevisions.

Source: pkg/apis/apps/v1/defaults.go, pkg/apis/apps/validation, pkg/registry/apps, v1.36.
"""

from __future__ import annotations

from kubesched.api import columns, names, selectors, status
from kubesched.api.columns import at
from kubesched.api.groups.core import podspec
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Scale, Strategy, fill, fill_empty

_IMMUTABLE = "field is immutable"


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


# ---- validation ----


def _validate_workload(obj: Object) -> list[FieldError]:
    """What all have: a selector that selects the template's labels, and pods that are restarted always."""
    spec = obj.get("spec") or {}
    found = _validate_selector(spec)
    template = spec.get("template") or {}
    restart = at(template, "spec", "restartPolicy")
    if restart != "Always":
        found.append(status.not_supported("spec.template.spec.restartPolicy", restart, ["Always"]))
    if at(template, "spec", "activeDeadlineSeconds") is not None:
        kind = obj.get("kind", "")
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        found.append(status.forbidden_field("spec.template.spec.activeDeadlineSeconds", why))
    return found + _not_negative(spec, "replicas", "minReadySeconds", "revisionHistoryLimit")


def _validate_selector(spec: Object) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [status.required("spec.selector")]
    found = selectors.validate_object(selector, "spec.selector")
    if found:
        return found
    parsed = selectors.of_object(selector)
    if not parsed:
        return [status.invalid_value("spec.selector", selector, "empty selector is invalid for deployment")]
    labels = at(spec, "template", "metadata", "labels") or {}
    if not parsed.matches(labels):
        why = "`selector` does not match template `labels`"
        return [status.invalid_value("spec.template.metadata.labels", labels, why)]
    return []


def _not_negative(spec: Object, *fields: str) -> list[FieldError]:
    why = "must be greater than or equal to 0"
    return [status.invalid_value(f"spec.{name}", spec[name], why) for name in fields if (spec.get(name) or 0) < 0]


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    found = _validate_workload(new)
    if at(new, "spec", "selector") != at(old, "spec", "selector"):
        found.append(status.invalid_value("spec.selector", at(new, "spec", "selector"), _IMMUTABLE))
    return found


_STATEFUL_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def _validate_stateful_update(new: Object, old: Object) -> list[FieldError]:
    before, after = dict(old.get("spec") or {}), dict(new.get("spec") or {})
    for name in _STATEFUL_MUTABLE:
        before.pop(name, None)
        after.pop(name, None)
    if before != after:
        why = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        return [status.forbidden_field("spec", why)]
    return _validate_workload(new)


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
        validate=_validate_workload,
        validate_update=_validate_update,
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
        validate=_validate_workload,
        validate_update=_validate_update,
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
        validate=_validate_workload,
        validate_update=_validate_stateful_update,
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
        validate=_validate_workload,
        validate_update=_validate_update,
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
        columns=(
            columns.name(),
            columns.made("Controller", _controller, description="Controller of the object"),
            columns.number("Revision", "revision"),
            columns.age(),
        ),
    ),
}
"""By plural."""

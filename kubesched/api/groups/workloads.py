# SPDX-License-Identifier: Apache-2.0
"""What is wrong with what makes pods from a template: Deployments, ReplicaSets, StatefulSets, DaemonSets.

Source: pkg/apis/apps/validation/validation.go, v1.36.
"""

from __future__ import annotations

from kubesched.api import checks, gotext, names, selectors, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at
from kubesched.api.groups.core import claims, podrules
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_UNMATCHED = "`selector` does not match template `labels`"
_RETENTIONS = ["Retain", "Delete"]
_TEMPLATE = "spec.template"

_ROLLING = gotext.Struct({"MaxUnavailable": 0, "MaxSurge": 0})
_STRATEGY = gotext.Struct({"Type": "", "RollingUpdate": _ROLLING})
_PARTITION = gotext.Struct({"Partition": 0, "MaxUnavailable": None})
_STATEFUL_STRATEGY = gotext.Struct({"Type": "", "RollingUpdate": _PARTITION})


# ---- selectors and templates ----


def _selector(spec: Object, empty: str, out: Errors) -> bool:
    """Whether the selector can be read."""
    found, field = spec.get("selector"), "spec.selector"
    if found is None:
        out.append(status.required(field))
        return True
    wrong = selectors.validate_object(found, field)
    out.extend(wrong)
    if not found.get("matchLabels") and not found.get("matchExpressions"):
        out.append(invalid_value(field, found, empty))
    return not wrong


def labels_of(template: Object) -> dict[str, str] | None:
    """A template's labels as an error shows them."""
    found = at(template, "metadata", "labels")
    return dict(sorted(found.items())) if found else None


def _template(spec: Object, kind: str, out: Errors, checked: Object | None = None) -> None:
    """A template that fits its selector, whose pods are restarted always; ``checked`` is judged in its place."""
    template = spec.get("template") or {}
    found = spec.get("selector")
    if found is None or not selectors.of_object(found).matches(at(template, "metadata", "labels") or {}):
        out.append(invalid_value(f"{_TEMPLATE}.metadata.labels", labels_of(template), _UNMATCHED))
    podrules.check_template(template if checked is None else checked, _TEMPLATE, out)
    always_restarted(template, kind, out)


def always_restarted(template: Object, kind: str, out: Errors) -> None:
    """What only pods of Jobs may say."""
    spec = template.get("spec") or {}
    if spec.get("restartPolicy") != "Always":
        out.append(status.not_supported(f"{_TEMPLATE}.spec.restartPolicy", spec.get("restartPolicy") or "", ["Always"]))
    if spec.get("activeDeadlineSeconds") is not None:
        why = f"activeDeadlineSeconds in {kind} is not Supported"
        out.append(status.forbidden_field(f"{_TEMPLATE}.spec.activeDeadlineSeconds", why))


def _rolling(rolling: Object, field: str, out: Errors) -> None:
    for name in ("maxUnavailable", "maxSurge"):
        checks.count_or_percent(rolling.get(name), f"{field}.{name}", out)


# ---- Deployments and ReplicaSets ----


def deployment(obj: Object) -> list[FieldError]:
    """A Deployment."""
    out: Errors = []
    spec = obj.get("spec") or {}
    checks.not_negative(spec, "spec", out, "replicas")
    _replicated(spec, out)
    _deployment_strategy(spec.get("strategy") or {}, "spec.strategy", out)
    checks.not_negative(spec, "spec", out, "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None and deadline <= spec.get("minReadySeconds", 0):
        out.append(invalid_value("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds"))
    return out


def replica_set(obj: Object) -> list[FieldError]:
    """A ReplicaSet."""
    out: Errors = []
    spec = obj.get("spec") or {}
    checks.not_negative(spec, "spec", out, "replicas", "minReadySeconds")
    _replicated(spec, out)
    return out


def _replicated(spec: Object, out: Errors) -> None:
    if _selector(spec, "empty selector is invalid for deployment", out):
        _template(spec, "ReplicaSet", out)
    else:
        out.append(invalid_value("spec.selector", spec["selector"], "invalid label selector"))


def _deployment_strategy(strategy: Object, field: str, out: Errors) -> None:
    rolling = strategy.get("rollingUpdate")
    match strategy.get("type"):
        case "Recreate":
            if rolling is not None:
                why = "may not be specified when strategy `type` is 'Recreate'"
                out.append(status.forbidden_field(f"{field}.rollingUpdate", why))
        case "RollingUpdate":
            here = f"{field}.rollingUpdate"
            _rolling(rolling or {}, here, out)
            unavailable, surge = ((rolling or {}).get(name) for name in ("maxUnavailable", "maxSurge"))
            if checks.is_zero(unavailable) and checks.is_zero(surge):
                why = "may not be 0 when `maxSurge` is 0"
                out.append(invalid_value(f"{here}.maxUnavailable", unavailable or 0, why))
            checks.at_most_all(unavailable, f"{here}.maxUnavailable", out)
        case _:
            out.append(status.not_supported(field, _STRATEGY.show(strategy), ["Recreate", "RollingUpdate"]))


def deployment_update(new: Object, old: Object) -> list[FieldError]:
    return _with_fixed_selector(deployment(new), new, old)


def replica_set_update(new: Object, old: Object) -> list[FieldError]:
    return _with_fixed_selector(replica_set(new), new, old)


def _with_fixed_selector(out: Errors, new: Object, old: Object) -> Errors:
    checks.unlike(at(new, "spec", "selector"), at(old, "spec", "selector"), "spec.selector", out)
    return out


# ---- DaemonSets ----


def daemon_set(obj: Object) -> list[FieldError]:
    """A DaemonSet."""
    out: Errors = []
    spec = obj.get("spec") or {}
    found, template = spec.get("selector"), spec.get("template") or {}
    wrong = selectors.validate_object(found, "spec.selector")
    out.extend(wrong)
    labels = at(template, "metadata", "labels") or {}
    if found is None or (not wrong and not selectors.of_object(found).matches(labels)):
        out.append(invalid_value(f"{_TEMPLATE}.metadata.labels", labels_of(template), _UNMATCHED))
    if found is not None and not found.get("matchLabels") and not found.get("matchExpressions"):
        out.append(invalid_value("spec.selector", found, "empty selector is invalid for daemonset"))
    podrules.check_template(template, _TEMPLATE, out)
    always_restarted(template, "DaemonSet", out)
    checks.not_negative(spec, "spec", out, "minReadySeconds")
    _daemon_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy", out)
    checks.not_negative(spec, "spec", out, "revisionHistoryLimit")
    return out


def _daemon_strategy(strategy: Object, field: str, out: Errors) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    if kind not in ("OnDelete", "RollingUpdate"):
        out.append(status.not_supported(field, _STRATEGY.show(strategy), ["RollingUpdate", "OnDelete"]))
    if kind != "RollingUpdate":
        return
    if rolling is None:
        out.append(status.required(f"{field}.rollingUpdate"))
        return
    here = f"{field}.rollingUpdate"
    _rolling(rolling, here, out)
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    checks.at_most_all(unavailable, f"{here}.maxUnavailable", out)
    checks.at_most_all(surge, f"{here}.maxSurge", out)
    none_away, none_more = checks.is_zero(unavailable), checks.is_zero(surge)
    if not none_away and not none_more:
        out.append(invalid_value(f"{here}.maxSurge", surge, "may not be set when maxUnavailable is non-zero"))
    elif none_away and none_more:
        out.append(status.required(f"{here}.maxUnavailable", "cannot be 0 when maxSurge is 0"))


def daemon_set_update(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    return _with_fixed_selector(out, new, old) + daemon_set(new)


# ---- StatefulSets ----

_CHANGEABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)


def stateful_set(obj: Object) -> list[FieldError]:
    """A new StatefulSet."""
    return _stateful(obj.get("spec") or {}, new=True)


def _stateful(spec: Object, *, new: bool) -> list[FieldError]:
    """What cannot change later is judged when it is new."""
    out: Errors = []
    policy = spec.get("podManagementPolicy")
    if not policy:
        out.append(status.required("spec.podManagementPolicy"))
    elif policy not in ("OrderedReady", "Parallel"):
        out.append(invalid_value("spec.podManagementPolicy", policy, "must be 'OrderedReady' or 'Parallel'"))
    _stateful_strategy(spec.get("updateStrategy") or {}, "spec.updateStrategy", out)
    retention = spec.get("persistentVolumeClaimRetentionPolicy")
    if retention is not None:
        for name in ("whenDeleted", "whenScaled"):
            field = f"spec.persistentVolumeClaimRetentionPolicy.{name}"
            checks.option(retention.get(name) or "", field, _RETENTIONS, out)
    if new:
        for i, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
            claims.check_spec(claim.get("spec") or {}, f"spec.volumeClaimTemplates[{i}].spec", out)
    checks.not_negative(spec, "spec", out, "replicas", "minReadySeconds")
    if spec.get("ordinals") is not None:
        checks.not_negative(spec["ordinals"], "spec.ordinals", out, "start")
    if new and spec.get("serviceName"):
        checks.by(names.label, spec["serviceName"], "spec.serviceName", out)
    if _selector(spec, "empty selector is invalid for statefulset", out):
        _template(spec, "StatefulSet", out, _completed(spec))
    else:
        out.append(invalid_value("spec.selector", spec["selector"], ""))
        always_restarted(spec.get("template") or {}, "StatefulSet", out)
    return out


def _completed(spec: Object) -> Object:
    """The template as its pods will have it: with the volumes of the claims, and names of their own."""
    template = spec.get("template") or {}
    pod = {**(template.get("spec") or {})}
    pod.pop("subdomain", None)
    pod.pop("hostname", None)
    claimed = {
        claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates") or () if at(claim, "metadata", "name")
    }
    if claimed:
        own = [volume for volume in pod.get("volumes") or () if volume.get("name") not in claimed]
        added = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in sorted(claimed)]
        pod["volumes"] = added + own
    return {**template, "spec": pod}


def _stateful_strategy(strategy: Object, field: str, out: Errors) -> None:
    kind, rolling = strategy.get("type"), strategy.get("rollingUpdate")
    here = f"{field}.rollingUpdate"
    if not kind:
        out.append(status.required(field))
    elif kind == "OnDelete":
        if rolling is not None:
            why = "only allowed for updateStrategy 'RollingUpdate'"
            out.append(invalid_value(here, _PARTITION.show(rolling), why))
    elif kind != "RollingUpdate":
        why = "must be 'RollingUpdate' or 'OnDelete'"
        out.append(invalid_value(field, _STATEFUL_STRATEGY.show(strategy), why))
    elif rolling is not None:
        checks.not_negative(rolling, here, out, "partition")
        unavailable = rolling.get("maxUnavailable")
        if unavailable is not None:
            checks.count_or_percent(unavailable, f"{here}.maxUnavailable", out)
            if checks.is_zero(unavailable):
                out.append(invalid_value(f"{here}.maxUnavailable", unavailable, "cannot be 0"))
            checks.at_most_all(unavailable, f"{here}.maxUnavailable", out)


def stateful_set_update(new: Object, old: Object) -> list[FieldError]:
    out = _stateful(new.get("spec") or {}, new=False)
    before, after = dict(old.get("spec") or {}), dict(new.get("spec") or {})
    for name in _CHANGEABLE:
        before.pop(name, None)
        after.pop(name, None)
    if before != after:
        why = (
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
            "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
        )
        out.append(status.forbidden_field("spec", why))
    return out


# ---- status ----

_OF_REPLICAS = "cannot be greater than status.replicas"
_COUNTS = {
    "Deployment": (
        "observedGeneration replicas updatedReplicas readyReplicas availableReplicas unavailableReplicas "
        "terminatingReplicas collisionCount",
        "updatedReplicas readyReplicas availableReplicas",
    ),
    "ReplicaSet": (
        "replicas fullyLabeledReplicas readyReplicas availableReplicas observedGeneration terminatingReplicas",
        "fullyLabeledReplicas readyReplicas availableReplicas",
    ),
    "StatefulSet": (
        "replicas readyReplicas currentReplicas updatedReplicas availableReplicas observedGeneration collisionCount",
        "readyReplicas currentReplicas updatedReplicas availableReplicas",
    ),
    "DaemonSet": (
        "currentNumberScheduled numberMisscheduled desiredNumberScheduled numberReady observedGeneration "
        "updatedNumberScheduled numberAvailable numberUnavailable collisionCount",
        "",
    ),
    "ReplicationController": (
        "replicas fullyLabeledReplicas readyReplicas availableReplicas observedGeneration",
        "fullyLabeledReplicas readyReplicas availableReplicas",
    ),
}
"""Numbers of a status that are not negative, and those that count a part of its replicas."""


def status_update(new: Object, old: Object) -> list[FieldError]:
    """A write of the status of any of them."""
    out: Errors = []
    kind = new.get("kind") or ""
    after, before = new.get("status") or {}, old.get("status") or {}
    numbers, parts = (text.split() for text in _COUNTS[kind])
    checks.not_negative(after, "status", out, *numbers)
    for name in parts:
        if after.get(name, 0) > after.get("replicas", 0):
            out.append(invalid_value(f"status.{name}", after[name], _OF_REPLICAS))
    if "availableReplicas" in parts and after.get("availableReplicas", 0) > after.get("readyReplicas", 0):
        what = "status.readyReplicas" if kind == "StatefulSet" else "readyReplicas"
        out.append(
            invalid_value("status.availableReplicas", after["availableReplicas"], f"cannot be greater than {what}")
        )
    count = after.get("collisionCount") or 0
    if "collisionCount" in numbers and count < (before.get("collisionCount") or 0):
        out.append(invalid_value("status.collisionCount", count, "cannot be decremented"))
    return out

# SPDX-License-Identifier: Apache-2.0
"""What of a pod may change: by an update, through its ephemeral containers, by a resize, and in its status.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at as value_at
from kubesched.api.groups.core import containers, placing, podrules
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_CHANGEABLE = (
    "`spec.containers[*].image`",
    "`spec.initContainers[*].image`",
    "`spec.activeDeadlineSeconds`",
    "`spec.tolerations` (only additions to existing tolerations)",
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
)
_FIXED_ANNOTATIONS = {
    podrules.MIRROR: "mirror pod annotation",
    "container.apparmor.security.beta.kubernetes.io/": "AppArmor annotations",
}
_OWN_CONDITIONS = ("PodScheduled", "Ready", "Initialized")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def _annotations(new: Object, old: Object, out: Errors) -> None:
    """Annotations that say what the pod is stay what they were."""
    after, before = new["metadata"].get("annotations") or {}, old["metadata"].get("annotations") or {}
    for key in [*before, *(key for key in after if key not in before)]:
        what = next((text for start, text in _FIXED_ANNOTATIONS.items() if key.startswith(start)), "")
        if what and after.get(key) != before.get(key):
            verb = "remove or update" if key in before else "add"
            out.append(status.forbidden_field(f"metadata.annotations[{key}]", f"may not {verb} {what}"))


# ---- the pod itself ----


def validate(new: Object, old: Object) -> list[FieldError]:
    """An update of the whole pod."""
    out: Errors = []
    podrules.check_pod(new, out)
    _annotations(new, old, out)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    for part in ("containers", "initContainers"):
        if not containers.check_images(after.get(part) or (), before.get(part) or (), f"spec.{part}", out):
            return out
    if after == before or not _deadline(after, before, "spec.activeDeadlineSeconds", out):
        return out
    _tolerations(after.get("tolerations") or (), before.get("tolerations") or (), "spec.tolerations", out)
    known = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    for i, gate in enumerate(after.get("schedulingGates") or ()):
        if gate.get("name") not in known:
            why = f"only deletion is allowed, but found new scheduling gate '{gate.get('name', '')}'"
            out.append(status.forbidden_field(f"spec.schedulingGates[{i}].name", why))
    rest = _without_changeable(after, before)
    if before.get("schedulingGates"):
        _gated(rest, before, out)
    if rest != before:
        why = f"pod updates may not change fields other than {','.join(_CHANGEABLE)}\n{gotext.difference(before, rest)}"
        out.append(status.forbidden_field("spec", why))
    return out


def _deadline(after: Object, before: Object, at: str, out: Errors) -> bool:
    """A deadline may be set, and come nearer; False: the rest need not be looked at."""
    new, old = after.get("activeDeadlineSeconds"), before.get("activeDeadlineSeconds")
    if new is None:
        if old is not None:
            out.append(invalid_value(at, None, "must not update from a positive integer to nil value"))
        return True
    if not 0 <= new <= checks.MAX_INT32:
        out.append(invalid_value(at, new, checks.within(0, checks.MAX_INT32)))
        return False
    if old is not None and old < new:
        out.append(invalid_value(at, new, "must be less than or equal to previous value"))
        return False
    return True


def _tolerations(after: Sequence[Object], before: Sequence[Object], at: str, out: Errors) -> None:
    """Tolerations are added, and those that are there change in how long they hold."""

    def kept(toleration: Object) -> Object:
        return {name: value for name, value in toleration.items() if name != "tolerationSeconds"}

    there = [kept(toleration) for toleration in after]
    if any(kept(toleration) not in there for toleration in before):
        why = "existing toleration can not be modified except its tolerationSeconds"
        out.append(status.forbidden_field(at, why))
        return
    placing.check_tolerations(after, at, out)


def _put(target: Object, source: Object, name: str) -> None:
    """Set a field of a copy to what it was, in the place where it was."""
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _without_changeable(after: Object, before: Object) -> Object:
    """The new specification with what may change put back."""
    rest = dict(after)
    for part in ("containers", "initContainers"):
        if after.get(part):
            rest[part] = [dict(item) for item in after[part]]
            for mine, its in zip(rest[part], before[part], strict=True):
                _put(mine, its, "image")
    for name in ("activeDeadlineSeconds", "schedulingGates", "tolerations"):
        _put(rest, before, name)
    if before.get("terminationGracePeriodSeconds", 0) < 0 and rest.get("terminationGracePeriodSeconds") == 1:
        _put(rest, before, "terminationGracePeriodSeconds")
    return rest


def _gated(rest: Object, before: Object, out: Errors) -> None:
    """A pod that is not looked at yet may still be narrowed to fewer nodes."""
    selector, was = rest.get("nodeSelector") or {}, before.get("nodeSelector") or {}
    if any(selector.get(key) != value for key, value in was.items()):
        why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)"
        out.append(invalid_value("spec.nodeSelector", dict(sorted(selector.items())) or None, why))
    _put(rest, before, "nodeSelector")
    affinity, old = value_at(rest, "affinity", "nodeAffinity"), value_at(before, "affinity", "nodeAffinity")
    if affinity == old:
        return
    _narrowed(affinity or {}, old or {}, f"spec.affinity.nodeAffinity.{_REQUIRED}.nodeSelectorTerms", out)
    mine = {**(rest.get("affinity") or {})}
    _put(mine, before.get("affinity") or {}, "nodeAffinity")
    if mine or before.get("affinity") is not None:
        rest["affinity"] = mine
    else:
        rest.pop("affinity", None)


def _narrowed(affinity: Object, old: Object, at: str, out: Errors) -> None:
    """Required terms only get more requirements."""
    terms, was = (value_at(found, _REQUIRED, "nodeSelectorTerms") or [] for found in (affinity, old))
    shown = [placing.term_as_go(term) for term in terms]
    if was and len(terms) != len(was):
        why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed"
        out.append(invalid_value(at, shown or None, why))
        return
    for i, before in enumerate(was):
        if not _only_added(terms[i], before):
            why = "only additions are allowed (no mutations or deletions)"
            out.append(invalid_value(f"{at}[{i}]", shown[i], why))


def _only_added(term: Object, before: Object) -> bool:
    parts = ("matchExpressions", "matchFields")
    if not any(before.get(part) for part in parts):
        return not any(term.get(part) for part in parts)
    return all((term.get(part) or [])[: len(before.get(part) or ())] == (before.get(part) or []) for part in parts)


# ---- ephemeral containers ----


def validate_ephemeral(new: Object, old: Object) -> list[FieldError]:
    """Ephemeral containers are added, never changed or taken away."""
    if podrules.MIRROR in (old["metadata"].get("annotations") or ()):
        return [status.forbidden_field("", "static pods do not support ephemeral containers")]
    out: Errors = []
    podrules.check_pod(new, out)
    _annotations(new, old, out)
    field = "spec.ephemeralContainers"
    by_name = {item.get("name"): item for item in value_at(new, "spec", "ephemeralContainers") or ()}
    for item in value_at(old, "spec", "ephemeralContainers") or ():
        what = f"existing ephemeral containers {gotext.quote(item.get('name') or '')}"
        now = by_name.get(item.get("name"))
        if now is None:
            out.append(status.forbidden_field(field, f"{what} may not be removed\n"))
        elif now != item:
            out.append(status.forbidden_field(field, f"{what} may not be changed\n{gotext.difference(item, now)}"))
    return out


# ---- resize ----


def validate_resize(new: Object, old: Object) -> list[FieldError]:
    """Requests and limits of processors and memory; what else a resize says was put back before."""
    if podrules.MIRROR in (old["metadata"].get("annotations") or ()):
        return [status.forbidden_field("", "static pods cannot be resized")]
    if value_at(old, "spec", "os", "name") == "windows":
        return [status.forbidden_field("", "windows pods cannot be resized")]
    out: Errors = []
    podrules.check_pod(new, out)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    quality = value_at(old, "status", "qosClass") or podrules.quality(before)
    if quality != podrules.quality(after):
        out.append(invalid_value("spec", quality, "Pod QOS Class may not change as a result of resizing"))
    running = [
        item for item in value_at(old, "status", "containerStatuses") or () if value_at(item, "state", "running")
    ]
    if running and running[0].get("resources") is None:
        out.append(status.forbidden_field("spec", "Pod running on node without support for resize"))
    for part in ("initContainers", "containers"):
        pairs = zip(after.get(part) or (), before.get(part) or (), strict=True)
        for i, (mine, its) in enumerate(pairs):
            if part == "containers" or its.get("restartPolicy") == "Always":
                _resized(mine, its, f"spec.{part}[{i}]", out)
            elif mine != its:
                why = "resources for non-sidecar init containers are immutable"
                out.append(status.forbidden_field("spec", why))
    return out


def _resized(container: Object, old: Object, at: str, out: Errors) -> None:
    after, before = container.get("resources") or {}, old.get("resources") or {}
    for part in ("requests", "limits"):
        if (before.get(part) or {}).keys() - (after.get(part) or {}).keys():
            why = f"resource {part} cannot be removed"
            out.append(status.forbidden_field(f"{at}.resources.{part}", why))
    if _other_resources(after) != _other_resources(before):
        if at.startswith("spec.initContainers"):
            why = "only cpu and memory resources for init or sidecar containers are mutable"
            out.append(status.forbidden_field(at, why))
        else:
            out.append(status.forbidden_field("spec", "only cpu and memory resources are mutable"))


def _other_resources(resources: Object) -> list[Any]:
    parts = [resources.get(part) or {} for part in ("requests", "limits")]
    plain = [{name: text for name, text in part.items() if name not in ("cpu", "memory")} for part in parts]
    return [*plain, resources.get("claims") or []]


# ---- status ----


def validate_status(new: Object, old: Object) -> list[FieldError]:
    """A write of the status."""
    out: Errors = []
    _annotations(new, old, out)
    after, before = new.get("status") or {}, old.get("status") or {}
    for i, condition in enumerate(after.get("conditions") or ()):
        if condition.get("observedGeneration", 0) < 0:
            field = f"status.conditions[{i}].observedGeneration"
            out.append(invalid_value(field, condition["observedGeneration"], "must be a non-negative integer"))
        if condition.get("type") not in _OWN_CONDITIONS:
            checks.by(names.qualified_name, condition.get("type") or "", f"status.conditions[{i}].Type", out)
    node = after.get("nominatedNodeName") or ""
    if node and node != before.get("nominatedNodeName"):
        checks.by(names.subdomain, node, "status.nominatedNodeName", out)
        if value_at(old, "spec", "nodeName"):
            why = "may not be set on pods that are already bound to a node"
            out.append(status.forbidden_field("status.nominatedNodeName", why))
    if after.get("observedGeneration", 0) < 0:
        why = "must be a non-negative integer"
        out.append(invalid_value("status.observedGeneration", after["observedGeneration"], why))
    if (quality := after.get("qosClass") or "") != (before.get("qosClass") or ""):
        out.append(invalid_value("status.qosClass", quality, checks.IMMUTABLE))
    _no_return(after, before, old.get("spec") or {}, out)
    for name in ("podIPs", "hostIPs"):
        _addresses(after, before, name, out)
    return out


def _no_return(after: Object, before: Object, spec: Object, out: Errors) -> None:
    """A container that ended and is not restarted stays ended."""
    by_name = {container.get("name"): container for container in spec.get("containers") or ()}
    every = [rule for found in by_name.values() for rule in found.get("restartPolicyRules") or ()]
    if any(rule.get("action") == "RestartAllContainers" for rule in every):
        return
    now = {item.get("name"): item for item in after.get("containerStatuses") or ()}
    for i, was in enumerate(before.get("containerStatuses") or ()):
        ended, current = value_at(was, "state", "terminated"), now.get(was.get("name"))
        if ended is None or current is None or value_at(current, "state", "terminated") is not None:
            continue
        container = by_name.get(was.get("name"))
        if container is None or not _restarts(container, spec, ended.get("exitCode", 0)):
            field = f"status.containerStatuses[{i}].state"
            out.append(status.forbidden_field(field, "may not be transitioned to non-terminated state"))


def _restarts(container: Object, spec: Object, code: int) -> bool:
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return True
    policy = container.get("restartPolicy") or spec.get("restartPolicy")
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def _addresses(after: Object, before: Object, name: str, out: Errors) -> None:
    found = [item.get("ip") or "" for item in after.get(name) or ()]
    known = {item.get("ip") for item in before.get(name) or ()}
    if name == "hostIPs" and found and found[0] != (after.get("hostIP") or ""):
        out.append(invalid_value("status.hostIPs[0].ip", found[0], "must be equal to `hostIP`"))
    for i, text in enumerate(found):
        if text not in known:
            checks.by(checks.address_errors, text, f"status.{name}[{i}]", out)
    if len(found) > 2 or not checks.two_families(found):
        shown = [{"IP": text} for text in found]
        out.append(invalid_value(f"status.{name}", shown, "may specify no more than one IP for each IP family"))

# SPDX-License-Identifier: Apache-2.0
"""ResourceClaims, ResourceClaimTemplates, DeviceClasses and ResourceSlices to rows, and what pods ask of them.

API versions from v1beta1 on are read; what the API server would default is filled in.
Source: api/resource/v1, dynamic-resource-allocation/resourceclaim, v1.36.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from typing import Any

from kubesched.api import fields, quantity
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.scheduler import selectors
from kubesched.scheduler.device_selectors import CelSelectors
from kubesched.state import claim_rows, rows

KINDS = ("ResourceClaim", "ResourceClaimTemplate", "DeviceClass", "ResourceSlice")
_EXTENDED = "resource.kubernetes.io/extended-resource-claim"


def devices(objects: Sequence[dict[str, Any]]) -> claim_rows.Devices:
    """Everything that claims are decided on; other kinds are left alone.

    Raises
    ------
    InputError
        A field is wrong.
    UnsupportedError
        An object needs a feature that 1.36 leaves off.
    """
    for obj in objects:
        if obj.get("kind") == "DeviceTaintRule":
            raise errors.UnsupportedError(
                fields.of(obj).owner, "needs the feature gate DRADeviceTaintRules, which is off"
            )
    views = [fields.of(obj) for obj in objects if obj.get("kind") in KINDS]
    cel = CelSelectors()
    out = claim_rows.Devices(cel)
    by_kind: dict[str, list[View]] = {kind: [] for kind in KINDS}
    for view in views:
        by_kind[str(view.data.get("kind"))].append(view)
    out.classes = tuple(map(_class, by_kind["DeviceClass"]))
    if any(one.selectors for one in out.classes):
        cel.load()
    out.slices = tuple(_slice(view) for view in by_kind["ResourceSlice"])
    out.claims = tuple(_claim(view) for view in by_kind["ResourceClaim"])
    out.templates = {_key(view): _spec(view.view("spec").view("spec")) for view in by_kind["ResourceClaimTemplate"]}
    return out


def _namespace(obj: View) -> str:
    return obj.view("metadata").text("namespace") or "default"


def _key(obj: View) -> str:
    return f"{_namespace(obj)}/{obj.view('metadata').text('name')}"


def _amounts(view: View, name: str) -> claim_rows.Amounts:
    """A mapping of names to quantities."""
    found = view.view(name).data
    return tuple(sorted((str(key), _nano(value, f"{view.where(name)}.{key}")) for key, value in found.items()))


def _nano(value: Any, where: str) -> int:
    return quantity.read_nano(value, where)


def _optional(view: View, name: str) -> int | None:
    return _nano(view.data[name], view.where(name)) if view.has(name) else None


# ---- classes ----


def _class(obj: View) -> claim_rows.DeviceClass:
    metadata, spec = obj.view("metadata"), obj.view("spec")
    return claim_rows.DeviceClass(
        metadata.text("name"), _selectors(spec), spec.text("extendedResourceName"), metadata.text("creationTimestamp")
    )


def _selectors(view: View) -> tuple[str | None, ...]:
    return tuple(one.view("cel").text("expression") if one.has("cel") else None for one in view.views("selectors"))


# ---- slices ----


def _slice(obj: View) -> claim_rows.Slice:
    spec = obj.view("spec")
    pool = spec.view("pool")
    driver = spec.text("driver")
    return claim_rows.Slice(
        name=obj.view("metadata").text("name"),
        driver=driver,
        pool=pool.text("name"),
        generation=pool.integer("generation"),
        n_slices=pool.integer("resourceSliceCount", 1),
        devices=tuple(_device(view, driver) for view in spec.views("devices")),
        where=_choice(spec),
        per_device=spec.flag("perDeviceNodeSelection"),
        counters=tuple((view.text("name"), _counters(view.view("counters"))) for view in spec.views("sharedCounters")),
    )


def _choice(view: View) -> claim_rows.NodeChoice:
    selector = (
        selectors.terms(view.view("nodeSelector").views("nodeSelectorTerms")) if view.has("nodeSelector") else None
    )
    return claim_rows.NodeChoice(view.text("nodeName") or None, view.flag("allNodes"), selector)


def _counters(view: View) -> claim_rows.Amounts:
    return tuple(sorted((name, _value(view.view(name))) for name in view.data))


def _value(view: View) -> int:
    if not view.has("value"):
        raise view.missing("value", quantity.EXPECTED)
    return _nano(view.data["value"], view.where("value"))


def _device(device: View, driver: str) -> claim_rows.Device:
    view = device.view("basic") if device.has("basic") else device  # v1beta1 nests
    if view.has("nodeAllocatableResourceMappings"):
        where = view.where("nodeAllocatableResourceMappings")
        raise errors.UnsupportedError(where, "needs the feature gate DRANodeAllocatableResources, which is off")
    content = claim_rows.Content(
        driver=driver,
        attributes=_attributes(view.view("attributes")),
        capacity=_capacity(view.view("capacity")),
        is_shared=view.flag("allowMultipleAllocations"),
        counters=tuple(
            (one.text("counterSet"), _counters(one.view("counters"))) for one in view.views("consumesCounters")
        ),
        taints=tuple(
            claim_rows.DeviceTaint(one.text("key"), one.text("value"), one.text("effect"))
            for one in view.views("taints")
        ),
        binds=view.has("bindingConditions"),
        binds_to_node=view.flag("bindsToNode"),
    )
    return claim_rows.Device(device.text("name"), content, _choice(view))


def _attributes(view: View) -> tuple[tuple[str, claim_rows.Value], ...]:
    return tuple(sorted((name, _attribute(view.view(name))) for name in view.data))


def _attribute(view: View) -> claim_rows.Value:
    if view.has("int"):
        return ("int", view.integer("int"))
    if view.has("bool"):
        return ("bool", view.flag("bool"))
    for kind in ("string", "version"):
        if view.has(kind):
            return (kind, view.text(kind))
    for kind in ("ints", "bools", "strings", "versions"):
        if view.has(kind):
            raise errors.UnsupportedError(
                view.where(kind), "needs the feature gate DRAListTypeAttributes, which is off"
            )
    return ("", "")


def _capacity(view: View) -> tuple[tuple[str, claim_rows.Capacity], ...]:
    out = []
    for name, value in sorted(view.data.items()):
        if isinstance(value, dict):
            one = view.view(name)
            out.append((name, claim_rows.Capacity(_value(one), _policy(one))))
        else:
            out.append((name, claim_rows.Capacity(_nano(value, view.where(name)))))
    return tuple(out)


def _policy(capacity: View) -> claim_rows.RequestPolicy | None:
    if not capacity.has("requestPolicy"):
        return None
    policy = capacity.view("requestPolicy")
    limits = policy.view("validRange")
    where = policy.where("validValues")
    values = tuple(_nano(value, where) for value in policy.data.get("validValues") or ())
    return claim_rows.RequestPolicy(
        default=_optional(policy, "default"),
        has_range=policy.has("validRange"),
        least=_optional(limits, "min"),
        most=_optional(limits, "max"),
        step=_optional(limits, "step"),
        values=values if policy.has("validValues") else None,
    )


# ---- claims ----


def _claim(obj: View) -> claim_rows.ClaimRow:
    metadata, status = obj.view("metadata"), obj.view("status")
    owners = [owner for owner in metadata.views("ownerReferences") if owner.flag("controller")]
    return claim_rows.ClaimRow(
        namespace=_namespace(obj),
        name=metadata.text("name"),
        spec=_spec(obj.view("spec")),
        allocation=_allocation(status) if status.has("allocation") else None,
        reserved_for=tuple(one.text("uid") for one in status.views("reservedFor")),
        owner=owners[0].text("uid") if owners else "",
        is_deleted=metadata.has("deletionTimestamp"),
        is_extended=metadata.view("annotations").text(_EXTENDED) == "true",
    )


def _spec(spec: View) -> claim_rows.ClaimSpec:
    devices_ = spec.view("devices")
    return claim_rows.ClaimSpec(
        tuple(map(_claim_request, devices_.views("requests"))),
        tuple(map(_constraint, devices_.views("constraints"))),
    )


def _claim_request(view: View) -> claim_rows.ClaimRequest:
    name = view.text("name")
    alternatives = tuple(_request(one, one.text("name")) for one in view.views("firstAvailable"))
    exactly = None
    if view.has("exactly"):
        exactly = _request(view.view("exactly"), name)
    elif view.has("deviceClassName"):  # v1beta1 is flat
        exactly = _request(view, name)
    return claim_rows.ClaimRequest(name, exactly, alternatives)


def _request(view: View, name: str) -> claim_rows.Request:
    mode = view.text("allocationMode") or claim_rows.EXACT_COUNT
    return claim_rows.Request(
        name=name,
        device_class=view.text("deviceClassName"),
        selectors=_selectors(view),
        mode=mode,
        count=view.integer("count") or 1,
        admin=view.flag("adminAccess"),
        tolerations=tuple(
            claim_rows.DeviceToleration(
                one.text("key"), one.text("operator") or "Equal", one.text("value"), one.text("effect")
            )
            for one in view.views("tolerations")
        ),
        capacity=_amounts(view.view("capacity"), "requests"),
    )


def _constraint(view: View) -> claim_rows.Constraint:
    requests = view.texts("requests")
    if view.has("matchAttribute"):
        return claim_rows.Constraint(view.text("matchAttribute"), requests)
    kind = "distinct" if view.has("distinctAttribute") else ""
    return claim_rows.Constraint(view.text("distinctAttribute"), requests, kind)


def _allocation(status: View) -> claim_rows.Allocation:
    view = status.view("allocation")
    results = list(view.view("devices").views("results"))
    readiness = _readiness(results, status)
    selector = (
        selectors.terms(view.view("nodeSelector").views("nodeSelectorTerms")) if view.has("nodeSelector") else None
    )
    return claim_rows.Allocation(
        devices=tuple(_held(one) for one in results),
        terms=selector,
        has_failed=readiness == _FAILED,
        waits_since=_time(view, "allocationTimestamp") if readiness == _WAITS else None,
    )


def allocation_object(allocation: claim_rows.Allocation) -> dict[str, Any]:
    """An allocation as the ``status.allocation`` of its claim; shares have no ids yet, as before they are written."""
    results = []
    for held in allocation.devices:
        driver, pool, device = held.device
        result: dict[str, Any] = {"request": held.request, "driver": driver, "pool": pool, "device": device}
        if held.admin:
            result["adminAccess"] = True
        if held.consumed:
            result["consumedCapacity"] = {name: quantity.text(amount) for name, amount in held.consumed}
        results.append(result)
    out: dict[str, Any] = {"devices": {"results": results}}
    if allocation.terms is not None:
        out["nodeSelector"] = {"nodeSelectorTerms": [selectors.term_object(term) for term in allocation.terms]}
    return out


def _id(view: View) -> claim_rows.DeviceId:
    return (view.text("driver"), view.text("pool"), view.text("device"))


def _held(view: View) -> claim_rows.Held:
    return claim_rows.Held(
        request=view.text("request"),
        device=_id(view),
        admin=view.flag("adminAccess"),
        is_share=view.has("shareID"),
        consumed=_amounts(view, "consumedCapacity"),
    )


_READY, _WAITS, _FAILED = "ready", "waits", "failed"


def _readiness(results: Sequence[View], status: View) -> str:
    """Whether devices with binding conditions are ready; the first that is not decides.

    Source: plugins/dynamicresources isClaimReadyForBinding, v1.36.
    """
    for result in results:
        wanted = result.texts("bindingConditions")
        if not wanted:
            continue
        met = _met(result, status)
        if met is None:
            return _WAITS
        if not met.isdisjoint(result.texts("bindingFailureConditions")):
            return _FAILED
        if not met.issuperset(wanted):
            return _WAITS
    return _READY


def _met(result: View, status: View) -> set[str] | None:
    """Conditions of a device that are true; None: its driver has not reported on it."""
    for device in status.views("devices"):
        if _id(device) == _id(result) and device.text("shareID") == result.text("shareID"):
            return {c.text("type") for c in device.views("conditions") if c.text("status") == "True"}
    return None


def _time(view: View, name: str) -> float | None:
    """A time as seconds since 1970; None: there is none."""
    text = view.text(name)
    if not text:
        return None
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise errors.InputError(view.where(name), "is not a time", text, "RFC 3339") from None


# ---- pods ----


def of_pod(pod: View, cluster: str) -> rows.PodDevices | None:
    """What a pod asks of claims, and of extended resources that devices may stand in for.

    Raises
    ------
    UnsupportedError
        It has claims and is part of a fleet.
    """
    metadata, spec = pod.view("metadata"), pod.view("spec")
    claims = tuple(_pod_claim(pod, view) for view in spec.views("resourceClaims"))
    containers = tuple(_containers(spec))
    if not any(one.amounts for one in containers):
        containers = ()
    if not claims and not containers:
        return None
    if claims and cluster:
        raise errors.UnsupportedError(pod.owner, "has resource claims, which a fleet does not support", cluster)
    name = f"{_namespace(pod)}/{metadata.text('name')}"
    return rows.PodDevices(metadata.text("uid") or name, claims, containers)


def _pod_claim(pod: View, view: View) -> rows.PodClaim:
    namespace, name = _namespace(pod), view.text("name")
    if view.has("resourceClaimName"):
        return rows.PodClaim(f"{namespace}/{view.text('resourceClaimName')}")
    owner = pod.view("metadata").text("name")
    if not view.has("resourceClaimTemplateName"):
        where = f'pod "{namespace}/{owner}", spec.resourceClaim "{name}"'
        return rows.PodClaim(problem=f"{where}: none of the supported fields are set")
    for one in pod.view("status").views("resourceClaimStatuses"):
        if one.text("name") == name:
            claim = one.text("resourceClaimName")
            return rows.PodClaim(f"{namespace}/{claim}", must_own=True) if claim else rows.PodClaim()
    template = f"{namespace}/{view.text('resourceClaimTemplateName')}"
    return rows.PodClaim(f"{namespace}/{owner}-{name}", template, must_own=True)


def _containers(spec: View) -> Iterable[rows.ContainerDevices]:
    for name in ("initContainers", "containers"):
        for view in spec.views(name):
            asked = view.view("resources").view("requests")
            amounts = tuple(
                (resource, quantity.whole(_nano(value, asked.where(resource))))
                for resource, value in asked.data.items()
                if "/" in resource
            )
            is_short = name == "initContainers" and view.text("restartPolicy") != "Always"
            yield rows.ContainerDevices(is_short, tuple(sorted(amounts)))

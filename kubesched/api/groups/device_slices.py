# SPDX-License-Identifier: Apache-2.0
"""What is wrong with slices of devices that drivers publish.

Source: pkg/apis/resource/validation/validation.go, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kubesched.api import checks, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import placing, volumes
from kubesched.api.groups.device_claims import (
    EFFECTS,
    Check,
    binding_conditions,
    each,
    label_name,
    name_of,
    pool,
    qualified_name,
    unique,
)
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_MAX_DEVICES = 128
_MAX_ADVANCED = 64  # of devices with taints, counters or lists
_MAX_SETS = 8
_MAX_COUNTERS = 32
_MAX_CONSUMPTIONS = 2
_MAX_TAINTS = 16
_MAX_ATTRIBUTES = 32
_MAX_VALUES = 48
_MAX_TEXT = 64
_MAX_KEY = 63 + 1 + 32
_MAX_LABEL = 63
_MAX_CHOICES = 10
_LISTS = ("bools", "ints", "strings", "versions")
_IS_TRUE = "must be either unset or set to true"
_ONE_PLACE = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_ONE_PLACE_EACH = (
    "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true "
    "in the ResourceSlice spec"
)
_NO_PLACE = (
    "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the "
    "ResourceSlice spec"
)
_NUMBER = r"(0|[1-9]\d*)"
_PRE = r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?", re.ASCII
)


def resource_slice(obj: Object) -> list[FieldError]:
    return _slice(obj.get("spec") or {}, {})


def resource_slice_update(new: Object, old: Object) -> list[FieldError]:
    return _slice(new.get("spec") or {}, old.get("spec") or {})


def _slice(spec: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    volumes.check_driver(spec.get("driver") or "", "spec.driver", out)
    _pool(spec.get("pool") or {}, out)
    if old:
        checks.unlike((spec.get("pool") or {}).get("name"), old["pool"].get("name"), "spec.pool.name", out)
        for name in ("driver", "nodeName"):
            checks.unlike(spec.get(name), old.get(name), f"spec.{name}", out)
    _place(spec, out)
    devices, counters = spec.get("devices"), spec.get("sharedCounters")
    if devices is not None and counters is not None:
        out.append(invalid_value("spec", "", "only one of `sharedCounters` or `devices` is allowed"))
    before = {name_of(device): device for device in old.get("devices") or ()}
    most = _MAX_ADVANCED if any(map(_is_advanced, devices or ())) else _MAX_DEVICES
    chosen = bool(spec.get("perDeviceNodeSelection"))

    def check(device: Object, at: str) -> None:
        _device(device, before.get(name_of(device)), at, out, chosen=chosen)

    unique(devices or [], most, "spec.devices", check, out, name_of)
    unique(counters or [], _MAX_SETS, "spec.sharedCounters", lambda item, at: _counter_set(item, at, out), out, name_of)
    return out


def warnings(obj: Object) -> list[str]:
    driver = (obj.get("spec") or {}).get("driver") or ""
    if driver == driver.lower():
        return []
    return [f'spec.driver: driver names should be lowercase; "{driver}" contains uppercase characters']


def _pool(found: Object, out: Errors) -> None:
    pool(found.get("name") or "", "spec.pool.name", out)
    count, generation = found.get("resourceSliceCount", 0), found.get("generation", 0)
    if count <= 0:
        out.append(invalid_value("spec.pool.resourceSliceCount", count, checks.NOT_POSITIVE))
    if generation < 0:
        out.append(invalid_value("spec.pool.generation", generation, "must be greater than or equal to zero"))


def _places(holder: Object, at: str, empty: str, out: Errors) -> list[str]:
    """Ways in which it is said where devices are; each is looked at."""
    found: list[str] = []
    node, selector = holder.get("nodeName"), holder.get("nodeSelector")
    if node == "":
        out.append(invalid_value(f"{at}.nodeName", "", empty))
    elif node is not None:
        found.append("`nodeName`")
        checks.by(names.subdomain, node, f"{at}.nodeName", out)
    if selector is not None:
        found.append("`nodeSelector`")
        placing.check_node_selector(selector, f"{at}.nodeSelector", out)
        terms = selector.get("nodeSelectorTerms") or []
        if at == "spec" and len(terms) != 1:
            shown = [placing.term_as_go(term) for term in terms]
            why = "must have exactly one node selector term"
            out.append(invalid_value(f"{at}.nodeSelector.nodeSelectorTerms", shown, why))
    for name in ("allNodes", "perDeviceNodeSelection"):
        if holder.get(name):
            found.append(f"`{name}`")
        elif holder.get(name) is not None:
            out.append(invalid_value(f"{at}.{name}", False, _IS_TRUE))
    return found


def _place(spec: Object, out: Errors) -> None:
    found = _places(spec, "spec", "must be either unset or set to a non-empty string", out)
    if not found:
        out.append(status.required("spec", _ONE_PLACE))
    elif len(found) > 1:
        why = f"{_ONE_PLACE}, but multiple fields are set"
        out.append(invalid_value("spec", f"{{{', '.join(found)}}}", why))


# ---- a device ----


def _is_advanced(device: Object) -> bool:
    attributes = (device.get("attributes") or {}).values()
    lists = any(attribute.get(name) is not None for attribute in attributes for name in _LISTS)
    return bool(device.get("taints") or device.get("consumesCounters") or lists)


def _device(device: Object, before: Object | None, at: str, out: Errors, *, chosen: bool) -> None:
    checks.by(names.label, name_of(device), f"{at}.name", out)
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    _sizes(attributes, capacity, at, out)
    _map(attributes, _MAX_KEY, f"{at}.attributes", _qualified(out), lambda item, field: _attribute(item, field, out))
    shared = bool(device.get("allowMultipleAllocations"))

    def check_capacity(item: Object, field: str) -> None:
        _capacity(item, field, out, shared=shared)

    _map(capacity, _MAX_KEY, f"{at}.capacity", _qualified(out), check_capacity)
    taints = device.get("taints") or []
    if before is None or (before.get("taints") or []) != taints:
        each(taints, _MAX_TAINTS, f"{at}.taints", lambda item, field: _taint(item, field, out), out)
    unique(
        device.get("consumesCounters") or [],
        _MAX_CONSUMPTIONS,
        f"{at}.consumesCounters",
        lambda item, field: _counters(item, "counterSet", field, out),
        out,
        lambda item: item.get("counterSet") or "",
    )
    if chosen:
        found = _places(device, at, "must not be empty", out)
        if not found:
            out.append(status.required(at, _ONE_PLACE_EACH))
        elif len(found) > 1:
            out.append(invalid_value(at, f"{{{', '.join(found)}}}", _ONE_PLACE_EACH))
    elif any(device.get(name) is not None for name in ("nodeName", "nodeSelector", "allNodes")):
        out.append(invalid_value(at, None, _NO_PLACE))
    binding_conditions(device, at, out)
    for name, mapping in (device.get("nodeAllocatableResourceMappings") or {}).items():
        _mapping(name, mapping, capacity, f"{at}.nodeAllocatableResourceMappings[{name}]", out)


def _qualified(out: Errors) -> Check:
    return lambda text, field: qualified_name(text, field, out)


def _sizes(attributes: Object, capacity: Object, at: str, out: Errors) -> None:
    values = sum(sum(len(item.get(name) or ()) for name in _LISTS) or 1 for item in attributes.values())
    for count, most, what in (
        (len(attributes) + len(capacity), _MAX_ATTRIBUTES, "attributes and capacities"),
        (values, _MAX_VALUES, "attribute values"),
    ):
        if count > most:
            out.append(invalid_value(at, count, f"the total number of {what} must not exceed {most}"))


def _map(found: Mapping[str, Any], longest: int, field: str, check_key: Check, check: Check) -> None:
    """Keys and values; a key that is too long is shown without its middle."""
    for key, value in found.items():
        check_key(key, field)
        shown = key
        if len(key) > longest:
            left = longest - len("...")
            shown = f"{key[: (left + 1) // 2]}...{key[len(key) - left // 2 :]}"
        check(value, f"{field}[{shown}]")


def _attribute(attribute: Object, at: str, out: Errors) -> None:
    for name, check in (("string", _text), ("version", _version)):
        if attribute.get(name) is not None:
            check(attribute[name], f"{at}.{name}", out)
    for name in _LISTS:
        values = attribute.get(name)
        if values == []:
            out.append(invalid_value(f"{at}.{name}", values, "must not be empty if specified"))
        for i, value in enumerate(values or ()):
            if name in ("strings", "versions"):
                (_text if name == "strings" else _version)(value, f"{at}.{name}[{i}]", out)
    given = [name for name in _SHOWN if attribute.get(name) is not None]
    if len(given) != 1:
        shown = {go: attribute.get(name) for name, go in _SHOWN.items()} if given else ""
        out.append(invalid_value(at, shown, "exactly one value must be specified"))


_SHOWN = {
    "int": "IntValue",
    "bool": "BoolValue",
    "string": "StringValue",
    "version": "VersionValue",
    "ints": "IntValues",
    "bools": "BoolValues",
    "strings": "StringValues",
    "versions": "VersionValues",
}
"""Values that an attribute may have, and upstream's names for them."""


def _text(text: str, field: str, out: Errors) -> None:
    if len(text.encode()) > _MAX_TEXT:
        out.append(status.too_long(field, _MAX_TEXT))


def _version(text: str, field: str, out: Errors) -> None:
    if not _VERSION.fullmatch(text):
        out.append(invalid_value(field, text, "must be a string compatible with semver.org spec 2.0.0"))
    _text(text, field, out)


def _taint(taint: Object, at: str, out: Errors) -> None:
    label_name(taint.get("key") or "", f"{at}.key", out)
    checks.by(names.label_value, taint.get("value") or "", f"{at}.value", out)
    checks.choice(taint.get("effect") or "", f"{at}.effect", EFFECTS, out)


def _mapping(name: str, mapping: Object, capacity: Object, at: str, out: Errors) -> None:
    if not checks.is_native(name):
        out.append(invalid_value(at, name, "must be a node allocatable resource name"))
    factor, key = mapping.get("allocationMultiplier"), mapping.get("capacityKey")
    if factor is None and key is None:
        out.append(invalid_value(at, "", "at least one of allocationMultiplier or capacityKey must be set"))
    if factor is not None and quantity.parse_nano(factor) <= 0:
        out.append(invalid_value(f"{at}.allocationMultiplier", factor, "must be positive"))
    if key == "":
        out.append(invalid_value(f"{at}.capacityKey", "", "capacityKey must not be an empty string"))
    elif key is not None and key not in capacity:
        out.append(status.value_not_found(f"{at}.capacityKey", key))


# ---- counters ----


def _counter_set(found: Object, at: str, out: Errors) -> None:
    _counters(found, "name", at, out)


def _counters(found: Object, name: str, at: str, out: Errors) -> None:
    """A set of counters, or what a device takes of one."""
    checks.named(names.label, found, name, at, out)
    counters = found.get("counters") or {}
    if not counters:
        out.append(status.required(f"{at}.counters"))
    elif len(counters) > _MAX_COUNTERS:
        out.append(status.too_many(f"{at}.counters", len(counters), _MAX_COUNTERS))
    else:
        for key in counters:
            checks.by(names.label, key, f"{at}.counters", out)


# ---- capacity that several share ----


def _capacity(capacity: Object, at: str, out: Errors, *, shared: bool) -> None:
    policy = capacity.get("requestPolicy")
    if policy is None:
        return
    at = f"{at}.requestPolicy"
    if not shared:
        out.append(status.forbidden_field(at, "allowMultipleAllocations must be true"))
        return
    values, between, default = policy.get("validValues") or [], policy.get("validRange"), policy.get("default")
    if values and between is not None:
        why = 'exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time'
        out.append(status.forbidden_field(at, why))
        return
    name = "validValues" if values else "validRange"
    most = capacity.get("value") or "0"
    if not values and between is None:
        return
    if default is None:
        out.append(status.required(f"{at}.default", f"required when {name} is defined"))
    elif values:
        _choices(values, default, most, f"{at}.{name}", out)
    else:
        _range(between, default, most, f"{at}.{name}", out)


def _choices(values: list[str], default: str, most: str, at: str, out: Errors) -> None:
    amounts = [quantity.parse_nano(value) for value in values]
    for i in range(1, len(values)):
        if amounts[i - 1] > amounts[i]:
            out.append(invalid_value(f"{at}[{i}]", values[i], "values must be sorted in ascending order"))

    def check(value: str, field: str) -> None:
        if quantity.parse_nano(value) > quantity.parse_nano(most):
            out.append(invalid_value(field, value, f"option is larger than capacity value: {most}"))

    unique(values, _MAX_CHOICES, at, check, out, lambda value: str(_whole(value)))
    if len(values) > _MAX_CHOICES or quantity.parse_nano(default) not in amounts:
        out.append(invalid_value(at, default, "default value is not valid according to the requestPolicy"))


def _whole(text: str) -> int:
    return quantity.whole(quantity.parse_nano(text))


def _range(between: Object, default: str, most: str, at: str, out: Errors) -> None:
    least, top, step = between.get("min"), between.get("max"), between.get("step")
    if least is None:
        out.append(status.required(f"{at}.min", "required when validRange is defined"))
        return
    nano = quantity.parse_nano

    def smaller(first: str, second: str, name: str, shown: str, why: str) -> None:
        if nano(first) < nano(second):
            out.append(invalid_value(f"{at}.{name}", shown, why))

    smaller(most, least, "min", least, f"min is larger than capacity value: {most}")
    smaller(default, least, "min", default, f"default is less than min: {least}")
    if top is not None:
        smaller(top, least, "max", least, f"min is larger than max: {top}")
        smaller(most, top, "max", top, f"max is larger than capacity value: {most}")
        smaller(top, default, "max", default, f"default is more than max: {top}")
    if step is None:
        return
    added = quantity.canonical(f"{nano(least) + nano(step)}n")
    if nano(added) > nano(most):
        out.append(invalid_value(f"{at}.step", step, f"one step {added} is larger than capacity value: {most}"))
    for value in (default, top):
        if value is not None and _whole(step) and (_whole(value) - _whole(least)) % _whole(step):
            why = f"value is not a multiple of a given step ({step}) from ({least})"
            out.append(invalid_value(f"{at}.step", value, why))

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with claims of devices, their templates, and classes of devices; selectors in CEL are not compiled.

Source: pkg/apis/resource/validation/validation.go, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import orjson

from kubesched.api import checks, meta, names, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import placing, volumes
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

MAX_ITEMS = 32  # requests, constraints, configurations, selectors, results
_MAX_ALTERNATIVES = 8
_MAX_TOLERATIONS = 16
_MAX_EXPRESSION = 10 * 1024
_MAX_PARAMETERS = 10 * 1024
_MAX_RESERVED = 256
_MAX_POOL = 253
_MAX_ID = 32
_MAX_CONDITIONS = 4
EFFECTS = ("NoExecute", "NoSchedule", "None")
_MODES = ("All", "ExactCount")
_ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"
_ONE_ATTRIBUTE = (
    'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'  # also for none
)
_NO_REQUEST = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
_ID = ("Driver", "Pool", "Device", "ShareID")  # what tells devices apart, as errors show it
Check = Callable[[Any, str], None]
Requests = Mapping[str, set[str]]
"""Requests of a claim: by name, the names of their alternatives."""

# ---- what the pieces share ----


def each(items: Sequence[Any], most: int, field: str, check: Check, out: Errors) -> bool:
    """A list that is not too long; of one that is, no element is looked at."""
    if len(items) > most:
        out.append(status.too_many(field, len(items), most))
        return False
    for i, item in enumerate(items):
        check(item, f"{field}[{i}]")
    return True


def unique(
    items: Sequence[Any],
    most: int,
    field: str,
    check: Check,
    out: Errors,
    key: Callable[[Any], Hashable] = lambda item: item,
) -> None:
    """Such a list in which nothing comes twice, by a key."""
    if not each(items, most, field, check, out):
        return
    seen: set[Hashable] = set()
    for i, found in enumerate(map(key, items)):
        if found in seen:
            shown = dict(zip(_ID, found, strict=True)) if isinstance(found, tuple) else found
            out.append(status.duplicate(f"{field}[{i}]", shown))
        seen.add(found)


def name_of(item: Object) -> str:
    return item.get("name") or ""


def pool(name: str, field: str, out: Errors) -> None:
    """A name of a pool: subdomains between slashes."""
    if not name:
        out.append(status.required(field))
        return
    if len(name) > _MAX_POOL:
        out.append(status.too_long(field, _MAX_POOL))
    for part in name.split("/"):
        checks.by(names.subdomain, part, field, out)


def label_name(text: str, field: str, out: Errors) -> None:
    checks.by(names.qualified_name, text, field, out)


def qualified_name(text: str, field: str, out: Errors) -> None:
    """A name of an attribute or a capacity, with or without its driver's domain. Upstream takes more than one slash."""
    parts = text.split("/")
    if len(parts) > 2:
        return
    if len(parts) == 2:
        if parts[0]:
            volumes.check_driver(parts[0], field, out)
        else:
            out.append(invalid_value(field, "", "the domain must not be empty"))
        if not parts[1]:
            out.append(invalid_value(field, "", "the name must not be empty"))
            return
    if len(parts[-1]) > _MAX_ID:
        out.append(status.too_long(field, _MAX_ID))
    checks.by(names.c_identifier, parts[-1], field, out)


def raw(found: Any, most: int, field: str, out: Errors) -> None:
    """JSON of somebody else's."""
    if found is None:
        out.append(status.required(field))
    elif len(orjson.dumps(found)) > most:
        out.append(status.too_long(field, most))
    elif not isinstance(found, dict):
        out.append(invalid_value(field, "<value omitted>", "must be a valid JSON object"))


def binding_conditions(obj: Object, at: str, out: Errors) -> None:
    """What a device waits for, and what says that it waits in vain."""
    good, bad = obj.get("bindingConditions") or [], obj.get("bindingFailureConditions") or []
    for found, name in ((good, "bindingConditions"), (bad, "bindingFailureConditions")):
        each(found, _MAX_CONDITIONS, f"{at}.{name}", lambda text, field: label_name(text, field, out), out)
    known = set(good)
    for found, name in ((good, "bindingConditions"), (bad, "bindingFailureConditions")):
        again = checks.repeated(found)
        for i, text in enumerate(found):
            if i in again:
                out.append(status.duplicate(f"{at}.{name}[{i}]", text))
            if found is bad and text in known:
                why = "bindingFailureConditions must not overlap with bindingConditions"
                out.append(invalid_value(f"{at}.{name}[{i}]", text, why))
    for mine, name, other, others in (
        (good, "bindingConditions", bad, "bindingFailureConditions"),
        (bad, "bindingFailureConditions", good, "bindingConditions"),
    ):
        if other and not mine:
            shown = obj.get(name)
            out.append(invalid_value(f"{at}.{name}", shown, f"{name} are required to use {others}"))


_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_UNNORMALISED = (
    "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase hexadecimal "
    "characters"
)


def share(text: str | None, field: str, out: Errors) -> None:
    if text is None or _UUID.fullmatch(text):
        return
    if _UUID.fullmatch(text.lower()):
        out.append(invalid_value(field, text, _UNNORMALISED))
    else:
        why = f"invalid UUID length: {len(text)}" if len(text) != 36 else "invalid UUID format"
        out.append(invalid_value(field, text, f"error validating uid: {why}"))


# ---- claims ----


def claim(obj: Object) -> list[FieldError]:
    out: Errors = []
    _devices((obj.get("spec") or {}).get("devices") or {}, "spec.devices", out)
    return out


def unchanged(new: Object, old: Object) -> list[FieldError]:
    """What is asked for stays, of a claim and of a template. Upstream shows its own type, ours the API's fields."""
    out: Errors = []
    if new.get("spec") != old.get("spec"):
        out.append(invalid_value("spec", new.get("spec"), checks.IMMUTABLE))
    return out


def template(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    out += meta.validate_template(spec.get("metadata") or {}, "spec.metadata")
    _devices((spec.get("spec") or {}).get("devices") or {}, "spec.spec.devices", out)
    return out


def _devices(wanted: Object, at: str, out: Errors) -> None:
    known = _requests(wanted)
    requests = wanted.get("requests") or []
    unique(requests, MAX_ITEMS, f"{at}.requests", lambda item, field: _request(item, field, out), out, name_of)
    constraints, config = wanted.get("constraints") or [], wanted.get("config") or []
    each(constraints, MAX_ITEMS, f"{at}.constraints", lambda item, field: _constraint(item, known, field, out), out)
    each(config, MAX_ITEMS, f"{at}.config", lambda item, field: _config(item, known, field, out), out)


def _requests(wanted: Object) -> Requests:
    return {name_of(item): set(map(name_of, item.get("firstAvailable") or ())) for item in wanted.get("requests") or ()}


def _request(request: Object, at: str, out: Errors) -> None:
    checks.by(names.label, name_of(request), f"{at}.name", out)
    exact, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    if exact is None and not alternatives:
        out.append(status.required(at, _ONE_KIND))
    elif exact is not None and alternatives:
        out.append(invalid_value(at, None, f"{_ONE_KIND}, but multiple fields are set"))
    elif exact is not None:
        _exact(exact, f"{at}.exactly", out)
    else:
        field = f"{at}.firstAvailable"
        unique(alternatives, _MAX_ALTERNATIVES, field, lambda item, here: _alternative(item, here, out), out, name_of)


def _alternative(request: Object, at: str, out: Errors) -> None:
    checks.by(names.label, name_of(request), f"{at}.name", out)
    _exact(request, at, out)


def _exact(request: Object, at: str, out: Errors) -> None:
    checks.named(names.subdomain, request, "deviceClassName", at, out)
    selectors(request.get("selectors") or [], f"{at}.selectors", out)
    mode, count = request.get("allocationMode") or "", request.get("count") or 0
    if mode == "All" and count:
        out.append(invalid_value(f"{at}.count", count, "must not be specified when allocationMode is 'All'"))
    elif mode == "ExactCount" and count <= 0:
        out.append(invalid_value(f"{at}.count", count, checks.NOT_POSITIVE))
    elif mode not in _MODES:
        out.append(status.not_supported(f"{at}.allocationMode", mode, _MODES))
    tolerations = request.get("tolerations") or []
    each(tolerations, _MAX_TOLERATIONS, f"{at}.tolerations", lambda item, field: _toleration(item, field, out), out)


def selectors(found: list[Object], field: str, out: Errors) -> None:
    each(found, MAX_ITEMS, field, lambda item, at: _selector(item, at, out), out)


def _selector(selector: Object, at: str, out: Errors) -> None:
    cel = selector.get("cel")
    if cel is None:
        out.append(status.required(f"{at}.cel"))
    elif len((cel.get("expression") or "").encode()) > _MAX_EXPRESSION:
        out.append(status.too_long(f"{at}.cel.expression", _MAX_EXPRESSION))


def _toleration(toleration: Object, at: str, out: Errors) -> None:
    get = toleration.get
    key, operator, value, effect = (get(name) or "" for name in ("key", "operator", "value", "effect"))
    if key:
        label_name(key, f"{at}.key", out)
    if operator == "Exists" and value:
        out.append(invalid_value(f"{at}.value", value, "must be empty for operator `Exists`"))
    elif operator == "Equal":
        checks.by(names.label_value, value, f"{at}.value", out)
    elif operator != "Exists":
        checks.choice(operator, f"{at}.operator", ("Equal", "Exists"), out)
    checks.option(effect or None, f"{at}.effect", EFFECTS, out)


def _constraint(constraint: Object, known: Requests, at: str, out: Errors) -> None:
    _references(constraint.get("requests") or [], known, f"{at}.requests", out)
    for name in ("matchAttribute", "distinctAttribute"):
        text = constraint.get(name)
        if text is not None:
            qualified_name(text, f"{at}.{name}", out)
            if "/" not in text:
                why = "a fully qualified name must be a domain and a name separated by a slash"
                out.append(invalid_value(f"{at}.{name}", text, why))
            return
    out.append(status.required(at, _ONE_ATTRIBUTE))


def _references(found: list[str], known: Requests, field: str, out: Errors) -> None:
    unique(found, MAX_ITEMS, field, lambda text, at: _reference(text, known, at, out), out)


def _reference(text: str, known: Requests, field: str, out: Errors) -> None:
    parts = text.split("/")
    if len(parts) <= 2:
        for part in parts:
            checks.by(names.label, part, field, out)
    if parts[0] not in known or len(parts) > 2 or (len(parts) == 2 and parts[1] not in known[parts[0]]):
        out.append(invalid_value(field, text, _NO_REQUEST))


def _config(config: Object, known: Requests, at: str, out: Errors) -> None:
    _references(config.get("requests") or [], known, f"{at}.requests", out)
    configuration(config, at, out)


def configuration(config: Object, at: str, out: Errors) -> None:
    opaque = config.get("opaque")
    if opaque is None:
        out.append(status.required(f"{at}.opaque"))
        return
    volumes.check_driver(opaque.get("driver") or "", f"{at}.opaque.driver", out)
    raw(opaque.get("parameters"), _MAX_PARAMETERS, f"{at}.opaque.parameters", out)


# ---- what became of a claim ----


def claim_status(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    known = _requests((new.get("spec") or {}).get("devices") or {})
    found, before = new.get("status") or {}, old.get("status") or {}
    reserved, allocation = found.get("reservedFor") or [], found.get("allocation")
    field = "status.reservedFor"
    unique(
        reserved,
        _MAX_RESERVED,
        field,
        lambda item, at: checks.needed(item, ("resource", "name", "uid"), at, out),
        out,
        lambda item: item.get("uid") or "",
    )
    results = ((allocation or {}).get("devices") or {}).get("results") or []
    devices = found.get("devices") or []
    unique(devices, len(devices), "status.devices", _device_check(set(map(_identity, results)), out), out, _identity)
    if reserved and allocation is None:
        out.append(status.forbidden_field(field, "may not be specified when `allocated` is not set"))
    elif new["metadata"].get("deletionTimestamp") and any(
        item not in (before.get("reservedFor") or ()) for item in reserved
    ):
        why = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
        out.append(status.forbidden_field(field, why))
    if allocation is not None and before.get("allocation") is not None:
        if allocation != before["allocation"]:
            out.append(invalid_value("status.allocation", allocation, checks.IMMUTABLE))
    elif allocation is not None:
        _allocation(allocation, known, "status.allocation", out)
    return out


def _identity(device: Object) -> tuple[str, ...]:
    return tuple(device.get(name) or "" for name in ("driver", "pool", "device", "shareID"))


_MAX_STATUS_CONDITIONS = 8
_MAX_DATA = 10 * 1024


def _device_check(allocated: set[tuple[str, ...]], out: Errors) -> Check:
    def check(device: Object, at: str) -> None:
        volumes.check_driver(device.get("driver") or "", f"{at}.driver", out)
        pool(device.get("pool") or "", f"{at}.pool", out)
        checks.by(names.label, device.get("device") or "", f"{at}.device", out)
        share(device.get("shareID"), f"{at}.shareID", out)
        if _identity(device) not in allocated:
            shown = dict(zip(_ID, _identity(device), strict=True))
            out.append(invalid_value(at, shown, "must be an allocated device in the claim"))
        conditions = device.get("conditions") or []
        if len(conditions) > _MAX_STATUS_CONDITIONS:
            out.append(status.too_many(f"{at}.conditions", len(conditions), _MAX_STATUS_CONDITIONS))
        checks.conditions(conditions, f"{at}.conditions", out)
        if device.get("data") is not None:
            raw(device["data"], _MAX_DATA, f"{at}.data", out)
        _network(device.get("networkData") or {}, f"{at}.networkData", out)

    return check


def _network(data: Object, at: str, out: Errors) -> None:
    for name, most in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((data.get(name) or "").encode()) > most:
            out.append(status.too_long(f"{at}.{name}", most))
    unique(data.get("ips") or [], 16, f"{at}.ips", lambda text, field: checks.interface(text, field, out), out)


def _allocation(allocation: Object, known: Requests, at: str, out: Errors) -> None:
    devices = allocation.get("devices") or {}
    results, config = devices.get("results") or [], devices.get("config") or []
    each(results, MAX_ITEMS, f"{at}.devices.results", lambda item, field: _result(item, known, field, out), out)
    each(config, 2 * MAX_ITEMS, f"{at}.devices.config", lambda item, field: _allocated(item, known, field, out), out)
    if allocation.get("nodeSelector") is not None:
        placing.check_node_selector(allocation["nodeSelector"], f"{at}.nodeSelector", out)


def _result(result: Object, known: Requests, at: str, out: Errors) -> None:
    _reference(result.get("request") or "", known, f"{at}.request", out)
    volumes.check_driver(result.get("driver") or "", f"{at}.driver", out)
    pool(result.get("pool") or "", f"{at}.pool", out)
    checks.by(names.label, result.get("device") or "", f"{at}.device", out)
    binding_conditions(result, at, out)
    share(result.get("shareID"), f"{at}.shareID", out)


def _allocated(config: Object, known: Requests, at: str, out: Errors) -> None:
    checks.choice(config.get("source") or "", f"{at}.source", ("FromClaim", "FromClass"), out)
    _config(config, known, at, out)


# ---- classes ----


def device_class(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    selectors(spec.get("selectors") or [], "spec.selectors", out)
    config = spec.get("config") or []
    each(config, MAX_ITEMS, "spec.config", lambda item, at: configuration(item, at, out), out)
    name = spec.get("extendedResourceName")
    if name is not None and not checks.is_extended(name):
        why = "must be a valid extended resource name"
        out.append(invalid_value("spec.extendedResourceName", name, why))
    return out

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Endpoints and with EndpointSlices.

Source: pkg/apis/core/validation and pkg/apis/discovery/validation, v1.36.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Sequence

from kubesched.api import checks, meta, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

PROTOCOLS = ("SCTP", "TCP", "UDP")
_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_MAX_ENDPOINTS = 1000
_MAX_ADDRESSES = 100
_MAX_PORTS = 20000
_MAX_HINTS = 8
_MAX_LABELS = 16


@functools.lru_cache(maxsize=8192)
def address_errors(text: str) -> tuple[str, ...]:
    """Why nothing can be reached at an address: as a rule of `names`."""
    found = checks.address(text)
    if found is None:
        return ("must be a valid IP address",)
    wrong = []
    if found.is_unspecified:
        wrong.append(f"may not be unspecified ({text})")
    if found.is_loopback:
        wrong.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if found.is_link_local:
        wrong.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if any(found in network for network in _LOCAL_GROUPS if network.version == found.version):
        wrong.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return tuple(wrong)


_LOCAL_GROUPS = (ipaddress.ip_network("224.0.0.0/24"), ipaddress.ip_network("ff02::/16"))


# ---- Endpoints ----


def validate(obj: Object) -> list[FieldError]:
    """New Endpoints."""
    out: Errors = []
    for i, subset in enumerate(obj.get("subsets") or ()):
        at = f"subsets[{i}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            out.append(status.required(at, "must specify `addresses` or `notReadyAddresses`"))
        for part in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(part) or ()):
                _address(address, f"{at}.{part}[{j}]", out)
        ports = subset.get("ports") or ()
        for j, port in enumerate(ports):
            _port(port, f"{at}.ports[{j}]", out, named=len(ports) > 1)
    return out


def validate_update(new: Object, old: Object) -> list[FieldError]:
    return [] if new.get("subsets") == old.get("subsets") else validate(new)


def _address(address: Object, at: str, out: Errors) -> None:
    text = address.get("ip") or ""
    checks.by(checks.address_errors, text, f"{at}.ip", out)
    if address.get("hostname"):
        checks.by(names.label, address["hostname"], f"{at}.hostname", out)
    if address.get("nodeName") is not None:
        checks.by(names.subdomain, address["nodeName"], f"{at}.nodeName", out)
    checks.by(address_errors, text, f"{at}.ip", out)


def _port(port: Object, at: str, out: Errors, *, named: bool) -> None:
    name = port.get("name") or ""
    if name:
        checks.by(names.label, name, f"{at}.name", out)
    elif named:
        out.append(status.required(f"{at}.name"))
    checks.port(port.get("port", 0), f"{at}.port", out)
    checks.choice(port.get("protocol"), f"{at}.protocol", PROTOCOLS, out)
    if port.get("appProtocol") is not None:
        checks.by(names.qualified_name, port["appProtocol"], f"{at}.appProtocol", out)


# ---- EndpointSlices ----


def validate_slice(obj: Object) -> list[FieldError]:
    """A new EndpointSlice."""
    return _slice(obj, None)


def validate_slice_update(new: Object, old: Object) -> list[FieldError]:
    out = _slice(new, old)
    checks.unlike(new.get("addressType"), old.get("addressType"), "addressType", out)
    return out


def _slice(obj: Object, old: Object | None) -> list[FieldError]:
    out: Errors = []
    kind = obj.get("addressType") or ""
    checks.choice(kind, "addressType", _ADDRESS_TYPES, out)
    _slice_ports(obj.get("ports") or (), "ports", out)
    found = obj.get("endpoints") or ()
    if old is not None and found == (old.get("endpoints") or ()):
        return out
    if len(found) > _MAX_ENDPOINTS:
        out.append(status.too_many("endpoints", len(found), _MAX_ENDPOINTS))
        return out
    for i, endpoint in enumerate(found):
        _endpoint(endpoint, kind, f"endpoints[{i}]", out)
    return out


def _slice_ports(ports: Sequence[Object], field: str, out: Errors) -> None:
    if len(ports) > _MAX_PORTS:
        out.append(status.too_many(field, len(ports), _MAX_PORTS))
        return
    seen: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"{field}[{i}]", port.get("name") or ""
        if name:
            checks.by(names.label, name, f"{at}.name", out)
        if name in seen:
            out.append(status.duplicate(f"{at}.name", name))
        seen.add(name)
        checks.choice(port.get("protocol"), f"{at}.protocol", PROTOCOLS, out)
        if port.get("appProtocol") is not None:
            checks.by(names.qualified_name, port["appProtocol"], f"{at}.appProtocol", out)


def _endpoint(endpoint: Object, kind: str, at: str, out: Errors) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        out.append(status.required(f"{at}.addresses", "must contain at least 1 address"))
    elif len(addresses) > _MAX_ADDRESSES:
        out.append(status.too_many(f"{at}.addresses", len(addresses), _MAX_ADDRESSES))
    for j, text in enumerate(addresses):
        _slice_address(text, kind, f"{at}.addresses", j, out)
    if endpoint.get("nodeName") is not None:
        checks.by(names.subdomain, endpoint["nodeName"], f"{at}.nodeName", out)
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _MAX_LABELS:
        out.append(status.too_many(f"{at}.deprecatedTopology", len(topology), _MAX_LABELS))
    out.extend(meta.validate_labels(topology, f"{at}.deprecatedTopology"))
    if endpoint.get("hostname") is not None:
        checks.by(names.label, endpoint["hostname"], f"{at}.hostname", out)
    hints = endpoint.get("hints") or {}
    for name, rule in (("forZones", names.label_value), ("forNodes", names.subdomain)):
        _hints(hints.get(name) or (), rule, f"{at}.hints.{name}", out)


def _hints(found: Sequence[Object], rule: names.Rule, field: str, out: Errors) -> None:
    if len(found) > _MAX_HINTS:
        out.append(status.too_many(field, len(found), _MAX_HINTS))
        return
    seen: set[str] = set()
    for i, hint in enumerate(found):
        name = hint.get("name") or ""
        if name in seen:
            out.append(status.duplicate(f"{field}[{i}].name", name))
        seen.add(name)
        checks.by(rule, name, f"{field}[{i}].name", out)


def _slice_address(text: str, kind: str, field: str, i: int, out: Errors) -> None:
    if kind == "FQDN":
        _domain(text, f"{field}[{i}]", out)
    if kind not in ("IPv4", "IPv6"):
        return
    rule = checks.address_errors if kind == "IPv4" else checks.canonical_address_errors
    if wrong := rule(text):
        out.extend(invalid_value(f"{field}[{i}]", text, why) for why in wrong)
        return
    if (":" in text) != (kind == "IPv6"):
        out.append(invalid_value(field, text, f"must be an {kind} address"))
    checks.by(address_errors, text, f"{field}[{i}]", out)


def _domain(text: str, field: str, out: Errors) -> None:
    """A name of a host with its domain; the dot at its end may be left out."""
    name = text.removesuffix(".")
    if not text:
        out.append(status.required(field))
    elif wrong := names.subdomain(name):
        out.extend(invalid_value(field, name, why) for why in wrong)
    elif "." not in name:
        out.append(invalid_value(field, name, "should be a domain with at least two segments separated by dots"))
    else:
        for part in name.split("."):
            if len(part) > 63:
                out.append(invalid_value(field, part, "must be no more than 63 characters"))

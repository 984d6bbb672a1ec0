# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Ingresses, their classes, and network policies.

Source: pkg/apis/networking/validation/validation.go, v1.36.
"""

from __future__ import annotations

import ipaddress

from kubesched.api import checks, names, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at
from kubesched.api.groups.core import services
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_BAD_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_BAD_ENDS = ("/..", "/.")
_SCOPES = ("Cluster", "Namespace")
_DIRECTIONS = ("Ingress", "Egress")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
OLD_CLASS = "kubernetes.io/ingress.class"
_MAX_CONTROLLER = 250
_NAME = "must be a DNS name, not an IP address"


# ---- Ingresses ----


def ingress(obj: Object) -> list[FieldError]:
    """A new Ingress."""
    out = ingress_update(obj, {})
    old, name = (obj["metadata"].get("annotations") or {}).get(OLD_CLASS), at(obj, "spec", "ingressClassName")
    if old is not None and name is not None and old != name:
        why = "must match `ingressClassName` when both are specified"
        out.append(invalid_value(f"annotations.{OLD_CLASS}", old, why))
    return out


def ingress_update(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    spec = new.get("spec") or {}
    rules, backend = spec.get("rules") or (), spec.get("defaultBackend")
    if not rules and backend is None:
        why = "either `defaultBackend` or `rules` must be specified"
        out.append(invalid_value("spec", spec.get("rules"), why))
    if backend is not None:
        _backend(backend, "spec.defaultBackend", out)
    for i, rule in enumerate(rules):
        _rule(rule, f"spec.rules[{i}]", out)
    for i, secured in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(secured.get("hosts") or ()):
            checks.by(_host_rule(host), host, f"spec.tls[{i}].hosts[{j}]", out)
        if secured.get("secretName"):
            checks.by(names.subdomain, secured["secretName"], f"spec.tls[{i}].secretName", out)
    if spec.get("ingressClassName") is not None:
        checks.by(names.subdomain, spec["ingressClassName"], "spec.ingressClassName", out)
    return out


def ingress_status(new: Object, old: Object) -> list[FieldError]:
    """Points of entry."""
    return services.balancer_status(new, old)


def _host_rule(host: str) -> names.Rule:
    return names.wildcard_subdomain if "*" in host else names.subdomain


def _rule(rule: Object, field: str, out: Errors) -> None:
    host = rule.get("host")
    if host:
        if checks.address(host) is not None:
            out.append(invalid_value(f"{field}.host", host, _NAME))
        checks.by(_host_rule(host), host, f"{field}.host", out)
    http = rule.get("http")
    if http is None:
        return
    checks.needed(http, ("paths",), f"{field}.http", out)
    for i, path in enumerate(http.get("paths") or ()):
        _path(path, f"{field}.http.paths[{i}]", out)


def _path(path: Object, field: str, out: Errors) -> None:
    kind, text = path.get("pathType"), path.get("path") or ""
    if kind is None:
        out.append(status.required(f"{field}.pathType", "pathType must be specified"))
        return
    exact = kind in ("Exact", "Prefix")
    if (exact or (kind in _PATH_TYPES and text)) and not text.startswith("/"):
        out.append(invalid_value(f"{field}.path", text, "must be an absolute path"))
    if exact:
        for part in _BAD_PARTS:
            if part in text:
                out.append(invalid_value(f"{field}.path", text, f"must not contain '{part}'"))
        for end in _BAD_ENDS:
            if text.endswith(end):
                out.append(invalid_value(f"{field}.path", text, f"cannot end with '{end}'"))
    checks.option(kind, f"{field}.pathType", _PATH_TYPES, out)
    _backend(path.get("backend") or {}, f"{field}.backend", out)


def _backend(backend: Object, field: str, out: Errors) -> None:
    service, resource = backend.get("service"), backend.get("resource")
    if service is not None and resource is not None:
        out.append(invalid_value(field, "", "cannot set both resource and service backends"))
    elif resource is not None:
        _reference(resource, f"{field}.resource", out)
    elif service is None:
        out.append(invalid_value(field, "", "resource or service backend is required"))
    else:
        checks.named(names.label, service, "name", f"{field}.service", out)
        port = service.get("port") or {}
        name, number = port.get("name"), port.get("number")
        if name and number:
            out.append(invalid_value(field, "", "cannot set both port name & port number"))
        elif name or number:
            checks.port(name or number, f"{field}.service.port.{'name' if name else 'number'}", out)
        else:
            out.append(status.required(field, "port name or number is required"))


def _reference(found: Object, field: str, out: Errors) -> None:
    if found.get("apiGroup") is not None:
        checks.by(names.subdomain, found["apiGroup"], f"{field}.apiGroup", out)
    for name in ("kind", "name"):
        checks.named(names.path_segment, found, name, field, out)


# ---- classes ----


def ingress_class(obj: Object) -> list[FieldError]:
    """An IngressClass."""
    out: Errors = []
    controller = at(obj, "spec", "controller") or ""
    if len(controller.encode()) > _MAX_CONTROLLER:
        out.append(status.too_long("spec.controller", _MAX_CONTROLLER))
    checks.domain_path(controller, "spec.controller", out)
    parameters = at(obj, "spec", "parameters")
    if parameters is not None:
        _parameters(parameters, "spec.parameters", out)
    return out


def ingress_class_update(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    checks.unlike(at(new, "spec", "controller"), at(old, "spec", "controller"), "spec.controller", out)
    return out + ingress_class(new)


def _parameters(parameters: Object, field: str, out: Errors) -> None:
    _reference(parameters, field, out)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        out.append(status.required(f"{field}.scope"))
    elif scope == "Cluster" and namespace is not None:
        out.append(status.forbidden_field(f"{field}.namespace", "`parameters.scope` is set to 'Cluster'"))
    elif scope == "Namespace" and namespace is None:
        out.append(status.required(f"{field}.namespace", "`parameters.scope` is set to 'Namespace'"))
    elif scope == "Namespace":
        checks.by(names.label, namespace or "", f"{field}.namespace", out)
    else:
        checks.option(scope, f"{field}.scope", _SCOPES, out)


# ---- policies ----


def network_policy(obj: Object) -> list[FieldError]:
    """A new NetworkPolicy."""
    return network_policy_update(obj, {})


def network_policy_update(new: Object, old: Object) -> list[FieldError]:
    """Networks that were there before may stay, however they are written."""
    out: Errors = []
    spec = new.get("spec") or {}
    known = _networks(old.get("spec") or {})
    checks.selector(spec.get("podSelector"), "spec.podSelector", out)
    for direction, side in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate(spec.get(direction) or ()):
            field = f"spec.{direction}[{i}]"
            for j, port in enumerate(rule.get("ports") or ()):
                _port(port, f"{field}.ports[{j}]", out)
            for j, peer in enumerate(rule.get(side) or ()):
                _peer(peer, f"{field}.{side}[{j}]", known, out)
    kinds = spec.get("policyTypes") or []
    if len(kinds) > len(_DIRECTIONS):
        out.append(invalid_value("spec.policyTypes", kinds, "may not specify more than two policyTypes"))
        return out
    for i, kind in enumerate(kinds):
        checks.option(kind, f"spec.policyTypes[{i}]", _DIRECTIONS, out)
    return out


def _networks(spec: Object) -> set[str]:
    sides = (("ingress", "from"), ("egress", "to"))
    peers = [peer for part, side in sides for rule in spec.get(part) or () for peer in rule.get(side) or ()]
    blocks = [peer["ipBlock"] for peer in peers if peer.get("ipBlock")]
    return {text for block in blocks for text in (block.get("cidr"), *(block.get("except") or ())) if text}


def _port(port: Object, field: str, out: Errors) -> None:
    checks.option(port.get("protocol"), f"{field}.protocol", _PROTOCOLS, out)
    first, last = port.get("port"), port.get("endPort")
    if first is None:
        if last is not None:
            why = "may not be specified when `port` is not specified"
            out.append(invalid_value(f"{field}.endPort", last, why))
        return
    named = isinstance(first, str)
    if named and last is not None:
        out.append(invalid_value(f"{field}.endPort", last, "may not be specified when `port` is non-numeric"))
    checks.port(first, f"{field}.port", out)
    if not named and last is not None:
        if last < first:
            out.append(invalid_value(f"{field}.endPort", first, "must be greater than or equal to `port`"))
        checks.port(last, f"{field}.endPort", out)


def _peer(peer: Object, field: str, known: set[str], out: Errors) -> None:
    found = [name for name in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(name) is not None]
    for name in found:
        if name != "ipBlock":
            checks.selector(peer[name], f"{field}.{name}", out)
        else:
            _block(peer[name], f"{field}.ipBlock", known, out)
    if not found:
        out.append(status.required(field, "must specify a peer"))
    elif len(found) > 1 and "ipBlock" in found:
        out.append(status.forbidden_field(field, "may not specify both ipBlock and another peer"))


def _block(block: Object, field: str, known: set[str], out: Errors) -> None:
    whole = block.get("cidr") or ""
    if not whole:
        out.append(status.required(f"{field}.cidr"))
        return
    _network_errors(whole, f"{field}.cidr", known, out)
    network = _network(whole)
    parts = block.get("except") or ()
    for i, text in enumerate(parts):
        here = f"{field}.except[{i}]"
        _network_errors(text, here, known, out)
        part = _network(text)
        if network is None or part is None:
            continue
        inside = network.version == part.version and part.network_address in network
        if not inside or network.prefixlen >= part.prefixlen:
            out.append(invalid_value(here, text, "must be a strict subset of `cidr`"))


def _network_errors(text: str, field: str, known: set[str], out: Errors) -> None:
    if text not in known:
        checks.by(checks.cidr_errors, text, field, out)


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None

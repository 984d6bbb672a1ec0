# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Services, and what of them an update may change.

Cluster addresses and node ports are there by the time a Service is judged: admission gives them out before.
Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubesched.api import checks, gotext, meta, names, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import endpoints
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_AFFINITIES = ("ClientIP", "None")
_POLICIES = ("Cluster", "Local")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ["PreferClose", "PreferSameZone", "PreferSameNode"]
_IP_MODES = ("Proxy", "VIP")
_MAX_AFFINITY = 86400  # seconds
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_FOR_BALANCERS = "may only be used when `type` is 'LoadBalancer'"
_SET_ONCE = "may not change once set"

_PORT = gotext.Struct({"Name": "", "Protocol": "", "AppProtocol": None, "Port": 0, "TargetPort": 0, "NodePort": 0})


def is_headless(spec: Object) -> bool:
    return spec.get("clusterIPs") == ["None"]


def is_external(spec: Object) -> bool:
    """Whether it is reached from outside."""
    kind = spec.get("type")
    return kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))


def needs_health_check(spec: Object) -> bool:
    """Whether balancers ask nodes if they have an endpoint."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


# ---- the whole ----


def validate(obj: Object) -> list[FieldError]:
    """A new Service."""
    return _validate(obj, {})


def _validate(obj: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    ports, kind = spec.get("ports") or (), spec.get("type") or ""
    if not ports and not is_headless(spec) and kind != "ExternalName":
        out.append(status.required("spec.ports"))
    _of_type(spec, kind, out)
    _ports(ports, out)
    if selector := spec.get("selector"):
        out.extend(meta.validate_labels(selector, "spec.selector"))
    checks.choice(spec.get("sessionAffinity"), "spec.sessionAffinity", _AFFINITIES, out)
    _affinity(spec, "spec.sessionAffinityConfig", out)
    if kind != "ExternalName":
        _cluster_addresses(spec, before.get("clusterIPs") or (), out)
    known = before.get("externalIPs") or ()
    for i, address in enumerate(spec.get("externalIPs") or ()):
        wrong = () if address in known else checks.address_errors(address)
        out.extend(invalid_value(f"spec.externalIPs[{i}]", address, why) for why in wrong)
        if not wrong:
            checks.by(endpoints.address_errors, address, f"spec.externalIPs[{i}]", out)
    checks.choice(kind, "spec.type", TYPES, out)
    _unique_ports(ports, kind, out)
    _source_ranges(obj, spec, before.get("loadBalancerSourceRanges") or (), out)
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        out.append(status.forbidden_field("spec.allocateLoadBalancerNodePorts", _FOR_BALANCERS))
    _balancer_class(spec, kind, out)
    _traffic(spec, out)
    return out


def _of_type(spec: Object, kind: str, out: Errors) -> None:
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        out.append(invalid_value("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind != "ExternalName":
        return
    for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
        if spec.get(name):
            out.append(status.forbidden_field(f"spec.{name}", "may not be set for ExternalName services"))
    name = (spec.get("externalName") or "").removesuffix(".")
    if name:
        checks.by(names.subdomain, name, "spec.externalName", out)
    else:
        out.append(status.required("spec.externalName"))


# ---- ports ----


def _ports(ports: Sequence[Object], out: Errors) -> None:
    named: set[str] = set()
    for i, port in enumerate(ports):
        at, name = f"spec.ports[{i}]", port.get("name") or ""
        if name:
            checks.by(names.label, name, f"{at}.name", out)
            if name in named:
                out.append(status.duplicate(f"{at}.name", name))
            named.add(name)
        elif len(ports) > 1:
            out.append(status.required(f"{at}.name"))
        checks.port(port.get("port", 0), f"{at}.port", out)
        checks.choice(port.get("protocol"), f"{at}.protocol", endpoints.PROTOCOLS, out)
        checks.port(port.get("targetPort"), f"{at}.targetPort", out)
        if port.get("appProtocol") is not None:
            checks.by(names.qualified_name, port["appProtocol"], f"{at}.appProtocol", out)


def _unique_ports(ports: Sequence[Object], kind: str, out: Errors) -> None:
    if kind == "ClusterIP":
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                why = "may not be used when `type` is 'ClusterIP'"
                out.append(status.forbidden_field(f"spec.ports[{i}].nodePort", why))
    for name in ("nodePort", "port"):
        seen: set[tuple[str, int]] = set()
        for i, port in enumerate(ports):
            number = port.get(name, 0)
            key = (port.get("protocol") or "", number)
            if key in seen and name == "port":
                shown = _PORT.show({"protocol": key[0], "port": number})
                out.append(status.duplicate(f"spec.ports[{i}]", shown))
            elif key in seen and number:
                out.append(status.duplicate(f"spec.ports[{i}].nodePort", number))
            seen.add(key)


# ---- addresses ----


def _affinity(spec: Object, field: str, out: Errors) -> None:
    config, kind = spec.get("sessionAffinityConfig"), spec.get("sessionAffinity")
    if kind == "None" and config is not None:
        out.append(status.forbidden_field(field, "must not be set when session affinity is None"))
    if kind != "ClientIP":
        return
    why = "when session affinity type is ClientIP"
    client = (config or {}).get("clientIP")
    if config is None:
        out.append(status.required(field, why))
    elif client is None:
        out.append(status.required(f"{field}.clientIP", why))
    elif client.get("timeoutSeconds") is None:
        out.append(status.required(f"{field}.clientIP.timeoutSeconds", why))
    elif not 0 < client["timeoutSeconds"] <= _MAX_AFFINITY:
        why = f"must be greater than 0 and less than {_MAX_AFFINITY}"
        out.append(invalid_value(f"{field}.clientIP.timeoutSeconds", client["timeoutSeconds"], why))


def _cluster_addresses(spec: Object, known: Sequence[str], out: Errors) -> None:
    field = "spec.clusterIPs"
    first, found = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    families = spec.get("ipFamilies") or ()
    if first and not found:
        out.append(status.required(field))
    elif first and found[0] != first:
        out.append(invalid_value(field, found, "first value must match `clusterIP`"))
    elif not first and found:
        out.append(invalid_value(field, found, "must be empty when `clusterIP` is not specified"))
    again = checks.repeated(families)
    for i, family in enumerate(families):
        checks.option(family, f"spec.ipFamilies[{i}]", _FAMILIES, out)
        if i in again:
            out.append(status.duplicate(f"spec.ipFamilies[{i}]", family))
    checks.option(spec.get("ipFamilyPolicy"), "spec.ipFamilyPolicy", _FAMILY_POLICIES, out)
    before = len(out)
    if found and found[0] == "None":
        if len(found) > 1:
            out.append(invalid_value(field, found, "'None' must be the first and only value"))
        checked = list(enumerate(found))[1:]
    else:
        checked = list(enumerate(found))
    for i, address in checked:
        if address not in known:
            checks.by(checks.address_errors, address, f"{field}[{i}]", out)
    right = len(out) == before
    if len(found) > 2:
        out.append(invalid_value(field, found, "may only hold up to 2 values"))
    if right:
        _families(found, families, field, out)


def _families(found: list[str], families: Sequence[str], field: str, out: Errors) -> None:
    if len(found) > 1 and not checks.two_families(found):
        out.append(invalid_value(field, found, "may specify no more than one IP for each IP family"))
    if found == ["None"]:
        return
    for i, (address, family) in enumerate(zip(found, families, strict=False)):
        if (":" in address) != (family == "IPv6"):
            out.append(
                invalid_value(f"{field}[{i}]", address, f"expected an {family} value as indicated by `ipFamilies[{i}]`")
            )


# ---- balancers and traffic ----


def _source_ranges(obj: Object, spec: Object, before: Sequence[str], out: Errors) -> None:
    ranges, field = spec.get("loadBalancerSourceRanges") or (), "spec.LoadBalancerSourceRanges"
    annotation = (obj["metadata"].get("annotations") or {}).get(_RANGES)
    if not ranges and annotation is None:
        return
    if not ranges:
        field = f"metadata.annotations[{_RANGES}]"
    if spec.get("type") != "LoadBalancer":
        out.append(status.forbidden_field(field, _FOR_BALANCERS))
    known = {text.strip() for text in before}
    for i, text in enumerate(ranges or filter(None, (annotation or "").strip().split(","))):
        if text.strip() not in known:
            checks.by(checks.cidr_errors, text.strip(), f"{field}[{i}]" if ranges else field, out)


def _balancer_class(spec: Object, kind: str, out: Errors) -> None:
    name = spec.get("loadBalancerClass")
    if name is not None and kind == "LoadBalancer":
        checks.by(names.qualified_name, name, "spec.loadBalancerClass", out)
    elif name is not None:
        out.append(status.forbidden_field("spec.loadBalancerClass", _FOR_BALANCERS))


def _traffic(spec: Object, out: Errors) -> None:
    outside, port = spec.get("externalTrafficPolicy") or "", spec.get("healthCheckNodePort") or 0
    if is_external(spec):
        checks.choice(outside, "spec.externalTrafficPolicy", _POLICIES, out)
    elif outside:
        why = "may only be set for externally-accessible services"
        out.append(invalid_value("spec.externalTrafficPolicy", outside, why))
    if needs_health_check(spec):
        if port:
            checks.port(port, "spec.healthCheckNodePort", out)
        else:
            out.append(status.required("spec.healthCheckNodePort"))
    elif port:
        why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
        out.append(invalid_value("spec.healthCheckNodePort", port, why))
    inside = spec.get("internalTrafficPolicy")
    if inside is None and spec.get("type") in ("NodePort", "LoadBalancer", "ClusterIP"):
        out.append(status.required("spec.internalTrafficPolicy"))
    checks.option(inside, "spec.internalTrafficPolicy", _POLICIES, out)
    checks.option(spec.get("trafficDistribution"), "spec.trafficDistribution", _DISTRIBUTIONS, out)


# ---- updates ----


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """What of a Service may change: not its addresses, unless it has none before or after."""
    out: Errors = []
    after, before = new.get("spec") or {}, old.get("spec") or {}
    if "ExternalName" not in (after.get("type"), before.get("type")):
        headless = is_headless(after), is_headless(before)
        if headless != (True, True):
            _same_addresses(after, before, out)
        if headless == (False, False):
            _same_families(after, before, out)
    balanced = after.get("type") == before.get("type") == "LoadBalancer"
    if balanced and after.get("loadBalancerClass") != before.get("loadBalancerClass"):
        out.append(invalid_value("spec.loadBalancerClass", after.get("loadBalancerClass"), _SET_ONCE))
    asked = needs_health_check(before) and needs_health_check(after)
    if asked and after.get("healthCheckNodePort") != before.get("healthCheckNodePort"):
        out.append(status.forbidden_field("spec.healthCheckNodePort", checks.IMMUTABLE))
    return out + _validate(new, old)


def _same_addresses(after: Object, before: Object, out: Errors) -> None:
    found, was = after.get("clusterIPs") or [], before.get("clusterIPs") or []
    if len(found) == len(was):
        for i, (mine, its) in enumerate(zip(found, was, strict=True)):
            if mine != its:
                out.append(invalid_value(f"spec.clusterIPs[{i}]", found, _SET_ONCE))
        return
    if was and not found:
        out.append(invalid_value("spec.clusterIPs[0]", None, "primary clusterIP can not be unset"))
    elif was and found[0] != was[0]:
        out.append(invalid_value("spec.clusterIPs[0]", found, _SET_ONCE))
    if len(was) > len(found) == 1:
        _single_stack(after, "secondary clusterIP", out)


def _same_families(after: Object, before: Object, out: Errors) -> None:
    found, was = after.get("ipFamilies") or [], before.get("ipFamilies") or []
    if found and was and found[0] != was[0]:
        out.append(invalid_value("spec.ipFamilies[0]", found, _SET_ONCE))
    if len(was) > len(found) == 1:
        _single_stack(after, "secondary ipFamily", out)


def _single_stack(after: Object, what: str, out: Errors) -> None:
    policy = after.get("ipFamilyPolicy")
    if policy != "SingleStack":
        out.append(
            invalid_value("spec.ipFamilyPolicy", policy, f"must be set to 'SingleStack' when releasing the {what}")
        )


def validate_status(new: Object, old: Object) -> list[FieldError]:
    """What balancers report."""
    return balancer_status(new, old, "LoadBalancer")


def balancer_status(new: Object, old: Object, needed: str = "") -> list[FieldError]:
    """The points of entry of a balancer; ``needed`` is the type of Service that has any."""
    out: Errors = []
    field = "status.loadBalancer.ingress"
    found, was = (((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or () for obj in (new, old))
    if needed and found and (new.get("spec") or {}).get("type") != needed:
        return [status.forbidden_field(field, f"may only be used when `spec.type` is '{needed}'")]
    known = {item.get("ip") for item in was}
    for i, item in enumerate(found):
        at, address, mode = f"{field}[{i}]", item.get("ip") or "", item.get("ipMode")
        if address and address not in known:
            checks.by(checks.address_errors, address, f"{at}.ip", out)
        if needed and mode is None and address:
            out.append(status.required(f"{at}.ipMode", "must be specified when `ip` is set"))
        elif mode is not None and not address:
            out.append(status.forbidden_field(f"{at}.ipMode", "may not be specified when `ip` is not set"))
        else:
            checks.option(mode, f"{at}.ipMode", _IP_MODES, out)
        if name := item.get("hostname"):
            checks.by(names.subdomain, name, f"{at}.hostname", out)
            if checks.address(name) is not None:
                out.append(invalid_value(f"{at}.hostname", name, "must be a DNS name, not an IP address"))
    return out


# ---- what goes with the type ----


def drop_what_the_type_had(new: Object, old: Object) -> None:
    """Fields that only the old type knew go, unless the client changed them itself: then it is told."""
    after, before = new.setdefault("spec", {}), old.get("spec") or {}
    lost = [
        (
            after.get("type") == "ExternalName" != before.get("type"),
            ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"),
        ),
        (
            after.get("type") != "LoadBalancer" == before.get("type"),
            ("allocateLoadBalancerNodePorts", "loadBalancerClass"),
        ),
        (needs_health_check(before) and not needs_health_check(after), ("healthCheckNodePort",)),
        (is_external(before) and not is_external(after), ("externalTrafficPolicy",)),
    ]
    for gone, fields in lost:
        for name in fields:
            if gone and after.get(name) == before.get(name):
                after.pop(name, None)
    balanced = ("LoadBalancer", "NodePort")
    if before.get("type") in balanced and after.get("type") not in balanced:
        was = [port.get("nodePort") for port in before.get("ports") or ()]
        if [port.get("nodePort") for port in after.get("ports") or ()] == was:
            for port in after.get("ports") or ():
                port.pop("nodePort", None)

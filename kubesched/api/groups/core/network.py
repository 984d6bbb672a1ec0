# SPDX-License-Identifier: Apache-2.0
"""Services and Endpoints. Source: pkg/apis/core/v1/defaults.go, pkg/apis/core/validation, pkg/registry/core, v1.36."""

from __future__ import annotations

from typing import Any

from kubesched.api import columns, names, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy, fill, fill_empty

_WIDTH = 16  # of load balancer addresses in a table
_AFFINITY_SECONDS = 10800
_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_PROTOCOLS = ("SCTP", "TCP", "UDP")


def _default_service(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill_empty(spec, "sessionAffinity", "None")
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif (
        spec["sessionAffinity"] == "ClientIP"
        and at(spec, "sessionAffinityConfig", "clientIP", "timeoutSeconds") is None
    ):
        spec["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": _AFFINITY_SECONDS}}
    kind = spec["type"] = spec.get("type") or "ClusterIP"
    for port in spec.get("ports") or ():
        fill_empty(port, "protocol", "TCP")
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    outside = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and bool(spec.get("externalIPs")))
    if outside and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if kind != "ExternalName":
        fill(spec, "internalTrafficPolicy", "Cluster")
    if kind == "LoadBalancer":
        fill(spec, "allocateLoadBalancerNodePorts", True)
        for ingress in at(obj, "status", "loadBalancer", "ingress") or ():
            if ingress.get("ip"):
                fill(ingress, "ipMode", "VIP")


def _prepare_create(obj: Object) -> None:
    obj["status"] = {"loadBalancer": {}}


def _validate_ports(spec: Object) -> list[FieldError]:
    ports = spec.get("ports") or ()
    found: list[FieldError] = []
    seen: set[tuple[Any, ...]] = set()
    named: set[str] = set()
    for i, port in enumerate(ports):
        at_port = f"spec.ports[{i}]"
        name = port.get("name", "")
        if not name and len(ports) > 1:
            found.append(status.required(f"{at_port}.name"))
        elif name:
            found += [status.invalid_value(f"{at_port}.name", name, why) for why in names.label(name)]
            if name in named:
                found.append(status.duplicate(f"{at_port}.name", name))
            named.add(name)
        number = port.get("port", 0)
        found += [status.invalid_value(f"{at_port}.port", number, why) for why in names.port_number(number)]
        if port.get("protocol") not in _PROTOCOLS:
            found.append(status.not_supported(f"{at_port}.protocol", port.get("protocol", ""), _PROTOCOLS))
        target = port.get("targetPort")
        rule = names.port_name(target) if isinstance(target, str) else names.port_number(target or 0)
        found += [status.invalid_value(f"{at_port}.targetPort", target, why) for why in rule]
        key = (port.get("protocol"), number)
        if key in seen:
            found.append(status.duplicate(at_port, port))
        seen.add(key)
    return found


def _validate_service(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    kind = spec.get("type")
    headless = spec.get("clusterIP") == "None"
    if not spec.get("ports") and not headless and kind != "ExternalName":
        found.append(status.required("spec.ports"))
    if kind not in _TYPES:
        found.append(status.not_supported("spec.type", kind, _TYPES))
    if kind == "ExternalName":
        if not spec.get("externalName"):
            found.append(status.required("spec.externalName"))
        else:
            value = spec["externalName"].removesuffix(".")
            found += [status.invalid_value("spec.externalName", value, why) for why in names.subdomain(value)]
    if spec.get("sessionAffinity") not in ("ClientIP", "None"):
        supported = ["ClientIP", "None"]
        found.append(status.not_supported("spec.sessionAffinity", spec.get("sessionAffinity"), supported))
    return found + _validate_ports(spec)


def _validate_service_update(new: Object, old: Object) -> list[FieldError]:
    found = _validate_service(new)
    before, after = old.get("spec") or {}, new.get("spec") or {}
    stays = before.get("type") != "ExternalName" and after.get("type") != "ExternalName"
    if stays and before.get("clusterIP") and after.get("clusterIP") != before["clusterIP"]:
        why = "may not change once set"
        found.append(status.invalid_value("spec.clusterIPs[0]", [after.get("clusterIP", "")], why))
    return found


def _prepare_update(new: Object, old: Object) -> None:
    """A client that leaves the address out keeps it."""
    before, after = old.get("spec") or {}, new.setdefault("spec", {})
    if before.get("type") != "ExternalName" and after.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if before.get(name) is not None and not after.get(name):
                after[name] = before[name]


def _addresses(obj: Object) -> str:
    found = at(obj, "status", "loadBalancer", "ingress") or ()
    text = ",".join(sorted({item.get("ip") or item.get("hostname") or "" for item in found} - {""}))
    return f"{text[: _WIDTH - 3]}..." if len(text) > _WIDTH else text


def _external(obj: Object) -> str:
    spec = obj.get("spec") or {}
    own = list(spec.get("externalIPs") or ())
    match spec.get("type"):
        case "ClusterIP" | "NodePort":
            return ",".join(own) or "<none>"
        case "LoadBalancer":
            return ",".join([*filter(None, [_addresses(obj)]), *own]) or "<pending>"
        case "ExternalName":
            return spec.get("externalName") or ""
    return "<unknown>"


def _ports(obj: Object) -> str:
    pieces = []
    for port in at(obj, "spec", "ports") or ():
        node = f":{port['nodePort']}" if port.get("nodePort") else ""
        pieces.append(f"{port.get('port', 0)}{node}/{port.get('protocol', '')}")
    return ",".join(pieces) or "<none>"


def _endpoints(obj: Object) -> str:
    shown: list[str] = []
    total = 0
    for subset in obj.get("subsets") or ():
        addresses = subset.get("addresses") or ()
        ports: list[Object] = subset.get("ports") or [{}]
        for port in ports:
            total += len(addresses)
            suffix = f":{port['port']}" if port.get("port") else ""
            shown += [_joined(item.get("ip", ""), suffix) for item in addresses]
    if not obj.get("subsets"):
        return "<none>"
    text = ",".join(shown[:3])
    return f"{text} + {total - 3} more..." if len(shown) > 3 else text


def _joined(address: str, suffix: str) -> str:
    return f"[{address}]{suffix}" if suffix and ":" in address else f"{address}{suffix}"


def _default_endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            fill_empty(port, "protocol", "TCP")


STRATEGIES: dict[str, Strategy] = {
    "services": Strategy(
        default=_default_service,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        validate=_validate_service,
        validate_update=_validate_service_update,
        name_rule=names.dns_1035_label,
        has_status=True,
        create_on_update=True,
        returns_deleted=True,
        select=lambda obj: {
            "spec.clusterIP": at(obj, "spec", "clusterIP") or "",
            "spec.type": at(obj, "spec", "type") or "",
        },
        selectable=("spec.clusterIP", "spec.type"),
        columns=(
            columns.name(),
            columns.text("Type", "spec", "type"),
            columns.made("Cluster-IP", lambda obj: (at(obj, "spec", "clusterIPs") or ["<none>"])[0]),
            columns.made("External-IP", _external),
            columns.made("Port(s)", _ports),
            columns.age(),
            columns.made("Selector", lambda obj: columns.labels(at(obj, "spec", "selector")), wide=True),
        ),
    ),
    "endpoints": Strategy(
        default=_default_endpoints,
        create_on_update=True,
        columns=(columns.name(), columns.made("Endpoints", _endpoints), columns.age()),
    ),
}
"""By plural."""

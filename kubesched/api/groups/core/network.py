# SPDX-License-Identifier: Apache-2.0
"""Services and Endpoints. Source: pkg/apis/core/v1/defaults.go, pkg/apis/core/validation, pkg/registry/core, v1.36."""

from __future__ import annotations

import dataclasses

from kubesched.api import columns, names
from kubesched.api.columns import at
from kubesched.api.groups.core import endpoints, services
from kubesched.api.strategy import STATUS, Object, Strategy, fill, fill_empty

_WIDTH = 16  # of load balancer addresses in a table
_AFFINITY_SECONDS = 10800


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


def _prepare_update(new: Object, old: Object) -> None:
    """A client that leaves the address out keeps it."""
    before, after = old.get("spec") or {}, new.setdefault("spec", {})
    if before.get("type") != "ExternalName" and after.get("type") != "ExternalName":
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if before.get(name) is not None and not after.get(name):
                after[name] = before[name]
    services.drop_what_the_type_had(new, old)


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
        prepare_update=_prepare_update,
        validate=services.validate,
        validate_update=services.validate_update,
        parts={"status": dataclasses.replace(STATUS, validate=services.validate_status)},
        name_rule=names.label,
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
        validate=endpoints.validate,
        validate_update=endpoints.validate_update,
        create_on_update=True,
        columns=(columns.name(), columns.made("Endpoints", _endpoints), columns.age()),
    ),
}
"""By plural."""

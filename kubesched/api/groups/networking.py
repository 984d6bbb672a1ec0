# SPDX-License-Identifier: Apache-2.0
"""Ingresses, their classes, network policies, service networks.

Source: pkg/apis/networking/v1/defaults.go, pkg/registry/networking, v1.36.
"""

from __future__ import annotations

import dataclasses

from kubesched.api import checks, columns
from kubesched.api.columns import at
from kubesched.api.groups import service_network, traffic
from kubesched.api.strategy import STATUS, Object, Strategy, fill_empty

DEFAULT_MARK = "ingressclass.kubernetes.io/is-default-class"


def _default_policy(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]
    for rule in [*(spec.get("ingress") or ()), *(spec.get("egress") or ())]:
        for port in rule.get("ports") or ():
            fill_empty(port, "protocol", "TCP")


def _default_class(obj: Object) -> None:
    parameters = at(obj, "spec", "parameters")
    if parameters is not None and parameters.get("scope") is None:
        parameters["scope"] = "Cluster"


def _hosts(obj: Object) -> str:
    rules = at(obj, "spec", "rules") or ()
    hosts = [rule["host"] for rule in rules if rule.get("host")][:3]
    if not hosts:
        return "*"
    return ",".join(hosts) + (f" + {len(rules) - 3} more..." if len(rules) > 3 else "")


def _addresses(obj: Object) -> str:
    found = at(obj, "status", "loadBalancer", "ingress") or ()
    text = ",".join(sorted({item.get("ip") or item.get("hostname") or "" for item in found} - {""}))
    return f"{text[:13]}..." if len(text) > 16 else text


def _class_name(obj: Object) -> str:
    default = (obj["metadata"].get("annotations") or {}).get(DEFAULT_MARK) == "true"
    name: str = obj["metadata"]["name"]
    return f"{name} (default)" if default else name


def _parameters(obj: Object) -> str:
    found = at(obj, "spec", "parameters")
    if not found:
        return "<none>"
    kind = (
        f"{found.get('kind', '')}.{found['apiGroup']}" if found.get("apiGroup") is not None else found.get("kind", "")
    )
    return f"{kind}/{found.get('name', '')}"


def _parent(obj: Object) -> str:
    found = at(obj, "spec", "parentRef") or {}
    parts = (found.get("group"), found.get("resource"), found.get("namespace"), found.get("name"))
    return "/".join(part for part in parts if part)


STRATEGIES: dict[str, Strategy] = {
    "ingresses": Strategy(
        validate=traffic.ingress,
        validate_update=traffic.ingress_update,
        parts={"status": dataclasses.replace(STATUS, validate=traffic.ingress_status)},
        has_status=True,
        has_generation=True,
        columns=(
            columns.name(),
            columns.text("Class", "spec", "ingressClassName", empty="<none>"),
            columns.made("Hosts", _hosts),
            columns.made("Address", _addresses),
            columns.made("Ports", lambda obj: "80, 443" if at(obj, "spec", "tls") else "80"),
            columns.age(),
        ),
    ),
    "ingressclasses": Strategy(
        default=_default_class,
        validate=traffic.ingress_class,
        validate_update=traffic.ingress_class_update,
        has_generation=True,
        columns=(
            columns.made("Name", _class_name),
            columns.text("Controller", "spec", "controller"),
            columns.made("Parameters", _parameters),
            columns.age(),
        ),
    ),
    "networkpolicies": Strategy(
        default=_default_policy,
        validate=traffic.network_policy,
        validate_update=traffic.network_policy_update,
        has_generation=True,
        columns=(
            columns.name(),
            columns.made("Pod-Selector", lambda obj: columns.selector(at(obj, "spec", "podSelector"))),
            columns.age(),
        ),
    ),
    "servicecidrs": Strategy(
        validate=service_network.ranges,
        validate_update=service_network.ranges_update,
        has_status=True,
        columns=(
            columns.name(),
            columns.made("CIDRs", lambda obj: ",".join(at(obj, "spec", "cidrs") or ())),
            columns.age(),
        ),
    ),
    "ipaddresses": Strategy(
        validate=service_network.address,
        validate_update=service_network.address_update,
        name_rule=checks.canonical_address_errors,
        columns=(columns.name(), columns.made("ParentRef", _parent)),
    ),
}
"""By plural."""

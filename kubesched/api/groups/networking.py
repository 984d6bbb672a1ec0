# SPDX-License-Identifier: Apache-2.0
"""Ingresses, their classes, network policies, service networks.

Source: pkg/apis/networking/v1/defaults.go, pkg/registry/networking, v1.36.
"""

from __future__ import annotations

from kubesched.api import columns, names, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy, fill_empty

_DEFAULT_CLASS = "ingressclass.kubernetes.io/is-default-class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")


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


def _validate_ingress(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    found: list[FieldError] = []
    if not spec.get("rules") and spec.get("defaultBackend") is None:
        why = "either `defaultBackend` or `rules` must be specified"
        found.append(status.invalid_value("spec", spec.get("rules"), why))
    for i, rule in enumerate(spec.get("rules") or ()):
        if rule.get("host"):
            check = names.wildcard_subdomain if rule["host"].startswith("*") else names.subdomain
            found += [status.invalid_value(f"spec.rules[{i}].host", rule["host"], why) for why in check(rule["host"])]
        paths = at(rule, "http", "paths")
        if rule.get("http") is not None and not paths:
            found.append(status.required(f"spec.rules[{i}].http.paths"))
        for j, path in enumerate(paths or ()):
            found += _validate_path(path, f"spec.rules[{i}].http.paths[{j}]")
    return found


def _validate_path(path: Object, field: str) -> list[FieldError]:
    kind = path.get("pathType")
    found: list[FieldError] = []
    if kind is None:
        found.append(status.required(f"{field}.pathType", "pathType must be specified"))
    elif kind not in _PATH_TYPES:
        found.append(status.not_supported(f"{field}.pathType", kind, _PATH_TYPES))
    if kind in ("Exact", "Prefix") and not path.get("path", "").startswith("/"):
        found.append(status.invalid_value(f"{field}.path", path.get("path", ""), "must be an absolute path"))
    return found


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
    default = (obj["metadata"].get("annotations") or {}).get(_DEFAULT_CLASS) == "true"
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
        validate=_validate_ingress,
        validate_update=lambda new, old: _validate_ingress(new),
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
        has_generation=True,
        columns=(
            columns.name(),
            columns.made("Pod-Selector", lambda obj: columns.selector(at(obj, "spec", "podSelector"))),
            columns.age(),
        ),
    ),
    "servicecidrs": Strategy(
        has_status=True,
        columns=(
            columns.name(),
            columns.made("CIDRs", lambda obj: ",".join(at(obj, "spec", "cidrs") or ())),
            columns.age(),
        ),
    ),
    "ipaddresses": Strategy(columns=(columns.name(), columns.made("ParentRef", _parent))),
}
"""By plural."""

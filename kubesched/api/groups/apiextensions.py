# SPDX-License-Identifier: Apache-2.0
"""CustomResourceDefinitions. Source: apiextensions-apiserver/pkg/apis/apiextensions, v1.36."""

from __future__ import annotations

from kubesched.api import jsonpath, meta, names, status, structural
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy, fill, fill_empty

_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_MIN_VERSIONS = "must have exactly one version marked as storage version"


def _default(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    named = spec.setdefault("names", {})
    kind = named.get("kind") or ""
    fill_empty(named, "singular", kind.lower())
    named["listKind"] = named.get("listKind") or (f"{kind}List" if kind else "")
    fill(spec, "conversion", {"strategy": "None"})
    port = at(spec, "conversion", "webhook", "clientConfig", "service")
    if port is not None and port.get("port") is None:
        port["port"] = 443


def _prepare_create(obj: Object) -> None:
    stored = [item["name"] for item in at(obj, "spec", "versions") or () if item.get("storage")]
    empty = {"kind": "", "plural": ""}
    obj["status"] = {"conditions": None, "acceptedNames": empty, "storedVersions": stored[:1]}


def _prepare_update(new: Object, old: Object) -> None:
    """A new storage version joins those in which objects may be kept."""
    stored = list(at(new, "status", "storedVersions") or ())
    for item in at(new, "spec", "versions") or ():
        if item.get("storage") and item["name"] not in stored:
            new["status"] = {**(new.get("status") or {}), "storedVersions": [*stored, item["name"]]}


def _validate(obj: Object) -> list[FieldError]:
    spec = obj.get("spec") or {}
    out = _validate_names(obj["metadata"].get("name", ""), spec)
    if spec.get("scope") not in ("Cluster", "Namespaced"):
        out.append(status.not_supported("spec.scope", spec.get("scope", ""), ["Cluster", "Namespaced"]))
    if at(spec, "conversion", "strategy") != "None":
        why = "only the strategy None is supported by this server"
        out.append(status.forbidden_field("spec.conversion.strategy", why))
    if spec.get("preserveUnknownFields"):
        why = "must be false in order to use defaults in the schema"
        out.append(status.invalid_value("spec.preserveUnknownFields", True, why))
    versions = spec.get("versions") or []
    if not versions:
        out.append(status.required("spec.versions", "must have at least one version"))
    elif sum(bool(item.get("storage")) for item in versions) != 1:
        out.append(status.invalid_value("spec.versions", [item.get("name") for item in versions], _MIN_VERSIONS))
    seen: set[str] = set()
    for i, version in enumerate(versions):
        out += _validate_version(version, f"spec.versions[{i}]")
        if version.get("name") in seen:
            why = "must contain unique version names"
            out.append(status.invalid_value("spec.versions", [item.get("name") for item in versions], why))
        seen.add(version.get("name", ""))
    return out


def _validate_names(name: str, spec: Object) -> list[FieldError]:
    named, group = spec.get("names") or {}, spec.get("group", "")
    out: list[FieldError] = []
    if name != f"{named.get('plural', '')}.{group}":
        out.append(status.invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    if not group:
        out.append(status.required("spec.group"))
    else:
        out += [status.invalid_value("spec.group", group, why) for why in names.subdomain(group)]
        if "." not in group:
            out.append(status.invalid_value("spec.group", group, "should be a domain with at least one dot"))
    for field in ("plural", "singular", "kind", "listKind"):
        value = named.get(field, "")
        if not value:
            out.append(status.required(f"spec.names.{field}"))
        else:
            wrong = names.dns_1035_label(value.lower())
            out += [status.invalid_value(f"spec.names.{field}", value, why) for why in wrong]
    for i, short in enumerate(named.get("shortNames") or ()):
        wrong = names.dns_1035_label(short)
        out += [status.invalid_value(f"spec.names.shortNames[{i}]", short, why) for why in wrong]
    return out


def _validate_version(version: Object, field: str) -> list[FieldError]:
    name = version.get("name", "")
    out = [status.invalid_value(f"{field}.name", name, why) for why in names.dns_1035_label(name)]
    schema = at(version, "schema", "openAPIV3Schema")
    if schema is None:
        out.append(status.required(f"{field}.schema.openAPIV3Schema", "schemas are required"))
    else:
        out += structural.check(schema, f"{field}.schema.openAPIV3Schema")
    for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
        out += _validate_column(column, f"{field}.additionalPrinterColumns[{i}]")
    scale = at(version, "subresources", "scale")
    if scale is not None:
        for name, root in (("specReplicasPath", ".spec."), ("statusReplicasPath", ".status.")):
            if not scale.get(name, "").startswith(root):
                why = f"should be a json path under {root[:-1]}"
                out.append(status.invalid_value(f"{field}.subresources.scale.{name}", scale.get(name, ""), why))
    return out


def _validate_column(column: Object, field: str) -> list[FieldError]:
    out: list[FieldError] = []
    if not column.get("name"):
        out.append(status.required(f"{field}.name"))
    if column.get("type") not in _COLUMN_TYPES:
        out.append(status.not_supported(f"{field}.type", column.get("type", ""), _COLUMN_TYPES))
    try:
        jsonpath.compiled(column.get("jsonPath") or "")
    except jsonpath.PathError as error:
        out.append(
            status.invalid_value(f"{field}.jsonPath", column.get("jsonPath"), f"must be a simple json path: {error}")
        )
    return out


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    out = _validate(new)
    fixed = [("group",), ("names", "plural")]
    if meta.has_condition(old, "Established"):
        fixed += [("scope",), ("names", "kind")]
    for path in fixed:
        value = at(new, "spec", *path)
        if value != at(old, "spec", *path):
            out.append(status.invalid_value(".".join(("spec", *path)), value, "field is immutable"))
    return out


STRATEGIES: dict[str, Strategy] = {
    "customresourcedefinitions": Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        validate=_validate,
        validate_update=_validate_update,
        has_status=True,
        has_generation=True,
        unconditional_update=False,
    ),
}
"""By plural."""

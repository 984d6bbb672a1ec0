# SPDX-License-Identifier: Apache-2.0
"""CustomResourceDefinitions. Source: apiextensions-apiserver/pkg/apis/apiextensions, v1.36."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence

from kubesched.api import meta, names, structural, structure
from kubesched.api.columns import at
from kubesched.api.status import (
    FieldError,
    duplicate,
    forbidden_field,
    invalid_value,
    not_supported,
    required,
    too_many,
)
from kubesched.api.strategy import STATUS, Object, Strategy, fill, fill_empty

_SCOPES = ("Cluster", "Namespaced")
_NAMES = ("plural", "singular", "kind", "listKind")
_MIXED_CASE = ("kind", "listKind")
_COLUMN_TYPES = ("boolean", "date", "integer", "number", "string")
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_SCALE_PATHS = (
    ("specReplicasPath", (".spec",), True),
    ("statusReplicasPath", (".status",), True),
    ("labelSelectorPath", (".spec", ".status"), False),
)
"""The paths of a scale, under which fields they may lie, and whether there must be one."""
_MAX_WARNING = 256
_MAX_SELECTABLE = 8
_NOT_SELECTABLE = (
    "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."
)
_APPROVED = "api-approved.kubernetes.io"
_WHY_APPROVED = "https://github.com/kubernetes/enhancements/pull/1111"


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


def _validate(obj: Object, old: Object | None = None) -> list[FieldError]:
    """``old``: the definition that is changed; what is wrong with it already may stay so."""
    spec = obj.get("spec") or {}
    group, named = spec.get("group", ""), spec.get("names") or {}
    out: list[FieldError] = []
    name = obj["metadata"].get("name", "")
    if old is None and name != f"{named.get('plural', '')}.{group}":
        out.append(invalid_value("metadata.name", name, 'must be spec.names.plural+"."+spec.group'))
    out += _validate_group(group)
    if not spec.get("scope"):
        out.append(required("spec.scope"))
    elif spec["scope"] not in _SCOPES:
        out.append(not_supported("spec.scope", spec["scope"], _SCOPES))
    out += _validate_versions(spec.get("versions") or [])
    out += [required(f"spec.names.{field}") for field in _NAMES if not named.get(field)]
    out += _validate_names(named, "spec.names")
    if at(spec, "conversion", "strategy") != "None":
        why = "only the strategy None is supported by this server"
        out.append(forbidden_field("spec.conversion.strategy", why))
    out += _validate_stored(obj)
    out += _validate_approval(obj, old)
    if spec.get("preserveUnknownFields"):
        why = f"cannot set to true, set {structural.PRESERVE} to true in spec.versions[*].schema instead"
        out.append(invalid_value("spec.preserveUnknownFields", True, why))
    return out


def _validate_group(group: str) -> list[FieldError]:
    if not group:
        return [required("spec.group")]
    if wrong := names.subdomain(group):
        return [invalid_value("spec.group", group, ",".join(wrong))]
    return [] if "." in group else [invalid_value("spec.group", group, "should be a domain with at least one dot")]


def _validate_versions(versions: list[Object]) -> list[FieldError]:
    out: list[FieldError] = []
    for i, version in enumerate(versions):
        out += _validate_version(version, f"spec.versions[{i}]")
    known = [version.get("name", "") for version in versions]
    if len(set(known)) < len(known):
        out.append(invalid_value("spec.versions", known, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        why = "must have exactly one version marked as storage version"
        out.append(invalid_value("spec.versions", known, why))
    return out


def _validate_names(named: Object, field: str) -> list[FieldError]:
    out: list[FieldError] = []
    for name in _NAMES:
        value = named.get(name) or ""
        if value and (wrong := names.dns_1035_label(value.lower() if name in _MIXED_CASE else value)):
            before = "may have mixed case, but should otherwise match: " if name in _MIXED_CASE else ""
            out.append(invalid_value(f"{field}.{name}", value, before + ",".join(wrong)))
    out += _validate_labels(named.get("shortNames") or (), f"{field}.shortNames")
    if named.get("kind") and named["kind"] == named.get("listKind"):
        why = "kind and listKind may not be the same"
        out.append(invalid_value(f"{field}.listKind", named["listKind"], why))
    return out + _validate_labels(named.get("categories") or (), f"{field}.categories")


def _validate_labels(values: Sequence[str], field: str) -> list[FieldError]:
    return [
        invalid_value(f"{field}[{i}]", value, ",".join(wrong))
        for i, value in enumerate(values)
        if (wrong := names.dns_1035_label(value))
    ]


def _validate_stored(obj: Object) -> list[FieldError]:
    """Objects may lie in the store in every version that once was the stored one."""
    stored = list(at(obj, "status", "storedVersions") or ())
    field, versions = "status.storedVersions", at(obj, "spec", "versions") or ()
    if not stored:
        return [invalid_value(field, stored, "must have at least one stored version")]
    out = [
        invalid_value(field, stored, f"must have the storage version {version['name']}")
        for version in versions
        if version.get("storage") and version["name"] not in stored
    ]
    known = {version["name"] for version in versions}
    for i, name in enumerate(stored):
        if name not in known:
            why = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            out.append(invalid_value(f"{field}[{i}]", name, why))
    return out


def _validate_approval(obj: Object, old: Object | None) -> list[FieldError]:
    """Groups of the Kubernetes community are for APIs that it approved."""
    group = at(obj, "spec", "group") or ""
    if not any(group == owner or group.endswith(f".{owner}") for owner in ("k8s.io", "kubernetes.io")):
        return []
    text, why = _approval(obj)
    if not why or (old is not None and _approval(old)[1] == why):
        return []
    field = f"metadata.annotations[{_APPROVED}]"
    return [invalid_value(field, text, why)] if text else [required(field, why)]


def _approval(obj: Object) -> tuple[str, str]:
    """The annotation, and what is wrong with it."""
    text = (obj["metadata"].get("annotations") or {}).get(_APPROVED, "")
    url = urllib.parse.urlsplit(text)
    if text.startswith("unapproved") or (url.scheme and url.netloc):
        return text, ""
    form = ' with either a URL or a reason starting with "unapproved"' if text else ""
    return text, f'protected groups must have approval annotation "{_APPROVED}"{form}, see {_WHY_APPROVED}'


def _validate_version(version: Object, field: str) -> list[FieldError]:
    name, schema = version.get("name", ""), at(version, "schema", "openAPIV3Schema")
    out: list[FieldError] = []
    if schema is None:
        out.append(required(f"{field}.schema.openAPIV3Schema"))
    if wrong := names.dns_1035_label(name):
        out.append(invalid_value(f"{field}.name", name, ",".join(wrong)))
    warning = version.get("deprecationWarning")
    out += [invalid_value(f"{field}.deprecationWarning", warning, why) for why in _wrong_warning(version)]
    if schema is not None:
        has_status = at(version, "subresources", "status") is not None
        out += structure.check(schema, f"{field}.schema.openAPIV3Schema", has_status=has_status)
    out += _validate_scale(at(version, "subresources", "scale"), f"{field}.subresources.scale")
    for i, column in enumerate(version.get("additionalPrinterColumns") or ()):
        out += _validate_column(column, f"{field}.additionalPrinterColumns[{i}]")
    return out + _validate_selectable(version.get("selectableFields") or (), schema or {}, f"{field}.selectableFields")


def _wrong_warning(version: Object) -> Iterator[str]:
    warning = version.get("deprecationWarning")
    if warning is None:
        return
    if not version.get("deprecated"):
        yield "can only be set for deprecated versions"
        return
    if len(warning.encode()) > _MAX_WARNING:
        yield f"must be <= {_MAX_WARNING} characters long"
    if not warning:
        yield "must not be an empty string"
    for i, letter in enumerate(warning):
        if not letter.isprintable():
            at_byte = len(warning[:i].encode())
            yield f"must only contain printable UTF-8 characters; non-printable character found at index {at_byte}"
            return


def _validate_scale(scale: Object | None, field: str) -> list[FieldError]:
    out: list[FieldError] = []
    for name, roots, is_needed in _SCALE_PATHS:
        path = (scale or {}).get(name) or ""
        if scale is None or not (path or is_needed):
            continue
        if not path:
            out.append(required(f"{field}.{name}"))
        elif not path.startswith("."):
            out.append(invalid_value(f"{field}.{name}", path, "must be a simple json path starting with ."))
        elif not path.startswith(tuple(f"{root}." for root in roots)):
            under = roots[0] if len(roots) == 1 else f"either {' or '.join(roots)}"
            out.append(invalid_value(f"{field}.{name}", path, f"should be a json path under {under}"))
    return out


def _validate_column(column: Object, field: str) -> list[FieldError]:
    out: list[FieldError] = []
    kind, form, path = (column.get(name) or "" for name in ("type", "format", "jsonPath"))
    if not column.get("name"):
        out.append(required(f"{field}.name"))
    if kind not in _COLUMN_TYPES:
        why = f"must be one of {','.join(_COLUMN_TYPES)}"
        out.append(invalid_value(f"{field}.type", kind, why) if kind else required(f"{field}.type", why))
    if form and form not in _COLUMN_FORMATS:
        out.append(invalid_value(f"{field}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not path:
        out.append(required(f"{field}.JSONPath"))
    elif not path.startswith("."):
        out.append(invalid_value(f"{field}.JSONPath", path, "must be a simple json path starting with ."))
    return out


def _validate_selectable(found: Sequence[Object], schema: structural.Schema, field: str) -> list[FieldError]:
    out: list[FieldError] = []
    seen: set[str] = set()
    for i, item in enumerate(found):
        path, here = item.get("jsonPath") or "", f"{field}[{i}].jsonPath"
        if not path:
            out.append(required(here))
            continue
        kind, wrong = _selected(path, schema)
        if wrong:
            out.append(invalid_value(here, path, f"is an invalid path: {wrong}"))
            continue
        if path.split(".")[1] == "metadata":
            out.append(invalid_value(here, path, "must not point to fields in metadata"))
        if kind not in ("string", "boolean", "integer"):
            out.append(invalid_value(here, path, _NOT_SELECTABLE))
        if path in seen:
            out.append(duplicate(here, path))
        seen.add(path)
    if len(seen) > _MAX_SELECTABLE:
        out.append(too_many(field, len(seen), _MAX_SELECTABLE))
    return out


def _selected(path: str, schema: structural.Schema) -> tuple[str, str]:
    """The type of the field that a path leads to, or what is wrong with the path."""
    first, *steps = path.split(".")
    if first:
        return "", f"expected [ or . but got: {first.partition('[')[0]}"
    if "[" in path:
        return "", "array notation is not allowed"
    if not all(steps):
        return "", "does not refer to a valid field"
    for step in steps:
        known, rest = schema.get("properties"), schema.get("additionalProperties")
        found = known.get(step) if known else rest
        if not isinstance(found, Mapping):
            return "", "does not refer to a valid field"
        schema = found
    return schema.get("type", ""), ""


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    out = _validate(new, old)
    fixed = [("group",), ("names", "plural")]
    if meta.has_condition(old, "Established"):
        fixed = [("scope",), ("names", "kind"), *fixed]
    for path in fixed:
        value = at(new, "spec", *path)
        if value != at(old, "spec", *path):
            out.append(invalid_value(".".join(("spec", *path)), value, "field is immutable"))
    return out


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    return _validate_names(at(new, "status", "acceptedNames") or {}, "status.acceptedNames")


STRATEGIES: dict[str, Strategy] = {
    "customresourcedefinitions": Strategy(
        default=_default,
        prepare_create=_prepare_create,
        prepare_update=_prepare_update,
        validate=_validate,
        validate_update=_validate_update,
        parts={"status": dataclasses.replace(STATUS, validate=_validate_status)},
        has_status=True,
        has_generation=True,
        unconditional_update=False,
    ),
}
"""By plural."""

# SPDX-License-Identifier: Apache-2.0
"""May a definition have this schema? Whether it is structural, in itself right, and its defaults fit it.

A schema says what there is by its own properties, items and additionalProperties; what stands in alternatives (allOf,
anyOf, oneOf, not) may only judge values that are so described.
Source: apiextensions-apiserver/pkg/apis/apiextensions/validation and pkg/apiserver/schema, v1.36.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from kubesched.api import structural
from kubesched.api.status import FieldError, forbidden_field, invalid_shape, invalid_value, not_supported, required
from kubesched.api.structural import EMBEDDED, INT_OR_STRING, JUNCTORS, PRESERVE, TYPES, Schema

_RULES = "x-kubernetes-validations"
_LIST_TYPE = "x-kubernetes-list-type"
_LIST_KEYS = "x-kubernetes-list-map-keys"
_MAP_TYPE = "x-kubernetes-map-type"
_LIST_TYPES = ("atomic", "set", "map")
_OF_RESOURCES = ("metadata", "kind", "apiVersion")
_UNSUPPORTED = ("id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref")
_NOT_IN_ALTERNATIVES = {
    "type": "empty",
    "default": "undefined",
    "title": "empty",
    "description": "empty",
    "nullable": "false",
    PRESERVE: "false",
    EMBEDDED: "false",
    INT_OR_STRING: "false",
    _LIST_KEYS: "empty",
    _LIST_TYPE: "undefined",
    _MAP_TYPE: "undefined",
    _RULES: "empty",
}
"""What alternatives must not say, and how it must be instead."""
_EITHER = [{"type": "integer"}, {"type": "string"}]
"""The customary alternatives beside x-kubernetes-int-or-string, which may name types."""
_BESIDE_STATUS = (
    "description type format title maximum exclusiveMaximum minimum exclusiveMinimum maxLength minLength pattern "
    "maxItems minItems uniqueItems multipleOf required items properties externalDocs example "
    f"{PRESERVE} {_RULES}"
).split()
"""What a schema may have at its root where the status is written by itself."""
_BESIDE_STATUS_TEXT = " ".join(
    {PRESERVE: "XPreserveUnknownFields", _RULES: "XValidations"}.get(name, name[:1].upper() + name[1:])
    for name in _BESIDE_STATUS
)


def check(found: Schema, field: str, *, has_status: bool = False) -> list[FieldError]:
    """What is wrong with the schema of a version at a field."""
    out = list(_root(found, field, has_status))
    if _is_readable(found):
        wrong = sorted([*_invariants(found, field, "root"), *_incomplete(found, found, field, field)], key=str)
        out += wrong or _wrong_defaults(found, field)
    return [*out, *_schema(found, field, _Place(is_root=True))]


def _root(found: Schema, field: str, has_status: bool) -> Iterator[FieldError]:
    if has_status and any(found[name] for name in found if name not in _BESIDE_STATUS):
        where = "at the root of the schema if the status subresource is enabled"
        yield invalid_shape(field, f"only [{_BESIDE_STATUS_TEXT}] fields are allowed {where}")
    if found.get("nullable"):
        yield forbidden_field(f"{field}.nullable", "nullable cannot be true at the root")


def _parts(found: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas of what it describes, and the paths to them."""
    for name, inner in (found.get("properties") or {}).items():
        yield f".properties[{name}]", inner
    for name in ("additionalProperties", "items"):
        if isinstance(found.get(name), Mapping):
            yield f".{name}", found[name]


def _alternatives(found: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas of its alternatives, and the paths to them."""
    for name in JUNCTORS:
        for i, inner in enumerate(found.get(name) or ()):
            yield f".{name}[{i}]", inner
    if isinstance(found.get("not"), Mapping):
        yield ".not", found["not"]


def _is_readable(found: Schema) -> bool:
    """Whether it has a structure that can be judged; if not, `_schema` names what is in the way."""
    if any(found.get(name) for name in (*_UNSUPPORTED, "$schema")) or isinstance(found.get("items"), list):
        return False
    if found.get(PRESERVE) is False:
        return False
    return all(_is_readable(inner) for _, inner in (*_parts(found), *_alternatives(found)))


# ---- is it structural ----

_TYPE_MISSING = {
    "root": "must not be empty at the root",
    "item": "must not be empty for specified array items",
    "field": "must not be empty for specified object fields",
}


def _invariants(found: Schema, field: str, level: str) -> Iterator[FieldError]:
    kind, rest = found.get("type", ""), found.get("additionalProperties")
    if kind == "array" and found.get("items") is None:
        yield required(f"{field}.items", "must be specified")
    if rest is not None and level == "root":
        yield forbidden_field(f"{field}.additionalProperties", "must not be used at the root")
    for path, inner in _parts(found):
        yield from _invariants(inner, field + path, "item" if path == ".items" else "field")
    if found.get(INT_OR_STRING):
        for name in (PRESERVE, EMBEDDED):
            if found.get(name):
                yield invalid_value(f"{field}.{name}", True, f"must be false if {INT_OR_STRING} is true")
    yield from _judging(found, field)
    yield from _type(found, field, level)
    if found.get(EMBEDDED):
        yield from _embedded(found, field)
    if level == "root" or found.get(EMBEDDED):
        yield from _resource(found.get("properties") or {}, f"{field}.properties", level)


def _type(found: Schema, field: str, level: str) -> Iterator[FieldError]:
    kind = found.get("type", "")
    if found.get(EMBEDDED) and kind != "object":
        why = f"must be object if {EMBEDDED} is true"
        yield invalid_value(f"{field}.type", kind, why) if kind else required(f"{field}.type", why)
    elif not kind and not found.get(INT_OR_STRING) and not found.get(PRESERVE):
        yield required(f"{field}.type", _TYPE_MISSING[level])
    if level == "root" and kind and kind != "object":
        yield invalid_value(f"{field}.type", kind, "must be object at the root")


def _embedded(found: Schema, field: str) -> Iterator[FieldError]:
    if found.get("additionalProperties") is not None:
        yield forbidden_field(f"{field}.additionalProperties", f"must not be used if {EMBEDDED} is set")
    if not found.get(PRESERVE) and not found.get("properties"):
        why = f"must not be empty if {EMBEDDED} is true without {PRESERVE}"
        yield required(f"{field}.properties", why)


def _resource(properties: Mapping[str, Schema], field: str, level: str) -> Iterator[FieldError]:
    """What all objects have can be restricted, but not changed."""
    for name in ("kind", "apiVersion"):
        kind = properties.get(name, {"type": "string"}).get("type", "")
        if kind != "string":
            yield invalid_value(f"{field}[{name}].type", kind, "must be string")
    metadata = properties.get("metadata")
    if metadata is None:
        return
    if metadata.get("type", "") != "object":
        yield invalid_value(f"{field}[metadata].type", metadata.get("type", ""), "must be object")
    told = {name for name, value in metadata.items() if value} - {"type", "default", "properties"}
    if level == "root" and (told or set(metadata.get("properties") or ()) - {"name", "generateName"}):
        why = "must not specify anything other than name and generateName, but metadata is implicitly specified"
        yield forbidden_field(f"{field}[metadata]", why)


def _judging(found: Schema, field: str, *, skip_first: bool = False) -> Iterator[FieldError]:
    """What is wrong with alternatives; ``skip_first``: anyOf may be the customary one of integers and strings."""
    either = skip_first or found.get("anyOf") == _EITHER
    customary = any(inner.get("anyOf") == _EITHER for inner in (found.get("allOf") or ())[:1])
    for path, inner in _alternatives(found):
        if not (either and path.startswith(".anyOf")):
            yield from _alternative(inner, field + path, skip_first=customary and path == ".allOf[0]")
    pattern = found.get("pattern")
    if pattern and structural.compiled(pattern) is None:
        yield invalid_value(f"{field}.pattern", pattern, "must be a valid regular expression, but isn't")


def _alternative(found: Schema, field: str, *, skip_first: bool = False) -> Iterator[FieldError]:
    yield from _judging(found, field, skip_first=skip_first)
    if found.get("additionalProperties") not in (None, False):
        yield forbidden_field(f"{field}.additionalProperties", "must be undefined to be structural")
    for path, inner in _parts(found):
        if path != ".additionalProperties":
            yield from _alternative(inner, field + path)
    for name, instead in _NOT_IN_ALTERNATIVES.items():
        if found.get(name) not in (None, "", False, []):
            yield forbidden_field(f"{field}.{name}", f"must be {instead} to be structural")
    if "metadata" in (found.get("properties") or {}):
        yield forbidden_field(f"{field}.properties[metadata]", "must not be specified in a nested context")


def _incomplete(judging: Schema, found: Schema | None, field: str, by: str) -> Iterator[FieldError]:
    """Alternatives at ``by`` that judge what the schema at ``field`` does not describe."""
    for path, inner in _alternatives(judging):
        yield from _incomplete(inner, found, field, by + path)
        yield from _undescribed(inner, found or {}, field, by + path)


def _undescribed(judging: Schema, found: Schema, field: str, by: str) -> Iterator[FieldError]:
    described = dict(_parts(found))
    for path, inner in _parts(judging):
        if path == ".additionalProperties":
            continue  # refused as such
        if path not in described:
            yield required(field + path, f"because it is defined in {by + path}")
            continue
        yield from _incomplete(inner, described[path], field + path, by + path)
        yield from _undescribed(inner, described[path], field + path, by + path)


# ---- defaults ----


def _wrong_defaults(found: Schema, field: str, *, is_resource: bool = True, in_meta: bool = False) -> list[FieldError]:
    out: list[FieldError] = []
    is_resource = is_resource or bool(found.get(EMBEDDED))
    value = found.get("default")
    if value is not None:
        if not in_meta and _has_unknown(value, found):
            out.append(invalid_value(f"{field}.default", value, "must not have unknown fields"))
        out += structural.validate(value, found, f"{field}.default")
    for path, inner in _parts(found):
        if path == ".additionalProperties":
            continue  # no defaults there
        meta = is_resource and path.removeprefix(".properties").strip("[]") in _OF_RESOURCES
        out += _wrong_defaults(inner, field + path, is_resource=False, in_meta=in_meta or meta)
    return out


def _has_unknown(value: Any, found: Schema | None) -> bool:
    """Whether something in a value would be pruned."""
    if isinstance(value, list):
        return any(_has_unknown(item, (found or {}).get("items")) for item in value)
    if not isinstance(value, dict):
        return False
    if found is None:
        return bool(value)
    known, rest = found.get("properties") or {}, found.get("additionalProperties")
    for name, item in value.items():
        if found.get(EMBEDDED) and name in _OF_RESOURCES:
            continue
        if name in known or rest is not None:
            inner = known.get(name, rest)
            if _has_unknown(item, inner if isinstance(inner, Mapping) else None):
                return True
        elif not found.get(PRESERVE):
            return True
    return False


# ---- is it right in itself ----


@dataclasses.dataclass(frozen=True, slots=True)
class _Place:
    """Where in a schema."""

    is_root: bool = False
    in_meta: bool = False
    no_defaults: str = ""  # why there may be none


def _schema(found: Schema, field: str, place: _Place) -> Iterator[FieldError]:
    yield from _standard(found, field, place)
    yield from _maps(found, field)
    yield from _lists(found, field)
    rest = dataclasses.replace(place, is_root=False)
    for path, inner in _parts(found):
        name = path.removeprefix(".properties").strip("[]")
        below = rest
        if path == ".additionalProperties" and rest.in_meta:
            below = dataclasses.replace(rest, no_defaults="inside additionalProperties applying to object metadata")
        elif (place.is_root or found.get(EMBEDDED)) and path.startswith(".properties") and name in _OF_RESOURCES:
            why = f"in top-level {name}" if place.is_root else rest.no_defaults
            below = dataclasses.replace(rest, in_meta=True, no_defaults=why)
        yield from _schema(inner, field + path, below)
    for path, inner in _alternatives(found):
        yield from _schema(inner, field + path, rest)


def _standard(found: Schema, field: str, place: _Place) -> Iterator[FieldError]:
    kind = found.get("type", "")
    if kind and kind not in TYPES:
        yield not_supported(f"{field}.type", kind, TYPES)
    if found.get("default") is not None and place.no_defaults:
        yield forbidden_field(f"{field}.default", f"must not be set {place.no_defaults}")
    for name in _UNSUPPORTED:
        if found.get(name) not in (None, "", {}, []):
            yield forbidden_field(f"{field}.{name}", f"{name} is not supported")
    if kind == "null":
        yield forbidden_field(f"{field}.type", "type cannot be set to null, use nullable as an alternative")
    if isinstance(found.get("items"), list):
        yield forbidden_field(f"{field}.items", "items must be a schema object and not an array")
    if place.in_meta and found.get(EMBEDDED):
        yield forbidden_field(f"{field}.{EMBEDDED}", "must not be used inside of resource meta")
    if found.get("uniqueItems"):
        why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
        yield forbidden_field(f"{field}.uniqueItems", why)


def _maps(found: Schema, field: str) -> Iterator[FieldError]:
    kind, map_type = found.get("type", ""), found.get(_MAP_TYPE)
    if found.get("properties") and found.get("additionalProperties") not in (None, True):
        why = "additionalProperties and properties are mutual exclusive"
        yield forbidden_field(f"{field}.additionalProperties", why)
    if found.get(PRESERVE) is False:
        yield invalid_value(f"{field}.{PRESERVE}", False, "must be true or undefined")
    if map_type is not None:
        yield from _must_be("object", kind, field, _MAP_TYPE)
        if map_type not in ("atomic", "granular"):
            yield not_supported(f"{field}.{_MAP_TYPE}", map_type, ["atomic", "granular"])


def _must_be(wanted: str, kind: str, field: str, because: str) -> Iterator[FieldError]:
    if kind != wanted:
        why = f"must be {wanted} if {because} is specified"
        yield invalid_value(f"{field}.type", kind, why) if kind else required(f"{field}.type", why)


def _lists(found: Schema, field: str) -> Iterator[FieldError]:
    kind, list_type, keys = found.get("type", ""), found.get(_LIST_TYPE), found.get(_LIST_KEYS) or []
    items = found.get("items")
    if list_type is not None:
        yield from _must_be("array", kind, field, _LIST_TYPE)
        if kind == "array" and list_type == "set" and isinstance(items, Mapping):
            yield from _set_item(items, f"{field}.items")
        if list_type not in _LIST_TYPES:
            yield not_supported(f"{field}.{_LIST_TYPE}", list_type, _LIST_TYPES)
    if keys and list_type != "map":
        why = f"must be map if {_LIST_KEYS} is non-empty"
        at = f"{field}.{_LIST_TYPE}"
        yield required(at, why) if list_type is None else invalid_value(at, list_type, why)
    if list_type == "map":
        if not keys:
            yield required(f"{field}.{_LIST_KEYS}", f"must not be empty if {_LIST_TYPE} is map")
        yield from _map_items(items, keys, field)
    if list_type in ("set", "map") and isinstance(items, Mapping):
        if items.get("nullable"):
            yield forbidden_field(f"{field}.items.nullable", f"cannot be nullable when {_LIST_TYPE} is {list_type}")
        if list_type == "map":
            yield from _key_fields(items, keys, f"{field}.items.properties")


def _set_item(items: Schema, field: str) -> Iterator[FieldError]:
    of, name = {"array": ("atomic", _LIST_TYPE), "object": (None, _MAP_TYPE)}.get(items.get("type", ""), (None, ""))
    if name and items.get(name, of) != "atomic":
        yield invalid_value(
            f"{field}.{name}", items.get(_LIST_TYPE), f"must be atomic as item of a list with {_LIST_TYPE}=set"
        )


def _map_items(items: Any, keys: list[str], field: str) -> Iterator[FieldError]:
    if items is None:
        yield required(f"{field}.items", f"must have a schema if {_LIST_TYPE} is map")
    if not isinstance(items, Mapping):
        return
    kind = items.get("type", "")
    if kind != "object":
        why = f"must be object if parent array's {_LIST_TYPE} is map"
        yield invalid_value(f"{field}.items.type", kind, why)
        return
    known = items.get("properties") or {}
    for i, key in enumerate(keys):
        if key not in known:
            yield invalid_value(f"{field}.{_LIST_KEYS}", keys, "entries must all be names of item properties")
        elif known[key].get("type") in ("array", "object"):
            why = f"must be a scalar type if parent array's {_LIST_TYPE} is map"
            yield invalid_value(f"{field}.items.properties[{key}].type", kind, why)
        if key in keys[:i]:
            yield invalid_value(f"{field}.{_LIST_KEYS}", keys, "must not contain duplicate entries")


def _key_fields(items: Schema, keys: list[str], field: str) -> Iterator[FieldError]:
    """Each item has its key."""
    why = f"this property is in {_LIST_KEYS}, so it"
    for key in keys:
        found = (items.get("properties") or {}).get(key)
        if found is None:
            continue
        if key not in (items.get("required") or ()) and found.get("default") is None:
            yield required(f"{field}[{key}].default", f"{why} must have a default or be a required property")
        if found.get("nullable"):
            yield forbidden_field(f"{field}[{key}].nullable", f"{why} cannot be nullable")

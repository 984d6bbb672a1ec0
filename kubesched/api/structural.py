# SPDX-License-Identifier: Apache-2.0
"""Schemas of custom resources: structural OpenAPI v3, and what one says of an object.

What is allowed in a schema, `structure` says.

Source: apiextensions-apiserver/pkg/apiserver/schema and pkg/apiserver/validation, kube-openapi/pkg/validation, v1.36.
"""

from __future__ import annotations

import base64
import binascii
import datetime
import functools
import ipaddress
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from kubesched.api import schema, status
from kubesched.api.schema import Field, ListType, Shape, Type
from kubesched.api.status import Cause, FieldError, invalid_value

Schema = Mapping[str, Any]

INT_OR_STRING = "x-kubernetes-int-or-string"
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"
TYPES = ("array", "boolean", "integer", "number", "object", "string")
JUNCTORS = ("allOf", "anyOf", "oneOf")
_SORTED = orjson.OPT_SORT_KEYS
_SHAPES = {
    "boolean": Shape.BOOLEAN,
    "integer": Shape.INTEGER,
    "number": Shape.NUMBER,
    "string": Shape.STRING,
}


# ---- the type ----


def type_of(found: Schema | None) -> Type:
    """The type of a custom resource with this schema; kind, apiVersion and metadata are what all objects have."""
    root = _type(found or {PRESERVE: True, "type": "object"})
    common = {
        "apiVersion": Field("apiVersion", _SCALAR["string"]),
        "kind": Field("kind", _SCALAR["string"]),
        "metadata": Field("metadata", schema.named(f"{schema.META}.ObjectMeta")),
    }
    return Type(
        "", Shape.OBJECT, fields={**root.fields, **common}, preserve_unknown=root.preserve_unknown, element=root.element
    )


_SCALAR = {name: Type("", shape, go=name) for name, shape in _SHAPES.items()}
_ANY = Type("", Shape.ANY)


def _type(found: Schema) -> Type:
    if found.get(INT_OR_STRING):
        return Type("", Shape.INT_OR_STRING)
    kind = found.get("type", "")
    if kind in _SCALAR:
        return _SCALAR[kind]
    if kind == "array":
        return _list_type(found)
    if kind != "object":
        return _ANY
    atomic = found.get("x-kubernetes-map-type") == "atomic"
    values = found.get("additionalProperties")
    if isinstance(values, Mapping):
        return Type("", Shape.MAP, element=_type(values) if values else _ANY, atomic=atomic)
    if values and not found.get("properties"):
        return Type("", Shape.MAP, element=_ANY, atomic=atomic)
    fields = {name: Field(name, _type(item), default=item.get("default")) for name, item in _properties(found)}
    if found.get(EMBEDDED):
        for name in ("apiVersion", "kind"):
            fields.setdefault(name, Field(name, _SCALAR["string"]))
        fields.setdefault("metadata", Field("metadata", schema.named(f"{schema.META}.ObjectMeta")))
    keeps = bool(found.get(PRESERVE) or values)
    return Type("", Shape.OBJECT, fields=fields, atomic=atomic, preserve_unknown=keeps)


def _list_type(found: Schema) -> Type:
    keys = tuple(found.get("x-kubernetes-list-map-keys") or ())
    kind = ListType(found.get("x-kubernetes-list-type") or "atomic")
    element = _type(found.get("items") or {})
    return Type("", Shape.LIST, element=element, list_type=kind, keys=keys)


def _properties(found: Schema) -> Iterator[tuple[str, Schema]]:
    yield from (found.get("properties") or {}).items()


# ---- defaults ----


def default(value: Any, found: Schema) -> None:
    """Put defaults into a value, in place; null is no value where a default stands and null may not."""
    if isinstance(value, dict):
        for name, item in _properties(found):
            absent = name not in value or (value[name] is None and not item.get("nullable"))
            if absent and "default" in item:
                value[name] = _copy(item["default"])
            elif name in value and value[name] is None and not item.get("nullable"):
                del value[name]
            if name in value:
                default(value[name], item)
        rest = found.get("additionalProperties")
        if isinstance(rest, Mapping):
            for item in value.values():
                default(item, rest)
    elif isinstance(value, list) and isinstance(found.get("items"), Mapping):
        for item in value:
            default(item, found["items"])


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _copy(item) for name, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list) else value


# ---- validation ----


_UNSEEN = object()
"""There is no old value, or none that a value comes from."""


def validate(value: Any, found: Schema, field: str = "", old: Any = _UNSEEN) -> list[FieldError]:
    """What is wrong with a value, in the words of upstream's validator.

    What did not change since ``old`` may stay wrong: a schema may become stricter than the objects that are there.
    """
    out = list(_validate(value, found, field, old))
    if old is _UNSEEN or not any(_repeated(old, found, field)):
        out += _repeated(value, found, field)
    return out


def _type_name(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "number"
        case str():
            return "string"
        case list():
            return "array"
    return "object"


def _in(field: str, text: str) -> str:
    return f"{field} in body {text}"


def _validate(value: Any, found: Schema, field: str, old: Any = _UNSEEN) -> list[FieldError]:
    out = list(_wrong(value, found, field, old))
    return [] if out and old is not _UNSEEN and _alike(value, old) else out


def _alike(value: Any, old: Any) -> bool:
    """Whether both are the same JSON: ``True`` is not 1."""
    return value == old and orjson.dumps(value, option=_SORTED) == orjson.dumps(old, option=_SORTED)


def _wrong(value: Any, found: Schema, field: str, old: Any) -> Iterator[FieldError]:
    if value is None and found.get("nullable"):
        return
    actual, wanted = _type_name(value), found.get("type", "")
    if found.get(INT_OR_STRING):
        if actual not in ("integer", "string"):
            text = _in(field, f'must be of type integer,string: "{actual}"')
            yield FieldError(Cause.TYPE_INVALID, field, actual, text)
            return
    elif wanted and actual != wanted and not (wanted == "number" and actual == "integer"):
        yield FieldError(Cause.TYPE_INVALID, field, actual, _in(field, f'must be of type {wanted}: "{actual}"'))
        return
    if found.get("enum") and value not in found["enum"]:
        yield status.not_supported(field, value, [str(item) for item in found["enum"]])
    match value:
        case dict():
            yield from _validate_object(value, found, field, old)
        case list():
            yield from _validate_list(value, found, field, old)
        case str():
            yield from _validate_text(value, found, field)
        case bool():
            pass
        case int() | float():
            yield from _validate_number(value, found, field)
    yield from _validate_logic(value, found, field)


def _validate_object(value: dict[str, Any], found: Schema, field: str, old: Any) -> Iterator[FieldError]:
    for name in found.get("required") or ():
        if name not in value:
            yield status.required(_below(field, name))
    if len(value) > found.get("maxProperties", math.inf):
        yield status.too_many(field, len(value), found["maxProperties"])
    if len(value) < found.get("minProperties", 0):
        yield invalid_value(field, value, _in(field, f"should have at least {found['minProperties']} properties"))
    known = found.get("properties") or {}
    rest = found.get("additionalProperties")
    before = old if isinstance(old, dict) and found.get("x-kubernetes-map-type") != "atomic" else {}
    for name, item in value.items():
        inner = known.get(name, rest)
        if isinstance(inner, Mapping):
            yield from _validate(item, inner, _below(field, name), before.get(name, _UNSEEN))


def _below(field: str, name: str) -> str:
    return f"{field}.{name}" if field else name


def _validate_list(value: list[Any], found: Schema, field: str, old: Any) -> Iterator[FieldError]:
    if len(value) > found.get("maxItems", math.inf):
        yield status.too_many(field, len(value), found["maxItems"])
    if len(value) < found.get("minItems", 0):
        yield invalid_value(field, len(value), _in(field, f"should have at least {found['minItems']} items"))
    items = found.get("items")
    if isinstance(items, Mapping):
        before = _by_keys(old, found)
        for i, item in enumerate(value):
            yield from _validate(item, items, f"{field}[{i}]", before.get(_identity(item, found), _UNSEEN))


def _by_keys(value: Any, found: Schema) -> dict[bytes, Any]:
    """The items of a list of type map; those of others cannot be told apart."""
    if not isinstance(value, list) or found.get("x-kubernetes-list-type") != "map":
        return {}
    return {_identity(item, found): item for item in value}


def _identity(item: Any, found: Schema) -> bytes:
    """What an item of a list must not share with another; empty where there is no such thing."""
    kind, keys = found.get("x-kubernetes-list-type"), found.get("x-kubernetes-list-map-keys") or ()
    if kind == "map" and isinstance(item, dict):
        item = {key: item[key] for key in keys if key in item}
    elif kind != "set":
        return b""
    return orjson.dumps(item, option=_SORTED)


def _repeated(value: Any, found: Schema, field: str) -> Iterator[FieldError]:
    """Items of lists of the types set and map that stand twice."""
    if isinstance(value, dict):
        known, rest = found.get("properties") or {}, found.get("additionalProperties")
        for name, item in value.items():
            inner = known.get(name, rest)
            if isinstance(inner, Mapping):
                yield from _repeated(item, inner, _below(field, name))
    elif isinstance(value, list):
        seen: set[bytes] = set()
        for i, item in enumerate(value):
            identity = _identity(item, found)
            if identity and identity in seen:
                yield status.duplicate(f"{field}[{i}]", orjson.loads(identity))
            seen.add(identity)
            if isinstance(found.get("items"), Mapping):
                yield from _repeated(item, found["items"], f"{field}[{i}]")


def _validate_text(value: str, found: Schema, field: str) -> Iterator[FieldError]:
    if len(value) > found.get("maxLength", math.inf):
        yield status.too_long(field, found["maxLength"])
    if len(value) < found.get("minLength", 0):
        yield invalid_value(field, value, _in(field, f"should be at least {found['minLength']} chars long"))
    pattern = compiled(found["pattern"]) if found.get("pattern") else None
    if pattern is not None and not pattern.search(value):
        yield invalid_value(field, value, _in(field, f"should match '{found['pattern']}'"))
    form = found.get("format", "")
    if form in _FORMATS and not _FORMATS[form](value):
        yield invalid_value(field, value, _in(field, f'must be of type {form}: "{value}"'))


def _validate_number(value: float, found: Schema, field: str) -> Iterator[FieldError]:
    low, high, step = found.get("minimum"), found.get("maximum"), found.get("multipleOf")
    if high is not None and (value >= high if found.get("exclusiveMaximum") else value > high):
        text = "less than" if found.get("exclusiveMaximum") else "less than or equal to"
        yield invalid_value(field, value, _in(field, f"should be {text} {_plain(high)}"))
    if low is not None and (value <= low if found.get("exclusiveMinimum") else value < low):
        text = "greater than" if found.get("exclusiveMinimum") else "greater than or equal to"
        yield invalid_value(field, value, _in(field, f"should be {text} {_plain(low)}"))
    if step and not math.isclose(value / step, round(value / step)):
        yield invalid_value(field, value, _in(field, f"should be a multiple of {_plain(step)}"))
    bits = {"int32": 31, "int64": 63}.get(found.get("format", ""))
    if bits is not None and not -(2**bits) <= value < 2**bits:
        text = f"must be of type {found['format']}: {_plain(value)}"
        yield invalid_value(field, value, _in(field, text))


def _plain(number: float) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)


def _validate_logic(value: Any, found: Schema, field: str) -> Iterator[FieldError]:
    for item in found.get("allOf") or ():
        yield from _validate(value, item, field)
    alternatives = found.get("anyOf")
    if alternatives and not found.get(INT_OR_STRING) and all(validate(value, item, field) for item in alternatives):
        yield FieldError(Cause.INVALID, field, "", _in(field, "must validate at least one schema (anyOf)"))
    choices = found.get("oneOf")
    if choices:
        fitting = sum(not validate(value, item, field) for item in choices)
        if fitting != 1:
            count = "Found none valid" if not fitting else f"Found {fitting} valid alternatives"
            text = _in(field, f"must validate one and only one schema (oneOf). {count}")
            yield FieldError(Cause.INVALID, field, "", text)
    if found.get("not") is not None and not validate(value, found["not"], field):
        yield FieldError(Cause.INVALID, field, "", _in(field, "must not validate the schema (not)"))


@functools.lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern[str] | None:
    """A Go regular expression; None for what cannot be read."""
    try:
        return re.compile(pattern.replace(r"\z", r"\Z"))
    except re.error:
        return None


# ---- formats ----


def _date_time(text: str) -> bool:
    try:
        return "T" in text.upper() and datetime.datetime.fromisoformat(text.upper()).tzinfo is not None
    except ValueError:
        return False


def _date(text: str) -> bool:
    try:
        return len(text) == 10 and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def _address(version: int) -> Any:
    def judge(text: str) -> bool:
        try:
            return ipaddress.ip_address(text).version == version
        except ValueError:
            return False

    return judge


def _byte(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return "/" in text


_UUID = re.compile(r"(?i)[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}\Z")
_DURATION = re.compile(
    r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*(ns|us|µs|ms|s|m|h|d|w)(([0-9]+(\.[0-9]*)?)(ns|us|µs|ms|s|m|h))*\Z|0\Z"
)
_HOST = re.compile(
    r"(?=.{1,253}\Z)[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*\Z"
)
_FORMATS: Mapping[str, Any] = {
    "byte": _byte,
    "cidr": _network,
    "date": _date,
    "date-time": _date_time,
    "datetime": _date_time,
    "duration": _DURATION.match,
    "email": re.compile(r"[^@\s]+@[^@\s]+\Z").match,
    "hostname": _HOST.match,
    "ipv4": _address(4),
    "ipv6": _address(6),
    "mac": re.compile(r"(?i)([0-9a-f]{2}[:-]){5}[0-9a-f]{2}\Z").match,
    "uri": re.compile(r"[a-zA-Z][-+.a-zA-Z0-9]*:\S*\Z|/\S*\Z").match,
    "uuid": _UUID.match,
    "uuid3": _UUID.match,
    "uuid4": _UUID.match,
    "uuid5": _UUID.match,
}

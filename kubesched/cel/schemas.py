# SPDX-License-Identifier: Apache-2.0
"""Values of structural schemas as CEL sees them.

Only what a schema says is seen: properties under names that are identifiers, of the metadata the names, nothing of what
is kept unknown. Source: apiserver/pkg/cel/escaping.go, pkg/cel/openapi, and apiextensions' schema/cel/model, v1.36.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Schema = Mapping[str, Any]

_INT_OR_STRING = "x-kubernetes-int-or-string"
_EMBEDDED = "x-kubernetes-embedded-resource"
_RESERVED_WORDS = """as break const continue else false for function if import in let loop namespace null package return
    true var void while"""
_RESERVED = frozenset(_RESERVED_WORDS.split())
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_WRITTEN = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}
_TIMES = ("date", "date-time", "datetime", "duration")
_TEXT: Schema = {"type": "string"}
_META: Schema = {"type": "object", "properties": {"name": _TEXT, "generateName": _TEXT}}
_RESOURCE: Schema = {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _META}


def escaped(name: str) -> str | None:
    """The identifier that stands for a property's name; None: it cannot be named in an expression."""
    if name in _RESERVED:
        return f"__{name}__"
    found = re.sub(r"__|[-./]", lambda match: _WRITTEN[match[0]], name)
    return found if _IDENTIFIER.match(found) else None


def properties(schema: Schema, *, resource: bool = False) -> Iterator[tuple[str, str, Schema]]:
    """The properties of an object that expressions see: name, identifier, schema."""
    found = dict(schema.get("properties") or {})
    if resource or schema.get(_EMBEDDED):
        found |= _RESOURCE
    for name, inner in found.items():
        identifier = escaped(name)
        if identifier is not None and is_seen(inner):
            yield name, identifier, inner


def is_seen(schema: Schema) -> bool:
    """Whether values of a schema are visible: their type must be known."""
    if schema.get(_INT_OR_STRING):
        return True
    match schema.get("type"):
        case "array":
            return is_seen(schema.get("items") or {})
        case "object":
            values = schema.get("additionalProperties")
            return is_seen(values) if isinstance(values, Mapping) else True
        case kind:
            return kind in ("boolean", "integer", "number", "string")


def value(found: Any, schema: Schema, *, resource: bool = False) -> Any:
    """A value as an expression sees it."""
    if found is None or schema.get(_INT_OR_STRING):
        return found
    return _READERS.get(schema.get("type", ""), _as_it_is)(found, schema, resource)


def _as_it_is(found: Any, schema: Schema, resource: bool) -> Any:
    return found


def _object(found: Any, schema: Schema, resource: bool) -> Any:
    values = schema.get("additionalProperties")
    if isinstance(values, Mapping):
        return {name: value(item, values) for name, item in found.items()}
    seen = properties(schema, resource=resource)
    return {identifier: value(found[name], inner) for name, identifier, inner in seen if name in found}


def _array(found: Any, schema: Schema, resource: bool) -> Any:
    items = schema.get("items") or {}
    return [value(item, items) for item in found]


def _number(found: Any, schema: Schema, resource: bool) -> Any:
    return float(found)


def _integer(found: Any, schema: Schema, resource: bool) -> Any:
    return int(found)  # JSON may write it with a point


def _string(found: Any, schema: Schema, resource: bool) -> Any:
    if schema.get("format") != "byte":
        return found
    try:
        return base64.b64decode(found, validate=True)
    except binascii.Error:
        return found  # the schema has said so


_READERS: dict[str, Callable[[Any, Schema, bool], Any]] = {
    "array": _array,
    "integer": _integer,
    "number": _number,
    "object": _object,
    "string": _string,
}


def times_named_in(expression: str, schema: Schema, name: str = "self") -> Iterator[str]:
    """Formats of times among the values that an expression names: the library takes none from Python."""
    if schema.get("format") in _TIMES and schema.get("type") == "string":
        if re.search(rf"\b{re.escape(name)}\b", expression):
            yield schema["format"]
    elif schema.get("type") == "array":
        yield from times_named_in(expression, schema.get("items") or {}, name)
    elif isinstance(schema.get("additionalProperties"), Mapping):
        yield from times_named_in(expression, schema["additionalProperties"], name)
    else:
        for _, identifier, inner in properties(schema):
            yield from times_named_in(expression, inner, identifier)

# SPDX-License-Identifier: Apache-2.0
"""OpenAPI v2 documents as protobuf, which is how kubectl before 1.29 reads them.

The messages follow the document, with three habits: objects with free keys are lists of named values, alternatives are
messages with one field each, and what may be anything is YAML text.

Source: github.com/google/gnostic-models/openapiv2, OpenAPIv2.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import orjson

from kubesched.api.proto import encode_length

Table = Mapping[str, list[list[Any]]]
"""Message -> ``[number, name, "1" or "*", type, flags]`` of each field."""

_JSON_NAMES = {"_ref": "$ref"}
_FREE = frozenset({"additional_properties", "vendor_extension", "response_code", "path"})
"""Fields that hold the keys of the object itself."""


def encode(message: str, value: Any, table: Table) -> bytes:
    """A part of a document as the message of that name."""
    rows = table[message]
    if message == "Any":
        return _field(2, orjson.dumps(value) + b"\n")
    if message in _ALTERNATIVES:
        name = _ALTERNATIVES[message](value)
        rows = [row for row in rows if row[1] == name]
        return b"".join(_values(row, value, table) for row in rows)
    return b"".join(_encode_row(message, row, value, table) for row in rows)


def _encode_row(message: str, row: list[Any], value: Any, table: Table) -> bytes:
    name = row[1]
    if name in _FREE and _is_free(message, name):
        return b"".join(_named(row, key, value[key], table) for key in value if _belongs(name, key))
    if not isinstance(value, dict):
        return _values(row, value, table)
    json_name = _JSON_NAMES.get(name) or _camel(name)
    return _values(row, value[json_name], table) if json_name in value else b""


def _is_free(message: str, name: str) -> bool:
    """A schema's additionalProperties is an ordinary field; elsewhere that name stands for all keys."""
    return not (message == "Schema" and name == "additional_properties")


def _belongs(name: str, key: str) -> bool:
    """Which keys of an object a field with free keys holds."""
    if name == "vendor_extension":
        return key.startswith("x-")
    return name == "additional_properties" or not key.startswith("x-")


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def _named(row: list[Any], key: str, value: Any, table: Table) -> bytes:
    """One key of an object and its value."""
    _, item = table[row[3]]
    return _field(row[0], _field(1, key.encode()) + _values(item, value, table))


def _values(row: list[Any], value: Any, table: Table) -> bytes:
    number, _, label, type_, _ = row
    if label == "*" and isinstance(value, list):
        return b"".join(_one(number, type_, item, table) for item in value)
    return _one(number, type_, value, table)


def _one(number: int, type_: str, value: Any, table: Table) -> bytes:
    if type_ == "string":
        return _field(number, str(value).encode())
    if type_ in ("bool", "int64"):
        return encode_length(number << 3) + encode_length(int(value) & 0xFFFF_FFFF_FFFF_FFFF)
    if type_ == "double":
        return encode_length(number << 3 | 1) + struct.pack("<d", value)
    return _field(number, encode(type_, value, table))


def _field(number: int, data: bytes) -> bytes:
    return encode_length(number << 3 | 2) + encode_length(len(data)) + data


def _parameter_place(value: Mapping[str, Any]) -> str:
    place = {"formData": "form_data"}.get(value["in"], value["in"])
    return f"{place}_parameter_sub_schema"


_ALTERNATIVES: Mapping[str, Any] = {
    "ItemsItem": lambda value: "schema",
    "AdditionalPropertiesItem": lambda value: "boolean" if isinstance(value, bool) else "schema",
    "ParametersItem": lambda value: "json_reference" if "$ref" in value else "parameter",
    "Parameter": lambda value: "body_parameter" if value["in"] == "body" else "non_body_parameter",
    "NonBodyParameter": _parameter_place,
    "ResponseValue": lambda value: "json_reference" if "$ref" in value else "response",
    "SchemaItem": lambda value: "file_schema" if value.get("type") == "file" else "schema",
    "SecurityDefinitionsItem": lambda value: {
        "basic": "basic_authentication_security",
        "apiKey": "api_key_security",
    }[value["type"]],
}
"""Messages that stand for one of several, and which one a value is."""

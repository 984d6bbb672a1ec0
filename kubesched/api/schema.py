# SPDX-License-Identifier: Apache-2.0
"""Types of objects: what fields there are, how lists and maps merge, how they travel.

Built-in types come from the compressed tables beside this module (made by `tools/api_tables.py`); a custom resource's
schema becomes the same classes. Everything that walks objects walks these.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class Shape(enum.Enum):
    """What a value is in JSON, and which hand-written rule applies to it."""

    OBJECT = "object"
    MAP = "map"  # string keys, one element type
    LIST = "list"
    STRING = "string"
    INTEGER = "integer"  # 64 bits; `Type.bits` says 32 where it is
    NUMBER = "number"
    BOOLEAN = "boolean"
    BYTES = "bytes"  # base64 text
    QUANTITY = "quantity"
    TIME = "time"
    MICRO_TIME = "micro_time"
    DURATION = "duration"
    INT_OR_STRING = "int_or_string"
    ANY = "any"  # RawExtension, JSON, FieldsV1: kept as it is


class ListType(enum.Enum):
    ATOMIC = "atomic"
    SET = "set"
    MAP = "map"


@dataclass(slots=True, eq=False)
class Field:
    """One field of an object type."""

    name: str
    type: Type
    number: int = 0  # on the wire; 0: not on the wire (custom resources)
    pointer: bool = False  # zero is a value: never left out when it is set
    omit_empty: bool = False  # zero, "", [] and {} are left out
    inline: bool = False  # its fields are the parent's in JSON
    merge_key: str = ""  # strategic merge
    patch_strategy: tuple[str, ...] = ()  # "merge", "replace", "retainKeys"
    default: object = None
    required: bool = False


@dataclass(slots=True, eq=False)
class Type:
    """One type. ``name`` is its OpenAPI name where it has one; types may refer to themselves."""

    name: str
    shape: Shape
    fields: Mapping[str, Field] = field(default_factory=dict)  # OBJECT, by JSON name; inlined ones are spread
    element: Type | None = None  # MAP and LIST
    list_type: ListType = ListType.ATOMIC
    keys: tuple[str, ...] = ()  # of a list of type MAP
    atomic: bool = False  # a MAP or OBJECT that apply treats as one value
    bits: int = 64
    preserve_unknown: bool = False  # an OBJECT that keeps fields it does not know

# SPDX-License-Identifier: Apache-2.0
"""Objects with every field filled, made from the table of types."""

from __future__ import annotations

import base64
import itertools
from typing import Any

from kubesched.api.schema import Field, Shape, Type

MAX_NESTING = 2  # of a type in itself


def filled(type_: Type) -> Any:
    """A value of a type, every field set to something else, in the form a server prints."""
    return _value(type_, itertools.count(1), ())


def _value(type_: Type, counter: itertools.count[int], within: tuple[str, ...]) -> Any:
    n = next(counter)
    if type_.shape is Shape.OBJECT:
        deeper = (*within, type_.name)
        return {
            field.name: _value(field.type, counter, deeper)
            for field in type_.fields.values()
            if field.name not in ("kind", "apiVersion") or not _is_type_meta(field)
            if not _too_deep(field.type, deeper)
        }
    if type_.shape is Shape.MAP:
        return {f"key{n}": _value(type_.element, counter, within), f"key{n}b": _value(type_.element, counter, within)}
    if type_.shape is Shape.LIST:
        return [_value(type_.element, counter, within), _value(type_.element, counter, within)]
    if type_.shape is Shape.EITHER:
        choices = [f.type for f in type_.fields.values() if not _too_deep(f.type, within)]
        return _value(choices[n % len(choices)], counter, within)
    return _SCALARS[type_.shape](n)


def zeroed(type_: Type, within: tuple[str, ...] = ()) -> Any:
    """A value of a type in which all is zero but there: what pointers lead to, and required parts."""
    if type_.shape is not Shape.OBJECT:
        return _ZEROS[type_.shape]
    deeper = (*within, type_.name)
    return {
        field.name: zeroed(field.type, deeper)
        for field in type_.fields.values()
        if not _too_deep(field.type, deeper)
        if field.type.shape is Shape.OBJECT or (field.pointer and field.type.shape in _ZEROS)
    }


def _is_type_meta(field: Field) -> bool:
    return field.embedded[:1] == ("TypeMeta",)


def _too_deep(type_: Type, within: tuple[str, ...]) -> bool:
    while type_.element is not None:
        type_ = type_.element
    if type_.shape is Shape.EITHER:
        return all(_too_deep(f.type, within) for f in type_.fields.values())
    return bool(type_.name) and within.count(type_.name) >= MAX_NESTING


_SCALARS = {
    Shape.STRING: lambda n: f"text {n} \N{SNOWMAN}",
    Shape.INTEGER: lambda n: n * 77,
    Shape.NUMBER: lambda n: n + 0.5,
    Shape.BOOLEAN: lambda n: True,
    Shape.BYTES: lambda n: base64.b64encode(b"\x00\xff" + str(n).encode()).decode(),
    Shape.QUANTITY: lambda n: ["7Gi", "1500m", "3", "5e3", "2k", "100n"][n % 6],
    Shape.TIME: lambda n: f"2026-01-02T03:{n % 60:02d}:{n // 60 % 60:02d}Z",
    Shape.MICRO_TIME: lambda n: f"2026-01-02T03:04:05.{n:06d}Z",
    Shape.DURATION: lambda n: f"{n}m1s",
    Shape.INT_OR_STRING: lambda n: f"{n}%" if n % 2 else -n,
    Shape.ANY: lambda n: {"raw": [n, {"b": None}], "text": "x"},
}
_ZEROS = {
    Shape.STRING: "",
    Shape.INTEGER: 0,
    Shape.NUMBER: 0.0,
    Shape.BOOLEAN: False,
    Shape.QUANTITY: "0",
    Shape.DURATION: "0s",
    Shape.INT_OR_STRING: 0,
}

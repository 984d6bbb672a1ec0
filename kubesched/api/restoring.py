# SPDX-License-Identifier: Apache-2.0
"""Why a map cannot become an object: the words of the converter that strategic patches go through instead of JSON.

Source: apimachinery/pkg/runtime/converter.go, v1.36.
"""

from __future__ import annotations

from typing import Any

from kubesched.api.schema import Shape, Type

_KINDS = {dict: "map", list: "slice", str: "string", bool: "bool", int: "int64", float: "float64"}
_SIMPLE = {
    Shape.STRING: (str, "string"),
    Shape.BOOLEAN: (bool, "bool"),
    Shape.INTEGER: (int, ""),
    Shape.NUMBER: (float, "float64"),
}
"""What such a value is, and the kind of its type in Go; that of integers has their bits in its name."""
_WHOLE = {
    Shape.OBJECT: (dict, "cannot restore struct from: "),
    Shape.MAP: (dict, "cannot restore map from "),
    Shape.LIST: (list, "cannot restore slice from "),
    Shape.BYTES: (str, "cannot restore slice from "),
}


def refusal(value: Any, type_: Type) -> str:
    """The first thing in a value that its type cannot hold, in the order of the type; empty if this finds none.

    Types that read themselves (times, quantities) say what is wrong as they do in JSON, and are passed over here.
    """
    if value is None:
        return ""
    if type_.shape in _SIMPLE:
        return _simple(value, type_)
    if type_.shape in _WHOLE:
        kind, text = _WHOLE[type_.shape]
        if type(value) is not kind:
            return text + _KINDS[type(value)]
    if isinstance(value, dict) and type_.shape is Shape.OBJECT:
        parts = [(value[name], field.type) for name, field in type_.fields.items() if name in value]
    elif isinstance(value, dict | list) and type_.element is not None:
        parts = [(item, type_.element) for item in (value.values() if isinstance(value, dict) else value)]
    else:
        return ""
    return next((text for item, inner in parts if (text := refusal(item, inner))), "")


def _simple(value: Any, type_: Type) -> str:
    """Numbers count as texts in Go's conversions, but are none in JSON; what is no number is nothing near it."""
    wanted, kind = _SIMPLE[type_.shape]
    given = type(value)
    is_number = given in (int, float)
    if given is wanted or (is_number and (wanted is float or (wanted is int and value == int(value)))):
        return ""
    if (is_number and wanted is int) or (given is int and wanted is str):
        return f"cannot convert {_KINDS[given]} to {type_.go}"
    return f"unrecognized type: {kind or f'int{type_.bits}'}"

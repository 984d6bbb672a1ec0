# SPDX-License-Identifier: Apache-2.0
"""Fields that a rule names and its schema has not.

``self`` is untyped for the compiler of the library, which takes no types of objects but those of messages. So the
compiled expression is walked once more, with the schema: what is selected from an object must be one of its fields.
Followed are selections, indices, loops and bound names; of what functions and conditions give nothing is known, and
anything may be selected from it. Source of the form: cel.expr.CheckedExpr, proto/cel/expr of cel-spec.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from kubesched.api import proto
from kubesched.cel import schemas
from kubesched.cel.schemas import Schema

_SELECT, _CALL, _LIST, _LOOP = 5, 6, 7, 9  # numbers of the kinds of Expr
_CONST, _IDENT = 3, 4
_PLAIN_TYPES = {"boolean": "bool", "integer": "int", "number": "double", "string": "string"}

Message = Mapping[int, list["bytes | int"]]


class Seen(NamedTuple):
    """What is known of a value: its schema; whether it is a resource; whether it may be absent."""

    schema: Schema
    resource: bool = False
    optional: bool = False


Scope = Mapping[str, "Seen | None"]


def undefined(compiled: bytes, expression: str, scope: Scope) -> str | None:
    """The compiler's error for the first such field, in upstream's form; None: there is none.

    Parameters
    ----------
    compiled
        The expression, serialized.
    expression
        Its text.
    scope
        What the variables are.
    """
    checked = _read(_one(_read(compiled), 2))
    walk = _Walk()
    walk.type_of(_one(checked, 4), scope)
    for at, what in walk.found:
        positions = {_number(entry, 1): _number(entry, 2) for entry in map(_read, _all(_read(_one(checked, 5)), 4))}
        return _located(expression, positions.get(at, 0), what)
    return None


def _located(expression: str, offset: int, what: str) -> str:
    before = expression[:offset].split("\n")
    line = expression.split("\n")[len(before) - 1]
    column = len(before[-1])
    return f"ERROR: <input>:{len(before)}:{column + 1}: {what}\n | {line}\n | {'.' * column}^"


def _read(message: bytes) -> Message:
    out: dict[int, list[bytes | int]] = {}
    for number, value in proto.fields(message, 0, len(message)):
        out.setdefault(number, []).append(value)
    return out


def _all(message: Message, number: int) -> Iterator[bytes]:
    return (value for value in message.get(number, ()) if isinstance(value, bytes))


def _one(message: Message, number: int) -> bytes:
    return next(_all(message, number), b"")


def _text(message: Message, number: int) -> str:
    return _one(message, number).decode()


def _number(message: Message, number: int) -> int:
    return next((value for value in message.get(number, ()) if isinstance(value, int)), 0)


class _Walk:
    """Goes through an expression; remembers where something is selected that is not there."""

    def __init__(self) -> None:
        self.found: list[tuple[int, str]] = []
        """Ids of expressions, and what is wrong with them."""

    def type_of(self, encoded: bytes, scope: Scope) -> Seen | None:
        """What an expression gives; None: nothing is known of it."""
        expr = _read(encoded)
        if _IDENT in expr:
            return scope.get(_text(_read(_one(expr, _IDENT)), 1))
        if _SELECT in expr:
            return self._selected(_number(expr, 2), _read(_one(expr, _SELECT)), scope)
        if _CALL in expr:
            return self._called(_number(expr, 2), _read(_one(expr, _CALL)), scope)
        if _LIST in expr:
            for item in _all(_read(_one(expr, _LIST)), 1):
                self.type_of(item, scope)
        elif _LOOP in expr:
            return self._looped(_read(_one(expr, _LOOP)), scope)
        return None

    def _selected(self, at: int, select: Message, scope: Scope) -> Seen | None:
        operand = self.type_of(_one(select, 1), scope)
        found = self._field(at, operand, _text(select, 2))
        return None if _number(select, 3) else found  # a test gives a truth

    def _field(self, at: int, operand: Seen | None, name: str) -> Seen | None:
        """What a field of a value is; of what may be absent, it may be absent too."""
        if operand is None or operand.schema.get("x-kubernetes-int-or-string"):
            return None
        values = operand.schema.get("additionalProperties")
        if isinstance(values, Mapping):
            return Seen(values, optional=operand.optional)
        kind = operand.schema.get("type", "")
        if kind in _PLAIN_TYPES:
            self.found.append((at, f"type '{_PLAIN_TYPES[kind]}' does not support field selection"))
        if kind != "object":
            return None
        known = schemas.properties(operand.schema, resource=operand.resource)
        fitting = (inner for _, identifier, inner in known if identifier == name)
        found = next((Seen(inner, optional=operand.optional) for inner in fitting), None)
        if found is None:
            self.found.append((at, f"undefined field '{name}'"))
        return found

    def _called(self, at: int, call: Message, scope: Scope) -> Seen | None:
        function = _text(call, 2)
        operands = [*_all(call, 1), *_all(call, 3)]
        types = [self.type_of(operand, scope) for operand in operands]
        first = types[0] if types else None
        match function:
            case "_[_]":
                return _element(first)
            case "_?._":
                name = _text(_read(_one(_read(operands[1]), _CONST)), 6)
                found = self._field(at, first, name)
                return None if found is None else found._replace(optional=True)
            case "value" | "orValue" if first is not None and first.optional:
                return first._replace(optional=False)
        return None

    def _looped(self, loop: Message, scope: Scope) -> Seen | None:
        """A comprehension: what macros and bindings become."""
        over = self.type_of(_one(loop, 2), scope)
        start = self.type_of(_one(loop, 4), scope)
        first, second = _text(loop, 1), _text(loop, 8)
        is_list = over is not None and over.schema.get("type") == "array"
        inner = {**scope, _text(loop, 3): start}
        inner[first] = _element(over) if is_list and not second else None
        if second:
            inner[second] = _element(over)
        for part in (5, 6):
            self.type_of(_one(loop, part), inner)
        return self.type_of(_one(loop, 7), {**scope, _text(loop, 3): start})


def _element(of: Seen | None) -> Seen | None:
    """What a list or a map holds."""
    if of is None:
        return None
    held = of.schema.get("items") if of.schema.get("type") == "array" else of.schema.get("additionalProperties")
    return Seen(held, optional=of.optional) if isinstance(held, Mapping) else None

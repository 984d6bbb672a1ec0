# SPDX-License-Identifier: Apache-2.0
"""A small CEL, enough for device selectors in tests: an independent reading of the language, slow and strict.

Known: literals, lists, ``!``, ``&&``, ``||``, comparisons, ``in``, selection, indexing, ``has``, ``startsWith``,
``quantity`` and its comparisons, ``semver`` and its comparisons. Anything else is a ``NotImplementedError``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from functools import total_ordering
from typing import Any

from tests import oracle

TOKEN = re.compile(
    r"""\s*(?:(\d+)|("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|([A-Za-z_]\w*)|(&&|\|\||[=!<>]=|[-!<>.,()\[\]]))"""
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}


class CelError(Exception):
    """The expression has no value."""


class Domains(dict[str, Any]):
    """A map in which every domain is there."""

    def __missing__(self, key: str) -> dict[str, Any]:
        return {}


class Quantity(Fraction):
    pass


@total_ordering
class Version:
    def __init__(self, text: str) -> None:
        release, _, rest = text.partition("+")[0].partition("-")
        self.release = [int(part) for part in release.split(".")]
        self.rest = rest.split(".") if rest else []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Version) and (self.release, self.rest) == (other.release, other.rest)

    def __lt__(self, other: Version) -> bool:
        if self.release != other.release:
            return self.release < other.release
        if not self.rest or not other.rest:
            return bool(self.rest) and not other.rest
        return [part_key(p) for p in self.rest] < [part_key(p) for p in other.rest]

    __hash__ = None  # type: ignore[assignment]


def part_key(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


Thunk = Callable[[dict[str, Any]], Any]


class Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        at = 0
        text = text.rstrip()
        while at < len(text):
            match = TOKEN.match(text, at)
            if match is None:
                raise CelError(f"syntax error at {at}")
            kind = "number" if match[1] else "string" if match[2] else "name" if match[3] else "sign"
            self.tokens.append((kind, match[0].strip()))
            at = match.end()

    def peek(self) -> str:
        return self.tokens[0][1] if self.tokens else ""

    def eat(self, sign: str) -> None:
        if self.peek() != sign:
            raise CelError(f"expected {sign}")
        self.tokens.pop(0)

    def whole(self) -> Thunk:
        found = self.either()
        if self.tokens:
            raise CelError("something is left over")
        return found

    def either(self) -> Thunk:
        left = self.both()
        while self.peek() == "||":
            self.eat("||")
            left = absorbing(left, self.both(), True)
        return left

    def both(self) -> Thunk:
        left = self.relation()
        while self.peek() == "&&":
            self.eat("&&")
            left = absorbing(left, self.relation(), False)
        return left

    def relation(self) -> Thunk:
        left = self.unary()
        sign = self.peek()
        if sign in ("==", "!=", "in") or sign in COMPARISONS:
            self.tokens.pop(0)
            return related(sign, left, self.unary())
        return left

    def unary(self) -> Thunk:
        if self.peek() == "!":
            self.eat("!")
            of = self.unary()
            return lambda env: not truth(of(env))
        return self.member()

    def member(self) -> Thunk:
        found = self.primary()
        while self.peek() in (".", "["):
            if self.peek() == "[":
                self.eat("[")
                found = indexed(found, self.either())
                self.eat("]")
                continue
            self.eat(".")
            name = self.tokens.pop(0)[1]
            found = method(name, found, self.arguments()) if self.peek() == "(" else selected(found, name)
        return found

    def arguments(self) -> list[Thunk]:
        self.eat("(")
        out = []
        while self.peek() != ")":
            out.append(self.either())
            if self.peek() == ",":
                self.eat(",")
        self.eat(")")
        return out

    def primary(self) -> Thunk:
        if not self.tokens:
            raise CelError("the expression ends early")
        kind, text = self.tokens.pop(0)
        if kind == "number":
            return lambda _: int(text)
        if kind == "string":
            return lambda _: text[1:-1]
        if text == "(":
            found = self.either()
            self.eat(")")
            return found
        if text == "[":
            items = []
            while self.peek() != "]":
                items.append(self.either())
                if self.peek() == ",":
                    self.eat(",")
            self.eat("]")
            return lambda env: [item(env) for item in items]
        if text in ("true", "false"):
            return lambda _: text == "true"
        if text == "has":
            (argument,) = self.arguments()
            return lambda env: has(argument, env)
        if self.peek() == "(":
            return function(text, self.arguments())
        return lambda env: env[text]


def truth(value: Any) -> bool:
    if not isinstance(value, bool):
        raise CelError("no such overload")
    return value


def absorbing(left: Thunk, right: Thunk, winner: bool) -> Thunk:
    def evaluate(env: dict[str, Any]) -> bool:
        failed = None
        for side in (left, right):
            try:
                if truth(side(env)) == winner:
                    return winner
            except CelError as error:
                failed = failed or error
        if failed is not None:
            raise failed
        return not winner

    return evaluate


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def related(sign: str, left: Thunk, right: Thunk) -> Thunk:
    def evaluate(env: dict[str, Any]) -> bool:
        a, b = left(env), right(env)
        if sign in ("==", "!="):
            return same(a, b) == (sign == "==")
        if sign == "in":
            return any(same(a, one) for one in b)
        if type(a) is not type(b) or isinstance(a, Quantity | Version):
            raise CelError("no such overload")
        return COMPARISONS[sign](a, b)

    return evaluate


def indexed(of: Thunk, key: Thunk) -> Thunk:
    def evaluate(env: dict[str, Any]) -> Any:
        base, at = of(env), key(env)
        return base[at] if isinstance(base, Domains) or at in base else no_key(at)

    return evaluate


def selected(of: Thunk, name: str) -> Thunk:
    return indexed(of, lambda _: name)


def no_key(key: str) -> Any:
    raise CelError(f"no such key: {key}")


def has(argument: Thunk, env: dict[str, Any]) -> bool:
    try:
        argument(env)
    except CelError as error:
        if "no such key" in str(error):
            return False
        raise
    return True


def compare(a: Any, b: Any) -> int:
    if type(a) is not type(b) or not isinstance(a, Quantity | Version):
        raise CelError("no such overload")
    return int(a > b) - int(a < b)


METHODS: dict[str, Callable[[Any, Any], Any]] = {
    "compareTo": compare,
    "isLessThan": lambda a, b: compare(a, b) < 0,
    "isGreaterThan": lambda a, b: compare(a, b) > 0,
    "startsWith": lambda a, b: a.startswith(b),
}


def method(name: str, of: Thunk, arguments: list[Thunk]) -> Thunk:
    if name not in METHODS:
        raise NotImplementedError(name)
    return lambda env: METHODS[name](of(env), *(argument(env) for argument in arguments))


def function(name: str, arguments: list[Thunk]) -> Thunk:
    made: dict[str, Callable[[str], Any]] = {"quantity": lambda t: Quantity(oracle.quantity(t)), "semver": Version}
    if name not in made:
        raise NotImplementedError(name)
    return lambda env: made[name](arguments[0](env))


def evaluate(expression: str, driver: str, device: oracle.Obj) -> bool:
    """Whether a device matches; CelError where it cannot be told."""
    attributes, capacity = Domains(), Domains()
    for name, value in (device.get("attributes") or {}).items():
        domain, _, at = name.rpartition("/")
        attributes.setdefault(domain or driver, {})[at] = plain(value)
    for name, value in (device.get("capacity") or {}).items():
        domain, _, at = name.rpartition("/")
        capacity.setdefault(domain or driver, {})[at] = Quantity(oracle.quantity(value["value"]))
    shared = bool(device.get("allowMultipleAllocations"))
    known = {"driver": driver, "attributes": attributes, "capacity": capacity, "allowMultipleAllocations": shared}
    found = Parser(expression).whole()({"device": known})
    if not isinstance(found, bool):
        raise CelError("not a bool")
    return found


def plain(value: oracle.Obj) -> Any:
    ((kind, of),) = value.items()
    return Version(of) if kind == "version" else of

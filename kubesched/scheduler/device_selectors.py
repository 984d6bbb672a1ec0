# SPDX-License-Identifier: Apache-2.0
"""CEL expressions about devices: the home of the CEL library, which is loaded with the first expression.

What Kubernetes adds to CEL for device selectors is defined here: the variable ``device``, quantities and semantic
versions. The library has no opaque values, so a quantity travels as a map of one entry and a version as a list; the
type checker keeps them apart from everything else. Runtime cost is not counted: the API server admits only expressions
whose estimated cost is below the limit, and the length limit is enforced here.
Source: dynamic-resource-allocation/cel, apiserver/pkg/cel/library (quantity, semver), v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from kubesched.api import quantity
from kubesched.base import errors
from kubesched.state.claim_rows import Content, SelectorError

MAX_LENGTH = 10 * 1024
"""Bytes of an expression (resource.k8s.io CELSelectorExpressionMaxLength)."""

_NANO = "nano"
_ELSEWHERE = re.compile(
    r"undeclared reference to '(ip|isIP|cidr|isCIDR|url|isURL|find|findAll|format|isSorted|sum|min|max|indexOf"
    r"|lastIndexOf|sets|authorizer)'"
)
"""Functions of Kubernetes' CEL that are not defined here."""
_NO_KEY = re.compile(r"Key not found in map : (.*)\Z", re.DOTALL)
_NO_OVERLOAD = "No matching overloads found"
_INT64 = 1 << 63


class CelSelectors:
    """Compiles and evaluates; a compiled expression is kept."""

    def __init__(self) -> None:
        self._env: Any = None
        self._programs: dict[str, Any] = {}

    def matches(self, expression: str, device: Content) -> bool:
        """Whether the device is selected; see `claim_rows.Selectors`."""
        program = self._programs.get(expression)
        if program is None:
            program = self._programs[expression] = self._compile(expression)
        if isinstance(program, SelectorError):
            raise program
        return _evaluate(program, device)

    def _compile(self, expression: str) -> Any:
        if self._env is None:
            self._env = _environment()
        if len(expression.encode()) > MAX_LENGTH:
            return SelectorError(f"CEL compile error: expression is longer than {MAX_LENGTH} bytes")
        try:
            program = self._env.compile(expression)
        except RuntimeError as error:
            unknown = _ELSEWHERE.search(str(error))
            if unknown is not None:
                raise errors.UnsupportedError("CEL selector", f"calls {unknown[1]}, which is not implemented") from None
            return SelectorError(f"CEL compile error: compilation failed: {error}")
        kind = program.return_type().name()
        if kind not in ("BOOL", "DYN"):
            text = f"must evaluate to bool or the unknown type, not {kind.lower()}"
            return SelectorError(f"CEL compile error: {text}")
        return program


def _evaluate(program: Any, device: Content) -> bool:
    """Upstream's maps give an empty map for an unknown domain; the library's do not, so unknown ones are added.

    An error that a logical operator absorbs needs nothing: the answer does not depend on that part.
    """
    attributes, capacity = _by_domain(device)
    data = {
        "device.driver": device.driver,
        "device.allowMultipleAllocations": device.is_shared,
        "device.attributes": attributes,
        "device.capacity": capacity,
    }
    while True:
        result = program.eval(data=data)
        kind, value = result.type().name(), result.value()
        if kind == "BOOL":
            return bool(value)
        if kind != "ERROR":
            text = f"CEL result of type {kind.lower()} could not be converted to bool"
            raise SelectorError(f"CEL runtime error: {text}")
        missing = _NO_KEY.search(str(value))
        domain = _unquoted(missing[1]) if missing is not None else None
        if domain is None or (domain in attributes and domain in capacity):
            raise SelectorError(f"CEL runtime error: {_error_text(str(value), domain)}")
        attributes.setdefault(domain, {})
        capacity.setdefault(domain, {})


def _error_text(text: str, key: str | None) -> str:
    """In the words of upstream's library where they are known."""
    if key is not None:
        return f"no such key: {key}"
    return "no such overload" if _NO_OVERLOAD in text else text


def _unquoted(text: str) -> str:
    text = text.strip()
    quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1].encode().decode("unicode_escape") if quoted else text


def _by_domain(device: Content) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Attributes and capacity as two levels of maps; names without a domain belong to the driver."""
    attributes: dict[str, dict[str, Any]] = {}
    for name, (kind, value) in device.attributes:
        domain, at = _split(name, device.driver)
        attributes.setdefault(domain, {})[at] = _attribute(name, kind, value)
    capacity: dict[str, dict[str, Any]] = {}
    for name, amount in device.capacity:
        domain, at = _split(name, device.driver)
        capacity.setdefault(domain, {})[at] = {_NANO: str(amount.value)}
    return attributes, capacity


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, found, at = name.partition("/")
    return (domain, at) if found else (driver, name)


def _attribute(name: str, kind: str, value: str | int | bool) -> Any:
    if kind == "version":
        parsed = _parse_version(str(value))
        if parsed is None:
            raise SelectorError(f"CEL runtime error: attribute {name}: parse semantic version: {value}")
        return parsed
    if not kind:
        raise SelectorError(f"CEL runtime error: attribute {name}: unsupported attribute value")
    return value


# ---- the environment ----


def _environment() -> Any:
    from cel_expr_python import cel
    from cel_expr_python.ext import ext_bindings, ext_math, ext_optional, ext_strings

    t = cel.Type
    amount, version = t.Map(t.STRING, t.STRING), t.List(t.STRING)
    inner = {"device.attributes": t.DYN, "device.capacity": amount}
    variables = {name: t.Map(t.STRING, t.Map(t.STRING, of)) for name, of in inner.items()}
    variables |= {"device.driver": t.STRING, "device.allowMultipleAllocations": t.BOOL}

    def member(name: str, *overloads: tuple[str, Any, list[Any], Callable[..., Any]]) -> Any:
        made = [cel.Overload(i, return_type=r, parameters=p, is_member=True, impl=f) for i, r, p, f in overloads]
        return cel.FunctionDecl(name, made)

    def plain(name: str, *overloads: tuple[str, Any, list[Any], Callable[..., Any]]) -> Any:
        made = [cel.Overload(i, return_type=r, parameters=p, impl=f) for i, r, p, f in overloads]
        return cel.FunctionDecl(name, made)

    functions = [
        plain("quantity", ("string_to_quantity", amount, [t.STRING], _quantity)),
        plain("isQuantity", ("is_quantity_string", t.BOOL, [t.STRING], _is_quantity)),
        plain(
            "semver",
            ("string_to_semver", version, [t.STRING], _version),
            ("string_bool_to_semver", version, [t.STRING, t.BOOL], _version),
        ),
        plain(
            "isSemver",
            ("is_semver_string", t.BOOL, [t.STRING], _is_version),
            ("is_semver_string_bool", t.BOOL, [t.STRING, t.BOOL], _is_version),
        ),
        member("sign", ("quantity_sign", t.INT, [amount], lambda q: _order(_nano(q), 0))),
        member("isInteger", ("quantity_is_integer", t.BOOL, [amount], _is_integer)),
        member("asInteger", ("quantity_as_integer", t.INT, [amount], _as_integer)),
        member("asApproximateFloat", ("quantity_float", t.DOUBLE, [amount], lambda q: _nano(q) / quantity.NANO)),
        member("major", ("semver_major", t.INT, [version], lambda v: int(v[0]))),
        member("minor", ("semver_minor", t.INT, [version], lambda v: int(v[1]))),
        member("patch", ("semver_patch", t.INT, [version], lambda v: int(v[2]))),
    ]
    for name, sign in (("add", 1), ("sub", -1)):
        functions.append(
            member(
                name,
                (f"quantity_{name}", amount, [amount, amount], _sum_of(sign)),
                (f"quantity_{name}_int", amount, [amount, t.INT], _sum_with_whole(sign)),
            )
        )
    for name, returns, of in (
        ("compareTo", t.INT, lambda order: order),
        ("isLessThan", t.BOOL, lambda order: order < 0),
        ("isGreaterThan", t.BOOL, lambda order: order > 0),
    ):
        functions.append(
            member(
                name,
                (f"quantity_{name}", returns, [amount, amount], _comparing(_nano, of)),
                (f"semver_{name}", returns, [version, version], _comparing(_precedence, of)),
            )
        )
    extensions = [ext_bindings.ExtBindings(), ext_strings.ExtStrings(), ext_math.ExtMath(), ext_optional.ExtOptional()]
    return cel.NewEnv(variables=variables, extensions=extensions, functions=functions)


def _order(a: Any, b: Any) -> int:
    return int(a > b) - int(a < b)


def _comparing(key: Callable[[Any], Any], of: Callable[[int], Any]) -> Callable[[Any, Any], Any]:
    return lambda a, b: of(_order(key(a), key(b)))


# ---- quantities: a map of one entry, billionths as text ----


def _made(nano: int) -> dict[str, str]:
    return {_NANO: str(nano)}


def _nano(value: Any) -> int:
    return int(value[_NANO])


def _quantity(text: str) -> dict[str, str]:
    return _made(quantity.parse_nano(text))


def _is_quantity(text: str) -> bool:
    try:
        quantity.parse_nano(text)
    except ValueError:
        return False
    return True


def _is_integer(value: Any) -> bool:
    nano = _nano(value)
    return nano % quantity.NANO == 0 and -_INT64 <= nano // quantity.NANO < _INT64


def _as_integer(value: Any) -> int:
    if not _is_integer(value):
        raise ValueError("cannot convert value to integer")
    return quantity.whole(_nano(value))


def _sum_of(sign: int) -> Callable[[Any, Any], dict[str, str]]:
    return lambda a, b: _made(_nano(a) + sign * _nano(b))


def _sum_with_whole(sign: int) -> Callable[[Any, int], dict[str, str]]:
    return lambda a, b: _made(_nano(a) + sign * b * quantity.NANO)


# ---- semantic versions: a list of major, minor, patch and the parts of the pre-release ----

_NUMBER = r"(0|[1-9][0-9]*)"
_PART = r"(?:0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(?:-({_PART}(?:\.{_PART})*))?(?:\+[0-9A-Za-z.-]+)?\Z")


def _parse_version(text: str) -> list[str] | None:
    """Build metadata is dropped: it counts for nothing."""
    match = _SEMVER.match(text)
    if match is None:
        return None
    return [match[1], match[2], match[3], *(match[4].split(".") if match[4] else [])]


def _normalized(text: str) -> str:
    """Without a leading v and leading zeros, and with three numbers."""
    text = text.removeprefix("v")
    numbers, sign, rest = text, "", ""
    for at, letter in enumerate(text):
        if letter in "-+":
            numbers, sign, rest = text[:at], letter, text[at + 1 :]
            break
    parts = [part.lstrip("0") or "0" if part else part for part in numbers.split(".")]
    return ".".join(parts + ["0"] * (3 - len(parts))) + sign + rest


def _version(text: str, normalize: bool = False) -> list[str]:
    found = _parse_version(_normalized(text) if normalize else text)
    if found is None:
        raise ValueError(f"not a semantic version: {text}")
    return found


def _is_version(text: str, normalize: bool = False) -> bool:
    return _parse_version(_normalized(text) if normalize else text) is not None


def _precedence(version: Any) -> Any:
    """Order of semver 2.0: a pre-release comes before its release, numbers before words."""
    release = tuple(int(part) for part in version[:3])
    parts = version[3:]
    rest = tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
    return (*release, not parts, rest)

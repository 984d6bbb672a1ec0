# SPDX-License-Identifier: Apache-2.0
"""CEL expressions about devices: the home of the CEL library, which is loaded with the first expression.

The variable ``device`` is defined here, what Kubernetes adds to CEL's functions in `cel_functions`. What it has and
this has not is refused by name. Runtime cost is not counted: the API server admits only expressions whose estimated
cost is below the limit, and the length limit is enforced here.
Source: dynamic-resource-allocation/cel, apiserver/pkg/cel/environment, v1.36.
"""

from __future__ import annotations

import re
from typing import Any

from kubesched.base import errors
from kubesched.scheduler import cel_functions
from kubesched.state.claim_rows import Content, SelectorError

MAX_LENGTH = 10 * 1024
"""Bytes of an expression (resource.k8s.io CELSelectorExpressionMaxLength)."""

_UNDEFINED = (
    (re.compile(r"undeclared reference to '(url|isURL|format)'"), "calls {}"),
    (re.compile(r"no matching overload for '(indexOf|lastIndexOf)' applied to '\(list"), "calls {} of a list"),
    (re.compile(r"no matching overload for '(string|type)' applied to '\((?:map|list)"), "calls {} of an address"),
    (re.compile(r"undeclared reference to '(net\.IP|net\.CIDR|kubernetes\.\w+)'"), "names the type {}"),
    (re.compile(r"undeclared reference to '(device)'"), "uses {} as a whole"),
    (
        re.compile(r"no matching overload for '_([<>]=?)_' applied to '\((?:int|uint|double), (?:int|uint|double)\)'"),
        "compares numbers of two kinds by {}",
    ),
)
"""What Kubernetes' CEL admits and this does not: how it shows in the compiler's text, and what is said of it."""
_NO_KEY = re.compile(r"Key not found in map : (.*)\Z", re.DOTALL)
_NO_OVERLOAD = "No matching overloads found"


class CelSelectors:
    """Compiles and evaluates; a compiled expression is kept."""

    def __init__(self) -> None:
        self._env: Any = None
        self._programs: dict[str, Any] = {}

    def load(self) -> None:
        """Load CEL now, which takes 50 ms, rather than while the first pod with a claim is decided."""
        if self._env is None:
            self._env = _environment()

    def matches(self, expression: str, device: Content) -> bool:
        """Whether the device is selected; see `claim_rows.Selectors`."""
        program = self._programs.get(expression)
        if program is None:
            program = self._programs[expression] = self._compile(expression)
        if isinstance(program, SelectorError):
            raise program
        return _evaluate(program, device)

    def _compile(self, expression: str) -> Any:
        self.load()
        if len(expression.encode()) > MAX_LENGTH:
            return SelectorError(f"CEL compile error: expression is longer than {MAX_LENGTH} bytes")
        try:
            program = self._env.compile(expression)
        except RuntimeError as error:
            _refuse(str(error))
            return SelectorError(f"CEL compile error: compilation failed: {error}")
        kind = program.return_type().name()
        if kind not in ("BOOL", "DYN"):
            text = f"must evaluate to bool or the unknown type, not {kind.lower()}"
            return SelectorError(f"CEL compile error: {text}")
        return program


def _refuse(text: str) -> None:
    """Refuse what Kubernetes' CEL would compile."""
    for pattern, what in _UNDEFINED:
        found = pattern.search(text)
        if found is not None:
            raise errors.UnsupportedError("CEL selector", f"{what.format(found[1])}, which is not implemented")


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
        if cel_functions.NOT_IMPLEMENTED in str(value):
            raise errors.UnsupportedError("CEL selector", str(value))
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
        capacity.setdefault(domain, {})[at] = cel_functions.amount(amount.value)
    return attributes, capacity


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, found, at = name.partition("/")
    return (domain, at) if found else (driver, name)


def _attribute(name: str, kind: str, value: str | int | bool) -> Any:
    if kind == "version":
        parsed = cel_functions.parse_version(str(value))
        if parsed is None:
            raise SelectorError(f"CEL runtime error: attribute {name}: parse semantic version: {value}")
        return parsed
    if not kind:
        raise SelectorError(f"CEL runtime error: attribute {name}: unsupported attribute value")
    return value


# ---- the environment ----

_EXTENSIONS = """\
name: devices
extensions:
- {name: bindings}
- {name: lists, version: 2}
- {name: optional}
- {name: sets}
- {name: strings, version: 2}
- {name: two-var-comprehensions}
"""
"""Libraries of CEL that Kubernetes has, in the versions of 1.36; none of those that it does not have, such as math."""


def _environment() -> Any:
    from cel_expr_python import cel

    t = cel.Type
    inner = {"device.attributes": t.DYN, "device.capacity": t.Map(t.STRING, t.STRING)}
    variables = {name: t.Map(t.STRING, t.Map(t.STRING, of)) for name, of in inner.items()}
    variables |= {"device.driver": t.STRING, "device.allowMultipleAllocations": t.BOOL}
    config = cel.NewEnvConfigFromYaml(_EXTENSIONS)
    return cel.NewEnv(config=config, variables=variables, functions=cel_functions.declarations(cel))

# SPDX-License-Identifier: Apache-2.0
"""CEL expressions about devices: the variable ``device``, and what an expression makes of one.

What Kubernetes' CEL has and the library of `kubesched.cel` has not is refused by name. Runtime cost is not counted: the
API server admits only expressions whose estimated cost is below the limit, and the length limit is enforced here.
Source: dynamic-resource-allocation/cel, v1.36.
"""

from __future__ import annotations

from typing import Any

from kubesched.base import errors
from kubesched.cel import functions, library
from kubesched.state.claim_rows import Content, SelectorError

MAX_LENGTH = 10 * 1024
"""Bytes of an expression (resource.k8s.io CELSelectorExpressionMaxLength)."""


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
            refused = library.refusal(str(error))
            if refused is not None:
                raise errors.UnsupportedError("CEL selector", f"{refused}, which is not implemented") from None
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
        if library.NOT_IMPLEMENTED in str(value):
            raise errors.UnsupportedError("CEL selector", str(value))
        domain = library.missing_key(str(value))
        if domain is None or (domain in attributes and domain in capacity):
            raise SelectorError(f"CEL runtime error: {library.error_text(str(value))}")
        attributes.setdefault(domain, {})
        capacity.setdefault(domain, {})


def _by_domain(device: Content) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    """Attributes and capacity as two levels of maps; names without a domain belong to the driver."""
    attributes: dict[str, dict[str, Any]] = {}
    for name, (kind, value) in device.attributes:
        domain, at = _split(name, device.driver)
        attributes.setdefault(domain, {})[at] = _attribute(name, kind, value)
    capacity: dict[str, dict[str, Any]] = {}
    for name, amount in device.capacity:
        domain, at = _split(name, device.driver)
        capacity.setdefault(domain, {})[at] = functions.amount(amount.value)
    return attributes, capacity


def _split(name: str, driver: str) -> tuple[str, str]:
    domain, found, at = name.partition("/")
    return (domain, at) if found else (driver, name)


def _attribute(name: str, kind: str, value: str | int | bool) -> Any:
    if kind == "version":
        parsed = functions.parse_version(str(value))
        if parsed is None:
            raise SelectorError(f"CEL runtime error: attribute {name}: parse semantic version: {value}")
        return parsed
    if not kind:
        raise SelectorError(f"CEL runtime error: attribute {name}: unsupported attribute value")
    return value


# ---- the environment ----


def _environment() -> Any:
    def variables(t: Any) -> dict[str, Any]:
        inner = {"device.attributes": t.DYN, "device.capacity": t.Map(t.STRING, t.STRING)}
        found = {name: t.Map(t.STRING, t.Map(t.STRING, of)) for name, of in inner.items()}
        return found | {"device.driver": t.STRING, "device.allowMultipleAllocations": t.BOOL}

    return library.environment(variables)

# SPDX-License-Identifier: Apache-2.0
"""CEL about devices: what Kubernetes adds to the language, and what is said of wrong expressions."""

from __future__ import annotations

import pytest

from kubesched.base import errors
from kubesched.scheduler.device_selectors import MAX_LENGTH, CelSelectors
from kubesched.state.claim_rows import Capacity, Content, SelectorError

NANO = 10**9
DEVICE = Content(
    "gpu.example.com",
    attributes=(
        ("index", ("int", 3)),
        ("model", ("string", "a100")),
        ("other.example.com/fast", ("bool", True)),
        ("v", ("version", "1.2.3-rc.1")),
    ),
    capacity=(("memory", Capacity(80 * 2**30 * NANO)), ("share", Capacity(NANO // 2))),
)
OWN, MEMORY = 'device.attributes["gpu.example.com"]', 'device.capacity["gpu.example.com"].memory'


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ('device.driver == "gpu.example.com"', True),
        (f'{OWN}.model in ["a100", "h100"] && {OWN}.index > 2', True),
        ('device.attributes["other.example.com"].fast', True),
        (f"cel.bind(d, {OWN}, d.index == 3)", True),
        ("device.allowMultipleAllocations", False),
        # an unknown domain is an empty map, and not there
        ('has(device.attributes["none.example.com"].x)', False),
        ('"none.example.com" in device.attributes', False),
        ('device.attributes["none.example.com"].x == 1 || true', True),
        # quantities
        (f'{MEMORY} == quantity("81920Mi")', True),
        (f'{MEMORY}.compareTo(quantity("80G")) > 0', True),
        (f'{MEMORY}.isLessThan(quantity("1Ti"))', True),
        (f'{MEMORY}.isGreaterThan(quantity("80Gi"))', False),
        (f'{MEMORY}.sub(quantity("79Gi")).add(1).asInteger() == 1073741825', True),
        (f"{MEMORY}.sign() == 1 && {MEMORY}.isInteger()", True),
        ('device.capacity["gpu.example.com"].share.isInteger()', False),
        ('device.capacity["gpu.example.com"].share.asApproximateFloat() == 0.5', True),
        ('isQuantity("1.5Gi") && !isQuantity("1x")', True),
        # versions
        (f'{OWN}.v.isLessThan(semver("1.2.3")) && {OWN}.v.isGreaterThan(semver("1.2.3-rc"))', True),
        (f'{OWN}.v == semver("1.2.3-rc.1+build")', True),
        (f"{OWN}.v.major() == 1 && {OWN}.v.minor() == 2 && {OWN}.v.patch() == 3", True),
        ('semver("v01.2", true).compareTo(semver("1.2.0")) == 0', True),
        ('semver("1.0.0-2").isLessThan(semver("1.0.0-10"))', True),
        ('isSemver("1.2") || !isSemver("v1.2", true)', False),
    ],
)
def test_value(expression: str, matches: bool) -> None:
    assert CelSelectors().matches(expression, DEVICE) is matches


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        (f"{OWN}.none == 1", "CEL runtime error: no such key: none"),
        (f"{OWN}.model > 3", "CEL runtime error: no such overload"),
        (f"{OWN}.model", "CEL runtime error: CEL result of type string could not be converted to bool"),
        ('quantity("x") == quantity("1")', "CEL runtime error: .*not a quantity"),
        ('semver("1.2") == semver("1.2.0")', "CEL runtime error: .*not a semantic version"),
        ('device.capacity["gpu.example.com"].share.asInteger() == 1', "CEL runtime error: .*cannot convert"),
        ("1 + 1", "CEL compile error: must evaluate to bool or the unknown type, not int"),
        (f"{MEMORY} > 3", "CEL compile error: compilation failed: .*no matching overload"),
        ("device.none == 1", "CEL compile error: compilation failed: .*undeclared reference"),
        ("true &&", "CEL compile error: compilation failed: .*Syntax error"),
        ("true || " * MAX_LENGTH + "true", f"expression is longer than {MAX_LENGTH} bytes"),
    ],
)
def test_a_wrong_expression(expression: str, text: str) -> None:
    with pytest.raises(SelectorError, match=text):
        CelSelectors().matches(expression, DEVICE)


@pytest.mark.parametrize("attribute", [("version", "1.2"), ("", "")])
def test_an_attribute_that_has_no_value(attribute: tuple[str, str]) -> None:
    with pytest.raises(SelectorError, match="CEL runtime error: attribute x: "):
        CelSelectors().matches("true", Content("d", attributes=(("x", attribute),)))


def test_a_function_that_is_not_defined_is_refused_by_name() -> None:
    with pytest.raises(errors.UnsupportedError, match="calls cidr"):
        CelSelectors().matches('cidr("10.0.0.0/8") == 1', DEVICE)

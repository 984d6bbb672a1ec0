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
        # lists and sets
        ("[1, 2, 3].isSorted() && !['b', 'a'].isSorted() && [].isSorted()", True),
        ("[1, 3].sum() == 4 && [1.0, 3.0].sum() == 4.0 && [].sum() == 0", True),
        ("[1, 2].first() == optional.of(1) && [duration('1m'), duration('1h')].isSorted()", True),
        ("[1, 3].min() == 1 && ['a', 'c', 'b'].max() == 'c'", True),
        ("sets.contains([1, 2, 3], [2, 3]) && sets.intersects([1], [1, 2]) && !sets.equivalent([1], [2])", True),
        ("[3, 1, 2].sort() == [1, 2, 3] && [1, 1].distinct() == [1] && lists.range(2) == [0, 1]", True),
        ("[1, 2, 3].slice(1, 3) == [2, 3] && [[1], [2]].flatten() == [1, 2]", True),
        ("[5, 6].all(i, v, v == i + 5) && {'a': 1}.transformList(k, v, v) == [1]", True),
        (f"[{OWN}.index, 5].max() == 5", True),
        # strings and regular expressions
        ("'a b'.split(' ').join('-') == 'a-b' && 'ABC'.lowerAscii().indexOf('c') == 2", True),
        ("'%s-%d'.format(['x', 3]) == 'x-3'", True),
        ("'abc 123'.find('[0-9]+') == '123' && 'abc'.find('x') == ''", True),
        ("'123 abc 456'.findAll('[0-9]*') == ['123', '', '', '', '', '456']", True),
        ("'a1b2c3'.findAll('[a-z]([0-9])', 2) == ['a1', 'b2']", True),
        ("'x\\n'.find('x$') == '' && 'x'.find('^x$') == 'x'", True),
        # optional values
        (f"{OWN}[?'none'].orValue(7) == 7 && {OWN}[?'index'].hasValue()", True),
        # addresses
        ("ip('192.168.0.1').family() == 4 && ip('2001:db8::abcd').family() == 6", True),
        (
            "isIP('::1') && !isIP('1.2.3.4.5') && !isIP('::ffff:1.2.3.4') && !isIP('01.2.3.4') && !isIP('::1%e')",
            True,
        ),
        ("ip('2001:db8::abcd') == ip('2001:DB8:0::ABCD') && !ip.isCanonical('2001:DB8::ABCD')", True),
        (
            "ip('127.0.0.1').isLoopback() && ip('0.0.0.0').isUnspecified() && ip('169.254.1.1').isLinkLocalUnicast()",
            True,
        ),
        ("ip('224.0.0.5').isLinkLocalMulticast() && !ip('224.0.1.5').isLinkLocalMulticast()", True),
        ("ip('ff02::1').isLinkLocalMulticast() && !ip('255.255.255.255').isGlobalUnicast()", True),
        ("ip('10.0.0.1').isGlobalUnicast() && !ip('fe80::1').isGlobalUnicast()", True),
        ("cidr('192.168.0.0/24').containsIP(ip('192.168.0.1')) && !cidr('10.0.0.0/8').containsIP('11.0.0.1')", True),
        (
            "cidr('192.168.0.0/16').containsCIDR('192.168.10.0/24') && !cidr('10.0.0.0/8').containsCIDR(cidr('::/0'))",
            True,
        ),
        ("cidr('192.168.1.5/24').masked() == cidr('192.168.1.0/24') && cidr('::1/128').prefixLength() == 128", True),
        ("cidr('192.168.1.5/24').ip() == ip('192.168.1.5') && isCIDR('10.0.0.0/8') && !isCIDR('10.0.0.0/08')", True),
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
        ("[].min() == 1", "CEL runtime error: .*min called on empty list"),
        ("[1, 'a'].isSorted()", "CEL runtime error: .*no such overload"),
        ("[9223372036854775807, 1].sum() == 0", "CEL runtime error: .*overflow"),
        ("ip('x') == ip('y')", "CEL runtime error: "),
        ("cidr('10.0.0.0') == cidr('10.0.0.0/8')", "CEL runtime error: .*parse error"),
        # what Kubernetes does not have either
        ("math.greatest(1, 2) == 2", "CEL compile error: compilation failed: .*undeclared reference"),
        ("'ab'.reverse() == 'ba'", "CEL compile error: compilation failed: .*no matching overload"),
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


@pytest.mark.parametrize(
    ("expression", "name"),
    [
        ("isURL('x')", "calls isURL"),
        ("format.dns1123Label().validate('x') == optional.none()", "calls format"),
        ("[duration('1m')].sum() == duration('1m')", "sum of durations"),
        ("[1].indexOf(1) == 0", "calls indexOf of a list"),
        ("string(ip('1.2.3.4')) == 'x'", "calls string of an address"),
        ("1 < 1.5", "compares numbers of two kinds by <"),
        ("cel.bind(d, device, d.driver == 'x')", "uses device as a whole"),
        ("'x'.find('(?i)X') == 'x'", "regular expression"),
        (r"'x'.find('\\bx') == 'x'", "regular expression"),
    ],
)
def test_what_is_not_defined_is_refused_by_name(expression: str, name: str) -> None:
    with pytest.raises(errors.UnsupportedError, match=name):
        CelSelectors().matches(expression, DEVICE)

# SPDX-License-Identifier: Apache-2.0
"""Quantities are read exactly, and what is not one is refused."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesched.api import quantity
from kubesched.base import errors

SUFFIXES = {"": 0, "m": -3, "u": -6, "n": -9, "k": 3, "M": 6, "G": 9, "T": 12}


@pytest.mark.parametrize(
    ("text", "nano"),
    [
        ("1", 10**9),
        ("500m", 5 * 10**8),
        ("1.5Gi", 3 * 2**29 * 10**9),
        ("1e3", 10**12),
        ("1E-3", 10**6),
        (".5", 5 * 10**8),
        ("5.", 5 * 10**9),
        ("+2", 2 * 10**9),
        ("-1m", -(10**6)),
        ("0.0000000001", 1),
        ("1E", 10**27),
        ("10", 10**10),
    ],
)
def test_reads_exactly(text: str, nano: int) -> None:
    assert quantity.parse_nano(text) == nano


@pytest.mark.parametrize(
    "text", ["", "m", "1..5", "0x10", "1 Gi", "1Gib", "1e", "٣", "1e999999999", "9" * 65, "1K", "--1"]
)
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="quantity|exponent"):
        quantity.parse_nano(text)


@given(st.integers(0, 10**12), st.integers(0, 9), st.sampled_from(sorted(SUFFIXES)))
def test_equals_fractions(digits: int, places: int, suffix: str) -> None:
    text = f"{digits // 10**places}.{digits % 10**places:0{places}d}{suffix}" if places else f"{digits}{suffix}"
    exact = Fraction(digits, 10**places) * Fraction(10) ** SUFFIXES[suffix] * 10**9
    assert quantity.parse_nano(text) == -(-exact.numerator // exact.denominator)


def test_rounds_up_once() -> None:
    assert quantity.milli(quantity.parse_nano("0.0001")) == 1
    assert quantity.whole(quantity.parse_nano("1500m")) == 2


@pytest.mark.parametrize("value", [True, None, [], {}])
def test_other_types_name_the_field(value: object) -> None:
    with pytest.raises(errors.InputError, match=r"^here: is not a quantity"):
        quantity.read_nano(value, "here")


def test_numbers_are_read_as_yaml_gives_them() -> None:
    assert quantity.read_nano(2, "here") == 2 * 10**9
    assert quantity.read_nano(0.5, "here") == 5 * 10**8


@pytest.mark.parametrize("given", ["0", "1", "1536Mi", "80Gi", "1500m", "7u", "3n", "1000", "1Ti"])
def test_writes_what_it_reads(given: str) -> None:
    assert quantity.text(quantity.parse_nano(given)) == given


@pytest.mark.parametrize("text", ["1e308", "1e-300", "9" * 62 + "E", "1" + "0" * 61 + "e360", "-1.5e100", "123e299"])
def test_what_a_server_prints_can_be_measured(text: str) -> None:
    """Every quantity that is taken is read again by the rules that compare it."""
    printed = quantity.canonical(text)
    assert quantity.parse_nano(printed) == math.ceil(Fraction(text.replace("E", "e18")) * 10**9)

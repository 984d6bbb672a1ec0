# SPDX-License-Identifier: Apache-2.0
"""Kubernetes quantities ("500m", "2Gi", "1e3") to exact integers.

Everything is read into billionths (nano), the finest a quantity can be, so that sums are exact; rounding up to
thousandths or wholes happens once, at the end, as upstream's MilliValue() and Value() do.
Source: apimachinery pkg/api/resource, v1.36.
"""

from __future__ import annotations

import re
from functools import lru_cache

from kubesched.base import errors

NANO = 10**9
_MAX_DIGITS = 64  # arbitrary: the longest sensible quantity has about 30 characters
_MAX_LENGTH = 80  # of those digits, a sign, a point and an exponent
_MAX_EXPONENT = 360  # arbitrary: above the largest float that JSON may say, and small enough to stay cheap
_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eE][+-]?[0-9]{1,9}|[numkMGTPE]|[KMGTPE]i)?\Z")
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
EXPECTED = "a quantity such as 500m, 2, 1.5Gi or 1e3"


@lru_cache(maxsize=65536)
def parse_nano(text: str) -> int:
    """Read a quantity in billionths, rounded away from zero beyond them.

    Raises
    ------
    ValueError
        Not a quantity, or longer or larger than any resource can be.
    """
    if len(text) > _MAX_LENGTH:
        raise ValueError("too long for a quantity")
    match = _NUMBER.match(text)
    if match is None or not (match[2] or match[3]):
        raise ValueError("not a quantity")
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4] or ""
    if len(whole) + len(fraction) > _MAX_DIGITS:
        raise ValueError("too long for a quantity")
    digits = int((whole + fraction) or "0")
    numerator, denominator = digits * NANO, 10 ** len(fraction)
    if suffix in _BINARY:
        numerator <<= _BINARY[suffix]
    else:
        exponent = _DECIMAL[suffix] if suffix in _DECIMAL else int(suffix[1:])
        if abs(exponent) > _MAX_EXPONENT + _MAX_DIGITS:  # `canonical` may strip so many zeros
            raise ValueError("exponent out of range")
        numerator, denominator = (
            (numerator * 10**exponent, denominator) if exponent >= 0 else (numerator, denominator * 10**-exponent)
        )
    nano: int = -(-numerator // denominator)
    return -nano if sign == "-" else nano


def read_nano(value: object, where: str) -> int:
    """Read a quantity as objects hold it: text, or a number from YAML.

    Raises
    ------
    InputError
        Names ``where``, the value and what was expected.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise errors.InputError(where, "is not a quantity", value, EXPECTED)
    try:
        return parse_nano(value if isinstance(value, str) else _number_text(value))
    except ValueError as error:
        raise errors.InputError(where, f"is {error}", value, EXPECTED) from None


def _number_text(value: float) -> str:
    return str(value) if isinstance(value, int) else repr(value)


def milli(nano: int) -> int:
    """Thousandths, rounded up."""
    return -(-nano // 10**6)


def whole(nano: int) -> int:
    """Wholes, rounded up."""
    return -(-nano // NANO)


def text(nano: int) -> str:
    """The same amount as a quantity: in binary units or wholes, else in the largest decimal part that is exact."""
    amount, rest = divmod(nano, NANO)
    if rest:
        unit, suffix = next(
            (unit, suffix) for unit, suffix in ((10**6, "m"), (10**3, "u"), (1, "n")) if not nano % unit
        )
        return f"{nano // unit}{suffix}"
    units = [(suffix, amount >> bits) for suffix, bits in _BINARY.items() if amount and amount % (1 << bits) == 0]
    return f"{units[-1][1]}{units[-1][0]}" if units else str(amount)


# ---- as the API prints them ----

FORMAT_ERROR = r"quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
_ANY_NUMBER = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?([eEinumkKMGTP]*(?:[-+]?[0-9]*))\Z")
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]{1,9})\Z")
_DECIMAL_SUFFIX = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIX = {power: suffix for suffix, power in _BINARY.items()}
_MAX = 2**63 - 1


def canonical(text: str) -> str:
    """The quantity as a server writes it back: no fraction, the largest suffix of its kind that keeps it exact.

    Raises
    ------
    ValueError
        Not a quantity; ``str()`` is upstream's text.
    """
    return _canonical(text if len(text) <= _MAX_KEPT else text.strip()[:_MAX_KEPT])


_MAX_KEPT = 256  # characters; whatever is longer is no quantity, and its beginning neither


@lru_cache(maxsize=65536)
def _canonical(text: str) -> str:
    match = _ANY_NUMBER.match(text.strip())
    if match is None or not match[0]:
        raise ValueError(FORMAT_ERROR)
    sign, whole, fraction, suffix = match[1], match[2], match[3] or "", match[4]
    if len(whole) + len(fraction) > _MAX_DIGITS - 2:  # it may have to be printed with two zeros more
        raise ValueError("unable to parse numeric part of quantity")
    if not int(whole or "0") and not int(fraction or "0"):
        return _zero(suffix)
    digits = int(whole + fraction)
    if suffix in _BINARY:
        return _binary(sign, digits << _BINARY[suffix], len(fraction))
    return _decimal(sign, digits, _exponent(suffix) - len(fraction), scientific=suffix not in _DECIMAL)


def _zero(suffix: str) -> str:
    if suffix not in _BINARY:
        _exponent(suffix)
    return "0"


def _exponent(suffix: str) -> int:
    """Of a decimal suffix, in letters or digits."""
    if suffix in _DECIMAL:
        return _DECIMAL[suffix]
    found = _EXPONENT.match(suffix)
    if found is None or abs(int(found[1])) > _MAX_EXPONENT:
        raise ValueError("unable to parse quantity's suffix")
    return int(found[1])


def _decimal(sign: str, digits: int, exponent: int, *, scientific: bool) -> str:
    """Digits and a power of ten that is a multiple of three; billionths are the finest, rounded away from zero."""
    if exponent < -9:
        digits, exponent = -(-digits // 10 ** (-9 - exponent)), -9
    while digits % 10 == 0:
        digits, exponent = digits // 10, exponent + 1
    digits, exponent = digits * 10 ** (exponent % 3), exponent - exponent % 3
    minus = "-" if sign == "-" else ""
    if scientific:
        return f"{minus}{digits}e{exponent}" if exponent else f"{minus}{digits}"
    if exponent > 18:
        digits, exponent = digits * 10 ** (exponent - 18), 18
    return f"{minus}{digits}{_DECIMAL_SUFFIX[exponent]}"


def _binary(sign: str, digits: int, places: int) -> str:
    """As a multiple of a power of 1024, if it is a whole number of at least that; else as a decimal."""
    whole, rest = divmod(digits, 10**places)
    if rest or whole < 1024:
        return _decimal(sign, digits, -places, scientific=False)
    whole, power = min(whole, _MAX), 0
    while whole % 1024 == 0:
        whole, power = whole // 1024, power + 10
    return f"{'-' if sign == '-' else ''}{whole}{_BINARY_SUFFIX.get(power, '')}"

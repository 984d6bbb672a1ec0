# SPDX-License-Identifier: Apache-2.0
"""Times and durations as Go reads and prints them.

Source: packages time of Go and apimachinery/pkg/apis/meta/v1 (Time, MicroTime, Duration), v1.36.
"""

from __future__ import annotations

import datetime
import re
from fractions import Fraction

from kubesched.api import gotext

_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z", re.ASCII)
_UTC_MICROS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z\Z", re.ASCII)
_SECONDS_LAYOUT = "2006-01-02T15:04:05Z07:00"
_MICROS_LAYOUT = "2006-01-02T15:04:05.000000Z07:00"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_ZERO = datetime.datetime(1, 1, 1, tzinfo=datetime.UTC)


def seconds(text: str) -> str | None:
    """A time in UTC and whole seconds; None is the zero time. Raises ValueError with upstream's text."""
    if _UTC.match(text) and text[:4] > "0001":
        try:
            datetime.datetime.fromisoformat(text)
        except ValueError:
            pass
        else:
            return text
    return print_seconds(_parse(text, _SECONDS_LAYOUT))


def micros(text: str) -> str | None:
    """A time in UTC with six digits of a second; None is the zero time. Raises ValueError with upstream's text."""
    return print_micros(_parse(text, _MICROS_LAYOUT))


def print_seconds(time: datetime.datetime) -> str | None:
    return None if time == _ZERO else _text(time) + "Z"


def print_micros(time: datetime.datetime) -> str | None:
    return None if time == _ZERO else f"{_text(time)}.{time.microsecond:06d}Z"


def _text(time: datetime.datetime) -> str:
    return time.astimezone(datetime.UTC).replace(microsecond=0, tzinfo=None).isoformat()


def from_unix(whole: int, nanos: int) -> datetime.datetime:
    """The time of a number of seconds since 1970. Raises ValueError for what no calendar has."""
    try:
        return _EPOCH + datetime.timedelta(seconds=whole, microseconds=nanos // 1000)
    except OverflowError:
        raise ValueError("time out of range") from None


def to_unix(text: str) -> tuple[int, int]:
    """Seconds since 1970 and nanoseconds of a printed time."""
    delta = datetime.datetime.fromisoformat(text) - _EPOCH
    return delta.days * 86400 + delta.seconds, delta.microseconds * 1000


# What Go's layout consists of: the element as the layout writes it, and what may stand there.
_ELEMENTS = (
    ("2006", re.compile(r"\d{4}", re.ASCII)),
    ("-", re.compile("-")),
    ("01", re.compile(r"\d\d", re.ASCII)),
    ("-", re.compile("-")),
    ("02", re.compile(r"\d\d", re.ASCII)),
    ("T", re.compile("T")),
    ("15", re.compile(r"\d\d", re.ASCII)),
    (":", re.compile(":")),
    ("04", re.compile(r"\d\d", re.ASCII)),
    (":", re.compile(":")),
    ("05", re.compile(r"\d\d", re.ASCII)),
)
_RANGES = {
    "01": (1, 12, "month"),
    "02": (1, 31, "day"),
    "15": (0, 23, "hour"),
    "04": (0, 59, "minute"),
    "05": (0, 59, "second"),
}
_FRACTION = re.compile(r"[.,](\d+)", re.ASCII)
_MICROS = re.compile(r"\.(\d{6})(?!\d)", re.ASCII)
_ZONE = re.compile(r"Z|([+-])(\d\d):(\d\d)", re.ASCII)


def _parse(text: str, layout: str) -> datetime.datetime:
    def wrong(rest: str, element: str) -> ValueError:
        quoted = [gotext.quote(part) for part in (text, layout, rest, element)]
        return ValueError(f"parsing time {quoted[0]} as {quoted[1]}: cannot parse {quoted[2]} as {quoted[3]}")

    at = 0
    found: list[int] = []
    for element, pattern in _ELEMENTS:
        match = pattern.match(text, at)
        if match is None:
            raise wrong(text[at:], element)
        at = match.end()
        if element.isdigit():
            found.append(int(match[0]))
            low, high, name = _RANGES.get(element, (0, 9999, "year"))
            if not low <= found[-1] <= high:
                raise ValueError(f"parsing time {gotext.quote(text)}: {name} out of range")
    fraction = (_MICROS if layout is _MICROS_LAYOUT else _FRACTION).match(text, at)
    if fraction is None and layout is _MICROS_LAYOUT:
        raise wrong(text[at:], ".000000")
    at = fraction.end() if fraction else at
    zone = _ZONE.match(text, at)
    if zone is None:
        raise wrong(text[at:], "Z07:00")
    if zone.end() < len(text):
        raise ValueError(f"parsing time {gotext.quote(text)}: extra text: {gotext.quote(text[zone.end() :])}")
    return _assemble(text, found, int(fraction[1][:6].ljust(6, "0")) if fraction else 0, zone)


def _assemble(text: str, parts: list[int], micro: int, zone: re.Match[str]) -> datetime.datetime:
    try:
        offset = datetime.timedelta(hours=int(zone[2] or 0), minutes=int(zone[3] or 0))
        year, month, day, hour, minute, second = parts
        local = datetime.datetime(year, month, day, hour, minute, second, micro, tzinfo=datetime.UTC)
        return local + offset if zone[1] == "-" else local - offset
    except (ValueError, OverflowError):
        what = "year" if not 1 <= parts[0] <= 9998 else "day"
        raise ValueError(f"parsing time {gotext.quote(text)}: {what} out of range") from None


# ---- durations ----

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}
_PART = re.compile(r"(\d{1,20}(?:\.\d{0,20})?|\.\d{1,20})(ns|us|µs|μs|ms|s|m|h)", re.ASCII)


def duration(text: str) -> str:
    """A duration in Go's form, ``1h30m0s``. Raises ValueError with upstream's text."""
    return print_duration(parse_duration(text))


def parse_duration(text: str) -> int:
    """Nanoseconds."""
    body = text[1:] if text[:1] in ("+", "-") else text
    if body == "0":
        return 0
    total, at = Fraction(0), 0
    while match := _PART.match(body, at):
        total += Fraction(match[1] if match[1][0] != "." else f"0{match[1]}") * _UNITS[match[2]]
        at = match.end()
    if not body or at < len(body) or total >= 2**63:
        raise ValueError(f"time: invalid duration {gotext.quote(text)}")
    return -int(total) if text[0] == "-" else int(total)


def print_duration(nanos: int) -> str:
    sign, nanos = ("-", -nanos) if nanos < 0 else ("", nanos)
    if nanos < 10**9:
        for unit, size in (("ms", 10**6), ("µs", 10**3), ("ns", 1)):
            if nanos >= size:
                return f"{sign}{_decimal(nanos, size)}{unit}"
        return "0s"
    minutes, rest = divmod(nanos, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    out = f"{_decimal(rest, 10**9)}s"
    if hours or minutes:
        out = f"{minutes}m{out}"
    return f"{sign}{hours}h{out}" if hours else sign + out


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    digits = str(rest).rjust(len(str(unit)) - 1, "0").rstrip("0")
    return f"{whole}.{digits}" if digits else str(whole)

# SPDX-License-Identifier: Apache-2.0
"""Whether a schedule of a CronJob can be read, and in the cron library's own words what is wrong with it.

Source: robfig/cron v3, parser.go.
"""

from __future__ import annotations

import re

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_DAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_FIELDS: tuple[tuple[int, int, dict[str, int]], ...] = (
    (0, 59, {}),
    (0, 23, {}),
    (1, 31, {}),
    (1, 12, {name: i for i, name in enumerate(_MONTHS, 1)}),
    (0, 6, {name: i for i, name in enumerate(_DAYS)}),
)
"""Smallest and largest number, and names: minute, hour, day of the month, month, day of the week."""
_DESCRIPTORS = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_EVERY = "@every "
_DURATION = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+|[+-]?0")


class ScheduleError(ValueError):
    """A schedule that cannot be read; ``str()`` says why."""


def check(schedule: str) -> None:
    """Read a schedule.

    Raises
    ------
    ScheduleError
        It is none.
    """
    text = schedule
    if text.startswith(("TZ=", "CRON_TZ=")):
        text = text.partition(" ")[2].strip()
    if text.startswith("@"):
        _check_descriptor(text)
        return
    fields = text.split()
    if len(fields) != len(_FIELDS):
        found = " ".join(fields)
        raise ScheduleError(f"expected exactly {len(_FIELDS)} fields, found {len(fields)}: [{found}]")
    for field, (low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in filter(None, field.split(",")):
            _check_range(part, low, high, names)


def _check_descriptor(text: str) -> None:
    if text in _DESCRIPTORS:
        return
    if not text.startswith(_EVERY):
        raise ScheduleError(f"unrecognized descriptor: {text}")
    duration = text.removeprefix(_EVERY)
    if not _DURATION.fullmatch(duration):
        raise ScheduleError(f'failed to parse duration {text}: time: invalid duration "{duration}"')


def _check_range(text: str, low: int, high: int, names: dict[str, int]) -> None:
    bounds, *steps = text.split("/")
    first, *more = bounds.split("-")
    if first in ("*", "?"):
        start, end = low, high
    else:
        start = end = names[first.lower()] if first.lower() in names else _number(first)
        if len(more) > 1:
            raise ScheduleError(f"too many hyphens: {text}")
        if more:
            end = names[more[0].lower()] if more[0].lower() in names else _number(more[0])
    step = 1
    if len(steps) > 1:
        raise ScheduleError(f"too many slashes: {text}")
    if steps:
        step = _number(steps[0])
        end = end if more else high
    if start < low:
        raise ScheduleError(f"beginning of range ({start}) below minimum ({low}): {text}")
    if end > high:
        raise ScheduleError(f"end of range ({end}) above maximum ({high}): {text}")
    if start > end:
        raise ScheduleError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise ScheduleError(f"step of range should be a positive number: {text}")


def _number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ScheduleError(f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax')
    if int(text) < 0:
        raise ScheduleError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)

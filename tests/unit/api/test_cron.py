# SPDX-License-Identifier: Apache-2.0
"""Schedules, with the errors of the cron library (worked out from robfig/cron v3, parser.go)."""

from __future__ import annotations

import pytest

from kubesched.api import cron


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/15 0-6,12 1 jan,FEB mon-fri",
        "@hourly",
        "@every 1h30m",
        "0 0 ? * 0",
        "TZ=UTC 5 4 * * *",
        "5/10 * * * *",
    ],
)
def test_read(schedule: str) -> None:
    cron.check(schedule)


@pytest.mark.parametrize(
    ("schedule", "text"),
    [
        ("", "expected exactly 5 fields, found 0: []"),
        ("* * * * * *", "expected exactly 5 fields, found 6: [* * * * * *]"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("9-5 * * * *", "beginning of range (9) beyond end of range (5): 9-5"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@fortnightly", "unrecognized descriptor: @fortnightly"),
        ("@every day", 'failed to parse duration @every day: time: invalid duration "day"'),
    ],
)
def test_refused(schedule: str, text: str) -> None:
    with pytest.raises(cron.ScheduleError) as caught:
        cron.check(schedule)
    assert str(caught.value) == text

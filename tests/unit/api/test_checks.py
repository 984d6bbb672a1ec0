# SPDX-License-Identifier: Apache-2.0
"""What the checks of several kinds share."""

from __future__ import annotations

import pytest

from kubesched.api import checks


@pytest.mark.parametrize(
    ("values", "expected"),
    [("", set()), ("abc", set()), ("abaab", {2, 3, 4}), ("aaa", {1, 2})],
)
def test_what_came_before_is_found(values: str, expected: set[int]) -> None:
    assert checks.repeated(values) == expected
    assert checks.repeated(values) == {i for i, value in enumerate(values) if value in values[:i]}

# SPDX-License-Identifier: Apache-2.0
"""What became of a recorded case."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs."""

    field: str
    expected: Any
    got: Any


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a case."""

    differences: tuple[Difference, ...] = ()
    skipped: str | None = None
    """The feature that it needs."""

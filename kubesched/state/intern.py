# SPDX-License-Identifier: Apache-2.0
"""Values to small integers and back; append-only, so that an id keeps its meaning for the life of a cluster."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable
from typing import Generic, TypeVar

T = TypeVar("T", bound=Hashable)

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


class Interner(Generic[T]):
    """A growing table of distinct values.

    Parameters
    ----------
    known
        Values that take the ids 0, 1, ... from the start.
    """

    def __init__(self, known: Iterable[T] = ()) -> None:
        self._values: list[T] = list(known)
        self._ids: dict[T, int] = {value: i for i, value in enumerate(self._values)}

    def __len__(self) -> int:
        return len(self._values)

    def id(self, value: T) -> int:
        """The value's id, new if it has none. O(1)."""
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self._values)
            self._values.append(value)
        return found

    def find(self, value: T) -> int | None:
        """The value's id, or None."""
        return self._ids.get(value)

    def value(self, number: int) -> T:
        return self._values[number]

    def values(self) -> list[T]:
        """All values in the order of their ids; a copy."""
        return list(self._values)


def parse_int64(text: str) -> int | None:
    """Read an integer as the Gt and Lt operators do, or None.

    Base 10, optional sign, 64 bit; no spaces, no underscores. Source: strconv.ParseInt.
    """
    if _INTEGER.match(text) is None or len(text.lstrip("+-").lstrip("0")) > 19:
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None

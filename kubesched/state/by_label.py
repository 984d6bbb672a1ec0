# SPDX-License-Identifier: Apache-2.0
"""Things found by labels: rules by the labels of which a pod must have one, classes of pods by the labels they have.

Rules of one application seldom select pods of another. What shares no label need not be compared: a search costs what
it finds, not all there is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

Label = tuple[str, str]
_T = TypeVar("_T")


class ByLabel(Generic[_T]):
    """Things with numbers, each filed under labels, or under none because it goes with any."""

    def __init__(self) -> None:
        self._things: dict[int, _T] = {}
        self._labels: dict[int, frozenset[Label]] = {}
        self._with: dict[Label, set[int]] = {}
        self._with_any: set[int] = set()

    def __iter__(self) -> Iterator[tuple[int, _T]]:
        """All, in the order in which they came."""
        return iter(self._things.items())

    def add(self, number: int, thing: _T, labels: Iterable[Label] | None) -> None:
        """File a thing under labels; None: it goes with any."""
        self._things[number] = thing
        self._labels[number] = frozenset(labels or ())
        if labels is None:
            self._with_any.add(number)
        for label in self._labels[number]:
            self._with.setdefault(label, set()).add(number)

    def remove(self, number: int) -> None:
        """Forget a thing."""
        del self._things[number]
        self._with_any.discard(number)
        for label in self._labels.pop(number):
            there = self._with[label]
            there.discard(number)
            if not there:
                del self._with[label]

    def find(self, labels: Iterable[Label] | None) -> list[tuple[int, _T]]:
        """What shares a label with these, by number; None: everything."""
        if labels is None:
            return list(self)
        found = self._with_any.union(*self._among(labels))
        return [(number, self._things[number]) for number in sorted(found)]

    def count(self, labels: Iterable[Label]) -> int:
        """How many share a label with these, beside what goes with any; one that shares two may count twice."""
        return sum(map(len, self._among(labels)))

    def _among(self, labels: Iterable[Label]) -> Iterator[set[int]]:
        return (self._with[label] for label in labels if label in self._with)

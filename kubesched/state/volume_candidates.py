# SPDX-License-Identifier: Apache-2.0
"""Free volumes for claims of one kind: which of them each row would get, kept up to date as volumes are taken.

Volumes that reach the same nodes are one place. On a row the smallest free volume of its places counts, so that taking
a volume touches only the rows that would have got it, and costs a step per place that reaches one of them.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel.arrays import I32
from kubesched.state.row_labels import Bool, RowLabels
from kubesched.state.rows import Term
from kubesched.state.storage_rows import Volume

NONE = -1
_LAST = 2**31 - 1
_FEW = 32  # arbitrary: a place of no more rows is found by row instead of by mask

Excluded = Callable[[int, I32], Bool]
"""Whether a candidate (by position) is out of question, on each of some rows."""


@dataclass(slots=True, eq=False)
class _Place:
    """Volumes that reach the same rows."""

    rows: I32
    reaches: Bool
    """By row; empty where ``rows`` are few."""
    free: list[int] = field(default_factory=list)
    """Positions of the candidates that nobody took, ascending."""

    def first(self, at: I32, excluded: Excluded | None) -> I32:
        """Position of the first free candidate for each of some rows of the place, past all positions without."""
        out = np.full(len(at), _LAST, dtype=np.int32)
        left = np.arange(len(at))
        for position in self.free:
            out[left] = position
            if excluded is None:
                return out
            left = left[excluded(position, at[left])]
            if len(left) == 0:
                return out
        out[left] = _LAST
        return out


class Candidates:
    """Volumes that can hold claims of one kind.

    Parameters
    ----------
    volumes
        Smallest first: the first free one that reaches a row is the one it gets.
    """

    def __init__(self, volumes: Sequence[Volume], labels: RowLabels) -> None:
        self.volumes = volumes
        self._labels = labels
        self.position = {volume.name: i for i, volume in enumerate(volumes)}
        self.best: I32 = np.zeros(0, dtype=np.int32)
        """Position of the volume that each row gets, -1 without, ``[n_rows]``."""
        self._place_of: list[_Place] = []
        self._wide: list[_Place] = []
        self._at_row: dict[int, list[_Place]] = {}
        self._seen_labels = -1
        self._seen_takes = 0
        self._tables: dict[int, tuple[Candidates, I32]] = {}

    def refresh(self, taken: Collection[str], takes: Sequence[str]) -> None:
        """Bring ``best`` up to date.

        Parameters
        ----------
        taken
            Names of the volumes that are taken.
        takes
            Names of all that were taken or freed so far, oldest first.
        """
        if self._seen_labels != self._labels.log.end or len(self.best) != self._labels.n_rows:
            self._build(taken)
            self._seen_labels = self._labels.log.end
        else:
            for name in dict.fromkeys(takes[self._seen_takes :]):
                position = self.position.get(name)
                if position is not None:
                    self._change(position, name in taken)
        self._seen_takes = len(takes)

    def _build(self, taken: Collection[str]) -> None:
        """Make everything anew. O(places * rows)."""
        places: dict[tuple[Term, ...] | None, _Place] = {}
        self._place_of, self._wide, self._at_row = [], [], {}
        for position, volume in enumerate(self.volumes):
            place = places.get(volume.reach.terms)
            if place is None:
                place = places[volume.reach.terms] = self._new_place(volume)
            self._place_of.append(place)
            if volume.name not in taken:
                place.free.append(position)
        best = np.full(self._labels.n_rows, _LAST, dtype=np.int32)
        for place in places.values():
            if place.free:
                best[place.rows] = np.minimum(best[place.rows], place.free[0])
        best[best == _LAST] = NONE
        self.best = best

    def _new_place(self, volume: Volume) -> _Place:
        reaches = self._labels.match(volume.reach.terms, None)
        place = _Place(np.flatnonzero(reaches).astype(np.int32), reaches)
        if len(place.rows) > _FEW:
            self._wide.append(place)
            return place
        place.reaches = reaches[:0]
        for row in place.rows.tolist():
            self._at_row.setdefault(row, []).append(place)
        return place

    def _change(self, position: int, is_taken: bool) -> None:
        """One candidate was taken or freed."""
        place = self._place_of[position]
        at = bisect_left(place.free, position)
        was_free = at < len(place.free) and place.free[at] == position
        if is_taken and was_free:
            del place.free[at]
            rows = place.rows[self.best[place.rows] == position]
            self.best[rows] = self.lowest(rows, None)
        elif not is_taken and not was_free:
            insort(place.free, position)
            now = self.best[place.rows]
            self.best[place.rows] = np.where((now == NONE) | (now > position), position, now)

    def lowest(self, rows: I32, excluded: Excluded | None) -> I32:
        """Position of the first free candidate for each of some rows, -1 without."""
        out = np.full(len(rows), _LAST, dtype=np.int32)
        for place in self._wide:
            at = np.flatnonzero(place.reaches[rows])
            if len(at) and place.free:
                out[at] = np.minimum(out[at], place.first(rows[at], excluded))
        for i, row in enumerate(rows.tolist()) if self._at_row else ():
            for place in self._at_row.get(row, ()):
                out[i] = min(out[i], place.first(rows[i : i + 1], excluded)[0])
        out[out == _LAST] = NONE
        return out

    def positions_of(self, others: Candidates, chosen: I32) -> I32:
        """What others chose, as positions here; -1 where it is not among these."""
        if others is self:
            return chosen
        known = self._tables.get(id(others))
        if known is None:
            known = self._tables[id(others)] = others, self.table(others.volumes)
        out: I32 = known[1][chosen]
        return out

    def table(self, volumes: Iterable[Volume]) -> I32:
        """Position of each volume here, -1 where it is not among these; the last entry is for -1."""
        return np.array([*(self.position.get(v.name, NONE) for v in volumes), NONE], dtype=np.int32)

# SPDX-License-Identifier: Apache-2.0
"""Label values as columns, and columns of verdicts that follow from them; only changed rows are looked at again.

What readers need to know of changes is in a RowLog: rows in the order in which they changed. A reader remembers how
far it read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, U8
from kubesched.state import rows as row_types
from kubesched.state.intern import Interner, parse_int64

Bool = npt.NDArray[np.bool_]
_ABSENT = -1
_MOST_LOGGED = 1 << 16  # arbitrary: a reader that is further behind reads all rows


class RowLog:
    """Rows that changed, oldest first; bounded."""

    def __init__(self) -> None:
        self._rows: list[int] = []
        self._start = 0

    @property
    def end(self) -> int:
        """Where a reader that knows everything stands."""
        return self._start + len(self._rows)

    def add(self, changed: Iterable[int]) -> None:
        self._rows.extend(changed)
        if len(self._rows) > _MOST_LOGGED:
            dropped = len(self._rows) - _MOST_LOGGED // 2
            self._start += dropped
            del self._rows[:dropped]

    def since(self, at: int) -> list[int] | None:
        """Rows that changed after a reader stood at ``at``, with repeats; None: too many to tell."""
        return self._rows[at - self._start :] if at >= self._start else None


class Column:
    """A code for each row, computed from something that a log tells the changes of.

    Parameters
    ----------
    n_rows
        Number of rows now.
    log
        Rows whose code may have changed.
    compute
        Codes of some rows (None: of all).
    """

    def __init__(self, n_rows: Callable[[], int], log: RowLog, compute: Callable[[I32 | None], U8]) -> None:
        self._n_rows, self._log, self._compute = n_rows, log, compute
        self._seen = log.end
        self.codes: U8 = compute(None)
        """``[n_rows]`` as of the last refresh."""
        self.changed = RowLog()
        """Rows whose code did change."""

    def refresh(self) -> U8:
        """Bring the codes up to date. O(changed rows)."""
        end = self._log.end
        if end == self._seen and len(self.codes) == self._n_rows():
            return self.codes
        rows = self._log.since(self._seen)
        self._seen = end
        if rows is None or len(rows) >= len(self.codes) or len(self.codes) != self._n_rows():
            self._replace(self._compute(None))
            return self.codes
        at = arrays.int32(rows)
        new = self._compute(at)
        differs = new != self.codes[at]
        if differs.any():
            self.codes[at] = new
            self.changed.add(at[differs].tolist())
        return self.codes

    def _replace(self, new: U8) -> None:
        old = np.zeros(len(new), dtype=np.uint8)
        old[: len(self.codes)] = self.codes[: len(new)]
        self.codes = new
        self.changed.add(np.flatnonzero(old != new).tolist())


class RowLabels:
    """Value ids of the label keys that somebody asks about, one column a key.

    Parameters
    ----------
    engine
        Knows each row's label set.
    label_sets
        Distinct label sets by id, hostnames left out.
    hostnames
        Hostname label by row.
    """

    def __init__(
        self,
        engine: native.Engine,
        label_sets: Interner[tuple[tuple[str, str], ...]],
        hostnames: Mapping[int, str],
    ) -> None:
        self._engine, self._label_sets, self._hostnames = engine, label_sets, hostnames
        self._values: Interner[str] = Interner()
        self._of_set: dict[str, I32] = {}
        self._columns: dict[str, I32] = {}
        self.log = RowLog()
        """Rows whose labels changed."""
        self.n_rows = 0

    def set_rows(self, changed: Sequence[int]) -> None:
        """Rows were added or rewritten. O(rows * keys asked about)."""
        self.n_rows = self._engine.n_rows
        at = arrays.int32(list(changed))
        for key, column in self._columns.items():
            grown = np.full(self.n_rows, _ABSENT, dtype=np.int32)
            grown[: len(column)] = column
            grown[at] = self._read(key, at)
            self._columns[key] = grown
        self.log.add(changed)

    def _read(self, key: str, at: I32 | None) -> I32:
        """Value ids of a key at some rows (None: all)."""
        if key == row_types.HOSTNAME_LABEL:
            wanted = range(self.n_rows) if at is None else at.tolist()
            found = (self._hostnames.get(row) for row in wanted)
            return arrays.int32([_ABSENT if name is None else self._values.id(name) for name in found])
        of_set = self._of_set.get(key, np.zeros(0, dtype=np.int32))
        if len(of_set) < len(self._label_sets):
            new = (self._label_sets.value(i) for i in range(len(of_set), len(self._label_sets)))
            more = [next((self._values.id(v) for k, v in pairs if k == key), _ABSENT) for pairs in new]
            of_set = self._of_set[key] = np.concatenate([of_set, arrays.int32(more)])
        label_set = self._engine.columns().label_set
        out: I32 = of_set[label_set if at is None else label_set[at]]
        return out

    def values(self, key: str, at: I32 | None) -> I32:
        """Value id of a label at some rows (None: all), -1 where it is absent."""
        column = self._columns.get(key)
        if column is None or len(column) != self.n_rows:
            column = self._columns[key] = self._read(key, None)
        return column if at is None else column[at]

    def listed(self, values: I32, wanted: Sequence[str]) -> Bool:
        """Whether each value is one of the wanted."""
        if len(wanted) == 1:
            return np.equal(values, self._values.id(wanted[0]))
        return np.isin(values, arrays.int32([self._values.id(text) for text in wanted]))

    def holds(self, q: row_types.Requirement, at: I32 | None) -> Bool:
        """Whether a requirement on labels holds at some rows (None: all)."""
        values = self.values(q.key, at)
        if q.operator == "In":
            return self.listed(values, q.values)
        if q.operator == "NotIn":
            return ~self.listed(values, q.values)
        if q.operator in ("Exists", "DoesNotExist"):
            return np.equal(values >= 0, q.operator == "Exists")
        return self._compares(values, q)

    def _compares(self, values: I32, q: row_types.Requirement) -> Bool:
        """Gt and Lt: both sides must be integers."""
        operand = parse_int64(q.values[0])
        table = np.zeros(len(self._values) + 1, dtype=np.bool_)  # the last is for rows without the label
        for number in np.unique(values[values >= 0]).tolist():
            value = parse_int64(self._values.value(number))
            if value is not None and operand is not None:
                table[number] = value > operand if q.operator == "Gt" else value < operand
        out: Bool = table[values]
        return out

    def all_hold(self, requirements: Sequence[row_types.Requirement], at: I32 | None) -> Bool:
        """Whether all requirements on labels hold at some rows (None: all); those on fields always do."""
        out = np.ones(self.n_rows if at is None else len(at), dtype=np.bool_)
        for q in requirements:
            if not q.is_field:
                out &= self.holds(q, at)
        return out

    def match(self, terms: Sequence[row_types.Term] | None, at: I32 | None) -> Bool:
        """Whether one of the terms matches at some rows (None: all). None matches everywhere.

        Source: component-helpers/scheduling/corev1/nodeaffinity, v1.36: an empty term, and one that cannot be read,
        matches nothing.
        """
        n = self.n_rows if at is None else len(at)
        if terms is None:
            return np.ones(n, dtype=np.bool_)
        out = np.zeros(n, dtype=np.bool_)
        for term in terms:
            if term.requirements and all(map(is_readable, term.requirements)):
                out |= self.all_hold(term.requirements, at)
        return out


def is_readable(q: row_types.Requirement) -> bool:
    """Whether kube-scheduler can parse a requirement."""
    if q.is_field:
        return len(q.values) == 1
    if q.operator in ("In", "NotIn"):
        return bool(q.values)
    if q.operator in ("Exists", "DoesNotExist"):
        return not q.values
    return len(q.values) == 1 and parse_int64(q.values[0]) is not None

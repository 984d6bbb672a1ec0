# SPDX-License-Identifier: Apache-2.0
"""What each row can reach of devices, and what the search for claims says of it.

Rows that hold the same (pools of equal content, the same of them taken, the same resources offered by the node itself)
have one number, their holding. A search is answered once for each holding; its column is brought up to date by looking
the holdings of changed rows up. Slices that change are taken over pool by pool.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import arrays
from kubesched.kernel.arrays import I32, I64, U8
from kubesched.state import claim_rows, node_match, rows
from kubesched.state.allocator import AllocationError, Allocator, Found, Matches, Question
from kubesched.state.claim_rows import Allocation, ClaimSpec, Content, DeviceClass, Slice
from kubesched.state.intern import Interner
from kubesched.state.nodes import UNLIMITED, Nodes
from kubesched.state.pools import Pool, Pools, View
from kubesched.state.row_labels import Bool, RowLabels, RowLog

Search = tuple[int, ...]
"""Numbers of the specs of claims that need devices, and of the extended resources last (-1: none)."""
Asks = Callable[[Search, frozenset[str]], tuple[ClaimSpec, ...]]
"""What a search asks for on a node that offers some extended resources itself."""
_MOST_ANSWERS = 200_000  # arbitrary: bounds memory; answers are found again
_MOST_HOLDINGS = 1 << 18  # arbitrary: from here on, and twice the rows, they are numbered anew
_LEAST_STALE = 1024  # arbitrary: pools out of date that are kept, at least


@dataclass(frozen=True, slots=True)
class Answer:
    """What the search says for rows of one holding."""

    code: int
    found: Found | None = None
    error: AllocationError | None = None

    @property
    def raw(self) -> int:
        """The raw score."""
        return self.found.score if self.found is not None else 0


@dataclass(frozen=True, slots=True)
class Codes:
    """Verdict codes of an answer: there are no devices, for a reason; the search failed."""

    none: Callable[[str], int]
    failed: int


@dataclass(slots=True)
class Column:
    """Answers of one search: for all rows, and for the holdings that it has met."""

    code: U8
    raw: I64
    known: Bool = field(default_factory=lambda: np.zeros(0, np.bool_))
    """``[holdings]``: met since shared pools changed."""
    code_of: U8 = field(default_factory=lambda: np.zeros(0, np.uint8))
    raw_of: I64 = field(default_factory=lambda: np.zeros(0, np.int64))
    seen: int = 0
    """Changes of rows that are in it."""
    shared: int = -1
    """Changes of pools that several rows see that are in it."""
    changes: RowLog = field(default_factory=RowLog)
    """Rows whose answer changed."""
    error: tuple[AllocationError, int] | None = None
    """With the row where it was met."""

    def grow(self, n_rows: int, n_holdings: int) -> None:
        """Make room; new rows are as if everything were there, until they are looked at."""
        if len(self.code) < n_rows:
            more = n_rows - len(self.code)
            self.code, self.raw = np.pad(self.code, (0, more)), np.pad(self.raw, (0, more))
        if len(self.known) < n_holdings:
            more = max(n_holdings, 2 * len(self.known)) - len(self.known)
            self.known, self.code_of = np.pad(self.known, (0, more)), np.pad(self.code_of, (0, more))
            self.raw_of = np.pad(self.raw_of, (0, more))


class DeviceRows:
    """Pools of devices, what is taken of them, and searches in them.

    Parameters
    ----------
    nodes, labels
        Of the cluster.
    classes
        Device classes by name.
    matches
        Evaluates a selector.
    asks
        What a search asks for.
    codes
        Of verdicts.
    slices
        By name, in order.
    """

    def __init__(
        self,
        nodes: Nodes,
        labels: RowLabels,
        classes: dict[str, DeviceClass],
        matches: Matches,
        asks: Asks,
        codes: Codes,
        slices: dict[str, Slice],
    ) -> None:
        self._nodes, self._labels, self._asks, self._codes = nodes, labels, asks, codes
        self.slices = slices
        self.contents: Interner[Content] = Interner()
        self._allocator = Allocator(classes, self.contents, matches)
        self._pools = Pools(slices.values(), self._admits, self.contents, self._allocator.add)
        self._masks: dict[tuple[rows.Term, ...], Bool] = {}
        self._views: dict[int, View] = {}
        """What each row sees."""
        self._own: dict[tuple[str, str], tuple[int, Pool]] = {}
        """Pools that one row sees and no other one, with the row."""
        self._patterns_of: dict[tuple[str, str], set[int]] = {}
        """Patterns of views in which a pool is that several rows may see."""
        self._version: dict[int, int] = {}
        """By pattern: number of the last change of a shared pool in it."""
        self._holding: I32 = np.zeros(0, dtype=np.int32)
        """Number of what each row holds."""
        self._offered: list[int] = []
        """Number of the lifted resources that each row offers itself."""
        self._offers: Interner[frozenset[str]] = Interner([frozenset()])
        self._log = RowLog()
        """Rows that hold something else than before."""
        self._n_shared = 0
        self._columns: dict[Search, Column] = {}
        self._answers: dict[tuple[Search, int], tuple[int, Answer]] = {}
        """By search and holding, with the version of the pattern."""
        self._questions: dict[tuple[Search, int], Question] = {}
        """By search and number of what the node offers."""
        self._number_anew()

    def _number_anew(self) -> None:
        """Forget all holdings, and what was found for them."""
        self._holdings: Interner[object] = Interner([()])
        self._states: Interner[object] = Interner()
        self._grouped: tuple[int, list[int], list[int]] | None = None
        """The holdings that there are, with a row of each; changes of rows in it first."""
        self._columns.clear()
        self._answers.clear()
        for view in self._views.values():
            for pool in view.pools:
                pool.state = -1
        for row in self._views:
            self._note(row)

    # ---- rows and slices ----

    def row_of(self, name: str) -> int | None:
        """Row of a node."""
        return self._nodes.row_of(name)

    @property
    def n_rows(self) -> int:
        return len(self._holding)

    def set_rows(self, changed: Sequence[int], lifted: Sequence[str]) -> None:
        """Rows were added, rewritten or removed. O(rows)."""
        more = self._nodes.engine.n_rows - len(self._holding)
        if more:
            self._holding = np.concatenate([self._holding, np.zeros(more, dtype=np.int32)])
            self._offered += [0] * more
        self._masks.clear()
        for row in changed:
            self._offered[row] = 0
        self._find_offers(changed, lifted)
        for row in range(len(self._holding)) if self._pools.uses_selectors else changed:
            self._look(row)

    def see_offers(self, resources: Sequence[str]) -> None:
        """These resources are lifted from now on: note which rows offer them. O(rows)."""
        for row in self._find_offers(range(len(self._holding)), resources):
            self._note(row)

    def _find_offers(self, some: Sequence[int], resources: Sequence[str]) -> list[int]:
        """Enter which of some rows offer resources themselves; these rows."""
        if not resources or not len(some):
            return []
        at, found = arrays.int32(list(some)), dict[int, None]()
        allocatable = self._nodes.engine.columns().allocatable
        for resource in resources:
            for row in at[allocatable[self._nodes.names.resource_id(resource)][at] != UNLIMITED].tolist():
                self._offered[row] = self._offers.id(self._offers.value(self._offered[row]) | {resource})
                found[row] = None
        return list(found)

    def put(self, slices: Iterable[Slice]) -> bool:
        """Add slices, or replace those of the same name. O(slices of their pools + rows that see them).

        False: nothing was done, so much is out of date that it is better to start anew.
        """
        new = list(slices)
        if self._pools.n_stale > max(_LEAST_STALE, self._pools.n_pools) or not self._pools.keep_place(self.slices, new):
            return False
        names: set[str] = set()
        is_any = False
        for one in new:
            reached = self._pools.put(one)
            is_any = is_any or reached is None
            names |= reached or set()
            self.slices[one.name] = one
        if is_any:
            self._masks.clear()
        seen = (
            range(len(self._holding))
            if is_any
            else sorted(r for n in names if (r := self._nodes.row_of(n)) is not None)
        )
        for row in seen:
            self._look(row)
        return True

    def _admits(self, where: claim_rows.NodeChoice) -> Bool:
        return self.admitted(where.terms or ())

    def admitted(self, terms: tuple[rows.Term, ...]) -> Bool:
        """Rows that a selector of nodes admits, ``[n_rows]``; borrowed."""
        found = self._masks.get(terms)
        if found is None or len(found) != self._nodes.engine.n_rows:
            found = self._masks[terms] = node_match.admitted(self._labels, self._nodes.row_of, terms)
        return found

    def pools_of(self, row: int) -> Sequence[Pool]:
        """What a row sees, in the order of the search."""
        return self._views[row].pools

    def _look(self, row: int) -> None:
        """Find anew which pools a row sees."""
        view = self._pools.seen_by(self._nodes.name(row), row)
        before = self._views.get(row)
        if before is not view:
            for pool in before.own if before is not None else ():
                if self._own.get(pool.id, (-1, pool))[0] == row:
                    del self._own[pool.id]
            self._own.update({pool.id: (row, pool) for pool in view.own})
            self._views[row] = view
            if view.pattern not in self._version:
                self._version[view.pattern] = 0
                for pool in view.shared:
                    self._patterns_of.setdefault(pool.id, set()).add(view.pattern)
        self._note(row)

    def _note(self, row: int) -> None:
        """Number what a row holds now, but for pools that other rows may see."""
        view = self._views[row]
        held = (view.pattern, self._offered[row], *[self._state(pool) for pool in view.own])
        self._holding[row] = self._holdings.id(held)
        self._log.add((row,))

    def _state(self, pool: Pool) -> int:
        """Number of what is taken of a pool."""
        if pool.state < 0:
            pool.state = self._states.id(self._allocator.state(pool))
        return pool.state

    # ---- taking devices ----

    def hold(self, allocation: Allocation, sign: int) -> None:
        """Take the devices of an allocation, or give them back (-1)."""
        pools: dict[tuple[str, str], None] = {}
        for held in allocation.devices:
            if not held.admin:
                pools[held.device[:2]] = None
                self._allocator.hold(held, sign)
        for pool in pools:
            self._changed(pool)

    def _changed(self, pool: tuple[str, str]) -> None:
        """Something of a pool was taken or given back."""
        own = self._own.get(pool)
        if own is not None:
            own[1].state = -1
            self._note(own[0])
        patterns = self._patterns_of.get(pool)
        if patterns:
            self._n_shared += 1
            self._version.update(dict.fromkeys(patterns, self._n_shared))

    # ---- searching ----

    def answer(self, search: Search, row: int) -> Answer:
        """What the search says for a row; found once for all rows that hold the same."""
        key = (search, int(self._holding[row]))
        version = self._version[self._views[row].pattern]
        known = self._answers.get(key)
        if known is not None and known[0] == version:
            return known[1]
        if len(self._answers) >= _MOST_ANSWERS:
            self._answers.clear()
        found = self._search(search, row)
        self._answers[key] = version, found
        return found

    def _search(self, search: Search, row: int) -> Answer:
        offered = self._offered[row] if search[-1] >= 0 else 0
        question = self._questions.get((search, offered))
        if question is None:
            made = self._allocator.question(self._asks(search, self._offers.value(offered)))
            question = self._questions[search, offered] = made
        if not question.plans:
            return Answer(0, Found(tuple(() for _ in question.claims)))
        view = self._views[row]
        try:
            found = self._allocator.search(question, view.pools, view.numbers)
        except AllocationError as error:
            return Answer(self._codes.failed, error=error)
        if isinstance(found, str):
            return Answer(self._codes.none(found))
        return Answer(0, found)

    def column(self, search: Search) -> Column:
        """Answers for all rows, brought up to date: only rows that changed are looked at."""
        if len(self._holdings) > max(_MOST_HOLDINGS, 2 * len(self._holding)):
            self._number_anew()
        column = self._columns.get(search)
        if column is None:
            column = self._columns[search] = Column(np.zeros(0, np.uint8), np.zeros(0, np.int64))
        behind = self._log.since(column.seen)
        is_whole = column.shared == self._n_shared and column.error is None
        if behind is None or not is_whole or len(column.code) != len(self._holding):
            if not is_whole:
                column.known[:] = False
            self._fill(column, search)
        elif len(behind) == 1:
            self._set(column, behind[0], self.answer(search, behind[0]))
        elif behind:
            self._follow(column, search, arrays.int32(list(dict.fromkeys(behind))))
        column.seen, column.shared = self._log.end, self._n_shared
        return column

    @staticmethod
    def _set(column: Column, row: int, answer: Answer) -> None:
        if answer.error is not None:
            column.error = (answer.error, row)
        if column.code[row] != answer.code or column.raw[row] != answer.raw:
            column.code[row], column.raw[row] = answer.code, answer.raw
            column.changes.add((row,))

    def _follow(self, column: Column, search: Search, at: I32) -> None:
        """Answer for some rows."""
        column.grow(len(self._holding), len(self._holdings))
        holding = self._holding[at]
        is_new = ~column.known[holding]
        for row in at[is_new].tolist() if is_new.any() else ():
            self._learn(column, search, row)
        code, raw = column.code_of[holding], column.raw_of[holding]
        differs = (code != column.code[at]) | (raw != column.raw[at])
        if differs.any():
            column.code[at], column.raw[at] = code, raw
            column.changes.add(at[differs].tolist())

    def _fill(self, column: Column, search: Search) -> None:
        """Answer for all rows."""
        column.grow(len(self._holding), len(self._holdings))
        column.error = None
        for holding, row in zip(*self._groups(), strict=True):
            if not column.known[holding]:
                self._learn(column, search, row)
        code, raw = column.code_of[self._holding], column.raw_of[self._holding]
        differs = (code != column.code) | (raw != column.raw)
        column.code, column.raw = code, raw
        column.changes.add(np.flatnonzero(differs).tolist())

    def _learn(self, column: Column, search: Search, row: int) -> None:
        """Enter the answer for what a row holds."""
        answer, holding = self.answer(search, row), self._holding[row]
        column.code_of[holding], column.raw_of[holding] = answer.code, answer.raw
        column.known[holding] = answer.error is None
        if answer.error is not None and column.error is None:
            column.error = (answer.error, row)

    def _groups(self) -> tuple[list[int], list[int]]:
        """The holdings that rows have, and the first row of each. Kept until a row changes."""
        if self._grouped is None or self._grouped[0] != self._log.end:
            kinds, first = np.unique(self._holding, return_index=True)
            self._grouped = (self._log.end, kinds.tolist(), first.tolist())
        return self._grouped[1:]

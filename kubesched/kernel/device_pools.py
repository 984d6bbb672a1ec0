# SPDX-License-Identifier: Apache-2.0
"""One method for each ks_dra function of ks.h: pools of devices, who holds them, and the search for claims.

Amounts are Python integers in billionths; C takes them in 128 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import _native, arrays
from kubesched.kernel.arrays import I32, U8, U64
from kubesched.kernel.native import Pointers, check_status

_ffi = _native.ffi
_lib = _native.lib

MAX_RESULTS: int = _lib.KS_DRA_MAX_RESULTS
ABSENT: int = _lib.KS_DRA_ABSENT
UNKNOWN: int = _lib.KS_DRA_UNKNOWN
EXACT_COUNT: int = _lib.KS_DRA_EXACT_COUNT
ALL: int = _lib.KS_DRA_ALL
BROKEN: int = _lib.KS_DRA_BROKEN
SELECTED: int = _lib.KS_DRA_SELECTED
FAILS: int = _lib.KS_DRA_FAILS
KEPT_OFF: int = _lib.KS_DRA_KEPT_OFF
NO_ROOM: int = _lib.KS_DRA_NO_ROOM
FOUND: int = _lib.KS_DRA_FOUND
NONE: int = _lib.KS_DRA_NONE
NEEDS_CONTENT: int = _lib.KS_DRA_NEEDS_CONTENT
SELECTOR_FAILED: int = _lib.KS_DRA_SELECTOR_FAILED
CONSTRAINT_BROKEN: int = _lib.KS_DRA_CONSTRAINT_BROKEN
POOL_FLAWED: int = _lib.KS_DRA_POOL_FLAWED
ASKS_TOO_MANY: int = _lib.KS_DRA_ASKS_TOO_MANY
REQUEST_BROKEN: int = _lib.KS_DRA_REQUEST_BROKEN
CLAIM_BROKEN: int = _lib.KS_DRA_CLAIM_BROKEN
TIMED_OUT: int = _lib.KS_DRA_TIMED_OUT

_MOST = 1 << 100  # arbitrary: far above any resource, and sums of many stay inside 128 bits
_NO_AMOUNTS = np.zeros(0, dtype=np.uint64)

_COLUMNS: dict[str, type[np.generic]] = {
    **dict.fromkeys(("request_start", "plan_start", "constraint_start"), np.int32),
    **dict.fromkeys(("count", "base", "value", "amount_start"), np.int32),
    **dict.fromkeys(("is_broken", "mode", "is_admin", "is_alternative", "is_distinct"), np.uint8),
    **dict.fromkeys(("concerns", "known", "fits"), np.uint8),
    "amount": np.uint64,
}
"""Columns of a question."""

Named = Sequence[tuple[int, int]]
"""(number of a name, billionths)."""


def wide(amounts: Iterable[int]) -> U64:
    """Amounts as C takes them, ``[n * 2]``.

    Raises
    ------
    UnsupportedError
        One is above what sums in 128 bits allow.
    """
    given = list(amounts)
    if not given:
        return _NO_AMOUNTS
    if max(map(abs, given)) > _MOST:
        raise errors.UnsupportedError("devices", "an amount is too large", max(given, key=abs))
    text = b"".join(amount.to_bytes(16, "little", signed=True) for amount in given)
    return np.frombuffer(text, dtype="<u8")


@dataclass(slots=True)
class PoolSpec:
    """ks_dra_pool."""

    name: int
    family: int
    is_usable: bool
    device: Sequence[int] = ()
    content: Sequence[int] = ()
    is_here: Sequence[bool] = ()
    counters: Named = ()
    elsewhere_device: Sequence[int] = ()
    elsewhere_content: Sequence[int] = ()


@dataclass(slots=True, eq=False)
class Question:
    """ks_dra_question; the rows of a content are filled in place, and ``known`` says that they are."""

    max_steps: int
    request_start: I32
    plan_start: I32
    constraint_start: I32
    is_broken: U8
    mode: U8
    count: I32
    is_admin: U8
    is_alternative: U8
    base: I32
    is_distinct: U8
    concerns: U8
    known: U8 = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    fits: U8 = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    value: I32 = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    amount_start: I32 = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    amount: U64 = field(default_factory=lambda: _NO_AMOUNTS)
    _struct: Any = None
    _alive: Any = None

    @property
    def n_claims(self) -> int:
        return len(self.is_broken)

    def grow(self, n_contents: int) -> None:
        """Make room for contents; new ones are not known."""
        more = max(n_contents, 2 * len(self.known)) - len(self.known)
        n_plans, n_constraints = len(self.mode), len(self.is_distinct)
        self.known = np.append(self.known, np.zeros(more, dtype=np.uint8))
        self.fits = np.append(self.fits, np.zeros(more * n_plans, dtype=np.uint8))
        self.value = np.append(self.value, np.full(more * n_constraints, ABSENT, dtype=np.int32))
        self.amount_start = np.append(self.amount_start, np.zeros(more * n_plans, dtype=np.int32))
        self._struct = None

    def add_amounts(self, amounts: Iterable[int]) -> int:
        """Append amounts; the position of the first."""
        at = len(self.amount) // 2
        more = wide(amounts)
        if more.size:
            self.amount = np.append(self.amount, more)
            self._struct = None
        return at

    def pointer(self) -> Any:
        """The struct in C; valid until the question grows."""
        if self._struct is None:
            point, made = Pointers("search"), _ffi.new("ks_dra_question *")
            for name, dtype in _COLUMNS.items():
                setattr(made, name, point.of(getattr(self, name), dtype, (None,), name))
            made.n_claims, made.n_plans = len(self.is_broken), len(self.mode)
            made.n_constraints, made.n_contents = len(self.is_distinct), len(self.known)
            made.max_steps = self.max_steps
            self._struct, self._alive = made, point
        return self._struct


@dataclass(frozen=True, slots=True)
class Answer:
    """ks_dra_answer."""

    status: int
    claim: int
    plan: int
    pool: int
    device: int
    n_least: int
    picks: list[list[int]]
    """[claim, plan, pool, device] each, in the order of claims; positions."""


class DevicePools:
    """A ks_dra; see ks.h. Errors are those of `native.Engine`."""

    def __init__(self) -> None:
        out = _ffi.new("ks_dra **")
        check_status("DevicePools", _lib.ks_dra_new(out))
        self._dra: Any = _ffi.gc(out[0], _lib.ks_dra_free)
        self._answer = _ffi.new("ks_dra_answer *")
        self._picks = np.zeros((0, 4), dtype=np.int32)
        self._state = _ffi.new("uint8_t[]", 256)
        self._size = _ffi.new("int64_t *")

    def add_content(self, is_shared: bool, uses: Named, capacity: Named) -> None:
        point, made = Pointers("add_content"), _ffi.new("ks_dra_content *")
        made.is_shared, made.n_uses, made.n_capacity = is_shared, len(uses), len(capacity)
        made.use, made.use_amount = self._named(point, uses)
        made.capacity, made.capacity_amount = self._named(point, capacity)
        check_status("add_content", _lib.ks_dra_content_add(self._dra, made))

    @staticmethod
    def _named(point: Pointers, named: Named) -> tuple[Any, Any]:
        names, amounts = arrays.int32([name for name, _ in named]), wide(amount for _, amount in named)
        return point.of(names, np.int32, (None,), "name"), point.of(amounts, np.uint64, (None,), "amount")

    def add_pool(self, spec: PoolSpec) -> None:
        point, made = Pointers("add_pool"), _ffi.new("ks_dra_pool *")
        made.name, made.family, made.is_usable = spec.name, spec.family, spec.is_usable
        made.n_devices, made.n_counters = len(spec.device), len(spec.counters)
        made.n_elsewhere = len(spec.elsewhere_device)
        for name in ("device", "content", "elsewhere_device", "elsewhere_content"):
            setattr(made, name, point.of(arrays.int32(getattr(spec, name)), np.int32, (None,), name))
        made.is_here = point.of(np.array(spec.is_here, dtype=np.uint8), np.uint8, (len(spec.device),), "is_here")
        made.counter, made.counter_amount = self._named(point, spec.counters)
        check_status("add_pool", _lib.ks_dra_pool_add(self._dra, made))

    def hold(self, device: int, whole: int, shares: int, consumed: Named = ()) -> None:
        if not consumed:
            check_status("hold", _lib.ks_dra_hold(self._dra, device, whole, shares, 0, _ffi.NULL, _ffi.NULL))
            return
        point = Pointers("hold")
        names, amounts = self._named(point, consumed)
        check_status("hold", _lib.ks_dra_hold(self._dra, device, whole, shares, len(consumed), names, amounts))

    def state(self, pool: int) -> bytes:
        """What is held of a pool."""
        while True:
            cap = len(self._state)
            check_status("state", _lib.ks_dra_state(self._dra, pool, cap, self._state, self._size))
            size = self._size[0]
            if size <= cap:
                return bytes(_ffi.buffer(self._state, size))
            self._state = _ffi.new("uint8_t[]", 2 * size)

    def search(self, question: Question, pools: I32) -> Answer:
        """Search devices for all claims in pools by number."""
        n = question.n_claims * MAX_RESULTS
        if len(self._picks) < n:
            self._picks = np.zeros((n, 4), dtype=np.int32)
        out = self._answer
        out.picks = _ffi.from_buffer("int32_t[]", self._picks)
        at = _ffi.from_buffer("int32_t[]", pools)
        check_status(
            "search", _lib.ks_dra_search(self._dra, question.pointer(), len(pools), at, out), question.n_claims
        )
        picks = self._picks[: out.n_picks].tolist() if out.status == FOUND else []
        return Answer(out.status, out.claim, out.plan, out.pool, out.device, out.n_least, picks)

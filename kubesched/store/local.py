# SPDX-License-Identifier: Apache-2.0
"""What stores share that hold every value in memory: reads, comparisons, watches, expiry, compaction.

A write goes through three steps. It is *compared* with the newest value, pending or not; it is *pending* until it is
durable; then it is *shown*: readers and watchers see it, and the writer is told. A subclass says how writes become
durable (`_commit`) and calls `_show`.
"""

from __future__ import annotations

import abc
import asyncio
import contextlib
import heapq
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from kubesched.store.expiry import Expiry
from kubesched.store.interface import (
    ABSENT,
    ANY,
    Entry,
    Event,
    EventKind,
    Listing,
    Mismatch,
    Subscription,
    Unavailable,
)
from kubesched.store.versions import Versions
from kubesched.store.watchers import Deliver, Watchers

HISTORY_BYTES = 64 << 20
"""Old values kept without being asked to forget them: some 17,000 updates of a usual pod."""
HISTORY_EVENTS = 200_000
"""Events kept likewise; replaying so many takes some 20 ms."""
_SLICE = 1_000
"""Events that a compaction forgets before it lets others run: some 1 ms."""


class LocalStore(abc.ABC):
    """A store that reads from memory.

    ``history_bytes`` and ``history_events`` bound what old revisions may hold; beyond, the oldest quarter is compacted.
    """

    def __init__(
        self,
        *,
        history_bytes: int = HISTORY_BYTES,
        history_events: int = HISTORY_EVENTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._versions = Versions()
        self._watchers = Watchers()
        self._expiry = Expiry(self._expire, clock)
        self._pending: dict[str, Event] = {}
        self._assigned = 0  # the newest revision given to a write
        self._lost: list[range] = []  # revisions whose writes failed
        self._reaching: list[tuple[int, int, asyncio.Future[None]]] = []
        self._order = count()
        self._history_bytes = history_bytes
        self._history_events = history_events
        self._compaction: asyncio.Task[None] | None = None

    @property
    def revision(self) -> int:
        return self._versions.revision

    @property
    def oldest(self) -> int:
        return self._versions.oldest

    async def get(self, key: str, *, pending: bool = False) -> Entry | None:
        return self._newest(key) if pending else self._versions.get(key)

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Listing:
        if revision > self.revision:
            raise ValueError(f"revision {revision} is in the future, the newest is {self.revision}")
        return self._versions.listing(prefix, start, limit, revision)

    async def reach(self, revision: int) -> None:
        if any(revision in lost for lost in self._lost):
            raise Unavailable("the write was lost")
        if revision > self.revision:
            waiting = (revision, next(self._order), asyncio.get_running_loop().create_future())
            heapq.heappush(self._reaching, waiting)
            try:
                await waiting[2]
            finally:
                if waiting in self._reaching:  # gave up: a revision that never comes must not be remembered for ever
                    self._reaching.remove(waiting)
                    heapq.heapify(self._reaching)

    async def put(self, key: str, value: bytes, *, expect: int, note: Any = None, ttl: float | None = None) -> Entry:
        before = await self._compare(key, expect)
        revision = self._assign()
        entry = Entry(key, value, revision if before is None else before.created, revision, note)
        await self._commit(Event(EventKind.PUT, revision, entry, before), ttl)
        return entry

    async def delete(self, key: str, *, expect: int) -> Entry | None:
        before = await self._compare(key, expect)
        if before is not None:
            await self._commit(Event(EventKind.DELETE, self._assign(), before, before), None)
        return before

    def watch(self, prefix: str, revision: int, deliver: Deliver) -> Subscription:
        kept = self._versions.since(prefix, revision)
        if kept:
            deliver(kept)
        return self._watchers.add(prefix, max(revision, self.revision), deliver)

    async def compact(self, revision: int) -> None:
        revision = min(revision, self.revision)
        if revision <= self.oldest:
            return
        await self._record_compaction(revision)
        self._versions.begin_forgetting(revision)
        while events := self._versions.forget(_SLICE):
            await self._erase(events)
            await asyncio.sleep(0)

    async def close(self) -> None:
        await self._expiry.close()
        if self._compaction is not None:
            await asyncio.wait([self._compaction])
        for _, _, future in self._reaching:
            if not future.done():
                future.set_exception(Unavailable("the store is closed"))

    # ---- what a subclass does --------------------------------------------------------------------------------------

    @abc.abstractmethod
    async def _commit(self, event: Event, ttl: float | None) -> None:
        """Make the write durable and show it, or raise Unavailable; must not wait before it is pending."""

    async def _record_compaction(self, revision: int) -> None:  # noqa: B027  memory has nothing to do
        """Make durable that nothing before ``revision`` will be asked for."""

    async def _erase(self, events: Sequence[Event]) -> None:  # noqa: B027
        """Let go of what only these events needed."""

    # ---- what a subclass calls -------------------------------------------------------------------------------------

    def _show(self, events: Sequence[Event]) -> None:
        """Let readers and watchers see writes that are durable now."""
        for event in events:
            self._versions.apply(event)
        self._watchers.dispatch(events)
        while self._reaching and self._reaching[0][0] <= self.revision:
            _, _, future = heapq.heappop(self._reaching)
            if not future.done():
                future.set_result(None)
        self._bound_history()

    def _lose(self, lost: range, why: Unavailable) -> None:
        """Say to who waits for these revisions that they will not come."""
        if self._lost and self._lost[-1].stop == lost.start:
            self._lost[-1] = range(self._lost[-1].start, lost.stop)
        else:
            self._lost.append(lost)
        for revision, _, future in self._reaching:
            if revision in lost and not future.done():
                future.set_exception(why)

    # ---- within ----------------------------------------------------------------------------------------------------

    def _newest(self, key: str) -> Entry | None:
        event = self._pending.get(key)
        if event is None:
            return self._versions.get(key)
        return event.entry if event.kind is EventKind.PUT else None

    async def _compare(self, key: str, expect: int) -> Entry | None:
        """The newest value, if it is what is expected. A pending write that differs is judged when it is durable."""
        while True:
            current = self._newest(key)
            found = ABSENT if current is None else current.revision
            if expect in (found, ANY):
                return current
            pending = self._pending.get(key)
            if pending is None:
                raise Mismatch(key, current)
            with contextlib.suppress(Unavailable):  # that write failed: compare again with what is there
                await self.reach(pending.revision)

    def _assign(self) -> int:
        self._assigned += 1
        return self._assigned

    async def _expire(self, key: str, revision: int) -> None:
        await self.delete(key, expect=revision)

    def _bound_history(self) -> None:
        versions = self._versions
        if versions.history_bytes <= self._history_bytes and versions.history_events <= self._history_events:
            return
        if self._compaction is None or self._compaction.done():
            target = versions.early(max(1, versions.history_events // 4))
            self._compaction = asyncio.get_running_loop().create_task(
                self._try_compact(target), name="store compaction"
            )

    async def _try_compact(self, revision: int) -> None:
        with contextlib.suppress(Unavailable):  # the next write tries again
            await self.compact(revision)

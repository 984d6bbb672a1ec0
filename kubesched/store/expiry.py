# SPDX-License-Identifier: Apache-2.0
"""Deletes keys when their time is over, in small batches."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Awaitable, Callable

from kubesched.store.interface import Entry, Mismatch, Unavailable

_BATCH = 256
"""Deletes begun together: enough to fill a group commit, few enough not to delay other writers."""
_RETRY_S = 1.0
_LOOK_S = 0.5  # how long to sleep at most: the clock need not be the event loop's


class Expiry:
    """When which key is to go. ``delete`` is called with the key and the revision that must still be there."""

    def __init__(self, delete: Callable[[str, int], Awaitable[object]], clock: Callable[[], float]) -> None:
        self._delete = delete
        self._clock = clock
        self._heap: list[tuple[float, str, int]] = []
        self._task: asyncio.Task[None] | None = None
        self._earlier = asyncio.Event()

    def set(self, entry: Entry, ttl: float) -> None:
        """Delete the entry in ``ttl`` seconds, unless its key is written before."""
        item = (self._clock() + ttl, entry.key, entry.revision)
        heapq.heappush(self._heap, item)
        if self._heap[0] is item:
            self._earlier.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run(), name="store expiry")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            self._earlier.clear()
            due = self._pop_due()
            if due:
                await asyncio.gather(*(self._expire(*item) for item in due))
                continue
            wait_s = min(self._heap[0][0] - self._clock(), _LOOK_S) if self._heap else None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._earlier.wait(), wait_s)

    def _pop_due(self) -> list[tuple[float, str, int]]:
        now = self._clock()
        due: list[tuple[float, str, int]] = []
        while self._heap and self._heap[0][0] <= now and len(due) < _BATCH:
            due.append(heapq.heappop(self._heap))
        return due

    async def _expire(self, deadline: float, key: str, revision: int) -> None:
        try:
            await self._delete(key, revision)
        except Mismatch:
            pass  # written or deleted since: not ours any more
        except Unavailable:
            heapq.heappush(self._heap, (deadline + _RETRY_S, key, revision))

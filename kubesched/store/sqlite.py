# SPDX-License-Identifier: Apache-2.0
"""The durable store of one API server: values in memory to read, writes in an SQLite file before they are acknowledged.

Group commit: while one group of writes is being committed in the journal's thread, those that arrive wait in a queue,
and are the next group. So the disk is waited for once a group, not once a write::

    put ──compare──> queue ──group──> thread: append, fdatasync ──> show ──> put returns
          with pending                                             readers and watchers
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubesched.base import bulk
from kubesched.store.interface import Entry, Event, EventKind, Unavailable
from kubesched.store.journal import Broken, Journal, Record, make_record
from kubesched.store.local import LocalStore
from kubesched.store.versions import Versions

_GROUP_WRITES = 512
_GROUP_BYTES = 8 << 20
"""A group's bounds: what a crash may undo and a later writer waits for. Arbitrary."""


@dataclass(slots=True, eq=False)
class _Write:
    event: Event
    ttl: float | None
    record: Record
    done: asyncio.Future[None]


class SQLiteStore(LocalStore):
    """Open one with `SQLiteStore.open`.

    ``on_failure`` is called once, with the reason, when writing has become impossible; reads go on.
    """

    def __init__(
        self, journal: Journal, thread: ThreadPoolExecutor, on_failure: Callable[[str], None], **bounds: Any
    ) -> None:
        super().__init__(**bounds)
        self._journal = journal
        self._thread = thread
        self._on_failure = on_failure
        self._queue: deque[_Write] = deque()
        self._committing: asyncio.Task[None] | None = None
        self._failure = ""
        self._superfluous: list[int] = []  # rows to erase, each after those that it took the place of
        self._erasing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        path: Path,
        *,
        limit_bytes: int | None = None,
        on_failure: Callable[[str], None] = lambda reason: None,
        **bounds: Any,
    ) -> SQLiteStore:
        """Open or create the file, check it, and read it into memory.

        Raises
        ------
        StorageError
            It cannot be read, is damaged, is used by another process, or was written by a newer version.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="store")
        loop = asyncio.get_running_loop()
        try:
            journal = await loop.run_in_executor(thread, lambda: Journal(path, limit_bytes=limit_bytes))
            try:
                loaded = await loop.run_in_executor(thread, _load, journal)
            except BaseException:
                await loop.run_in_executor(thread, journal.close)
                raise
        except BaseException:
            thread.shutdown(wait=False)
            raise
        store = cls(journal, thread, on_failure, **bounds)
        store._begin_with(loaded)
        return store

    def limit(self, limit_bytes: int | None) -> None:
        """Change how large the file may grow."""
        self._thread.submit(self._journal.limit, limit_bytes).result()

    async def close(self) -> None:
        await super().close()
        while self._committing is not None and not self._committing.done():
            await asyncio.wait([self._committing])
        self._failure = self._failure or "the store is closed"
        await asyncio.get_running_loop().run_in_executor(self._thread, self._journal.close)
        self._thread.shutdown()

    # ---- durability ------------------------------------------------------------------------------------------------

    async def _commit(self, event: Event, ttl: float | None) -> None:
        if self._failure:
            raise Unavailable(self._failure)
        loop = asyncio.get_running_loop()
        write = _Write(event, ttl, _record_of(event, ttl), loop.create_future())
        self._pending[event.entry.key] = event
        self._queue.append(write)
        if self._committing is None or self._committing.done():
            self._committing = loop.create_task(self._commit_queue(), name="store commit")
        await write.done

    async def _commit_queue(self) -> None:
        while self._queue:
            group = self._next_group()
            try:
                await self._run(self._journal.append, [write.record for write in group])
            except Unavailable as error:
                self._give_up(group, error)
            else:
                self._acknowledge(group)
                await self._checkpoint_if_due()

    def _next_group(self) -> list[_Write]:
        group: list[_Write] = []
        size = 0
        while self._queue and len(group) < _GROUP_WRITES and size < _GROUP_BYTES:
            write = self._queue.popleft()
            size += len(write.event.entry.value)
            group.append(write)
        return group

    def _acknowledge(self, group: Sequence[_Write]) -> None:
        for write in group:
            if self._pending.get(write.event.entry.key) is write.event:
                del self._pending[write.event.entry.key]
        self._show([write.event for write in group])
        for write in group:
            if write.ttl is not None:
                self._expiry.set(write.event.entry, write.ttl)
            if not write.done.done():  # its task may have been cancelled; the write is made all the same
                write.done.set_result(None)

    def _give_up(self, group: Sequence[_Write], why: Unavailable) -> None:
        """Undo a group and what was queued behind it, because that was compared with the group's values."""
        lost = [*group, *self._queue]
        self._queue.clear()
        self._pending.clear()
        for write in lost:
            if not write.done.done():
                write.done.set_exception(Unavailable(str(why)))
        self._lose(range(lost[0].event.revision, self._assigned + 1), why)

    async def _run(self, job: Callable[..., None], *args: Any) -> None:
        """Run a job of the journal in its thread. When one is broken, nothing is acknowledged any more."""
        if self._failure:
            raise Unavailable(self._failure)
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, job, *args)
        except Broken as error:
            self._failure = f"the store cannot write any more: {error}"
            self._on_failure(self._failure)
            raise Unavailable(self._failure) from error

    async def _checkpoint_if_due(self) -> None:
        if self._journal.wants_checkpoint:
            with contextlib.suppress(Unavailable):  # the next group meets the failure
                await self._run(self._journal.checkpoint)

    # ---- compaction ------------------------------------------------------------------------------------------------

    async def _record_compaction(self, revision: int) -> None:
        await self._run(self._journal.record_compaction, revision)

    async def _erase(self, events: Sequence[Event]) -> None:
        self._superfluous.extend(_rows_of(events))
        await self._erase_superfluous()

    async def _erase_superfluous(self) -> None:
        """Erase rows in the order in which they became superfluous, so that no old value outlives what replaced it."""
        async with self._erasing:
            while rows := self._superfluous[:_GROUP_WRITES]:
                try:
                    await self._run(self._journal.erase, rows)
                except Unavailable:
                    return  # a full disk: tried again with the next ones, and found at the next start
                del self._superfluous[: len(rows)]
                await self._checkpoint_if_due()

    # ---- start -----------------------------------------------------------------------------------------------------

    def _begin_with(self, loaded: _Loaded) -> None:
        self._versions = loaded.versions
        self._assigned = loaded.versions.revision
        for key, ttl in loaded.ttls.items():
            entry = loaded.versions.get(key)
            assert entry is not None
            self._expiry.set(entry, ttl)
        self._superfluous = loaded.superfluous
        if self._superfluous:
            self._compaction = asyncio.get_running_loop().create_task(self._erase_superfluous())


@dataclass(slots=True)
class _Loaded:
    versions: Versions
    ttls: dict[str, float]
    superfluous: list[int]  # rows that a compaction had no time to remove


@bulk.without_collection()  # looking for garbage meanwhile costs as much as reading
def _load(journal: Journal) -> _Loaded:
    oldest = journal.compacted()
    entries: dict[str, Entry] = {}
    loaded = _Loaded(Versions(), {}, [])
    versions = loaded.versions
    restored = False
    for record in journal.load():
        if record.ttl is None:
            loaded.ttls.pop(record.key, None)
        else:
            loaded.ttls[record.key] = record.ttl
        if record.revision <= oldest:
            _restore(record, entries, loaded.superfluous)
            continue
        if not restored:
            versions.restore(list(entries.values()), oldest)
            restored = True
        versions.apply(_event_of(record, versions.get(record.key)))
    if not restored:
        versions.restore(list(entries.values()), oldest)
    return loaded


def _restore(record: Record, entries: dict[str, Entry], superfluous: list[int]) -> None:
    """Take a row from before the oldest revision, of which only each key's last counts."""
    before = entries.pop(record.key, None)
    if before is not None:
        superfluous.append(before.revision)
    if record.value is None:
        superfluous.append(record.revision)
    else:
        entries[record.key] = Entry(record.key, record.value, record.created, record.revision)


def _record_of(event: Event, ttl: float | None) -> Record:
    entry = event.entry
    if event.kind is EventKind.DELETE:
        return make_record(event.revision, entry.key, 0, None, None)
    return make_record(entry.revision, entry.key, entry.created, ttl, entry.value)


def _event_of(record: Record, before: Entry | None) -> Event:
    if record.value is not None:
        entry = Entry(record.key, record.value, record.created, record.revision)
        return Event(EventKind.PUT, record.revision, entry, before)
    assert before is not None, "only a key that is there is deleted"
    return Event(EventKind.DELETE, record.revision, before, before)


def _rows_of(events: Sequence[Event]) -> list[int]:
    """The rows that only these events needed: the values they took, and the deletes themselves."""
    rows = [event.before.revision for event in events if event.before is not None]
    rows.extend(event.revision for event in events if event.kind is EventKind.DELETE)
    return rows

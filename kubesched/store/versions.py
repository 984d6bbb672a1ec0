# SPDX-License-Identifier: Apache-2.0
"""Every key's newest value, and what older revisions need: the index that stores in memory read from.

::

    newest   key -> Entry                      what a reader of the newest revision sees
    chains   key -> events that took a value   old values; the one taken by event e was there before e.revision
    keys, gone                                 sorted: keys that are there, keys that only old revisions have
    log                                        every event after `oldest`, by revision

An event keeps the value it took (``before``), so that an old value is held by exactly one event, and forgetting the
log's front forgets exactly the values that only older revisions need.

Pure data: no event loop, no threads, no I/O. Every method runs to its end.
"""

from __future__ import annotations

import bisect
import heapq
from collections.abc import Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedList

from kubesched.store.interface import Compacted, Entry, Event, EventKind, Listing

_LAST = chr(0x10FFFF)


def prefix_end(prefix: str) -> str | None:
    """The first key after all keys that begin with ``prefix``; None when there is none."""
    stem = prefix.rstrip(_LAST)
    return stem[:-1] + chr(ord(stem[-1]) + 1) if stem else None


def _revision_of(event: Event) -> int:
    return event.revision


class Versions:
    """Keys and values at every revision from ``oldest`` to ``revision``."""

    def __init__(self) -> None:
        self.revision = 0
        self.oldest = 0
        self.history_bytes = 0
        """Bytes of the values that only older revisions need."""
        self._newest: dict[str, Entry] = {}
        self._chains: dict[str, list[Event]] = {}
        self._keys: SortedList[str] = SortedList()
        self._gone: SortedList[str] = SortedList()
        self._log: list[Event] = []

    def __len__(self) -> int:
        return len(self._newest)

    @property
    def history_events(self) -> int:
        """How many events are kept."""
        return len(self._log)

    def get(self, key: str) -> Entry | None:
        """The key's newest value."""
        return self._newest.get(key)

    def restore(self, entries: Sequence[Entry], revision: int) -> None:
        """Begin with these values, as of ``revision``; older revisions are not kept."""
        self._newest = {entry.key: entry for entry in entries}
        self._keys = SortedList(self._newest)
        self.revision = self.oldest = revision

    def apply(self, event: Event) -> None:
        """Take the next event. Its ``before`` must be the key's newest value."""
        key = event.entry.key
        before = event.before
        if before is not None:
            self._chains.setdefault(key, []).append(event)
            self.history_bytes += len(before.value)
        if event.kind is EventKind.PUT:
            if before is None:
                self._keys.add(key)
                if key in self._chains:
                    self._gone.remove(key)
            self._newest[key] = event.entry
        else:
            del self._newest[key]
            self._keys.remove(key)
            self._gone.add(key)
        self._log.append(event)
        self.revision = event.revision

    def listing(self, prefix: str, start: str, limit: int, revision: int) -> Listing:
        """Entries from ``start`` on whose key begins with ``prefix``; O(log n) and what is returned.

        Counting what a limit cut is O(log n) at the newest revision, and O(events since) at another.
        """
        if revision in (0, self.revision):
            return self._list_newest(prefix, start, limit)
        self._check(revision)
        low, high = max(prefix, start), prefix_end(prefix)
        found = self._entries_at(low, high, revision)
        if not limit:
            return Listing(list(found), revision)
        entries = list(islice(found, limit))
        if next(found, None) is None:
            return Listing(entries, revision)
        return Listing(entries, revision, True, self._count_at(low, high, revision) - limit)

    def since(self, prefix: str, revision: int) -> list[Event]:
        """Every event after ``revision`` whose key begins with ``prefix``."""
        self._check(revision)
        return [event for event in self._after(revision) if event.entry.key.startswith(prefix)]

    def early(self, count: int) -> int:
        """The revision of the ``count``-th event kept."""
        return self._log[min(count, len(self._log)) - 1].revision if self._log else self.revision

    def begin_forgetting(self, revision: int) -> bool:
        """Let ``revision`` be the oldest that can be asked for; True if it was not. `forget` frees the rest."""
        revision = min(revision, self.revision)
        if revision <= self.oldest:
            return False
        self.oldest = revision
        return True

    def forget(self, count: int) -> list[Event]:
        """Free up to ``count`` events that are not after `oldest`, and the values they took; returns them."""
        end = bisect.bisect_right(self._log, self.oldest, key=_revision_of, hi=min(count, len(self._log)))
        events = self._log[:end]
        del self._log[:end]
        for event in events:
            if event.before is not None:
                self._forget_before(event, event.before)
        return events

    def _forget_before(self, event: Event, before: Entry) -> None:
        key = before.key
        chain = self._chains[key]
        assert chain[0] is event, "a key's old values are forgotten in order"
        del chain[0]
        self.history_bytes -= len(before.value)
        if not chain:
            del self._chains[key]
            if key not in self._newest:
                self._gone.remove(key)

    def _check(self, revision: int) -> None:
        if revision < self.oldest:
            raise Compacted(revision, self.oldest)

    def _after(self, revision: int) -> Sequence[Event]:
        return self._log[bisect.bisect_right(self._log, revision, key=_revision_of) :]

    def _list_newest(self, prefix: str, start: str, limit: int) -> Listing:
        low, high = max(prefix, start), prefix_end(prefix)
        newest = self._newest
        keys = _between(self._keys, low, high)
        if not limit:
            return Listing([newest[key] for key in keys], self.revision)
        entries = [newest[key] for key in islice(keys, limit)]
        remaining = _count(self._keys, low, high) - len(entries)
        return Listing(entries, self.revision, remaining > 0, remaining)

    def _entries_at(self, low: str, high: str | None, revision: int) -> Iterator[Entry]:
        for key in heapq.merge(_between(self._keys, low, high), _between(self._gone, low, high)):
            entry = self._at(key, revision)
            if entry is not None:
                yield entry

    def _at(self, key: str, revision: int) -> Entry | None:
        entry = self._newest.get(key)
        if entry is None or entry.revision > revision:
            chain = self._chains.get(key, ())
            taker = bisect.bisect_right(chain, revision, key=_revision_of)
            entry = chain[taker].before if taker < len(chain) else None
        return entry if entry is not None and entry.revision <= revision else None

    def _count_at(self, low: str, high: str | None, revision: int) -> int:
        count = _count(self._keys, low, high)
        for event in self._after(revision):
            key = event.entry.key
            if low <= key and (high is None or key < high):
                count += (event.kind is EventKind.DELETE) - (event.before is None)
        return count


def _between(keys: SortedList[str], low: str, high: str | None) -> Iterator[str]:
    if high is not None and low >= high:
        return iter(())
    found: Iterator[str] = keys.irange(low, high, inclusive=(True, False))
    return found


def _count(keys: SortedList[str], low: str, high: str | None) -> int:
    first: int = keys.bisect_left(low)
    end: int = len(keys) if high is None else keys.bisect_left(high)
    return max(0, end - first)

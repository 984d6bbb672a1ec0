# SPDX-License-Identifier: Apache-2.0
"""Who watches which prefix: an event finds its watchers by looking its key's beginnings up, not by asking each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from kubesched.store.interface import Event

Deliver = Callable[[Sequence[Event]], None]


class Watcher:
    """One watch. Events up to ``after`` are not for it."""

    __slots__ = ("_watchers", "after", "deliver", "prefix")

    def __init__(self, watchers: Watchers, prefix: str, after: int, deliver: Deliver) -> None:
        self._watchers: Watchers | None = watchers
        self.prefix = prefix
        self.after = after
        self.deliver = deliver

    @property
    def cancelled(self) -> bool:
        return self._watchers is None

    def cancel(self) -> None:
        """End the watch; nothing is delivered after it returns."""
        if self._watchers is not None:
            self._watchers.remove(self)
            self._watchers = None


class Watchers:
    """Every watch of a store."""

    def __init__(self) -> None:
        self._by_prefix: dict[str, dict[Watcher, None]] = {}  # a dict keeps the order in which they came
        self._lengths: list[int] = []

    def add(self, prefix: str, after: int, deliver: Deliver) -> Watcher:
        watcher = Watcher(self, prefix, after, deliver)
        if prefix not in self._by_prefix:
            self._by_prefix[prefix] = {}
            self._measure()
        self._by_prefix[prefix][watcher] = None
        return watcher

    def remove(self, watcher: Watcher) -> None:
        those = self._by_prefix[watcher.prefix]
        del those[watcher]
        if not those:
            del self._by_prefix[watcher.prefix]
            self._measure()

    def dispatch(self, events: Sequence[Event]) -> None:
        """Deliver the events, in order, to each watcher in one call."""
        for watcher, its in self._sort(events).items():
            if watcher.cancelled:
                continue
            try:
                watcher.deliver(its)
            except Exception as error:  # one watcher's defect must not take the events of the others
                watcher.cancel()
                message = f"the watcher of {watcher.prefix!r} failed and was cancelled"
                asyncio.get_running_loop().call_exception_handler({"message": message, "exception": error})

    def _sort(self, events: Sequence[Event]) -> dict[Watcher, list[Event]]:
        found: dict[Watcher, list[Event]] = {}
        by_prefix = self._by_prefix
        for event in events:
            key = event.entry.key
            for length in self._lengths:
                if length > len(key):
                    break
                for watcher in by_prefix.get(key[:length], ()):
                    if event.revision > watcher.after:
                        found.setdefault(watcher, []).append(event)
        return found

    def _measure(self) -> None:
        self._lengths = sorted({len(prefix) for prefix in self._by_prefix})

# SPDX-License-Identifier: Apache-2.0
"""What a store promises; `tests/store` holds every store to it.

* One increasing integer, the revision, for the whole store. Each write gets the next one; those of writes that failed
  are not used again.
* A write that returned is durable (as far as the store is: memory forgets). No reader and no watcher ever sees a write
  that is not.
* A read sees every write that returned before the read began.
* A watch delivers every event after its revision, once, in order, or ends with Compacted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

ANY = -1
"""``expect``: whatever is there, or nothing."""

ABSENT = 0
"""``expect``: nothing may be there."""


@dataclass(slots=True, eq=False)
class Entry:
    """A key's value as of a revision. Values are never changed in place.

    ``note`` is the writer's own: what it wants to find again beside the value (labels, fields to select by). A store
    does not keep it; entries read back from disk have None.
    """

    key: str
    value: bytes
    created: int  # the revision that created the key
    revision: int  # the revision that wrote this value
    note: Any = None


class EventKind(enum.Enum):
    PUT = "put"
    DELETE = "delete"


@dataclass(slots=True, frozen=True, eq=False)
class Event:
    """One write: ``entry`` is what a put wrote, or the last value that a delete removed; ``before`` what was there.

    ``revision`` is that of the write itself; of a put it is ``entry.revision``.
    """

    kind: EventKind
    revision: int
    entry: Entry
    before: Entry | None


@dataclass(slots=True, frozen=True)
class Listing:
    """Entries by key, as of ``revision``; ``more`` when a limit cut them; ``remaining`` counts what was cut."""

    entries: Sequence[Entry]
    revision: int
    more: bool = False
    remaining: int = 0


class Mismatch(Exception):
    """What a write expected is not there; ``current`` is what is (None: nothing)."""

    def __init__(self, key: str, current: Entry | None) -> None:
        super().__init__(key)
        self.key = key
        self.current = current


class Compacted(Exception):
    """The revision asked for is no longer kept; ``oldest`` is the oldest that can be listed or watched from."""

    def __init__(self, revision: int, oldest: int) -> None:
        super().__init__(f"revision {revision} is compacted, the oldest is {oldest}")
        self.revision = revision
        self.oldest = oldest


class Unavailable(Exception):
    """The store cannot write (disk full, no quorum); reads may go on. ``str()`` says why, without paths."""


class Subscription(Protocol):
    def cancel(self) -> None:
        """End the watch; nothing is delivered after it returns."""


class Store(Protocol):
    """Every method is called on one event loop; those that can wait are coroutines."""

    @property
    def revision(self) -> int:
        """The newest revision that readers can see."""

    @property
    def oldest(self) -> int:
        """The oldest revision that can be listed or watched from."""

    async def get(self, key: str, *, pending: bool = False) -> Entry | None:
        """The key's newest value. ``pending``: also writes on their way, which is what a writer compares with."""

    async def reach(self, revision: int) -> None:
        """Return once readers see the state of that revision, however far away it is; the caller sets the time-out.

        A writer that read a pending value and found nothing to change waits here before it shows that value.

        Raises
        ------
        Unavailable
            That write was pending, and could not be made.
        """

    async def list(self, prefix: str, *, start: str = "", limit: int = 0, revision: int = 0) -> Listing:
        """Entries whose key begins with ``prefix`` and is not before ``start``, by key.

        ``revision`` 0 is the newest; another is the state right after that write, and not newer than ``revision``
        (`reach` waits for it). ``limit`` 0 is no limit.

        Raises
        ------
        Compacted
            That revision is no longer kept.
        """

    async def put(self, key: str, value: bytes, *, expect: int, note: Any = None, ttl: float | None = None) -> Entry:
        """Write, if the key's newest revision (pending writes too) is ``expect``; ABSENT and ANY as above.

        Returns when the write is durable. ``ttl``: seconds after which the store deletes the key, unless it is written
        again.

        Raises
        ------
        Mismatch
            Another value is there.
        Unavailable
            It could not be written; nothing was.
        """

    async def delete(self, key: str, *, expect: int) -> Entry | None:
        """Delete, under the same condition; the last entry, or None if there was none and ``expect`` is ANY."""

    def watch(self, prefix: str, revision: int, deliver: Callable[[Sequence[Event]], None]) -> Subscription:
        """Deliver every event after ``revision`` whose key begins with ``prefix``: first those kept, then live.

        ``deliver`` is called on the event loop with one or more events in order and must not block. Register and replay
        are one step: nothing is lost between them.

        Raises
        ------
        Compacted
            Events after that revision are no longer all kept.
        """

    async def compact(self, revision: int) -> None:
        """Forget values and events that only revisions before this one need; in small slices, beside other work."""

    async def close(self) -> None:
        """Finish writes that are on their way, then let go of everything."""

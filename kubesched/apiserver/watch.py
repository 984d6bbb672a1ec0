# SPDX-License-Identifier: Apache-2.0
"""Watches: one subscription to the store for each resource, one encoding for all watchers that want the same.

Watchers of a resource with the same namespace, selectors and form are a group. An event is judged and encoded once for
a group; what came since the last flush goes to each member as one chunk. Flushes come soon after an event, and less
often the longer it takes to serve everybody.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import orjson

from kubesched.api import codec, proto, selectors, status
from kubesched.api.codec import JSON, PROTOBUF
from kubesched.api.options import ListOptions
from kubesched.api.strategy import Object
from kubesched.apiserver import render
from kubesched.apiserver.message import Stream
from kubesched.apiserver.negotiate import Format
from kubesched.apiserver.resource import Note, Resource
from kubesched.store import Compacted, Entry, Event, EventKind, Subscription

_log = logging.getLogger(__name__)

MAX_BUFFERED = 1024 * 1024  # bytes that a watcher may be behind
FLUSH_AFTER = 0.002  # seconds between an event and its flush, when little is going on
FLUSH_SHARE = 1.0  # of the time a flush took, waited before the next
BOOKMARK_EVERY = 60.0  # seconds
INITIAL_EVENTS_END = "k8s.io/initial-events-end"


class _Want(NamedTuple):
    """What the members of a group have in common. ``serial`` keeps watchers apart that cannot share their lines."""

    namespace: str
    labels: selectors.LabelSelector
    fields: selectors.FieldSelector
    form: Format
    include: str
    serial: int = 0

    def matches(self, note: Note) -> bool:
        return self.labels.matches(note.labels) and self.fields.matches(note.fields)


class _Member:
    """One watcher: the chunks of its stream, and those that it has not taken yet.

    A future and no task waits for the next chunk: it comes a thousand times for each update that a thousand watch.
    """

    def __init__(self, left: Callable[[_Member], None], *, bookmarks: bool) -> None:
        self.bookmarks = bookmarks
        self._left = left
        self._chunks: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None
        self._end: asyncio.TimerHandle | None = None
        self._closed = False

    def begin(self, opening: Sequence[bytes], timeout: float) -> None:
        """Send what there is first, however much it is; end the stream by itself after ``timeout`` seconds."""
        self._chunks[:0] = opening
        self._end = asyncio.get_running_loop().call_later(timeout, self.close)

    def send(self, chunk: bytes) -> None:
        if self._closed:
            return
        self._size += len(chunk)
        if self._size > MAX_BUFFERED:
            self._closed = True  # too slow: it starts again from where it was
        else:
            self._chunks.append(chunk)
        self._wake()

    def close(self) -> None:
        """End the stream behind what was sent."""
        self._closed = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while not self._chunks:
            if self._closed:
                await self.aclose()
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        chunks, self._chunks, self._size = self._chunks, [], 0
        return b"".join(chunks)

    async def aclose(self) -> None:
        """The stream is over, also one that nobody began to read."""
        self._closed = True
        if self._end is not None:
            self._end.cancel()
        self._left(self)


@dataclass(slots=True, eq=False)
class _Group:
    want: _Want
    members: set[_Member] = field(default_factory=set)
    pending: list[bytes] = field(default_factory=list)
    headers: bool = True  # of a Table: the columns are still to be said


Observe = Callable[[int, int], None]
"""Told the size of an event and to how many watchers it goes."""


class Watchers:
    """All watches of one resource."""

    def __init__(self, resource: Resource, observe: Observe = lambda size, times: None) -> None:
        self._resource = resource
        self._observe = observe
        self._groups: dict[_Want, _Group] = {}
        self._subscription: Subscription | None = None
        self._flush: asyncio.TimerHandle | None = None
        self._marking: asyncio.TimerHandle | None = None
        self._cost = 0.0  # seconds that the last flush took
        self._serial = 0
        self._closed = False

    def close(self) -> None:
        """End every watch cleanly."""
        self._closed = True
        if self._subscription is not None:
            self._subscription.cancel()
            self._subscription = None
        if self._marking is not None:
            self._marking.cancel()
        for group in self._groups.values():
            for member in group.members:
                member.close()

    async def open(self, namespace: str, options: ListOptions, form: Format, include: str, timeout: float) -> Stream:
        """Begin a watch; it ends by itself after ``timeout`` seconds.

        Raises
        ------
        StatusError
            406 or 400: events cannot be shown in that form; or what `Resource.reach` raises.
        """
        render.check_stream(form, include)
        self._serial += 1
        serial = self._serial if form.convert == "Table" else 0  # the first line of a Table differs
        want = _Want(namespace, options.labels, options.fields, form, include, serial)
        group = _Group(want)
        opening: list[bytes] = []
        member = _Member(functools.partial(self._leave, want), bookmarks=options.bookmarks)
        revision = parse_revision(options.revision)
        if options.initial_events:
            await self._resource.reach(revision)
            opening, revision = await self._state(group, options.bookmarks)
        opening += self._join(group, member, revision)
        for line in opening:
            self._observe(len(line), 1)
        member.begin(opening, timeout)
        return Stream(member, form.stream_type)

    async def _state(self, group: _Group, bookmarks: bool) -> tuple[list[bytes], int]:
        """What there is, as of a revision, and a mark where it ends."""
        listing = await self._resource.store.list(self._resource.scope(group.want.namespace))
        lines = [
            self._line(group, "ADDED", entry, entry.revision)
            for entry in listing.entries
            if group.want.matches(self._resource.note(entry))
        ]
        if bookmarks:
            lines.append(self._bookmark(group.want, listing.revision, initial=True))
        return lines, listing.revision

    def _join(self, group: _Group, member: _Member, revision: int) -> list[bytes]:
        """Enter a group; the lines it has missed since a revision. One step: nothing happens in between."""
        store = self._resource.store
        if self._subscription is None and not self._closed:
            self._subscription = store.watch(self._resource.kind.prefix, store.revision, self._deliver)
        self.flush()
        events: list[Event] = []
        if revision < store.revision:
            try:
                store.watch(self._resource.scope(group.want.namespace), revision, events.extend).cancel()
            except Compacted as error:
                member.close()
                why = f"too old resource version: {revision} ({error.oldest})"
                return [_event("ERROR", status.expired(why).status(), group.want.form)]
        group = self._groups.setdefault(group.want, group)
        group.members.add(member)
        if self._marking is None:
            self._mark_later()
        return [line for event in events for line in self._lines(group, event)]

    def _leave(self, want: _Want, member: _Member) -> None:
        group = self._groups.get(want)
        if group is not None:
            group.members.discard(member)
            if not group.members:
                del self._groups[want]

    # ---- bookmarks ----

    def _mark_later(self) -> None:
        self._marking = asyncio.get_running_loop().call_later(BOOKMARK_EVERY, self._mark)

    def _mark(self) -> None:
        """Say to those who asked for it how far they are: behind what has happened until now."""
        self._marking = None
        self.flush()
        for group in self._groups.values():
            those = [member for member in group.members if member.bookmarks]
            if those:
                line = self._bookmark(group.want, self._resource.store.revision)
                for member in those:
                    member.send(line)
        if self._groups:
            self._mark_later()

    # ---- events ----

    def _deliver(self, events: Sequence[Event]) -> None:
        """Called by the store: encode for each group, flush soon."""
        for group in self._groups.values():
            try:
                for event in events:
                    group.pending += self._lines(group, event)
            except Exception:  # ends the watches of this group alone
                _log.exception("events of %s cannot be shown as %s", self._resource.kind.plural, group.want.form)
                for member in group.members:
                    member.close()
        if self._flush is None and self._groups:
            delay = max(FLUSH_AFTER, self._cost * FLUSH_SHARE)
            self._flush = asyncio.get_running_loop().call_later(delay, self.flush)

    def flush(self) -> None:
        """Give every member what has come since."""
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        loop = asyncio.get_running_loop()
        began = loop.time()
        for group in self._groups.values():
            if group.pending:
                chunk = b"".join(group.pending)
                for line in group.pending:
                    self._observe(len(line), len(group.members))
                group.pending.clear()
                for member in group.members:
                    member.send(chunk)
        loop.call_soon(self._measure, began)  # behind the members that were woken, who write

    def _measure(self, began: float) -> None:
        self._cost = asyncio.get_running_loop().time() - began

    def _lines(self, group: _Group, event: Event) -> list[bytes]:
        """What an event is for a group: nothing, or one line."""
        want, note = group.want, self._resource.note
        if not event.entry.key.startswith(self._resource.scope(want.namespace)):
            return []
        now = event.kind is EventKind.PUT and want.matches(note(event.entry))
        last = event.before if event.kind is EventKind.PUT else event.entry
        before = last is not None and want.matches(note(last))
        if now:
            return [self._line(group, "MODIFIED" if before else "ADDED", event.entry, event.revision)]
        return [self._line(group, "DELETED", last, event.revision)] if before and last is not None else []

    def _line(self, group: _Group, kind: str, entry: Entry, revision: int) -> bytes:
        """One line; a deleted object carries the revision of its deletion."""
        resource, want = self._resource, group.want
        if revision != entry.revision:
            entry = Entry(entry.key, entry.value, entry.created, revision, entry.note)
        if want.form.media_type == JSON and not want.form.convert:
            return _json_event(kind, b"".join(resource.whole(entry)))
        obj = resource.decode(entry)
        if want.form.convert == "Table":
            metadata = {"resourceVersion": str(revision)}
            body = render.table(resource, [obj], metadata, want.form, want.include, group.headers)
            group.headers = False
        else:
            body = render.convert(resource, obj, want.form)
        return _event(kind, body, want.form)

    def _bookmark(self, want: _Want, revision: int, *, initial: bool = False) -> bytes:
        metadata: Object = {"resourceVersion": str(revision), "creationTimestamp": None}
        if initial:
            metadata["annotations"] = {INITIAL_EVENTS_END: "true"}
        kind = self._resource.kind
        obj: Object = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}
        if want.form.convert.startswith("Partial"):
            obj = render.partial(obj, want.form.version)
        return _event("BOOKMARK", obj, want.form)


def _event(kind: str, obj: Object, form: Format) -> bytes:
    """One event in the watch's form."""
    if form.media_type == PROTOBUF:
        return proto.watch_event(kind, codec.encode(obj, PROTOBUF))
    return _json_event(kind, orjson.dumps(obj))


def _json_event(kind: str, obj: bytes) -> bytes:
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), obj)


def parse_revision(text: str) -> int:
    """A resourceVersion as a number; empty is 0.

    Raises
    ------
    StatusError
        400: it is none.
    """
    if not text:
        return 0
    if not (text.isascii() and text.isdigit()) or int(text) >= 2**63:
        raise status.bad_request(f'invalid resource version: strconv.ParseUint: parsing "{text}": invalid syntax')
    return int(text)

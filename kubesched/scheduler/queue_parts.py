# SPDX-License-Identifier: Apache-2.0
"""What the scheduling queue is made of: pods with their history, heaps that forget, and pods that wait for events."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from kubesched.scheduler import events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.hints import Registration

_SLACK = 64  # arbitrary: dead entries that a small heap may hold before it is rebuilt
Key = tuple[float, ...]


class Queued:
    """A pod that waits, and what happened to it so far. Times are those of the queue's clock, in seconds.

    What only pods have that failed are defaults of the class: most pods never do, and making one must cost little.
    """

    first_attempt: float | None = None
    """When it first was let in."""
    attempts: int = 0
    unschedulable_count: int = 0
    error_count: int = 0
    """Errors since it was last rejected by a plugin."""
    backoff_until: float | None = None
    rejectors: frozenset[str] = frozenset()
    """Plugins that rejected it, pending ones included."""
    pending: frozenset[str] = frozenset()
    """Plugins that wait for something that is under way: their events let it skip the back-off."""
    gate: str = ""
    """PreEnqueue plugin that holds it back."""
    was_flushed: bool = False
    """It was let go because it waited too long, not because something happened."""
    home: Heap | Waiting | None = None
    """Where it stands."""
    serial: int = 0
    """Of its entry in a heap; other entries are dead."""

    def __init__(self, pod: PodView, timestamp: float, sequence: int) -> None:
        self.pod = pod
        self.key = pod.row.key
        """``namespace/name``."""
        self.timestamp = timestamp
        """When it came, or failed last."""
        self.sequence = sequence
        """Order of equal timestamps."""

    @classmethod
    def rejected(cls, pod: PodView, by: frozenset[str]) -> Queued:
        """A pod as it waits after plugins rejected it."""
        item = cls(pod, 0.0, 0)
        item.rejectors = by
        return item


class Heap:
    """Pods by a key; a pod stands in one heap at most.

    Most pods come in order, behind the last: those wait in a line, O(1), the others in a binary heap, O(log n). A
    removed pod's entry is dropped when it comes up.
    """

    def __init__(self, key: Callable[[Queued], Key]) -> None:
        self._key = key
        self._line: deque[Any] = deque()
        """Entries: the key, the serial, the pod."""
        self._heap: list[Any] = []
        self._serial = 0
        self._n = 0

    def __len__(self) -> int:
        return self._n

    def __iter__(self) -> Iterator[Queued]:
        """In no order."""
        return (e[-1] for e in chain(self._line, self._heap) if self._is_alive(e))

    def _is_alive(self, entry: Any) -> bool:
        item = entry[-1]
        return item.home is self and item.serial == entry[-2]

    def push(self, item: Queued) -> None:
        """Add a pod that stands nowhere, or move one of this heap to where its key is now."""
        self._serial += 1
        is_new = item.home is not self
        self._n += is_new
        item.home, item.serial = self, self._serial
        entry = (*self._key(item), self._serial, item)
        if not self._line or entry >= self._line[-1]:
            self._line.append(entry)
        else:
            heapq.heappush(self._heap, entry)
        if not is_new:
            self._drop_dead()

    def remove(self, item: Queued) -> None:
        """Take out a pod that stands here."""
        item.home = None
        self._n -= 1
        self._drop_dead()

    def _drop_dead(self) -> None:
        if len(self._line) + len(self._heap) <= 2 * self._n + _SLACK:
            return
        alive = [e for e in chain(self._line, self._heap) if self._is_alive(e)]
        self._line, self._heap = deque(sorted(alive)), []

    def peek(self) -> Queued | None:
        """The least; None if there is none."""
        line, heap = self._line, self._heap
        while line and not self._is_alive(line[0]):
            line.popleft()
        while heap and not self._is_alive(heap[0]):
            heapq.heappop(heap)
        entry = min(line[0], heap[0]) if line and heap else line[0] if line else heap[0] if heap else None
        return None if entry is None else entry[-1]

    def pop(self, item: Queued) -> None:
        """Take out what `peek` just gave."""
        if self._line and self._line[0][-1] is item:
            self._line.popleft()
        else:
            heapq.heappop(self._heap)
        item.home = None
        self._n -= 1


class Ages:
    """Waiting pods by how long they wait: those that PreEnqueue holds back, or the others."""

    def __init__(self, waiting: Waiting, are_gated: bool) -> None:
        self._waiting = waiting
        self._are_gated = are_gated
        self._heap: list[tuple[float, int, Queued]] = []

    def push(self, item: Queued) -> None:
        heapq.heappush(self._heap, (item.timestamp, item.sequence, item))
        if len(self._heap) > 2 * len(self._waiting) + _SLACK:
            self._heap = sorted({e[1]: e for e in self._heap if self._is_alive(e)}.values())

    def _is_alive(self, entry: tuple[float, int, Queued]) -> bool:
        _, sequence, item = entry
        return item.home is self._waiting and item.sequence == sequence and bool(item.gate) == self._are_gated

    def peek(self) -> Queued | None:
        """Who waits longest."""
        while self._heap and not self._is_alive(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][2] if self._heap else None

    def pop_before(self, time: float) -> list[Queued]:
        """Take out the pods that came or failed before this time; each once."""
        out: dict[Queued, None] = {}
        item = self.peek()
        while item is not None and item.timestamp < time:
            out[item] = None
            heapq.heappop(self._heap)
            item = self.peek()
        return list(out)


@dataclass(slots=True, eq=False)
class Group:
    """Waiting pods that no hint can tell apart: an event is judged once for all of them."""

    kind: Hashable
    pod: PodView
    """One of them; it may have left."""
    rejectors: frozenset[str]
    pending: frozenset[str]
    gate: str
    places: tuple[Hashable, ...]
    """Where the group stands in the index."""
    members: dict[Queued, None] = field(default_factory=dict)


class Waiting:
    """Pods that were rejected or held back, indexed by the plugins whose events can help them.

    An event costs the groups that it can concern, not the pods. Source: KEP 6132 (the idea).
    """

    def __init__(self, registrations: Mapping[str, Collection[Registration]]) -> None:
        self._registered = [(p, n, r) for p, of in registrations.items() for n, r in enumerate(of)]
        self._hearing: dict[tuple[str, Action], list[tuple[str, int, Registration]]] = {}
        self._group_of: dict[Queued, Group] = {}
        self._groups: dict[Hashable, Group] = {}
        self._index: dict[Hashable, dict[Group, None]] = {}

    def __len__(self) -> int:
        return len(self._group_of)

    def __iter__(self) -> Iterator[Queued]:
        return iter(self._group_of)

    def hearing(self, event: Event) -> list[tuple[str, int, Registration]]:
        """Plugin, number and registration of those that hear the event."""
        kind = (event.resource, event.action)
        found = self._hearing.get(kind)
        if found is None:
            found = [of for of in self._registered if events.matches(of[2].resource, of[2].actions, event)]
            self._hearing[kind] = found
        return found

    def is_heard(self, event: Event) -> bool:
        """Whether a plugin hears the event that rejected a waiting pod."""
        index = self._index
        return any(name in index for name, _, _ in self.hearing(event)) if index else False

    def hears(self, plugin: str, event: Event) -> bool:
        return any(name == plugin for name, _, _ in self.hearing(event))

    def add(self, item: Queued) -> None:
        """Add a pod that stands nowhere, or move one that waits to the group that it belongs to now."""
        if item.home is self:
            self.remove(item)
        kind = _kind(item)
        group = self._groups.get(kind)
        if group is None:
            places = tuple(dict.fromkeys(self._places(item)))
            group = Group(kind, item.pod, item.rejectors, item.pending, item.gate, places)
            self._groups[kind] = group
            for place in places:
                self._index.setdefault(place, {})[group] = None
        group.members[item] = None
        self._group_of[item] = group
        item.home = self

    def remove(self, item: Queued) -> None:
        """Take out a pod that waits."""
        group = self._group_of.pop(item)
        item.home = None
        del group.members[item]
        if group.members:
            return
        del self._groups[group.kind]
        for place in group.places:
            there = self._index[place]
            del there[group]
            if not there:
                del self._index[place]

    def _places(self, item: Queued) -> Iterator[Hashable]:
        yield from item.rejectors
        for plugin, number, registration in self._registered:
            if plugin in item.rejectors and registration.of_pod is not None:
                for key in registration.of_pod(item.pod):
                    yield plugin, number, key

    def all(self) -> list[Group]:
        return list(self._groups.values())

    def concerned(self, event: Event) -> list[Group]:
        """Groups that the event can concern: some plugin that rejected them hears it, and may mean them."""
        found: dict[Group, None] = {}
        if not self._groups:
            return []
        for plugin, number, registration in self.hearing(event):
            if not self._index.get(plugin):
                continue
            keys = None if registration.of_event is None else registration.of_event(event)
            places: Any = (plugin,) if keys is None else ((plugin, number, key) for key in keys)
            for place in places:
                found.update(self._index.get(place, {}))
        return list(found)


def _kind(item: Queued) -> Hashable:
    """What makes waiting pods alike; a pod with volumes or claims is like no other."""
    pod, row = item.pod, item.pod.row
    name = row.key if pod.volumes or pod.resource_claims else ""
    state = (item.rejectors, item.pending, item.gate)
    return state, row.shape, row.namespace, row.group, row.scheduling_gates, pod.is_nominated, name

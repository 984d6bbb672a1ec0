# SPDX-License-Identifier: Apache-2.0
"""The scheduling queue: which pod is decided next, and when a pod that failed is tried again.

Three parts: active pods are ready, by priority and then by age; pods in back-off failed lately and something happened
since that may help; unschedulable pods wait until something happens, or are held back by a PreEnqueue plugin. What
may help a pod is asked of the plugins that rejected it (`registrations`). Time is the caller's clock; nothing sleeps.
Sources: pkg/scheduler/backend/queue, plugins/queuesort, v1.36.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from kubesched.base import errors
from kubesched.scheduler import events, registrations
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.hints import Registration
from kubesched.scheduler.queue_parts import Ages, Group, Heap, Queued, Waiting

PreEnqueue = Callable[[PodView], bool]
"""Whether a PreEnqueue plugin lets a pod in."""
_LEFTOVER_PERIOD = 30.0  # seconds between two looks at pods that wait long; upstream's
_MOST_DOUBLINGS = 63  # beyond any longest back-off; keeps the power finite


class Part(Enum):
    """Where a pod is."""

    ACTIVE = "active"
    BACKOFF = "backoff"
    UNSCHEDULABLE = "unschedulable"
    IN_FLIGHT = "in flight"


class _Strategy(Enum):
    SKIP = 0
    AFTER_BACKOFF = 1
    IMMEDIATELY = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds; the defaults are kube-scheduler's.

    Parameters
    ----------
    initial_backoff, max_backoff
        Of the first failure; of many. A failure doubles it. ``max_backoff`` 0: none.
    max_unschedulable
        A pod that nothing helps is tried again after this time.
    pop_from_backoff
        Pods in back-off are decided when no other is left (SchedulerPopFromBackoffQ); back-off then ends on whole
        seconds.
    """

    initial_backoff: float = 1.0
    max_backoff: float = 10.0
    max_unschedulable: float = 300.0
    pop_from_backoff: bool = True

    def __post_init__(self) -> None:
        for name in ("initial_backoff", "max_backoff", "max_unschedulable"):
            if getattr(self, name) < 0:
                raise errors.InputError(f"queue: {name}", "is negative", getattr(self, name), "0 or more seconds")


def scheduling_gates(pod: PodView) -> bool:
    """PreEnqueue of SchedulingGates: a pod with gates is not let in."""
    return not pod.row.scheduling_gates


class SchedulingQueue:
    """Pods that wait to be decided.

    Parameters
    ----------
    clock
        Now, in seconds; never goes back.
    hears
        Which plugins hear which events: `registrations.of_plugins`.
    pre_enqueue
        Whether a plugin lets a pod in, by plugin, in the order in which they are asked.
    timing
        Back-off and patience.

    A pod is known by its key. Every operation is O(log n), an event costs the groups of pods that it can concern.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        hears: Mapping[str, Collection[Registration]] | None = None,
        pre_enqueue: Mapping[str, PreEnqueue] | None = None,
        timing: Timing | None = None,
    ) -> None:
        self._clock = clock
        self._timing = timing or Timing()
        self._pre_enqueue = {"SchedulingGates": scheduling_gates} if pre_enqueue is None else dict(pre_enqueue)
        self._active = Heap(_by_priority)
        windows = self._timing.pop_from_backoff
        self._backoff = Heap(self._by_backoff_and_priority if windows else self._by_backoff)
        self._errors = Heap(self._by_backoff)
        self._source = self._active
        """Where the pods of the last `take_batch` stood."""
        self._registrations = registrations.of_plugins() if hears is None else hears
        self._waiting = Waiting(self._registrations)
        self._items: dict[str, Queued] = {}
        self._gangs: dict[str, dict[str, None]] = {}
        self._oldest = Ages(self._waiting, are_gated=False)
        self._oldest_gated = Ages(self._waiting, are_gated=True)
        self._in_flight: OrderedDict[str, tuple[Queued, int]] = OrderedDict()
        self._events: deque[Event] = deque()
        self._first_event = 0
        self._sequence = 0
        self._next_leftovers = -math.inf
        self.cycle = 0
        """Pods that were taken out to be decided, so far."""

    # ---- looking ----

    def __len__(self) -> int:
        """Pods that wait; those in flight do not count."""
        return len(self._items)

    def get(self, key: str) -> Queued | None:
        """A pod that waits."""
        return self._items.get(key)

    def part_of(self, key: str) -> Part | None:
        """Where a pod is; None: it is not known."""
        item = self._items.get(key)
        if item is None:
            return Part.IN_FLIGHT if key in self._in_flight else None
        if item.home is self._active:
            return Part.ACTIVE
        return Part.UNSCHEDULABLE if item.home is self._waiting else Part.BACKOFF

    def counts(self) -> dict[Part, int]:
        """Pods in each part."""
        return {
            Part.ACTIVE: len(self._active),
            Part.BACKOFF: len(self._backoff) + len(self._errors),
            Part.UNSCHEDULABLE: len(self._waiting),
            Part.IN_FLIGHT: len(self._in_flight),
        }

    def gang_members(self, gang: str) -> list[str]:
        """Keys of the pods of a gang that wait."""
        return list(self._gangs.get(gang, ()))

    # ---- pods come, change and go ----

    def add(self, pod: PodView) -> Part:
        """A new pod; where it went."""
        return self._add(pod, self._clock())

    def add_all(self, pods: Iterable[PodView]) -> None:
        """New pods, in the order in which they came."""
        now = self._clock()
        for pod in pods:
            self._add(pod, now)

    def _add(self, pod: PodView, now: float) -> Part:
        self._sequence += 1
        item = Queued(pod, now, self._sequence)
        known = self._items.get(item.key)
        if known is not None:
            self._forget(known)
        if not self._is_let_in(item):
            return self._wait(item)
        item.first_attempt = now
        self._enroll(item)
        self._active.push(item)
        return Part.ACTIVE

    def update(self, pod: PodView) -> None:
        """A pod that waits, or is in flight, changed; one that is not known is new."""
        key = pod.row.key
        if key in self._in_flight:
            item = self._in_flight[key][0]
            self._events.extend(events.pod_events(item.pod, pod))
            item.pod = pod
            return
        known = self._items.get(key)
        if known is None:
            self.add(pod)
            return
        home, old = known.home, known.pod
        known.pod = pod
        if home is not self._waiting:
            assert isinstance(home, Heap)
            home.push(known)
            return
        self._waiting.add(known)
        for event in events.pod_events(old, pod):
            if self._requeue(known, self._worth(known, event, is_own=True)) != Part.UNSCHEDULABLE:
                return

    def delete(self, key: str) -> PodView | None:
        """A pod is gone; what it was, if it waited. One in flight is forgotten when it is done."""
        item = self._items.get(key)
        if item is None:
            return None
        self._forget(item)
        return item.pod

    def _forget(self, item: Queued) -> None:
        self._leave(item)
        self._strike(item)

    def _strike(self, item: Queued) -> None:
        """Take a pod off the lists of those that wait."""
        del self._items[item.key]
        if item.pod.row.group:
            gang = self._gangs[item.pod.row.gang]
            gang.pop(item.key, None)
            if not gang:
                del self._gangs[item.pod.row.gang]

    def _leave(self, item: Queued) -> None:
        """Take a pod out of the part where it stands."""
        if item.home is not None:
            item.home.remove(item)

    def _enroll(self, item: Queued) -> None:
        self._items[item.key] = item
        if item.pod.row.group:
            self._gangs.setdefault(item.pod.row.gang, {})[item.key] = None

    # ---- taking pods out ----

    def pop(self) -> Queued | None:
        """Take out the next pod to decide; it is in flight until `done` or `failed`. None: nobody is ready."""
        item = self._next()
        if item is not None:
            self._in_flight.pop(item.key, None)  # another pod had the name; they stand in the order of being taken
            self._in_flight[item.key] = (item, self._first_event + len(self._events))
        return item

    @property
    def is_backing_off(self) -> bool:
        """Whether `pop` or `take` would take out a pod that is in back-off."""
        return not len(self._active) and self._timing.pop_from_backoff and bool(len(self._backoff))

    def peek(self) -> Queued | None:
        """The pod that `pop` or `take` would take out."""
        item = self._active.peek()
        return self._backoff.peek() if item is None and self._timing.pop_from_backoff else item

    def take(self) -> Queued | None:
        """Take out the next pod for a decision during which nothing can happen; no event is kept for it."""
        return self._next()

    @property
    def is_idle(self) -> bool:
        """Nobody is ready or in flight, or will be as time goes by; pods may wait for something to happen."""
        return not (len(self._active) or len(self._backoff) or len(self._errors) or self._in_flight)

    def take_new(self, pods: Sequence[PodView]) -> list[Queued]:
        """`add` and `take` for new pods, each alone in an idle queue, which lets all of them in."""
        now, first = self._clock(), self._sequence + 1
        items = [Queued(pod, now, at) for at, pod in enumerate(pods, first)]
        for item in items:
            item.first_attempt, item.attempts = now, 1
        self._sequence += len(items)
        self.cycle += len(items)
        return items

    def take_batch(
        self,
        most: int,
        ends: Callable[[Queued], bool] | None = None,
        belongs: Callable[[Queued], bool] | None = None,
    ) -> list[Queued]:
        """Take out pods for decisions between which nothing can happen, as `take` would one by one.

        Active pods; without any, pods of one priority from back-off, where those that fail may come back before others.
        No member of a gang, none from the first on that does not belong here, and none behind a pod that ``ends``.
        """
        out: list[Queued] = []
        heap = self._active if len(self._active) or not self._timing.pop_from_backoff else self._backoff
        self._source = heap
        while len(out) < most:
            item = heap.peek()
            if item is None or item.pod.row.group or (belongs is not None and not belongs(item)):
                break
            if out and heap is self._backoff and item.pod.row.priority != out[0].pod.row.priority:
                break
            heap.pop(item)
            del self._items[item.key]
            item.attempts += 1
            out.append(item)
            if ends is not None and ends(item):
                break
        self.cycle += len(out)
        if not out:
            item = self._next()
            out = [] if item is None else [item]
        return out

    def put_back(self, items: Iterable[Queued]) -> None:
        """Pods of `take_batch` behind the first were not decided: they stand where they stood."""
        for item in items:
            item.attempts -= 1
            self.cycle -= 1
            self._enroll(item)
            self._source.push(item)

    def take_pod(self, key: str) -> Queued | None:
        """Take out one pod wherever it waits, unless PreEnqueue holds it back: a member of a gang."""
        item = self._items.get(key)
        if item is None or (item.home is not self._active and not self._force(item)):
            return None
        self._forget(item)
        self._count(item)
        return item

    def _next(self) -> Queued | None:
        item = self.peek()
        if item is not None:
            self._forget(item)
            self._count(item)
        return item

    def _count(self, item: Queued) -> None:
        item.attempts += 1
        self.cycle += 1

    # ---- bringing them back ----

    def done(self, key: str) -> None:
        """A pod in flight was placed, or is gone."""
        if self._in_flight.pop(key, None) is None:
            return
        oldest = next((at for _, at in self._in_flight.values()), self._first_event + len(self._events))
        while self._first_event < oldest:
            self._events.popleft()
            self._first_event += 1

    def failed(self, item: Queued, rejectors: Collection[str], pending: Collection[str] = ()) -> Part:
        """A pod was not placed; where it went.

        Parameters
        ----------
        rejectors
            Plugins that rejected it; none, and no pending ones: an error, or its gang was rejected.
        pending
            Plugins that wait for something under way.
        """
        key = item.key
        if key in self._items:
            raise errors.StateError(f"Pod {key}", "waits already", key, "a pod that was taken out")
        item.pending = frozenset(pending)
        item.rejectors = item.pending.union(rejectors)
        item.gate = ""
        if item.rejectors:
            item.unschedulable_count += 1
            item.error_count = 0
        else:
            item.error_count += 1
        self._sequence += 1
        item.timestamp, item.sequence = self._clock(), self._sequence
        item.backoff_until, item.was_flushed = None, False
        strategy = self._strategy_of_failed(item)
        self.done(key)
        return self._requeue(item, strategy)

    def _strategy_of_failed(self, item: Queued) -> _Strategy:
        """By what happened while the pod was in flight; members of a gang, and errors, always come back."""
        if not item.rejectors or item.pod.row.group:
            return _Strategy.AFTER_BACKOFF
        best = _Strategy.SKIP
        for event in self._since_pop(item.key):
            found = self._worth(item, event, _is_about(event, item.key))
            if found == _Strategy.IMMEDIATELY:
                return found
            best = found if found != _Strategy.SKIP else best
        return best

    def _since_pop(self, key: str) -> Iterator[Event]:
        if key in self._in_flight:
            at = self._in_flight[key][1] - self._first_event
            yield from itertools.islice(self._events, at, None)

    # ---- things happen ----

    def notify(self, event: Event, up_to: int | None = None) -> None:
        """Something happened: pods that it may help go on. Pods' own updates come by `update`.

        Parameters
        ----------
        up_to
            Only pods of this priority or less: those that a nominated pod keeps out.
        """
        if event.is_wildcard:
            groups = self._waiting.all()
        elif self._waiting.hearing(event):
            groups = self._waiting.concerned(event)
        else:
            return
        for group in groups:
            strategy = self._worth_to_group(group, event)
            if strategy != _Strategy.SKIP:
                for item in list(group.members):
                    if up_to is None or item.pod.row.priority <= up_to:
                        self._requeue(item, strategy)
        if self._in_flight:
            self._events.append(event)

    def would_move(self, event: Event, among: Waiting | None = None) -> bool:
        """Whether some waiting pod, or one of those given, would be let go, or try to, if this happened now."""
        groups = (self._waiting if among is None else among).concerned(event)
        return any(self._worth_to_group(group, event) != _Strategy.SKIP for group in groups)

    def nobody(self) -> Waiting:
        """For pods that would wait here for what these do; empty."""
        return Waiting(self._registrations)

    @property
    def is_listening(self) -> bool:
        """Whether any event can concern a pod."""
        return bool(len(self._waiting)) or bool(self._in_flight)

    def hears(self, event: Event) -> bool:
        """Whether the event can concern a pod: without a look at what it says."""
        return self._waiting.is_heard(event) or (bool(self._in_flight) and bool(self._waiting.hearing(event)))

    def _worth_to_group(self, group: Group, event: Event) -> _Strategy:
        if group.gate and not self._waiting.hears(group.gate, event):
            return _Strategy.SKIP
        return self._worth(group, event, is_own=False)

    def activate(self, keys: Iterable[str]) -> None:
        """Let pods in that wait, whatever they wait for; for one in flight it counts when it comes back."""
        for key in keys:
            item = self._items.get(key)
            if item is not None:
                if item.home is not self._active:
                    self._force(item)
            elif key in self._in_flight:
                self._events.append(events.activation(self._in_flight[key][0].pod))

    def flush(self) -> None:
        """Let go what time alone lets go: pods whose back-off ended, and pods that waited too long. Call it often."""
        for heap in (self._backoff, self._errors):
            item = heap.peek()
            while item is not None and not self._is_backing_off(item):
                self._activate(item, was_in_backoff=True)
                item = heap.peek()
        if self._clock() >= self._next_leftovers:
            self._next_leftovers = self._clock() + _LEFTOVER_PERIOD
            self._flush_leftovers()

    def wake_at(self) -> float | None:
        """When `flush` may next let a pod go because its back-off ends; None: no pod is in back-off."""
        heads = [head for head in (self._backoff.peek(), self._errors.peek()) if head is not None]
        window = 1.0 if self._timing.pop_from_backoff else 0.0
        return min((self._backoff_until(head) + window for head in heads), default=None)

    def _flush_leftovers(self) -> None:
        before = self._clock() - self._timing.max_unschedulable
        gated = self._oldest_gated.peek()
        late = self._oldest.pop_before(before)
        for item in late:
            item.was_flushed = True
            self._requeue(item, _Strategy.AFTER_BACKOFF)
        # Time alone does not open a gate; but upstream tells pods in flight of late gated pods as well.
        if self._in_flight and (late or (gated is not None and gated.timestamp < before)):
            self._events.append(Event(events.ANYTHING, Action.ALL))

    # ---- where pods go ----

    def _worth(self, item: Queued | Group, event: Event, is_own: bool) -> _Strategy:
        """What the event means for a pod, by the plugins that rejected it."""
        if not item.rejectors:
            return _Strategy.AFTER_BACKOFF
        if event.is_wildcard:
            meant = event.new is None or event.new.row.key == item.pod.row.key
            return _Strategy.AFTER_BACKOFF if meant else _Strategy.SKIP
        best = _Strategy.SKIP
        for plugin, _, registration in self._waiting.hearing(event):
            if plugin not in item.rejectors or not registration.ask(item.pod, event, is_own):
                continue
            if plugin in item.pending:
                return _Strategy.IMMEDIATELY
            best = _Strategy.AFTER_BACKOFF
            if not item.pending:
                break
        return best

    def _requeue(self, item: Queued, strategy: _Strategy) -> Part:
        if strategy == _Strategy.SKIP:
            return self._wait(item)
        if strategy == _Strategy.AFTER_BACKOFF and self._is_backing_off(item):
            return self._back_off(item)
        return self._activate(item)

    def _activate(self, item: Queued, was_in_backoff: bool = False) -> Part:
        """Make a pod ready, unless PreEnqueue holds it back. A pod from back-off passed it on its way there."""
        if not (was_in_backoff and self._timing.pop_from_backoff) and not self._is_let_in(item):
            return self._wait(item)
        if item.first_attempt is None:
            item.first_attempt = self._clock()
        self._leave(item)
        self._enroll(item)
        self._active.push(item)
        return Part.ACTIVE

    def _back_off(self, item: Queued) -> Part:
        if self._timing.pop_from_backoff and not self._is_let_in(item):
            return self._wait(item)
        self._leave(item)
        self._enroll(item)
        (self._backoff if item.rejectors else self._errors).push(item)
        return Part.BACKOFF

    def _wait(self, item: Queued) -> Part:
        self._leave(item)
        self._enroll(item)
        self._waiting.add(item)
        (self._oldest_gated if item.gate else self._oldest).push(item)
        return Part.UNSCHEDULABLE

    def _force(self, item: Queued) -> bool:
        """Make a pod ready that waits or backs off; False: PreEnqueue holds it back."""
        was_in_backoff = item.home is self._backoff or item.home is self._errors
        return self._activate(item, was_in_backoff) == Part.ACTIVE

    def _is_let_in(self, item: Queued) -> bool:
        """Ask the PreEnqueue plugins, the one that held the pod back first."""
        gate, item_gate = "", item.gate
        if item_gate and not self._pre_enqueue[item_gate](item.pod):
            gate = item_gate
        else:
            for name, lets_in in self._pre_enqueue.items():
                if name != item_gate and not lets_in(item.pod):
                    gate = name
                    break
        if gate:
            item.rejectors |= {gate}
        item.gate = gate
        return not gate

    # ---- order ----

    def _is_backing_off(self, item: Queued) -> bool:
        return self._backoff_until(item) >= self._aligned(self._clock())

    def _aligned(self, time: float) -> float:
        return float(math.floor(time)) if self._timing.pop_from_backoff else time

    def _backoff_until(self, item: Queued) -> float:
        """When the back-off ends; minus infinity without one."""
        count = item.error_count or item.unschedulable_count
        if self._timing.max_backoff == 0 or count == 0:
            return -math.inf
        if item.backoff_until is None:
            length = self._timing.initial_backoff * 2.0 ** min(count - 1, _MOST_DOUBLINGS)
            item.backoff_until = self._aligned(item.timestamp + min(length, self._timing.max_backoff))
        return item.backoff_until

    def _by_backoff(self, item: Queued) -> tuple[float, ...]:
        return (self._backoff_until(item),)

    def _by_backoff_and_priority(self, item: Queued) -> tuple[float, ...]:
        return (self._backoff_until(item), *_by_priority(item))


def _by_priority(item: Queued) -> tuple[float, ...]:
    """PrioritySort: the most important first, then the oldest."""
    return -item.pod.row.priority, item.timestamp, item.sequence


def _is_about(event: Event, key: str) -> bool:
    side = event.new if event.new is not None else event.old
    return isinstance(side, PodView) and side.row.key == key

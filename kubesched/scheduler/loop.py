# SPDX-License-Identifier: Apache-2.0
"""The scheduling loop: takes pods from the queue, decides them on a ClusterState, and brings back those that failed.

Pods that stand behind each other are decided in one engine call as long as nothing that they do could let another pod
go first: the outcome is that of deciding one at a time, each placement announced before the next decision. The caller
tells what happens in the cluster, and writes the placements down; time is a clock that it gives.
Sources: schedule_one.go, schedule_one_podgroup.go, eventhandlers.go, plugins/gangscheduling, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from kubesched.base import bulk, errors
from kubesched.framework import blame, cycle, diagnosis
from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.kernel.native import Decisions
from kubesched.scheduler import events, registrations
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.queue import Part, SchedulingQueue, Timing, scheduling_gates
from kubesched.scheduler.queue_parts import Queued
from kubesched.state import live, rows
from kubesched.state.evictions import BoundPod
from kubesched.state.stateful import Rejection

MOST_AT_ONCE = 1 << 16
"""Pods of one engine call (arbitrary: what they say fits into a few MB)."""
_ALWAYS = ("SchedulingGates", "GangScheduling", "DefaultPreemption")
_MOST_SHAPES = 1 << 12  # arbitrary: shapes whose class is remembered by identity


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pod was not placed.

    Parameters
    ----------
    plugins
        Those that turned it down; none: an error, no node at all, or its gang was taken back.
    message
        Text of the FailedScheduling event before preemption's part; empty for a pod that fitted while its gang did not.
    part
        Where the queue put it.
    """

    plugins: blame.Plugins
    message: str
    part: Part


@dataclass(slots=True)
class Round:
    """Pods of one decision, in order."""

    pods: list[str]
    """Keys."""
    node: I32
    """Row of each pod's node, ``[n]``; -1: not placed."""
    failures: dict[str, Failure] = field(default_factory=dict)


@dataclass(slots=True)
class Totals:
    """What the loop did so far, in pods and calls."""

    rounds: int = 0
    placed: int = 0
    failed: int = 0
    dense: int = 0
    """Decisions that looked at every node."""
    indexed: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """What the state holds already when a loop starts, and PodGroups; later changes are told through the loop."""

    nodes: Sequence[rows.NodeRow] = ()
    running: Sequence[PodView] = ()
    gangs: Sequence[rows.Gang] = ()


class SchedulingLoop:
    """Queue and decisions over a cluster state.

    Parameters
    ----------
    state
        With nodes and running pods, or empty. The loop changes it; others must not while the loop lives.
    profile
        What decides.
    clock
        Now, in seconds; never goes back.
    known
        What is there.
    timing
        Of the queue.
    seed
        None: ties go to the lowest node index; a number: drawn uniformly.
    most_at_once
        Pods of one engine call; 1: one at a time, with the same outcome.
    driver
        ``auto``, ``dense`` or ``indexed``.
    """

    def __init__(
        self,
        state: live.ClusterState,
        profile: profiles.Profile | str = profiles.DEFAULT,
        *,
        clock: Callable[[], float],
        known: Known | None = None,
        timing: Timing | None = None,
        seed: int | None = None,
        most_at_once: int = MOST_AT_ONCE,
        driver: str = "auto",
    ) -> None:
        self.state = state
        chosen = profiles.find(profile) if isinstance(profile, str) else profile
        self._profile = profiles.register(state, chosen)
        self._ends_early, self._adapts = chosen.ends_early, chosen.adapts
        uniform = seed is not None or chosen.tie == "uniform"
        tie = native.TIE_UNIFORM if uniform else native.TIE_LOWEST
        self._options = native.Options(self._profile, native.DRIVERS[driver], tie=tie, rng=seed or 0)
        self._timing = timing or Timing()
        self._most = most_at_once if self._timing.max_backoff else 1  # else a failure may come back at once
        gates = {"SchedulingGates": scheduling_gates, "GangScheduling": self._lets_gang_in}
        hears = registrations.of_plugins((*chosen.filters, *_ALWAYS))
        self.queue = SchedulingQueue(clock, hears, gates, self._timing)
        self.totals = Totals()
        known = known or Known()
        self._nodes = {node.name: node for node in known.nodes}
        self._running = {pod.row.key: Queued(pod, 0.0, 0) for pod in known.running}
        self._gangs = {gang.key: gang for gang in known.gangs}
        self._members: Counter[str] = Counter(item.pod.row.gang for item in self._running.values())
        self._runs: Counter[str] = Counter(self._members)
        self._class_of: dict[int, tuple[rows.PodShape, int]] = {}
        self._class_version = 0

    # ---- pods come, change and go ----

    def add_pods(self, pods: Iterable[PodView]) -> None:
        """Pods that are new: with a node they run there, the others wait. In order."""
        new = list(pods)
        bound = [pod for pod in new if pod.row.node_name is not None]
        if bound:
            self._start([Queued(pod, 0.0, 0) for pod in bound])
        waiting = [pod for pod in new if pod.row.node_name is None]
        if not any(pod.row.group for pod in waiting):
            with bulk.without_collection(len(waiting)):
                self.queue.add_all(waiting)
            return
        for pod in waiting:
            self._members[pod.row.gang] += bool(pod.row.group)
            self.queue.add(pod)
            if pod.row.group:
                self.queue.notify(Event(events.UNSCHEDULED_POD, Action.ADD, None, pod))

    def _start(self, items: Sequence[Queued]) -> None:
        """Pods run that nobody decided here."""
        self.state.bind([item.pod.row for item in items])
        for item in items:
            self._running[item.key] = item
            self._runs[item.pod.row.gang] += 1
            self._members[item.pod.row.gang] += 1
        self._tell_all([Event(events.ASSIGNED_POD, Action.ADD, None, item.pod) for item in items])

    def update_pods(self, pods: Iterable[PodView]) -> None:
        """Pods changed; those that are not known are new. A waiting pod that has a node now was bound by another."""
        moved: list[tuple[Queued, PodView, PodView]] = []
        for pod in pods:
            item = self._running.get(pod.row.key)
            if item is not None:
                moved.append((item, item.pod, pod))
            elif pod.row.node_name is not None:
                known = self.queue.delete(pod.row.key)
                self._members[pod.row.gang] -= known is not None
                self.add_pods([pod])
            elif self.queue.part_of(pod.row.key) is None:
                self.add_pods([pod])
            else:
                self._update_waiting(pod)
        self._update_running(moved)

    def _update_waiting(self, pod: PodView) -> None:
        known = self.queue.get(pod.row.key)
        was_nominated = known is not None and known.pod.is_nominated
        old = known.pod if known is not None else pod
        self.queue.update(pod)
        if was_nominated and not pod.is_nominated:
            self._tell(Event(events.ASSIGNED_POD, Action.DELETE, old, None), up_to=old.row.priority)

    def _update_running(self, moved: Sequence[tuple[Queued, PodView, PodView]]) -> None:
        changed = [(item, old, new) for item, old, new in moved if old.row.shape != new.row.shape]
        if changed:
            self.state.update_pods([new.row for _, _, new in changed])
        told: list[Event] = []
        for item, old, new in moved:
            item.pod = new
            if self.queue.is_listening:
                told.extend(events.pod_events(self._assigned(item, old), self._assigned(item)))
        self._tell_all(told)

    def delete_pods(self, keys: Iterable[str]) -> None:
        """Pods are gone, whether they ran or waited. One engine call for all of them."""
        gone: list[Queued] = []
        for key in keys:
            item = self._running.get(key)
            if item is not None:
                gone.append(item)
                continue
            pod = self.queue.delete(key)
            if pod is None:
                raise errors.StateError(f"Pod {key}", "is not known", key, "a pod that runs or waits")
            self._members[pod.row.gang] -= 1
            if pod.is_nominated:
                self._tell(Event(events.ASSIGNED_POD, Action.DELETE, pod, None), up_to=pod.row.priority)
        self._stop(gone)

    def binding_failed(self, key: str) -> None:
        """A placed pod could not be bound: it leaves its node, and is tried again after a back-off."""
        item = self._running.get(key)
        if item is None:
            raise errors.StateError(f"Pod {key}", "was not placed", key, "a pod that was placed")
        self._stop([item])
        self._members[item.pod.row.gang] += 1
        self.queue.failed(item, ())

    def _stop(self, items: Sequence[Queued]) -> None:
        if not items:
            return
        heard = self.queue.is_listening
        told = [Event(events.ASSIGNED_POD, Action.DELETE, self._assigned(item), None) for item in items if heard]
        self.state.release([item.key for item in items])
        for item in items:
            del self._running[item.key]
            self._runs[item.pod.row.gang] -= 1
            self._members[item.pod.row.gang] -= 1
        self._tell_all(told)

    # ---- nodes, and other kinds ----

    def add_nodes(self, nodes: Sequence[rows.NodeRow]) -> None:
        """New nodes."""
        self.state.add_nodes(nodes)
        for node in nodes:
            self._nodes[node.name] = node
            self._tell(Event(events.NODE, Action.ADD, None, node))

    def update_node(self, node: rows.NodeRow) -> None:
        """A node changed."""
        old = self._node(node.name)
        self.state.update_node(node)
        self._nodes[node.name] = node
        for event in events.node_events(old, node):
            self._tell(event)

    def remove_node(self, name: str) -> None:
        """A node is gone; the pods on it are, until they are deleted, on no node."""
        old = self._node(name)
        self._tell(Event(events.NODE, Action.DELETE, old, None))
        self.state.remove_node(name)
        del self._nodes[name]

    def _node(self, name: str) -> rows.NodeRow:
        if name not in self._nodes:
            raise errors.StateError(f"Node {name}", "is not known", name, "a node that was added")
        return self._nodes[name]

    def add_gang(self, gang: rows.Gang) -> None:
        """A new PodGroup; they do not change."""
        self._gangs[gang.key] = gang
        self._tell(Event(events.POD_GROUP, Action.ADD, None, gang))

    def happened(self, event: Event) -> None:
        """Something happened to an object of another kind (a claim, a volume); the state knows already."""
        self._tell(event)

    # ---- telling the queue ----

    def _hears(self, action: Action) -> bool:
        return self.queue.hears(Event(events.ASSIGNED_POD, action))

    def _tell(self, event: Event, up_to: int | None = None) -> None:
        if self.queue.hears(event):
            self.queue.notify(event, up_to)

    def _tell_all(self, told: Iterable[Event]) -> None:
        """Events between which nothing is decided: those that no hint can tell apart are told once."""
        seen: set[Hashable] = set()
        for event in told:
            kinds = [_kind(side) for side in (event.old, event.new) if side is not None]
            kind = event.resource, event.action, event.old is None, *kinds
            if None in kinds or kind not in seen:
                seen.add(kind)
                self._tell(event)

    def _node_of(self, key: str) -> str | None:
        row = self.state.pods[key].row
        return None if row == NO_NODE else self.state.node_name(row)

    def _assigned(self, item: Queued, pod: PodView | None = None) -> PodView:
        """A running pod (or what it was) with its node; where that is gone the pod still counts as assigned."""
        pod = pod or item.pod
        return replace(pod, row=replace(pod.row, node_name=self._node_of(item.key) or ""))

    def _lets_gang_in(self, pod: PodView) -> bool:
        """PreEnqueue of GangScheduling: the group is there, and so are as many of its pods as must fit."""
        if not pod.row.group:
            return True
        gang = self._gangs.get(pod.row.gang)
        return gang is not None and self._members[gang.key] >= gang.min_count

    # ---- deciding ----

    def run(self, most: int | None = None) -> list[Round]:
        """Decide until nobody is ready, or so many rounds."""
        out: list[Round] = []
        while most is None or len(out) < most:
            found = self.step()
            if found is None:
                break
            out.append(found)
        return out

    def step(self) -> Round | None:
        """Decide the next pods; None: nobody is ready (`SchedulingQueue.wake_at` says when to come back)."""
        self.queue.flush()
        head = self.queue.peek()
        if head is None:
            return None
        self.state.follow_order(self._ends_early)
        with bulk.without_collection(len(self.queue)):
            found = self._decide_gang(head.pod.row.gang) if head.pod.row.group else self._decide(self._batch())
        self.totals.rounds += 1
        self.totals.dense, self.totals.indexed = self._options.n_dense, self._options.n_indexed
        return found

    def _batch(self) -> list[Queued]:
        """The next pods, up to one whose placement lets a waiting pod go."""
        if not self._hears(Action.ADD):
            return self.queue.take_batch(self._most)
        judged: dict[Hashable, bool] = {}

        def ends(item: Queued) -> bool:
            kind = _kind(item.pod)
            if kind is None or kind not in judged:
                there = replace(item.pod, is_nominated=True)  # it holds room; which node it is does not matter
                judged[kind] = self.queue.would_move(Event(events.ASSIGNED_POD, Action.ADD, None, there))
            return judged[kind]

        return self.queue.take_batch(self._most, ends)

    def _decide(self, items: list[Queued]) -> Round:
        class_of = self._classes(items)
        keys = [item.key for item in items]
        decided = cycle.decide(self.state, self._options, keys, class_of)
        failed = np.flatnonzero(decided.columns.node < 0)
        out = Round(keys, decided.columns.node)
        if not failed.size and not self._hears(Action.ADD):
            self._remember(items, class_of.tolist(), decided.columns.node.tolist(), decided.columns.devices.tolist())
            return out
        blamed = self._blame(items, class_of, decided, failed.tolist())
        self._settle(out, items, class_of, decided.columns, blamed)
        return out

    def _classes(self, items: Sequence[Queued]) -> I32:
        """Classes of pods to decide together; one with rules may void those that were found before it."""
        self.state.make_room()
        while True:
            version = self.state.classes.version
            if self._class_version != version:
                self._class_of.clear()
                self._class_version = version
            found = [self._class(item.pod.row) for item in items]
            if version == self.state.classes.version:
                return arrays.int32(found)

    def _class(self, row: rows.PodRow) -> int:
        if row.volumes is not None or row.devices is not None:
            return self.state.class_of(self._adapts.pod(row))
        shape = row.shape
        known = self._class_of.get(id(shape))
        if known is None:
            if len(self._class_of) >= _MOST_SHAPES:
                self._class_of.clear()
            known = self._class_of[id(shape)] = shape, self.state.class_of(self._adapts.pod(row))
        return known[1]

    def _settle(
        self,
        out: Round,
        items: Sequence[Queued],
        class_of: I32,
        found: Decisions,
        blamed: Mapping[int, tuple[blame.Plugins, str]],
    ) -> None:
        """Announce placements and bring failures back, in the order of the decisions."""
        ids, node, devices = class_of.tolist(), found.node.tolist(), found.devices.tolist()
        told: set[Hashable] = set()
        for i, item in enumerate(items):
            if i in blamed:
                plugins, message = blamed[i]
                out.failures[item.key] = Failure(plugins, message, self.queue.failed(item, plugins))
                self.totals.failed += 1
                told.clear()
                continue
            self._remember([item], [ids[i]], [node[i]], [devices[i]])
            if self._hears(Action.ADD):
                kind = _kind(item.pod)
                if kind is None or kind not in told:
                    told.add(kind)
                    self._tell(Event(events.ASSIGNED_POD, Action.ADD, None, self._assigned(item)))

    def _remember(self, items: Sequence[Queued], ids: list[int], node: list[int], devices: list[int]) -> None:
        of = [item.pod.row for item in items]
        pods = [BoundPod.of(*one) for one in zip(of, ids, node, devices, strict=True)]
        keys = [item.key for item in items]
        self.state.remember(keys, pods)
        self._running.update(zip(keys, items, strict=True))
        for row in of:
            if row.group:
                self._runs[row.gang] += 1
        self.totals.placed += len(items)

    # ---- gangs ----

    def _decide_gang(self, key: str) -> Round:
        """Take every member that PreEnqueue lets in, and decide them together."""
        found = [self.queue.take_pod(member) for member in self.queue.gang_members(key)]
        items = [item for item in found if item is not None]
        items.sort(key=lambda item: (-item.pod.row.priority, item.first_attempt, item.sequence))
        least = max(self._gangs[key].min_count - self._runs[key], 0)
        class_of, keys = self._classes(items), [item.key for item in items]
        mark, rng = self.state.speculate(), self._options.rng
        try:
            decided = cycle.decide(self.state, self._options, keys, class_of)
        except errors.KubeschedError:
            self.state.rollback(mark)
            raise
        failed = np.flatnonzero(decided.columns.node < 0).tolist()
        blamed = self._blame(items, class_of, decided, failed)
        out = Round(keys, decided.columns.node)
        if len(items) - len(failed) >= least:
            self.state.keep(mark)
        else:
            self.state.rollback(mark)
            self._options.rng = rng
            out.node = np.full(len(items), NO_NODE, dtype=np.int32)
            blamed.update({i: (blame.NOBODY, "") for i in range(len(items)) if i not in blamed})
        self._settle(out, items, class_of, decided.columns, blamed)
        return out

    # ---- failures ----

    def _blame(
        self, items: Sequence[Queued], class_of: I32, decided: cycle.Decided, failed: Sequence[int]
    ) -> dict[int, tuple[blame.Plugins, str]]:
        """Who turned each failed pod down, on the state that it met.

        Going backwards through the placements inside a speculation brings that state back; pods of one class that
        failed without a placement between them failed for the same reason.
        """
        out: dict[int, tuple[blame.Plugins, str]] = {}
        known: dict[int, tuple[blame.Plugins, str]] = {}
        keys = [item.key for item in items]
        mark, undone = self.state.speculate(), len(items)
        for i in reversed(failed):
            later = np.flatnonzero(decided.columns.node[i:undone] >= 0) + i
            if later.size:
                cycle.undo(self.state, keys, class_of, decided.columns, later)
                known.clear()
            undone, class_id = i, int(class_of[i])
            if i in decided.rejected or self.state.is_concerned(class_id):
                out[i] = self._why(items[i], class_id, self.state.prepare(items[i].key, class_id, self._profile))
                continue
            if class_id not in known:
                known[class_id] = self._why(items[i], class_id, None)
            out[i] = known[class_id]
        self.state.rollback(mark)
        return out

    def _why(self, item: Queued, class_id: int, rejection: Rejection | None) -> tuple[blame.Plugins, str]:
        shape = self.state.shape_of(class_id)
        plugins = blame.blame(self.state, self._profile, class_id, shape, rejection)
        return plugins, diagnosis.summarize(self.state, self._profile, class_id, shape, rejection).message


def _kind(pod: PodView) -> Hashable | None:
    """What hints can see of a running pod, beside that it runs; None: more than what pods share."""
    row = pod.row
    return None if pod.volumes or pod.resource_claims else (row.shape, row.namespace, row.group)

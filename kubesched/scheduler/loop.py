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
from dataclasses import replace

import numpy as np

from kubesched.base import bulk, errors
from kubesched.framework import blame, cycle, diagnosis, gangs, preemption
from kubesched.framework import profile as profiles
from kubesched.framework.preemption import PostFilter
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, I64, NO_NODE
from kubesched.kernel.native import Decisions
from kubesched.scheduler import events, failures, registrations
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.failures import Blame
from kubesched.scheduler.preempting import Nominations, Told, UnderWay, renominated
from kubesched.scheduler.queue import Part, SchedulingQueue, Timing, scheduling_gates
from kubesched.scheduler.queue_parts import Queued
from kubesched.scheduler.rounds import Failure, Known, Round, Totals
from kubesched.scheduler.tape import Change, Tape
from kubesched.state import live, rows
from kubesched.state.evictions import BoundPod

MOST_AT_ONCE = 1 << 16
"""Pods of one engine call (arbitrary: what they say fits into a few MB)."""
_ALWAYS = ("SchedulingGates", "GangScheduling", "DefaultPreemption")
_LEAST_REACH = 16  # arbitrary: changes that are tried together after a failure
_MOST_SHAPES = 1 << 12  # arbitrary: shapes whose class is remembered by identity
_NOBODY_RUNS = 1 << 31  # above any priority


_Question = tuple[int, int, bool]


class SchedulingLoop:
    """Queue and decisions over a cluster state.

    Parameters
    ----------
    state
        With nodes and running pods, or empty. The loop changes it; others must not while the loop lives.
    profile
        What decides; a ProfileMap: by the pod's ``spec.schedulerName``, and pods of other schedulers are left to them
        until they run.
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
        profile: profiles.Profile | profiles.ProfileMap | str = profiles.DEFAULT,
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
        self._by_scheduler: dict[str, profiles.Profile] = {}
        """Profiles by ``spec.schedulerName``; empty: there is one, for all pods."""
        if isinstance(chosen, profiles.ProfileMap):
            self._by_scheduler = dict(chosen.profiles)
            self._all = list(self._by_scheduler.values())
        else:
            self._all = [chosen]
        self._number_of = {id(one): profiles.register(state, one) for one in self._all}
        self._is_seeded = seed is not None
        self._options = native.Options(0, native.DRIVERS[driver], rng=seed or 0)
        self._not_ours: set[str] = set()
        """Keys of waiting pods that another scheduler decides."""
        self._use(self._all[0])
        self._timing = timing or Timing()
        self._most = most_at_once if self._timing.max_backoff else 1  # else a failure may come back at once
        self._least = min((pod.priority for pod in state.pods.values()), default=_NOBODY_RUNS)
        """No running pod is less important; never goes up."""
        self._stretch = 1
        self._under_way, self._told = UnderWay(), Told()
        self._nominations = Nominations(state, self._class)
        gates = {
            "SchedulingGates": scheduling_gates,
            "DefaultPreemption": lambda pod: not self._under_way.holds(pod),
            "GangScheduling": self._lets_gang_in,
        }
        filters = dict.fromkeys(name for one in self._all for name in one.filters)
        hears = registrations.of_plugins((*filters, *_ALWAYS))
        self.queue = SchedulingQueue(clock, hears, gates, self._timing)
        self.totals = Totals()
        known = known or Known()
        self._nodes = {node.name: node for node in known.nodes}
        self._running = {pod.row.key: Queued(pod, 0.0, 0) for pod in known.running}
        self._gangs: dict[str, rows.Gang] = {}
        for gang in known.gangs:
            self._take_gang(gang)
        self._members: Counter[str] = Counter(item.pod.row.gang for item in self._running.values())
        self._runs: Counter[str] = Counter(self._members)
        self._class_of: dict[tuple[int, int], tuple[rows.PodShape, int]] = {}
        self._class_version = 0

    # ---- profiles ----

    def _use(self, profile: profiles.Profile) -> None:
        """Decide with this profile from now on."""
        self._current, self._profile = profile, self._number_of[id(profile)]
        uniform = self._is_seeded or profile.tie == "uniform"
        self._options.profile, self._options.tie = self._profile, native.TIE_UNIFORM if uniform else native.TIE_LOWEST

    def _profile_of(self, row: rows.PodRow) -> profiles.Profile:
        return self._by_scheduler[row.scheduler_name] if self._by_scheduler else self._all[0]

    def _is_current(self, item: Queued) -> bool:
        """Whether the profile at hand decides the pod."""
        return self._profile_of(item.pod.row) is self._current

    def _is_ours(self, row: rows.PodRow) -> bool:
        """Whether a pod that waits is decided here; others are no more than known."""
        if not self._by_scheduler or row.scheduler_name in self._by_scheduler:
            return True
        self._not_ours.add(row.key)
        return False

    # ---- pods come, change and go ----

    def add_pods(self, pods: Iterable[PodView]) -> None:
        """Pods that are new: with a node they run there, the others wait. In order."""
        new = list(pods)
        bound = [pod for pod in new if pod.row.node_name is not None]
        if bound:
            self._start([Queued(pod, 0.0, 0) for pod in bound])
        waiting = [pod for pod in new if pod.row.node_name is None and self._is_ours(pod.row)]
        if not any(pod.row.group or pod.row.nominated_node for pod in waiting):
            with bulk.without_collection(len(waiting)):
                self.queue.add_all(waiting)
            return
        for pod in waiting:
            self._members[pod.row.gang] += bool(pod.row.group)
            if self.queue.add(pod) == Part.ACTIVE and pod.is_nominated:
                self._nominations.set(pod.row)
            if pod.row.group or pod.is_nominated:  # others are nothing to anybody while they wait
                self.queue.notify(Event(events.UNSCHEDULED_POD, Action.ADD, None, pod))

    def _start(self, items: Sequence[Queued]) -> None:
        """Pods run that nobody decided here."""
        self._not_ours.difference_update(item.key for item in items)
        self.state.bind([item.pod.row for item in items])
        for item in items:
            self._running[item.key] = item
            self._runs[item.pod.row.gang] += 1
            self._members[item.pod.row.gang] += 1
            self._least = min(self._least, item.pod.row.priority)
        self._tell_all([[Event(events.ASSIGNED_POD, Action.ADD, None, item.pod)] for item in items])

    def update_pods(self, pods: Iterable[PodView]) -> None:
        """Pods changed; those that are not known are new. A waiting pod that has a node now was bound by another."""
        moved: list[tuple[Queued, PodView, PodView]] = []
        for pod in pods:
            item = self._running.get(pod.row.key)
            if item is not None:
                moved.append((item, item.pod, pod))
            elif pod.row.node_name is not None:
                known = self.queue.delete(pod.row.key)
                self._forget_plans(pod.row.key)
                self._members[pod.row.gang] -= known is not None
                self.add_pods([pod])
            elif self.queue.part_of(pod.row.key) is None:
                self.add_pods([pod])
            else:
                self._update_waiting(pod)
        self._update_running(moved)

    def _update_waiting(self, pod: PodView) -> None:
        known = self.queue.get(pod.row.key)
        old = known.pod if known is not None else pod
        self._replace(old, self._told.read(pod, old.row.nominated_node))

    def _replace(self, old: PodView, new: PodView) -> None:
        """A waiting pod is another now. It leaves the node that it was nominated for as if it had run there."""
        before = old.row.nominated_node
        self.queue.update(new)
        if before or new.is_nominated:
            self._nominations.set(new.row)
        if before and new.row.nominated_node != before:
            self._tell(Event(events.ASSIGNED_POD, Action.DELETE, old, None), up_to=old.row.priority)

    def _forget_plans(self, key: str) -> None:
        """A pod waits no more: nothing is planned for it."""
        self._nominations.withdraw(key)
        self._under_way.forget(key)
        self._told.forget(key)

    def _update_running(self, moved: Sequence[tuple[Queued, PodView, PodView]]) -> None:
        changed = [new.row for _, old, new in moved if _placement_sees(old.row) != _placement_sees(new.row)]
        self.state.update_pods(changed, [item.key for item, _, _ in moved])
        self._least = min([self._least, *(row.priority for row in changed)])
        told: list[list[Event]] = []
        for item, old, new in moved:
            item.pod = new
            heard = self.queue.is_listening
            told.append(events.pod_events(self._assigned(item, old), self._assigned(item)) if heard else [])
        self._tell_all(told, [item.key if new.row.shape.terminating else "" for item, _, new in moved])

    def delete_pods(self, keys: Iterable[str]) -> None:
        """Pods are gone, whether they ran or waited. One engine call for all of them."""
        gone: list[Queued] = []
        for key in keys:
            item = self._running.get(key)
            if item is not None:
                gone.append(item)
                continue
            if key in self._not_ours:
                self._not_ours.remove(key)
                continue
            pod = self.queue.delete(key)
            if pod is None:
                raise errors.StateError(f"Pod {key}", "is not known", key, "a pod that runs or waits")
            self._members[pod.row.gang] -= 1
            self._forget_plans(key)
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

    def eviction_failed(self, key: str) -> None:
        """A victim of a waiting pod could not be evicted: the pod waits for none of them, and is tried again."""
        self._under_way.forget(key)
        self.queue.activate([key])

    def _stop(self, items: Sequence[Queued]) -> None:
        if not items:
            return
        heard = self.queue.is_listening
        told = [
            [Event(events.ASSIGNED_POD, Action.DELETE, self._assigned(item), None)] if heard else [] for item in items
        ]
        self.state.release([item.key for item in items])
        for item in items:
            del self._running[item.key]
            self._runs[item.pod.row.gang] -= 1
            self._members[item.pod.row.gang] -= 1
        self._tell_all(told, [item.key for item in items])

    # ---- nodes, and other kinds ----

    def add_nodes(self, nodes: Sequence[rows.NodeRow]) -> None:
        """New nodes."""
        self.state.add_nodes(nodes)
        for node in nodes:
            self._nodes[node.name] = node
            self._nominations.node_came(node.name)
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
        self._nominations.node_goes(name)
        self.state.remove_node(name)
        del self._nodes[name]

    def _node(self, name: str) -> rows.NodeRow:
        if name not in self._nodes:
            raise errors.StateError(f"Node {name}", "is not known", name, "a node that was added")
        return self._nodes[name]

    def add_gang(self, gang: rows.Gang) -> None:
        """A new PodGroup; they do not change."""
        self._take_gang(gang)
        self._tell(Event(events.POD_GROUP, Action.ADD, None, gang))

    def _take_gang(self, gang: rows.Gang) -> None:
        without = next((one for one in self._all if not one.generates_placements), None)
        if gang.topology_key and without is not None:
            raise gangs.no_generator(gang, without.name)
        self._gangs[gang.key] = gang

    def happened(self, event: Event) -> None:
        """Something happened to an object of another kind (a claim, a volume); the state knows already."""
        self._tell(event)

    # ---- telling the queue ----

    def _hears(self, action: Action) -> bool:
        return self.queue.hears(Event(events.ASSIGNED_POD, action))

    def _tell(self, event: Event, up_to: int | None = None) -> None:
        if self.queue.hears(event):
            self.queue.notify(event, up_to)

    def _tell_all(self, told: Sequence[Sequence[Event]], leaving: Sequence[str] = ()) -> None:
        """Events between which nothing is decided, by object: those that no hint can tell apart are told once.

        Parameters
        ----------
        leaving
            Of each object, the key if it is a pod whose deletion has begun: its preemptor may hear what comes now.
        """
        seen: set[Hashable] = set()
        for i, of_object in enumerate(told):
            if leaving and self._under_way.began(leaving[i]):
                seen.clear()
            for event in of_object:
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
        self._use(self._profile_of(head.pod.row))
        self.state.nodes.follow_order(self._current.ends_early)
        with bulk.without_collection(len(self.queue)):
            found = self._decide_gang(head.pod.row.gang) if head.pod.row.group else self._decide_batch()
        self.totals.rounds += 1
        self._count_decisions()
        return found

    def _count_decisions(self) -> None:
        self.totals.dense, self.totals.indexed = self._options.n_dense, self._options.n_indexed

    def apply(self, change: Change) -> None:
        """Something happened in the cluster."""
        if change.delete_pods:
            self.delete_pods(change.delete_pods)
        if change.update_pods:
            self.update_pods(change.update_pods)
        for name in change.remove_nodes:
            self.remove_node(name)
        for node in change.update_nodes:
            self.update_node(node)
        if change.add_nodes:
            self.add_nodes(change.add_nodes)
        if change.add_pods:
            self.add_pods(change.add_pods)

    def play(self, changes: Sequence[Change]) -> list[list[Round]]:
        """`apply` the changes one after another, each followed by `run`; the rounds of each.

        Changes that no waiting pod hears of go into one engine call with the decisions between them; time stands still
        during a call.
        """
        out: list[list[Round]] = []
        reach = len(changes)
        with bulk.without_collection(len(changes)):
            while len(out) < len(changes):
                tape = self._record(changes, len(out), reach)
                if len(tape):
                    found = self._play(tape)
                    reach = max(2 * len(found), _LEAST_REACH)  # what is behind a failure is recorded again
                    out += found
                else:
                    self.apply(changes[len(out)])
                    out.append(self.run())
        return out

    def _record(self, changes: Sequence[Change], begin: int, reach: int) -> Tape:
        """Changes from one on that can go into one engine call."""
        self.queue.flush()
        self.state.make_room()
        is_plain = self.queue.is_idle and not self.state.engine.has_users
        is_plain &= not (self.state.evictions.has_nominated or self._under_way)
        first = next((pod.row for change in changes[begin:] for pod in change.add_pods), None)
        if first is not None and self._is_ours(first):
            self._use(self._profile_of(first))
        part = changes[begin : begin + reach] if is_plain else ()
        return self.state.classes.together(lambda: self._take(part))

    def _take(self, changes: Sequence[Change]) -> Tape:
        """As many of the changes as can go."""
        tape = Tape(self.state, self.queue, self._running, self._plain_class)
        for change in changes:
            if tape.n_events >= self._most or not tape.take(change):
                break
        return tape

    def _play(self, tape: Tape) -> list[list[Round]]:
        self.state.nodes.follow_order(self._current.ends_early)
        played = tape.play(self._options)
        for item in played.left:
            self._runs[item.pod.row.gang] -= 1
            self._members[item.pod.row.gang] -= 1
        out = [[Round([item.key for item in part.items], part.node)] if part.items else [] for part in played.parts]
        self._least = min([self._least, *(item.pod.row.priority for part in played.parts for item in part.items)])
        self.totals.rounds += sum(map(len, out))
        self.totals.together += len(out)
        self.totals.placed += sum(len(part.items) for part in played.parts)
        self._count_decisions()
        last = played.parts[-1]
        if last.items and last.node[-1] < 0:
            self.queue.add_all(last.rest)
            self.totals.placed -= 1
            self._fail_alone(out[-1][-1], last.items[-1])
            out[-1] += self.run()
        return out

    def _fail_alone(self, out: Round, item: Queued) -> None:
        """A pod that was not placed, and that no plugin must be asked about by name; no other is behind it."""
        class_id = self._class(item.pod.row)
        why, after = failures.of_class(self.state, self._profile, class_id, None), dict[str, str]()
        if self._can_evict(item.pod.row):
            post = self._post_filter(item, class_id, {})
            why, after = replace(why, preemption=post.message), self._nodes_after(out, item, post)
        self._fail(out, item, why)
        for key, node in after.items():
            self._renominate(out, key, node)

    def _plain_class(self, pod: PodView) -> int | None:
        """Class of a new pod that is decided alone and that nothing holds back; else None."""
        row = pod.row
        if row.node_name is not None or row.group or row.scheduling_gates or row.nominated_node:
            return None
        if row.volumes is not None or row.devices is not None:
            return None
        is_other = self._by_scheduler and self._by_scheduler.get(row.scheduler_name) is not self._current
        return None if is_other else self._class(row)

    def _batch(self, most: int) -> list[Queued]:
        """The next pods, up to one whose placement lets a waiting pod go."""
        belongs = self._is_current if self._by_scheduler else None
        if not self._hears(Action.ADD):
            return self.queue.take_batch(most, belongs=belongs)
        judged: dict[Hashable, bool] = {}

        def ends(item: Queued) -> bool:
            kind = _kind(item.pod)
            if kind is None or kind not in judged:
                judged[kind] = self.queue.would_move(_placed(item.pod))
            return judged[kind]

        return self.queue.take_batch(most, ends, belongs)

    def _decide_batch(self) -> Round:
        backs_off = self.queue.is_backing_off
        items = self._batch(self._stretch if backs_off else self._most)
        class_of = self._classes(items)
        keys = [item.key for item in items]
        may_evict = self._current.evicts and items[0].pod.row.priority > self._least  # no other is more important
        if backs_off or may_evict or self.state.evictions.has_nominated:
            return self._decide_in_parts(items, class_of, backs_off)
        decided = cycle.decide(self.state, self._options, keys, class_of)
        failed = np.flatnonzero(decided.columns.node < 0)
        out = Round(keys, decided.columns.node)
        if not failed.size and not self._hears(Action.ADD):
            self._remember(items, class_of.tolist(), decided.columns.node.tolist(), decided.columns.devices.tolist())
            return out
        blamed = self._blame(items, class_of, decided, failed.tolist())
        self._settle(out, items, class_of, decided.columns, blamed)
        return out

    # ---- with evictions ----

    def _can_evict(self, row: rows.PodRow) -> bool:
        """Whether PostFilter might find victims: some running pod may be less important."""
        return self._current.evicts and row.priority > self._least and row.preempts

    def _decide_in_parts(self, items: list[Queued], class_of: I32, backs_off: bool) -> Round:
        """Up to a pod that evicts others, or gives its node up, and on from there: those behind must know.

        Where that may let a waiting pod go, the rest is for the next round; so it is for pods in back-off, before which
        pods that just failed may stand.
        """
        out, at, known = Round([], arrays.int32([])), 0, dict[_Question, str]()
        while at < len(items):
            end = self._end_of_part(items, at)
            n, post = self._decide_part(out, items[at:end], class_of[at:end], known, backs_off)
            at += n
            after = {} if post is None else self._nodes_after(out, items[at - 1], post)
            left = [
                self._nominations.node_of(key) for key, node in after.items() if node != self._nominations.node_of(key)
            ]
            if any(left) or backs_off:
                self.queue.put_back(items[at:])
                at = len(items)
            if left:
                known.clear()
            for key, node in after.items():
                self._renominate(out, key, node)
        return out

    def _end_of_part(self, items: Sequence[Queued], at: int) -> int:
        """Pods that ask the same of nominated ones go together; one that `_asks_alone` is by itself."""
        head, end = items[at].pod.row, at + 1
        while not self._asks_alone(head) and end < min(at + self._stretch, len(items)):
            row = items[end].pod.row
            if self._asks_alone(row) or row.priority != head.priority:
                break
            end += 1
        return end

    def _asks_alone(self, row: rows.PodRow) -> bool:
        """Whether what it meets on a nominated pod's node is its own: its node, or what its volumes say there."""
        return bool(row.nominated_node) or (row.volumes is not None and self.state.evictions.has_nominated)

    def _decide_part(
        self, out: Round, items: Sequence[Queued], class_of: I32, known: dict[_Question, str], backs_off: bool
    ) -> tuple[int, PostFilter | None]:
        """Decide pods up to the first whose PostFilter has a say; how many these were, and what it said.

        Pods in back-off only up to one that lets another go that failed before it.
        ``known`` holds what it said to pods that it could not help, as long as nobody is placed.
        """
        before, mark = replace(self._options), self.state.speculate()
        decided = self._ask(items, class_of, mark)
        turn, said = self._turn(items, class_of, decided.columns.node, known)
        end = turn + 1 if turn is not None else len(items)
        helper, blamed = self._first_helper(items, class_of, decided, end) if backs_off else (None, None)
        if helper is not None:
            turn, end = None, helper + 1
            said = {i: text for i, text in said.items() if i < end}
            known.clear()
        self._stretch = min(2 * self._stretch, self._most) if turn is None and helper is None else 1
        if end < len(items):
            self.state.rollback(mark)
            self._options, mark = before, self.state.speculate()
            items, class_of = items[:end], class_of[:end]
            decided, blamed = self._ask(items, class_of, mark), None
        self.state.keep(mark)
        if blamed is None:
            blamed = self._blame_part(items, class_of, decided, np.flatnonzero(decided.columns.node < 0))
        post = None if turn is None else self._post_filter(items[turn], int(class_of[turn]), known)
        if turn is not None and post is not None:
            said[turn] = post.message
        blamed.update({i: replace(blamed[i], preemption=text) for i, text in said.items()})
        out.pods += [item.key for item in items]
        out.node = np.concatenate([out.node, decided.columns.node])
        self._settle(out, items, class_of, decided.columns, blamed)
        return len(items), post

    def _first_helper(
        self, items: Sequence[Queued], class_of: I32, decided: cycle.Decided, end: int
    ) -> tuple[int | None, dict[int, Blame] | None]:
        """The first placement that lets one of the pods go that failed before it, of those up to an end; its position.

        What waited before them all was asked already (`_batch`). And why these pods failed, if it had to be known.
        """
        node = decided.columns.node[:end]
        failed = np.flatnonzero(node < 0)
        if not failed.size or not (node[failed[0] :] >= 0).any():
            return None, None
        blamed = self._blame_part(items, class_of, decided, failed)
        rejected, harmless = self.queue.nobody(), set[Hashable]()
        for i in range(int(failed[0]), end):
            pod = items[i].pod
            if i not in blamed:
                kind = _kind(pod)
                if kind is None or kind not in harmless:
                    harmless.add(kind)
                    if self.queue.would_move(_placed(pod), rejected):
                        return i, blamed
            elif blamed[i].plugins:  # an error comes back when its time has come
                rejected.add(Queued.rejected(pod, blamed[i].plugins))
                harmless.clear()
        return None, blamed

    def _blame_part(
        self, items: Sequence[Queued], class_of: I32, decided: cycle.Decided, failed: I64
    ) -> dict[int, Blame]:
        with self.state.evictions.asking(items[0].pod.row):
            return self._blame(items, class_of, decided, failed.tolist())

    def _ask(self, items: Sequence[Queued], class_of: I32, mark: live.Mark) -> cycle.Decided:
        try:
            with self.state.evictions.asking(items[0].pod.row):
                return cycle.decide(self.state, self._options, [item.key for item in items], class_of)
        except errors.KubeschedError:
            self.state.rollback(mark)
            raise

    def _turn(
        self, items: Sequence[Queued], class_of: I32, node: I32, known: dict[_Question, str]
    ) -> tuple[int | None, dict[int, str]]:
        """The first failure that PostFilter must be asked about, and what it says of those before; by position."""
        since, said = 0, dict[int, str]()
        for i in np.flatnonzero(node < 0).tolist():
            if (node[since:i] >= 0).any():
                known.clear()
            since = i
            row, question = items[i].pod.row, _question(items[i], int(class_of[i]))
            if row.nominated_node or (self._can_evict(row) and question not in known):
                return i, said
            if question in known:
                said[i] = known[question]
        if (node[since:] >= 0).any():
            known.clear()
        return None, said

    def _post_filter(self, item: Queued, class_id: int, known: dict[_Question, str]) -> PostFilter:
        """Whom to evict; the pod is held back from now on until that has begun."""
        if not self._current.evicts or self.state.n_nodes == 0:
            return PostFilter(diagnosis.UNSCHEDULABLE, gives_up=self.state.n_nodes == 0)
        pod = self._current.adapts.pod(item.pod.row)
        why = diagnosis.Why(self.state, self._profile, pod, class_id)
        post = preemption.post_filter(self.state, self._profile, pod, class_id, why, options=self._options)
        if post.row < 0 and not item.pod.is_nominated and not self.state.is_concerned(class_id):
            known[_question(item, class_id)] = post.message
        self._under_way.start(item.key, self._to_evict(post))
        return post

    def _to_evict(self, post: PostFilter) -> list[str]:
        """Victims that do not terminate yet."""
        return [key for key in post.victims if not self.state.shape_of(self.state.pods[key].class_id).terminating]

    def _nodes_after(self, out: Round, item: Queued, post: PostFilter) -> dict[str, str]:
        """Nominated nodes that PostFilter of a pod leads to, in order; notes the victims, too."""
        if post.row < 0:
            return {item.key: ""} if post.gives_up else {}
        node, victims = self.state.node_name(post.row), self._to_evict(post)
        assert node is not None
        if not victims:
            return {item.key: node}
        out.victims[item.key] = victims
        self.totals.evicted += len(victims)
        lower = self._nominations.less_important(node, item.pod.row.priority)
        return {item.key: node} | dict.fromkeys(lower, "")

    def _renominate(self, out: Round, key: str, node: str) -> None:
        """A waiting pod is nominated for another node, or none."""
        item = self.queue.get(key)
        assert item is not None
        before = item.pod.row.nominated_node
        if before != node:
            self._told.changed(key, before)
            out.nominated[key] = node
            self._replace(item.pod, renominated(item.pod, node))

    def _classes(self, items: Sequence[Queued]) -> I32:
        """Classes of pods to decide together."""
        self.state.make_room()
        return arrays.int32(self.state.classes.together(lambda: [self._class(item.pod.row) for item in items]))

    def _class(self, row: rows.PodRow) -> int:
        profile = self._profile_of(row) if self._by_scheduler else self._current
        if row.volumes is not None or row.devices is not None:
            return self.state.class_of(profile.adapts.pod(row))
        if self._class_version != self.state.classes.version:
            self._class_of.clear()
            self._class_version = self.state.classes.version
        shape = row.shape
        key = id(shape), id(profile)
        known = self._class_of.get(key)
        if known is None:
            if len(self._class_of) >= _MOST_SHAPES:
                self._class_of.clear()
            known = self._class_of[key] = shape, self.state.class_of(profile.adapts.pod(row))
        return known[1]

    def _settle(
        self,
        out: Round,
        items: Sequence[Queued],
        class_of: I32,
        found: Decisions,
        blamed: Mapping[int, Blame],
    ) -> None:
        """Announce placements and bring failures back, in the order of the decisions."""
        ids, node, devices = class_of.tolist(), found.node.tolist(), found.devices.tolist()
        told: set[Hashable] = set()
        for i, item in enumerate(items):
            if i in blamed:
                self._fail(out, item, blamed[i])
                told.clear()
                continue
            self._remember([item], [ids[i]], [node[i]], [devices[i]])
            if self._hears(Action.ADD):
                kind = _kind(item.pod)
                if kind is None or kind not in told:
                    told.add(kind)
                    self._tell(Event(events.ASSIGNED_POD, Action.ADD, None, self._assigned(item)))

    def _fail(self, out: Round, item: Queued, why: Blame) -> None:
        """Bring a pod back that was not placed."""
        out.failures[item.key] = Failure(why.plugins, why.message, self.queue.failed(item, why.plugins), why.preemption)
        self.totals.failed += 1

    def _remember(self, items: Sequence[Queued], ids: list[int], node: list[int], devices: list[int]) -> None:
        of = [item.pod.row for item in items]
        pods = [BoundPod.of(*one) for one in zip(of, ids, node, devices, strict=True)]
        keys = [item.key for item in items]
        self.state.remember(keys, pods)
        self._running.update(zip(keys, items, strict=True))
        for item, row in zip(items, of, strict=True):
            if row.group:
                self._runs[row.gang] += 1
            if row.nominated_node:  # it runs there, or elsewhere
                self._forget_plans(row.key)
                item.pod = renominated(item.pod, "")
        self._least = min(self._least, of[-1].priority)  # the least important of them stands last
        self.totals.placed += len(items)

    # ---- gangs ----

    def _decide_gang(self, key: str) -> Round:
        """Take every member that PreEnqueue lets in, and decide them together."""
        found = [self.queue.take_pod(member) for member in self.queue.gang_members(key)]
        items = [item for item in found if item is not None]
        items.sort(key=lambda item: (-item.pod.row.priority, item.first_attempt, item.sequence))
        schedulers = {item.pod.row.scheduler_name for item in items}
        if self._by_scheduler and len(schedulers) > 1:
            return self._refuse(items, "pods of one PodGroup name several schedulers: " + ", ".join(sorted(schedulers)))
        gang = self._gangs[key]
        place = gangs.place_of(self.state, gang, self._running_members(gang))
        if place.problem:
            return self._refuse(items, place.problem)
        least, class_of = gangs.least_of(gang, self._runs[key], place), self._classes(items)
        if place.topology < 0:
            return self._try_gang(items, class_of, least)
        return self._decide_in_best(items, class_of, least, place)

    def _running_members(self, gang: rows.Gang) -> list[tuple[str, int]]:
        """Key and row of each; nobody asks where the gang may go anywhere."""
        if not gang.topology_key or not self._runs[gang.key]:
            return []
        return [(key, self.state.pods[key].row) for key, item in self._running.items() if item.pod.row.gang == gang.key]

    def _refuse(self, items: Sequence[Queued], message: str) -> Round:
        """Bring the members of a gang back that cannot be decided."""
        out = Round([item.key for item in items], np.full(len(items), NO_NODE, dtype=np.int32))
        nowhere = Decisions.empty(len(items))
        blamed = dict.fromkeys(range(len(items)), Blame(blame.NOBODY, message))
        self._settle(out, items, np.zeros(len(items), dtype=np.int32), nowhere, blamed)
        return out

    def _decide_in_best(self, items: Sequence[Queued], class_of: I32, least: int, place: gangs.Place) -> Round:
        """Decide a gang in the best of its placements, or if none will do in the first, to say why."""
        options, before = self._options, replace(self._options)
        group = cycle.Group(
            self.state, options, [item.key for item in items], class_of, self._gang_spec(items, least, place)
        )
        tried = group.try_placements()
        if tried.n == 0:
            return self._refuse(items, gangs.NO_PLACEMENTS)
        after = replace(options)
        options.rng, options.next_node = tried.rng, tried.next_node
        with self.state.within(place.topology, tried.row):
            out = self._try_gang(items, class_of, least)
        options.rng, options.next_node = after.rng if tried.n_best else before.rng, after.next_node
        return out

    def _gang_spec(self, items: Sequence[Queued], least: int, place: gangs.Place) -> native.GroupSpec:
        columns = (least, place.topology, place.anchor, self._runs[items[0].pod.row.gang])
        return native.GroupSpec(arrays.int32([0, len(items)]), *(arrays.int32([number]) for number in columns))

    def _try_gang(self, items: Sequence[Queued], class_of: I32, least: int) -> Round:
        """Decide the members, and bring all of them back unless enough fit."""
        keys = [item.key for item in items]
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
            blamed.update({i: Blame(blame.NOBODY, "") for i in range(len(items)) if i not in blamed})
        self._settle(out, items, class_of, decided.columns, blamed)
        return out

    def _blame(
        self, items: Sequence[Queued], class_of: I32, decided: cycle.Decided, failed: Sequence[int]
    ) -> dict[int, Blame]:
        return failures.of_batch(self.state, self._profile, [item.key for item in items], class_of, decided, failed)


def _placed(pod: PodView) -> Event:
    """The event of its placement: it holds room; which node it is does not matter."""
    return Event(events.ASSIGNED_POD, Action.ADD, None, renominated(pod, "-"))


def _question(item: Queued, class_id: int) -> _Question:
    """What PostFilter's answer depends on, beside the state."""
    return class_id, item.pod.row.priority, item.pod.row.preempts


def _placement_sees(row: rows.PodRow) -> Hashable:
    """What of a running pod can change and matters to the placement of others."""
    return row.shape, row.priority, row.started, row.is_evicted


def _kind(pod: PodView) -> Hashable | None:
    """What hints can see of a running pod, beside that it runs; None: more than what pods share."""
    row = pod.row
    return None if pod.volumes or pod.resource_claims else (row.shape, row.namespace, row.group)

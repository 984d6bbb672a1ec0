# SPDX-License-Identifier: Apache-2.0
"""The scheduling queue against its oracle: random pods, events and times, equal in every pop and place."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.scheduler import encode, events, podgroups
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.queue import Part, SchedulingQueue, Timing, scheduling_gates
from kubesched.scheduler.queue_parts import Queued
from tests import queue_oracle
from tests.queue_objects import RandomObjects, view_of

Obj = dict[str, Any]
STEPS = 400
PARTS = {
    Part.ACTIVE: "active",
    Part.BACKOFF: "backoff",
    Part.UNSCHEDULABLE: "unschedulable",
    Part.IN_FLIGHT: "flight",
}


class World(RandomObjects):
    """The queue and its oracle, told the same."""

    def __init__(self, seed: int, timing: Timing) -> None:
        super().__init__(seed)
        self.now = 1000.0
        self.groups: set[str] = set()
        gates = {"SchedulingGates": scheduling_gates, "GangScheduling": self.has_group}
        self.queue = SchedulingQueue(lambda: self.now, pre_enqueue=gates, timing=timing)
        self.oracle = queue_oracle.Queue(
            lambda: self.now,
            timing.initial_backoff,
            timing.max_backoff,
            timing.pop_from_backoff,
            {"GangScheduling": lambda pod: queue_oracle.group_of(pod) in {"", *self.groups}},
        )
        self.nodes: dict[str, Obj] = {}
        self.running: dict[str, Obj] = {}
        self.flying: list[tuple[Queued, queue_oracle.Waiter]] = []
        self.n_popped = 0

    def has_group(self, pod: PodView) -> bool:
        return pod.row.gang in {"", *self.groups}

    # ---- what happens ----

    def happens(self, kind: str, action: Action, what: str, old: Any, new: Any) -> None:
        read = encode.node_row if kind == events.NODE else view_of
        rows = [None if side is None else read(side) for side in (old, new)]
        self.queue.notify(Event(kind, action, *rows))
        self.oracle.happens(queue_oracle.Event(what, old, new))

    def add(self) -> None:
        pod = self.pod()
        self.queue.add(view_of(pod))
        self.oracle.add(pod)
        self.happens(events.UNSCHEDULED_POD, Action.ADD, "pod-add", None, pod)

    def pop(self) -> None:
        item, waiter = self.queue.pop(), self.oracle.pop()
        assert (item and item.key) == (waiter and queue_oracle.key_of(waiter.pod))
        if item is not None and waiter is not None:
            assert item.attempts == waiter.attempts
            self.flying.append((item, waiter))
            self.n_popped += 1

    def land(self) -> None:
        if not self.flying:
            return
        item, waiter = self.flying.pop(int(self.rng.integers(0, len(self.flying))))
        if self.chance(0.2):
            self.queue.done(item.key)
            self.oracle.done(waiter)
            return
        plugins = [name for name in queue_oracle.HEARS if name != "SchedulingGates"]
        blamed = [name for name in plugins if self.chance(0.2)] if self.chance(0.3) else [self.blame(waiter.pod)]
        pending = [name for name in blamed if self.chance(0.1)]
        rejectors = [name for name in blamed if name not in pending]
        self.queue.failed(item, rejectors, pending)
        self.oracle.failed(waiter, set(rejectors), set(pending))

    def blame(self, pod: Obj) -> str:
        """One plugin that may well have rejected the pod."""
        spec = pod["spec"]
        likely = ["InterPodAffinity"] if "affinity" in spec else []
        likely += ["PodTopologySpread"] * (2 if "topologySpreadConstraints" in spec else 0)
        return str(self.one([*likely, "NodeResourcesFit", "TaintToleration", "NodeAffinity", "NodePorts"]))

    def update(self) -> None:
        if self.oracle.all:
            waiter = self.one(self.oracle.all)
            new = self.changed_pod(waiter.pod)
            self.queue.update(view_of(new))
            self.oracle.update(new)

    def delete(self) -> None:
        waiting = [w for w in self.oracle.all if w.place != "flight"]
        if waiting:
            key = queue_oracle.key_of(self.one(waiting).pod)
            self.queue.delete(key)
            self.oracle.delete(key)

    def force(self) -> None:
        keys = [queue_oracle.key_of(w.pod) for w in self.oracle.all if self.chance(0.2)]
        self.queue.activate(keys)
        self.oracle.force(keys)

    def node_event(self) -> None:
        if not self.nodes or self.chance(0.3):
            node = self.node(self.name("n"))
            self.nodes[node["metadata"]["name"]] = node
            self.happens(events.NODE, Action.ADD, "node-add", None, node)
            return
        name = self.one(sorted(self.nodes))
        old = self.nodes[name]
        if self.chance(0.2):
            del self.nodes[name]
            self.happens(events.NODE, Action.DELETE, "node-delete", old, None)
            return
        new = self.nodes[name] = self.node(name)
        told = events.node_events(encode.node_row(old), encode.node_row(new))
        for event, what in zip(told, queue_oracle.node_changes(old, new), strict=True):
            self.queue.notify(event)
            self.oracle.happens(queue_oracle.Event(what, old, new))

    def running_event(self) -> None:
        if not self.running or self.chance(0.4):
            pod = self.pod()
            pod["spec"]["nodeName"] = "somewhere"
            self.running[queue_oracle.key_of(pod)] = pod
            self.happens(events.ASSIGNED_POD, Action.ADD, "pod-add", None, pod)
            return
        key = self.one(sorted(self.running))
        old = self.running[key]
        if self.chance(0.5):
            del self.running[key]
            self.happens(events.ASSIGNED_POD, Action.DELETE, "pod-delete", old, None)
            return
        new = self.running[key] = self.changed_pod(old)
        told = events.pod_events(view_of(old), view_of(new))
        for event, what in zip(told, queue_oracle.pod_changes(old, new), strict=True):
            self.queue.notify(event)
            self.oracle.happens(queue_oracle.Event(what, old, new))

    def nominated_leaves(self) -> None:
        """A pod that held room on a node without running there."""
        pod = self.pod() | {"status": {"nominatedNodeName": "somewhere"}}
        self.happens(events.ASSIGNED_POD, Action.DELETE, "pod-delete", pod, None)

    def group_event(self) -> None:
        group = {"kind": "PodGroup", "metadata": {"namespace": self.one(["one", "two"]), "name": self.one("gh")}}
        self.groups ^= {queue_oracle.key_of(group)}
        row = podgroups.gang(group | {"spec": {"schedulingPolicy": {"basic": {}}}})
        self.queue.notify(Event(events.POD_GROUP, Action.ADD, None, row))
        self.oracle.happens(queue_oracle.Event("group-add", None, group))

    def passes(self) -> None:
        self.now += self.one([0.25, 0.5, 1.0, 3.0, 40.0])
        if self.chance(0.05):
            self.now += 301
        self.queue.flush()
        self.oracle.flush()

    def step(self) -> None:
        often = [self.add, self.pop, self.land]
        other = [self.update, self.node_event, self.running_event]
        seldom = [self.delete, self.force, self.passes, self.nominated_leaves, self.group_event]
        self.one(often * 3 + other * 3 + seldom)()
        self.check()

    def check(self) -> None:
        expected = dict(self.oracle.places())
        assert {key: PARTS[part] for key in expected if (part := self.queue.part_of(key))} == expected
        assert len(self.queue) == sum(place != "flight" for place in expected.values())


TIMINGS = [
    Timing(),
    Timing(pop_from_backoff=False),
    Timing(max_backoff=0.0),
    Timing(initial_backoff=0.5, max_backoff=3.0),
]


@pytest.mark.parametrize("timing", TIMINGS, ids=["default", "no-pop", "no-backoff", "short"])
@pytest.mark.parametrize("seed", range(8))
def test_the_queue_equals_its_oracle(seed: int, timing: Timing) -> None:
    world = World(seed, timing)
    for _ in range(STEPS):
        world.step()
    assert world.n_popped > STEPS / 20


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 400))
def test_the_queue_equals_its_oracle_at_length(seed: int) -> None:
    world = World(seed, TIMINGS[seed % len(TIMINGS)])
    for _ in range(5 * STEPS):
        world.step()


def test_random_worlds_meet_every_registration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each hint says yes to something, or the comparison shows nothing."""
    met: set[str] = set()

    def watched(name: str, hint: queue_oracle.Hint) -> queue_oracle.Hint:
        def ask(pod: Obj, event: queue_oracle.Event) -> bool:
            found = hint(pod, event)
            met.update([name] if found else ())
            return found

        return ask

    hears = {
        plugin: [(kinds, watched(f"{plugin}/{at}", hint)) for at, (kinds, hint) in enumerate(of)]
        for plugin, of in queue_oracle.HEARS.items()
    }
    monkeypatch.setattr(queue_oracle, "HEARS", hears)
    world = World(0, Timing())
    for _ in range(4 * STEPS):
        world.step()
    del hears["DefaultPreemption"]  # it only lets events through that others wait for
    assert met == {f"{plugin}/{at}" for plugin, of in hears.items() for at in range(len(of))}

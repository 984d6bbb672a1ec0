# SPDX-License-Identifier: Apache-2.0
"""The scheduling loop: batches equal one at a time, and both equal the oracles of the queue and of decisions."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.scheduler import encode
from kubesched.scheduler.loop import MOST_AT_ONCE, Round, SchedulingLoop
from kubesched.scheduler.queue import Timing
from kubesched.scheduler.tape import Change
from kubesched.state import rows
from kubesched.state.live import ClusterState
from tests import builders, decision_oracle, oracle, preemption_oracle, queue_oracle
from tests.queue_objects import ZONE, RandomObjects, view_of

Obj = dict[str, Any]
Told = tuple[str, str | None, frozenset[str], str]
"""Pod, node, plugins, message."""
STEPS = 30
APPS = "abcdefghij"
"""Enough that the partners which pods ask for are often missing."""


class Reference:
    """One pod at a time, with the oracles; gangs of pods that each stand for themselves."""

    def __init__(self, clock: Any, timing: Timing) -> None:
        self.groups: dict[str, int] = {}
        self.members: dict[str, int] = {}
        lets_in = {"GangScheduling": self.lets_in}
        self.queue = queue_oracle.Queue(
            clock, timing.initial_backoff, timing.max_backoff, timing.pop_from_backoff, lets_in
        )
        self.world = preemption_oracle.World([])
        self.images: oracle.Images = {}

    def lets_in(self, pod: Obj) -> bool:
        group = queue_oracle.group_of(pod)
        return not group or (group in self.groups and self.members[group] >= self.groups[group])

    def run(self, rank: Any) -> list[Told]:
        out: list[Told] = []
        while True:
            self.queue.flush()
            waiter = self.queue.pop()
            if waiter is None:
                return out
            pod = waiter.pod
            decision = decision_oracle.decide(pod, self.world)
            key = queue_oracle.key_of(pod)
            if decision.get("best"):
                node = min((self.world.nodes[i] for i in decision["best"]), key=lambda n: rank(n.name))
                self.start(pod, node.name)
                self.queue.done(waiter)
                self.queue.happens(queue_oracle.Event("pod-add", None, bound(pod, node.name)))
                out.append((key, node.name, frozenset(), ""))
                continue
            plugins = {status[0] for status in decision.get("status") or [] if status is not None}
            self.queue.failed(waiter, plugins, set())
            out.append((key, None, frozenset(plugins), decision["message"]))

    def start(self, pod: Obj, name: str) -> None:
        next(n for n in self.world.nodes if n.name == name).add(bound(pod, name))


def bound(pod: Obj, node: str) -> Obj:
    return pod | {"spec": pod["spec"] | {"nodeName": node}}


class World(RandomObjects):
    """The loop in batches, one at a time, and the reference, told the same."""

    def __init__(self, seed: int, timing: Timing, sizes: tuple[int, ...] = (MOST_AT_ONCE, 1)) -> None:
        super().__init__(seed)
        self.now = 1000.0
        self.loops = [
            SchedulingLoop(ClusterState(), clock=lambda: self.now, timing=timing, most_at_once=size) for size in sizes
        ]
        self.reference = Reference(lambda: self.now, timing)
        self.nodes: dict[str, Obj] = {}
        self.pods: dict[str, Obj] = {}
        self.place: dict[str, str] = {}
        self.n_placed = self.n_failed = 0

    def new_pod(self) -> Obj:
        pod = self.pod() if self.chance(0.3) else self.social_pod()
        pod["spec"].pop("schedulingGroup", None)
        pod["spec"]["preemptionPolicy"] = "Never"
        return pod

    def add(self) -> None:
        new = [self.new_pod() for _ in range(int(self.rng.integers(1, 7)))]
        if self.chance(0.5):
            new += [self.twin(new[0]) for _ in range(3)]
        for pod in new:
            self.pods[queue_oracle.key_of(pod)] = pod
            self.reference.queue.add(pod)
            self.reference.queue.happens(queue_oracle.Event("pod-add", None, pod))
        self.tell(Change(add_pods=[view_of(pod) for pod in new]))

    def tell(self, change: Change) -> None:
        for loop in self.loops:
            loop.apply(change)

    def social_pod(self) -> Obj:
        """A pod that would fit, were it not for the others."""
        pod = builders.make_pod(self.name("p"), "one").priority(int(self.rng.integers(0, 3))).container(cpu="1").build()
        pod["metadata"]["labels"] = {"app": self.one(APPS)}
        selector = {"matchLabels": {"app": self.one(APPS)}}
        kind = self.one(["", "podAffinity", "podAffinity", "podAntiAffinity", "spread"])
        if kind == "spread":
            rule = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
            pod["spec"]["topologySpreadConstraints"] = [rule | {"labelSelector": selector}]
        elif kind:
            rule = {
                "requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": ZONE, "labelSelector": selector}]
            }
            pod["spec"]["affinity"] = {kind: rule}
        return pod

    def twin(self, pod: Obj) -> Obj:
        return pod | {"metadata": pod["metadata"] | {"name": self.name("p")}}

    def delete(self) -> None:
        keys = [key for key in self.pods if self.chance(0.15)]
        for key in keys:
            pod = self.pods.pop(key)
            if key in self.place:
                self.stop(pod, self.place.pop(key))
            else:
                self.reference.queue.delete(key)
        self.tell(Change(delete_pods=keys))

    def stop(self, pod: Obj, name: str) -> None:
        for node in self.reference.world.nodes:
            for other in [p for p in node.pods if queue_oracle.key_of(p) == queue_oracle.key_of(pod)]:
                node.remove(other)
        self.reference.queue.happens(queue_oracle.Event("pod-delete", bound(pod, name), None))

    def update(self) -> None:
        keys = [key for key in self.pods if self.chance(0.1)]
        told = []
        for key in keys:
            old = self.pods[key]
            new = self.pods[key] = self.changed_pod(old)
            name = self.place.get(key)
            if name is None:
                self.reference.queue.update(new)
                told.append(new)
                continue
            told.append(bound(new, name))
            for node in self.reference.world.nodes:
                for other in [p for p in node.pods if queue_oracle.key_of(p) == key]:
                    node.remove(other)
                    node.add(bound(new, name))
            for what in queue_oracle.pod_changes(old, new):
                self.reference.queue.happens(queue_oracle.Event(what, bound(old, name), bound(new, name)))
        self.tell(Change(update_pods=[view_of(pod) for pod in told]))

    def node_event(self) -> None:
        if len(self.nodes) < 4 or self.chance(0.3):
            node = self.roomy_node()
            self.nodes[node["metadata"]["name"]] = node
            self.reference.world.nodes.append(oracle.Node(node, self.reference.images))
            self.reference.queue.happens(queue_oracle.Event("node-add", None, node))
            self.tell(Change(add_nodes=[encode.node_row(node)]))
            return
        name = self.one(sorted(self.nodes))
        if self.chance(0.5):
            return
        old = self.nodes[name]
        mine = next(n for n in self.reference.world.nodes if n.name == name)
        if self.chance(0.3) and name not in self.place.values():
            del self.nodes[name]
            self.reference.queue.happens(queue_oracle.Event("node-delete", old, None))
            mine.drop_images()
            self.reference.world.nodes.remove(mine)
            self.tell(Change(remove_nodes=[name]))
            return
        new = self.nodes[name] = self.node(name)
        mine.update(new)
        for what in queue_oracle.node_changes(old, new):
            self.reference.queue.happens(queue_oracle.Event(what, old, new))
        self.tell(Change(update_nodes=[encode.node_row(new)]))

    def roomy_node(self) -> Obj:
        made = builders.make_node(self.name("n")).cpu("4").label(ZONE, self.one("xy"))
        return (made if self.chance(0.8) else made.taint("t", "NoSchedule")).build()

    def passes(self) -> None:
        self.now += self.one([0.25, 1.0, 3.0, 12.0, 320.0])

    def decide(self) -> list[Told]:
        expected = self.reference.run(self.loops[0].state.row_of)
        for loop in self.loops:
            told = [one for found in loop.run() for one in self.told(loop, found)]
            assert told == expected
        for key, node, _, _ in expected:
            self.n_placed += node is not None
            self.n_failed += node is None
            if node is not None:
                self.place[key] = node
        return expected

    def told(self, loop: SchedulingLoop, found: Round) -> list[Told]:
        out: list[Told] = []
        for key, row in zip(found.pods, found.node.tolist(), strict=True):
            failure = found.failures.get(key)
            node = loop.state.node_name(row) if row >= 0 else None
            assert (failure is None) == (node is not None)
            plugins, message = (failure.plugins, failure.message) if failure else (frozenset(), "")
            out.append((key, node, plugins, message))
        return out

    def step(self) -> None:
        for _ in range(3):
            self.one([self.add, self.add, self.node_event, self.delete, self.update, self.passes])()
        self.decide()


@pytest.mark.parametrize("timing", [Timing(), Timing(pop_from_backoff=False)])
@pytest.mark.parametrize("seed", range(3))
def test_batches_equal_one_at_a_time_and_the_oracles(seed: int, timing: Timing) -> None:
    world = World(seed, timing)
    for _ in range(STEPS):
        world.step()
    assert world.n_placed > 5
    assert world.n_failed > 5


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 200))
def test_batches_equal_one_at_a_time_at_length(seed: int) -> None:
    world = World(seed, Timing())
    for _ in range(5 * STEPS):
        world.step()


class Tapes(World):
    """A loop that plays many changes at once beside one that applies each and decides; few of the pods fail."""

    def __init__(self, seed: int, timing: Timing) -> None:
        super().__init__(seed, timing, sizes=(MOST_AT_ONCE,))
        self.player = SchedulingLoop(ClusterState(), clock=lambda: self.now, timing=timing)
        self.changes: list[Change] = []
        self.expected: list[list[Told]] = []
        for _ in range(3):
            self.node_event()

    def tell(self, change: Change) -> None:
        super().tell(change)
        self.changes.append(change)
        self.expected.append(self.decide())

    def new_pod(self) -> Obj:
        if self.chance(0.02):
            return super().new_pod()
        made = builders.make_pod(self.name("p"), "one").priority(int(self.rng.integers(0, 3)))
        made.container(cpu="99" if self.chance(0.005) else self.one(["100m", "200m"]))
        return (made.gate("wait") if self.chance(0.1) else made).build()

    def roomy_node(self) -> Obj:
        return builders.make_node(self.name("n")).cpu("20").label(ZONE, self.one("xy")).build()

    def passes(self) -> None:
        self.play()
        super().passes()
        self.tell(Change())

    def step(self) -> None:
        for _ in range(int(self.rng.integers(1, 12))):
            self.one([self.add, self.add, self.delete, self.update])()
        self.one([self.node_event, self.passes, self.play, self.play])()

    def running(self, loop: SchedulingLoop) -> list[tuple[str, str | None, rows.PodShape, int]]:
        state = loop.state
        return [
            (key, state.node_name(pod.row) if pod.row >= 0 else None, state.shape_of(pod.class_id), pod.priority)
            for key, pod in state.pods.items()
        ]

    def play(self) -> None:
        played = self.player.play(self.changes)
        found = [[one for found in rounds for one in self.told(self.player, found)] for rounds in played]
        assert found == self.expected
        assert self.running(self.player) == self.running(self.loops[0])
        self.changes, self.expected = [], []


@pytest.mark.parametrize("timing", [Timing(), Timing(pop_from_backoff=False)])
@pytest.mark.parametrize("seed", range(3))
def test_playing_equals_changes_one_at_a_time(seed: int, timing: Timing) -> None:
    world = Tapes(seed, timing)
    for _ in range(STEPS):
        world.step()
    world.play()
    assert world.player.totals.together > 20
    assert world.n_failed > 0

# SPDX-License-Identifier: Apache-2.0
"""The scheduling loop: batches equal one at a time, and both equal the oracle, with pods that evict and without."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kubesched.scheduler import encode
from kubesched.scheduler.loop import MOST_AT_ONCE, SchedulingLoop
from kubesched.scheduler.queue import Timing
from kubesched.scheduler.rounds import Round
from kubesched.scheduler.tape import Change
from kubesched.state import rows
from kubesched.state.live import ClusterState
from tests import builders, loop_oracle, oracle, queue_oracle
from tests.loop_oracle import bound, renominated
from tests.queue_objects import ZONE, RandomObjects, view_of

Obj = dict[str, Any]
Told = tuple[str, str | None, frozenset[str], str, list[str]]
"""Pod, node, plugins, message, victims."""
STEPS = 30


class World(RandomObjects):
    """The loop in batches, one at a time, and the reference, told the same."""

    apps = "abcdefghij"
    """Enough that the partners which pods ask for are often missing."""

    def __init__(
        self, seed: int, timing: Timing, evicts: bool = False, sizes: tuple[int, ...] = (MOST_AT_ONCE, 1)
    ) -> None:
        super().__init__(seed)
        self.evicts = evicts
        self.now = 1000.0
        self.loops = [
            SchedulingLoop(ClusterState(), clock=lambda: self.now, timing=timing, most_at_once=size) for size in sizes
        ]
        for loop in self.loops:
            loop.state.evictions.know_all()  # the order of equally important pods counts from now on
        times = timing.initial_backoff, timing.max_backoff, timing.pop_from_backoff
        self.reference = loop_oracle.Scheduler(lambda: self.now, *times)
        self.nodes: dict[str, Obj] = {}
        self.pods: dict[str, Obj] = {}
        self.place: dict[str, str] = {}
        self.to_evict: list[str] = []
        self.unheard: dict[str, str] = {}
        """Pods whose nominated node the loop wrote, and what the cluster's last update of them said."""
        self.met: Counter[str] = Counter()

    def new_pod(self) -> Obj:
        pod = self.pod() if self.chance(0.3) else self.social_pod()
        pod["spec"].pop("schedulingGroup", None)
        if self.chance(0.3):  # a label that no selector looks at
            labels = (pod["metadata"].get("labels") or {}) | {"job": pod["metadata"]["name"]}
            pod["metadata"] = pod["metadata"] | {"labels": labels}
        if not self.evicts or self.chance(0.1):
            pod["spec"]["preemptionPolicy"] = "Never"
        if self.evicts and self.nodes and self.chance(0.05):
            pod = renominated(pod, self.one(sorted(self.nodes)))
        return pod

    def add(self) -> None:
        new = [self.new_pod() for _ in range(int(self.rng.integers(1, 7)))]
        if self.chance(0.5):
            new += [self.twin(new[0]) for _ in range(3)]
        for pod in new:
            self.pods[queue_oracle.key_of(pod)] = pod
            self.reference.add(pod)
        self.tell(Change(add_pods=[view_of(pod) for pod in new]))

    def tell(self, change: Change) -> None:
        for loop in self.loops:
            loop.apply(change)

    def social_pod(self) -> Obj:
        """A pod that would fit, were it not for the others."""
        pod = builders.make_pod(self.name("p"), "one").priority(int(self.rng.integers(0, 3))).container(cpu="1").build()
        pod["metadata"]["labels"] = {"app": self.one(self.apps)}
        selector = {"matchLabels": {"app": self.one(self.apps)}}
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

    def crowd(self) -> None:
        """The next decisions find classes given up that nobody uses."""
        for loop in self.loops:
            loop.state.classes._room = 0

    def delete(self) -> None:
        keys = [key for key in self.pods if self.chance(0.15)]
        for key in keys:
            pod = self.pods.pop(key)
            if key in self.place:
                self.stop(pod, self.place.pop(key))
            else:
                self.reference.delete_waiting(pod)
        self.tell(Change(delete_pods=keys))

    def stop(self, pod: Obj, name: str) -> None:
        self.reference.stop(pod)
        self.reference.deletion_began(queue_oracle.key_of(pod))
        self.reference.queue.happens(queue_oracle.Event("pod-delete", bound(pod, name), None))

    def update(self) -> None:
        self.change({key: self.changed_pod(pod) for key, pod in self.pods.items() if self.chance(0.1)})

    def change(self, pods: dict[str, Obj]) -> None:
        told = []
        for key, new in pods.items():
            old, name = self.pods[key], self.place.get(key)
            self.pods[key] = new
            if name is None:
                self.reference.update_waiting(new)
                told.append(self.heard(key, new))
                continue
            told.append(bound(new, name))
            self.reference.stop(old)
            self.reference.start(new, name)
            if new["metadata"].get("deletionTimestamp"):
                self.reference.deletion_began(key)
            for what in queue_oracle.pod_changes(old, new):
                self.reference.queue.happens(queue_oracle.Event(what, bound(old, name), bound(new, name)))
        self.tell(Change(update_pods=[view_of(pod) for pod in told]))

    def heard(self, key: str, new: Obj) -> Obj:
        """What the cluster says of a pod: sometimes it does not know yet what the loop wrote."""
        if key in self.unheard and self.chance(0.5):
            return renominated(new, self.unheard[key])
        self.unheard.pop(key, None)
        return new

    def evict(self) -> None:
        """Victims terminate, or are gone; now and then, somebody else writes a nominated node."""
        victims = [key for key in dict.fromkeys(self.to_evict) if key in self.place and self.chance(0.6)]
        if self.chance(0.5):
            self.change({key: terminating(self.pods[key]) for key in victims})
            return
        for key in victims:
            self.stop(self.pods.pop(key), self.place.pop(key))
        self.tell(Change(delete_pods=victims))
        waiting = [k for k in self.pods if k not in self.place and k not in self.unheard and self.chance(0.05)]
        self.change({key: renominated(self.pods[key], self.one(["", *self.nodes])) for key in waiting})

    def bind_elsewhere(self) -> None:
        """Another scheduler binds a pod that waits; without ports, of which upstream counts those of two pods once."""
        free = [key for key, pod in self.pods.items() if key not in self.place and not oracle.host_ports(pod)]
        waiting = [key for key in free if self.chance(0.1)]
        for key in waiting[: len(self.nodes)]:
            pod, name = self.pods[key], self.one(sorted(self.nodes))
            self.reference.forget(key)
            self.reference.queue.delete(key)
            self.reference.start(pod, name)
            self.pods[key], self.place[key] = renominated(pod, ""), name
            self.reference.queue.happens(queue_oracle.Event("pod-add", None, bound(pod, name)))
            self.tell(Change(update_pods=[view_of(bound(pod, name))]))

    def node_event(self) -> None:
        if len(self.nodes) < 4 or self.chance(0.3):
            self.add_node()
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

    def add_node(self) -> None:
        node = self.roomy_node()
        self.nodes[node["metadata"]["name"]] = node
        self.reference.world.nodes.append(oracle.Node(node, self.reference.images))
        self.reference.queue.happens(queue_oracle.Event("node-add", None, node))
        self.tell(Change(add_nodes=[encode.node_row(node)]))

    def roomy_node(self) -> Obj:
        made = builders.make_node(self.name("n")).cpu("4").label(ZONE, self.one("xy"))
        return (made if self.chance(0.8) else made.taint("t", "NoSchedule")).build()

    def passes(self) -> None:
        self.now += self.one([0.25, 1.0, 3.0, 12.0, 320.0])

    def decide(self) -> list[loop_oracle.Told]:
        expected = self.reference.run(self.loops[0].state.row_of)
        nominated = {key: node for one in expected for key, node in one.nominated.items()}
        for loop in self.loops:
            rounds = loop.run()
            told = [one for found in rounds for one in self.told(loop, found)]
            assert told == [(one.pod, one.node, one.plugins, one.message, one.victims) for one in expected]
            assert {key: node for found in rounds for key, node in found.nominated.items()} == nominated
            self.compare_texts(rounds, expected)
            self.compare_places(loop)
        for one in expected:
            self.met += Counter({"placed": one.node is not None, "failed": one.node is None})
            self.met += Counter({"evictions": bool(one.victims), "victims": len(one.victims)})
            self.met += Counter({"cleared": sum(node == "" for node in one.nominated.values())})
            self.to_evict += one.victims
            if one.node is not None:
                self.place[one.pod] = one.node
                self.pods[one.pod] = renominated(self.pods[one.pod], "")
                self.unheard.pop(one.pod, None)
                nominated.pop(one.pod, None)
        for key, node in nominated.items():
            self.unheard.setdefault(key, (self.pods[key].get("status") or {}).get("nominatedNodeName") or "")
            self.pods[key] = renominated(self.pods[key], node)
        return expected

    def compare_texts(self, rounds: list[Round], expected: list[loop_oracle.Told]) -> None:
        told = [(key, f.preemption) for found in rounds for key, f in found.failures.items() if f.preemption]
        texts = [(one.pod, one.preemption) for one in expected]
        assert [one for one in told if one not in texts] == []
        self.met += Counter({"texts": len(told)})

    def compare_places(self, loop: SchedulingLoop) -> None:
        places = dict(self.reference.queue.places())
        assert {key: str(loop.queue.part_of(key)).split(".")[1].lower() for key in places} == places

    def told(self, loop: SchedulingLoop, found: Round) -> list[Told]:
        out: list[Told] = []
        for key, row in zip(found.pods, found.node.tolist(), strict=True):
            failure = found.failures.get(key)
            node = loop.state.node_name(row) if row >= 0 else None
            assert (failure is None) == (node is not None)
            plugins, message = (failure.plugins, failure.message) if failure else (frozenset(), "")
            out.append((key, node, plugins, message, found.victims.get(key, [])))
        return out

    def step(self) -> None:
        for _ in range(3):
            more = [self.evict, self.evict, self.passes, self.bind_elsewhere] if self.evicts else []
            self.one([self.add, self.add, self.node_event, self.delete, self.update, self.passes, self.crowd, *more])()
        self.decide()


def terminating(pod: Obj) -> Obj:
    """A victim whose deletion began."""
    target = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}
    status = (pod.get("status") or {}) | {"conditions": [target]}
    return pod | {"metadata": pod["metadata"] | {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": status}


@pytest.mark.parametrize("timing", [Timing(), Timing(pop_from_backoff=False)])
@pytest.mark.parametrize("seed", range(3))
def test_batches_equal_one_at_a_time_and_the_oracles(seed: int, timing: Timing) -> None:
    world = World(seed, timing)
    for _ in range(STEPS):
        world.step()
    assert world.met["placed"] > 5
    assert world.met["failed"] > 5


@pytest.mark.parametrize("seed", range(4))
def test_pods_that_evict_equal_the_oracle(seed: int) -> None:
    world = World(seed, Timing(pop_from_backoff=seed % 2 == 0), evicts=True)
    for _ in range(STEPS):
        world.step()
    assert world.met["evictions"] > 2


@pytest.mark.nightly
@pytest.mark.parametrize("evicts", [False, True])
@pytest.mark.parametrize("seed", range(100, 200))
def test_batches_equal_one_at_a_time_at_length(seed: int, evicts: bool) -> None:
    world = World(seed, Timing(), evicts)
    for _ in range(5 * STEPS):
        world.step()


class Retries(World):
    """Many pods in back-off, some of which help others that failed before them."""

    apps = "abc"

    def new_pod(self) -> Obj:
        pod = self.social_pod()
        if not self.evicts:
            pod["spec"] |= {"priority": 0, "preemptionPolicy": "Never"}
        return pod

    def passes(self) -> None:
        self.now += self.one([0.25, 1.0])

    def step(self) -> None:
        more = [self.evict, self.evict] if self.evicts else []
        self.one([self.add, self.add, self.add_node, self.delete, self.passes, *more])()
        self.decide()


@pytest.mark.parametrize("evicts", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_pods_in_back_off_are_decided_together_as_one_at_a_time(seed: int, evicts: bool) -> None:
    world = Retries(seed, Timing(), evicts)
    cuts, find = [0, 0], world.loops[0]._first_helper

    def counted(items: Any, class_of: Any, decided: Any, end: int) -> Any:
        found, blamed = find(items, class_of, decided, end)
        cuts[0] += len(items) > 1
        cuts[1] += found is not None and found + 1 < len(items)
        return found, blamed

    world.loops[0]._first_helper = counted  # type: ignore[method-assign]
    for _ in range(2 * STEPS):
        world.step()
    assert cuts[0] > 10
    assert evicts or cuts[1]


class Tapes(World):
    """A loop that plays many changes at once beside one that applies each and decides; few of the pods fail."""

    def __init__(self, seed: int, timing: Timing) -> None:
        super().__init__(seed, timing, sizes=(MOST_AT_ONCE,))
        self.player = SchedulingLoop(ClusterState(), clock=lambda: self.now, timing=timing)
        self.changes: list[Change] = []
        self.expected: list[list[loop_oracle.Told]] = []
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
        pod = (made.gate("wait") if self.chance(0.1) else made).build()
        if self.chance(0.05):
            pod["metadata"]["labels"] = {"app": self.one(self.apps)}
        if self.chance(0.05):  # it avoids its like, all of which fit
            pod["spec"]["affinity"] = {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 10,
                            "podAffinityTerm": {
                                "topologyKey": ZONE,
                                "labelSelector": {"matchLabels": {"app": self.one(self.apps)}},
                            },
                        }
                    ]
                }
            }
        return pod

    def roomy_node(self) -> Obj:
        return builders.make_node(self.name("n")).cpu("20").label(ZONE, self.one("xy")).build()

    def passes(self) -> None:
        self.play()
        super().passes()
        self.tell(Change())

    def crowd(self) -> None:
        super().crowd()
        self.player.state.classes._room = 0

    def step(self) -> None:
        for _ in range(int(self.rng.integers(1, 12))):
            self.one([self.add, self.add, self.delete, self.update])()
        self.one([self.node_event, self.passes, self.play, self.play, self.crowd])()

    def running(self, loop: SchedulingLoop) -> list[tuple[str, str | None, rows.PodShape, int]]:
        state = loop.state
        return [
            (
                key,
                state.node_name(pod.row) if pod.row >= 0 else None,
                state.own_shape(pod.class_id, pod.shape),
                pod.priority,
            )
            for key, pod in state.pods.items()
        ]

    def play(self) -> None:
        played = self.player.play(self.changes)
        found = [[one for found in rounds for one in self.told(self.player, found)] for rounds in played]
        assert found == [
            [(one.pod, one.node, one.plugins, one.message, one.victims) for one in of] for of in self.expected
        ]
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
    assert world.met["failed"] > 0

# SPDX-License-Identifier: Apache-2.0
"""Dense and indexed drivers give byte-identical answers while a cluster lives: whatever is placed, released, changed.

Two states live the same life; one is only ever asked through the dense driver, the other only through the indexed one.
After each step every answer and every usage column must be the same bytes. One operation is one placement, bind,
release, or change of a node; the normal run makes more than 10^4 of them, the nightly one more than 10^6.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kubesched.base import errors
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.replay import simulate
from kubesched.state import live, rows
from tests import gpu_oracle, strategies
from tests.property import test_engine_oracle, test_gpu

DRIVERS = (native.DRIVER_DENSE, native.DRIVER_INDEXED)
Held = tuple[int, int, int]
"""Class, row and device mask of a running pod."""

KUBERNETES = [profiles.find(name) for name in ("default-v1.36", "default-v1.35", "node-local")]
KUBERNETES += [test_engine_oracle.as_profile(p) for p in strategies.PROFILES[2:]]
KUBERNETES = [  # all of them respect devices, so that every choice can be bound
    dataclasses.replace(p, filters=(*p.filters, "GpuShare")) for p in KUBERNETES
]


@dataclasses.dataclass(frozen=True)
class World:
    """How big and how varied a cluster is."""

    n_nodes: int
    n_templates: int
    """Distinct nodes but for the name: few make ties."""
    plain: bool
    """Few labels, taints and images: classes fall into few groups, which is where indexes answer."""
    policies: bool
    """Under the GPU-share policies as well; nodes are then no larger than the machine that these normalise by."""

    @property
    def profiles(self) -> list[profiles.Profile]:
        return KUBERNETES + ([profiles.find(name) for name in profiles.POLICIES] if self.policies else [])


WORLDS = {
    "tiny": World(3, 3, False, False),
    "few": World(30, 30, False, False),
    "mixed": World(30, 30, False, True),
    "alike": World(60, 4, True, True),
    "many": World(400, 25, True, True),
    "deep": World(4200, 40, True, True),
}


def column(values: list[int], dtype: Any = np.int32) -> Any:
    return np.array(values, dtype=dtype)


class Churn:
    """Two equal states that change at random, in the same way."""

    def __init__(self, world: World, seed: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.world = world
        self.states = (live.ClusterState(), live.ClusterState())
        typical = test_gpu.as_typical(strategies.gpu_typical(self.rng))
        for state in self.states:
            simulate.set_typical(state, typical)
        self.serial = 0
        self.names: list[str] = []
        self.held: list[Held] = []
        self.n_indexed = self.n_dense = self.done = 0
        self.templates = [self.template(i) for i in range(world.n_templates)]
        self.add_nodes(world.n_nodes)
        self.shapes = [self.shape() for _ in range(20)]
        self.n_shapes = len(self.shapes)
        self.profiles = world.profiles
        self.numbers = [[profiles.register(state, p) for p in self.profiles] for state in self.states]
        self.profile = 0

    # ---- the world ----

    def template(self, i: int) -> rows.NodeRow:
        r = self.rng
        row = strategies.node_row(strategies.node(r, i))
        if self.world.plain:
            labels = tuple(pair for pair in row.labels if pair[0] != "zone")
            row = dataclasses.replace(row, labels=labels, taints=row.taints[:1], images=())
        if self.world.policies:
            amounts = {name: min(v, gpu_oracle.MAX_CPU) if name == rows.CPU else v for name, v in row.allocatable}
            row = dataclasses.replace(row, allocatable=tuple(amounts.items()))
        count = strategies.pick(r, (0, 0, 2, 8))
        return dataclasses.replace(row, device_count=count, device_model=strategies.pick(r, strategies.MODELS))

    def node(self, name: str) -> rows.NodeRow:
        row = strategies.pick(self.rng, self.templates)
        labels = dict(row.labels) | ({rows.HOSTNAME_LABEL: name} if rows.HOSTNAME_LABEL in dict(row.labels) else {})
        return dataclasses.replace(row, name=name, labels=tuple(sorted(labels.items())))

    def shape(self) -> rows.PodShape:
        r = self.rng
        made = strategies.shape(strategies.pod(r, "p"))
        if self.world.plain:
            made = dataclasses.replace(made, preferred_terms=made.preferred_terms[:1], images=())
        if strategies.chance(r, 0.4):
            gpu = strategies.gpu_shape(strategies.gpu_pod(r))
            names = ("device_count", "device_milli", "device_models")
            made = dataclasses.replace(made, **{name: getattr(gpu, name) for name in names})
        return made

    def class_id(self, shape: rows.PodShape) -> int:
        found = {state.class_id(shape) for state in self.states}
        assert len(found) == 1
        return found.pop()

    def rows_there(self) -> list[int]:
        return [row for row, name in enumerate(self.states[0].node_names()) if name is not None]

    # ---- comparing ----

    def same(self) -> None:
        a, b = (state.engine.columns() for state in self.states)
        assert a.n_rows == b.n_rows
        for x, y in zip(a.used, b.used, strict=True):
            assert x.tobytes() == y.tobytes()
        for name in ("nonzero_cpu_used", "nonzero_memory_used", "device_free", "live"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), name

    def ask(self, answer: Callable[[live.ClusterState, native.Options], native.Decisions], commit: bool) -> Any:
        """Both drivers answer; all columns and the generator's state must be equal."""
        seed, tie = int(self.rng.integers(1 << 62)), strategies.below(self.rng, 2)
        found = []
        for state, driver, numbers in zip(self.states, DRIVERS, self.numbers, strict=True):
            options = native.Options(numbers[self.profile], driver, tie, commit, seed)
            found.append((answer(state, options), options))
        (a, dense), (b, indexed) = found
        for name in ("node", "score", "ties", "feasible", "devices"):
            assert getattr(a, name).tobytes() == getattr(b, name).tobytes(), (self.profiles[self.profile].name, name)
        assert dense.rng == indexed.rng
        assert dense.n_indexed == 0
        self.n_dense += indexed.n_dense
        self.n_indexed += indexed.n_indexed
        return a

    # ---- steps: each returns how many operations it was ----

    def decide(self) -> int:
        """One pod, decided; half the time bound afterwards by itself."""
        class_id = self.class_id(strategies.pick(self.rng, self.shapes))
        got = self.ask(lambda state, options: state.engine.place(options, column([class_id])), commit=False)
        if got.node[0] >= 0 and strategies.chance(self.rng, 0.5):
            self.bind_there(class_id, int(got.node[0]), int(got.devices[0]))
        return 1

    def place(self) -> int:
        """A batch that is committed."""
        n = 1 + strategies.below(self.rng, 20)
        chosen = self.rng.integers(len(self.shapes), size=n)
        classes = column([self.class_id(self.shapes[i]) for i in chosen])
        got = self.ask(lambda state, options: state.engine.place(options, classes), commit=True)
        self.hold(classes, got)
        return n

    def hold(self, classes: Any, got: native.Decisions) -> None:
        there = zip(classes.tolist(), got.node.tolist(), got.devices.tolist(), strict=True)
        self.held += [pod for pod in there if pod[1] >= 0]

    def run(self) -> int:
        """Arrivals and departures in one call; some pods stay."""
        n = 1 + strategies.below(self.rng, 10)
        classes = column([self.class_id(strategies.pick(self.rng, self.shapes)) for _ in range(n)])
        leaving = [p for p in range(n) if strategies.chance(self.rng, 0.6)]
        events = column([*range(1, n + 1), *(-(p + 1) for p in leaving)])
        series = []

        def answer(state: live.ClusterState, options: native.Options) -> native.Decisions:
            decisions, found = state.engine.run(options, events, classes, None, True)
            assert found is not None
            series.append(found.used_device_milli.tobytes() + found.fragmented_milli.tobytes())
            return decisions

        got = self.ask(answer, commit=True)
        assert series[0] == series[1]
        stay = [p for p in range(n) if p not in leaving]
        self.hold(classes[stay], native.Decisions(*(getattr(got, f.name)[stay] for f in dataclasses.fields(got))))
        return len(events)

    def bind_there(self, class_id: int, row: int, devices: int) -> None:
        for state in self.states:
            state.engine.bind(column([class_id]), column([row]), column([devices], np.uint64))
        self.held.append((class_id, row, devices))

    def bind(self) -> int:
        """A pod without devices, wherever: nodes get over-committed."""
        shape = dataclasses.replace(strategies.pick(self.rng, self.shapes), device_count=0, device_milli=0)
        there = self.rows_there()
        if there:
            self.bind_there(self.class_id(shape), strategies.pick(self.rng, there), 0)
        return 1

    def release(self) -> int:
        """Some pods leave, the more the more there are."""
        n = min(len(self.held), 1 + len(self.held) // 20)
        gone = [self.held.pop(strategies.below(self.rng, len(self.held))) for _ in range(n)]
        if gone:
            classes, there, devices = zip(*gone, strict=True)
            for state in self.states:
                state.engine.release(column([*classes]), column([*there]), column([*devices], np.uint64))
        return max(n, 1)

    def add_nodes(self, n: int) -> int:
        new = []
        for _ in range(n):
            self.serial += 1
            new.append(self.node(f"n{self.serial}"))
        self.names += [row.name for row in new]
        for state in self.states:
            state.add_nodes(new)
        return n

    def add_node(self) -> int:
        return self.add_nodes(1)

    def remove_node(self) -> int:
        if len(self.names) > self.world.n_nodes // 2:
            name = self.names.pop(strategies.below(self.rng, len(self.names)))
            row = self.states[0].row_of(name)
            self.held = [pod for pod in self.held if pod[1] != row]
            for state in self.states:
                state.remove_node(name)
        return 1

    def update_node(self) -> int:
        """Another capacity, labels, taints, images; devices only on a node where none is held."""
        name = strategies.pick(self.rng, self.names)
        row = self.states[0].row_of(name)
        assert row is not None
        columns = self.states[0].engine.columns()
        count = int(columns.device_count[row])
        new = self.node(name)
        if columns.device_free[row][:count].sum() != 1000 * count:
            new = dataclasses.replace(new, device_count=count)
        for state in self.states:
            state.update_node(new)
        return 1

    def new_template(self) -> int:
        self.templates[strategies.below(self.rng, len(self.templates))] = self.template(0)
        return 0

    def new_shape(self) -> int:
        """Until there are a few groups of 64 lanes."""
        if self.n_shapes < 200:
            self.shapes[strategies.below(self.rng, len(self.shapes))] = self.shape()
            self.n_shapes += 1
        return 0

    def change_profile(self) -> int:
        self.profile = strategies.below(self.rng, len(self.profiles))
        return 0

    def speculate(self, depth: int = 0) -> int:
        """Pods come and go inside a speculation, nested at times; then it is taken back or kept."""
        marks = [state.engine.speculate() for state in self.states]
        before = [self.usage(state) for state in self.states]
        held = list(self.held)
        done = 0
        for _ in range(1 + strategies.below(self.rng, 4)):
            step = strategies.pick(self.rng, (self.decide, self.place, self.bind, self.release, self.run))
            done += self.speculate(depth + 1) if depth < 2 and strategies.chance(self.rng, 0.3) else step()
        with pytest.raises(errors.KernelError):
            self.states[0].engine.remove_nodes(column([0]))
        if strategies.chance(self.rng, 0.6):
            for state, mark, usage in zip(self.states, marks, before, strict=True):
                state.engine.rollback(mark)
                assert self.usage(state) == usage
            self.held = held
        else:
            for state, mark in zip(self.states, marks, strict=True):
                state.engine.keep(mark)
        return done

    @staticmethod
    def usage(state: live.ClusterState) -> bytes:
        c = state.engine.columns()
        amounts = b"".join(column.tobytes() for column in (*c.used, c.nonzero_cpu_used, c.nonzero_memory_used))
        return amounts + c.device_free.tobytes()

    def live(self, operations: int) -> None:
        pods = [self.decide] * 6 + [self.place] * 2 + [self.run, self.bind] + [self.release] * 5 + [self.speculate]
        nodes = [self.update_node] * 4 + [self.add_node, self.remove_node]
        rare = [self.new_template, self.new_shape, self.new_shape, self.change_profile]
        while self.done < operations:
            x = self.rng.random()
            self.done += strategies.pick(self.rng, pods if x < 0.8 else nodes if x < 0.9 else rare)()
            self.same()
        for row, (class_id, _, _) in enumerate(self.held):  # in the end everything can be taken off again
            assert class_id >= 0, row
        while self.held:
            self.release()
        self.same()
        c = self.states[0].engine.columns()
        assert not any(u.any() for u in c.used)
        assert not c.nonzero_cpu_used.any()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("world", WORLDS)
def test_drivers_agree_while_the_cluster_lives(world: str, seed: int) -> None:
    churn = Churn(WORLDS[world], seed)
    churn.live(6000)
    assert churn.n_indexed > churn.n_dense, "the indexed driver hardly answered"


@pytest.mark.parametrize("policy", ["bestfit", "dotprod"])
def test_machines_beyond_those_that_policies_normalise_by(policy: str) -> None:
    """A host with 512 cores and 16 devices is a host: the best node is found, by both drivers."""
    nodes = [gpu_oracle.Node(cpu, 1 << 40, [1000] * 16, "A") for cpu in (512_000, 384_000)]
    pod = gpu_oracle.Pod(370_000, 1 << 30, 8, 1000)
    twin = test_gpu.Twin(nodes, [(pod, 1.0)])
    assert twin.check(policy, pod, 0) == 1


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 110))
@pytest.mark.parametrize("world", WORLDS)
def test_drivers_agree_over_a_million_operations(world: str, seed: int) -> None:
    Churn(WORLDS[world], seed).live(25_000)

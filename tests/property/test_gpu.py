# SPDX-License-Identifier: Apache-2.0
"""The GPU-share policies against their oracle: feasible nodes, raw scores, choice of node and devices, fragmentation;
on node states that no policy would make, in whole runs, and the typical pods of the published workloads."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest

from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.replay import openb, simulate, workload
from kubesched.state import live
from tests import gpu_oracle as oracle
from tests import strategies
from tests.conftest import ROOT

PODS = ROOT / ".." / "shared" / "data" / "alibaba-gpu-2023" / "openb_pods_all_variants.parquet"
DRIVERS = ("dense", "indexed")


def one(value: int) -> Any:
    return np.array([value], dtype=np.int32)


def mask_of(devices: list[int]) -> int:
    return sum(1 << d for d in devices)


def as_typical(typical: oracle.Typical) -> workload.TypicalPods:
    return workload.TypicalPods(
        np.array([p.cpu for p, _ in typical], dtype=np.int64),
        np.array([p.count for p, _ in typical], dtype=np.int32),
        np.array([p.milli for p, _ in typical], dtype=np.int32),
        tuple(tuple(m for m in p.models.split("|") if m) for p, _ in typical),
        np.array([f for _, f in typical], dtype=np.float64),
    )


class Twin:
    """A GPU cluster twice: as the product's state and as the oracle's nodes."""

    def __init__(self, nodes: list[oracle.Node], typical: oracle.Typical) -> None:
        self.nodes, self.typical = nodes, typical
        self.state = live.ClusterState()
        self.state.add_nodes([strategies.gpu_node_row(f"n{i:03d}", node) for i, node in enumerate(nodes)])
        simulate.set_typical(self.state, as_typical(typical))
        self.profiles = {name: profiles.register(self.state, profiles.find(name)) for name in oracle.POLICIES}
        self.held: list[tuple[oracle.Pod, int, list[int]]] = []

    def class_id(self, pod: oracle.Pod) -> int:
        return self.state.class_id(strategies.gpu_shape(pod))

    def feasible(self, pod: oracle.Pod) -> list[int]:
        return [i for i, node in enumerate(self.nodes) if oracle.feasible(node, pod)]

    def bind(self, pod: oracle.Pod, row: int, devices: list[int]) -> None:
        mask = np.array([mask_of(devices)], dtype=np.uint64)
        self.state.engine.bind(one(self.class_id(pod)), one(row), mask)
        oracle.take(self.nodes[row], pod, devices)
        self.held.append((pod, row, devices))

    def release(self, at: int) -> None:
        pod, row, devices = self.held.pop(at)
        mask = np.array([mask_of(devices)], dtype=np.uint64)
        self.state.engine.release(one(self.class_id(pod)), one(row), mask)
        oracle.take(self.nodes[row], pod, devices, -1)

    def check(self, policy: str, pod: oracle.Pod, seed: int) -> int:
        """Verdicts and both drivers' choices equal the oracle's; returns the lowest best row, -1 without one."""
        feasible, number, class_id = self.feasible(pod), self.profiles[policy], self.class_id(pod)
        scores = [oracle.score(policy, self.nodes[i], pod, self.typical) for i in feasible]
        best = [i for i, score in zip(feasible, scores, strict=True) if score == max(scores)]
        verdicts = self.state.engine.explain(number, class_id, 1)
        assert np.flatnonzero(verdicts.filter == -1).tolist() == feasible
        assert verdicts.raw[0][feasible].tolist() == scores
        wanted = (best[0] if best else -1, max(scores, default=-1), len(best), len(feasible))
        for driver in DRIVERS:
            options = native.Options(number, native.DRIVERS[driver], commit=False, rng=seed)
            d = self.state.engine.place(options, one(class_id))
            assert (d.node[0], d.score[0], d.ties[0], d.feasible[0]) == wanted, driver
            if best:
                choices = oracle.choices(policy, self.nodes[best[0]], pod, self.typical)
                assert int(d.devices[0]) in map(mask_of, choices)
        return wanted[0]

    def check_state(self) -> None:
        left = self.state.engine.columns().device_free
        for row, node in enumerate(self.nodes):
            assert left[row][: len(node.left)].tolist() == node.left
        expected = [oracle.fragmented(node, self.typical) for node in self.nodes]
        assert self.state.engine.fragmentation().tolist() == expected


def any_devices(rng: np.random.Generator, node: oracle.Node, pod: oracle.Pod) -> list[int]:
    """Devices that the pod could hold, whatever a policy would say."""
    fitting = oracle.fitting(node, pod)
    return sorted(int(d) for d in rng.choice(fitting, pod.count, replace=False)) if pod.count else []


@pytest.mark.parametrize("policy", oracle.POLICIES)
@pytest.mark.parametrize("seed", range(8))
def test_any_state(seed: int, policy: str) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    twin = Twin([strategies.gpu_node(rng) for _ in range(10)], strategies.gpu_typical(rng))
    n_choices = 0
    for _ in range(60):
        pod = strategies.gpu_pod(rng)
        n_choices += twin.check(policy, pod, seed) >= 0
        feasible = twin.feasible(pod)
        if feasible:
            row = strategies.pick(rng, feasible)
            twin.bind(pod, row, any_devices(rng, twin.nodes[row], pod))
        if twin.held and strategies.chance(rng, 0.4):
            twin.release(strategies.below(rng, len(twin.held)))
    assert n_choices > 20
    twin.check_state()


# ---- whole runs, in one call ----


def follow(twin: Twin, policy: str, pods: list[oracle.Pod], driver: str) -> int:
    """Place the pods in one call, let the oracle repeat it; returns how many found a node."""
    classes = np.array([twin.class_id(p) for p in pods], dtype=np.int32)
    got = twin.state.engine.place(native.Options(twin.profiles[policy], native.DRIVERS[driver]), classes)
    for i, pod in enumerate(pods):
        feasible = twin.feasible(pod)
        scores = [oracle.score(policy, twin.nodes[k], pod, twin.typical) for k in feasible]
        best = [k for k, score in zip(feasible, scores, strict=True) if score == max(scores)]
        wanted = (best[0] if best else -1, max(scores, default=-1), len(best), len(feasible))
        assert (got.node[i], got.score[i], got.ties[i], got.feasible[i]) == wanted
        if best:
            (devices,) = oracle.choices(policy, twin.nodes[best[0]], pod, twin.typical)
            assert got.devices[i] == mask_of(devices)
            oracle.take(twin.nodes[best[0]], pod, devices)
    twin.check_state()
    return int(np.count_nonzero(got.node >= 0))


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("policy", oracle.POLICIES[1:])
@pytest.mark.parametrize("seed", range(6))
def test_runs(seed: int, policy: str, driver: str) -> None:
    rng = np.random.Generator(np.random.PCG64(100 + seed))
    twin = Twin([strategies.gpu_node(rng) for _ in range(12)], strategies.gpu_typical(rng))
    assert follow(twin, policy, [strategies.gpu_pod(rng) for _ in range(120)], driver) > 20


@pytest.mark.parametrize("policy", oracle.POLICIES[1:])
def test_a_piece_of_the_published_workload(policy: str) -> None:
    """Nodes, pods and typical pods of the trace, of which every 60th node and every 50th pod."""
    table, pods = openb.nodes(), openb.pods("default")
    memory = table.allocatable["memory"]
    nodes = [
        oracle.Node(
            int(table.allocatable["cpu"][i]),
            int(memory[i]),
            [1000] * int(table.device_count[i]),
            table.device_model[i] or "",
        )
        for i in range(0, len(table.names), 60)
    ]
    every = [
        oracle.Pod(
            s.nonzero_cpu_milli, s.nonzero_memory_bytes, s.device_count, s.device_milli, "|".join(s.device_models)
        )
        for s in (pods.shapes[k] for k in pods.shape)
    ]
    twin = Twin(nodes, oracle.typical_pods(every))
    assert follow(twin, policy, every[::50], "indexed") > 100


# ---- random ----


@pytest.mark.parametrize("driver", DRIVERS)
def test_random_draws_nodes_then_devices(driver: str) -> None:
    """Nodes are equally likely, not devices; then the fitting devices of the node are."""
    nodes = [oracle.Node(8000, 0, left) for left in ([1000, 50, 1000, 100], [1000], [99, 0], [1000])]
    nodes[3].cpu = 500
    state = [dataclasses.replace(node, left=[1000] * len(node.left)) for node in nodes]
    twin = Twin(state, [(oracle.Pod(1), 1.0)])
    for row, node in enumerate(nodes):
        for d, left in enumerate(node.left):
            if left < 1000:
                twin.bind(oracle.Pod(0, 0, 1, 1000 - left), row, [d])
    n = 3000
    classes = np.full(n, twin.class_id(oracle.Pod(1000, 0, 1, 100)), dtype=np.int32)

    def draw() -> native.Decisions:
        options = native.Options(
            twin.profiles["random"], native.DRIVERS[driver], native.TIE_UNIFORM, commit=False, rng=5
        )
        return twin.state.engine.place(options, classes)

    got = draw()
    counts = Counter(zip(got.node.tolist(), got.devices.tolist(), strict=True))
    assert set(counts) == {(0, 1), (0, 4), (0, 8), (1, 1)}
    assert set(got.ties.tolist()) == {2}
    for choice, probability in (((1, 1), 1 / 2), ((0, 1), 1 / 6), ((0, 4), 1 / 6), ((0, 8), 1 / 6)):
        deviation = (n * probability * (1 - probability)) ** 0.5
        assert abs(counts[choice] - n * probability) < 4 * deviation, choice
    again = draw()
    assert np.array_equal(got.node, again.node)
    assert np.array_equal(got.devices, again.devices)


# ---- typical pods ----


@pytest.mark.parametrize("variant", openb.PUBLISHED_VARIANTS)
def test_typical_pods_of_the_published_workloads(variant: str) -> None:
    """From the raw list on the oracle's side, through the trace reader on the other: equal to the last bit."""
    if not PODS.is_file():
        pytest.skip("the pod lists (../shared/data/alibaba-gpu-2023) are not here")
    import pyarrow.parquet as pq

    table = pq.read_table(PODS, filters=[("variant", "==", variant)]).to_pydict()
    names = ("cpu_milli", "memory_mib", "num_gpu", "gpu_milli", "gpu_spec")
    columns = zip(*(table[name] for name in names), strict=True)
    pods = [oracle.Pod(cpu, memory, count, milli, spec or "") for cpu, memory, count, milli, spec in columns]
    got, expected = workload.typical_pods(openb.pods(variant)), as_typical(oracle.typical_pods(pods))
    assert got.models == expected.models
    for name in ("cpu_milli", "count", "milli", "frequency"):
        assert getattr(got, name).tolist() == getattr(expected, name).tolist(), name

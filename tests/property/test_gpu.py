# SPDX-License-Identifier: Apache-2.0
"""The GPU-share policies against their oracle: node, score, ties and devices of whole runs, with both drivers."""

from __future__ import annotations

import numpy as np
import pytest

from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.replay import simulate, workload
from kubesched.state import live, rows
from tests import gpu_oracle as oracle

MODELS = ("A", "B", "C")


def make(rng: np.random.Generator) -> tuple[list[oracle.Node], list[oracle.Pod], list[tuple[oracle.Pod, float]]]:
    def models() -> frozenset[str]:
        return frozenset(m for m in MODELS if rng.random() < 0.4) if rng.random() < 0.4 else frozenset()

    def pod() -> oracle.Pod:
        what, cpu = rng.random(), int(rng.integers(1, 9)) * 1000
        if what < 0.2:
            return oracle.Pod(cpu)
        if what < 0.7:
            return oracle.Pod(cpu, 1, int(rng.integers(1, 20)) * 50, models())
        return oracle.Pod(cpu, int(rng.choice([1, 2, 4])), 1000, models())

    nodes = [
        oracle.Node(int(rng.integers(4, 64)) * 1000, [1000] * int(rng.choice([0, 1, 2, 4, 8])), str(rng.choice(MODELS)))
        for _ in range(12)
    ]
    typical = [pod() for _ in range(6)]
    weights = rng.random(6)
    return nodes, [pod() for _ in range(120)], list(zip(typical, (weights / weights.sum()).tolist(), strict=True))


def shape(pod: oracle.Pod) -> rows.PodShape:
    amounts = ((rows.CPU, pod.cpu),)
    return rows.PodShape(
        amounts,
        amounts,
        pod.cpu,
        0,
        device_count=pod.count,
        device_milli=pod.milli,
        device_models=tuple(sorted(pod.models)),
    )


def state_of(nodes: list[oracle.Node], typical: list[tuple[oracle.Pod, float]]) -> live.ClusterState:
    state = live.ClusterState()
    n = len(nodes)
    state.add_node_columns(
        [f"n{i:02d}" for i in range(n)],
        {rows.CPU: np.array([x.cpu for x in nodes]), rows.MEMORY: np.full(n, 1 << 40), rows.PODS: np.full(n, 1000)},
        device_count=np.array([len(x.left) for x in nodes], dtype=np.int32),
        device_model=[x.model for x in nodes],
    )
    simulate.set_typical(
        state,
        workload.TypicalPods(
            np.array([p.cpu for p, _ in typical], dtype=np.int64),
            np.array([p.count for p, _ in typical], dtype=np.int32),
            np.array([p.milli for p, _ in typical], dtype=np.int32),
            tuple(tuple(sorted(p.models)) for p, _ in typical),
            np.array([f for _, f in typical], dtype=np.float64),
        ),
    )
    return state


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("policy", ["dotprod", "clustering", "packing", "bestfit", "fgd"])
@pytest.mark.parametrize("seed", range(6))
def test_runs_equal_the_oracle(seed: int, policy: str, driver: str) -> None:
    nodes, pods, typical = make(np.random.Generator(np.random.PCG64(seed)))
    state = state_of(nodes, typical)
    profile = profiles.register(state, profiles.find(policy))
    classes = np.array([state.class_id(shape(p)) for p in pods], dtype=np.int32)
    got = state.engine.place(native.Options(profile, driver=native.DRIVERS[driver]), classes)
    for i, pod in enumerate(pods):
        feasible = [k for k, node in enumerate(nodes) if oracle.fits(node, pod)]
        assert got.feasible[i] == len(feasible)
        if not feasible:
            assert got.node[i] == -1
            continue
        scores = {k: oracle.score(policy, nodes[k], pod, typical) for k in feasible}
        best = max(scores.values())
        tied = [k for k in feasible if scores[k] == best]
        assert (got.node[i], got.score[i], got.ties[i]) == (tied[0], best, len(tied))
        fgd = policy == "fgd" and pod.count
        devices = oracle.fgd(nodes[tied[0]], pod, typical)[1] if fgd else oracle.best_fit_devices(nodes[tied[0]], pod)
        assert got.devices[i] == sum(1 << d for d in devices)
        oracle.take(nodes[tied[0]], pod, devices)
    expected = [oracle.fragmented(node, typical) for node in nodes]
    np.testing.assert_allclose(state.engine.fragmentation(), expected, rtol=1e-12)


def test_random_reaches_every_feasible_node_and_device() -> None:
    nodes = [oracle.Node(8000, [1000, 1000]), oracle.Node(8000, [1000]), oracle.Node(500, [1000])]
    state = state_of(nodes, [(oracle.Pod(1), 1.0)])
    profile = profiles.register(state, profiles.find("random"))
    classes = np.full(300, state.class_id(shape(oracle.Pod(1000, 1, 100))), dtype=np.int32)
    options = native.Options(profile, tie=native.TIE_UNIFORM, rng=5, commit=False)
    got = state.engine.place(options, classes)
    seen = {(int(n), int(d)) for n, d in zip(got.node, got.devices, strict=True)}
    assert seen == {(0, 1), (0, 2), (1, 1)}
    counts = np.bincount(got.node, minlength=3)
    assert abs(int(counts[0]) - 150) < 50  # nodes are equally likely, not devices
    again = state.engine.place(native.Options(profile, tie=native.TIE_UNIFORM, rng=5, commit=False), classes)
    assert np.array_equal(got.node, again.node)


def test_best_fit_may_skip_the_stretch() -> None:
    """The published best-fit stretches scores to 0..100 over the feasible nodes; that keeps the order and the ties."""
    rng = np.random.Generator(np.random.PCG64(1))
    for _ in range(200):
        raw = rng.integers(0, 101, size=int(rng.integers(2, 30)))
        low, high = int(raw.min()), int(raw.max())
        stretched = (raw - low) * 100 // (high - low) if high > low else raw * 0
        assert np.array_equal(raw == high, stretched == stretched.max())

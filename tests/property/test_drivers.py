# SPDX-License-Identifier: Apache-2.0
"""Dense and indexed drivers give byte-identical answers while a cluster lives: whatever is placed, released, changed.

Every operation below is one of: decide with both drivers, batch-place in a speculation with both and compare, bind,
release, add, rewrite or remove a node. The normal run does 10^4 of them, the nightly one 10^6.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.replay import simulate
from kubesched.state import live, rows
from tests.property import test_gpu

PROFILES = [profiles.find(n) for n in ("default-v1.36", "default-v1.35", "fgd", "packing", "clustering", "random")]
_BOTH = (("cpu", 1), ("memory", 1))
PROFILES += [
    dataclasses.replace(
        profiles.find("node-local"),
        name="most",
        scores=(profiles.ScorePlugin("NodeResourcesFit", 1, "MostAllocated", (("cpu", 3), ("memory", 1))),),
    ),
    dataclasses.replace(
        profiles.find("node-local"),
        name="ratio",
        scores=(
            profiles.ScorePlugin(
                "NodeResourcesFit", 2, "RequestedToCapacityRatio", _BOTH, ((0, 0), (40, 10), (100, 2))
            ),
        ),
    ),
    dataclasses.replace(
        profiles.find("node-local"),
        name="extended",
        scores=(
            profiles.ScorePlugin("NodeResourcesFit", 1, "LeastAllocated", (*_BOTH, ("example.com/x", 5))),
            profiles.ScorePlugin("NodeResourcesBalancedAllocation", 1, "v1.36", (*_BOTH, ("example.com/x", 1))),
        ),
    ),
]


class Churn:
    """A cluster that changes at random."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))
        _, _, typical = test_gpu.make(self.rng)
        self.state = live.ClusterState()
        self.state.resource_id("example.com/x")
        simulate.set_typical(self.state, _typical(typical))
        self.names: list[str] = []
        self.serial = 0
        for _ in range(30):
            self.add_node()
        self.profiles = [(profiles.register(self.state, simulate.with_devices(p, _Devices)), p) for p in PROFILES]
        self.shapes = [self.shape() for _ in range(25)]
        self.held: list[tuple[int, int, int]] = []

    def row(self, name: str) -> rows.NodeRow:
        r = self.rng
        amounts = {
            "cpu": int(r.choice([0, 2000, 8000, 64000])),
            "memory": int(r.choice([0, 4 << 30, 16256784 << 10, 1 << 47])),
            "pods": int(r.choice([2, 20, 110])),
            "example.com/x": int(r.choice([0, 3])),
        }
        taints = tuple(
            rows.Taint(f"k{i}", "", str(r.choice(["PreferNoSchedule", "NoSchedule"]))) for i in range(r.integers(3))
        )
        labels = tuple((k, str(r.integers(3))) for k in ("a", "b") if r.random() < 0.7)
        images = tuple(rows.Image(f"i{k}:1", int(r.integers(1, 900)) << 20) for k in range(3) if r.random() < 0.5)
        return rows.NodeRow(
            name,
            tuple(sorted(amounts.items())),
            labels,
            taints,
            images,
            bool(r.random() < 0.1),
            int(r.choice([0, 2, 8])),
            str(r.choice(test_gpu.MODELS)),
        )

    def shape(self) -> rows.PodShape:
        r = self.rng
        amounts = {
            "cpu": int(r.integers(0, 30)) * 100,
            "memory": int(r.integers(0, 30)) << 27,
            "example.com/x": int(r.integers(0, 2)),
        }
        requests = tuple(sorted((k, v) for k, v in amounts.items() if v))
        device = int(r.choice([0, 0, 1, 2]))
        term = rows.Term((rows.Requirement("a", "In", (str(r.integers(3)),)),), int(r.integers(1, 100)))
        return rows.PodShape(
            requests=requests,
            fit_requests=tuple(sorted((dict(requests) | {"cpu": amounts["cpu"] or 100}).items())),
            nonzero_cpu_milli=amounts["cpu"] or 100,
            nonzero_memory_bytes=amounts["memory"],
            required_terms=(rows.Term((rows.Requirement("b", "NotIn", ("1",)),)),) if r.random() < 0.3 else None,
            preferred_terms=(term,) if r.random() < 0.4 else (),
            tolerations=(rows.Toleration("k0", "Exists", "", ""),) if r.random() < 0.4 else (),
            host_ports=(rows.HostPort("0.0.0.0", "TCP", 80),) if r.random() < 0.15 else (),
            images=("i0:1", "i1:1") if r.random() < 0.4 else (),
            n_image_containers=2,
            device_count=device,
            device_milli=0 if device == 0 else 1000 if device > 1 else int(r.choice([300, 1000])),
        )

    def add_node(self) -> None:
        self.serial += 1
        self.names.append(f"n{self.serial}")
        self.state.add_nodes([self.row(self.names[-1])])

    def decide(self) -> None:
        """One class, both drivers; then the pod is bound."""
        number, profile = self.profiles[int(self.rng.integers(len(self.profiles)))]
        class_id = self.state.class_id(self.shapes[int(self.rng.integers(len(self.shapes)))])
        seed, tie = int(self.rng.integers(1 << 40)), int(self.rng.integers(2))
        answers = []
        for driver in ("dense", "indexed"):
            options = native.Options(number, native.DRIVERS[driver], tie, commit=False, rng=seed)
            d = self.state.engine.place(options, np.array([class_id], dtype=np.int32))
            answers.append(
                (*(int(getattr(d, f)[0]) for f in ("node", "score", "ties", "feasible", "devices")), options.rng)
            )
        assert answers[0] == answers[1], profile.name
        node, devices = answers[0][0], answers[0][4]
        if node >= 0:
            self.state.engine.bind(_one(class_id), _one(node), np.array([devices], dtype=np.uint64))
            self.held.append((class_id, node, devices))

    def batch(self) -> None:
        """A batch in a speculation with each driver; all columns must be the same bytes."""
        number, profile = self.profiles[int(self.rng.integers(len(self.profiles)))]
        chosen = self.rng.integers(len(self.shapes), size=20)
        classes = np.array([self.state.class_id(self.shapes[i]) for i in chosen], dtype=np.int32)
        seed, tie = int(self.rng.integers(1 << 40)), int(self.rng.integers(2))
        columns = []
        for driver in ("dense", "indexed"):
            mark = self.state.engine.speculate()
            d = self.state.engine.place(native.Options(number, native.DRIVERS[driver], tie, rng=seed), classes)
            used = self.state.engine.columns()
            after = b"".join(c.tobytes() for c in used.used) + used.device_free.tobytes()
            self.state.engine.rollback(mark)
            columns.append(
                (
                    d.node.tobytes(),
                    d.score.tobytes(),
                    d.ties.tobytes(),
                    d.feasible.tobytes(),
                    d.devices.tobytes(),
                    after,
                )
            )
        assert columns[0] == columns[1], profile.name

    def release(self) -> None:
        if self.held:
            at = int(self.rng.integers(len(self.held)))
            class_id, node, devices = self.held.pop(at)
            self.state.engine.release(_one(class_id), _one(node), np.array([devices], dtype=np.uint64))

    def remove_node(self) -> None:
        if len(self.names) > 5:
            name = self.names.pop(int(self.rng.integers(len(self.names))))
            row = self.state.row_of(name)
            self.held = [h for h in self.held if h[1] != row]
            self.state.remove_node(name)

    def update_node(self) -> None:
        name = self.names[int(self.rng.integers(len(self.names)))]
        old = self.state.row_of(name)
        count = int(self.state.engine.columns().device_count[old])
        self.state.update_node(dataclasses.replace(self.row(name), device_count=count))

    def new_shape(self) -> None:
        if len(self.state.shapes) < 120:
            self.shapes[int(self.rng.integers(len(self.shapes)))] = self.shape()

    def run(self, operations: int) -> None:
        moves = [self.decide] * 9 + [self.release] * 7 + [self.batch, self.update_node, self.new_shape]
        rare = [self.add_node, self.remove_node]
        done = 0
        while done < operations:
            move = (
                rare[int(self.rng.integers(2))]
                if self.rng.random() < 0.03
                else moves[int(self.rng.integers(len(moves)))]
            )
            move()
            done += 20 if move == self.batch else 1


class _Devices:
    device_milli = 1


def _one(value: int) -> np.ndarray:
    return np.array([value], dtype=np.int32)


def _typical(typical: list) -> object:
    from kubesched.replay import workload

    return workload.TypicalPods(
        np.array([p.cpu for p, _ in typical], dtype=np.int64),
        np.array([p.count for p, _ in typical], dtype=np.int32),
        np.array([p.milli for p, _ in typical], dtype=np.int32),
        tuple(tuple(sorted(p.models)) for p, _ in typical),
        np.array([f for _, f in typical], dtype=np.float64),
    )


@pytest.mark.parametrize("seed", range(5))
def test_drivers_agree_while_the_cluster_lives(seed: int) -> None:
    Churn(seed).run(2500)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 120))
def test_drivers_agree_over_a_million_operations(seed: int) -> None:
    Churn(seed).run(50_000)

# SPDX-License-Identifier: Apache-2.0
"""The product against the oracle on random clusters: every field of the decision, one pod at a time, in sequence, and
while the cluster changes.

Two ways in: Kubernetes objects through the facade, and rows (made by the oracle's reading of the same objects) through
the state and the engine, under profiles with every strategy and formula.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import kubesched as ks
from kubesched.framework import diagnosis
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.scheduler import encode
from kubesched.state import live
from tests import builders, oracle, strategies

SEEDS = range(60)
Rng = np.random.Generator


def rng_of(seed: int) -> Rng:
    return np.random.Generator(np.random.PCG64(seed))


def build(case: dict[str, Any]) -> ks.Cluster:
    return ks.Cluster.from_objects(case["nodes"] + case["pods"])


def as_profile(profile: oracle.Profile) -> profiles.Profile:
    """The product's profile with the same plugins and arguments."""
    arguments: dict[str, dict[str, Any]] = {
        "NodeResourcesFit": {
            "variant": profile.strategy,
            "resources": profile.resources,
            "shape": profile.shape,
        },
        "NodeResourcesBalancedAllocation": {
            "variant": profile.release,
            "resources": tuple((name, 1) for name in profile.balanced),
        },
    }
    scores = tuple(profiles.ScorePlugin(name, weight, **arguments.get(name, {})) for name, weight in profile.plugins)
    return dataclasses.replace(profiles.find("default-v1.36"), name=repr(profile), scores=scores)


# ---- objects, through the facade ----


@pytest.mark.parametrize("seed", SEEDS)
def test_explanations_equal_the_oracle(seed: int) -> None:
    rng = rng_of(seed)
    case = strategies.case(rng, int(rng.integers(1, 14)), int(rng.integers(0, 20)), 8)
    cluster, nodes = build(case), oracle.build(case["nodes"], case["pods"])
    for pod in case["sequence"]:
        got, expected = cluster.explain(pod), oracle.decide(pod, nodes)
        assert got.feasible.tolist() == expected["feasible"]
        assert got.message == expected.get("message", "")
        if "status" in expected:
            assert [status_of(got.diagnosis, row) for row in range(len(nodes))] == expected["status"]
        if expected["feasible"]:
            feasible = got.feasible
            scored = [i for i, name in enumerate(got.plugins) if name not in got.skipped]
            assert [got.plugins[i] for i in scored] == expected["scorePlugins"]
            assert got.verdicts.score[scored][:, feasible].T.tolist() == expected["scores"]
            assert got.verdicts.total[feasible].tolist() == expected["total"]
            assert got.best == [f"node-{i}" for i in expected["best"]]


def status_of(found: diagnosis.Diagnosis, row: int) -> oracle.Status | None:
    number = int(found.status_of[row])
    if number < 0:
        return None
    status = found.statuses[number]
    return status.plugin, status.code, list(status.reasons)


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sequences_equal_the_oracle(seed: int, driver: str) -> None:
    rng = rng_of(1000 + seed)
    case = strategies.case(rng, int(rng.integers(1, 14)), int(rng.integers(0, 10)), 40)
    case["sequence"][7]["spec"]["schedulingGates"] = [{"name": "wait"}]
    plan = build(case).place(case["sequence"], driver=driver)
    expected = oracle.sequence(oracle.build(case["nodes"], case["pods"]), case["sequence"])
    assert expected["node"][7] == -2
    assert plan.node_index.tolist() == [max(node, -1) for node in expected["node"]]
    assert plan.ties.tolist() == expected["ties"]
    scores = [s if f > 1 else -1 for s, f in zip(plan.scores.tolist(), expected["feasible"], strict=True)]
    assert scores == expected["score"]


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_reasons_are_those_of_the_moment(seed: int) -> None:
    """A pod that fails inside a batch gets the message of the state that it met, not of the end."""
    case = strategies.case(rng_of(2000 + seed), 4, 0, 60)
    cluster = build(case)
    plan = cluster.place(case["sequence"])
    nodes = oracle.build(case["nodes"], [])
    n_failed = 0
    for pod, row, reason in zip(case["sequence"], plan.node_index, plan.reasons, strict=True):
        expected = oracle.decide(pod, nodes)
        assert reason == expected.get("message", "")
        n_failed += bool(reason)
        if row >= 0:
            nodes[row].add(pod)
    assert n_failed > 0
    columns = cluster.to_arrow()["nodes"]
    assert columns["used_pods"].to_pylist() == [n.n_pods for n in nodes]  # explaining left no trace


@pytest.mark.parametrize("seed", SEEDS)
def test_a_seed_draws_among_the_best(seed: int) -> None:
    case = strategies.case(rng_of(3000 + seed), 8, 4, 10)
    cluster, nodes = build(case), oracle.build(case["nodes"], case["pods"])
    plan = cluster.place(case["sequence"], seed=seed)
    for pod, row, ties in zip(case["sequence"], plan.node_index, plan.ties, strict=True):
        best = oracle.decide(pod, nodes).get("best", [])
        assert ties == len(best)
        assert row in best if best else row == -1
        if row >= 0:
            nodes[row].add(pod)


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_encoding_equals_the_oracles_reading(seed: int) -> None:
    case = strategies.case(rng_of(4000 + seed), 5, 5, 15)
    for obj in case["nodes"]:
        assert encode.node_row(obj) == strategies.node_row(obj)
    for obj in case["pods"] + case["sequence"]:
        got, expected = dataclasses.replace(encode.pod_row(obj), devices=None), strategies.pod_row(obj)
        assert set(got.shape.host_ports) == set(expected.shape.host_ports)
        shape = dataclasses.replace(expected.shape, host_ports=got.shape.host_ports)
        assert got == dataclasses.replace(expected, shape=shape)


def test_a_running_pod_counts_what_its_resize_holds() -> None:
    """Pod-level requests are resized in place as well (InPlacePodLevelResourcesVerticalScaling, on in 1.36)."""
    pod = builders.make_pod("p").container("1").pod_level("3").on("n").build()
    pod["status"] = {"resources": {"requests": {"cpu": "4"}}, "allocatedResources": {"cpu": "5"}}
    assert encode.pod_row(pod).shape.requests == strategies.sorted_amounts(oracle.real(pod))


# ---- rows, through the state and the engine ----


class Twin:
    """A cluster twice: as the product's state and as the oracle's nodes, by row."""

    def __init__(self, rng: Rng, n_nodes: int) -> None:
        self.rng = rng
        self.state = live.ClusterState()
        self.images: oracle.Images = {}
        self.rows: list[oracle.Node | None] = []
        self.serial = 0
        self.pods: dict[str, tuple[dict[str, Any], int]] = {}
        for _ in range(n_nodes):
            self.add_node()
        self.profiles = [(p, profiles.register(self.state, as_profile(p))) for p in strategies.PROFILES]

    @property
    def there(self) -> list[int]:
        return [row for row, node in enumerate(self.rows) if node is not None]

    def node(self, row: int) -> oracle.Node:
        found = self.rows[row]
        assert found is not None
        return found

    # ---- changes ----

    def add_node(self) -> None:
        obj = strategies.node(self.rng, self.serial)
        self.serial += 1
        self.state.add_nodes([strategies.node_row(obj)])
        row = self.state.row_of(obj["metadata"]["name"])
        assert row is not None
        free = [r for r, node in enumerate(self.rows) if node is None]
        assert row == (free[0] if free else len(self.rows))  # removed rows are used again, lowest first
        self.rows += [None] * (row + 1 - len(self.rows))
        self.rows[row] = oracle.Node(obj, self.images)

    def update_node(self) -> None:
        if not self.there:
            return
        node = self.node(strategies.pick(self.rng, self.there))
        obj = strategies.node(self.rng, int(node.name.removeprefix("node-")))
        node.update(obj)
        self.state.update_node(strategies.node_row(obj))

    def remove_node(self) -> None:
        if len(self.there) < 2:
            return
        row = strategies.pick(self.rng, self.there)
        self.state.remove_node(self.node(row).name)
        self.node(row).drop_images()
        self.rows[row] = None
        self.pods = {key: there for key, there in self.pods.items() if there[1] != row}

    def bind(self) -> None:
        """A pod that runs already, wherever: nodes may be over-committed."""
        if not self.there:
            return
        row = strategies.pick(self.rng, self.there)
        obj = strategies.running(self.rng, f"r{self.serial}", 1)
        obj["spec"]["nodeName"] = self.node(row).name
        self.serial += 1
        self.state.bind([strategies.pod_row(obj)])
        self.enter(obj, row)

    def enter(self, obj: dict[str, Any], row: int) -> None:
        self.node(row).add(obj)
        self.pods[strategies.pod_row(obj).key] = (obj, row)

    def release(self) -> None:
        if self.pods:
            key = strategies.pick(self.rng, sorted(self.pods))
            obj, row = self.pods.pop(key)
            self.state.release([key])
            self.node(row).remove(obj)

    # ---- decisions ----

    def decide(self) -> None:
        """One pod under one profile: verdicts, and the choice of both drivers; then it runs there."""
        profile, number = strategies.pick(self.rng, self.profiles)
        obj = strategies.pod(self.rng, f"p{self.serial}")
        if strategies.chance(self.rng, 0.05):
            obj["spec"]["nodeName"] = f"node-{strategies.below(self.rng, self.serial + 1)}"
        self.serial += 1
        nodes = [self.node(row) for row in self.there]
        expected = oracle.decide(obj, nodes, profile)
        shape = strategies.shape(obj)
        class_id = self.state.class_id(shape)
        verdicts = self.state.engine.explain(number, class_id, len(profile.plugins))
        self.compare_filters(shape, verdicts, expected)
        if expected["feasible"]:
            self.compare_scores(profile, verdicts, expected)
        row = self.compare_drivers(number, class_id, expected)
        if row >= 0:
            obj["spec"]["nodeName"] = self.node(row).name
            self.state.bind([strategies.pod_row(obj)])
            self.enter(obj, row)

    def compare_filters(self, shape: Any, verdicts: native.Verdicts, expected: oracle.Obj) -> None:
        found = diagnosis.diagnose(self.state, shape, verdicts)
        assert found.feasible.tolist() == [self.there[i] for i in expected["feasible"]]
        assert found.message() == expected.get("message", "")
        assert {row for row, node in enumerate(self.rows) if node is None} == set(
            np.flatnonzero(verdicts.filter == native.REMOVED_ROW).tolist()
        )
        if "status" in expected:
            assert [status_of(found, row) for row in self.there] == expected["status"]

    def compare_scores(self, profile: oracle.Profile, verdicts: native.Verdicts, expected: oracle.Obj) -> None:
        feasible = [self.there[i] for i in expected["feasible"]]
        names = [name for name, _ in profile.plugins]
        scored = [i for i in range(len(names)) if not verdicts.skipped[i]]
        assert [names[i] for i in scored] == expected["scorePlugins"], profile
        assert verdicts.raw[scored][:, feasible].T.tolist() == expected["raw"], profile
        assert verdicts.score[scored][:, feasible].T.tolist() == expected["scores"], profile
        assert verdicts.total[feasible].tolist() == expected["total"], profile

    def compare_drivers(self, number: int, class_id: int, expected: oracle.Obj) -> int:
        best = [self.there[i] for i in expected.get("best", [])]
        wanted = (best[0] if best else -1, max(expected.get("total", [-1])), len(best), len(expected["feasible"]))
        for driver in ("dense", "indexed"):
            options = native.Options(number, native.DRIVERS[driver], commit=False)
            d = self.state.engine.place(options, np.array([class_id], dtype=np.int32))
            assert (d.node[0], d.score[0], d.ties[0], d.feasible[0]) == wanted, driver
        return wanted[0]

    def compare_accounts(self) -> None:
        """Usage by resource, and the non-zero usage."""
        columns = self.state.engine.columns()
        for row in self.there:
            node = self.node(row)
            used = {name: int(columns.used[r][row]) for r, name in enumerate(self.state.names.resources.values())}
            assert {n: v for n, v in used.items() if v and n != "pods"} == {n: v for n, v in node.used.items() if v}
            assert used["pods"] == node.n_pods
            nonzero = (columns.nonzero_cpu_used[row], columns.nonzero_memory_used[row])
            assert nonzero == (node.nonzero["cpu"], node.nonzero["memory"])


def live_through(seed: int, n_steps: int) -> None:
    rng = rng_of(seed)
    twin = Twin(rng, 1 + strategies.below(rng, 20))
    often = [twin.decide] * 5 + [twin.bind, twin.release, twin.release]
    rare = [twin.add_node, twin.update_node, twin.update_node, twin.remove_node]
    for _ in range(n_steps):
        strategies.pick(rng, often if strategies.chance(rng, 0.85) else rare)()
    twin.compare_accounts()


@pytest.mark.parametrize("seed", range(5000, 5040))
def test_a_living_cluster_equals_the_oracle(seed: int) -> None:
    live_through(seed, 60)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(6000, 6100))
def test_a_living_cluster_equals_the_oracle_for_long(seed: int) -> None:
    live_through(seed, 1500)


def test_one_image_size_a_cluster() -> None:
    """The first node that has an image fixes its size until the last one drops it; a class may come before both."""
    pod = builders.make_pod("p").container(image="app:1").build()
    big, small = 900 << 20, 100 << 20
    state, images = live.ClusterState(), oracle.Images()
    class_id = state.class_id(strategies.shape(pod))
    number = profiles.register(state, profiles.find("default-v1.36"))
    first = builders.make_node("node-0").cpu("1").memory("1Gi").image(big, "app:1").build()
    second = builders.make_node("node-1").cpu("1").memory("1Gi").image(small, "app:1").build()
    state.add_nodes([strategies.node_row(first), strategies.node_row(second)])
    nodes = [oracle.Node(first, images), oracle.Node(second, images)]

    def image_scores() -> tuple[list[int], list[int]]:
        d = oracle.decide(pod, nodes)
        at = d["scorePlugins"].index("ImageLocality")
        return state.engine.explain(number, class_id, 8).score[7].tolist(), [row[at] for row in d["scores"]]

    got, expected = image_scores()
    assert got == expected == [89, 89]
    bare = builders.make_node("node-0").cpu("1").memory("1Gi").build()
    state.update_node(strategies.node_row(bare))
    nodes[0].update(bare)
    got, expected = image_scores()
    assert got == expected == [0, 43]  # still the first node's size, at half the spread

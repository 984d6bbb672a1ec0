# SPDX-License-Identifier: Apache-2.0
"""Gangs against their oracle, and the traces that a rejected gang must not leave."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest

import kubesched as ks
from kubesched.kernel import native
from tests import builders, decision_oracle, gang_oracle, oracle, pairwise_strategies, strategies
from tests.conftest import Tally

Obj = dict[str, Any]
SEEDS = range(40)


def pod_group(name: str, min_count: int | None) -> Obj:
    policy = {"basic": {}} if min_count is None else {"gang": {"minCount": min_count}}
    return {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "kind": "PodGroup",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulingPolicy": policy},
    }


def case_of(seed: int, family: str = "node-local") -> tuple[Obj, dict[str, int | None]]:
    """A random case whose pods are dealt out to groups, some of which are too large, too small or missing."""
    rng = np.random.Generator(np.random.PCG64(seed))
    n_nodes, n_running = int(rng.integers(1, 8)), int(rng.integers(0, 10))
    if family == "node-local":
        case = strategies.case(rng, n_nodes, n_running, 40)
    else:
        drawn = pairwise_strategies.FAMILIES[family]
        case = drawn.case(rng, n_nodes, n_running)
        kinds = [drawn.pod(rng, "p") for _ in range(8)]
        copies = [copy.deepcopy(strategies.pick(rng, kinds)) for _ in range(40)]
        case["sequence"] = [strategies.renamed(pod, f"p{i}") for i, pod in enumerate(copies)]
    groups: dict[str, int | None] = {f"g{i}": int(rng.integers(1, 9)) for i in range(6)} | {"basic": None}
    for pod in case["pods"] + case["sequence"]:
        pod["metadata"]["namespace"] = "default"
        pod["spec"] |= {"priority": int(rng.integers(0, 3)), "preemptionPolicy": "Never"}
        if rng.random() < 0.8:
            pod["spec"]["schedulingGroup"] = {"podGroupName": str(rng.choice([*groups, "missing"]))}
        if rng.random() < 0.05:
            pod["spec"]["schedulingGates"] = [{"name": "wait"}]
    return case, groups


def build(case: Obj, groups: dict[str, int | None]) -> ks.Cluster:
    objects = [pod_group(name, least) for name, least in groups.items()]
    return ks.Cluster.from_objects(strategies.objects(case) + objects)


def check(seed: int, family: str, driver: str) -> int:
    """Compare one case; how many pods were decided."""
    case, groups = case_of(seed, family)
    cluster, world = build(case, groups), decision_oracle.build(case)
    plan = cluster.place(case["sequence"], driver=driver)

    def decide(pod: Obj, nodes: list[oracle.Node]) -> Obj:
        return decision_oracle.decide(pod, dataclasses.replace(world, nodes=nodes))

    expected = gang_oracle.place(world.nodes, case["pods"], groups, case["sequence"], decide)
    assert [(-2 if s == "Gated" else n) for n, s in zip(plan.node_index, plan.statuses, strict=True)] == expected.node
    assert {g.gang.removeprefix("default/"): g.placed for g in plan.gangs} == expected.fits
    assert cluster.to_arrow()["nodes"]["used_pods"].to_pylist() == [node.n_pods for node in world.nodes]
    for gang in plan.gangs:
        failed = expected.messages[gang.gang.removeprefix("default/")]
        assert bool(gang.reason) == (gang.min_count > gang.running + gang.fitted)
        assert "; pod " not in gang.reason or gang.reason.endswith(failed[0])
    return sum(node != -2 for node in expected.node)


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_gangs_equal_the_oracle(seed: int, driver: str) -> None:
    check(seed, "node-local", driver)


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("family", pairwise_strategies.FAMILIES)
def test_gangs_whose_pods_look_at_each_other_equal_the_oracle(family: str, driver: str) -> None:
    for seed in range(4):
        check(seed, family, driver)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(20))
def test_a_hundred_thousand_pods_in_gangs(part: int, tally: Tally) -> None:
    done, seed = 0, 10_000 * (part + 1)
    families = ("node-local", *pairwise_strategies.FAMILIES)
    while done < 5000:
        done += check(seed, families[seed % len(families)], ("dense", "indexed", "auto")[seed % 3])
        seed += 1
    tally("gangs", {"decisions": done})


def test_the_random_cases_have_every_ending() -> None:
    endings = set()
    for seed in SEEDS:
        case, groups = case_of(seed)
        plan = build(case, groups).place(case["sequence"])
        endings.update((g.placed, g.running > 0, g.fitted > 0) for g in plan.gangs)
        endings.update(plan.statuses)
    assert endings >= {(a, b, c) for a in (True, False) for b in (True, False) for c in (True, False) if c or not a}
    assert endings >= {"Placed", "Unschedulable", "Gated", "GangRejected"}


def spreading(name: str, zone: str, group: str = "") -> Obj:
    """A pod with every rule that looks at other pods, and a host port."""
    pod = builders.make_pod(name).container("1", "1Gi", ports=[builders.host_port(8080 + int(name[-1]))]).build()
    pod["metadata"]["labels"] = {"app": zone}
    selector = {"matchLabels": {"app": zone}}
    term = {"topologyKey": "zone", "labelSelector": selector}
    pod["spec"]["topologySpreadConstraints"] = [
        {"topologyKey": "zone", "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
    ]
    pod["spec"]["affinity"] = {
        "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 5, "podAffinityTerm": term}]}
    }
    if group:
        pod["spec"]["schedulingGroup"] = {"podGroupName": group}
    return pod


def mixed_cluster(groups: dict[str, int | None]) -> ks.Cluster:
    nodes = [builders.make_node(f"n{i}").cpu("4").memory("8Gi").label("zone", f"z{i % 3}").build() for i in range(6)]
    cluster = ks.Cluster.from_objects([*nodes, *(pod_group(name, least) for name, least in groups.items())])
    cluster.place([spreading(f"old-{i}", "ab"[i % 2]) for i in range(7)])
    cluster.release(["default/old-1", "default/old-4"])
    return cluster


def state_of(cluster: ks.Cluster) -> dict[str, Any]:
    """Everything that can be seen of a cluster, to the bit."""
    tables = {name: table.to_pydict() for name, table in cluster.to_arrow().items()}
    columns = cluster._state.engine.columns()
    raw = {name: np.asarray(getattr(columns, name)).tobytes() for name in native.Columns.__slots__}
    return {"tables": tables, "columns": raw, "running": cluster.running}


@pytest.mark.parametrize("seed", [None, 5])
def test_a_rejected_gang_leaves_the_state_as_it_was(seed: int | None) -> None:
    """Also what is decided later: the tallies behind spreading and affinity, and the numbers drawn for ties."""
    gang = [spreading(f"new-{i}", "ab"[i % 2], "g") for i in range(30)]
    later = [spreading(f"later-{i}", "ab"[i % 2]) for i in range(12)]
    tried, untouched = mixed_cluster({"g": 30}), mixed_cluster({"g": 30})
    for cluster in (tried, untouched):  # both know the classes of the pods
        cluster.place([*gang, *later], commit=False)
    before = state_of(tried)
    plan = tried.place(gang, seed=seed)
    assert plan.n_placed == 0
    assert plan.gangs[0].fitted > 5
    assert set(plan.statuses) == {"GangRejected"}
    assert state_of(tried) == before
    got, expected = tried.place([*gang, *later], seed=9), untouched.place(later, seed=9)
    assert got.to_rows()[30:] == expected.to_rows()
    assert state_of(tried) == state_of(untouched)


def test_what_if_with_releases_leaves_the_state_as_it_was() -> None:
    cluster = mixed_cluster({})
    cluster.place([spreading("w-1", "a")], commit=False)
    before = state_of(cluster)
    with cluster.what_if():
        cluster.release(["default/old-0", "default/old-3"])
        cluster.place([spreading("w-1", "a")])
        cluster.release(["default/old-2"])
        assert state_of(cluster) != before
    assert state_of(cluster) == before

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
TOPOLOGIES = ("rack", "zone", "kubernetes.io/hostname")


def pod_group(name: str, min_count: int | None, topology: str = "") -> Obj:
    policy = {"basic": {}} if min_count is None else {"gang": {"minCount": min_count}}
    constraints = {"schedulingConstraints": {"topology": [{"key": topology}]}} if topology else {}
    return {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "kind": "PodGroup",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"schedulingPolicy": policy, **constraints},
    }


@dataclasses.dataclass(frozen=True)
class Case:
    """A cluster, pods to place, and the PodGroups that they are dealt out to."""

    world: Obj
    groups: gang_oracle.Groups
    topologies: dict[str, str]

    @property
    def objects(self) -> list[Obj]:
        made = [pod_group(name, least, self.topologies.get(name, "")) for name, least in self.groups.items()]
        return strategies.objects(self.world) + made


def case_of(seed: int, family: str = "node-local") -> Case:
    """A random case: some groups are too large, too small or missing, some must share a rack, zone or node."""
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
    groups: gang_oracle.Groups = {f"g{i}": int(rng.integers(1, 9)) for i in range(6)} | {"basic": None, "near": None}
    topologies = {f"g{i}": str(rng.choice(TOPOLOGIES)) for i in range(3)} | {"near": "rack"}
    for node in case["nodes"]:
        if rng.random() < 0.9:
            node["metadata"].setdefault("labels", {})["rack"] = str(rng.choice(["a", "b", "c", ""]))
    for pod in case["pods"] + case["sequence"]:
        pod["metadata"]["namespace"] = "default"
        pod["spec"] |= {"priority": int(rng.integers(0, 3)), "preemptionPolicy": "Never"}
        if rng.random() < 0.8:
            names = [*groups, "missing"]
            if pod["spec"].get("nodeName"):  # two groups with a topology find theirs taken, or torn
                names = [name for name in names if name not in ("g0", "g1")]
            pod["spec"]["schedulingGroup"] = {"podGroupName": str(rng.choice(names))}
        if rng.random() < 0.05:
            pod["spec"]["schedulingGates"] = [{"name": "wait"}]
    return Case(case, groups, topologies)


def check(seed: int, family: str, driver: str) -> int:
    """Compare one case; how many pods were decided."""
    case = case_of(seed, family)
    cluster, world = ks.Cluster.from_objects(case.objects), decision_oracle.build(case.world)
    plan = cluster.place(case.world["sequence"], driver=driver)

    def decide(pod: Obj, nodes: list[oracle.Node], rows: list[int]) -> Obj:
        return decision_oracle.decide_within(pod, dataclasses.replace(world, nodes=nodes), rows)

    pods = case.world["sequence"]
    expected = gang_oracle.Round(world.nodes, case.world["pods"], case.groups, pods, decide, case.topologies).run()
    assert [(-2 if s == "Gated" else n) for n, s in zip(plan.node_index, plan.statuses, strict=True)] == expected.node
    assert {g.gang.removeprefix("default/"): g.placed for g in plan.gangs} == expected.fits
    assert cluster.to_arrow()["nodes"]["used_pods"].to_pylist() == [node.n_pods for node in world.nodes]
    for gang in plan.gangs:
        check_outcome(gang, expected, case)
    return sum(node != -2 for node in expected.node)


def check_outcome(gang: ks.GangOutcome, expected: gang_oracle.Ending, case: Case) -> None:
    name = gang.gang.removeprefix("default/")
    if name in expected.errors:
        assert gang.reason == f"gang {gang.gang}: {expected.errors[name]}"
        return
    failed = expected.messages[name]
    assert "; pod " not in gang.reason or gang.reason.endswith(failed[0])
    if name not in case.topologies:
        assert bool(gang.reason) == (gang.min_count > gang.running + gang.fitted)
        return
    best = expected.best[name]
    assert (gang.n_placements, gang.placement_ties) == (expected.placements[name], len(best))
    assert bool(gang.reason) != bool(best)
    assert not best or gang.placement == f"{case.topologies[name]}={best[0]}"
    n = gang.n_placements
    told = f"0/{n} placements are available, first placement status: pod group is unschedulable" if n else ""
    assert best or (told or "no feasible placements found") in gang.reason


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_gangs_equal_the_oracle(seed: int, driver: str) -> None:
    check(seed, "node-local", driver)


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("family", pairwise_strategies.FAMILIES)
def test_gangs_whose_pods_look_at_each_other_equal_the_oracle(family: str, driver: str) -> None:
    for seed in range(4):
        check(seed, family, driver)


@pytest.mark.parametrize("family", ["node-local", "pairwise-mixed"])
def test_drivers_draw_the_same_and_so_does_the_way_of_pods_with_volumes(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seed in range(6):
        case = case_of(seed, family)
        plans = []
        for driver in ("dense", "indexed", "auto", "alone"):
            cluster = ks.Cluster.from_objects(case.objects)
            if driver == "alone":
                monkeypatch.setattr(cluster._state, "is_concerned", lambda _: True)
                monkeypatch.setattr(cluster._state, "batch", lambda *_: 0)
            name = "auto" if driver == "alone" else driver
            plans.append(cluster.place(case.world["sequence"], seed=seed, driver=name))
        for plan in plans[1:]:
            assert told(plan) == told(plans[0])


def told(plan: ks.Plan) -> Obj:
    """What was decided; how many pods of a gang were tried before it was given up is another matter."""
    pods = (plan.nodes, plan.scores.tolist(), plan.ties.tolist(), plan.statuses)
    return {"pods": pods, "gangs": [(g.gang, g.placed, g.placement, g.placement_ties) for g in plan.gangs]}


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
        case = case_of(seed)
        plan = ks.Cluster.from_objects(case.objects).place(case.world["sequence"])
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


def mixed_cluster(groups: dict[str, int | None], topology: str = "") -> ks.Cluster:
    nodes = [builders.make_node(f"n{i}").cpu("4").memory("8Gi").label("zone", f"z{i % 3}").build() for i in range(6)]
    cluster = ks.Cluster.from_objects([*nodes, *(pod_group(name, least, topology) for name, least in groups.items())])
    cluster.place([spreading(f"old-{i}", "ab"[i % 2]) for i in range(7)])
    cluster.release(["default/old-1", "default/old-4"])
    return cluster


def state_of(cluster: ks.Cluster) -> dict[str, Any]:
    """Everything that can be seen of a cluster, to the bit."""
    tables = {name: table.to_pydict() for name, table in cluster.to_arrow().items()}
    columns = cluster._state.engine.columns()
    raw = {name: np.asarray(getattr(columns, name)).tobytes() for name in native.Columns.__slots__}
    return {"tables": tables, "columns": raw, "running": cluster.running}


@pytest.mark.parametrize("topology", ["", "zone"])
@pytest.mark.parametrize("seed", [None, 5])
def test_a_rejected_gang_leaves_the_state_as_it_was(seed: int | None, topology: str) -> None:
    """Also what is decided later: the tallies behind spreading and affinity, and the numbers drawn for ties."""
    gang = [spreading(f"new-{i}", "ab"[i % 2], "g") for i in range(30)]
    later = [spreading(f"later-{i}", "ab"[i % 2]) for i in range(12)]
    for pod in gang if topology else ():  # in one zone no pod would fit
        del pod["spec"]["topologySpreadConstraints"]
    tried, untouched = mixed_cluster({"g": 30}, topology), mixed_cluster({"g": 30}, topology)
    for cluster in (tried, untouched):  # both know the classes of the pods
        cluster.place([*gang, *later], commit=False)
    before = state_of(tried)
    plan = tried.place(gang, seed=seed)
    assert plan.n_placed == 0
    assert plan.gangs[0].fitted >= 5
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

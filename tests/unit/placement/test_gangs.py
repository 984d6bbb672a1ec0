# SPDX-License-Identifier: Apache-2.0
"""Gangs through the facade: who is let in, who is placed, and what is said."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

import kubesched as ks
from kubesched.base import errors
from tests import builders
from tests.property.test_gangs import pod_group

Obj = dict[str, Any]


def constrained(*topology: Obj) -> Obj:
    return {"schedulingPolicy": {"basic": {}}, "schedulingConstraints": {"topology": list(topology)}}


def cluster(*groups: Obj, cpus: str = "2") -> ks.Cluster:
    nodes = [builders.make_node(f"n{i}").cpu(cpus).memory("8Gi").build() for i in range(3)]
    return ks.Cluster.from_objects([*nodes, *groups])


def member(name: str, group: str = "g", cpu: str = "1", **spec: Any) -> Obj:
    pod = builders.make_pod(name).container(cpu).build()
    pod["spec"] |= {"schedulingGroup": {"podGroupName": group}} | spec
    return pod


def members(n: int, **more: Any) -> list[Obj]:
    return [member(f"p{i}", **more) for i in range(n)]


def test_all_fit_and_all_are_placed() -> None:
    plan = cluster(pod_group("g", 6)).place(members(6))
    assert plan.is_complete
    assert [(g.gang, g.min_count, g.fitted, g.placed, g.reason) for g in plan.gangs] == [("default/g", 6, 6, True, "")]


def test_a_gang_that_does_not_fit_says_why() -> None:
    found = cluster(pod_group("g", 7))
    plan = found.place(members(7))
    reason = "gang default/g needs 7 pods: 6 fit; pod default/p6: 0/3 nodes are available: 3 Insufficient cpu."
    assert plan.statuses == ["GangRejected"] * 7
    assert plan.reasons == [reason] * 7
    assert plan.nodes == [None] * 7
    assert reason in str(plan)
    assert found.running == []


def test_pods_beyond_the_minimum_may_stay_behind() -> None:
    plan = cluster(pod_group("g", 5)).place(members(8))
    assert plan.statuses == ["Placed"] * 6 + ["Unschedulable"] * 2
    assert plan.reasons[7] == "0/3 nodes are available: 3 Insufficient cpu."


def test_running_pods_count() -> None:
    found = cluster(pod_group("g", 4))
    found.place(members(4))
    plan = found.place([member("p4"), member("p5"), member("p6")])
    assert plan.statuses == ["Placed", "Placed", "Unschedulable"]
    assert plan.gangs[0].running == 4


@pytest.mark.parametrize(
    ("groups", "n", "reason"),
    [
        ([], 2, 'waiting for pods\'s pod group "g" to appear in scheduling queue'),
        ([pod_group("g", 3)], 2, "waiting for minCount pods from a gang to appear in scheduling queue"),
    ],
)
def test_pods_wait_for_their_gang(groups: list[Obj], n: int, reason: str) -> None:
    plan = cluster(*groups).place(members(n))
    assert plan.statuses == ["Gated"] * n
    assert plan.reasons == [reason] * n


def test_gated_pods_count_as_there_but_not_as_fitting() -> None:
    plan = cluster(pod_group("g", 3)).place([*members(2), member("late", schedulingGates=[{"name": "x"}])])
    assert plan.statuses == ["GangRejected", "GangRejected", "Gated"]
    assert plan.reasons[0] == "gang default/g needs 3 pods: too few are let in"


def test_the_basic_policy_places_what_fits() -> None:
    plan = cluster(pod_group("g", None)).place(members(8))
    assert plan.n_placed == 6
    assert plan.gangs[0].placed
    assert "0 pods" not in str(plan)


def test_members_are_decided_together_by_priority() -> None:
    """At the place of the first; the plan keeps the order of the question."""
    alone = builders.make_pod("alone").container("2").build()
    pods = [member("low", priority=1), alone, member("high", priority=9, cpu="2")]
    plan = cluster(pod_group("g", 2)).place(pods)
    assert plan.nodes == ["n1", "n2", "n0"]
    assert plan.pods == ["default/low", "default/alone", "default/high"]


def test_without_commit_a_gang_meets_its_own_pods() -> None:
    found = cluster(pod_group("g", 6), pod_group("h", 7))
    plan = found.place([*members(6), *(member(f"h{i}", "h") for i in range(7))], commit=False)
    assert [g.placed for g in plan.gangs] == [True, False]
    assert found.running == []


# ---- topologies ----


def racks(*groups: Obj, cpus: tuple[int, ...] = (2, 3, 3)) -> ks.Cluster:
    """A node in each rack."""
    made = [builders.make_node(f"n{i}").cpu(str(n)).memory("8Gi").label("rack", f"r{i}") for i, n in enumerate(cpus)]
    return ks.Cluster.from_objects([*(node.build() for node in made), *groups])


def test_a_gang_goes_where_most_of_it_fits() -> None:
    plan = racks(pod_group("g", 2, "rack")).place(members(3))
    assert plan.nodes == ["n1"] * 3
    gang = plan.gangs[0]
    assert (gang.placement, gang.n_placements, gang.placement_ties, gang.placed) == ("rack=r1", 3, 2, True)


def test_placements_with_as_many_pods_compare_by_how_full_they_are() -> None:
    found = racks(pod_group("g", 1, "rack"), cpus=(8, 6, 8))
    found.place([builders.make_pod("other").container("4").select("rack", "r2").build()])
    assert found.place(members(2)).nodes == ["n2", "n2"]


def test_equal_placements_are_drawn_from_the_seed() -> None:
    draws = {racks(pod_group("g", 3, "rack")).place(members(3), seed=seed).nodes[0] for seed in range(20)}
    assert draws == {"n1", "n2"}


def test_a_gang_that_fits_nowhere_says_so_of_the_first_placement() -> None:
    plan = racks(pod_group("g", 4, "rack")).place(members(4))
    reason = (
        "gang default/g needs 4 pods: 0/3 placements are available, first placement status: pod group is unschedulable;"
        " with rack=r0 2 fit; pod default/p2: 0/1 nodes are available: 1 Insufficient cpu."
    )
    assert plan.reasons == [reason] * 4
    assert plan.gangs[0].placement == "rack=r0"


def test_a_label_that_no_node_has_leaves_no_placement() -> None:
    plan = racks(pod_group("g", 1, "row")).place(members(1))
    assert plan.reasons == ["gang default/g needs 1 pods: no feasible placements found"]


def test_pods_left_behind_are_explained_within_the_placement() -> None:
    plan = racks(pod_group("g", 2, "rack")).place(members(4))
    assert plan.statuses == ["Placed"] * 3 + ["Unschedulable"]
    assert plan.reasons[3] == "0/1 nodes are available: 1 Insufficient cpu."


def test_running_pods_fix_the_domain() -> None:
    found = racks(pod_group("g", 2, "rack"), cpus=(9, 3, 3))
    found.apply(ks.Delta(bind=[member("old", nodeName="n2")]))
    plan = found.place(members(4))
    assert plan.nodes == ["n2", "n2", None, None]
    assert (plan.gangs[0].n_placements, plan.gangs[0].placement) == (1, "rack=r2")
    found.apply(ks.Delta(bind=[member("older", nodeName="n1")]))
    problem = "cannot determine domain for already scheduled pods: more than 1 domain found for pod group: r2, r1"
    assert found.place([member("late")]).reasons == [f"gang default/g: {problem}"]


def test_members_that_run_do_not_make_a_placement_good() -> None:
    """Permit has to succeed for a pod that fits."""
    found = racks(pod_group("g", 1, "rack"))
    found.apply(ks.Delta(bind=[member("old", nodeName="n0")]))
    plan = found.place([member("big", cpu="9")])
    assert plan.statuses == ["GangRejected"]


def test_a_profile_without_a_generator_refuses_topologies() -> None:
    bare = dataclasses.replace(ks.PROFILES["default-v1.36"], name="bare", generates_placements=False)
    with pytest.raises(errors.UnsupportedError, match="PodGroup default/g: asks for a topology, and the profile has"):
        racks(pod_group("g", 1, "rack")).place(members(1), profile=bare)


def test_weights_of_placements_are_the_profile_s() -> None:
    """Without PodGroupPodsCount the fuller placement wins, though fewer pods fit."""
    cluster = racks(pod_group("g", 2, "rack"), cpus=(2, 3, 30))
    packs = dataclasses.replace(ks.PROFILES["default-v1.36"], name="packs", placement_scores=_FIT_ONLY)
    assert cluster.place(members(3), profile=packs, commit=False).nodes == ["n0", "n0", None]
    assert cluster.place(members(3), commit=False).nodes == ["n1"] * 3


_FIT_ONLY = (ks.ScorePlugin("NodeResourcesFit", 1, "MostAllocated", (("cpu", 1),)),)


def test_a_snapshot_knows_the_gangs() -> None:
    found = cluster(pod_group("g", 4))
    found.place(members(4))
    plan = found.snapshot().place([member("p4")])
    assert (plan.gangs[0].running, plan.statuses) == (4, ["Placed"])


def test_other_kinds_of_this_name_are_left_alone() -> None:
    other = pod_group("g", 4) | {"apiVersion": "scheduling.x-k8s.io/v1alpha1"}
    assert cluster(other).gangs == {}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({}, "is not one policy"),
        ({"schedulingPolicy": {"gang": {"minCount": 1}, "basic": {}}}, "is not one policy"),
        ({"schedulingPolicy": {"gang": {"minCount": 0}}}, "schedulingPolicy.gang.minCount: is out of range, got 0"),
        ({"schedulingPolicy": {"basic": {}}, "resourceClaims": [{"name": "x"}]}, "asks for claims of a group"),
        (constrained({"key": "rack"}, {"key": "row"}), "schedulingConstraints.topology: has too many items, got 2"),
        (constrained({"key": "a b"}), r"topology\[0\].key: is no label key, got 'a b'"),
        (constrained({}), r"topology\[0\].key: is missing"),
    ],
)
def test_bad_groups_are_refused(spec: Obj, message: str) -> None:
    with pytest.raises(errors.KubeschedError, match=message):
        cluster(pod_group("g", 1) | {"spec": spec})
    with pytest.raises(errors.InputError, match="exists twice"):
        cluster(pod_group("g", 1), pod_group("g", 1))

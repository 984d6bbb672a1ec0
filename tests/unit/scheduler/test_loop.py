# SPDX-License-Identifier: Apache-2.0
"""The scheduling loop, rule by rule."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import kubesched as ks
from kubesched.base import errors
from kubesched.framework import profile as profiles
from kubesched.framework.adapts import Adapts
from kubesched.scheduler import encode, events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.loop import SchedulingLoop
from kubesched.scheduler.preempting import renominated
from kubesched.scheduler.queue import Part
from kubesched.scheduler.rounds import Known
from kubesched.scheduler.tape import Change
from kubesched.state import rows
from kubesched.state.live import ClusterState
from tests.builders import HOSTNAME, NodeBuilder, PodBuilder, make_node, make_pod


class World:
    """A loop on a clock that the test turns."""

    def __init__(self, *nodes: NodeBuilder, **more: Any) -> None:
        self.now = 100.0
        self.loop = SchedulingLoop(ClusterState(), clock=lambda: self.now, **more)
        self.loop.add_nodes([encode.node_row(node.build()) for node in nodes])

    def add(self, *pods: PodBuilder, group: str = "", nominated: str = "") -> None:
        self.loop.add_pods([view(pod, group, nominated) for pod in pods])

    def decide(self) -> dict[str, str | None]:
        """Node of each pod by name, of all rounds until nobody is ready."""
        out: dict[str, str | None] = {}
        for found in self.loop.run(most=100):
            for key, row in zip(found.pods, found.node.tolist(), strict=True):
                out[key.removeprefix("default/")] = None if row < 0 else self.loop.state.node_name(row)
        return out

    def part(self, name: str) -> Part | None:
        return self.loop.queue.part_of(f"default/{name}")


def view(pod: PodBuilder, group: str = "", nominated: str = "") -> PodView:
    obj = pod.build()
    if group:
        obj["spec"]["schedulingGroup"] = {"podGroupName": group}
    if nominated:
        obj["status"] = {"nominatedNodeName": nominated}
    return events.view(obj, encode.pod_row(obj))


def node(name: str, cpu: str = "2") -> NodeBuilder:
    return make_node(name).cpu(cpu).memory("8Gi")


def pod(name: str, cpu: str = "1") -> PodBuilder:
    return make_pod(name).container(cpu=cpu)


def test_pods_behind_each_other_are_one_round() -> None:
    world = World(node("a", "8"))
    world.add(*(pod(f"p{i}") for i in range(5)))
    found = world.loop.step()
    assert found is not None
    assert len(found.pods) == 5
    assert (world.loop.totals.rounds, world.loop.totals.placed) == (1, 5)
    assert world.loop.step() is None


def test_a_failure_names_the_plugins_that_saw_the_pod_fail() -> None:
    world = World(node("a"), node("b").taint("t", "NoSchedule"))
    world.add(pod("p"), pod("q"), pod("r"))
    found = world.loop.step()
    assert found is not None
    failure = found.failures["default/r"]
    assert failure.plugins == {"NodeResourcesFit", "TaintToleration"}
    expected = "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s)."
    assert failure.message == expected
    assert failure.part == Part.UNSCHEDULABLE


def test_a_failure_is_explained_on_the_state_that_the_pod_met() -> None:
    """The large pod met an empty node that the pods behind it filled."""
    world = World(node("a", "2"))
    world.add(pod("large", "3").priority(1), pod("p"), pod("q"))
    assert world.decide() == {"large": None, "p": "a", "q": "a"}
    assert world.loop.state.engine.columns().used[0].tolist() == [2000]


def test_without_nodes_pods_back_off_as_after_errors() -> None:
    world = World()
    world.add(pod("p"))
    found = world.loop.step()
    assert found is not None
    assert found.failures["default/p"].message == "no nodes available to schedule pods"
    assert world.part("p") == Part.BACKOFF


def test_room_that_comes_free_is_given_to_who_waits() -> None:
    world = World(node("a"))
    world.add(pod("p"), pod("q"), pod("r"))
    assert world.decide() == {"p": "a", "q": "a", "r": None}
    world.loop.delete_pods(["default/p"])
    assert world.decide() == {"r": "a"}


def test_a_new_node_is_used() -> None:
    world = World(node("a", "1"))
    world.add(pod("p", "2"))
    assert world.decide() == {"p": None}
    world.now += 30
    world.loop.add_nodes([encode.node_row(node("small", "1").build())])
    assert world.decide() == {}
    world.loop.add_nodes([encode.node_row(node("big", "2").build())])
    assert world.decide() == {"p": "big"}


def test_a_node_that_grows_is_used_and_one_that_goes_is_not() -> None:
    world = World(node("a", "1"))
    world.add(pod("p", "2"))
    world.decide()
    world.loop.update_node(encode.node_row(node("a", "4").build()))
    assert world.decide() == {"p": "a"}
    world.loop.remove_node("a")
    world.add(pod("q"))
    assert world.decide() == {"q": None}


def test_a_placement_lets_a_more_important_pod_go_first() -> None:
    """Its partner is placed: the pod that waits for it comes before the pods that stood behind the partner."""
    near = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    follower = pod("follower").priority(5).build()
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": [near]}
    follower["spec"]["affinity"] = {"podAffinity": rule}
    partner = pod("partner").build()
    partner["metadata"]["labels"] = {"app": "x"}
    world = World(node("a"))
    world.loop.add_pods([events.view(follower, encode.pod_row(follower))])
    assert world.decide() == {"follower": None}
    world.now += 30
    world.loop.add_pods([events.view(obj, encode.pod_row(obj)) for obj in (partner, pod("last").build())])
    assert world.decide() == {"partner": "a", "follower": "a", "last": None}


def test_a_placement_helps_a_pod_that_failed_in_the_same_round() -> None:
    """The first partner is on a node without memory for the pod, the second, of the same shape, is not."""
    near = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
    follower = make_pod("follower").container(memory="5Gi").build()
    rule = {"requiredDuringSchedulingIgnoredDuringExecution": [near]}
    follower["spec"]["affinity"] = {"podAffinity": rule}
    partners = [pod(name).build() for name in ("one", "two")]
    for partner in partners:
        partner["metadata"]["labels"] = {"app": "x"}
    world = World(make_node("a").cpu("1500m").memory("4Gi"), make_node("b").cpu("1").memory("8Gi"))
    objects = [partners[0], follower, partners[1]]
    world.loop.add_pods([events.view(obj, encode.pod_row(obj)) for obj in objects])
    found = world.loop.step()
    assert found is not None
    assert found.node.tolist() == [0, -1, 1]
    assert found.failures["default/follower"].plugins == {"NodeResourcesFit", "InterPodAffinity"}
    assert world.part("follower") == Part.BACKOFF
    assert world.decide() == {"follower": "b"}


def test_gated_pods_wait_until_they_are_let_in() -> None:
    world = World(node("a"))
    world.add(pod("p").gate("g"))
    assert world.decide() == {}
    world.loop.update_pods([view(pod("p"))])
    assert world.decide() == {"p": "a"}


def test_an_update_of_a_running_pod_is_accounted() -> None:
    world = World(node("a"))
    world.add(pod("p", "2"), pod("q"))
    assert world.decide() == {"p": "a", "q": None}
    world.loop.update_pods([view(pod("p", "1").on("a"))])
    assert world.decide() == {"q": "a"}


def test_running_pods_whose_node_went_change_without_it() -> None:
    world = World(node("a"))
    world.add(pod("p", "2"))
    assert world.decide() == {"p": "a"}
    world.loop.remove_node("a")
    world.loop.update_pods([view(pod("p", "1"))])
    world.loop.add_nodes([encode.node_row(node("b").build())])
    world.add(pod("q", "2"))
    assert world.decide() == {"q": "b"}
    world.loop.delete_pods(["default/p"])


def test_a_cluster_lends_its_state_to_a_loop() -> None:
    cluster = ks.Cluster.from_objects([node("a").build()])
    loop = cluster.loop(lambda: 0.0, driver="dense")
    loop.add_pods([view(pod("p"))])
    loop.run()
    assert cluster.node_of("default/p") == "a"
    loop.add_pods([view(pod("q"))])
    loop.run()
    assert (loop.totals.rounds, loop.totals.dense, loop.totals.indexed) == (2, 2, 0)


def test_a_pod_that_another_scheduler_bound_is_not_decided() -> None:
    world = World(node("a"), node("b"))
    world.add(pod("p", "2"))
    world.loop.update_pods([view(pod("p", "2").on("b"))])
    world.add(pod("q", "2"), pod("r", "2").on("a"))
    assert world.decide() == {"q": None}


def test_a_pod_that_could_not_be_bound_is_tried_again() -> None:
    world = World(node("a"))
    world.add(pod("p", "2"), pod("q", "2"))
    assert world.decide() == {"p": "a", "q": None}
    world.loop.binding_failed("default/p")
    assert world.part("p") == Part.BACKOFF
    assert world.decide() == {"q": "a"}


def test_a_nominated_pod_that_leaves_helps_only_the_less_important() -> None:
    world = World(node("a", "1"))
    world.add(pod("p", "2"), pod("q", "2").priority(9))
    world.decide()
    world.add(pod("n", "1").gate("g").priority(5), nominated="a")
    world.loop.delete_pods(["default/n"])
    assert (world.part("p"), world.part("q")) == (Part.BACKOFF, Part.UNSCHEDULABLE)


def test_a_gang_waits_for_its_group_and_its_pods() -> None:
    world = World(node("a"))
    world.add(pod("p"), group="g")
    assert world.decide() == {}
    world.loop.add_gang(rows.Gang("default", "g", 2))
    assert world.decide() == {}
    world.add(pod("q").priority(1), group="g")
    assert world.decide() == {"q": "a", "p": "a"}


def test_a_gang_that_does_not_fit_leaves_nothing_behind() -> None:
    world = World(node("a"), known=Known(gangs=[rows.Gang("default", "g", 3)]))
    world.add(pod("p"), pod("q"), pod("r"), group="g")
    found = world.loop.step()
    assert found is not None
    assert found.node.tolist() == [-1, -1, -1]
    assert [found.failures[key].plugins for key in found.pods] == [set(), set(), {"NodeResourcesFit"}]
    assert {world.part(name) for name in "pqr"} == {Part.BACKOFF}
    assert world.loop.state.engine.columns().used[0].tolist() == [0]
    world.add(pod("s", "2"))
    assert world.decide()["s"] == "a"


def test_members_that_run_count_for_their_gang() -> None:
    world = World(node("a", "3"), known=Known(gangs=[rows.Gang("default", "g", 2)]))
    world.add(pod("old").on("a"), group="g")
    world.add(pod("p"), group="g")
    assert world.decide() == {"p": "a"}


def test_a_gang_with_a_topology_goes_where_most_of_it_fits() -> None:
    racks = [node("a", "2").label("rack", "r0"), node("b", "2").label("rack", "r1"), node("c", "2").label("rack", "r1")]
    gang = rows.Gang("default", "g", 2, "rack")
    world = World(*racks, known=Known(gangs=[gang]))
    world.add(*(pod(name) for name in "pqr"), group="g")
    assert world.decide() == {"p": "b", "q": "c", "r": "b"}
    world.add(*(pod(name) for name in "stu"), group="g")
    found = world.loop.step()
    assert found is not None
    assert found.node.tolist() == [2, -1, -1]
    assert found.failures["default/t"].message == "0/2 nodes are available: 2 Insufficient cpu."


def test_a_gang_that_fits_in_no_placement_leaves_nothing_behind() -> None:
    gangs = [rows.Gang("default", "g", 3, "rack"), rows.Gang("default", "h", 1, "row")]
    world = World(node("a").label("rack", "r0"), node("b").label("rack", "r1"), known=Known(gangs=gangs))
    world.add(*(pod(name) for name in "pqr"), group="g")
    found = world.loop.step()
    assert found is not None
    assert found.failures["default/r"].message == "0/1 nodes are available: 1 Insufficient cpu."
    assert not world.loop.state.engine.columns().used[0].any()
    world.add(pod("s"), group="h")
    found = world.loop.step()
    assert found is not None
    assert found.failures["default/s"].message == "no feasible placements found"


def test_a_gang_that_runs_in_two_domains_is_an_error() -> None:
    gang = rows.Gang("default", "g", 1, "rack")
    world = World(node("a").label("rack", "r0"), node("b").label("rack", "r1"), known=Known(gangs=[gang]))
    world.add(pod("o").on("a"), pod("p").on("b"), group="g")
    world.add(pod("q"), group="g")
    found = world.loop.step()
    assert found is not None
    assert found.failures["default/q"].message == (
        "cannot determine domain for already scheduled pods: more than 1 domain found for pod group: r0, r1"
    )


def test_a_profile_without_a_generator_refuses_topologies() -> None:
    bare = replace(profiles.find(profiles.DEFAULT), name="bare", generates_placements=False)
    world = World(node("a"), profile=bare)
    with pytest.raises(errors.UnsupportedError, match="PodGroup default/g: asks for a topology, and the profile"):
        world.loop.add_gang(rows.Gang("default", "g", 1, "rack"))


def test_events_of_other_kinds_reach_who_waits_for_them() -> None:
    world = World(node("a"))
    world.add(pod("p", "3"))
    world.decide()
    world.loop.happened(Event(events.PERSISTENT_VOLUME, Action.ADD, None, {"metadata": {"name": "v"}}))
    assert world.part("p") == Part.UNSCHEDULABLE


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda loop: loop.delete_pods(["default/x"]), "Pod default/x: is not known"),
        (lambda loop: loop.binding_failed("default/x"), "Pod default/x: was not placed"),
        (lambda loop: loop.remove_node("x"), "Node x: is not known"),
        (lambda loop: loop.update_node(encode.node_row(node("x").build())), "Node x: is not known"),
    ],
)
def test_what_is_not_known_is_refused(act: Any, text: str) -> None:
    with pytest.raises(errors.StateError, match=text):
        act(World(node("a")).loop)


def test_searches_that_end_early_go_on_across_rounds_and_nodes() -> None:
    ten = replace(profiles.find(profiles.DEFAULT), name="ten", node_percentage=10)
    world = World(*(node(f"n{i:03}", "8") for i in range(250)), profile=ten)
    world.add(pod("p0"), pod("p1"))
    assert list(world.decide().values()) == ["n000", "n100"]
    world.loop.remove_node("n003")
    world.add(pod("p2"))
    assert list(world.decide().values()) == ["n001"]  # of n201 to n249 and n000 to n051


def test_the_arguments_of_the_profile_reach_the_loop() -> None:
    only_b = (rows.Term((rows.Requirement("kubernetes.io/hostname", "In", ("b",)),)),)
    added = replace(profiles.find(profiles.DEFAULT), name="added", adapts=Adapts(required_terms=only_b))
    world = World(node("a"), node("b"), profile=added)
    world.add(pod("p0"), pod("p1"), pod("p2"))
    assert world.decide() == {"p0": "b", "p1": "b", "p2": None}


# ---- pods that evict ----


def evicting_world() -> World:
    """A full node, and a pod for which somebody has to leave it."""
    world = World(node("a"))
    world.add(pod("v"), pod("w"))
    assert world.decide() == {"v": "a", "w": "a"}
    world.add(pod("p", "2").priority(5))
    return world


def test_a_pod_that_evicts_waits_for_its_victims_and_takes_their_place() -> None:
    world = evicting_world()
    found = world.loop.step()
    assert found is not None
    assert found.victims == {"default/p": ["default/v", "default/w"]}
    assert found.nominated == {"default/p": "a"}
    assert found.failures["default/p"].preemption == ""
    world.now += 5
    world.loop.delete_pods(["default/v"])
    assert (world.decide(), world.part("p")) == ({}, Part.UNSCHEDULABLE)
    world.loop.delete_pods(["default/w"])
    assert world.decide() == {"p": "a"}


def test_a_terminating_victim_lets_the_pod_go_but_not_evict_again() -> None:
    world = evicting_world()
    world.loop.run()
    world.now += 5
    for name in "vw":
        obj = pod(name).build() | {"status": {"conditions": [TARGET]}}
        obj["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        obj["spec"]["nodeName"] = "a"
        world.loop.update_pods([events.view(obj, encode.pod_row(obj))])
    world.loop.queue.activate(["default/p"])
    found = world.loop.step()
    assert found is not None
    assert found.failures["default/p"].preemption.endswith(
        "not eligible due to a terminating pod on the nominated node."
    )
    assert (found.victims, found.nominated) == ({}, {})


TARGET = {"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"}


def test_an_update_from_before_the_nomination_does_not_end_it() -> None:
    world = evicting_world()
    world.loop.run()
    world.loop.update_pods([view(pod("p", "2").priority(5))])
    world.add(pod("q").priority(5))
    world.loop.delete_pods(["default/v", "default/w"])
    assert world.decide() == {"q": None, "p": "a"}, "it yields to the nominated pod, which backs off"


def test_an_update_that_clears_a_nomination_ends_it() -> None:
    world = evicting_world()
    world.loop.run()
    world.loop.update_pods([view(pod("p", "2").priority(5), nominated="a")])
    world.loop.update_pods([view(pod("p", "2").priority(5))])
    world.add(pod("q").priority(5))
    world.loop.delete_pods(["default/v", "default/w"])
    assert world.decide() == {"q": "a", "p": None}


def test_a_lower_nomination_is_cleared() -> None:
    world = evicting_world()
    world.loop.run()
    world.add(pod("m", "2").priority(7))
    found = world.loop.step()
    assert found is not None
    assert found.nominated == {"default/m": "a", "default/p": ""}


def test_a_failed_eviction_brings_the_pod_back() -> None:
    world = evicting_world()
    world.loop.run()
    world.loop.eviction_failed("default/p")
    found = world.loop.step()
    assert found is not None
    assert found.victims == {"default/p": ["default/v", "default/w"]}


def test_a_node_that_comes_back_is_still_nominated() -> None:
    world = evicting_world()
    world.loop.run()
    world.loop.delete_pods(["default/v", "default/w"])
    world.loop.remove_node("a")
    world.loop.add_nodes([encode.node_row(node("a").build()), encode.node_row(node("b", "1").build())])
    world.add(pod("q").priority(5))
    assert world.decide() == {"p": "a", "q": "b"}


# ---- pods share a class until a selector tells them apart ----


def of_app(made: PodBuilder, app: str = "", avoids: str = "") -> PodView:
    """A pod of an app, or one that shares no node with pods of another."""
    obj = made.build()
    obj["metadata"]["labels"] = {"app": app} if app else {}
    if avoids:
        term = {"topologyKey": HOSTNAME, "labelSelector": {"matchLabels": {"app": avoids}}}
        obj["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return events.view(obj, encode.pod_row(obj))


def test_changes_are_played_with_the_selector_that_comes_behind_them() -> None:
    world = World(node("a", "8"), node("b", "8"))
    pods = [of_app(pod("p"), "web"), of_app(pod("q"), "db"), of_app(pod("r"), avoids="web"), of_app(pod("s"), "web")]
    played = world.loop.play([Change(add_pods=[one]) for one in pods])
    assert world.loop.totals.together == 4
    names = [world.loop.state.node_name(int(rounds[0].node[0])) for rounds in played]
    assert names == ["a", "b", "b", "a"], "r keeps away from p, and s from r"


def test_pods_of_a_stream_that_is_played_give_their_classes_up() -> None:
    world = World(node("a", "8"))
    most = 0
    for i in range(40):
        changes = [Change(add_pods=[of_app(pod(f"p{i}-{k}"), f"{i}-{k}", avoids=f"{i}-{k}")]) for k in range(5)]
        world.loop.play(changes)
        assert world.loop.totals.placed == 5 * (i + 1)
        world.loop.delete_pods([f"default/p{i}-{k}" for k in range(5)])
        most = max(most, len(world.loop.state.classes))
        world.loop.state.classes._room = 20
    assert most <= 25


def n_feasible(world: World, pod: PodView) -> int:
    """Nodes that take a pod beside those that are nominated."""
    class_id = world.loop.state.class_of(pod.row)
    with world.loop.state.evictions.asking(pod.row):
        return world.loop.state.engine.summarize(0, class_id).feasible


def test_a_selector_sees_a_pod_that_was_nominated_before_it_came() -> None:
    world = World(node("a"), node("b"))
    world.loop.add_pods([renominated(of_app(pod("p").priority(5), "web"), "a")])
    assert n_feasible(world, of_app(pod("q"))) == 2
    assert n_feasible(world, of_app(pod("q"), avoids="web")) == 1


def test_a_nominated_pod_has_its_class_of_now_where_its_node_comes_back() -> None:
    world = World(node("a"), node("b"))
    world.loop.add_pods([renominated(of_app(pod("p").priority(5), "web"), "a")])
    world.loop.remove_node("a")
    assert n_feasible(world, of_app(pod("q"), avoids="web")) == 1
    world.loop.add_nodes([encode.node_row(node("a").build())])
    assert n_feasible(world, of_app(pod("q"), avoids="web")) == 1

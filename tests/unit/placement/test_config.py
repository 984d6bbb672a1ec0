# SPDX-License-Identifier: Apache-2.0
"""Profiles of a configuration in the facade: who decides which pod, and what is refused."""

from __future__ import annotations

import pytest

import kubesched as ks
from kubesched.base import errors
from kubesched.scheduler import encode, events
from kubesched.scheduler.config import configuration, schema
from kubesched.scheduler.tape import Change
from tests.builders import Obj, make_node, make_pod, need, term


def profiles(*given: Obj, percentage: int = 100) -> configuration.ProfileMap:
    head = {"apiVersion": schema.API_VERSION, "kind": schema.KIND, "percentageOfNodesToScore": percentage}
    return configuration.parse(head | {"profiles": list(given)}).decides


def args(scheduler: str, plugin: str, **given: object) -> Obj:
    return {"schedulerName": scheduler, "pluginConfig": [{"name": plugin, "args": given}]}


def named(obj: Obj, scheduler: str) -> Obj:
    obj["spec"]["schedulerName"] = scheduler
    return obj


def node(name: str) -> Obj:
    return make_node(name).cpu("8").memory("8Gi").label("pool", name).build() | {"kind": "Node"}


def pod(name: str, scheduler: str = "spread", cpu: str = "1") -> Obj:
    return named(make_pod(name).container(cpu=cpu, memory="1Gi").build() | {"kind": "Pod"}, scheduler)


SPREAD = args("spread", "NodeResourcesFit", scoringStrategy={"type": "LeastAllocated"})
PACK = {
    "schedulerName": "pack",
    "plugins": {
        "multiPoint": {"disabled": [{"name": "NodeResourcesBalancedAllocation"}]},
    },
    "pluginConfig": [{"name": "NodeResourcesFit", "args": {"scoringStrategy": {"type": "MostAllocated"}}}],
}


def test_each_pod_is_decided_by_the_profile_that_it_names() -> None:
    decides = profiles(SPREAD, PACK)
    cluster = ks.Cluster.from_objects([node("a"), node("b")])
    pods = [pod("p0"), pod("p1"), pod("p2", "pack"), pod("p3", "pack"), pod("p4"), pod("p5")]
    plan = cluster.place(pods, profile=decides)
    assert plan.profile == "spread, pack"
    assert plan.nodes == ["a", "b", "a", "a", "b", "b"]
    one_by_one = ks.Cluster.from_objects([node("a"), node("b")])
    assert [one_by_one.place([p], profile=decides).nodes[0] for p in pods] == plan.nodes
    assert cluster.explain(pod("q", "pack"), profile=decides).profile == "pack"


def test_reasons_are_those_of_the_pods_own_profile() -> None:
    enforced = {"nodeSelectorTerms": [term(need("pool", "In", "x"))]}
    added = args("picky", "NodeAffinity", addedAffinity={"requiredDuringSchedulingIgnoredDuringExecution": enforced})
    cluster = ks.Cluster.from_objects([node("a")])
    plan = cluster.place([pod("p", "picky"), pod("q", "spread", "9")], profile=profiles(SPREAD, added))
    assert [reason.split(": ", 1)[1] for reason in plan.reasons] == [
        "1 node(s) didn't match scheduler-enforced node affinity.",
        "1 Insufficient cpu.",
    ]


def test_a_gang_has_one_profile() -> None:
    group = {
        "apiVersion": "scheduling.k8s.io/v1alpha2",
        "kind": "PodGroup",
        "metadata": {"name": "g", "namespace": "default"},
        "spec": {"schedulingPolicy": {"gang": {"minCount": 2}}},
    }
    pods = [pod("p0"), pod("p1", "pack")]
    for obj in pods:
        obj["spec"]["schedulingGroup"] = {"podGroupName": "g"}
    cluster = ks.Cluster.from_objects([node("a"), group, *pods])
    with pytest.raises(ks.InputError, match="PodGroup default/g: has pods of several profiles"):
        cluster.place(profile=profiles(SPREAD, PACK))


def test_pods_that_a_disabled_plugin_would_decide_are_refused() -> None:
    off = {"schedulerName": "spread", "plugins": {"multiPoint": {"disabled": [{"name": "NodeAffinity"}]}}}
    cluster = ks.Cluster.from_objects([node("a")])
    assert cluster.place([pod("p")], profile=profiles(off)).is_complete
    picky = make_pod("q").require(term(need("pool", "In", "x"))).build()
    with pytest.raises(ks.UnsupportedError, match="Pod default/q: is a pod for NodeAffinity"):
        cluster.place([named(picky, "spread")], profile=profiles(off))


def test_ignored_resources_need_not_fit_but_are_accounted() -> None:
    ignored = args("spread", "NodeResourcesFit", ignoredResources=["example.com/license"])
    asks = make_pod("p").container(cpu="1", memory="1Gi", more={"example.com/license": "3"}).build()
    cluster = ks.Cluster.from_objects([node("a")])
    assert cluster.place([named(asks, "spread")], profile=profiles(ignored)).nodes == ["a"]
    assert cluster.to_arrow()["nodes"]["used.example.com/license"].to_pylist() == [3]
    again = ks.Cluster.from_arrow(**cluster.to_arrow())
    assert again.to_arrow()["classes"]["unchecked"].to_pylist() == [["example.com/license"]]


def test_adaptive_percentage_leaves_nodes_out_of_large_clusters_only() -> None:
    decides = profiles(SPREAD, percentage=0)
    small = ks.Cluster.from_objects([node(f"n{i}") for i in range(100)])
    assert small.place([pod("p")], profile=decides).n_partial == 0
    large = ks.Cluster.from_objects([node(f"n{i}") for i in range(101)])
    assert large.place([pod("p")], profile=decides).n_partial == 1


@pytest.mark.parametrize("play", [False, True])
def test_the_loop_decides_each_pod_by_the_profile_of_its_scheduler(play: bool) -> None:
    decides = profiles(SPREAD, PACK)
    nodes = [node(name) for name in "abcd"]
    names = ["spread", "pack", "pack", "spread", "spread", "pack", "nobody", "pack", "spread", "pack"]
    pods = [pod(f"p{i}", name) for i, name in enumerate(names)]
    ours = [one for one, name in zip(pods, names, strict=True) if name != "nobody"]
    expected = ks.Cluster.from_objects(nodes).place(ours, profile=decides).nodes
    cluster = ks.Cluster.from_objects(nodes)
    loop = cluster.loop(lambda: 0.0, profile=decides)
    views = [events.view(one, encode.pod_row(one)) for one in pods]
    if play:
        loop.play([Change(add_pods=views[:5]), Change(add_pods=views[5:])])
    else:
        loop.add_pods(views)
        loop.run()
    assert [cluster.node_of(f"default/{one['metadata']['name']}") for one in ours] == expected


def test_pods_of_another_scheduler_are_left_to_it_until_they_run() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    loop = cluster.loop(lambda: 0.0, profile=profiles(SPREAD, PACK))
    waits = pod("p", "nobody")
    loop.add_pods([events.view(waits, encode.pod_row(waits))])
    assert loop.run() == []
    assert loop.queue.part_of("default/p") is None
    runs = waits | {"spec": waits["spec"] | {"nodeName": "a"}}
    loop.update_pods([events.view(runs, encode.pod_row(runs))])
    assert cluster.node_of("default/p") == "a"
    loop.delete_pods(["default/p"])
    loop.add_pods([events.view(waits, encode.pod_row(waits))])
    loop.delete_pods(["default/p"])
    with pytest.raises(errors.StateError):
        loop.delete_pods(["default/p"])

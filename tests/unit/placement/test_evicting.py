# SPDX-License-Identifier: Apache-2.0
"""Pods that evict others through the facade: who leaves, who stays, and why somebody finds no place."""

from __future__ import annotations

from typing import Any

import pytest

import kubesched as ks
from kubesched.base import errors


def node(name: str, cpu: str = "4") -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
    }


def pod(name: str, cpu: str, priority: int = 0, on: str = "", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]
    where = {"nodeName": on} if on else {}
    metadata = {"name": name, "namespace": "default", "labels": {"app": name.partition("-")[0]}}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "spec": {"containers": containers, "priority": priority, **where, **spec},
    }


def test_the_least_important_leave_and_the_pod_takes_their_place() -> None:
    running = [pod("low-1", "2", 1, "a"), pod("mid-1", "2", 5, "a"), pod("low-2", "3", 1, "b")]
    cluster = ks.Cluster.from_objects([node("a"), node("b"), *running])
    plan = cluster.place([pod("high-1", "2", 9), pod("high-2", "2", 9), pod("high-3", "9", 9)], evict=True)
    assert plan.nodes == ["a", "b", None]
    assert plan.victims == {"default/high-1": ["default/low-1"], "default/high-2": ["default/low-2"]}
    assert sorted(cluster.running) == ["default/high-1", "default/high-2", "default/mid-1"]
    assert plan.reasons[2].startswith("0/2 nodes are available: 2 Insufficient cpu. no new claims to deallocate")
    assert plan.reasons[2].endswith("2 Preemption is not helpful for scheduling.")


def test_one_batch_evicts_what_it_placed() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    plan = cluster.place([pod("low-1", "4", 1), pod("high-1", "4", 9), pod("top-1", "4", 99)], evict=True)
    assert plan.nodes == ["a", "a", "a"]
    assert plan.victims == {"default/high-1": ["default/low-1"], "default/top-1": ["default/high-1"]}
    assert cluster.running == ["default/top-1"]
    cluster.release("default/top-1")
    assert cluster.place([pod("low-2", "4")], evict=True).nodes == ["a"]


def test_who_may_not_evict_is_told_so() -> None:
    cluster = ks.Cluster.from_objects([node("a"), pod("low-1", "4", 1, "a")])
    plan = cluster.place([pod("meek-1", "2", 9, preemptionPolicy="Never")], evict=True)
    assert plan.nodes == [None]
    assert plan.reasons[0].endswith("preemption: not eligible due to preemptionPolicy=Never.")
    assert cluster.place([pod("high-1", "2", 9)]).nodes == [None]  # nobody asked for evictions


def test_budgets_are_kept_if_another_node_will_do() -> None:
    budget = {
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "keep", "namespace": "default"},
        "spec": {"selector": {"matchLabels": {"app": "safe"}}},
        "status": {"disruptionsAllowed": 0},
    }
    running = [pod("safe-1", "4", 1, "a"), pod("other-1", "4", 2, "b")]
    cluster = ks.Cluster.from_objects([node("a"), node("b"), budget, *running])
    plan = cluster.snapshot().place([pod("high-1", "3", 9)], evict=True)
    assert plan.victims == {"default/high-1": ["default/other-1"]}


def test_a_nominated_pod_keeps_its_room() -> None:
    waiting = pod("first-1", "3", 5) | {"status": {"nominatedNodeName": "a"}}
    cluster = ks.Cluster.from_objects([node("a"), waiting])
    assert cluster.place([pod("low-1", "2", 1)]).nodes == [None]
    assert cluster.place([pod("high-1", "2", 9)], commit=False).nodes == ["a"]
    plan = cluster.place()
    assert (plan.pods, plan.nodes) == (["default/first-1"], ["a"])
    assert cluster.place([pod("low-1", "1", 1)]).nodes == ["a"]


def test_what_cannot_be_is_refused() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    with pytest.raises(errors.InputError, match="evict: needs commit"):
        cluster.place([pod("a-1", "1")], evict=True, commit=False)
    with cluster.what_if(), pytest.raises(errors.StateError, match="evict: cannot be undone"):
        cluster.place([pod("a-1", "1")], evict=True)


def test_whatif_brings_known_pods_back() -> None:
    cluster = ks.Cluster.from_objects([node("a"), pod("low-1", "2", 1, "a")])
    cluster.place([pod("mid-1", "2", 3)], evict=True)
    with cluster.what_if():
        cluster.release("default/low-1")
        cluster.place([pod("other-1", "2", 5)])
    plan = cluster.place([pod("high-1", "4", 9)], evict=True)
    assert plan.victims == {"default/high-1": ["default/mid-1", "default/low-1"]}


def test_trying_one_node_leaves_what_the_rules_say_of_the_next() -> None:
    """Two zones hold a web pod each. Who tries ``a`` counts none there for a moment, and must not say so of ``b``."""
    rule = {
        "maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone",
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "web"}},
    }
    nodes = [node(name, "2") for name in "abc"]
    for one, zone in zip(nodes, "xyy", strict=True):
        one["metadata"]["labels"] = {"topology.kubernetes.io/zone": zone}
    running = [
        pod("web-1", "1", 2, "a"),  # asked before the less important one whether it may stay
        pod("low-1", "1", 1, "a"),
        pod("low-2", "2", 0, "b"),  # the least important of all
        pod("web-2", "2", 9, "c"),
    ]
    cluster = ks.Cluster.from_objects([*nodes, *running])
    plan = cluster.place([pod("web-3", "2", 5, topologySpreadConstraints=[rule])], evict=True)
    assert (plan.nodes, plan.victims) == (["b"], {"default/web-3": ["default/low-2"]})

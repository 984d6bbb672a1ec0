# SPDX-License-Identifier: Apache-2.0
"""percentageOfNodesToScore through the facade: what is remembered between calls, and what is not."""

from __future__ import annotations

from dataclasses import replace

import kubesched as ks
from kubesched.framework import profile as profiles
from tests.builders import make_node, make_pod

TEN = replace(profiles.find(profiles.DEFAULT), name="ten", node_percentage=10)
BARE = replace(profiles.find(profiles.DEFAULT), name="bare", scores=())


def _pods(n: int, prefix: str = "p") -> list[object]:
    return [make_pod(f"{prefix}{i}").container(cpu="1", memory="1Gi").build() for i in range(n)]


def _cluster() -> ks.Cluster:
    nodes = [make_node(f"n{i:03}").cpu("8").memory("32Gi").pods(110).build() for i in range(250)]
    return ks.Cluster.from_objects(nodes)


def test_the_next_call_goes_on_where_the_last_one_ended() -> None:
    plan = _cluster().place(_pods(5), profile=TEN)
    assert plan.node_index.tolist() == [0, 100, 1, 50, 150]
    assert (plan.n_partial, plan.n_dense, plan.n_indexed) == (5, 5, 0)
    cluster = _cluster()
    rows = [cluster.place(_pods(1, f"q{i}"), profile=TEN).node_index[0] for i in range(5)]
    assert rows == [0, 100, 1, 50, 150]


def test_profiles_share_the_place() -> None:
    cluster = _cluster()
    cluster.place(_pods(1), profile=TEN)
    assert cluster.place(_pods(1, "q"), profile=replace(TEN, name="adaptive", node_percentage=0)).node_index[0] == 100


def test_whole_searches_take_no_notice() -> None:
    cluster = _cluster()
    plan = cluster.place(_pods(3))
    assert plan.node_index.tolist() == [0, 1, 2]
    assert plan.n_partial == 0
    assert cluster.place(_pods(1, "q"), profile=TEN).node_index[0] == 3


def test_a_question_leaves_the_place_alone() -> None:
    cluster = _cluster()
    assert cluster.place(_pods(2), profile=TEN, commit=False).node_index.tolist() == [0, 0]
    with cluster.what_if():
        cluster.place(_pods(1), profile=TEN)
    assert cluster.place(_pods(1), profile=TEN).node_index[0] == 0


def test_a_snapshot_has_place_and_order() -> None:
    cluster = _cluster()
    cluster.place(_pods(1), profile=TEN)
    cluster.apply(ks.Delta(remove_nodes=["n005"]))
    cluster.apply(ks.Delta(add_nodes=[make_node("late").cpu("8").memory("32Gi").pods(110).build()]))
    copy = cluster.snapshot()
    for i in range(5):
        ours, theirs = (c.place(_pods(1, f"q{i}"), profile=TEN).nodes for c in (cluster, copy))
        assert ours == theirs


def test_without_scores_every_node_gets_its_turn() -> None:
    plan = _cluster().place(_pods(4), profile=BARE)
    assert plan.node_index.tolist() == [0, 1, 2, 3]
    assert plan.scores.tolist() == [0, 0, 0, 0]

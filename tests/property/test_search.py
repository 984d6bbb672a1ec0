# SPDX-License-Identifier: Apache-2.0
"""Decisions that look at some of the nodes only, while a cluster lives, against the oracle of searches.

Profiles with different percentages take turns, one pod or many in a call: they share the place where the next search
begins. Nodes come, go, come back and change their zone in between.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

import kubesched as ks
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from tests import decision_oracle, oracle, preemption_oracle, search_oracle, strategies
from tests.builders import Obj
from tests.conftest import Tally
from tests.property.test_decisions import FAMILIES, Life
from tests.property.test_engine_oracle import Rng, rng_of
from tests.strategies import below, chance, pick

PERCENTAGES = (1, 60, 100, 0)
PROFILES = {
    share: replace(profiles.find(profiles.DEFAULT), name=f"default-{share}", node_percentage=share)
    for share in PERCENTAGES
}


class Zoned:
    """A family whose nodes stand in zones, most of them without anything in a pod's way."""

    def __init__(self, family: Any) -> None:
        self.of = family
        self.made: Obj = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.of, name)

    def node(self, rng: Rng, i: int) -> Obj:
        self.made = self.placed(rng, self.of.node(rng, i))
        return self.made

    @staticmethod
    def placed(rng: Rng, obj: Obj) -> Obj:
        if chance(rng, 0.8):
            obj["spec"] = {}
            obj["status"]["allocatable"] |= {"cpu": "64", "memory": "256Gi", "pods": "110"}
        labels = obj["metadata"].setdefault("labels", {})
        if chance(rng, 0.8):
            labels["topology.kubernetes.io/zone"] = pick(rng, ("a", "b", "c"))
        if chance(rng, 0.2):
            labels["topology.kubernetes.io/region"] = "r"
        return obj


class Searches(Life):
    def __init__(self, family: str, seed: int, n_nodes: int) -> None:
        self.rng = rng_of(seed)
        self.family = zoned = Zoned(FAMILIES[family]())
        case = zoned.case(self.rng, n_nodes, below(self.rng, n_nodes))
        case["nodes"] = [zoned.placed(self.rng, obj) for obj in case["nodes"]]
        self.cluster = ks.Cluster.from_objects(strategies.objects(case))
        self.world = decision_oracle.build(case)
        self.rows = list(self.world.nodes)
        self.images: oracle.Images = self.world.nodes[0]._known
        self.n_nodes = n_nodes
        self.running = {preemption_oracle.key(p): p for p in case["pods"]}
        self.kinds = [zoned.pod(self.rng, "p") for _ in range(8)]
        self.serial = self.done = 0
        self.seen = Counter[str]()
        self.tree = search_oracle.Tree(case["nodes"])
        self.scheduler = search_oracle.Scheduler(self.tree)

    # ---- nodes ----

    def add_node(self) -> None:
        super().add_node()
        self.tree.add(self.family.made)

    def update_node(self) -> None:
        super().update_node()
        self.tree.update(self.family.made)

    def remove_node(self) -> None:
        before = {self.node(row).name for row in self.there}
        super().remove_node()
        for name in before - {self.node(row).name for row in self.there}:
            self.tree.delete(name)

    def replace_node(self) -> None:
        """A node goes, and comes back elsewhere before anybody looks."""
        before = {self.node(row).name for row in self.there}
        self.remove_node()
        gone = before - {self.node(row).name for row in self.there}
        n_nodes = self.n_nodes
        for name in gone:
            self.n_nodes = int(name.lstrip("node-"))
            self.add_node()
        self.n_nodes = n_nodes

    # ---- decisions ----

    def decide(self) -> None:
        """A few pods in one call, first undone or not committed."""
        share = pick(self.rng, PERCENTAGES)
        profile, driver = PROFILES[share], pick(self.rng, sorted(native.DRIVERS))
        pods = [self.pod() for _ in range(1 + below(self.rng, 4))]
        with self.cluster.what_if():
            before = self.cluster.place(pods, profile=profile, driver="dense")
        alone = self.cluster.place(pods[:1], profile=profile, commit=False)
        plan = self.cluster.place(pods, profile=profile, driver=driver)
        assert alone.node_index[0] == before.node_index[0] == plan.node_index[0]
        assert before.node_index.tolist() == plan.node_index.tolist()
        for at, obj in enumerate(pods):
            expected = self.scheduler.decide(obj, self.world, share)
            best = [self.there[i] for i in expected.get("best", [])]
            wanted = best[0] if best else -1, max(expected.get("total", [-1])), len(best)
            assert (plan.node_index[at], plan.scores[at], plan.ties[at]) == wanted, (share, driver)
            assert plan.reasons[at] == expected.get("message", "")
            if best:
                self.assume(obj, best[0])
            self.count_search(expected)
        assert self.cluster._next_node == self.scheduler.next
        self.seen["partial"] += plan.n_partial
        self.done += len(pods)

    def count_search(self, expected: Obj) -> None:
        status = expected.get("status", [])
        self.seen["decisions"] += 1
        self.seen["ended early"] += len(expected["feasible"]) < status.count(None) if "feasible" in expected else 0
        self.seen["restricted"] += "nodes" in expected.get("preFilter", {})

    def live(self, n_decisions: int) -> None:
        often = [self.decide] * 8 + [self.bind, self.release, self.release]
        rare = [self.add_node, self.update_node, self.update_node, self.remove_node, self.replace_node]
        while self.done < n_decisions:
            pick(self.rng, often if chance(self.rng, 0.8) else rare)()


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("family", ["node-local", "pairwise-mixed", "spread-soft", "volumes"])
def test_searches_of_a_living_cluster_equal_the_oracle(family: str, seed: int, tally: Tally) -> None:
    life = Searches(family, seed, 120 + below(rng_of(seed), 120))
    life.live(24)
    tally(f"{family}, partial", life.seen)
    assert life.seen["partial"] > 0
    assert life.seen["ended early"] > 0 or family == "volumes"  # few nodes let those pods in

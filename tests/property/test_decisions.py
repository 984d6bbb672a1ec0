# SPDX-License-Identifier: Apache-2.0
"""Whole decisions of the product against the oracles while a cluster lives: statuses, messages, scores, best nodes.

Pods come, go, get other labels and terminate; nodes come, go and change; namespaces change. Between the changes pods
are decided: one at a time, with every status and score and by every driver, or many in one call. Nothing but the facade
is asked to change anything, so that what is tested is what users run.
"""

from __future__ import annotations

from collections import Counter

import pytest

import kubesched as ks
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.state import classes
from tests import (
    decision_oracle,
    oracle,
    pairwise_strategies,
    preemption_oracle,
    strategies,
    volume_oracle,
)
from tests.builders import Obj
from tests.conftest import Tally
from tests.property.test_engine_oracle import Rng, rng_of, status_of
from tests.strategies import below, chance, pick
from tests.volume_cases import Maker


class Volumes:
    """`volume_cases` in the form of `pairwise_strategies.Family`: pods are copies of some whose claims are there."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj:
        self.maker = Maker(below(rng, 2**31), n_nodes)
        made = self.maker.cluster(n_running // 2)
        self.ready = [self.maker.pod(f"p{i}") for i in range(1, 41)]
        return made

    def node(self, rng: Rng, i: int) -> Obj:
        return self.maker.node(f"n{i}")

    def pod(self, rng: Rng, name: str) -> Obj:
        return strategies.renamed(pick(rng, self.ready), name)

    def running(self, rng: Rng, name: str, node: str) -> Obj:
        obj = self.pod(rng, name)
        return obj | {"spec": obj["spec"] | {"nodeName": node}}


FAMILIES = {name: lambda family=family: family for name, family in pairwise_strategies.FAMILIES.items()}
FAMILIES |= {"node-local": strategies.NodeLocal, "volumes": Volumes}


def says(message: str, expected: Obj) -> bool:
    """The event's message; where the scheduler stops with an error there is none, and the error is told."""
    return expected["error"] in message if "error" in expected else bool(message == expected.get("message", ""))


class Life:
    """A cluster twice: as the product's, and as the oracle's nodes by row."""

    profile: str | profiles.ProfileMap = profiles.DEFAULT

    def __init__(self, family: str, seed: int) -> None:
        self.rng: Rng = rng_of(seed)
        self.family = FAMILIES[family]()
        n_nodes = 1 + below(self.rng, 12 if chance(self.rng, 0.7) else 40)
        case = self.family.case(self.rng, n_nodes, below(self.rng, 3 * n_nodes))
        self.cluster = ks.Cluster.from_objects(strategies.objects(case))
        self.world = decision_oracle.build(case)
        self.rows: list[oracle.Node | None] = list(self.world.nodes)
        self.images: oracle.Images = self.world.nodes[0]._known
        self.n_nodes = n_nodes
        """Nodes that there ever were."""
        self.running = {preemption_oracle.key(p): p for p in case["pods"]}
        self.kinds = [self.family.pod(self.rng, "p") for _ in range(8)]
        """Pods come again and again, so that what was known of one is asked after the cluster has changed."""
        self.serial = 0
        self.done = 0
        self.seen: Counter[str] = Counter()

    # ---- rows ----

    @property
    def there(self) -> list[int]:
        return [row for row, node in enumerate(self.rows) if node is not None]

    def node(self, row: int) -> oracle.Node:
        found = self.rows[row]
        assert found is not None
        return found

    def name(self) -> str:
        self.serial += 1
        return f"p{self.serial}"

    def pod(self) -> Obj:
        if chance(self.rng, 0.3):
            made = self.family.pod(self.rng, "p")
            self.kinds[below(self.rng, len(self.kinds))] = made
        found = strategies.renamed(pick(self.rng, self.kinds), self.name())
        if chance(self.rng, 0.3):  # a label that no selector looks at
            labels = (found["metadata"].get("labels") or {}) | {"job": found["metadata"]["name"]}
            found["metadata"] = found["metadata"] | {"labels": labels}
        return found

    def enter(self, obj: Obj, row: int) -> None:
        self.node(row).add(obj)
        self.running[preemption_oracle.key(obj)] = obj

    def assume(self, obj: Obj, row: int) -> None:
        """The pod is placed: it takes its volumes as well."""
        volume_oracle.reserve(obj, self.node(row), self.world.storage)
        self.enter(obj, row)

    def leave(self, key: str) -> None:
        obj = self.running.pop(key)
        for row in self.there:
            if obj in self.node(row).pods:
                self.node(row).remove(obj)

    # ---- changes ----

    def add_node(self) -> None:
        obj = self.family.node(self.rng, self.n_nodes)
        self.n_nodes += 1
        self.cluster.apply(ks.Delta(add_nodes=[obj]))
        row = [*(r for r, node in enumerate(self.rows) if node is None), len(self.rows)][0]
        self.rows += [None] * (row + 1 - len(self.rows))
        self.rows[row] = oracle.Node(obj, self.images)
        self.world.nodes = [self.node(r) for r in self.there]

    def update_node(self) -> None:
        row = pick(self.rng, self.there)
        obj = self.family.node(self.rng, int(self.node(row).name.lstrip("node-")))
        self.node(row).update(obj)
        self.cluster.apply(ks.Delta(update_nodes=[obj]))

    def remove_node(self) -> None:
        if len(self.there) < 2:
            return
        row = pick(self.rng, self.there)
        node = self.node(row)
        self.cluster.apply(ks.Delta(remove_nodes=[node.name]))
        for obj in node.pods:
            del self.running[preemption_oracle.key(obj)]
        node.drop_images()
        self.rows[row] = None
        self.world.nodes = [self.node(r) for r in self.there]

    def bind(self) -> None:
        row = pick(self.rng, self.there)
        obj = self.family.running(self.rng, self.name(), self.node(row).name)
        self.cluster.apply(ks.Delta(bind=[obj]))
        self.enter(obj, row)

    def release(self) -> None:
        for _ in range(min(len(self.running), 1 + len(self.running) // 15)):
            key = pick(self.rng, sorted(self.running))
            self.cluster.release(key)
            self.leave(key)

    def relabel(self) -> None:
        """A running pod gets other labels, or terminates: it leaves and comes back as another."""
        if not self.running:
            return
        key = pick(self.rng, sorted(self.running))
        row = next(r for r in self.there if self.running[key] in self.node(r).pods)
        obj = pairwise_strategies.relabelled(self.rng, self.running[key])
        obj["spec"]["nodeName"] = self.node(row).name
        self.leave(key)
        self.enter(obj, row)
        self.cluster.apply(ks.Delta(release=[key], bind=[obj]))

    def change_namespace(self) -> None:
        obj = pairwise_strategies.namespace(self.rng, pick(self.rng, pairwise_strategies.NAMESPACES))
        name, labels = obj["metadata"]["name"], obj["metadata"]["labels"]
        self.world.namespaces[name] = labels
        self.cluster._state.set_namespaces({name: labels})

    def crowd(self) -> None:
        """The next pods find classes given up that nobody uses."""
        self.cluster._state.classes._room = 0

    def move(self) -> None:
        """The cluster goes on as a copy of itself, made through its tables; rows close up.

        Not where nodes have images: tables do not tell which node fixed an image's size, if it is gone by then.
        """
        if self.images:
            return
        self.cluster = self.cluster.snapshot()
        self.rows = [self.node(row) for row in self.there]

    # ---- decisions ----

    def decide(self) -> None:
        """One pod: every status and score; all drivers, in any order; then it runs there, or not."""
        obj = self.pod()
        expected = decision_oracle.decide(obj, self.world)
        self.done += 1
        self.count(expected)
        asked = [self.ask_drivers] if chance(self.rng, 0.7) else [self.explain, self.ask_drivers]
        for at in self.rng.permutation(len(asked)).tolist():
            asked[at](obj, expected)
        if expected.get("best") and chance(self.rng, 0.7):
            driver = pick(self.rng, sorted(native.DRIVERS))
            plan = self.cluster.place([obj], self.profile, driver=driver)
            self.assume(obj, self.there[expected["best"][0]])
            assert plan.node_index.tolist() == [self.there[expected["best"][0]]]

    def count(self, expected: Obj) -> None:
        """What a decision turned on: plugins that rejected a node, or scored two nodes otherwise."""
        self.seen["decisions"] += 1
        self.seen["decisions with a choice"] += len(set(expected.get("total", []))) > 1
        names = {f"{status[0]} rejects" for status in expected.get("status", []) if status}
        for i, name in enumerate(expected.get("scorePlugins", [])):
            names |= {f"{name} prefers"} if len({row[i] for row in expected["scores"]}) > 1 else set()
        self.seen.update(names)

    def explain(self, obj: Obj, expected: Obj) -> None:
        got = self.cluster.explain(obj, self.profile)
        assert got.feasible.tolist() == [self.there[i] for i in expected["feasible"]]
        assert says(got.message, expected)
        if "status" in expected:
            assert [status_of(got.diagnosis, row) for row in self.there] == expected["status"]
        if expected["feasible"]:
            scored = [i for i, name in enumerate(got.plugins) if name not in got.skipped]
            assert [got.plugins[i] for i in scored] == expected["scorePlugins"]
            assert got.verdicts.score[scored][:, got.feasible].T.tolist() == expected["scores"]
            assert got.verdicts.total[got.feasible].tolist() == expected["total"]

    def ask_drivers(self, obj: Obj, expected: Obj) -> None:
        best = [self.there[i] for i in expected.get("best", [])]
        wanted = best[0] if best else -1, max(expected.get("total", [-1])), len(best)
        drivers = sorted(native.DRIVERS)
        for at in self.rng.permutation(len(drivers)).tolist():
            plan = self.cluster.place([obj], self.profile, driver=drivers[at], commit=False)
            got = plan.node_index[0], plan.scores[0], plan.ties[0]
            assert got == wanted, drivers[at]
            assert says(plan.reasons[0], expected)

    def place(self) -> None:
        """Many pods of a few kinds in one call, first by another driver and taken back."""
        kinds = [self.pod() for _ in range(1 + below(self.rng, 3))]
        pods = [strategies.renamed(pick(self.rng, kinds), self.name()) for _ in range(1 + below(self.rng, 12))]
        drivers = [pick(self.rng, sorted(native.DRIVERS)) for _ in range(2)]
        with self.cluster.what_if():
            before = self.cluster.place(pods, self.profile, driver=drivers[0])
        plan = self.cluster.place(pods, self.profile, driver=drivers[1])
        for at, obj in enumerate(pods):
            expected = decision_oracle.decide(obj, self.world)
            self.count(expected)
            best = [self.there[i] for i in expected.get("best", [])]
            wanted = best[0] if best else -1, max(expected.get("total", [-1])), len(best)
            for found, driver in zip((before, plan), drivers, strict=True):
                assert (found.node_index[at], found.scores[at], found.ties[at]) == wanted, driver
                assert says(found.reasons[at], expected)
            if best:
                self.assume(obj, best[0])
        self.done += len(pods)

    def live(self, n_decisions: int) -> None:
        often = [self.decide] * 8 + [self.place, self.bind, self.release, self.release]
        rare = [self.crowd, self.crowd, self.add_node, self.update_node, self.update_node, self.remove_node]
        rare += [self.relabel, self.relabel] + [self.change_namespace] * 3 + [self.move]
        while self.done < n_decisions:
            pick(self.rng, often if chance(self.rng, 0.8) else rare)()
            if len(self.running) > 4 * len(self.there):
                self.release()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_living_cluster_equals_the_oracle(family: str, seed: int, tally: Tally) -> None:
    life = Life(family, seed)
    life.live(60)
    tally(family, life.seen)


@pytest.mark.parametrize("family", pairwise_strategies.FAMILIES)
def test_a_living_cluster_equals_the_oracle_if_it_gives_classes_up(
    family: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(classes.Classes, "is_crowded", True)
    life = Life(family, 50)
    life.live(60)
    assert life.cluster._state.classes.version > 10  # each time changes it


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_hundred_thousand_decisions_of_each_family(family: str, part: int, tally: Tally) -> None:
    done = 0
    for seed in range(1000 * (part + 1), 1000 * (part + 2)):
        life = Life(family, seed)
        life.live(100)
        tally(family, life.seen)
        done += life.done
        if done >= 5000:
            return
    raise AssertionError(done)


def test_the_random_clusters_meet_every_rule() -> None:
    seen: Counter[str] = Counter()
    for family in ("node-local", "pairwise-mixed", "volumes"):
        for seed in range(10, 16):
            life = Life(family, seed)
            life.live(60)
            seen += life.seen
    for name in (
        *("NodeUnschedulable", "TaintToleration", "NodeAffinity", "NodePorts", "NodeResourcesFit"),
        *("VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"),
        *("PodTopologySpread", "InterPodAffinity"),
    ):
        assert seen[f"{name} rejects"] >= 3, name
    for name in (
        *("TaintToleration", "NodeAffinity", "NodeResourcesFit", "NodeResourcesBalancedAllocation", "ImageLocality"),
        *("PodTopologySpread", "InterPodAffinity"),
    ):
        assert seen[f"{name} prefers"] >= 3, name

# SPDX-License-Identifier: Apache-2.0
"""Living clusters under random configuration files, against the oracles with the same arguments."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from kubesched.scheduler.config import configuration, schema
from tests import decision_oracle, oracle, pairwise_oracle, strategies
from tests.builders import Obj
from tests.conftest import Tally
from tests.property import test_decisions
from tests.property.test_engine_oracle import Rng
from tests.strategies import below, chance, pick

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
ENFORCED = ("NodeAffinity", oracle.UNRESOLVABLE, ["node(s) didn't match scheduler-enforced node affinity"])
FAMILIES = ("node-local", "spread-default", "pairwise-mixed")
_WEIGHTED = ("TaintToleration", "NodeAffinity", "PodTopologySpread", "InterPodAffinity", "ImageLocality")


# ---- random arguments ----


def readable(rng: Rng) -> Obj:
    """A term that a configuration may hold: every requirement parses."""
    while True:
        made = strategies.term(rng, junk=False)
        if oracle.is_term(made):
            return made


def node_affinity(rng: Rng) -> Obj:
    added: Obj = {}
    if chance(rng, 0.4):
        added[REQUIRED] = {"nodeSelectorTerms": [readable(rng) for _ in range(1 + below(rng, 3))]}
    if chance(rng, 0.6):
        added[PREFERRED] = [{"weight": 1 + below(rng, 100), "preference": readable(rng)} for _ in range(2)]
    return {"addedAffinity": added}


def fit(rng: Rng) -> Obj:
    strategy: Obj = {"type": pick(rng, ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"))}
    names = [name for name in ("cpu", "memory", "example.com/gpu") if chance(rng, 0.7)] or ["cpu"]
    strategy["resources"] = [{"name": name, "weight": 1 + below(rng, 9)} for name in names]
    if strategy["type"] == "RequestedToCapacityRatio":
        shape = [{"utilization": 10 * i, "score": below(rng, 11)} for i in range(11) if chance(rng, 0.4)]
        strategy["requestedToCapacityRatio"] = {"shape": shape or [{"utilization": 5, "score": 7}]}
    ignored: Obj = {}
    if chance(rng, 0.5):
        ignored["ignoredResources"] = pick(rng, (["example.com/gpu"], ["cpu", "hugepages-2Mi"]))
    if chance(rng, 0.3):
        ignored["ignoredResourceGroups"] = ["example.com"]
    return {"scoringStrategy": strategy} | ignored


def spread(rng: Rng) -> Obj:
    kinds = (("zone", "ScheduleAnyway"), ("zone", "DoNotSchedule"), ("kubernetes.io/hostname", "ScheduleAnyway"))
    keys = [(pairwise_oracle.ZONE if key == "zone" else key, action) for key, action in kinds if chance(rng, 0.6)]
    listed = [{"topologyKey": key, "whenUnsatisfiable": a, "maxSkew": 1 + below(rng, 3)} for key, a in keys]
    for constraint in listed:
        if constraint["whenUnsatisfiable"] == "DoNotSchedule" and chance(rng, 0.3):
            constraint["minDomains"] = 1 + below(rng, 4)
        if chance(rng, 0.3):
            constraint["nodeTaintsPolicy"] = "Honor"
    return {"defaultingType": "List", "defaultConstraints": listed}


def random_args(rng: Rng) -> dict[str, Obj]:
    out: dict[str, Obj] = {}
    for name, make in (("NodeAffinity", node_affinity), ("NodeResourcesFit", fit), ("PodTopologySpread", spread)):
        if chance(rng, 0.7):
            out[name] = make(rng)
    if chance(rng, 0.7):
        weight, ignores = pick(rng, (0, 1, 7, 100)), chance(rng, 0.5)
        out["InterPodAffinity"] = {"hardPodAffinityWeight": weight, "ignorePreferredTermsOfExistingPods": ignores}
    if chance(rng, 0.5):
        names = [name for name in ("cpu", "memory", "example.com/gpu") if chance(rng, 0.7)] or ["memory"]
        out["NodeResourcesBalancedAllocation"] = {"resources": [{"name": name} for name in names]}
    return out


def random_document(rng: Rng) -> tuple[Obj, dict[str, Obj]]:
    args = random_args(rng)
    weights = [{"name": name, "weight": 1 + below(rng, 9)} for name in _WEIGHTED if chance(rng, 0.5)]
    profile = {
        "plugins": {"multiPoint": {"enabled": weights}},
        "pluginConfig": [{"name": name, "args": given} for name, given in args.items()],
    }
    head = {"apiVersion": schema.API_VERSION, "kind": schema.KIND, "percentageOfNodesToScore": 100}
    return head | {"profiles": [profile]}, args


# ---- the oracles with arguments ----


class Arguments:
    """Tells the oracles what a configuration says."""

    def __init__(self, document: Obj, args: dict[str, Obj]) -> None:
        self.args = args
        given = {x["name"]: x["weight"] for x in document["profiles"][0]["plugins"]["multiPoint"]["enabled"]}
        self.plugins = tuple((name, given.get(name, weight)) for name, weight in decision_oracle.PLUGINS)
        added = args.get("NodeAffinity", {}).get("addedAffinity", {})
        self.required: list[Obj] | None = added[REQUIRED]["nodeSelectorTerms"] if REQUIRED in added else None
        self.preferred: list[Obj] = added.get(PREFERRED, [])

    def ignores(self, resource: str) -> bool:
        fit = self.args.get("NodeResourcesFit", {})
        named = resource in fit.get("ignoredResources", ())
        return "/" in resource and (named or resource.split("/")[0] in fit.get("ignoredResourceGroups", ()))

    def ask(self) -> type[oracle.Ask]:
        outer = self

        class Ask(oracle.Ask):
            def __init__(self, pod: Obj) -> None:
                super().__init__(pod)
                self.preferred = self.preferred + outer.preferred
                self.filtered = {name: n for name, n in self.filtered.items() if not outer.ignores(name)}

        return Ask

    def node_affinity(self, ask: oracle.Ask, node: oracle.Node) -> oracle.Status | None:
        if self.required is not None and not any(oracle.term_matches(node, t) for t in self.required):
            return ENFORCED
        return oracle.node_affinity(ask, node)

    def profile(self) -> Any:
        fit, balanced = self.args.get("NodeResourcesFit"), self.args.get("NodeResourcesBalancedAllocation", {})
        made: Obj = {}
        if fit is not None:
            strategy = fit["scoringStrategy"]
            shape = strategy.get("requestedToCapacityRatio", {}).get("shape", ())
            made["strategy"] = strategy["type"]
            made["resources"] = tuple((r["name"], r["weight"]) for r in strategy["resources"])
            made["shape"] = tuple((p["utilization"], p["score"]) for p in shape)
        if "resources" in balanced:
            made["balanced"] = tuple(r["name"] for r in balanced["resources"])
        return partial(oracle.Profile, **made)

    def tell(self, patch: pytest.MonkeyPatch) -> None:
        affinity = self.args.get("InterPodAffinity", {})
        scores = partial(
            pairwise_oracle.affinity_scores,
            hard_weight=affinity.get("hardPodAffinityWeight", 1),
            ignore_preferred_of_others=affinity.get("ignorePreferredTermsOfExistingPods", False),
        )
        filters = tuple(self.node_affinity if f is oracle.node_affinity else f for f in oracle.FILTERS)
        patch.setattr(oracle, "Profile", self.profile())
        patch.setattr(oracle, "Ask", self.ask())
        patch.setattr(oracle, "FILTERS", filters)
        patch.setattr(pairwise_oracle, "affinity_scores", scores)
        patch.setattr(decision_oracle, "PLUGINS", self.plugins)


class Configured(test_decisions.Life):
    """A cluster whose pods are decided by a configuration."""

    def __init__(self, family: str, seed: int) -> None:
        super().__init__(family, seed)
        document, args = random_document(self.rng)
        self.arguments = Arguments(document, args)
        self.profile = configuration.parse(document).decides
        if "PodTopologySpread" in args:
            listed = tuple(args["PodTopologySpread"]["defaultConstraints"])
            self.world.defaults = replace(self.world.defaults, constraints=listed, system=False)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_configured_cluster_equals_the_oracle(
    family: str, seed: int, tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = Configured(family, 500 + seed)
    life.arguments.tell(monkeypatch)
    life.live(40)
    tally("configured", life.seen)


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(20))
@pytest.mark.parametrize("family", FAMILIES)
def test_many_configured_clusters(family: str, part: int, tally: Tally) -> None:
    for seed in range(1000 * (part + 1), 1000 * (part + 1) + 40):
        with pytest.MonkeyPatch.context() as patch:
            life = Configured(family, seed)
            life.arguments.tell(patch)
            life.live(60)
            tally("configured", life.seen)


@pytest.mark.parametrize(
    ("plugin", "field"),
    [
        ("NodeAffinity", "addedAffinity"),
        ("NodeResourcesFit", "ignoredResources"),
        ("NodeResourcesFit", "ignoredResourceGroups"),
        ("NodeResourcesFit", "scoringStrategy"),
        ("PodTopologySpread", "defaultConstraints"),
        ("InterPodAffinity", "hardPodAffinityWeight"),
        ("InterPodAffinity", "ignorePreferredTermsOfExistingPods"),
        ("NodeResourcesBalancedAllocation", "resources"),
    ],
)
def test_each_argument_turns_decisions(plugin: str, field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The random clusters can tell: without the argument the oracle answers otherwise."""
    for seed in range(200):
        life = Configured(FAMILIES[seed % len(FAMILIES)], seed)
        args = life.arguments.args
        if field not in args.get(plugin, {}):
            continue
        pods = [life.pod() for _ in range(10)]
        with monkeypatch.context() as patch:
            life.arguments.tell(patch)
            found = [decision_oracle.decide(obj, life.world) for obj in pods]
        args[plugin] = {name: given for name, given in args[plugin].items() if name != field}
        if field == "scoringStrategy":
            args[plugin][field] = {"type": "LeastAllocated", "resources": [{"name": "cpu", "weight": 1}]}
        if field == "defaultConstraints":
            life.world.defaults = replace(life.world.defaults, constraints=())
        rest = Arguments({"profiles": [{"plugins": {"multiPoint": {"enabled": []}}}]}, args)
        rest.plugins = life.arguments.plugins
        with monkeypatch.context() as patch:
            rest.tell(patch)
            others = [decision_oracle.decide(obj, life.world) for obj in pods]
        if found != others:
            return
    raise AssertionError(field)

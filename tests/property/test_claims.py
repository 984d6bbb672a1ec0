# SPDX-License-Identifier: Apache-2.0
"""DynamicResources against its oracle: decisions, and sequences by both drivers."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from typing import Any

import pytest

from kubesched import Cluster, Delta
from kubesched.framework import profile as profiles
from kubesched.parity import replay
from kubesched.parity.cases import KINDS
from kubesched.scheduler import encode
from kubesched.state import device_rows
from tests import dra_oracle, oracle
from tests.conftest import Tally
from tests.dra_cases import DRIVERS, RESOURCE, Maker
from tests.parity.test_oracle_golden import as_recorded

Obj = dict[str, Any]


def recorded(decision: Obj) -> Obj:
    """The oracle's decision as a record: statuses numbered."""
    got = as_recorded(dra_oracle.said(decision)) | {"feasible": decision["feasible"]}
    if "status" not in decision:
        return got
    given = [s if s is None else {"plugin": s[0], "code": s[1], "reasons": s[2]} for s in decision["status"]]
    distinct = [s for i, s in enumerate(given) if s is not None and s not in given[:i]]
    got["node"] = [-1 if s is None else distinct.index(s) for s in given]
    return got | ({"statuses": distinct} if distinct else {})


@pytest.mark.parametrize("seed", range(150))
def test_a_decision(seed: int) -> None:
    maker = Maker(seed, 1 + seed % 6)
    case = maker.cluster() | {"pod": maker.pod("p")}
    nodes = oracle.build(case["nodes"], [])
    decision = dra_oracle.decide(case["pod"], nodes, dra_oracle.World.of(case))
    outcome = replay.replay(case | {"expect": recorded(decision)})
    assert outcome.skipped is None
    assert outcome.differences == ()


@pytest.mark.parametrize("seed", range(120))
def test_a_sequence(seed: int) -> None:
    maker = Maker(seed + 1000, 1 + seed % 6)
    case = maker.cluster()
    case["sequence"] = [maker.pod(f"p{i}") for i in range(12)]
    nodes = oracle.build(case["nodes"], [])
    case["expect"] = dra_oracle.sequence(nodes, case["sequence"], dra_oracle.World.of(copy.deepcopy(case)))
    outcome = replay.replay(case)
    assert outcome.skipped is None
    assert outcome.differences == ()


@pytest.mark.parametrize("seed", range(60))
def test_a_sequence_in_which_stuck_claims_lose_their_devices(seed: int) -> None:
    maker = Maker(seed + 3000, 1 + seed % 4)
    case = maker.cluster()
    pods = [pod for i in range(8) for pod in [maker.pod(f"p{i}"), maker.pod(f"q{i}")]]
    objects = [{"kind": "Node", **node} for node in case["nodes"]]
    for plural, kind in KINDS.items():
        objects += [{"kind": kind, **one} for one in case.get(plural) or ()]
    cluster = Cluster.from_objects(copy.deepcopy(objects))
    got = cluster.place([{"kind": "Pod", **pod} for pod in copy.deepcopy(pods)], evict=True).nodes
    nodes = oracle.build(case["nodes"], [])
    assert got == dra_oracle.nodes_with_post_filter(nodes, pods, dra_oracle.World.of(case))


def published(case: Obj, slices: list[Obj]) -> list[Obj]:
    """The objects of a case with these slices."""
    objects = [{"kind": "Node", **node} for node in case["nodes"]]
    for plural, kind in KINDS.items():
        given = slices if kind == "ResourceSlice" else case.get(plural) or ()
        objects += [{"kind": kind, **one} for one in given]
    return copy.deepcopy(objects)


@pytest.mark.parametrize("seed", range(60))
def test_slices_that_come_and_change_one_by_one(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    if seed % 2:  # what is out of date is given up at once
        monkeypatch.setattr(device_rows, "_LEAST_STALE", 0)
        monkeypatch.setattr(device_rows, "_MOST_HOLDINGS", 0)
    maker = Maker(seed + 6000, 1 + seed % 5)
    case, rng = maker.cluster(), random.Random(seed)
    pods = [maker.pod(f"p{i}") for i in range(10)]
    there = [one for one in case["resourceslices"] if rng.random() < 0.4]
    cluster = Cluster.from_objects(published(case, [outdated(one, rng) for one in there]))
    rows = [encode.pod_row({"kind": "Pod", **pod}) for pod in pods]
    for one in rng.sample(case["resourceslices"], len(case["resourceslices"])):
        for version in [outdated(one, rng), one][rng.randrange(2) :]:
            cluster.apply(Delta(put_devices=[{"kind": "ResourceSlice", **copy.deepcopy(version)}]))
        cluster.place([rng.choice(rows)], commit=False)
    got = cluster.place(rows).nodes
    nodes = oracle.build(case["nodes"], [])
    expected = dra_oracle.sequence(nodes, pods, dra_oracle.World.of(copy.deepcopy(case)))["node"]
    assert got == [nodes[at].name if at >= 0 else None for at in expected]


def outdated(one: Obj, rng: random.Random) -> Obj:
    """An earlier version of a slice: of an older generation, with fewer devices, or elsewhere."""
    spec = copy.deepcopy(one["spec"])
    if rng.random() < 0.3:
        spec["pool"]["generation"] -= 1
    if rng.random() < 0.3 and "devices" in spec:
        spec["devices"] = spec["devices"][1:]
    if rng.random() < 0.3 and "nodeName" in spec:
        spec["nodeName"] = rng.choice(["n0", "n1", "gone"])
    elif rng.random() < 0.3 and "perDeviceNodeSelection" not in spec:
        spec.pop("nodeName", None)
        spec.pop("nodeSelector", None)
        spec["allNodes"] = True
    return one | {"spec": spec}


def scored_profile(case: Obj, rng: random.Random) -> oracle.Profile:
    """A profile that scores the resource behind which a class stands, whose selectors become others."""
    spec = case["deviceclasses"][0]["spec"]
    spec["extendedResourceName"] = RESOURCE
    own = f'device.attributes["{DRIVERS[0]}"]'
    some = (f'{own}.model == "a"', f"!has({own}.odd) || {own}.odd", f"{own}.index < 2", f"!has({own}.fast)")
    kind = rng.randrange(4)
    if kind == 0:
        del spec["selectors"]
    elif kind == 1:
        spec["selectors"].append({"cel": {"expression": rng.choice(some)}})
    strategy = rng.choice(("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"))
    shape = ((0, 2), (30, 9), (100, rng.randint(0, 10))) if strategy == "RequestedToCapacityRatio" else ()
    names = [*rng.sample(("cpu", "memory"), rng.randint(0, 2)), RESOURCE]
    resources = tuple((name, rng.randint(1, 9)) for name in names)
    balanced = (
        ("cpu", RESOURCE, "memory")[rng.randrange(2) :] if kind == 0 and rng.random() < 0.7 else ("cpu", "memory")
    )
    return oracle.Profile(strategy=strategy, resources=resources, shape=shape, balanced=balanced)


def odd_slices(case: Obj, rng: random.Random) -> list[Obj]:
    """Slices that only scores look at: one out of date on whose device a selector fails, one for no node at all."""
    local = [
        s["spec"] for s in case["resourceslices"] if s["spec"].get("nodeName") and s["spec"]["driver"] == DRIVERS[0]
    ]
    device = {"name": "odd", "attributes": {"odd": {"string": "x"}, "model": {"string": "a"}, "index": {"int": 1}}}
    found = [
        {name: one[name] for name in ("driver", "nodeName")}
        | {"pool": one["pool"] | {"generation": 0}, "devices": [device]}
        for one in rng.sample(local, min(len(local), rng.randint(0, 2)))
    ]
    if rng.random() < 0.5:
        devices = [{**device, "name": f"d{i}", "attributes": {}} for i in range(3)]
        pool = {"name": "nowhere", "generation": 1, "resourceSliceCount": 1}
        found.append({"driver": DRIVERS[0], "pool": pool, "devices": devices})
    return [{"metadata": {"name": f"odd{i}"}, "spec": spec} for i, spec in enumerate(found)]


def product_profile(of: oracle.Profile) -> profiles.Profile:
    args = {
        "NodeResourcesFit": {"variant": of.strategy, "resources": of.resources, "shape": of.shape},
        "NodeResourcesBalancedAllocation": {"resources": tuple((name, 1) for name in of.balanced)},
    }
    base = profiles.find("default-v1.36")
    return replace(base, name="scores-devices", scores=tuple(replace(p, **args.get(p.name, {})) for p in base.scores))


@pytest.mark.parametrize("seed", range(150))
def test_a_sequence_where_the_devices_of_nodes_are_scored(seed: int) -> None:
    maker, rng = Maker(seed + 8000, 2 + seed % 5), random.Random(seed)
    case = maker.cluster()
    profile = scored_profile(case, rng)
    case["resourceslices"] += odd_slices(case, rng)
    pods = [maker.pod(f"p{i}") for i in range(8)]
    for pod in pods[::2]:
        pod["spec"]["containers"][0]["resources"]["requests"][RESOURCE] = "1"
    nodes, world = oracle.build(case["nodes"], []), dra_oracle.World.of(copy.deepcopy(case))
    cluster = Cluster.from_objects(published(case, case["resourceslices"]))
    rows = [encode.pod_row({"kind": "Pod", **pod}) for pod in copy.deepcopy(pods)]
    try:
        expected = dra_oracle.sequence(nodes, pods, world, profile)
    except dra_oracle.WrongError:
        return
    plan = cluster.place(rows, profile=product_profile(profile), driver=("auto", "dense")[seed % 2])
    assert plan.nodes == [nodes[at].name if at >= 0 else None for at in expected["node"]]
    scores = zip(plan.scores.tolist(), expected["score"], strict=True)
    assert all(got == wanted for got, wanted in scores if wanted >= 0)  # upstream scores no single node


@pytest.mark.nightly
@pytest.mark.parametrize("part", range(20))
def test_a_hundred_thousand_pods_with_claims(part: int, tally: Tally) -> None:
    for seed in range(100_000 + 400 * part, 100_000 + 400 * (part + 1)):
        test_a_sequence(seed)
        test_a_decision(seed)
    tally("claims", {"decisions": 400 * 13})


def expected(maker: Maker) -> tuple[Obj, Obj | None]:
    """A case, and the oracle's decision; None where the scheduler stops with an error."""
    case = maker.cluster() | {"pod": maker.pod("p")}
    try:
        return case, dra_oracle.decide(case["pod"], oracle.build(case["nodes"], []), dra_oracle.World.of(case))
    except dra_oracle.WrongError:
        return case, None


@pytest.mark.parametrize("seed", range(150))
def test_a_decision_that_may_stop_with_an_error(seed: int) -> None:
    case, decision = expected(Maker(seed + 2000, 1 + seed % 4, is_calm=False))
    if decision is not None:
        outcome = replay.replay(case | {"expect": recorded(decision)})
        assert outcome.skipped is None
        assert outcome.differences == ()
        return
    given = replay.replay(case | {"expect": {}}).differences
    assert [d.got for d in given if d.field == "error"] != []


def test_the_draws_reach_every_end() -> None:
    ends = {"error": 0, "rejected": 0, "placed": 0, "several": 0}
    for seed in range(300):
        _, decision = expected(Maker(seed + 2000, 1 + seed % 4, is_calm=False))
        if decision is None:
            ends["error"] += 1
        elif not decision["feasible"]:
            ends["rejected"] += 1
        else:
            ends["placed" if len(decision["feasible"]) == 1 else "several"] += 1
    assert min(ends.values()) >= 30, ends

# SPDX-License-Identifier: Apache-2.0
"""DynamicResources against its oracle: decisions, and sequences by both drivers."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubesched import Cluster
from kubesched.parity import replay
from kubesched.parity.cases import KINDS
from tests import dra_oracle, oracle
from tests.conftest import Tally
from tests.dra_cases import Maker
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

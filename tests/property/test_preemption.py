# SPDX-License-Identifier: Apache-2.0
"""Evictions of the product against the oracle, on random clusters in the form of recorded cases.

Statuses, messages, candidates, victims, choice and ties; both drivers; budgets, start times, pods that wait for a node;
sequences in which pods evict each other while nodes and pods come and go.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from kubesched.framework import diagnosis, preemption
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.parity import replay
from kubesched.parity.loading import load
from tests import preemption_oracle
from tests import preemption_strategies as strategies
from tests.builders import Obj
from tests.conftest import Tally
from tests.property.test_engine_oracle import rng_of


def check_single(family: str, seed: int) -> Counter[str]:
    case = strategies.single(rng_of(seed), strategies.FAMILIES[family]())
    outcome = replay.replay(case)
    assert outcome.skipped is None, (family, seed, outcome.skipped)
    assert outcome.differences == (), (family, seed, outcome.differences)
    answer = case["expect"].get("preemption") or {}
    return Counter(
        {
            "decisions": 1,
            "evictions": len(answer.get("victims", ())) > 0,
            "choices": len(answer.get("candidates", ())) > 1,
            "broken budgets": any("pdbViolations" in c for c in answer.get("candidates", ())),
            "refusals": answer.get("message", "").find("not eligible") >= 0,
            "own nodes": case["expect"].get("nominatedNodeUsed", False),
        }
    )


def check_sequence(family: str, seed: int) -> Counter[str]:
    case = strategies.sequence(rng_of(seed), strategies.FAMILIES[family]())
    outcome = replay.replay(case)
    assert outcome.skipped is None, (family, seed, outcome.skipped)
    assert outcome.differences == (), (family, seed, outcome.differences)
    return Counter({"decisions": len(case["expect"]["node"]), "evictions": len(case["expect"].get("victims", ()))})


@pytest.mark.parametrize("family", strategies.FAMILIES)
def test_one_decision(family: str, tally: Tally) -> None:
    met: Counter[str] = Counter()
    for seed in range(40):
        met += check_single(family, seed)
    assert met["evictions"] > 0
    tally(f"preemption, {family}", met)


@pytest.mark.parametrize("family", strategies.FAMILIES)
def test_sequences(family: str, tally: Tally) -> None:
    met: Counter[str] = Counter()
    for seed in range(15):
        met += check_sequence(family, seed)
    assert met["evictions"] > 0
    tally(f"preemption in sequences, {family}", met)


def some_candidates(case: Obj, enough: tuple[int, int], seed: int | None) -> preemption.PostFilter:
    """What the product says of a case where a profile wants some candidates only."""
    state, (pod,) = load(case, [case["pod"]])
    profile = profiles.register(state, replace(profiles.find(case["profile"]), candidates=enough))
    class_id = state.class_of(pod)
    tie = native.TIE_LOWEST if seed is None else native.TIE_UNIFORM
    options = native.Options(profile, tie=tie, rng=seed or 0)
    why = diagnosis.Why(state, profile, pod, class_id)
    return preemption.post_filter(state, profile, pod, class_id, why, list_all=True, options=options)


@pytest.mark.parametrize("family", strategies.FAMILIES)
def test_some_candidates(family: str, tally: Tally) -> None:
    met: Counter[str] = Counter()
    for seed in range(40):
        rng = rng_of(seed)
        case = strategies.single(rng, strategies.FAMILIES[family]())
        if len(case["expect"].get("preemption", {}).get("candidates", ())) < 2:
            continue
        world = preemption_oracle.build(case)
        world.enough = int(rng.integers(0, 60)), int(rng.integers(1, 3))
        answers = []
        for world.offset in range(len(case["nodes"])):
            answers.append(preemption_oracle.decide(case["pod"], world)["preemption"])
        first = some_candidates(case, world.enough, None)
        assert (first.row, sorted(c.row for c in first.candidates)) == taken(answers[0]), (family, seed)
        assert list(first.victims) == answers[0]["victims"]
        drawn = some_candidates(case, world.enough, seed)
        assert (drawn.row, sorted(c.row for c in drawn.candidates)) in [taken(a) for a in answers], (family, seed)
        met += Counter(
            {
                "decisions": 2,
                "ended early": len(answers[0]["candidates"]) < len(case["expect"]["preemption"]["candidates"]),
            }
        )
        met["drawn elsewhere"] += drawn.row != first.row
    tally(f"preemption with some candidates, {family}", met)


def taken(answer: Obj) -> tuple[int, list[int]]:
    return answer["nominatedNode"], [c["node"] for c in answer["candidates"]]


def test_a_changed_victim_is_noticed() -> None:
    seeds = (strategies.single(rng_of(seed), strategies.FAMILIES["plain"]()) for seed in range(100))
    case: Obj = next(c for c in seeds if c["expect"].get("preemption", {}).get("victims"))
    answer = case["expect"]["preemption"] | {"victims": ["default/nobody"]}
    changed = case | {"expect": case["expect"] | {"preemption": answer}}
    assert [d.field for d in replay.replay(changed).differences] == ["preemption"]


@pytest.mark.nightly
@pytest.mark.parametrize("first", range(1000, 21_000, 1000))
@pytest.mark.parametrize("family", strategies.FAMILIES)
def test_many(family: str, first: int, tally: Tally) -> None:
    met: Counter[str] = Counter()
    for seed in range(first, first + 1000):
        met += check_single(family, seed)
        if seed % 10 == 0:
            met += check_sequence(family, seed)
    tally(f"preemption, {family}", met)

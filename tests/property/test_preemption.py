# SPDX-License-Identifier: Apache-2.0
"""Evictions of the product against the oracle, on random clusters in the form of recorded cases.

Statuses, messages, candidates, victims, choice and ties; both drivers; budgets, start times, pods that wait for a node;
sequences in which pods evict each other while nodes and pods come and go.
"""

from __future__ import annotations

from collections import Counter

import pytest

from kubesched.parity import replay
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


def test_a_changed_victim_is_noticed() -> None:
    seeds = (strategies.single(rng_of(seed), strategies.FAMILIES["plain"]()) for seed in range(100))
    case: Obj = next(c for c in seeds if c["expect"].get("preemption", {}).get("victims"))
    answer = case["expect"]["preemption"] | {"victims": ["default/nobody"]}
    changed = case | {"expect": case["expect"] | {"preemption": answer}}
    assert [d.field for d in replay.replay(changed).differences] == ["preemption"]


@pytest.mark.nightly
@pytest.mark.parametrize("family", strategies.FAMILIES)
def test_many(family: str, tally: Tally) -> None:
    met: Counter[str] = Counter()
    for seed in range(1000, 21_000):
        met += check_single(family, seed)
        if seed % 10 == 0:
            met += check_sequence(family, seed)
    tally(f"preemption, {family}", met)

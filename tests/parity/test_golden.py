# SPDX-License-Identifier: Apache-2.0
"""Recorded decisions of kube-scheduler 1.36.2: the product and the oracle must both give them."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from kubesched.parity import cases, replay
from tests import oracle

SINGLE = ("resources", "resources-inplace", "taints", "node-affinity", "node-name", "host-ports", "images", "gates")
SEQUENCES = ("seq-resources", "seq-ports-taints")
ORACLE_STEP = 4
"""The oracle is slow: it decides every fourth case here, all of them under the nightly marker."""


@pytest.mark.parametrize("family", SINGLE + SEQUENCES)
def test_product_gives_every_recorded_field(golden: Path, family: str) -> None:
    seen = 0
    for case in cases.read(golden / f"{family}.jsonl.gz"):
        outcome = replay.replay(case)
        assert outcome.skipped is None, case["id"]
        assert outcome.differences == (), case["id"]
        seen += 1
    assert seen >= 45


@pytest.mark.parametrize("family", SINGLE)
def test_oracle_gives_recorded_single_decisions(golden: Path, family: str) -> None:
    for number, case in enumerate(cases.read(golden / f"{family}.jsonl.gz")):
        if number % ORACLE_STEP == 0:
            check_single(case)


@pytest.mark.nightly
@pytest.mark.parametrize("family", SINGLE + SEQUENCES)
def test_oracle_gives_all_recorded_decisions(golden: Path, family: str) -> None:
    for case in cases.read(golden / f"{family}.jsonl.gz"):
        check_sequence(case) if "sequence" in case else check_single(case)


def test_oracle_gives_recorded_sequences(golden: Path) -> None:
    for family in SEQUENCES:
        for number, case in enumerate(cases.read(golden / f"{family}.jsonl.gz")):
            if number % 15 == 0:
                check_sequence(case)


def check_single(case: dict[str, Any]) -> None:
    got = oracle.decide(case["pod"], oracle.build(case["nodes"], case.get("pods") or []))
    expect = case["expect"]
    for field in ("gated", "feasible", "scorePlugins", "weights", "scores", "total", "best", "message"):
        if field in expect and not (field == "feasible" and "gated" in expect):
            assert got.get(field) == expect[field], (case["id"], field)
    for row, number in enumerate(expect.get("node") or []):
        wanted = None if number < 0 else expect["statuses"][number]
        have = got["status"][row]
        if wanted is None:
            assert have is None, (case["id"], row)
        else:
            assert have == (wanted["plugin"], wanted["code"], wanted.get("reasons") or []), (case["id"], row)


def check_sequence(case: dict[str, Any]) -> None:
    got = oracle.sequence(oracle.build(case["nodes"], case.get("pods") or []), case["sequence"])
    assert got == case["expect"], case["id"]


def test_a_changed_record_is_noticed(golden: Path) -> None:
    case = next(c for c in cases.read(golden / "resources.jsonl.gz") if len(c["expect"]["feasible"]) > 2)
    for field, change in (
        ("total", lambda v: [v[0] + 1, *v[1:]]),
        ("best", lambda v: v[1:] or [99]),
        ("feasible", lambda v: v[1:]),
        ("scores", lambda v: [[x + 1 for x in v[0]], *v[1:]]),
        ("weights", lambda v: [w + 1 for w in v]),
        ("node", lambda v: [0 if n < 0 else -1 for n in v]),
    ):
        changed = copy.deepcopy(case)
        changed["expect"][field] = change(changed["expect"][field])
        assert replay.replay(changed).differences, field


def test_other_families_are_skipped_by_feature(golden: Path) -> None:
    skipped = {}
    for family in ("spread-hard", "pod-affinity", "dra", "volumes", "seq-preemption"):
        outcomes = [
            replay.replay(case) for case, _ in zip(cases.read(golden / f"{family}.jsonl.gz"), range(20), strict=False)
        ]
        skipped[family] = {outcome.skipped for outcome in outcomes}
        assert not any(outcome.differences for outcome in outcomes)
    assert "spread" in skipped["spread-hard"]
    assert "pod-affinity" in skipped["pod-affinity"]
    assert skipped["dra"] == {"claims"}
    assert "volumes" in skipped["volumes"]
    assert skipped["seq-preemption"] == {"sequence operations"}

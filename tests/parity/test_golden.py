# SPDX-License-Identifier: Apache-2.0
"""Recorded decisions of kube-scheduler 1.36.2: the product must give them (test_oracle_golden: the oracle)."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from kubesched.parity import cases, replay

FAMILIES = (
    *("resources", "resources-inplace", "taints", "node-affinity", "node-name", "host-ports", "images", "gates"),
    *("spread-hard", "spread-soft", "spread-default", "pod-affinity", "pod-affinity-preferred"),
    "declared-features",
    *("seq-resources", "seq-ports-taints", "seq-spread", "seq-pod-affinity"),
    *("volume-limits", "seq-volumes"),
    *("dra", "seq-dra"),
)


@pytest.mark.parametrize("family", FAMILIES)
def test_product_gives_every_recorded_field(golden: Path, family: str) -> None:
    seen = 0
    for case in cases.read(golden / f"{family}.jsonl.gz"):
        outcome = replay.replay(case)
        assert outcome.skipped is None, case["id"]
        assert outcome.differences == (), case["id"]
        seen += 1
    assert seen >= 30


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


def test_volumes_wherever_nobody_need_be_evicted(golden: Path) -> None:
    decided = 0
    for case in cases.read(golden / "volumes.jsonl.gz"):
        outcome = replay.replay(case)
        assert outcome.skipped in (None, "preemption"), case["id"]
        assert outcome.differences == (), case["id"]
        decided += outcome.skipped is None
    assert decided >= 600


def test_other_families_are_skipped_by_feature(golden: Path) -> None:
    skipped = {}
    for family in ("seq-preemption", "nominated"):
        outcomes = [
            replay.replay(case) for case, _ in zip(cases.read(golden / f"{family}.jsonl.gz"), range(20), strict=False)
        ]
        skipped[family] = {outcome.skipped for outcome in outcomes}
        assert not any(outcome.differences for outcome in outcomes)
    assert skipped["seq-preemption"] == {"sequence operations"}
    assert skipped["nominated"] == {"nominated"}

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
    *("volumes", "volume-limits", "seq-volumes"),
    *("dra", "seq-dra"),
    *("preemption", "preemption-pdb", "preemption-constraints", "nominated", "seq-preemption", "seq-churn"),
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


def test_a_changed_eviction_is_noticed(golden: Path) -> None:
    case = next(
        c for c in cases.read(golden / "preemption.jsonl.gz") if c["expect"].get("preemption", {}).get("victims")
    )
    for field in ("victims", "candidates", "tie", "nominatedNode", "code"):
        changed = copy.deepcopy(case)
        changed["expect"]["preemption"][field] = "other"
        assert replay.replay(changed).differences, field


@pytest.mark.parametrize("field", ["node", "ties", "feasible", "victims"])
def test_a_changed_step_is_noticed(golden: Path, field: str) -> None:
    case = next(c for c in cases.read(golden / "seq-preemption.jsonl.gz") if "victims" in c["expect"])
    changed = copy.deepcopy(case)
    if field == "victims":
        changed["expect"]["victims"].popitem()
    else:
        changed["expect"][field][-1] += 7
    assert replay.replay(changed).differences

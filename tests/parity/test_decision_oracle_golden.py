# SPDX-License-Identifier: Apache-2.0
"""Whole decisions of the oracles against recorded ones of kube-scheduler 1.36.2; knows no kubesched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import decision_oracle
from tests.parity.test_oracle_golden import Case, as_recorded, changed_fields, check_family, read, without_defaults

N_CASES = {
    "spread-hard": 450,
    "spread-soft": 450,
    "spread-default": 225,
    "pod-affinity": 525,
    "pod-affinity-preferred": 375,
    "declared-features": 60,
    "mixed": 750,
    "volumes": 675,
    "seq-spread": 60,
    "seq-pod-affinity": 60,
    "seq-mixed": 90,
    "seq-preemption": 60,
    "seq-churn": 60,
}


def differences(case: Case) -> list[str]:
    """Fields of the record that the oracle gives otherwise."""
    if "pod" not in case:
        got, wanted = decision_oracle.replay(case), case["expect"]
    else:
        got = as_recorded(decision_oracle.decide(case["pod"], decision_oracle.build(case)))
        wanted = without_defaults(case["expect"])
    return changed_fields(got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("family", N_CASES)
def test_every_case_of_the_family(golden: Path, family: str) -> None:
    check_family(golden, family, N_CASES[family], differences)


@pytest.mark.parametrize(
    ("family", "rule", "broken"),
    [
        ("spread-hard", "Spread.judge", lambda *_: None),
        ("spread-hard", "Constraint.counts_node", lambda *_: True),
        ("spread-hard", "has_keys", lambda *_: True),
        ("spread-soft", "Constraint.counts_node", lambda *_: True),
        ("spread-soft", "has_keys", lambda *_: True),
        ("spread-default", "Defaults.selector", lambda *_: None),
        ("spread-default", "both", lambda selector, _: selector),
        ("pod-affinity", "Affinity.judge", lambda *_: None),
        ("pod-affinity", "Affinity._affinity_holds", lambda *_: True),
        ("pod-affinity", "Eyes.sees", lambda *_: True),
        ("pod-affinity", "Eyes.is_seen", lambda *_: False),
        ("pod-affinity-preferred", "wishes", lambda _: ()),
        ("pod-affinity-preferred", "affinity_scores", lambda *_: None),
    ],
)
def test_the_records_notice_a_rule_that_is_left_out(
    golden: Path, monkeypatch: pytest.MonkeyPatch, family: str, rule: str, broken: object
) -> None:
    monkeypatch.setattr(f"tests.pairwise_oracle.{rule}", broken)
    assert any(is_noticed(case) for case in read(golden, family))


def is_noticed(case: Case) -> bool:
    try:
        return bool(differences(case))
    except KeyError:  # the broken rule looks for a label that a node does not have
        return True

# SPDX-License-Identifier: Apache-2.0
"""The oracle of claims against recorded decisions of kube-scheduler 1.36.2; knows no kubesched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import dra_oracle, oracle
from tests.parity.test_oracle_golden import Case, as_recorded, changed_fields, check_family, read, without_defaults

N_CASES = {"dra": 360, "seq-dra": 30}


def differences(case: Case) -> list[str]:
    """Fields of the record that the oracle gives otherwise."""
    nodes = oracle.build(case["nodes"], case.get("pods") or [])
    world = dra_oracle.World.of(case)
    if "sequence" in case:
        got, wanted = dra_oracle.sequence(nodes, case["sequence"], world), case["expect"]
    else:
        decision = dra_oracle.said(dra_oracle.decide(case["pod"], nodes, world))
        got, wanted = as_recorded(decision), without_defaults(case["expect"])
    return changed_fields(got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("family", N_CASES)
def test_every_case_of_the_family(golden: Path, family: str) -> None:
    check_family(golden, family, N_CASES[family], differences)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("owner", "rule", "broken"),
    [
        (dra_oracle, "is_here", lambda *_: True),
        (dra_oracle, "raw_score", lambda *_: 0),
        (dra_oracle, "reserve", lambda *_: None),
        (dra_oracle, "delegated", lambda *_: []),
        (dra_oracle, "post_filter", lambda *_: "still not schedulable"),
        (dra_oracle.Search, "is_selected", lambda *_: True),
        (dra_oracle.Search, "is_busy", lambda *_: False),
        (dra_oracle.World, "results", lambda *_: []),
    ],
)
def test_the_records_notice_a_rule_that_is_left_out(
    golden: Path, monkeypatch: pytest.MonkeyPatch, owner: object, rule: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(owner, rule, broken)
    assert any(differences(case) for family in reversed(N_CASES) for case in read(golden, family))

# SPDX-License-Identifier: Apache-2.0
"""The volume oracle against recorded decisions of kube-scheduler 1.36.2; knows no kubesched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import oracle, volume_oracle
from tests.parity.test_oracle_golden import Case, as_recorded, changed_fields, check_family, read, without_defaults

N_CASES = {"volumes": 675, "volume-limits": 180, "seq-volumes": 60}


def differences(case: Case) -> list[str]:
    """Fields of the record that the oracle gives otherwise; whom preemption evicts is another oracle's."""
    nodes = oracle.build(case["nodes"], case.get("pods") or [])
    storage = volume_oracle.Storage.of(case)
    if "sequence" in case:
        got, wanted = volume_oracle.sequence(nodes, case["sequence"], storage), case["expect"]
    else:
        got = as_recorded(volume_oracle.decide(case["pod"], nodes, storage))
        wanted = without_defaults(case["expect"])
        if "preemption" not in got:
            wanted.pop("preemption", None)
    return changed_fields(got, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("family", N_CASES)
def test_every_case_of_the_family(golden: Path, family: str) -> None:
    check_family(golden, family, N_CASES[family], differences)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rule", "broken"),
    [
        ("restrictions", lambda *_: None),
        ("clash", lambda *_: False),
        ("exclusive_claims", lambda *_: set()),
        ("limits", lambda *_: None),
        ("attached", lambda *_: {}),
        ("binding", lambda *_: None),
        ("reaches", lambda *_: True),
        ("has_space", lambda *_: True),
        ("topology_holds", lambda *_: True),
        ("is_owner", lambda *_: True),
        ("reserve", lambda *_: None),
        ("zone", lambda *_: None),
    ],
)
def test_the_records_notice_a_rule_that_is_left_out(
    golden: Path, monkeypatch: pytest.MonkeyPatch, rule: str, broken: Callable[..., object]
) -> None:
    monkeypatch.setattr(volume_oracle, rule, broken)
    assert any(differences(case) for family in reversed(N_CASES) for case in read(golden, family))

# SPDX-License-Identifier: Apache-2.0
"""The recorded decisions that travel with the project: product and oracles give them, wherever the tests run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubesched.parity import cases, replay
from tests.parity import pick_subset, test_decision_oracle_golden

DATA = Path(__file__).parent / "data"
FILES = sorted(DATA.glob("*.jsonl.gz"))
MAX_BYTES = 3_000_000
SLOW_ORACLE = ("mixed-large", "seq-large", "seq-mixed", "seq-pod-affinity", "seq-preemption", "seq-spread")
"""Families that take the oracle many seconds; where the whole recording is at hand, most are judged with it."""
NO_ORACLE = ("dra", "seq-dra")


def family(path: Path) -> str:
    return path.name.removesuffix(".jsonl.gz")


@pytest.mark.parametrize("path", FILES, ids=family)
def test_the_product_gives_every_recorded_field(path: Path) -> None:
    for case in cases.read(path):
        outcome = replay.replay(case)
        assert (outcome.skipped, outcome.differences) == (None, ()), case["id"]


@pytest.mark.parametrize("path", [f for f in FILES if family(f) not in SLOW_ORACLE + NO_ORACLE], ids=family)
def test_the_oracles_give_every_recorded_field(path: Path) -> None:
    for case in cases.read(path):
        assert test_decision_oracle_golden.differences(case) == [], case["id"]


def test_it_is_small() -> None:
    assert len(FILES) >= 30
    assert sum(path.stat().st_size for path in FILES) < MAX_BYTES


def decisions(folder: Path) -> set[pick_subset.Fact]:
    found: set[pick_subset.Fact] = set()
    for line in pick_subset.read(folder):
        case = json.loads(line)
        of = pick_subset.decided if "pod" in case else pick_subset.went
        found |= {(case["family"], *what) for what in of(case["expect"])}
    return found


def test_it_shows_every_kind_of_decision_of_every_family(golden: Path) -> None:
    """Each plugin, code and reason, how plugins scored, how eviction answered and sequences went.

    Cases of mixed-large are too large to show all again that mixed shows.
    """
    missing = decisions(golden) - decisions(DATA)
    assert {fact for fact in missing if fact[0] != "mixed-large"} == set()

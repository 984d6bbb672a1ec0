# SPDX-License-Identifier: Apache-2.0
"""The oracle against recorded decisions of kube-scheduler 1.36.2: every recorded field, node by node.

This test knows no kubesched either: if it passes, what differs between the product and the oracle is the product's.
"""

from __future__ import annotations

import copy
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests import oracle

Case = dict[str, Any]
N_CASES = {
    "resources": 450,
    "resources-inplace": 120,
    "taints": 375,
    "node-affinity": 450,
    "node-name": 120,
    "host-ports": 225,
    "images": 180,
    "gates": 60,
    "seq-resources": 60,
    "seq-ports-taints": 45,
}
"""Cases of the families that need nothing but what the oracle decides, from their description."""


def read(folder: Path, family: str) -> Iterator[Case]:
    with gzip.open(folder / f"{family}.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def differences(case: Case) -> list[str]:
    """Fields of the record that the oracle gives otherwise; a field that it does not know differs."""
    nodes = oracle.build(case["nodes"], case.get("pods") or [])
    if "sequence" in case:
        got, wanted = oracle.sequence(nodes, case["sequence"]), case["expect"]
    else:
        got, wanted = as_recorded(oracle.decide(case["pod"], nodes)), without_defaults(case["expect"])
    return changed_fields(got, wanted)


def as_recorded(decision: oracle.Obj) -> oracle.Obj:
    """The oracle's answer in the form of a record, node statuses spelled out."""
    got = {name: value for name, value in decision.items() if name not in ("status", "raw")}
    if "gated" in got:
        return got
    if "status" in decision:
        got["node"] = decision["status"]
    return without_defaults(got)


def without_defaults(record: oracle.Obj) -> oracle.Obj:
    """A record with the numbers of statuses replaced by the statuses, and empty lists left out (none is recorded)."""
    out = {name: value for name, value in record.items() if name not in ("statuses", "node")}
    if isinstance(out.get("preFilter"), dict):
        out["preFilter"] = {k: v for k, v in out["preFilter"].items() if v != []}
    if "gated" in out:
        out.pop("feasible", None)  # always empty there
    if record.get("node"):
        statuses = record.get("statuses") or []
        out["node"] = [spelled_out(n, statuses) for n in record["node"]]
    return out


def spelled_out(of_node: int | oracle.Status | None, statuses: list[Case]) -> oracle.Status | None:
    if not isinstance(of_node, int):
        return of_node  # the oracle's own
    if of_node < 0:
        return None
    status = statuses[of_node]
    return status["plugin"], status["code"], status.get("reasons") or []


@pytest.mark.slow
@pytest.mark.parametrize("family", N_CASES)
def test_every_case_of_the_family(golden: Path, family: str) -> None:
    check_family(golden, family, N_CASES[family], differences)


def check_family(golden: Path, family: str, n_cases: int, differences: Callable[[Case], list[str]]) -> None:
    """Every case of a family is there, and none differs."""
    seen = 0
    for case in read(golden, family):
        seen += 1
        assert differences(case) == [], case["id"]
    assert seen == n_cases


def changed_fields(got: oracle.Obj, wanted: oracle.Obj) -> list[str]:
    """Fields that differ, or that one of the two lacks."""
    return [name for name in sorted(got.keys() | wanted.keys()) if got.get(name) != wanted.get(name)]


def bump(value: Any) -> Any:
    """Another value of the same form."""
    match value:
        case bool() | None:
            return not value
        case int():
            return value + 1 if value < 0 else value - 1
        case str():
            return value + " "
        case list():
            return [bump(value[0]), *value[1:]] if value else [0]
        case dict():
            name = sorted(value)[0]
            return value | {name: bump(value[name])}
    raise TypeError(value)


@pytest.mark.parametrize(
    ("family", "holds"),
    [
        ("resources", lambda e: len(e["feasible"]) > 2 and e.get("statuses")),
        ("resources", lambda e: not e["feasible"]),
        ("node-affinity", lambda e: "preFilter" in e),
        ("gates", lambda e: "gated" in e),
        ("seq-ports-taints", lambda e: -1 in e["node"]),
    ],
)
def test_a_change_of_any_recorded_field_is_noticed(golden: Path, family: str, holds: Callable[[Case], object]) -> None:
    case = next(c for c in read(golden, family) if holds(c["expect"]))
    assert differences(case) == []
    for field in case["expect"]:
        if field == "feasible" and "gated" in case["expect"]:
            continue
        changed = copy.deepcopy(case)
        changed["expect"][field] = bump(changed["expect"][field])
        assert differences(changed), field

# SPDX-License-Identifier: Apache-2.0
"""The oracle of eviction against recorded decisions of kube-scheduler 1.36.2: statuses, candidates, victims, choice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import preemption_oracle
from tests.parity import test_oracle_golden as records
from tests.preemption_oracle import World

N_CASES = {
    "preemption": 450,
    "preemption-pdb": 300,
    "preemption-constraints": 300,
    "nominated": 225,
    "seq-preemption": 60,
}
SCORES = ("scorePlugins", "weights", "scores", "total", "best")
"""Not decided by this oracle; the pod's own nominated node is, and its best set with it."""


def differences(case: records.Case) -> list[str]:
    world = preemption_oracle.build(case)
    if "ops" in case:
        return sequence_differences(case, world)
    wanted = records.without_defaults(case["expect"])
    if not wanted.get("nominatedNodeUsed"):
        wanted = {name: value for name, value in wanted.items() if name not in SCORES}
    got = records.as_recorded(preemption_oracle.decide(case["pod"], world))
    return records.changed_fields(got, wanted)


def sequence_differences(case: records.Case, world: World) -> list[str]:
    """Step by step with the recorded node forced where scores decide."""
    expect, out = case["expect"], []
    for step, op in enumerate(case["ops"]):
        pod, node = op["pod"], expect["node"][step]
        got = preemption_oracle.decide(pod, world)
        evicts = (got.get("preemption") or {}).get("nominatedNode", -1) if op["preempt"] else -1
        victims = got["preemption"]["victims"] if evicts >= 0 else None
        if victims != (expect.get("victims") or {}).get(str(step)):
            out.append(f"victims[{step}]")
        if evicts >= 0:
            wanted = evicts, 1
            for other in [p for p in world.nodes[evicts].pods if preemption_oracle.key(p) in victims]:
                world.nodes[evicts].remove(other)
        else:
            wanted = (node if node in got["feasible"] else -1), len(got["feasible"])
        if wanted != (node, expect["feasible"][step]):
            out.append(f"node[{step}]")
        if node >= 0:
            world.nodes[node].add(pod)
    return out


@pytest.mark.slow
@pytest.mark.parametrize("family", N_CASES)
def test_every_case_of_the_family(golden: Path, family: str) -> None:
    records.check_family(golden, family, N_CASES[family], differences)


def test_a_changed_victim_is_noticed(golden: Path) -> None:
    case = next(c for c in records.read(golden, "preemption") if "tie" in c["expect"].get("preemption", {}))
    assert differences(case) == []
    for field in ("victims", "candidates", "tie", "nominatedNode"):
        changed = case | {"expect": case["expect"] | {"preemption": case["expect"]["preemption"] | {field: "other"}}}
        assert differences(changed) == ["preemption"]


def test_the_oracle_leaves_the_cluster_as_it_was(golden: Path) -> None:
    case = next(records.read(golden, "preemption-pdb"))
    world = preemption_oracle.build(case)
    before = [(n.used.copy(), list(n.pods)) for n in world.nodes]
    preemption_oracle.decide(case["pod"], world)
    assert before == [(n.used, n.pods) for n in world.nodes]

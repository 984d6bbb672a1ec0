# SPDX-License-Identifier: Apache-2.0
"""The product against the oracle on random clusters: every field of the decision, single and in sequence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import kubesched as ks
from kubesched.framework import diagnosis
from tests import oracle, strategies

SEEDS = range(60)


def build(case: dict[str, Any]) -> ks.Cluster:
    return ks.Cluster.from_objects(case["nodes"] + case["pods"])


@pytest.mark.parametrize("seed", SEEDS)
def test_explanations_equal_the_oracle(seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    case = strategies.case(rng, int(rng.integers(1, 14)), int(rng.integers(0, 20)), 8)
    cluster, nodes = build(case), oracle.build(case["nodes"], case["pods"])
    for pod in case["sequence"]:
        got, expected = cluster.explain(pod), oracle.decide(pod, nodes)
        assert got.feasible.tolist() == expected["feasible"]
        if "preFilter" in expected:
            assert got.message == expected["message"]
            continue
        for row, status in enumerate(expected["status"]):
            number = int(got.diagnosis.status_of[row])
            have = None if number < 0 else got.diagnosis.statuses[number]
            wanted = None if status is None else diagnosis.Status(status[0], status[1], tuple(status[2]))
            assert have == wanted
        assert got.message == expected.get("message", "")
        if expected["feasible"]:
            feasible = got.feasible
            scored = [i for i, name in enumerate(got.plugins) if name not in got.skipped]
            assert [got.plugins[i] for i in scored] == expected["scorePlugins"]
            assert got.verdicts.score[np.ix_(scored, feasible)].T.tolist() == expected["scores"]
            assert got.verdicts.total[feasible].tolist() == expected["total"]
            assert got.best == [f"node-{i}" for i in expected["best"]]


@pytest.mark.parametrize("driver", ["dense", "indexed"])
@pytest.mark.parametrize("seed", SEEDS)
def test_sequences_equal_the_oracle(seed: int, driver: str) -> None:
    rng = np.random.Generator(np.random.PCG64(1000 + seed))
    case = strategies.case(rng, int(rng.integers(1, 14)), int(rng.integers(0, 10)), 40)
    plan = build(case).place(case["sequence"], driver=driver)
    expected = oracle.sequence(oracle.build(case["nodes"], case["pods"]), case["sequence"])
    assert plan.node_index.tolist() == expected["node"]
    assert plan.ties.tolist() == expected["ties"]
    scores = [s if f > 1 else -1 for s, f in zip(plan.scores.tolist(), expected["feasible"], strict=True)]
    assert scores == expected["score"]


@pytest.mark.parametrize("seed", SEEDS[:20])
def test_reasons_are_those_of_the_moment(seed: int) -> None:
    """A pod that fails inside a batch gets the message of the state that it met, not of the end."""
    rng = np.random.Generator(np.random.PCG64(2000 + seed))
    case = strategies.case(rng, 4, 0, 60)
    cluster = build(case)
    plan = cluster.place(case["sequence"])
    nodes = oracle.build(case["nodes"], [])
    n_failed = 0
    for pod, row, reason in zip(case["sequence"], plan.node_index, plan.reasons, strict=True):
        expected = oracle.decide(pod, nodes)
        assert reason == expected.get("message", "")
        n_failed += bool(reason)
        if row >= 0:
            nodes[row].add(pod)
    assert n_failed > 0
    columns = cluster.to_arrow()["nodes"]
    assert columns["used_pods"].to_pylist() == [n.n_pods for n in nodes]  # explaining left no trace

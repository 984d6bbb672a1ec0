# SPDX-License-Identifier: Apache-2.0
"""Scenario files are read strictly, every case runs small, and the judge catches what does not hold."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from kubesched.base import errors
from kubesched.bench import program, runner, scenario
from kubesched.bench.judge import Judge

CASES = scenario.load()
DOCUMENT: dict[str, Any] = {
    "templates": {"node": {"kind": "Node"}, "pod": {"kind": "Pod"}},
    "cases": [
        {
            "name": "A",
            "about": "a",
            "sizes": [{"name": "s", "threshold": 5, "numbers": {"n": 3}}],
            "steps": [{"createNodes": {"count": "n", "template": "node"}}],
        }
    ],
}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_runs_small(case: scenario.Case) -> None:
    row = runner.run(case.scaled(30))
    assert row["verified"] is True
    assert row["placed"] == row["pods"] > 0


def test_listed_sizes_are_upstreams() -> None:
    by_name = {case.name: case for case in CASES}
    basic = by_name["SchedulingBasic/5000Nodes_50000Pods"]
    assert (basic.threshold, program.build(basic).n_measured, program.build(basic).n_nodes) == (810, 50000, 5000)
    assert by_name["SchedulingRequiredPodAntiAffinityWithNSSelector/5000Nodes_2000Pods"].threshold == 24


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("cases", 0, "steps", 0), {"createNode": {}}, "did you mean 'createNodes'"),
        (("cases", 0, "steps", 0, "createNodes", "template"), "nod", "did you mean 'node'"),
        (("cases", 0, "steps", 0, "createNodes", "zone"), [], "zone: is unknown"),
        (("cases", 0, "steps", 0, "createNodes", "count"), "m", "numbers.m: is not a count"),
        (("cases", 0, "sizes", 0, "threshold"), "5", "has the wrong type"),
        (("templates", "pod"), {}, "has no kind"),
    ],
)
def test_a_wrong_file_is_refused(path: tuple[Any, ...], value: Any, message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    at: Any = document
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = value
    with pytest.raises(errors.InputError, match=message):
        scenario.read(document, "x.yaml")


def test_a_case_is_chosen_by_name_size_or_family() -> None:
    read = scenario.read(copy.deepcopy(DOCUMENT), "x.yaml")
    for name in ("A", "A/s", "x"):
        assert scenario.choose(read, [name]) == read
    with pytest.raises(errors.InputError, match="did you mean 'A'"):
        scenario.choose(read, ["B"])


# ---- the judge ----


def _node(name: str, zone: str, **allocatable: str) -> dict[str, Any]:
    labels = {program.HOSTNAME_LABEL: name, program.ZONE_LABEL: zone}
    amounts = {"cpu": "1", "pods": "9", **allocatable}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {"allocatable": amounts}}


def _pod(cpu: str = "100m", **spec: Any) -> dict[str, Any]:
    containers = [{"resources": {"requests": {"cpu": cpu}}, **spec.pop("container", {})}]
    return {"metadata": {"namespace": "a", "labels": {"app": "x"}}, "spec": {"containers": containers, **spec}}


_TERM = {"labelSelector": {"matchLabels": {"app": "x"}}, "topologyKey": program.ZONE_LABEL}
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
APART = {"affinity": {"podAntiAffinity": {_REQUIRED: [_TERM]}}}
NEAR = {"affinity": {"podAffinity": {_REQUIRED: [_TERM]}}}
SPREAD = {"topologySpreadConstraints": [{**_TERM, "maxSkew": 1, "whenUnsatisfiable": "DoNotSchedule"}]}
PORT = {"container": {"ports": [{"containerPort": 80, "hostPort": 80}]}}


@pytest.mark.parametrize(
    ("pods", "nodes", "message"),
    [
        ([_pod("2")], ["n0"], "not enough cpu"),
        ([_pod(), _pod(**APART)], ["n0", "n1"], "its anti-affinity"),
        ([_pod(**APART), _pod()], ["n0", "n1"], "a running pod's anti-affinity"),
        ([_pod(), _pod(**NEAR)], ["n0", "n2"], "its affinity is not met"),
        ([_pod(), _pod(**SPREAD)], ["n0", "n1"], "maxSkew"),
        ([_pod(**PORT), _pod(**PORT)], ["n0", "n0"], "a host port"),
        ([_pod(nodeSelector={program.ZONE_LABEL: "west"})], ["n0"], "a selector"),
        ([_pod()], [None], "was left out, but fits"),
    ],
)
def test_the_judge_objects(pods: list[dict[str, Any]], nodes: list[str | None], message: str) -> None:
    judge = Judge([_node("n0", "east"), _node("n1", "east"), _node("n2", "west")])
    *before, last = zip(pods, nodes, strict=True)
    for i, (pod, node) in enumerate(before):
        judge.place(f"a/{i}", pod, node)
    with pytest.raises(errors.KubeschedError, match=message):
        judge.place("a/last", *last)


def test_the_judge_admits_what_holds() -> None:
    judge = Judge([_node("n0", "east"), _node("n2", "west")])
    for i, (spec, node) in enumerate([(SPREAD, "n0"), (SPREAD, "n2"), (NEAR, "n2"), (APART, None)]):
        judge.place(f"a/{i}", _pod(**spec), node)
    judge.release("a/1")
    judge.release("a/2")
    judge.place("a/4", _pod(**APART), "n2")
    assert judge.nodes() == {"a/0": "n0", "a/4": "n2"}


def _with_claims(name: str, *claims: str) -> dict[str, Any]:
    spec = {"containers": [{}], "resourceClaims": [{"name": c, "resourceClaimName": c} for c in claims]}
    return {"metadata": {"namespace": "a", "name": name}, "spec": spec}


def _devices(*claims: str) -> list[dict[str, Any]]:
    """Two nodes, the first with two devices, and claims for one each."""
    slices = {"kind": "ResourceSlice", "metadata": {}, "spec": {"nodeName": "n0", "devices": [{}, {}]}}
    spec = {"devices": {"requests": [{"name": "r", "exactly": {}}]}}
    made = [{"kind": "ResourceClaim", "metadata": {"namespace": "a", "name": c}, "spec": spec} for c in claims]
    return [_node("n0", "east"), _node("n1", "west"), slices, *made]


@pytest.mark.parametrize(
    ("pods", "nodes", "message"),
    [
        ([_with_claims("p", "x")], ["n1"], "not enough devices"),
        ([_with_claims("p", "x"), _with_claims("q", "y", "z")], ["n0", "n0"], "not enough devices"),
        ([_with_claims("p", "x"), _with_claims("q", "x")], ["n0", "n1"], "its devices elsewhere"),
        ([_with_claims("p", "x"), _with_claims("q", "y")], ["n0", None], "was left out, but fits"),
    ],
)
def test_the_judge_counts_devices(pods: list[dict[str, Any]], nodes: list[str | None], message: str) -> None:
    judge = Judge(_devices("x", "y", "z"))
    with pytest.raises(errors.KubeschedError, match=message):
        for pod, node in zip(pods, nodes, strict=True):
            judge.place(f"a/{pod['metadata']['name']}", pod, node)


def test_the_judge_gives_devices_back() -> None:
    judge = Judge(_devices("x", "y", "z"))
    judge.place("a/p", _with_claims("p", "x", "y"), "n0")
    judge.place("a/q", _with_claims("q", "z"), None)
    judge.release("a/p")
    judge.place("a/q", _with_claims("q", "z"), "n0")

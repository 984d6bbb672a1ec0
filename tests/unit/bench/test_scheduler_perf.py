# SPDX-License-Identifier: Apache-2.0
"""Scenario files are read strictly, every case runs small, and the judge catches what does not hold."""

from __future__ import annotations

import copy
import itertools
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubesched.base import errors
from kubesched.bench import decider, picture, program, runner, scenario
from kubesched.bench.judge import Judge
from kubesched.state.claims import Claims

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


def test_decisions_do_not_depend_on_how_fast_the_machine_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a second from one look at the clock to the next lets back-offs end between two decisions."""
    case = next(case for case in CASES if case.name == "EventHandlingPodAdd/10Pods")
    made = program.build(case)
    fast = runner._execute(made, "auto", every=0).decisions
    now = itertools.count()
    slow = SimpleNamespace(monotonic=lambda: next(now) / 2, perf_counter=time.perf_counter)
    monkeypatch.setattr(decider, "time", slow)
    assert runner._execute(made, "auto", every=0).decisions == fast
    assert sum(node is None for of in fast for _, node in of) > 10


def test_a_case_that_leaves_pods_out_is_an_error() -> None:
    case = next(case for case in CASES if case.name == "EventHandlingPodAdd/10Pods")
    other = {**case.templates["yellow"], "metadata": {"labels": {"color": "red"}}}
    with pytest.raises(errors.KubeschedError, match="10 pods found no place, got 'affinity/near-yellow-0'"):
        runner.run(replace(case, templates={**case.templates, "yellow": other}))


def test_ties_are_drawn_where_pods_wait_only() -> None:
    case = next(case for case in CASES if case.name.startswith("SchedulingBasic"))
    with pytest.raises(errors.UnsupportedError, match="only where pods wait"):
        runner.run(replace(case.scaled(30), draws_ties=True))


def _filled(text: str) -> Any:
    template = {"kind": "Pod", "spec": {"of": text}}
    return program.instantiate(program.resolve(template, {"measured": 10, "none": 0}), 7)["spec"]["of"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a-{index}", "a-7"),
        ("{index%5}-{index/5}", "2-1"),
        ("{30000/measured}Mi", "3000Mi"),
        ("=8{index%5}", 82),
        ("=", "="),
    ],
)
def test_formulas_of_templates(text: str, expected: str | int) -> None:
    assert repr(_filled(text)) == repr(expected)


def test_objects_share_what_depends_on_the_case_alone() -> None:
    spec = {"of": ["=8{measured}"], "name": "p-{index}"}
    template = program.resolve({"kind": "Pod", "spec": spec}, {"measured": 10})
    a, b = (program.instantiate(template, index)["spec"] for index in (0, 1))
    assert (a, b["name"]) == ({"of": [810], "name": "p-0"}, "p-1")
    assert a["of"] is b["of"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{app}", "names no number of the case, got 'app', expected measured, none"),
        ("{5/none}", "divides by zero"),
    ],
)
def test_wrong_formulas_are_refused(text: str, message: str) -> None:
    with pytest.raises(errors.InputError, match=message):
        _filled(text)


def test_a_node_that_is_not_the_best_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decider.Direct, "best", lambda _, pods: [None] * len(pods))
    with pytest.raises(errors.KubeschedError, match="is not where every node was looked at"):
        runner.run(next(case for case in CASES if case.name.startswith("SchedulingBasic")).scaled(30))


def test_a_slice_that_is_not_taken_over_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    put = Claims.put
    monkeypatch.setattr(Claims, "put", lambda self, more: put(self, more) if "7" not in more.slices[0].name else None)
    with pytest.raises(errors.KubeschedError, match="was left out, but its devices are there, got 'node-000007'"):
        runner.run(next(case for case in CASES if case.name.startswith("PublishResourceSlices")).scaled(9))


def test_a_case_decides_with_the_arguments_that_it_gives() -> None:
    case = next(case for case in CASES if case.name.startswith("ExtendedResourceScoring"))
    (_, profile), *rest = program.build(case.scaled(2)).profile.profiles
    fit = next(score for score in profile.scores if score.name == "NodeResourcesFit")
    assert (fit.resources, rest) == ((("cpu", 1), ("memory", 1), ("example.com/gpu", 1)), [])


def test_a_gang_in_two_racks_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "label", lambda _, node, key: node + key)
    with pytest.raises(errors.KubeschedError, match="its gang is torn apart"):
        runner.run(next(case for case in CASES if case.name.endswith("_3GangsOf1000")).scaled(100))


def test_a_picture_shows_cases_with_and_without_threshold(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    cases = [
        {"case": "a/1", "placements_per_s": 90_000, "threshold": 100, "ratio": 900.0},
        {"case": "b/1", "placements_per_s": 900, "threshold": 100, "ratio": 9.0},
        {"case": "c/1", "placements_per_s": 50, "threshold": None, "ratio": None},
    ]
    first = picture.draw(cases, tmp_path / "a.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert picture.draw(cases, tmp_path / "b.png").read_bytes() == first


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


def test_the_judge_lets_one_pod_alone_use_a_claim_of_one_pod() -> None:
    lone = {"accessModes": ["ReadWriteOncePod"], "volumeName": "v"}
    volume = {"kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"csi": {"driver": "d"}}}
    claim = {"kind": "PersistentVolumeClaim", "metadata": {"namespace": "a", "name": "c"}, "spec": lone}
    judge = Judge([_node("n0", "east"), _node("n1", "east"), volume, claim])
    pod = _pod(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}])
    judge.place("a/0", pod, "n0")
    with pytest.raises(errors.KubeschedError, match="one pod alone"):
        judge.place("a/1", pod, "n1")
    judge.place("a/1", pod, None)
    judge.release("a/0")
    with pytest.raises(errors.KubeschedError, match="was left out, but fits"):
        judge.place("a/1", pod, None)


# ---- the devices of the judge ----

OURS = {"cel": {"expression": 'device.driver == "d"'}}
ALL_TAKEN = {"p/x": [("r", "a")], "p/y": [("r", "b")]}


def _claims_pod(*claims: str) -> dict[str, Any]:
    spec = {"containers": [{}], "resourceClaims": [{"name": c, "resourceClaimName": c} for c in claims]}
    return {"metadata": {"namespace": "p", "name": "-".join(claims)}, "spec": spec}


def _slice(node: str, *devices: dict[str, Any], **more: Any) -> dict[str, Any]:
    pool = {"name": node, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": "d", "pool": pool, "nodeName": node, "devices": list(devices), **more}
    return {"kind": "ResourceSlice", "metadata": {}, "spec": spec}


def _claim(name: str, count: int = 1, constraints: Any = (), **exactly: Any) -> dict[str, Any]:
    request = {"name": "r", "exactly": {"deviceClassName": "c", "count": count, **exactly}}
    spec = {"devices": {"requests": [request], "constraints": list(constraints)}}
    return {"kind": "ResourceClaim", "metadata": {"namespace": "p", "name": name}, "spec": spec}


def _judged(slices: list[dict[str, Any]], claims: list[dict[str, Any]], on: dict[str, str | None]) -> Judge:
    """Two nodes; a pod for each claim, on the node given."""
    behind = {"kind": "DeviceClass", "metadata": {"name": "c"}, "spec": {"selectors": [OURS]}}
    judge = Judge([_node("n0", "east"), _node("n1", "west"), behind, *slices, *claims])
    for claim, node in on.items():
        judge.place(f"p/{claim}", _claims_pod(claim), node)
    return judge


def _held(devices: dict[str, list[tuple[str, str]]], node: str = "n0") -> dict[str, Any]:
    return {
        claim: {"devices": {"results": [{"request": r, "driver": "d", "pool": node, "device": d} for r, d in of]}}
        for claim, of in devices.items()
    }


SHARED = {"name": "a", "allowMultipleAllocations": True, "capacity": {"m": {"value": "3"}}}
COUNTED = [{"name": n, "consumesCounters": [{"counterSet": "s", "counters": {"k": {"value": "2"}}}]} for n in "ab"]
COUNTERS = [{"name": "s", "counters": {"k": {"value": "3"}}}]
AB = [{"name": "a", "attributes": {"m": {"int": 1}}}, {"name": "b", "attributes": {"m": {"int": 2}}}]
TAINTED = {"name": "a", "taints": [{"key": "t", "effect": "NoSchedule"}]}
HALF = {"capacity": {"requests": {"m": "2"}}}
XY: dict[str, str | None] = {"x": "n0", "y": "n0"}


@pytest.mark.parametrize(
    ("slices", "claims", "on", "held", "message"),
    [
        (
            [_slice("n0", *AB)],
            [_claim("x"), _claim("y")],
            XY,
            {"p/x": [("r", "a")], "p/y": [("r", "a")]},
            "more than once",
        ),
        ([_slice("n0", *AB)], [_claim("x")], {"x": "n1"}, {"p/x": [("r", "a")]}, "does not reach n1"),
        ([_slice("n0", *AB)], [_claim("x")], {"x": "n0"}, {}, "a pod and no devices"),
        ([_slice("n0", *AB)], [_claim("x", 2)], {"x": "n0"}, {"p/x": [("r", "a")]}, "wrong number of devices"),
        ([_slice("n0", *AB)], [_claim("x")], {"x": "n0"}, {"p/x": [("r", "z")]}, "not there"),
        (
            [_slice("n0", *AB)],
            [_claim("x", 2, [{"matchAttribute": "m"}])],
            {"x": "n0"},
            {"p/x": [("r", "a"), ("r", "b")]},
            "differ",
        ),
        (
            [_slice("n0", *AB)],
            [_claim("x", selectors=[{"cel": {"expression": 'device.driver == "e"'}}])],
            {"x": "n0"},
            {"p/x": [("r", "a")]},
            "not selected",
        ),
        ([_slice("n0", TAINTED)], [_claim("x")], {"x": "n0"}, {"p/x": [("r", "a")]}, "taint"),
        (
            [_slice("n0", SHARED)],
            [_claim("x", **HALF), _claim("y", **HALF)],
            XY,
            {"p/x": [("r", "a")], "p/y": [("r", "a")]},
            "not enough m",
        ),
        (
            [_slice("n0", *COUNTED, sharedCounters=COUNTERS)],
            [_claim("x"), _claim("y")],
            XY,
            ALL_TAKEN,
            "not enough s.k",
        ),
        ([_slice("n0", *AB)], [_claim("x")], {"x": "n0"}, {"p/x": [("r", "a"), ("q", "b")]}, "no request asks for"),
    ],
)
def test_the_judge_objects_to_devices(
    slices: list[dict[str, Any]],
    claims: list[dict[str, Any]],
    on: dict[str, str | None],
    held: dict[str, list[tuple[str, str]]],
    message: str,
) -> None:
    with pytest.raises(errors.KubeschedError, match=message):
        _judged(slices, claims, on).check_devices(_held(held))


def test_the_judge_finds_devices_for_a_pod_that_was_left_out() -> None:
    template = {**_claim("t"), "kind": "ResourceClaimTemplate"}
    template["spec"] = {"spec": template["spec"]}
    judge = _judged([_slice("n0", *AB)], [template], {})
    pod = _claims_pod("x")
    pod["spec"]["resourceClaims"] = [{"name": "x", "resourceClaimTemplateName": "t"}]
    judge.place("p/x", pod, None)
    with pytest.raises(errors.KubeschedError, match="was left out, but its devices are there"):
        judge.check_devices({})


def test_the_judge_admits_devices_that_hold() -> None:
    judge = _judged([_slice("n0", *AB)], [_claim("x"), _claim("y")], XY)
    judge.check_devices(_held(ALL_TAKEN))
    judge.release("p/x")
    judge.check_devices(_held({"p/y": [("r", "b")]}))

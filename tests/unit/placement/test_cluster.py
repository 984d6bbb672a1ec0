# SPDX-License-Identifier: Apache-2.0
"""The facade: what it promises beside the decisions themselves."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

import kubesched as ks


def node(name: str, cpu: str = "4", **more: Any) -> dict[str, Any]:
    return {
        "kind": "Node",
        "metadata": {"name": name},
        "status": {"allocatable": {"cpu": cpu, "memory": "8Gi", "pods": "10"}},
        **more,
    }


def pod(name: str, cpu: str = "1", **spec: Any) -> dict[str, Any]:
    containers = [{"name": "c", "image": "x", "resources": {"requests": {"cpu": cpu}}}]
    return {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


def test_import_is_light() -> None:
    code = (
        "import sys, time; t = time.perf_counter(); import kubesched; kubesched.Cluster; "
        "print([m for m in ('numba', 'ortools', 'pyarrow', 'matplotlib') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert out.stdout.strip() == "[]"


def test_public_names() -> None:
    assert sorted(ks.__all__) == ks.__all__
    for name in ks.__all__:
        assert getattr(ks, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        ks.nothing_like_it  # noqa: B018


def test_plan_reads_well() -> None:
    cluster = ks.Cluster.from_objects([node("a"), node("b", cpu="2")])
    plan = cluster.place([pod("p"), pod("q", cpu="9"), pod("g", schedulingGates=[{"name": "x/y"}])])
    assert plan.nodes == ["a", None, None]
    assert plan.statuses == ["Placed", "Unschedulable", "Gated"]
    assert plan.reasons[1] == "0/2 nodes are available: 2 Insufficient cpu."
    assert plan.reasons[2] == "waiting for scheduling gates: [x/y]"
    assert "1 of 3 pods placed" in str(plan)
    assert plan.to_arrow().column_names == ["pod", "node", "node_index", "score", "tie_count", "status", "reason"]
    assert not plan.is_complete
    assert cluster.node_of("default/p") == "a"


def test_messages_are_kube_schedulers() -> None:
    taint = {"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}}
    nodes = [node("a", "1"), node("b", "1"), node("c", **taint), node("d", **taint), node("e", **taint)]
    why = ks.Cluster.from_objects(nodes).explain(pod("p", cpu="2"))
    assert why.message == "0/5 nodes are available: 2 Insufficient cpu, 3 node(s) had untolerated taint(s)."
    assert why.best == []
    assert "Feasible:  0 of 5 nodes" in str(why)
    assert why.to_arrow()["reason"].to_pylist()[0] == "Insufficient cpu"


def test_annotations_are_those_of_the_simulator() -> None:
    nodes = [node("n0"), node("n1", spec={"unschedulable": True}), node("n2")]
    cluster = ks.Cluster.from_objects(nodes)
    cluster.place([pod("big", cpu="3")])
    why = cluster.explain(pod("p", cpu="2"))
    prefix = "kube-scheduler-simulator.sigs.k8s.io/"
    found = {key.removeprefix(prefix): value for key, value in why.to_annotations().items()}
    assert found.pop("selected-node") == "n2"
    results = {key: json.loads(value) for key, value in found.items()}
    assert list(results) == ["filter-result", "score-result", "finalscore-result"]
    assert results["filter-result"]["n1"] == {"NodeUnschedulable": "node(s) were unschedulable"}
    fit = results["filter-result"]["n0"]
    assert fit["NodeAffinity"] == "passed"
    assert fit["NodeResourcesFit"] == "Insufficient cpu"
    assert "InterPodAffinity" not in fit
    assert set(results["filter-result"]["n2"].values()) == {"passed"}
    assert list(results["score-result"]) == ["n2"]
    assert sum(map(int, results["finalscore-result"]["n2"].values())) == why.verdicts.total.max()
    assert results["score-result"]["n2"]["TaintToleration"] == "0"
    assert results["finalscore-result"]["n2"]["TaintToleration"] == "300"
    with pytest.raises(ks.InputError, match="are larger than an object may carry"):
        why.to_annotations(limit=100)


def test_explaining_changes_nothing_and_adds_up() -> None:
    cluster = ks.Cluster.from_objects([node("a"), node("b", cpu="8")])
    before = cluster.to_arrow()["nodes"]
    why = cluster.explain(pod("p"))
    assert why.best == ["b"]
    assert cluster.to_arrow()["nodes"].equals(before)
    row = why.to_rows()[1]
    total = 3 * row["TaintToleration"] + row["NodeResourcesFit"] + row["NodeResourcesBalancedAllocation"]
    assert row["total"] == total
    assert "NODE" in str(why)


def test_what_if_is_undone() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    cluster.place([pod("stays")])
    with pytest.raises(RuntimeError), cluster.what_if():
        cluster.place([pod(f"p{i}") for i in range(3)])
        cluster.release("default/stays")
        raise RuntimeError
    assert cluster.running == ["default/stays"]
    assert cluster.to_arrow()["nodes"]["used_cpu_milli"].to_pylist() == [1000]


def test_without_commit_each_pod_is_alone() -> None:
    cluster = ks.Cluster.from_objects([node("a", cpu="1")])
    plan = cluster.place([pod("p"), pod("q")], commit=False)
    assert plan.nodes == ["a", "a"]
    assert cluster.running == []


def test_seeds_draw_ties() -> None:
    cluster = ks.Cluster.from_objects([node(f"n{i}") for i in range(20)])
    lowest = cluster.place([pod("p")], commit=False)
    assert (lowest.nodes[0], lowest.ties[0]) == ("n0", 20)
    drawn = {cluster.place([pod("p")], seed=s, commit=False).nodes[0] for s in range(60)}
    assert len(drawn) > 10
    again = [cluster.place([pod("p")], seed=7, commit=False).nodes for _ in range(2)]
    assert again[0] == again[1]


def test_deltas() -> None:
    cluster = ks.Cluster.from_objects([node("a"), node("b")])
    cluster.place([pod("p")])
    cluster.apply(
        ks.Delta(
            release=["default/p"],
            remove_nodes=["a"],
            update_nodes=[node("b", cpu="1")],
            add_nodes=[node("c", cpu="64")],
            bind=[pod("r", nodeName="b")],
        )
    )
    assert cluster.n_nodes == 2
    assert cluster.node_of("default/r") == "b"
    assert cluster.place([pod("q")]).nodes == ["c"]
    cluster.apply(ks.Delta(remove_nodes=["b"]))
    assert cluster.node_of("default/r") is None
    cluster.release("default/r")


def test_wrong_calls_are_named() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    cluster.place([pod("p")])
    for call, says in (
        (lambda: cluster.place([pod("p")]), "Pod default/p: exists twice"),
        (lambda: cluster.place([pod("x"), pod("x")]), "Pod default/x: exists twice"),
        (lambda: cluster.place(pod("x")), "place: pods: is one pod"),
        (lambda: cluster.place([1]), "pod: is not a pod"),
        (lambda: cluster.place([pod("x")], profile="nope"), "profile: is unknown"),
        (lambda: cluster.place([pod("x")], driver="nope"), "driver: is unknown"),
        (lambda: cluster.explain("nope"), "pod: is not a pending pod"),
        (lambda: cluster.release("default/none"), "Pod default/none: does not run"),
        (lambda: cluster.apply(ks.Delta(remove_nodes=["z"])), "Node z: does not exist"),
        (lambda: ks.Cluster.from_objects([pod("r", nodeName="gone")]), "Pod default/r: spec.nodeName: is not a node"),
        (lambda: ks.Cluster.synthetic(-1), "synthetic: is out of range"),
        (lambda: ks.Cluster.from_objects([], ignore=["everything"]), "ignore: is not a feature"),
    ):
        with pytest.raises(ks.KubeschedError) as caught:
            call()
        assert says in str(caught.value)
    assert cluster.running == ["default/p"]


def test_devices_of_running_pods() -> None:
    gpu = node("g")
    gpu["metadata"]["labels"] = {"alibabacloud.com/gpu-card-model": "T4"}
    gpu["status"]["allocatable"]["alibabacloud.com/gpu-count"] = "2"
    share = {"alibabacloud.com/gpu-count": "1", "alibabacloud.com/gpu-milli": "600"}
    known, unknown = pod("known", nodeName="g"), pod("unknown", nodeName="g")
    known["metadata"]["annotations"] = share | {"alibabacloud.com/gpu-index": "1"}
    unknown["metadata"]["annotations"] = share
    cluster = ks.Cluster.from_objects([gpu, unknown, known])
    assert cluster.to_arrow()["nodes"]["device_free_milli"].to_pylist() == [[400, 400]]
    cluster.release(["default/known", "default/unknown"])
    assert cluster.to_arrow()["nodes"]["device_free_milli"].to_pylist() == [[1000, 1000]]


def test_pods_from_arrow() -> None:
    cluster = ks.Cluster.synthetic(10, gpus_per_node=2)
    table = pa.table({"pod": ["a/x", "y"], "cpu_milli": [100, 200], "memory_bytes": [1, 2], "device_count": [0, 1]})
    plan = cluster.place(table, profile="packing")
    assert plan.pods == ["a/x", "default/y"]
    assert plan.is_complete
    assert cluster.to_arrow()["pods"]["devices"].to_pylist() == [0, 1]


def test_device_shares_need_a_profile_that_sees_them() -> None:
    cluster = ks.Cluster.synthetic(3, gpus_per_node=1)
    table = pa.table({"pod": ["x"], "cpu_milli": [1], "memory_bytes": [1], "device_count": [1], "device_milli": [500]})
    with pytest.raises(ks.InputError, match="Pod default/x: shares devices, which the profile does not look at"):
        cluster.place(table)
    assert cluster.place(table, profile="bestfit").is_complete


def test_any_number_of_resources() -> None:
    names = [f"example.com/r{i:03d}" for i in range(150)]
    obj = node("a")
    obj["status"]["allocatable"] |= dict.fromkeys(names[:149], "1")
    cluster = ks.Cluster.from_objects([obj, node("b")])
    greedy = pod("p")
    greedy["spec"]["containers"][0]["resources"]["requests"] |= {names[0]: "1", names[70]: "2", names[149]: "1"}
    why = cluster.explain(greedy)
    reasons = [f"Insufficient {names[i]}" for i in (0, 70, 149)]
    assert why.to_rows()[0]["reason"] == "; ".join(reasons[1:])
    assert why.to_rows()[1]["reason"] == "; ".join(reasons)


def test_snapshot_is_independent() -> None:
    cluster = ks.Cluster.from_objects([node("a")])
    copy = cluster.snapshot()
    cluster.place([pod("p")])
    assert copy.running == []
    assert cluster.running == ["default/p"]


def test_synthetic_zones_are_labels_that_rules_see() -> None:
    cluster = ks.Cluster.synthetic(6, zones=3)
    for key, value, expected in (
        ("topology.kubernetes.io/zone", "zone-2", {"node-0000002", "node-0000005"}),
        ("kubernetes.io/hostname", "node-0000004", {"node-0000004"}),
    ):
        asked = {**pod("p", cpu="1m"), "spec": {**pod("p", cpu="1m")["spec"], "nodeSelector": {key: value}}}
        assert set(cluster.place([asked], commit=False).nodes) <= expected
        assert set(cluster.place([asked], commit=False).nodes)
    assert cluster.snapshot().to_arrow()["nodes"].equals(cluster.to_arrow()["nodes"])

# SPDX-License-Identifier: Apache-2.0
"""State as Arrow: zero-copy out, checked in, round trips that decide alike."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import kubesched as ks
from kubesched.state import files, live, rows, tables
from tests import builders, strategies


def random_cluster(rng: np.random.Generator) -> tuple[ks.Cluster, list[dict[str, Any]]]:
    case = strategies.case(rng, 15, 25, 10)
    return ks.Cluster.from_objects(case["nodes"] + case["pods"]), case["sequence"]


def test_numeric_columns_are_zero_copy() -> None:
    cluster = ks.Cluster.synthetic(100)
    table = cluster.to_arrow(copy=False)["nodes"]
    view = cluster._state.engine.columns().allocatable[0]
    column = table["cpu_milli"].chunk(0)
    assert column.buffers()[1].address == view.__array_interface__["data"][0]
    copied = cluster.to_arrow()["nodes"]["cpu_milli"].chunk(0)
    assert copied.buffers()[1].address != view.__array_interface__["data"][0]
    assert copied.equals(column)


def test_round_trip_decides_alike(rng: np.random.Generator) -> None:
    for _ in range(15):
        cluster, pods = random_cluster(rng)
        copy = cluster.snapshot()
        for name, table in cluster.to_arrow().items():
            assert copy.to_arrow()[name].equals(table), name
        a, b = cluster.place(pods), copy.place(pods)
        assert (a.nodes, a.scores.tolist(), a.reasons) == (b.nodes, b.scores.tolist(), b.reasons)


def test_rules_about_other_pods_survive_a_round_trip(tmp_path: Path) -> None:
    """Spread constraints, affinity terms and namespaces' labels: a copy without them would decide otherwise."""
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}
    spread["labelSelector"] = {"matchLabels": {"app": "a"}}
    term = {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "b"}}}
    term["namespaceSelector"] = {"matchExpressions": [{"key": "team", "operator": "Exists"}]}
    objects: list[dict[str, Any]] = [{"kind": "Namespace", "metadata": {"name": "x", "labels": {"team": "t"}}}]
    for i in range(4):
        node = builders.make_node(f"n{i}").cpu("8").memory("8Gi").build()
        node["metadata"]["labels"] = {"zone": f"z{i % 2}", "kubernetes.io/hostname": f"n{i}"}
        objects.append(node)
    running = builders.make_pod("b").container("1").on("n0").build()
    running["metadata"] |= {"namespace": "x", "labels": {"app": "b"}}
    waiting = []
    for i in range(5):
        pod = builders.make_pod(f"a{i}").container("1").build()
        pod["metadata"]["labels"] = {"app": "a"}
        required = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        pod["spec"] |= {"topologySpreadConstraints": [spread], "affinity": {"podAntiAffinity": required}}
        waiting.append(pod)
    cluster = ks.Cluster.from_objects([*objects, running])
    cluster.place(waiting[:2])
    cluster.save(tmp_path)
    copy = ks.Cluster.load(tmp_path)
    for name, table in cluster.to_arrow().items():
        assert copy.to_arrow()[name].equals(table), name
    a, b = cluster.place(waiting[2:]), copy.place(waiting[2:])
    assert (a.nodes, a.scores.tolist(), a.reasons) == (b.nodes, b.scores.tolist(), b.reasons)
    assert "n0" not in a.nodes
    zones = [int((cluster.node_of(f"default/a{i}") or "n0")[1]) % 2 for i in range(5)]
    assert abs(zones.count(0) - zones.count(1)) == 1


def test_units_are_in_the_metadata() -> None:
    schema = ks.Cluster.synthetic(1).to_arrow()["nodes"].schema
    assert schema.field("memory_bytes").metadata == {b"unit": b"bytes"}
    assert schema.field("cpu_milli").metadata == {b"unit": b"1/1000 core"}


def test_parquet_round_trip(tmp_path: Path, rng: np.random.Generator) -> None:
    cluster, pods = random_cluster(rng)
    cluster.place(pods)
    cluster.save(tmp_path / "state")
    loaded = ks.Cluster.load(tmp_path / "state")
    for name, table in cluster.to_arrow().items():
        assert loaded.to_arrow()[name].equals(table), name
    whole = (tmp_path / "state" / "nodes.parquet").read_bytes()
    (tmp_path / "state" / "nodes.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ks.InputError, match="cannot be read"):
        ks.Cluster.load(tmp_path / "state")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    target = tmp_path / "x.parquet"
    target.write_text("old")
    with pytest.raises(RuntimeError), files.atomic(target) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_fleets_hold_many_clusters() -> None:
    nodes = pa.table(
        {"cluster": ["a", "b", "a"], "name": ["n", "n", "m"], "cpu_milli": [1000] * 3, "memory_bytes": [1 << 30] * 3}
    )
    fleet = ks.Cluster.from_arrow(nodes)
    assert fleet.n_nodes == 3
    assert fleet.to_arrow()["nodes"]["cluster"].to_pylist() == ["a", "a", "b"]
    plan = fleet.place(pa.table({"pod": ["x/p"], "cpu_milli": [10], "memory_bytes": [1]}))
    assert plan.nodes[0] in ("a/n", "a/m", "b/n")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"name": ["a", "a"]}, "Node a: exists twice"),
        ({"cpu_milli": [1.5, 2]}, "nodes: cpu_milli: has the wrong type, got 'double'"),
        ({"cpu_milli": [1, -2]}, "nodes, row 2: cpu_milli: is out of range, got -2"),
        ({"memory_bytes": [1, 1 << 60]}, "nodes, row 2: memory_bytes: is out of range"),
        ({"memory_bytes": [1, None]}, "nodes, row 2: memory_bytes: is empty"),
        ({"name": ["a", None]}, "nodes, row 2: name: is empty"),
        ({"name": [1, 2]}, "nodes: name: has the wrong type"),
        ({"colour": [1, 2]}, "nodes: colour: is an unknown column"),
        ({"device_count": [1, 65]}, "nodes, row 2: device_count: is out of range"),
    ],
)
def test_wrong_node_tables_are_named(change: dict[str, Any], says: str) -> None:
    columns: dict[str, Any] = {"name": ["a", "b"], "cpu_milli": [1, 2], "memory_bytes": [1, 2]}
    with pytest.raises(ks.InputError) as caught:
        ks.Cluster.from_arrow(pa.table(columns | change))
    assert says in str(caught.value)


def test_missing_columns_are_named() -> None:
    with pytest.raises(ks.InputError, match="nodes: memory_bytes: is missing"):
        ks.Cluster.from_arrow(pa.table({"name": ["a"], "cpu_milli": [1]}))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            {"tolerations": [{"key": "k", "operator": "Exists", "value": "", "effect": "NoShedule"}]},
            "classes, row 2: tolerations: has no such effect, got 'NoShedule'",
        ),
        (
            {"tolerations": [{"key": "k", "operator": "Exists", "value": "", "effect": None}]},
            "classes, row 2: tolerations: has no such effect",
        ),
        (
            {"required_terms": [{"requirements": [{"key": "k", "operator": "Near", "values": [], "is_field": False}]}]},
            "classes, row 2: required_terms: has no such operator, got 'Near'",
        ),
    ],
)
def test_classes_are_checked(change: dict[str, Any], says: str) -> None:
    cluster = ks.Cluster.synthetic(2)
    cluster.place([builders.make_pod(name).container(cpu).build() for name, cpu in (("a", "1"), ("b", "2"))])
    found = cluster.to_arrow()
    classes = found["classes"].to_pylist()
    classes[1] |= change
    with pytest.raises(ks.InputError) as caught:
        ks.Cluster.from_arrow(found["nodes"], found["pods"], pa.Table.from_pylist(classes, found["classes"].schema))
    assert says in str(caught.value)


def test_rows_are_used_again() -> None:
    state = live.ClusterState()
    make = lambda name: rows.NodeRow(name, (("cpu", 1000), ("memory", 1 << 30), ("pods", 5)))  # noqa: E731
    state.add_nodes([make("a"), make("b"), make("c")])
    state.remove_node("b")
    assert state.node_names() == ["a", None, "c"]
    state.add_nodes([make("d"), make("e")])
    assert state.node_names() == ["a", "d", "c", "e"]
    assert tables.nodes(state)["name"].to_pylist() == ["a", "d", "c", "e"]


def test_duplicates_change_nothing() -> None:
    state = live.ClusterState()
    make = lambda name: rows.NodeRow(name, (("cpu", 1000), ("memory", 1 << 30), ("pods", 5)))  # noqa: E731
    state.add_nodes([make("a")])
    with pytest.raises(ks.InputError, match="exists twice"):
        state.add_nodes([make("b"), make("a")])
    with pytest.raises(ks.InputError, match="exists twice"):
        state.add_node_columns(["c", "c"], {"cpu": np.ones(2, dtype=np.int64)})
    assert state.node_names() == ["a"]
    with pytest.raises(ks.InputError, match="nodes: cpu, row 1: is out of range"):
        state.add_node_columns(["x", "y"], {"cpu": np.array([1, -1], dtype=np.int64)})

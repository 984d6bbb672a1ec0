# SPDX-License-Identifier: Apache-2.0
"""Replay: the workload as the experiment defines it, time, determinism, what is written and refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kubesched.base import errors
from kubesched.framework import profile as profiles
from kubesched.replay import azure, openb, report, simulate, sweep, workload
from kubesched.replay import table as tables
from kubesched.replay.workload import NEVER
from tests.conftest import AZURE


def test_openb_is_the_published_trace() -> None:
    nodes, pods = openb.nodes(), openb.pods("default")
    assert len(nodes.names) == 1213
    assert nodes.device_milli == 6_212_000
    assert int(nodes.allocatable["cpu"].sum()) == 107_018_000
    assert int(nodes.allocatable["memory"].sum()) == 528_302_452_244_480
    assert len(pods) == 8152
    assert len(pods.shapes) == 151
    assert int(pods.device_milli.sum()) == 6_086_800
    assert set(openb.PUBLISHED_VARIANTS) <= set(openb.variants())


def test_typical_pods_cover_the_popular_shapes() -> None:
    typical = workload.typical_pods(openb.pods("default"))
    assert abs(float(typical.frequency.sum()) - 1) < 1e-9
    assert (np.diff(typical.frequency) <= 0).all()
    assert 10 < len(typical.frequency) < 151


def test_inflation_stops_by_the_published_rule() -> None:
    pods, target = openb.pods("default"), 1.3 * 6_212_000
    order = workload.inflate(pods, target, np.random.Generator(np.random.PCG64(1)))
    total = int(pods.device_milli[order].sum())
    assert sorted(order[:8152].tolist()) == list(range(8152))  # first every pod once, shuffled
    assert target - 1000 < total <= target + 7000
    again = workload.inflate(pods, target, np.random.Generator(np.random.PCG64(1)))
    assert np.array_equal(order, again)


def test_too_much_demand_is_thinned() -> None:
    pods = openb.pods("default")
    order = workload.inflate(pods, 3_000_000, np.random.Generator(np.random.PCG64(1)))
    total = int(pods.device_milli[order].sum())
    assert len(np.unique(order)) == len(order)
    assert 2_990_000 < total <= 3_000_000


def small(arrival: list[int], departure: list[int | None], cpu: int = 1000, nodes: int = 1) -> workload.Workload:
    n = len(arrival)
    columns = workload.ShapeColumns(
        np.full(n, cpu, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
        *(np.zeros(n, dtype=np.int64),) * 2,
        ("",),
        np.zeros(n, dtype=np.int64),
    )
    shapes, shape = workload.make_shapes(columns)
    leaves = np.array([NEVER if d is None else d for d in departure], dtype=np.int64)
    pods = workload.PodTable(shapes, shape, np.array(arrival, dtype=np.int64), leaves)
    machines = workload.NodeTable(
        [f"n{i}" for i in range(nodes)],
        {"cpu": np.full(nodes, 1000), "memory": np.full(nodes, 1 << 30), "pods": np.full(nodes, 10)},
        np.zeros(nodes, dtype=np.int32),
        [None] * nodes,
    )
    return workload.Workload("small", machines, pods, np.arange(n, dtype=np.int32))


def test_departures_come_before_arrivals_of_the_same_second() -> None:
    work = small([0, 5, 5, 9], [5, 9, None, None])
    run = simulate.run(work, profiles.find("node-local"), 1)
    assert run.decisions.node.tolist() == [0, 0, -1, 0]
    assert run.n_unplaced == 1


def test_a_pod_may_leave_in_its_own_second() -> None:
    work = small([3, 3, 4], [3, None, None])
    run = simulate.run(work, profiles.find("node-local"), 1)
    assert [int(e) for e in run.event] == [1, 2, -1, 3]
    assert run.decisions.node.tolist() == [0, -1, 0]


def test_chunks_do_not_change_decisions(monkeypatch: pytest.MonkeyPatch) -> None:
    task = sweep.Task("openb", "default", "inflate", "fgd", 3, sweep.ReplayOptions())
    work = sweep.make_workload(task)
    whole = simulate.run(work, profiles.find("fgd"), 3)
    monkeypatch.setattr(simulate, "CHUNK", 777)
    parts = simulate.run(work, profiles.find("fgd"), 3)
    assert np.array_equal(whole.decisions.node, parts.decisions.node)
    assert np.array_equal(whole.used_milli, parts.used_milli)
    np.testing.assert_allclose(whole.fragmented_milli, parts.fragmented_milli, atol=1e-3)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    logs = []
    for folder in ("a", "b"):
        out = tmp_path / folder
        sweep.sweep("openb", policies=["random"], seeds=[7], out=out)
        logs.append((out / "decisions" / "random-seed7.parquet").read_bytes())
    assert logs[0] == logs[1]
    other = sweep.sweep("openb", policies=["random"], seeds=[8], out=tmp_path / "c")
    assert (tmp_path / "c" / "decisions" / "random-seed8.parquet").read_bytes() != logs[0]
    log = pq.read_table(tmp_path / "a" / "decisions" / "random-seed7.parquet")
    assert log.num_rows > 10_000
    assert log["node"].null_count > 0
    assert log.schema.field("arrival_s").metadata[b"unit"].startswith(b"s ")
    assert other.results[0].n_indexed > 10_000


@pytest.mark.parametrize("policy", profiles.POLICIES)
def test_the_published_table_is_reproduced(policy: str) -> None:
    """Means of four seeds, within four standard errors of the published mean of ten."""
    found = sweep.sweep("openb", policies=[policy], seeds=range(42, 46), workers=1)
    row, known = found.summary()[0], report.published("default")[policy]
    assert abs(row["gpu_alloc_pct_at_100"] - known.alloc_at_100) < 1.3
    assert abs(row["gpu_alloc_pct_at_130"] - known.alloc_at_130) < 1.3
    assert abs(row["frag_pct_at_100"] - known.frag_at_100) < 1.3


def test_policies_rank_as_published() -> None:
    found = sweep.sweep("openb", policies=profiles.POLICIES, seeds=[42, 43], workers=1)
    alloc = {row["policy"]: row["gpu_alloc_pct_at_100"] for row in found.summary()}
    assert alloc["fgd"] > alloc["bestfit"] > alloc["dotprod"] > alloc["random"]


def test_reports_are_written_whole(tmp_path: Path) -> None:
    found = sweep.sweep("openb", policies=["packing", "fgd"], seeds=[1], workers=1)
    written = sweep.write(found, tmp_path)
    assert [p.name for p in written] == [
        "summary.json",
        "curves.parquet",
        "allocation.png",
        "fragmentation.png",
        "heatmap.png",
    ]
    assert all(p.stat().st_size > 200 for p in written)
    assert (tmp_path / "allocation.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written)
    curves = pq.read_table(tmp_path / "curves.parquet")
    assert curves.num_rows == 2 * 131


def test_recorded_times_are_replayed() -> None:
    found = sweep.sweep("openb", policies=["default-v1.36"], seeds=[1], mode="recorded")
    assert found.results[0].events == 2 * 8152


def test_unknown_names_are_refused() -> None:
    for arguments, says in (
        ({"trace": "openbb"}, "trace: is unknown"),
        ({"variant": "gpu"}, "variant: is unknown"),
        ({"policies": ["fdg"]}, "did you mean 'fgd'"),
        ({"mode": "backwards"}, "mode: is unknown"),
    ):
        given = {"trace": "openb", "policies": ["fgd"], "seeds": [1]} | arguments
        with pytest.raises(errors.InputError) as caught:
            sweep.sweep(given.pop("trace"), **given)  # type: ignore[arg-type]
        assert says in str(caught.value)


# ---- tables of the user ----


def write(path: Path, columns: dict[str, list[object]]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


NODES = {"name": ["a", "b"], "cpu_milli": [1000, 2000], "memory_bytes": [1 << 30, 1 << 30]}
PODS = {"cpu_milli": [100, 200], "memory_bytes": [1, 2], "arrival_s": [0, 5], "departure_s": [10, None]}


def test_own_tables_are_replayed(tmp_path: Path) -> None:
    options = sweep.ReplayOptions(path=write(tmp_path / "p.parquet", PODS), nodes=write(tmp_path / "n.parquet", NODES))
    found = sweep.sweep("table", policies=["node-local"], seeds=[1], mode="recorded", options=options)
    assert found.results[0].unplaced == 0
    assert found.results[0].events == 3


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"cpu_milli": [1, -1]}, "row 2: cpu_milli: is out of range, got -1"),
        ({"cpu_milli": [1, 1 << 60]}, "row 2: cpu_milli: is out of range"),
        ({"cpu_milli": ["x", "y"]}, "cpu_milli: has the wrong type, got 'string', expected integers"),
        ({"cpu_milli": [float("nan"), 1.0]}, "cpu_milli: has the wrong type"),
        ({"memory_bytes": [1, None]}, "row 2: memory_bytes: is empty"),
        ({"departure_s": [10, 4]}, "row 2: departure_s: is before the arrival, got 4, expected 5 or later"),
        ({"arrival_s": [0, 10**11]}, "row 2: arrival_s: is out of range"),
        ({"name": ["x", "x"]}, "row 2: name: exists twice"),
        ({"device_count": [2, 0], "device_milli": [500, 0]}, "row 1: device_milli: does not fit device_count"),
        ({"colour": [1, 2]}, "colour: is an unknown column"),
    ],
)
def test_wrong_pod_tables_are_named(tmp_path: Path, change: dict[str, list[object]], says: str) -> None:
    path = write(tmp_path / "p.parquet", PODS | change)
    with pytest.raises(errors.InputError) as caught:
        tables.read_pods(path)
    assert says in str(caught.value)
    assert str(caught.value).startswith(str(path))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write(tmp_path / "n.parquet", NODES)
    path.write_bytes(path.read_bytes()[:-20])
    for bad in (path, tmp_path / "none.parquet", tmp_path / "n.xlsx"):
        with pytest.raises(errors.InputError, match=str(bad)):
            tables.read_nodes(bad)
    (tmp_path / "x.csv").write_bytes(b"name,cpu_milli,memory_bytes\n\xff\xfe,1,1\n")
    with pytest.raises(errors.InputError):
        tables.read_nodes(tmp_path / "x.csv")


# ---- Azure ----


def azure_file(tmp_path: Path, **change: list[object]) -> Path:
    columns: dict[str, list[object]] = {
        "split": ["train", "dev", "dev"],
        "arrival_s": [0, 300, 600],
        "vcpu": [2, 4, 8],
        "memory_gb": [3.5, 14.0, 56.0],
        "duration_censored": [None, False, True],
        "duration_bin_lo_s": [None, 300, 600],
        "duration_bin_hi_s": [None, 600, 900],
    }
    return write(tmp_path / "azure.parquet", columns | change)


def test_azure_lifetimes(tmp_path: Path) -> None:
    nodes, pods = azure.read(azure_file(tmp_path), azure.AzureOptions(hosts=3))
    assert pods.departure_s.tolist() == [NEVER, 300 + 450, NEVER]  # no duration; the middle of its bin; censored
    assert len(nodes.names) == 3
    late = azure.read(azure_file(tmp_path), azure.AzureOptions(duration="hi", splits=("dev",)))[1]
    assert late.departure_s.tolist() == [900, NEVER]


def test_azure_input_is_checked(tmp_path: Path) -> None:
    for change, says in (
        ({"vcpu": [2, -4, 8]}, "row 2: vcpu: is out of range"),
        ({"memory_gb": [1.0, None, 2.0]}, "memory_gb: has empty values"),
    ):
        with pytest.raises(errors.InputError, match=says):
            azure.read(azure_file(tmp_path, **change), azure.AzureOptions())
    with pytest.raises(errors.InputError, match="has no such part"):
        azure.read(azure_file(tmp_path), azure.AzureOptions(splits=("nope",)))


def test_azure_trace_is_read_whole() -> None:
    if not AZURE.exists():
        pytest.skip("the Azure trace (../shared/data/azure-2017-vm) is not here")
    nodes, pods = azure.read(AZURE, azure.AzureOptions())
    assert len(pods) == 1_870_433
    assert int((pods.departure_s != NEVER).sum()) == 631_807
    assert len(nodes.names) > 1000

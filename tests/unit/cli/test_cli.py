# SPDX-License-Identifier: Apache-2.0
"""The command line as a user meets it: output, exit codes, one line for each mistake, nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

NODE = "kind: Node\nmetadata: {name: n1}\nstatus: {allocatable: {cpu: '4', memory: 8Gi, pods: '110'}}\n"


def pod(name: str, cpu: str) -> str:
    return (
        f"kind: Pod\nmetadata: {{name: {name}}}\n"
        f"spec: {{containers: [{{name: c, image: x, resources: {{requests: {{cpu: {cpu}}}}}}}]}}\n"
    )


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "kubesched", *arguments]
    return subprocess.run(
        command, cwd=folder, capture_output=True, text=True, env=environment, timeout=300, check=False
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "node.yaml").write_text(NODE)
    (tmp_path / "pod.yaml").write_text(pod("p", '"1"'))
    (tmp_path / "big.yaml").write_text(pod("big", '"100"'))
    return tmp_path


def test_help_teaches(folder: Path) -> None:
    out = run(folder, "--help")
    assert out.returncode == 0
    for command in ("place", "explain", "replay", "bench", "parity"):
        assert command in out.stdout
        text = run(folder, command, "--help").stdout
        assert "kubesched " + command in text
        assert "\\b" not in text
    heavy = "import sys; sys.argv = ['kubesched', '--help']; from kubesched.cli.main import cli; "
    heavy += "cli.main(standalone_mode=False); "
    heavy += "print([m for m in ('numpy', 'pyarrow', 'yaml', 'matplotlib') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", heavy], capture_output=True, text=True, check=True, cwd=ROOT, timeout=60
    )
    assert out.stdout.splitlines()[-1] == "[]"


CONFIG = """apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- pluginConfig:
  - name: NodeAffinity
    args:
      addedAffinity:
        requiredDuringSchedulingIgnoredDuringExecution:
          nodeSelectorTerms:
          - matchExpressions: [{key: pool, operator: In, values: [batch]}]
"""


def test_config(folder: Path) -> None:
    (folder / "s.yaml").write_text(CONFIG)
    (folder / "bad.yaml").write_text(CONFIG.replace("addedAffinity", "addedAfinity"))
    shown = run(folder, "config", "default").stdout
    (folder / "default.yaml").write_text(shown)
    assert "schedulerName: default-scheduler" in shown
    assert run(folder, "config", "validate", "default.yaml").stdout == "default.yaml: valid\n"
    bad = run(folder, "config", "validate", "bad.yaml", "-o", "json")
    assert bad.returncode == 1
    assert json.loads(bad.stdout) == [
        {
            "field": "profiles[0].pluginConfig[0].args.addedAfinity",
            "problem": 'unknown field (did you mean "addedAffinity"?)',
            "unsupported": False,
        }
    ]
    (profile,) = json.loads(run(folder, "config", "show", "s.yaml", "-o", "json").stdout)
    assert profile["plugins"]["score"][0] == {"name": "TaintToleration", "weight": 3}
    assert "score              TaintToleration*3, " in run(folder, "config", "show", "s.yaml").stdout
    assert "addedAffinity" in run(folder, "config", "show", "s.yaml", "--document").stdout
    assert run(folder, "config", "show", "bad.yaml").returncode == 2


def test_a_configuration_decides(folder: Path) -> None:
    (folder / "s.yaml").write_text(CONFIG)
    files = ("-f", "node.yaml", "-f", "pod.yaml")
    out = run(folder, "place", "--config", "s.yaml", *files, "-o", "json")
    assert out.returncode == 1
    (row,) = json.loads(out.stdout)
    assert row["reason"].startswith("0/1 nodes are available: 1 node(s) didn't match scheduler-enforced node affinity.")
    out = run(folder, "explain", "--config", "s.yaml", *files, "p", "--summary")
    assert "1  node(s) didn't match scheduler-enforced node affinity" in out.stdout
    (folder / "s.yaml").write_text(CONFIG.replace("- pluginConfig", "- schedulerName: other\n  pluginConfig"))
    out = run(folder, "place", "--config", "s.yaml", *files)
    assert out.returncode == 2
    assert (
        "Pod default/p: spec.schedulerName: has no profile, got 'default-scheduler', expected one of other"
        in out.stderr
    )
    out = run(folder, "place", "--config", "s.yaml", "--profile", "packing", *files)
    assert "--profile: cannot stand beside --config" in out.stderr


def test_place(folder: Path) -> None:
    out = run(folder, "place", "-f", "node.yaml", "-f", "pod.yaml", "-o", "json")
    assert out.returncode == 0
    assert json.loads(out.stdout)[0] | {"score": 0} == {
        "pod": "default/p",
        "node": "n1",
        "node_index": 0,
        "score": 0,
        "tie_count": 1,
        "status": "Placed",
        "reason": "",
    }
    out = run(folder, "place", "-f", "node.yaml", "-f", "big.yaml")
    assert out.returncode == 1
    assert "0/1 nodes are available: 1 Insufficient cpu." in out.stdout
    csv = run(folder, "place", "-f", "node.yaml", "-f", "pod.yaml", "-o", "csv").stdout.splitlines()
    assert csv[0] == "pod,node,node_index,score,tie_count,status,reason"
    assert "pod: default/p" in run(folder, "place", "-f", "node.yaml", "-f", "pod.yaml", "-o", "yaml").stdout


def test_empty_cluster_says_no(folder: Path) -> None:
    out = run(folder, "place", "-f", "pod.yaml")
    assert out.returncode == 1
    assert "no nodes available to schedule pods" in out.stdout


def test_explain(folder: Path) -> None:
    out = run(folder, "explain", "-f", "node.yaml", "-f", "pod.yaml", "p")
    assert out.returncode == 0
    assert "Feasible:  1 of 1 nodes" in out.stdout
    out = run(folder, "explain", "-f", "node.yaml", "-f", "big.yaml", "default/big", "-o", "json")
    assert out.returncode == 1
    assert json.loads(out.stdout)["histogram"] == {"Insufficient cpu": 1}
    out = run(folder, "explain", "-f", "node.yaml", "-f", "pod.yaml", "p", "--annotations")
    assert out.returncode == 0
    assert {key.split("/")[1] for key in json.loads(out.stdout)} >= {"filter-result", "selected-node"}
    out = run(folder, "explain", "-f", "node.yaml", "-f", "pod.yaml", "p", "--summary")
    assert out.returncode == 0
    assert "Best:      1 node(s)" in out.stdout
    out = run(folder, "explain", "-f", "node.yaml", "-f", "big.yaml", "default/big", "--summary", "-o", "json")
    assert out.returncode == 1
    assert json.loads(out.stdout)["message"] == "0/1 nodes are available: 1 Insufficient cpu."


def test_replay(folder: Path) -> None:
    out = run(folder, "replay", "openb", "--policy", "fgd,bestfit", "--out", "out", "-o", "json")
    assert out.returncode == 0
    rows = json.loads(out.stdout)
    assert [row["policy"] for row in rows] == ["fgd", "bestfit"]
    assert {"gpu_alloc_pct_at_100", "gpu_alloc_pct_at_130", "seconds"} <= rows[0].keys()
    assert (folder / "out" / "decisions" / "fgd-seed42.parquet").exists()
    assert (folder / "out" / "allocation.png").exists()
    assert "replay openb" in out.stderr


@pytest.mark.parametrize("form", [[], ["--vectorized"]])
def test_bench_plugin_verifies_both_profiles(folder: Path, form: list[str]) -> None:
    row = json.loads(
        run(folder, "bench", "plugin", "--nodes", "100", "--placements", "900", "-o", "json", *form).stdout
    )
    assert row["verified"] is True
    assert row["dense_decisions"] == 0
    assert row["share_of_built_in"] > 0


def test_bench_verifies(folder: Path) -> None:
    out = run(folder, "bench", "engine", "--nodes", "200", "--classes", "9", "--placements", "3000", "-o", "json")
    row = json.loads(out.stdout)
    keys = {
        "nodes",
        "classes",
        "placements",
        "placements_per_s",
        "numpy_placements_per_s",
        "ratio",
        "bytes_per_node",
        "bytes_per_pod",
        "verified",
    }
    assert keys <= row.keys()
    assert row["verified"] is True
    assert row["placed"] > 0


def test_parity_counts_and_fails_on_a_mismatch(folder: Path, golden: Path) -> None:
    out = run(folder, "parity", str(golden / "gates.jsonl.gz"), str(golden / "dra.jsonl.gz"), "-o", "json")
    assert out.returncode == 0
    found = json.loads(out.stdout)
    assert (found["cases"], found["mismatches"], found["skipped"]) == (420, 0, 0)
    lines = gzip.decompress((golden / "images.jsonl.gz").read_bytes()).splitlines()
    case = json.loads(lines[0])
    case["expect"]["total"][0] += 1
    (folder / "wrong.jsonl").write_text(json.dumps(case) + "\n")
    for files, n in ((("wrong.jsonl",), 1), (("--jobs", "2", "wrong.jsonl", str(golden / "gates.jsonl.gz")), 61)):
        out = run(folder, "parity", *files)
        assert out.returncode == 1
        assert f"{n} cases, 1 mismatches, 0 skipped" in out.stdout
        assert "total" in out.stderr


FILES = {
    "neg.yaml": pod("p", '"-1"'),
    "junk.yaml": pod("p", "1x"),
    "absurd.yaml": pod("p", '"1e30"'),
    "dup.yaml": pod("p", '"1"') + "---\n" + pod("p", '"1"'),
    "cyc.yaml": "kind: Pod\nmetadata: &m {name: x, self: *m}\n",
    "line.yaml": "kind: Pod\nmetadata: {name: " + "x" * 20_000_000 + "}\n",
    "trunc.json": '{"kind":"Pod",',
    "spread.yaml": pod("p", '"1"').replace("containers", "topologySpreadConstraints: [{maxSkew: 1}], containers"),
    "n.csv": "name,cpu_milli,memory_bytes\na,4000,8000000000\n",
    "n2.csv": "name,cpu_milli,memory_bytes\na,1,1\na,1,1\n",
    "empty.csv": "name,cpu_milli,memory_bytes\n",
    "p.csv": "cpu_milli,memory_bytes\n100,1\n",
    "p2.csv": "cpu_milli,memory_bytes\n-100,1\n",
    "bad.parquet": "PAR1 but not really",
    "text.jsonl": "this is not json\n",
}
OUT = ("--policy", "node-local", "--out", "out")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("place", "-f", "none.yaml"), "none.yaml: does not exist"),
        (
            ("place", "-f", "node.yaml", "-f", "neg.yaml"),
            "neg.yaml, document 1: Pod default/p: spec.containers[0].resources.requests.cpu: is negative",
        ),
        (("place", "-f", "node.yaml", "-f", "junk.yaml"), "is not a quantity, got '1x'"),
        (("place", "-f", "node.yaml", "-f", "absurd.yaml"), "is absurdly large, got '1e30'"),
        (("place", "-f", "node.yaml", "-f", "dup.yaml"), "Pod default/p: exists twice"),
        (("place", "-f", "cyc.yaml"), "cyc.yaml, line 2: refers to itself"),
        (("place", "-f", "line.yaml"), "line.yaml, line 2: is too long"),
        (("place", "-f", "trunc.json"), "trunc.json: is not JSON"),
        (("place", "-f", "node.yaml", "-f", "spread.yaml"), "topologySpreadConstraints[0].topologyKey: is missing"),
        (("place", "-f", "node.yaml", "-f", "pod.yaml", "--profile", "fdg"), "did you mean 'fgd'"),
        (("explain", "-f", "node.yaml", "-f", "pod.yaml", "nope"), "is not a pending pod, got 'nope'"),
        (("replay", "openb", "--variant", "nope", "--out", "out"), "variant: is unknown, got 'nope'"),
        (
            ("replay", "table", "--nodes", "n2.csv", "--path", "p.csv", *OUT),
            "n2.csv, row 2: name: exists twice, got 'a'",
        ),
        (
            ("replay", "table", "--nodes", "n.csv", "--path", "p2.csv", *OUT),
            "p2.csv, row 1: cpu_milli: is out of range, got -100",
        ),
        (("replay", "table", "--nodes", "empty.csv", "--path", "p.csv", *OUT), "is empty, got '0 nodes"),
        (("replay", "table", "--nodes", "bad.parquet", "--path", "p.csv", *OUT), "bad.parquet: cannot be read"),
        (("replay", "table", "--path", "p.csv", *OUT), "has no tables"),
        (("replay", "azure-2017-vm", "--path", "n.csv", *OUT), "n.csv: has no such column, got 'split'"),
        (("parity", "text.jsonl"), "text.jsonl, line 1: is not JSON"),
        (("parity", "none"), "none: cannot be read"),
        (("parity", "--jobs", "2", "none"), "none: cannot be read"),
    ],
)
def test_mistakes_are_one_line(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    for name, text in FILES.items():
        (folder / name).write_text(text)
    before = sorted(folder.iterdir())
    out = run(folder, *arguments)
    assert out.returncode == 2, out.stderr
    lines = out.stderr.strip().splitlines()
    assert len(lines) == 1, out.stderr
    assert lines[0].startswith("kubesched: error: ")
    assert says in lines[0]
    assert out.stdout == ""
    assert sorted(folder.iterdir()) == before  # nothing was left behind


def test_unwritable_output_is_exit_3(folder: Path) -> None:
    (folder / "file").write_text("not a folder")
    out = run(folder, "replay", "openb", "--policy", "random", "--out", "file/deeper")
    assert out.returncode == 3
    assert "cannot be written" in out.stderr
    assert "Traceback" not in out.stderr


def test_usage_errors_are_exit_2(folder: Path) -> None:
    assert run(folder, "bogus").returncode == 2
    assert run(folder, "place").returncode == 2
    assert run(folder, "bench", "engine", "--nodes", "0").returncode == 2


@pytest.mark.parametrize("package", ["pyarrow", "matplotlib"])
def test_missing_extra_is_named(package: str, tmp_path: Path) -> None:
    start = f"import sys; sys.modules[{package!r}] = None; from kubesched.cli.main import main; main()"
    command = [sys.executable, "-c", start, "replay", "openb", "--policy", "bestfit", "--out", str(tmp_path / "out")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    made = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert made.returncode == 2, made.stderr
    assert f"needs {package}, which is not installed: pip install 'kubesched[lab]'" in made.stderr
    assert "Traceback" not in made.stderr


def test_scheduler_perf_reports_what_it_judged(folder: Path) -> None:
    out = run(folder, "bench", "scheduler-perf", "TopologySpreading", "--nodes", "20", "-o", "json")
    assert out.returncode == 0
    (row,) = json.loads(out.stdout)
    assert (row["case"], row["threshold"], row["verified"]) == ("TopologySpreading/5000Nodes_5000Pods", 460, True)
    assert row.keys() >= {"nodes", "pods", "placements_per_s", "p50_us", "p99_us", "ratio", "indexed", "dense"}
    out = run(folder, "bench", "scheduler-perf", "PreemptionBasic", "--nodes", "20", "-o", "json")
    assert out.returncode == 0
    assert [row["placed"] for row in json.loads(out.stdout)] == [20, 20]

# SPDX-License-Identifier: Apache-2.0
"""What a sweep found: one row a policy, decision logs, curves."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from kubesched.kernel.arrays import F64, I32
from kubesched.replay import workload
from kubesched.replay.simulate import Run
from kubesched.state import files


@dataclass(frozen=True, slots=True)
class Result:
    """One run, reduced. Curves are ``[131]``: % of all devices at arrived demand 0..130 %."""

    policy: str
    seed: int
    variant: str
    mode: str
    pods: int
    events: int
    unplaced: int
    alloc_pct: F64
    frag_pct: F64
    final_alloc_pct: float | None
    seconds: float
    n_dense: int
    n_indexed: int
    device_free: I32
    device_count: I32
    device_model: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Published:
    """Published means of a policy on an openb variant, in % of all devices."""

    alloc_at_100: float
    alloc_at_130: float
    frag_at_100: float


def published(variant: str) -> dict[str, Published]:
    """Published means by policy (Weng et al., ATC 2023, 10 seeds); empty for other variants."""
    text = (resources.files("kubesched.replay") / "data" / "fgd_published.csv").read_text(encoding="utf-8")
    return {
        row["policy"]: Published(
            float(row["alloc_pct_at_100"]),
            float(row["alloc_pct_at_130"]),
            float(row["frag_pct_at_100"]),
        )
        for row in csv.DictReader(io.StringIO(text))
        if row["variant"] == variant
    }


def _mean_at(results: list[Result], curve: str, point: int) -> float | None:
    values = np.array([getattr(r, curve)[point] for r in results])
    return None if np.isnan(values).any() else round(float(values.mean()), 3)


def _std_at(results: list[Result], curve: str, point: int) -> float | None:
    values = np.array([getattr(r, curve)[point] for r in results])
    return None if np.isnan(values).any() or len(values) < 2 else round(float(values.std(ddof=1)), 3)


@dataclass(frozen=True, slots=True)
class Report:
    """All results of a sweep."""

    trace: str
    variant: str
    mode: str
    results: tuple[Result, ...]

    @property
    def policies(self) -> list[str]:
        return list(dict.fromkeys(result.policy for result in self.results))

    def of(self, policy: str) -> list[Result]:
        return [result for result in self.results if result.policy == policy]

    def summary(self) -> list[dict[str, Any]]:
        """One dict a policy, means over the seeds. ``seconds`` is the engine's time of one run."""
        known = published(self.variant) if self.trace == "openb" and self.mode == "inflate" else {}
        out = []
        for policy in self.policies:
            runs = self.of(policy)
            seconds = float(np.mean([r.seconds for r in runs]))
            row: dict[str, Any] = {
                "policy": policy,
                "seeds": len(runs),
                "pods": round(float(np.mean([r.pods for r in runs])), 1),
                "gpu_alloc_pct_at_100": _mean_at(runs, "alloc_pct", 100),
                "gpu_alloc_pct_at_100_std": _std_at(runs, "alloc_pct", 100),
                "gpu_alloc_pct_at_130": _mean_at(runs, "alloc_pct", 130),
                "frag_pct_at_100": _mean_at(runs, "frag_pct", 100),
                "unplaced": round(float(np.mean([r.unplaced for r in runs])), 1),
                "placements_per_s": round(float(np.mean([r.pods for r in runs])) / max(seconds, 1e-9)),
                "seconds": round(seconds, 4),
            }
            if policy in known:
                row["published_at_100"] = known[policy].alloc_at_100
                row["published_at_130"] = known[policy].alloc_at_130
            out.append(row)
        return out

    def write_tables(self, folder: Path) -> list[Path]:
        """Write ``summary.json`` and ``curves.parquet``."""
        written = [folder / "summary.json", folder / "curves.parquet"]
        with files.atomic(written[0]) as temporary:
            temporary.write_bytes(orjson.dumps(self.summary(), option=orjson.OPT_INDENT_2) + b"\n")
        self._write_curves(written[1])
        return written

    def _write_curves(self, path: Path) -> None:
        import pyarrow as pa

        points = np.arange(len(self.results[0].alloc_pct), dtype=np.int16)
        n = len(points)
        columns = {
            "policy": pa.array(np.repeat([r.policy for r in self.results], n)).dictionary_encode(),
            "seed": pa.array(np.repeat([r.seed for r in self.results], n), pa.int64()),
            "arrived_pct": pa.array(np.tile(points, len(self.results))),
            "alloc_pct": pa.array(np.concatenate([r.alloc_pct for r in self.results]), from_pandas=True),
            "frag_pct": pa.array(np.concatenate([r.frag_pct for r in self.results]), from_pandas=True),
        }
        units = {
            "arrived_pct": "% of all devices",
            "alloc_pct": "% of all devices",
            "frag_pct": "% of all devices",
        }
        files.write_parquet(path, columns, units)


# ---- decision log ----


def write_log(path: Path, work: workload.Workload, run: Run) -> None:
    """Write one row an arrival, in the order of arrival. Same workload, profile and seed: same bytes."""
    import pyarrow as pa

    d = run.decisions
    row = pa.array(d.node, mask=d.node < 0)
    columns = {
        "pod": _pod_names(work, run),
        "class": pa.array(run.pods.shape),
        "arrival_s": pa.array(run.pods.arrival_s),
        "departure_s": pa.array(run.pods.departure_s, mask=run.pods.departure_s == workload.NEVER),
        "node": pa.DictionaryArray.from_arrays(row, pa.array(list(work.nodes.names), pa.string())),
        "score": pa.array(d.score),
        "ties": pa.array(d.ties),
        "feasible": pa.array(d.feasible),
        "devices": pa.array(d.devices),
    }
    units = {
        "class": "index of the pod's shape in the trace",
        "arrival_s": "s since the start of the trace",
        "departure_s": "s since the start of the trace; null: stays",
        "node": "null: fits nowhere",
        "score": "weighted sum; -1: fits nowhere",
        "ties": "nodes with the best score",
        "feasible": "nodes",
        "devices": "bit mask",
    }
    files.write_parquet(path, columns, units)


def _pod_names(work: workload.Workload, run: Run) -> Any:
    import pyarrow as pa

    if work.pods.names is None:
        return pa.array(run.source)
    return pa.DictionaryArray.from_arrays(pa.array(run.source), pa.array(list(work.pods.names), pa.string()))

# SPDX-License-Identifier: Apache-2.0
"""VM arrivals of the Azure Public Dataset V1 in the processed form of Bergsma et al. (SOSP 2021); given by path.

The trace says when VMs came, how large they were and, for two of its three parts, how long they lived (as a bin of
the duration). It has no machines: hosts are of one shape that the caller chooses. A VM without a recorded duration,
or one that still ran at the end of its part (censored), stays. The data is CC BY 4.0 and not bundled.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel.arrays import I64
from kubesched.replay import workload
from kubesched.state import checked, files, rows

GIB = 1 << 30
_COLUMNS = (
    "split",
    "arrival_s",
    "vcpu",
    "memory_gb",
    "duration_censored",
    "duration_bin_lo_s",
    "duration_bin_hi_s",
)


@dataclass(frozen=True, slots=True)
class AzureOptions:
    """How the trace is read.

    Parameters
    ----------
    splits
        Parts to replay: train (no durations), dev, test.
    duration
        Point of a duration's bin: ``lo``, ``mid`` or ``hi``.
    host_vcpu, host_memory_gb
        Shape of every host. The defaults are a common dual-socket size (arbitrary).
    hosts
        Number of hosts; 0: as many as the peak demand fills to 90 %.
    """

    splits: tuple[str, ...] = ("train", "dev", "test")
    duration: str = "mid"
    host_vcpu: int = 128
    host_memory_gb: int = 512
    hosts: int = 0


def read(path: Path, options: AzureOptions) -> tuple[workload.NodeTable, workload.PodTable]:
    """Read ``azure_v1_vm_arrivals.parquet``; rows are in the order of arrival.

    Raises
    ------
    InputError
        Not that file, or a value that cannot be.
    """
    if options.duration not in ("lo", "mid", "hi"):
        raise errors.InputError("duration", "is unknown", options.duration, "lo, mid or hi")
    source = files.read_file(path, _COLUMNS)
    source = _choose(source, options.splits, path)
    vcpu = _numbers(source, "vcpu", path) * 1000
    memory = np.rint(_numbers(source, "memory_gb", path) * GIB).astype(np.int64)
    arrival = _numbers(source, "arrival_s", path).astype(np.int64)
    checked.check_range(path, "vcpu", vcpu, 1, rows.MAX_QUANTITY)
    checked.check_range(path, "memory_gb", memory, 1, rows.MAX_QUANTITY)
    checked.check_range(path, "arrival_s", arrival, 0, 10**10)
    cpu = vcpu.astype(np.int64)
    departure = _departures(source, arrival, options.duration)
    zeros = np.zeros(len(arrival), dtype=np.int64)
    shapes, shape = workload.make_shapes(workload.ShapeColumns(cpu, memory, zeros, zeros, ("",), zeros))
    pods = workload.PodTable(shapes, shape, arrival, departure)
    return _hosts(pods, cpu, memory, options), pods


def _choose(source: Any, splits: tuple[str, ...], path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    names = source["split"].cast("string")
    chosen = source.filter(pc.is_in(names, value_set=pa.array(splits)))
    if chosen.num_rows == 0:
        raise errors.InputError(f"{path}: split", "has no such part", ", ".join(splits), "train, dev or test")
    return chosen


def _numbers(source: Any, name: str, path: Path) -> Any:
    if source[name].null_count:
        raise errors.InputError(f"{path}: {name}", "has empty values", source[name].null_count, "a number in every row")
    return source[name].to_numpy()


def _departures(source: Any, arrival: I64, point: str) -> I64:
    import pyarrow.compute as pc

    low = pc.fill_null(source["duration_bin_lo_s"].cast("int64"), -1).to_numpy()
    high = pc.fill_null(source["duration_bin_hi_s"].cast("int64"), -1).to_numpy()
    stays = pc.fill_null(source["duration_censored"], True).to_numpy(zero_copy_only=False) | (low < 0)
    duration = {"lo": low, "mid": (low + high) // 2, "hi": high}[point]
    result: I64 = np.where(stays, workload.NEVER, arrival + np.maximum(duration, 1))
    return result


def _hosts(pods: workload.PodTable, cpu: I64, memory: I64, options: AzureOptions) -> workload.NodeTable:
    n = options.hosts
    if n == 0:
        cpu_peak, memory_peak = _peaks(pods, cpu, memory)
        need = max(cpu_peak / (options.host_vcpu * 1000), memory_peak / (options.host_memory_gb * GIB))
        n = int(np.ceil(need / 0.9))
    return workload.NodeTable(
        names=[f"host-{i:06d}" for i in range(n)],
        allocatable={
            rows.CPU: np.full(n, options.host_vcpu * 1000, dtype=np.int64),
            rows.MEMORY: np.full(n, options.host_memory_gb * GIB, dtype=np.int64),
            rows.PODS: np.full(n, options.host_vcpu * 4, dtype=np.int64),
        },
        device_count=np.zeros(n, dtype=np.int32),
        device_model=[None] * n,
    )


def _peaks(pods: workload.PodTable, *amounts: I64) -> list[int]:
    """Greatest sum of each amount over the VMs that live at one time."""
    leaving = np.flatnonzero(pods.departure_s != workload.NEVER)
    times = np.concatenate([pods.departure_s[leaving], pods.arrival_s])
    order = np.argsort(times, kind="stable")
    return [int(np.cumsum(np.concatenate([-a[leaving], a])[order]).max()) for a in amounts]

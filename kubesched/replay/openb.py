# SPDX-License-Identifier: Apache-2.0
"""The production GPU trace "openb" (Alibaba cluster-trace-gpu-v2023), bundled with the package.

1,213 GPU nodes with 6,212 devices; the pod list ``default`` (8,152 pods) and 22 variants that Weng et al. (ATC 2023)
derived from it: ``cpu*`` (more pods without GPU), ``gpushare*`` (more shared GPUs), ``multigpu*`` (more pods with
several), ``gpuspec*`` (more pods that name models). Licence: Apache-2.0, see NOTICE.
"""

from __future__ import annotations

from importlib import resources
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel.arrays import I64
from kubesched.replay import workload
from kubesched.state import rows

MIB = 1 << 20
PODS_PER_NODE = 1001  # what the published node file allows
PUBLISHED_VARIANTS = (
    "default",
    *("cpu050", "cpu100", "cpu200", "cpu250"),
    *("gpushare40", "gpushare60", "gpushare80", "gpushare100"),
    *("gpuspec10", "gpuspec20", "gpuspec25", "gpuspec33"),
    *("multigpu20", "multigpu30", "multigpu40", "multigpu50"),
)
"""Variants for which the paper's runs are published."""


def _table(name: str) -> Any:
    import pyarrow.parquet as pq

    with resources.as_file(resources.files("kubesched.replay") / "data" / name) as path:
        return pq.read_table(path)


def variants() -> list[str]:
    """Names of the pod lists."""
    return sorted(set(_table("openb_pods.parquet").column("variant").unique().to_pylist()))


def nodes(cpu_only_too: bool = False) -> workload.NodeTable:
    """GPU nodes, or all 1,523 nodes."""
    table = _table("openb_all_nodes.parquet" if cpu_only_too else "openb_gpu_nodes.parquet")
    n = table.num_rows
    return workload.NodeTable(
        names=table["node"].to_pylist(),
        allocatable={
            rows.CPU: _int64(table, "cpu_milli"),
            rows.MEMORY: _int64(table, "memory_mib") * MIB,
            rows.PODS: np.full(n, PODS_PER_NODE, dtype=np.int64),
        },
        device_count=_int64(table, "gpu_count").astype(np.int32),
        device_model=table["gpu_model"].to_pylist(),
    )


def _int64(table: Any, name: str) -> I64:
    column: I64 = table[name].to_numpy().astype(np.int64)
    return column


def pods(variant: str) -> workload.PodTable:
    """A pod list with its recorded times (0 and NEVER where the list has none).

    Raises
    ------
    InputError
        Unknown variant.
    """
    import pyarrow.compute as pc

    table = _table("openb_pods.parquet")
    table = table.filter(pc.equal(table["variant"].cast("string"), variant))
    if table.num_rows == 0:
        raise errors.InputError("variant", "is unknown", variant, f"one of {', '.join(variants())}")
    spec = pc.fill_null(table["gpu_spec"].cast("string"), "").combine_chunks().dictionary_encode()
    count = _int64(table, "num_gpu")
    shapes, shape = workload.make_shapes(
        workload.ShapeColumns(
            cpu_milli=_int64(table, "cpu_milli"),
            memory_bytes=_int64(table, "memory_mib") * MIB,
            device_count=count,
            device_milli=np.where(count > 0, np.minimum(_int64(table, "gpu_milli"), 1000), 0),
            models=spec.dictionary.to_pylist(),
            model=np.where(count > 0, spec.indices.to_numpy().astype(np.int64), _index_of_any(spec)),
        )
    )
    return workload.PodTable(
        shapes=shapes,
        shape=shape,
        arrival_s=pc.fill_null(table["creation_time_s"], 0).to_numpy().astype(np.int64),
        departure_s=pc.fill_null(table["deletion_time_s"], workload.NEVER).to_numpy().astype(np.int64),
        names=table["name"].to_pylist(),
    )


def _index_of_any(spec: Any) -> int:
    """A pod without devices has no use for a model list: all of them share the first."""
    values = spec.dictionary.to_pylist()
    return values.index("") if "" in values else 0

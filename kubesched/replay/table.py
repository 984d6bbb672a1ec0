# SPDX-License-Identifier: Apache-2.0
"""A user's own trace: two tables, parquet or CSV. The format is documented in docs/reference/trace-format.md.

Every column is checked at this edge; an error names file, column, row, value and what was expected.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kubesched.base import errors
from kubesched.kernel import native
from kubesched.replay import workload
from kubesched.state import checked, files, rows

DEFAULT_PODS = 110  # the kubelet's default maxPods
MAX_TIME_S = 10**10  # about 300 years: larger times are mistakes of unit


NODE_COLUMNS = (
    checked.Column("name", "text"),
    checked.Column("cpu_milli", "int"),
    checked.Column("memory_bytes", "int"),
    checked.Column("pods", "int", False, default=DEFAULT_PODS),
    checked.Column("device_count", "int", False, 0, native.MAX_DEVICES, 0),
    checked.Column("device_model", "text", False, default="", nullable=True),
)
POD_COLUMNS = (
    checked.Column("name", "text", False),
    checked.Column("cpu_milli", "int"),
    checked.Column("memory_bytes", "int"),
    checked.Column("device_count", "int", False, 0, native.MAX_DEVICES, 0),
    checked.Column("device_milli", "int", False, 0, 1000, 1000),
    checked.Column("device_models", "text", False, default="", nullable=True),
    checked.Column("arrival_s", "int", False, 0, MAX_TIME_S, 0),
    checked.Column("departure_s", "int", False, 0, MAX_TIME_S, None, nullable=True),
)


def read_nodes(path: Path) -> workload.NodeTable:
    """Read a nodes table."""
    table = files.read_file(path)
    checked.check_names(path, table, NODE_COLUMNS)
    read = {column.name: checked.read(path, table, column) for column in NODE_COLUMNS}
    checked.check_unique(path, read["name"])
    return workload.NodeTable(
        names=read["name"],
        allocatable={
            rows.CPU: read["cpu_milli"],
            rows.MEMORY: read["memory_bytes"],
            rows.PODS: read["pods"],
        },
        device_count=read["device_count"].astype(np.int32),
        device_model=[model or None for model in read["device_model"]],
    )


def read_pods(path: Path) -> workload.PodTable:
    """Read a pods table."""
    table = files.read_file(path)
    checked.check_names(path, table, POD_COLUMNS)
    read = {column.name: checked.read(path, table, column) for column in POD_COLUMNS}
    arrival, departure = read["arrival_s"], read["departure_s"]
    early = np.flatnonzero((departure >= 0) & (departure < arrival))
    if early.size:
        row = int(early[0])
        where = f"{path}, row {row + 1}: departure_s"
        raise errors.InputError(where, "is before the arrival", int(departure[row]), f"{int(arrival[row])} or later")
    count, milli = read["device_count"], np.where(read["device_count"] > 0, read["device_milli"], 0)
    checked.check_shares(path, count, milli)
    models = sorted(set(read["device_models"]))
    index = {model: i for i, model in enumerate(models)}
    model = np.array([index[m] for m in read["device_models"]], dtype=np.int64)
    shapes, shape = workload.make_shapes(
        workload.ShapeColumns(read["cpu_milli"], read["memory_bytes"], count, milli, models or [""], model)
    )
    names = read["name"] if "name" in table.column_names else None
    if names is not None:
        checked.check_unique(path, names)
    return workload.PodTable(shapes, shape, arrival, np.where(departure < 0, workload.NEVER, departure), names)

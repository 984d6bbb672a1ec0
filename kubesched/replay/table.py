# SPDX-License-Identifier: Apache-2.0
"""A user's own trace: two tables, parquet or CSV. The format is documented in docs/reference/trace-format.md.

Every column is checked at this edge; an error names file, column, row, value and what was expected.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import native
from kubesched.kernel.arrays import I64
from kubesched.replay import workload
from kubesched.state import rows

DEFAULT_PODS = 110  # the kubelet's default maxPods
MAX_TIME_S = 10**10  # about 300 years: larger times are mistakes of unit


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table: its kind, and its default when it may be left out."""

    name: str
    kind: str
    """int, text."""
    required: bool = True
    low: int = 0
    high: int = rows.MAX_QUANTITY
    default: int | str | None = None
    nullable: bool = False


NODE_COLUMNS = (
    Column("name", "text"),
    Column("cpu_milli", "int"),
    Column("memory_bytes", "int"),
    Column("pods", "int", False, default=DEFAULT_PODS),
    Column("device_count", "int", False, 0, native.MAX_DEVICES, 0),
    Column("device_model", "text", False, default="", nullable=True),
)
POD_COLUMNS = (
    Column("name", "text", False),
    Column("cpu_milli", "int"),
    Column("memory_bytes", "int"),
    Column("device_count", "int", False, 0, native.MAX_DEVICES, 0),
    Column("device_milli", "int", False, 0, 1000, 1000),
    Column("device_models", "text", False, default="", nullable=True),
    Column("arrival_s", "int", False, 0, MAX_TIME_S, 0),
    Column("departure_s", "int", False, 0, MAX_TIME_S, None, nullable=True),
)


def read_file(path: Path, columns: Collection[str] | None = None) -> Any:
    """Read a parquet or CSV file as an Arrow table; ``columns``: names that must be there, the only ones read.

    Raises
    ------
    InputError
        Missing, damaged, of another format, or without a column.
    """
    import pyarrow as pa
    from pyarrow import csv
    from pyarrow import parquet as pq

    wanted = list(columns) if columns is not None else None
    try:
        if path.suffix == ".csv":
            table = csv.read_csv(path)
        elif path.suffix == ".parquet":
            known = pq.read_schema(path).names
            lost = [name for name in wanted or () if name not in known]
            if lost:
                raise errors.InputError(str(path), "has no such column", lost[0], f"columns {', '.join(wanted or ())}")
            table = pq.read_table(path, columns=wanted)
        else:
            raise errors.InputError(str(path), "has another format", path.suffix or "no suffix", ".parquet or .csv")
    except FileNotFoundError:
        raise errors.InputError(str(path), "does not exist", None, "a .parquet or .csv file") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0][:200]
        raise errors.InputError(str(path), f"cannot be read ({first})", None, "a whole parquet or CSV file") from None
    return table


def check_range(path: Path, name: str, column: I64, low: int, high: int) -> None:
    """Refuse the first value outside ``low..high``."""
    bad = np.flatnonzero((column < low) | (column > high))
    if bad.size:
        row = int(bad[0])
        raise errors.InputError(f"{path}, row {row + 1}: {name}", "is out of range", int(column[row]), f"{low} to {high}")


def _check_names(path: Path, table: Any, columns: Sequence[Column]) -> None:
    known = [column.name for column in columns]
    for name in table.column_names:
        if name not in known:
            raise errors.InputError(f"{path}: {name}", "is an unknown column", None, f"one of {', '.join(known)}")
    for column in columns:
        if column.required and column.name not in table.column_names:
            raise errors.InputError(f"{path}: {column.name}", "is missing", None, f"columns {', '.join(known)}")


def _read_ints(path: Path, table: Any, column: Column) -> Any:
    """An integer column with defaults filled in; None stays where the column may be empty without a default."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.name not in table.column_names:
        return np.full(table.num_rows, -1 if column.default is None else column.default, dtype=np.int64)
    data = table[column.name]
    if pa.types.is_null(data.type):
        data = data.cast("int64")
    if not pa.types.is_integer(data.type):
        raise errors.InputError(f"{path}: {column.name}", "has the wrong type", str(data.type), "integers")
    if data.null_count and not column.nullable:
        row = int(np.flatnonzero(data.is_null().to_numpy(zero_copy_only=False))[0])
        raise errors.InputError(f"{path}, row {row + 1}: {column.name}", "is empty", None, "an integer")
    try:
        values = pc.fill_null(data.cast("int64"), -1).to_numpy()
    except pa.ArrowInvalid as error:
        raise errors.InputError(f"{path}: {column.name}", f"is out of range ({error})") from None
    present = np.asarray(data.is_valid().to_numpy(zero_copy_only=False))
    checked = np.where(present, values, column.low)
    check_range(path, column.name, checked, column.low, column.high)
    return values.astype(np.int64)


def _read_texts(path: Path, table: Any, column: Column) -> list[str]:
    import pyarrow as pa

    if column.name not in table.column_names:
        return [str(column.default or "")] * table.num_rows
    data = table[column.name]
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if pa.types.is_null(data.type):
        data = data.cast("string")
    if not (pa.types.is_string(data.type) or pa.types.is_large_string(data.type)):
        raise errors.InputError(f"{path}: {column.name}", "has the wrong type", str(data.type), "text")
    if data.null_count and not column.nullable:
        row = int(np.flatnonzero(data.is_null().to_numpy(zero_copy_only=False))[0])
        raise errors.InputError(f"{path}, row {row + 1}: {column.name}", "is empty", None, "text")
    return [value or "" for value in data.to_pylist()]


def _check_unique(path: Path, names: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in seen:
            first = f"each name once (first in row {seen[name] + 1})"
            raise errors.InputError(f"{path}, row {row + 1}: name", "exists twice", name, first)
        seen[name] = row


def read_nodes(path: Path) -> workload.NodeTable:
    """Read a nodes table."""
    table = read_file(path)
    _check_names(path, table, NODE_COLUMNS)
    read: dict[str, Any] = {}
    for column in NODE_COLUMNS:
        reader = _read_ints if column.kind == "int" else _read_texts
        read[column.name] = reader(path, table, column)
    _check_unique(path, read["name"])
    return workload.NodeTable(
        names=read["name"],
        allocatable={rows.CPU: read["cpu_milli"], rows.MEMORY: read["memory_bytes"], rows.PODS: read["pods"]},
        device_count=read["device_count"].astype(np.int32),
        device_model=[model or None for model in read["device_model"]],
    )


def read_pods(path: Path) -> workload.PodTable:
    """Read a pods table."""
    table = read_file(path)
    _check_names(path, table, POD_COLUMNS)
    read: dict[str, Any] = {}
    for column in POD_COLUMNS:
        reader = _read_ints if column.kind == "int" else _read_texts
        read[column.name] = reader(path, table, column)
    arrival, departure = read["arrival_s"], read["departure_s"]
    early = np.flatnonzero((departure >= 0) & (departure < arrival))
    if early.size:
        row = int(early[0])
        where = f"{path}, row {row + 1}: departure_s"
        raise errors.InputError(where, "is before the arrival", int(departure[row]), f"{int(arrival[row])} or later")
    count, milli = read["device_count"], np.where(read["device_count"] > 0, read["device_milli"], 0)
    _check_shares(path, count, milli)
    models = sorted(set(read["device_models"]))
    index = {model: i for i, model in enumerate(models)}
    model = np.array([index[m] for m in read["device_models"]], dtype=np.int64)
    shapes, shape = workload.make_shapes(
        workload.ShapeColumns(read["cpu_milli"], read["memory_bytes"], count, milli, models or [""], model)
    )
    names = read["name"] if "name" in table.column_names else None
    if names is not None:
        _check_unique(path, names)
    return workload.PodTable(shapes, shape, arrival, np.where(departure < 0, workload.NEVER, departure), names)


def _check_shares(path: Path, count: I64, milli: I64) -> None:
    bad = np.flatnonzero(((count > 0) & (milli == 0)) | ((count > 1) & (milli != 1000)))
    if bad.size:
        row = int(bad[0])
        expected = "1000 with several devices, 1 to 1000 with one"
        raise errors.InputError(f"{path}, row {row + 1}: device_milli", "does not fit device_count", int(milli[row]), expected)

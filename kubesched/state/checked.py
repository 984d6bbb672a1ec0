# SPDX-License-Identifier: Apache-2.0
"""Reading columns from tables that came from outside: every value is checked, every error names its place.

An error reads ``<table>, row <n>: <column>: <what>, got <value>, expected <what>``; rows count from 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel.arrays import I64
from kubesched.state import rows


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


def check_range(where: str | Path, name: str, column: I64, low: int, high: int) -> None:
    """Refuse the first value outside ``low..high``."""
    bad = np.flatnonzero((column < low) | (column > high))
    if bad.size:
        row = int(bad[0])
        raise errors.InputError(
            f"{where}, row {row + 1}: {name}",
            "is out of range",
            int(column[row]),
            f"{low} to {high}",
        )


def check_names(where: str | Path, table: Any, columns: Sequence[Column], known: Sequence[str] = ()) -> None:
    """Refuse unknown columns and miss required ones; ``known`` are the names to show."""
    known = known or [column.name for column in columns]
    for name in table.column_names:
        if name not in known:
            raise errors.InputError(f"{where}: {name}", "is an unknown column", None, f"one of {', '.join(known)}")
    for column in columns:
        if column.required and column.name not in table.column_names:
            raise errors.InputError(f"{where}: {column.name}", "is missing", None, f"columns {', '.join(known)}")


def read_ints(where: str | Path, table: Any, column: Column) -> Any:
    """An integer column with defaults filled in; None stays where the column may be empty without a default."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.name not in table.column_names:
        return np.full(table.num_rows, -1 if column.default is None else column.default, dtype=np.int64)
    data = table[column.name]
    if pa.types.is_null(data.type):
        data = data.cast("int64")
    if not pa.types.is_integer(data.type):
        raise errors.InputError(f"{where}: {column.name}", "has the wrong type", str(data.type), "integers")
    if data.null_count and not column.nullable:
        row = int(np.flatnonzero(data.is_null().to_numpy(zero_copy_only=False))[0])
        raise errors.InputError(f"{where}, row {row + 1}: {column.name}", "is empty", None, "an integer")
    try:
        values = pc.fill_null(data.cast("int64"), -1).to_numpy()
    except pa.ArrowInvalid as error:
        raise errors.InputError(f"{where}: {column.name}", f"is out of range ({error})") from None
    present = np.asarray(data.is_valid().to_numpy(zero_copy_only=False))
    checked = np.where(present, values, column.low)
    check_range(where, column.name, checked, column.low, column.high)
    return values.astype(np.int64)


def read_texts(where: str | Path, table: Any, column: Column) -> list[str]:
    import pyarrow as pa

    if column.name not in table.column_names:
        return [str(column.default or "")] * table.num_rows
    data = table[column.name]
    if pa.types.is_dictionary(data.type):
        data = data.cast(data.type.value_type)
    if pa.types.is_null(data.type):
        data = data.cast("string")
    if not (pa.types.is_string(data.type) or pa.types.is_large_string(data.type)):
        raise errors.InputError(f"{where}: {column.name}", "has the wrong type", str(data.type), "text")
    if data.null_count and not column.nullable:
        row = int(np.flatnonzero(data.is_null().to_numpy(zero_copy_only=False))[0])
        raise errors.InputError(f"{where}, row {row + 1}: {column.name}", "is empty", None, "text")
    return [value or "" for value in data.to_pylist()]


def check_shares(where: str | Path, count: I64, milli: I64) -> None:
    """Refuse the first pod that asks for nothing of its devices, or for shares of several."""
    bad = np.flatnonzero(((count > 0) & (milli == 0)) | ((count > 1) & (milli != 1000)))
    if bad.size:
        row = int(bad[0])
        raise errors.InputError(
            f"{where}, row {row + 1}: device_milli",
            "does not fit device_count",
            int(milli[row]),
            "1000 with several devices, 1 to 1000 with one",
        )


def check_unique(where: str | Path, names: Sequence[str]) -> None:
    seen: dict[str, int] = {}
    for row, name in enumerate(names):
        if name in seen:
            first = f"each name once (first in row {seen[name] + 1})"
            raise errors.InputError(f"{where}, row {row + 1}: name", "exists twice", name, first)
        seen[name] = row


def read(where: str | Path, table: Any, column: Column) -> Any:
    """Read a column of either kind."""
    return (read_ints if column.kind == "int" else read_texts)(where, table, column)

# SPDX-License-Identifier: Apache-2.0
"""Tables on disk: parquet and CSV in, parquet out. A file appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from kubesched.base import errors


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
            _require(path, table.column_names, wanted)
            table = table if wanted is None else table.select(wanted)
        elif path.suffix == ".parquet":
            _require(path, pq.read_schema(path).names, wanted)
            table = pq.read_table(path, columns=wanted)
        else:
            raise errors.InputError(str(path), "has another format", path.suffix or "no suffix", ".parquet or .csv")
    except FileNotFoundError:
        raise errors.InputError(str(path), "does not exist", None, "a .parquet or .csv file") from None
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, UnicodeDecodeError) as error:
        first = str(error).splitlines()[0][:200]
        raise errors.InputError(str(path), f"cannot be read ({first})", None, "a whole parquet or CSV file") from None
    return table


def _require(path: Path, known: Collection[str], wanted: Collection[str] | None) -> None:
    lost = [name for name in wanted or () if name not in known]
    if lost:
        raise errors.InputError(str(path), "has no such column", lost[0], f"columns {', '.join(wanted or ())}")


def write_parquet(path: Path, columns: dict[str, Any], units: dict[str, str]) -> None:
    """Write columns with their units in the field metadata; deterministic bytes."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    arrays = list(columns.values())
    fields = [
        pa.field(name, array.type, metadata={"unit": units[name]} if name in units else None)
        for name, array in columns.items()
    ]
    with atomic(path) as temporary:
        pq.write_table(pa.table(arrays, schema=pa.schema(fields)), temporary, compression="zstd")


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path`` that takes its place at the end, or disappears on an error.

    Raises
    ------
    StorageError
        The folder or file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        os.close(handle)
    except OSError as error:
        raise errors.StorageError(str(path), f"cannot be written ({error.strerror or error})") from None
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise errors.StorageError(str(path), f"cannot be written ({error.strerror or error})") from None
    finally:
        temporary.unlink(missing_ok=True)

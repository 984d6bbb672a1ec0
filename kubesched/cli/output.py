# SPDX-License-Identifier: Apache-2.0
"""Rows to standard output in the format that ``-o`` names, and progress to standard error."""

from __future__ import annotations

import csv
import io
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import click
import orjson

from kubesched.base import errors

FORMATS = ("table", "json", "yaml", "csv", "parquet")
Row = dict[str, Any]


def format_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """The option ``-o/--output``."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(FORMATS),
        default="table",
        show_default=True,
        help="Format of the answer on standard output.",
    )(command)


def write(rows: Sequence[Row], output: str, table: str | None = None, whole: Any = None) -> None:
    """Write rows.

    Parameters
    ----------
    rows
        Dicts with the same keys.
    output
        One of FORMATS.
    table
        Text for ``table``; None: columns made from the rows.
    whole
        What ``json`` and ``yaml`` show instead of the bare rows.
    """
    document = list(rows) if whole is None else whole
    if output == "json":
        sys.stdout.buffer.write(orjson.dumps(document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n")
    elif output == "yaml":
        import yaml

        plain = orjson.loads(orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY))
        click.echo(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), nl=False)
    elif output == "csv":
        click.echo(_csv(rows), nl=False)
    elif output == "parquet":
        _parquet(rows)
    else:
        click.echo(columns(rows) if table is None else table)


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _parquet(rows: Sequence[Row]) -> None:
    import pyarrow as pa
    from pyarrow import parquet as pq

    if sys.stdout.isatty():
        raise errors.InputError("-o parquet", "would fill the terminal with bytes", None, "a file or a pipe")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(list(rows)), sink, compression="zstd")
    sys.stdout.buffer.write(sink.getvalue().to_pybytes())


def columns(rows: Sequence[Row]) -> str:
    """Aligned columns, as kubectl prints them."""
    if not rows:
        return "No rows."
    heads = [name.upper().replace("_", " ") for name in rows[0]]
    cells = [[_cell(value) for value in row.values()] for row in rows]
    numeric = [all(isinstance(row[n], int | float | None) for row in rows) for n in rows[0]]
    widths = [max(len(head), *(len(line[i]) for line in cells)) for i, head in enumerate(heads)]
    lines = []
    for line in [heads, *cells]:
        parts = [f"{c:>{w}}" if num else f"{c:<{w}}" for c, w, num in zip(line, widths, numeric, strict=True)]
        lines.append("   ".join(parts).rstrip())
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.2f}" if abs(value) >= 1 else f"{value:.3g}"
    return str(value)


class Progress:
    """Progress of long work on standard error: a bar on a terminal, a line a step elsewhere, always with the time."""

    def __init__(self, title: str, total: int, quiet: bool = False) -> None:
        self._title, self._total, self._quiet = title, total, quiet
        self._began = time.perf_counter()
        self._bar: Any = None
        self._task: Any = None
        self._last = -1.0

    def __enter__(self) -> Progress:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Bar(*shown, console=Console(stderr=True), transient=False)
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total)
        return self

    def step(self, done: int, what: str = "") -> None:
        """Show that ``done`` of the total is done."""
        elapsed = time.perf_counter() - self._began
        if self._bar is not None:
            self._bar.update(self._task, completed=done, description=f"{self._title}  {what}")
        elif not self._quiet and (elapsed - self._last >= 1.0 or done == self._total):
            self._last = elapsed  # at most a line a second: logs are read by people
            click.echo(f"{self._title}: {done}/{self._total} {what} ({elapsed:.1f} s)", err=True)

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

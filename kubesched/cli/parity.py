# SPDX-License-Identifier: Apache-2.0
"""``kubesched parity``."""

from __future__ import annotations

import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import orjson

from kubesched.base import errors
from kubesched.cli import output
from kubesched.parity import cases, replay


@dataclass(slots=True)
class _Family:
    cases: int = 0
    mismatches: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def add(self, other: _Family) -> None:
        self.cases += other.cases
        self.mismatches += other.mismatches
        self.skipped += other.skipped


@dataclass(slots=True)
class _Judged:
    families: dict[str, _Family] = field(default_factory=dict)
    shown: list[str] = field(default_factory=list)
    """The first cases that differ."""


@click.command("parity")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--family", "families", multiple=True, help="Only cases of this family. Repeatable.")
@click.option("--show", default=3, show_default=True, type=click.IntRange(min=0), help="Differing cases to print.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1, 256), help="Processes, a file each.")
@output.format_option
def command(paths: tuple[Path, ...], families: tuple[str, ...], show: int, jobs: int, output: str) -> int:
    """Replay recorded kube-scheduler decisions and compare every recorded field, with both drivers.

    FILE is JSON Lines, plain or gzip, or a folder of such files. A case that needs a feature which is not implemented
    is skipped and counted under that feature.

    \b
      kubesched parity golden/
      kubesched parity golden/ --family resources --family taints -o json

    Exit code 1 on a mismatch.
    """
    found: dict[str, _Family] = {}
    shown: list[str] = []
    files = cases.files_of(list(paths))
    with _output.Progress("parity", len(files)) as progress:
        for number, (path, judged) in enumerate(_judge_all(files, families, show, jobs), 1):
            for name, family in judged.families.items():
                found.setdefault(name, _Family()).add(family)
            shown += judged.shown
            progress.step(number, path.name)
    missing = set(families) - found.keys()
    if missing or not found:
        raise errors.InputError("--family", "has no case in the files", min(missing, default=None), "a recorded family")
    for line in shown[:show]:
        click.echo(line, err=True)
    _write(found, output)
    return 1 if any(f.mismatches for f in found.values()) else 0


def _judge_all(files: list[Path], families: tuple[str, ...], show: int, jobs: int) -> Iterator[tuple[Path, _Judged]]:
    """Each file once, as it is done."""
    if jobs == 1:
        yield from ((path, _judge_file(path, families, show)) for path in files)
        return
    largest_first = sorted(files, key=lambda path: -path.stat().st_size if path.exists() else 0)
    with futures.ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        asked = {pool.submit(_judge_file, path, families, show): path for path in largest_first}
        try:
            for done in futures.as_completed(asked):
                yield asked[done], done.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _judge_file(path: Path, families: tuple[str, ...], show: int) -> _Judged:
    judged = _Judged()
    for case in cases.read(path):
        if not families or case["family"] in families:
            _judge(case, judged, show)
    return judged


def _judge(case: cases.Case, judged: _Judged, show: int) -> None:
    outcome = replay.replay(case)
    family = judged.families.setdefault(case["family"], _Family())
    family.cases += 1
    if outcome.skipped:
        family.skipped[outcome.skipped] += 1
    elif outcome.differences:
        family.mismatches += 1
        if len(judged.shown) < show:
            first = outcome.differences[0]
            judged.shown.append(
                f"{case['id']}: {first.field}\n  expected {_short(first.expected)}\n  got      {_short(first.got)}"
            )


def _short(value: Any) -> str:
    text = orjson.dumps(value, default=str).decode()
    return text if len(text) <= 300 else text[:297] + "..."


def _write(found: dict[str, _Family], output: str) -> None:
    rows = [
        {
            "family": name,
            "cases": f.cases,
            "mismatches": f.mismatches,
            "skipped": sum(f.skipped.values()),
            "reasons": ", ".join(f"{n} {reason}" for reason, n in f.skipped.most_common()),
        }
        for name, f in sorted(found.items())
    ]
    totals = {key: sum(row[key] for row in rows) for key in ("cases", "mismatches", "skipped")}  # type: ignore[misc]
    whole = {**totals, "families": [row | {"reasons": dict(found[str(row["family"])].skipped)} for row in rows]}
    text = f"{totals['cases']} cases, {totals['mismatches']} mismatches, {totals['skipped']} skipped"
    _output.write(rows, output, f"{_output.columns(rows)}\n\n{text}", whole)


_output = output  # the option's name hides the module inside the command

# SPDX-License-Identifier: Apache-2.0
"""``kubesched parity``."""

from __future__ import annotations

from collections import Counter
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


@click.command("parity")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--family", "families", multiple=True, help="Only cases of this family. Repeatable.")
@click.option("--show", default=3, show_default=True, type=click.IntRange(min=0), help="Differing cases to print.")
@output.format_option
def command(paths: tuple[Path, ...], families: tuple[str, ...], show: int, output: str) -> int:
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
        for number, path in enumerate(files, 1):
            for case in cases.read(path):
                if not families or case["family"] in families:
                    _judge(case, found.setdefault(case["family"], _Family()), shown, show)
            progress.step(number, path.name)
    missing = set(families) - found.keys()
    if missing or not found:
        raise errors.InputError("--family", "has no case in the files", min(missing, default=None), "a recorded family")
    for line in shown:
        click.echo(line, err=True)
    _write(found, output)
    return 1 if any(f.mismatches for f in found.values()) else 0


def _judge(case: cases.Case, family: _Family, shown: list[str], show: int) -> None:
    outcome = replay.replay(case)
    family.cases += 1
    if outcome.skipped:
        family.skipped[outcome.skipped] += 1
    elif outcome.differences:
        family.mismatches += 1
        if len(shown) < show:
            first = outcome.differences[0]
            shown.append(
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

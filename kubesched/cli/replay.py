# SPDX-License-Identifier: Apache-2.0
"""``kubesched replay``."""

from __future__ import annotations

from pathlib import Path

import click

from kubesched.base import errors
from kubesched.cli import inputs, output
from kubesched.framework import profile as profiles
from kubesched.replay import azure, sweep


@click.command("replay")
@click.argument("trace", type=click.Choice(sweep.TRACES))
@click.option(
    "--policy",
    default="all",
    show_default=True,
    help="'all' (the six research policies), or profiles joined by commas.",
)
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(1, 10_000), help="Runs per policy.")
@click.option("--seed", "first", default=42, show_default=True, type=click.IntRange(min=0), help="First seed.")
@click.option(
    "--variant",
    default="default",
    show_default=True,
    help="openb: pod list, e.g. gpushare40, multigpu20, gpuspec33, cpu200.",
)
@click.option(
    "--mode",
    type=click.Choice(sweep.MODES),
    help="inflate: shuffle, grow to --fill, nobody leaves (default for openb); recorded: times of the trace.",
)
@click.option(
    "--fill",
    default=sweep.FULL,
    show_default=True,
    type=click.FloatRange(0.01, 100),
    help="inflate: demand over capacity.",
)
@click.option(
    "--path", type=click.Path(path_type=Path), help="azure-2017-vm: the arrivals file. table: the pods table."
)
@click.option(
    "--nodes", type=click.Path(path_type=Path), help="table: the nodes table. openb: nodes instead of its own."
)
@click.option("--splits", default="train,dev,test", show_default=True, help="azure-2017-vm: parts to replay.")
@click.option(
    "--duration",
    type=click.Choice(("lo", "mid", "hi")),
    default="mid",
    show_default=True,
    help="azure-2017-vm: point of a duration's bin.",
)
@click.option(
    "--host-vcpu",
    default=128,
    show_default=True,
    type=click.IntRange(1, 100_000),
    help="azure-2017-vm: cores of a host.",
)
@click.option(
    "--host-memory-gb",
    default=512,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    help="azure-2017-vm: memory of a host.",
)
@click.option(
    "--hosts",
    default=0,
    show_default=True,
    type=click.IntRange(0, 10_000_000),
    help="azure-2017-vm: hosts; 0: the peak fills 90 %.",
)
@inputs.driver_option
@click.option("--workers", default=0, type=click.IntRange(min=0), help="Processes; default: one a core.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for decision logs (parquet), curves, summary and pictures.",
)
@output.format_option
def command(trace: str, out: Path | None, output: str, **options: object) -> int:
    """Replay a trace under placement policies: deterministic, with a seed, thousands of times faster than real time.

    TRACE is one of:

    \b
      openb          1,213 GPU nodes, 8,152 pods (Alibaba, 2023); bundled
      azure-2017-vm  1.87 M VM arrivals; give the file with --path
      table          your own nodes and pods tables (docs/reference/trace-format.md)

    Policies are profiles: random, dotprod, clustering, packing, bestfit, fgd; also default-v1.36 and others.

    \b
      kubesched replay openb --policy all --seeds 10 --out out
      kubesched replay openb --policy fgd,bestfit --variant multigpu50 -o json
      kubesched replay openb --mode recorded --policy default-v1.36
      kubesched replay azure-2017-vm --path azure_v1_vm_arrivals.parquet --policy default-v1.36
      kubesched replay table --nodes nodes.csv --path pods.csv --policy node-local

    The same seed gives the same decision log, byte for byte.
    """
    wanted = _policies(str(options["policy"]), trace)
    first, count = int(str(options["first"])), int(str(options["seeds"]))
    mode = str(options["mode"] or ("inflate" if trace == "openb" else "recorded"))
    with _output.Progress(f"replay {trace}", len(wanted) * count) as progress:
        report = sweep.sweep(
            trace,
            policies=wanted,
            seeds=range(first, first + count),
            variant=str(options["variant"]),
            mode=mode,
            options=_options(options),
            out=out,
            progress=lambda p: progress.step(p.done, p.what),
            workers=int(str(options["workers"])),
        )
    if out is not None:
        for path in sweep.write(report, out):
            click.echo(f"wrote {path}", err=True)
        click.echo(f"wrote {out / 'decisions'}/ ({len(report.results)} logs)", err=True)
    rows = report.summary()
    _output.write(rows, output, _output.columns([_shown(row) for row in rows]))
    return 0


_output = output  # the option's name hides the module inside the command
_HEADS = {
    "policy": "policy",
    "seeds": "seeds",
    "pods": "pods",
    "gpu_alloc_pct_at_100": "alloc % @100",
    "published_at_100": "published",
    "gpu_alloc_pct_at_130": "alloc % @130",
    "published_at_130": "published ",
    "frag_pct_at_100": "frag % @100",
    "unplaced": "unplaced",
    "placements_per_s": "placements/s",
    "seconds": "seconds",
}


def _shown(row: dict[str, object]) -> dict[str, object]:
    return {head: row[name] for name, head in _HEADS.items() if name in row}


def _policies(text: str, trace: str) -> list[str]:
    if text == "all":
        if trace != "openb":
            raise errors.InputError("--policy all", "is for openb", trace, "profiles joined by commas")
        return list(profiles.POLICIES)
    wanted = [name.strip() for name in text.split(",") if name.strip()]
    for name in wanted:
        profiles.find(name)
    if not wanted or len(set(wanted)) != len(wanted):
        raise errors.InputError("--policy", "is empty or names a profile twice", text, "profiles joined by commas")
    return wanted


def _options(options: dict[str, object]) -> sweep.ReplayOptions:
    path, nodes = options["path"], options["nodes"]
    return sweep.ReplayOptions(
        path=path if isinstance(path, Path) else None,
        nodes=nodes if isinstance(nodes, Path) else None,
        fill=float(str(options["fill"])),
        driver=str(options["driver"]),
        azure=azure.AzureOptions(
            splits=tuple(s.strip() for s in str(options["splits"]).split(",") if s.strip()),
            duration=str(options["duration"]),
            host_vcpu=int(str(options["host_vcpu"])),
            host_memory_gb=int(str(options["host_memory_gb"])),
            hosts=int(str(options["hosts"])),
        ),
    )

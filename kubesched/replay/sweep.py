# SPDX-License-Identifier: Apache-2.0
"""Many runs of one trace: policies times seeds, on all cores.

The unit of work is one function of picklable arguments, ``run_one(Task) -> Result``; where it runs does not matter.
"""

from __future__ import annotations

import functools
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from kubesched.base import errors
from kubesched.framework import profile as profiles
from kubesched.kernel.arrays import F64, I32
from kubesched.replay import azure, openb, picture, report, simulate, table, workload
from kubesched.replay.report import Report, Result

TRACES = ("openb", "azure-2017-vm", "table")
MODES = ("inflate", "recorded")
FULL = 1.3
"""How far the published experiment fills the cluster: demand over capacity."""
CURVE_POINTS = 131


@dataclass(frozen=True, slots=True)
class ReplayOptions:
    """What a trace needs beside its name.

    Parameters
    ----------
    path
        File of ``azure-2017-vm``, or the pods table of ``table``.
    nodes
        Nodes table of ``table``; with ``openb`` it replaces the trace's own nodes.
    fill
        Demand for devices that ``inflate`` reaches, as a part of the capacity.
    """

    path: Path | None = None
    nodes: Path | None = None
    fill: float = FULL
    driver: str = "auto"
    azure: azure.AzureOptions = field(default_factory=azure.AzureOptions)


@dataclass(frozen=True, slots=True)
class Task:
    """One run."""

    trace: str
    variant: str
    mode: str
    policy: str
    seed: int
    options: ReplayOptions
    log: Path | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a sweep is."""

    done: int
    total: int
    what: str


@functools.lru_cache(maxsize=4)
def load(trace: str, variant: str, options: ReplayOptions) -> tuple[workload.NodeTable, workload.PodTable]:
    """Nodes and pods of a trace; kept, because the runs of a sweep share them."""
    if trace == "openb":
        nodes = table.read_nodes(options.nodes) if options.nodes else openb.nodes()
        return nodes, openb.pods(variant)
    if trace == "azure-2017-vm":
        if options.path is None:
            raise errors.InputError("replay azure-2017-vm", "has no file", None, "--path azure_v1_vm_arrivals.parquet")
        return azure.read(options.path, options.azure)
    if trace == "table":
        if options.path is None or options.nodes is None:
            raise errors.InputError("replay table", "has no tables", None, "--nodes FILE and --path FILE")
        return table.read_nodes(options.nodes), table.read_pods(options.path)
    raise errors.InputError("trace", "is unknown", trace, f"one of {', '.join(TRACES)}")


@functools.lru_cache(maxsize=4)
def _typical(trace: str, variant: str, options: ReplayOptions) -> workload.TypicalPods:
    return workload.typical_pods(load(trace, variant, options)[1])


def make_workload(task: Task) -> workload.Workload:
    """The workload of a task: as recorded, or shuffled and grown with the task's seed."""
    nodes, pods = load(task.trace, task.variant, task.options)
    if len(nodes.names) == 0 or len(pods) == 0:
        raise errors.InputError(f"replay {task.trace}", "is empty", f"{len(nodes.names)} nodes, {len(pods)} pods")
    typical = _typical(task.trace, task.variant, task.options) if nodes.device_milli else None
    if task.mode == "recorded":
        order = np.argsort(pods.arrival_s, kind="stable").astype(np.int32)
        return workload.Workload(task.trace, nodes, pods, order, typical)
    if task.mode != "inflate":
        raise errors.InputError("mode", "is unknown", task.mode, " or ".join(MODES))
    if nodes.device_milli == 0:
        raise errors.InputError("mode", "needs nodes with devices", "inflate", "recorded")
    rng = np.random.Generator(np.random.PCG64(task.seed))
    order = workload.inflate(pods, task.options.fill * nodes.device_milli, rng)
    # The published runs give nodes a random order, too: ties go to the first of it.
    nodes = nodes.reordered(rng.permutation(len(nodes.names)))
    never = np.full(len(pods), workload.NEVER, dtype=np.int64)
    timeless = workload.PodTable(pods.shapes, pods.shape, np.zeros(len(pods), dtype=np.int64), never, pods.names)
    return workload.Workload(task.trace, nodes, timeless, order, typical)


def run_one(task: Task) -> Result:
    """Do one run and write its log, if one is wanted."""
    work = make_workload(task)
    run = simulate.run(work, profiles.find(task.policy), task.seed, driver=task.options.driver)
    if task.log is not None:
        report.write_log(task.log, work, run)
    alloc, frag = curves(work, run)
    total_milli = work.nodes.device_milli
    return Result(
        policy=task.policy,
        seed=task.seed,
        variant=task.variant,
        mode=task.mode,
        pods=len(run.pods),
        events=len(run.event),
        unplaced=run.n_unplaced,
        alloc_pct=alloc,
        frag_pct=frag,
        final_alloc_pct=float(100 * run.used_milli[-1] / total_milli) if total_milli else None,
        seconds=run.seconds,
        n_dense=run.n_dense,
        n_indexed=run.n_indexed,
        device_free=run.device_free,
        device_count=work.nodes.device_count,
        device_model=tuple(model or "" for model in work.nodes.device_model),
    )


def curves(work: workload.Workload, run: simulate.Run) -> tuple[F64, F64]:
    """Allocated and fragmented share of all devices, in %, against arrived demand 0..130 %.

    A point is the mean over the events whose arrived demand rounds to it, each rounded to two digits, as in the
    published tables; NaN where there is none.
    """
    total = work.nodes.device_milli
    alloc, frag = np.full(CURVE_POINTS, np.nan), np.full(CURVE_POINTS, np.nan)
    if total == 0:
        return alloc, frag
    arrived = np.cumsum(np.where(run.event > 0, run.pods.device_milli[np.abs(run.event) - 1], 0))
    point: I32 = np.rint(100 * arrived / total).astype(np.int32)
    inside = point < CURVE_POINTS
    count = np.bincount(point[inside], minlength=CURVE_POINTS)
    for out, column in ((alloc, run.used_milli), (frag, run.fragmented_milli)):
        rounded = np.round(100 * column[inside] / total, 2)
        sums = np.bincount(point[inside], weights=rounded, minlength=CURVE_POINTS)
        out[count > 0] = sums[count > 0] / count[count > 0]
    return alloc, frag


def sweep(
    trace: str,
    *,
    policies: Sequence[str],
    seeds: Sequence[int],
    variant: str = "default",
    mode: str = "inflate",
    options: ReplayOptions | None = None,
    out: Path | None = None,
    progress: Callable[[Progress], None] | None = None,
    workers: int = 0,
) -> Report:
    """Run every policy with every seed.

    Parameters
    ----------
    trace
        ``openb`` (bundled), ``azure-2017-vm`` or ``table`` (files of the caller).
    policies
        Names of profiles.
    seeds
        One run each.
    variant
        Pod list of openb.
    mode
        ``inflate``: the published experiment, nobody leaves; ``recorded``: arrivals and departures as recorded.
    options
        See ReplayOptions.
    out
        Folder for decision logs; None: none are written.
    progress
        Called after each run.
    workers
        Processes; 0: one a core, and none of its own for a single run.
    """
    options = options or ReplayOptions()
    for policy in policies:
        profiles.find(policy)
    load(trace, variant, options)  # errors of input are found here, once, before any process starts
    tasks = [
        Task(trace, variant, mode, policy, seed, options, _log_path(out, policy, seed))
        for policy in policies
        for seed in seeds
    ]
    results: list[Result] = []
    for result in _run_all(tasks, workers or os.cpu_count() or 1):
        results.append(result)
        if progress is not None:
            progress(Progress(len(results), len(tasks), f"{result.policy}, seed {result.seed}"))
    return Report(trace, variant, mode, tuple(results))


def write(found: Report, folder: Path) -> list[Path]:
    """Write summary, curves and, for clusters with devices, the pictures; returns the files."""
    return found.write_tables(folder) + picture.draw_all(found, folder)


def _log_path(out: Path | None, policy: str, seed: int) -> Path | None:
    return None if out is None else out / "decisions" / f"{policy}-seed{seed}.parquet"


def _run_all(tasks: Sequence[Task], workers: int) -> Iterator[Result]:
    """Results in the order of the tasks."""
    workers = min(workers, len(tasks))
    if workers <= 1 or len(tasks) < 4:  # starting processes costs about as much as three runs
        yield from map(run_one, tasks)
        return
    context = multiprocessing.get_context("forkserver")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        yield from pool.map(run_one, tasks)

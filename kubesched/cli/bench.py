# SPDX-License-Identifier: Apache-2.0
"""``kubesched bench``: the engine's speed, as a ratio to plain NumPy on the same decisions, verified first."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from kubesched.base import errors
from kubesched.bench import energy, runner, scenario
from kubesched.cli import inputs, output
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.kernel.arrays import F64, I32, I64
from kubesched.scheduler import encode
from kubesched.state import live, rows

_GIB = 1 << 30
_SHAPES = ((16, 64), (32, 128), (48, 192), (64, 128), (64, 256), (96, 384), (128, 256), (128, 512))
_SLICES = 20
Extra = Callable[[I64, int], I64]
PREFILL = 4
"""Pods a node that run before the clock starts."""


@click.group("bench")
def command() -> None:
    """Measure the engine. Every number is printed only after the work behind it was verified."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """Heterogeneous nodes ``[N]``, K classes ``[K]``, and the classes of P pods in random order."""

    cpu: I64
    memory: I64
    class_cpu: I64
    class_memory: I64
    prefill: I32
    prefill_row: I32
    pods: I32


def make(n: int, k: int, p: int, seed: int) -> Scenario:
    """Make a scenario; same arguments, same scenario."""
    rng = np.random.Generator(np.random.PCG64(seed))
    shape = np.array(_SHAPES, dtype=np.int64)[rng.integers(0, len(_SHAPES), n)]
    n_prefill = PREFILL * n
    return Scenario(
        cpu=shape[:, 0] * 1000 - rng.integers(0, 500, n),
        memory=shape[:, 1] * _GIB - rng.integers(0, _GIB, n),
        class_cpu=rng.integers(1, 21, k) * 50,
        class_memory=rng.integers(1, 33, k) << 27,
        prefill=rng.integers(0, k, n_prefill).astype(np.int32),
        prefill_row=np.repeat(np.arange(n, dtype=np.int32), PREFILL),
        pods=rng.integers(0, k, p).astype(np.int32),
    )


class NumpyScheduler:
    """The same decision in plain NumPy: LeastAllocated + balanced allocation (v1.36), first of the best nodes.

    ``extra`` is a score on top: of the pods on each node and the class's cpu.
    """

    def __init__(self, s: Scenario, extra: Extra | None = None) -> None:
        self._s = s
        self._extra = extra
        self.used_cpu = np.zeros(len(s.cpu), dtype=np.int64)
        self.used_memory = np.zeros(len(s.cpu), dtype=np.int64)
        self.pods = np.full(len(s.cpu), PREFILL, dtype=np.int64)
        np.add.at(self.used_cpu, s.prefill_row, s.class_cpu[s.prefill])
        np.add.at(self.used_memory, s.prefill_row, s.class_memory[s.prefill])

    def decide(self, c: int) -> tuple[int, int, int]:
        """Node, score and number of ties for a pod of class c; -1, -1, 0 if it fits nowhere."""
        s = self._s
        cpu, memory = self.used_cpu + s.class_cpu[c], self.used_memory + s.class_memory[c]
        feasible = (cpu <= s.cpu) & (memory <= s.memory) & (self.pods < 110)
        least = ((s.cpu - cpu) * 100 // s.cpu + (s.memory - memory) * 100 // s.memory) // 2
        with_pod = ((1 - np.abs((cpu / s.cpu - memory / s.memory) / 2)) * 100).astype(np.int64)
        without = ((1 - np.abs((self.used_cpu / s.cpu - self.used_memory / s.memory) / 2)) * 100).astype(np.int64)
        more = 0 if self._extra is None else self._extra(self.pods, int(s.class_cpu[c]))
        total = np.where(feasible, least + 50 + (50 + with_pod - without) // 2 + more, -1)
        best = int(total.max())
        if best < 0:
            return -1, -1, 0
        return int(total.argmax()), best, int(np.count_nonzero(total == best))

    def place(self, c: int) -> tuple[int, int, int]:
        node, score, ties = self.decide(c)
        if node >= 0:
            self.add(node, c)
        return node, score, ties

    def add(self, node: int, c: int) -> None:
        self.used_cpu[node] += self._s.class_cpu[c]
        self.used_memory[node] += self._s.class_memory[c]
        self.pods[node] += 1


def build(
    s: Scenario, profile: profiles.Profile, columns: Mapping[str, F64] | None = None
) -> tuple[live.ClusterState, int]:
    """The scenario's cluster, prefilled, with columns for users' plugins, and the engine's profile."""
    n = len(s.cpu)
    state = live.ClusterState()
    state.add_node_columns(
        [f"n{i}" for i in range(n)],
        {rows.CPU: s.cpu, rows.MEMORY: s.memory, rows.PODS: np.full(n, 110, dtype=np.int64)},
    )
    form = native.ClassForm(native.ClassSpec())
    for cpu, memory in zip(s.class_cpu.tolist(), s.class_memory.tolist(), strict=True):
        request = [(native.CPU, cpu), (native.MEMORY, memory)]
        # Past the state's interning: classes that happen to ask for the same stay apart.
        state.engine.add_class(form, native.Amounts(request, request, nonzero_cpu=cpu, nonzero_memory=memory))
    state.engine.bind(s.prefill, s.prefill_row)
    for name, values in (columns or {}).items():
        state.add_node_column(name, values)
    return state, profiles.register(state, profile)


def verify(
    s: Scenario,
    d: native.Decisions,
    state: live.ClusterState,
    profile: int,
    sample: int,
    extra: Extra | None = None,
) -> float:
    """Compare the first decisions and the final state with NumPy; returns NumPy's decisions a second.

    Raises
    ------
    KubeschedError
        Something differs: no number is worth printing.
    """
    slow = NumpyScheduler(s, extra)
    began = time.perf_counter()
    expected = [slow.place(int(c)) for c in s.pods[:sample]]
    seconds = time.perf_counter() - began
    got = list(zip(d.node[:sample].tolist(), d.score[:sample].tolist(), d.ties[:sample].tolist(), strict=True))
    if got != expected:
        at = next(i for i, (a, b) in enumerate(zip(got, expected, strict=True)) if a != b)
        raise errors.KubeschedError(f"bench: placement {at}", "differs from NumPy", got[at], str(expected[at]))
    for c, node in zip(s.pods[sample:].tolist(), d.node[sample:].tolist(), strict=True):
        if node >= 0:
            slow.add(node, c)
    columns = state.engine.columns()
    if not (np.array_equal(columns.used[0], slow.used_cpu) and np.array_equal(columns.used[1], slow.used_memory)):
        raise errors.KubeschedError("bench: usage", "does not add up to the decisions")
    for c in s.pods[:8].tolist():
        last = state.engine.place(native.Options(profile, commit=False), np.array([c], dtype=np.int32))
        if (int(last.node[0]), int(last.score[0]), int(last.ties[0])) != slow.decide(c):
            raise errors.KubeschedError("bench: last state", "decides otherwise than NumPy")
    return sample / seconds


@dataclass(slots=True)
class Run:
    """One cluster that takes the scenario's pods slice by slice."""

    state: live.ClusterState
    profile: int
    options: native.Options
    build_seconds: float
    parts: list[native.Decisions] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def of(cls, s: Scenario, profile: profiles.Profile, columns: Mapping[str, F64]) -> Run:
        """With the index built: each class is asked for once."""
        state, number = build(s, profile, columns)
        indexed = native.DRIVERS["indexed"]
        began = time.perf_counter()
        state.engine.place(
            native.Options(number, driver=indexed, commit=False), np.arange(len(s.class_cpu), dtype=np.int32)
        )
        return cls(state, number, native.Options(number, driver=indexed), time.perf_counter() - began)

    def place(self, pods: I32) -> None:
        began = time.perf_counter()
        found = self.state.engine.place(self.options, pods)
        self.seconds += time.perf_counter() - began
        self.parts.append(found)

    @property
    def decisions(self) -> native.Decisions:
        """Of all slices."""
        names = [one.name for one in fields(native.Decisions)]
        return native.Decisions(**{name: np.concatenate([getattr(p, name) for p in self.parts]) for name in names})


@command.command("engine")
@click.option("--nodes", default=5000, show_default=True, type=click.IntRange(1, 10_000_000), help="Nodes.")
@click.option(
    "--classes", default=64, show_default=True, type=click.IntRange(1, 4096), help="Pod classes, interleaved at random."
)
@click.option(
    "--placements", default=0, type=click.IntRange(0, 100_000_000), help="Pods; default: 20 a node, at most 1,000,000."
)
@click.option(
    "--driver", type=click.Choice(("indexed", "dense")), default="indexed", show_default=True, help="Which driver."
)
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the scenario.")
@output.format_option
def engine(nodes: int, classes: int, placements: int, driver: str, seed: int, output: str) -> int:
    """Placements a second on one core under the node-local default profile (LeastAllocated + balanced allocation).

    Nodes have eight shapes with jitter and run some pods already. The first placements are decided again by a plain
    NumPy implementation and must be equal in node, score and ties; the final usage must add up; only then the time is
    printed, with the ratio to NumPy in the same run. Building the index is timed apart (build_seconds).

    \b
      kubesched bench engine --nodes 1000000 --classes 64 --placements 1000000 -o json
    """
    placements = placements or min(20 * nodes, 1_000_000)
    scenario = make(nodes, classes, placements, seed)
    click.echo(f"bench: building {nodes} nodes, {classes} classes", err=True)
    state, profile = build(scenario, profiles.find("node-local"))
    options = native.Options(profile, driver=native.DRIVERS[driver])
    began = time.perf_counter()
    state.engine.place(
        native.Options(profile, driver=native.DRIVERS[driver], commit=False), np.arange(classes, dtype=np.int32)
    )
    built = time.perf_counter() - began
    before = state.engine.nbytes
    began = time.perf_counter()
    decisions = state.engine.place(options, scenario.pods)
    seconds = time.perf_counter() - began
    click.echo(f"bench: {placements} placements in {seconds:.3f} s, verifying against NumPy", err=True)
    numpy_rate = verify(scenario, decisions, state, profile, _sample(nodes, placements))
    rate = placements / seconds
    row: dict[str, Any] = {
        "nodes": nodes,
        "classes": classes,
        "placements": placements,
        "placements_per_s": round(rate),
        "numpy_placements_per_s": round(numpy_rate, 1),
        "ratio": round(rate / numpy_rate, 1),
        "bytes_per_node": round(before / nodes, 1),
        "bytes_per_pod": round((state.engine.nbytes - before) / placements, 1),
        "verified": True,
        "placed": int(np.count_nonzero(decisions.node >= 0)),
        "seconds": round(seconds, 4),
        "build_seconds": round(built, 4),
        "driver": driver,
        "dense_decisions": options.n_dense,
        "seed": seed,
    }
    _output.write([row], output, "\n".join(f"{name:<24}{value}" for name, value in row.items()), row)
    return 0


@command.command("plugin")
@click.option("--nodes", default=5000, show_default=True, type=click.IntRange(1, 10_000_000), help="Nodes.")
@click.option("--classes", default=64, show_default=True, type=click.IntRange(1, 4096), help="Pod classes.")
@click.option("--placements", default=100_000, show_default=True, type=click.IntRange(20, 100_000_000), help="Pods.")
@click.option("--vectorized", is_flag=True, help="The NumPy form of the plugin, called back in Python.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0), help="Of the scenario.")
@output.format_option
def plugin(nodes: int, classes: int, placements: int, vectorized: bool, seed: int, output: str) -> int:
    """Placements a second with a user's score plugin beside the same profile without it, in the same run.

    The scenario is that of bench engine; the plugin scores by the watts that a pod adds. As other scores lead to other
    nodes, and those to other costs, a third cluster has watts that come to 0 everywhere: it must decide as the built-in
    profile does. All take the same pods in twenty slices by turns and are verified as in bench engine.

    \b
      kubesched bench plugin --nodes 1000000 --placements 1000000 -o json
    """
    scenario = make(nodes, classes, placements, seed)
    watts = energy.watts(nodes, seed)
    built_in = profiles.find("node-local")
    mine = replace(
        built_in, name="energy", scores=(*built_in.scores, profiles.ScorePlugin(energy.register(vectorized)))
    )
    click.echo(f"bench: building {nodes} nodes three times, {classes} classes", err=True)
    endless = {name: np.full(nodes, energy.ENDLESS) for name in watts}
    runs = [Run.of(scenario, built_in, {}), Run.of(scenario, mine, watts), Run.of(scenario, mine, endless)]
    for part in np.array_split(scenario.pods, _SLICES):
        for run in runs:
            run.place(part)
    click.echo("bench: verifying against NumPy", err=True)
    for run, extra in zip(runs, (None, energy.score_of(watts, scenario.cpu), None), strict=True):
        verify(scenario, run.decisions, run.state, run.profile, _sample(nodes, placements), extra)
    rates = [placements / run.seconds for run in runs]
    row: dict[str, Any] = {
        "nodes": nodes,
        "classes": classes,
        "placements": placements,
        "plugin": "vectorised" if vectorized else "compiled",
        "placements_per_s": round(rates[1]),
        "built_in_placements_per_s": round(rates[0]),
        "share_of_built_in": round(rates[1] / rates[0], 3),
        "share_with_same_decisions": round(rates[2] / rates[0], 3),
        "verified": True,
        "dense_decisions": runs[1].options.n_dense,
        "build_seconds": round(runs[1].build_seconds, 4),
        "seed": seed,
    }
    _output.write([row], output, "\n".join(f"{name:<26}{value}" for name, value in row.items()), row)
    return 0


@command.command("scheduler-perf")
@click.argument("case", nargs=-1)
@click.option("--nodes", type=click.IntRange(1, 1_000_000), help="Scale whole cases to so many nodes.")
@click.option("--list", "listing", is_flag=True, help="List the cases instead.")
@click.option(
    "--plot",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Draw the cases into this PNG file: placements/s, thresholds, 100 times those.",
)
@inputs.driver_option
@output.format_option
def scheduler_perf(
    case: tuple[str, ...], nodes: int | None, listing: bool, plot: Path | None, driver: str, output: str
) -> int:
    """Cases of Kubernetes' scheduler_perf in one process, against the thresholds of its CI.

    CASE is a case, CASE/SIZE, or a family (see --list); default: all. Every decision is judged from
    the objects before its time is printed. Latencies are those of single Cluster.place calls, on a second run.

    \b
      kubesched bench scheduler-perf TopologySpreading -o json
    """
    chosen = scenario.choose(scenario.load(), case)
    if listing:
        _output.write(
            [{"case": c.name, "family": c.family, "threshold": c.threshold, "about": c.about} for c in chosen], output
        )
        return 0
    rows_out, skipped, failed = [], [], []
    with _output.Progress("bench", len(chosen)) as progress:
        for at, one in enumerate(chosen):
            progress.step(at, one.name)
            try:
                rows_out.append(runner.run(one.scaled(nodes) if nodes else one, driver))
            except runner.NotSupportedError as error:
                skipped.append(f"{one.name}: {error.what}")
            except errors.KubeschedError as error:  # the other cases still have their numbers
                failed.append(f"{one.name}: {error}")
        progress.step(len(chosen))
    for line in skipped:
        click.echo(f"bench: skipped {line}", err=True)
    for line in failed:
        click.echo(f"bench: failed {line}", err=True)
    _output.write(rows_out, output)
    if plot is not None and rows_out:
        from kubesched.bench import picture

        click.echo(f"bench: {picture.draw(rows_out, plot)}", err=True)
    return 1 if failed or (case and skipped) else 0


@command.command("spread")
@click.option("--nodes", default=1_000_000, show_default=True, type=click.IntRange(1, 10_000_000), help="Nodes.")
@click.option("--zones", default=3, show_default=True, type=click.IntRange(1, 1000), help="Zones.")
@click.option("--placements", default=100, show_default=True, type=click.IntRange(1, 10_000_000), help="Pods.")
@inputs.driver_option
@output.format_option
def spread(nodes: int, zones: int, placements: int, driver: str, output: str) -> int:
    """Pods of one template with soft zone and hostname spreading, whole default profile.

    Verified before the time is printed: all are placed, no node takes a second pod while others have none, and the
    next decision is the same with both drivers.
    """
    from kubesched.placement.cluster import Cluster
    from kubesched.state.rows import HOSTNAME_LABEL

    began = time.perf_counter()
    cluster = Cluster.synthetic(nodes, zones=zones, seed=1)
    built = time.perf_counter() - began
    click.echo(f"bench: {nodes} nodes in {built:.1f} s", err=True)
    soft = [
        {
            "maxSkew": skew,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"app": "web"}},
        }
        for key, skew in ((HOSTNAME_LABEL, 3), ("topology.kubernetes.io/zone", 5))
    ]
    containers = [{"name": "app", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}]
    spec = {"containers": containers, "topologySpreadConstraints": soft}
    pods = [
        {"kind": "Pod", "metadata": {"name": f"web-{i}", "labels": {"app": "web"}}, "spec": spec}
        for i in range(placements + 1)
    ]
    asked = [encode.pod_row(pod) for pod in pods]
    began = time.perf_counter()
    plan = cluster.place(asked[:-1], driver=driver)
    seconds = time.perf_counter() - began
    taken = np.bincount(plan.node_index[plan.node_index >= 0], minlength=nodes)
    last = [cluster.place(asked[-1:], commit=False, driver=name) for name in ("dense", driver)]
    same = [(p.nodes, p.scores.tolist(), p.ties.tolist()) for p in last]
    if not plan.is_complete or (placements <= nodes and taken.max() > 1) or same[0] != same[1]:
        raise errors.KubeschedError("bench spread", "the outcome does not hold", int(taken.max()))
    row: dict[str, Any] = {
        "nodes": nodes,
        "placements": placements,
        "placements_per_s": round(placements / seconds, 1),
        "indexed": plan.n_indexed,
        "dense": plan.n_dense,
        "verified": True,
        "build_seconds": round(built, 2),
        "bytes_per_node": round(cluster.nbytes / nodes, 1),
    }
    _output.write([row], output, "\n".join(f"{name:<24}{value}" for name, value in row.items()), row)
    return 0


@command.command("explain")
@click.option("--nodes", default=1_000_000, show_default=True, type=click.IntRange(1, 10_000_000), help="Nodes.")
@output.format_option
def explain(nodes: int, output: str) -> int:
    """Why a pod fits or not, in numbers (Cluster.summarize) and node by node (Cluster.explain), whole default profile.

    Three pods: one fits everywhere, one is bound to a zone where many nodes are too small, one fits nowhere. Medians of
    seven; the numbers must be those of the node-by-node explanation before any time is printed.
    """
    from kubesched.framework.diagnosis import summary_of
    from kubesched.placement.cluster import Cluster

    cluster = Cluster.synthetic(nodes, zones=3, seed=1)
    table = []
    for name, cpu, zone in (("anywhere", "1", ""), ("one-zone", "9", "zone-1"), ("nowhere", "100000", "")):
        containers = [{"name": "app", "resources": {"requests": {"cpu": cpu, "memory": "20Gi"}}}]
        selector = {"nodeSelector": {"topology.kubernetes.io/zone": zone}} if zone else {}
        pod = {"kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **selector}}
        summary, seconds = cluster.summarize(pod), []
        for _ in range(7):
            began = time.perf_counter()
            cluster.summarize(pod)
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        explanation = cluster.explain(pod)
        whole = time.perf_counter() - began
        if summary != summary_of(explanation.diagnosis, explanation.verdicts):
            raise errors.KubeschedError(
                f"bench explain: {name}", "the numbers are not those of the nodes", str(summary)
            )
        numbers = {"summary_ms": round(float(np.median(seconds)) * 1e3, 1), "nodes_ms": round(whole * 1e3, 1)}
        table.append({"pod": name, "nodes": nodes, "feasible": summary.feasible, **numbers, "verified": True})
    _output.write(table, output)
    return 0


def _sample(nodes: int, placements: int) -> int:
    """As many NumPy decisions as take about three seconds."""
    return max(min(placements, 60_000_000 // nodes, 2000), 1)


_output = output  # the option's name hides the module inside the command

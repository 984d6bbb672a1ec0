# SPDX-License-Identifier: Apache-2.0
"""Runs a case through the product: objects, rows, classes, decisions; then judges it, and only then has numbers.

The measured time is that of ``Cluster.place`` (and of the changes between its calls) on pods that were encoded before.
It is taken on one run; the latency of single decisions on a second run from the start, where a sample of the measured
pods is placed one by one. Both runs must decide the same, and a sample of that sample is decided by the dense driver,
which looks at every node and takes the first of the best: the node must be the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.bench import decider
from kubesched.bench import program as programs
from kubesched.bench.judge import Judge
from kubesched.bench.scenario import Case
from kubesched.placement.cluster import Cluster

_SAMPLES = 2000
"""Decisions whose latency is taken."""
_COMPARED_EVERY = 10
"""Of these each so many-th is decided by the dense driver, too."""


class NotSupportedError(errors.UnsupportedError):
    """The case needs a feature that is not there yet."""


@dataclass(slots=True)
class _Run:
    """What a run did: decisions in order, and its times in seconds."""

    decisions: list[tuple[str, str | None]] = field(default_factory=list)
    setup: float = 0.0
    measured: float = 0.0
    latencies: list[float] = field(default_factory=list)
    n_dense: int = 0
    n_indexed: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    n_placed: int = 0
    n_compared: int = 0
    """Decisions that the dense driver took, too."""
    victims: dict[str, list[str]] = field(default_factory=dict)
    allocations: list[dict[str, Any]] = field(default_factory=list)
    """Devices of all claims after each action."""

    def take(self, keys: Sequence[str], placed: decider.Placed) -> float:
        """Note decisions; their seconds."""
        self.decisions.extend(zip(keys, placed.nodes, strict=True))
        self.victims.update(placed.victims)
        return placed.seconds


def run(case: Case, driver: str = "auto", say: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Run a case twice, judge it, and return its row.

    Raises
    ------
    NotSupportedError
        It needs a feature that is not there yet.
    KubeschedError
        What it decided does not hold.
    """
    began = time.perf_counter()
    program = programs.build(case)
    objects_s = time.perf_counter() - began
    say(f"{len(program.objects)} objects")
    first = _execute(program, driver, every=0)
    say("judging")
    n_left_out = _judge(program, first)
    say("latency")
    second = _execute(program, driver, every=max(program.n_measured // _SAMPLES, 1))
    if (first.decisions, first.victims) != (second.decisions, second.victims):
        raise errors.KubeschedError(f"verify: {case.name}", "a second run decided otherwise")
    rate = program.n_measured / first.measured
    micro = np.array(second.latencies) * 1e6
    return {
        "case": case.name,
        "nodes": program.n_nodes,
        "pods": program.n_measured,
        "placed": program.n_measured - n_left_out,
        "placements_per_s": round(rate),
        "p50_us": round(float(np.percentile(micro, 50)), 1),
        "p99_us": round(float(np.percentile(micro, 99)), 1),
        "threshold": case.threshold,
        "ratio": None if case.threshold is None else round(rate / case.threshold, 1),
        "verified": True,
        "compared": second.n_compared,
        "setup_seconds": round(objects_s + first.setup, 2),
        "indexed": first.n_indexed,
        "dense": first.n_dense,
        "bytes_per_node": round(first.bytes_before / program.n_nodes, 1),
        "bytes_per_pod": round((first.bytes_after - first.bytes_before) / max(first.n_placed, 1), 1),
    }


def _execute(program: programs.Program, driver: str, every: int) -> _Run:
    """Do everything; with ``every``, each so many-th measured pod is placed alone and its time taken."""
    out, clock = _Run(), time.perf_counter
    began = clock()
    cluster = _cluster(program)
    pods = {row.key: row for row in cluster.pending}
    cluster.pending = []  # they are given by name from here on
    out.setup = clock() - began
    out.bytes_before = cluster.nbytes
    decides = decider.decider(program, cluster, pods, driver)
    before = (0, 0)
    for action in program.actions:
        if not isinstance(action, programs.Place):
            out.measured += decides.change(action)
        elif not action.measured:
            out.setup += out.take(action.pods, decides.place([pods[key] for key in action.pods]))
            before = decides.counts()
        else:
            _measure(action, decides, pods, every, out)
        out.allocations.append(cluster.allocations())
    out.n_dense, out.n_indexed = (now - then for now, then in zip(decides.counts(), before, strict=True))
    out.bytes_after = cluster.nbytes
    out.n_placed = len(cluster.running)
    return out


def _measure(action: programs.Place, decides: decider.Decider, pods: decider.Pods, every: int, out: _Run) -> None:
    for part in _parts(action, every):
        rows = [pods[key] for key in part]
        is_sample = bool(every) and len(part) == (action.gang or 1)
        best = decides.best(rows) if is_sample and len(out.latencies) % _COMPARED_EVERY == 0 else None
        placed = decides.place(rows)
        seconds = out.take(part, placed)
        out.measured += seconds
        if is_sample:
            out.latencies.append(seconds)
        if best is not None:
            _judge_best(part, placed.nodes, best)
            out.n_compared += len(part)


def _judge_best(keys: Sequence[str], nodes: Sequence[str | None], best: Sequence[str | None]) -> None:
    for key, node, expected in zip(keys, nodes, best, strict=True):
        if node != expected:
            raise errors.KubeschedError(f"verify: {key}", "is not where every node was looked at", node, str(expected))


def _cluster(program: programs.Program) -> Cluster:
    try:
        return Cluster.from_objects(program.objects)
    except (errors.UnsupportedError, errors.KernelError) as error:  # the kernel has limits, too
        raise NotSupportedError(error.where, f"not supported yet: {error}") from None


def _parts(action: programs.Place, every: int) -> Iterator[list[str]]:
    if not every or not action.measured:
        yield action.pods
        return
    if action.gang:  # decided as a whole, so its time is that of all its pods
        yield from (action.pods[at : at + action.gang] for at in range(0, len(action.pods), action.gang))
        return
    for at in range(0, len(action.pods), every):
        yield action.pods[at : at + 1]
        if every > 1 and action.pods[at + 1 : at + every]:
            yield action.pods[at + 1 : at + every]


def _judge(program: programs.Program, run: _Run) -> int:
    """Replay the run; how many measured pods found no place."""
    judge = Judge([obj for obj in program.objects if obj["kind"] != "Pod"])
    objects = {_key(obj): obj for obj in program.objects if obj["kind"] == "Pod"}
    decisions = iter(run.decisions)
    left_out = 0
    for action, allocations in zip(program.actions, run.allocations, strict=True):
        if isinstance(action, programs.Place):
            left_out += _judge_place(judge, objects, action, decisions, run.victims)
        elif isinstance(action, programs.ChangeNodes):
            for name in action.remove:
                judge.remove_node(name)
            for node in action.add:
                judge.add_node(node)
        elif not action.terminating:
            for key in action.pods:
                judge.release(key)
        judge.check_devices(allocations)
    return left_out


def _judge_place(
    judge: Judge,
    objects: dict[str, Any],
    action: programs.Place,
    decisions: Iterator[tuple[str, str | None]],
    victims: dict[str, list[str]],
) -> int:
    left_out, nodes = 0, list[str | None]()
    for key in action.pods:
        decided, node = next(decisions)
        if decided != key:
            raise errors.KubeschedError(f"verify: {key}", "was decided out of turn", decided)
        nodes.append(node)
        if action.gang and node is None:
            pass  # some pod of its gang may be the one that fits nowhere
        elif node is not None and key in victims:
            judge.evict(key, objects[key], node, victims[key])
        elif not action.gated:
            judge.place(key, objects[key], node)
        elif node is not None:
            raise errors.KubeschedError(f"verify: {key}", "was placed in spite of its gates", node)
        left_out += action.measured and node is None and not key.startswith("churn/")
    for at in range(0, len(nodes) if action.gang else 0, action.gang or 1):
        _judge_gang(judge, action, at, nodes[at : at + action.gang])
    return left_out


def _judge_gang(judge: Judge, action: programs.Place, at: int, nodes: Sequence[str | None]) -> None:
    """All pods or none, and with a topology all on nodes with one value of the label."""
    where = [node for node in nodes if node is not None]
    if len(where) not in (0, len(nodes)):
        raise errors.KubeschedError(f"verify: {action.pods[at]}", "only a part of its gang was placed")
    values = {judge.label(node, action.topology) for node in where} if action.topology else set()
    if None in values or len(values) > 1:
        raise errors.KubeschedError(f"verify: {action.pods[at]}", "its gang is torn apart", sorted(map(str, values)))


def _key(obj: dict[str, Any]) -> str:
    return f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"

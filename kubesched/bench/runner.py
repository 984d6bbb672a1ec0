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
from dataclasses import dataclass, field, replace
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
    """What a run did: decisions in order after each action, and its times in seconds."""

    decisions: list[list[decider.Decision]] = field(default_factory=list)
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
    held: dict[str, Any] = field(default_factory=dict)
    allocations: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Of the run that is judged, after each action the devices of the claims of pods that it decided, and at the end of
    all claims; reading all of them each time would take the processor's caches from what is timed."""

    def take(self, at: int, done: decider.Done) -> None:
        """Note what came of the actions from one on."""
        for i, decisions in enumerate(done.decisions, at):
            self.decisions[i] += decisions
        self.victims.update(done.victims)


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
    left_out = _judge(program, first)
    if left_out:  # upstream's case would never end
        raise errors.KubeschedError(f"verify: {case.name}", f"{len(left_out)} pods found no place", min(left_out))
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
        "placed": program.n_measured,
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
    out, clock = _Run([[] for _ in program.actions]), time.perf_counter
    began = clock()
    cluster = _cluster(program)
    pods = {row.key: row for row in cluster.pending}
    cluster.pending = []  # they are given by name from here on
    out.setup = clock() - began
    out.bytes_before = cluster.nbytes
    decides = decider.decider(program, cluster, pods, driver)
    before = counts = (0, 0)
    for at, actions, is_measured in _stretches(program, every):
        is_sample = bool(every) and is_measured and _is_one(actions[0])
        is_compared = is_sample and len(out.latencies) % _COMPARED_EVERY == 0
        best = decides.best(actions[0].pods) if is_compared and isinstance(actions[0], programs.Place) else None
        done = decides.do(actions)
        out.take(at, done)
        if is_measured:
            out.measured += done.seconds
            counts = decides.counts()
        elif not out.measured:
            out.setup += done.seconds
            counts = before = decides.counts()
        if is_sample:
            out.latencies.append(done.seconds)
        if best is not None:
            _judge_best(done.decisions[0], best)
            out.n_compared += len(best)
        if not every:  # the run that is judged
            decided = [key for decisions in done.decisions for key, _ in decisions]
            out.allocations[at + len(actions) - 1] = cluster.allocations(decided)
    if not every:
        out.held = cluster.allocations()
    out.n_dense, out.n_indexed = (now - then for now, then in zip(counts, before, strict=True))
    out.bytes_after = cluster.nbytes
    out.n_placed = len(cluster.running)
    return out


def _judge_best(decisions: Sequence[decider.Decision], best: Sequence[str | None]) -> None:
    for (key, node), expected in zip(decisions, best, strict=True):
        if node != expected:
            raise errors.KubeschedError(f"verify: {key}", "is not where every node was looked at", node, str(expected))


def _is_one(action: programs.Action) -> bool:
    """Whether it places one pod, or one gang, or takes one slice over."""
    if isinstance(action, programs.ChangeDevices):
        return True
    return isinstance(action, programs.Place) and len(action.pods) == (action.gang or 1)


def _stretches(program: programs.Program, every: int) -> Iterator[tuple[int, Sequence[programs.Action], bool]]:
    """Number of the first action, actions that are done together, whether their time counts.

    What comes before the first measured pods does not count. Where pods go through a queue, all from there on is one
    stretch, unless single times are wanted or what devices claims hold must be seen on the way.
    """
    actions = program.actions
    is_measured = [
        isinstance(action, programs.Place | programs.ChangeDevices) and action.measured for action in actions
    ]
    first = is_measured.index(True)
    yield from ((at, actions[at : at + 1], False) for at in range(first))
    if not every and decider.is_queued(program) and not program.has_devices:
        yield first, actions[first:], True
        return
    for at in range(first, len(actions)):
        action = actions[at]
        if not isinstance(action, programs.Place):
            yield at, [action], True
            continue
        yield from ((at, [part], not action.is_behind) for part in _parts(action, every))


def _cluster(program: programs.Program) -> Cluster:
    try:
        return Cluster.from_objects(program.objects)
    except (errors.UnsupportedError, errors.KernelError) as error:  # the kernel has limits, too
        raise NotSupportedError(error.where, f"not supported yet: {error}") from None


def _parts(place: programs.Place, every: int) -> Iterator[programs.Place]:
    """Single pods, and what is between them; a gang is decided as a whole, so its time is that of all its pods."""
    if not every or not place.measured:
        yield place
        return
    size, step = place.gang or 1, place.gang or every
    for at in range(0, len(place.pods), step):
        yield replace(place, pods=place.pods[at : at + size])
        if place.pods[at + size : at + step]:
            yield replace(place, pods=place.pods[at + size : at + step])


def _judge(program: programs.Program, run: _Run) -> set[str]:
    """Replay the run; which measured pods found no place."""
    judge = Judge([obj for obj in program.objects if obj["kind"] != "Pod"])
    objects = {programs.key_of(obj): obj for obj in program.objects if obj["kind"] == "Pod"}
    missing: set[str] = set()
    for at, action in enumerate(program.actions):
        _judge_change(judge, objects, action)
        for key, node in run.decisions[at]:
            _judge_decision(judge, key, objects[key], node, run.victims, action)
            if node is not None:
                missing.discard(key)
        if isinstance(action, programs.Place):
            node_of = dict(run.decisions[at])
            _judge_place(judge, action, node_of)
            if action.measured:
                missing.update(k for k in action.pods if node_of.get(k) is None and not k.startswith("churn/"))
        if at in run.allocations:
            judge.check_devices(run.allocations[at])
    judge.check_all_devices(run.held)
    return missing


def _judge_change(judge: Judge, objects: dict[str, Any], action: programs.Action) -> None:
    if isinstance(action, programs.ChangeDevices):
        judge.add_slices(action.slices)
    elif isinstance(action, programs.ChangeNodes):
        for name in action.remove:
            judge.remove_node(name)
        for node in action.update:
            judge.update_node(node)
        for node in action.add:
            judge.add_node(node)
    elif isinstance(action, programs.ChangePods):
        for obj in action.pods:
            objects[programs.key_of(obj)] = obj
            judge.update_pod(programs.key_of(obj), obj)
    elif isinstance(action, programs.Delete) and not action.terminating:
        for key in action.pods:
            judge.release(key)


def _judge_decision(
    judge: Judge,
    key: str,
    obj: dict[str, Any],
    node: str | None,
    victims: dict[str, list[str]],
    action: programs.Action,
) -> None:
    if obj["spec"].get("schedulingGates"):
        if node is not None:
            raise errors.KubeschedError(f"verify: {key}", "was placed in spite of its gates", node)
    elif node is not None and key in victims:
        judge.evict(key, obj, node, victims[key])
    elif node is not None or not (isinstance(action, programs.Place) and action.gang):
        judge.place(key, obj, node)  # some other pod of a gang may be the one that fits nowhere


def _judge_place(judge: Judge, action: programs.Place, node_of: dict[str, str | None]) -> None:
    for at in range(0, len(action.pods) if action.gang else 0, action.gang or 1):
        _judge_gang(judge, action, at, [node_of.get(key) for key in action.pods[at : at + action.gang]])
    for key in action.pods:
        if key not in node_of and action.expect != "gated":
            raise errors.KubeschedError(f"verify: {key}", "was not decided")
        if node_of.get(key) is not None and action.expect == "blocked":
            raise errors.KubeschedError(f"verify: {key}", "was placed before anything happened")


def _judge_gang(judge: Judge, action: programs.Place, at: int, nodes: Sequence[str | None]) -> None:
    """All pods or none, and with a topology all on nodes with one value of the label."""
    where = [node for node in nodes if node is not None]
    if len(where) not in (0, len(nodes)):
        raise errors.KubeschedError(f"verify: {action.pods[at]}", "only a part of its gang was placed")
    values = {judge.label(node, action.topology) for node in where} if action.topology else set()
    if None in values or len(values) > 1:
        raise errors.KubeschedError(f"verify: {action.pods[at]}", "its gang is torn apart", sorted(map(str, values)))

# SPDX-License-Identifier: Apache-2.0
"""The two ways in which a case is run: pods placed at once, or through the scheduling queue.

Cases where something goes on while pods wait (deletions, gates) go through the queue, where events are heard.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kubesched.base import errors
from kubesched.bench import program as programs
from kubesched.placement.cluster import Cluster, Delta
from kubesched.scheduler import encode, events
from kubesched.scheduler.events import PodView
from kubesched.scheduler.rounds import Round
from kubesched.scheduler.tape import Change
from kubesched.state import rows

Pods = dict[str, rows.PodRow]


Decision = tuple[str, str | None]
"""Key of a pod and its node."""


@dataclass(slots=True)
class Done:
    """What came of some actions."""

    seconds: float = 0.0
    """Of the product alone."""
    decisions: list[list[Decision]] = field(default_factory=list)
    """After each action, in order; a pod that waits may be decided after several."""
    victims: dict[str, list[str]] = field(default_factory=dict)
    """Pods that were evicted, by the pod that took their place."""


class Decider(Protocol):
    """Places pods and changes the cluster."""

    def counts(self) -> tuple[int, int]:
        """Decisions so far of the dense and of the indexed driver."""

    def do(self, actions: Sequence[programs.Action]) -> Done:
        """Do them in order."""

    def best(self, keys: Sequence[str]) -> list[str | None] | None:
        """Where looking at every node would put the pods, which then are not placed; None: it cannot be told."""


def decider(program: programs.Program, cluster: Cluster, pods: Pods, driver: str) -> Decider:
    """The way that suits the program."""
    if is_queued(program):
        return Queued(program, cluster, pods, driver)
    if program.seed is not None:  # each call would draw from the start, and the latencies' run makes more calls
        raise errors.UnsupportedError("ties", "are drawn only where pods wait", "drawn")
    return Direct(program, cluster, pods, driver)


def is_queued(program: programs.Program) -> bool:
    """Whether pods wait, and hear of what happens."""
    for action in program.actions:
        if isinstance(action, programs.Delete | programs.ChangePods):
            return True
        if isinstance(action, programs.Place) and action.expect in ("blocked", "attempted"):
            return True
    return False


class Direct:
    """``Cluster.place`` and ``Cluster.apply``."""

    def __init__(self, program: programs.Program, cluster: Cluster, pods: Pods, driver: str) -> None:
        self._cluster, self._pods, self._driver = cluster, pods, driver
        self._evict, self._profile = program.preempts, program.profile
        self._dense = self._indexed = 0

    def counts(self) -> tuple[int, int]:
        return self._dense, self._indexed

    def do(self, actions: Sequence[programs.Action]) -> Done:
        done = Done()
        for action in actions:
            if isinstance(action, programs.Place):
                self._place(action.pods, done)
                continue
            delta = self._delta(action)
            began = time.perf_counter()
            self._cluster.apply(delta)
            done.seconds += time.perf_counter() - began
            done.decisions.append([])
        return done

    @staticmethod
    def _delta(action: programs.Action) -> Delta:
        if isinstance(action, programs.ChangeDevices):
            return Delta(put_devices=action.slices)
        assert isinstance(action, programs.ChangeNodes)
        return Delta(remove_nodes=action.remove, update_nodes=action.update, add_nodes=action.add)

    def _place(self, keys: Sequence[str], done: Done) -> None:
        pods = [self._pods[key] for key in keys]
        began = time.perf_counter()
        plan = self._cluster.place(pods, self._profile, driver=self._driver, evict=self._evict)
        done.seconds += time.perf_counter() - began
        done.decisions.append(list(zip(keys, plan.nodes, strict=True)))
        done.victims.update(plan.victims)
        self._dense += plan.n_dense
        self._indexed += plan.n_indexed

    def best(self, keys: Sequence[str]) -> list[str | None] | None:
        if self._evict:
            return None
        pods = [self._pods[key] for key in keys]
        return self._cluster.place(pods, self._profile, driver="dense", commit=False).nodes


class Queued:
    """``Cluster.loop``: pods go through the queue, and hear of what happens.

    The loop's clock stands still: which back-offs have ended, and so who is decided next, must not depend on how fast
    the machine is. Pods in back-off are decided all the same, when no other is left.
    """

    def __init__(self, program: programs.Program, cluster: Cluster, pods: Pods, driver: str) -> None:
        objects = {programs.key_of(obj): obj for obj in program.objects if obj["kind"] == "Pod"}
        self._views = {key: events.view(objects[key], pod) for key, pod in pods.items()}
        self._ending = {pod.shape: replace(pod.shape, terminating=True) for pod in _distinct(pods.values())}
        nodes = [obj for obj in program.objects if obj["kind"] == "Node"]
        self._loop = cluster.loop(lambda: 0.0, program.profile, seed=program.seed, driver=driver, nodes=nodes)

    def counts(self) -> tuple[int, int]:
        return self._loop.totals.dense, self._loop.totals.indexed

    def do(self, actions: Sequence[programs.Action]) -> Done:
        changes = [self._change(action) for action in actions]
        began = time.perf_counter()
        played = self._loop.play(changes)
        seconds = time.perf_counter() - began
        return Done(seconds, [[one for part in rounds for one in self._decisions(part)] for rounds in played])

    def best(self, keys: Sequence[str]) -> list[str | None] | None:
        del keys  # those that were given before them may go first
        return None

    def _decisions(self, part: Round) -> Iterator[Decision]:
        name = self._loop.state.node_name
        return ((key, name(row) if row >= 0 else None) for key, row in zip(part.pods, part.node.tolist(), strict=True))

    def _change(self, action: programs.Action) -> Change:
        if isinstance(action, programs.Place):
            return Change(add_pods=[self._views[key] for key in action.pods])
        if isinstance(action, programs.ChangeNodes):
            update, add = ([encode.node_row(node) for node in nodes] for nodes in (action.update, action.add))
            return Change(remove_nodes=action.remove, update_nodes=update, add_nodes=add)
        if isinstance(action, programs.ChangePods):
            return Change(update_pods=[self._became(events.view(obj, encode.pod_row(obj))) for obj in action.pods])
        assert isinstance(action, programs.Delete)
        if action.terminating:
            return Change(update_pods=[self._became(self._end(self._views[key])) for key in action.pods])
        return Change(delete_pods=action.pods)

    def _became(self, view: PodView) -> PodView:
        self._views[view.row.key] = view
        return view

    def _end(self, view: PodView) -> PodView:
        """The pod as one that is being deleted and goes on running."""
        return replace(view, row=replace(view.row, shape=self._ending[view.row.shape]))


def _distinct(pods: Iterable[rows.PodRow]) -> list[rows.PodRow]:
    return list({pod.shape: pod for pod in pods}.values())

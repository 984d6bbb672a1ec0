# SPDX-License-Identifier: Apache-2.0
"""The two ways in which a case is run: pods placed at once, or through the scheduling queue.

Cases where something goes on while pods wait (deletions, gates) go through the queue, where events are heard.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kubesched.bench import program as programs
from kubesched.placement.cluster import Cluster, Delta
from kubesched.scheduler import encode
from kubesched.scheduler.events import PodView
from kubesched.state import rows

Pods = dict[str, rows.PodRow]


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of some pods."""

    seconds: float
    nodes: list[str | None]
    """Of each pod."""
    victims: dict[str, list[str]] = field(default_factory=dict)
    """Pods that were evicted, by the pod that took their place."""


class Decider(Protocol):
    """Places pods and changes the cluster; times are those of the product alone, in seconds."""

    def counts(self) -> tuple[int, int]:
        """Decisions so far of the dense and of the indexed driver."""

    def place(self, pods: Sequence[rows.PodRow]) -> Placed:
        """Place pods in order."""

    def best(self, pods: Sequence[rows.PodRow]) -> list[str | None] | None:
        """Where looking at every node would put the pods, which then are not placed; None: it cannot be told."""

    def change(self, action: programs.Delete | programs.ChangeNodes) -> float:
        """Seconds."""


def decider(program: programs.Program, cluster: Cluster, pods: Pods, driver: str) -> Decider:
    """The way that suits the program."""
    if any(isinstance(action, programs.Delete) for action in program.actions):
        return Queued(cluster, pods, driver)
    return Direct(cluster, driver, program.preempts)


class Direct:
    """``Cluster.place`` and ``Cluster.apply``."""

    def __init__(self, cluster: Cluster, driver: str, evict: bool) -> None:
        self._cluster, self._driver, self._evict = cluster, driver, evict
        self._dense = self._indexed = 0

    def counts(self) -> tuple[int, int]:
        return self._dense, self._indexed

    def place(self, pods: Sequence[rows.PodRow]) -> Placed:
        began = time.perf_counter()
        plan = self._cluster.place(pods, driver=self._driver, evict=self._evict)
        seconds = time.perf_counter() - began
        self._dense += plan.n_dense
        self._indexed += plan.n_indexed
        return Placed(seconds, plan.nodes, plan.victims)

    def best(self, pods: Sequence[rows.PodRow]) -> list[str | None] | None:
        return None if self._evict else self._cluster.place(pods, driver="dense", commit=False).nodes

    def change(self, action: programs.Delete | programs.ChangeNodes) -> float:
        if isinstance(action, programs.Delete):
            delta = Delta(release=action.pods)
        else:
            delta = Delta(remove_nodes=action.remove, add_nodes=action.add)
        began = time.perf_counter()
        self._cluster.apply(delta)
        return time.perf_counter() - began


class Queued:
    """``Cluster.loop``: pods go through the queue, and hear of what happens."""

    def __init__(self, cluster: Cluster, pods: Pods, driver: str) -> None:
        self._cluster = cluster
        self._views = {key: PodView(pod) for key, pod in pods.items()}
        self._ending = {pod.shape: replace(pod.shape, terminating=True) for pod in _distinct(pods.values())}
        self._loop = cluster.loop(time.monotonic, driver=driver)

    def counts(self) -> tuple[int, int]:
        return self._loop.totals.dense, self._loop.totals.indexed

    def place(self, pods: Sequence[rows.PodRow]) -> Placed:
        views = [self._views[pod.key] for pod in pods]
        began = time.perf_counter()
        self._loop.add_pods(views)
        self._loop.run()
        seconds = time.perf_counter() - began
        return Placed(seconds, [self._cluster.node_of(pod.key) for pod in pods])

    def best(self, pods: Sequence[rows.PodRow]) -> list[str | None] | None:
        del pods  # those that were given before them may go first
        return None

    def change(self, action: programs.Delete | programs.ChangeNodes) -> float:
        if isinstance(action, programs.ChangeNodes):
            nodes = [encode.node_row(node) for node in action.add]
            began = time.perf_counter()
            for name in action.remove:
                self._loop.remove_node(name)
            self._loop.add_nodes(nodes)
            return time.perf_counter() - began
        ending = [self._end(self._views[key]) for key in action.pods if action.terminating]
        began = time.perf_counter()
        if action.terminating:
            self._loop.update_pods(ending)
        else:
            self._loop.delete_pods(action.pods)
        return time.perf_counter() - began

    def _end(self, view: PodView) -> PodView:
        """The pod as one that is being deleted and goes on running."""
        node, shape = self._cluster.node_of(view.row.key), self._ending[view.row.shape]
        return PodView(replace(view.row, node_name=node, shape=shape))


def _distinct(pods: Iterable[rows.PodRow]) -> list[rows.PodRow]:
    return list({pod.shape: pod for pod in pods}.values())

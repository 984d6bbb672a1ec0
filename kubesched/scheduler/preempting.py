# SPDX-License-Identifier: Apache-2.0
"""What the scheduling loop remembers of preemption: which pods wait for which node, and whose victims still run.

kube-scheduler evicts beside its loop (feature gate SchedulerAsyncPreemption): a pod that found victims is held back by
PreEnqueue until the deletion of each has begun, and waits for its node from the moment of its decision on. Here the
caller evicts, at its own time; what it tells of the victims is what ends the wait.

Sources: backend/queue/nominator.go, framework/preemption/executor.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from kubesched.scheduler.events import PodView
from kubesched.state import live, rows


class Nominations:
    """Waiting pods by the node that they are nominated for, in the order in which they were.

    A nomination names its node and outlives it: the engine hears of it while a node of that name is there.

    Parameters
    ----------
    class_of
        Engine class of a pod.
    """

    def __init__(self, state: live.ClusterState, class_of: Callable[[rows.PodRow], int]) -> None:
        self._state, self._class_of = state, class_of
        self._on: dict[str, dict[str, rows.PodRow]] = {}
        self._node_of: dict[str, str] = {}

    def set(self, pod: rows.PodRow) -> None:
        """A waiting pod is as it is now: nominated for its ``nominated_node``, or for none."""
        self.withdraw(pod.key)
        node = pod.nominated_node
        if node:
            self._node_of[pod.key] = node
            self._on.setdefault(node, {})[pod.key] = pod
            self._tell(pod, self._state.row_of(node))

    def withdraw(self, key: str) -> None:
        """A pod waits for no node any more, if it did."""
        node = self._node_of.pop(key, None)
        if node is None:
            return
        there = self._on[node]
        del there[key]
        if not there:
            del self._on[node]
        self._state.evictions.withdraw(key)

    def node_of(self, key: str) -> str:
        """The node that a pod is nominated for; empty: none."""
        return self._node_of.get(key, "")

    def less_important(self, node: str, priority: int) -> list[str]:
        """Keys of the pods of lower priority that are nominated for a node."""
        return [key for key, pod in self._on.get(node, {}).items() if pod.priority < priority]

    def node_came(self, name: str) -> None:
        """A node is there, perhaps again."""
        for pod in self._on.get(name, {}).values():
            self._tell(pod, self._state.row_of(name))

    def node_goes(self, name: str) -> None:
        """A node is about to go."""
        for key in self._on.get(name, ()):
            self._state.evictions.withdraw(key)

    def _tell(self, pod: rows.PodRow, row: int | None) -> None:
        if row is not None:
            self._state.evictions.nominate(pod, self._class_of(pod), row)


class UnderWay:
    """Evictions that were handed out and have not begun: who waits for whom."""

    def __init__(self) -> None:
        self._victims: dict[str, set[str]] = {}
        self._preemptors: dict[str, set[str]] = {}

    def __bool__(self) -> bool:
        return bool(self._victims)

    def start(self, preemptor: str, victims: Iterable[str]) -> None:
        """A pod waits until the deletion of all these began."""
        self.forget(preemptor)
        for victim in victims:
            self._victims.setdefault(preemptor, set()).add(victim)
            self._preemptors.setdefault(victim, set()).add(preemptor)

    def began(self, victim: str) -> bool:
        """A pod terminates, or is gone; whether that lets a pod go."""
        freed = False
        for preemptor in self._preemptors.pop(victim, ()):
            left = self._victims[preemptor]
            left.discard(victim)
            if not left:
                del self._victims[preemptor]
                freed = True
        return freed

    def forget(self, preemptor: str) -> None:
        """A pod waits for nobody any more."""
        for victim in self._victims.pop(preemptor, ()):
            waiting = self._preemptors[victim]
            waiting.discard(preemptor)
            if not waiting:
                del self._preemptors[victim]

    def holds(self, pod: PodView) -> bool:
        """Whether PreEnqueue of DefaultPreemption holds a pod back."""
        return pod.row.key in self._victims


class Told:
    """Where the caller's objects lag behind: nominated nodes as it told them last, of pods whose own the loop changed.

    An update that says the same as the one before does not speak of the nomination; one that says something else does.
    """

    def __init__(self) -> None:
        self._node: dict[str, str] = {}

    def changed(self, key: str, before: str) -> None:
        """The loop changed a nomination; ``before`` it was this."""
        self._node.setdefault(key, before)

    def forget(self, key: str) -> None:
        self._node.pop(key, None)

    def read(self, new: PodView, now: str) -> PodView:
        """An update as it is meant, for a pod that is nominated for ``now``."""
        said = self._node.get(new.row.key)
        if said is None or new.row.nominated_node != said or said == now:
            self.forget(new.row.key)
            return new
        return renominated(new, now)


def renominated(pod: PodView, node: str) -> PodView:
    """The pod nominated for a node; empty: for none."""
    return replace(pod, row=replace(pod.row, nominated_node=node))

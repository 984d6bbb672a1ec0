# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about the scheduling loop: one pod at a time, with the oracles of the queue and of decisions.

With preemption as kube-scheduler runs it beside the loop (SchedulerAsyncPreemption): a pod that fits nowhere may find
victims; it is nominated for their node and held back until the deletion of all of them began; pods of lower priority
that were nominated for the node are not any more. Written from the specification, imports nothing of kubesched. Gangs
here are pods that each stand for themselves.

What upstream leaves to the timing of its workers and of the API server is taken in this order: the failed pod is back
in the queue; its nominated node is written and seen; those of others are cleared, and seen, in the order in which they
were written; the victims go when the test says so.

Sources: schedule_one.go, eventhandlers.go, backend/queue/nominator.go, framework/preemption/executor.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from tests import decision_oracle, oracle, preemption_oracle, queue_oracle
from tests.oracle import Obj
from tests.preemption_oracle import nominated_node, priority
from tests.queue_oracle import Event, Waiter, key_of

Rank = Callable[[str], int]
"""Order of nodes by name: the first of equals is taken."""


@dataclass
class Told:
    """A decision: the node, or why not; whom to evict; the nominated nodes that were written, in order."""

    pod: str
    node: str | None = None
    plugins: frozenset[str] = frozenset()
    message: str = ""
    preemption: str = ""
    """What PostFilter said."""
    victims: list[str] = field(default_factory=list)
    nominated: dict[str, str] = field(default_factory=dict)


def bound(pod: Obj, node: str) -> Obj:
    """The pod as it runs: binding clears its nominated node."""
    return renominated(pod, "") | {"spec": pod["spec"] | {"nodeName": node}}


def renominated(pod: Obj, node: str) -> Obj:
    status = {name: value for name, value in (pod.get("status") or {}).items() if name != "nominatedNodeName"}
    return pod | {"status": status | ({"nominatedNodeName": node} if node else {})}


class Scheduler:
    """Times as in `queue_oracle.Queue`."""

    def __init__(self, clock: Callable[[], float], initial: float, longest: float, windows: bool) -> None:
        self.groups: dict[str, int] = {}
        self.members: dict[str, int] = {}
        self.preempting: dict[str, set[str]] = {}
        """Victims whose deletion has not begun, by the pod that waits for it."""
        self.nominations: dict[str, str] = {}
        lets_in = {"DefaultPreemption": lambda pod: key_of(pod) not in self.preempting, "GangScheduling": self.lets_in}
        self.queue = queue_oracle.Queue(clock, initial, longest, windows, lets_in)
        self.world = preemption_oracle.World([])
        self.images: oracle.Images = {}

    def lets_in(self, pod: Obj) -> bool:
        group = queue_oracle.group_of(pod)
        return not group or (group in self.groups and self.members[group] >= self.groups[group])

    # ---- what happens ----

    def add(self, pod: Obj) -> None:
        self.queue.add(pod)
        waiter = self.queue.find(key_of(pod))
        assert waiter is not None
        if waiter.place == "active":
            self.nominate(pod)
        self.queue.happens(Event("pod-add", None, pod))

    def update_waiting(self, pod: Obj) -> None:
        waiter = self.queue.find(key_of(pod))
        assert waiter is not None
        old = waiter.pod
        self.queue.update(pod)
        self.nominate(pod)
        if nominated_node(old) and nominated_node(old) != nominated_node(pod):
            self.queue.happens(Event("pod-delete", old, None), priority(old))

    def delete_waiting(self, pod: Obj) -> None:
        self.forget(key_of(pod))
        self.queue.delete(key_of(pod))
        if nominated_node(pod):
            self.queue.happens(Event("pod-delete", pod, None), priority(pod))

    def forget(self, key: str) -> None:
        self.nominations.pop(key, None)
        self.preempting.pop(key, None)

    def nominate(self, pod: Obj) -> None:
        self.nominations.pop(key_of(pod), None)
        if nominated_node(pod):
            self.nominations[key_of(pod)] = nominated_node(pod)

    def deletion_began(self, key: str) -> None:
        """A running pod terminates, or is gone."""
        for victims in self.preempting.values():
            victims.discard(key)
        self.preempting = {preemptor: left for preemptor, left in self.preempting.items() if left}

    def start(self, pod: Obj, name: str) -> None:
        """A pod runs on a node, if that is there."""
        for node in self.world.nodes:
            if node.name == name:
                node.add(bound(pod, name))

    def stop(self, pod: Obj) -> None:
        """It leaves its node; the last pod of the list takes its place, which is the order among equals."""
        for node in self.world.nodes:
            for other in [p for p in node.pods if key_of(p) == key_of(pod)]:
                at, last = node.pods.index(other), node.pods[-1]
                node.remove(other)
                if last is not other:
                    node.pods.remove(last)
                    node.pods.insert(at, last)

    # ---- deciding ----

    def run(self, rank: Rank, most: int | None = None) -> list[Told]:
        out: list[Told] = []
        while most is None or len(out) < most:
            self.queue.flush()
            waiter = self.queue.pop()
            if waiter is None:
                break
            out.append(self.decide(waiter, rank))
        return out

    def decide(self, waiter: Waiter, rank: Rank) -> Told:
        pod = waiter.pod
        there = {key_of(w.pod): w.pod for w in self.queue.all}
        self.world.waiting = [renominated(there[key], node) for key, node in self.nominations.items()]
        decision = decision_oracle.decide(pod, self.world)
        if decision.get("best"):
            name = min((self.world.nodes[i].name for i in decision["best"]), key=rank)
            self.start(pod, name)
            self.forget(key_of(pod))
            self.queue.done(waiter)
            self.queue.happens(Event("pod-add", None, bound(pod, name)))
            return Told(key_of(pod), name)
        plugins = {status[0] for status in decision.get("status") or [] if status is not None}
        told = Told(key_of(pod), None, frozenset(plugins), decision["message"])
        self.fail(waiter, decision, told, rank)
        return told

    def fail(self, waiter: Waiter, decision: Obj, told: Told, rank: Rank) -> None:
        """PostFilter, and what follows from it."""
        pod = waiter.pod
        answer = decision.get("preemption") or {}
        if answer.get("code") != "Success":
            told.preemption = answer.get("message", "")
            self.queue.failed(waiter, set(told.plugins), set())
            refused = any(
                text in answer.get("message", "") for text in (preemption_oracle.NEVER, preemption_oracle.WAITING)
            )
            if not self.world.nodes or (answer and not refused):
                self.renominate(pod, "", told)
            return
        ties = {self.world.nodes[i].name: i for i in answer["tie"]}
        name = min(ties, key=rank)
        chosen = next(c for c in answer["candidates"] if c["node"] == ties[name])
        node = self.world.nodes[ties[name]]
        running = {key_of(p): p for p in node.pods}
        told.victims = [v for v in chosen["victims"] if not running[v]["metadata"].get("deletionTimestamp")]
        self.preempting.pop(key_of(pod), None)
        if told.victims:
            self.preempting[key_of(pod)] = set(told.victims)
        self.queue.failed(waiter, set(told.plugins), set())
        self.renominate(pod, name, told)
        there = {key_of(w.pod): w.pod for w in self.queue.all}
        lower = [k for k, n in self.nominations.items() if n == name and priority(there[k]) < priority(pod)]
        for key in lower if told.victims else ():
            self.renominate(there[key], "", told)

    def renominate(self, pod: Obj, node: str, told: Told) -> None:
        """The scheduler writes a nominated node, and hears of it."""
        if nominated_node(pod) != node:
            told.nominated[key_of(pod)] = node
            self.update_waiting(renominated(pod, node))

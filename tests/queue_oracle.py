# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about the scheduling queue: one list of pods, looked through at every step.

Written from the specification; it imports nothing of kubesched. Pods and nodes are Kubernetes objects; every event is
judged pod by pod. Sources: pkg/scheduler/backend/queue, eventhandlers.go, EventsToRegister and the queueing hints of
the plugins that look at nodes and pods, v1.36.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests import oracle, pairwise_oracle
from tests.oracle import Obj

SKIP, AFTER_BACKOFF, AT_ONCE = 0, 1, 2
WILDCARD = "*"


def key_of(obj: Obj) -> str:
    return f"{pairwise_oracle.namespace(obj)}/{obj['metadata']['name']}"


@dataclass
class Event:
    """``what``: one change, such as ``pod-label``, ``node-add``, ``pod-update`` (nothing in particular)."""

    what: str
    old: Obj | None = None
    new: Obj | None = None

    def is_about(self, pod: Obj) -> bool:
        return self.new is not None and self.new["kind"] == "Pod" and key_of(self.new) == key_of(pod)


# ---- what an update changed ----


def pod_changes(old: Obj, new: Obj) -> list[str]:
    out = []
    if pairwise_oracle.labels(old) != pairwise_oracle.labels(new):
        out.append("pod-label")
    before, after = oracle.real(old), oracle.real(new)
    if any(after.get(name, 0) < amount for name, amount in before.items()):
        out.append("pod-scale-down")
    if old["spec"].get("schedulingGates") and not new["spec"].get("schedulingGates"):
        out.append("pod-gates")
    if len(old["spec"].get("tolerations") or []) != len(new["spec"].get("tolerations") or []):
        out.append("pod-toleration")
    return out or ["pod-update"]


def node_changes(old: Obj, new: Obj) -> list[str]:
    out = []
    if old["spec"].get("unschedulable") and not new["spec"].get("unschedulable"):
        out.append("node-taint")
    if oracle.Node(old).alloc != oracle.Node(new).alloc:
        out.append("node-allocatable")
    if old["metadata"]["labels"] != new["metadata"]["labels"]:
        out.append("node-label")
    if (old["spec"].get("taints") or []) != (new["spec"].get("taints") or []):
        out.append("node-taint")
    return out


# ---- hints: whether an event may help a pod that the plugin rejected ----


def holds_room(pod: Obj) -> bool:
    return bool(pod["spec"].get("nodeName") or (pod.get("status") or {}).get("nominatedNodeName"))


def hint_gates(pod: Obj, e: Event) -> bool:
    return e.what == "pod-gates" and e.is_about(pod)


def hint_unschedulable(pod: Obj, e: Event) -> bool:
    assert e.new is not None
    if e.what == "pod-toleration":
        taint = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        return e.is_about(pod) and oracle.tolerated(e.new["spec"].get("tolerations") or [], taint)
    return not e.new["spec"].get("unschedulable") and (e.old is None or bool(e.old["spec"].get("unschedulable")))


def hint_name(pod: Obj, e: Event) -> bool:
    return True


def hint_taints(pod: Obj, e: Event) -> bool:
    if e.what == "pod-toleration":
        return e.is_about(pod)
    assert e.new is not None
    ask = oracle.Ask(pod)
    was_bad = e.old is None or oracle.taints(ask, oracle.Node(e.old)) is not None
    return was_bad and oracle.taints(ask, oracle.Node(e.new)) is None


def hint_affinity(pod: Obj, e: Event) -> bool:
    assert e.new is not None
    ask = oracle.Ask(pod)
    was_good = e.old is not None and oracle.affinity_matches(ask, oracle.Node(e.old))
    return oracle.affinity_matches(ask, oracle.Node(e.new)) and not was_good


def hint_ports(pod: Obj, e: Event) -> bool:
    if e.what == "node-add":
        return True
    assert e.old is not None
    pairs = itertools.product(oracle.host_ports(pod), oracle.host_ports(e.old))
    return holds_room(e.old) and any(oracle.clash(a, b) for a, b in pairs)


def hint_fit(pod: Obj, e: Event) -> bool:
    wanted = oracle.Ask(pod).filtered
    if e.what == "pod-delete":
        assert e.old is not None
        return holds_room(e.old)
    assert e.new is not None
    if e.what == "pod-scale-down":
        assert e.old is not None
        if e.is_about(pod):
            return True
        before, after = oracle.real(e.old), oracle.real(e.new)
        wants = [name for name, amount in oracle.real(pod).items() if amount]
        return bool(e.new["spec"].get("nodeName")) and any(before.get(n, 0) > after.get(n, 0) for n in wants)
    if oracle.fit(oracle.Ask(pod), oracle.Node(e.new)) is not None:
        return False
    if e.old is None:
        return True
    had, has = oracle.Node(e.old).alloc, oracle.Node(e.new).alloc
    return any(has.get(n, 0) > had.get(n, 0) for n in ["pods", *(n for n, amount in wanted.items() if amount)])


def hint_spread(pod: Obj, e: Event) -> bool:
    hard = pairwise_oracle.constraints(pod, "DoNotSchedule", pairwise_oracle.Defaults())
    if e.what.startswith("node"):
        keys = [c.key for c in hard]
        had, has = (o is not None and all(k in o["metadata"]["labels"] for k in keys) for o in (e.old, e.new))
        if e.old is None or e.new is None:
            return had or has
        before, after = e.old["metadata"]["labels"], e.new["metadata"]["labels"]
        moved = any(before.get(k) != after.get(k) for k in keys)
        retainted = (e.old["spec"].get("taints") or []) != (e.new["spec"].get("taints") or [])
        return had != has or (has and (moved or retainted))
    own = e.is_about(pod)
    sides = [side for side in (e.old, e.new) if side is not None]
    if not own and not all(
        holds_room(s) and pairwise_oracle.namespace(s) == pairwise_oracle.namespace(pod) for s in sides
    ):
        return False
    seen = [[pairwise_oracle.selects(c.selector, pairwise_oracle.labels(s)) for c in hard] for s in sides]
    if len(sides) == 1:
        return any(seen[0])
    tolerations = [s["spec"].get("tolerations") or [] for s in sides]
    if own and tolerations[0] != tolerations[1] and any(c.honor_taints for c in hard):
        return True
    return seen[0] != seen[1]


def sees_all(terms: list[Obj], owner: Obj, other: Obj) -> bool:
    def sees(term: Obj) -> bool:
        spaces = term.get("namespaces") or []
        selector = term.get("namespaceSelector")
        if not spaces and selector is None:
            spaces = [pairwise_oracle.namespace(owner)]
        there = pairwise_oracle.namespace(other) in spaces or pairwise_oracle.selects(selector, {})
        return there and pairwise_oracle.selects(term.get("labelSelector"), pairwise_oracle.labels(other))

    return bool(terms) and all(sees(term) for term in terms)


def hint_pods(pod: Obj, e: Event) -> bool:
    near = pairwise_oracle.terms(pod, "podAffinity", pairwise_oracle.REQUIRED)
    apart = pairwise_oracle.terms(pod, "podAntiAffinity", pairwise_oracle.REQUIRED)
    if e.what.startswith("node"):
        assert e.new is not None
        after = e.new["metadata"]["labels"]
        if e.old is None:
            return bool(apart) or any(t["topologyKey"] in after for t in near)
        before = e.old["metadata"]["labels"]
        gained = any(
            t["topologyKey"] in after and before.get(t["topologyKey"]) != after[t["topologyKey"]] for t in near
        )
        return gained or any(
            t["topologyKey"] in before and before[t["topologyKey"]] != after.get(t["topologyKey"]) for t in apart
        )
    if e.old is not None and e.new is not None and e.is_about(pod):
        return True
    if any(side is not None and not holds_room(side) for side in (e.old, e.new)):
        return False
    if e.old is None:
        assert e.new is not None
        return sees_all(near, pod, e.new)
    if e.new is None:
        theirs = pairwise_oracle.terms(e.old, "podAntiAffinity", pairwise_oracle.REQUIRED)
        return sees_all(apart, pod, e.old) or sees_all(theirs, e.old, pod)
    joined = not sees_all(near, pod, e.old) and sees_all(near, pod, e.new)
    return joined or (sees_all(apart, pod, e.old) and not sees_all(apart, pod, e.new))


def group_of(pod: Obj) -> str:
    name = (pod["spec"].get("schedulingGroup") or {}).get("podGroupName")
    return f"{pairwise_oracle.namespace(pod)}/{name}" if name else ""


def hint_gang(pod: Obj, e: Event) -> bool:
    assert e.new is not None
    theirs = group_of(e.new) if e.new["kind"] == "Pod" else key_of(e.new)
    return bool(theirs) and theirs == group_of(pod)


def never(pod: Obj, e: Event) -> bool:
    return False


Hint = Callable[[Obj, Event], bool]
HEARS: dict[str, list[tuple[set[str], Hint]]] = {
    "SchedulingGates": [({"pod-gates"}, hint_gates)],
    "NodeUnschedulable": [({"node-add", "node-taint", "pod-toleration"}, hint_unschedulable)],
    "NodeName": [({"node-add", "node-taint"}, hint_name)],
    "TaintToleration": [({"node-add", "node-taint", "pod-toleration"}, hint_taints)],
    "NodeAffinity": [({"node-add", "node-label"}, hint_affinity), ({"node-taint"}, hint_name)],
    "NodePorts": [({"pod-delete", "node-add"}, hint_ports), ({"node-taint"}, hint_name)],
    "NodeResourcesFit": [
        ({"pod-delete", "pod-scale-down", "node-add", "node-allocatable"}, hint_fit),
        ({"node-taint"}, hint_name),
    ],
    "PodTopologySpread": [
        ({"pod-add", "pod-delete", "pod-label", "pod-toleration"}, hint_spread),
        ({"node-add", "node-delete", "node-label", "node-taint"}, hint_spread),
    ],
    "InterPodAffinity": [
        ({"pod-add", "pod-delete", "pod-label", "node-add", "node-label"}, hint_pods),
        ({"node-taint"}, hint_name),
    ],
    "GangScheduling": [({"pod-add", "group-add"}, hint_gang)],
    "DefaultPreemption": [({"pod-delete"}, never)],
}


# ---- the queue ----


@dataclass(eq=False)
class Waiter:
    pod: Obj
    since: float
    order: int
    place: str = ""
    failures: int = 0
    errors: int = 0
    rejectors: set[str] = field(default_factory=set)
    pending: set[str] = field(default_factory=set)
    gate: str = ""
    attempts: int = 0
    missed: list[Event] = field(default_factory=list)
    """What happened since it was popped."""


class Queue:
    """Places of a pod: ``active``, ``backoff``, ``unschedulable``, ``flight``."""

    def __init__(
        self,
        clock: Callable[[], float],
        initial: float = 1,
        longest: float = 10,
        windows: bool = True,
        lets_in: dict[str, Callable[[Obj], bool]] | None = None,
    ) -> None:
        self.clock = clock
        no_gates: dict[str, Callable[[Obj], bool]] = {
            "SchedulingGates": lambda pod: not pod["spec"].get("schedulingGates")
        }
        self.lets_in = no_gates | (lets_in or {})
        self.initial, self.longest, self.windows = initial, longest, windows
        self.all: list[Waiter] = []
        self.order = 0
        self.next_leftovers = -math.inf

    # ---- time ----

    def window(self, time: float) -> float:
        return math.floor(time) if self.windows else time

    def ends(self, w: Waiter) -> float:
        count = w.errors or w.failures
        if not self.longest or not count:
            return -math.inf
        return self.window(w.since + min(self.initial * 2 ** (count - 1), self.longest))

    def backs_off(self, w: Waiter) -> bool:
        return self.ends(w) >= self.window(self.clock())

    # ---- moving ----

    def find(self, key: str) -> Waiter | None:
        return next((w for w in self.all if key_of(w.pod) == key), None)

    def gate(self, w: Waiter) -> bool:
        """PreEnqueue: whether it is held back."""
        asked = sorted(self.lets_in, key=lambda name: name != w.gate)  # the one that held it back comes first
        w.gate = next((name for name in asked if not self.lets_in[name](w.pod)), "")
        if w.gate:
            w.rejectors.add(w.gate)
        return bool(w.gate)

    def activate(self, w: Waiter, from_backoff: bool = False) -> None:
        held = not (from_backoff and self.windows) and self.gate(w)
        w.place = "unschedulable" if held else "active"

    def requeue(self, w: Waiter, worth: int) -> None:
        if worth == SKIP:
            w.place = "unschedulable"
        elif worth == AFTER_BACKOFF and self.backs_off(w):
            w.place = "unschedulable" if self.windows and self.gate(w) else "backoff"
        else:
            self.activate(w)

    def worth(self, w: Waiter, e: Event) -> int:
        blamed = w.rejectors | w.pending
        if not blamed:
            return AFTER_BACKOFF
        if e.what == WILDCARD:
            return AFTER_BACKOFF if e.new is None or e.is_about(w.pod) else SKIP
        best = SKIP
        for plugin in blamed:
            for kinds, hint in HEARS.get(plugin, []):
                if e.what in kinds and hint(w.pod, e):
                    best = max(best, AT_ONCE if plugin in w.pending else AFTER_BACKOFF)
        return best

    def happens(self, e: Event, up_to: int | None = None) -> None:
        """Not for updates of pods that wait themselves. ``up_to``: for pods of this priority or less."""
        if not any(e.what in kinds for of in HEARS.values() for kinds, _ in of):
            return
        for w in self.waiting():
            if up_to is not None and (w.pod["spec"].get("priority") or 0) > up_to:
                continue
            if w.gate and not any(e.what in kinds for kinds, _ in HEARS[w.gate]):
                continue
            worth = self.worth(w, e)
            if worth != SKIP:
                self.requeue(w, worth)
        self.tell_flights(e)

    def waiting(self) -> list[Waiter]:
        return [w for w in self.all if w.place == "unschedulable"]

    def tell_flights(self, e: Event) -> None:
        for w in self.all:
            if w.place == "flight":
                w.missed.append(e)

    # ---- pods ----

    def add(self, pod: Obj) -> None:
        self.order += 1
        w = Waiter(pod, self.clock(), self.order)
        self.all.append(w)
        self.activate(w)

    def update(self, pod: Obj) -> None:
        w = self.find(key_of(pod))
        assert w is not None
        seen = [Event(what, w.pod, pod) for what in pod_changes(w.pod, pod)]
        w.pod = pod
        if w.place == "flight":
            for e in seen:
                self.tell_flights(e)
        elif w.place == "unschedulable":
            for e in seen:
                self.requeue(w, self.worth(w, e))
                if w.place != "unschedulable":
                    return

    def delete(self, key: str) -> None:
        self.all = [w for w in self.all if key_of(w.pod) != key or w.place == "flight"]

    def rank(self, w: Waiter) -> tuple[float, float, int]:
        return -w.pod["spec"].get("priority", 0), w.since, w.order

    def pop(self) -> Waiter | None:
        ready = sorted((w for w in self.all if w.place == "active"), key=self.rank)
        if not ready and self.windows:
            cooling = [w for w in self.all if w.place == "backoff" and (w.rejectors or w.pending)]
            ready = sorted(cooling, key=lambda w: (self.ends(w), self.rank(w)))
        if not ready:
            return None
        ready[0].place, ready[0].missed = "flight", []
        ready[0].attempts += 1
        return ready[0]

    def done(self, w: Waiter) -> None:
        self.all.remove(w)

    def failed(self, w: Waiter, rejectors: set[str], pending: set[str]) -> None:
        w.rejectors, w.pending, w.gate = set(rejectors), set(pending), ""
        if rejectors or pending:
            w.failures, w.errors = w.failures + 1, 0
        else:
            w.errors += 1
        self.order += 1
        w.since, w.order = self.clock(), self.order
        if not (rejectors or pending) or group_of(w.pod):
            worth = AFTER_BACKOFF
        else:
            worth = max((self.worth(w, e) for e in w.missed), default=SKIP)
        self.requeue(w, worth)

    def force(self, keys: list[str]) -> None:
        for key in keys:
            w = self.find(key)
            if w is not None and w.place == "flight":
                self.tell_flights(Event(WILDCARD, None, w.pod))
            elif w is not None and w.place != "active":
                self.activate(w, w.place == "backoff")

    def flush(self) -> None:
        for w in self.all:
            if w.place == "backoff" and not self.backs_off(w):
                self.activate(w, from_backoff=True)
        if self.clock() < self.next_leftovers:
            return
        self.next_leftovers = self.clock() + 30
        late = [w for w in self.waiting() if self.clock() - w.since > 300]
        for w in late:
            if not w.gate:
                self.requeue(w, self.worth(w, Event(WILDCARD)))
        if late:
            self.tell_flights(Event(WILDCARD))

    def places(self) -> Iterator[tuple[str, str]]:
        for w in self.all:
            yield key_of(w.pod), w.place

# SPDX-License-Identifier: Apache-2.0
"""Deciding a list of pods, one after another, where one that fits nowhere evicts others.

They leave at once, and it takes their place. What kube-scheduler does in two cycles, with the time in between for
victims to end, is one step.

Plain pods go to the engine in runs; a run ends at a pod that finds no place, so that the reason is told on the state
that it met. So do pods with volumes that do not touch each other. Other pods that stateful plugins concern, and all
pods while some are nominated, go one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.framework import cycle, preemption
from kubesched.framework import diagnosis as diagnoses
from kubesched.kernel import arrays
from kubesched.kernel.arrays import I32, I64, U8
from kubesched.kernel.native import Decisions, Evicting, Items, Options
from kubesched.state import live, rows
from kubesched.state.evictions import BoundPod

_MOST = 1024
"""Pods of one call (arbitrary)."""


@dataclass(slots=True)
class Evicted:
    """Decisions, who was evicted for each pod, and why a pod found no place; by position."""

    columns: Decisions
    victims: dict[int, list[str]] = field(default_factory=dict)
    messages: dict[int, str] = field(default_factory=dict)


def decide(
    state: live.ClusterState, options: Options, pods: Sequence[rows.PodRow], class_of: I32, evict: bool
) -> Evicted:
    """Decide pods and put them on their nodes; the pods table is kept up to date.

    Parameters
    ----------
    options
        The engine's; written back.
    class_of
        ``[n]``: engine class of each pod.
    evict
        False: nobody is evicted, each pod is asked about by name (for nominated pods).
    """
    if evict:
        state.evictions.know_all()
    out = Evicted(Decisions.empty(len(pods)))
    run = _Run(state, options, pods, class_of, evict, out)
    can_batch = evict and not state.evictions.has_nominated and not state.engine.has_users
    alone = cycle.are_concerned(state, class_of)
    alone |= state.evictions.has_nominated or not evict
    for begin, end, are_alone in cycle.runs(alone):
        if not are_alone:
            run.decide_plain(begin, end)
            continue
        sizes = cycle.BatchSizes()
        while begin < end:
            n = run.decide_batch(begin, min(begin + sizes.most, end), sizes) if can_batch else 0
            if n == 0:
                run.decide_alone(begin)
            begin += max(n, 1)
    return out


@dataclass(slots=True)
class _Columns:
    """Pods as the engine takes them."""

    begin: int
    keys: list[str]
    classes: I32
    priority: I32
    may_evict: U8
    started: I64
    budgets: I32


@dataclass(slots=True)
class _Run:
    state: live.ClusterState
    options: Options
    pods: Sequence[rows.PodRow]
    class_of: I32
    evict: bool
    out: Evicted

    def decide_plain(self, begin: int, end: int) -> None:
        """Pods without plugins of their own: one call up to each that finds no place."""
        pods = self._columns(begin, end)
        known: dict[tuple[int, int, bool], str] = {}
        at = 0
        while at < end - begin:
            n = self._call(pods, at, min(at + _MOST, end - begin))  # one without a place ends a call, so few at a time
            at += n
            if n > 1:
                known.clear()  # they say why on another state
            last = begin + at - 1
            if self.out.columns.node[last] < 0:
                pod = self.pods[last]
                who = int(self.class_of[last]), pod.priority, pod.preempts
                if who not in known:
                    known[who] = self._why(last)[0]
                self.out.messages[last] = known[who]

    def decide_batch(self, begin: int, end: int, sizes: cycle.BatchSizes) -> int:
        """Pods whose volumes do not touch each other: one call; how many it decided. 0: they must go one by one.

        It ends behind one without a place, or one that brought a node to a limit or away from it.
        """
        state = self.state
        n = state.batch([pod.key for pod in self.pods[begin:end]], self.class_of[begin:end].tolist(), cycle.LEAST_BATCH)
        if n > 0:
            pods = self._columns(begin, begin + n)
            n_done = self._call(pods, 0, n, [state.volumes.items(key) for key in pods.keys])
            if self.out.columns.node[begin + n_done - 1] < 0:
                self.out.messages[begin + n_done - 1] = self._why(begin + n_done - 1)[0]
            sizes.follow(n_done, n)
            return n_done
        sizes.follow(0, 0)
        return 0

    def _columns(self, begin: int, end: int) -> _Columns:
        pods, classes = self.pods[begin:end], self.class_of[begin:end]
        keys = [pod.key for pod in pods]
        return _Columns(
            begin,
            keys,
            classes,
            priority=arrays.int32([pod.priority for pod in pods]),
            may_evict=np.array([pod.preempts for pod in pods], dtype=np.uint8),
            started=arrays.int64([pod.started for pod in pods]),
            budgets=self.state.evictions.budget_sets(keys, pods),
        )

    def _call(self, pods: _Columns, first: int, last: int, items: Sequence[Items] | None = None) -> int:
        """One call for pods ``first`` to ``last`` of the columns; how many it decided, which are entered."""
        part = slice(first, last)
        columns, evicting = self.state.engine.place_evicting(
            self.options,
            pods.classes[part],
            pods.priority[part],
            pods.may_evict[part],
            pods.started[part],
            pods.budgets[part],
            items,
        )
        n, begin = len(columns.node), pods.begin + first
        cycle.copy(columns, self.out.columns, begin, begin + n)
        self._swap(begin, pods.keys[first : first + n], columns, evicting)
        return n

    def _swap(self, begin: int, keys: Sequence[str], columns: Decisions, evicting: Evicting) -> None:
        end = begin + len(keys)
        pods, classes = self.pods[begin:end], self.class_of[begin:end].tolist()
        placed = zip(pods, classes, columns.node.tolist(), columns.devices.tolist(), strict=True)
        victims = self.state.swap(keys, [BoundPod.of(*one) for one in placed], evicting)
        self.out.victims.update({begin + i: gone for i, gone in enumerate(victims) if gone})

    def decide_alone(self, at: int) -> None:
        """A pod that has to be asked about by name."""
        state, pod, classes = self.state, self.pods[at], self.class_of[at : at + 1]
        with state.evictions.asking(pod):
            found = cycle.decide(state, self.options, [pod.key], classes).columns
            cycle.copy(found, self.out.columns, at, at + 1)
            if found.node[0] < 0:
                message, post = self._why(at)
                if post.row < 0:
                    self.out.messages[at] = message
                    return
                self._take_place(at, post)
        if self.options.commit:
            columns = self.out.columns
            bound = BoundPod.of(pod, int(classes[0]), int(columns.node[at]), int(columns.devices[at]))
            state.remember([pod.key], [bound])
            state.evictions.withdraw(pod.key)

    def _take_place(self, at: int, post: preemption.PostFilter) -> None:
        state, pod, classes = self.state, self.pods[at], self.class_of[at : at + 1]
        state.release(list(post.victims))
        state.engine.bind(classes, arrays.int32([post.row]), None)
        state.reserve(pod.key, int(classes[0]), post.row)
        columns = self.out.columns
        columns.node[at], columns.score[at] = post.row, -1
        columns.ties[at] = columns.feasible[at] = 1
        self.out.victims[at] = list(post.victims)

    def _why(self, at: int) -> tuple[str, preemption.PostFilter]:
        """Text of the FailedScheduling event, and what PostFilter says."""
        state, pod, class_id = self.state, self.pods[at], int(self.class_of[at])
        why = diagnoses.Why(state, self.options.profile, pod, class_id)
        if not self.evict:
            return why.diagnosis.message(), preemption.PostFilter(diagnoses.UNSCHEDULABLE)
        post = preemption.post_filter(state, self.options.profile, pod, class_id, why, options=self.options)
        if post.row < 0 and self.options.commit and state.claims.concerns(state.shape_of(class_id)):
            state.claims.deallocate(pod.key, diagnoses.unavailable_rows(why.diagnosis))
        return f"{why.diagnosis.message()} {post.message}".strip(), post

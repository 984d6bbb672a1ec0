# SPDX-License-Identifier: Apache-2.0
"""Deciding a list of pods, one after another, where one that fits nowhere evicts others.

They leave at once, and it takes their place. What kube-scheduler does in two cycles, with the time in between for
victims to end, is one step.

Plain pods go to the engine in runs; a run ends at a pod that finds no place, so that the reason is told on the state
that it met. Pods that stateful plugins concern, and all pods while some are nominated, go one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.framework import cycle, preemption
from kubesched.framework import diagnosis as diagnoses
from kubesched.kernel import arrays
from kubesched.kernel.arrays import I32
from kubesched.kernel.native import Decisions, Evicting, Options
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
    alone = np.array([state.is_concerned(c) for c in class_of.tolist()], dtype=np.bool_)
    alone |= state.evictions.has_nominated or not evict
    for begin, end, are_alone in cycle.runs(alone):
        if are_alone:
            for at in range(begin, end):
                run.decide_alone(at)
        else:
            run.decide_plain(begin, end)
    return out


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
        pods, classes = self.pods[begin:end], self.class_of[begin:end]
        keys = [pod.key for pod in pods]
        priority = arrays.int32([pod.priority for pod in pods])
        may_evict = np.array([pod.preempts for pod in pods], dtype=np.uint8)
        started = arrays.int64([pod.started for pod in pods])
        budgets = self.state.evictions.budget_sets(pods)
        known: dict[tuple[int, int, bool], str] = {}
        at = 0
        while at < len(pods):
            part = slice(at, at + _MOST)  # a pod without a place ends a call, so that the rest must not cost much
            columns, evicting = self.state.engine.place_evicting(
                self.options, classes[part], priority[part], may_evict[part], started[part], budgets[part]
            )
            n = len(columns.node)
            cycle.copy(columns, self.out.columns, begin + at, begin + at + n)
            self._swap(begin + at, keys[at : at + n], columns, evicting)
            at += n
            if n > 1:
                known.clear()  # they say why on another state
            if columns.node[-1] < 0:
                last = begin + at - 1
                pod = self.pods[last]
                who = int(self.class_of[last]), pod.priority, pod.preempts
                if who not in known:
                    known[who] = self._why(last)[0]
                self.out.messages[last] = known[who]

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
        why = diagnoses.ask(state, self.options.profile, pod, class_id).diagnosis
        if not self.evict:
            return why.message(), preemption.PostFilter(diagnoses.UNSCHEDULABLE)
        post = preemption.post_filter(state, self.options.profile, pod, class_id, why)
        return f"{why.message()} {post.message}".strip(), post

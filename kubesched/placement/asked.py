# SPDX-License-Identifier: Apache-2.0
"""Pods that somebody asks to place, as columns: which are open, what decides each, and the plan that comes of them.

All work here is a few passes over lists; what depends on a pod's shape or profile alone is done once for each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from kubesched.base import errors
from kubesched.framework import diagnosis as diagnoses
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.kernel.arrays import I32, I64, NO_NODE
from kubesched.placement import plan as plans
from kubesched.state import live, rows

ProfileLike = str | profiles.Profile | profiles.ProfileMap


def all_of(profile: ProfileLike) -> list[profiles.Profile]:
    """The profiles that may decide a pod."""
    if isinstance(profile, profiles.ProfileMap):
        return [one for _, one in profile.profiles]
    return [profiles.find(profile) if isinstance(profile, str) else profile]


def _name_of(profile: ProfileLike) -> str:
    if isinstance(profile, profiles.ProfileMap):
        return ", ".join(name for name, _ in profile.profiles)
    return profile if isinstance(profile, str) else profile.name


@dataclass(slots=True)
class Asked:
    """Pods to decide; make it with `of`."""

    name: str
    """Of the profile."""
    pods: list[rows.PodRow]
    """As their profiles see them."""
    keys: list[str]
    profiles: list[profiles.Profile]
    """What decides each pod."""
    numbers: Mapping[int, int]
    """Engine id of each profile, by its ``id()``."""
    open: list[int] = field(default_factory=list)
    """Pods to decide, in order: those without gates."""
    open_keys: list[str] = field(default_factory=list)
    open_pods: list[rows.PodRow] = field(default_factory=list)

    @classmethod
    def of(cls, pods: list[rows.PodRow], profile: ProfileLike, numbers: Mapping[int, int]) -> Asked:
        """Give each pod its profile. O(pods).

        Raises
        ------
        UnsupportedError
            A plugin that the profile leaves out would have a say in a pod.
        """
        chosen = all_of(profile)
        if isinstance(profile, profiles.ProfileMap):
            decided_by = [profile.of(pod) for pod in pods]
        else:
            decided_by = chosen * len(pods)
        if any(one.adapts.changes_pods for one in chosen):
            pods = [one.adapts.pod(pod) for one, pod in zip(decided_by, pods, strict=True)]
        keys = [f"{pod.namespace}/{pod.name}" for pod in pods]
        made = cls(_name_of(profile), pods, keys, decided_by, numbers)
        made.set_order([i for i, pod in enumerate(pods) if not pod.scheduling_gates])
        return made

    def set_order(self, order: list[int]) -> None:
        """Decide these pods in this order."""
        self.open = order
        if len(order) == len(self.pods) and order == list(range(len(order))):
            self.open_keys, self.open_pods = self.keys, self.pods
            return
        self.open_keys = [self.keys[i] for i in order]
        self.open_pods = [self.pods[i] for i in order]

    @property
    def draws(self) -> bool:
        """Whether a profile draws ties even without a seed."""
        some = self.profiles[:1] if len(self.numbers) == 1 else self.profiles
        return any(profile.tie == "uniform" for profile in some)

    def profile_of(self) -> I32:
        """Engine profile of each open pod."""
        if len(self.numbers) == 1:
            return np.full(len(self.open), next(iter(self.numbers.values())), dtype=np.int32)
        return np.array([self.numbers[id(self.profiles[i])] for i in self.open], dtype=np.int32)

    def refuse_devices(self) -> None:
        """Raise if a pod shares devices and its profile does not look at them."""
        for at in [at for at, pod in enumerate(self.open_pods) if pod.shape.device_count]:
            profile = self.profiles[self.open[at]]
            if "GpuShare" not in profile.filters:
                what, expected = (
                    "shares devices, which the profile does not look at",
                    "a profile with the filter GpuShare",
                )
                raise errors.InputError(f"Pod {self.open_keys[at]}", what, profile.name, f"{expected}, such as packing")

    def plan(self, state: live.ClusterState, found: native.Decisions) -> plans.Plan:
        """The plan, given the decisions of the open pods; without the reasons of those that fit nowhere."""
        n, at = len(self.pods), np.array(self.open, dtype=np.int64)
        node, score, ties = np.full(n, NO_NODE, np.int32), np.full(n, -1, np.int64), np.zeros(n, np.int32)
        node[at], score[at], ties[at] = found.node, found.score, found.ties
        nodes = state.nodes.names_of(node)
        statuses = [plans.UNSCHEDULABLE if name is None else plans.PLACED for name in nodes]
        reasons = [""] * n
        for i in self._closed(at):
            statuses[i], reasons[i] = plans.GATED, diagnoses.gate_reason(self.pods[i].scheduling_gates)
        return plans.Plan(self.keys, nodes, node, score, ties, statuses, reasons, self.name)

    def _closed(self, at: I64) -> list[int]:
        if len(at) == len(self.pods):
            return []
        closed = np.ones(len(self.pods), dtype=np.bool_)
        closed[at] = False
        found: list[int] = np.flatnonzero(closed).tolist()
        return found

# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about gangs: pods of a PodGroup decided one by one, on copies of the nodes.

Written from the specification: PreEnqueue lets a gang's pods in once minCount of them exist; the cycle assumes each
pod that fits; Permit succeeds for a pod if minCount pods of its group run or are assumed by then; if it succeeded for
none, nothing is bound. Imports nothing of kubesched.

Source: pkg/scheduler (schedule_one_podgroup.go, framework/plugins/gangscheduling), v1.36.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

from tests import oracle
from tests.oracle import Obj

Decide = Callable[[Obj, list[oracle.Node]], Obj]
"""Decides one pod on nodes, as `oracle.decide` does."""


@dataclass
class Ending:
    """What became of the pods of a list, and of its groups."""

    node: list[int] = field(default_factory=list)
    """Index of the node; -1: none, -2: not let in."""
    fits: dict[str, bool] = field(default_factory=dict)
    """By name of the group: Permit succeeded for some pod."""
    messages: dict[str, list[str]] = field(default_factory=dict)
    """By name of the group: messages of the pods that did not fit, in order."""


def group_of(pod: Obj) -> str:
    return str(pod["spec"].get("schedulingGroup", {}).get("podGroupName", ""))


def place(
    nodes: list[oracle.Node],
    running: list[Obj],
    groups: dict[str, int | None],
    pods: list[Obj],
    decide: Decide = oracle.decide,
) -> Ending:
    """Decide a list of pods; nodes are changed.

    groups: minCount by name; None: the Basic policy. running: pods that count for their groups.
    """
    out = Ending([-1] * len(pods))
    seen: set[str] = set()
    for i, pod in enumerate(pods):
        name = group_of(pod)
        if pod["spec"].get("schedulingGates"):
            out.node[i] = -2
        elif not name:
            out.node[i] = bind(nodes, pod, decide)
        elif name not in seen:
            seen.add(name)
            members = [k for k, p in enumerate(pods) if group_of(p) == name and not p["spec"].get("schedulingGates")]
            members.sort(key=lambda k: -pods[k]["spec"].get("priority", 0))
            place_group(nodes, running, groups, pods, name, members, out, decide)
    return out


def bind(nodes: list[oracle.Node], pod: Obj, decide: Decide) -> int:
    best = decide(pod, nodes)
    if not best["feasible"]:
        return -1
    row = int(best["best"][0])
    nodes[row].add(pod)
    return row


def place_group(
    nodes: list[oracle.Node],
    running: list[Obj],
    groups: dict[str, int | None],
    pods: list[Obj],
    name: str,
    members: list[int],
    out: Ending,
    decide: Decide,
) -> None:
    exist = sum(group_of(p) == name for p in running + pods)
    least = groups.get(name)
    if name not in groups or (least is not None and exist < least):
        for k in members:
            out.node[k] = -2
        return
    trial = copy.deepcopy(nodes)
    scheduled = sum(group_of(p) == name for p in running)
    permitted, chosen, out.messages[name] = False, {}, []
    for k in members:
        answer = decide(pods[k], trial)
        chosen[k] = bind(trial, pods[k], decide)
        if chosen[k] < 0:
            out.messages[name].append(answer["message"])
            continue
        scheduled += 1
        permitted = permitted or least is None or scheduled >= least
    out.fits[name] = permitted
    if permitted:
        nodes[:] = trial
        for k, row in chosen.items():
            out.node[k] = row

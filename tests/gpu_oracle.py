# SPDX-License-Identifier: Apache-2.0
"""The slow truth of the GPU-share policies, from their published definitions; imports nothing of kubesched.

Source: Weng et al., "Beware of Fragmentation", USENIX ATC 2023, and the behaviour of its published simulator.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field


@dataclass
class Pod:
    cpu: int
    count: int = 0
    milli: int = 0
    models: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        return "share" if self.milli < 1000 else f"{self.count}-gpu"


@dataclass
class Node:
    cpu: int
    left: list[int]
    model: str | None = None
    kinds: dict[str, int] = field(default_factory=dict)


def accessible(node: Node, pod: Pod) -> bool:
    return not pod.models or node.model in pod.models


def fits(node: Node, pod: Pod) -> bool:
    if node.cpu < pod.cpu:
        return False
    if pod.count == 0:
        return True
    return accessible(node, pod) and sum(left >= pod.milli for left in node.left) >= pod.count


def fragmented(node: Node, typical: list[tuple[Pod, float]]) -> float:
    total = sum(node.left)
    out = dict.fromkeys(("both", "gpu", "ok", "cpu", "xl", "xr", "no"), 0.0)
    for pod, frequency in typical:
        cpu_ok = node.cpu >= pod.cpu
        if pod.milli == 0:
            out["xl" if cpu_ok else "xr"] += frequency * total
        elif not accessible(node, pod):
            out["no"] += frequency * total
        elif sum(left >= pod.milli for left in node.left) >= pod.count:
            if cpu_ok:
                out["gpu"] += frequency * sum(left for left in node.left if left < pod.milli)
            else:
                out["cpu"] += frequency * total
        else:
            out["gpu" if cpu_ok else "both"] += frequency * total
    return sum(value for name, value in out.items() if name != "ok")


def step(before: float, after: float) -> int:
    return int(1 / (1 + math.exp(-(before - after) / 1000)) * 100)


def fgd(node: Node, pod: Pod, typical: list[tuple[Pod, float]]) -> tuple[int, list[int]]:
    """Score, and the devices that a pod would take."""
    before = fragmented(node, typical)
    if pod.count == 1 and pod.milli < 1000:
        best, chosen = 0, -1
        for d, left in enumerate(node.left):
            if left >= pod.milli:
                after = Node(
                    node.cpu - pod.cpu, [x - pod.milli * (k == d) for k, x in enumerate(node.left)], node.model
                )
                score = step(before, fragmented(after, typical))
                if chosen < 0 or score > best:
                    best, chosen = score, d
        return best, [chosen]
    taken = [d for d, left in enumerate(node.left) if left == 1000][: pod.count]
    after = Node(node.cpu - pod.cpu, [0 if d in taken else x for d, x in enumerate(node.left)], node.model)
    return step(before, fragmented(after, typical)), taken


def best_fit_devices(node: Node, pod: Pod) -> list[int]:
    if pod.count == 0:
        return []
    if pod.milli == 1000:
        return [d for d, left in enumerate(node.left) if left == 1000][: pod.count]
    return [min((d for d, left in enumerate(node.left) if left >= pod.milli), key=lambda d: (node.left[d], d))]


def score(policy: str, node: Node, pod: Pod, typical: list[tuple[Pod, float]]) -> int:
    total, asked = sum(node.left), pod.count * pod.milli
    if policy == "fgd":
        return fgd(node, pod, typical)[0]
    if policy == "bestfit":
        rest = (node.cpu - pod.cpu) / 128000 * 0.5
        rest += (total - asked) / 8000 * 0.5
        return int((1 - rest) * 100)
    if policy == "dotprod":
        product = (node.cpu / 128000) * (pod.cpu / 128000)
        product += (total / 8000) * (asked / 8000)
        return int(100 * (1 - product / 2))
    if policy == "random" or pod.count == 0:
        return 0
    if policy == "clustering":
        quarter = 0 if node.kinds else 25
        if node.kinds.get(pod.kind):
            quarter = 75 if len(node.kinds) == 1 else 50
        return int(25 * (8000 - total) / 8000) + quarter
    whole = sum(left == 1000 for left in node.left)  # packing
    if whole == len(node.left):
        return max(33 - whole, whole)
    taken = sorted(left for left in node.left if left >= pod.milli)[: pod.count]
    used_whole = sum(left == 1000 for left in taken)
    if used_whole:
        return max(50 - used_whole, 33)
    return max(100 - sum(left * 100 // 1000 for left in taken) // 10, 50)


def take(node: Node, pod: Pod, devices: list[int]) -> None:
    node.cpu -= pod.cpu
    for d in devices:
        node.left[d] -= pod.milli
    if pod.count:
        node.kinds[pod.kind] = node.kinds.get(pod.kind, 0) + 1

# SPDX-License-Identifier: Apache-2.0
"""The slow truth of the GPU-share policies; standard library only, nothing of kubesched.

Six policies, as their authors ran them: Random (the device of a share is drawn as well), DotProd (dimensions merged,
normalised by the largest machine), Clustering, Packing, BestFit (these four give a share the tightest device) and FGD
(which chooses the device itself). Scores are raw, 0..100, before the framework compares them; ties between nodes go to
the lowest name there. Two things of the simulator are not repeated: BestFit's scores are left unstretched
(``stretched`` says why the best nodes are the same), and FGD's shortcut for pods that request nothing at all, which
gives every node 100 where the formula gives every node 50.

Source: Weng et al., "Beware of Fragmentation", USENIX ATC 2023, and the behaviour of its published simulator
(hkust-adsl/kubernetes-scheduler-simulator: pkg/simulator/plugin, pkg/utils, pkg/type).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

POLICIES = ("random", "dotprod", "clustering", "packing", "bestfit", "fgd")
WHOLE = 1000
MAX_CPU, MAX_GPU = 128_000, 8_000
"""The largest machine, in thousandths: what policies normalise by."""


@dataclass(frozen=True)
class Pod:
    """What a pod asks for: cpu in thousandths, bytes, devices, thousandths of each, models joined by ``|``."""

    cpu: int
    memory: int = 0
    count: int = 0
    milli: int = 0
    models: str = ""

    @property
    def is_share(self) -> bool:
        return self.count == 1 and self.milli < WHOLE

    @property
    def kind(self) -> str:
        """What clustering keeps together; empty for a pod without devices."""
        if self.count == 0:
            return ""
        return "share" if self.is_share else f"{self.count}-gpu"

    @property
    def total_milli(self) -> int:
        return self.count * self.milli


@dataclass
class Node:
    """What is left of a node, and the kinds of the pods that hold its devices."""

    cpu: int
    memory: int = 0
    left: list[int] = field(default_factory=list)
    model: str = ""
    kinds: dict[str, int] = field(default_factory=dict)

    def after(self, pod: Pod, devices: list[int]) -> Node:
        left = [x - pod.milli * (d in devices) for d, x in enumerate(self.left)]
        return Node(self.cpu - pod.cpu, self.memory - pod.memory, left, self.model, dict(self.kinds))


Typical = list[tuple[Pod, float]]
"""Typical pods and their frequencies, which add up to 1."""

# ---- filter ----


def accessible(node: Node, pod: Pod) -> bool:
    if not pod.models:
        return True
    names = [name for name in pod.models.split("|") if name]
    return bool(node.model) and (not names or node.model in names)


def has_devices(node: Node, pod: Pod) -> bool:
    """One device with enough left; several pods' worth may share a device only if the pod asks for several."""
    if pod.count == 1:
        return any(left >= pod.milli for left in node.left)
    return sum(left // pod.milli for left in node.left) >= pod.count


def feasible(node: Node, pod: Pod) -> bool:
    if node.cpu < pod.cpu or node.memory < pod.memory:
        return False
    return pod.count == 0 or pod.milli == 0 or (accessible(node, pod) and has_devices(node, pod))


# ---- fragmentation ----


def class_of(node: Node, pod: Pod) -> str:
    """How a typical pod meets a node."""
    cpu_fits = node.cpu >= pod.cpu
    if pod.milli == 0:
        return "no device, fits" if cpu_fits else "no device, lacks cpu"
    if not accessible(node, pod):
        return "no access"
    if sum(left >= pod.milli for left in node.left) >= pod.count:
        return "satisfied" if cpu_fits else "lacks cpu"
    return "lacks gpu" if cpu_fits else "lacks both"


CLASSES = (
    "lacks both",
    "lacks gpu",
    "satisfied",
    "lacks cpu",
    "no device, fits",
    "no device, lacks cpu",
    "no access",
)
"""In the order in which the simulator adds them up: the rounding of the sum decides scores at the margin."""


def fragmented(node: Node, typical: Typical) -> float:
    """Thousandths of devices that typical demand cannot use; for a satisfied pod those of too full devices."""
    parts = dict.fromkeys(CLASSES, 0.0)
    total = sum(node.left)
    for pod, frequency in typical:
        found = class_of(node, pod)
        if found == "satisfied":
            parts["lacks gpu"] += frequency * float(sum(left for left in node.left if left < pod.milli))
        else:
            parts[found] += frequency * float(total)
    out = 0.0
    for name in CLASSES:
        if name != "satisfied":
            out += parts[name]
    return out


def typical_pods(pods: list[Pod], popularity: int = 95) -> Typical:
    """The most frequent pods, memory disregarded, that together make up ``popularity`` percent of all.

    The models are part of the key as they are written. Ties in number: more cpu first, then larger shares, then more
    devices, then the models' text, descending.
    """
    counts: dict[tuple[int, int, int, str], int] = {}
    for pod in pods:
        key = (pod.cpu, pod.milli, pod.count, pod.models)
        counts[key] = counts.get(key, 0) + 1
    ranked = sorted(((n, key) for key, n in counts.items()), reverse=True)
    total, covered = float(len(pods)), 0.0
    chosen: list[tuple[int, tuple[int, int, int, str]]] = []
    while covered < popularity * total / 100.0:
        chosen.append(ranked[len(chosen)])
        covered += chosen[-1][0]
    scale = covered / total
    return [(Pod(cpu, 0, count, milli, models), n / total / scale) for n, (cpu, milli, count, models) in chosen]


# ---- devices ----


def lowest_free(node: Node, pod: Pod) -> list[int]:
    free = [d for d, left in enumerate(node.left) if left == WHOLE]
    return free[: pod.count]


def fitting(node: Node, pod: Pod) -> list[int]:
    return [d for d, left in enumerate(node.left) if left >= pod.milli]


def choices(policy: str, node: Node, pod: Pod, typical: Typical) -> list[list[int]]:
    """Devices that the pod may get: one choice, but for shares under ``random``, where each is equally likely."""
    if pod.count == 0:
        return [[]]
    if not pod.is_share:
        return [lowest_free(node, pod)]
    if policy == "random":
        return [[d] for d in fitting(node, pod)]
    if policy == "fgd":
        return [[fgd_share(node, pod, typical)[1]]]
    return [[min(fitting(node, pod), key=lambda d: (node.left[d], d))]]


# ---- scores ----


def fgd_step(before: float, after: float) -> int:
    return int(1.0 / (1.0 + math.exp(-((before - after) / 1000))) * 100.0)


def fgd_share(node: Node, pod: Pod, typical: Typical) -> tuple[int, int]:
    """Best score over the devices, and the first device that has it."""
    before = fragmented(node, typical)
    scores = [(fgd_step(before, fragmented(node.after(pod, [d]), typical)), d) for d in fitting(node, pod)]
    return max(scores, key=lambda s: (s[0], -s[1]))


def fgd(node: Node, pod: Pod, typical: Typical) -> int:
    if pod.is_share:
        return fgd_share(node, pod, typical)[0]
    after = node.after(pod, lowest_free(node, pod))
    return fgd_step(fragmented(node, typical), fragmented(after, typical))


def best_fit(node: Node, pod: Pod) -> int:
    rest = 0.0
    rest += float(node.cpu - pod.cpu) / MAX_CPU * 0.5
    rest += float(sum(node.left) - pod.total_milli) / MAX_GPU * 0.5
    return int((1.0 - rest) * 100.0)


def stretched(raw: list[int]) -> list[int]:
    """How the simulator spreads BestFit's scores over 0..100 (all 0 if they are equal).

    Scores lie in 0..100, so their range r is at most 100 and (s - low) * 100 // r grows by 100 // r >= 1 with each
    step of s: strictly increasing, the best nodes stay the same. Where all are equal, all stay the best.
    """
    low, high = min(raw), max(raw)
    return [(s - low) * 100 // (high - low) if high > low else 0 for s in raw]


def dot_product(node: Node, pod: Pod) -> int:
    product = 0.0
    product += (float(node.cpu) / MAX_CPU) * (float(pod.cpu) / MAX_CPU)
    product += (float(sum(node.left)) / MAX_GPU) * (float(pod.total_milli) / MAX_GPU)
    return int(100.0 * (1 - product / 2))


def clustering(node: Node, pod: Pod) -> int:
    """Only pods of the same kind: 75..100; among others: 50..75; no pods with devices: 25..50; else 0..25."""
    if pod.count == 0:
        return 0
    fullness = 25 * (MAX_GPU - sum(node.left)) // MAX_GPU
    if pod.kind in node.kinds:
        return fullness + (75 if len(node.kinds) == 1 else 50)
    return fullness + (0 if node.kinds else 25)


def packing(node: Node, pod: Pod) -> int:
    """Shared devices, the fullest best: 50..100; free devices of a used node: 33..50; a free node: up to 33."""
    if pod.milli == 0:
        return 0
    free = sum(left == WHOLE for left in node.left)
    if free == len(node.left):
        return max(33 - free, free)
    taken = sorted(left for left in node.left if left >= pod.milli)[: pod.count]
    newly_used = sum(left == WHOLE for left in taken)
    if newly_used:
        return max(50 - newly_used, 33)
    return max(100 - sum(left * 100 // WHOLE for left in taken) // 10, 50)


def score(policy: str, node: Node, pod: Pod, typical: Typical) -> int:
    """Raw score of a feasible node."""
    match policy:
        case "random":
            return 0  # one node is drawn among the feasible ones
        case "dotprod":
            return dot_product(node, pod)
        case "clustering":
            return clustering(node, pod)
        case "packing":
            return packing(node, pod)
        case "bestfit":
            return best_fit(node, pod)
        case "fgd":
            return fgd(node, pod, typical)
    raise ValueError(policy)


# ---- accounting ----


def take(node: Node, pod: Pod, devices: list[int], sign: int = 1) -> None:
    """Put a pod on a node, or with sign -1 take it off again."""
    node.cpu -= sign * pod.cpu
    node.memory -= sign * pod.memory
    for d in devices:
        node.left[d] -= sign * pod.milli
    if pod.count:
        node.kinds[pod.kind] = node.kinds.get(pod.kind, 0) + sign
        if node.kinds[pod.kind] == 0:
            del node.kinds[pod.kind]

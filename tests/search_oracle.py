# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about decisions that look at some of the nodes only (percentageOfNodesToScore).

The filters and scores are those of the other oracles; here are the order of nodes, the place where a search begins, and
where it ends. Written as upstream's search goes with one worker. Imports nothing of kubesched.

Sources: schedule_one.go, backend/cache/node_tree.go, backend/cache/cache.go (UpdateSnapshot), v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests import decision_oracle, preemption_oracle
from tests.oracle import Obj
from tests.preemption_oracle import World

ZONE = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone")
REGION = ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region")


def zone_of(node: Obj) -> tuple[str, str]:
    labels = node["metadata"].get("labels") or {}
    region, zone = (next((labels[key] for key in keys if key in labels), "") for keys in (REGION, ZONE))
    return region, zone


class Tree:
    """Names of nodes by zone, and the list of them that decisions see."""

    def __init__(self, nodes: Sequence[Obj]) -> None:
        self.zones: list[tuple[tuple[str, str], list[str]]] = []
        self.seen: list[str] = []
        for node in nodes:
            self.add(node)

    def add(self, node: Obj) -> None:
        zone, name = zone_of(node), node["metadata"]["name"]
        for known, names in self.zones:
            if known == zone:
                names.append(name)
                return
        self.zones.append((zone, [name]))

    def delete(self, name: str) -> None:
        for _, names in self.zones:
            if name in names:
                names.remove(name)
        self.zones = [zone for zone in self.zones if zone[1]]

    def update(self, node: Obj) -> None:
        name = node["metadata"]["name"]
        if not any(zone == zone_of(node) and name in names for zone, names in self.zones):
            self.delete(name)
            self.add(node)

    def snapshot(self) -> list[str]:
        """The list, made anew only if other names are there than at the last decision."""
        if {name for _, names in self.zones for name in names} != set(self.seen):
            deepest = max((len(names) for _, names in self.zones), default=0)
            self.seen = [names[i] for i in range(deepest) for _, names in self.zones if i < len(names)]
        return self.seen


def quota(percentage: int, n: int) -> int:
    if n < 100:
        return n
    if percentage == 0:
        percentage = max(50 - n // 125, 5)
    return max(n * percentage // 100, 100)


class Scheduler:
    """Decides pods one after another; the place of the next search is its own."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.next = 0

    def decide(self, pod: Obj, world: World, percentage: int) -> Obj:
        """As `decision_oracle.decide`, with the nodes that were found in ``feasible``."""
        order = self.tree.snapshot()
        answer = preemption_oracle.decide(pod, world)
        if "status" not in answer or not world.nodes:
            return answer  # gated, rejected by PreFilter, or the pod's nominated node
        index = {node.name: i for i, node in enumerate(world.nodes)}
        left = answer.get("preFilter", {}).get("nodes")
        nodes = [index[name] for name in order if left is None or index[name] in left]
        wanted, found, rejected = quota(percentage, len(nodes)), list[int](), 0
        for i in range(len(nodes)):
            node = nodes[(self.next + i) % len(nodes)]
            if answer["status"][node] is not None:
                rejected += 1
            elif len(found) == wanted:
                break
            else:
                found.append(node)
        self.next = (self.next + len(found) + rejected) % len(order)
        answer["feasible"] = sorted(found)
        return answer | (decision_oracle.scores(pod, world, answer["feasible"]) if found else {})

# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about a whole decision of the default profile: the other oracles put together.

Filters in order, with nominated pods in mind (tests/preemption_oracle.py); scores of the plugins that look at one node
(tests/oracle.py) and of those that look at other pods (tests/pairwise_oracle.py); eviction; Reserve of volumes;
sequences and the operations of recorded cases. Not decided: claims on devices. Imports nothing of kubesched.

Source: pkg/scheduler (schedule_one.go, apis/config/v1/default_plugins.go), v1.36.
"""

from __future__ import annotations

from tests import oracle, pairwise_oracle, preemption_oracle, volume_oracle
from tests.oracle import Node, Obj
from tests.preemption_oracle import World

PLUGINS = (
    ("TaintToleration", 3),
    ("NodeAffinity", 2),
    ("NodeResourcesFit", 1),
    ("PodTopologySpread", 2),
    ("InterPodAffinity", 2),
    ("DynamicResources", 2),
    ("NodeResourcesBalancedAllocation", 1),
    ("ImageLocality", 1),
)

build = preemption_oracle.build


def decide(pod: Obj, world: World) -> Obj:
    """As `oracle.decide`, with every plugin."""
    if pod["spec"].get("schedulingGates") or not world.nodes:
        return oracle.decide(pod, world.nodes)
    if pod["spec"].get("resourceClaims"):
        raise NotImplementedError("claims on devices")
    result = preemption_oracle.decide(pod, world)
    if not result["feasible"] or "best" in result:
        return result
    return result | scores(pod, world, result["feasible"])


def decide_within(pod: Obj, world: World, rows: list[int]) -> Obj:
    """As `decide`, where only some nodes may be chosen: what other pods say is still counted over all of them."""
    whole = decide(pod, world)
    if "status" not in whole:
        everywhere = f"0/{len(world.nodes)} "
        return whole | {"message": whole["message"].replace(everywhere, f"0/{len(rows)} ", 1)}
    feasible = [i for i in whole["feasible"] if i in rows]
    if not feasible:
        reasons = oracle.histogram([whole["status"][i] for i in rows])
        return {"feasible": [], "message": oracle.fit_error(len(rows), reasons)}
    return {"feasible": feasible} | scores(pod, world, feasible)


def scores(pod: Obj, world: World, feasible: list[int]) -> Obj:
    chosen = [world.nodes[i] for i in feasible]
    found = {
        "PodTopologySpread": pairwise_oracle.spread_scores(pod, world.nodes, chosen, world.defaults),
        "InterPodAffinity": pairwise_oracle.affinity_scores(pod, world.nodes, chosen, world.namespaces),
    }
    plugins = tuple((name, weight) for name, weight in PLUGINS if found.get(name, "") is not None)
    others = {name: columns for name, columns in found.items() if columns is not None}
    return oracle.score_all(oracle.Ask(pod), world.nodes, feasible, oracle.Profile(plugins), others)


# ---- sequences ----


class Sequence:
    """Decisions one after another in a cluster that changes; nodes are numbered as in a recorded case."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.names: list[str] = [n.name for n in world.nodes]
        """By number; those of deleted nodes are not used again."""
        self.images = world.nodes[0]._known if world.nodes else {}
        self.out: Obj = {"node": [], "ties": [], "feasible": [], "score": []}

    def _number(self, index: int) -> int:
        name = self.world.nodes[index].name
        return len(self.names) - 1 - self.names[::-1].index(name)

    def _record(self, node: int, ties: int, feasible: int, score: int) -> None:
        for name, value in (("node", node), ("ties", ties), ("feasible", feasible), ("score", score)):
            self.out[name].append(value)

    def schedule(self, pod: Obj, preempt: bool = False) -> Obj:
        """Decide; assume the pod on the first of the best nodes, or where it may evict. Returns the decision."""
        d = decide(pod, self.world)
        best = d.get("best", [])
        evicts = (d.get("preemption") or {}).get("nominatedNode", -1) if preempt else -1
        if best:
            scored = max(d["total"]) if len(d["feasible"]) > 1 else -1
            self._record(self._number(best[0]), len(best), len(d["feasible"]), scored)
            self._assume(pod, self.world.nodes[best[0]])
        elif evicts >= 0:
            self._evict(pod, self.world.nodes[evicts], d["preemption"])
            self._record(self._number(evicts), 1, 1, -1)
        else:
            self._record(-2 if "gated" in d else -1, 0, 0, -1)
        return d

    def _evict(self, pod: Obj, node: Node, answer: Obj) -> None:
        step = str(len(self.out["node"]))
        self.out.setdefault("victims", {})[step] = answer["victims"]
        if len(answer["tie"]) > 1:
            self.out.setdefault("preemptTies", {})[step] = len(answer["tie"])
        for other in [p for p in node.pods if preemption_oracle.key(p) in answer["victims"]]:
            node.remove(other)
        self._assume(pod, node)

    def _assume(self, pod: Obj, node: Node) -> None:
        volume_oracle.reserve(pod, node, self.world.storage)
        node.add(pod)

    def delete_pod(self, key: str) -> None:
        """Nothing happens if it runs nowhere."""
        for node in self.world.nodes:
            for other in [p for p in node.pods if preemption_oracle.key(p) == key]:
                node.remove(other)

    def add_node(self, obj: Obj) -> None:
        self.world.nodes.append(Node(obj, self.images))
        self.names.append(obj["metadata"]["name"])

    def update_node(self, obj: Obj) -> None:
        next(n for n in self.world.nodes if n.name == obj["metadata"]["name"]).update(obj)

    def delete_node(self, name: str) -> None:
        """Its pods count no more."""
        node = next(n for n in self.world.nodes if n.name == name)
        node.drop_images()
        self.world.nodes.remove(node)

    def run(self, op: Obj) -> None:
        """One operation of a recorded case."""
        match op["op"]:
            case "schedule":
                self.schedule(op["pod"], op.get("preempt", False))
            case "deletePod":
                self.delete_pod(op["name"])
            case "addNode":
                self.add_node(op["node"])
            case "updateNode":
                self.update_node(op["node"])
            case "deleteNode":
                self.delete_node(op["name"])
            case other:
                raise ValueError(other)


def replay(case: Obj) -> Obj:
    """A recorded sequence, of pods or of operations."""
    sequence = Sequence(build(case))
    for op in case.get("ops") or [{"op": "schedule", "pod": pod} for pod in case["sequence"]]:
        sequence.run(op)
    return sequence.out

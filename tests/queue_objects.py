# SPDX-License-Identifier: Apache-2.0
"""Random pods and nodes from small pools, so that rules meet; what tests of the queue and the loop share."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from kubesched.scheduler import encode, events
from tests import builders

Obj = dict[str, Any]
ZONE = "zone"


def view_of(pod: Obj) -> events.PodView:
    return events.view(pod, encode.pod_row(pod))


class RandomObjects:
    """Objects drawn from a seed; names are never used twice."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.Generator(np.random.PCG64(seed))
        self.number = 0

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def one(self, of: Any) -> Any:
        return of[int(self.rng.integers(0, len(of)))]

    def name(self, kind: str) -> str:
        self.number += 1
        return f"{kind}{self.number}"

    def labels(self) -> dict[str, str]:
        return {"app": self.one("abc")} | ({"tier": "x"} if self.chance(0.3) else {})

    def selector(self) -> Obj:
        return {"matchLabels": {"app": self.one("abc")}}

    def toleration(self) -> Obj:
        keys = ["t", "u", "node.kubernetes.io/unschedulable"]
        return {"key": self.one(keys), "operator": "Exists", "effect": "NoSchedule"}

    def pod(self) -> Obj:
        ports = (builders.host_port(80 + int(self.rng.integers(0, 2))),) if self.chance(0.3) else ()
        made = builders.make_pod(self.name("p"), self.one(["one", "two"]))
        made.container(cpu=str(self.rng.integers(1, 4)), ports=ports).priority(int(self.rng.integers(0, 3)))
        if self.chance(0.2):
            made.select(ZONE, self.one("xy"))
        if self.chance(0.15):
            made.gate("wait")
        pod = made.build()
        spec = pod["spec"]
        pod["metadata"]["labels"] = self.labels()
        if self.chance(0.3):
            spec["tolerations"] = [self.toleration()]
        if self.chance(0.3):
            policy = {"nodeTaintsPolicy": self.one(["Honor", "Ignore"])}
            rule = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
            spec["topologySpreadConstraints"] = [rule | policy | {"labelSelector": self.selector()}]
        for kind in ("podAffinity", "podAntiAffinity"):
            if self.chance(0.3):
                term = {"topologyKey": self.one([ZONE, builders.HOSTNAME]), "labelSelector": self.selector()}
                more = self.one([{}, {"namespaces": ["one"]}, {"namespaceSelector": {}}])
                rule = {"requiredDuringSchedulingIgnoredDuringExecution": [term | more]}
                spec.setdefault("affinity", {})[kind] = rule
        if self.chance(0.2):
            spec["schedulingGroup"] = {"podGroupName": self.one("gh")}
        return pod

    def changed_pod(self, pod: Obj) -> Obj:
        new = copy.deepcopy(pod)
        spec = new["spec"]
        if self.chance(0.3):
            new["metadata"]["labels"] = self.labels()
        if self.chance(0.3):
            spec.setdefault("tolerations", []).append(self.toleration())
        if self.chance(0.3):
            spec.pop("schedulingGates", None)
        if self.chance(0.3):
            spec["containers"][0]["resources"]["requests"]["cpu"] = "1"
        return new

    def node(self, name: str) -> Obj:
        made = builders.make_node(name).cpu(str(self.rng.integers(1, 5))).pods(int(self.rng.integers(0, 3)))
        if self.chance(0.7):
            made.label(ZONE, self.one("xy"))
        for key in "tu":
            if self.chance(0.2):
                made.taint(key, self.one(["NoSchedule", "PreferNoSchedule"]))
        if self.chance(0.3):
            made.unschedulable()
        return made.build()

# SPDX-License-Identifier: Apache-2.0
"""Random clusters with claims and volumes of every kind, in the form of recorded cases. Knows no kubesched."""

from __future__ import annotations

import random
from typing import Any

Obj = dict[str, Any]
ZONE, REGION, BETA_ZONE = (
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
)
DRIVERS = ("csi.one", "csi.two")
MODES = (["ReadWriteOnce"], ["ReadWriteMany", "ReadWriteOnce"], ["ReadOnlyMany"], ["ReadWriteOncePod"])


def _term(key: str, *values: str) -> Obj:
    return {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}


class Maker:
    """Draws one case after another from a seed."""

    def __init__(self, seed: int, n_nodes: int) -> None:
        self.rng = random.Random(seed)
        self.names = [f"n{i}" for i in range(n_nodes)]
        self.claims: list[Obj] = []
        self.volumes: list[Obj] = []

    def some(self, chance: float) -> bool:
        return self.rng.random() < chance

    def zone(self) -> str:
        return self.rng.choice(["a", "b", "c"])

    # ---- nodes ----

    def node(self, name: str) -> Obj:
        labels = {"kubernetes.io/hostname": name}
        if self.some(0.85):
            labels[BETA_ZONE if self.some(0.2) else ZONE] = self.zone()
        if self.some(0.3):
            labels[REGION] = self.rng.choice(["r", "s"])
        if self.some(0.5):
            labels["disk"] = str(self.rng.choice(["ssd", "hdd", 5, 12]))
        allocatable = {"cpu": str(self.rng.randint(2, 8)), "memory": "16Gi", "pods": str(self.rng.randint(4, 20))}
        return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": allocatable}}

    def csi_node(self, name: str) -> Obj:
        counts = {driver: {"count": self.rng.randint(0, 4)} for driver in [*DRIVERS, "ebs.csi.aws.com"]}
        drivers = [
            {"name": driver, "nodeID": name} | ({"allocatable": count} if self.some(0.8) else {})
            for driver, count in counts.items()
            if self.some(0.7)
        ]
        return {"metadata": {"name": name}, "spec": {"drivers": drivers}}

    # ---- classes, drivers, free space ----

    def classes(self) -> list[Obj]:
        delayed = {"volumeBindingMode": "WaitForFirstConsumer"}
        made = [
            {"metadata": {"name": "local"}, "provisioner": "kubernetes.io/no-provisioner"} | delayed,
            {"metadata": {"name": "one"}, "provisioner": "csi.one"} | delayed,
            {"metadata": {"name": "two"}, "provisioner": "csi.two"} | delayed,
            {"metadata": {"name": "ebs"}, "provisioner": "kubernetes.io/aws-ebs"} | delayed,
            {"metadata": {"name": "now"}, "provisioner": "csi.one", "volumeBindingMode": "Immediate"},
        ]
        if self.some(0.1):
            made.append({"metadata": {"name": "none"}, "provisioner": "csi.one"})
        if self.some(0.6):
            zones = [self.zone(), self.zone()]
            made[1]["allowedTopologies"] = [{"matchLabelExpressions": [{"key": ZONE, "values": zones}]}]
        return made

    def drivers(self) -> list[Obj]:
        return [{"metadata": {"name": name}, "spec": {"storageCapacity": self.some(0.5)}} for name in DRIVERS]

    def capacity(self, number: int) -> Obj:
        size = f"{self.rng.randint(1, 12)}Gi"
        out: Obj = {"metadata": {"name": f"c{number}"}, "storageClassName": self.rng.choice(["one", "two"])}
        if self.some(0.9):
            out["nodeTopology"] = {"matchLabels": {ZONE: self.zone()}} if self.some(0.7) else {}
        if self.some(0.9):
            out["capacity"] = size
        if self.some(0.3):
            out["maximumVolumeSize"] = f"{self.rng.randint(1, 6)}Gi"
        return out

    # ---- volumes and claims ----

    def affinity(self) -> Obj | None:
        kind = self.rng.randrange(5)
        if kind == 0:
            return None
        if kind == 1:
            terms = [_term("kubernetes.io/hostname", *self.rng.sample(self.names, k=min(2, len(self.names))))]
        elif kind == 2:
            terms = [_term(ZONE, self.zone()), _term(BETA_ZONE, self.zone())]
        elif kind == 3:
            operator, values = self.rng.choice([("Exists", []), ("NotIn", ["ssd"]), ("Gt", ["7"]), ("In", [])])
            terms = [{"matchExpressions": [{"key": "disk", "operator": operator, "values": values}]}, {}]
        else:
            terms = [_term("kubernetes.io/hostname", self.rng.choice(self.names))]
        return {"required": {"nodeSelectorTerms": terms}}

    def volume(self, number: int) -> Obj:
        spec: Obj = {"capacity": {"storage": f"{self.rng.randint(1, 9)}Gi"}, "accessModes": self.rng.choice(MODES)}
        spec["storageClassName"] = self.rng.choice(["local", "local", "one", "two", "ebs"])
        source = self.rng.randrange(4)
        if source == 0:
            spec["awsElasticBlockStore"] = {"volumeID": self.rng.choice(["", "aws://z/", "aws:///"]) + f"vol-{number}"}
        elif source == 1:
            spec["local"] = {"path": "/d"}
        else:
            spec["csi"] = {"driver": self.rng.choice(DRIVERS), "volumeHandle": f"h{self.rng.randint(0, number)}"}
        affinity = self.affinity()
        if affinity is not None:
            spec["nodeAffinity"] = affinity
        if self.some(0.05):
            spec["volumeMode"] = "Block"
        labels = {}
        if self.some(0.3):
            labels[self.rng.choice([ZONE, BETA_ZONE])] = self.rng.choice([self.zone(), "a__b", "b__", " c "])
        if self.some(0.2):
            labels["tier"] = "gold"
        metadata: Obj = {"name": f"v{number}", "labels": labels}
        if self.some(0.03):
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        phase = "Available" if self.some(0.9) else "Released"
        return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}

    def claim(self, name: str, owner: str = "") -> Obj:
        metadata: Obj = {"name": name, "namespace": "default", "annotations": {}}
        spec: Obj = {"accessModes": self.rng.choice(MODES)}
        size = self.rng.choice(["1Gi", "2Gi", "3Gi", "1500Mi", "0.5Gi"])
        spec["resources"] = {"requests": {"storage": size}} if self.some(0.95) else {}
        spec["storageClassName"] = self.rng.choice(["local", "local", "one", "two", "ebs"])
        if owner:
            uid = f"default/{owner}" if self.some(0.9) else "another"
            metadata["ownerReferences"] = [{"kind": "Pod", "name": owner, "uid": uid, "controller": True}]
        status: Obj = {"phase": "Pending"}
        if self.some(0.45):
            self.bind(metadata, spec, status)
        elif self.some(0.06):
            spec["storageClassName"] = self.rng.choice(["now", "none", "missing", ""])
        elif self.some(0.1):
            metadata["annotations"]["volume.kubernetes.io/selected-node"] = self.rng.choice([*self.names, "gone"])
        if self.some(0.1):
            spec["selector"] = {"matchLabels": {"tier": "gold"}}
        if self.some(0.05):
            spec["volumeMode"] = "Block"
        if self.some(0.02):
            metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        if self.some(0.02):
            status["phase"] = "Lost"
        return {"metadata": metadata, "spec": spec, "status": status}

    def bind(self, metadata: Obj, spec: Obj, status: Obj) -> None:
        """Bind a claim to a volume, or try to."""
        free = [v for v in self.volumes if "claimRef" not in v["spec"]]
        if not free or self.some(0.05):
            spec["volumeName"] = "gone"
        else:
            volume = self.rng.choice(free)
            spec["volumeName"] = volume["metadata"]["name"]
            self.reserve(volume, metadata["name"])
            volume["status"]["phase"] = "Bound"
        status["phase"] = "Bound"
        if self.some(0.95):
            metadata["annotations"]["pv.kubernetes.io/bind-completed"] = "yes"

    def reserve(self, volume: Obj, claim: str) -> None:
        uid = self.rng.choice(["", f"default/{claim}", f"default/{claim}", "other"])
        volume["spec"]["claimRef"] = {"namespace": "default", "name": claim} | ({"uid": uid} if uid else {})

    # ---- pods ----

    def source(self, pod: str, number: int) -> Obj:
        """One volume of a pod; an ephemeral one brings its claim."""
        kind = self.rng.randrange(12)
        read_only = {"readOnly": self.some(0.5)}
        if kind == 0:
            name = f"{pod}-w{number}"
            if self.some(0.9):
                self.claims.append(self.claim(name, pod))
            return {"name": f"w{number}", "ephemeral": {"volumeClaimTemplate": {}}}
        if kind == 1:
            return {"name": f"w{number}", "awsElasticBlockStore": {"volumeID": f"vol-{self.rng.randint(0, 3)}"}}
        if kind == 2:
            disk = {"pdName": f"d{self.rng.randint(0, 2)}"} | read_only
            return {"name": f"w{number}", "gcePersistentDisk": disk}
        if kind == 3:
            monitors = self.rng.sample(["m", "o", "p"], 2)
            return {"name": f"w{number}", "rbd": {"monitors": monitors, "image": "i", "pool": "q"} | read_only}
        if kind == 4:
            return {"name": f"w{number}", "iscsi": {"iqn": f"q{self.rng.randint(0, 1)}"} | read_only}
        if kind == 5:
            return {"name": f"w{number}", "emptyDir": {}}
        names = [c["metadata"]["name"] for c in self.claims if "ownerReferences" not in c["metadata"]]
        name = self.rng.choice(names) if names and self.some(0.98) else "dangling"
        return {"name": f"w{number}", "persistentVolumeClaim": {"claimName": name}}

    def pod(self, name: str, node: str = "") -> Obj:
        requests = {"cpu": f"{self.rng.randint(1, 9)}00m", "memory": "100Mi"}
        spec: Obj = {"containers": [{"name": "c", "resources": {"requests": requests}}]}
        spec["volumes"] = [self.source(name, i) for i in range(self.rng.choice([0, 1, 1, 1, 2, 2, 3]))]
        if self.some(0.1):
            spec["nodeSelector"] = {"disk": "ssd"}
        if node:
            spec["nodeName"] = node
        return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}

    def attachment(self, number: int) -> Obj:
        source = {"persistentVolumeName": self.rng.choice(self.volumes)["metadata"]["name"]} if self.some(0.9) else {}
        spec = {"nodeName": self.rng.choice(self.names), "attacher": self.rng.choice([*DRIVERS, ""]), "source": source}
        return {"metadata": {"name": f"a{number}"}, "spec": spec}

    # ---- a whole case ----

    def cluster(self, n_pods: int) -> Obj:
        """Everything but the pods to place."""
        self.volumes = [self.volume(i) for i in range(self.rng.randint(1, 14))]
        self.claims = [self.claim(f"pvc{i}") for i in range(self.rng.randint(1, 12))]
        for volume in self.volumes:
            if "claimRef" not in volume["spec"] and self.some(0.1):
                self.reserve(volume, f"pvc{self.rng.randint(0, 12)}")
        nodes = [self.node(name) for name in self.names]
        running = [self.pod(f"r{i}", self.rng.choice(self.names)) for i in range(n_pods)]
        return {
            "id": "random",
            "family": "random",
            "profile": "default-v1.36",
            "nodes": nodes,
            "pods": running,
            "pvs": self.volumes,
            "pvcs": self.claims,
            "storageclasses": self.classes(),
            "csinodes": [self.csi_node(name) for name in self.names if self.some(0.7)],
            "csidrivers": self.drivers(),
            "csistoragecapacities": [self.capacity(i) for i in range(self.rng.randint(0, 6))],
            "volumeattachments": [self.attachment(i) for i in range(self.rng.randint(0, 6))],
        }

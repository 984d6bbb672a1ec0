# SPDX-License-Identifier: Apache-2.0
"""Random clusters whose pods have volumes: claims of every kind, local and networked, limits, inline disks; seeded.

Capacities of volumes and requests of claims are each unique, so that no choice hangs on an order that is random in
Kubernetes as well.
"""

from __future__ import annotations

from typing import Any

from tests import builders, pairwise_strategies
from tests.builders import HOSTNAME
from tests.pairwise_oracle import ZONE
from tests.strategies import Rng, below, chance, pick

Obj = dict[str, Any]

REGION = "topology.kubernetes.io/region"
N_CLAIMS = 24
N_OWNED = 40
"""Pods ``p1`` and so on have the claim of an ephemeral volume, some of them somebody else's."""
DRIVERS = ("csi.example.com", "cap.example.com")
DELAYED = ("local", "wffc", "wffc-topo", "wffc-cap")
CLASSES = (*DELAYED, "imm", "unknown")


def class_objects(rng: Rng) -> list[Obj]:
    delayed = {"volumeBindingMode": "WaitForFirstConsumer"}
    zones = sorted({pick(rng, ("a", "b", "c")) for _ in range(2)})
    topologies = [{"matchLabelExpressions": [{"key": ZONE, "values": zones}]}]
    if chance(rng, 0.3):
        topologies[0]["matchLabelExpressions"].append({"key": "disk", "values": ["ssd"]})
    made = {
        "local": {"provisioner": "kubernetes.io/no-provisioner", **delayed},
        "wffc": {"provisioner": "csi.example.com", **delayed},
        "wffc-topo": {"provisioner": "csi.example.com", **delayed, "allowedTopologies": topologies},
        "wffc-cap": {"provisioner": "cap.example.com", **delayed},
        "imm": {"provisioner": "csi.example.com", "volumeBindingMode": "Immediate"},
    }
    return [{"metadata": {"name": name}, **obj} for name, obj in made.items()]


def access_modes(rng: Rng) -> list[str]:
    return [pick(rng, ("ReadWriteOnce", "ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"))]


def reach(rng: Rng, n_nodes: int) -> Obj | None:
    """Node affinity of a volume."""
    x = rng.random()
    if x < 0.3:
        return None
    if x < 0.6:
        names = {f"node-{below(rng, n_nodes)}" for _ in range(1 + below(rng, 4))}
        terms = [builders.term(builders.need(HOSTNAME, "In", *sorted(names)))]
    else:
        terms = [builders.term(pairwise_strategies.requirement(rng, pairwise_strategies.DOMAINS))]
        if chance(rng, 0.3):
            terms.append(builders.term(builders.need(ZONE, "In", "a"), builders.need("disk", "Exists")))
    return {"required": {"nodeSelectorTerms": terms}}


def volume(rng: Rng, i: int, n_nodes: int, storage_class: str, mebibytes: int) -> Obj:
    name = f"pv-{i}"
    spec: Obj = {"accessModes": access_modes(rng), "capacity": {"storage": f"{mebibytes}Mi"}}
    spec["storageClassName"] = storage_class
    spec |= (
        {"local": {"path": "/x"}} if storage_class == "local" else {"csi": {"driver": DRIVERS[0], "volumeHandle": name}}
    )
    affinity = reach(rng, n_nodes)
    if affinity is not None:
        spec["nodeAffinity"] = affinity
    labels = {"kind": "fast"} if chance(rng, 0.5) else {}
    if chance(rng, 0.4):
        labels[ZONE] = pick(rng, ("a", "b", "a__b", "b__c__d", "a__", ""))
    if chance(rng, 0.1):
        labels[REGION] = pick(rng, ("r1", "r2"))
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {"phase": "Available"}}


def claim(rng: Rng, name: str, storage_class: str, mebibytes: int) -> Obj:
    spec: Obj = {"accessModes": access_modes(rng), "resources": {"requests": {"storage": f"{mebibytes}Mi"}}}
    spec["storageClassName"] = storage_class
    if storage_class == "local" and chance(rng, 0.15):
        spec["selector"] = {"matchLabels": {"kind": "fast"}}
    return {"metadata": {"name": name, "namespace": "default"}, "spec": spec, "status": {"phase": "Pending"}}


def bind(rng: Rng, pvc: Obj, pv: Obj) -> None:
    """The claim is bound to the volume; now and then only by half."""
    name, volume_name = pvc["metadata"]["name"], pv["metadata"]["name"]
    pvc["spec"] |= {"volumeName": volume_name, "accessModes": pv["spec"]["accessModes"]}
    pvc["status"] = {"phase": "Bound"}
    if chance(rng, 0.95):
        pvc["metadata"]["annotations"] = {"pv.kubernetes.io/bind-completed": "yes"}
    pv["spec"]["claimRef"] = {"kind": "PersistentVolumeClaim", "namespace": "default", "name": name}
    pv["spec"]["claimRef"]["uid"] = f"default/{name}"
    pv["status"] = {"phase": "Bound"}


def spoil(rng: Rng, pvc: Obj) -> None:
    """Now and then a claim is in no good state."""
    x = rng.random()
    if x < 0.02:
        pvc["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    elif x < 0.04:
        pvc["status"]["phase"] = "Lost"
    elif x < 0.06 and "volumeName" in pvc["spec"]:
        pvc["spec"]["volumeName"] = "gone"
    elif x < 0.12 and "volumeName" not in pvc["spec"]:
        pvc["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": f"node-{below(rng, 8)}"}


def claims_and_volumes(rng: Rng, n_nodes: int) -> tuple[list[Obj], list[Obj]]:
    pvs: list[Obj] = []
    pvcs: list[Obj] = []
    sizes = rng.permutation(400).tolist()
    for i in range(N_CLAIMS + N_OWNED):
        owned = i >= N_CLAIMS
        name = f"p{i - N_CLAIMS + 1}-own" if owned else f"c{i}"
        wanted = pick(rng, DELAYED if owned or chance(rng, 0.6) else CLASSES)
        pvc = claim(rng, name, wanted, 100 + 10 * sizes[i])
        if wanted == "imm" or chance(rng, 0.35):
            pvs.append(volume(rng, len(pvs), n_nodes, wanted, 5000 + 10 * sizes[i]))
            bind(rng, pvc, pvs[-1])
        spoil(rng, pvc)
        if owned:
            owner = f"default/p{i - N_CLAIMS + 1}" if chance(rng, 0.9) else "default/other"
            pvc["metadata"]["ownerReferences"] = [{"controller": True, "kind": "Pod", "name": "p", "uid": owner}]
        pvcs.append(pvc)
    for i in range(below(rng, 25)):
        pvs.append(volume(rng, len(pvs), n_nodes, pick(rng, ("local", "local", "wffc")), 103 + 10 * sizes[200 + i]))
        if chance(rng, 0.1):
            pvs[-1]["spec"]["claimRef"] = {"namespace": "default", "name": f"c{below(rng, N_CLAIMS)}"}
    return pvs, pvcs


def csi_node(rng: Rng, name: str) -> Obj:
    drivers = []
    for driver in DRIVERS:
        if chance(rng, 0.8):
            limit = {"allocatable": {"count": pick(rng, (1, 2, 4))}} if chance(rng, 0.6) else {}
            drivers.append({"name": driver, "nodeID": name, **limit})
    return {"metadata": {"name": name}, "spec": {"drivers": drivers}}


def capacity(rng: Rng, i: int) -> Obj:
    made: Obj = {"metadata": {"name": f"cap-{i}", "namespace": "kube-system"}, "storageClassName": "wffc-cap"}
    if chance(rng, 0.9):
        made["capacity"] = pick(rng, ("200Mi", "2Gi", "100Gi"))
    if chance(rng, 0.3):
        made["maximumVolumeSize"] = pick(rng, ("300Mi", "1Gi"))
    if chance(rng, 0.9):
        made["nodeTopology"] = {"matchLabels": {ZONE: pick(rng, ("a", "b", "c", "d"))}} if chance(rng, 0.9) else {}
    return made


def attachment(rng: Rng, i: int, n_volumes: int, n_nodes: int) -> Obj:
    source = {"persistentVolumeName": f"pv-{below(rng, n_volumes + 2)}"}
    spec = {"attacher": DRIVERS[0], "nodeName": f"node-{below(rng, n_nodes)}", "source": source}
    return {"metadata": {"name": f"va-{i}"}, "spec": spec}


def disk(rng: Rng) -> Obj:
    """A volume that is written into the pod."""
    only = {"readOnly": True} if chance(rng, 0.4) else {}
    return pick(
        rng,
        (
            {"awsElasticBlockStore": {"volumeID": pick(rng, ("vol-1", "vol-2")), **only}},
            {"gcePersistentDisk": {"pdName": pick(rng, ("d1", "d2")), **only}},
            {"iscsi": {"iqn": pick(rng, ("i1", "i2")), "lun": below(rng, 2), "targetPortal": "10.0.0.9:3260", **only}},
            {
                "rbd": {
                    "monitors": sorted({pick(rng, ("m1", "m2")) for _ in range(2)}),
                    "image": "i",
                    "pool": "p",
                    **only,
                }
            },
            {"emptyDir": {}},
        ),
    )


class Volumes:
    """The form of `pairwise_strategies.Family`."""

    def case(self, rng: Rng, n_nodes: int, n_running: int) -> Obj:
        pvs, pvcs = claims_and_volumes(rng, n_nodes)
        return {
            "nodes": [self.node(rng, i) for i in range(n_nodes)],
            "pods": [self.running(rng, f"r{i}", f"node-{below(rng, n_nodes)}") for i in range(n_running // 2)],
            "pvs": pvs,
            "pvcs": pvcs,
            "storageclasses": class_objects(rng),
            "csinodes": [csi_node(rng, f"node-{i}") for i in range(n_nodes + 5) if chance(rng, 0.8)],
            "csidrivers": [{"metadata": {"name": DRIVERS[1]}, "spec": {"storageCapacity": True}}],
            "csistoragecapacities": [capacity(rng, i) for i in range(below(rng, 5))],
            "volumeattachments": [attachment(rng, i, len(pvs), n_nodes) for i in range(below(rng, 6))],
        }

    def node(self, rng: Rng, i: int) -> Obj:
        made = pairwise_strategies.node(rng, f"node-{i}")
        if chance(rng, 0.5):
            made["metadata"]["labels"][REGION] = pick(rng, ("r1", "r2"))
        return made

    def pod(self, rng: Rng, name: str) -> Obj:
        made = builders.make_pod(name).container(pick(rng, (None, "100m", "500m")), pick(rng, (None, "64Mi")))
        pairwise_strategies.node_rules(rng, made)
        obj = made.build()
        volumes: list[Obj] = []
        if chance(rng, 0.7):
            numbers = {below(rng, N_CLAIMS) for _ in range(1 + below(rng, 3))}
            volumes += [{"persistentVolumeClaim": {"claimName": f"c{n}"}} for n in sorted(numbers)]
        if chance(rng, 0.03):
            volumes.append({"persistentVolumeClaim": {"claimName": "missing"}})
        if chance(rng, 0.25):
            volumes.append(disk(rng))
        obj["spec"]["volumes"] = [{"name": f"v{i}", **v} for i, v in enumerate(volumes)]
        if chance(rng, 0.15):
            obj["spec"]["volumes"].append({"name": "own", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}})
        return obj

    def running(self, rng: Rng, name: str, node: str) -> Obj:
        obj = self.pod(rng, name)
        obj["spec"]["nodeName"] = node
        return obj

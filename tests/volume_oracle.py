# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth for volumes: VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.

Written from the plugins' rules, one pod and one node at a time, beside `oracle` (resources, taints, labels); it
imports nothing of kubesched. Reserve is kept as upstream keeps it: a matched volume carries the claim's reference, a
claim to be provisioned its selected node; nothing is ever bound. Where upstream takes any of equal volumes, the first
listed is taken. In-tree volumes count for the CSI driver that 1.36 migrated them to; node affinity of volumes that a
node's CSINode names as migrated is not translated here (`NotImplementedError`).

Source: plugins/{volumerestrictions,nodevolumelimits,volumebinding,volumezone} and
component-helpers/storage/{volume,ephemeral}, v1.36.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from tests import oracle
from tests.oracle import UNRESOLVABLE, UNSCHEDULABLE, Node, Obj, Status

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
MIGRATED = "storage.alpha.kubernetes.io/migrated-plugins"

DISK_CONFLICT = "node(s) had no available disk"
IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
TOO_MANY = "node(s) exceed max volume count"
NO_MATCH = "node(s) didn't find available persistent volumes to bind"
WRONG_NODE = "node(s) didn't match PersistentVolume's node affinity"
NO_SPACE = "node(s) did not have enough free storage"
NO_VOLUME = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
WRONG_ZONE = "node(s) had no available volume zone"

ZONE_KEYS = (
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
)
SUCCESSOR = dict(zip(ZONE_KEYS[:2], ZONE_KEYS[2:], strict=True))
"""What a beta key is called since it is stable."""

IN_TREE = {
    "awsElasticBlockStore": ("kubernetes.io/aws-ebs", "ebs.csi.aws.com"),
    "gcePersistentDisk": ("kubernetes.io/gce-pd", "pd.csi.storage.gke.io"),
    "azureDisk": ("kubernetes.io/azure-disk", "disk.csi.azure.com"),
    "cinder": ("kubernetes.io/cinder", "cinder.csi.openstack.org"),
    "portworxVolume": ("kubernetes.io/portworx-volume", "pxd.portworx.com"),
}
"""Volume source: its in-tree plugin, and the CSI driver that serves it now."""

Key = tuple[str, str]


class RejectedError(Exception):
    """PreFilter turned the pod down (``code`` UNRESOLVABLE) or stopped the scheduler (``Error``)."""

    def __init__(self, plugin: str, code: str, reason: str) -> None:
        super().__init__(reason)
        self.record: Obj = {"plugin": plugin, "code": code, "reasons": [reason]}


def class_of(obj: Obj) -> str:
    annotated = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    return str(obj["spec"].get("storageClassName") or "") if annotated is None else str(annotated)


def size(amounts: Obj | None) -> Any:
    return oracle.quantity((amounts or {}).get("storage", 0))


def asked(pvc: Obj) -> Any:
    return size((pvc["spec"].get("resources") or {}).get("requests"))


def key_of(obj: Obj) -> Key:
    return obj["metadata"].get("namespace") or "default", obj["metadata"]["name"]


def uid(obj: Obj) -> str:
    return str(obj["metadata"].get("uid") or "/".join(key_of(obj)))


@dataclass
class Storage:
    """The volumes of a cluster, and what Reserve assumed of them."""

    pvcs: dict[Key, Obj] = field(default_factory=dict)
    pvs: dict[str, Obj] = field(default_factory=dict)
    classes: dict[str, Obj] = field(default_factory=dict)
    csi_nodes: dict[str, Obj] = field(default_factory=dict)
    drivers: dict[str, Obj] = field(default_factory=dict)
    capacities: list[Obj] = field(default_factory=list)
    attachments: list[Obj] = field(default_factory=list)
    taken: dict[str, Obj] = field(default_factory=dict)
    """Claim that a volume was matched with, by volume."""
    selected: dict[Key, str] = field(default_factory=dict)
    """Node on which a claim is to be provisioned."""

    @classmethod
    def of(cls, case: Obj) -> Storage:
        def named(kind: str) -> dict[str, Obj]:
            return {obj["metadata"]["name"]: obj for obj in case.get(kind) or []}

        return cls(
            pvcs={key_of(obj): obj for obj in case.get("pvcs") or []},
            pvs=named("pvs"),
            classes=named("storageclasses"),
            csi_nodes=named("csinodes"),
            drivers=named("csidrivers"),
            capacities=case.get("csistoragecapacities") or [],
            attachments=case.get("volumeattachments") or [],
        )

    def node_of(self, pvc: Obj) -> str | None:
        annotations = pvc["metadata"].get("annotations") or {}
        return self.selected.get(key_of(pvc), annotations.get(SELECTED_NODE))

    def claim_ref(self, pv: Obj) -> Obj | None:
        claim = self.taken.get(pv["metadata"]["name"])
        if claim is None:
            return pv["spec"].get("claimRef")
        return {"namespace": key_of(claim)[0], "name": key_of(claim)[1], "uid": uid(claim)}


# ---- a pod's volumes ----


@dataclass(frozen=True)
class Use:
    """A volume of a pod that stands for a claim."""

    claim: str
    ephemeral: bool


def volumes(pod: Obj) -> list[Obj]:
    return pod["spec"].get("volumes") or []


def uses(pod: Obj) -> Iterator[Use]:
    for volume in volumes(pod):
        if volume.get("persistentVolumeClaim") is not None:
            yield Use(volume["persistentVolumeClaim"].get("claimName") or "", False)
        elif volume.get("ephemeral") is not None:
            yield Use(f"{pod['metadata']['name']}-{volume['name']}", True)


def named_claims(pod: Obj) -> list[Key]:
    """Claims that the pod names itself."""
    return [(key_of(pod)[0], use.claim) for use in uses(pod) if not use.ephemeral]


def is_owner(pod: Obj, pvc: Obj) -> bool:
    owners = [o for o in pvc["metadata"].get("ownerReferences") or [] if o.get("controller")]
    return bool(owners) and owners[0].get("uid") == uid(pod)


# ---- VolumeRestrictions ----


def exclusive_claims(pod: Obj, storage: Storage) -> set[Key]:
    found = set()
    for key in named_claims(pod):
        if key not in storage.pvcs:
            raise RejectedError("VolumeRestrictions", UNRESOLVABLE, f'persistentvolumeclaim "{key[1]}" not found')
        if "ReadWriteOncePod" in (storage.pvcs[key]["spec"].get("accessModes") or []):
            found.add(key)
    return found


def clash(a: Obj, b: Obj) -> bool:
    """Whether two inline volumes, of two pods, cannot be on one node."""
    if a.get("awsElasticBlockStore") and b.get("awsElasticBlockStore"):
        return bool(a["awsElasticBlockStore"]["volumeID"] == b["awsElasticBlockStore"]["volumeID"])
    for kind, same in (
        ("gcePersistentDisk", lambda p, q: p["pdName"] == q["pdName"]),
        ("iscsi", lambda p, q: p["iqn"] == q["iqn"]),
        ("rbd", same_image),
    ):
        p, q = a.get(kind), b.get(kind)
        if p and q and same(p, q) and not (p.get("readOnly") and q.get("readOnly")):
            return True
    return False


def same_image(p: Obj, q: Obj) -> bool:
    shared = set(p.get("monitors") or []) & set(q.get("monitors") or [])
    return bool(shared) and p.get("pool") == q.get("pool") and p.get("image") == q.get("image")


def restrictions(pod: Obj, node: Node, nodes: list[Node], storage: Storage) -> Status | None:
    if any(clash(a, b) for a in volumes(pod) for other in node.pods for b in volumes(other)):
        return "VolumeRestrictions", UNSCHEDULABLE, [DISK_CONFLICT]
    exclusive = exclusive_claims(pod, storage)
    if exclusive and exclusive & {key for n in nodes for other in n.pods for key in named_claims(other)}:
        return "VolumeRestrictions", UNSCHEDULABLE, [IN_USE]
    return None


# ---- NodeVolumeLimits ----


def handle(kind: str, source: Obj, labels: dict[str, str]) -> str | None:
    """What the CSI driver calls an in-tree volume; None where it cannot be told."""
    match kind:
        case "awsElasticBlockStore":
            given = str(source["volumeID"])
            bare = given.removeprefix("aws://").partition("/")[2].strip("/")
            if not given.startswith("aws://"):
                return given
            return bare if bare.startswith("vol-") and "/" not in bare else None
        case "gcePersistentDisk":
            zones = (labels.get(ZONE_KEYS[0]) or labels.get(ZONE_KEYS[2]) or "UNSPECIFIED").split("__")
            if len(zones) > 1:
                raise NotImplementedError("regional in-tree disks")
            return f"projects/UNSPECIFIED/zones/{zones[0]}/disks/{source['pdName']}"
        case "azureDisk":
            return str(source["diskURI"])
    return str(source["volumeID"])


def volume_of(source: Obj, labels: dict[str, str]) -> tuple[str, str] | None:
    """(unique name, driver) of a volume source; None where it counts for no driver."""
    for kind, (_, driver) in IN_TREE.items():
        if source.get(kind):
            name = handle(kind, source[kind], labels)
            return None if not name else (f"{driver}/{name}", driver)
    return None


def provisioned_volume(pvc: Obj, storage: Storage) -> tuple[str, str] | None:
    """The volume that a claim without one will get: counted by its class, apart from all others."""
    found = storage.classes.get(class_of(pvc))
    if found is None:
        return None
    migrated = dict(IN_TREE.values())
    driver = migrated.get(found.get("provisioner") or "", found.get("provisioner") or "")
    return (f"{driver}/(to be made) {'/'.join(key_of(pvc))}", driver) if driver else None


def claimed_volume(pvc: Obj, storage: Storage) -> tuple[str, str] | None:
    pv = storage.pvs.get(pvc["spec"].get("volumeName") or "")
    if pv is None:
        return provisioned_volume(pvc, storage)
    csi = pv["spec"].get("csi")
    if csi is None:
        return volume_of(pv["spec"], pv["metadata"].get("labels") or {})
    if not csi.get("driver") or not csi.get("volumeHandle"):
        return None
    return f"{csi['driver']}/{csi['volumeHandle']}", csi["driver"]


def attachable(pod: Obj, storage: Storage) -> dict[str, str]:
    """Unique name to driver of what the pod attaches."""
    found = []
    for use in uses(pod):
        pvc = storage.pvcs.get((key_of(pod)[0], use.claim))
        found.append(None if pvc is None else claimed_volume(pvc, storage))
    found += [volume_of(v, {}) for v in volumes(pod)]
    return dict(pair for pair in found if pair is not None)


def attached(node: Node, storage: Storage) -> dict[str, str]:
    """What VolumeAttachments hold on a node."""
    found = {}
    for va in storage.attachments:
        spec = va["spec"]
        pv = storage.pvs.get((spec.get("source") or {}).get("persistentVolumeName") or "")
        if spec.get("nodeName") == node.name and spec.get("attacher") and pv is not None and pv["spec"].get("csi"):
            found[f"{spec['attacher']}/{pv['spec']['csi']['volumeHandle']}"] = spec["attacher"]
    return found


def limits(pod: Obj, node: Node, storage: Storage) -> Status | None:
    csi_node = storage.csi_nodes.get(node.name)
    if csi_node is None:
        return None
    here: dict[str, str] = {}
    for other in node.pods:
        here |= attachable(other, storage)
    new = {name: driver for name, driver in attachable(pod, storage).items() if name not in here}
    held = list((attached(node, storage) | here).values())
    for driver in csi_node["spec"].get("drivers") or []:
        most = (driver.get("allocatable") or {}).get("count")
        wanted = list(new.values()).count(driver["name"])
        if most is not None and wanted and held.count(driver["name"]) + wanted > most:
            return "NodeVolumeLimits", UNSCHEDULABLE, [TOO_MANY]
    return None


# ---- VolumeBinding ----


def check_claims(pod: Obj, storage: Storage) -> None:
    """Claims that cannot be used at all."""

    def reject(text: str) -> RejectedError:
        return RejectedError("VolumeBinding", UNRESOLVABLE, text)

    for use in uses(pod):
        key = key_of(pod)[0], use.claim
        pvc = storage.pvcs.get(key)
        if pvc is None and use.ephemeral:
            raise reject(f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{use.claim}"')
        if pvc is None:
            raise reject(f'persistentvolumeclaim "{use.claim}" not found')
        if (pvc.get("status") or {}).get("phase") == "Lost":
            gone = pvc["spec"].get("volumeName") or ""
            raise reject(f'persistentvolumeclaim "{use.claim}" bound to non-existent persistentvolume "{gone}"')
        if pvc["metadata"].get("deletionTimestamp"):
            raise reject(f'persistentvolumeclaim "{use.claim}" is being deleted')
        if use.ephemeral and not is_owner(pod, pvc):
            mine = "/".join(key_of(pod))
            raise reject(f"PVC {'/'.join(key)} was not created for pod {mine} (pod is not owner)")


@dataclass
class Claims:
    """The pod's claims by how they are bound."""

    bound: list[Obj] = field(default_factory=list)
    delayed: list[Obj] = field(default_factory=list)


def sort_claims(pod: Obj, storage: Storage) -> Claims:
    check_claims(pod, storage)
    out, immediate = Claims(), False
    for use in uses(pod):
        pvc = storage.pvcs[key_of(pod)[0], use.claim]
        volume = pvc["spec"].get("volumeName")
        if volume and BIND_COMPLETED in (pvc["metadata"].get("annotations") or {}):
            out.bound.append(pvc)
        elif is_delayed(pvc, storage) and not volume:
            out.delayed.append(pvc)
        else:
            immediate = True
    if immediate:
        raise RejectedError("VolumeBinding", UNRESOLVABLE, "pod has unbound immediate PersistentVolumeClaims")
    return out


def is_delayed(pvc: Obj, storage: Storage) -> bool:
    name = class_of(pvc)
    if name not in storage.classes:
        return False
    mode = storage.classes[name].get("volumeBindingMode")
    if mode is None:
        text = f'running PreFilter plugin "VolumeBinding": VolumeBindingMode not set for StorageClass "{name}"'
        raise RejectedError("VolumeBinding", "Error", text)
    return bool(mode == "WaitForFirstConsumer")


def reaches(pv: Obj, node: Node) -> bool:
    """The volume's node affinity; it sees labels only, so that requirements on fields always hold."""
    required = (pv["spec"].get("nodeAffinity") or {}).get("required")
    if required is None:
        return True
    for term in required.get("nodeSelectorTerms") or []:
        expressions, fields = term.get("matchExpressions") or [], term.get("matchFields") or []
        readable = (expressions or fields) and oracle.is_term(term)
        if readable and all(oracle.holds(node.labels, q) for q in expressions):
            return True
    return False


def refuse_migrated(pv: Obj, node: Node, storage: Storage) -> None:
    csi_node = storage.csi_nodes.get(node.name) or {"metadata": {}}
    plugins = ((csi_node["metadata"].get("annotations") or {}).get(MIGRATED) or "").split(",")
    if any(pv["spec"].get(kind) and plugin in plugins for kind, (plugin, _) in IN_TREE.items()):
        raise NotImplementedError("node affinity of migrated volumes")


def label_selector_holds(selector: Obj, labels: dict[str, str]) -> bool:
    pairs = (selector.get("matchLabels") or {}).items()
    return all(labels.get(k) == v for k, v in pairs) and all(
        oracle.holds(labels, q) for q in selector.get("matchExpressions") or []
    )


def belongs(ref: Obj | None, pvc: Obj) -> bool:
    """Whether a volume's reference is to this claim; a reference without uid is a user's wish."""
    return ref is not None and (ref["namespace"], ref["name"]) == key_of(pvc) and ref.get("uid") in (None, "", uid(pvc))


def could_hold(pv: Obj, pvc: Obj) -> bool:
    """What does not depend on the node, for reserved and free volumes alike."""
    a, b = pv["spec"], pvc["spec"]
    modes = [x.get("volumeMode") or "Filesystem" for x in (a, b)]
    attributes = [x.get("volumeAttributesClassName") or "" for x in (a, b)]
    return bool(
        size(a.get("capacity")) >= asked(pvc)
        and modes[0] == modes[1]
        and attributes[0] == attributes[1]
        and not pv["metadata"].get("deletionTimestamp")
    )


def is_free(pv: Obj, pvc: Obj) -> bool:
    selector, labels = pvc["spec"].get("selector"), pv["metadata"].get("labels") or {}
    return (
        (pv.get("status") or {}).get("phase") == "Available"
        and (selector is None or label_selector_holds(selector, labels))
        and set(pvc["spec"].get("accessModes") or []) <= set(pv["spec"].get("accessModes") or [])
    )


def match(pvc: Obj, node: Node, storage: Storage, chosen: dict[str, Obj]) -> Obj | None:
    """The volume reserved for the claim, else the smallest free one."""
    best = None
    for name, pv in storage.pvs.items():
        ref = storage.claim_ref(pv)
        if name in chosen or class_of(pv) != class_of(pvc) or not could_hold(pv, pvc):
            continue
        if ref is not None:
            if not belongs(ref, pvc):
                continue
            return pv if reaches(pv, node) else None
        smaller = best is None or size(pv["spec"].get("capacity")) < size(best["spec"].get("capacity"))
        if smaller and is_free(pv, pvc) and reaches(pv, node):
            best = pv
    return best


def has_space(pvc: Obj, found: Obj, node: Node, storage: Storage) -> bool:
    driver = storage.drivers.get(found["provisioner"])
    requests = (pvc["spec"].get("resources") or {}).get("requests") or {}
    if "storage" not in requests or driver is None or not driver["spec"].get("storageCapacity"):
        return True
    for capacity in storage.capacities:
        most, topology = capacity.get("maximumVolumeSize", capacity.get("capacity")), capacity.get("nodeTopology")
        if capacity.get("storageClassName") != found["metadata"]["name"] or most is None or topology is None:
            continue
        enough = math.ceil(oracle.quantity(most)) >= math.ceil(asked(pvc))
        if enough and label_selector_holds(topology, node.labels):
            return True
    return False


def topology_holds(terms: list[Obj], labels: dict[str, str]) -> bool:
    def term_holds(term: Obj) -> bool:
        expressions = term.get("matchLabelExpressions") or []
        return bool(expressions) and all(labels.get(q["key"]) in q["values"] for q in expressions)

    return not terms or any(term_holds(t) for t in terms)


@dataclass
class Found:
    """What VolumeBinding would do on a node, or why it cannot."""

    reasons: list[str] = field(default_factory=list)
    matches: list[tuple[Obj, Obj]] = field(default_factory=list)
    provisions: list[Obj] = field(default_factory=list)


def bound_reason(claims: list[Obj], node: Node, storage: Storage) -> str | None:
    for pvc in claims:
        pv = storage.pvs.get(pvc["spec"]["volumeName"])
        if pv is None:
            return NO_VOLUME
        refuse_migrated(pv, node, storage)
        if not reaches(pv, node):
            return WRONG_NODE
    return None


def bind_on(claims: Claims, node: Node, storage: Storage) -> Found:
    reason = bound_reason(claims.bound, node, storage)
    out = Found([] if reason is None else [reason])
    waiting = [pvc for pvc in claims.delayed if storage.node_of(pvc) is not None]
    if any(storage.node_of(pvc) != node.name for pvc in waiting):
        out.reasons.append(NO_MATCH)
        return out
    chosen: dict[str, Obj] = {}
    for pvc in sorted((pvc for pvc in claims.delayed if storage.node_of(pvc) is None), key=asked):
        pv = match(pvc, node, storage, chosen)
        if pv is None:
            waiting.append(pvc)
            continue
        chosen[pv["metadata"]["name"]] = pv
        out.matches.append((pv, pvc))
    for pvc in waiting:
        found = storage.classes[class_of(pvc)]
        made = found.get("provisioner") not in (None, "", "kubernetes.io/no-provisioner")
        if not made or not topology_holds(found.get("allowedTopologies") or [], node.labels):
            out.reasons.append(NO_MATCH)
            return out
        if not has_space(pvc, found, node, storage):
            out.reasons.append(NO_SPACE)
            return out
    out.provisions = waiting
    return out


def binding(pod: Obj, node: Node, storage: Storage) -> Status | None:
    reasons = bind_on(sort_claims(pod, storage), node, storage).reasons
    return ("VolumeBinding", UNRESOLVABLE, sorted(reasons)) if reasons else None


def reserve(pod: Obj, node: Node, storage: Storage) -> None:
    found = bind_on(sort_claims(pod, storage), node, storage)
    storage.taken.update({pv["metadata"]["name"]: pvc for pv, pvc in found.matches})
    storage.selected.update({key_of(pvc): node.name for pvc in found.provisions})


# ---- VolumeZone ----


def zones(pv: Obj) -> Iterator[tuple[str, set[str]]]:
    labels = pv["metadata"].get("labels") or {}
    for key in ZONE_KEYS:
        values = {part.strip() for part in labels.get(key, "").split("__")}
        if "" not in values:  # a list with a hole is not understood, and ignored
            yield key, values


def zone_volumes(pod: Obj, storage: Storage) -> list[Obj]:
    """Volumes of the claims that the pod names; those of ephemeral claims are not looked at."""
    out = []
    for key in named_claims(pod):
        name = storage.pvcs[key]["spec"].get("volumeName")
        if name and name not in storage.pvs:
            raise RejectedError("VolumeZone", UNRESOLVABLE, f'persistentvolume "{name}" not found')
        out += [storage.pvs[name]] if name else []
    return out


def zone(pod: Obj, node: Node, storage: Storage) -> Status | None:
    if not any(key in node.labels for key in ZONE_KEYS):
        return None
    for pv in zone_volumes(pod, storage):
        for key, values in zones(pv):
            if node.labels.get(key, node.labels.get(SUCCESSOR.get(key, key))) not in values:
                return "VolumeZone", UNRESOLVABLE, [WRONG_ZONE]
    return None


# ---- the decision ----


def filter_node(pod: Obj, ask: oracle.Ask, node: Node, nodes: list[Node], storage: Storage) -> Status | None:
    return (
        oracle.filter_node(ask, node)
        or restrictions(pod, node, nodes, storage)
        or limits(pod, node, storage)
        or binding(pod, node, storage)
        or zone(pod, node, storage)
    )


def rejection(pod: Obj, nodes: list[Node], storage: Storage) -> Obj | None:
    """The decision, where PreFilter turns the pod down or stops the scheduler."""
    try:
        exclusive_claims(pod, storage)
        sort_claims(pod, storage)
        zone_volumes(pod, storage)
    except RejectedError as rejected:
        text = rejected.record["reasons"][0]
        result: Obj = {"preFilter": rejected.record, "feasible": []}
        if rejected.record["code"] == "Error":
            return result | {"error": text}
        result["message"] = f"0/{len(nodes)} nodes are available: {text}."
        return result | {"preemption": oracle.post_filter(pod, nodes, result)}
    return None


def decide(pod: Obj, nodes: list[Node], storage: Storage) -> Obj:
    """As `oracle.decide`, with the four plugins; ``preemption`` is left out where somebody might be evicted."""
    plain = oracle.decide(pod, nodes)
    if not volumes(pod) or "gated" in plain or not nodes or ("preFilter" in plain and "status" not in plain):
        return plain
    rejected = rejection(pod, nodes, storage)
    if rejected is not None:
        return rejected
    ask = oracle.Ask(pod)
    names = oracle.named_nodes(ask)
    statuses = [
        filter_node(pod, ask, n, nodes, storage) if names is None or n.name in names else s
        for n, s in zip(nodes, plain["status"], strict=True)
    ]
    result: Obj = {"status": statuses, "feasible": [i for i, s in enumerate(statuses) if s is None]}
    if "preFilter" in plain:
        result["preFilter"] = plain["preFilter"]
    if result["feasible"]:
        return result | oracle.score_all(ask, nodes, result["feasible"], oracle.DEFAULT)
    result["message"] = oracle.fit_error(len(nodes), oracle.histogram(statuses))
    try:
        return result | {"preemption": oracle.post_filter(pod, nodes, result)}
    except NotImplementedError:
        return result


def sequence(nodes: list[Node], pods: list[Obj], storage: Storage) -> Obj:
    """As `oracle.sequence`, with Reserve."""
    return oracle.one_after_another(
        nodes,
        pods,
        lambda pod: decide(pod, nodes, storage),
        lambda pod, node, _: reserve(pod, nodes[node], storage),
    )

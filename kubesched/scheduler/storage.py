# SPDX-License-Identifier: Apache-2.0
"""Claims, volumes and storage drivers to rows, and the volumes of pods.

In-tree volumes are translated to the CSI drivers that took them over, as kube-scheduler 1.36 does.
Sources: csi-translation-lib (aws_ebs, gce_pd, azure_disk, openstack_cinder, portworx), component-helpers/storage,
plugins/nodevolumelimits, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kubesched.api import fields, quantity
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.scheduler import pods, selectors
from kubesched.state import pod_volumes, rows, storage_rows

CLASS_ANNOTATION = "volume.beta.kubernetes.io/storage-class"
BOUND_ANNOTATION = "pv.kubernetes.io/bind-completed"
NODE_ANNOTATION = "volume.kubernetes.io/selected-node"
MIGRATED_ANNOTATION = "storage.alpha.kubernetes.io/migrated-plugins"
_BETA_ZONE, _BETA_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"
_REGION = "topology.kubernetes.io/region"
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")


# ---- in-tree volumes ----


@dataclass(frozen=True, slots=True)
class _InTree:
    """An in-tree volume plugin that a CSI driver took over."""

    field: str
    """Of a volume's or a pod's spec."""
    plugin: str
    driver: str
    zone_key: str
    """Topology label of the driver; empty: node affinity is not translated."""
    handle: Callable[[View, dict[str, str]], str]
    """The driver's name of a volume, by its source and labels; empty: it has none."""


def _aws_handle(source: View, labels: dict[str, str]) -> str:
    given = source.text("volumeID")
    if not given.startswith("aws://"):
        return given
    bare = given.removeprefix("aws://").partition("/")[2].strip("/")
    return bare if bare.startswith("vol-") and "/" not in bare else ""


def _gce_handle(source: View, labels: dict[str, str]) -> str:
    zones = (labels.get(_BETA_ZONE) or labels.get(pods.ZONE_LABEL) or "UNSPECIFIED").split("__")
    place = f"zones/{zones[0]}"
    if len(zones) > 1:
        regions = {zone.rpartition("-")[0] for zone in zones}
        if len(regions) != 1 or any(zone.count("-") != 2 for zone in zones):
            return ""
        place = f"regions/{regions.pop()}"
    return f"projects/UNSPECIFIED/{place}/disks/{source.text('pdName')}"


def _azure_handle(source: View, labels: dict[str, str]) -> str:
    kind = source.text("kind") or "Managed"
    return source.text("diskURI") if kind.lower() == "managed" else ""


def _id_handle(source: View, labels: dict[str, str]) -> str:
    return source.text("volumeID")


_IN_TREE = (
    _InTree(
        "awsElasticBlockStore",
        "kubernetes.io/aws-ebs",
        "ebs.csi.aws.com",
        "topology.ebs.csi.aws.com/zone",
        _aws_handle,
    ),
    _InTree("gcePersistentDisk", "kubernetes.io/gce-pd", "pd.csi.storage.gke.io", "topology.gke.io/zone", _gce_handle),
    _InTree("azureDisk", "kubernetes.io/azure-disk", "disk.csi.azure.com", "", _azure_handle),
    _InTree(
        "cinder",
        "kubernetes.io/cinder",
        "cinder.csi.openstack.org",
        "topology.cinder.csi.openstack.org/zone",
        _id_handle,
    ),
    _InTree("portworxVolume", "kubernetes.io/portworx-volume", "pxd.portworx.com", "", _id_handle),
)
_DRIVER_OF = {of.plugin: of.driver for of in _IN_TREE}


def _in_tree(spec: View) -> _InTree | None:
    return next((of for of in _IN_TREE if spec.has(of.field)), None)


def _migrated(
    terms: tuple[rows.Term, ...] | None, labels: dict[str, str], csi_key: str
) -> tuple[rows.Term, ...] | None:
    """Node affinity of an in-tree volume as its CSI driver has it: the zone under the driver's own label.

    A zone label of the volume counts where the affinity names no zone.
    """
    keys = {q.key for term in terms or () for q in term.requirements if not q.is_field}
    zone_keys = [key for key in (pods.ZONE_LABEL, _BETA_ZONE) if key in keys]
    zone_keys += [key for key in (pods.ZONE_LABEL, _BETA_ZONE) if key in labels]
    zone_key = zone_keys[0] if zone_keys else pods.ZONE_LABEL
    renamed = {_BETA_REGION: _REGION} if zone_key == _BETA_ZONE else {}
    has_values = any(
        q.key == zone_key and q.values for term in terms or () for q in term.requirements if not q.is_field
    )
    if has_values:
        renamed[zone_key] = csi_key
    out = [_renamed(term, renamed) for term in terms or ()]
    zones = {part.strip() for part in labels.get(zone_key, "").split("__")} - {""}
    if not has_values and zones:
        added = rows.Requirement(csi_key, "In", tuple(sorted(zones)))
        out = [rows.Term((*term.requirements, added)) for term in out or [rows.Term(())]]
        return tuple(out)
    return None if terms is None else tuple(out)


def _renamed(term: rows.Term, names: dict[str, str]) -> rows.Term:
    return rows.Term(
        tuple(
            q if q.is_field else rows.Requirement(names.get(q.key, q.key), q.operator, q.values)
            for q in term.requirements
        )
    )


# ---- a pod's volumes ----


def volumes_of(pod: View) -> pod_volumes.PodVolumes | None:
    """The volumes of a pod that placement looks at; None without any."""
    claims: list[pod_volumes.ClaimUse] = []
    disks: list[pod_volumes.Disk] = []
    attached: list[pod_volumes.Attachable] = []
    metadata = pod.view("metadata")
    for volume in pod.view("spec").views("volumes"):
        if volume.has("persistentVolumeClaim"):
            claims.append(pod_volumes.ClaimUse(volume.view("persistentVolumeClaim").text("claimName")))
        elif volume.has("ephemeral"):
            claims.append(pod_volumes.ClaimUse(f"{metadata.text('name')}-{volume.text('name')}", is_ephemeral=True))
        else:
            disks += _disks(volume)
            of = _in_tree(volume)
            handle = "" if of is None else of.handle(volume.view(of.field), {})
            attached += [pod_volumes.Attachable(of.driver, handle)] if of is not None and handle else []
    if not (claims or disks or attached):
        return None
    return pod_volumes.PodVolumes(_uid(metadata), tuple(claims), tuple(disks), tuple(attached))


def _disks(volume: View) -> Iterable[pod_volumes.Disk]:
    """Source: plugins/volumerestrictions isVolumeConflict, v1.36."""
    if volume.has("awsElasticBlockStore"):
        yield pod_volumes.Disk(("aws", volume.view("awsElasticBlockStore").text("volumeID")), True)
    for name, kind, identity in (("gcePersistentDisk", "gce", "pdName"), ("iscsi", "iscsi", "iqn")):
        if volume.has(name):
            source = volume.view(name)
            yield pod_volumes.Disk((kind, source.text(identity)), not source.flag("readOnly"))
    if volume.has("rbd"):
        rbd = volume.view("rbd")
        for monitor in rbd.texts("monitors"):
            token = ("rbd", monitor, rbd.text("pool"), rbd.text("image"))
            yield pod_volumes.Disk(token, not rbd.flag("readOnly"))


def _uid(metadata: View) -> str:
    """An object that was never on a server is told apart by its name."""
    namespace = metadata.text("namespace") or "default"
    return metadata.text("uid") or f"{namespace}/{metadata.text('name')}"


# ---- objects ----


def _size(amounts: View) -> int:
    if not amounts.has("storage"):
        return 0
    return quantity.read_nano(amounts.data["storage"], amounts.where("storage"))


def _class_of(metadata: View, spec: View) -> str:
    annotations = metadata.view("annotations")
    return annotations.text(CLASS_ANNOTATION) if annotations.has(CLASS_ANNOTATION) else spec.text("storageClassName")


def _modes(spec: View) -> tuple[str, ...]:
    return tuple(sorted(set(spec.texts("accessModes"))))


def _claim(obj: View) -> storage_rows.Claim:
    metadata, spec = obj.view("metadata"), obj.view("spec")
    annotations, requests = metadata.view("annotations"), spec.view("resources").view("requests")
    owners = [owner for owner in metadata.views("ownerReferences") if owner.flag("controller")]
    volume = spec.text("volumeName")
    return storage_rows.Claim(
        namespace=metadata.text("namespace") or "default",
        name=metadata.text("name"),
        uid=_uid(metadata),
        storage_class=_class_of(metadata, spec),
        volume=volume,
        is_bound=bool(volume) and annotations.has(BOUND_ANNOTATION),
        size_nano=_size(requests),
        has_size=requests.has("storage"),
        access_modes=_modes(spec),
        volume_mode=spec.text("volumeMode") or "Filesystem",
        attributes_class=spec.text("volumeAttributesClassName"),
        selector=pods.label_selector(spec, "selector") if spec.has("selector") else (),
        selected_node=annotations.text(NODE_ANNOTATION) if annotations.has(NODE_ANNOTATION) else None,
        is_lost=obj.view("status").text("phase") == "Lost",
        is_deleting=metadata.has("deletionTimestamp"),
        owner_uid=owners[0].text("uid") if owners else "",
    )


def _volume(obj: View) -> storage_rows.Volume:
    metadata, spec = obj.view("metadata"), obj.view("spec")
    labels = metadata.pairs("labels")
    required = spec.view("nodeAffinity").view("required")
    terms = selectors.terms(required.views("nodeSelectorTerms")) if required.data else None
    reference = spec.view("claimRef")
    claim = (reference.text("namespace") or "default", reference.text("name")) if spec.has("claimRef") else None
    return storage_rows.Volume(
        name=metadata.text("name"),
        storage_class=_class_of(metadata, spec),
        size_nano=_size(spec.view("capacity")),
        access_modes=_modes(spec),
        volume_mode=spec.text("volumeMode") or "Filesystem",
        attributes_class=spec.text("volumeAttributesClassName"),
        labels=labels,
        is_available=obj.view("status").text("phase") == "Available",
        is_deleting=metadata.has("deletionTimestamp"),
        claim=claim,
        claim_uid=reference.text("uid"),
        reach=_reach(spec, terms, dict(labels)),
        attachable=_attachable(spec, dict(labels)),
        is_csi=spec.has("csi"),
    )


def _reach(spec: View, terms: tuple[rows.Term, ...] | None, labels: dict[str, str]) -> storage_rows.Reach:
    of = _in_tree(spec)
    if of is None or not of.zone_key:
        return storage_rows.Reach(terms)
    migrated = _migrated(terms, labels, of.zone_key)
    return storage_rows.Reach(terms) if migrated == terms else storage_rows.Reach(terms, of.plugin, migrated)


def _attachable(spec: View, labels: dict[str, str]) -> pod_volumes.Attachable | None:
    if spec.has("csi"):
        csi = spec.view("csi")
        driver, handle = csi.text("driver"), csi.text("volumeHandle")
    else:
        of = _in_tree(spec)
        driver, handle = ("", "") if of is None else (of.driver, of.handle(spec.view(of.field), labels))
    return pod_volumes.Attachable(driver, handle) if driver and handle else None


def _storage_class(obj: View) -> storage_rows.StorageClass:
    mode = obj.text("volumeBindingMode") if obj.has("volumeBindingMode") else None
    if mode is not None and mode not in _BINDING_MODES:
        raise errors.InputError(obj.where("volumeBindingMode"), "is unknown", mode, " or ".join(_BINDING_MODES))
    provisioner = obj.text("provisioner")
    return storage_rows.StorageClass(
        name=obj.view("metadata").text("name"),
        provisioner=provisioner,
        driver=_DRIVER_OF.get(provisioner, provisioner),
        binding_mode=mode,
        topologies=tuple(_topology(term) for term in obj.views("allowedTopologies")),
    )


def _topology(term: View) -> rows.Term:
    found = term.views("matchLabelExpressions")
    return rows.Term(tuple(rows.Requirement(view.text("key"), "In", view.texts("values")) for view in found))


def _csi_node(obj: View) -> storage_rows.CsiNode:
    metadata = obj.view("metadata")
    counts = [(driver.text("name"), driver.view("allocatable")) for driver in obj.view("spec").views("drivers")]
    migrated = metadata.view("annotations").text(MIGRATED_ANNOTATION)
    return storage_rows.CsiNode(
        name=metadata.text("name"),
        limits=tuple((name, amounts.integer("count")) for name, amounts in counts if amounts.has("count")),
        migrated=tuple(name for name in migrated.split(",") if name),
    )


def _csi_driver(obj: View) -> storage_rows.CsiDriver:
    return storage_rows.CsiDriver(obj.view("metadata").text("name"), obj.view("spec").flag("storageCapacity"))


def _capacity(obj: View) -> storage_rows.Capacity:
    field = "maximumVolumeSize" if obj.has("maximumVolumeSize") else "capacity"
    size = quantity.read_nano(obj.data[field], obj.where(field)) if obj.has(field) else None
    return storage_rows.Capacity(
        namespace=obj.view("metadata").text("namespace") or "default",
        name=obj.view("metadata").text("name"),
        storage_class=obj.text("storageClassName"),
        size_bytes=None if size is None else quantity.whole(size),
        topology=pods.label_selector(obj, "nodeTopology"),
    )


def _attachment(obj: View) -> storage_rows.Attachment:
    spec = obj.view("spec")
    return storage_rows.Attachment(
        name=obj.view("metadata").text("name"),
        node=spec.text("nodeName"),
        attacher=spec.text("attacher"),
        volume=spec.view("source").text("persistentVolumeName"),
    )


_READERS: dict[str, Callable[[View], storage_rows.StorageRow]] = {
    "PersistentVolumeClaim": _claim,
    "PersistentVolume": _volume,
    "StorageClass": _storage_class,
    "CSINode": _csi_node,
    "CSIDriver": _csi_driver,
    "CSIStorageCapacity": _capacity,
    "VolumeAttachment": _attachment,
}
KINDS = frozenset(_READERS)
"""Kinds that `storage_row` reads."""


def storage_row(obj: dict[str, Any]) -> storage_rows.StorageRow:
    """Encode an object of one of KINDS.

    Raises
    ------
    InputError
        A field is wrong.
    """
    kind = str(obj.get("kind"))
    if kind not in KINDS:
        raise errors.InputError("storage: kind", "is not of storage", kind, ", ".join(sorted(KINDS)))
    return _READERS[kind](fields.of(obj, kind))

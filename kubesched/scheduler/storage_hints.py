# SPDX-License-Identifier: Apache-2.0
"""Queueing hints of volumes and claims, on objects as they are.

Whether the claims that a pod names exist is not looked up here: a pod whose claim is missing may be let out too early,
and PreEnqueue holds it back again.
Sources: plugins/volumebinding, volumezone, volumerestrictions, nodevolumelimits, dynamicresources, v1.36.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

from kubesched.api import quantity
from kubesched.scheduler import events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.hints import ADD_OR_UPDATE, Registration, nobody

Obj = dict[str, Any]

_ZONE_LABELS = (
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
)
_MIGRATED = "storage.alpha.kubernetes.io/migrated-plugins"
_IN_TREE = {
    "awsElasticBlockStore": "ebs.csi.aws.com",
    "gcePersistentDisk": "pd.csi.storage.gke.io",
    "azureDisk": "disk.csi.azure.com",
    "azureFile": "file.csi.azure.com",
    "cinder": "cinder.csi.openstack.org",
    "vsphereVolume": "csi.vsphere.vmware.com",
    "portworxVolume": "pxd.portworx.com",
}
"""CSI driver that a volume source of a pod was migrated to."""


def _claim_names(pod: PodView, with_ephemeral: bool = True) -> Iterator[str]:
    for volume in pod.volumes:
        if "persistentVolumeClaim" in volume:
            yield volume["persistentVolumeClaim"]["claimName"]
        elif "ephemeral" in volume and with_ephemeral:
            yield f"{pod.row.name}-{volume['name']}"


# ---- which pods can be meant ----


Name = tuple[str, str | None]
"""Namespace and name of a claim."""


def _named(event: Event) -> Name:
    metadata = event.new["metadata"]
    return metadata.get("namespace", "default"), metadata["name"]


def _claim_of_event(event: Event) -> Iterable[Hashable]:
    return (_named(event),)


def _claims(pod: PodView) -> set[Name]:
    return {(pod.row.namespace, name) for name in _claim_names(pod)}


def _resource_claim_of_event(event: Event) -> Iterable[Hashable] | None:
    return None if _is_deallocated(event) else (_named(event),)


def _resource_claims(pod: PodView) -> set[Name]:
    return {(pod.row.namespace, name) for name in pod.resource_claims}


def _exclusive(pod: PodView) -> set[Hashable]:
    """Claims and disks of a pod that keep others of its namespace away, maybe."""
    volumes = pod.row.volumes
    if volumes is None:
        return set()
    claims = {(pod.row.namespace, use.name) for use in volumes.claims if not use.is_ephemeral}
    return claims | {(pod.row.namespace, disk.token) for disk in volumes.disks}


def _exclusive_of_event(event: Event) -> Iterable[Hashable]:
    return _exclusive(event.old)


# ---- questions ----


def _uses_claim(pod: PodView, event: Event, is_own: bool) -> bool:
    return _named(event) in _claims(pod)


def _uses_claim_by_name(pod: PodView, event: Event, is_own: bool) -> bool:
    namespace, name = _named(event)
    return namespace == pod.row.namespace and name in set(_claim_names(pod, with_ephemeral=False))


def _after_storage_class(pod: PodView, event: Event, is_own: bool) -> bool:
    return event.old is None or event.old.get("allowedTopologies") != event.new.get("allowedTopologies")


def _waits_for_consumer(pod: PodView, event: Event, is_own: bool) -> bool:
    return bool(event.new.get("volumeBindingMode") == "WaitForFirstConsumer")


def _after_migration(pod: PodView, event: Event, is_own: bool) -> bool:
    return event.old is None or _annotation(event.old) != _annotation(event.new)


def _annotation(obj: Obj) -> str:
    return str((obj["metadata"].get("annotations") or {}).get(_MIGRATED, ""))


def _stops_tracking(pod: PodView, event: Event, is_own: bool) -> bool:
    name = event.new["metadata"]["name"]
    tracked, tracks = (bool(side.get("spec", {}).get("storageCapacity")) for side in (event.old, event.new))
    return tracked and not tracks and any(v.get("csi", {}).get("driver") == name for v in pod.volumes)


def _grows(pod: PodView, event: Event, is_own: bool) -> bool:
    if event.old is None:
        return True
    before, after = _limit(event.old), _limit(event.new)
    return after is not None and (before is None or after > before)


def _limit(obj: Obj) -> int | None:
    """Size of the largest volume, in bytes."""
    name = "capacity" if obj.get("maximumVolumeSize") is None else "maximumVolumeSize"
    if obj.get(name) is None:
        return None
    return quantity.whole(quantity.read_nano(obj[name], f"CSIStorageCapacity: {name}"))


def _after_zones(pod: PodView, event: Event, is_own: bool) -> bool:
    return event.old is None or _zones(event.old) != _zones(event.new)


def _zones(volume: Obj) -> dict[str, frozenset[str]]:
    labels = volume["metadata"].get("labels") or {}
    values = {key: [part.strip() for part in labels[key].split("__")] for key in _ZONE_LABELS if key in labels}
    return {key: frozenset(parts) for key, parts in values.items() if all(parts)}


def _after_user_left(pod: PodView, event: Event, is_own: bool) -> bool:
    """The pod that left shared a claim, or a disk of which only one pod may be."""
    return not _exclusive(pod) & _exclusive(event.old) <= _read(pod) & _read(event.old)


def _read(pod: PodView) -> set[Hashable]:
    """Disks that a pod only reads."""
    disks = pod.row.volumes.disks if pod.row.volumes is not None else ()
    written = {disk.token for disk in disks if disk.exclusive}
    return {(pod.row.namespace, disk.token) for disk in disks if disk.token not in written}


def _after_attached_pod_left(pod: PodView, event: Event, is_own: bool) -> bool:
    left: PodView = event.old
    attached = {"persistentVolumeClaim", "ephemeral", *_IN_TREE}
    return left.holds_room and any(not attached.isdisjoint(volume) for volume in left.volumes)


def _after_detach(pod: PodView, event: Event, is_own: bool) -> bool:
    driver = event.old["spec"]["attacher"]
    return any(
        "persistentVolumeClaim" in volume or any(_IN_TREE.get(source) == driver for source in volume)
        for volume in pod.volumes
    )


def _after_limits(pod: PodView, event: Event, is_own: bool) -> bool:
    before = dict(_limits(event.old))
    return any(count > before.get(driver, 0) for driver, count in _limits(event.new))


def _limits(csi_node: Obj) -> Iterator[tuple[str, int]]:
    for driver in csi_node.get("spec", {}).get("drivers") or ():
        yield driver["name"], (driver.get("allocatable") or {}).get("count") or 0


def _is_deallocated(event: Event) -> bool:
    sides = [(side or {}).get("status", {}).get("allocation") for side in (event.old, event.new)]
    return sides[0] is not None and sides[1] is None


def _after_resource_claim(pod: PodView, event: Event, is_own: bool) -> bool:
    is_own_claim = _named(event) in _resource_claims(pod)
    if None in pod.resource_claims or (is_own_claim and event.new["metadata"].get("deletionTimestamp")):
        return False
    if _is_deallocated(event):
        return True
    return is_own_claim and (event.old is None or _filled(event.old.get("status")) != _filled(event.new.get("status")))


def _filled(value: Any) -> Any:
    """A value without its empty parts, which mean the same as none."""
    if isinstance(value, dict):
        kept = {key: _filled(part) for key, part in value.items()}
        return {key: part for key, part in kept.items() if part not in (None, {}, [])} or None
    return [_filled(part) for part in value] if isinstance(value, list) else value


def _own_claims(pod: PodView, event: Event, is_own: bool) -> bool:
    return is_own and None not in event.new.resource_claims


_CLAIM = (_claim_of_event, _claims)
_RESOURCE_CLAIM = (_resource_claim_of_event, _resource_claims)

BY_PLUGIN: dict[str, tuple[Registration, ...]] = {
    "VolumeRestrictions": (
        Registration(events.POD, Action.DELETE, _after_user_left, _exclusive_of_event, _exclusive),
        Registration(events.NODE, Action.ADD),
        Registration(events.PERSISTENT_VOLUME_CLAIM, Action.ADD, _uses_claim_by_name, *_CLAIM),
    ),
    "NodeVolumeLimits": (
        Registration(events.CSI_NODE, Action.ADD),
        Registration(events.CSI_NODE, Action.UPDATE, _after_limits),
        Registration(events.POD, Action.DELETE, _after_attached_pod_left),
        Registration(events.PERSISTENT_VOLUME_CLAIM, Action.ADD, _uses_claim, *_CLAIM),
        Registration(events.VOLUME_ATTACHMENT, Action.DELETE, _after_detach),
    ),
    "VolumeBinding": (
        Registration(events.STORAGE_CLASS, ADD_OR_UPDATE, _after_storage_class),
        Registration(events.PERSISTENT_VOLUME_CLAIM, ADD_OR_UPDATE, _uses_claim, *_CLAIM),
        Registration(events.PERSISTENT_VOLUME, ADD_OR_UPDATE),
        Registration(events.NODE, Action.ADD | Action.NODE_LABEL),
        Registration(events.CSI_NODE, ADD_OR_UPDATE, _after_migration),
        Registration(events.CSI_DRIVER, Action.UPDATE, _stops_tracking),
        Registration(events.CSI_STORAGE_CAPACITY, ADD_OR_UPDATE, _grows),
    ),
    "VolumeZone": (
        Registration(events.STORAGE_CLASS, Action.ADD, _waits_for_consumer),
        Registration(events.NODE, Action.ADD | Action.NODE_LABEL),
        Registration(events.PERSISTENT_VOLUME_CLAIM, ADD_OR_UPDATE, _uses_claim_by_name, *_CLAIM),
        Registration(events.PERSISTENT_VOLUME, ADD_OR_UPDATE, _after_zones),
    ),
    "DynamicResources": (
        Registration(events.NODE, Action.ADD | Action.NODE_LABEL | Action.NODE_ALLOCATABLE),
        Registration(events.RESOURCE_CLAIM, ADD_OR_UPDATE, _after_resource_claim, *_RESOURCE_CLAIM),
        Registration(events.POD, Action.POD_GENERATED_CLAIM, _own_claims, nobody, nobody),
        Registration(events.DEVICE_CLASS, ADD_OR_UPDATE),
        Registration(events.RESOURCE_SLICE, ADD_OR_UPDATE),
    ),
}

# SPDX-License-Identifier: Apache-2.0
"""What placement sees of claims, volumes and the drivers behind them, as plain immutable rows.

``scheduler/storage.py`` makes them from Kubernetes objects; ``state/volumes.py`` decides with them. Capacities are in
billionths of a byte (``_nano``), the finest a quantity can be, so that comparing them is exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from kubesched.state.pod_volumes import Attachable
from kubesched.state.rows import LabelSelector, Term

ClaimKey = tuple[str, str]
"""(namespace, name) of a claim."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A PersistentVolumeClaim."""

    namespace: str
    name: str
    uid: str
    storage_class: str = ""
    volume: str = ""
    """``spec.volumeName``."""
    is_bound: bool = False
    """It has a volume, and binding is completed."""
    size_nano: int = 0
    has_size: bool = False
    """Storage is requested at all."""
    access_modes: tuple[str, ...] = ()
    """Sorted."""
    volume_mode: str = "Filesystem"
    attributes_class: str = ""
    selector: LabelSelector = ()
    """Of volumes' labels; an absent selector matches all."""
    selected_node: str | None = None
    is_lost: bool = False
    is_deleting: bool = False
    owner_uid: str = ""
    """Of the controller that owns it."""

    @property
    def key(self) -> ClaimKey:
        return self.namespace, self.name

    @property
    def is_for_one(self) -> bool:
        """One pod alone may use it."""
        return "ReadWriteOncePod" in self.access_modes

    @property
    def size_bytes(self) -> int:
        """Rounded up."""
        return -(-self.size_nano // 10**9)


@dataclass(frozen=True, slots=True)
class Reach:
    """Which nodes a volume can be used on, by their labels."""

    terms: tuple[Term, ...] | None = None
    """None: all nodes. Requirements on fields always hold."""
    migrated_plugin: str = ""
    """In-tree plugin of the volume; nodes whose CSINode names it as migrated go by ``migrated_terms``."""
    migrated_terms: tuple[Term, ...] | None = None


@dataclass(frozen=True, slots=True)
class Volume:
    """A PersistentVolume."""

    name: str
    storage_class: str = ""
    size_nano: int = 0
    access_modes: tuple[str, ...] = ()
    volume_mode: str = "Filesystem"
    attributes_class: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    is_available: bool = False
    """Its phase."""
    is_deleting: bool = False
    claim: ClaimKey | None = None
    """Claim that it is reserved for."""
    claim_uid: str = ""
    """Empty: any claim of that name."""
    reach: Reach = Reach()
    attachable: Attachable | None = None
    """How a CSI driver knows it; in-tree volumes by the driver that took them over."""
    is_csi: bool = False
    """False: ``attachable`` is translated from an in-tree source."""


@dataclass(frozen=True, slots=True)
class StorageClass:
    name: str
    provisioner: str = ""
    driver: str = ""
    """CSI driver that its volumes count for; empty: none."""
    binding_mode: str | None = None
    """Immediate or WaitForFirstConsumer; None: not set, which stops kube-scheduler with an error."""
    topologies: tuple[Term, ...] = ()
    """Where volumes can be made, by nodes' labels; empty: everywhere."""


@dataclass(frozen=True, slots=True)
class CsiNode:
    """A CSINode."""

    name: str
    """Of the node."""
    limits: tuple[tuple[str, int], ...] = ()
    """(driver, most volumes); drivers without a limit are left out."""
    migrated: tuple[str, ...] = ()
    """In-tree plugins that CSI drivers took over on the node."""


@dataclass(frozen=True, slots=True)
class CsiDriver:
    name: str
    has_capacity: bool = False
    """Free space is published and must be there before a volume is made."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """A CSIStorageCapacity: free space of a class where the topology matches."""

    namespace: str
    name: str
    storage_class: str
    size_bytes: int | None
    """Largest volume, rounded up; None: not known."""
    topology: LabelSelector = None
    """Of nodes' labels; None: nowhere."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A VolumeAttachment of a PersistentVolume."""

    name: str
    node: str
    attacher: str
    """Name of the CSI driver."""
    volume: str


StorageRow = Claim | Volume | StorageClass | CsiNode | CsiDriver | Capacity | Attachment


@dataclass(slots=True)
class Storage:
    """All of them, by name, in the order in which they came."""

    claims: dict[ClaimKey, Claim] = field(default_factory=dict)
    volumes: dict[str, Volume] = field(default_factory=dict)
    classes: dict[str, StorageClass] = field(default_factory=dict)
    csi_nodes: dict[str, CsiNode] = field(default_factory=dict)
    drivers: dict[str, CsiDriver] = field(default_factory=dict)
    capacities: dict[ClaimKey, Capacity] = field(default_factory=dict)
    attachments: dict[str, Attachment] = field(default_factory=dict)

    def rows(self) -> Iterator[StorageRow]:
        """All rows."""
        for table in (self.claims, self.volumes, self.classes, self.csi_nodes, self.drivers):
            yield from table.values()
        yield from self.capacities.values()
        yield from self.attachments.values()

    def remove(self, row: StorageRow) -> bool:
        """Take out the row of this kind and name; whether it was there."""
        match row:
            case Claim():
                return self.claims.pop(row.key, None) is not None
            case Volume():
                return self.volumes.pop(row.name, None) is not None
            case StorageClass():
                return self.classes.pop(row.name, None) is not None
            case CsiNode():
                return self.csi_nodes.pop(row.name, None) is not None
            case CsiDriver():
                return self.drivers.pop(row.name, None) is not None
            case Capacity():
                return self.capacities.pop((row.namespace, row.name), None) is not None
            case Attachment():
                return self.attachments.pop(row.name, None) is not None

    def put(self, row: StorageRow) -> None:
        """Add a row, or replace the one of its name."""
        match row:
            case Claim():
                self.claims[row.key] = row
            case Volume():
                self.volumes[row.name] = row
            case StorageClass():
                self.classes[row.name] = row
            case CsiNode():
                self.csi_nodes[row.name] = row
            case CsiDriver():
                self.drivers[row.name] = row
            case Capacity():
                self.capacities[row.namespace, row.name] = row
            case Attachment():
                self.attachments[row.name] = row

# SPDX-License-Identifier: Apache-2.0
"""What a pod's volumes come to: its claims looked up, PreFilter's verdict, and the face that it shows to nodes.

Pods whose volumes ask the same of nodes have one face, however their claims are called.
Source: PreFilter of plugins/{volumerestrictions,volumebinding,volumezone}, v1.36.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kubesched.state import rows as row_types
from kubesched.state.intern import Interner
from kubesched.state.pod_volumes import ClaimUse, PodVolumes
from kubesched.state.stateful import Rejection
from kubesched.state.storage_rows import Claim, ClaimKey, Reach, Storage, Volume
from kubesched.state.volume_binding import DELAYED, NO_PROVISIONER, in_order
from kubesched.state.volume_usage import Need

RESTRICTIONS, LIMITS, BINDING, ZONE = "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"

STABLE = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "topology.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region": "topology.kubernetes.io/region",
}
"""Labels of zones and regions, and what each is called since it is stable."""

Zones = tuple[tuple[str, tuple[str, ...]], ...]
"""(label, values) that a node must have, of the labels above."""
Makes = tuple[tuple[str, int | None], ...]
"""(storage class, bytes or None where no size is asked for) of each volume to be made."""
_EVERYWHERE = Reach()


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """What bound claims and attachments ask of nodes; one object for all pods that ask the same."""

    reaches: tuple[Reach | None, ...] = ()
    """Of bound claims in order, up to the first whose volume does not exist (None)."""
    zones: Zones = ()
    need: Need = ()
    makes: Makes = ()
    """Of claims that wait, in the order in which they are looked at, where no volume is there that they could get."""
    is_local: bool = False
    """Hostnames decide: few pods have the face in common."""

    @property
    def coarse(self) -> Hashable:
        """What pods that best share an engine class have in common."""
        return ("local", self.need) if self.is_local else (self.reaches, self.zones, self.need, self.makes)


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """A pod's volumes, looked up."""

    namespace: str
    volumes: PodVolumes
    names: Mapping[str, str]
    """Driver by name of what the pod attaches."""
    named: tuple[ClaimKey, ...]
    """Claims that the pod names itself, one entry for each volume."""
    rejection: Rejection | None = None
    exclusive: tuple[ClaimKey, ...] = ()
    """Claims of access mode ReadWriteOncePod."""
    delayed: tuple[Claim, ...] = ()
    """Claims that wait for their first consumer."""
    face: Face = Face()

    @property
    def is_simple(self) -> bool:
        """Whether its verdicts follow from its face, who holds its volumes, and what was assumed for its claims."""
        is_made = len(self.delayed) == len(self.face.makes)
        return is_made and not (self.exclusive or self.volumes.disks or self.rejection)


class Resolver:
    """Looks volumes up in one state of the objects."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._reaches: Interner[Reach] = Interner([_EVERYWHERE])
        self._reach_of: dict[str, int] = {}
        self._zones_of: dict[str, Zones] = {}
        self._faces: dict[Hashable, Face] = {}
        self._with_free = {volume.storage_class for volume in storage.volumes.values() if volume.claim is None}
        for name, volume in storage.volumes.items():
            self._reach_of[name] = self._reaches.id(volume.reach)
            zones = tuple(_zones(volume)) if volume.labels else ()
            if zones:
                self._zones_of[name] = zones

    def resolve(self, key: str, namespace: str, volumes: PodVolumes) -> Resolved:
        """Look up a pod's volumes; ``key`` is the pod's name in texts. O(its volumes)."""
        claims = [self._storage.claims.get((namespace, use.name)) for use in volumes.claims]
        names = self._names(claims, volumes)
        named = tuple([(namespace, use.name) for use in volumes.claims if not use.is_ephemeral])
        for use, claim in zip(volumes.claims, claims, strict=True):
            if claim is None and not use.is_ephemeral:
                text = f'persistentvolumeclaim "{use.name}" not found'
                rejection = _reject(RESTRICTIONS, text, _reject(BINDING, text, _reject(ZONE, text)))
                return Resolved(namespace, volumes, names, named, rejection)
        pairs = list(zip(volumes.claims, claims, strict=True))
        found = self._bindings(key, volumes, pairs)
        if isinstance(found, Rejection):
            return Resolved(namespace, volumes, names, named, found)
        gone = self._without_volume(pairs)
        if gone:
            return Resolved(namespace, volumes, names, named, _reject(ZONE, f'persistentvolume "{gone}" not found'))
        bound, delayed = found
        exclusive = tuple(c.key for u, c in pairs if c is not None and not u.is_ephemeral and c.is_for_one)
        face = self._face(bound, self._makes(delayed), pairs, names)
        return Resolved(namespace, volumes, names, named, None, tuple(dict.fromkeys(exclusive)), delayed, face)

    # ---- attachments ----

    def _names(self, claims: Iterable[Claim | None], volumes: PodVolumes) -> dict[str, str]:
        out: dict[str, str] = {}
        for claim in claims:
            if claim is None:
                continue
            volume = self._storage.volumes.get(claim.volume)
            if volume is None:
                self._add_future(out, claim)
            elif volume.attachable is not None:
                out[volume.attachable.name] = volume.attachable.driver
        for attached in volumes.attached:
            out[attached.name] = attached.driver
        return out

    def _add_future(self, out: dict[str, str], claim: Claim) -> None:
        """A claim without a volume counts for the driver of its class, apart from all other volumes."""
        of = self._storage.classes.get(claim.storage_class)
        if of is not None and of.driver:
            out[f"{of.driver}/ {claim.namespace}/{claim.name}"] = of.driver

    # ---- bindings ----

    def _bindings(
        self, key: str, volumes: PodVolumes, pairs: Iterable[tuple[ClaimUse, Claim | None]]
    ) -> tuple[list[Claim], tuple[Claim, ...]] | Rejection:
        """Bound claims, and those that wait for their first consumer; or why the pod cannot be placed at all."""
        usable: list[Claim] = []
        for use, claim in pairs:
            if claim is None:
                text = f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{use.name}"'
                return _reject(BINDING, text)
            text = _unusable(use, claim, volumes.uid, key)
            if text:
                return _reject(BINDING, text)
            usable.append(claim)
        return self._sorted(usable)

    def _sorted(self, claims: Iterable[Claim]) -> tuple[list[Claim], tuple[Claim, ...]] | Rejection:
        bound: list[Claim] = []
        delayed: list[Claim] = []
        immediate = False
        for claim in claims:
            if claim.is_bound:
                bound.append(claim)
                continue
            of = self._storage.classes.get(claim.storage_class)
            if of is not None and of.binding_mode is None:
                text = f'running PreFilter plugin "{BINDING}": VolumeBindingMode not set for StorageClass "{of.name}"'
                return Rejection(BINDING, False, (text,), is_error=True)
            if of is not None and of.binding_mode == DELAYED and not claim.volume:
                delayed.append(claim)
            else:
                immediate = True
        return _reject(BINDING, _UNBOUND) if immediate else (bound, tuple(delayed))

    def _without_volume(self, pairs: Iterable[tuple[ClaimUse, Claim | None]]) -> str:
        """Name of the first volume that a claim names and that is not there; VolumeZone looks at named claims."""
        for use, claim in pairs:
            name = "" if claim is None or use.is_ephemeral else claim.volume
            if name and name not in self._storage.volumes:
                return name
        return ""

    # ---- faces ----

    def _makes(self, delayed: Sequence[Claim]) -> Makes:
        """Volumes to be made for claims that wait; empty if some could be there, or cannot be made at all."""
        out: list[tuple[str, int | None]] = []
        for claim in in_order(delayed) if delayed else ():
            of = self._storage.classes[claim.storage_class]
            if of.name in self._with_free or of.provisioner in NO_PROVISIONER or claim.selected_node is not None:
                return ()
            out.append((of.name, claim.size_bytes if claim.has_size else None))
        return tuple(out)

    def _face(
        self,
        bound: Iterable[Claim],
        makes: Makes,
        pairs: Iterable[tuple[ClaimUse, Claim | None]],
        names: Mapping[str, str],
    ) -> Face:
        reaches = [self._reach_of.get(claim.volume, -1) for claim in bound]
        zones: Zones = ()
        if self._zones_of:
            of = [self._zones_of.get(c.volume, ()) for use, c in pairs if c is not None and not use.is_ephemeral]
            zones = tuple(dict.fromkeys(zone for one in of for zone in one))
        drivers = list(names.values())
        need = tuple([(name, drivers.count(name)) for name in sorted(set(drivers))])
        key = tuple(reaches), zones, need, makes
        found = self._faces.get(key)
        if found is None:
            distinct = tuple(self._reaches_of(reaches))
            found = self._faces[key] = Face(distinct, zones, need, makes, any(map(_names_host, distinct)))
        return found

    def _reaches_of(self, numbers: Iterable[int]) -> Iterable[Reach | None]:
        for number in dict.fromkeys(numbers):
            if number:
                yield None if number < 0 else self._reaches.value(number)
            if number < 0:
                return


def _reject(plugin: str, text: str, behind: Rejection | None = None) -> Rejection:
    return Rejection(plugin, True, (text,), behind=behind)


def _unusable(use: ClaimUse, claim: Claim, uid: str, key: str) -> str:
    """Why a claim cannot be used at all; empty: it can."""
    if claim.is_lost:
        return f'persistentvolumeclaim "{use.name}" bound to non-existent persistentvolume "{claim.volume}"'
    if claim.is_deleting:
        return f'persistentvolumeclaim "{use.name}" is being deleted'
    if use.is_ephemeral and claim.owner_uid != uid:
        return f"PVC {claim.namespace}/{claim.name} was not created for pod {key} (pod is not owner)"
    return ""


def _zones(volume: Volume) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Zones and regions that a volume's labels name; a list with a hole is not understood, and ignored."""
    labels = dict(volume.labels)
    for key in STABLE:
        values = {part.strip() for part in labels.get(key, "").split("__")}
        if "" not in values:
            yield key, tuple(sorted(values))


def _names_host(reach: Reach | None) -> bool:
    """Whether hostnames decide: few pods have such a reach in common."""
    terms = () if reach is None else (*(reach.terms or ()), *(reach.migrated_terms or ()))
    return any(q.key == row_types.HOSTNAME_LABEL for term in terms for q in term.requirements)

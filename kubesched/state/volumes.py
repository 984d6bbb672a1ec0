# SPDX-License-Identifier: Apache-2.0
"""VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.

A pod's volumes are resolved against the claims, volumes and classes once; what they come to is a few columns of
verdicts, most of which many pods share: those change only with rows that changed. Pods whose columns are alike are
put into one engine class (`Volumes.introduce`), so that a decision rewrites next to nothing.
Source: plugins/{volumerestrictions,nodevolumelimits,volumebinding,volumezone}, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE, U8
from kubesched.state import rows as row_types
from kubesched.state.intern import Interner
from kubesched.state.pod_volumes import ClaimUse, PodVolumes
from kubesched.state.row_labels import Bool, Column, RowLabels
from kubesched.state.stateful import Rejection, VerdictReasons
from kubesched.state.storage_rows import Claim, ClaimKey, Reach, Storage, StorageRow, Volume
from kubesched.state.volume_binding import DELAYED, NO_MATCH, NO_SPACE, Binder, Found
from kubesched.state.volume_usage import Held, Need, VolumeUsage

RESTRICTIONS, LIMITS, BINDING, ZONE = "VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone"
_DISK_CONFLICT = "node(s) had no available disk"
_IN_USE = (
    "node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod"
)
_TOO_MANY = "node(s) exceed max volume count"
_NOT_FOUND = "node(s) didn't find available persistent volumes to bind"
_WRONG_NODE = "node(s) didn't match PersistentVolume's node affinity"
_NO_FREE_SPACE = "node(s) did not have enough free storage"
_GONE = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)"
_WRONG_ZONE = "node(s) had no available volume zone"
_UNBOUND = "pod has unbound immediate PersistentVolumeClaims"
_ONE_POD = "ReadWriteOncePod"

_ZONE = "topology.kubernetes.io/zone"
_REGION = "topology.kubernetes.io/region"
_STABLE = {
    "failure-domain.beta.kubernetes.io/zone": _ZONE,
    "failure-domain.beta.kubernetes.io/region": _REGION,
    _ZONE: _ZONE,
    _REGION: _REGION,
}
"""Labels of zones and regions, and what each is called since it is stable."""

Zones = tuple[tuple[str, tuple[str, ...]], ...]
"""(label, values) that a node must have, of the labels above."""


@dataclass(slots=True)
class _Resolved:
    """What a pod's volumes come to, as long as no object changes."""

    namespace: str
    volumes: PodVolumes
    version: int
    held: Held
    """On no row yet."""
    rejection: Rejection | None = None
    exclusive: tuple[ClaimKey, ...] = ()
    """Claims of access mode ReadWriteOncePod."""
    need: Need = ()
    reaches: tuple[Reach | None, ...] = ()
    """Of bound claims in order, up to the first whose volume does not exist (None)."""
    delayed: tuple[Claim, ...] = ()
    zones: Zones = ()


@dataclass(slots=True)
class _Shown:
    """What a verdict column of the engine holds."""

    column: Column | None
    """None: none that is shared."""
    seen: int = 0
    exceptions: I32 = field(default_factory=lambda: _NO_ROWS)
    """Rows on which it says something else than the column."""


@dataclass(slots=True)
class _Entry:
    """A change to undo: what was done, about whom, and what was there before."""

    kind: str
    key: Hashable
    before: object = None


@dataclass(slots=True)
class _Cache:
    """Columns that pods share, by what they are made of; dropped when objects change."""

    columns: dict[Hashable, Column] = field(default_factory=dict)
    migrated: dict[str, Bool] = field(default_factory=dict)


class Volumes:
    """The four volume plugins. Implements `stateful.Stateful`.

    Parameters
    ----------
    row_of, name_of
        Rows and names of nodes.
    """

    def __init__(
        self,
        engine: native.Engine,
        reasons: VerdictReasons,
        labels: RowLabels,
        row_of: Callable[[str], int | None],
        name_of: Callable[[int], str | None],
    ) -> None:
        self._engine, self._labels, self._row_of, self._name_of = engine, labels, row_of, name_of
        self.storage = Storage()
        self._version = 0
        self._stale = False
        self._binder = Binder(labels, self._is_migrated)
        self._usage = VolumeUsage(engine)
        self._cache = _Cache()
        self._known: dict[str, _Resolved] = {}
        self._placed: dict[str, Held] = {}
        self._groups: Interner[Hashable] = Interner([()])
        self._shown: dict[tuple[int, str], _Shown] = {}
        self._asked: tuple[str, Found] | None = None
        self._journal: list[_Entry] | None = None
        self._nothing = Column(lambda: engine.n_rows, labels.log, self._no_codes)
        self._codes = {name: reasons.code(name, (text,), hard) for name, text, hard in _SINGLE}
        self._conflict = reasons.code(RESTRICTIONS, (_DISK_CONFLICT,), unresolvable=False)
        self._binding_codes = _binding_codes(reasons)

    # ---- objects and nodes ----

    @property
    def is_used(self) -> bool:
        """Whether there are objects of storage, or pods with volumes."""
        return self.storage != Storage() or bool(self._known)

    def put(self, objects: Iterable[StorageRow]) -> None:
        """Add objects, or replace those of the same kind and name."""
        for row in objects:
            self.storage.put(row)
            self._stale = True

    def set_rows(self, changed: Sequence[int]) -> None:
        """Rows were added or rewritten. O(rows), and nothing where there are no volumes."""
        self._labels.set_rows(changed)
        self._cache.migrated.clear()
        if self._stale or not (self.storage.csi_nodes or self.storage.attachments):
            return
        held = self._attachments()
        for row in changed:
            name = self._name_of(row)
            if name is not None:
                self._usage.set_node(row, name, self.storage, held.get(name, ()))

    def remove_row(self, row: int) -> None:
        """A node is gone: what its pods hold counts no more. O(placed pods with volumes)."""
        for key, held in self._placed.items():
            if held.row == row:
                self._usage.let_go(held)
                self._placed[key] = Held(NO_NODE, held.names, held.disks, held.claims)
        self._usage.clear_row(row)

    def _attachments(self) -> dict[str, list[tuple[str, str]]]:
        """(volume's name, driver) of the VolumeAttachments by node."""
        out: dict[str, list[tuple[str, str]]] = {}
        for attachment in self.storage.attachments.values():
            volume = self.storage.volumes.get(attachment.volume)
            if attachment.attacher and volume is not None and volume.is_csi and volume.attachable is not None:
                name = f"{attachment.attacher}/{volume.attachable.handle}"
                out.setdefault(attachment.node, []).append((name, attachment.attacher))
        return out

    def _refresh(self) -> None:
        """Objects changed: everything that was derived of them is made anew. O(objects + placed pods)."""
        if not self._stale:
            return
        self._stale = False
        self._version += 1
        self._binder.reset(self.storage)
        self._cache = _Cache()
        self._usage = VolumeUsage(self._engine)
        held = self._attachments()
        for name in self.storage.csi_nodes.keys() | held.keys():
            row = self._row_of(name)
            if row is not None:
                self._usage.set_node(row, name, self.storage, held.get(name, ()))
        for key, before in self._placed.items():
            now = self._resolve(key).held
            self._placed[key] = Held(before.row, now.names, now.disks, now.claims)
            if before.row != NO_NODE:
                self._usage.hold(self._placed[key])

    def _is_migrated(self, plugin: str, at: I32 | None) -> Bool:
        """Rows whose CSINode says that a CSI driver took over the in-tree plugin (None: all)."""
        found = self._cache.migrated.get(plugin)
        if found is None or len(found) != self._engine.n_rows:
            found = np.zeros(self._engine.n_rows, dtype=np.bool_)
            named = (self._row_of(node.name) for node in self.storage.csi_nodes.values() if plugin in node.migrated)
            found[[row for row in named if row is not None]] = True
            self._cache.migrated[plugin] = found
        return found if at is None else found[at]

    # ---- pods ----

    def introduce(self, pod: row_types.PodRow, volumes: PodVolumes) -> int:
        """Make a pod's volumes known; the group of pods that best share an engine class with it, 1 or more."""
        self._refresh()
        self._known[pod.key] = _Resolved(pod.namespace, volumes, -1, Held(NO_NODE, {}))
        found = self._resolve(pod.key)
        coarse = found.reaches if not any(map(_names_host, found.reaches)) else ()
        return self._groups.id((coarse, found.zones, found.need))

    def run(self, pod: row_types.PodRow, volumes: PodVolumes, row: int) -> None:
        """A pod runs on the row already: it holds its volumes there, and nothing is assumed for it."""
        self.introduce(pod, volumes)
        self._hold(pod.key, row)

    def _resolve(self, key: str) -> _Resolved:
        found = self._known[key]
        if found.version == self._version:
            return found
        volumes, namespace = found.volumes, found.namespace
        named = tuple((namespace, use.name) for use in volumes.claims if not use.is_ephemeral)
        names = self._attached_names(namespace, volumes)
        counts = Counter(names.values())
        found = _Resolved(namespace, volumes, self._version, Held(NO_NODE, names, volumes.disks, named))
        found.need = tuple(sorted(counts.items()))
        found.rejection = self._check(found, key)
        self._known[key] = found
        return found

    def _attached_names(self, namespace: str, volumes: PodVolumes) -> dict[str, str]:
        """Driver by name of what the pod attaches."""
        out: dict[str, str] = {}
        for use in volumes.claims:
            claim = self.storage.claims.get((namespace, use.name))
            volume = None if claim is None else self.storage.volumes.get(claim.volume)
            if volume is not None and volume.attachable is not None:
                out[volume.attachable.name] = volume.attachable.driver
            elif claim is not None and volume is None:
                out.update(self._future_volume(claim))
        out.update((attached.name, attached.driver) for attached in volumes.attached)
        return out

    def _future_volume(self, claim: Claim) -> dict[str, str]:
        """A claim without a volume counts for the driver of its class, apart from all other volumes."""
        of = self.storage.classes.get(claim.storage_class)
        driver = "" if of is None else of.driver
        return {f"{driver}/ {claim.namespace}/{claim.name}": driver} if driver else {}

    # ---- PreFilter ----

    def _check(self, found: _Resolved, key: str) -> Rejection | None:
        """Fill in what the claims come to; why the pod cannot be placed at all, if so."""
        named = [use for use in found.volumes.claims if not use.is_ephemeral]
        for use in named:
            if (found.namespace, use.name) not in self.storage.claims:
                return _reject(RESTRICTIONS, f'persistentvolumeclaim "{use.name}" not found')
        claims = self.storage.claims
        modes = {(found.namespace, u.name): claims[found.namespace, u.name].access_modes for u in named}
        found.exclusive = tuple(claim for claim, of in modes.items() if _ONE_POD in of)
        return self._check_binding(found, key) or self._check_zones(found, named)

    def _check_binding(self, found: _Resolved, key: str) -> Rejection | None:
        for use in found.volumes.claims:
            text = self._unusable(found, use, key)
            if text:
                return _reject(BINDING, text)
        bound: list[Claim] = []
        delayed: list[Claim] = []
        immediate = False
        for use in found.volumes.claims:
            claim = self.storage.claims[found.namespace, use.name]
            if claim.is_bound:
                bound.append(claim)
                continue
            of = self.storage.classes.get(claim.storage_class)
            if of is not None and of.binding_mode is None:
                text = f'running PreFilter plugin "{BINDING}": VolumeBindingMode not set for StorageClass "{of.name}"'
                return Rejection(BINDING, False, (text,), is_error=True)
            if of is not None and of.binding_mode == DELAYED and not claim.volume:
                delayed.append(claim)
            else:
                immediate = True
        if immediate:
            return _reject(BINDING, _UNBOUND)
        found.reaches, found.delayed = self._reaches(bound), tuple(delayed)
        return None

    def _unusable(self, found: _Resolved, use: ClaimUse, key: str) -> str:
        """Why a claim cannot be used at all; empty: it can."""
        claim = self.storage.claims.get((found.namespace, use.name))
        if claim is None and use.is_ephemeral:
            return f'waiting for ephemeral volume controller to create the persistentvolumeclaim "{use.name}"'
        if claim is None:
            return f'persistentvolumeclaim "{use.name}" not found'
        if claim.is_lost:
            return f'persistentvolumeclaim "{use.name}" bound to non-existent persistentvolume "{claim.volume}"'
        if claim.is_deleting:
            return f'persistentvolumeclaim "{use.name}" is being deleted'
        if use.is_ephemeral and claim.owner_uid != found.volumes.uid:
            return f"PVC {claim.namespace}/{claim.name} was not created for pod {key} (pod is not owner)"
        return ""

    def _reaches(self, bound: Iterable[Claim]) -> tuple[Reach | None, ...]:
        out: dict[Reach | None, None] = {}
        for claim in bound:
            volume = self.storage.volumes.get(claim.volume)
            out[None if volume is None else volume.reach] = None
            if volume is None:
                break
        return tuple(reach for reach in out if reach != Reach())

    def _check_zones(self, found: _Resolved, named: Iterable[ClaimUse]) -> Rejection | None:
        out: dict[tuple[str, tuple[str, ...]], None] = {}
        for use in named:
            name = self.storage.claims[found.namespace, use.name].volume
            if name and name not in self.storage.volumes:
                return _reject(ZONE, f'persistentvolume "{name}" not found')
            if name:
                out.update(dict.fromkeys(_zones(self.storage.volumes[name])))
        found.zones = tuple(out)
        return None

    # ---- Stateful ----

    def concerns(self, shape: row_types.PodShape) -> bool:
        return shape.volume_group > 0

    def prepare(self, key: str, class_id: int, shape: row_types.PodShape) -> Rejection | None:
        self._refresh()
        pod = self._resolve(key)
        self._asked = None
        if pod.rejection is not None:
            return pod.rejection
        self._show_restrictions(class_id, pod)
        self._show_limits(class_id, pod)
        self._show(class_id, ZONE, self._zone_column(pod.zones))
        bound = self._bound_column(pod.reaches)
        if not pod.delayed:
            self._show(class_id, BINDING, bound)
            self._asked = key, Found(_NO_CODES)
            return None
        found = self._binder.find(pod.delayed, self._row_of)
        codes = self._binding_codes[found.outcome, _bound_state(bound.refresh(), self._codes[BINDING])]
        self._show_all(class_id, BINDING, codes)
        self._asked = key, found
        return None

    def reserve(self, key: str, class_id: int, shape: row_types.PodShape, row: int) -> None:
        self._hold(key, row)
        if self._asked is None or self._asked[0] != key:
            return  # it was not decided now: what it took is in the objects
        found, self._asked = self._asked[1], None
        for match in found.matches:
            volume = match.on(row)
            if volume is not None:
                self._note("take", volume.name, self._binder.take(volume.name, match.claim.key))
        for claim, where in found.provisions:
            if where[row]:
                self._note("select", claim.key, self._binder.select(claim.key, self._name_of(row)))

    def release(self, key: str) -> None:
        held = self._placed.pop(key, None)
        if held is None:
            return
        if held.row != NO_NODE:
            self._usage.let_go(held)
        self._note("release", key, held)

    def _hold(self, key: str, row: int) -> None:
        of = self._resolve(key).held
        held = self._placed[key] = Held(row, of.names, of.disks, of.claims)
        self._usage.hold(held)
        self._note("hold", key)

    def mark(self) -> int:
        if self._journal is None:
            self._journal = []
        return len(self._journal)

    def forget(self) -> None:
        """No speculation is open: changes need not be remembered."""
        self._journal = None

    def rollback(self, mark: int) -> None:
        journal = self._journal or []
        self._asked = None
        while len(journal) > mark:
            self._undo(journal.pop())

    def _note(self, kind: str, key: Hashable, before: object = None) -> None:
        if self._journal is not None:
            self._journal.append(_Entry(kind, key, before))

    def _undo(self, entry: _Entry) -> None:
        key, before = entry.key, entry.before
        if entry.kind == "hold":
            held = self._placed.pop(str(key))
            if held.row != NO_NODE:
                self._usage.let_go(held)
        elif entry.kind == "release" and isinstance(before, Held):
            self._placed[str(key)] = before
            if before.row != NO_NODE:
                self._usage.hold(before)
        elif entry.kind == "take":
            self._binder.take(str(key), before if isinstance(before, tuple) else None)
        elif entry.kind == "select" and isinstance(key, tuple):
            self._binder.select(key, before if isinstance(before, str) else None)

    # ---- other pods: the seam for preemption ----

    def verdict_on(
        self, key: str, row: int, without: Collection[str] = (), among: Collection[str] = ()
    ) -> tuple[str, int] | None:
        """The first volume filter that a pod fails on one row, if other pods left the row or came to it.

        What preemption's dry run asks: whether evicting pods would help, and which may stay. Nothing changes, no
        verdict column either. Call it between the pod's `prepare` and the next change.

        Parameters
        ----------
        key
            The pod to place; it must have been introduced, and PreFilter must not have rejected it.
        row
            The node.
        without
            Keys of pods on the row that are thought away; pods without volumes do not matter.
        among
            Keys of pods that are thought to be on the row as well (nominated ones); introduced pods only.

        Returns
        -------
        tuple[str, int] | None
            Filter and code, as in its verdict column (`VerdictReasons.reasons`, ``native.VERDICT_UNRESOLVABLE``);
            None: the row passes. O(volumes of the pods named), plus O(rows) if the pod has unbound claims and was not
            the last to be prepared.
        """
        self._refresh()
        pod = self._resolve(key)
        gone = [self._placed[other] for other in without if other in self._placed and self._placed[other].row == row]
        come = [self._resolve(other).held for other in among if other in self._known]
        code = self._restriction_on(pod, row, gone, come)
        if code:
            return RESTRICTIONS, code
        if self._usage.exceeds_on(row, pod.held.names, gone, come):
            return LIMITS, self._codes[LIMITS]
        for plugin, code in ((BINDING, self._binding_on(key, pod, row)), (ZONE, self._zone_code(pod, row))):
            if code:
                return plugin, code
        return None

    def _restriction_on(self, pod: _Resolved, row: int, gone: Sequence[Held], come: Sequence[Held]) -> int:
        if self._usage.clashes_on(row, pod.volumes.disks, gone, come):
            return self._conflict
        # Upstream counts claims in use once, and takes off or adds every volume that refers to one.
        in_use = sum(self._usage.users[claim] > 0 for claim in pod.exclusive)
        in_use -= sum(claim in pod.exclusive for held in gone for claim in held.claims)
        in_use += sum(claim in pod.exclusive for held in come for claim in held.claims)
        return self._codes[RESTRICTIONS] if in_use > 0 else 0

    def _binding_on(self, key: str, pod: _Resolved, row: int) -> int:
        bound = self._bound_column(pod.reaches).refresh()
        if not pod.delayed:
            return int(bound[row])
        is_last = self._asked is not None and self._asked[0] == key
        found = self._asked[1] if self._asked is not None and is_last else self._binder.find(pod.delayed, self._row_of)
        state = _bound_state(bound[row : row + 1], self._codes[BINDING])
        return int(self._binding_codes[found.outcome[row], state[0]])

    def _zone_code(self, pod: _Resolved, row: int) -> int:
        return int(self._zone_column(pod.zones).refresh()[row])

    # ---- columns ----

    def _no_codes(self, at: I32 | None) -> U8:
        return np.zeros(self._engine.n_rows if at is None else len(at), dtype=np.uint8)

    def _show_restrictions(self, class_id: int, pod: _Resolved) -> None:
        in_use = any(self._usage.users[claim] > 0 for claim in pod.exclusive)
        column = self._in_use_column() if in_use else self._nothing
        rows = sorted(self._usage.clashing_rows(pod.volumes.disks)) if pod.volumes.disks else ()
        if not rows:
            self._show(class_id, RESTRICTIONS, column)
            return
        codes = np.full(len(rows), self._conflict, dtype=np.uint8)
        self._show(class_id, RESTRICTIONS, column, arrays.int32(rows), codes)

    def _in_use_column(self) -> Column:
        def compute(at: I32 | None) -> U8:
            return self._no_codes(at) + np.uint8(self._codes[RESTRICTIONS])

        return self._shared("in use", compute)

    def _show_limits(self, class_id: int, pod: _Resolved) -> None:
        column = self._nothing
        if pod.need:
            code = np.uint8(self._codes[LIMITS])

            def compute(at: I32 | None) -> U8:
                return self._usage.exceeds(pod.need, at) * code

            column = self._shared(("limits", pod.need), compute, of_usage=True)
        rows, exceeds = self._usage.sharing_rows(pod.held.names, pod.need)
        self._show(class_id, LIMITS, column, rows, exceeds * np.uint8(self._codes[LIMITS]))

    def _zone_column(self, zones: Zones) -> Column:
        if not zones:
            return self._nothing

        def compute(at: I32 | None) -> U8:
            return self._is_elsewhere(zones, at) * np.uint8(self._codes[ZONE])

        return self._shared(("zones", zones), compute)

    def _is_elsewhere(self, zones: Zones, at: I32 | None) -> Bool:
        """Rows that have labels of zones, and other ones than the volumes."""
        n = self._engine.n_rows if at is None else len(at)
        is_zoned, wrong = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        for key in _STABLE:
            is_zoned |= self._labels.values(key, at) >= 0
        for key, wanted in zones:
            values = self._labels.values(key, at)
            values = np.where(values >= 0, values, self._labels.values(_STABLE[key], at))
            wrong |= ~self._labels.listed(values, wanted)
        return is_zoned & wrong

    def _bound_column(self, reaches: tuple[Reach | None, ...]) -> Column:
        """Bound claims: the first that fails on a row counts."""
        if not reaches:
            return self._nothing

        def compute(at: I32 | None) -> U8:
            out = self._no_codes(at)
            for reach in reaches:
                if reach is None:
                    out[out == 0] = self._binding_codes[0, 2]
                else:
                    out[(out == 0) & ~self._binder.reaches(reach, at)] = self._codes[BINDING]
            return out

        return self._shared(("bound", reaches), compute)

    def _shared(self, key: Hashable, compute: Callable[[I32 | None], U8], of_usage: bool = False) -> Column:
        found = self._cache.columns.get(key)
        if found is None:
            log = self._usage.log if of_usage else self._labels.log
            found = self._cache.columns[key] = Column(lambda: self._engine.n_rows, log, compute)
        return found

    def _show(self, class_id: int, plugin: str, column: Column, at: I32 | None = None, codes: U8 | None = None) -> None:
        """Make a verdict column of the engine say what ``column`` says, and ``codes`` at the rows ``at`` (ascending).

        O(rows that changed since it was last shown), or O(rows) where it showed another column.
        """
        shown = self._shown.get((class_id, plugin))
        at, codes = (_NO_ROWS, _NO_CODES) if at is None or codes is None else (at, codes)
        if shown is None and column is self._nothing and len(at) == 0:
            return
        base, number = column.refresh(), native.FILTERS[plugin]
        changed = column.changed.since(shown.seen) if shown is not None and shown.column is column else None
        if shown is None or changed is None:
            wanted = base.copy()
            wanted[at] = codes
            self._engine.set_verdicts(class_id, number, None, wanted)
        elif changed or len(at) or len(shown.exceptions):
            rows = np.unique(np.concatenate([arrays.int32(changed), shown.exceptions, at]))
            wanted = base[rows]
            wanted[np.searchsorted(rows, at)] = codes
            self._engine.set_verdicts(class_id, number, rows, wanted)
        self._shown[class_id, plugin] = _Shown(column, column.changed.end, at)

    def _show_all(self, class_id: int, plugin: str, codes: U8) -> None:
        """Make a verdict column of the engine say ``codes``, ``[n_rows]``, for one pod. O(rows)."""
        self._engine.set_verdicts(class_id, native.FILTERS[plugin], None, codes)
        self._shown[class_id, plugin] = _Shown(None)


def _reject(plugin: str, text: str) -> Rejection:
    return Rejection(plugin, True, (text,))


def _zones(volume: Volume) -> Iterable[tuple[str, tuple[str, ...]]]:
    """Zones and regions that a volume's labels name; a list with a hole is not understood, and ignored."""
    labels = dict(volume.labels)
    for key in _STABLE:
        values = {part.strip() for part in labels.get(key, "").split("__")}
        if "" not in values:
            yield key, tuple(sorted(values))


def _names_host(reach: Reach | None) -> bool:
    """Whether hostnames decide: few pods have such a reach in common."""
    terms = () if reach is None else (*(reach.terms or ()), *(reach.migrated_terms or ()))
    return any(q.key == row_types.HOSTNAME_LABEL for term in terms for q in term.requirements)


def _bound_state(codes: U8, wrong_node: int) -> U8:
    """0: all bound claims can be used, 1: one is elsewhere, 2: one has no volume."""
    return np.where(codes == 0, 0, np.where(codes == wrong_node, 1, 2)).astype(np.uint8)


def _binding_codes(reasons: VerdictReasons) -> U8:
    """Code of VolumeBinding by outcome of the unbound claims, and by state of the bound ones."""
    out = np.zeros((3, 3), dtype=np.uint8)
    unbound_texts = {NO_MATCH: _NOT_FOUND, NO_SPACE: _NO_FREE_SPACE}
    bound_texts = {1: _WRONG_NODE, 2: _GONE}
    for unbound in range(3):
        for bound in range(3):
            texts = sorted(t for t in (unbound_texts.get(unbound), bound_texts.get(bound)) if t is not None)
            if texts:
                out[unbound, bound] = reasons.code(BINDING, tuple(texts), unresolvable=True)
    return out


_SINGLE = (
    (RESTRICTIONS, _IN_USE, False),
    (LIMITS, _TOO_MANY, False),
    (BINDING, _WRONG_NODE, True),
    (ZONE, _WRONG_ZONE, True),
)
"""Filter, reason, and whether evicting pods cannot help."""
_NO_ROWS: I32 = np.zeros(0, dtype=np.int32)
_NO_CODES: U8 = np.zeros(0, dtype=np.uint8)

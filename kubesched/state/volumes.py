# SPDX-License-Identifier: Apache-2.0
"""VolumeRestrictions, NodeVolumeLimits, VolumeBinding and VolumeZone.

A pod's volumes are looked up once (`volume_claims`); what they come to is a few columns of verdicts, most of which
many pods share (`volume_columns`). Pods whose columns are alike are put into one engine class (`Volumes.introduce`),
so that a decision rewrites next to nothing, and many can be decided in one call (`Volumes.batch`).
Source: plugins/{volumerestrictions,nodevolumelimits,volumebinding,volumezone}, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.state import rows as row_types
from kubesched.state.intern import Interner
from kubesched.state.pod_volumes import PodVolumes
from kubesched.state.row_labels import Bool, RowLabels
from kubesched.state.stateful import Rejection, VerdictReasons
from kubesched.state.storage_rows import ClaimKey, Storage, StorageRow
from kubesched.state.volume_binding import Binder, Found
from kubesched.state.volume_claims import BINDING, LIMITS, RESTRICTIONS, ZONE, Face, Resolved, Resolver
from kubesched.state.volume_columns import NO_CODES, Codes, Screen, VolumeColumns
from kubesched.state.volume_holds import Holds
from kubesched.state.volume_usage import Held, VolumeUsage


@dataclass(frozen=True, slots=True)
class _Assumed:
    """What Reserve assumed for a pod: a claim took a volume, or was pinned to a node; and what was before."""

    claim: ClaimKey
    volume: str = ""
    taken_from: ClaimKey | None = None
    node: str = ""
    """Empty: it took a volume."""
    node_before: str | None = None


@dataclass(frozen=True, slots=True)
class _Placed:
    """A pod on its row."""

    held: Held
    assumed: tuple[_Assumed, ...] = ()


@dataclass(frozen=True, slots=True)
class _Change:
    """A pod came to its row or left it."""

    key: str
    placed: _Placed
    came: bool
    is_undo: bool = False


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
        self._stale = False
        self._codes = Codes(reasons)
        engine.set_hold_codes(int(self._codes.disk_conflict), int(self._codes.in_use), int(self._codes.too_many))
        self._holds = Holds(engine, lambda key: key in self.storage.claims and self.storage.claims[key].is_for_one)
        self._told: set[str] = set()
        """Nodes that the engine may know limits or attachments of."""
        self.on_derived: Callable[[Collection[str]], None] = lambda keys: None
        """Called when objects may have changed what pods of these keys hold."""
        self._screen = Screen(engine)
        self._binder = Binder(labels, self._is_migrated)
        self._groups: Interner[Hashable] = Interner([()])
        self._known: dict[str, Resolved] = {}
        self._known_before: dict[str, Resolved] = {}
        self._placed: dict[str, _Placed] = {}
        self._asked: tuple[str, Found] | None = None
        self._journal: list[_Change] | None = None
        self._derive()

    def _derive(self) -> None:
        """Empty tables for what follows from the objects."""
        self._usage = VolumeUsage(self._labels)
        self._columns = VolumeColumns(self._labels, self._usage, self._codes, self._binder)
        self._resolver = Resolver(self.storage)
        self._group_of: dict[Face, int] = {}
        self._migrated: dict[str, Bool] = {}

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

    def drop(self, objects: Iterable[StorageRow]) -> None:
        """Take objects out, by kind and name; what pods hold of them counts as upstream counts what is missing.

        Raises
        ------
        StateError
            One is not there.
        """
        for row in objects:
            if not self.storage.remove(row):
                kind = type(row).__name__
                raise errors.StateError(f"{kind} {row.name}", "does not exist", row.name, "an object of the cluster")
            self._stale = True

    def adopt(self, other: Volumes) -> None:
        """Take over the objects of another cluster whose nodes have the same names, and what its pods hold."""
        self.put(other.storage.rows())
        self._known_before = other._known_before | other._known
        for volume, claim in other._binder.taken.items():
            self._binder.take(volume, claim)
        for claim, node in other._binder.selected.items():
            self._binder.select(claim, node)
        for key, placed in other._placed.items():
            name = None if placed.held.row == NO_NODE else other._name_of(placed.held.row)
            row = None if name is None else self._row_of(name)
            self._placed[key] = _Placed(placed.held.on(NO_NODE if row is None else row), placed.assumed)

    def set_rows(self, changed: Sequence[int]) -> None:
        """Rows were added or rewritten. O(rows), and nothing where there are no volumes."""
        self._labels.set_rows(changed)
        self._migrated.clear()
        if self._stale or not (self.storage.csi_nodes or self.storage.attachments):
            return
        held = self._attachments()
        for row in changed:
            name = self._name_of(row)
            if name is not None:
                self._usage.set_node(row, name, self.storage, held.get(name, ()))
        self._tell(name for name in map(self._name_of, changed) if name is not None)

    def remove_row(self, row: int) -> None:
        """A node is gone: what its pods hold counts no more. O(placed pods with volumes)."""
        for key, placed in self._placed.items():
            if placed.held.row == row:
                self._usage.let_go(placed.held)
                self._placed[key] = _Placed(placed.held.on(NO_NODE), placed.assumed)
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
        self._binder.reset(self.storage)
        self._derive()
        self._known_before |= self._known
        self._known = {}
        held = self._attachments()
        for name in self._nodes():
            row = self._row_of(name)
            if row is not None:
                self._usage.set_node(row, name, self.storage, held.get(name, ()))
        for key, placed in self._placed.items():
            now = self._held(key, placed.held.row)
            self._placed[key] = _Placed(now, placed.assumed)
            self._usage.hold(now)
        self._tell(self._told | self._nodes())
        self.on_derived(self._placed.keys())

    def _nodes(self) -> set[str]:
        """Nodes with a CSINode or a VolumeAttachment."""
        return self.storage.csi_nodes.keys() | {attachment.node for attachment in self.storage.attachments.values()}

    def _is_migrated(self, plugin: str, at: I32 | None) -> Bool:
        """Rows whose CSINode says that a CSI driver took over the in-tree plugin (None: all)."""
        found = self._migrated.get(plugin)
        if found is None or len(found) != self._engine.n_rows:
            found = np.zeros(self._engine.n_rows, dtype=np.bool_)
            named = (self._row_of(node.name) for node in self.storage.csi_nodes.values() if plugin in node.migrated)
            found[[row for row in named if row is not None]] = True
            self._migrated[plugin] = found
        return found if at is None else found[at]

    # ---- pods ----

    def introduce(self, pod: row_types.PodRow, volumes: PodVolumes) -> int:
        """Make a pod's volumes known; the group of pods that best share an engine class with it, 1 or more."""
        self._refresh()
        key = pod.key
        found = self._known[key] = self._resolver.resolve(key, pod.namespace, volumes)
        group = self._group_of.get(found.face)
        if group is None:
            group = self._group_of[found.face] = self._groups.id(found.face.coarse)
        return group

    def run(self, pod: row_types.PodRow, volumes: PodVolumes, row: int) -> None:
        """A pod runs on the row already: it holds its volumes there, and nothing is assumed for it."""
        self.introduce(pod, volumes)
        self._put_on(pod.key, _Placed(self._held(pod.key, row)))

    def _resolve(self, key: str) -> Resolved:
        found = self._known.get(key)
        if found is None:  # objects changed since the pod was introduced
            before = self._known_before[key]
            found = self._known[key] = self._resolver.resolve(key, before.namespace, before.volumes)
        return found

    def _held(self, key: str, row: int) -> Held:
        pod = self._resolve(key)
        return Held(row, pod.names, pod.volumes.disks, pod.named)

    # ---- Stateful ----

    def concerns(self, shape: row_types.PodShape) -> bool:
        return shape.volume_group > 0

    def prepare(self, key: str, class_id: int, shape: row_types.PodShape) -> Rejection | None:
        self._refresh()
        pod = self._resolve(key)
        self._asked = None
        if pod.rejection is not None:
            for plugin in (RESTRICTIONS, LIMITS, BINDING, ZONE):
                self._screen.show(class_id, plugin, self._columns.nothing)
            return pod.rejection
        self._show_restrictions(class_id, pod)
        columns = self._columns.of(pod.face)
        rows, exceeds = self._usage.sharing_rows(pod.names, pod.face.need)
        self._screen.show(class_id, LIMITS, columns.limits, rows, exceeds * self._codes.too_many)
        self._screen.show(class_id, ZONE, columns.zone)
        found = self._found_made(pod)
        if found is None:
            found = self._binder.find(pod.delayed, self._row_of)
            state = self._codes.bound_state(columns.bound.refresh())
            self._screen.show_all(class_id, BINDING, self._codes.binding[found.outcome, state])
        else:
            self._screen.show(class_id, BINDING, columns.binding)
        self._asked = key, found
        return None

    def _show_restrictions(self, class_id: int, pod: Resolved) -> None:
        is_free = not pod.exclusive and not pod.volumes.disks
        if is_free and self._screen.is_clear(class_id, RESTRICTIONS):
            return
        in_use = any(self._usage.users[claim] > 0 for claim in pod.exclusive)
        column = self._columns.in_use if in_use else self._columns.nothing
        rows = arrays.int32(sorted(self._usage.clashing_rows(pod.volumes.disks)))
        self._screen.show(class_id, RESTRICTIONS, column, rows, np.full(len(rows), self._codes.disk_conflict))

    def _found_made(self, pod: Resolved) -> Found | None:
        """What becomes of the claims of a pod where none of them needs a search; None: one does."""
        if not pod.delayed:
            return _NOTHING
        if len(pod.face.makes) != len(pod.delayed) or not self._binder.are_fresh(pod.delayed):
            return None
        return Found(NO_CODES, provisions=[(claim, None) for claim in pod.delayed])

    def reserve(self, key: str, class_id: int, shape: row_types.PodShape, row: int) -> None:
        found = _NOTHING  # if it was not decided, what it took is in the objects
        if self._asked is not None and self._asked[0] == key:
            found, self._asked = self._asked[1], None
        self._put_on(key, _Placed(self._held(key, row), self._assume(found, row)))

    def _assume(self, found: Found, row: int) -> tuple[_Assumed, ...]:
        out: list[_Assumed] = []
        for match in found.matches:
            volume = match.on(row)
            if volume is not None:
                before = self._binder.take(volume.name, match.claim.key)
                out.append(_Assumed(match.claim.key, volume.name, before))
        for claim, where in found.provisions:
            if where is None or where[row]:
                node = self._name_of(row) or ""
                out.append(_Assumed(claim.key, node=node, node_before=self._binder.select(claim.key, node)))
        return tuple(out)

    def release(self, key: str) -> None:
        """What was assumed for the pod's claims stays: they outlive it."""
        if key in self._placed:
            self._take_off(key)

    def unreserve(self, key: str) -> None:
        if key in self._placed:
            self._take_off(key, is_undo=True)

    def mark(self) -> int:
        if self._journal is None:
            self._journal = []
        return len(self._journal)

    def forget_classes(self, gone: Collection[int]) -> None:
        """Classes are given up."""
        self._screen.forget(gone)

    def forget(self) -> None:
        """No speculation is open: changes need not be remembered."""
        self._journal = None

    def rollback(self, mark: int) -> None:
        journal, self._journal = self._journal or [], None
        self._asked = None
        while len(journal) > mark:
            change = journal.pop()
            if change.came:
                self._take_off(change.key, is_undo=True)
            else:
                self._put_on(change.key, change.placed)
                self._assume_again(change.placed if change.is_undo else _Placed(change.placed.held))
        self._journal = journal

    def _put_on(self, key: str, placed: _Placed) -> None:
        self._placed[key] = placed
        self._usage.hold(placed.held)
        if self._journal is not None:
            self._journal.append(_Change(key, placed, came=True))

    def _take_off(self, key: str, is_undo: bool = False) -> None:
        """A pod leaves its row; with ``is_undo`` what was assumed for it was not."""
        placed = self._placed.pop(key)
        self._usage.let_go(placed.held)
        for assumed in reversed(placed.assumed) if is_undo else ():
            if assumed.volume:
                self._binder.take(assumed.volume, assumed.taken_from)
            else:
                self._binder.select(assumed.claim, assumed.node_before)
        if self._journal is not None:
            self._journal.append(_Change(key, placed, came=False, is_undo=is_undo))

    def _assume_again(self, placed: _Placed) -> None:
        for assumed in placed.assumed:
            if assumed.volume:
                self._binder.take(assumed.volume, assumed.claim)
            else:
                self._binder.select(assumed.claim, assumed.node)

    # ---- many pods in one call ----

    def batch(
        self, keys: Sequence[str], class_of: Sequence[int], shapes: Callable[[int], row_types.PodShape], least: int
    ) -> int:
        """How many of the first pods can be decided in one engine call; 0: fewer than ``least``.

        Their verdicts follow from their faces, each class has one face, and no volume is held by two pods, so that a
        decision changes no verdict of those behind it unless a row reaches a limit (`settle` tells). Their columns
        are up to date when this returns.
        """
        self._refresh()
        names: set[str] = set()
        first: dict[int, tuple[str, Face]] = {}
        n = 0
        for key, class_id in zip(keys, class_of, strict=True):
            pod = self._resolve(key)
            is_simple = pod.is_simple and self._found_made(pod) is not None
            if not is_simple or not self._usage.are_new(pod.names, names):
                break
            if first.setdefault(class_id, (key, pod.face))[1] is not pod.face:
                break
            n += 1
        if n < least:
            return 0
        for class_id, (key, _) in first.items():
            self.prepare(key, class_id, shapes(class_id))
        self._asked = None
        return n

    def settle(self, keys: Sequence[str], rows: Sequence[int]) -> int:
        """Reserve what pods of a batch were given; how many, up to the one that brought a row to a limit.

        What was decided behind that one must be decided again.
        """
        most: dict[str, int] = {}
        for face in {self._known[key].face for key in keys}:
            for driver, count in face.need:
                most[driver] = max(most.get(driver, 0), count)
        for at, (key, row) in enumerate(zip(keys, rows, strict=True)):
            if row < 0:
                continue
            self.settle_one(key, row)
            if self._usage.closed(row, self._known[key].face.need, most):
                return at + 1
        return len(keys)

    def settle_one(self, key: str, row: int) -> None:
        """Reserve what a pod of a batch was given."""
        found = self._found_made(self._known[key]) or _NOTHING
        self._put_on(key, _Placed(self._held(key, row), self._assume(found, row)))

    # ---- for trials in which pods leave or come ----

    def follow(self) -> None:
        """From now on the engine knows what is attached to nodes, and their limits. O(nodes) the first time."""
        self._refresh()
        if not self._holds.is_followed:
            self._holds.is_followed = True
            self._tell(self._nodes())

    def _tell(self, names: Iterable[str]) -> None:
        if self._holds.is_followed:
            self._told = self._nodes()
            rows = ((self._row_of(name), name) for name in names)
            there = [(row, name) for row, name in rows if row is not None]
            self._holds.follow(there, self.storage, self._attachments())

    def knows(self, key: str) -> bool:
        """Whether a pod was introduced, now or before objects changed."""
        return key in self._known or key in self._known_before

    def items(self, key: str) -> native.Items:
        """What a pod with volumes holds, or would, as `native.Engine.set_holds` takes it."""
        return self._holds.items(self._placed[key].held if key in self._placed else self._held(key, NO_NODE))

    def asking(self, key: str, priority: int, nominated: int) -> native.Asking:
        """An introduced pod as it asks whom to evict, and whom to yield to.

        Call it again when objects or pods have changed.
        """
        self._refresh()
        pod = self._resolve(key)
        are_new = not pod.exclusive and not pod.volumes.disks and self._usage.are_new(pod.names, set())
        in_use = sum(self._usage.users[claim] > 0 for claim in pod.exclusive)
        return native.Asking(priority, nominated, self._holds.items(self._held(key, NO_NODE)), in_use, are_new)


_NOTHING = Found(NO_CODES)

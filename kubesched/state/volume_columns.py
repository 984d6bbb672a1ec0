# SPDX-License-Identifier: Apache-2.0
"""Verdict columns of the volume plugins: made once for all pods that share them, shown to the engine as they change.

Source of the reasons: plugins/{volumerestrictions,nodevolumelimits,volumebinding,volumezone}, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, U8
from kubesched.state.row_labels import Column, RowLabels, RowLog
from kubesched.state.stateful import VerdictReasons
from kubesched.state.storage_rows import Reach
from kubesched.state.volume_binding import NO_MATCH, NO_SPACE, Binder
from kubesched.state.volume_claims import BINDING, LIMITS, RESTRICTIONS, STABLE, ZONE, Face, Zones
from kubesched.state.volume_usage import Need, VolumeUsage

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


class Codes:
    """Codes of the reasons in verdict columns."""

    def __init__(self, reasons: VerdictReasons) -> None:
        self.in_use = np.uint8(reasons.code(RESTRICTIONS, (_IN_USE,), unresolvable=False))
        self.disk_conflict = np.uint8(reasons.code(RESTRICTIONS, (_DISK_CONFLICT,), unresolvable=False))
        self.too_many = np.uint8(reasons.code(LIMITS, (_TOO_MANY,), unresolvable=False))
        self.wrong_zone = np.uint8(reasons.code(ZONE, (_WRONG_ZONE,), unresolvable=True))
        self.binding = _binding_codes(reasons)
        """Code of VolumeBinding by outcome of the unbound claims, and by state of the bound ones."""

    def bound_state(self, codes: U8) -> U8:
        """0: all bound claims can be used, 1: one is elsewhere, 2: one has no volume."""
        return np.where(codes == 0, 0, np.where(codes == self.binding[0, 1], 1, 2)).astype(np.uint8)


def _binding_codes(reasons: VerdictReasons) -> U8:
    out = np.zeros((3, 3), dtype=np.uint8)
    unbound_texts = {NO_MATCH: _NOT_FOUND, NO_SPACE: _NO_FREE_SPACE}
    bound_texts = {1: _WRONG_NODE, 2: _GONE}
    for unbound in range(3):
        for bound in range(3):
            texts = sorted(t for t in (unbound_texts.get(unbound), bound_texts.get(bound)) if t is not None)
            if texts:
                out[unbound, bound] = reasons.code(BINDING, tuple(texts), unresolvable=True)
    return out


@dataclass(frozen=True, slots=True)
class FaceColumns:
    """Columns of all pods with one face."""

    limits: Column
    """For volumes that no row has yet."""
    bound: Column
    """Bound claims alone."""
    binding: Column
    """With the volumes to be made."""
    zone: Column


class VolumeColumns:
    """Columns by what they are made of.

    Parameters
    ----------
    binder
        Knows where volumes can be used and made.
    """

    def __init__(self, labels: RowLabels, usage: VolumeUsage, codes: Codes, binder: Binder) -> None:
        self._labels, self._usage, self._codes, self._binder = labels, usage, codes, binder
        self._columns: dict[Hashable, Column] = {}
        self._faces: dict[Face, FaceColumns] = {}
        self.nothing = self._new(labels.log, self._no_codes)
        """Passes everywhere."""
        self.in_use = self._new(labels.log, self._in_use_codes)
        """Some claim of access mode ReadWriteOncePod is in use."""

    def of(self, face: Face) -> FaceColumns:
        """Columns of a face; O(rows) the first time."""
        found = self._faces.get(face)
        if found is None:
            bound = self._bound(face)
            found = FaceColumns(
                limits=self._shared(face.need, self._usage.log, lambda at: self._limit_codes(face.need, at)),
                bound=bound,
                binding=self._binding(face, bound),
                zone=self._shared(face.zones, self._labels.log, lambda at: self._zone_codes(face.zones, at)),
            )
            if not face.is_local:  # a column for each local volume would be too much to keep
                self._faces[face] = found
        return found

    def _bound(self, face: Face) -> Column:
        def compute(at: I32 | None) -> U8:
            return self._bound_codes(face.reaches, at)

        return (
            self._new(self._labels.log, compute)
            if face.is_local
            else self._shared(face.reaches, self._labels.log, compute)
        )

    def _binding(self, face: Face, bound: Column) -> Column:
        if not face.makes:
            return bound

        def compute(at: I32 | None) -> U8:
            state = self._codes.bound_state(self._bound_codes(face.reaches, at))
            out: U8 = self._codes.binding[self._binder.made_outcome(face.makes, at), state]
            return out

        return self._new(self._labels.log, compute)

    def _shared(self, of: tuple[object, ...], log: RowLog, compute: Callable[[I32 | None], U8]) -> Column:
        if not of:
            return self.nothing
        found = self._columns.get(of)
        if found is None:
            found = self._columns[of] = self._new(log, compute)
        return found

    def _new(self, log: RowLog, compute: Callable[[I32 | None], U8]) -> Column:
        return Column(lambda: self._labels.n_rows, log, compute)

    def _no_codes(self, at: I32 | None) -> U8:
        return np.zeros(self._labels.n_rows if at is None else len(at), dtype=np.uint8)

    def _in_use_codes(self, at: I32 | None) -> U8:
        return self._no_codes(at) + self._codes.in_use

    def _limit_codes(self, need: Need, at: I32 | None) -> U8:
        return self._usage.exceeds(need, at) * self._codes.too_many

    def _bound_codes(self, reaches: tuple[Reach | None, ...], at: I32 | None) -> U8:
        """The first claim that fails on a row counts."""
        out = self._no_codes(at)
        for reach in reaches:
            if reach is None:
                out[out == 0] = self._codes.binding[0, 2]
            else:
                out[(out == 0) & ~self._binder.reaches(reach, at)] = self._codes.binding[0, 1]
        return out

    def _zone_codes(self, zones: Zones, at: I32 | None) -> U8:
        """Rows that have labels of zones, and other ones than the volumes."""
        n = self._labels.n_rows if at is None else len(at)
        is_zoned, wrong = np.zeros(n, dtype=np.bool_), np.zeros(n, dtype=np.bool_)
        for key in STABLE:
            is_zoned |= self._labels.values(key, at) >= 0
        for key, wanted in zones:
            values = self._labels.values(key, at)
            values = np.where(values >= 0, values, self._labels.values(STABLE[key], at))
            wrong |= ~self._labels.listed(values, wanted)
        return (is_zoned & wrong) * self._codes.wrong_zone


@dataclass(slots=True)
class _Shown:
    """What a verdict column of the engine holds."""

    column: Column | None
    """None: none that is shared."""
    seen: int = 0
    exceptions: I32 = field(default_factory=lambda: NO_ROWS)
    """Rows on which it says something else than the column."""


class Screen:
    """The verdict columns of the engine's classes, and what they hold."""

    def __init__(self, engine: native.Engine) -> None:
        self._engine = engine
        self._shown: dict[tuple[int, str], _Shown] = {}

    def forget(self, gone: Collection[int]) -> None:
        """Classes are given up."""
        those = frozenset(gone)
        self._shown = {key: shown for key, shown in self._shown.items() if key[0] not in those}

    def is_clear(self, class_id: int, plugin: str) -> bool:
        """Whether a verdict column was never shown anything, so that all rows pass."""
        return (class_id, plugin) not in self._shown

    def show(self, class_id: int, plugin: str, column: Column, at: I32 | None = None, codes: U8 | None = None) -> None:
        """Make a verdict column say what ``column`` says, and ``codes`` at the rows ``at`` (ascending).

        O(rows that changed since it was last shown), or O(rows) where it held another column.
        """
        shown = self._shown.get((class_id, plugin))
        base = column.refresh()
        at, codes = (NO_ROWS, NO_CODES) if at is None or codes is None else (at, codes)
        changed = column.changed.since(shown.seen) if shown is not None and shown.column is column else None
        if shown is None and len(at) == 0 and not base.any():
            pass  # classes without a column pass
        elif shown is None or changed is None:
            wanted = base.copy()
            wanted[at] = codes
            self._engine.set_verdicts(class_id, native.FILTERS[plugin], None, wanted)
        elif changed or len(at) or len(shown.exceptions):
            rows = np.unique(np.concatenate([arrays.int32(changed), shown.exceptions, at]))
            wanted = base[rows]
            wanted[np.searchsorted(rows, at)] = codes
            self._engine.set_verdicts(class_id, native.FILTERS[plugin], rows, wanted)
        else:
            return
        self._shown[class_id, plugin] = _Shown(column, column.changed.end, at)

    def show_all(self, class_id: int, plugin: str, codes: U8) -> None:
        """Make a verdict column say ``codes``, ``[n_rows]``, for one pod. O(rows)."""
        self._engine.set_verdicts(class_id, native.FILTERS[plugin], None, codes)
        self._shown[class_id, plugin] = _Shown(None)


NO_ROWS: I32 = np.zeros(0, dtype=np.int32)
NO_CODES: U8 = np.zeros(0, dtype=np.uint8)

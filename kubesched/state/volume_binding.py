# SPDX-License-Identifier: Apache-2.0
"""Claims without a volume: which free volume each would get on each row, or whether one can be made there.

Upstream asks node by node. Here the answer for a claim is a column: the position of the smallest fitting volume in
the claim's list of candidates. Claims of one kind share list and column; when a volume is taken, only the rows that
would have got it are looked at again.
Source: plugins/volumebinding/binder.go, component-helpers/storage/volume (FindMatchingVolume), v1.36. Of equally
large volumes upstream takes any; here it is the one that was added first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from kubesched.kernel.arrays import I32, U8
from kubesched.state import rows as row_types
from kubesched.state.pairwise import selects
from kubesched.state.row_labels import Bool, Column, RowLabels
from kubesched.state.storage_rows import Claim, ClaimKey, Reach, Storage, StorageClass, Volume
from kubesched.state.volume_candidates import NONE, Candidates

MATCHED, NO_MATCH, NO_SPACE = 0, 1, 2
"""Outcome of the unbound claims of a pod on a row."""
DELAYED = "WaitForFirstConsumer"
NO_PROVISIONER = ("", "kubernetes.io/no-provisioner")
_MOST_TAKES = 1 << 16  # arbitrary: then the columns are made anew

_Kind = tuple[str, int, tuple[str, ...], str, str, row_types.LabelSelector]
"""What of a claim decides which volumes can hold it."""


@dataclass(frozen=True, slots=True)
class _Match:
    """What one claim would be bound to."""

    claim: Claim
    volumes: Sequence[Volume]
    chosen: I32
    """Position in ``volumes`` by row, -1: none."""
    source: Candidates | None = None
    """Whose volumes they are."""

    def on(self, row: int) -> Volume | None:
        position = int(self.chosen[row])
        return None if position < 0 else self.volumes[position]


@dataclass(slots=True)
class Found:
    """What VolumeBinding would do for the unbound claims of a pod, for all rows."""

    outcome: U8
    """``[n_rows]``: MATCHED, NO_MATCH or NO_SPACE."""
    matches: list[_Match] = field(default_factory=list)
    provisions: list[tuple[Claim, Bool | None]] = field(default_factory=list)
    """Claim, and the rows where a volume would be made for it (None: all)."""


class Binder:
    """Free volumes, and what Reserve assumed of them: a matched volume is taken, a claim to be made is pinned."""

    def __init__(self, labels: RowLabels, migrated: Callable[[str, I32 | None], Bool]) -> None:
        self._labels, self._migrated = labels, migrated
        self._storage = Storage()
        self._by_class: dict[str, list[Volume]] = {}
        self._reserved: dict[ClaimKey, list[Volume]] = {}
        self._candidates: dict[_Kind, Candidates] = {}
        self._columns: dict[object, Column] = {}
        self._order: dict[str, int] = {}
        self._takes: list[str] = []
        self._taken_by: dict[ClaimKey, set[str]] = {}
        self.taken: dict[str, ClaimKey] = {}
        """Claim that a volume was matched with, by volume."""
        self.selected: dict[ClaimKey, str] = {}
        """Node that a claim is to be provisioned for."""

    def reset(self, storage: Storage) -> None:
        """Objects changed: what was derived of them is forgotten, what was assumed stays."""
        self._storage = storage
        self._by_class.clear()
        self._reserved.clear()
        self._candidates.clear()
        self._columns.clear()
        self._order = {name: i for i, name in enumerate(storage.volumes)}
        for volume in storage.volumes.values():
            self._by_class.setdefault(volume.storage_class, []).append(volume)
            if volume.claim is not None:
                self._reserved.setdefault(volume.claim, []).append(volume)

    # ---- what Reserve assumes ----

    def take(self, volume: str, claim: ClaimKey | None) -> ClaimKey | None:
        """A volume was matched with a claim (None: it is free again); who had it before."""
        before = self.taken.pop(volume, None)
        if before is not None:
            self._taken_by[before].discard(volume)
        if claim is not None:
            self.taken[volume] = claim
            self._taken_by.setdefault(claim, set()).add(volume)
        if len(self._takes) >= _MOST_TAKES:
            self._candidates.clear()
            self._takes.clear()
        self._takes.append(volume)
        return before

    def select(self, claim: ClaimKey, node: str | None) -> str | None:
        """A claim is to be provisioned for a node (None: no longer); the node before."""
        before = self.selected.get(claim)
        if node is None:
            self.selected.pop(claim, None)
        else:
            self.selected[claim] = node
        return before

    def node_of(self, claim: Claim) -> str | None:
        """Node that the claim is to be provisioned for."""
        return self.selected.get(claim.key, claim.selected_node)

    # ---- columns ----

    def reaches(self, reach: Reach, at: I32 | None) -> Bool:
        """Whether a bound volume can be used at some rows (None: all)."""
        out = self._labels.match(reach.terms, at)
        if reach.migrated_plugin:
            migrated = self._migrated(reach.migrated_plugin, at)
            if migrated.any():
                out = np.where(migrated, self._labels.match(reach.migrated_terms, at), out)
        return out

    def made_outcome(self, makes: Sequence[tuple[str, int | None]], at: I32 | None) -> U8:
        """Whether volumes can be made at some rows (None: all); the first that cannot counts.

        Parameters
        ----------
        makes
            (storage class, bytes) of each; bytes None: no size is asked for.
        """
        out = np.zeros(self._labels.n_rows if at is None else len(at), dtype=np.uint8)
        for name, size in makes:
            of = self._storage.classes[name]
            can = self._labels.match(of.topologies or None, at)
            out[(out == MATCHED) & ~can] = NO_MATCH
            driver = self._storage.drivers.get(of.provisioner)
            if size is not None and driver is not None and driver.has_capacity:
                out[(out == MATCHED) & ~self._has_space(of, size, at)] = NO_SPACE
        return out

    def _has_space(self, of: StorageClass, size: int, at: I32 | None) -> Bool:
        """Whether a volume of so many bytes finds free space at some rows (None: all)."""
        out = np.zeros(self._labels.n_rows if at is None else len(at), dtype=np.bool_)
        for capacity in self._storage.capacities.values():
            enough = capacity.size_bytes is not None and capacity.size_bytes >= size
            if capacity.storage_class == of.name and enough and capacity.topology is not None:
                out |= self._labels.all_hold(capacity.topology, at)
        return out

    def are_fresh(self, claims: Sequence[Claim]) -> bool:
        """Whether nothing was assumed for the claims so far."""
        return all(self.node_of(c) is None and not self._reserved_for(c) for c in claims)

    # ---- volumes that are there ----

    def _candidates_of(self, claim: Claim) -> Candidates:
        kind = _kind(claim)
        found = self._candidates.get(kind)
        if found is None:
            fitting = [v for v in self._by_class.get(claim.storage_class, ()) if _is_candidate(v, claim)]
            fitting.sort(key=lambda v: v.size_nano)
            found = self._candidates[kind] = Candidates(fitting, self._labels)
        found.refresh(self.taken, self._takes)
        return found

    def _reserved_for(self, claim: Claim) -> list[Volume]:
        """Volumes that carry the claim's reference and could hold the claim."""
        given = [v for v in self._reserved.get(claim.key, ()) if v.name not in self.taken and _belongs(v, claim)]
        there = self._storage.volumes
        taken = [there[name] for name in self._taken_by.get(claim.key, ()) if name in there]
        fitting = [v for v in given + taken if v.storage_class == claim.storage_class and _could_hold(v, claim)]
        return sorted(fitting, key=lambda v: self._order[v.name])

    def _match(self, claim: Claim, earlier: Sequence[_Match]) -> _Match:
        """The volume that the claim gets on each row: the one reserved for it, else the smallest free one."""
        reserved = self._reserved_for(claim)
        if not reserved:
            return self._match_free(claim, earlier)
        n = self._labels.n_rows
        chosen, undecided = _no_rows(n), np.ones(n, dtype=np.bool_)
        for position, volume in enumerate(reserved):
            used = _used_by(earlier, volume, n)  # the pod may name a claim twice
            chosen[undecided & ~used & self._labels.match(volume.reach.terms, None)] = position
            undecided &= used
        if not undecided.any():
            return _Match(claim, reserved, chosen)
        free = self._match_free(claim, earlier)
        at = undecided & (free.chosen >= 0)
        chosen[at] = free.chosen[at] + len(reserved)
        return _Match(claim, [*reserved, *free.volumes], chosen)

    def _match_free(self, claim: Claim, earlier: Sequence[_Match]) -> _Match:
        c = self._candidates_of(claim)
        chosen = c.best.copy()
        others = [_positions(c, match) for match in earlier]
        clash = np.zeros(len(chosen), dtype=np.bool_)
        for other in others:
            clash |= (chosen >= 0) & (chosen == other)
        rows = np.flatnonzero(clash).astype(np.int32)
        if len(rows):  # an earlier claim of the pod chose the same volume there
            chosen[rows] = c.lowest(rows, partial(_is_chosen, others))
        return _Match(claim, c.volumes, chosen, c)

    # ---- all claims of a pod ----

    def find(self, claims: Sequence[Claim], row_of: Callable[[str], int | None]) -> Found:
        """What becomes of the claims that wait for their first consumer, on all rows.

        Parameters
        ----------
        claims
            In the pod's order.
        row_of
            Row of a node's name.
        """
        n = self._labels.n_rows
        found = Found(np.zeros(n, dtype=np.uint8))
        everywhere = np.ones(n, dtype=np.bool_)
        waiting = []
        for claim in claims:
            node = self.node_of(claim)
            if node is not None:
                elsewhere = everywhere.copy()
                row = row_of(node)
                if row is not None:
                    elsewhere[row] = False
                found.outcome[elsewhere] = NO_MATCH
                waiting.append((claim, everywhere))
        for claim in in_order([c for c in claims if self.node_of(c) is None]):
            match = self._match(claim, found.matches)
            found.matches.append(match)
            waiting.append((claim, match.chosen == NONE))
        for claim, needed in waiting:
            self._provide(claim, needed, found)
        return found

    def _provide(self, claim: Claim, needed: Bool, found: Found) -> None:
        """Where a volume must be made for a claim: whether it can be."""
        of = self._storage.classes[claim.storage_class]
        undecided = needed & (found.outcome == MATCHED)
        if of.provisioner in NO_PROVISIONER:
            found.outcome[undecided] = NO_MATCH
            return
        makes = ((of.name, claim.size_bytes if claim.has_size else None),)
        column = self._columns.get(makes)
        if column is None:
            compute = partial(self.made_outcome, makes)
            column = self._columns[makes] = Column(lambda: self._labels.n_rows, self._labels.log, compute)
        found.outcome[undecided] = column.refresh()[undecided]
        found.provisions.append((claim, needed))


def in_order(claims: Sequence[Claim]) -> list[Claim]:
    """Claims in the order in which they are looked at."""
    return sorted(claims, key=lambda c: c.size_nano)


def _kind(claim: Claim) -> _Kind:
    return (
        claim.storage_class,
        claim.size_nano,
        claim.access_modes,
        claim.volume_mode,
        claim.attributes_class,
        claim.selector,
    )


def _could_hold(volume: Volume, claim: Claim) -> bool:
    """What does not depend on the row, for reserved and free volumes alike."""
    return (
        volume.size_nano >= claim.size_nano
        and volume.volume_mode == claim.volume_mode
        and volume.attributes_class == claim.attributes_class
        and not volume.is_deleting
    )


def _is_candidate(volume: Volume, claim: Claim) -> bool:
    return (
        volume.claim is None
        and _could_hold(volume, claim)
        and volume.is_available
        and set(claim.access_modes) <= set(volume.access_modes)
        and selects(claim.selector, dict(volume.labels))
    )


def _belongs(volume: Volume, claim: Claim) -> bool:
    """A reference without uid is a user's wish, for any claim of that name."""
    return volume.claim == claim.key and volume.claim_uid in ("", claim.uid)


def _positions(c: Candidates, other: _Match) -> I32:
    """What another claim of the pod chose, as positions in these candidates; -1 where it is not among them."""
    if other.source is not None:
        return c.positions_of(other.source, other.chosen)
    out: I32 = c.table(other.volumes)[other.chosen]
    return out


def _used_by(earlier: Sequence[_Match], volume: Volume, n: int) -> Bool:
    """Rows where an earlier claim of the pod chose the volume."""
    out = np.zeros(n, dtype=np.bool_)
    for match in earlier:
        for position, other in enumerate(match.volumes):
            if other.name == volume.name:
                out |= match.chosen == position
    return out


def _is_chosen(others: Sequence[I32], position: int, rows: I32) -> Bool:
    out = np.zeros(len(rows), dtype=np.bool_)
    for other in others:
        out |= other[rows] == position
    return out


def _no_rows(n: int) -> I32:
    return np.full(n, NONE, dtype=np.int32)

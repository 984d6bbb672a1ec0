# SPDX-License-Identifier: Apache-2.0
"""The order in which kube-scheduler looks at nodes: taken in turn from every zone.

It matters only when fewer than all feasible nodes are wanted (``percentageOfNodesToScore``): which nodes are found
first then depends on it. The order depends on history as well as on content: zones stand in order of their first
node's arrival, an emptied zone loses its place, and a node that changes zone goes to the end of the new one.

Source: backend/cache (node_tree, UpdateSnapshot) and component-helpers/node/topology, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kubesched.kernel.arrays import I32

ZONE_LABELS = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone")
REGION_LABELS = ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region")
"""The older label wins wherever it is present, even when its value is empty."""

_Many = tuple[int, int, Sequence[Mapping[str, str]], I32 | None]
_MOST_NOTES = 100_000  # arbitrary: some megabytes


def zone_key(labels: Mapping[str, str]) -> tuple[str, str]:
    """Region and zone of a node; two empty strings for a node that names neither."""
    region, zone = (
        next((labels[name] for name in names if name in labels), "") for names in (REGION_LABELS, ZONE_LABELS)
    )
    return region, zone


class NodeOrder:
    """Rows of nodes by zone. Putting and removing cost O(1), an emptied zone included."""

    __slots__ = ("_zone_of", "_zones")

    def __init__(self) -> None:
        self._zones: dict[tuple[str, str], dict[int, None]] = {}
        self._zone_of: dict[int, tuple[str, str]] = {}

    def __len__(self) -> int:
        return len(self._zone_of)

    def put(self, row: int, labels: Mapping[str, str]) -> None:
        """Add a node, or take note of its new labels; it keeps its place while its zone stays the same."""
        self.enter(row, zone_key(labels))

    def enter(self, row: int, zone: tuple[str, str]) -> None:
        """As `put`, of a zone that is known."""
        if self._zone_of.get(row) == zone:
            return
        if row in self._zone_of:
            self.remove(row)
        self._zones.setdefault(zone, {})[row] = None
        self._zone_of[row] = zone

    def remove(self, row: int) -> None:
        """Take a node out. Raises KeyError for a row that is not here."""
        zone = self._zone_of.pop(row)
        rows = self._zones[zone]
        del rows[row]
        if not rows:
            del self._zones[zone]

    def moved(self, new_row: Callable[[int], int]) -> NodeOrder:
        """A copy with other row numbers."""
        out = NodeOrder()
        out._zones = {zone: {new_row(row): None for row in rows} for zone, rows in self._zones.items()}
        out._zone_of = {row: zone for zone, rows in out._zones.items() for row in rows}
        return out

    def rows(self) -> npt.NDArray[np.int64]:
        """All rows in order, shape (nodes,): every zone's first, then every zone's second ... O(n log n)."""
        if not self._zones:
            return np.empty(0, np.int64)
        row = np.fromiter((r for rows in self._zones.values() for r in rows), np.int64, len(self))
        size = np.array([len(rows) for rows in self._zones.values()])
        place = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        # Rows stand zone by zone, so a stable sort by place within the zone keeps the zones in turn.
        return row[np.argsort(place, kind="stable")]


class SearchOrder:
    """The node order as searches see it, for the price of a note as long as nobody asks.

    kube-scheduler lists its nodes anew only when their names are not the same as at the last decision: a node that
    changed its zone, or went and came back in between, keeps its place until then.
    """

    __slots__ = ("_listed", "_notes", "_tree", "is_told")

    def __init__(self) -> None:
        self._tree = NodeOrder()
        self._notes: list[tuple[int, Mapping[str, str] | None] | _Many] = []
        self._listed: list[str] = []
        """Names in the order of the last list."""
        self.is_told = False
        """Whether nodes neither came nor went since the owner set this."""

    def put(self, row: int, labels: Mapping[str, str]) -> None:
        """A node came."""
        self.is_told = False
        self._note((row, labels))

    def update(self, row: int, labels: Mapping[str, str]) -> None:
        """A node's labels changed."""
        self._note((row, labels))

    def put_many(self, first: int, n: int, sets: Sequence[Mapping[str, str]], set_of: I32 | None) -> None:
        """The n nodes from row ``first`` on came; ``set_of`` ``[n]`` says which labels each has, None: the first."""
        self.is_told = False
        self._note((first, n, sets, set_of))

    def remove(self, row: int) -> None:
        """A node went."""
        self.is_told = False
        self._note((row, None))

    def _note(self, note: tuple[int, Mapping[str, str] | None] | _Many) -> None:
        self._notes.append(note)
        if len(self._notes) > _MOST_NOTES:
            self._settle()

    def _settle(self) -> None:
        for note in self._notes:
            if len(note) == 4:
                first, n, sets, set_of = note
                zones = [zone_key(labels) for labels in sets]
                for i, at in enumerate([0] * n if set_of is None else set_of.tolist()):
                    self._tree.enter(first + i, zones[at])
            elif note[1] is None:
                self._tree.remove(note[0])
            else:
                self._tree.put(note[0], note[1])
        self._notes.clear()

    def listed(self, name_of: Sequence[str | None], row_of: Mapping[str, int]) -> I32:
        """Rows in the order of the list that a decision now would see.

        Parameters
        ----------
        name_of, row_of
            Name of each row, and row of each name.
        """
        self._settle()
        if row_of.keys() != set(self._listed):
            self._listed = [str(name_of[row]) for row in self._tree.rows().tolist()]
        return np.array([row_of[name] for name in self._listed], dtype=np.int32)

    def moved(self, name_of: Sequence[str | None], row_of: Mapping[str, int]) -> SearchOrder:
        """A copy for the same nodes on other rows; ``name_of`` here, ``row_of`` there."""
        self._settle()
        out = SearchOrder()
        out._tree = self._tree.moved(lambda row: row_of[str(name_of[row])])
        out._listed = list(self._listed)
        return out

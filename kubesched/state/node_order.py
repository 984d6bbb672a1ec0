# SPDX-License-Identifier: Apache-2.0
"""The order in which kube-scheduler looks at nodes: taken in turn from every zone.

It matters only when fewer than all feasible nodes are wanted (``percentageOfNodesToScore``): which nodes are found
first then depends on it. The order depends on history as well as on content: zones stand in order of their first
node's arrival, an emptied zone loses its place, and a node that changes zone goes to the end of the new one.

Source: backend/cache/node_tree and component-helpers/node/topology, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

ZONE_LABELS = ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone")
REGION_LABELS = ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region")
"""The older label wins wherever it is present, even when its value is empty."""


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
        zone = zone_key(labels)
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

    def rows(self) -> npt.NDArray[np.int64]:
        """All rows in order, shape (nodes,): every zone's first, then every zone's second ... O(n log n)."""
        if not self._zones:
            return np.empty(0, np.int64)
        row = np.fromiter((r for rows in self._zones.values() for r in rows), np.int64, len(self))
        size = np.array([len(rows) for rows in self._zones.values()])
        place = np.arange(len(row)) - np.repeat(np.cumsum(size) - size, size)
        # Rows stand zone by zone, so a stable sort by place within the zone keeps the zones in turn.
        return row[np.argsort(place, kind="stable")]

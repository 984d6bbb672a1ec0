# SPDX-License-Identifier: Apache-2.0
"""How many devices each row has in place of an extended resource, and how many of them are taken: what scores see.

All slices count that reach a row, out of date or of incomplete pools as well, and every device that the class selects;
a row where a selector fails on a device has none. A device is taken if any claim holds it or a part of it.

Upstream remembers by name that an expression selected a device or a selector a node, and goes on to believe it where
they change; here it is found again. Source: noderesources/resource_allocation.go, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, I64
from kubesched.state.allocator import Matches
from kubesched.state.claim_rows import Allocation, DeviceClass, DeviceId, NodeChoice, SelectorError
from kubesched.state.device_rows import DeviceRows


@dataclass(slots=True)
class _Count:
    """Devices of a class; ``[n_rows]``."""

    total: I64
    taken: I64
    rows_of: dict[DeviceId, list[I32]] = field(default_factory=dict)
    """Rows that see a device; a device of several slices counts in each."""
    changed: list[I32] = field(default_factory=list)
    """Rows that the engine does not know yet."""


class StandIns:
    """Counts of devices by the class that stands behind a resource. Made anew when slices, classes or rows change.

    Parameters
    ----------
    devices
        Slices, and the rows that they reach.
    matches
        Evaluates a selector.
    held
        Allocations of all claims.
    """

    def __init__(self, devices: DeviceRows, matches: Matches, held: Iterable[Allocation]) -> None:
        self._devices, self._matches = devices, matches
        self._holders: Counter[DeviceId] = Counter()
        self._counts: dict[str, _Count] = {}
        """By resource."""
        for allocation in held:
            self.hold(allocation, 1)

    def hold(self, allocation: Allocation, sign: int) -> None:
        """Somebody takes devices, or gives them back (-1). O(devices x resources)."""
        for one in allocation.devices:
            if one.admin:
                continue
            before = self._holders[one.device]
            self._holders[one.device] = now = before + sign
            if (before > 0) != (now > 0):
                for count in self._counts.values():
                    for rows in count.rows_of.get(one.device, ()):
                        count.taken[rows] += sign
                        count.changed.append(rows)

    def tell(self, engine: native.Engine, resource: str, number: int, behind: DeviceClass) -> None:
        """Bring what the engine scores of a resource up to date. O(slices) the first time, then O(changed rows)."""
        count = self._counts.get(resource)
        if count is None:
            count = self._counts[resource] = self._count(behind)
        if count.changed:
            rows = np.unique(np.concatenate(count.changed))
            engine.set_stand_in(number, rows, count.total[rows], count.taken[rows])
            count.changed.clear()

    def _count(self, behind: DeviceClass) -> _Count:
        n = self._devices.n_rows
        out = _Count(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))
        has_failed = np.zeros(n, dtype=np.bool_)
        selected: dict[int, bool | None] = {}
        for device, number, rows in self._reached():
            if number not in selected:
                selected[number] = self._selects(behind, number)
            is_selected = selected[number]
            if is_selected is None:
                has_failed[rows] = True
            elif is_selected:
                out.total[rows] += 1
                out.taken[rows] += self._holders[device] > 0
                out.rows_of.setdefault(device, []).append(rows)
        out.total[has_failed] = 0
        out.changed.append(np.arange(n, dtype=np.int32))
        return out

    def _selects(self, behind: DeviceClass, number: int) -> bool | None:
        """Whether the class selects devices of a content; None: a selector fails."""
        content = self._devices.contents.value(number)
        try:
            return all(self._matches(text, number, content) for text in behind.selectors if text is not None)
        except SelectorError:
            return None

    def _reached(self) -> Iterator[tuple[DeviceId, int, I32]]:
        """Each device of each slice, the number of its content, and the rows that see it."""
        rows_of: dict[tuple[NodeChoice, bool], I32] = {}
        for one in self._devices.slices.values():
            for device in one.devices:
                choice = device.where if one.per_device else one.where
                key = choice, one.per_device
                if key not in rows_of:
                    rows_of[key] = self._rows(choice, one.per_device)
                yield (one.driver, one.pool, device.name), self._devices.contents.id(device.content), rows_of[key]

    def _rows(self, choice: NodeChoice, is_per_device: bool) -> I32:
        """Rows that a choice admits; a slice that chooses none is everywhere."""
        if choice.everywhere or (choice.is_open and not is_per_device):
            return np.arange(self._devices.n_rows, dtype=np.int32)
        if choice.terms is not None:
            return np.flatnonzero(self._devices.admitted(choice.terms)).astype(np.int32)
        row = self._devices.row_of(choice.node or "")
        return arrays.int32([] if row is None else [row])

# SPDX-License-Identifier: Apache-2.0
"""What placed pods hold on rows: attachments per CSI driver against the nodes' limits, disks, and claims in use.

Sources: plugins/nodevolumelimits, plugins/volumerestrictions, v1.36.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kubesched.kernel import arrays
from kubesched.kernel.arrays import I32, I64
from kubesched.state.pod_volumes import Disk
from kubesched.state.row_labels import Bool, RowLabels, RowLog
from kubesched.state.storage_rows import ClaimKey, Storage

_NO_LIMIT = 2**62
Need = tuple[tuple[str, int], ...]
"""(driver, number of volumes), sorted."""


@dataclass(frozen=True, slots=True)
class Held:
    """What one pod holds."""

    row: int
    """-1: its node is gone, and nothing counts."""
    names: Mapping[str, str]
    """Driver by name of the volume."""
    disks: tuple[Disk, ...] = ()
    claims: tuple[ClaimKey, ...] = ()
    """That it names itself, one entry for each volume."""

    def on(self, row: int) -> Held:
        """The same on another row."""
        return Held(row, self.names, self.disks, self.claims)


@dataclass(slots=True)
class _Driver:
    """Attachments of one driver, ``[n_rows]`` each."""

    used: I64
    limit: I64


@dataclass(slots=True)
class _DiskUsers:
    """Pods on one row that use one disk."""

    exclusive: int = 0
    readers: int = 0


class VolumeUsage:
    """Tables of what pods hold. A volume counts once a node, however many pods and VolumeAttachments hold it."""

    def __init__(self, labels: RowLabels) -> None:
        self._labels = labels
        self._drivers: dict[str, _Driver] = {}
        self._pods_with: dict[str, dict[int, int]] = {}
        """Number of pods that hold a volume, by row."""
        self._attached: dict[str, set[int]] = {}
        """Rows where VolumeAttachments hold a volume."""
        self._disks: dict[tuple[str, ...], dict[int, _DiskUsers]] = {}
        self.users: Counter[ClaimKey] = Counter()
        """Volumes of placed pods that name a claim."""
        self.log = RowLog()
        """Rows whose attachments or limits changed."""

    # ---- nodes and objects ----

    def set_node(self, row: int, name: str, storage: Storage, attachments: Iterable[tuple[str, str]]) -> None:
        """A row became the node of that name: its limits, and what VolumeAttachments hold there.

        Parameters
        ----------
        attachments
            (volume's name, driver) of each.
        """
        csi_node = storage.csi_nodes.get(name)
        for driver in self._drivers.values():
            self._fit(driver)
            driver.limit[row] = _NO_LIMIT
        for driver_name, most in csi_node.limits if csi_node is not None else ():
            self._driver(driver_name).limit[row] = most
        for volume, driver_name in attachments:
            if not self._is_held(volume, row):
                self._driver(driver_name).used[row] += 1
            self._attached.setdefault(volume, set()).add(row)
        self.log.add((row,))

    def clear_row(self, row: int) -> None:
        """The node of a row is gone, and so is what VolumeAttachments hold there; pods let go one by one."""
        for rows in self._attached.values():
            rows.discard(row)
        for driver in self._drivers.values():
            self._fit(driver)
            driver.used[row] = 0
            driver.limit[row] = _NO_LIMIT
        self.log.add((row,))

    def _driver(self, name: str) -> _Driver:
        found = self._drivers.get(name)
        if found is None:
            n = self._labels.n_rows
            found = self._drivers[name] = _Driver(np.zeros(n, np.int64), np.full(n, _NO_LIMIT, np.int64))
        if len(found.used) != self._labels.n_rows:
            self._fit(found)
        return found

    def _is_held(self, volume: str, row: int) -> bool:
        return row in self._attached.get(volume, ()) or row in self._pods_with.get(volume, ())

    def _fit(self, driver: _Driver) -> None:
        more = self._labels.n_rows - len(driver.used)
        if more:
            driver.used = np.concatenate([driver.used, np.zeros(more, np.int64)])
            driver.limit = np.concatenate([driver.limit, np.full(more, _NO_LIMIT, np.int64)])

    # ---- pods ----

    def hold(self, held: Held) -> None:
        """A pod is on a row now. O(its volumes)."""
        self._count(held, 1)

    def let_go(self, held: Held) -> None:
        """A pod left its row; the exact opposite of `hold`."""
        self._count(held, -1)

    def _count(self, held: Held, sign: int) -> None:
        row, changed = held.row, False
        if row < 0:
            return
        for name, driver_name in held.names.items():
            pods = self._pods_with.get(name)
            if pods is None:
                pods = self._pods_with[name] = {}
            before = pods.get(row, 0)
            if before + sign:
                pods[row] = before + sign
            else:
                del pods[row]
            if before * (before + sign) == 0 and row not in self._attached.get(name, ()):
                self._driver(driver_name).used[row] += sign
                changed = True
        for disk in held.disks:
            self._count_disk(disk, row, sign)
        for claim in held.claims:
            self.users[claim] += sign
        if changed:
            self.log.add((row,))

    def _count_disk(self, disk: Disk, row: int, sign: int) -> None:
        by_row = self._disks.setdefault(disk.token, {})
        users = by_row.setdefault(row, _DiskUsers())
        if disk.exclusive:
            users.exclusive += sign
        else:
            users.readers += sign
        if users.exclusive == 0 and users.readers == 0:
            del by_row[row]

    # ---- verdicts ----

    def are_new(self, names: Mapping[str, str], seen: set[str]) -> bool:
        """Whether no pod holds any of the volumes, nor are they among ``seen``, to which they are added."""
        for name in names:
            if name in seen or self._pods_with.get(name):
                return False
        seen.update(names)
        return True

    def closed(self, row: int, need: Need, most: Mapping[str, int]) -> bool:
        """Whether a pod that just came to a row, with volumes new to it, took the room for a pod that asks the most."""
        for name, count in need:
            driver = self._driver(name)
            room = driver.limit[row] - driver.used[row]
            if room < most[name] <= room + count:
                return True
        return False

    def exceeds(self, need: Need, at: I32 | None) -> Bool:
        """Whether so many volumes more are too many, at some rows (None: all), for volumes that no row has yet."""
        n = self._labels.n_rows if at is None else len(at)
        out = np.zeros(n, dtype=np.bool_)
        for name, count in need:
            driver = self._driver(name)
            used, limit = (driver.used, driver.limit) if at is None else (driver.used[at], driver.limit[at])
            out |= used + count > limit
        return out

    def sharing_rows(self, names: Mapping[str, str], need: Need) -> tuple[I32, Bool]:
        """Rows where pods hold some of the volumes already, ascending, and whether the rest is too much there."""
        by_driver: dict[str, list[int]] = {}
        for name, driver_name in names.items():
            pods = self._pods_with.get(name)
            if pods:
                by_driver.setdefault(driver_name, []).extend(pods)
        if not by_driver:
            return _NO_ROWS, _NO_BOOLS
        at = np.unique(np.concatenate([arrays.int32(rows) for rows in by_driver.values()]))
        out = np.zeros(len(at), dtype=np.bool_)
        for driver_name, count in need:
            driver = self._driver(driver_name)
            there = np.searchsorted(at, arrays.int32(by_driver.get(driver_name, [])))
            new = count - np.bincount(there, minlength=len(at))
            out |= (new > 0) & (driver.used[at] + new > driver.limit[at])
        return at, out

    def clashing_rows(self, disks: Sequence[Disk]) -> set[int]:
        """Rows where one of the disks is in use in a way that excludes the pod."""
        found: set[int] = set()
        for disk in disks:
            for row, users in self._disks.get(disk.token, {}).items():
                if disk.exclusive or users.exclusive:
                    found.add(row)
        return found


_NO_ROWS: I32 = np.zeros(0, dtype=np.int32)
_NO_BOOLS: Bool = np.zeros(0, dtype=np.bool_)

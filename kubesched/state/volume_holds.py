# SPDX-License-Identifier: Apache-2.0
"""What single pods and rows hold of volumes, as the engine knows it for trials in which pods leave or come.

Placing pods needs verdict columns only. Who asks whom to evict, or yields to nominated pods, needs to know what each
pod would give back: attachments, disks, claims that one pod alone may use.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from kubesched.kernel import native
from kubesched.state.intern import Interner
from kubesched.state.storage_rows import ClaimKey, Storage
from kubesched.state.volume_usage import Held

_MOST = 2**31 - 1


class Holds:
    """Numbers of items and drivers, and what the engine was told about rows.

    Parameters
    ----------
    is_for_one
        Whether a claim may be used by one pod only.
    """

    def __init__(self, engine: native.Engine, is_for_one: Callable[[ClaimKey], bool]) -> None:
        self._engine, self._is_for_one = engine, is_for_one
        self._items: Interner[Hashable] = Interner()
        self._drivers: Interner[str] = Interner()
        self.is_followed = False
        """Whether the engine is told of rows."""

    def items(self, held: Held) -> native.Items:
        """What a pod holds, in the engine's numbers. O(its volumes)."""
        out = [(self._items.id(name), self._drivers.id(driver)) for name, driver in held.names.items()]
        for disk in held.disks:
            kind = native.DISK_WRITTEN if disk.exclusive else native.DISK_READ
            out.append((self._items.id(("disk", disk.token)), kind))
        out += [(self._items.id(("claim", key)), native.ONE_POD) for key in held.claims if self._is_for_one(key)]
        return out

    def follow(self, rows: Iterable[tuple[int, str]], storage: Storage, attached: Attached) -> None:
        """Tell the engine of rows: the limits of their nodes, and what VolumeAttachments hold there. O(rows).

        Parameters
        ----------
        rows
            Row and name of each node.
        attached
            (volume's name, driver) of the VolumeAttachments by node.
        """
        at: list[int] = []
        limits: list[native.Items] = []
        held: list[native.Items] = []
        for row, name in rows:
            node = storage.csi_nodes.get(name)
            at.append(row)
            limits.append([(self._drivers.id(d), min(most, _MOST)) for d, most in (node.limits if node else ())])
            held.append([(self._items.id(volume), self._drivers.id(d)) for volume, d in attached.get(name, ())])
        self._engine.set_holds(native.OF_LIMIT, at, limits)
        self._engine.set_holds(native.OF_ATTACHED, at, held)


Attached = Mapping[str, Sequence[tuple[str, str]]]
"""(volume's name, driver) of the VolumeAttachments by node."""

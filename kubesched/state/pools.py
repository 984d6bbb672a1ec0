# SPDX-License-Identifier: Apache-2.0
"""Pools of devices as each node sees them: from slices to ordered lists of devices.

A node sees the slices that name it, those whose selector admits it, and every slice with counters. Only the newest
generation of a pool counts; a pool of which slices are missing is incomplete, one that contradicts itself invalid.
Source: dynamic-resource-allocation/structured/internal/incubating/pools_incubating.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel.arrays import I32
from kubesched.state.claim_rows import Content, Device, DeviceId, NodeChoice, Slice
from kubesched.state.intern import Interner
from kubesched.state.row_labels import Bool

Counters = dict[str, dict[str, int]]
"""Counter set, counter: billionths."""
_Names = frozenset[tuple[str, str]]
"""Slice and device."""


@dataclass(frozen=True, slots=True)
class Visible:
    """A device as a node sees it."""

    id: DeviceId
    content: Content
    number: int
    """Of the content; equal contents share one."""
    where: NodeChoice
    """Of the device or of its slice."""
    is_here: bool
    """Its slice reaches the node, the device itself may not."""


@dataclass(slots=True, eq=False)
class Pool:
    """A pool as some nodes see it.

    Parameters
    ----------
    kind
        Equal for pools whose content is equal, whatever they are called.
    elsewhere
        Devices that other nodes see and that consume counters of this pool.
    """

    driver: str
    name: str
    is_incomplete: bool = False
    is_invalid: bool = False
    devices: tuple[Visible, ...] = ()
    elsewhere: tuple[Visible, ...] = ()
    counters: Counters = field(default_factory=dict)
    kind: int = -1
    binds: bool = False
    number: int = -1
    """Of the pool as these nodes see it, in the order in which they were made."""
    state: int = -1
    """Number of what is taken of it; -1: to be found again. Equal for pools of one kind with the same taken."""

    @property
    def id(self) -> tuple[str, str]:
        return (self.driver, self.name)

    @property
    def is_usable(self) -> bool:
        return not self.is_incomplete and not self.is_invalid


@dataclass(slots=True)
class _Source:
    """Slices of a pool, all generations, in the order of the input."""

    local: dict[str, list[Slice]] = field(default_factory=dict)
    """By node."""
    shared: list[Slice] = field(default_factory=list)
    counters: list[Slice] = field(default_factory=list)

    def all(self) -> list[Slice]:
        return [s for slices in self.local.values() for s in slices] + self.shared + self.counters

    @property
    def is_own(self) -> bool:
        """No more than one node can see devices of it."""
        return not self.shared and len(self.local) <= 1


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What a node sees.

    Parameters
    ----------
    pools
        In the order in which they are searched.
    numbers
        Of the pools, ``[len(pools)]``.
    own
        Those that no other node sees.
    shared
        The other ones.
    pattern
        Equal for views that differ in the names of own pools only.
    """

    pools: tuple[Pool, ...]
    numbers: I32
    own: tuple[Pool, ...]
    shared: tuple[Pool, ...]
    pattern: int


class Pools:
    """All slices, and the pools that nodes see.

    Parameters
    ----------
    slices
        Of the cluster.
    admits
        Rows that a node choice admits, ``[n_rows]``; asked for choices by selector only.
    contents
        Contents of devices by number.
    add
        Takes over each pool that is made; returns its number.
    """

    def __init__(
        self,
        slices: Iterable[Slice],
        admits: Callable[[NodeChoice], Bool],
        contents: Interner[Content],
        add: Callable[[Pool], int],
    ) -> None:
        self._admits = admits
        self._contents = contents
        self._add = add
        self._by_pool: dict[tuple[str, str], dict[str, Slice]] = {}
        """Slices by name."""
        self._sources: dict[tuple[str, str], _Source] = {}
        self._by_node: dict[str, set[tuple[str, str]]] = {}
        self._kinds: Interner[object] = Interner()
        self._patterns: Interner[object] = Interner()
        self._made: dict[tuple[str, str], dict[object, Pool | None]] = {}
        self._views: dict[tuple[int, ...], View] = {}
        self._reached: dict[tuple[bool, ...], dict[tuple[str, str], Pool]] = {}
        """Pools of shared slices alone, by which of their choices of nodes admit the node."""
        self.n_stale = 0
        """Pools that were made of slices that changed since."""
        for one in slices:
            self._by_pool.setdefault((one.driver, one.pool), {})[one.name] = one
        self._flawed: dict[tuple[str, str], Pool] = {}
        """What all nodes see of pools of which only counters reach them, where those are flawed."""
        for key in self._by_pool:
            self._sort(key)
        self._find_shared()

    @property
    def n_pools(self) -> int:
        return len(self._sources)

    def _sort(self, key: tuple[str, str]) -> _Source:
        """Sort the slices of a pool by what nodes see of them."""
        source = self._sources[key] = _Source()
        for one in self._by_pool[key].values():
            if one.counters:
                source.counters.append(one)
            elif one.where.node:
                source.local.setdefault(one.where.node, []).append(one)
                self._by_node.setdefault(one.where.node, set()).add(key)
            elif not one.where.is_open or one.per_device:
                source.shared.append(one)
        self._flawed.pop(key, None)
        ghost = self._ghost(key)
        if ghost is not None:
            self._flawed[key] = ghost
        return source

    def _find_shared(self) -> None:
        self._shared = {key: source for key, source in self._sources.items() if source.shared}
        """Pools of which a slice reaches nodes by something else than one name."""
        slices = [s for source in self._shared.values() for s in source.shared]
        self._wheres = list(dict.fromkeys([s.where for s in slices] + [d.where for s in slices for d in s.devices]))
        self._reached.clear()

    # ---- slices that change ----

    def keep_place(self, old: Mapping[str, Slice], new: Iterable[Slice]) -> bool:
        """Whether slices stay in their pools: where one moves, the order of slices is not that of the input."""
        return all(
            (before := old.get(one.name)) is None or (before.driver, before.pool) == (one.driver, one.pool)
            for one in new
        )

    def put(self, one: Slice) -> set[str] | None:
        """Add a slice, or replace that of the same name in the pool. O(slices of the pool).

        Returns the names of nodes that may see something else now; None: all may.
        """
        key = (one.driver, one.pool)
        before, was_flawed = self._sources.get(key, _Source()), key in self._flawed
        self._by_pool.setdefault(key, {})[one.name] = one
        self.n_stale += len(self._made.pop(key, ()))
        for name in before.local:
            self._by_node[name].discard(key)
        after = self._sort(key)
        if before.shared or after.shared:
            self._find_shared()
        if before.shared or after.shared or was_flawed or key in self._flawed:
            return None
        return before.local.keys() | after.local.keys()

    @property
    def uses_selectors(self) -> bool:
        """Whether what a node sees depends on its labels."""
        return any(where.terms is not None for where in self._wheres)

    def _ghost(self, key: tuple[str, str]) -> Pool | None:
        """What nodes see of a pool of which only counters reach them: nothing, unless it is flawed."""
        source = self._sources[key]
        pool = self._pool(key, source.counters, None) if source.counters else None
        return None if pool is None or pool.is_usable else pool

    # ---- what one node sees ----

    def seen_by(self, name: str | None, row: int) -> View:
        """Pools in the order in which they are searched; none without a name. O(slices that might reach the node)."""
        if name is None:
            return self._view(())
        own = self._by_node.get(name, set())
        reached = tuple([self._matches(where, name, row) for where in self._wheres])
        found = self._reached.get(reached)
        if found is None:
            found = self._reached[reached] = self._of_keys(self._shared.keys(), name, row, with_local=False)
        if own:
            found = {key: pool for key, pool in found.items() if key not in own} | self._of_keys(own, name, row)
        for key, pool in self._flawed.items():
            found = found if key in found else {**found, key: pool}
        return self._view(tuple(sorted(found.values(), key=lambda pool: (pool.binds, pool.id))))

    def _of_keys(
        self, keys: Iterable[tuple[str, str]], name: str, row: int, with_local: bool = True
    ) -> dict[tuple[str, str], Pool]:
        """Pools that a node sees, of some."""
        found: dict[tuple[str, str], Pool] = {}
        for key in keys:
            source = self._sources[key]
            local = source.local.get(name, []) if with_local else []
            reaching = local + [s for s in source.shared if self._reaches(s, name, row)]
            pool = self._pool(key, reaching + source.counters, (name, row)) if reaching else None
            if pool is not None:
                found[key] = pool
        return found

    def _view(self, pools: tuple[Pool, ...]) -> View:
        key = tuple([pool.number for pool in pools])
        view = self._views.get(key)
        if view is None:
            owned = [self._sources[pool.id].is_own and pool.is_usable for pool in pools]
            own = tuple(pool for pool, is_own in zip(pools, owned, strict=True) if is_own)
            shared = tuple(pool for pool, is_own in zip(pools, owned, strict=True) if not is_own)
            numbers = np.array(key, dtype=np.int32)
            pattern = self._patterns.id(tuple(_patterns(pools, owned)))
            view = self._views[key] = View(pools, numbers, own, shared, pattern)
        return view

    def _reaches(self, one: Slice, name: str, row: int) -> bool:
        if not one.where.is_open:
            return self._matches(one.where, name, row)
        return any(self._matches(device.where, name, row) for device in one.devices)

    def _matches(self, where: NodeChoice, name: str, row: int) -> bool:
        if where.node:
            return where.node == name
        return where.everywhere or (where.terms is not None and bool(self._admits(where)[row]))

    # ---- building ----

    def _pool(self, key: tuple[str, str], reaching: Sequence[Slice], node: tuple[str, int] | None) -> Pool | None:
        """The pool made of the slices that reach a node; None: they are out of date."""
        newest = max(s.generation for s in reaching)
        slices = [s for s in reaching if s.generation == newest]
        missing = frozenset(
            (s.name, device.name)
            for s in slices
            if s.per_device
            for device in s.devices
            if node is None or not self._matches(device.where, *node)
        )
        at = (tuple(id(s) for s in slices), missing)
        made = self._made.setdefault(key, {})
        if at not in made:
            made[at] = self._build(key, slices, missing)
        return made[at]

    def _build(self, key: tuple[str, str], slices: list[Slice], missing: _Names) -> Pool | None:
        wanted, others = slices[0].n_slices, slices
        if len(slices) != wanted:
            whole = self._sources[key].all()
            if any(s.generation > slices[0].generation for s in whole):
                return None
            others = [s for s in whole if s.generation == slices[0].generation]
        pool = Pool(*key)
        if len(others) != wanted:
            pool.is_incomplete = True
        else:
            names = {s.name for s in slices}
            elsewhere = [s for s in others if s.name not in names]
            self._fill(pool, sorted(slices, key=lambda s: s.name), elsewhere, missing)
        self._set_kind(pool)
        pool.number = self._add(pool)
        return pool

    def _fill(self, pool: Pool, slices: list[Slice], elsewhere: list[Slice], missing: _Names) -> None:
        reaching = [s for s in slices if not s.counters]
        devices = tuple(self._visible(s, d, (s.name, d.name) not in missing) for s in reaching for d in s.devices)
        sets = [counter_set for s in slices for counter_set in s.counters]
        counters = {name: dict(amounts) for name, amounts in sets}
        consuming = [d for s in [*slices, *elsewhere] for d in s.devices]
        is_valid = (
            len({device.id for device in devices}) == len(devices)
            and len(counters) == len(sets)
            and all(_is_backed(counters, d.content) for d in consuming)
        )
        if not is_valid:
            pool.is_invalid = True
            return
        pool.devices, pool.counters = devices, counters
        pool.binds = any(device.content.binds for device in devices)
        pool.elsewhere = tuple(
            self._visible(s, d, is_here=False) for s in elsewhere for d in s.devices if d.content.counters
        )

    def _visible(self, one: Slice, device: Device, is_here: bool) -> Visible:
        number = self._contents.id(device.content)
        where = device.where if one.per_device else one.where
        return Visible((one.driver, one.pool, device.name), device.content, number, where, is_here)

    def _set_kind(self, pool: Pool) -> None:
        flags = (pool.is_incomplete, pool.is_invalid)
        name = pool.name if any(flags) else ""  # errors tell the name
        devices = tuple((d.number, d.is_here, d.where.node is not None, d.where.terms) for d in pool.devices)
        counters = tuple(sorted((n, tuple(sorted(c.items()))) for n, c in pool.counters.items()))
        elsewhere = tuple(device.number for device in pool.elsewhere)
        pool.kind = self._kinds.id((pool.driver, name, flags, devices, counters, elsewhere))


def _patterns(pools: Sequence[Pool], owned: Sequence[bool]) -> Iterator[object]:
    """What tells views apart but for what is taken of own pools and their names.

    Pools of one name are counted together, whatever their drivers: the position of the first tells.
    """
    first: dict[str, int] = {}
    for i, (pool, is_own) in enumerate(zip(pools, owned, strict=True)):
        namesake = first.setdefault(pool.name, i) if pool.counters else -1
        yield (pool.kind, namesake) if is_own else (pool.kind, namesake, pool.id)


def _is_backed(counters: Counters, content: Content) -> bool:
    """Whether all counters that a device consumes are there."""
    return all(counter in counters.get(name, {}) for name, amounts in content.counters for counter, _ in amounts)

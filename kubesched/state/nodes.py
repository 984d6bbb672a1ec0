# SPDX-License-Identifier: Apache-2.0
"""Nodes by row: names and columns go in, ids and columns go to the engine.

They come one by one or as whole columns. Removed rows are used again, lowest first, so that a long life does not grow
the columns.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, I64, NO_NODE, U8
from kubesched.state import rows
from kubesched.state.names import Names
from kubesched.state.node_order import SearchOrder

UNLIMITED = rows.MAX_QUANTITY + 1
"""Allocatable of an extended resource that a node does not have but devices stand in for (ks.h KS_UNLIMITED)."""


@dataclass(slots=True)
class NodeColumns:
    """Interned columns of some rows, ready for the engine; every array is ``[n]``."""

    allocatable: I64
    name_id: I32
    hostname_value: I32
    label_set: I32
    taint_set: I32
    image_set: I32
    unschedulable: U8
    device_count: I32
    device_model: I32

    def keywords(self) -> dict[str, Any]:
        names = ("name_id", "hostname_value", "label_set", "taint_set", "image_set")
        rest = ("unschedulable", "device_count", "device_model")
        return {name: getattr(self, name) for name in names + rest}


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """Labels of many nodes.

    Parameters
    ----------
    sets
        The distinct label sets as (key, value) pairs, hostnames left out.
    set_of
        Index into ``sets`` of each node, ``[n]`` int32.
    hostnames
        ``kubernetes.io/hostname`` of each node, ``[n]``.
    """

    sets: Sequence[Sequence[tuple[str, str]]]
    set_of: I32
    hostnames: Sequence[str]


class Nodes:
    """Nodes of one engine.

    Parameters
    ----------
    engine
        Borrowed.
    names
        Ids of what nodes are made of.
    lifted
        Extended resources that devices stand in for now.
    """

    def __init__(self, engine: native.Engine, names: Names, lifted: Callable[[], Iterable[str]]) -> None:
        self.engine, self.names, self._lifted = engine, names, lifted
        self.hostname_of: dict[int, str] = {}
        """Label of each row that has it."""
        self.clusters: list[str] = []
        """Of each row; empty outside a fleet."""
        self._by_row: list[str | None] = []
        self._rows: dict[str, int] = {}
        self._free: list[int] = []
        self._order = SearchOrder()
        self._follows_order = False

    # ---- looking ----

    def __len__(self) -> int:
        """Nodes that are there; removed rows do not count."""
        return len(self._rows)

    def by_row(self) -> list[str | None]:
        """Name of each row, None where a row was removed; a copy."""
        return list(self._by_row)

    def by_name(self) -> dict[str, int]:
        """Row of each node; borrowed."""
        return self._rows

    def name(self, row: int) -> str | None:
        """Name of a row; None: it was removed."""
        return self._by_row[row]

    def names_of(self, rows: I32) -> list[str | None]:
        """Name of each row, None for -1. O(rows)."""
        by_row = self._by_row
        return [by_row[row] if row >= 0 else None for row in rows.tolist()]

    def row_of(self, name: str) -> int | None:
        """Row of a node; None: it is not there."""
        return self._rows.get(name)

    def require(self, name: str) -> int:
        """Row of a node.

        Raises
        ------
        StateError
            It is not there.
        """
        row = self._rows.get(name)
        if row is None:
            raise errors.StateError(f"Node {name}", "does not exist", name, "a node of the cluster")
        return row

    def hostnames(self, wanted: I32) -> list[str | None]:
        """Hostname label of each row of ``wanted``, None without."""
        return [self.hostname_of.get(int(row)) for row in wanted]

    def label_of(self, row: int, key: str) -> str | None:
        """A label of a node."""
        if key == rows.HOSTNAME_LABEL:
            return self.hostname_of.get(row)
        labels = self.names.label_sets.value(int(self.engine.columns().label_set[row]))
        return next((value for name, value in labels if name == key), None)

    # ---- nodes come, change and go ----

    def add(self, nodes: Sequence[rows.NodeRow]) -> list[int]:
        """Add nodes; either all of them or, on an error, none. Their rows. O(n)."""
        names = [full_name(node.name, node.cluster) for node in nodes]
        self._check_new(names)
        columns = self._encode(nodes)
        reused = [heapq.heappop(self._free) for _ in range(min(len(nodes), len(self._free)))]
        split = len(reused)
        if reused:
            head = _slice(columns, slice(0, split))
            self.engine.update_nodes(arrays.int32(reused), head.allocatable, **head.keywords())
        if split < len(nodes):
            tail = _slice(columns, slice(split, None))
            first = self.engine.add_nodes(tail.allocatable, **tail.keywords())
            reused.extend(range(first, first + len(nodes) - split))
        self._remember(names, reused, [node.cluster for node in nodes])
        for row, node in zip(reused, nodes, strict=True):
            self._note_hostname(row, node)
            self._order.put(row, dict(node.labels))
        return reused

    def add_columns(
        self,
        names: Sequence[str],
        allocatable: Mapping[str, I64],
        *,
        device_count: I32 | None = None,
        device_model: Sequence[str | None] | None = None,
        labels: LabelColumn | None = None,
        cluster: str = "",
    ) -> range:
        """Add many nodes as columns, ``[n]`` each in canonical units; their rows.

        No Python per node beyond names and hostnames.

        Raises
        ------
        InputError
            Duplicate names, a column of another length or dtype, a negative or absurd quantity.
        """
        n = len(names)
        full = [full_name(name, cluster) for name in names] if cluster else list(names)
        self._check_new(full)
        slots = [self.names.resource_id(resource) for resource in allocatable]
        columns = np.zeros((self.engine.n_resources, n), dtype=np.int64)
        for slot, (resource, column) in zip(slots, allocatable.items(), strict=True):
            columns[slot] = arrays.check(np.ascontiguousarray(column), np.int64, (n,), "add_node_columns", resource)
            _check_column(f"nodes: {resource}", columns[slot])
        self._lift(columns)
        models = None
        if device_model is not None:
            ids = {model: NO_NODE if model is None else self.names.model_id(model) for model in set(device_model)}
            models = arrays.int32([ids[model] for model in device_model])
        known = len(self.names.node_names)
        by_column = [self.names.node_names.id(name) for name in names]
        name_id = np.arange(known, known + n, dtype=np.int32)
        if len(self.names.node_names) != known + n:  # some names were interned before
            name_id = arrays.int32(by_column)
        more = {} if labels is None else self._label_columns(labels, n)
        first = self.engine.add_nodes(columns, name_id=name_id, device_count=device_count, device_model=models, **more)
        if labels is not None:
            self.hostname_of.update(zip(range(first, first + n), labels.hostnames, strict=True))
        self._remember(full, range(first, first + n), [cluster] * n)
        of_sets = ([dict(pairs) for pairs in labels.sets], labels.set_of) if labels is not None else ([{}], None)
        self._order.put_many(first, n, *of_sets)
        return range(first, first + n)

    def update(self, node: rows.NodeRow) -> int:
        """Rewrite a node's capacity, labels, taints and images; what runs there stays. Its row."""
        row = self.require(full_name(node.name, node.cluster))
        columns = self._encode([node])
        self.engine.update_nodes(arrays.int32([row]), columns.allocatable, **columns.keywords())
        self._note_hostname(row, node)
        self._order.update(row, dict(node.labels))
        return row

    def remove(self, name: str) -> int:
        """Remove a node; the row that it had."""
        row = self.require(name)
        self.engine.remove_nodes(arrays.int32([row]))
        del self._rows[name]
        self._order.remove(row)
        self._by_row[row] = None
        heapq.heappush(self._free, row)
        return row

    def lift(self, resources: Sequence[str]) -> None:
        """Resources that devices stand in for do not bind nodes that do not offer them themselves. O(nodes)."""
        slots = [self.names.resource_id(resource) for resource in resources]
        now = self.engine.columns()
        at = np.flatnonzero(now.live).astype(np.int32)
        if not at.size:
            return
        allocatable = np.ascontiguousarray(np.array(now.allocatable)[:, at])
        for slot in slots:
            allocatable[slot][allocatable[slot] == 0] = UNLIMITED
        hostnames = [NO_NODE if name is None else self.names.values.id(name) for name in self.hostnames(at)]
        names = ("name_id", "label_set", "taint_set", "image_set", "unschedulable", "device_count", "device_model")
        columns = {name: getattr(now, name)[at] for name in names}
        self.engine.update_nodes(at, allocatable, hostname_value=arrays.int32(hostnames), **columns)

    def _encode(self, nodes: Sequence[rows.NodeRow]) -> NodeColumns:
        for node in nodes:
            for resource, _ in node.allocatable:
                self.names.resource_id(resource)
        n = len(nodes)
        allocatable = np.zeros((self.engine.n_resources, n), dtype=np.int64)
        labels = [self.names.label_set(node.labels) for node in nodes]
        models = [NO_NODE if node.device_model is None else self.names.model_id(node.device_model) for node in nodes]
        for i, node in enumerate(nodes):
            for resource, amount in node.allocatable:
                _check_quantity(f"Node {node.name}: allocatable.{resource}", amount)
                allocatable[self.names.resources.id(resource), i] = amount
        self._lift(allocatable)
        return NodeColumns(
            allocatable=allocatable,
            name_id=arrays.int32([self.names.node_names.id(node.name) for node in nodes]),
            hostname_value=arrays.int32([hostname for _, hostname in labels]),
            label_set=arrays.int32([number for number, _ in labels]),
            taint_set=arrays.int32([self.names.taint_set(node.taints) for node in nodes]),
            image_set=arrays.int32([self.names.image_set(node.images) for node in nodes]),
            unschedulable=np.array([node.unschedulable for node in nodes], dtype=np.uint8),
            device_count=arrays.int32([node.device_count for node in nodes]),
            device_model=arrays.int32(models),
        )

    def _lift(self, allocatable: I64) -> None:
        """A resource that devices stand in for does not bind nodes that do not offer it themselves."""
        for resource in self._lifted():
            of_resource = allocatable[self.names.resource_id(resource)]
            of_resource[of_resource == 0] = UNLIMITED

    def _note_hostname(self, row: int, node: rows.NodeRow) -> None:
        self.hostname_of.pop(row, None)
        for key, value in node.labels:
            if key == rows.HOSTNAME_LABEL:
                self.hostname_of[row] = value

    def _label_columns(self, labels: LabelColumn, n: int) -> dict[str, I32]:
        arrays.check(labels.set_of, np.int32, (n,), "add_node_columns", "labels.set_of")
        ids = arrays.int32([self.names.label_set(tuple(sorted(pairs)))[0] for pairs in labels.sets])
        hostnames = arrays.int32([self.names.values.id(name) for name in labels.hostnames])
        return {"label_set": ids[labels.set_of], "hostname_value": hostnames}

    def _check_new(self, names: Sequence[str]) -> None:
        if len(set(names)) == len(names) and self._rows.keys().isdisjoint(names):
            return
        seen = set(self._rows)
        for name in names:
            if name in seen:
                raise errors.InputError(f"Node {name}", "exists twice", name, "one node of a name")
            seen.add(name)

    def _remember(self, names: Sequence[str], rows: Sequence[int], clusters: Sequence[str]) -> None:
        missing = self.engine.n_rows - len(self._by_row)
        self._by_row.extend([None] * missing)
        self.clusters.extend([""] * missing)
        for name, row, cluster in zip(names, rows, clusters, strict=True):
            self._by_row[row] = name
            self._rows[name] = row
            self.clusters[row] = cluster

    # ---- the order of nodes ----

    def follow_order(self, needed: bool) -> None:
        """Let the engine know the order of nodes, if a search needs it or ever did. O(N) after nodes came or went."""
        self._follows_order |= needed
        if self._follows_order and not self._order.is_told:
            self.engine.set_node_order(self._order.listed(self._by_row, self._rows))
            self._order.is_told = True

    def adopt_order(self, other: Nodes) -> None:
        """Take over the order of others with the same nodes. O(N)."""
        self._order = other._order.moved(other._by_row, self._rows)


def full_name(name: str, cluster: str) -> str:
    """Name of a node of a fleet."""
    return f"{cluster}/{name}" if cluster else name


def _check_quantity(where: str, amount: int) -> None:
    if not 0 <= amount <= rows.MAX_QUANTITY:
        raise rows.out_of_range(where, amount)


def _check_column(where: str, column: I64) -> None:
    bad = np.flatnonzero((column < 0) | (column > rows.MAX_QUANTITY))
    if bad.size:
        _check_quantity(f"{where}, row {int(bad[0])}", int(column[bad[0]]))


def _slice(columns: NodeColumns, part: slice) -> NodeColumns:
    rest = {name: np.ascontiguousarray(column[part]) for name, column in columns.keywords().items()}
    return NodeColumns(allocatable=np.ascontiguousarray(columns.allocatable[:, part]), **rest)

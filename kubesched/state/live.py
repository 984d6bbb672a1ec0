# SPDX-License-Identifier: Apache-2.0
"""ClusterState: names on this side, ids and columns on the other.

It interns every string that placement can tell apart, owns the engine with the node columns, and keeps the pods
table. Rows go in one by one (``add_nodes``) or as whole columns (``add_node_columns``); decisions are made by the
engine on class ids. Removed rows are used again, lowest first, so that a long life does not grow the columns.
"""

from __future__ import annotations

import contextlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, I64, NO_NODE, U8
from kubesched.state import claim_rows
from kubesched.state import rows as row_types
from kubesched.state.claims import Claims, Scored
from kubesched.state.class_forms import ClassForms
from kubesched.state.classes import Classes
from kubesched.state.columns import UserColumns
from kubesched.state.device_rows import UNLIMITED
from kubesched.state.evictions import BoundPod, Evictions
from kubesched.state.features import DeclaredFeatures
from kubesched.state.intern import Interner, parse_int64
from kubesched.state.node_order import SearchOrder
from kubesched.state.pairwise import Pairwise
from kubesched.state.row_labels import RowLabels
from kubesched.state.stateful import Rejection, Stateful, VerdictReasons, prepare
from kubesched.state.volumes import Volumes

_MOST_SHAPES = 1 << 14
"""Arbitrary: shapes of pods with volumes that are kept."""


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


@dataclass(slots=True)
class _NodeNames:
    """Row of each node name, and name of each row; None where a row was removed."""

    by_row: list[str | None] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    free: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Mark:
    """A speculation: of the engine, and of each stateful plugin."""

    engine: int
    plugins: list[int]


class ClusterState:
    """Nodes, classes and running pods of a cluster or a fleet.

    Node names are unique. In a fleet, a node is known as ``cluster/name``.
    Not safe for use from two threads at once.
    """

    def __init__(self) -> None:
        self.engine = native.Engine(native.FIRST_EXTENDED)
        self.resources: Interner[str] = Interner(row_types.CORE_RESOURCES)
        self.models: Interner[str] = Interner()
        self.clusters: list[str] = []
        self.pods: dict[str, BoundPod] = {}
        self._keys: Interner[str] = Interner()
        self._values: Interner[str] = Interner()
        self._node_names: Interner[str] = Interner()
        self._ips: Interner[str] = Interner([row_types.WILDCARD_IP])
        self._protocols: Interner[str] = Interner()
        self._ports: Interner[row_types.HostPort] = Interner()
        self._images: Interner[str] = Interner()
        self._label_sets: Interner[tuple[tuple[str, str], ...]] = Interner([()])
        self._taint_sets: Interner[tuple[row_types.Taint, ...]] = Interner([()])
        self._image_sets: Interner[tuple[row_types.Image, ...]] = Interner([()])
        self._nodes = _NodeNames()
        self._order = SearchOrder()
        self._follows_order = False
        self._in_group: dict[tuple[int, row_types.PodShape], row_types.PodShape] = {}
        """Shape with a group of volumes, by group and shape without it."""
        self._hostnames: dict[int, str] = {}
        self.pairwise = Pairwise(self.engine, self._add_topology)
        self.stateful: list[Stateful] = []
        """Plugins with state of their own, in PreFilter order."""
        self.filters_of: dict[int, frozenset[str]] = {}
        """Names of a profile's filters, by its engine id."""
        self.scored_of: dict[int, Scored] = {}
        """Extended resources that each profile scores."""
        self.reasons = VerdictReasons()
        self.features = DeclaredFeatures(self.engine, self.reasons)
        self.classes = Classes(self.engine, ClassForms(self), self.pairwise, self.features, self._follow_sight)
        labels = RowLabels(self.engine, self._label_sets, self._hostnames)
        self.volumes = Volumes(self.engine, self.reasons, labels, self.row_of, self.node_name)
        self.claims = Claims(self, labels, self.reasons)
        self.stateful += [self.volumes, self.claims]
        self.evictions = Evictions(self.engine, self.volumes, lambda: self.pods)
        self.volumes.on_derived = self.evictions.retell
        self._speculations = 0
        self._n_within: int | None = None
        self.columns = UserColumns(self.engine)
        self.user_filters: dict[int, tuple[str, str]] = {}
        """Name and reason of users' filters, by the id that the engine gives."""

    # ---- names ----

    @property
    def n_nodes(self) -> int:
        """Nodes that are there; removed rows do not count."""
        return len(self._nodes.rows)

    def node_names(self) -> list[str | None]:
        """Name of each row, None where a row was removed; a copy."""
        return list(self._nodes.by_row)

    def node_name(self, row: int) -> str | None:
        return self._nodes.by_row[row]

    def names_of(self, rows: I32) -> list[str | None]:
        """Name of each row, None for -1. O(rows)."""
        by_row = self._nodes.by_row
        return [by_row[row] if row >= 0 else None for row in rows.tolist()]

    def row_of(self, name: str) -> int | None:
        return self._nodes.rows.get(name)

    def resource_id(self, name: str) -> int:
        """Slot of a resource; the engine grows when it is new."""
        found = self.resources.find(name)
        if found is None:
            self.engine.grow_resources(len(self.resources) + 1)
            found = self.resources.id(name)
        return found

    def label_key(self, key: str) -> int:
        """Id of a label key."""
        return self._keys.id(key)

    def add_node_column(self, name: str, values: Any) -> None:
        """Write a column of numbers for users' plugins; see `UserColumns.set`."""
        self.columns.set(name, values, self._nodes.rows)

    def model_mask(self, models: Sequence[str]) -> int:
        """Bit mask of device models; 0 means any."""
        mask = 0
        for model in models:
            mask |= 1 << self._model_id(model)
        return mask

    def _model_id(self, model: str) -> int:
        number = self.models.id(model)
        if number >= native.MAX_MODELS:
            raise errors.UnsupportedError("device model", "too many distinct models", model, f"{native.MAX_MODELS}")
        return number

    # ---- interned sets ----

    def _label_set(self, labels: tuple[tuple[str, str], ...]) -> tuple[int, int]:
        """Id of the label set without the hostname, and the value id of the hostname."""
        hostname = NO_NODE
        rest = []
        for key, value in labels:
            if key == row_types.HOSTNAME_LABEL:
                hostname = self._values.id(value)
            else:
                rest.append((key, value))
        wanted = tuple(rest)
        found = self._label_sets.find(wanted)
        if found is None:
            pairs = sorted((self._keys.id(k), v) for k, v in wanted)
            numbers = [parse_int64(v) for _, v in pairs]
            found = self.engine.add_label_set(
                arrays.int32([k for k, _ in pairs]),
                arrays.int32([self._values.id(v) for _, v in pairs]),
                arrays.int64([n or 0 for n in numbers]),
                np.array([n is not None for n in numbers], dtype=np.uint8),
            )
            self._label_sets.id(wanted)
        return found, hostname

    def _taint_set(self, taints: tuple[row_types.Taint, ...]) -> int:
        found = self._taint_sets.find(taints)
        if found is None:
            found = self.engine.add_taint_set(
                arrays.int32([self._keys.id(t.key) for t in taints]),
                arrays.int32([self._values.id(t.value) for t in taints]),
                arrays.int32([native.EFFECTS[t.effect] for t in taints]),
            )
            self._taint_sets.id(taints)
        return found

    def _image_set(self, images: tuple[row_types.Image, ...]) -> int:
        found = self._image_sets.find(images)
        if found is None:
            ids = arrays.int32([self._images.id(i.name) for i in images])
            found = self.engine.add_image_set(ids, arrays.int64([i.size_bytes for i in images]))
            self._image_sets.id(images)
        return found

    def image_ids(self, names: tuple[str, ...]) -> I32:
        """Ids of a class's images; the engine learns of new ones through an image set that no node has."""
        unknown = [name for name in dict.fromkeys(names) if self._images.find(name) is None]
        if unknown:
            self._image_set(tuple(row_types.Image(name, 0) for name in unknown))
        return arrays.int32([self._images.id(name) for name in names])

    def port_id(self, port: row_types.HostPort) -> int:
        """Id of a host port."""
        found = self._ports.find(port)
        if found is None:
            ip, protocol = self._ips.id(port.ip), self._protocols.id(port.protocol)
            found = self.engine.add_port(ip, protocol, port.port)
            self._ports.id(port)
        return found

    def label_sets(self) -> list[tuple[tuple[str, str], ...]]:
        """Distinct label sets by id, hostnames left out."""
        return self._label_sets.values()

    def taint_sets(self) -> list[tuple[row_types.Taint, ...]]:
        return self._taint_sets.values()

    def image_sets(self) -> list[tuple[row_types.Image, ...]]:
        return self._image_sets.values()

    def hostnames(self, wanted: I32) -> list[str | None]:
        """Hostname label of each row of ``wanted``, None without."""
        return [self._hostnames.get(int(row)) for row in wanted]

    # ---- nodes ----

    def _full_name(self, name: str, cluster: str) -> str:
        return f"{cluster}/{name}" if cluster else name

    def _encode(self, nodes: Sequence[row_types.NodeRow]) -> NodeColumns:
        for node in nodes:
            for resource, _ in node.allocatable:
                self.resource_id(resource)
        n = len(nodes)
        allocatable = np.zeros((self.engine.n_resources, n), dtype=np.int64)
        labels = [self._label_set(node.labels) for node in nodes]
        models = [NO_NODE if node.device_model is None else self._model_id(node.device_model) for node in nodes]
        for i, node in enumerate(nodes):
            for resource, amount in node.allocatable:
                _check_quantity(f"Node {node.name}: allocatable.{resource}", amount)
                allocatable[self.resources.id(resource), i] = amount
        self._lift(allocatable)
        return NodeColumns(
            allocatable=allocatable,
            name_id=arrays.int32([self._node_names.id(node.name) for node in nodes]),
            hostname_value=arrays.int32([hostname for _, hostname in labels]),
            label_set=arrays.int32([number for number, _ in labels]),
            taint_set=arrays.int32([self._taint_set(node.taints) for node in nodes]),
            image_set=arrays.int32([self._image_set(node.images) for node in nodes]),
            unschedulable=np.array([node.unschedulable for node in nodes], dtype=np.uint8),
            device_count=arrays.int32([node.device_count for node in nodes]),
            device_model=arrays.int32(models),
        )

    def lift(self, resources: Sequence[str]) -> None:
        """Resources that devices stand in for do not bind nodes that do not offer them themselves. O(nodes)."""
        slots = [self.resource_id(resource) for resource in resources]
        now = self.engine.columns()
        at = np.flatnonzero(now.live).astype(np.int32)
        if not at.size:
            return
        allocatable = np.ascontiguousarray(np.array(now.allocatable)[:, at])
        for slot in slots:
            allocatable[slot][allocatable[slot] == 0] = UNLIMITED
        hostnames = [NO_NODE if name is None else self._values.id(name) for name in self.hostnames(at)]
        names = ("name_id", "label_set", "taint_set", "image_set", "unschedulable", "device_count", "device_model")
        columns = {name: getattr(now, name)[at] for name in names}
        self.engine.update_nodes(at, allocatable, hostname_value=arrays.int32(hostnames), **columns)

    def _lift(self, allocatable: I64) -> None:
        """A resource that devices stand in for does not bind nodes that do not offer it themselves."""
        for resource in self.claims.lifted():
            of_resource = allocatable[self.resource_id(resource)]
            of_resource[of_resource == 0] = UNLIMITED

    def add_nodes(self, nodes: Sequence[row_types.NodeRow]) -> None:
        """Add nodes; either all of them or, on an error, none. O(n)."""
        names = [self._full_name(node.name, node.cluster) for node in nodes]
        self._check_new(names)
        columns = self._encode(nodes)
        reused = [heapq.heappop(self._nodes.free) for _ in range(min(len(nodes), len(self._nodes.free)))]
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
        self.features.set_rows(reused, [node.declared_features for node in nodes])
        self.volumes.set_rows(reused)
        self.claims.set_rows(reused)

    def _note_hostname(self, row: int, node: row_types.NodeRow) -> None:
        self._hostnames.pop(row, None)
        for key, value in node.labels:
            if key == row_types.HOSTNAME_LABEL:
                self._hostnames[row] = value

    def add_node_columns(
        self,
        names: Sequence[str],
        allocatable: Mapping[str, I64],
        *,
        device_count: I32 | None = None,
        device_model: Sequence[str | None] | None = None,
        labels: LabelColumn | None = None,
        cluster: str = "",
    ) -> None:
        """Add many nodes as columns, ``[n]`` each in canonical units; no Python per node beyond names and hostnames.

        Raises
        ------
        InputError
            Duplicate names, a column of another length or dtype, a negative or absurd quantity.
        """
        n = len(names)
        full = [self._full_name(name, cluster) for name in names] if cluster else list(names)
        self._check_new(full)
        slots = [self.resource_id(resource) for resource in allocatable]
        columns = np.zeros((self.engine.n_resources, n), dtype=np.int64)
        for slot, (resource, column) in zip(slots, allocatable.items(), strict=True):
            columns[slot] = arrays.check(np.ascontiguousarray(column), np.int64, (n,), "add_node_columns", resource)
            _check_column(f"nodes: {resource}", columns[slot])
        self._lift(columns)
        models = None
        if device_model is not None:
            ids = {model: NO_NODE if model is None else self._model_id(model) for model in set(device_model)}
            models = arrays.int32([ids[model] for model in device_model])
        known = len(self._node_names)
        by_column = [self._node_names.id(name) for name in names]
        name_id = np.arange(known, known + n, dtype=np.int32)
        if len(self._node_names) != known + n:  # some names were interned before
            name_id = arrays.int32(by_column)
        more = {} if labels is None else self._label_columns(labels, n)
        first = self.engine.add_nodes(columns, name_id=name_id, device_count=device_count, device_model=models, **more)
        if labels is not None:
            self._hostnames.update(zip(range(first, first + n), labels.hostnames, strict=True))
        self._remember(full, range(first, first + n), [cluster] * n)
        of_sets = ([dict(pairs) for pairs in labels.sets], labels.set_of) if labels is not None else ([{}], None)
        self._order.put_many(first, n, *of_sets)
        self.features.set_rows(range(first, first + n))
        self.volumes.set_rows(range(first, first + n))
        self.claims.set_rows(range(first, first + n))

    def _label_columns(self, labels: LabelColumn, n: int) -> dict[str, I32]:
        arrays.check(labels.set_of, np.int32, (n,), "add_node_columns", "labels.set_of")
        ids = arrays.int32([self._label_set(tuple(sorted(pairs)))[0] for pairs in labels.sets])
        hostnames = arrays.int32([self._values.id(name) for name in labels.hostnames])
        return {"label_set": ids[labels.set_of], "hostname_value": hostnames}

    def _check_new(self, names: Sequence[str]) -> None:
        if len(set(names)) == len(names) and self._nodes.rows.keys().isdisjoint(names):
            return
        seen = set(self._nodes.rows)
        for name in names:
            if name in seen:
                raise errors.InputError(f"Node {name}", "exists twice", name, "one node of a name")
            seen.add(name)

    def _remember(self, names: Sequence[str], rows: Sequence[int], clusters: Sequence[str]) -> None:
        missing = self.engine.n_rows - len(self._nodes.by_row)
        self._nodes.by_row.extend([None] * missing)
        self.clusters.extend([""] * missing)
        for name, row, cluster in zip(names, rows, clusters, strict=True):
            self._nodes.by_row[row] = name
            self._nodes.rows[name] = row
            self.clusters[row] = cluster

    def update_node(self, node: row_types.NodeRow) -> None:
        """Rewrite a node's capacity, labels, taints and images; what runs there stays."""
        row = self._require(self._full_name(node.name, node.cluster))
        columns = self._encode([node])
        self.engine.update_nodes(arrays.int32([row]), columns.allocatable, **columns.keywords())
        self._note_hostname(row, node)
        self._order.update(row, dict(node.labels))
        self.features.set_rows([row], [node.declared_features])
        self.volumes.set_rows([row])
        self.claims.set_rows([row])

    def remove_node(self, name: str) -> None:
        """Remove a node; its pods stay in the pods table, on no row (-1), and count no more. O(pods)."""
        row = self._require(name)
        self.engine.remove_nodes(arrays.int32([row]))
        del self._nodes.rows[name]
        self._order.remove(row)
        self._nodes.by_row[row] = None
        heapq.heappush(self._nodes.free, row)
        self.volumes.remove_row(row)
        self.claims.set_rows([row])
        for pod in self.pods.values():
            if pod.row == row:
                pod.row = NO_NODE

    def follow_order(self, needed: bool) -> None:
        """Let the engine know the order of nodes, if a search needs it or ever did. O(N) after nodes came or went."""
        self._follows_order |= needed
        if self._follows_order and not self._order.is_told:
            self.engine.set_node_order(self._order.listed(self._nodes.by_row, self._nodes.rows))
            self._order.is_told = True

    def adopt_order(self, other: ClusterState) -> None:
        """Take over the order of another state with the same nodes. O(N)."""
        self._order = other._order.moved(other._nodes.by_row, self._nodes.rows)

    def _require(self, name: str) -> int:
        row = self._nodes.rows.get(name)
        if row is None:
            raise errors.StateError(f"Node {name}", "does not exist", name, "a node of the cluster")
        return row

    # ---- classes ----

    def class_id(self, shape: row_types.PodShape) -> int:
        """Engine class of a shape; shapes share one if nothing can tell them apart.

        A shape with rules about other pods may void ids that were found before (`Classes.version`): running pods that
        are in the pods table are moved then.
        """
        return self.classes.id(shape)

    def class_ids(self, shapes: Sequence[row_types.PodShape]) -> I32:
        """Engine classes of shapes to decide together, ``[n]``."""
        return arrays.int32(self.classes.together(lambda: [self.classes.id(shape) for shape in shapes]))

    def class_of(self, pod: row_types.PodRow) -> int:
        """Engine class of a pod to decide; its volumes and claims are known from now on. See `class_id`."""
        kind = self.claims.kind(pod)
        if pod.volumes is None:
            return self.classes.of_kind(pod.shape, kind) if kind else self.classes.id(pod.shape)
        shape = replace(pod.shape, claim_kind=kind) if kind else pod.shape
        group = self.volumes.introduce(pod, pod.volumes)
        found = self._in_group.get((group, shape))
        if found is None:
            if len(self._in_group) >= _MOST_SHAPES:
                self._in_group.clear()
            found = self._in_group[group, shape] = replace(shape, volume_group=group)
        return self.classes.id(found)

    def classes_of(self, pods: Sequence[row_types.PodRow]) -> I32:
        """`class_of` of pods to decide together, ``[n]``; valid until the next ones are asked for.

        This is where classes are given up that nobody uses.
        """
        self.make_room()
        return arrays.int32(self.classes.together(lambda: self._find_classes(pods)))

    def _find_classes(self, pods: Sequence[row_types.PodRow]) -> list[int]:
        """`class_of` of each pod; one that needs its shape alone costs 0.1 us where others have the same."""
        known: dict[int, int] = {}  # by id(), which stays as long as the pods do
        found = []
        for pod in pods:
            if pod.volumes is not None or pod.devices is not None:
                found.append(self.class_of(pod))
                continue
            class_id = known.get(id(pod.shape))
            if class_id is None:
                class_id = known[id(pod.shape)] = self.class_id(pod.shape)
            found.append(class_id)
        return found

    def set_namespaces(self, namespaces: Mapping[str, Mapping[str, str]]) -> None:
        """Change labels of namespaces. O(classes * terms), and O(running pods) if they tell pods apart."""
        if self.pairwise.set_namespaces(namespaces):
            self.classes.split()

    def shape_of(self, class_id: int) -> row_types.PodShape:
        """What the engine knows of a class; of labels and namespace, what selectors see."""
        return self.classes.shape(class_id)

    def own_shape(self, class_id: int, own: row_types.PodShape) -> row_types.PodShape:
        """The shape of a pod of a class, with labels and namespace of its own."""
        shape = self.shape_of(class_id)
        if shape.namespace == own.namespace and shape.labels == own.labels:
            return shape
        return replace(shape, namespace=own.namespace, labels=own.labels)

    def _follow_sight(self) -> None:
        """Each pod goes to the class of what selectors see of it now."""
        known: dict[tuple[int, int], int] = {}

        def seen(class_id: int, own: row_types.PodShape) -> int:
            kind = class_id, id(own)  # pods of a template share their shape
            found = known.get(kind)
            if found is None:
                found = known[kind] = self.classes.as_seen(self.own_shape(class_id, own))
            return found

        now = ((key, pod, seen(pod.class_id, pod.shape)) for key, pod in self.pods.items())
        moved = [(key, pod, class_id) for key, pod, class_id in now if class_id != pod.class_id]
        there = [one for one in moved if one[1].row != NO_NODE]
        self.engine.reclass(
            arrays.int32([pod.class_id for _, pod, _ in there]),
            arrays.int32([class_id for _, _, class_id in there]),
            arrays.int32([pod.row for _, pod, _ in there]),
            self.evictions.handles([key for key, _, _ in there]),
        )
        for key, pod, class_id in moved:
            self.pods[key] = replace(pod, class_id=class_id)  # a speculation may bring the old one back
        self.evictions.nominate_anew(seen)

    def make_room(self) -> None:
        """Give up classes that nobody uses, if there are many. O(running pods), seldom."""
        if not self.classes.is_crowded or self.engine.is_speculating:
            return
        self.classes.look_anew(self._used_classes())
        gone = self.classes.give_up(self._used_classes())
        for plugin in self.stateful:
            plugin.forget_classes(gone)

    def _used_classes(self) -> set[int]:
        return {pod.class_id for pod in self.pods.values()} | self.evictions.nominated_classes()

    def restore(self, pods: dict[str, BoundPod], version: int) -> None:
        """Put the pods table back to what it was at `Classes.version`, after the speculation was rolled back."""
        self.pods = pods
        self.evictions.reload()
        if version != self.classes.version:
            self.classes.split()  # rules came that see more

    # ---- placements of groups ----

    @property
    def n_choosable(self) -> int:
        """Nodes that can be chosen: those of the placement at hand, or all."""
        return self.n_nodes if self._n_within is None else self._n_within

    @contextlib.contextmanager
    def within(self, topology: int, row: int) -> Iterator[None]:
        """Only nodes in the domain of ``row`` can be chosen, counted or explained; topology -1: all nodes."""
        n = self.engine.within(topology, row)
        self._n_within = None if topology < 0 else n
        try:
            yield
        finally:
            self.engine.within(NO_NODE, NO_NODE)
            self._n_within = None

    def label_of(self, row: int, key: str) -> str | None:
        """A label of a node."""
        if key == row_types.HOSTNAME_LABEL:
            return self._hostnames.get(row)
        labels = self._label_sets.value(int(self.engine.columns().label_set[row]))
        return next((value for name, value in labels if name == key), None)

    def _add_topology(self, key: str) -> int:
        number = native.KEY_HOSTNAME if key == row_types.HOSTNAME_LABEL else self._keys.id(key)
        return self.engine.add_topology(number, self._values.id(""))

    # ---- stateful plugins ----

    def set_devices(self, devices: claim_rows.Devices) -> None:
        """Take over device classes, slices and claims; before nodes if classes stand behind extended resources."""
        self.claims.load(devices)

    def is_concerned(self, class_id: int) -> bool:
        """Whether a stateful plugin has a say in the class."""
        shape = self.shape_of(class_id)
        return any(plugin.concerns(shape) for plugin in self.stateful)

    def prepare(self, key: str, class_id: int, profile: int) -> Rejection | None:
        """Bring the verdicts of stateful plugins for a pod up to date; what the profile's PreFilter rejects it for."""
        self.claims.tell_scored(key, self.scored_of[profile])
        rejection = prepare(self.stateful, key, class_id, self.shape_of(class_id), self.filters_of[profile])
        if rejection is None or not rejection.code:
            return rejection
        met = self.engine.summarize(profile, class_id).rejected[native.FILTERS[rejection.plugin], rejection.code]
        return rejection if met else None

    def batch(self, keys: Sequence[str], class_of: Sequence[int], least: int) -> int:
        """How many of the first pods, which stateful plugins concern, can be decided in one call; see `Volumes.batch`.

        0: fewer than ``least``.
        """
        if self.claims.concerns(self.shape_of(class_of[0])):
            return 0
        others = [plugin for plugin in self.stateful if plugin is not self.volumes]
        alone = {c for c in set(class_of) if any(plugin.concerns(self.shape_of(c)) for plugin in others)}
        n = next((at for at, class_id in enumerate(class_of) if class_id in alone), len(class_of))
        return self.volumes.batch(keys[:n], class_of[:n], self.shape_of, least)

    def reserve(self, key: str, class_id: int, row: int) -> None:
        """Tell stateful plugins that the pod is on the row."""
        shape = self.shape_of(class_id)
        for plugin in self.stateful:
            if plugin.concerns(shape):
                plugin.reserve(key, class_id, shape, row)

    def requirement_key(self, q: row_types.Requirement) -> int:
        """Id of what a requirement on nodes looks at."""
        if q.is_field:
            return native.KEY_NODE_NAME
        return native.KEY_HOSTNAME if q.key == row_types.HOSTNAME_LABEL else self._keys.id(q.key)

    def requirement_values(self, q: row_types.Requirement) -> list[int]:
        """Ids of a requirement's values."""
        table = self._node_names if q.is_field else self._values
        return [table.id(value) for value in q.values]

    def toleration(self, t: row_types.Toleration) -> tuple[int, int]:
        """Ids of a toleration's key (-1: every key) and value."""
        return self._keys.id(t.key) if t.key else NO_NODE, self._values.id(t.value)

    def node_name_id(self, name: str | None) -> int:
        """Id of a node's name, whether it is there or not; -1 without."""
        return NO_NODE if name is None else self._node_names.id(name)

    # ---- running pods ----

    def check_new_pods(self, keys: Sequence[str]) -> None:
        """Refuse a key that runs already or stands in the list twice."""
        if len(set(keys)) == len(keys) and self.pods.keys().isdisjoint(keys):
            return
        seen: set[str] = set()
        for key in keys:
            if key in self.pods or key in seen:
                raise errors.InputError(f"Pod {key}", "exists twice", key, "one pod of a name")
            seen.add(key)

    def bind(self, pods: Sequence[row_types.PodRow]) -> None:
        """Put running pods on their nodes, unconditionally; either all of them or, on an error, none.

        Raises
        ------
        InputError
            A pod runs on a node that is not there, or a key exists twice.
        """
        self.check_new_pods([pod.key for pod in pods])
        class_of = self.classes.together(lambda: [self._running_class(pod.shape) for pod in pods])
        placed: list[BoundPod] = []
        for pod, class_id in zip(pods, class_of, strict=True):
            row = self.row_of(self._full_name(pod.node_name or "", pod.cluster))
            if row is None:
                raise errors.InputError(
                    f"Pod {pod.key}: spec.nodeName",
                    "is not a node of the cluster",
                    pod.node_name,
                    "a known node",
                )
            devices = sum(1 << d for d in pod.device_ids)
            placed.append(BoundPod.of(pod, class_id, row, devices))
        mark = self.engine.speculate()
        try:
            for named in (True, False):  # pods whose devices are known go first
                self._bind_some([p for p in placed if (p.devices != 0) == named])
        except errors.KubeschedError:
            self.engine.rollback(mark)
            raise
        self.engine.keep(mark)
        keys = [pod.key for pod in pods]
        self.pods.update(zip(keys, placed, strict=True))
        for pod, at in zip(pods, placed, strict=True):
            self.claims.know(pod)
            self.reserve(pod.key, at.class_id, at.row)
            if pod.volumes is not None:
                self.volumes.run(pod, pod.volumes, at.row)
        self.evictions.add(keys, placed)

    def update_pods(self, pods: Sequence[row_types.PodRow], touched: Sequence[str] | None = None) -> None:
        """Running pods changed; each stays where it is. Those without a node count no more, and only change class.

        Parameters
        ----------
        touched
            Keys of all pods that something changed about, ``pods`` included: that orders equally important ones.

        Raises
        ------
        StateError
            A pod does not run.
        """
        for pod in pods:
            if pod.key not in self.pods:
                raise errors.StateError(f"Pod {pod.key}", "does not run in the cluster", pod.key, "a running pod")
        class_of = self.classes.together(
            lambda: [self.changed_class(self.pods[pod.key].class_id, pod.shape) for pod in pods]
        )
        bound = [self.pods[pod.key] for pod in pods]
        there = [(at, c) for at, c in zip(bound, class_of, strict=True) if at.row != NO_NODE]
        rows = arrays.int32([at.row for at, _ in there])
        devices = np.array([at.devices for at, _ in there], dtype=np.uint64)
        self.engine.release(arrays.int32([at.class_id for at, _ in there]), rows, devices)
        self.engine.bind(arrays.int32([c for _, c in there]), rows, devices)
        self.note_changed(pods, class_of, touched)

    def note_changed(
        self, pods: Sequence[row_types.PodRow], class_of: Sequence[int], touched: Sequence[str] | None = None
    ) -> None:
        """Enter what the engine knows already: running pods have other classes. ``touched`` as in `update_pods`."""
        keys = [pod.key for pod in pods]
        bound = [self.pods[key] for key in keys]
        for pod, at, class_id in zip(pods, bound, class_of, strict=True):
            at.class_id, at.shape = class_id, pod.shape
            at.priority, at.started, at.is_evicted = pod.priority, pod.started, pod.is_evicted
        self.evictions.renew(keys if touched is None else touched)

    def changed_class(self, class_id: int, shape: row_types.PodShape) -> int:
        """Class of a running pod's new shape; its volumes and claims do not change."""
        old = self.shape_of(class_id)
        if old.volume_group or old.claim_kind:
            shape = replace(shape, volume_group=old.volume_group, claim_kind=old.claim_kind)
        return self._running_class(shape)

    def _running_class(self, shape: row_types.PodShape) -> int:
        """Class of a running pod: where it runs is no rule of its own, or every node would make another class."""
        return self.class_id(shape if shape.node_name is None else replace(shape, node_name=None))

    def _bind_some(self, pods: Sequence[BoundPod]) -> None:
        before = {p.row: self.engine.columns().device_free[p.row].copy() for p in pods if self._needs_devices(p)}
        for pod in pods if before else ():  # devices that C chooses are read back one by one
            devices = np.array([pod.devices], dtype=np.uint64) if pod.devices else None
            self.engine.bind(arrays.int32([pod.class_id]), arrays.int32([pod.row]), devices)
            if self._needs_devices(pod):
                now = self.engine.columns().device_free[pod.row].copy()
                pod.devices = sum(1 << int(d) for d in np.flatnonzero(now != before[pod.row]))
                before[pod.row] = now
        if not before:
            devices = np.array([p.devices for p in pods], dtype=np.uint64)
            rows = arrays.int32([p.row for p in pods])
            self.engine.bind(arrays.int32([p.class_id for p in pods]), rows, devices)

    def _needs_devices(self, pod: BoundPod) -> bool:
        return self.shape_of(pod.class_id).device_count > 0

    def remember(self, keys: Sequence[str], pods: Sequence[BoundPod]) -> None:
        """Enter pods that the engine has just placed into the pods table."""
        self.pods.update(zip(keys, pods, strict=True))
        self.evictions.add(keys, pods)

    def swap(self, keys: Sequence[str], pods: Sequence[BoundPod], evicting: native.Evicting) -> list[list[str]]:
        """Enter pods that the engine has just placed by evicting others: ``keys[i]`` is ``pods[i]`` (row -1: nowhere).

        Returns the keys of each one's victims. In order, because handles are given out again.
        """
        victims: list[list[str]] = []
        handles, bounds = evicting.victims.tolist(), evicting.victim_start.tolist()
        for i, (key, pod, handle) in enumerate(zip(keys, pods, evicting.handle.tolist(), strict=True)):
            gone = self.evictions.leave(handles[bounds[i] : bounds[i + 1]]) if bounds[i] < bounds[i + 1] else []
            for victim in gone:
                del self.pods[victim]
                for plugin in self.stateful:
                    plugin.release(victim)
            victims.append(gone)
            if pod.row != NO_NODE:
                self.pods[key] = pod
                self.evictions.enter(key, handle)
                if self.volumes.concerns(self.shape_of(pod.class_id)):
                    self.volumes.settle_one(key, pod.row)
        return victims

    def release(self, keys: Sequence[str]) -> None:
        """Take running pods off their nodes; either all of them or, on an error, none."""
        for key in keys:
            if key not in self.pods:
                raise errors.StateError(f"Pod {key}", "does not run in the cluster", key, "a running pod")
        there = [p for p in (self.pods[key] for key in dict.fromkeys(keys)) if p.row != NO_NODE]
        self.engine.release(
            arrays.int32([p.class_id for p in there]),
            arrays.int32([p.row for p in there]),
            np.array([p.devices for p in there], dtype=np.uint64),
        )
        self.forget(list(dict.fromkeys(keys)))

    def forget(self, keys: Sequence[str]) -> None:
        """Strike pods out that the engine has released already."""
        self.evictions.drop(keys)
        for key in keys:
            del self.pods[key]
            for plugin in self.stateful:
                plugin.release(key)

    # ---- speculation ----

    def speculate(self) -> Mark:
        """Open a speculation over the engine and the stateful plugins."""
        self._speculations += 1
        return Mark(self.engine.speculate(), [plugin.mark() for plugin in self.stateful])

    @property
    def is_speculating(self) -> bool:
        return self._speculations > 0

    def keep(self, mark: Mark) -> None:
        """End a speculation and leave everything as it is."""
        self.engine.keep(mark.engine)
        self._close()

    def rollback(self, mark: Mark) -> None:
        """Undo what was placed, bound or released since the mark. The pods table is the caller's."""
        self.engine.rollback(mark.engine)
        for plugin, at in zip(self.stateful, mark.plugins, strict=True):
            plugin.rollback(at)
        self._close()

    def _close(self) -> None:
        self._speculations -= 1
        if self._speculations == 0:
            self.volumes.forget()
            self.claims.forget()


def _check_quantity(where: str, amount: int) -> None:
    if not 0 <= amount <= row_types.MAX_QUANTITY:
        raise row_types.out_of_range(where, amount)


def _check_column(where: str, column: I64) -> None:
    bad = np.flatnonzero((column < 0) | (column > row_types.MAX_QUANTITY))
    if bad.size:
        _check_quantity(f"{where}, row {int(bad[0])}", int(column[bad[0]]))


def _slice(columns: NodeColumns, part: slice) -> NodeColumns:
    rest = {name: np.ascontiguousarray(column[part]) for name, column in columns.keywords().items()}
    return NodeColumns(allocatable=np.ascontiguousarray(columns.allocatable[:, part]), **rest)

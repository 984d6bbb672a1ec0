# SPDX-License-Identifier: Apache-2.0
"""ClusterState: names on this side, ids and columns on the other.

It owns the engine, with names, nodes, classes and the plugins that have state of their own, and keeps the table of
running pods. Decisions are made by the engine on class ids.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, I64, NO_NODE
from kubesched.state import claim_rows
from kubesched.state import rows as row_types
from kubesched.state.claims import Claims, Scored
from kubesched.state.class_forms import ClassForms
from kubesched.state.classes import Classes
from kubesched.state.columns import UserColumns
from kubesched.state.evictions import BoundPod, Evictions
from kubesched.state.features import DeclaredFeatures
from kubesched.state.names import Names
from kubesched.state.nodes import Nodes, full_name
from kubesched.state.pairwise import Pairwise
from kubesched.state.row_labels import RowLabels
from kubesched.state.stateful import Rejection, Stateful, VerdictReasons, prepare
from kubesched.state.volumes import Volumes

_MOST_SHAPES = 1 << 14
"""Arbitrary: shapes of pods with volumes that are kept."""


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
        self.names = Names(self.engine)
        self.nodes = Nodes(self.engine, self.names, lambda: self.claims.lifted())
        self.pods: dict[str, BoundPod] = {}
        self._in_group: dict[tuple[int, row_types.PodShape], row_types.PodShape] = {}
        """Shape with a group of volumes, by group and shape without it."""
        self.pairwise = Pairwise(self.engine, self._add_topology)
        self.stateful: list[Stateful] = []
        """Plugins with state of their own, in PreFilter order."""
        self.filters_of: dict[int, frozenset[str]] = {}
        """Names of a profile's filters, by its engine id."""
        self.scored_of: dict[int, Scored] = {}
        """Extended resources that each profile scores."""
        self.reasons = VerdictReasons()
        self.features = DeclaredFeatures(self.engine, self.reasons)
        self.classes = Classes(self.engine, ClassForms(self.names), self.pairwise, self.features, self._follow_sight)
        labels = RowLabels(self.engine, self.names.label_sets, self.nodes.hostname_of)
        self.volumes = Volumes(self.engine, self.reasons, labels, self.nodes.row_of, self.nodes.name)
        self.claims = Claims(self.nodes, labels, self.reasons)
        self.stateful += [self.volumes, self.claims]
        self.evictions = Evictions(self.engine, self.volumes, lambda: self.pods)
        self.volumes.on_derived = self.evictions.retell
        self._speculations = 0
        self._n_within: int | None = None
        self.columns = UserColumns(self.engine)
        self.user_filters: dict[int, tuple[str, str]] = {}
        """Name and reason of users' filters, by the id that the engine gives."""

    # ---- nodes ----

    @property
    def n_nodes(self) -> int:
        """Nodes that are there; removed rows do not count."""
        return len(self.nodes)

    def node_names(self) -> list[str | None]:
        """Name of each row, None where a row was removed; a copy."""
        return self.nodes.by_row()

    def node_name(self, row: int) -> str | None:
        """Name of a row; None: it was removed."""
        return self.nodes.name(row)

    def row_of(self, name: str) -> int | None:
        """Row of a node; None: it is not there."""
        return self.nodes.row_of(name)

    def add_node_column(self, name: str, values: Any) -> None:
        """Write a column of numbers for users' plugins; see `UserColumns.set`."""
        self.columns.set(name, values, self.nodes.by_name())

    def add_nodes(self, nodes: Sequence[row_types.NodeRow]) -> None:
        """Add nodes; either all of them or, on an error, none. O(n)."""
        self._rows_changed(self.nodes.add(nodes), [node.declared_features for node in nodes])

    def add_node_columns(self, names: Sequence[str], allocatable: Mapping[str, I64], **more: Any) -> None:
        """Add many nodes as columns, with the keywords of `Nodes.add_columns`."""
        self._rows_changed(self.nodes.add_columns(names, allocatable, **more))

    def update_node(self, node: row_types.NodeRow) -> None:
        """Rewrite a node's capacity, labels, taints and images; what runs there stays."""
        self._rows_changed([self.nodes.update(node)], [node.declared_features])

    def _rows_changed(self, rows: Sequence[int], features: Sequence[tuple[str, ...]] | None = None) -> None:
        """Tell who keeps something for each row."""
        self.features.set_rows(rows, features)
        self.volumes.set_rows(rows)
        self.claims.set_rows(rows)

    def remove_node(self, name: str) -> None:
        """Remove a node; its pods stay in the pods table, on no row (-1), and count no more. O(pods)."""
        row = self.nodes.remove(name)
        self.volumes.remove_row(row)
        self.claims.set_rows([row])
        for pod in self.pods.values():
            if pod.row == row:
                pod.row = NO_NODE

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

    def _add_topology(self, key: str) -> int:
        number = native.KEY_HOSTNAME if key == row_types.HOSTNAME_LABEL else self.names.keys.id(key)
        return self.engine.add_topology(number, self.names.values.id(""))

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
            row = self.row_of(full_name(pod.node_name or "", pod.cluster))
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

# SPDX-License-Identifier: Apache-2.0
"""Cluster: the whole product in one object. Nodes and running pods in, decisions and reasons out.

Decisions are exact for the profile (see framework.profile): the same feasible nodes, scores and best nodes as
kube-scheduler of that release deciding one pod at a time; ties go to the lowest node index, or are drawn from a seed.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kubesched.api import manifest
from kubesched.base import bulk, errors
from kubesched.framework import cycle, evicting, gangs
from kubesched.framework import diagnosis as diagnoses
from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.placement import plan as plans
from kubesched.placement.asked import Asked, ProfileLike, all_of
from kubesched.placement.explanation import Explanation
from kubesched.scheduler import claims, defaults, encode, pods, storage
from kubesched.scheduler.loop import SchedulingLoop
from kubesched.scheduler.queue import Timing
from kubesched.scheduler.rounds import Known
from kubesched.state import files, live, rows, tables
from kubesched.state.evictions import BoundPod
from kubesched.state.nodes import LabelColumn

PodLike = rows.PodRow | Mapping[str, Any]
_GIB = 1 << 30
_MAX_REASONS = 10_000  # arbitrary: each may look at every node
_NOT_COMPUTED = f"no node is feasible (reasons are given for the first {_MAX_REASONS} pods that fail)"
_SHAPES = ((4, 16), (8, 32), (16, 64), (32, 128), (64, 256), (16, 128), (32, 64), (96, 384))
"""Synthetic nodes: cores and GiB; a mix of the ratios that clouds sell (arbitrary)."""


@dataclass(frozen=True, slots=True)
class Delta:
    """A change of the cluster; parts are applied in this order.

    Parameters
    ----------
    release
        ``namespace/name`` of running pods to take off.
    remove_nodes
        Names of nodes to remove; their pods count no more.
    update_nodes, add_nodes
        Nodes as rows or Kubernetes dicts.
    bind
        Running pods as rows or Kubernetes dicts, with their node.
    remove_storage, put_storage
        What stands behind volumes, as Kubernetes dicts (`storage.KINDS`): taken out by kind and name; added, or
        replaced by kind and name.
    put_devices
        ResourceClaims, ResourceClaimTemplates, DeviceClasses and ResourceSlices, added or replaced by kind and name.
    """

    release: Sequence[str] = ()
    remove_nodes: Sequence[str] = ()
    update_nodes: Sequence[rows.NodeRow | Mapping[str, Any]] = ()
    add_nodes: Sequence[rows.NodeRow | Mapping[str, Any]] = ()
    bind: Sequence[PodLike] = ()
    remove_storage: Sequence[Mapping[str, Any]] = ()
    put_storage: Sequence[Mapping[str, Any]] = ()
    put_devices: Sequence[Mapping[str, Any]] = ()


class Cluster:
    """Nodes, running pods and pods that wait.

    Make one with ``from_objects``, ``from_manifests``, ``from_arrow`` or ``synthetic``.
    Not safe for use from two threads at once.
    """

    def __init__(self) -> None:
        self._state = live.ClusterState()
        self._profiles: dict[tuple[object, ...], int] = {}
        self._ignore: tuple[str, ...] = ()
        self._spread = pods.DefaultSpread(())
        self._next_node = 0  # where the next search begins: of the scheduler, shared by its profiles
        self.pending: list[rows.PodRow] = []
        """Pods of the input that do not run yet, in order."""
        self.left_out: dict[str, int] = {}
        """Features that ``ignore`` left out of decisions, and how many pods use them."""
        self.gangs: dict[str, rows.Gang] = {}
        """PodGroups by ``namespace/name``; pods that name another one wait for it."""

    # ---- where clusters come from ----

    @classmethod
    def from_objects(
        cls, objects: Sequence[Mapping[str, Any]], *, ignore: Collection[str] = (), now: float | None = None
    ) -> Cluster:
        """Build from Kubernetes objects as an API server returns them.

        Parameters
        ----------
        objects
            Nodes and Pods; Namespaces for selectors of namespaces, Services and controllers for default spreading;
            ResourceClaims, ResourceClaimTemplates, DeviceClasses and ResourceSlices for devices;
            PersistentVolumeClaims, PersistentVolumes, StorageClasses, CSINodes, CSIDrivers, CSIStorageCapacities and
            VolumeAttachments for volumes; other kinds are not looked at.
        ignore
            Features to decide without (``encode.FEATURES``): pods that use those that are not implemented are refused
            otherwise.
        now
            Seconds since 1970. Claims whose devices were to be ready for binding ten minutes before have timed out;
            None: none has.

        Raises
        ------
        UnsupportedError
            A pod uses a feature that is not implemented.
        InputError
            A field is wrong, a name exists twice, or a pod runs on an unknown node.
        """
        cluster = cls()
        cluster._ignore = tuple(ignore)
        plain = [obj if isinstance(obj, dict) else dict(obj) for obj in objects]
        encoded = encode.encode(plain, ignore)
        cluster._spread = pods.DefaultSpread(plain)
        cluster._state.set_namespaces(encoded.namespaces)
        cluster._state.volumes.put(encoded.storage)
        cluster._state.claims.now = now
        if encoded.devices:
            cluster._state.set_devices(encoded.devices)
        cluster._state.add_nodes(encoded.nodes)
        cluster._state.bind(encoded.running)
        cluster._state.evictions.set_budgets(encoded.budgets)
        cluster.pending = encoded.pending
        for pod in encoded.pending:
            cluster._nominate(pod)
        cluster.gangs = {gang.key: gang for gang in encoded.gangs}
        cluster.left_out = dict(encoded.left_out)
        return cluster

    def _nominate(self, pod: rows.PodRow) -> None:
        row = self._state.row_of(pod.nominated_node) if pod.nominated_node else None
        if row is not None:
            self._state.evictions.nominate(pod, self._state.class_of(pod), row)

    @classmethod
    def from_manifests(cls, *paths: str | Path, ignore: Collection[str] = ()) -> Cluster:
        """Build from YAML or JSON files or folders; workloads are expanded to their pods, defaults are filled in."""
        objects = defaults.expand(manifest.load([Path(path) for path in paths]))
        return cls.from_objects([defaults.apply(obj) for obj in objects], ignore=ignore)

    @classmethod
    def from_arrow(cls, nodes: Any, pods: Any = None, classes: Any = None, namespaces: Any = None) -> Cluster:
        """Build from Arrow tables (docs/reference/state-schema.md).

        Parameters
        ----------
        nodes
            At least ``name``, ``cpu_milli``, ``memory_bytes``; a ``cluster`` column makes a fleet.
        pods
            Pods with ``node`` run there; the others wait.
        classes
            Shapes that ``pods.class`` refers to.
        namespaces
            Labels of namespaces, for the shapes that select them.
        """
        cluster = cls()
        if namespaces is not None:
            cluster._state.set_namespaces(tables.read_namespaces(namespaces))
        tables.read_nodes(cluster._state, nodes)
        if pods is not None:
            shapes = tables.read_classes(classes) if classes is not None else []
            read = tables.read_pods(pods, shapes)
            cluster._state.bind([pod for pod in read if pod.node_name is not None])
            cluster.pending = [pod for pod in read if pod.node_name is None]
        return cluster

    @classmethod
    def synthetic(cls, n_nodes: int, *, seed: int = 0, gpus_per_node: int = 0, zones: int = 0) -> Cluster:
        """Build ``n_nodes`` nodes of eight shapes whose capacity varies by some percent, empty. O(n).

        Parameters
        ----------
        n_nodes
            0 or more.
        seed
            Same seed, same nodes.
        gpus_per_node
            Devices of each node, 0 to 64.
        zones
            Number of zones that the nodes are dealt out to, with zone and hostname labels; 0: nodes have no labels.
        """
        if not 0 <= n_nodes <= 2**30 or not 0 <= gpus_per_node <= native.MAX_DEVICES:
            raise errors.InputError(
                "synthetic", "is out of range", (n_nodes, gpus_per_node), "0 to 2^30 nodes, 0 to 64 GPUs"
            )
        cluster = cls()
        rng = np.random.Generator(np.random.PCG64(seed))
        shape = np.array(_SHAPES, dtype=np.int64)[rng.integers(0, len(_SHAPES), n_nodes)]
        jitter = rng.integers(0, 50, size=(n_nodes, 2))  # what system daemons take, in 1/1000
        allocatable = {
            rows.CPU: np.ascontiguousarray(shape[:, 0] * (1000 - jitter[:, 0])),
            rows.MEMORY: np.ascontiguousarray(shape[:, 1] * _GIB // 1000 * (1000 - jitter[:, 1])),
            rows.EPHEMERAL_STORAGE: np.full(n_nodes, 100 * _GIB, dtype=np.int64),
            rows.PODS: np.full(n_nodes, 110, dtype=np.int64),
        }
        count = np.full(n_nodes, gpus_per_node, dtype=np.int32)
        names = [f"node-{i:07d}" for i in range(n_nodes)]
        labels = None
        if zones > 0:
            of = np.arange(n_nodes, dtype=np.int32) % np.int32(zones)
            labels = LabelColumn([[(pods.ZONE_LABEL, f"zone-{z}")] for z in range(zones)], of, names)
        cluster._state.add_node_columns(names, allocatable, device_count=count, labels=labels)
        return cluster

    # ---- looking ----

    @property
    def n_nodes(self) -> int:
        return self._state.n_nodes

    @property
    def nbytes(self) -> int:
        """Bytes that the engine holds."""
        return self._state.engine.nbytes

    @property
    def running(self) -> list[str]:
        """Keys of the running pods."""
        return list(self._state.pods)

    def node_of(self, key: str) -> str | None:
        """Node of a running pod; None if it does not run, or its node is gone."""
        pod = self._state.pods.get(key)
        return None if pod is None or pod.row == NO_NODE else self._state.node_name(pod.row)

    def __repr__(self) -> str:
        return f"<Cluster: {self.n_nodes} nodes, {len(self._state.pods)} running pods, {len(self.pending)} pending>"

    # ---- deciding ----

    def place(
        self,
        pods: Sequence[PodLike] | Any = None,
        profile: ProfileLike = profiles.DEFAULT,
        seed: int | None = None,
        commit: bool = True,
        driver: str = "auto",
        evict: bool = False,
    ) -> plans.Plan:
        """Place pods one after another, in one engine call.

        Parameters
        ----------
        pods
            Kubernetes dicts, PodRows, or an Arrow pods table; None: the pending pods.
        profile
            Name or Profile; a ProfileMap decides each pod with the profile of its ``spec.schedulerName``.
        seed
            None: ties go to the lowest node index; a number: ties are drawn uniformly from this seed.
        commit
            False: decide as if each pod came alone, and change nothing.
        driver
            ``auto``, ``dense`` or ``indexed``: the same answer at another speed.
        evict
            True: a pod that fits nowhere evicts pods of lower priority, as DefaultPreemption chooses them. They leave
            the cluster at once, and it takes their place; ``plan.victims`` names them.

        Returns
        -------
        Plan
            One entry a pod. A pod that does not fit is a status with kube-scheduler's message, not an exception.
        """
        if driver not in native.DRIVERS:
            raise errors.InputError("driver", "is unknown", driver, ", ".join(native.DRIVERS))
        found = self._read(pods)
        with bulk.without_collection(len(found)):
            return self._place(self._ask(found, profile), seed, commit, driver, evict)

    def _place(self, asked: Asked, seed: int | None, commit: bool, driver: str, evict: bool) -> plans.Plan:
        if commit:
            self._state.check_new_pods(asked.open_keys)
        options = native.Options(
            0,
            driver=native.DRIVERS[driver],
            tie=native.TIE_UNIFORM if seed is not None or asked.draws else native.TIE_LOWEST,
            commit=commit,
            rng=seed or 0,
            next_node=self._next_node,
        )
        if evict or self._state.evictions.has_nominated:
            return self._decide_evicting(asked, options, evict)
        return self._decide(asked, options)

    def _ask(self, pods: list[rows.PodRow], profile: ProfileLike) -> Asked:
        """Give each pod its profile, and make it what the profile's arguments say."""
        chosen = all_of(profile)
        numbers: dict[int, int] = {}
        for one in chosen:  # with or without pods: a profile that cannot decide is an error
            self._state.nodes.follow_order(one.ends_early)
            numbers[id(one)] = self._profile_id(one)
        return Asked.of(pods, profile, numbers)

    def _decide(self, asked: Asked, options: native.Options) -> plans.Plan:
        """One engine call for all pods of a profile; then the reasons of those that fit nowhere."""
        arranged = self._arrange(asked)
        asked.refuse_devices()
        profile_of = asked.profile_of()
        arranged.cut(profile_of)
        self._refuse_topologies(asked, arranged)
        class_of = self._state.classes_of(asked.open_pods)
        keys = asked.open_keys
        spec = arranged.spec()
        decided, ended = cycle.decide_profiles(self._state, options, profile_of, keys, class_of, spec)
        settled = gangs.settle(spec, decided.columns, ended)
        found = settled.columns
        plan = asked.plan(self._state, found)
        for i, reason in arranged.waiting.items():
            plan.reasons[i] = reason
        self._explain_failures(asked, class_of, decided.columns, settled, plan.reasons, options.commit)
        if options.commit:
            self._next_node = options.next_node
            self._remember(asked, class_of, found)
        ends = _reject(self._state, asked, arranged, settled, plan)
        counts = {name: getattr(options, name) for name in ("n_dense", "n_indexed", "n_partial")}
        return replace(plan, **counts, gangs=ends)

    def _decide_evicting(self, asked: Asked, options: native.Options, evict: bool) -> plans.Plan:
        if evict and not options.commit:
            raise errors.InputError("evict", "needs commit", options.commit, "commit=True")
        if evict and self._state.is_speculating:
            raise errors.StateError("evict", "cannot be undone", "inside whatif", "a snapshot of the cluster")
        if any(pod.group for pod in asked.pods):
            raise errors.UnsupportedError("evict", "gangs are not placed where pods evict or are nominated", None)
        asked.refuse_devices()
        options.profile = self._one_profile(asked, evict)
        keys, pods = asked.open_keys, asked.open_pods
        class_of = self._state.classes_of(pods)
        done = evicting.decide(self._state, options, pods, class_of, evict)
        plan = asked.plan(self._state, done.columns)
        for at, message in done.messages.items():
            plan.reasons[asked.open[at]] = message
        if options.commit:
            self._next_node = options.next_node
            self._wait_no_more(keys[at] for at in np.flatnonzero(done.columns.node >= 0).tolist())
        victims = {keys[at]: evicted for at, evicted in done.victims.items()}
        return replace(plan, n_dense=options.n_dense, n_indexed=options.n_indexed, victims=victims)

    def _one_profile(self, asked: Asked, evict: bool) -> int:
        """Engine id of the profile of all pods, where each may take the place of any other."""
        found = list({id(asked.profiles[i]): asked.profiles[i] for i in asked.open}.values())
        if len(set(found)) > 1:
            names = ", ".join(profile.name for profile in found)
            raise errors.UnsupportedError("evict", "several profiles where pods evict or are nominated", names)
        for profile in found:
            if evict and not profile.evicts:
                raise errors.UnsupportedError("evict", "the profile has no DefaultPreemption", profile.name)
            return self._profile_id(profile)
        return 0

    def _arrange(self, asked: Asked) -> gangs.Arranged:
        """Put the open pods into the order of decision."""
        others, grouped = gangs.Members(), [pod for pod in asked.pods if pod.group]
        if grouped:
            for key, pod in self._state.pods.items():
                if pod.gang:
                    others.running.setdefault(pod.gang, []).append((key, pod.row))
            others.known.update({gang: len(pods) for gang, pods in others.running.items()})
            others.known.update({pod.key: pod.gang for pod in (*self.pending, *grouped) if pod.group}.values())
        arranged = gangs.arrange(self._state, asked.pods, asked.open, self.gangs, others)
        asked.set_order(arranged.order)
        return arranged

    @staticmethod
    def _refuse_topologies(asked: Asked, arranged: gangs.Arranged) -> None:
        for at, gang in zip(arranged.begin, arranged.gangs, strict=True):
            profile = asked.profiles[asked.open[at]]
            if gang is not None and gang.topology_key and not profile.generates_placements:
                raise gangs.no_generator(gang, profile.name)

    def _explain_failures(
        self,
        asked: Asked,
        class_of: I32,
        tried: native.Decisions,
        settled: gangs.Settled,
        reasons: list[str],
        committed: bool,
    ) -> None:
        """Messages of pods that did not fit, each on the state that it met.

        Going backwards through the placements inside a speculation brings that state back; pods of one class that
        failed without a placement between them share one message. Of a gang that was taken back, only the first pod
        that did not fit is explained, with those before it on the nodes that were tried.
        """
        found = settled.columns
        failed = np.flatnonzero(found.node < 0)
        if settled.taken_back:
            failed = failed[[at not in settled.taken_back or at in settled.first_failed for at in failed.tolist()]]
        if failed.size == 0:
            return
        for at in failed[_MAX_REASONS:]:
            reasons[asked.open[at]] = _NOT_COMPUTED
        keys = asked.open_keys
        mark = self._state.speculate()
        undone = len(class_of)
        # By class, or by pod with claims; on the state reached.
        known: dict[tuple[int | str, profiles.Profile, tuple[int, int]], str] = {}
        for at in failed[:_MAX_REASONS][::-1]:
            later = np.arange(at + 1, undone if committed else at + 1)
            later = later[found.node[later] >= 0]
            if later.size:
                cycle.undo(self._state, keys, class_of, found, later)
                known.clear()
            undone = int(at) + 1
            class_id = int(class_of[at])
            if int(at) in settled.first_failed:
                before = settled.first_failed[int(at)]
                with self._state.within(*settled.placement_of(int(at))):
                    reasons[asked.open[at]] = self._message_after(asked, class_of, tried, before)
                continue
            pod, profile = asked.pods[asked.open[at]], asked.profiles[asked.open[at]]
            placement = settled.placement_of(int(at))
            like = (pod.key if self._state.is_concerned(class_id) else class_id, profile, placement)
            if like not in known:
                with self._state.within(*placement):
                    known[like] = self._message(profile, pod, class_id)
            reasons[asked.open[at]] = known[like]
        self._state.rollback(mark)

    def _message_after(self, asked: Asked, class_of: I32, tried: native.Decisions, before: range) -> str:
        """Message of the pod behind ``before``, with these on the nodes that were tried."""
        at = np.array([i for i in before if tried.node[i] >= 0], dtype=np.int64)
        mark = self._state.speculate()
        self._state.engine.bind(class_of[at], tried.node[at], tried.devices[at])
        for i in at.tolist() if self._state.stateful else ():
            pod, class_id = asked.open[i], int(class_of[i])
            key = asked.keys[pod]
            self._state.prepare(key, class_id, self._profile_id(asked.profiles[pod]))
            self._state.reserve(key, class_id, int(tried.node[i]))
        i = asked.open[before.stop]
        message = self._message(asked.profiles[i], asked.pods[i], int(class_of[before.stop]))
        self._state.rollback(mark)
        return message

    def _message(self, profile: profiles.Profile, pod: rows.PodRow, class_id: int) -> str:
        rejection = self._state.prepare(pod.key, class_id, self._profile_id(profile))
        return diagnoses.summarize(self._state, self._profile_id(profile), class_id, pod.shape, rejection).message

    def _remember(self, asked: Asked, class_of: I32, found: native.Decisions) -> None:
        node = found.node.tolist()
        columns = zip(asked.open_keys, asked.open_pods, class_of.tolist(), node, found.devices.tolist(), strict=True)
        bound = {key: BoundPod.of(pod, class_id, row, held) for key, pod, class_id, row, held in columns if row >= 0}
        self._state.remember(list(bound), list(bound.values()))
        self._wait_no_more(bound)

    def _wait_no_more(self, keys: Iterable[str]) -> None:
        """These pods run now."""
        gone = set(keys) if self.pending else ()
        self.pending = [pod for pod in self.pending if pod.key not in gone]

    def explain(self, pod: PodLike | str, profile: ProfileLike = profiles.DEFAULT) -> Explanation:
        """Why each node can or cannot take a pod; changes nothing.

        Parameters
        ----------
        pod
            A pod, or the key (or unique name) of a pending one.
        """
        row, chosen, class_id = self._asked_about(pod, profile)
        found = diagnoses.ask(self._state, self._profile_id(chosen), row, class_id, len(chosen.scores))
        return Explanation(
            pod=row.key,
            profile=chosen.name,
            node_names=self._state.node_names(),
            filters=chosen.filters,
            plugins=chosen.score_names,
            weights=tuple(plugin.weight for plugin in chosen.scores),
            diagnosis=found.diagnosis,
            verdicts=found.verdicts,
            gate_reason=diagnoses.gate_reason(row.scheduling_gates),
        )

    def summarize(self, pod: PodLike | str, profile: ProfileLike = profiles.DEFAULT) -> diagnoses.Summary:
        """The numbers of `explain`: nodes by reason, how many are feasible, how many best; changes nothing.

        O(N), tens of ns a node, without an array of any row.
        """
        row, chosen, class_id = self._asked_about(pod, profile)
        with self._state.evictions.asking(row):
            rejection = self._state.prepare(row.key, class_id, self._profile_id(chosen))
            return diagnoses.summarize(self._state, self._profile_id(chosen), class_id, row.shape, rejection)

    def _asked_about(self, pod: PodLike | str, profile: ProfileLike) -> tuple[rows.PodRow, profiles.Profile, int]:
        """The pod as its profile sees it, that profile, and the pod's class."""
        row = self._find_pending(pod) if isinstance(pod, str) else self._pod_row(pod)
        chosen = _chosen(profile, row)
        row = chosen.adapts.pod(row)
        return row, chosen, self._state.class_of(row)

    def _find_pending(self, name: str) -> rows.PodRow:
        found = [pod for pod in self.pending if name in (pod.key, pod.name)]
        if len(found) != 1:
            what = "is not a pending pod" if not found else "names several pending pods"
            known = ", ".join(pod.key for pod in self.pending[:5]) or "there are none"
            raise errors.InputError("pod", what, name, f"one of {known}")
        return found[0]

    def loop(
        self,
        clock: Callable[[], float],
        profile: ProfileLike = profiles.DEFAULT,
        seed: int | None = None,
        driver: str = "auto",
        timing: Timing | None = None,
        nodes: Sequence[rows.NodeRow | Mapping[str, Any]] = (),
    ) -> SchedulingLoop:
        """A scheduling loop over this cluster: a queue, and decisions of those whose turn it is.

        The cluster's pods do not run yet (`SchedulingLoop` takes those that do). While the loop lives, changes go
        through it; what runs and where can be read here.

        Parameters
        ----------
        clock
            Now, in seconds; never goes back.
        profile, seed, driver
            As in `place`; with a ProfileMap, pods of a scheduler that it does not name are left to others.
        timing
            Back-off and patience.
        nodes
            Nodes of the cluster that may change or go while the loop lives: what they were before is not kept here.
        """
        known = Known([_node_row(node) for node in nodes], gangs=list(self.gangs.values()))
        return SchedulingLoop(self._state, profile, clock=clock, known=known, timing=timing, seed=seed, driver=driver)

    # ---- changing ----

    def release(self, pods: str | Sequence[str]) -> None:
        """Take running pods (``namespace/name``) off their nodes; all of them, or on an error none."""
        self._state.release([pods] if isinstance(pods, str) else list(pods))

    def apply(self, delta: Delta) -> None:
        """Change nodes and running pods; the parts of a delta are applied one after another."""
        removed = [storage.storage_row(dict(obj)) for obj in delta.remove_storage]
        put = [storage.storage_row(dict(obj)) for obj in delta.put_storage]
        self._state.volumes.drop(removed)
        self._state.volumes.put(put)
        if delta.put_devices:
            self._state.claims.put(claims.devices([dict(obj) for obj in delta.put_devices]))
        self._state.release(list(delta.release))
        for name in delta.remove_nodes:
            self._state.remove_node(name)
        for node in delta.update_nodes:
            self._state.update_node(_node_row(node))
        self._state.add_nodes([_node_row(node) for node in delta.add_nodes])
        self._state.bind([self._pod_row(pod) for pod in delta.bind])

    def add_node_column(self, name: str, values: Any) -> None:
        """Give every node a number that users' plugins read as ``node.<name>``; written anew if it is there.

        Parameters
        ----------
        name
            A Python identifier, for example ``idle_watts``.
        values
            ``[n_nodes]`` numbers in the order of the nodes, or a mapping from node name to number, which
            leaves the other nodes as they are. Nodes without a number, such as those that are added later, show NaN.
        """
        self._state.add_node_column(name, values)

    @contextlib.contextmanager
    def what_if(self) -> Iterator[Cluster]:
        """A block whose placements and releases are undone at its end; nodes cannot change inside."""
        mark = self._state.speculate()
        pods, pending, next_node = dict(self._state.pods), list(self.pending), self._next_node
        version = self._state.classes.version
        try:
            yield self
        finally:
            self._state.rollback(mark)
            self._state.restore(pods, version)
            self.pending, self._next_node = pending, next_node
            for pod in pending:
                self._nominate(pod)

    # ---- state ----

    def allocations(self, pods: Iterable[str] | None = None) -> dict[str, dict[str, Any]]:
        """Devices of every claim that has some, by ``namespace/name`` of the claim. O(claims).

        Each is what the claim's ``status.allocation`` would be. The claim that kube-scheduler makes for the extended
        resources of a pod has no name yet; it is ``namespace/pod/<extended-resources>``.

        Parameters
        ----------
        pods
            ``namespace/name`` of running pods: only their claims; None: all claims.
        """
        found = self._state.claims.allocations(pods)
        return {name: claims.allocation_object(allocation) for name, allocation in found.items()}

    def snapshot(self) -> Cluster:
        """An independent copy. O(nodes + pods)."""
        copied = self._tables(copy=True)
        made = Cluster.from_arrow(**copied)
        made.pending, made.left_out, made.gangs = list(self.pending), dict(self.left_out), dict(self.gangs)
        made._state.claims.adopt(self._state.claims)  # noqa: SLF001 - of the same class
        made._state.volumes.adopt(self._state.volumes)  # noqa: SLF001 - of the same class
        made._state.evictions.set_budgets(self._state.evictions.budgets)  # noqa: SLF001 - of the same class
        for pod in made.pending:
            made._nominate(pod)  # noqa: SLF001 - of the same class
        made._ignore, made._spread = self._ignore, self._spread  # noqa: SLF001 - of the same class
        made._next_node = self._next_node  # noqa: SLF001 - of the same class
        made._state.nodes.adopt_order(self._state.nodes)  # noqa: SLF001 - of the same class
        for name, numbers in self._state.columns.by_node(self._state.node_names()).items():
            made.add_node_column(name, numbers)
        return made

    def to_arrow(self, copy: bool = True) -> dict[str, Any]:
        """Tables ``nodes``, ``pods``, ``classes``, ``namespaces``.

        Parameters
        ----------
        copy
            False: numeric node columns are views of the engine's memory (zero-copy). They show later changes and are
            valid until nodes or resources are added.

        Raises
        ------
        UnsupportedError
            The cluster has devices, resource claims, or pods with volumes.
        """
        if self._state.volumes.is_used:
            raise errors.UnsupportedError("to_arrow", "the cluster has claims and volumes, which no table holds")
        if self._state.claims.is_used:
            raise errors.UnsupportedError(
                "to_arrow", "the cluster has devices or resource claims, which no table holds"
            )
        return self._tables(copy)

    def _tables(self, copy: bool) -> dict[str, Any]:
        return {
            "nodes": tables.nodes(self._state, copy),
            "pods": tables.pods(self._state),
            "classes": tables.classes(self._state),
            "namespaces": tables.namespaces(self._state),
        }

    def save(self, folder: str | Path) -> list[Path]:
        """Write each table of `to_arrow` as ``<name>.parquet``; each appears whole or not at all."""
        from pyarrow import parquet as pq

        written = []
        for name, table in self.to_arrow().items():
            path = Path(folder) / f"{name}.parquet"
            with files.atomic(path) as temporary:
                pq.write_table(table, temporary, compression="zstd")
            written.append(path)
        return written

    @classmethod
    def load(cls, folder: str | Path) -> Cluster:
        """Read what `save` wrote; only the nodes file must be there."""
        found = {name: Path(folder) / f"{name}.parquet" for name in ("nodes", "pods", "classes", "namespaces")}
        read = {name: files.read_file(path) for name, path in found.items() if name == "nodes" or path.exists()}
        return cls.from_arrow(**read)

    # ---- reading what the caller gave ----

    def _read(self, pods: Any) -> list[rows.PodRow]:
        if pods is None:
            return list(self.pending)
        if hasattr(pods, "column_names"):
            return tables.read_pods(pods)
        if isinstance(pods, Mapping | rows.PodRow | str):
            raise errors.InputError("place: pods", "is one pod", type(pods).__name__, "a sequence of pods")
        return [pod if isinstance(pod, rows.PodRow) else self._pod_row(pod) for pod in pods]

    def _pod_row(self, pod: PodLike) -> rows.PodRow:
        if isinstance(pod, rows.PodRow):
            return pod
        if not isinstance(pod, Mapping):
            raise errors.InputError("pod", "is not a pod", type(pod).__name__, "a Kubernetes dict or a PodRow")
        return encode.pod_row(dict(pod), self._ignore, spread=self._spread)

    def _profile_id(self, profile: profiles.Profile) -> int:
        key = (profile, *profiles.users_of(profile))  # a name may get another plugin later
        found = self._profiles.get(key)
        if found is None:
            found = self._profiles[key] = profiles.register(self._state, profile)
        return found


def _chosen(profile: ProfileLike, pod: rows.PodRow) -> profiles.Profile:
    """The profile that decides a pod."""
    if isinstance(profile, profiles.ProfileMap):
        return profile.of(pod)
    return all_of(profile)[0]


def _node_row(node: rows.NodeRow | Mapping[str, Any]) -> rows.NodeRow:
    return node if isinstance(node, rows.NodeRow) else encode.node_row(dict(node))


def _reject(
    state: live.ClusterState, asked: Asked, arranged: gangs.Arranged, settled: gangs.Settled, plan: plans.Plan
) -> list[gangs.GangOutcome]:
    """Outcomes of the gangs; the pods of those that were taken back get their gang's status and reason in the plan."""
    messages = {at: plan.reasons[asked.open[at]] for at in settled.first_failed}
    found = dict(gangs.outcomes(state, arranged, settled.ended, asked.open_keys, messages))
    for at, group in settled.taken_back.items():
        i = asked.open[at]
        plan.statuses[i], plan.reasons[i] = plans.GANG_REJECTED, found[group].reason
    for i, outcome in arranged.refused.items():
        plan.statuses[i], plan.reasons[i] = plans.GANG_REJECTED, outcome.reason
    undecided = {outcome.gang: outcome for outcome in arranged.refused.values()}
    return [*found.values(), *undecided.values()]

# SPDX-License-Identifier: Apache-2.0
"""Running pods as the engine knows them one by one: whom evicting can hit, and which budgets protect them.

And pods that wait for a node on which others were evicted for them.

Deciding needs classes and counts only. The engine learns of single pods when somebody first asks whom to evict; from
then on it is told of every pod that comes and goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.state import rows as row_types
from kubesched.state.pairwise import selects
from kubesched.state.volumes import Volumes

_MOST_LABELS = 1 << 14
"""Arbitrary: labels whose budgets are remembered."""


@dataclass(slots=True)
class BoundPod:
    """A pod that runs on a node."""

    class_id: int
    row: int
    shape: row_types.PodShape
    """Its own, as it came; labels and namespace of the class's are what selectors see of it."""
    devices: int = 0
    priority: int = 0
    cluster: str = ""
    gang: str = ""
    """``namespace/name`` of its PodGroup; empty: none."""
    started: int = row_types.NOT_STARTED
    """Microseconds since 1970."""
    is_evicted: bool = False
    """It terminates because the scheduler evicted it."""

    @classmethod
    def of(cls, pod: row_types.PodRow, class_id: int, row: int, devices: int = 0) -> BoundPod:
        """A pod as it runs on a row."""
        gang = pod.gang if pod.group else ""  # most have none: this is run for every pod
        return cls(class_id, row, pod.shape, devices, pod.priority, pod.cluster, gang, pod.started, pod.is_evicted)


@dataclass(frozen=True, slots=True)
class _Nominated:
    """A pod that waits for a row."""

    handle: int
    row: int
    class_id: int
    pod: row_types.PodRow


class Evictions:
    """Known pods, budgets and nominated pods of one engine.

    Parameters
    ----------
    volumes
        What pods hold of volumes.
    pods
        The pods table, which its owner changes and replaces; `add`, `drop` and `reload` follow.
    """

    def __init__(
        self,
        engine: native.Engine,
        volumes: Volumes,
        pods: Callable[[], Mapping[str, BoundPod]],
    ) -> None:
        self._engine, self._volumes, self._pods = engine, volumes, pods
        self._is_on = False
        self._handle_of: dict[str, int] = {}
        self._key_of: dict[int, str] = {}
        self.budgets: tuple[row_types.Budget, ...] = ()
        self._budget_sets: dict[tuple[int, ...], int] = {(): 0}
        self._budgets_of: dict[tuple[str, row_types.Labels], tuple[int, ...]] = {}
        self._nominated: dict[str, _Nominated] = {}

    # ---- budgets ----

    def set_budgets(self, budgets: Sequence[row_types.Budget]) -> None:
        """Budgets as they stand now; before anybody asks whom to evict.

        Raises
        ------
        StateError
            Somebody asked already.
        """
        if self._is_on:
            raise errors.StateError("budgets", "come too late", len(budgets), "budgets before the first eviction")
        self.budgets = tuple(budgets)

    def _budget_set(self, key: str, shape: row_types.PodShape) -> int:
        """Number of the set of budgets that a pod counts for."""
        if not self.budgets:
            return 0
        who = shape.namespace, shape.labels
        found = self._budgets_of.get(who)
        if found is None:
            if len(self._budgets_of) >= _MOST_LABELS:
                self._budgets_of.clear()
            found = tuple(i for i, budget in enumerate(self.budgets) if _protects(budget, shape))
            self._budgets_of[who] = found
        if not found:
            return 0
        name = key.rpartition("/")[2]
        members = tuple(i for i in found if name not in self.budgets[i].disrupted)
        if members not in self._budget_sets:
            self._budget_sets[members] = self._engine.add_budget_set(arrays.int32(members))
        return self._budget_sets[members]

    # ---- running pods ----

    @property
    def is_on(self) -> bool:
        """Whether the engine knows every running pod."""
        return self._is_on

    def know_all(self) -> None:
        """From now on the engine knows every running pod. O(pods) the first time."""
        if self._is_on:
            return
        self._is_on = True
        if self.budgets:
            self._engine.set_budgets(arrays.int32([min(b.allowed, 2**31 - 1) for b in self.budgets]))
        self._volumes.follow()
        self.add(list(self._pods()), list(self._pods().values()))

    def reload(self) -> None:
        """The pods table was put back to what it was. O(pods), and nothing while nobody wants to evict."""
        if self._is_on:
            self.drop(list(self._handle_of))
            self.add(list(self._pods()), list(self._pods().values()))

    def add(self, keys: Sequence[str], pods: Sequence[BoundPod]) -> None:
        """Pods run from now on. Nothing while nobody wants to evict."""
        if not self._is_on:
            return
        there = [(key, pod) for key, pod in zip(keys, pods, strict=True) if pod.row != NO_NODE]
        handles = self._engine.know_pods(
            arrays.int32([pod.class_id for _, pod in there]),
            arrays.int32([pod.row for _, pod in there]),
            arrays.int32([pod.priority for _, pod in there]),
            arrays.int64([pod.started for _, pod in there]),
            arrays.int32([self._budget_set(key, pod.shape) for key, pod in there]),
            np.array([pod.devices for _, pod in there], dtype=np.uint64),
        )
        for (key, _), handle in zip(there, handles.tolist(), strict=True):
            self.enter(key, handle)
        self._tell(native.OF_POD, [(handle, key) for (key, _), handle in zip(there, handles.tolist(), strict=True)])

    def retell(self, keys: Iterable[str]) -> None:
        """Objects may have changed what pods of these keys hold, and nominated ones. O(them)."""
        self._tell(native.OF_POD, [(self._handle_of[key], key) for key in keys if key in self._handle_of])
        self._tell(native.OF_NOMINATED, [(of.handle, key) for key, of in self._nominated.items()])

    def _tell(self, of: int, pods: Sequence[tuple[int, str]]) -> None:
        """What pods hold of volumes, by handle and key."""
        there = [(handle, key) for handle, key in pods if self._volumes.knows(key)]
        if there:
            self._engine.set_holds(of, [handle for handle, _ in there], [self._volumes.items(key) for _, key in there])

    def renew(self, keys: Sequence[str]) -> None:
        """Pods changed in whatever way, one after another: each is the last of its node's list now, as upstream."""
        for key in keys if self._is_on else ():
            self.drop([key])
            self.add([key], [self._pods()[key]])

    def enter(self, key: str, handle: int) -> None:
        """Key of a pod that the engine knows already."""
        self._handle_of[key] = handle
        self._key_of[handle] = key

    def drop(self, keys: Iterable[str]) -> None:
        """Pods run no more."""
        handles = [self._handle_of.pop(key) for key in keys if key in self._handle_of]
        if handles:
            self._engine.forget_pods(arrays.int32(handles))
            self._leave(handles)

    def leave(self, handles: Sequence[int]) -> list[str]:
        """Keys of pods that the engine has forgotten by itself."""
        keys = [self._key_of[handle] for handle in handles]
        for key in keys:
            del self._handle_of[key]
        self._leave(handles)
        return keys

    def _leave(self, handles: Iterable[int]) -> None:
        for handle in handles:
            del self._key_of[handle]

    def keys(self, handles: Iterable[int]) -> list[str]:
        """``namespace/name`` of known pods."""
        return [self._key_of[handle] for handle in handles]

    def budget_sets(self, keys: Sequence[str], pods: Sequence[row_types.PodRow]) -> I32:
        """Set of budgets of pods to come, ``[n]``."""
        if not self.budgets:
            return np.zeros(len(keys), dtype=np.int32)
        return arrays.int32([self._budget_set(key, pod.shape) for key, pod in zip(keys, pods, strict=True)])

    def handles(self, keys: Iterable[str]) -> I32:
        """Handle of each pod, -1 of those that the engine does not know one by one."""
        return arrays.int32([self._handle_of.get(key, -1) for key in keys])

    # ---- pods that wait for a node ----

    @property
    def has_nominated(self) -> bool:
        return bool(self._nominated)

    def nominate(self, pod: row_types.PodRow, class_id: int, row: int) -> None:
        """A pod waits for a row; pods of lower priority leave it room."""
        self.withdraw(pod.key)
        handle = self._engine.nominate(class_id, row, pod.priority)
        self._nominated[pod.key] = _Nominated(handle, row, class_id, pod)
        self._tell(native.OF_NOMINATED, [(handle, pod.key)])

    def nominated_classes(self) -> set[int]:
        """Classes of the pods that wait."""
        return {found.class_id for found in self._nominated.values()}

    def nominate_anew(self, class_of: Callable[[int, row_types.PodShape], int]) -> None:
        """Classes changed: ``class_of`` tells the new one of the old one and a pod's shape."""
        now = [(found, class_of(found.class_id, found.pod.shape)) for found in self._nominated.values()]
        for found, class_id in now:
            if class_id != found.class_id:
                self.nominate(found.pod, class_id, found.row)

    def withdraw(self, key: str) -> None:
        """It waits no more, if it did."""
        found = self._nominated.pop(key, None)
        if found is not None:
            self._engine.unnominate(found.handle)

    def nominated_row(self, key: str) -> int:
        """Row that a pod waits for; -1: none."""
        found = self._nominated.get(key)
        return NO_NODE if found is None else found.row

    @contextmanager
    def asking(self, pod: row_types.PodRow) -> Iterator[None]:
        """Questions to the engine inside are for this pod: it yields to nominated ones, and has a node of its own."""
        found = self._nominated.get(pod.key)
        handle = -1 if found is None else found.handle
        asker = native.Asking(pod.priority, handle)
        if pod.volumes is not None and self._volumes.knows(pod.key):
            asker = self._volumes.asking(pod.key, pod.priority, handle)
            if self._nominated:
                self.know_all()  # what runs beside them counts, too
        with self._engine.asking(asker):
            yield


def _protects(budget: row_types.Budget, shape: row_types.PodShape) -> bool:
    """Source: framework/preemption filterPodsWithPDBViolation, v1.36: an empty selector protects nobody here."""
    if budget.namespace != shape.namespace or not shape.labels or not budget.selector:
        return False
    return selects(budget.selector, dict(shape.labels))

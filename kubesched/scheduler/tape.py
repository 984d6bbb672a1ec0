# SPDX-License-Identifier: Apache-2.0
"""Changes of a cluster as columns of one engine call: pods that come, change and go, and the decisions between them.

A change can be part of a call as long as nobody can tell the difference: no waiting pod hears of it, and its new pods
are decided as soon as they are there. The call ends behind the first pod that finds no node, because that one waits
from then on and may hear of what comes next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, NO_NODE
from kubesched.scheduler import events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.scheduler.queue import SchedulingQueue
from kubesched.scheduler.queue_parts import Queued
from kubesched.state import live, rows
from kubesched.state.evictions import BoundPod


@dataclass(frozen=True, slots=True)
class Change:
    """What happens in a cluster before the next decision; the parts in this order.

    Parameters
    ----------
    delete_pods
        ``namespace/name``.
    update_pods
        Pods as they are now; where a running one runs need not be said.
    remove_nodes
        Names.
    update_nodes, add_nodes
        As they are now.
    add_pods
        New ones, in order.
    """

    delete_pods: Sequence[str] = ()
    update_pods: Sequence[PodView] = ()
    remove_nodes: Sequence[str] = ()
    update_nodes: Sequence[rows.NodeRow] = ()
    add_nodes: Sequence[rows.NodeRow] = ()
    add_pods: Sequence[PodView] = ()


@dataclass(frozen=True, slots=True)
class Part:
    """What one change of a tape came to."""

    items: list[Queued]
    """Decided pods, in order."""
    node: I32
    """Row of each, ``[n]``; -1 at the end: it found none."""
    rest: list[PodView]
    """New pods behind that one: nobody decided them yet."""


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a tape."""

    parts: list[Part]
    """Of the changes that happened; at the last one it may have ended early."""
    left: list[Queued]
    """Pods that ran before and left."""


_New = tuple[str, PodView, int]
"""Key, pod and class."""


class Tape:
    """Changes that go into one call.

    Parameters
    ----------
    state, queue, running
        Of the loop; `play` changes them.
    class_of
        Engine class of a pod to decide; None: it cannot be decided here.
    """

    def __init__(
        self,
        state: live.ClusterState,
        queue: SchedulingQueue,
        running: MutableMapping[str, Queued],
        class_of: Callable[[PodView], int | None],
    ) -> None:
        self._state, self._queue, self._running, self._class_of = state, queue, running, class_of
        self._event: list[int] = []
        self._instead: list[int] = []
        # One entry a pod; a pod that changes is another one from then on.
        self._keys: list[str] = []
        self._pods: list[PodView] = []
        self._class: list[int] = []
        self._node: list[int] = []
        self._devices: list[int] = []
        self._number: dict[str, int] = {}
        """Of the pods that run in the end, those that the tape touches."""
        self._gone: dict[str, int] = {}
        self._ends: list[tuple[int, int, int]] = []
        """Of each change: the first and the last new pod, and the events so far."""
        self._hears: dict[Action, bool] = {}
        self._plain: dict[int, bool] = {}

    def __len__(self) -> int:
        """Changes."""
        return len(self._ends)

    @property
    def n_events(self) -> int:
        return len(self._event)

    # ---- taking changes in ----

    def take(self, change: Change) -> bool:
        """Take the next change in, if it can go with the others."""
        if change.remove_nodes or change.update_nodes or change.add_nodes:
            return False
        new = self._classes(change.add_pods)
        changed = [self._changed(pod) for pod in change.update_pods]
        if new is None or not self._can_go(change) or None in changed:
            return False
        for key in change.delete_pods:
            self._event.append(-(self._enter(key) + 1))
            self._gone[key] = self._number.pop(key)
        for pod, class_id in zip(change.update_pods, changed, strict=True):
            assert class_id is not None
            self._change(pod, class_id)
        first = len(self._keys)
        for key, pod, class_id in sorted(new, key=_by_priority) if len(new) > 1 else new:
            self._append(key, pod, class_id, NO_NODE, 0, NO_NODE)
        self._event.extend(range(first + 1, len(self._keys) + 1))
        self._ends.append((first, len(self._keys), len(self._event)))
        return True

    def _is_heard(self, action: Action) -> bool:
        found = self._hears.get(action)
        if found is None:
            found = self._hears[action] = self._queue.hears(Event(events.ASSIGNED_POD, action))
        return found

    def _classes(self, pods: Sequence[PodView]) -> list[_New] | None:
        """New pods with their keys and classes; None: some cannot go."""
        if pods and self._is_heard(Action.ADD):
            return None
        out: dict[str, _New] = {}
        running, number, gone = self._running, self._number, self._gone
        for pod in pods:
            key, class_id = pod.row.key, self._class_of(pod)
            if class_id is None or not self._is_plain(class_id) or self._queue.get(key) is not None:
                return None
            if key in running or key in number or key in gone or key in out:
                return None
            out[key] = key, pod, class_id
        return list(out.values())

    def _can_go(self, change: Change) -> bool:
        """Whether the pods that go run, and nobody waits for that; those that change must be others."""
        if not change.delete_pods:
            return True
        gone = set(change.delete_pods)
        if self._is_heard(Action.DELETE) or len(gone) < len(change.delete_pods):
            return False
        return all(self._runs_plainly(key) for key in gone) and not any(p.row.key in gone for p in change.update_pods)

    def _runs_plainly(self, key: str) -> bool:
        if key in self._number:
            return True
        return key in self._running and key not in self._gone and self._is_plain(self._state.pods[key].class_id)

    def _is_plain(self, class_id: int) -> bool:
        """Whether no stateful plugin has a say in the class."""
        found = self._plain.get(class_id)
        if found is None:
            found = self._plain[class_id] = not self._state.is_concerned(class_id)
        return found

    def _changed(self, pod: PodView) -> int | None:
        """Class of a running pod that changes; None: it cannot go."""
        key = pod.row.key
        if not self._runs_plainly(key):
            return None
        if any(self._is_heard(action) for action in events.pod_actions(self._view(key), pod)):
            return None
        number = self._number.get(key)
        old = self._state.pods[key].class_id if number is None else self._class[number]
        class_id = self._state.changed_class(old, pod.row.shape)
        return class_id if self._is_plain(class_id) else None

    def _view(self, key: str) -> PodView:
        number = self._number.get(key)
        return self._running[key].pod if number is None else self._pods[number]

    def _change(self, pod: PodView, class_id: int) -> None:
        key = pod.row.key
        number = self._enter(key)
        self._append(key, pod, class_id, NO_NODE, 0, number)
        self._event.append(len(self._keys))

    def _enter(self, key: str) -> int:
        """Number of a running pod; it has one from then on."""
        if key not in self._number:
            at = self._state.pods[key]
            self._append(key, self._running[key].pod, at.class_id, at.row, at.devices, NO_NODE)
        return self._number[key]

    def _append(self, key: str, pod: PodView, class_id: int, row: int, devices: int, instead: int) -> None:
        self._number[key] = len(self._keys)
        self._keys.append(key)
        self._pods.append(pod)
        self._class.append(class_id)
        self._node.append(row)
        self._devices.append(devices)
        self._instead.append(instead)

    # ---- the call, and what came of it ----

    def play(self, options: native.Options) -> Played:
        """Do it, up to the first pod that finds no node; whoever runs or left since is entered into the tables."""
        found = native.Decisions.empty(len(self._keys))
        found.node[:], found.devices[:] = self._node, self._devices
        instead = arrays.int32(self._instead) if any(old != NO_NODE for old in self._instead) else None
        done = self._state.engine.play(options, arrays.int32(self._event), arrays.int32(self._class), instead, found)
        self._node, self._devices = found.node.tolist(), found.devices.tolist()
        decided = [code - 1 for code in self._event[:done] if code > 0 and self._instead[code - 1] == NO_NODE]
        items = self._queue.take_new([self._pods[number] for number in decided])
        item_of = dict(zip(decided, items, strict=True))
        step = 1 if self._state.evictions.is_on else max(done, 1)  # their order on a node is that of the events
        left = [item for at in range(0, done, step) for item in self._settle(at, at + step, item_of)]
        return Played(list(self._parts(done, found.node, items)), left)

    def _settle(self, begin: int, end: int, item_of: Mapping[int, Queued]) -> list[Queued]:
        """Enter who came, changed and left by some of the events; those that left, if they ran before."""
        came: dict[str, int] = {}
        changed: dict[str, int] = {}
        left: dict[str, Queued] = {}
        for code in self._event[begin:end]:
            number = abs(code) - 1
            key = self._keys[number]
            if code < 0:
                item = self._running.pop(key)
                changed.pop(key, None)
                if came.pop(key, None) is None:
                    left[key] = item
            elif self._instead[number] != NO_NODE:
                self._running[key].pod = self._pods[number]
                (came if key in came else changed)[key] = number
            elif self._node[number] != NO_NODE:
                self._running[key] = item_of[number]
                came[key] = number
        self._state.forget(list(left))
        self._state.remember(list(came), [self._bound(number) for number in came.values()])
        if changed:
            rows_of = [self._pods[number].row for number in changed.values()]
            self._state.note_changed(rows_of, [self._class[number] for number in changed.values()])
        return list(left.values())

    def _bound(self, number: int) -> BoundPod:
        return BoundPod.of(self._pods[number].row, self._class[number], self._node[number], self._devices[number])

    def _parts(self, done: int, node: I32, items: Sequence[Queued]) -> Iterator[Part]:
        at = 0
        for first, last, end in self._ends:
            begin = end - (last - first)  # its new pods are its last events
            n = min(last - first, done - begin)
            yield Part(list(items[at : at + n]), node[first : first + n], self._pods[first + n : last])
            at += n
            if n and node[first + n - 1] < 0:
                return


def _by_priority(new: _New) -> int:
    return -new[1].row.priority

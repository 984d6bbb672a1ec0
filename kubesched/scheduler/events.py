# SPDX-License-Identifier: Apache-2.0
"""What happens in a cluster, as the scheduling queue hears of it: a kind of object, what was done to it, old and new.

An update says what changed (a node's taints, a pod's labels), so that only those plugins are asked that it can matter
to. Source: pkg/scheduler/framework/events.go and types.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Any

from kubesched.state import rows

NODE = "Node"
POD = "Pod"
"""In registrations: both of the following."""
ASSIGNED_POD = "AssignedPod"
UNSCHEDULED_POD = "UnscheduledPod"
PERSISTENT_VOLUME = "PersistentVolume"
PERSISTENT_VOLUME_CLAIM = "PersistentVolumeClaim"
STORAGE_CLASS = "StorageClass"
CSI_NODE = "CSINode"
CSI_DRIVER = "CSIDriver"
CSI_STORAGE_CAPACITY = "CSIStorageCapacity"
VOLUME_ATTACHMENT = "VolumeAttachment"
RESOURCE_CLAIM = "ResourceClaim"
RESOURCE_SLICE = "ResourceSlice"
DEVICE_CLASS = "DeviceClass"
POD_GROUP = "PodGroup"
ANYTHING = "*"
"""Of events that move pods whatever they wait for."""


class Action(IntFlag):
    """What was done; the order of the bits is upstream's and means something (see `matches`)."""

    ADD = 1 << 0
    DELETE = 1 << 1
    NODE_ALLOCATABLE = 1 << 2
    NODE_LABEL = 1 << 3
    NODE_TAINT = 1 << 4
    """Taints, or spec.unschedulable was cleared."""
    NODE_CONDITION = 1 << 5
    NODE_ANNOTATION = 1 << 6
    NODE_DECLARED_FEATURE = 1 << 7
    POD_LABEL = 1 << 8
    POD_SCALE_DOWN = 1 << 9
    POD_TOLERATION = 1 << 10
    POD_GATES_ELIMINATED = 1 << 11
    POD_GENERATED_CLAIM = 1 << 12
    ALL = (1 << 13) - 1
    UPDATE = ALL & ~(ADD | DELETE)


@dataclass(frozen=True, slots=True)
class PodView:
    """A pod, with what only queueing hints look at.

    Parameters
    ----------
    row
        What placement sees.
    volumes
        Its volumes as objects (``spec.volumes``).
    resource_claims
        Names of its ResourceClaims; None for one that has not been generated yet.
    """

    row: rows.PodRow
    volumes: tuple[dict[str, Any], ...] = ()
    resource_claims: tuple[str | None, ...] = ()

    @property
    def is_nominated(self) -> bool:
        """Whether it has a nominated node: it holds room there although it does not run."""
        return bool(self.row.nominated_node)

    @property
    def holds_room(self) -> bool:
        """Whether it runs, or is nominated."""
        return self.row.node_name is not None or self.is_nominated


def view(obj: Mapping[str, Any], row: rows.PodRow) -> PodView:
    """A pod from its object and its row."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    generated = {s["name"]: s.get("resourceClaimName") for s in status.get("resourceClaimStatuses") or ()}
    claims = []
    for claim in spec.get("resourceClaims") or ():
        name = claim.get("resourceClaimName") or generated.get(claim["name"])
        if name or claim["name"] not in generated:  # generated without a name: it turned out that none is needed
            claims.append(name)
    return PodView(row, tuple(spec.get("volumes") or ()), tuple(claims))


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Parameters
    ----------
    resource
        Kind; pods are ``ASSIGNED_POD`` or ``UNSCHEDULED_POD``.
    action
        One action, or ``UPDATE`` where nothing more is known.
    old, new
        NodeRow, PodView, or the object as it is for other kinds; None before an addition, after a deletion.
    """

    resource: str
    action: Action
    old: Any = None
    new: Any = None

    @property
    def is_wildcard(self) -> bool:
        return self.resource == ANYTHING and self.action == Action.ALL


def matches(resource: str, action: Action, event: Event) -> bool:
    """Whether a registration for a resource and some actions hears the event.

    A generic update is heard only where its whole set of bits is not above the registered one: a plugin that
    registered for one kind of update is not asked for an update of which nothing is known.
    """
    same = event.resource == resource or (resource == POD and event.resource in (ASSIGNED_POD, UNSCHEDULED_POD))
    return same and bool(action & event.action) and event.action <= action


def activation(pod: PodView) -> Event:
    """A plugin wants this pod to be tried again."""
    return Event(ANYTHING, Action.ALL, None, pod)


# ---- what an update changed ----


def node_actions(old: rows.NodeRow, new: rows.NodeRow) -> list[Action]:
    """Actions of an update of a node, one event each; none: nothing that placement looks at changed."""
    changes = (
        (Action.NODE_TAINT, old.unschedulable and not new.unschedulable),
        (Action.NODE_ALLOCATABLE, old.allocatable != new.allocatable),
        (Action.NODE_LABEL, old.labels != new.labels),
        (Action.NODE_TAINT, old.taints != new.taints),
        (Action.NODE_DECLARED_FEATURE, old.declared_features != new.declared_features),
    )
    return [action for action, changed in changes if changed]


def pod_actions(old: PodView, new: PodView) -> list[Action]:
    """Actions of an update of a pod, one event each; UPDATE where none of them is seen."""
    before, after = old.row, new.row
    changes = (
        (Action.POD_LABEL, before.shape.labels != after.shape.labels),
        (Action.POD_SCALE_DOWN, _is_scaled_down(before.shape.requests, after.shape.requests)),
        (Action.POD_GATES_ELIMINATED, bool(before.scheduling_gates) and not after.scheduling_gates),
        (Action.POD_TOLERATION, len(before.shape.tolerations) != len(after.shape.tolerations)),
        (Action.POD_GENERATED_CLAIM, old.resource_claims != new.resource_claims),
    )
    return [action for action, changed in changes if changed] or [Action.UPDATE]


def _is_scaled_down(before: Sequence[tuple[str, int]], after: Sequence[tuple[str, int]]) -> bool:
    now = dict(after)
    return any(now.get(resource, 0) < amount for resource, amount in before)


def pod_events(old: PodView, new: PodView) -> list[Event]:
    """Events of an update of a pod."""
    resource = UNSCHEDULED_POD if new.row.node_name is None else ASSIGNED_POD
    return [Event(resource, action, old, new) for action in pod_actions(old, new)]


def node_events(old: rows.NodeRow, new: rows.NodeRow) -> list[Event]:
    """Events of an update of a node."""
    return [Event(NODE, action, old, new) for action in node_actions(old, new)]

# SPDX-License-Identifier: Apache-2.0
"""Queueing hints of nodes and pods: for each plugin, which events may make a pod schedulable that it rejected.

A registration names a kind of object, some actions, and a question about the pod and the event; without a question
every such event counts. Where only few pods can be meant (a claim's users, the members of a gang), a registration says
which, so that the queue looks at no other. Nodes and pods are rows; other kinds are objects as they are (see
`storage_hints`; `registrations` has the whole table).
Sources: EventsToRegister and isSchedulableAfter* of each plugin, buildQueueingHintMap, v1.36 (its default gates).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass

from kubesched.scheduler import events
from kubesched.scheduler.events import Action, Event, PodView
from kubesched.state import one_node, rows
from kubesched.state.pairwise import clues, selects

Question = Callable[[PodView, Event, bool], bool]
"""(waiting pod, event, whether the event is about this very pod): whether the event may help it."""


def always(pod: PodView, event: Event, is_own: bool) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Registration:
    """Events that a plugin wants to hear.

    Parameters
    ----------
    ask
        Whether an event may help a pod.
    of_event, of_pod
        Given both: the event can only help pods that have one of the event's keys among theirs (None: any pod).
    """

    resource: str
    actions: Action
    ask: Question = always
    of_event: Callable[[Event], Iterable[Hashable] | None] | None = None
    of_pod: Callable[[PodView], Iterable[Hashable]] | None = None


def nobody(of: Event | PodView) -> Iterable[Hashable]:
    """For questions that only a pod's own events can answer: those reach it by its name, without a search."""
    return ()


# ---- nodes ----


def _after_node_affinity(pod: PodView, event: Event, is_own: bool) -> bool:
    shape = pod.row.shape
    if not one_node.affinity_matches(shape, event.new):
        return False
    return event.old is None or not one_node.affinity_matches(shape, event.old)


def _after_taints(pod: PodView, event: Event, is_own: bool) -> bool:
    shape = pod.row.shape
    was = event.old is None or one_node.is_untolerated(shape, event.old)
    return was and not one_node.is_untolerated(shape, event.new)


def _after_cordon(pod: PodView, event: Event, is_own: bool) -> bool:
    return not event.new.unschedulable and (event.old is None or event.old.unschedulable)


def _after_capacity(pod: PodView, event: Event, is_own: bool) -> bool:
    if not one_node.fits_empty(pod.row.shape, event.new):
        return False
    if event.old is None:
        return True
    before, after = dict(event.old.allocatable), dict(event.new.allocatable)
    wanted = [rows.PODS, *(name for name, _ in pod.row.shape.requests)]
    return any(after.get(name, 0) > before.get(name, 0) for name in wanted)


def _after_features(pod: PodView, event: Event, is_own: bool) -> bool:
    return event.old is None or Action.NODE_DECLARED_FEATURE in event.action


# ---- pods ----


def own(pod: PodView, event: Event, is_own: bool) -> bool:
    return is_own


def _own_change(pod: PodView, event: Event, is_own: bool) -> bool:
    return is_own and event.old.row.shape != event.new.row.shape


def _own_toleration_of_cordon(pod: PodView, event: Event, is_own: bool) -> bool:
    return is_own and one_node.tolerates_unschedulable(event.new.row.shape)


def _after_room(pod: PodView, event: Event, is_own: bool) -> bool:
    """A pod left, or asks for less of something that this one wants."""
    if event.new is None:
        return bool(event.old.holds_room)
    if is_own:
        return True
    if event.new.row.node_name is None:
        return False
    before, after = dict(event.old.row.shape.requests), dict(event.new.row.shape.requests)
    return any(before.get(name, 0) > after.get(name, 0) for name, _ in pod.row.shape.requests)


def _after_ports(pod: PodView, event: Event, is_own: bool) -> bool:
    return event.old.holds_room and one_node.ports_clash(pod.row.shape, event.old.row.shape)


def _never(pod: PodView, event: Event, is_own: bool) -> bool:
    return False


# ---- topology spreading ----


def _hard(pod: PodView) -> list[rows.SpreadConstraint]:
    return [c for c in pod.row.shape.spread if c.hard]


def _is_involved(pod: PodView, other: PodView, is_own: bool) -> bool:
    return is_own or (other.holds_room and other.row.namespace == pod.row.namespace)


def _after_spread_pod(pod: PodView, event: Event, is_own: bool) -> bool:
    sides = [side for side in (event.old, event.new) if side is not None]
    if not all(_is_involved(pod, side, is_own) for side in sides):
        return False
    labels = [dict(side.row.shape.labels) for side in sides]
    constraints = _hard(pod)
    if len(sides) == 1:
        return any(selects(c.selector, labels[0]) for c in constraints)
    tolerations = {side.row.shape.tolerations for side in sides}
    if is_own and len(tolerations) > 1 and any(c.honor_taints for c in constraints):
        return True
    return any(selects(c.selector, labels[0]) != selects(c.selector, labels[1]) for c in constraints)


def _after_spread_node(pod: PodView, event: Event, is_own: bool) -> bool:
    keys = [c.topology_key for c in _hard(pod)]
    had, has = (_has_keys(node, keys) for node in (event.old, event.new))
    if event.old is None or event.new is None:
        return had or has
    if had != has:
        return True
    before, after = dict(event.old.labels), dict(event.new.labels)
    return has and (event.old.taints != event.new.taints or any(before.get(k) != after.get(k) for k in keys))


def _has_keys(node: rows.NodeRow | None, keys: list[str]) -> bool:
    return node is not None and {key for key, _ in node.labels}.issuperset(keys)


def _namespace_of_event(event: Event) -> Iterable[Hashable]:
    side: PodView = event.new or event.old
    return (side.row.namespace,)


def _namespace(pod: PodView) -> Iterable[Hashable]:
    return (pod.row.namespace,)


# ---- inter-pod affinity ----


def _matches_all(terms: tuple[rows.PodTerm, ...], pod: PodView) -> bool:
    """As the hints do it: labels of namespaces are not looked up, a namespace selector sees none."""
    shape = pod.row.shape
    labels = dict(shape.labels)
    return bool(terms) and all(
        (pod.row.namespace in term.namespaces or selects(term.namespace_selector, {}))
        and selects(term.selector, labels)
        for term in terms
    )


def _after_affinity_pod(pod: PodView, event: Event, is_own: bool) -> bool:
    old, new = event.old, event.new
    if is_own and old is not None and new is not None:
        return True
    if any(side is not None and not side.holds_room for side in (old, new)):
        return False
    wanted, shunned = pod.row.shape.required_pods, pod.row.shape.required_anti_pods
    if old is None:
        return _matches_all(wanted, new)
    if new is None:
        return _matches_all(shunned, old) or _matches_all(old.row.shape.required_anti_pods, pod)
    joins = not _matches_all(wanted, old) and _matches_all(wanted, new)
    return joins or (_matches_all(shunned, old) and not _matches_all(shunned, new))


_ANY_LABELS = ("any labels",)


def _labels_of_event(event: Event) -> Iterable[Hashable] | None:
    """What terms of waiting pods may ask for; a pod that shuns others itself can concern anyone when it goes."""
    if event.new is None and event.old.row.shape.required_anti_pods:
        return None
    sides = [side.row.shape for side in (event.old, event.new) if side is not None]
    return {_ANY_LABELS, *(label for shape in sides for label in shape.labels)}


def _clues_of_terms(pod: PodView) -> Iterable[Hashable]:
    """Labels of which a pod must have one to match all terms: those that the first term asks for."""
    shape = pod.row.shape
    for terms in (shape.required_pods, shape.required_anti_pods):
        if terms:
            found = clues(terms[0].selector)
            yield from found[0] if found else (_ANY_LABELS,)


def _after_affinity_node(pod: PodView, event: Event, is_own: bool) -> bool:
    shape = pod.row.shape
    after = dict(event.new.labels)
    if event.old is None:
        return bool(shape.required_anti_pods) or any(t.topology_key in after for t in shape.required_pods)
    before = dict(event.old.labels)
    gained = (
        t.topology_key in after and before.get(t.topology_key) != after[t.topology_key] for t in shape.required_pods
    )
    lost = (
        t.topology_key in before and before[t.topology_key] != after.get(t.topology_key)
        for t in shape.required_anti_pods
    )
    return any(gained) or any(lost)


# ---- gangs ----


def _gang_of_event(event: Event) -> Iterable[Hashable]:
    made = event.new
    key = made.row.gang if isinstance(made, PodView) else made.key
    return (key,) if key else ()


def _gang(pod: PodView) -> Iterable[Hashable]:
    return (pod.row.gang,) if pod.row.group else ()


def _of_gang(pod: PodView, event: Event, is_own: bool) -> bool:
    return pod.row.gang in _gang_of_event(event) and bool(pod.row.group)


# ---- extended resources of device classes ----


def _after_device_class(pod: PodView, event: Event, is_own: bool) -> bool:
    """A class began to stand for an extended resource that the pod asks for."""
    new, old = event.new, event.old
    name = new.get("spec", {}).get("extendedResourceName")
    wanted = {resource for resource, _ in pod.row.shape.requests}
    if old is not None and old.get("spec", {}).get("extendedResourceName") == name:
        return False
    implicit = f"deviceclass.resource.kubernetes.io/{new['metadata']['name']}"
    return (old is None and implicit in wanted) or name in wanted


_A, _D = Action.ADD, Action.DELETE
ADD_OR_UPDATE = Action.ADD | Action.UPDATE
_NODE, _POD = events.NODE, events.POD
_GANG = (_gang_of_event, _gang)
_SPREAD_POD = _A | _D | Action.POD_LABEL | Action.POD_TOLERATION

BY_PLUGIN: dict[str, tuple[Registration, ...]] = {
    "SchedulingGates": (Registration(_POD, Action.POD_GATES_ELIMINATED, own, nobody, nobody),),
    "NodeUnschedulable": (
        Registration(_NODE, _A | Action.NODE_TAINT, _after_cordon),
        Registration(_POD, Action.POD_TOLERATION, _own_toleration_of_cordon, nobody, nobody),
    ),
    "NodeName": (Registration(_NODE, _A),),
    "TaintToleration": (
        Registration(_NODE, _A | Action.NODE_TAINT, _after_taints),
        Registration(_POD, Action.POD_TOLERATION, own, nobody, nobody),
    ),
    "NodeAffinity": (Registration(_NODE, _A | Action.NODE_LABEL, _after_node_affinity),),
    "NodePorts": (Registration(_POD, _D, _after_ports), Registration(_NODE, _A)),
    "NodeResourcesFit": (
        Registration(_POD, _D | Action.POD_SCALE_DOWN, _after_room),
        Registration(_NODE, _A | Action.NODE_ALLOCATABLE, _after_capacity),
        Registration(events.DEVICE_CLASS, ADD_OR_UPDATE, _after_device_class),
    ),
    "PodTopologySpread": (
        Registration(_POD, _SPREAD_POD, _after_spread_pod, _namespace_of_event, _namespace),
        Registration(_NODE, _A | _D | Action.NODE_LABEL | Action.NODE_TAINT, _after_spread_node),
    ),
    "InterPodAffinity": (
        Registration(_POD, _A | _D | Action.POD_LABEL, _after_affinity_pod, _labels_of_event, _clues_of_terms),
        Registration(_NODE, _A | Action.NODE_LABEL, _after_affinity_node),
    ),
    "NodeDeclaredFeatures": (
        Registration(_NODE, _A | Action.NODE_DECLARED_FEATURE, _after_features),
        Registration(_POD, Action.UPDATE, _own_change, nobody, nobody),
    ),
    "DefaultPreemption": (Registration(_POD, _D, _never),),
    "GangScheduling": (
        Registration(_POD, _A, _of_gang, *_GANG),
        Registration(events.POD_GROUP, _A, _of_gang, *_GANG),
    ),
}

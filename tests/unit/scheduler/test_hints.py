# SPDX-License-Identifier: Apache-2.0
"""Queueing hints, one rule a row: the plugin that rejected the pod, what happened, and whether that may help."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.scheduler import encode, events, podgroups, registrations
from kubesched.scheduler.events import Action, Event, PodView
from tests import builders
from tests.builders import make_node, make_pod, need, term

Obj = dict[str, Any]
ZONE = "zone"


def view(pod: builders.PodBuilder | Obj, **metadata: Any) -> PodView:
    obj = pod if isinstance(pod, dict) else pod.build()
    obj["metadata"] |= metadata
    return events.view(obj, encode.pod_row(obj, encode.FEATURES))


def labelled(name: str, app: str, node: str = "n", **spec: Any) -> PodView:
    obj = make_pod(name).on(node).build() if node else make_pod(name).build()
    obj["spec"] |= spec
    return view(obj, labels={"app": app})


def pods_near(kind: str, app: str, key: str = ZONE) -> Obj:
    rule = {"topologyKey": key, "labelSelector": {"matchLabels": {"app": app}}}
    return {"affinity": {kind: {"requiredDuringSchedulingIgnoredDuringExecution": [rule]}}}


def spread(app: str, **more: Any) -> Obj:
    rule = {"maxSkew": 1, "topologyKey": ZONE, "whenUnsatisfiable": "DoNotSchedule"}
    return {"topologySpreadConstraints": [rule | {"labelSelector": {"matchLabels": {"app": app}}} | more]}


def node(builder: builders.NodeBuilder) -> Any:
    return encode.node_row(builder.build())


def node_added(new: builders.NodeBuilder) -> Event:
    return Event(events.NODE, Action.ADD, None, node(new))


def node_changed(action: Action, old: builders.NodeBuilder, new: builders.NodeBuilder) -> Event:
    assert action in events.node_actions(node(old), node(new))
    return Event(events.NODE, action, node(old), node(new))


def came(pod: PodView) -> Event:
    return Event(events.UNSCHEDULED_POD if pod.row.node_name is None else events.ASSIGNED_POD, Action.ADD, None, pod)


def left(pod: PodView) -> Event:
    return Event(events.ASSIGNED_POD, Action.DELETE, pod, None)


def changed(old: PodView, new: PodView) -> Event:
    (event,) = events.pod_events(old, new)
    return event


def helps(plugin: str, pod: PodView, event: Event, is_own: bool = False) -> bool:
    """As the queue asks: any registration of the plugin that hears it and whose keys meet."""
    for r in registrations.of_plugins()[plugin]:
        if not events.matches(r.resource, r.actions, event):
            continue
        keys = None if is_own or r.of_event is None else r.of_event(event)
        if keys is not None and r.of_pod is not None and set(keys).isdisjoint(r.of_pod(pod)):
            assert not r.ask(pod, event, is_own), "the index hides a pod that the hint would let go"
            continue
        if r.ask(pod, event, is_own):
            return True
    return False


N = make_node("n").cpu("2").label(ZONE, "a")
BIG = make_pod("big").container(cpu="4")
TAINTED = make_node("n").cpu("2").label(ZONE, "a").taint("t", "NoSchedule")
CORDONED = make_node("n").cpu("2").label(ZONE, "a").unschedulable()
TOLERANT = make_pod("p").tolerate("t", "Exists")
SMALL = make_pod("p").container(cpu="1")
PICKY = make_pod("p").require(term(need(ZONE, "In", "b")))
PORT = make_pod("p").container(ports=(builders.host_port(80),))
UNLABELLED = make_node("n").cpu("2")
MOVED = make_node("n").cpu("2").label(ZONE, "b")
OTHER = make_node("n").cpu("2").label(ZONE, "a").label("x", "y")
HONEST = spread("a", nodeTaintsPolicy="Honor")
APART = labelled("o", "b", **pods_near("podAntiAffinity", "me"))
ME = labelled("p", "me", "")

CASES: list[tuple[str, str, PodView, Event, bool]] = [
    ("fit: node too small", "NodeResourcesFit", view(BIG), node_added(N), False),
    ("fit: node large enough", "NodeResourcesFit", view(SMALL), node_added(N), True),
    (
        "fit: nothing wanted grew",
        "NodeResourcesFit",
        view(SMALL),
        node_changed(Action.NODE_ALLOCATABLE, N, make_node("n").cpu("2").memory("1Gi")),
        False,
    ),
    (
        "fit: what is wanted grew",
        "NodeResourcesFit",
        view(SMALL),
        node_changed(Action.NODE_ALLOCATABLE, N, make_node("n").cpu("3")),
        True,
    ),
    ("fit: a pod left", "NodeResourcesFit", view(BIG), left(view(SMALL.on("n"))), True),
    ("fit: a pod that ran nowhere left", "NodeResourcesFit", view(BIG), left(view(make_pod("q"))), False),
    (
        "fit: a running pod shrank",
        "NodeResourcesFit",
        view(BIG),
        changed(view(make_pod("q").container(cpu="2").on("n")), view(make_pod("q").container(cpu="1").on("n"))),
        True,
    ),
    (
        "fit: a waiting pod shrank",
        "NodeResourcesFit",
        view(BIG),
        changed(view(make_pod("q").container(cpu="2")), view(make_pod("q").container(cpu="1"))),
        False,
    ),
    ("taints: the node is clean", "TaintToleration", view(make_pod("p")), node_added(N), True),
    ("taints: the node is not", "TaintToleration", view(make_pod("p")), node_added(TAINTED), False),
    ("taints: tolerated", "TaintToleration", view(TOLERANT), node_added(TAINTED), True),
    (
        "taints: gone",
        "TaintToleration",
        view(make_pod("p")),
        node_changed(Action.NODE_TAINT, TAINTED, N),
        True,
    ),
    (
        "taints: were no obstacle",
        "TaintToleration",
        view(TOLERANT),
        node_changed(Action.NODE_TAINT, TAINTED, N),
        False,
    ),
    ("cordon: lifted", "NodeUnschedulable", view(make_pod("p")), node_changed(Action.NODE_TAINT, CORDONED, N), True),
    ("cordon: new node has one", "NodeUnschedulable", view(make_pod("p")), node_added(CORDONED), False),
    (
        "cordon: was none",
        "NodeUnschedulable",
        view(make_pod("p")),
        node_changed(Action.NODE_TAINT, TAINTED, N),
        False,
    ),
    ("affinity: new node matches", "NodeAffinity", view(PICKY), node_added(MOVED), True),
    ("affinity: new node does not", "NodeAffinity", view(PICKY), node_added(N), False),
    ("affinity: now matches", "NodeAffinity", view(PICKY), node_changed(Action.NODE_LABEL, N, MOVED), True),
    (
        "affinity: matched before",
        "NodeAffinity",
        view(PICKY),
        node_changed(Action.NODE_LABEL, MOVED, make_node("n").cpu("2").label(ZONE, "b").label("x", "y")),
        False,
    ),
    ("affinity: taints wake it, too", "NodeAffinity", view(PICKY), node_changed(Action.NODE_TAINT, TAINTED, N), True),
    ("ports: freed", "NodePorts", view(PORT), left(view(PORT.on("n"))), True),
    (
        "ports: another one freed",
        "NodePorts",
        view(make_pod("p").container(ports=(builders.host_port(80),))),
        left(view(make_pod("q").container(ports=(builders.host_port(81),)).on("n"))),
        False,
    ),
    ("name: new node", "NodeName", view(make_pod("p")), node_added(TAINTED), True),
    ("spread: a counted pod came", "PodTopologySpread", labelled("p", "a", "", **spread("a")), came(APART), False),
    (
        "spread: a counted pod left",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("b")),
        left(APART),
        True,
    ),
    (
        "spread: of another namespace",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("b")),
        left(view(make_pod("o", "other").on("n"), labels={"app": "b"})),
        False,
    ),
    (
        "spread: a pod is counted now",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("b")),
        changed(labelled("o", "a"), labelled("o", "b")),
        True,
    ),
    (
        "spread: a pod is counted as before",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("x")),
        changed(labelled("o", "a"), labelled("o", "b")),
        False,
    ),
    ("spread: node with the key", "PodTopologySpread", labelled("p", "a", "", **spread("a")), node_added(N), True),
    (
        "spread: node without the key",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        node_added(UNLABELLED),
        False,
    ),
    (
        "spread: node loses the key",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        node_changed(Action.NODE_LABEL, N, UNLABELLED),
        True,
    ),
    (
        "spread: node changes its domain",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        node_changed(Action.NODE_LABEL, N, MOVED),
        True,
    ),
    (
        "spread: node changes another label",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        node_changed(Action.NODE_LABEL, N, OTHER),
        False,
    ),
    (
        "spread: node goes",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        Event(events.NODE, Action.DELETE, node(N), None),
        True,
    ),
    (
        "pods: the wanted came",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        came(APART),
        True,
    ),
    (
        "pods: the wanted does not run",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        came(labelled("o", "b", "")),
        False,
    ),
    (
        "pods: another became the wanted",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        changed(labelled("o", "x"), labelled("o", "b")),
        True,
    ),
    (
        "pods: the wanted stays it",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        changed(labelled("o", "b"), view(make_pod("o").on("n"), labels={"app": "b", "more": "x"})),
        False,
    ),
    (
        "pods: the shunned left",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAntiAffinity", "b")),
        left(labelled("o", "b")),
        True,
    ),
    (
        "pods: the shunned is another now",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAntiAffinity", "b")),
        changed(labelled("o", "b"), labelled("o", "x")),
        True,
    ),
    ("pods: who shunned it left", "InterPodAffinity", ME, left(APART), True),
    ("pods: another left", "InterPodAffinity", ME, left(labelled("o", "b")), False),
    (
        "pods: node in a wanted domain",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        node_added(N),
        True,
    ),
    (
        "pods: node in no domain",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAffinity", "b")),
        node_added(UNLABELLED),
        False,
    ),
    (
        "pods: node leaves a shunned domain",
        "InterPodAffinity",
        labelled("p", "a", "", **pods_near("podAntiAffinity", "b")),
        node_changed(Action.NODE_LABEL, N, UNLABELLED),
        True,
    ),
    (
        "features: declared",
        "NodeDeclaredFeatures",
        view(make_pod("p")),
        Event(events.NODE, Action.NODE_DECLARED_FEATURE, node(N), node(N)),
        True,
    ),
    ("preemption: never by an event", "DefaultPreemption", view(make_pod("p")), left(view(SMALL.on("n"))), False),
]


@pytest.mark.parametrize(("plugin", "pod", "event", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_hint(plugin: str, pod: PodView, event: Event, expected: bool) -> None:
    assert helps(plugin, pod, event) is expected


OWN: list[tuple[str, str, PodView, PodView, bool]] = [
    ("gates gone", "SchedulingGates", view(make_pod("p").gate("g")), view(make_pod("p")), True),
    ("a toleration", "TaintToleration", view(make_pod("p")), view(TOLERANT), True),
    ("a toleration of another taint", "NodeUnschedulable", view(make_pod("p")), view(TOLERANT), False),
    (
        "a toleration of the cordon",
        "NodeUnschedulable",
        view(make_pod("p")),
        view(make_pod("p").tolerate(operator="Exists")),
        True,
    ),
    ("less", "NodeResourcesFit", view(BIG), view(make_pod("big").container(cpu="1")), True),
    ("labels, in affinity", "InterPodAffinity", labelled("p", "a", ""), labelled("p", "b", ""), True),
    (
        "a toleration, where taints count",
        "PodTopologySpread",
        labelled("p", "a", "", **HONEST),
        labelled("p", "a", "", **HONEST, tolerations=[{"key": "t", "operator": "Exists"}]),
        True,
    ),
    (
        "a toleration, where they do not",
        "PodTopologySpread",
        labelled("p", "a", "", **spread("a")),
        labelled("p", "a", "", **spread("a"), tolerations=[{"key": "t", "operator": "Exists"}]),
        False,
    ),
]


@pytest.mark.parametrize(("plugin", "old", "new", "expected"), [c[1:] for c in OWN], ids=[c[0] for c in OWN])
def test_hint_of_the_pods_own_update(plugin: str, old: PodView, new: PodView, expected: bool) -> None:
    assert helps(plugin, new, changed(old, new), is_own=True) is expected
    if plugin in ("TaintToleration", "SchedulingGates", "NodeUnschedulable"):
        assert not helps(plugin, new, changed(old, new)), "another pod's update is no help"


def test_a_pod_that_shuns_others_concerns_anybody_only_when_it_goes() -> None:
    (hears,) = (r for r in registrations.of_plugins()["InterPodAffinity"] if r.resource == events.POD)
    shy = labelled("p", "a", **pods_near("podAntiAffinity", "b"))
    other = labelled("p", "c", **pods_near("podAntiAffinity", "b"))
    assert hears.of_event is not None
    assert hears.of_event(left(shy)) is None
    came_with, became = (set(hears.of_event(event) or ()) for event in (came(shy), changed(shy, other)))
    assert {"a", "c"} & {key[1] for key in came_with if len(key) == 2} == {"a"}
    assert {"a", "c"} <= {key[1] for key in became if len(key) == 2}


def test_a_gang_waits_for_its_group_and_its_pods() -> None:
    member = make_pod("p").build()
    member["spec"]["schedulingGroup"] = {"podGroupName": "g"}
    pod = view(member)
    policy = {"schedulingPolicy": {"gang": {"minCount": 2}}}
    made = {name: {"metadata": {"name": name, "namespace": "default"}, "spec": policy} for name in "gh"}
    groups = {name: podgroups.gang(obj) for name, obj in made.items()}
    assert helps("GangScheduling", pod, Event(events.POD_GROUP, Action.ADD, None, groups["g"]))
    assert not helps("GangScheduling", pod, Event(events.POD_GROUP, Action.ADD, None, groups["h"]))
    assert helps("GangScheduling", pod, came(pod))
    assert not helps("GangScheduling", pod, came(view(make_pod("q"))))


def test_an_update_of_nothing_in_particular_wakes_only_who_asked_for_every_update() -> None:
    same = view(make_pod("p"))
    (event,) = events.pod_events(same, same)
    assert event.action == Action.UPDATE
    heard = {
        name
        for name, of in registrations.of_plugins().items()
        if any(events.matches(r.resource, r.actions, event) for r in of)
    }
    assert heard == {"NodeDeclaredFeatures"}


def with_volume(namespace: str = "default", **volume: Any) -> PodView:
    obj = make_pod("q", namespace).on("n").build()
    obj["spec"]["volumes"] = [{"name": "v", **volume}]
    return events.view(obj, encode.pod_row(obj))


CLAIM = {"persistentVolumeClaim": {"claimName": "c"}}
RBD = {"monitors": ["m"], "pool": "p", "image": "i"}


@pytest.mark.parametrize(
    ("mine", "theirs", "expected"),
    [
        (CLAIM, CLAIM, True),
        (CLAIM, {"persistentVolumeClaim": {"claimName": "d"}}, False),
        (CLAIM, {"emptyDir": {}}, False),
        ({"gcePersistentDisk": {"pdName": "d"}}, {"gcePersistentDisk": {"pdName": "d"}}, True),
        ({"gcePersistentDisk": {"pdName": "d"}}, {"gcePersistentDisk": {"pdName": "e"}}, False),
        (
            {"gcePersistentDisk": {"pdName": "d", "readOnly": True}},
            {"gcePersistentDisk": {"pdName": "d", "readOnly": True}},
            False,
        ),
        ({"iscsi": {"iqn": "d"}}, {"iscsi": {"iqn": "d", "readOnly": True}}, True),
        ({"rbd": RBD}, {"rbd": RBD | {"monitors": ["l", "m"]}}, True),
        ({"rbd": RBD}, {"rbd": RBD | {"monitors": ["l"]}}, False),
        ({"rbd": RBD}, {"rbd": RBD | {"image": "j"}}, False),
        (
            {"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}},
            {"awsElasticBlockStore": {"volumeID": "d", "readOnly": True}},
            True,
        ),
    ],
)
def test_who_waits_for_a_volume_hears_of_its_user_only(mine: Obj, theirs: Obj, expected: bool) -> None:
    """`helps` fails, too, where the index hides a pod that the hint would let go."""
    user = with_volume(**theirs)
    assert helps("VolumeRestrictions", with_volume(**mine), left(user)) is expected
    assert not helps("VolumeRestrictions", with_volume("else", **mine), left(user))

# SPDX-License-Identifier: Apache-2.0
"""Which pods share a class, what tells them apart later, and that classes nobody uses are given up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import kubesched as ks
from kubesched.scheduler import encode
from kubesched.state import classes, rows
from tests import builders
from tests.builders import Obj


def cluster(n_nodes: int, pods: int = 110) -> ks.Cluster:
    nodes = [builders.make_node(f"n{i}").cpu("64").memory("256Gi").pods(pods).build() for i in range(n_nodes)]
    for node in nodes:
        node["metadata"]["labels"] = {builders.HOSTNAME: node["metadata"]["name"]}
    return ks.Cluster.from_objects(nodes)


def labelled(name: str, namespace: str = "default", **labels: str) -> Obj:
    made = builders.make_pod(name, namespace).container(cpu="8", memory="32Gi").build()
    made["metadata"]["labels"] = labels
    return made


def avoiding(pod: Obj, namespaces: Any = None, **labels: str) -> Obj:
    term = {"topologyKey": builders.HOSTNAME, "labelSelector": {"matchLabels": labels}} | (namespaces or {})
    pod["spec"]["affinity"] = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    return pod


def n_classes(made: ks.Cluster) -> int:
    return len(made._state.classes)


def test_pods_share_a_class_until_a_selector_tells_them_apart() -> None:
    made = cluster(4)
    made.place([labelled(f"p{i}", f"ns{i % 2}", app=f"a{i}", job=str(i)) for i in range(4)])
    assert n_classes(made) == 1
    assert [made.node_of(f"ns{i % 2}/p{i}") for i in range(4)] == ["n0", "n1", "n2", "n3"]
    assert made.place([avoiding(labelled("q", "ns1"), app="a0")], commit=False).nodes == ["n0"]  # a0 is not of ns1
    assert made.place([avoiding(labelled("q", "ns0"), app="a0")], commit=False).nodes == ["n1"]
    made.release(["ns0/p0"])
    assert made.place([avoiding(labelled("q", "ns0"), app="a0")], commit=False).nodes == ["n0"]
    assert made.place([avoiding(labelled("q", "ns0"), app="a2")]).nodes == ["n0"]
    assert made.place([labelled("r", "ns0", app="a2")]).nodes == ["n1"]  # q does not want it on n0


def test_a_batch_may_bring_the_selector_behind_those_it_sees() -> None:
    for driver in ("dense", "indexed"):
        made = cluster(2)
        pods = [labelled("a", app="web"), labelled("b", app="db"), avoiding(labelled("c", app="web"), app="web")]
        assert made.place(pods, driver=driver).nodes == ["n0", "n1", "n1"]
        assert made.place([labelled("d", app="web")], driver=driver).nodes == ["n0"]  # c does not want it
        assert made.place([labelled("e", app="x")], driver=driver).nodes != [None]


def test_what_if_leaves_selectors_behind() -> None:
    made = cluster(2)
    made.place([labelled("a", app="web"), labelled("b", app="db")])
    with made.what_if():
        assert made.place([avoiding(labelled("c"), app="web")]).nodes == ["n1"]
    assert made.place([avoiding(labelled("c"), app="web")]).nodes == ["n1"]
    made.release(["default/a", "default/b"])
    assert made.running == ["default/c"]


def test_namespaces_are_told_apart_by_their_labels() -> None:
    made = cluster(2)
    made._state.set_namespaces({"prod": {"env": "prod"}})
    made.place([labelled("a", "prod"), labelled("b", "test")])
    assert n_classes(made) == 1
    by_labels = {"namespaceSelector": {"matchLabels": {"env": "prod"}}}
    shy = avoiding(labelled("c", "test"), by_labels)
    shy["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][0][
        "labelSelector"
    ] = {}
    assert made.place([shy]).nodes == ["n1"]


def test_tables_and_copies_keep_what_no_selector_sees() -> None:
    made = cluster(2)
    made.place([labelled("a", "one", app="web"), labelled("b", "two", app="db")])
    tables = made.to_arrow()
    assert tables["pods"]["class"].to_pylist() == [0, 1]
    assert tables["classes"]["labels"].to_pylist() == [[("app", "web")], [("app", "db")]]
    assert tables["classes"]["namespace"].to_pylist() == ["one", "two"]
    assert made.snapshot().place([avoiding(labelled("c", "two"), app="db")]).nodes == ["n0"]


def test_a_stream_of_unique_labels_does_not_grow_the_engine() -> None:
    made = cluster(50)
    small = builders.make_pod("p").container(cpu="1m").build()
    shape = encode.pod_row(small).shape
    before = 0
    for batch in range(40):
        some = [
            rows.PodRow(f"ns{i}", f"p{i}", replace(shape, namespace=f"ns{i}", labels=(("job", f"j{i}"),)))
            for i in range(batch * 5000, (batch + 1) * 5000)
        ]
        assert all(made.place(some).nodes)
        made.release([pod.key for pod in some])
        before = made.nbytes if batch == 1 else before
    assert n_classes(made) == 1
    assert made.nbytes <= before
    sight = made._state.pairwise.sight
    assert sum(map(len, sight._hidden.values())) + len(sight._hidden_namespaces) <= 1 << 14


def test_a_stream_of_unique_rules_and_requests_gives_its_classes_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_LEAST_ROOM", 64)
    made = cluster(8)
    made.place([avoiding(labelled("stays", app="stays"), app="stays")])
    most = [0, 0]
    for i in range(60):
        pods = [avoiding(labelled(f"p{i}-{k}", app=f"a{i}-{k}"), app=f"a{i}-{k}") for k in range(10)]
        for k, pod in enumerate(pods):
            pod["spec"]["containers"][0]["resources"]["requests"] = {"cpu": f"{1 + k}m"}
        made.place(pods)
        made.release([f"default/p{i}-{k}" for k in range(10)])
        most[i // 30] = max(most[i // 30], made.nbytes)
    assert n_classes(made) < 100
    assert most[1] <= most[0] + (1 << 14)  # of the log of changes, which has a bound of its own
    assert made.place([avoiding(labelled("again", app="stays"), app="stays")]).nodes == ["n1"]


def test_classes_of_running_and_nominated_pods_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classes, "_LEAST_ROOM", 4)
    made = cluster(2)
    waits = labelled("waits", app="waits")
    waits["status"] = {"nominatedNodeName": "n1"}
    waits["spec"]["priority"] = 10
    pod = encode.pod_row(waits)
    made._state.evictions.nominate(pod, made._state.class_of(pod), 1)
    for i in range(6):
        one = builders.make_pod(f"p{i}").container(cpu=f"{1 + i}").build()
        made.place([one, avoiding(labelled(f"q{i}"), job=str(i))])
        made.release([f"default/q{i}"])
    usage = made._state.engine.columns().used[0].tolist()
    assert sum(usage) == 21_000
    made.release([f"default/p{i}" for i in range(6)])
    assert made._state.engine.columns().used[0].tolist() == [0, 0]
    assert made.place([labelled("big", app="x")]).nodes == ["n0"]


def test_running_pods_are_moved_once_for_all_selectors_of_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    made = cluster(3)
    made.place([labelled(f"p{i}", app=f"a{i}") for i in range(3)])
    assert n_classes(made) == 1
    moves, move = [0], made._state.classes._split

    def counted() -> None:
        moves[0] += 1
        move()

    monkeypatch.setattr(made._state.classes, "_split", counted)
    far = [avoiding(labelled(f"q{i}"), app=f"a{i}") for i in range(3)]
    assert made.place(far, commit=False).nodes == ["n1", "n0", "n0"]
    assert moves == [1]

# SPDX-License-Identifier: Apache-2.0
"""Who sees whom: selectors of namespaces, and what becomes of rules when namespaces change."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.framework import profile as profiles
from kubesched.kernel import arrays, native
from kubesched.scheduler import encode
from kubesched.state import live, pairwise
from tests import builders
from tests.builders import Obj


def pod(name: str, namespace: str, **affinity: Obj) -> Obj:
    made = builders.make_pod(name, namespace).container().build()
    made["spec"]["affinity"] = affinity
    return made


def required(selector: Obj) -> Obj:
    term = {"topologyKey": builders.HOSTNAME, "labelSelector": {}, "namespaceSelector": selector}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def state_with(running: Obj) -> live.ClusterState:
    state = live.ClusterState()
    state.set_namespaces({"n1": {"env": "prod"}})
    state.add_nodes([encode.node_row(builders.make_node("node").cpu("1").memory("1Gi").build())])
    state.bind([encode.pod_row(running | {"spec": running["spec"] | {"nodeName": "node"}})])
    return state


def fits(state: live.ClusterState, obj: Obj) -> bool:
    """By both drivers."""
    class_id = state.class_of(encode.pod_row(obj))
    profile = profiles.register(state, profiles.find("default-v1.36"))
    found = set()
    for driver in ("dense", "indexed"):
        options = native.Options(profile, native.DRIVERS[driver], commit=False)
        found.add(int(state.engine.place(options, arrays.int32([class_id])).node[0]))
    assert len(found) == 1
    return found == {0}


@pytest.mark.parametrize(
    ("selector", "near"),
    [
        ({"matchLabels": {"env": "prod"}}, True),
        ({"matchLabels": {"env": "test"}}, False),
        ({}, True),
        ({"matchExpressions": [builders.need("env", "Exists")]}, True),
        # Contradicted by the namespace's labels, and yet taken in: no labels at all would satisfy it.
        ({"matchExpressions": [builders.need("env", "NotIn", "prod")]}, True),
        ({"matchExpressions": [builders.need("env", "DoesNotExist")]}, True),
        ({"matchExpressions": [builders.need("env", "DoesNotExist"), builders.need("team", "Exists")]}, False),
    ],
)
def test_a_pods_own_terms_look_at_namespaces_twice(selector: Obj, near: bool) -> None:
    state = state_with(pod("r", "n1"))
    assert fits(state, pod("p", "n2", podAffinity=required(selector))) == near
    assert fits(state, pod("p", "n2", podAntiAffinity=required(selector))) != near


@pytest.mark.parametrize(
    ("selector", "near"),
    [
        ({"matchLabels": {"env": "prod"}}, True),
        ({"matchExpressions": [builders.need("env", "NotIn", "prod")]}, False),
        ({"matchExpressions": [builders.need("env", "DoesNotExist")]}, False),
    ],
)
def test_terms_of_running_pods_look_once(selector: Obj, near: bool) -> None:
    state = state_with(pod("r", "n2", podAntiAffinity=required(selector)))
    assert fits(state, pod("p", "n1")) != near


def test_rules_go_when_a_namespace_changes() -> None:
    state = state_with(pod("r", "n2", podAntiAffinity=required({"matchLabels": {"env": "prod"}})))
    assert not fits(state, pod("p", "n1"))
    state.set_namespaces({"n1": {"env": "test"}})
    assert fits(state, pod("p", "n1"))
    state.set_namespaces({"n1": {"env": "prod"}})
    assert not fits(state, pod("p", "n1"))


@pytest.mark.parametrize("shared", ["namespace and team", "app and team"])
def test_applications_are_not_compared_with_each_other(shared: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has rules about its own pods alone; they share labels that the selectors want as well."""
    compared, holds = [0], pairwise.selects

    def selects(*args: Any) -> bool:
        compared[0] += 1
        return holds(*args)

    monkeypatch.setattr(pairwise, "selects", selects)
    state = live.ClusterState()
    for i in range(100):
        labels = {"app": "web" if shared == "app and team" else f"a{i}", "a-team": "red"}
        term = {"topologyKey": builders.HOSTNAME, "labelSelector": {"matchLabels": labels}}
        anti = {"requiredDuringSchedulingIgnoredDuringExecution": [term]}
        made = pod("p", f"n{i}" if shared == "app and team" else "n", podAntiAffinity=anti)
        made["metadata"]["labels"] = labels
        state.class_of(encode.pod_row(made))
    assert len(state.classes) == 100
    assert compared[0] < 1500

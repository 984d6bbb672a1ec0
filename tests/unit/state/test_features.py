# SPDX-License-Identifier: Apache-2.0
"""NodeDeclaredFeatures against its rule, after any order of node and class changes, by both drivers."""

from __future__ import annotations

import random
from typing import Any

import pytest

import kubesched as ks

RESTART, USERNS = "RestartAllContainersOnContainerExits", "UserNamespacesHostNetworkSupport"


def node(name: str, declared: list[str]) -> dict[str, Any]:
    status = {"allocatable": {"cpu": "64", "memory": "64Gi", "pods": "110"}, "declaredFeatures": declared}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}, "spec": {}, "status": status}


def pod(number: int, restart: str, network: bool, users: bool | None) -> tuple[dict[str, Any], set[str]]:
    """A pod, and what it needs by the specification."""
    rules = {"restartPolicyRules": [{"action": "RestartAllContainers"}]}
    spec: dict[str, Any] = {"containers": [{"name": "c"}], "initContainers": [{"name": "i"}], "hostNetwork": network}
    if restart:
        spec[restart][0] |= rules
    if users is not None:
        spec["hostUsers"] = users
    needs = {RESTART} if restart else set()
    needs |= {USERNS} if network and users is False else set()
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"p{number}"}, "spec": spec}, needs


def check(cluster: ks.Cluster, obj: dict[str, Any], wanted: set[str]) -> None:
    why = cluster.explain(obj)
    assert {why.node_names[row] for row in why.diagnosis.feasible} == wanted
    for driver in ("dense", "indexed"):
        found = cluster.place([obj], commit=False, driver=driver).nodes[0]
        assert found in wanted if wanted else found is None


def change(cluster: ks.Cluster, rng: random.Random, declared: dict[str, list[str]], number: int) -> None:
    """Remove one node, so that its row is used again, add one, rewrite one."""
    gone, changed = rng.sample(sorted(declared), 2)
    del declared[gone]
    for name in (f"new{number}", changed):
        declared[name] = rng.sample([RESTART, USERNS, "Other"], rng.randint(0, 3))
    new = node(f"new{number}", declared[f"new{number}"])
    delta = ks.Delta(add_nodes=[new], update_nodes=[node(changed, declared[changed])], remove_nodes=[gone])
    cluster.apply(delta)


@pytest.mark.parametrize("seed", range(5))
def test_a_pod_goes_where_its_features_are_declared(seed: int) -> None:
    rng = random.Random(seed)
    declared = {f"n{i}": rng.sample([RESTART, USERNS, "Other"], rng.randint(0, 3)) for i in range(8)}
    cluster = ks.Cluster.from_objects([node(name, features) for name, features in declared.items()])
    for number in range(40):
        restart = rng.choice(["", "containers", "initContainers"])
        obj, needs = pod(number, restart, rng.random() < 0.5, rng.choice([None, True, False]))
        check(cluster, obj, {name for name, features in declared.items() if needs <= set(features)})
        change(cluster, rng, declared, number)
    tables = cluster.to_arrow()
    again = ks.Cluster.from_arrow(tables["nodes"], tables["pods"], tables["classes"])
    obj, needs = pod(0, "containers", True, False)
    check(again, obj, {name for name, features in declared.items() if needs <= set(features)})
    assert again.to_arrow()["nodes"]["declared_features"] == tables["nodes"]["declared_features"]


def test_nodes_given_as_columns_declare_nothing() -> None:
    cluster = ks.Cluster.synthetic(3)
    obj, _ = pod(0, "containers", False, None)
    check(cluster, obj, set())

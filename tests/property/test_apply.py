# SPDX-License-Identifier: Apache-2.0
"""What must hold of server-side apply without anything to compare it with."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kubesched.api import kinds
from tests.kubectl.configurations import KINDS, Obj, check_owner, configuration, essence, unordered
from tests.unit.apiserver.conftest import Answer, Server
from tests.unit.apiserver.conftest import server as server  # the fixture

SERVED = {(kinds.api_version(kind.group, kind.version), kind.kind): kind for kind in kinds.built_in()}


def path(obj: Obj, namespace: str = "default") -> str:
    kind = SERVED[obj["apiVersion"], obj["kind"]]
    group = f"apis/{kind.group}" if kind.group else "api"
    return f"/{group}/{kind.version}/namespaces/{namespace}/{kind.plural}/{obj['metadata']['name']}"


def apply(
    server: Server, obj: Obj, manager: str = "kubectl", namespace: str = "default", force: str = "false"
) -> Answer:
    query = {"fieldManager": manager, "force": force}
    return server.ask("PATCH", path(obj, namespace), obj, query=query, content_type="application/apply-patch+yaml")


@pytest.mark.parametrize("kind", KINDS)
def test_one_manager_alone(server: Server, kind: str) -> None:
    """Again is nothing; what was given up is as if it had never been; the fields are those of the configuration."""
    server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "fresh"}})
    rng = random.Random(kind)
    for _ in range(25):
        config = configuration(kind, rng)
        found = apply(server, config)
        assert found.status in (200, 201), found.body
        check_owner(found.body, config)
        assert apply(server, config).body == found.body
        server.ask("DELETE", path(config, "fresh"))
        fresh = apply(server, config, namespace="fresh")
        assert fresh.status == 201, fresh.body
        assert unordered(essence(found.body)) == unordered(essence(fresh.body)), config


def scalars(value: Any, at: str = "") -> dict[str, Any]:
    """Values that no list holds, by their place as conflicts name it; a selector of nodes is one value."""
    if isinstance(value, dict) and not at.endswith(".nodeSelector"):
        out: dict[str, Any] = {}
        for name, item in value.items():
            out |= scalars(item, f"{at}.{name}")
        return out
    return {} if isinstance(value, list) else {at: value}


@pytest.mark.parametrize("kind", ["ConfigMap", "Deployment", "CronJob", "HorizontalPodAutoscaler"])
def test_two_managers(server: Server, kind: str) -> None:
    """Each field that another has set otherwise is named, no other; with force it changes hands, and only it."""
    rng = random.Random(kind)
    clashes = 0
    for i in range(25):
        first, second = configuration(kind, rng), configuration(kind, rng)
        for config in (first, second):
            config["metadata"]["name"] = f"x{i}"
        assert apply(server, first, "one").status == 201
        mine, theirs = scalars(second), scalars(first)
        expected = {name for name in mine.keys() & theirs.keys() if mine[name] != theirs[name]}
        answer = apply(server, second, "two")
        named = set()
        if answer.status == 409:
            causes = answer.body["details"]["causes"]
            assert {cause["message"] for cause in causes} == {'conflict with "one"'}
            named = {cause["field"] for cause in causes}
        assert {name for name in named if "[" not in name and name in mine} == expected
        clashes += len(expected)
        forced = apply(server, second, "two", force="true")
        if forced.status == 422:  # the two do not fit together
            continue
        assert forced.status == 200, forced.body
        now = scalars(forced.body)
        assert {name: now.get(name) for name in mine} == mine
        left = {name: value for name, value in theirs.items() if name not in mine}
        assert {name: now.get(name) for name in left} == left
    assert clashes > 10

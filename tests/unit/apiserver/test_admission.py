# SPDX-License-Identifier: Apache-2.0
"""What admission plugins add to objects."""

from __future__ import annotations

import pytest

from tests.unit.apiserver.conftest import MERGE, Server, pod

PODS = "/api/v1/namespaces/default/pods"
NOT_READY = {
    "key": "node.kubernetes.io/not-ready",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 300,
}
UNREACHABLE = {**NOT_READY, "key": "node.kubernetes.io/unreachable"}
OTHER = {"key": "a", "operator": "Exists"}
ALL = {"operator": "Exists"}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([OTHER], [NOT_READY, UNREACHABLE]),
        ([ALL], []),
        ([{**ALL, "effect": "NoExecute"}], []),
        ([{**ALL, "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
        ([{"key": NOT_READY["key"], "operator": "Exists"}], [UNREACHABLE]),
        ([{**UNREACHABLE, "tolerationSeconds": 5}], [NOT_READY]),
        ([{"key": NOT_READY["key"], "operator": "Exists", "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
    ],
)
def test_a_pod_outlasts_short_outages_of_its_node(server: Server, given: list[object], added: list[object]) -> None:
    made = server.ask("POST", PODS, pod(tolerations=given)).body
    assert made["spec"]["tolerations"] == [*given, *added]
    assert ("f:tolerations" in made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]) == bool(given)


def test_what_admission_adds_to_a_pod_stays(server: Server) -> None:
    server.ask("POST", PODS, pod())
    changed = server.merge(f"{PODS}/p", {"spec": {"tolerations": [OTHER]}})
    assert changed.body["spec"]["tolerations"] == [OTHER, NOT_READY, UNREACHABLE]
    server.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE)
    assert server.ask("GET", f"{PODS}/p").body["spec"]["tolerations"] == [OTHER, NOT_READY, UNREACHABLE]


def test_a_template_is_left_as_it_is(server: Server) -> None:
    template = {"metadata": {"name": "t"}, "template": {"spec": pod()["spec"]}}
    made = server.ask("POST", "/api/v1/namespaces/default/podtemplates", template).body
    assert "tolerations" not in made["template"]["spec"]

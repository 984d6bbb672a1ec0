# SPDX-License-Identifier: Apache-2.0
"""Large bodies are read and judged beside the event loop, and come out the same."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from kubesched.api import codec, managed
from kubesched.apiserver import aside
from kubesched.apiserver.resource import Resource
from tests.unit.apiserver.conftest import Server, pod, refused, shown

PODS = "/api/v1/namespaces/default/pods"


def variables(count: int) -> dict[str, Any]:
    env = [{"name": f"V{n}", "value": "x"} for n in range(count)]
    return {"containers": [{"name": "c", "image": "i", "env": env}]}


@pytest.mark.parametrize(("count", "beside"), [(10, False), (6_000, True)])
def test_who_works(server: Server, monkeypatch: pytest.MonkeyPatch, count: int, beside: bool) -> None:
    threads: list[bool] = []

    def watched(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            threads.append(threading.current_thread() is not threading.main_thread())
            return function(*args, **kwargs)

        return call

    monkeypatch.setattr(codec, "decode", watched(codec.decode))
    monkeypatch.setattr(managed, "update", watched(managed.update))
    monkeypatch.setattr(Resource, "_check_new", watched(Resource._check_new))
    answer = server.ask("POST", PODS, pod("p", **variables(count)))
    assert answer.status == 201
    assert (len(answer.raw) > aside.LARGE) is beside
    assert threads == [beside] * 3
    assert len(answer.body["spec"]["containers"][0]["env"]) == count
    fields = answer.body["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]["f:containers"]['k:{"name":"c"}']
    assert len(fields["f:env"]) == count + 1


def test_what_is_wrong_with_a_large_body(server: Server) -> None:
    spec = variables(6_000)
    spec["containers"][0]["env"][5_000]["name"] = "="
    why = "a valid environment variable name must consist only of printable ASCII characters other than '='"
    answer = server.ask("POST", PODS, pod("p", **spec))
    assert refused(answer) == shown("Pod", f'spec.containers[0].env[5000].name: Invalid value: "=": {why}', name="p")
    spec["containers"][0]["env"][5_000]["name"] = 1
    assert server.ask("POST", PODS, pod("p", **spec)).status == 400

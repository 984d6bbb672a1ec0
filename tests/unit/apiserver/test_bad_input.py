# SPDX-License-Identifier: Apache-2.0
"""Requests that upstream refuses: its code, reason, causes and words; and what once was an error of ours."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kubesched.apiserver.message import Stream
from tests.unit.apiserver.conftest import JSON, Answer, Server, pod

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
THINGS = "/apis/example.com/v1/namespaces/default/things"
JSON_PATCH = "application/json-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
APPLY = "application/apply-patch+yaml"
TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io"
Obj = dict[str, Any]


def deployment(**spec: Any) -> Obj:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    return {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template, **spec}}


def define(server: Server) -> None:
    """A custom resource with a schema of one number."""
    spec = {"type": "object", "properties": {"n": {"type": "integer"}}}
    schema = {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": schema}
    names = {"plural": "things", "kind": "Thing", "singular": "thing"}
    definition = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    server.run(server.app.start())
    made = server.ask(
        "POST",
        "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
        {"metadata": {"name": "things.example.com"}, "spec": definition},
    )
    assert made.status == 201, made.body


def thing(**metadata: Any) -> Obj:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x", **metadata}, "spec": {"n": 1}}


def bad_request(answer: Answer) -> str:
    """The text of a 400."""
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest"), answer.body
    return str(answer.body["message"])


# ---- metadata of custom resources ----


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"name": 5}, "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"),
        (
            {"labels": ["a"]},
            "json: cannot unmarshal array into Go struct field ObjectMeta.labels of type map[string]string",
        ),
        ({"managedFields": ["x"]}, "json: cannot unmarshal string into Go struct field ObjectMeta.managedFields"),
    ],
)
def test_metadata_of_a_custom_resource_has_types(server: Server, metadata: Obj, text: str) -> None:
    define(server)
    said = bad_request(server.ask("POST", THINGS, thing(**metadata)))
    assert said.startswith(f'Thing in version "v1" cannot be handled as a Thing: {text}')
    assert server.ask("POST", THINGS, thing()).status == 201
    changed = server.merge(f"{THINGS}/x", {"metadata": metadata})
    assert (changed.status, changed.body["details"]["causes"][0]["field"]) == (422, "patch")
    assert server.ask("GET", f"{THINGS}/x").body["metadata"]["name"] == "x"


def test_metadata_of_a_custom_resource_when_null_then_there_is_none(server: Server) -> None:
    define(server)
    made = server.ask("POST", THINGS, thing(labels=None, annotations={"a": "b"})).body
    assert "labels" not in made["metadata"]
    assert made["metadata"]["annotations"] == {"a": "b"}


@pytest.mark.parametrize("metadata", ["x", 1.5, ["a"], -1])
def test_apply_when_metadata_is_no_object_then_400(server: Server, metadata: Any) -> None:
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}
    answer = server.ask("PATCH", f"{MAPS}/m", body, query={"fieldManager": "m"}, content_type=APPLY)
    assert "failed to create typed patch object: .metadata: expected map, got" in bad_request(answer)


# ---- what once was an internal error ----


def test_strategic_patch_when_a_merge_key_is_no_scalar_then_400(server: Server) -> None:
    server.ask("POST", PODS, pod())
    change = {"spec": {"containers": [{"name": [{"a": 1}], "image": "x"}]}}
    said = bad_request(server.ask("PATCH", f"{PODS}/p", change, content_type=STRATEGIC))
    assert said == "map: map[image:x name:[map[a:1]]] has no plain value of merge key: name"


@pytest.mark.parametrize(
    ("patch", "text"),
    [
        ({"spec": 1}, "json: cannot unmarshal number into Go struct field Scale.spec of type v1.ScaleSpec"),
        (
            {"spec": {"replicas": "2"}},
            "json: cannot unmarshal string into Go struct field ScaleSpec.spec.replicas of type int32",
        ),
    ],
)
def test_scale_when_its_type_is_wrong_then_422(server: Server, patch: Obj, text: str) -> None:
    server.ask("POST", DEPLOYMENTS, deployment())
    answer = server.merge(f"{DEPLOYMENTS}/d/scale", patch)
    assert answer.status == 422
    cause = answer.body["details"]["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldValueInvalid", "patch")
    assert text in cause["message"]


def test_scale_of_a_custom_resource_takes_no_strategic_patch(server: Server) -> None:
    define(server)
    server.ask("POST", THINGS, thing())
    assert server.ask("PATCH", f"{THINGS}/x", {}, content_type=STRATEGIC).status == 415


def test_data_when_null_then_empty(server: Server) -> None:
    made = server.ask("POST", MAPS, {"metadata": {"name": "m"}, "binaryData": {"a": None}, "data": {"b": None}})
    assert made.status == 201, made.body
    secret = {"metadata": {"name": "s"}, "type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": None}}
    refused = server.ask("POST", "/api/v1/namespaces/default/secrets", secret)
    assert (refused.status, refused.body["details"]["causes"][0]["field"]) == (422, "data[.dockerconfigjson]")


def test_quantity_when_huge_then_judged(server: Server) -> None:
    spec = {"limits": [{"type": "Container", "max": {"cpu": 1e300}, "min": {"cpu": "1e-300"}}]}
    made = server.ask("POST", "/api/v1/namespaces/default/limitranges", {"metadata": {"name": "l"}, "spec": spec})
    assert made.status == 201, made.body
    for text in ("1e999999", "0x10", "1..5", "9" * 100_000):
        spec["limits"][0]["max"] = {"cpu": text}  # type: ignore[index]
        answer = server.ask("POST", "/api/v1/namespaces/default/limitranges", {"metadata": {"name": "m"}, "spec": spec})
        assert "LimitRange in version" in bad_request(answer)


def test_limit_when_negative_then_none(server: Server) -> None:
    for name in "abc":
        server.ask("POST", MAPS, {"metadata": {"name": name}})
    assert len(server.ask("GET", MAPS, query={"limit": "-1"}).body["items"]) == 3


# ---- watches ----


@pytest.mark.parametrize(
    ("code", "query", "accept"),
    [
        (406, {}, f"{JSON};as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"),
        (400, {"includeObject": "Everything"}, TABLE),
    ],
)
def test_watch_when_its_form_cannot_be_then_refused_and_others_go_on(
    server: Server, code: int, query: dict[str, str], accept: str
) -> None:
    """A watcher whose events could not be made ended every watch of the resource."""
    other = server.run(server.send("GET", MAPS, query={"watch": "1"}))
    assert isinstance(other, Stream)
    assert server.ask("GET", MAPS, query={"watch": "1", **query}, accept=accept).status == code

    async def next_event() -> Any:
        await server.send("POST", MAPS, {"metadata": {"name": "m"}})
        return orjson.loads(await anext(other.chunks))

    assert server.run(next_event())["object"]["metadata"]["name"] == "m"

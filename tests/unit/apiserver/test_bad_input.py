# SPDX-License-Identifier: Apache-2.0
"""Requests that upstream refuses: its code, reason, causes and words; and what once was an error of ours."""

from __future__ import annotations

import base64
from typing import Any

import orjson
import pytest

from kubesched.apiserver.message import Stream
from tests.unit.apiserver.conftest import JSON, MERGE, Answer, Server, pod

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


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({}, "the name of the object (d based on URL) was undeterminable: name must be provided"),
        ({"name": "e"}, "the name of the object (e) does not match the name on the URL (d)"),
    ],
)
def test_scale_when_it_is_put_without_its_name_then_400(server: Server, metadata: Obj, text: str) -> None:
    server.ask("POST", DEPLOYMENTS, deployment())
    scale = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": metadata, "spec": {"replicas": 2}}
    assert bad_request(server.ask("PUT", f"{DEPLOYMENTS}/d/scale", scale)) == text


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


# ---- patches ----

IGNORE, WARN, STRICT = ({"fieldValidation": mode} for mode in ("Ignore", "Warn", "Strict"))
OPERATION = "json: cannot unmarshal number into Go value of type"

NO_PATCH: list[tuple[str, dict[str, str], bytes, str]] = [
    (JSON_PATCH, WARN, b"", "error decoding patch: unexpected end of JSON input"),
    (JSON_PATCH, IGNORE, b"[", "unexpected end of JSON input"),
    (
        JSON_PATCH,
        WARN,
        b"{}",
        "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
    ),
    (JSON_PATCH, IGNORE, b"{}", "json: cannot unmarshal object into Go value of type jsonpatch.Patch"),
    (JSON_PATCH, STRICT, b"[5]", f"error decoding patch: {OPERATION} handlers.jsonPatchOp"),
    (JSON_PATCH, IGNORE, b"[5]", f"{OPERATION} jsonpatch.Operation"),
    (
        JSON_PATCH,
        WARN,
        b'[{"op":1,"path":"/a"}]',
        "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
    ),
    (MERGE, WARN, b"{", "error decoding patch: unexpected end of JSON input"),
    (MERGE, IGNORE, b"{", "Invalid JSON Patch"),
    (MERGE, WARN, b"null", "Invalid JSON Patch"),
    (
        MERGE,
        STRICT,
        b"[]",
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}",
    ),
    (STRATEGIC, WARN, b'"a"', "json: cannot unmarshal string into Go value of type map[string]interface {}"),
    (STRATEGIC, IGNORE, b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
    (APPLY, WARN, b"- a\n", "error decoding YAML: error unmarshaling JSON: while decoding JSON: "),
    (APPLY, WARN, b"a: &a [*a]\n", "error decoding YAML: "),
    (APPLY, WARN, b'{"a":' * 300 + b"1" + b"}" * 300, "error decoding YAML: exceeded max depth of 200"),
    (MERGE, WARN, b'{"a":' * 300 + b"1" + b"}" * 300, "error decoding patch: exceeded max depth of 200"),
    (APPLY, WARN, b"apiVersion: v1\nkind: Secret\n", "invalid object type: /v1, Kind=Secret"),
    (
        APPLY,
        WARN,
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n",
        "the name of the object (other) does not match the name on the URL (m)",
    ),
    (
        APPLY,
        WARN,
        b"apiVersion: v1\nkind: ConfigMap\nmetadata: {managedFields: [{}]}\n",
        "metadata.managedFields must be nil",
    ),
    (STRATEGIC, WARN, b'{"$patch":"swap"}', "unknown patch type: swap in map: map[]"),
    (STRATEGIC, WARN, b'{"$retainKeys":1}', "invalid patch format of retainKeys"),
    (STRATEGIC, WARN, b'{"$deleteFromPrimitiveList":[]}', "invalid patch format of primitive list"),
    (STRATEGIC, WARN, b'{"$setElementOrder/data":{}}', "invalid patch format of setElementOrder list"),
    (
        MERGE,
        WARN,
        b'{"metadata":{"name":"other"}}',
        "the name of the object (other) does not match the name on the URL (m)",
    ),
    (MERGE, WARN, b'{"metadata":{"namespace":"other"}}', "the namespace of the provided object does not match"),
]


def patched(server: Server, media_type: str, body: Any, path: str = f"{MAPS}/m", **query: str) -> Answer:
    query = {"fieldManager": "m", **query} if media_type == APPLY else query
    return server.ask("PATCH", path, body, query=query, content_type=media_type)


@pytest.mark.parametrize(("media_type", "mode", "body", "text"), NO_PATCH)
def test_what_is_no_patch_is_400(server: Server, media_type: str, mode: dict[str, str], body: bytes, text: str) -> None:
    made = server.ask("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}}).body
    assert bad_request(patched(server, media_type, body, **mode)).startswith(text)
    assert server.ask("GET", f"{MAPS}/m").body == made


def test_patch_of_nothing_is_404_whatever_it_says(server: Server) -> None:
    for media_type in (JSON_PATCH, MERGE, STRATEGIC):
        answer = patched(server, media_type, b"{")
        assert (answer.status, answer.body["message"]) == (404, 'configmaps "m" not found')


INAPPLICABLE: dict[str, Any] = {
    "remove what is not there": [{"op": "remove", "path": "/data/x"}],
    "test what differs": [{"op": "test", "path": "/data/a", "value": "c"}],
    "a type that differs": [{"op": "test", "path": "/data/a", "value": {}}],
    "no path": [{"op": "add", "value": 1}],
    "a path without a slash": [{"op": "add", "path": "data", "value": 1}],
    "a container that is not there": [{"op": "add", "path": "/x/y", "value": 1}],
    "a container that is none": [{"op": "add", "path": "/data/a/b", "value": 1}],
    "no index": [{"op": "add", "path": "/metadata/finalizers/x", "value": 1}],
    "an index beyond the end": [{"op": "add", "path": "/metadata/finalizers/3", "value": "a/b"}],
    "an index of many digits": [{"op": "add", "path": "/metadata/finalizers/" + "9" * 40, "value": "a/b"}],
    "the end of a list that is replaced": [{"op": "replace", "path": "/metadata/finalizers/-", "value": "a/b"}],
    "another operation": [{"op": "swap", "path": "/data/a"}],
    "no operation": [None],
    "no source": [{"op": "move", "path": "/data/b"}],
    "a source that is not there": [{"op": "move", "from": "/data/x", "path": "/data/b"}],
    "a root that is a text": [{"op": "replace", "path": "", "value": "x"}],
    "a copy of itself, again and again": [
        {"op": "add", "path": "/data/b", "value": "x" * 10_000},
        *({"op": "copy", "from": "/data", "path": f"/data/c{i}"} for i in range(30)),
    ],
}


@pytest.mark.parametrize("name", INAPPLICABLE)
def test_json_patch_when_it_does_not_apply_then_422_without_causes(server: Server, name: str) -> None:
    metadata = {"name": "m", "finalizers": ["x/y"]}
    made = server.ask("POST", MAPS, {"metadata": metadata, "data": {"a": "b"}}).body
    answer = patched(server, JSON_PATCH, INAPPLICABLE[name])
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"] == "the server rejected our request due to an error in our request"
    assert answer.body["details"] == {}
    assert server.ask("GET", f"{MAPS}/m").body == made


MISFITS: list[tuple[Any, str, str]] = [
    ({"metadata": {"labels": "x"}}, "map[metadata:map[labels:x]]", "cannot restore map from string"),
    ({"metadata": {"labels": {"a": 1}}}, "map[metadata:map[labels:map[a:1]]]", "cannot convert int64 to string"),
    ({"metadata": {"labels": {"a": True}}}, "map[metadata:map[labels:map[a:true]]]", "unrecognized type: string"),
    ({"metadata": 1}, "map[metadata:1]", "cannot restore struct from: int64"),
    ({"spec": {"hostNetwork": "x"}}, "map[spec:map[hostNetwork:x]]", "unrecognized type: bool"),
    ({"spec": {"hostname": []}}, "map[spec:map[hostname:[]]]", "unrecognized type: string"),
    ({"spec": {"priority": "x"}}, "map[spec:map[priority:x]]", "unrecognized type: int32"),
    ({"spec": {"priority": 1.5}}, "map[spec:map[priority:1.5]]", "cannot convert float64 to int32"),
    ({"spec": {"activeDeadlineSeconds": {}}}, "map[spec:map[activeDeadlineSeconds:map[]]]", "unrecognized type: int64"),
    ({"spec": {"securityContext": [1]}}, "map[spec:map[securityContext:[1]]]", "cannot restore struct from: slice"),
]
"""Strategic patches of which no pod can be made, as they are printed, and what upstream's converter says (kubectl's own
acceptance, test/cmd/core.sh, looks for the first)."""


@pytest.mark.parametrize(("body", "printed", "text"), MISFITS)
def test_strategic_patch_when_no_object_can_be_made_of_it(server: Server, body: Any, printed: str, text: str) -> None:
    server.ask("POST", "/api/v1/namespaces/default/pods", pod())
    answer = patched(server, STRATEGIC, body, "/api/v1/namespaces/default/pods/p")
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert answer.body["message"] == f' "" is invalid: patch: Invalid value: "{printed}": {text}'


def test_json_patch_when_long_then_413(server: Server) -> None:
    server.ask("POST", MAPS, {"metadata": {"name": "m"}})
    answer = patched(server, JSON_PATCH, [{"op": "test", "path": "/data", "value": None}] * 10_001)
    assert (answer.status, answer.body["reason"]) == (413, "RequestEntityTooLarge")
    assert answer.body["message"].endswith("The allowed maximum operations in a JSON patch is 10000, got 10001")


UNKNOWN: list[tuple[str, Any, str]] = [
    (JSON_PATCH, [{"op": "add", "path": "/dta", "value": {}}], 'unknown field "dta"'),
    (JSON_PATCH, b'[{"op":"add","path":"/data/c","value":"d","to":"x"}]', 'json patch unknown field "[0].to"'),
    (
        JSON_PATCH,
        b'[{"op":"add","op":"add","path":"/data/c","value":"d"}]',
        'json patch duplicate field "[0].op"',
    ),
    (MERGE, {"dta": {}}, 'unknown field "dta"'),
    (MERGE, b'{"data":{"c":"1","c":"2"}}', 'duplicate field "data.c"'),
    (STRATEGIC, {"metadata": {"labls": {}}}, 'unknown field "metadata.labls"'),
    (STRATEGIC, b'{"data":{"c":"1"},"data":{"c":"2"}}', 'duplicate field "data"'),
]


@pytest.mark.parametrize(("media_type", "body", "text"), UNKNOWN)
def test_unknown_and_doubled_fields_of_patches(server: Server, media_type: str, body: Any, text: str) -> None:
    made = server.ask("POST", MAPS, {"metadata": {"name": "m"}, "data": {"a": "b"}}).body
    strict = patched(server, media_type, body, **STRICT)
    assert (strict.status, strict.body["reason"]) == (422, "Invalid")
    cause = strict.body["details"]["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldValueInvalid", "patch")
    assert cause["message"].endswith(f": strict decoding error: {text}")
    assert server.ask("GET", f"{MAPS}/m").body == made
    warned = patched(server, media_type, body, **WARN)
    assert warned.status == 200
    quoted = text.replace('"', '\\"')
    assert warned.headers["Warning"] == f'299 - "{quoted}"'
    ignored = patched(server, media_type, body, **IGNORE)
    assert (ignored.status, ignored.headers.get("Warning")) == (200, None)


@pytest.mark.parametrize(
    ("media_type", "body", "shown"),
    [
        (JSON_PATCH, [{"op": "replace", "path": "/spec/replicas", "value": "two"}], '{"kind":"Deployment",'),
        (MERGE, {"spec": {"replicas": "two"}}, '{"kind":"Deployment",'),
        (STRATEGIC, {"spec": {"replicas": "two"}}, '"map[spec:map[replicas:two]]"'),
    ],
)
def test_patch_when_it_makes_another_type_then_422(server: Server, media_type: str, body: Any, shown: str) -> None:
    server.ask("POST", DEPLOYMENTS, deployment())
    answer = patched(server, media_type, body, f"{DEPLOYMENTS}/d")
    assert answer.status == 422
    cause = answer.body["details"]["causes"][0]
    assert (cause["reason"], cause["field"]) == ("FieldValueInvalid", "patch")
    assert shown.replace('"', "") in cause["message"].replace('\\"', "").replace('"', "")
    assert answer.body["message"].startswith(' "" is invalid: patch: Invalid value: ')


def test_patch_options(server: Server) -> None:
    def causes(media_type: str, **query: str) -> list[tuple[str, str]]:
        answer = server.ask("PATCH", f"{MAPS}/m", b"{}", query=query, content_type=media_type)
        assert answer.status == 422
        assert answer.body["details"]["kind"] == "PatchOptions"
        return [(cause["field"], cause["reason"]) for cause in answer.body["details"]["causes"]]

    assert causes(APPLY) == [("fieldManager", "FieldValueRequired")]
    assert causes(MERGE, force="true") == [("force", "FieldValueForbidden")]
    assert causes(MERGE, dryRun="Some", fieldValidation="Loud") == [
        ("dryRun", "FieldValueNotSupported"),
        ("fieldValidation", "FieldValueNotSupported"),
    ]
    assert causes(MERGE, fieldManager="x" * 129) == [("fieldManager", "FieldValueTooLong")]
    assert causes(MERGE, fieldManager="a\x00b") == [("fieldManager", "FieldValueInvalid")]


@pytest.mark.parametrize("media_type", ["", "text/plain", JSON, "application/merge-patch+yaml", STRATEGIC.upper()])
def test_patch_of_unknown_media_type_is_415(server: Server, media_type: str) -> None:
    answer = server.ask("PATCH", f"{MAPS}/m", b"{}", content_type=media_type)
    assert (answer.status, answer.body["reason"]) == (415, "UnsupportedMediaType")
    listed = ", ".join((JSON_PATCH, MERGE, STRATEGIC, APPLY))
    assert (
        answer.body["message"]
        == f"the body of the request was in an unknown format - accepted media types include: {listed}"
    )


# ---- parameters of reads ----


def token(**fields: Any) -> str:
    body = {"v": "meta.k8s.io/v1", "rv": 1, "start": "m\0", **fields}
    return base64.urlsafe_b64encode(orjson.dumps(body)).rstrip(b"=").decode()


KEY = "invalid continue token: continue key is not valid"


@pytest.mark.parametrize(
    ("query", "text"),
    [
        ({"continue": "nonsense!"}, KEY),
        ({"continue": "bm9uc2Vuc2U"}, f"{KEY}: invalid character 'o' in literal null (expecting 'u')"),
        ({"continue": "abc"}, f"{KEY}: invalid character 'i' looking for beginning of value"),
        ({"continue": "W10"}, KEY),
        (
            {"continue": token(v="meta.k8s.io/v2")},
            f"{KEY}: server does not recognize this encoded version meta.k8s.io/v2",
        ),
        ({"continue": token(rv=0)}, f"{KEY}: incorrect encoded start resourceVersion (version meta.k8s.io/v1)"),
        ({"continue": token(start="")}, f"{KEY}: encoded start key empty (version meta.k8s.io/v1)"),
        ({"continue": token(start="../../secrets/a")}, f"{KEY}: ../../secrets/a"),
        ({"continue": token(start="a//b")}, f"{KEY}: a//b"),
        ({"continue": token(rv="1")}, KEY),
        ({"continue": token(rv=10**12)}, KEY),
        (
            {"continue": token(), "resourceVersion": "1"},
            "specifying resource version is not allowed when using continue",
        ),
        ({"resourceVersion": "new"}, 'invalid resource version: strconv.ParseUint: parsing "new": invalid syntax'),
        ({"resourceVersion": "-1"}, "invalid resource version"),
        ({"resourceVersion": "9" * 30}, "invalid resource version"),
        ({"limit": "many"}, 'strconv.ParseInt: parsing "many": invalid syntax'),
        ({"limit": "9" * 30}, f'strconv.ParseInt: parsing "{"9" * 30}": value out of range'),
        ({"timeoutSeconds": "1.5"}, 'strconv.ParseInt: parsing "1.5": invalid syntax'),
        ({"labelSelector": "a in ("}, "unable to parse requirement: "),
        ({"labelSelector": "a=b,"}, "found '', expected: identifier after ','"),
        ({"labelSelector": "=b"}, "found '=', expected: !, identifier, or 'end of string'"),
        ({"labelSelector": "a>b"}, 'unable to parse requirement: values[0]: Invalid value: "b"'),
        ({"labelSelector": "a b"}, "unable to parse requirement: found 'b', expected: "),
        ({"labelSelector": "-a"}, 'unable to parse requirement: <nil>: Invalid value: "-a": '),
        ({"labelSelector": "x" * 100_000}, "unable to parse requirement: <nil>: Invalid value: "),
        ({"fieldSelector": "a"}, "invalid selector: 'a'; can't understand 'a'"),
        ({"fieldSelector": "metadata.name=a\\b"}, "invalid field selector: invalid escape sequence: \\b"),
        ({"fieldSelector": "spec.nothing=a"}, "field label not supported: spec.nothing"),
    ],
)
def test_parameters_of_lists_that_cannot_be_read(server: Server, query: dict[str, str], text: str) -> None:
    server.ask("POST", PODS, pod())
    assert bad_request(server.ask("GET", PODS, query=query)).startswith(text)
    assert bad_request(server.ask("DELETE", PODS, query=query)).startswith(text)
    assert server.ask("GET", f"{PODS}/p").status == 200


@pytest.mark.parametrize(
    ("query", "field", "reason"),
    [
        ({"resourceVersionMatch": "Exact"}, "resourceVersionMatch", "FieldValueForbidden"),
        ({"resourceVersionMatch": "Some", "resourceVersion": "1"}, "resourceVersionMatch", "FieldValueNotSupported"),
        ({"resourceVersionMatch": "Exact", "resourceVersion": "0"}, "resourceVersionMatch", "FieldValueForbidden"),
        ({"sendInitialEvents": "true"}, "sendInitialEvents", "FieldValueForbidden"),
        ({"watch": "1", "sendInitialEvents": "true"}, "resourceVersionMatch", "FieldValueForbidden"),
        ({"watch": "1", "resourceVersionMatch": "NotOlderThan"}, "resourceVersionMatch", "FieldValueForbidden"),
    ],
)
def test_parameters_of_lists_that_do_not_fit(server: Server, query: dict[str, str], field: str, reason: str) -> None:
    answer = server.ask("GET", PODS, query=query)
    assert (answer.status, answer.body["details"]["kind"]) == (422, "ListOptions")
    causes = answer.body["details"]["causes"]
    assert (causes[0]["field"], causes[0]["reason"]) == (field, reason)


@pytest.mark.parametrize(
    ("options", "field", "reason"),
    [
        ({"propagationPolicy": "Later"}, "propagationPolicy", "FieldValueNotSupported"),
        ({"propagationPolicy": "Orphan", "orphanDependents": True}, "propagationPolicy", "FieldValueInvalid"),
        ({"dryRun": ["Some"]}, "dryRun", "FieldValueNotSupported"),
    ],
)
def test_options_of_deletes(server: Server, options: Obj, field: str, reason: str) -> None:
    server.ask("POST", MAPS, {"metadata": {"name": "m"}})
    answer = server.ask("DELETE", f"{MAPS}/m", options)
    assert (answer.status, answer.body["details"]["kind"]) == (422, "DeleteOptions")
    cause = answer.body["details"]["causes"][0]
    assert (cause["field"], cause["reason"]) == (field, reason)
    assert server.ask("GET", f"{MAPS}/m").status == 200


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b'{"gracePeriodSeconds":"x"}', b'{"kind":"Pod","apiVersion":"v1"}', b"k8s\0x"]
)
def test_options_of_deletes_that_cannot_be_read(server: Server, body: bytes) -> None:
    server.ask("POST", MAPS, {"metadata": {"name": "m"}})
    media_type = "application/vnd.kubernetes.protobuf" if body[:3] == b"k8s" else JSON
    bad_request(server.ask("DELETE", f"{MAPS}/m", body, content_type=media_type))
    assert server.ask("GET", f"{MAPS}/m").status == 200


# ---- paths and names ----


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/api/v2/pods", 404),
        ("GET", "/apis/nothing/v1/things", 404),
        ("GET", "/api/v1/namespaces/default/pods/p/nothing", 404),
        ("GET", "/api/v1/namespaces/default/nodes", 404),
        ("GET", "/api/v1/pods/p", 404),
        ("GET", "/api/v1//pods", 404),
        ("GET", f"{MAPS}/..", 404),
        ("GET", f"{MAPS}/a/../b", 404),
        ("GET", f"{MAPS}/\0", 404),
        ("GET", f"{MAPS}/{'x' * 10_000}", 404),
        ("DELETE", f"{MAPS}/\N{CYRILLIC SMALL LETTER A}", 404),
        ("POST", "/api/v1/pods", 405),
        ("PUT", MAPS, 405),
        ("PATCH", MAPS, 405),
        ("POST", f"{MAPS}/m", 405),
        ("DELETE", "/api/v1/namespaces", 405),
        ("DELETE", "/api/v1/pods", 405),
        ("DELETE", "/apis/apps/v1/deployments", 405),
        ("GET", "/api/v2", 404),
        ("GET", "/apis/v2", 404),
        ("BREW", MAPS, 405),
        ("POST", "/version", 405),
        ("GET", "/nothing", 404),
    ],
)
def test_paths(server: Server, method: str, path: str, code: int) -> None:
    for version in ("v2", "v2beta1"):  # what discovery keeps of its versions is not what a path names
        form = f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"
        assert server.ask("GET", "/apis", Accept=form).status == server.ask("GET", "/api", Accept=form).status == 200
    answer = server.ask(method, path, b"{}" if method in ("PUT", "PATCH", "POST") else None, content_type=MERGE)
    assert (answer.status, answer.body["kind"]) == (code, "Status")


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a":"\n"}', "invalid character '\\n' in string literal"),
        (b"\xff\xfe", "invalid character '\u00ff' looking for beginning of value"),
        ("\ufeff{}".encode(), "invalid character '\u00ef' looking for beginning of value"),
        ('{"\u00e9":\u00e9}'.encode(), "invalid character '\u00c3' looking for beginning of value"),
        (b"[trUe]", "invalid character 'U' in literal true (expecting 'u')"),
        (b"\x80", "invalid character '\\u0080' looking for beginning of value"),
        (b'{"a":1\t"b"}', "invalid character '\"' after object key:value pair"),
    ],
)
def test_body_that_is_no_json_then_upstream_shows_the_byte(server: Server, body: bytes, text: str) -> None:
    answer = server.ask("POST", MAPS, body)
    assert (answer.status, answer.body["reason"]) == (400, "BadRequest")
    assert f"json parse error: {text} (" in answer.body["message"]


def test_object_without_a_name_when_more_is_wrong_then_all_is_told(server: Server) -> None:
    path = "/api/v1/namespaces/default/pods"
    answer = server.ask("POST", path, {"metadata": {}, "spec": {"containers": []}})
    assert answer.body["message"] == (
        'Pod "" is invalid: [metadata.name: Required value: name or generateName is required, spec.containers: '
        "Required value]"
    )


@pytest.mark.parametrize(
    "name", ["..", "a/b", "a%2fb", "A", "a\0", "\N{CYRILLIC SMALL LETTER A}", "x" * 254, "-a", "a.", ""]
)
def test_names_out_of_rule(server: Server, name: str) -> None:
    answer = server.ask("POST", MAPS, {"metadata": {"name": name}})
    assert (answer.status, answer.body["reason"]) == (422, "Invalid")
    assert {cause["field"] for cause in answer.body["details"]["causes"]} == {"metadata.name"}


def test_yaml_bodies_tell_what_stands_twice(server: Server) -> None:
    body = b"metadata: {name: m}\ndata:\n  a: b\n  a: c\ndta: 1\n"
    yaml = "application/yaml"
    said = bad_request(server.ask("POST", MAPS, body, content_type=yaml, query=STRICT))
    assert 'key "a" already set in map' in said
    assert 'unknown field "dta"' in said
    warned = server.ask("POST", MAPS, body, content_type=yaml)
    assert (warned.status, warned.body["data"]) == (201, {"a": "c"})
    assert 'key \\"a\\" already set in map' in warned.headers["Warning"]

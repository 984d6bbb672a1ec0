# SPDX-License-Identifier: Apache-2.0
"""OpenAPI documents: whole, referring only to what they hold, with custom resources; and the protobuf form."""

from __future__ import annotations

import dataclasses

import orjson
import pytest

from kubesched.api import gnostic, kinds, openapi, schema
from kubesched.api.kinds import Registry, Subresource
from tests.unit.api.test_discovery import widgets

SCHEMA = {
    "type": "object",
    "description": "A widget.",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {"size": {"type": "integer", "nullable": True}, "port": {"x-kubernetes-int-or-string": True}},
        }
    },
}


@pytest.fixture(scope="module")
def registry():
    scale = Subresource("scale", frozenset({"get", "patch", "update"}), "autoscaling", "v1", "Scale")
    widget = dataclasses.replace(widgets(), openapi=SCHEMA)
    scaled = dataclasses.replace(widget, subresources={**widget.subresources, "scale": scale})
    gadget = dataclasses.replace(
        widgets(), plural="gadgets", kind="Gadget", list_kind="GadgetList", namespaced=False, subresources={}
    )
    return Registry([*kinds.built_in(), scaled, gadget])


def document(registry, path):
    return orjson.loads(openapi.v3_document(registry, path))


def references(value):
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for item in value.values():
            yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_every_document_holds_what_it_refers_to(registry):
    for path in openapi.v3_paths(registry):
        found = document(registry, path)
        known = {f"#/components/schemas/{name}" for name in found["components"].get("schemas", ())}
        assert set(references(found)) <= known, path
        assert found["paths"], path
        for item in found["paths"].values():
            for method, operation in item.items():
                if method not in ("parameters", "servers"):
                    assert operation["responses"]
                    assert not {"consumes", "produces"} & set(operation)


def test_the_index_names_every_version(registry):
    paths = orjson.loads(openapi.v3_index(registry))["paths"]
    for kind in registry:
        path = f"apis/{kind.api_version}" if kind.group else f"api/{kind.version}"
        url = paths[path]["serverRelativeURL"]
        assert url == f"/openapi/v3/{path}?hash={openapi.v3_hash(registry, path)}"
    assert {"api", "apis", "apis/apps", "version"} <= paths.keys()


def test_every_kind_is_described(registry):
    for path in openapi.v3_paths(registry):
        described = [
            (gvk["group"], gvk["version"], gvk["kind"])
            for found in document(registry, path)["components"].get("schemas", {}).values()
            for gvk in found.get("x-kubernetes-group-version-kind", ())
        ]
        group, version = kinds.split_api_version(path.removeprefix("apis/").removeprefix("api/"))
        assert {(kind.group, kind.version, kind.kind) for kind in registry.resources(group, version)} <= set(described)


def test_references_with_a_description(registry):
    pod = document(registry, "api/v1")["components"]["schemas"]["io.k8s.api.core.v1.Pod"]
    spec = pod["properties"]["spec"]
    assert spec["allOf"] == [{"$ref": "#/components/schemas/io.k8s.api.core.v1.PodSpec"}]
    assert spec["description"].startswith("Specification of the desired behavior")


def test_bodies_and_parameters(registry):
    item = document(registry, "apis/apps/v1")["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
    patch = item["patch"]
    assert {"dryRun", "fieldManager", "fieldValidation", "force"} <= {p["name"] for p in patch["parameters"]}
    assert "application/strategic-merge-patch+json" in patch["requestBody"]["content"]
    assert patch["x-kubernetes-group-version-kind"]["kind"] == "Deployment"
    assert {p["name"] for p in item["parameters"]} == {"name", "namespace", "pretty"}


def test_custom_resources(registry):
    found = document(registry, "apis/example.com/v1")
    schemas = found["components"]["schemas"]
    widget = schemas["com.example.v1.Widget"]
    assert widget["properties"]["spec"] == SCHEMA["properties"]["spec"]
    assert widget["x-kubernetes-group-version-kind"] == [{"group": "example.com", "kind": "Widget", "version": "v1"}]
    assert schemas["com.example.v1.WidgetList"]["required"] == ["items"]
    assert schemas["com.example.v1.Gadget"]["x-kubernetes-preserve-unknown-fields"]
    root = "/apis/example.com/v1/"
    assert set(found["paths"]) == {
        root,
        f"{root}widgets",
        f"{root}namespaces/{{namespace}}/widgets",
        f"{root}namespaces/{{namespace}}/widgets/{{name}}",
        f"{root}namespaces/{{namespace}}/widgets/{{name}}/status",
        f"{root}namespaces/{{namespace}}/widgets/{{name}}/scale",
        f"{root}gadgets",
        f"{root}gadgets/{{name}}",
    }
    item = found["paths"][f"{root}namespaces/{{namespace}}/widgets/{{name}}"]
    assert set(item["patch"]["requestBody"]["content"]) == {
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
    }
    assert item["put"]["x-kubernetes-group-version-kind"] == {"group": "example.com", "kind": "Widget", "version": "v1"}
    assert item["put"]["operationId"] == "replaceExampleComV1NamespacedWidget"
    text = orjson.dumps(found["paths"]).decode()
    assert "PodDisruption" not in text
    assert "poddisruption" not in text
    assert "ervicecidr" not in text.lower()
    assert "protobuf" not in text
    assert document(registry, "apis/example.com")["paths"].keys() == {"/apis/example.com/"}


def test_documents_of_custom_resources_change_their_address(registry):
    path = "apis/example.com/v1"
    before, apps = openapi.v3_hash(registry, path), openapi.v3_hash(registry, "apis/apps/v1")
    changed = Registry(list(registry))
    changed.add(dataclasses.replace(changed.find("example.com", "v1", "gadgets"), openapi=SCHEMA))
    assert openapi.v3_hash(changed, path) != before
    assert openapi.v3_hash(changed, "apis/apps/v1") == apps
    for plural in ("gadgets", "widgets"):
        changed.remove("example.com", "v1", plural)
    assert openapi.v3_document(changed, path) is None
    assert path not in orjson.loads(openapi.v3_index(changed))["paths"]


def test_version_2(registry):
    found = orjson.loads(openapi.v2_json(registry))
    assert found["swagger"] == "2.0"
    known = {f"#/definitions/{name}" for name in found["definitions"]}
    known |= {f"#/parameters/{name}" for name in found["parameters"]}
    assert set(references(found)) <= known
    spec = found["definitions"]["com.example.v1.Widget"]["properties"]["spec"]
    assert spec["properties"] == {"size": {}, "port": {"x-kubernetes-int-or-string": True}}
    assert "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}" in found["paths"]


# ---- protobuf: read again with the table, independently of how it was written ----


def fields(data):
    at = 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        assert tag & 7 in (0, 1, 2)
        if tag & 7 == 2:
            size = varint()
            yield tag >> 3, data[at : at + size]
            at += size
        elif tag & 7 == 1:
            yield tag >> 3, data[at : at + 8]
            at += 8
        else:
            yield tag >> 3, varint()
    assert at == len(data)


def read(message, data, table):
    """Fields by name; every name must be in the table."""
    rows = {row[0]: row for row in table[message]}
    out = {}
    for number, value in fields(data):
        _, name, label, type_, _ = rows[number]
        if type_ in table:
            value = read(type_, value, table)
        elif type_ == "string":
            value = value.decode()
        if label == "*":
            out.setdefault(name, []).append(value)
        else:
            assert name not in out
            out[name] = value
    return out


def test_version_2_as_protobuf_says_the_same(registry):
    table = orjson.loads(schema.member("gnostic.json"))
    found = read("Document", openapi.v2_protobuf(registry), table)
    plain = orjson.loads(openapi.v2_json(registry))
    definitions = {row["name"]: row["value"] for row in found["definitions"]["additional_properties"]}
    assert definitions.keys() == plain["definitions"].keys()
    assert {row["name"] for row in found["paths"]["path"]} == plain["paths"].keys()
    for name, definition in plain["definitions"].items():
        message = definitions[name]
        assert message.get("description") == definition.get("description")
        assert message.get("required", []) == definition.get("required", [])
        properties = {
            row["name"]: row["value"] for row in message.get("properties", {}).get("additional_properties", ())
        }
        assert properties.keys() == definition.get("properties", {}).keys()
        for key, described in definition.get("properties", {}).items():
            assert properties[key].get("_ref") == described.get("$ref")
            assert properties[key].get("type", {}).get("value", [None])[0] == described.get("type")
        extensions = {row["name"]: orjson.loads(row["value"]["yaml"]) for row in message.get("vendor_extension", ())}
        assert extensions == {key: value for key, value in definition.items() if key.startswith("x-")}


def test_additional_properties_and_items_in_protobuf():
    table = orjson.loads(schema.member("gnostic.json"))
    described = {
        "type": "object",
        "maxLength": 5,
        "maximum": 1.5,
        "uniqueItems": True,
        "additionalProperties": {"type": "array", "items": {"$ref": "#/definitions/x"}},
        "enum": ["a", 1],
        "default": {"a": None},
    }
    found = read("Schema", gnostic.encode("Schema", described, table), table)
    inner = found["additional_properties"]["schema"]
    assert inner["items"]["schema"][0]["_ref"] == "#/definitions/x"
    assert found["type"] == {"value": ["object"]}
    assert [item["yaml"] for item in found["enum"]] == ['"a"\n', "1\n"]
    assert found["default"] == {"yaml": '{"a":null}\n'}
    assert (found["max_length"], found["unique_items"]) == (5, 1)
    boolean = read("Schema", gnostic.encode("Schema", {"additionalProperties": False}, table), table)
    assert boolean["additional_properties"] == {"boolean": 0}

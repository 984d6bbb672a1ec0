# SPDX-License-Identifier: Apache-2.0
"""Definitions of custom resources that upstream refuses, its words for it, and what it lets objects of them do.

The cases are those of upstream's own tests (apiextensions-apiserver/pkg/apis/apiextensions/validation,
pkg/apiserver/schema, pkg/apiserver/validation/ratcheting_test.go, v1.36); the texts were worked out from its source.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import Answer, Server

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/example.com/v1/namespaces/default/things"
Obj = dict[str, Any]
TEXT: Obj = {"type": "string"}
KEEP = "x-kubernetes-preserve-unknown-fields"
INSIDE = "x-kubernetes-embedded-resource"
EITHER = "x-kubernetes-int-or-string"
KEYS, LIST = "x-kubernetes-list-map-keys", "x-kubernetes-list-type"
RULES = "x-kubernetes-validations"


def definition(schema: Obj | None, group: str = "example.com", **more: Any) -> Obj:
    version: Obj = {"name": "v1", "served": True, "storage": True, **more.pop("version", {})}
    if schema is not None:
        version["schema"] = {"openAPIV3Schema": schema}
    names = {"plural": "things", "kind": "Thing", **more.pop("names", {})}
    spec = {"group": group, "scope": "Namespaced", "names": names, "versions": [version], **more.pop("spec", {})}
    return {"metadata": {"name": f"things.{group}", **more}, "spec": spec}


def define(server: Server, found: Obj) -> Answer:
    if not hasattr(server, "started"):
        server.run(server.app.start())
        server.started = True  # type: ignore[attr-defined]
    return server.ask("POST", DEFINITIONS, found)


def told(answer: Answer) -> list[str]:
    """Each cause as one line: its field and its text."""
    assert answer.status == 422, answer.body
    return [f"{cause['field']}: {cause['message']}" for cause in answer.body["details"]["causes"]]


def root(**properties: Obj) -> Obj:
    return {"type": "object", "properties": properties}


def listed(items: Obj | None = None, **more: Any) -> Obj:
    return {"type": "array", **({"items": items} if items else {}), **more}


def spec(**found: Any) -> Obj:
    """A schema whose field ``spec`` is an object with these properties of its own."""
    return root(spec={"type": "object", **found})


SPEC = "properties[spec]"
KEYED = {"type": "object", "properties": {"k": TEXT}, "required": ["k"]}
SCHEMAS = [
    ({}, ["type: Required value: must not be empty at the root"]),
    (
        {"type": "array"},
        ["items: Required value: must be specified", 'type: Invalid value: "array": must be object at the root'],
    ),
    (root(a={}), ["properties[a].type: Required value: must not be empty for specified object fields"]),
    (
        root(a=listed({"description": "x"})),
        ["properties[a].items.type: Required value: must not be empty for specified array items"],
    ),
    (
        root(a={"type": "text"}),
        ['properties[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number"'],
    ),
    (
        {"type": "object", "additionalProperties": True},
        ["additionalProperties: Forbidden: must not be used at the root"],
    ),
    (
        spec(properties={"a": TEXT}, additionalProperties=TEXT),
        [f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    (
        spec(properties={"a": TEXT}, additionalProperties=False),
        [f"{SPEC}.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"],
    ),
    ({"type": "object", "nullable": True}, ["nullable: Forbidden: nullable cannot be true at the root"]),
    (spec(**{KEEP: False}), [f"{SPEC}.{KEEP}: Invalid value: false: must be true or undefined"]),
    (spec(uniqueItems=True), [f"{SPEC}.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime"]),
    (spec(patternProperties={"x": TEXT}), [f"{SPEC}.patternProperties: Forbidden: patternProperties is not supported"]),
    (spec(**{"$ref": "#/x"}), [f"{SPEC}.$ref: Forbidden: $ref is not supported"]),
    (
        root(a={"type": "object", INSIDE: True}),
        [f"properties[a].properties: Required value: must not be empty if {INSIDE} is true without {KEEP}"],
    ),
    (
        root(a={"type": "string", INSIDE: True, KEEP: True}),
        [f'properties[a].type: Invalid value: "string": must be object if {INSIDE} is true'],
    ),
    (
        root(a={EITHER: True, KEEP: True}),
        [f"properties[a].{KEEP}: Invalid value: true: must be false if {EITHER} is true"],
    ),
    (root(kind={"type": "integer"}), ['properties[kind].type: Invalid value: "integer": must be string']),
    (
        root(metadata={"type": "object", "properties": {"labels": {"type": "object"}}}),
        ["properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata"],
    ),
    (
        root(apiVersion={"type": "string", "default": "x/v1"}),
        ["properties[apiVersion].default: Forbidden: must not be set in top-level apiVersion"],
    ),
    (
        {**spec(properties={"a": TEXT}), "anyOf": [{"properties": {"spec": {"properties": {"b": {"minLength": 1}}}}}]},
        [f"{SPEC}.properties[b]: Required value: because it is defined in anyOf[0].{SPEC}.properties[b]"],
    ),
    (
        spec(allOf=[{"type": "object", "default": {}, KEEP: True, "description": "x"}]),
        [
            f"{SPEC}.allOf[0].default: Forbidden: must be undefined to be structural",
            f"{SPEC}.allOf[0].description: Forbidden: must be empty to be structural",
            f"{SPEC}.allOf[0].type: Forbidden: must be empty to be structural",
            f"{SPEC}.allOf[0].{KEEP}: Forbidden: must be false to be structural",
        ],
    ),
    (
        spec(**{"not": {RULES: [{"rule": "true"}]}}),
        [f"{SPEC}.not.{RULES}: Forbidden: must be empty to be structural"],
    ),
    (
        {**root(), "oneOf": [{"properties": {"metadata": {"required": ["labels"]}}}]},
        [
            "oneOf[0].properties[metadata]: Forbidden: must not be specified in a nested context",
            "properties[metadata]: Required value: because it is defined in oneOf[0].properties[metadata]",
        ],
    ),
    (
        spec(properties={"a": TEXT}, default={"a": "x", "b": 1}),
        [f'{SPEC}.default: Invalid value: {{"a":"x","b":1}}: must not have unknown fields'],
    ),
    (
        spec(properties={"a": {**TEXT, "default": 1}}),
        [f'{SPEC}.properties[a].default: Invalid value: "integer": '],
    ),
    (
        root(a=listed(TEXT, **{LIST: "bag"})),
        [f'properties[a].{LIST}: Unsupported value: "bag": supported values: "atomic", "set", "map"'],
    ),
    (
        root(a={**TEXT, LIST: "set"}),
        [f'properties[a].type: Invalid value: "string": must be array if {LIST} is specified'],
    ),
    (
        root(a={**TEXT, "x-kubernetes-map-type": "atomic"}),
        ['properties[a].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified'],
    ),
    (
        root(a=listed({"type": "object"}, **{LIST: "set"})),
        ["properties[a].items.x-kubernetes-map-type: Invalid value: "],
    ),
    (
        root(a=listed(KEYED, **{KEYS: ["k"]})),
        [f"properties[a].{LIST}: Required value: must be map if {KEYS} is non-empty"],
    ),
    (
        root(a=listed(KEYED, **{LIST: "map"})),
        [f"properties[a].{KEYS}: Required value: must not be empty if {LIST} is map"],
    ),
    (
        root(a=listed(KEYED, **{LIST: "map", KEYS: ["k", "k", "z"]})),
        [
            f'properties[a].{KEYS}: Invalid value: ["k","k","z"]: must not contain duplicate entries',
            f'properties[a].{KEYS}: Invalid value: ["k","k","z"]: entries must all be names of item properties',
        ],
    ),
    (
        root(a=listed({"type": "object", "properties": {"k": TEXT}, "nullable": True}, **{LIST: "map", KEYS: ["k"]})),
        [
            f"properties[a].items.nullable: Forbidden: cannot be nullable when {LIST} is map",
            f"properties[a].items.properties[k].default: Required value: this property is in {KEYS}, so it must have a",
        ],
    ),
    (
        root(a=listed(TEXT, **{LIST: "map", KEYS: ["k"]})),
        [f'properties[a].items.type: Invalid value: "string": must be object if parent array\'s {LIST} is map'],
    ),
    (
        root(a={**TEXT, "pattern": "("}),
        ['properties[a].pattern: Invalid value: "(": must be a valid regular expression'],
    ),
]


@pytest.mark.parametrize(("schema", "wanted"), SCHEMAS, ids=[str(i) for i in range(len(SCHEMAS))])
def test_schema_when_it_is_wrong_then_it_is_told_where_and_why(server: Server, schema: Obj, wanted: list[str]) -> None:
    found = told(define(server, definition(schema)))
    assert len(found) == len(wanted), found
    for line, start in zip(found, wanted, strict=True):
        assert line.replace("spec.versions[0].schema.openAPIV3Schema.", "").startswith(start), found


GOOD = [
    spec(properties={"a": TEXT}, additionalProperties=True),
    root(a={EITHER: True, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
    root(a={EITHER: True, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"maxLength": 3}]}),
    root(metadata={"type": "object", "properties": {"name": {**TEXT, "maxLength": 8}}}),
    {**root(a=TEXT), "anyOf": [{"properties": {"a": {"minLength": 1}}}, {"required": ["a"]}]},
    root(a=listed({"type": "object", "x-kubernetes-map-type": "atomic"}, **{LIST: "set"})),
]


@pytest.mark.parametrize("schema", GOOD, ids=[str(i) for i in range(len(GOOD))])
def test_schema_when_it_is_structural_then_it_is_taken(server: Server, schema: Obj) -> None:
    answer = define(server, definition(schema))
    assert answer.status == 201, answer.body


ANY: Obj = {"type": "object"}
SIMPLE = root(spec={"type": "object", "properties": {"a": TEXT, "o": {"type": "object"}}})
OTHERS = [
    (definition(None), ["spec.versions[0].schema.openAPIV3Schema: Required value"]),
    (definition(ANY, group="x"), ['spec.group: Invalid value: "x": should be a domain with at least one dot']),
    (definition(ANY, spec={"scope": ""}), ["spec.scope: Required value"]),
    (
        definition(ANY, names={"kind": "Thing", "listKind": "Thing"}),
        ['spec.names.listKind: Invalid value: "Thing": kind and listKind may not be the same'],
    ),
    (
        definition(ANY, names={"categories": ["A"], "shortNames": ["-"]}),
        ['spec.names.shortNames[0]: Invalid value: "-": a DNS-1035 label', "spec.names.categories[0]: Invalid value"],
    ),
    (
        definition(ANY, names={"kind": "My_Thing", "singular": "my-thing"}),
        [
            'spec.names.kind: Invalid value: "My_Thing": may have mixed case, but should otherwise match: a DNS-1035',
            'spec.names.listKind: Invalid value: "My_ThingList": may have mixed case, but should otherwise match: a',
        ],
    ),
    (
        definition(ANY, version={"deprecationWarning": "x"}),
        ['spec.versions[0].deprecationWarning: Invalid value: "x": can only be set for deprecated versions'],
    ),
    (
        definition(
            ANY, version={"subresources": {"scale": {"specReplicasPath": "spec.x", "statusReplicasPath": ".x"}}}
        ),
        [
            'subresources.scale.specReplicasPath: Invalid value: "spec.x": must be a simple json path starting with .',
            'subresources.scale.statusReplicasPath: Invalid value: ".x": should be a json path under .status',
        ],
    ),
    (
        definition(
            ANY, version={"additionalPrinterColumns": [{"name": "a", "type": "x", "format": "y", "jsonPath": "z"}]}
        ),
        [
            'additionalPrinterColumns[0].type: Invalid value: "x": must be one of boolean,date,integer,number,string',
            'additionalPrinterColumns[0].format: Invalid value: "y": must be one of byte,date,date-time,double,float',
            'additionalPrinterColumns[0].JSONPath: Invalid value: "z": must be a simple json path starting with .',
        ],
    ),
    (
        definition(
            SIMPLE,
            version={"selectableFields": [{"jsonPath": path} for path in (".spec.b", ".spec.o", ".spec.a", ".spec.a")]},
        ),
        [
            'selectableFields[0].jsonPath: Invalid value: ".spec.b": is an invalid path: does not refer to a valid',
            'selectableFields[1].jsonPath: Invalid value: ".spec.o": must point to a field of type string, boolean or',
            'selectableFields[3].jsonPath: Duplicate value: ".spec.a"',
        ],
    ),
    (
        definition({**root(), "maxProperties": 3}, version={"subresources": {"status": {}}}),
        ["schema.openAPIV3Schema: Invalid value: only [Description Type Format Title Maximum ExclusiveMaximum"],
    ),
    (
        definition(ANY, group="x.k8s.io"),
        ["metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval"],
    ),
    (
        definition(ANY, group="x.k8s.io", annotations={"api-approved.kubernetes.io": "yes"}),
        ['metadata.annotations[api-approved.kubernetes.io]: Invalid value: "yes": protected groups must have approval'],
    ),
]


@pytest.mark.parametrize(("found", "wanted"), OTHERS, ids=[str(i) for i in range(len(OTHERS))])
def test_definition_when_it_is_wrong_then_it_is_told_where_and_why(
    server: Server, found: Obj, wanted: list[str]
) -> None:
    lines = told(define(server, found))
    assert len(lines) == len(wanted), lines
    for line, start in zip(lines, wanted, strict=True):
        assert start in line, lines


@pytest.mark.parametrize("why", ["unapproved, for tests", "https://example.com/approved"])
def test_group_of_the_community_when_it_says_why_then_it_may_be_used(server: Server, why: str) -> None:
    found = definition(ANY, group="x.k8s.io", annotations={"api-approved.kubernetes.io": why})
    assert define(server, found).status == 201


def test_stored_version_when_objects_may_lie_in_it_then_it_stays(server: Server) -> None:
    assert define(server, definition(ANY)).status == 201
    live = server.ask("GET", f"{DEFINITIONS}/things.example.com").body
    live["spec"]["versions"][0]["name"] = "v2"
    found = told(server.ask("PUT", f"{DEFINITIONS}/things.example.com", live))
    assert found[0].startswith('status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was'), (
        found
    )


# ---- objects ----


def thing(**found: Any) -> Obj:
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "x"}, **found}


def test_fields_beside_known_ones_when_all_are_allowed_then_they_are_kept(server: Server) -> None:
    define(server, definition(spec(properties={"a": TEXT}, additionalProperties=True)))
    answer = server.ask("POST", THINGS, thing(spec={"a": "1", "b": "2"}))
    assert answer.body["spec"] == {"a": "1", "b": "2"}
    assert server.merge(f"{THINGS}/x", {"spec": {"a": 3}}).status == 422, "the known one has its type"


def test_generation_when_anything_but_metadata_and_status_changes_then_it_is_counted(server: Server) -> None:
    define(server, definition({"type": "object", KEEP: True}, version={"subresources": {"status": {}}}))
    server.ask("POST", THINGS, thing(anything={"a": 1}))
    assert server.merge(f"{THINGS}/x", {"anything": {"a": 2}}).body["metadata"]["generation"] == 2
    assert server.merge(f"{THINGS}/x", {"metadata": {"labels": {"a": "b"}}}).body["metadata"]["generation"] == 2
    assert server.merge(f"{THINGS}/x/status", {"status": {"a": 1}}).body["metadata"]["generation"] == 2
    assert server.merge(f"{THINGS}/x", {"other": 1}).body["metadata"]["generation"] == 3


def test_schema_when_it_becomes_stricter_then_what_does_not_change_may_stay(server: Server) -> None:
    items = listed(
        {"type": "object", "properties": {"k": TEXT, "v": TEXT}, "required": ["k"]}, **{LIST: "map", KEYS: ["k"]}
    )
    fields = {"a": TEXT, "b": TEXT, "items": items}
    define(server, definition(spec(properties=fields)))
    server.ask("POST", THINGS, thing(spec={"a": "long", "b": "long", "items": [{"k": "1", "v": "long"}]}))
    live = server.ask("GET", f"{DEFINITIONS}/things.example.com").body
    inner = live["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    for found in (inner["a"], inner["b"], inner["items"]["items"]["properties"]["v"]):
        found["maxLength"] = 2
    assert server.ask("PUT", f"{DEFINITIONS}/things.example.com", live).status == 200
    assert server.merge(f"{THINGS}/x", {"metadata": {"labels": {"a": "b"}}}).status == 200
    assert server.merge(f"{THINGS}/x", {"spec": {"a": "ok"}}).status == 200, "b stays wrong"
    more = [{"k": "0", "v": "ok"}, {"k": "1", "v": "long"}]
    assert server.merge(f"{THINGS}/x", {"spec": {"items": more}}).status == 200, "items are told apart by their keys"
    assert told(server.merge(f"{THINGS}/x", {"spec": {"b": "longer"}})) == [
        "spec.b: Too long: may not be more than 2 bytes"
    ]
    assert told(server.merge(f"{THINGS}/x", {"spec": {"items": [{"k": "2", "v": "long"}]}}))
    assert told(server.ask("POST", THINGS, {**thing(spec={"b": "long"}), "metadata": {"name": "y"}}))

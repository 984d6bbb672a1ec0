# SPDX-License-Identifier: Apache-2.0
"""Types of built-in objects: what the tables say about well-known fields."""

from __future__ import annotations

import orjson
import pytest

from kubesched.api import schema
from kubesched.api.schema import ListType, Shape


def _at(group: str, version: str, kind: str, *path: str) -> schema.Field:
    type_ = schema.of(group, version, kind)
    found = None
    for name in path:
        while type_.element is not None:
            type_ = type_.element
        found = type_.fields[name]
        type_ = found.type
    assert found is not None
    return found


def test_lists_say_how_they_merge():
    containers = _at("apps", "v1", "Deployment", "spec", "template", "spec", "containers")
    assert (containers.merge_key, containers.patch_strategy) == ("name", ("merge",))
    assert (containers.type.list_type, containers.type.keys) == (ListType.MAP, ("name",))
    volumes = _at("", "v1", "Pod", "spec", "volumes")
    assert volumes.patch_strategy == ("merge", "retainKeys")
    ports = _at("", "v1", "Pod", "spec", "containers", "ports")
    assert ports.merge_key == "containerPort"
    assert ports.type.keys == ("containerPort", "protocol")
    assert _at("", "v1", "Pod", "metadata", "finalizers").type.list_type is ListType.SET
    assert _at("", "v1", "Pod", "spec", "containers", "args").type.list_type is ListType.ATOMIC


def test_what_stands_for_the_absent_key_of_an_element():
    ports = schema.named("io.k8s.api.core.v1.ServicePort").fields
    assert (ports["protocol"].default, ports["port"].default, ports["name"].default) == ("TCP", 0, None)


def test_embedded_structs_are_spread_and_remember_their_message():
    assert _at("", "v1", "Pod", "spec", "volumes", "emptyDir").within == (2,)
    rules = _at("admissionregistration.k8s.io", "v1", "ValidatingAdmissionPolicy", "spec", "matchConstraints")
    assert rules.type.fields["resourceRules"].type.element.fields["apiGroups"].within == (2, 2)


def test_what_is_left_out():
    assert _at("", "v1", "Pod", "metadata", "creationTimestamp").omit_zero
    replicas = _at("apps", "v1", "Deployment", "spec", "replicas")
    assert (replicas.pointer, replicas.omit_empty, replicas.type.bits) == (True, True, 32)
    assert not _at("", "v1", "Pod", "spec", "containers").omit_empty


@pytest.mark.parametrize(
    ("path", "shape", "go"),
    [
        (("spec", "containers", "resources", "limits"), Shape.MAP, "v1.ResourceList"),
        (("spec", "containers", "ports", "protocol"), Shape.STRING, "v1.Protocol"),
        (("spec", "containers", "livenessProbe", "httpGet", "port"), Shape.INT_OR_STRING, "intstr.IntOrString"),
        (("metadata", "uid"), Shape.STRING, "types.UID"),
        (("metadata", "managedFields", "fieldsV1"), Shape.ANY, "v1.FieldsV1"),
        (("metadata", "managedFields"), Shape.LIST, "[]v1.ManagedFieldsEntry"),
        (("spec", "nodeSelector"), Shape.MAP, "map[string]string"),
        (("status", "startTime"), Shape.TIME, "v1.Time"),
    ],
)
def test_shapes_and_names_in_go(path, shape, go):
    found = _at("", "v1", "Pod", *path).type
    assert (found.shape, found.go) == (shape, go)


def test_types_refer_to_themselves():
    crd = _at("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "spec", "versions", "schema", "openAPIV3Schema")
    props = crd.type
    assert props.fields["properties"].type.element is props
    items = props.fields["items"].type
    assert items.shape is Shape.EITHER
    assert [(f.name, f.number) for f in items.fields.values()] == [("Schema", 1), ("JSONSchemas", 2)]


def test_a_list_that_is_a_message():
    extra = _at("authentication.k8s.io", "v1", "TokenReview", "status", "user", "extra").type.element
    assert (extra.shape, extra.wrapped, extra.go) == (Shape.LIST, True, "v1.ExtraValue")
    assert not _at("", "v1", "Pod", "metadata", "finalizers").type.wrapped
    props = schema.named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    rules = props.fields["x-kubernetes-validations"].type
    assert (rules.go, rules.wrapped) == ("v1.ValidationRules", False)  # a name of its own, but no message


def test_kinds_of_all_groups_are_found_in_any():
    assert schema.of("apps", "v1", "DeleteOptions").name == f"{schema.META}.DeleteOptions"
    assert schema.of("meta.k8s.io", "v1", "Table").fields["rows"].type.element.fields["object"].type.shape is Shape.ANY
    with pytest.raises(schema.UnknownType, match="'Gadget'"):
        schema.of("apps", "v1", "Gadget")


def test_every_type_resolves():
    seen: set[int] = set()

    def walk(type_: schema.Type) -> None:
        if id(type_) not in seen:
            seen.add(id(type_))
            for found in type_.fields.values():
                walk(found.type)
            if type_.element is not None:
                walk(type_.element)

    for name in schema.members("types/io.k8s.api."):
        package = name.removeprefix("types/").removesuffix(".json")
        for kind in schema.declared(package):
            walk(schema.named(f"{package}.{kind}"))
    assert len(seen) > 900


def test_all_fields_merge_as_openapi_says():
    """Those of embedded structs too, which OpenAPI describes where they are embedded only."""
    wrong, merging = [], 0
    for member in schema.members("openapi/definitions/"):
        for name, definition in orjson.loads(schema.member(member)).items():
            for field, told in definition.get("properties", {}).items():
                found = schema.named(name).fields.get(field)  # none: what travels by a rule of its own
                if found is None:
                    continue
                known = {
                    "x-kubernetes-patch-merge-key": found.merge_key,
                    "x-kubernetes-patch-strategy": ",".join(found.patch_strategy),
                    "x-kubernetes-list-map-keys": list(found.type.keys),
                }
                merging += bool(found.merge_key)
                wrong += [(name, field, key) for key, value in known.items() if told.get(key, type(value)()) != value]
                if "x-kubernetes-list-type" in told and told["x-kubernetes-list-type"] != found.type.list_type.value:
                    wrong.append((name, field, "list type"))
    assert wrong == []
    assert merging > 50

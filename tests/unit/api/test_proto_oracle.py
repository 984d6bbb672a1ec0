# SPDX-License-Identifier: Apache-2.0
"""Protobuf against two others: the reference implementation with published definitions, and bodies of kubectl 1.33."""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest

from kubesched.api import kinds, normal, proto, schema
from tests.unit.api.filled import filled
from tests.unit.api.test_proto import KINDS, LISTS, OTHERS

_DATA = Path(__file__).parent / "data"
BODIES = json.loads((_DATA / "kubectl-1.33-bodies.json").read_text())


@pytest.fixture(scope="module")
def message_of():
    """Finds the reference implementation's class for a type."""
    pytest.importorskip("google.protobuf")
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(gzip.decompress((_DATA / "descriptors-1.36.pb.gz").read_bytes()))
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.Add(file)

    def find(type_):
        name = "k8s.io." + type_.name.removeprefix("io.k8s.").replace("-", "_")
        return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))

    return find


def unknown_fields(message, path=""):
    from google.protobuf import unknown_fields as unknown

    found = [f"{path}: {field.field_number}" for field in unknown.UnknownFieldSet(message)]
    for field, value in message.ListFields():
        inner = f"{path}.{field.name}"
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            if field.message_type.fields_by_name["value"].message_type is not None:
                found += [text for item in value.values() for text in unknown_fields(item, inner)]
        elif hasattr(value, "ListFields"):
            found += unknown_fields(value, inner)
        else:
            found += [text for item in value for text in unknown_fields(item, inner)]
    return found


@pytest.mark.parametrize("kind", [*KINDS, *LISTS, *OTHERS], ids="/".join)
def test_the_reference_reads_every_field_and_writes_it_back(kind, message_of):
    type_ = schema.of(*kind)
    obj = filled(type_)
    message = message_of(type_)()
    message.ParseFromString(proto.encode(obj, type_))
    assert unknown_fields(message) == []
    filled_in = {field.name for field, _ in message.ListFields()}
    assert filled_in == {field.name for field in message.DESCRIPTOR.fields}
    back = proto.decode(message.SerializeToString(), type_)
    assert normal.normalise(back, type_) == (obj, False)


@pytest.mark.parametrize("sent", [b for b in BODIES if b["object"]], ids=lambda sent: sent["command"][:40])
def test_what_kubectl_sends_is_what_it_prints(sent):
    assert sent["content_type"] == "application/vnd.kubernetes.protobuf"
    api_version, kind, message = proto.unwrap(base64.b64decode(sent["body"]))
    assert (api_version, kind) == (sent["object"].pop("apiVersion"), sent["object"].pop("kind"))
    type_ = schema.of(*kinds.split_api_version(api_version), kind)
    printed = normal.normalise(sent["object"], type_)
    assert normal.normalise(proto.decode(message, type_), type_) == printed
    assert not printed[1]


SPECS = {
    "SelfSubjectAccessReview": {"spec": {"resourceAttributes": {"verb": "create", "resource": "pods"}}},
    "SelfSubjectReview": {"status": {"userInfo": {}}},
    "TokenRequest": {"spec": {"audiences": ["a"], "expirationSeconds": 3600, "boundObjectRef": None}},
}


@pytest.mark.parametrize("sent", [b for b in BODIES if not b["object"]], ids=lambda sent: sent["command"][:40])
def test_reviews_that_kubectl_sends(sent):
    api_version, kind, message = proto.unwrap(base64.b64decode(sent["body"]))
    type_ = schema.of(*kinds.split_api_version(api_version), kind)
    found, _ = normal.normalise(proto.decode(message, type_), type_)
    assert found.items() >= SPECS[kind].items()

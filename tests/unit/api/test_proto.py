# SPDX-License-Identifier: Apache-2.0
"""Protobuf: every kind there and back with every field, and what is not protobuf."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesched.api import codec, kinds, normal, proto, schema
from kubesched.api.normal import DecodeError
from kubesched.api.schema import Shape, Type
from tests.unit.api.filled import filled, zeroed

KINDS = [(k.group, k.version, k.kind) for k in kinds.built_in()]
LISTS = [(k.group, k.version, k.list_kind) for k in kinds.built_in() if not k.virtual]
OTHERS = [
    ("policy", "v1", "Eviction"),
    ("autoscaling", "v1", "Scale"),
    ("authentication.k8s.io", "v1", "TokenRequest"),
    ("", "v1", "DeleteOptions"),
    ("", "v1", "Status"),
    ("admission.k8s.io", "v1", "AdmissionReview"),
]


@pytest.mark.parametrize("kind", [*KINDS, *LISTS, *OTHERS], ids="/".join)
def test_every_field_of_every_kind_comes_back(kind):
    type_ = schema.of(*kind)
    obj = filled(type_)
    first, unknown = normal.normalise(obj, type_)
    assert not unknown
    assert first == obj  # it was in printed form already
    back = proto.decode(proto.encode(obj, type_), type_)
    assert normal.normalise(back, type_) == (obj, False)
    assert orjson.loads(orjson.dumps(back)) == back
    assert proto.encode(back, type_) == proto.encode(obj, type_)


def _declared(type_: Type, into: set[tuple[str, str]]) -> None:
    """Fields of a type and of those it leads to."""
    for field in type_.fields.values():
        if (type_.name, field.name) not in into:
            into.add((type_.name, field.name))
            _declared(field.type, into)
    if type_.element is not None:
        _declared(type_.element, into)


def _present(value: object, type_: Type, into: set[tuple[str, str]]) -> None:
    """Fields that a value has."""
    if type_.shape is Shape.EITHER:
        for field in type_.fields.values():
            into.add((type_.name, field.name))
            alike = (field.type.shape is Shape.OBJECT, field.type.shape is Shape.LIST)
            if alike == (isinstance(value, dict), isinstance(value, list)):
                _present(value, field.type, into)
    elif isinstance(value, dict):
        for name, item in value.items():
            field = type_.fields.get(name)
            if field is not None:
                into.add((type_.name, name))
            _present(item, type_.element if field is None else field.type, into) if type_.element or field else None
    elif isinstance(value, list):
        for item in value:
            _present(item, type_.element, into)


def test_no_field_is_left_out_of_the_comparison():
    declared: set[tuple[str, str]] = set()
    present: set[tuple[str, str]] = set()
    for kind in KINDS:
        type_ = schema.of(*kind)
        _declared(type_, declared)
        _present(filled(type_), type_, present)
    missing = {field for field in declared - present if field[1] not in ("kind", "apiVersion")}
    assert missing == set()
    assert len(KINDS) == len(set(KINDS)) >= 68
    assert len(declared) > 2000


@pytest.mark.parametrize("kind", KINDS, ids="/".join)
def test_zeros_that_say_something_come_back(kind):
    type_ = schema.of(*kind)
    obj, unknown = normal.normalise(zeroed(type_), type_)
    assert not unknown
    for media_type in (codec.PROTOBUF, codec.JSON):
        named = {"kind": kind[2], "apiVersion": kinds.api_version(*kind[:2]), **obj}
        wanted = kinds.Kind(kind[0], kind[1], "", kind[2], "")
        assert codec.decode(codec.encode(named, media_type), media_type, type_, wanted, strict=True) == (named, [])


@pytest.mark.parametrize("kind", KINDS, ids="/".join)
def test_the_envelope_leads_to_the_same_object(kind):
    group, version, name = kind
    type_ = schema.of(*kind)
    named = {"kind": name, "apiVersion": kinds.api_version(group, version)}
    obj = {**named, **filled(type_)}
    wanted = kinds.Kind(group, version, "", name, "")
    for media_type in (codec.PROTOBUF, codec.JSON):
        assert codec.decode(codec.encode(obj, media_type), media_type, type_, wanted, strict=True) == (obj, [])


def test_zero_values_of_pointers_come_back():
    type_ = schema.of("apps", "v1", "Deployment")
    obj = normal.normalise({"spec": {"replicas": 0, "template": {"spec": {"containers": []}}}}, type_)[0]
    back = normal.normalise(proto.decode(proto.encode(obj, type_), type_), type_)[0]
    assert back["spec"]["replicas"] == 0
    assert back == obj


def test_numbers_may_come_packed():
    # supplementalGroups as one value of three varints, the last of them negative
    message = b"\x22\x0c\x01\x02" + b"\xff" * 9 + b"\x01"
    found = proto.decode(message, schema.named("io.k8s.api.core.v1.PodSecurityContext"))
    assert found == {"supplementalGroups": [1, 2, -1]}


def test_unknown_fields_are_passed_over():
    type_ = schema.named("io.k8s.api.core.v1.LocalObjectReference")
    extra = b"\x98\x06\x01" + b"\x9a\x06\x02ab" + b"\x99\x06" + b"12345678" + b"\x9d\x06" + b"1234"
    assert proto.decode(extra + b"\x0a\x01x" + extra, type_) == {"name": "x"}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "empty data"),
        (b"{}", "expected prefix [107 56 115 0]"),
        (b"k8s\0\x0a\x7f", "unexpected EOF"),
        (b"k8s\0\x12\x02\x0a\x05", "unexpected EOF"),
        (b"k8s\0\x12\x02\x0c\x00", "illegal tag 1 (wire type 4)"),
        (b"k8s\0\x12\x0b" + b"\xff" * 11, "integer overflow"),
        (b"k8s\0\x12\x06\x0a\x04\x0a\x02\xff\xfe", "invalid UTF-8"),
        (b"k8s\0\x12\x02\x00\x00", "illegal tag 0"),
    ],
)
def test_what_is_no_object(body, text):
    type_ = schema.of("", "v1", "Pod")
    with pytest.raises(DecodeError, match=r".") as caught:
        codec.decode(body, codec.PROTOBUF, type_, kinds.Kind("", "v1", "pods", "Pod", "pod"), strict=False)
    assert text in str(caught.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_object_or_an_error(message):
    for kind in (("", "v1", "Pod"), ("apiextensions.k8s.io", "v1", "CustomResourceDefinition")):
        type_ = schema.of(*kind)
        try:
            found = proto.decode(message, type_)
        except DecodeError:
            continue
        normal.normalise(found, type_)


@given(st.data())
def test_a_damaged_object_is_an_object_or_an_error(data):
    type_ = schema.of("", "v1", "Pod")
    message = bytearray(proto.encode(filled(type_), type_))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    del message[data.draw(st.integers(0, len(message))) :]
    try:
        found = proto.decode(bytes(message), type_)
        normal.normalise(found, type_)
    except DecodeError:
        pass


def test_a_message_in_a_message_without_end_is_refused():
    type_ = schema.named("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps")
    message = b""
    for _ in range(1000):
        size = len(message)
        message = b"\xe2\x01" + proto.encode_length(size) + message
    with pytest.raises(DecodeError, match="depth"):
        proto.decode(message, type_)

# SPDX-License-Identifier: Apache-2.0
"""Bodies by media type: what is read, what is reported, what is refused and in which words."""

from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubesched.api import codec, jsontext, kinds, normal, quantity, schema, shared
from kubesched.api.codec import JSON, PROTOBUF, YAML, DecodeError
from kubesched.api.status import StatusError

SERVED = kinds.Registry(kinds.built_in())
POD = SERVED.find("", "v1", "pods")


def decode(body, media_type=JSON, kind=POD, *, strict=True):
    return codec.decode(body, media_type, kind.type, kind, strict=strict)


def refused(body, media_type=JSON, kind=POD):
    with pytest.raises(DecodeError) as caught:
        decode(body, media_type, kind)
    return caught.value.explain(kind.kind, body)


def test_kind_and_version_are_those_of_the_request():
    obj, unknown = decode(b'{"metadata":{"name":"a"}}')
    assert (obj["kind"], obj["apiVersion"], unknown) == ("Pod", "v1", [])


def test_unknown_and_duplicate_fields_are_reported_if_asked_for():
    body = b'{"metadata":{"name":"a","name":"b"},"spec":{"x":1}}'
    obj, found = decode(body)
    assert found == ['duplicate field "metadata.name"', 'unknown field "spec.x"']
    assert obj["metadata"]["name"] == "b"
    assert "x" not in obj["spec"]
    assert decode(body, strict=False)[1] == []
    assert decode(b'{"metadata":{"name":"a"},\n "spec":{"x":1}}')[1] == ['unknown field "spec.x"']
    assert decode(b'{"metadata": {"name": "a"}}\n')[1] == []


def test_yaml():
    body = b"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    b: 'yes'\nspec:\n  activeDeadlineSeconds: 5\n"
    obj, found = decode(body, YAML)
    assert (obj["metadata"], obj["spec"]["activeDeadlineSeconds"]) == ({"name": "a", "annotations": {"b": "yes"}}, 5)
    assert not found
    twice = body + b"  priority: 1\n  priority: 2\n  bad: 1\n"
    obj, found = decode(twice, YAML)
    assert found == [
        'yaml: unmarshal errors:\n  line 9: key "priority" already set in map',
        'unknown field "spec.bad"',
    ]
    assert obj["spec"]["priority"] == 2
    assert decode(twice, YAML, strict=False)[1] == []
    assert decode(b'{"metadata":{"name":"a","name":"a"}}', YAML)[1] == ['duplicate field "metadata.name"']


def test_times_of_yaml_are_text_and_keys_are_strings():
    body = b"metadata:\n  name: a\n  labels: {7: '2', true: '3'}\n  creationTimestamp: 2026-01-02T03:04:05Z\n"
    metadata = decode(body, YAML)[0]["metadata"]
    assert metadata == {"name": "a", "labels": {"7": "2", "true": "3"}, "creationTimestamp": "2026-01-02T03:04:05Z"}


WHERE = 'Pod in version "v1" cannot be handled as a Pod: '
NONE = "the object provided is unrecognized (must be of type Pod): "


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", NONE + "couldn't get version/kind; json parse error: unexpected end of JSON input (<empty>)"),
        (
            b"hello",
            NONE + "couldn't get version/kind; json parse error: "
            "invalid character 'h' looking for beginning of value (68656c6c6f)",
        ),
        (
            b'{"kind":5}',
            NONE + "couldn't get version/kind; json parse error: "
            'json: cannot unmarshal number into Go struct field .kind of type string ({"kind":5})',
        ),
        (
            b'{"spec":{"priority":"high"}}',
            WHERE + "json: cannot unmarshal string into Go struct field PodSpec.spec.priority of type int32",
        ),
        (
            b'{"kind":"Service","apiVersion":"v1"}',
            'Service in version "v1" cannot be handled as a Pod: '
            "converting (v1.Service) to (core.Pod): unknown conversion",
        ),
        (
            b'{"kind":"Foo","apiVersion":"v1"}',
            'Foo in version "v1" cannot be handled as a Pod: no kind "Foo" is registered for version "v1" in scheme '
            '"pkg/api/legacyscheme/scheme.go:30"',
        ),
        (b'{"apiVersion":"a/b/c"}', NONE + 'unexpected GroupVersion string: a/b/c ({"apiVersion":"a/b/c"})'),
    ],
)
def test_what_is_refused(body, text):
    assert refused(body) == text


def test_another_version_is_refused():
    with pytest.raises(StatusError, match="does not match the expected API version") as caught:
        decode(
            b'{"kind":"HorizontalPodAutoscaler","apiVersion":"autoscaling/v1"}',
            kind=SERVED.find("autoscaling", "v2", "horizontalpodautoscalers"),
        )
    assert caught.value.code == 400


BOMBS = {
    "deep JSON": (JSON, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep lists": (JSON, b"[" * 100_000),
    "brackets in strings do not hide depth": (JSON, b'{"]]]":' * 300 + b"1" + b"}" * 300),
    "NaN": (JSON, b'{"spec":{"priority":NaN}}'),
    "a number without end": (JSON, b'{"spec":{"priority":' + b"9" * 100_000 + b"}}"),
    "a large exponent": (JSON, b'{"spec":{"priority":1e999999}}'),
    "more than 64 bits": (JSON, b'{"metadata":{"generation":9223372036854775808}}'),
    "invalid UTF-8": (JSON, b'{"metadata":{"name":"\xff"}}'),
    "half a surrogate pair": (JSON, b'{"metadata":{"name":"\\ud800"}}'),
    "a large quantity": (JSON, b'{"spec":{"overhead":{"cpu":"' + b"9" * 100_000 + b'"}}}'),
    "a quantity with a large exponent": (JSON, b'{"spec":{"overhead":{"cpu":"1e999999"}}}'),
    "aliases": (
        YAML,
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c]\n" % (c + 1, c + 1, c, c, c) for c in range(97, 118)),
    ),
    "an alias to itself": (YAML, b"a: &a [*a]\n"),
    "more YAML than is read in time": (YAML, b"a:\n" + b"- b: 1\n" * 60_000),
    "a custom tag": (YAML, b"a: !!python/object:os.system {}\n"),
    "deep YAML": (YAML, b"- " * 1000),
    "infinity": (YAML, b"spec: {priority: .inf}\n"),
    "YAML that is none": (YAML, b"a: [\n"),
    "a list for a key": (YAML, b"? [a]\n: b\n"),
    "no UTF-8": (YAML, b"a: \xff\n"),
    "another protobuf": (PROTOBUF, b"\x0a\x00"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs(name):
    media_type, body = BOMBS[name]
    assert refused(body, media_type)


def test_large_numbers_where_anything_goes_stay():
    kind = SERVED.find("apps", "v1", "controllerrevisions")
    obj, _ = decode(b'{"data":{"n":18446744073709551615,"f":1e300},"revision":1}', kind=kind)
    assert obj["data"] == {"n": 18446744073709551615, "f": 1e300}


_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.text(max_size=8)
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=6) | st.sampled_from(["spec", "metadata", "labels"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json)
def test_any_json_is_an_object_or_refused(value):
    body = orjson.dumps(value)
    try:
        obj, found = decode(body)
    except (DecodeError, StatusError):
        return
    assert decode(orjson.dumps(obj)) == (obj, [])
    assert all(text.startswith("unknown field") for text in found)


@given(st.binary(max_size=60))
def test_any_bytes_are_an_object_or_refused(body):
    for media_type in (JSON, YAML, PROTOBUF):
        with contextlib.suppress(DecodeError, StatusError):
            decode(body, media_type)


@given(st.dictionaries(st.text(max_size=4), st.integers(), min_size=1, max_size=5), st.booleans(), st.booleans())
def test_duplicates_are_found_whatever_the_spacing(value, again, spaced):
    body = json.dumps(value, separators=None if spaced else (",", ":"))
    name = next(iter(value))
    if again:
        body = body[:-1] + f",{json.dumps(name)}:5}}"
    assert jsontext.has_duplicates(body.encode(), orjson.loads(body)) is again
    assert list(jsontext.duplicates(jsontext.pairs(body.encode()))) == ([name] if again else [])


SPEC = '{"containers":[{"name":"c","image":"a:1"},{"name":"d","resources":{"limits":{"cpu":"1000m"}}}]}'
AROUND = [
    '{"kind":"Pod","metadata":{"name":"a"},"spec":%s}',
    '{"metadata":{"name":"a","labels":{"b":"c"}},"spec":%s,"status":{}}\n',
    '{"spec":%s,"metadata":{"name":"a"},"status":{"phase":"Running"}}',
    '{"spec":%s,"metadata":{"name":"a"}}',
    '{"metadata":{"name":"a"}, "spec":%s}',
    '{"metadata":{"name":"a"},"spec": %s}',
    '{"metadata":{"name":"a","name":"b"},"spec":%s}',
    '{"metadata":{"name":"a"},"spec":%s,"spec":{}}',
    '{"metadata":{"name":"a"},"spec":{},"spec":%s}',
    '{"metadata":{"name":"a"},"typo":1,"spec":%s}',
    '{"metadata":{"name":"a","spec":%s}}',
    '{"spec":{"hostname":"h"},"metadata":{"spec":%s}}',
    '{"metadata":{"spec":%s},"spec":{"hostname":"h"}}',
    '{"metadata":{"name":"a"},"\\"spec":%s}',
    '{"metadata":{"name":"a"},"s\\u0070ec":%s}',
    '{"metadata":{"annotations":{"a":"\\"spec\\":","b":"c"}},"spec":%s}',
    '{"metadata":{"name":1},"spec":%s}',
    '{"metadata":{"name":"a"},"spec":%s',
    '{"metadata":{"name":"a"},"spec":%s}}',
    '{"metadata":{"name":"a"},"spec":%s},"status":{}}',
    '{"metadata":{"name":"a"}"spec":%s}',
    '[{"metadata":{"name":"a"},"spec":%s}]',
    '"spec":%s}',
]


@pytest.mark.parametrize("form", AROUND)
@pytest.mark.parametrize("strict", [True, False])
def test_a_known_specification_is_as_good_as_read(form, strict, monkeypatch):
    def outcome():
        try:
            return decode((form % SPEC).encode(), strict=strict)
        except DecodeError as error:
            return str(error), error.found

    for _ in range(3):
        decode((AROUND[0] % SPEC).encode())
    assert normal.known_specs(POD.type).get(SPEC.encode()) is not None
    found = outcome()
    monkeypatch.setattr(shared.Memo, "get", lambda memo, key: None)
    assert outcome() == found


def test_a_known_specification_is_not_read_again(monkeypatch):
    body = (AROUND[1] % SPEC).encode()
    for _ in range(3):
        decode(body)
    read = []
    monkeypatch.setattr(jsontext.orjson, "loads", lambda text: read.append(text) or json.loads(text))
    obj, _ = decode(body)
    assert obj["spec"]["containers"][1]["resources"] == {"limits": {"cpu": "1"}}
    assert [b"containers" in text for text in read] == [False]


def test_patches():
    assert codec.merge_patch_body(b'{"a":1}', strict=True) == ({"a": 1}, [])
    assert codec.merge_patch_body(b'{"a":{"b":1,"b":2}}', strict=True)[1] == ['duplicate field "a.b"']
    assert codec.merge_patch_body(b'{"a":1,"a":2}', strict=False) == ({"a": 2}, [])
    assert codec.strategic_patch_body(b'{"a":1,"a":2}', strict=True) == ({"a": 2}, ['duplicate field "a"'])
    assert codec.strategic_patch_body(b"null", strict=True) == ({}, [])
    doubled = b'[{"op":"add","op":"add","to":1}]'
    assert codec.json_patch_body(doubled, strict=True)[1] == [
        'json patch duplicate field "[0].op"',
        'json patch unknown field "[0].to"',
    ]
    assert codec.json_patch_body(doubled, strict=False) == ([{"op": "add", "to": 1}], [])
    with pytest.raises(StatusError, match="error decoding patch: unexpected end of JSON input"):
        codec.merge_patch_body(b"{", strict=True)


def test_configurations_to_apply():
    assert codec.apply_body(b"a: 1\n", strict=True) == ({"a": 1}, [])
    assert codec.apply_body(b'{"a":1,"a":2}', strict=True) == ({"a": 2}, ['duplicate field "a"'])
    assert codec.apply_body(b"a: 1\na: 2\n", strict=True)[1] == [
        'yaml: unmarshal errors:\n  line 2: key "a" already set in map'
    ]
    for body in (b"- a\n", b"a: [", b"&a [*a]", b""):
        with pytest.raises(StatusError, match="error decoding YAML"):
            codec.apply_body(body, strict=False)


def test_delete_options():
    options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Orphan"}
    for media_type in (JSON, YAML, PROTOBUF):
        body = codec.encode(options, media_type)
        found = codec.decode_options(body, media_type)
        assert (found["gracePeriodSeconds"], found["propagationPolicy"]) == (0, "Orphan")
    with pytest.raises(DecodeError, match="cannot be converted to DeleteOptions"):
        codec.decode_options(b'{"kind":"Pod","apiVersion":"v1"}', JSON)
    with pytest.raises(DecodeError):
        codec.decode_options(b'{"gracePeriodSeconds":"x"}', JSON)


def test_lists_are_encoded_by_their_type():
    pods = {
        "kind": "PodList",
        "apiVersion": "v1",
        "metadata": {"resourceVersion": "5"},
        "items": [{"metadata": {"name": "a"}}],
    }
    body = codec.encode(pods, PROTOBUF)
    assert body[:4] == b"k8s\0"
    assert b"PodList" in body
    assert schema.of("", "v1", "PodList").fields["items"].number == 2


def test_strangers_do_not_fill_the_memory():
    before = schema._rows.cache_info().currsize
    for i in range(50):
        refused(b'{"kind":"X","apiVersion":"strange%d/v1"}' % i)
    assert schema._rows.cache_info().currsize == before
    struct = normal._struct(POD.type)
    struct.read({"metadata": {}}, [])
    seen = len(struct.seen)
    for i in range(50):
        decode(b'{"field%d":1}' % i)
    assert len(struct.seen) == seen
    with pytest.raises(ValueError, match="quantities must match"):
        quantity.canonical("x" * 10**6)
    assert quantity.canonical(" " * 10**6 + "1000m") == "1"


def test_a_large_body_of_unknown_fields_is_reported_in_part():
    body = orjson.dumps({f"f{i}": 1 for i in range(100_000)})
    assert len(decode(body)[1]) == 100


def test_what_does_not_travel_as_protobuf_is_refused():
    with pytest.raises(StatusError, match=r"object \*v1.Table does not implement the protobuf") as caught:
        codec.encode({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "rows": []}, PROTOBUF)
    assert caught.value.code == 406
    metadata = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": {"name": "a"}}
    assert codec.encode(metadata, PROTOBUF)[:4] == b"k8s\0"

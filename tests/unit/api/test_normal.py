# SPDX-License-Identifier: Apache-2.0
"""What a typed server prints: empty and absent values, canonical forms, what is not of its type."""

from __future__ import annotations

import pytest

from kubesched.api import jsontext, normal, schema
from kubesched.api.schema import Field, Shape, Type

POD = ("", "v1", "Pod")
DEPLOYMENT = ("apps", "v1", "Deployment")
OFTEN = 20  # enough for the fast way to be written


def printed(kind, obj):
    """The same whether objects like this were seen before or not."""
    type_ = schema.of(*kind)
    first, unknown = normal.normalise(obj, type_)
    for _ in range(OFTEN):
        assert normal.normalise(obj, type_) == (first, unknown)
    assert normal.normalise(first, type_) == (first, False)
    return first


def refused(kind, obj):
    texts = set()
    for _ in range(OFTEN):
        with pytest.raises(normal.DecodeError) as caught:
            normal.normalise(obj, schema.of(*kind))
        texts.add(str(caught.value))
    assert len(texts) == 1
    return texts.pop()


def test_what_nobody_sent():
    assert printed(DEPLOYMENT, {}) == {
        "metadata": {},
        "spec": {"selector": None, "template": {"metadata": {}, "spec": {"containers": None}}, "strategy": {}},
        "status": {},
    }
    assert printed(("", "v1", "Service"), {"spec": {"ports": [{"port": 80}]}}) == {
        "metadata": {},
        "spec": {"ports": [{"port": 80, "targetPort": 0}]},
        "status": {"loadBalancer": {}},
    }
    assert printed(("rbac.authorization.k8s.io", "v1", "Role"), {"rules": []}) == {"metadata": {}, "rules": None}


def test_what_is_left_out():
    spec = {
        "containers": [{"name": "a", "env": [], "image": "", "tty": False, "resources": None, "livenessProbe": None}],
        "nodeSelector": {},
        "priority": 0,
        "hostNetwork": False,
        "enableServiceLinks": False,
        "securityContext": {},
        "nodeName": "",
    }
    assert printed(POD, {"metadata": {"creationTimestamp": None, "labels": None}, "spec": spec}) == {
        "metadata": {},
        "spec": {
            "containers": [{"name": "a", "resources": {}}],
            "priority": 0,
            "enableServiceLinks": False,
            "securityContext": {},
        },
        "status": {},
    }


def test_empty_values_of_pointers_stay():
    claim = ("", "v1", "PersistentVolumeClaim")
    assert printed(claim, {"spec": {"storageClassName": ""}})["spec"] == {"storageClassName": "", "resources": {}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.1", "100m"),
        ("1000m", "1"),
        (1, "1"),
        (1.5, "1500m"),
        ("1.5Gi", "1536Mi"),
        ("1024Mi", "1Gi"),
        ("1e3", "1e3"),
        ("12e2", "1200"),
        ("1000", "1k"),
        ("0.1n", "1n"),
        ("1.1Ki", "1126400m"),
        ("9Ei", "9223372036854775807"),
        ("-1Ki", "-1Ki"),
        (None, "0"),
        ("0Gi", "0"),
        (" 5 ", "5"),
    ],
)
def test_quantities(given, expected):
    pod = {"spec": {"containers": [{"name": "a", "resources": {"limits": {"cpu": given}}}]}}
    assert printed(POD, pod)["spec"]["containers"][0]["resources"] == {"limits": {"cpu": expected}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("2026-01-02T03:04:05Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05.999Z", "2026-01-02T03:04:05Z"),
        ("2026-01-02T03:04:05+02:00", "2026-01-02T01:04:05Z"),
        ("2025-12-31T23:30:00-01:00", "2026-01-01T00:30:00Z"),
        ("0001-01-01T00:00:00Z", None),
    ],
)
def test_times(given, expected):
    metadata = printed(POD, {"metadata": {"creationTimestamp": given}})["metadata"]
    assert metadata == ({} if expected is None else {"creationTimestamp": expected})


def test_fine_times_and_times_that_are_always_printed():
    lease = ("coordination.k8s.io", "v1", "Lease")
    spec = {"renewTime": "2026-01-02T03:04:05.000012+01:00"}
    assert printed(lease, {"spec": spec})["spec"] == {"renewTime": "2026-01-02T02:04:05.000012Z"}
    condition = {"type": "Ready", "status": "True"}
    assert printed(POD, {"status": {"conditions": [condition]}})["status"]["conditions"] == [
        {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
    ]


def test_bytes_are_written_again():
    secret = ("", "v1", "Secret")
    assert printed(secret, {"data": {"a": "aGFs\nbG8=", "b": ""}})["data"] == {"a": "aGFsbG8=", "b": ""}
    assert refused(secret, {"data": {"a": "!"}}) == "illegal base64 data at input byte 0"


def test_schemas_of_custom_resources():
    crd = ("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
    props = {
        "type": "object",
        "items": {"type": "string"},
        "additionalProperties": False,
        "default": {"a": [1.5, None]},
        "maximum": 5.0,
        "enum": [1, "a", None],
        "properties": {"p": {"additionalProperties": {"type": "string"}, "x-kubernetes-preserve-unknown-fields": True}},
    }
    version = {"name": "v1", "schema": {"openAPIV3Schema": props}}
    found = printed(crd, {"spec": {"versions": [version]}})["spec"]["versions"][0]
    assert found["schema"]["openAPIV3Schema"] == props
    version["schema"] = {"openAPIV3Schema": {"additionalProperties": 5}}
    assert refused(crd, {"spec": {"versions": [version]}}) == "boolean or JSON schema expected"


FIELD = "json: cannot unmarshal {} into Go struct field {} of type {}"


@pytest.mark.parametrize(
    ("obj", "text"),
    [
        ({"spec": {"containers": "x"}}, FIELD.format("string", "PodSpec.spec.containers", "[]v1.Container")),
        ({"spec": {"containers": ["x"]}}, FIELD.format("string", "PodSpec.spec.containers", "v1.Container")),
        ({"spec": {"containers": [{"name": 5}]}}, FIELD.format("number", "Container.spec.containers.name", "string")),
        (
            {"spec": {"volumes": [{"emptyDir": 3}]}},
            FIELD.format("number", "Volume.spec.volumes.VolumeSource.emptyDir", "v1.EmptyDirVolumeSource"),
        ),
        ({"metadata": {"labels": {"a": 1}}}, FIELD.format("number", "ObjectMeta.metadata.labels", "string")),
        ({"metadata": {"labels": []}}, FIELD.format("array", "ObjectMeta.metadata.labels", "map[string]string")),
        ({"metadata": []}, FIELD.format("array", "Pod.metadata", "v1.ObjectMeta")),
        ({"spec": {"priority": 2**31}}, FIELD.format("number 2147483648", "PodSpec.spec.priority", "int32")),
        ({"spec": {"priority": 1.5}}, FIELD.format("number 1.5", "PodSpec.spec.priority", "int32")),
        ({"spec": {"hostNetwork": "x"}}, FIELD.format("string", "PodSpec.spec.hostNetwork", "bool")),
        ({"spec": {"restartPolicy": True}}, FIELD.format("bool", "PodSpec.spec.restartPolicy", "v1.RestartPolicy")),
        ([], "json: cannot unmarshal array into Go value of type v1.Pod"),
        (
            {"spec": {"containers": [{"livenessProbe": {"httpGet": {"port": True}}}]}},
            "json: cannot unmarshal bool into Go value of type int32",
        ),
        (
            {"spec": {"overhead": {"cpu": "abc"}}},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ({"spec": {"overhead": {"cpu": "1e"}}}, "unable to parse quantity's suffix"),
        (
            {"metadata": {"creationTimestamp": "yesterday"}},
            'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006"',
        ),
        (
            {"metadata": {"creationTimestamp": "2026-13-01T00:00:00Z"}},
            'parsing time "2026-13-01T00:00:00Z": month out of range',
        ),
        (
            {"metadata": {"creationTimestamp": "2026-02-30T00:00:00Z"}},
            'parsing time "2026-02-30T00:00:00Z": day out of range',
        ),
        ({"metadata": {"creationTimestamp": 5}}, "json: cannot unmarshal number into Go value of type string"),
    ],
)
def test_wrong_types(obj, text):
    assert refused(POD, obj) == text


def test_unknown_and_duplicate_fields_in_the_order_of_the_document():
    body = b"""{"kind":"Pod","foo":1,"metadata":{"x":1,"labels":{"a":"1","a":"2"}},"spec":{"containers":[
        {"name":"a","name":"b","zz":{"q":1,"q":2},"zz":3}],"priority":1,"volumes":[{"nfs":{"no":1}}],"priority":2}}"""
    assert normal.strict_errors(jsontext.pairs(body), schema.of(*POD)) == [
        'unknown field "foo"',
        'unknown field "metadata.x"',
        'duplicate field "metadata.labels.a"',
        'duplicate field "spec.containers[0].name"',
        'unknown field "spec.containers[0].zz"',
        'unknown field "spec.volumes[0].nfs.no"',
        'duplicate field "spec.priority"',
    ]
    obj, unknown = normal.normalise({"metadata": {"x": 1}}, schema.of(*POD))
    assert unknown
    assert obj["metadata"] == {}


def test_at_most_a_hundred_are_reported():
    body = {f"f{i}": 1 for i in range(1000)}
    assert len(normal.strict_errors(body, schema.of(*POD))) == normal.MAX_REPORTED


def test_custom_resources_are_pruned():
    text = Type("", Shape.STRING)
    open_ = Type("", Shape.OBJECT, fields={"known": Field("known", text)}, preserve_unknown=True)
    spec = Type("", Shape.OBJECT, fields={"a": Field("a", text), "open": Field("open", open_)})
    type_ = Type("", Shape.OBJECT, fields={"spec": Field("spec", Type("", Shape.LIST, element=spec))})
    obj = {"spec": [{"a": "1", "b": 2, "open": {"known": "k", "other": {"x": None}}}], "more": {}}
    pruned = {"spec": [{"a": "1", "open": {"known": "k", "other": {"x": None}}}]}
    assert normal.prune(obj, type_) == (pruned, True)
    assert normal.prune(pruned, type_) == (pruned, False)
    body = b'{"spec":[{"b":2,"open":{"o":{"d":1,"d":2}}}],"more":{}}'
    assert normal.custom_strict_errors(jsontext.pairs(body), type_) == [
        'duplicate field "spec[0].open.o.d"',
        'unknown field "more"',
        'unknown field "spec[0].b"',
    ]

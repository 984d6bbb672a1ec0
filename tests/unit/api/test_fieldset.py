# SPDX-License-Identifier: Apache-2.0
"""Sets of fields of random pods, against a walk that remembers nothing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from kubesched.api import fieldset, schema, shared
from kubesched.api.schema import ListType, Shape, Type

POD = schema.of("", "v1", "Pod")


def whole(value: Any, type_: Type | None) -> dict[str, Any]:
    """The node of a value in which every path is a member."""
    if not value or type_ is None:
        return {}
    out: dict[str, Any] = {".": {}}
    if isinstance(value, dict) and type_.shape in (Shape.OBJECT, Shape.MAP) and not type_.atomic:
        for name, item in value.items():
            found = type_.fields.get(name)
            out[f"f:{name}"] = whole(item, found.type if found else type_.element)
        return out
    if isinstance(value, list) and type_.list_type is ListType.MAP:
        for item in value:
            defaults = {key: type_.element.fields[key].default for key in type_.keys}
            keys = {key: item.get(key, defaults[key]) for key in sorted(type_.keys)}
            keys = {key: at for key, at in keys.items() if at is not None or key in item}
            element = "k:" + json.dumps(keys, separators=(",", ":"), ensure_ascii=False)
            out[element] = {} if element in out else whole(item, type_.element)
        return out
    return {}


def variables(rng: random.Random) -> list[Any]:
    """Mostly alike, as people write them; now and then one that is not."""
    names = [f"V{n}" for n in range(12)] + ["é", 'quo"te', "long" * 30]
    out: list[Any] = [{"name": name, "value": "x"} for name in rng.sample(names, rng.randrange(len(names)))]
    for _ in range(rng.choice([0, 0, 1, 2])):
        source = {"fieldRef": {"fieldPath": rng.choice("ab")}}
        odd = [{"name": "V1"}, {"name": "V2", "valueFrom": source}, {"value": "x", "name": "V3"}, {"name": None}]
        out.insert(rng.randrange(len(out) + 1), rng.choice([*odd, {"name": "V4", "value": "x", "typo": [1]}]))
    if out and rng.random() < 0.1:
        out.append(rng.choice([{"value": "no name"}, dict(out[0])]))
    return out


def container(rng: random.Random, name: str) -> dict[str, Any]:
    ports = [{"containerPort": rng.choice([80, 81])}, {"containerPort": 80, "protocol": "UDP", "name": "p"}]
    all_of_it = {"name": name, "env": variables(rng), "ports": ports, "args": ["a", "b"], "resources": {}}
    return {field: value for field, value in all_of_it.items() if field == "name" or rng.random() < 0.8}


@pytest.mark.parametrize("seed", range(4))
def test_the_fields_of_what_is_new(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(300):
        spec = {"containers": [container(rng, name) for name in rng.choice(["a", "ab", "ba"])]}
        spec |= rng.choice([{}, {"nodeSelector": {"a": "b"}}, {"hostNetwork": True, "nodeName": "n"}])
        pod = {"metadata": {"name": "p", "labels": {"a": rng.choice("xy")}}, "spec": spec}
        if rng.random() < 0.3:
            pod = shared.share(pod)
        wanted = {f"f:{name}": whole(value, POD.fields[name].type) for name, value in pod.items()}
        for _ in range(2):
            assert fieldset.compare({}, pod, POD) == ({}, {}, wanted)


def test_equal_parts_are_the_same_whether_they_are_shared_or_not() -> None:
    pod = {
        "metadata": {"name": "p"},
        "spec": {"nodeSelector": {"a": "b"}, "containers": [{"name": "c", "args": ["x"]}]},
    }
    other = {**pod, "spec": shared.share(pod["spec"])}
    assert fieldset.compare(pod, other, POD) == fieldset.compare(other, pod, POD) == ({}, {}, {})


def test_shared_specifications_are_compared_with_the_one_that_is_there() -> None:
    after = shared.share({"containers": [{"name": "a", "image": "2"}], "nodeName": "n"})
    wanted: list[tuple[Any, Any]] = [
        ({}, ({}, {}, {"f:containers": {".": {}, 'k:{"name":"a"}': {".": {}, "f:name": {}, "f:image": {}}}})),
        (
            {"containers": [{"name": "a", "image": "1"}]},
            ({}, {"f:containers": {'k:{"name":"a"}': {"f:image": {}}}}, {}),
        ),
        ({"containers": [{"name": "a", "image": "2"}], "hostname": "h"}, ({"f:hostname": {}}, {}, {})),
    ]
    for before, (removed, modified, added) in [*wanted, *wanted]:
        expected = ({"f:spec": removed} if removed else {}, {"f:spec": modified} if modified else {})
        left = {"spec": shared.share(before)}
        for _ in range(2):
            found = fieldset.compare(left, {"spec": after}, POD)
            assert found == (*expected, {"f:spec": {**added, "f:nodeName": {}}})

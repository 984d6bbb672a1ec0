# SPDX-License-Identifier: Apache-2.0
"""Objects as JSON to keep: shared parts are found again, wherever they stand."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from kubesched.api import shared, stored

Obj = dict[str, Any]


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored, "_known", stored._Known())


def container(name: str) -> Obj:
    return {"name": name, "env": [{"name": "A", "value": '"]},{"'}]}


def pod(*containers: Obj, **fields: Any) -> Obj:
    entries = [
        {"manager": name, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {f'f:x"{name}': {}}}} for name in ("a", "b")
    ]
    metadata = {"name": "p", "managedFields": entries, **fields}
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": list(containers), "nodeName": "n"}}


def with_shared(obj: Obj) -> Obj:
    for entry in obj["metadata"]["managedFields"]:
        entry["fieldsV1"] = shared.share(entry["fieldsV1"])
    obj["spec"]["containers"] = [shared.share(item) for item in obj["spec"]["containers"]]
    return obj


def test_parts_are_the_same_again() -> None:
    written = with_shared(pod(container("a"), container("b")))
    data = stored.dumps(written)
    assert data == orjson.dumps(written)
    read = stored.loads(data, stored.POD)
    assert read == orjson.loads(data)
    assert all(mine is its for mine, its in zip(read["spec"]["containers"], written["spec"]["containers"], strict=True))
    entries = zip(read["metadata"]["managedFields"], written["metadata"]["managedFields"], strict=True)
    assert all(mine["fieldsV1"] is its["fieldsV1"] for mine, its in entries)


def test_a_whole_specification_is_the_same_again() -> None:
    written = pod(container("a"))
    written["spec"] = shared.share(written["spec"])
    assert stored.loads(stored.dumps(written), stored.POD)["spec"] is written["spec"]


def test_others_are_read() -> None:
    stored.dumps(with_shared(pod(container("b"), container("c"))))
    data = orjson.dumps(pod(container("a"), container("b")))
    read = stored.loads(data, stored.POD)
    assert read == orjson.loads(data)
    assert [type(item) for item in read["spec"]["containers"]] == [dict, dict]


def test_a_list_may_end_with_others() -> None:
    stored.dumps(with_shared(pod(container("a"), container("b"))))
    data = orjson.dumps(pod(container("a"), container("c"), container("b")))
    read = stored.loads(data, stored.POD)
    assert read == orjson.loads(data)
    assert [type(item) for item in read["spec"]["containers"]] == [shared.Shared, dict, dict]


@pytest.mark.parametrize(
    "strange",
    [
        {"annotations": {"containers": "[", "spec": "{}"}},
        {"fieldsV1": {"f:spec": {'f:x"a': {}}}},
        {"more": {"spec": container("a")}},
        {"more": {"containers": [container("a")]}},
        {"text": orjson.dumps(with_shared(pod(container("a")))).decode()},
    ],
)
def test_parts_may_stand_elsewhere(strange: Obj) -> None:
    stored.dumps(with_shared(pod(container("a"))))
    stored.dumps({"x": shared.share({"containers": 1})})
    for obj in (pod(container("a"), **strange), {**strange, **pod(container("a"))}, {**pod(container("a")), **strange}):
        data = orjson.dumps(obj)
        assert stored.loads(data, stored.POD) == orjson.loads(data) == obj


def test_specifications_of_others_are_left_alone() -> None:
    stored.dumps(with_shared(pod()))
    for spec in (1, "text", [], {"containers": {"a": 1}}, {"containers": "text"}, {"containers": [1, None]}):
        obj = {**pod(), "spec": spec}
        data = orjson.dumps(obj)
        assert stored.loads(data, stored.FIELDS) == obj
        assert stored.loads(data, stored.POD) == obj


def test_what_is_known_is_bounded() -> None:
    parts = [shared.share({"text": f"{n:040000d}"}) for n in range(100)]
    written = [{"metadata": {}, "spec": part} for part in parts]
    data = [stored.dumps(obj) for obj in written]
    found = [stored.loads(text, stored.POD) for text in data]
    assert found == written
    known = [obj["spec"] is part for obj, part in zip(found, parts, strict=True)]
    assert known == sorted(known)
    assert 50 < sum(known) < 55


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(TypeError):
        stored.dumps({"a": {1}})

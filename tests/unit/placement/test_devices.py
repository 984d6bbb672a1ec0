# SPDX-License-Identifier: Apache-2.0
"""Resource claims through the facade: what users see of DynamicResources."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched import Cluster, Delta
from kubesched.base import errors

Obj = dict[str, Any]
DRIVER = "gpu.example.com"


def node(name: str, **allocatable: str) -> Obj:
    amounts = {"cpu": "8", "memory": "32Gi", "pods": "110"} | allocatable
    labels = {"kubernetes.io/hostname": name}
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": {"allocatable": amounts}}


def gpus(name: str, *models: str) -> Obj:
    devices = [{"name": f"gpu-{i}", "attributes": {"model": {"string": m}}} for i, m in enumerate(models)]
    pool = {"name": name, "generation": 1, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "nodeName": name, "pool": pool, "devices": devices}
    return {"kind": "ResourceSlice", "metadata": {"name": f"{name}-gpus"}, "spec": spec}


def device_class(**more: str) -> Obj:
    spec = {"selectors": [{"cel": {"expression": f'device.driver == "{DRIVER}"'}}]} | more
    return {"kind": "DeviceClass", "metadata": {"name": "gpu"}, "spec": spec}


def spec_of(count: int = 1, of_class: str = "gpu") -> Obj:
    exactly = {"deviceClassName": of_class, "count": count}
    return {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}


def claim(name: str, **spec: Any) -> Obj:
    return {"kind": "ResourceClaim", "metadata": {"name": name, "namespace": "default"}, "spec": spec_of(**spec)}


def template(name: str, **spec: Any) -> Obj:
    metadata = {"name": name, "namespace": "default"}
    return {"kind": "ResourceClaimTemplate", "metadata": metadata, "spec": {"spec": spec_of(**spec)}}


def pod(name: str, *claims: str, of_template: str = "", **requests: str) -> Obj:
    named: list[Obj] = [{"name": c, "resourceClaimName": c} for c in claims]
    if of_template:
        named.append({"name": "t", "resourceClaimTemplateName": of_template})
    container = {"name": "c", "resources": {"requests": {"cpu": "100m"} | requests}}
    spec = {"containers": [container], "resourceClaims": named}
    return {"kind": "Pod", "metadata": {"name": name, "namespace": "default"}, "spec": spec}


def nodes_of(cluster: Cluster) -> list[str | None]:
    return list(cluster.place().nodes)


def test_claims_made_from_a_template_take_one_device_each() -> None:
    pods = [pod(f"p{i}", of_template="one") for i in range(4)]
    objects = [node("a"), node("b"), gpus("a", "x", "x"), gpus("b", "x"), device_class(), template("one"), *pods]
    assert sorted(map(str, nodes_of(Cluster.from_objects(objects)))) == ["None", "a", "a", "b"]


def test_pods_that_share_a_claim_go_where_its_device_is() -> None:
    objects = [node("a"), node("b"), gpus("b", "x"), device_class(), claim("c"), pod("p", "c"), pod("q", "c")]
    assert nodes_of(Cluster.from_objects(objects)) == ["b", "b"]


def test_a_device_is_free_again_when_the_last_pod_of_its_claim_leaves() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), claim("c"), claim("d"), pod("p", "c")])
    assert nodes_of(cluster) == ["a"]
    plan = cluster.place([pod("q", "d")])
    assert plan.reasons == ["0/1 nodes are available: 1 cannot allocate all claims."]
    cluster.release("default/p")
    assert list(cluster.place([pod("q", "d")]).nodes) == ["a"]


def test_what_if_gives_devices_back() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), claim("c"), claim("d")])
    with cluster.what_if():
        assert list(cluster.place([pod("p", "c")]).nodes) == ["a"]
    assert list(cluster.place([pod("q", "d")]).nodes) == ["a"]


def test_a_snapshot_keeps_devices_and_who_has_them() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), claim("c"), claim("d"), pod("p", "c")])
    cluster.place()
    copied = cluster.snapshot()
    assert list(copied.place([pod("q", "d")]).nodes) == [None]
    copied.release("default/p")
    assert list(copied.place([pod("q", "d")]).nodes) == ["a"]
    assert list(cluster.place([pod("q", "d")]).nodes) == [None]


def test_devices_and_claims_come_later() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), claim("c"), pod("p", "c")])
    cluster.place()
    cluster.apply(Delta(put_devices=[claim("d")]))
    assert list(cluster.place([pod("q", "d")]).nodes) == [None]
    cluster.apply(Delta(put_devices=[gpus("a", "x", "x")]))
    assert list(cluster.place([pod("q", "d")]).nodes) == ["a"]
    cluster.apply(Delta(put_devices=[claim("e")], release=["default/p"]))
    assert list(cluster.place([pod("r", "e")]).nodes) == ["a"]


def test_devices_cannot_change_inside_a_what_if() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class()])
    with cluster.what_if(), pytest.raises(errors.StateError, match="inside a speculation"):
        cluster.apply(Delta(put_devices=[claim("d")]))


def test_tables_refuse_what_they_cannot_hold() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class()])
    with pytest.raises(errors.UnsupportedError, match="which no table holds"):
        cluster.to_arrow()


def test_devices_stand_in_for_an_extended_resource_where_a_node_has_none() -> None:
    objects = [
        *(node("a"), node("b", **{"example.com/gpu": "1"}), node("c"), gpus("a", "x", "x")),
        device_class(extendedResourceName="example.com/gpu"),
        *(pod(f"p{i}", **{"example.com/gpu": "1"}) for i in range(4)),
    ]
    assert sorted(map(str, nodes_of(Cluster.from_objects(objects)))) == ["None", "a", "a", "b"]


@pytest.mark.parametrize(
    ("objects", "reason"),
    [
        ([pod("p", "c")], 'could not find ResourceClaim "default/c"'),
        ([pod("p", of_template="t")], 'pod "default/p": ResourceClaim not created yet'),
        ([pod("p", "c"), claim("c", of_class="other")], "request r: device class other does not exist"),
    ],
)
def test_what_is_missing_is_named(objects: list[Obj], reason: str) -> None:
    plan = Cluster.from_objects([node("a"), *objects]).place()
    assert plan.reasons == [f"0/1 nodes are available: {reason}."]


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (f'device.attributes["{DRIVER}"].absent == 1', "claim default/c: selector #0: CEL runtime error: no such key"),
        ("device.nothing == 1", "claim default/c: selector #0: CEL compile error: compilation failed"),
        ("1 + 1", "must evaluate to bool or the unknown type, not int"),
    ],
)
def test_a_wrong_selector_stops_the_decision(expression: str, reason: str) -> None:
    wrong = claim("c")
    wrong["spec"]["devices"]["requests"][0]["exactly"]["selectors"] = [{"cel": {"expression": expression}}]
    plan = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), wrong, pod("p", "c")]).place()
    assert list(plan.nodes) == [None]
    assert reason in plan.reasons[0]


def test_a_selector_with_a_function_that_is_not_there_is_refused() -> None:
    wrong = claim("c")
    selectors = [{"cel": {"expression": 'isIP("10.0.0.1")'}}]
    wrong["spec"]["devices"]["requests"][0]["exactly"]["selectors"] = selectors
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), wrong, pod("p", "c")])
    with pytest.raises(errors.UnsupportedError, match="calls isIP"):
        cluster.place()

# SPDX-License-Identifier: Apache-2.0
"""Resource claims through the facade: what users see of DynamicResources."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kubesched import PROFILES, Cluster, Delta
from kubesched.base import errors
from kubesched.framework import profile as profiles

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


def test_a_slice_that_moves_to_another_pool_takes_its_devices_along() -> None:
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), claim("c"), claim("d"), pod("p", "c")])
    moved = gpus("a", "x")
    moved["spec"]["pool"] |= {"name": "elsewhere"}
    cluster.apply(Delta(put_devices=[moved]))
    assert list(cluster.place().nodes) == ["a"]
    assert cluster.allocations(["default/p"])["default/c"]["devices"]["results"][0]["pool"] == "elsewhere"
    assert cluster.allocations(["default/p"]) == cluster.allocations()
    assert cluster.allocations([]) == {}
    assert list(cluster.place([pod("q", "d")]).nodes) == [None]


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
    selectors = [{"cel": {"expression": 'isURL("10.0.0.1")'}}]
    wrong["spec"]["devices"]["requests"][0]["exactly"]["selectors"] = selectors
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), wrong, pod("p", "c")])
    with pytest.raises(errors.UnsupportedError, match="calls isURL"):
        cluster.place()


# ---- claims that are stuck ----


def allocated(name: str, where: str, *, conditions: Obj | None = None, users: tuple[str, ...] = ()) -> Obj:
    """A claim that has the first device of a node, which becomes ready once its driver says so."""
    result = {"request": "r", "driver": DRIVER, "pool": where, "device": "gpu-0"}
    result |= {"bindingConditions": ["ready"], "bindingFailureConditions": ["failed"]} if conditions is not None else {}
    here = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [where]}]}
    status: Obj = {
        "allocation": {
            "devices": {"results": [result]},
            "nodeSelector": {"nodeSelectorTerms": [here]},
            "allocationTimestamp": "2026-01-01T00:00:00Z",
        },
        "reservedFor": [{"resource": "pods", "name": u, "uid": f"default/{u}"} for u in users],
    }
    if conditions:
        reported = [{"type": k, "status": v} for k, v in conditions.items()]
        status["devices"] = [{"driver": DRIVER, "pool": where, "device": "gpu-0", "conditions": reported}]
    return claim(name) | {"status": status}


MADE = 1767225600.0
"""2026-01-01T00:00:00Z"""


@pytest.mark.parametrize(
    ("conditions", "now", "placed"),
    [
        ({"ready": "True"}, MADE + 5000, True),
        ({"failed": "True"}, None, False),
        ({"ready": "True", "failed": "True"}, None, False),
        ({"ready": "False"}, MADE + 600, True),
        ({"ready": "False"}, MADE + 601, False),
        ({}, MADE + 601, False),
        ({}, None, True),
        (None, MADE + 5000, True),
    ],
)
def test_devices_that_are_not_ready_for_binding_time_out(
    conditions: Obj | None, now: float | None, placed: bool
) -> None:
    objects = [node("a"), gpus("a", "x"), device_class(), allocated("c", "a", conditions=conditions), pod("p", "c")]
    assert Cluster.from_objects(objects, now=now).place().nodes == (["a"] if placed else [None])


def test_a_claim_whose_devices_failed_gets_other_ones_once_the_pod_may_evict() -> None:
    stuck = allocated("c", "a", conditions={"failed": "True"})
    cluster = Cluster.from_objects([node("a"), node("b"), gpus("a", "x"), gpus("b", "x"), device_class(), stuck])
    plan = cluster.place([pod("p", "c")])
    assert plan.nodes == [None]
    assert "default/c" in cluster.allocations()
    plan = cluster.place([pod("p", "c"), pod("q", "c")], evict=True)
    assert plan.nodes == [None, "a"]
    assert "deallocation of ResourceClaim completed" in plan.reasons[0]
    (result,) = cluster.allocations()["default/c"]["devices"]["results"]
    assert (result["pool"], result["device"]) == ("a", "gpu-0")


def test_a_claim_that_others_use_keeps_its_devices() -> None:
    stuck = allocated("c", "a", conditions={"failed": "True"}, users=("other",))
    cluster = Cluster.from_objects([node("a"), gpus("a", "x"), device_class(), stuck])
    assert cluster.place([pod("p", "c"), pod("q", "c")], evict=True).nodes == [None, None]


@pytest.mark.parametrize(
    ("obj", "name"),
    [
        ({"kind": "DeviceTaintRule", "metadata": {"name": "r"}}, "DRADeviceTaintRules"),
        (gpus("a", "x") | {"spec": {"devices": [{"attributes": {"m": {"ints": [1]}}}]}}, "DRAListTypeAttributes"),
        (gpus("a", "x") | {"spec": {"devices": [{"nodeAllocatableResourceMappings": {}}]}}, "NodeAllocatableResources"),
    ],
)
def test_features_that_are_off_are_refused_by_name(obj: Obj, name: str) -> None:
    with pytest.raises(errors.UnsupportedError, match=name):
        Cluster.from_objects([node("a"), obj])


def scoring(plugin: str) -> profiles.Profile:
    """The default profile with one score, of the resource that devices stand in for alone."""
    base = PROFILES["default-v1.36"]
    kept = next(one for one in base.scores if one.name == plugin)
    return replace(base, name=f"{plugin}-of-devices", scores=(replace(kept, resources=(("example.com/gpu", 1),)),))


def test_the_share_of_devices_that_is_free_decides_where_they_are_scored() -> None:
    """Behind the first pod, with the next one 1/4 of a is free, 0/1 of b, 2/3 of c; d offers one of its own."""
    objects = [
        *(node("a"), node("b"), node("c"), node("d", **{"example.com/gpu": "1"})),
        *(gpus("a", "x", "x", "x", "x"), gpus("b", "x"), gpus("c", "x", "x", "x")),
        device_class(extendedResourceName="example.com/gpu"),
    ]
    cluster = Cluster.from_objects(objects)
    pods = [pod(f"p{i}", **{"example.com/gpu": str(n)}) for i, n in enumerate([2, 1, 1, 1, 1, 1, 1, 1])]
    plan = cluster.place(pods, profile=scoring("NodeResourcesFit"))
    assert plan.nodes == ["a", "c", "c", "a", "a", "b", "c", "d"]
    assert plan.scores.tolist() == [50, 66, 33, 25, 0, 0, 0, 0]


def test_devices_that_balanced_allocation_would_select_are_refused_by_name() -> None:
    objects = [node("a"), gpus("a", "x"), device_class(extendedResourceName="example.com/gpu")]
    cluster, profile = Cluster.from_objects(objects), scoring("NodeResourcesBalancedAllocation")
    assert cluster.place([pod("p")], profile=profile).nodes == ["a"]
    with pytest.raises(errors.UnsupportedError, match=r"BalancedAllocation scores .* by CEL, got 'example.com/gpu'"):
        cluster.place([pod("q", **{"example.com/gpu": "1"})], profile=profile)

# SPDX-License-Identifier: Apache-2.0
"""Objects to rows: units, rules of requests, features that are refused, fields that are wrong."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.base import errors
from kubesched.scheduler import defaults, encode, pods
from kubesched.state import rows

GIB = 1 << 30


def pod(**spec: Any) -> dict[str, Any]:
    containers = spec.pop("containers", [{"name": "c", "resources": {"requests": {"cpu": "1", "memory": "1Gi"}}}])
    return {"kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": containers, **spec}}


def test_units_are_canonical() -> None:
    node = encode.node_row(
        {
            "metadata": {"name": "n"},
            "status": {"allocatable": {"cpu": "3920m", "memory": "1Ki", "pods": "5", "x.io/g": "2", "storage": "1"}},
        }
    )
    assert dict(node.allocatable) == {"cpu": 3920, "memory": 1024, "pods": 5, "x.io/g": 2}


def test_sidecars_add_and_init_containers_peak() -> None:
    row = encode.pod_row(
        pod(
            initContainers=[
                {"name": "a", "resources": {"requests": {"cpu": "5"}}},
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "2"}}},
                {"name": "b", "resources": {"requests": {"cpu": "4"}}},
            ]
        )
    )
    assert dict(row.shape.requests)["cpu"] == 6000  # b beside the sidecar; more than 1 + 2 and than 5


def test_nonzero_defaults_and_pod_level_requests() -> None:
    row = encode.pod_row(pod(containers=[{"name": "c"}, {"name": "d", "resources": {"requests": {"cpu": "0"}}}]))
    assert row.shape.requests == ()
    assert row.shape.nonzero_cpu_milli == 100  # an explicit 0 stays 0
    assert row.shape.nonzero_memory_bytes == 2 * 200 * 1024 * 1024
    row = encode.pod_row(pod(resources={"requests": {"cpu": "3"}}))
    assert dict(row.shape.requests)["cpu"] == 3000
    assert dict(row.shape.fit_requests)["cpu"] == 1000  # the score leaves pod-level requests out
    assert row.shape.nonzero_cpu_milli == 3000


def test_images_and_ports() -> None:
    row = encode.pod_row(
        pod(
            containers=[
                {
                    "name": "c",
                    "image": "r:5000/x/y",
                    "ports": [{"hostPort": 80}, {"hostPort": 80, "hostIP": "10.0.0.1"}],
                },
                {"name": "d", "image": "x@sha256:1", "ports": [{"containerPort": 9}]},
            ]
        )
    )
    assert row.shape.images == ("r:5000/x/y:latest", "x@sha256:1")
    assert [(p.ip, p.protocol, p.port) for p in row.shape.host_ports] == [
        ("0.0.0.0", "TCP", 80),
        ("10.0.0.1", "TCP", 80),
    ]


def test_device_annotations() -> None:
    obj = pod()
    obj["metadata"]["annotations"] = {
        "alibabacloud.com/gpu-count": "1",
        "alibabacloud.com/gpu-milli": "300",
        "alibabacloud.com/gpu-card-model": "V100|T4",
    }
    shape = encode.pod_row(obj).shape
    assert (shape.device_count, shape.device_milli, shape.device_models) == (1, 300, ("T4", "V100"))
    obj["metadata"]["annotations"]["alibabacloud.com/gpu-count"] = "2"
    with pytest.raises(errors.InputError, match="shares several devices"):
        encode.pod_row(obj)


def test_features_can_be_left_out() -> None:
    obj = pod() | {"status": {"nominatedNodeName": "n"}}
    assert encode.pod_row(obj).nominated_node == "n"
    assert encode.pod_row(obj, ignore=["nominated"]).nominated_node == ""
    assert encode.encode([obj], ignore=["nominated", "volumes"]).left_out == {"nominated": 1}


@pytest.mark.parametrize("text", ["yesterday", "2026-01-01T00:00:00", "2026-13-01T00:00:00Z"])
def test_a_start_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(errors.InputError, match=r"status\.startTime"):
        encode.pod_row(pod() | {"status": {"startTime": text}})
    assert encode.pod_row(pod() | {"status": {"startTime": "2026-01-01T00:00:01Z"}}).started == 1767225601000000


def test_default_spreading_is_noticed() -> None:
    service = {"kind": "Service", "metadata": {"name": "s"}, "spec": {"selector": {"app": "a"}}}
    obj = pod()
    obj["metadata"]["labels"] = {"app": "a"}
    selector = (rows.Requirement("app", "In", ("a",)),)
    shape = encode.encode([service, obj]).pending[0].shape
    assert shape.spread_is_default
    assert [(s.topology_key, s.max_skew, s.selector, s.hard) for s in shape.spread] == [
        ("kubernetes.io/hostname", 3, selector, False),
        ("topology.kubernetes.io/zone", 5, selector, False),
    ]
    obj["metadata"]["labels"] = {"app": "b"}
    assert encode.encode([service, obj]).pending[0].shape.spread == ()


@pytest.mark.parametrize(
    ("constraint", "says"),
    [
        ({"maxSkew": 1}, "topologyKey: is missing"),
        ({"topologyKey": "zone", "whenUnsatisfiable": "Never"}, "whenUnsatisfiable: is unknown, got 'Never'"),
        (
            {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 0},
            "maxSkew: is out of range, got 0",
        ),
        (
            {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1, "minDomains": -1},
            "minDomains: is out of range, got -1",
        ),
        (
            {"topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "maxSkew": 1, "nodeTaintsPolicy": "Maybe"},
            "nodeTaintsPolicy: is not a policy, got 'Maybe'",
        ),
        (
            {
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]},
            },
            "operator: is not an operator of label selectors, got 'Near'",
        ),
        (
            {
                "topologyKey": "zone",
                "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]},
            },
            "values: does not fit In",
        ),
    ],
)
def test_wrong_spread_constraints_are_named(constraint: dict[str, Any], says: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        encode.pod_row(pod(topologySpreadConstraints=[constraint]))
    assert says in str(caught.value)
    assert "spec.topologySpreadConstraints[0]" in str(caught.value)


@pytest.mark.parametrize(
    ("term", "says"),
    [
        ({"labelSelector": {}}, "topologyKey: is missing"),
        (
            {"topologyKey": "zone", "namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}},
            "operator: is not an operator of label selectors, got 'Gt'",
        ),
        ({"topologyKey": "zone", "labelSelector": {"matchExpressions": [{"operator": "Exists"}]}}, "key: is missing"),
    ],
)
def test_wrong_affinity_terms_are_named(term: dict[str, Any], says: str) -> None:
    field = "requiredDuringSchedulingIgnoredDuringExecution"
    with pytest.raises(errors.InputError) as caught:
        encode.pod_row(pod(affinity={"podAntiAffinity": {field: [term]}}))
    assert says in str(caught.value)
    assert f"spec.affinity.podAntiAffinity.{field}[0]" in str(caught.value)


def test_finished_pods_do_not_count() -> None:
    done = pod(nodeName="n") | {"status": {"phase": "Succeeded"}}
    assert encode.encode([done]).running == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p: p["spec"].update(containers={}), "spec.containers: has the wrong type"),
        (lambda p: p["spec"].update(containers=[1]), "spec.containers[0]: has the wrong type"),
        (
            lambda p: p["spec"]["containers"][0].update(resources={"requests": {"cpu": "1x"}}),
            "requests.cpu: is not a quantity",
        ),
        (
            lambda p: p["spec"]["containers"][0].update(resources={"requests": {"cpu": "-1"}}),
            "requests.cpu: is negative",
        ),
        (lambda p: p["spec"]["containers"][0].update(resources={"requests": {"memory": "1e35"}}), "is absurdly large"),
        (lambda p: p["spec"]["containers"][0].update(ports=[{"hostPort": 70000}]), "hostPort: is not a port"),
        (
            lambda p: p["spec"]["containers"][0].update(resources={"requests": {"cpus": "1"}}),
            "requests.cpus: is not a resource, got 'cpus', expected cpu, memory",
        ),
        (lambda p: p["spec"].update(tolerations=[{"effect": "Nope"}]), "tolerations[0].effect: is not a taint effect"),
        (lambda p: p["spec"].update(nodeSelector={"a": 1}), "nodeSelector['a']: has the wrong type"),
        (lambda p: p["spec"].update(priority="high"), "spec.priority: has the wrong type"),
        (
            lambda p: p["spec"].update(
                affinity={
                    "nodeAffinity": {
                        "requiredDuringSchedulingIgnoredDuringExecution": {
                            "nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "Near"}]}]
                        }
                    }
                }
            ),
            "is not an operator",
        ),
    ],
)
def test_wrong_fields_are_named(change: Any, says: str) -> None:
    obj = pod()
    change(obj)
    with pytest.raises(errors.InputError) as caught:
        encode.pod_row(obj)
    assert says in str(caught.value)
    assert str(caught.value).startswith("Pod default/p: ")


def test_names_must_be_unique() -> None:
    with pytest.raises(errors.InputError, match="Pod default/p: exists twice"):
        encode.encode([pod(), pod()])
    node = {"kind": "Node", "metadata": {"name": "n"}}
    with pytest.raises(errors.InputError, match="Node n: exists twice"):
        encode.encode([node, node])


def test_defaults_of_the_api_server() -> None:
    obj = pod(
        hostNetwork=True,
        containers=[{"name": "c", "resources": {"limits": {"cpu": "2"}}, "ports": [{"containerPort": 81}]}],
    )
    filled = defaults.apply(obj)
    assert filled["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "2"}
    assert filled["spec"]["containers"][0]["ports"] == [{"containerPort": 81, "hostPort": 81, "protocol": "TCP"}]
    assert "requests" not in obj["spec"]["containers"][0]["resources"]  # the input is as it was


def test_workloads_stand_for_their_pods() -> None:
    deployment = {
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 3, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
    }
    pods = [o for o in defaults.expand([deployment]) if o["kind"] == "Pod"]
    assert [p["metadata"]["name"] for p in pods] == ["web-0", "web-1", "web-2"]
    assert pods[0]["metadata"]["namespace"] == "shop"
    deployment["spec"]["replicas"] = -1  # type: ignore[index]
    with pytest.raises(errors.InputError, match="spec.replicas: is out of range"):
        defaults.expand([deployment])


@pytest.mark.parametrize(
    ("version", "controller", "n"), [("apps/v1", True, 2), ("apps/v1", False, 0), ("extensions/v1beta1", True, 0)]
)
def test_default_spreading_asks_the_controller_of_todays_api(version: str, controller: bool, n: int) -> None:
    owned = pod()
    owned["metadata"]["ownerReferences"] = [
        {"apiVersion": version, "kind": "ReplicaSet", "name": "r", "controller": controller}
    ]
    owner = {"kind": "ReplicaSet", "metadata": {"name": "r"}, "spec": {"selector": {"matchLabels": {"app": "a"}}}}
    spread = pods.DefaultSpread([owner])
    assert len(encode.pod_row(owned, spread=spread).shape.spread) == n

# SPDX-License-Identifier: Apache-2.0
"""What lightkube's end-to-end tests try, in words of our own, with lightkube from its package.

Run by `test_lightkube.py` in the environment that has it. Source: gtsystem/lightkube, e2e-tests/test_client.py (MIT).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from lightkube import ApiError, AsyncClient, Client, codecs
from lightkube.core.exceptions import ConditionError
from lightkube.generic_resource import (
    async_load_in_cluster_generic_resources,
    create_namespaced_resource,
    get_generic_resource,
    load_in_cluster_generic_resources,
)
from lightkube.models.core_v1 import Container, PodSpec, ServicePort, ServiceSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apiextensions_v1 import CustomResourceDefinition
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace, Node, Pod, Service
from lightkube.types import PatchType

_numbers = itertools.count()


@pytest.fixture
def name() -> str:
    return f"check-{next(_numbers)}"


@pytest.fixture
def client() -> Client:
    return Client()


def pod(name: str, *containers: str) -> Pod:
    spec = PodSpec(containers=[Container(name=each, image="busybox") for each in containers or ("main",)])
    return Pod(metadata=ObjectMeta(name=name, labels={"app-name": name}), spec=spec)


def config(name: str, **data: str) -> ConfigMap:
    return ConfigMap(apiVersion="v1", kind="ConfigMap", metadata=ObjectMeta(name=name), data=data)


def crd(name: str) -> CustomResourceDefinition:
    kind = name.replace("-", "")
    schema = {
        "type": "object",
        "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}},
    }
    return codecs.from_dict(  # type: ignore[return-value]
        {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": f"{kind}s.checks.example.com"},
            "spec": {
                "group": "checks.example.com",
                "scope": "Namespaced",
                "names": {"plural": f"{kind}s", "singular": kind, "kind": kind.capitalize()},
                "versions": [
                    {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}},
                ],
            },
        }
    )


@pytest.fixture
def defined(client: Client, name: str) -> Iterator[CustomResourceDefinition]:
    made = client.create(crd(name))
    client.wait(CustomResourceDefinition, made.metadata.name, for_conditions=["Established"])
    yield made
    client.delete(CustomResourceDefinition, made.metadata.name)


# ---- pods ----


def test_a_pod_is_watched_until_it_runs(client: Client, name: str) -> None:
    made = client.create(pod(name))
    assert (made.metadata.name, made.metadata.namespace) == (name, client.namespace)
    assert made.status.phase == "Pending"
    seen = []
    for kind, each in client.watch(Pod, labels={"app-name": name}, resource_version=made.metadata.resourceVersion):
        seen.append((kind, each.status.phase))
        if each.status.phase != "Pending":
            break
    assert seen[-1] == ("MODIFIED", "Running")
    client.delete(Pod, name)


def test_pods_of_a_namespace_are_listed(client: Client) -> None:
    assert [each.metadata.name for each in client.list(Pod, namespace="kube-system")] == ["kube-apiserver"]


def test_a_pod_that_is_not_there(client: Client) -> None:
    with pytest.raises(ApiError) as caught:
        client.get(Pod, name="nobody")
    status = caught.value.status
    assert (status.code, status.reason, status.status, status.details.name) == (404, "NotFound", "Failure", "nobody")


def test_a_pod_that_is_there_already(client: Client, name: str) -> None:
    client.create(pod(name))
    with pytest.raises(ApiError) as caught:
        client.create(pod(name))
    assert (caught.value.status.code, caught.value.status.reason) == (409, "AlreadyExists")
    client.delete(Pod, name)


def test_logs_are_followed(client: Client, name: str) -> None:
    client.create(pod(name))
    client.wait(Pod, name, for_conditions=["Ready"])
    assert next(iter(client.log(name, follow=True)))


@pytest.mark.parametrize("container", ["main", "side"])
def test_a_command_runs_in_a_container(client: Client, name: str, container: str) -> None:
    client.create(pod(name, "main", "side"))
    client.wait(Pod, name, for_conditions=["Ready"])
    done = client.exec(name, command=["cat"], container=container, stdin="hello", stdout=True, raise_on_error=True)
    assert (done.stdout, done.exit_code) == ("hello", 0)


async def test_a_command_runs_in_a_container_async(name: str) -> None:
    client = AsyncClient()
    await client.create(pod(name))
    await client.wait(Pod, name, for_conditions=["Ready"])
    done = await client.exec(name, command=["cat"], stdin="hello", stdout=True, raise_on_error=True)
    assert done.stdout == "hello"


# ---- waiting ----


def test_nodes_are_waited_for(client: Client) -> None:
    nodes = list(client.list(Node))
    assert nodes
    for node in nodes:
        found = client.get(Node, name=node.metadata.name)
        assert found.metadata.labels["kubernetes.io/os"] == found.status.nodeInfo.operatingSystem
        client.wait(Node, node.metadata.name, for_conditions=["Ready"])


async def test_nodes_are_waited_for_async() -> None:
    client = AsyncClient()
    nodes = [node async for node in client.list(Node)]
    assert nodes
    for node in nodes:
        await client.wait(Node, node.metadata.name, for_conditions=["Ready"])
    await client.close()


_CONTAINERS = {"containers": [{"name": "main", "image": "nginx"}]}
_WAITED = [
    (Pod, "Ready", _CONTAINERS),
    (
        Deployment,
        "Available",
        {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": _CONTAINERS},
        },
    ),
]


@pytest.mark.parametrize(("resource", "condition", "spec"), _WAITED, ids=("pod", "deployment"))
def test_a_condition_is_waited_for(client: Client, resource: Any, condition: str, spec: Any) -> None:
    made = client.create(resource.from_dict({"metadata": {"generateName": "check-"}, "spec": spec}))
    client.wait(resource, made.metadata.name, for_conditions=[condition])
    client.delete(resource, made.metadata.name)


@pytest.mark.parametrize(("resource", "condition", "spec"), _WAITED, ids=("pod", "deployment"))
async def test_a_condition_is_waited_for_async(resource: Any, condition: str, spec: Any) -> None:
    client = AsyncClient()
    made = await client.create(resource.from_dict({"metadata": {"generateName": "check-"}, "spec": spec}))
    await client.wait(resource, made.metadata.name, for_conditions=[condition])
    await client.delete(resource, made.metadata.name)
    await client.close()


def test_a_condition_that_ends_the_wait(client: Client, name: str) -> None:
    client.create(pod(name))
    with pytest.raises(ConditionError):
        client.wait(Pod, name, for_conditions=["Never"], raise_for_conditions=["Ready"])
    client.delete(Pod, name)


# ---- writing ----


def test_an_object_is_created_replaced_patched_and_listed(client: Client, name: str) -> None:
    made = client.create(config(name, a="1", b="2"))
    made.data["a"] = "3"
    replaced = client.replace(made)
    assert replaced.data == {"a": "3", "b": "2"}
    patched = client.patch(ConfigMap, name, {"metadata": {"labels": {"x": "y"}}})
    assert patched.metadata.labels == {"x": "y"}
    read = client.get(ConfigMap, name)
    assert (read.metadata.creationTimestamp, read.data) == (made.metadata.creationTimestamp, replaced.data)
    assert name in [each.metadata.name for each in client.list(ConfigMap)]
    with pytest.raises(ApiError) as caught:
        client.replace(made)  # of an older revision
    assert caught.value.status.code == 409
    client.delete(ConfigMap, name)


def test_a_list_is_patched_in_three_ways(client: Client, name: str) -> None:
    ports = [ServicePort(name="a", port=80, targetPort=8080)]
    client.create(Service(metadata=ObjectMeta(name=name), spec=ServiceSpec(ports=ports, selector={"a": "b"})))

    def ports_after(patch: Any, kind: PatchType = PatchType.STRATEGIC) -> list[tuple[str, int, Any]]:
        changed = client.patch(Service, name, patch, patch_type=kind)
        return sorted((port.name, port.port, port.targetPort) for port in changed.spec.ports)

    other = {"spec": {"ports": [{"name": "b", "port": 81, "targetPort": 8081}]}}
    assert ports_after(other) == [("a", 80, 8080), ("b", 81, 8081)]
    typed = Service(spec=ServiceSpec(ports=[ServicePort(name="b", port=81, targetPort=8082)]))
    assert ports_after(typed) == [("a", 80, 8080), ("b", 81, 8082)]
    assert ports_after(other, PatchType.MERGE) == [("b", 81, 8081)]
    added = [{"op": "add", "path": "/spec/ports/-", "value": {"name": "c", "port": 82, "targetPort": "web"}}]
    assert ports_after(added, PatchType.JSON) == [("b", 81, 8081), ("c", 82, "web")]
    client.delete(Service, name)


def test_what_is_applied_no_more_goes(name: str) -> None:
    client = Client(field_manager="checks")
    assert client.apply(config(name, a="1", b="2")).data == {"a": "1", "b": "2"}
    assert client.apply(config(name, b="3", c="4")).data == {"b": "3", "c": "4"}
    assert not client.apply(config(name)).data
    applied = client.patch(ConfigMap, name, config(name, a="5").to_dict(), patch_type=PatchType.APPLY)
    assert applied.data == {"a": "5"}
    with pytest.raises(ApiError) as caught:
        Client(field_manager="other").apply(config(name, a="6"))
    assert caught.value.status.details.causes[0].field == ".data.a"
    assert Client(field_manager="other").apply(config(name, a="6"), force=True).data == {"a": "6"}
    client.delete(ConfigMap, name)


# ---- collections ----


def test_a_collection_is_deleted(client: Client, name: str) -> None:
    client.create(Namespace(metadata=ObjectMeta(name=name)))
    for each in ("a", "b"):
        client.create(config(each), namespace=name)
    assert [each.metadata.name for each in client.list(ConfigMap, namespace=name)] == ["a", "b"]
    client.deletecollection(ConfigMap, namespace=name)
    assert list(client.list(ConfigMap, namespace=name)) == []
    client.delete(Namespace, name)


def test_all_namespaces_are_listed_at_once(client: Client, name: str) -> None:
    spaces = [f"{name}-a", f"{name}-b"]
    for space in spaces:
        client.create(Namespace(metadata=ObjectMeta(name=space)))
        client.create(config(name), namespace=space)
    found = [each.metadata.namespace for each in client.list(ConfigMap, namespace="*", chunk_size=1)]
    assert [space for space in found if space in spaces] == spaces
    for space in spaces:
        client.delete(Namespace, space)


# ---- custom resources ----


def test_a_custom_resource_is_kept(client: Client, defined: CustomResourceDefinition) -> None:
    names = defined.spec.names
    resource = create_namespaced_resource("checks.example.com", "v1", names.kind, names.plural)
    client.create(resource(metadata={"name": "one"}, spec={"size": 3, "pruned": "x"}))
    assert client.get(resource, "one").spec == {"size": 3}
    assert client.patch(resource, "one", {"spec": {"size": 4}}, patch_type=PatchType.MERGE).spec == {"size": 4}


def test_custom_resources_are_found_in_the_cluster(client: Client, defined: CustomResourceDefinition) -> None:
    kind = defined.spec.names.kind
    assert get_generic_resource("checks.example.com/v1", kind) is None
    load_in_cluster_generic_resources(client)
    assert get_generic_resource("checks.example.com/v1", kind) is not None


async def test_custom_resources_are_found_in_the_cluster_async(defined: CustomResourceDefinition) -> None:
    kind = defined.spec.names.kind
    assert get_generic_resource("checks.example.com/v1", kind) is None
    client = AsyncClient()
    await async_load_in_cluster_generic_resources(client)
    await client.close()
    assert get_generic_resource("checks.example.com/v1", kind) is not None

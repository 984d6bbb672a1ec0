# SPDX-License-Identifier: Apache-2.0
"""The official Python client: typed and dynamic, reading, writing, watching, waiting.

Run by `test_kubernetes.py` in the environment that has it.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from kubernetes import client, config, dynamic, utils, watch
from kubernetes.client import ApiException

_numbers = itertools.count()
_SPACE = "default"


@pytest.fixture(scope="module")
def api() -> client.ApiClient:
    return config.new_client_from_config()


@pytest.fixture(scope="module")
def core(api: client.ApiClient) -> client.CoreV1Api:
    return client.CoreV1Api(api)


@pytest.fixture(scope="module")
def dynamic_client(api: client.ApiClient) -> dynamic.DynamicClient:
    return dynamic.DynamicClient(api)


@pytest.fixture
def name() -> str:
    return f"check-{next(_numbers)}"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# ---- typed ----


def test_the_version_and_who_asks(api: client.ApiClient) -> None:
    assert client.VersionApi(api).get_code().major == "1"
    who = client.AuthenticationV1Api(api).create_self_subject_review({"metadata": {}})
    assert who.status.user_info.username == "kubernetes-admin"


def test_a_typed_object_comes_back(core: client.CoreV1Api, name: str) -> None:
    limits = client.V1ResourceRequirements(requests={"cpu": "500m"}, limits={"cpu": "1000m", "memory": "64Mi"})
    container = client.V1Container(name="main", image="nginx", resources=limits)
    body = client.V1Pod(metadata=client.V1ObjectMeta(name=name), spec=client.V1PodSpec(containers=[container]))
    made = core.create_namespaced_pod(_SPACE, body)
    assert made.spec.containers[0].resources.limits == {"cpu": "1", "memory": "64Mi"}
    assert made.metadata.creation_timestamp.tzinfo is not None
    assert made.status.qos_class == "Burstable"
    core.delete_namespaced_pod(name, _SPACE, grace_period_seconds=0)


def test_errors_say_what_and_why(core: client.CoreV1Api, name: str) -> None:
    with pytest.raises(ApiException) as absent:
        core.read_namespaced_config_map(name, _SPACE)
    assert (absent.value.status, absent.value.reason) == (404, "Not Found")
    assert f'configmaps \\"{name}\\" not found' in absent.value.body
    with pytest.raises(ApiException) as invalid:
        core.create_namespaced_config_map(_SPACE, config_map("Not_A_Name"))
    assert invalid.value.status == 422
    core.create_namespaced_config_map(_SPACE, config_map(name))
    with pytest.raises(ApiException) as doubled:
        core.create_namespaced_config_map(_SPACE, config_map(name))
    assert doubled.value.status == 409
    core.delete_namespaced_config_map(name, _SPACE)


def test_a_dry_run_leaves_nothing(core: client.CoreV1Api, name: str) -> None:
    assert core.create_namespaced_config_map(_SPACE, config_map(name), dry_run="All").metadata.uid
    with pytest.raises(ApiException) as absent:
        core.read_namespaced_config_map(name, _SPACE)
    assert absent.value.status == 404


def test_a_list_is_continued(core: client.CoreV1Api, name: str) -> None:
    for number in range(5):
        body = config_map(f"{name}-{number}")
        body["metadata"]["labels"] = {"set": name}
        core.create_namespaced_config_map(_SPACE, body)
    found: list[str] = []
    left, more = [], None
    while more != "":
        page = core.list_namespaced_config_map(_SPACE, label_selector=f"set={name}", limit=2, _continue=more)
        found += [each.metadata.name for each in page.items]
        left.append(page.metadata.remaining_item_count)
        more = page.metadata._continue or ""
    assert found == [f"{name}-{number}" for number in range(5)]
    core.delete_collection_namespaced_config_map(_SPACE, label_selector=f"set={name}")
    assert core.list_namespaced_config_map(_SPACE, label_selector=f"set={name}").items == []


def test_yaml_is_created(api: client.ApiClient, core: client.CoreV1Api, name: str) -> None:
    utils.create_from_dict(api, config_map(name, a="1"))
    assert core.read_namespaced_config_map(name, _SPACE).data == {"a": "1"}
    core.delete_namespaced_config_map(name, _SPACE)


def test_a_replacement_of_an_old_revision_is_refused(core: client.CoreV1Api, name: str) -> None:
    made = core.create_namespaced_config_map(_SPACE, config_map(name, a="1"))
    made.data = {"a": "2"}
    assert core.replace_namespaced_config_map(name, _SPACE, made).data == {"a": "2"}
    with pytest.raises(ApiException) as refused:
        core.replace_namespaced_config_map(name, _SPACE, made)
    assert refused.value.status == 409
    core.delete_namespaced_config_map(name, _SPACE)


def test_scale_and_eviction(api: client.ApiClient, core: client.CoreV1Api, name: str) -> None:
    apps = client.AppsV1Api(api)
    template = {"metadata": {"labels": {"a": name}}, "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
    spec = {"selector": {"matchLabels": {"a": name}}, "template": template}
    apps.create_namespaced_deployment(_SPACE, {"metadata": {"name": name}, "spec": spec})
    scaled = apps.patch_namespaced_deployment_scale(name, _SPACE, {"spec": {"replicas": 3}})
    assert (scaled.spec.replicas, scaled.status.selector) == (3, f"a={name}")
    apps.delete_namespaced_deployment(name, _SPACE, propagation_policy="Background")
    core.create_namespaced_pod(_SPACE, {"metadata": {"name": name}, "spec": template["spec"]})
    core.create_namespaced_pod_eviction(name, _SPACE, {"metadata": {"name": name}})
    token = core.create_namespaced_service_account("default", {"metadata": {"name": name}})
    assert token.metadata.name == name
    asked = core.create_namespaced_service_account_token(name, _SPACE, {"spec": {"audiences": ["x"]}})
    assert asked.status.token.count(".") == 2


# ---- dynamic ----


def test_resources_are_discovered(dynamic_client: dynamic.DynamicClient) -> None:
    deployments = dynamic_client.resources.get(api_version="apps/v1", kind="Deployment")
    assert (deployments.name, deployments.namespaced) == ("deployments", True)
    assert "scale" in deployments.subresources
    assert dynamic_client.resources.get(short_names=["cm"]).kind == "ConfigMap"
    assert dynamic_client.version["kubernetes"]["major"] == "1"


@pytest.mark.parametrize(
    ("media_type", "patch", "ports"),
    [
        ("application/strategic-merge-patch+json", {"spec": {"ports": [{"port": 81, "name": "b"}]}}, [81, 80]),
        ("application/merge-patch+json", {"spec": {"ports": [{"port": 81, "name": "b"}]}}, [81]),
        ("application/json-patch+json", [{"op": "replace", "path": "/spec/ports/0/port", "value": 82}], [82]),
        (
            "application/json-patch+json",
            [
                {"op": "test", "path": "/spec/ports/0/name", "value": "a"},
                {"op": "add", "path": "/spec/ports/-", "value": {"name": "c", "port": 83}},
            ],
            [80, 83],
        ),
    ],
    ids=("strategic", "merge", "json", "json-test"),
)
def test_each_kind_of_patch(
    dynamic_client: dynamic.DynamicClient, name: str, media_type: str, patch: Any, ports: list[int]
) -> None:
    services = dynamic_client.resources.get(api_version="v1", kind="Service")
    services.create({"metadata": {"name": name}, "spec": {"ports": [{"name": "a", "port": 80}]}}, namespace=_SPACE)
    changed = services.patch(patch, name=name, namespace=_SPACE, content_type=media_type)
    assert [port.port for port in changed.spec.ports] == ports
    services.delete(name=name, namespace=_SPACE)


def test_applied_fields_have_an_owner(dynamic_client: dynamic.DynamicClient, name: str) -> None:
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")

    def apply(manager: str, force: bool = False, **data: str) -> Any:
        return maps.server_side_apply(
            config_map(name, **data), name=name, namespace=_SPACE, field_manager=manager, force_conflicts=force
        )

    made = apply("one", a="1", b="2")
    assert [(owner.manager, owner.operation) for owner in made.metadata.managedFields] == [("one", "Apply")]
    assert apply("two", c="3").data.to_dict() == {"a": "1", "b": "2", "c": "3"}
    with pytest.raises(dynamic.exceptions.ConflictError) as clash:
        apply("two", a="4", c="3")
    assert 'conflict with \\"one\\": .data.a' in clash.value.body
    assert apply("two", force=True, a="4", c="3").data.a == "4"
    assert apply("one").data.to_dict() == {"a": "4", "c": "3"}
    maps.delete(name=name, namespace=_SPACE)


def test_a_typo_is_named(dynamic_client: dynamic.DynamicClient, name: str) -> None:
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    strict = [("fieldValidation", "Strict")]
    with pytest.raises(dynamic.exceptions.BadRequestError) as refused:
        maps.create({**config_map(name), "dada": {}}, namespace=_SPACE, query_params=strict)
    assert 'strict decoding error: unknown field \\"dada\\"' in refused.value.body


def test_a_custom_resource_appears_and_is_kept(dynamic_client: dynamic.DynamicClient, api: client.ApiClient) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "gadgets", "singular": "gadget", "kind": "Gadget"}
    spec = {"group": "official.example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    definitions = client.ApiextensionsV1Api(api)
    definitions.create_custom_resource_definition({"metadata": {"name": "gadgets.official.example.com"}, "spec": spec})
    seen = watch.Watch()
    for event in seen.stream(definitions.list_custom_resource_definition, timeout_seconds=30):
        conditions = event["object"].status.conditions or ()
        if any(each.type == "Established" and each.status == "True" for each in conditions):
            seen.stop()
    gadgets = dynamic_client.resources.get(api_version="official.example.com/v1", kind="Gadget")
    body = {"apiVersion": "official.example.com/v1", "kind": "Gadget", "metadata": {"name": "g"}, "spec": {"size": 3}}
    assert gadgets.create(body, namespace=_SPACE).spec.size == 3
    objects = client.CustomObjectsApi(api)
    place = ("official.example.com", "v1", _SPACE, "gadgets", "g")
    assert objects.patch_namespaced_custom_object(*place, {"spec": {"size": 4}})["spec"] == {"size": 4}
    with pytest.raises(ApiException) as wrong:
        objects.patch_namespaced_custom_object(*place, {"spec": {"size": "x"}})
    assert wrong.value.status == 422
    definitions.delete_custom_resource_definition("gadgets.official.example.com")


# ---- watching ----


def test_a_watch_sees_what_happens_after_a_list(core: client.CoreV1Api, name: str) -> None:
    start = core.list_namespaced_config_map(_SPACE).metadata.resource_version
    core.create_namespaced_config_map(_SPACE, config_map(name, a="1"))
    core.patch_namespaced_config_map(name, _SPACE, {"data": {"a": "2"}})
    core.delete_namespaced_config_map(name, _SPACE)
    stream = watch.Watch().stream(
        core.list_namespaced_config_map,
        _SPACE,
        field_selector=f"metadata.name={name}",
        resource_version=start,
        timeout_seconds=2,
    )
    events = [(event["type"], event["object"].data) for event in stream]
    assert events == [("ADDED", {"a": "1"}), ("MODIFIED", {"a": "2"}), ("DELETED", {"a": "2"})]


def test_a_watch_that_ended_is_resumed(core: client.CoreV1Api, name: str) -> None:
    """The server ends it after a second; the client asks from the last revision: nothing is lost or comes twice."""
    start = core.list_namespaced_config_map(_SPACE).metadata.resource_version
    core.create_namespaced_config_map(_SPACE, config_map(name, at="0"))
    watching, seen = watch.Watch(), []
    for number in range(1, 4):
        events = watching.stream(
            core.list_namespaced_config_map,
            _SPACE,
            resource_version=watching.resource_version or start,
            field_selector=f"metadata.name={name}",
            timeout_seconds=1,
        )
        seen += [(event["type"], event["object"].data["at"]) for event in events]
        core.patch_namespaced_config_map(name, _SPACE, {"data": {"at": str(number)}})
    assert seen == [("ADDED", "0"), ("MODIFIED", "1"), ("MODIFIED", "2")]
    core.delete_namespaced_config_map(name, _SPACE)


def test_a_dynamic_watch_waits_for_a_pod(dynamic_client: dynamic.DynamicClient, name: str) -> None:
    pods = dynamic_client.resources.get(api_version="v1", kind="Pod")
    body = {"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "nginx"}]}}
    pods.create(body, namespace=_SPACE)
    for event in pods.watch(namespace=_SPACE, name=name, timeout=30):
        if event["object"].status.phase == "Running":
            break
    else:
        pytest.fail("the pod did not run")
    assert "watch" in pods.verbs
    assert pods.get(name=name, namespace=_SPACE).status.conditions[0].status == "True"
    pods.delete(name=name, namespace=_SPACE)


def test_a_watch_begins_with_what_is_there(dynamic_client: dynamic.DynamicClient, name: str) -> None:
    """A streamed list: the objects, then a bookmark that says that these were all, then what happens."""
    maps = dynamic_client.resources.get(api_version="v1", kind="ConfigMap")
    for each in ("a", "b"):
        labelled = config_map(f"{name}-{each}")
        labelled["metadata"]["labels"] = {"set": name}
        maps.create(labelled, namespace=_SPACE)
    watching = maps.watch(
        namespace=_SPACE,
        label_selector=f"set={name}",
        timeout=30,
        allow_watch_bookmarks=True,
        send_initial_events=True,
        resource_version_match="NotOlderThan",
    )
    first = [next(watching) for _ in range(3)]
    assert [event["type"] for event in first] == ["ADDED", "ADDED", "BOOKMARK"]
    assert first[2]["object"].metadata.annotations["k8s.io/initial-events-end"] == "true"
    maps.delete(name=f"{name}-a", namespace=_SPACE)
    last = next(watching)
    assert (last["type"], last["object"].metadata.name) == ("DELETED", f"{name}-a")
    watching.close()

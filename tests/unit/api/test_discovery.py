# SPDX-License-Identifier: Apache-2.0
"""Documents of discovery: what clients learn to be served."""

from __future__ import annotations

import orjson

from kubesched.api import discovery, kinds
from kubesched.api.kinds import Kind, Registry, Subresource


def served(*custom):
    return Registry([*kinds.built_in(), *custom])


def widgets(version="v1"):
    return Kind(
        "example.com",
        version,
        "widgets",
        "Widget",
        "widget",
        short_names=("wd",),
        categories=("all",),
        subresources={"status": Subresource("status", frozenset({"get", "patch", "update"}))},
        list_kind="WidgetList",
        prefix="example.com/widgets/",
        storage_version="example.com/v1",
        custom=True,
    )


def test_groups_and_versions():
    groups = orjson.loads(discovery.group_list(served()))["groups"]
    assert [group["name"] for group in groups[:3]] == ["apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert len(groups) == 20
    autoscaling = {"groupVersion": "autoscaling/v2", "version": "v2"}
    found = orjson.loads(discovery.group(served(), "autoscaling"))
    assert found["preferredVersion"] == autoscaling
    assert found["versions"] == [autoscaling, {"groupVersion": "autoscaling/v1", "version": "v1"}]
    assert discovery.group(served(), "example.com") is None
    assert discovery.group(served(), "") is None
    assert orjson.loads(discovery.api_versions("h:1"))["versions"] == ["v1"]


def test_resources_of_a_version():
    found = orjson.loads(discovery.resource_list(served(), "", "v1"))
    by_name = {row["name"]: row for row in found["resources"]}
    assert found["groupVersion"] == "v1"
    assert by_name["pods"]["shortNames"] == ["po"]
    assert by_name["pods/eviction"] == {
        "name": "pods/eviction",
        "singularName": "",
        "namespaced": True,
        "group": "policy",
        "version": "v1",
        "kind": "Eviction",
        "verbs": ["create"],
    }
    assert by_name["configmaps"]["storageVersionHash"] == "qFsyl6wFWjQ="
    assert "storageVersionHash" not in by_name["bindings"]
    assert list(by_name) == sorted(by_name)
    assert discovery.resource_list(served(), "", "v2") is None


def test_versions_that_share_objects_have_one_storage_version():
    hashes = set()
    for version in ("v1", "v2"):
        rows = orjson.loads(discovery.resource_list(served(), "autoscaling", version))["resources"]
        hashes |= {row["storageVersionHash"] for row in rows if "/" not in row["name"]}
    assert hashes == {"qwQve8ut294="}


def test_everything_in_one_document():
    for version in discovery.AGGREGATED_VERSIONS:
        core = orjson.loads(discovery.aggregated(served(), "api", version))
        assert core["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        assert len(core["items"]) == 1
        assert core["items"][0]["versions"][0]["version"] == "v1"
    groups = orjson.loads(discovery.aggregated(served(widgets()), "apis"))["items"]
    assert groups[-1]["metadata"] == {"name": "example.com"}
    (resource,) = groups[-1]["versions"][0]["resources"]
    gvk = {"group": "example.com", "version": "v1", "kind": "Widget"}
    assert resource == {
        "resource": "widgets",
        "responseKind": gvk,
        "scope": "Namespaced",
        "singularResource": "widget",
        "verbs": sorted(kinds.ALL_VERBS),
        "shortNames": ["wd"],
        "categories": ["all"],
        "subresources": [{"subresource": "status", "responseKind": gvk, "verbs": ["get", "patch", "update"]}],
    }


def test_both_forms_say_the_same():
    registry = served(widgets())
    for item in orjson.loads(discovery.aggregated(registry, "apis"))["items"]:
        for version in item["versions"]:
            plain = orjson.loads(discovery.resource_list(registry, item["metadata"]["name"], version["version"]))
            names = [
                name
                for row in version["resources"]
                for name in (
                    row["resource"],
                    *(f"{row['resource']}/{sub['subresource']}" for sub in row.get("subresources", ())),
                )
            ]
            assert [row["name"] for row in plain["resources"]] == names


def test_custom_kinds_appear_and_vanish():
    registry = served(widgets("v1beta1"), widgets("v1"))
    found = orjson.loads(discovery.group(registry, "example.com"))
    assert found["preferredVersion"]["version"] == "v1"
    registry.remove("example.com", "v1", "widgets")
    registry.remove("example.com", "v1beta1", "widgets")
    assert discovery.group(registry, "example.com") is None
    assert b"example.com" not in discovery.aggregated(registry, "apis")

# SPDX-License-Identifier: Apache-2.0
"""The table of kinds, against the published list of resources, and the registry."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from kubesched.api import kinds, schema
from kubesched.api.kinds import Kind, Registry

_RESOURCES = Path(__file__).parents[4] / "shared" / "data" / "openapi" / "resources.csv"


def _published():
    if not _RESOURCES.exists():
        pytest.skip("the published list of resources is not here")
    with _RESOURCES.open() as file:
        return [row for row in csv.DictReader(file) if re.fullmatch(r"v\d+", row["version"])]


def test_every_generally_available_resource_is_served_as_published():
    published = {
        ("" if row["group"] == "core" else row["group"], row["version"], row["resource"]): (
            row["kind"],
            row["singular"],
            row["namespaced"] == "true",
            sorted(row["verbs"].split()),
            sorted(row["subresources"].split()),
            row["shortnames"].split(),
            row["categories"].split(),
        )
        for row in _published()
    }
    served = {
        (r.group, r.version, r.plural): (
            r.kind,
            r.singular,
            r.namespaced,
            sorted(r.verbs),
            sorted(f"{sub.name}:{'+'.join(sorted(sub.verbs))}" for sub in r.subresources.values()),
            list(r.short_names),
            list(r.categories),
        )
        for r in kinds.built_in()
    }
    assert served == published
    assert len(served) == 68


def test_every_kind_has_a_type():
    for resource in kinds.built_in():
        assert "metadata" in resource.type.fields, resource.kind
        assert schema.of(resource.group, resource.version, resource.kind).name.endswith(f".{resource.kind}")
        for sub in resource.subresources.values():
            if sub.version:
                assert schema.of(sub.group, sub.version, sub.kind).name.endswith(f".{sub.kind}")


def test_versions_that_share_objects_share_keys():
    served = Registry(kinds.built_in())
    new, old = served.find("events.k8s.io", "v1", "events"), served.find("", "v1", "events")
    assert new.prefix == old.prefix == "core/events/"
    assert new.storage_version == old.storage_version == "v1"
    one, two = (served.find("autoscaling", v, "horizontalpodautoscalers") for v in ("v1", "v2"))
    assert one.prefix == two.prefix
    assert one.storage_version == two.storage_version == "autoscaling/v2"
    assert served.find("", "v1", "bindings").virtual
    stored = [r.prefix for r in served if r.prefix]
    assert len(set(stored)) == len(stored) - 2


def test_keys():
    served = Registry(kinds.built_in())
    assert served.find("", "v1", "pods").key("default", "web") == "core/pods/default/web"
    assert served.find("", "v1", "nodes").key("", "n1") == "core/nodes/n1"


def test_order():
    served = Registry(kinds.built_in())
    assert served.groups()[:4] == ["", "apiregistration.k8s.io", "apps", "events.k8s.io"]
    assert served.groups()[-1] == "flowcontrol.apiserver.k8s.io"
    assert served.versions("autoscaling") == ["v2", "v1"]
    assert sorted(["v1beta1", "v2", "v10", "foo", "v1", "v1alpha1"], key=kinds.version_order) == [
        "v10",
        "v2",
        "v1",
        "v1beta1",
        "v1alpha1",
        "foo",
    ]


def _custom(version: str, plural: str = "widgets") -> Kind:
    return Kind("example.com", version, plural, "Widget", "widget", prefix="example.com/widgets/", custom=True)


def test_custom_kinds_come_and_go():
    served = Registry(kinds.built_in())
    before = served.generation
    served.add(_custom("v1beta1"))
    served.add(_custom("v1"))
    assert served.generation == before + 2
    assert served.groups()[-1] == "example.com"
    assert served.versions("example.com") == ["v1", "v1beta1"]
    assert served.of_kind("example.com", "v1", "Widget").plural == "widgets"
    served.remove("example.com", "v1", "widgets")
    served.remove("example.com", "v1beta1", "widgets")
    served.remove("example.com", "v1beta1", "widgets")
    assert "example.com" not in served.groups()
    assert served.find("example.com", "v1", "widgets") is None
    assert served.versions("example.com") == []
    assert served.generation == before + 4


def test_api_versions():
    assert kinds.split_api_version("apps/v1") == ("apps", "v1")
    assert kinds.split_api_version("v1") == ("", "v1")
    assert kinds.api_version("", "v1") == "v1"
    assert kinds.api_version("apps", "v1") == "apps/v1"

# SPDX-License-Identifier: Apache-2.0
"""What clients read to learn what is served: the documents of /api and /apis, from the registry of kinds.

Source: apimachinery/pkg/apis/meta/v1, k8s.io/api/apidiscovery and apiserver/pkg/endpoints/discovery, v1.36.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from typing import Any

import orjson

from kubesched.api.kinds import Kind, Registry, Subresource, api_version, split_api_version

AGGREGATED_VERSIONS = ("v2", "v2beta1")
"""Of APIGroupDiscoveryList; the older one is what kubectl before 1.30 asks for."""


# ---- one document for each group and version ----


def api_versions(server_address: str) -> bytes:
    """``/api``: the versions of the core group."""
    addresses = [{"clientCIDR": "0.0.0.0/0", "serverAddress": server_address}]
    return orjson.dumps({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": addresses})


def group_list(kinds: Registry) -> bytes:
    """``/apis``: all groups but core."""
    groups = [_group(kinds, group) for group in kinds.groups() if group]
    return orjson.dumps({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})


def group(kinds: Registry, name: str) -> bytes | None:
    """``/apis/GROUP``: its versions; None if it is not served."""
    if not name or not kinds.versions(name):
        return None
    return orjson.dumps({"kind": "APIGroup", "apiVersion": "v1", **_group(kinds, name)})


def _group(kinds: Registry, name: str) -> dict[str, Any]:
    versions = [{"groupVersion": api_version(name, version), "version": version} for version in kinds.versions(name)]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(kinds: Registry, group: str, version: str) -> bytes | None:
    """``/api/v1``, ``/apis/GROUP/VERSION``: its resources and subresources; None if it is not served."""
    found = kinds.resources(group, version)
    if not found:
        return None
    resources = [row for kind in found for row in _resources(kind)]
    body = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version)}
    return orjson.dumps({**body, "resources": resources})


def _resources(kind: Kind) -> Iterator[dict[str, Any]]:
    row: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    if not kind.virtual:
        row["storageVersionHash"] = storage_version_hash(*split_api_version(kind.storage_version), kind.kind)
    yield row
    for sub in _subresources(kind):
        other = {"group": sub.group, "version": sub.version} if sub.version else {}
        yield {
            "name": f"{kind.plural}/{sub.name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            **other,
            "kind": sub.kind or kind.kind,
            "verbs": sorted(sub.verbs),
        }


def _subresources(kind: Kind) -> list[Subresource]:
    return sorted(kind.subresources.values(), key=lambda sub: sub.name)


def storage_version_hash(group: str, version: str, kind: str) -> str:
    """What tells clients that objects are kept in another version than before."""
    digest = hashlib.sha256(f"{group}/{version}/{kind}".encode()).digest()
    return base64.b64encode(digest[:8]).decode()


# ---- everything in one document ----


def aggregated(kinds: Registry, root: str, version: str = "v2") -> bytes:
    """``/api`` or ``/apis`` as one APIGroupDiscoveryList.

    Parameters
    ----------
    kinds
        What is served.
    root
        ``api`` is the core group alone, ``apis`` all others.
    version
        One of `AGGREGATED_VERSIONS`.
    """
    items = [_aggregated_group(kinds, group) for group in kinds.groups() if (group == "") is (root == "api")]
    head = {"kind": "APIGroupDiscoveryList", "apiVersion": f"apidiscovery.k8s.io/{version}", "metadata": {}}
    return orjson.dumps({**head, "items": items})


def _aggregated_group(kinds: Registry, group: str) -> dict[str, Any]:
    versions = [
        {
            "version": version,
            "resources": [_aggregated_resource(kind) for kind in kinds.resources(group, version)],
            "freshness": "Current",
        }
        for version in kinds.versions(group)
    ]
    return {"metadata": {"name": group} if group else {}, "versions": versions}


def _aggregated_resource(kind: Kind) -> dict[str, Any]:
    row: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": _response_kind(kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": sorted(kind.verbs),
    }
    if kind.short_names:
        row["shortNames"] = list(kind.short_names)
    if kind.categories:
        row["categories"] = list(kind.categories)
    if kind.subresources:
        row["subresources"] = [_aggregated_subresource(kind, sub) for sub in _subresources(kind)]
    return row


def _aggregated_subresource(kind: Kind, sub: Subresource) -> dict[str, Any]:
    return {"subresource": sub.name, "responseKind": _response_kind(kind, sub), "verbs": sorted(sub.verbs)}


def _response_kind(kind: Kind, sub: Subresource | None = None) -> dict[str, str]:
    """Group and version are named where they are not the document's own, and for custom resources."""
    if sub is not None and sub.version:
        return {"group": sub.group, "version": sub.version, "kind": sub.kind}
    name = (sub.kind if sub is not None else "") or kind.kind
    if kind.custom:
        return {"group": kind.group, "version": kind.version, "kind": name}
    return {"group": "", "version": "", "kind": name}

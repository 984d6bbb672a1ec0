# SPDX-License-Identifier: Apache-2.0
"""What a cluster has before anybody made anything: namespaces, the API server's own Service, priority classes, roles.

Source: pkg/controlplane/controller, pkg/registry/scheduling/rest and pkg/registry/rbac/rest, v1.36.
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING

from kubesched.api import shared, status
from kubesched.api.groups.core import endpoints
from kubesched.api.strategy import Object
from kubesched.apiserver import addresses
from kubesched.apiserver.authorization import defaults, policy, rules

if TYPE_CHECKING:
    from kubesched.apiserver.app import App

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_CLASSES = (
    (
        "system-node-critical",
        2000001000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
    (
        "system-cluster-critical",
        2000000000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
)


async def prepare(app: App, address: str = "127.0.0.1", port: int = 6443) -> None:
    """Make what is missing; the rest is left as it is.

    Parameters
    ----------
    app
        The server.
    address, port
        Where it is reached; the endpoint of the Service ``kubernetes``, unless only this machine reaches it.
    """
    for name in _NAMESPACES:
        await _ensure(app, "", "v1", "namespaces", "", {"metadata": {"name": name}})
    for name, value, description in _CLASSES:
        obj = {"metadata": {"name": name}, "value": value, "description": description}
        await _ensure(app, "scheduling.k8s.io", "v1", "priorityclasses", "", obj)
    first = str(ipaddress.IPv4Network(addresses.NETWORK)[1])
    service: Object = {
        "metadata": {"name": "kubernetes", "labels": {"component": "apiserver", "provider": "kubernetes"}},
        "spec": {
            "clusterIP": first,
            "clusterIPs": [first],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
            "type": "ClusterIP",
        },
    }
    await _ensure(app, "", "v1", "services", "default", service)
    if endpoints.address_errors(address):
        return  # nothing could reach it from elsewhere: the Service has no endpoint, as upstream's on such an address
    found: Object = {
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{"addresses": [{"ip": address}], "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    }
    await _ensure(app, "", "v1", "endpoints", "default", found)


async def grant(app: App) -> None:
    """Make the roles and bindings that are missing; those that are there get back the rules and subjects they lack.

    Who has annotated one with ``autoupdate: false`` keeps it as it is. All are written at once.
    """
    found = [*defaults.roles(), *defaults.bindings()]
    await asyncio.gather(*(_grant(app, obj) for obj in found))


async def _grant(app: App, obj: Object) -> None:
    kind, metadata = policy.RESOURCES[obj["kind"]], obj["metadata"]
    namespace = metadata.get("namespace", "")
    if await _ensure(app, policy.GROUP, "v1", kind, namespace, shared.plain(obj)):
        return
    resource = app.resource_of(policy.GROUP, "v1", kind)
    await resource.update(namespace, metadata["name"], lambda live: _completed(live, obj))


def _completed(live: Object, wanted: Object) -> Object:
    """With what it lacks; what comes out as it was is not written."""
    if (live["metadata"].get("annotations") or {}).get(defaults.AUTO_UPDATE) == "false":
        return live
    for field, missing in (("rules", _missing_rules), ("subjects", _missing_subjects)):
        if added := missing(live, wanted):
            live[field] = [*(live.get(field) or ()), *added]
    return live


def _missing_rules(live: Object, wanted: Object) -> list[Object]:
    owned = [rules.ready(rule) for rule in live.get("rules") or ()]
    return [rule for rule in wanted.get("rules", ()) if rules.missing(owned, [rule])]


def _missing_subjects(live: Object, wanted: Object) -> list[Object]:
    there = live.get("subjects") or ()
    return [subject for subject in wanted.get("subjects", ()) if subject not in there]


async def _ensure(app: App, group: str, version: str, plural: str, namespace: str, obj: Object) -> bool:
    """Make an object, unless one of its name is there; whether it was made."""
    resource = app.resource_of(group, version, plural)
    obj = {"kind": resource.kind.kind, "apiVersion": resource.kind.api_version, **obj}
    if namespace:
        obj["metadata"]["namespace"] = namespace
    resource.strategy.default(obj)
    try:
        await resource.create(obj, namespace)
    except status.StatusError as error:
        if error.reason != "AlreadyExists":
            raise
        return False
    return True

# SPDX-License-Identifier: Apache-2.0
"""Who else has a say in a write: plugins that may change an object, then plugins that may refuse it.

Source: apiserver/pkg/admission and its plugins, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kubesched.api import shared, status
from kubesched.api.options import WriteOptions
from kubesched.api.strategy import Object
from kubesched.apiserver.endpoint import Endpoint
from kubesched.apiserver.message import Request
from kubesched.apiserver.resource import Change, Resource


@dataclass(slots=True)
class Attributes:
    """One write: ``new`` is None on delete, ``old`` on create."""

    endpoint: Endpoint
    request: Request
    options: WriteOptions
    new: Object | None
    old: Object | None

    @property
    def operation(self) -> str:
        if self.new is None:
            return "DELETE"
        return "CREATE" if self.old is None else "UPDATE"


class Plugin(Protocol):
    async def admit(self, attributes: Attributes) -> None:
        """Change ``attributes.new`` in place, or raise StatusError."""

    async def validate(self, attributes: Attributes) -> None:
        """Raise StatusError to refuse."""


class Chain:
    """Plugins in their order."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = tuple(plugins)

    def __call__(self, endpoint: Endpoint, request: Request, options: WriteOptions) -> Change:
        async def admit(new: Object, old: Object | None) -> None:
            attributes = Attributes(endpoint, request, options, new, old)
            for plugin in self._plugins:
                await plugin.admit(attributes)

        async def validate(new: Object | None, old: Object | None) -> None:
            attributes = Attributes(endpoint, request, options, new, old)
            for plugin in self._plugins:
                await plugin.validate(attributes)

        return Change(admit, validate)


_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class NamespaceLifecycle:
    """Nothing is created in a namespace that is not there, or is ending; three namespaces stay."""

    def __init__(self, resource_of: Callable[[str, str, str], Resource]) -> None:
        self._resource_of = resource_of

    async def admit(self, attributes: Attributes) -> None:
        endpoint = attributes.endpoint
        if attributes.operation != "CREATE" or not endpoint.resource.kind.namespaced:
            return
        namespaces = self._resource_of("", "v1", "namespaces")
        entry = await namespaces.get("", endpoint.namespace)
        if namespaces.note(entry).fields.get("status.phase") != "Terminating":
            return
        where = endpoint.namespace
        kind = endpoint.resource.kind
        name = (attributes.new or {}).get("metadata", {}).get("name", "")
        why = f"unable to create new content in namespace {where} because it is being terminated"
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {where} is being terminated",
            "field": "metadata.namespace",
        }
        raise status.forbidden(kind.group, kind.plural, name, why, causes=[cause])

    async def validate(self, attributes: Attributes) -> None:
        endpoint = attributes.endpoint
        kind = endpoint.resource.kind
        if attributes.operation != "DELETE" or (kind.group, kind.plural) != ("", "namespaces"):
            return
        name = attributes.old["metadata"]["name"] if attributes.old else ""
        if name in _IMMORTAL:
            raise status.forbidden("", "namespaces", name, "this namespace may not be deleted")


_OUTAGES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_OUTAGE_S = 300  # upstream's default for both


class DefaultTolerationSeconds:
    """Pods stay five minutes on a node that is not ready or cannot be reached, unless they say how long themselves."""

    async def admit(self, attributes: Attributes) -> None:
        endpoint, pod = attributes.endpoint, attributes.new
        kind = endpoint.resource.kind
        if pod is None or endpoint.subresource or (kind.group, kind.plural) != ("", "pods"):
            return
        pod["spec"] = shared.change(pod.get("spec", {}), _tolerate)

    async def validate(self, attributes: Attributes) -> None:
        pass


def _tolerate(spec: Object) -> None:
    own = spec.get("tolerations") or []
    told = {one.get("key", "") for one in own if one.get("effect", "") in ("", "NoExecute")}
    added = [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _OUTAGE_S}
        for taint in _OUTAGES
        if told.isdisjoint((taint, ""))
    ]
    if added:
        spec["tolerations"] = [*own, *added]

# SPDX-License-Identifier: Apache-2.0
"""Who else has a say in a write: plugins that may change an object, then plugins that may refuse it.

Source: apiserver/pkg/admission and its plugins, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

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
    """Somebody who has a say."""

    @property
    def resource(self) -> tuple[str, str] | None:
        """Group and plural of the only resource whose writes it wants to see; None: those of all."""


class Changing(Plugin, Protocol):
    async def admit(self, attributes: Attributes) -> None:
        """Change ``attributes.new`` in place, or raise StatusError."""


class Refusing(Plugin, Protocol):
    async def validate(self, attributes: Attributes) -> None:
        """Raise StatusError to refuse."""


P = TypeVar("P", bound=Plugin)


def _by_resource(plugins: Sequence[P]) -> dict[tuple[str, str] | None, tuple[P, ...]]:
    """Who is asked about each resource that somebody names; under None, about every other."""
    named = {None, *(plugin.resource for plugin in plugins)}
    return {name: tuple(plugin for plugin in plugins if plugin.resource in (None, name)) for name in named}


class Chain:
    """Plugins in their order."""

    def __init__(self, changing: Sequence[Changing], refusing: Sequence[Refusing]) -> None:
        self._changing, self._refusing = _by_resource(changing), _by_resource(refusing)

    def __call__(self, endpoint: Endpoint, request: Request, options: WriteOptions) -> Change:
        kind = endpoint.resource.kind
        named = kind.group, kind.plural
        changing = self._changing.get(named) or self._changing[None]
        refusing = self._refusing.get(named) or self._refusing[None]

        async def admit(new: Object, old: Object | None) -> None:
            attributes = Attributes(endpoint, request, options, new, old)
            for plugin in changing:
                await plugin.admit(attributes)

        async def validate(new: Object | None, old: Object | None) -> None:
            attributes = Attributes(endpoint, request, options, new, old)
            for plugin in refusing:
                await plugin.validate(attributes)

        return Change(admit if changing else None, validate if refusing else None, request.size)


class NamespaceLifecycle:
    """Nothing is created in a namespace that is not there, or is ending."""

    resource = None

    def __init__(self, namespaces: Resource) -> None:
        self._namespaces = namespaces

    async def admit(self, attributes: Attributes) -> None:
        endpoint = attributes.endpoint
        if attributes.operation != "CREATE" or not endpoint.resource.kind.namespaced:
            return
        entry = await self._namespaces.get("", endpoint.namespace)
        if self._namespaces.note(entry).fields.get("status.phase") != "Terminating":
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


_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})


class ImmortalNamespaces:
    """Three namespaces stay."""

    resource = ("", "namespaces")

    async def validate(self, attributes: Attributes) -> None:
        if attributes.operation != "DELETE":
            return
        name = attributes.old["metadata"]["name"] if attributes.old else ""
        if name in _IMMORTAL:
            raise status.forbidden("", "namespaces", name, "this namespace may not be deleted")


_OUTAGES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_OUTAGE_S = 300  # upstream's default for both


class DefaultTolerationSeconds:
    """Pods stay five minutes on a node that is not ready or cannot be reached, unless they say how long themselves."""

    resource = ("", "pods")

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.new
        if pod is not None and not attributes.endpoint.subresource:
            pod["spec"] = shared.change(pod.get("spec", {}), _tolerate)


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

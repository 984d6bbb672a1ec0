# SPDX-License-Identifier: Apache-2.0
"""Namespaces: what may be made in them, and which stay.

Source: apiserver/pkg/admission/plugin/namespace/lifecycle, v1.36.
"""

from __future__ import annotations

from kubesched.api import status
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.resource import Resource


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

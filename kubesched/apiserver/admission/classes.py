# SPDX-License-Identifier: Apache-2.0
"""Claims and Ingresses that name no class, and claims that grow.

Source: plugin/pkg/admission/{storage,network}, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubesched.api import quantity
from kubesched.api.columns import at
from kubesched.api.groups import networking, storage, traffic
from kubesched.api.groups.core import persistent
from kubesched.api.status import StatusError
from kubesched.api.strategy import Object
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.resource import Resource


class DefaultClass:
    """What names no class gets the newest that is annotated as the default.

    Parameters
    ----------
    resource
        Group and plural of what gets one.
    field
        Of its specification.
    annotation
        With which it names one in the old way.
    classes
        What there is to choose from.
    marks
        Annotations of which ``"true"`` marks the default.
    """

    def __init__(
        self, resource: tuple[str, str], field: str, annotation: str, classes: Resource, marks: Sequence[str]
    ) -> None:
        self.resource = resource
        self._field, self._annotation = field, annotation
        self._classes, self._marks = classes, tuple(marks)

    async def admit(self, attributes: Attributes) -> None:
        new = attributes.new
        if new is None or attributes.old is not None or attributes.endpoint.subresource:
            return
        spec = new.setdefault("spec", {})
        if self._field in spec or self._annotation in (new["metadata"].get("annotations") or {}):
            return
        default = await self._default()
        if default:
            spec[self._field] = default

    async def _default(self) -> str:
        found: list[Object] = [one["metadata"] for one in await self._classes.all()]
        marked = [one for one in found if any((one.get("annotations") or {}).get(m) == "true" for m in self._marks)]
        newest = max((one["creationTimestamp"] for one in marked), default="")
        return next((one["name"] for one in marked if one["creationTimestamp"] == newest), "")


def default_storage_class(classes: Resource) -> DefaultClass:
    """Of claims."""
    return DefaultClass(
        ("", "persistentvolumeclaims"), "storageClassName", persistent.OLD_CLASS, classes, storage.DEFAULT_MARKS
    )


def default_ingress_class(classes: Resource) -> DefaultClass:
    """Of Ingresses."""
    resource = ("networking.k8s.io", "ingresses")
    return DefaultClass(resource, "ingressClassName", traffic.OLD_CLASS, classes, [networking.DEFAULT_MARK])


class ClaimResize:
    """Only what is bound grows, and only if its class says that it may."""

    resource = ("", "persistentvolumeclaims")

    def __init__(self, classes: Resource) -> None:
        self._classes = classes

    async def validate(self, attributes: Attributes) -> None:
        new, old = attributes.new, attributes.old
        if new is None or old is None or attributes.endpoint.subresource or _size(new) <= _size(old):
            return
        if (old.get("status") or {}).get("phase") != "Bound":
            raise attributes.refusal("Only bound persistent volume claims can be expanded")
        name = persistent.class_of(new)
        if not name or name != persistent.class_of(old) or not await self._may_grow(name):
            raise attributes.refusal(
                "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must "
                "support resize"
            )

    async def _may_grow(self, name: str) -> bool:
        try:
            found = self._classes.decode(await self._classes.get("", name))
        except StatusError:
            return False
        return found.get("allowVolumeExpansion") is True


def _size(claim: Object) -> int:
    return quantity.parse_nano(str(at(claim, "spec", "resources", "requests", "storage") or "0"))

# SPDX-License-Identifier: Apache-2.0
"""What a request is about, looked up once: resource, names, type, who may have a say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from kubesched.api import managed
from kubesched.api.options import WriteOptions
from kubesched.api.schema import Type
from kubesched.api.strategy import Object
from kubesched.apiserver import negotiate
from kubesched.apiserver.message import Request
from kubesched.apiserver.resource import NO_ADMISSION, Change, Resource
from kubesched.apiserver.watch import Watchers

Admission = Callable[["Endpoint", Request, WriteOptions], Change]


class GroupVersionKind(NamedTuple):
    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


@dataclass(slots=True)
class Endpoint:
    """A routed request's target."""

    resource: Resource
    watchers: Watchers
    type: Type
    gvk: GroupVersionKind  # of bodies
    blank: Object  # an object of the type with nothing set
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    watch: bool = False
    admit: Admission | None = None

    @property
    def media_types(self) -> tuple[str, ...]:
        return negotiate.CUSTOM if self.resource.kind.custom else negotiate.BUILT_IN

    def fields_context(self) -> managed.Context:
        """For the bookkeeping of managed fields."""
        return managed.Context(
            type=self.type,
            version=self.gvk.api_version,
            now=self.resource.now(),
            blank=self.blank,
            ignored=self.resource.reset_fields(self.subresource),
            subresource=self.subresource,
        )

    def admission(self, request: Request, options: WriteOptions) -> Change:
        """Who may change or refuse the write."""
        return NO_ADMISSION if self.admit is None else self.admit(self, request, options)

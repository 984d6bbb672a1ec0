# SPDX-License-Identifier: Apache-2.0
"""Who else has a say in a write: plugins that may change an object, then plugins that may refuse it.

Source: apiserver/pkg/admission, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from kubesched.api import status
from kubesched.api.options import WriteOptions
from kubesched.api.strategy import Object
from kubesched.apiserver.endpoint import Endpoint
from kubesched.apiserver.message import Request
from kubesched.apiserver.resource import Change


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

    def refusal(self, why: str) -> status.StatusError:
        """The 403 of somebody who does not let the write pass."""
        kind = self.endpoint.resource.kind
        metadata = (self.new or self.old or {}).get("metadata") or {}
        name = metadata.get("name") or metadata.get("generateName") or "Unknown"
        return status.forbidden(kind.group, kind.plural, name, why)


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

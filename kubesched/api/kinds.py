# SPDX-License-Identifier: Apache-2.0
"""The table of served kinds: names, scope, verbs, subresources, where they are kept.

It drives routes, discovery, printing and storage keys. Custom resources are added and removed at run time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object with a path of its own, ``pods/binding`` for example."""

    name: str
    verbs: frozenset[str]
    group: str = ""  # of the kind of its bodies
    version: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """One resource in one version."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    verbs: frozenset[str]
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    list_kind: str = ""
    prefix: str = ""  # of its keys in the store, ending in a slash; kinds that share objects share it
    storage_version: str = ""  # apiVersion in which it is kept
    custom: bool = False  # made by a CustomResourceDefinition

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def virtual(self) -> bool:
        """Whether nothing is kept: it is asked or done, not stored (reviews, bindings)."""
        return "get" not in self.verbs


class Registry:
    """Kinds by group, version and plural. ``generation`` counts changes, so that what is derived can be cached."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.generation = 0
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        self._kinds[kind.group, kind.version, kind.plural] = kind
        self.generation += 1

    def remove(self, group: str, version: str, plural: str) -> None:
        if self._kinds.pop((group, version, plural), None) is not None:
            self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def __iter__(self) -> Iterator[Kind]:
        return iter(tuple(self._kinds.values()))

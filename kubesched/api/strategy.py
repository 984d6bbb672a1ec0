# SPDX-License-Identifier: Apache-2.0
"""What is particular about a kind: defaults, validation, what a writer may change, what can be selected and printed.

Everything else is the same for all kinds and lives in the API server. A kind without a row here is stored as it comes,
with metadata validated: the generic strategy. Rows live in `kubesched.api.groups`, a module for each API group.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import fieldset, names
from kubesched.api.status import FieldError

Object = dict[str, Any]


def _nothing(obj: Object) -> None:
    return None


def _no_errors(obj: Object) -> list[FieldError]:
    return []


def _no_update_errors(new: Object, old: Object) -> list[FieldError]:
    return []


def _no_fields(obj: Object) -> dict[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a Table. ``priority`` above 0 is shown with ``-o wide`` only."""

    name: str
    type: str = "string"
    description: str = ""
    format: str = ""
    priority: int = 0
    value: Callable[[Object, datetime.datetime], Any] = field(default=lambda obj, now: None)  # the cell, as of now


@dataclass(frozen=True, slots=True)
class Part:
    """A subresource that writes a part of the object: ``prepare`` puts back what it may not change."""

    prepare: Callable[[Object, Object], None]
    validate: Callable[[Object, Object], list[FieldError]] = _no_update_errors
    resets: fieldset.Set | None = None  # fields that a write of the part leaves as they are


@dataclass(frozen=True, slots=True)
class Scale:
    """Where a kind keeps what its scale subresource shows; paths of field names."""

    wanted: tuple[str, ...] = ("spec", "replicas")
    current: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")


def fill(obj: Object, name: str, value: Any) -> None:
    """Set a field that is absent; zero is a value."""
    if obj.get(name) is None:
        obj[name] = value


def fill_empty(obj: Object, name: str, value: Any) -> None:
    """Set a field that is absent or empty."""
    if not obj.get(name):
        obj[name] = value


def carry(new: Object, old: Object, *names: str) -> None:
    """Put fields back to what they were."""
    for name in names:
        if name in old:
            new[name] = old[name]
        else:
            new.pop(name, None)


def _all_but_status(new: Object, old: Object) -> None:
    carry(new, old, *((new.keys() | old.keys()) - {"status", "metadata"}))


STATUS = Part(_all_but_status, resets={"f:spec": fieldset.LEAF})
"""The status of a kind that has one."""


_NEVER_COUNTED = frozenset({"apiVersion", "kind", "metadata"})


@dataclass(frozen=True, slots=True)
class Strategy:
    """Hooks of one kind. All work on whole objects as plain dicts; those that change do so in place.

    Order on create: ``default`` (after decoding), ``prepare_create``, ``validate``. On update: ``default``,
    ``prepare_update``, ``validate_update``. The server does metadata, status separation and generation itself: with
    ``has_status`` a write of the object keeps the old status, a write of its status keeps the rest; with
    ``has_generation`` the generation is counted up when `is_changed` says so.
    """

    default: Callable[[Object], None] = _nothing
    prepare_create: Callable[[Object], None] = _nothing
    prepare_update: Callable[[Object, Object], None] = field(default=lambda new, old: None)
    validate: Callable[[Object], list[FieldError]] = _no_errors
    validate_update: Callable[[Object, Object], list[FieldError]] = _no_update_errors
    parts: Mapping[str, Part] = field(default_factory=dict)  # by subresource; ``status`` has a default
    scale: Scale | None = None
    warnings: Callable[[Object], list[str]] | None = None
    name_rule: names.Rule = names.subdomain
    has_status: bool = False  # a status is never taken from a create or an update of the whole object
    created_with_status: bool = False  # but from a create: nodes register with theirs
    has_generation: bool = False  # counted from 1
    generation_of: tuple[str, ...] | None = ("spec",)  # the fields whose change counts; None: all but the metadata
    create_on_update: bool = False  # PUT may create
    unconditional_update: bool = True  # PUT may leave resourceVersion out
    grace: Callable[[Object, int | None], int] | None = (
        None  # seconds between DELETE (which may ask for some) and the end
    )
    holds: Callable[[Object], bool] | None = None  # whether something of its own keeps an object that is to go
    ending: Callable[[Object], None] | None = None  # writes into an object that is held that it is to go
    orphan_by_default: bool = False  # dependents stay unless the deleter says otherwise
    collectable: bool = True  # may wait for its dependents by a finalizer (events may not)
    returns_deleted: bool = False  # DELETE answers with the object, not with a Status
    select: Callable[[Object], dict[str, str]] = (
        _no_fields  # selectable fields beside metadata.name and metadata.namespace
    )
    selectable: tuple[str, ...] = ()  # their names
    columns: Sequence[Column] = ()  # none: name and time of creation
    ttl: float | None = None  # seconds after which an untouched object goes (events)

    def is_changed(self, new: Object, old: Object) -> bool:
        """Whether something changed that the generation counts."""
        names = self.generation_of
        if names is None:
            names = tuple((new.keys() | old.keys()) - _NEVER_COUNTED - ({"status"} if self.has_status else set()))
        return any(new.get(name) != old.get(name) for name in names)

    def part(self, subresource: str) -> Part | None:
        """The rules of a subresource that writes a part of the object."""
        found = self.parts.get(subresource)
        return STATUS if found is None and subresource == "status" and self.has_status else found


GENERIC = Strategy()

Registry = Mapping[tuple[str, str], Strategy]
"""(group, plural) → strategy."""

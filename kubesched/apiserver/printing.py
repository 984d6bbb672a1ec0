# SPDX-License-Identifier: Apache-2.0
"""Rows and columns of a kind for Tables: its own, or its name and when it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubesched.api import columns as shared
from kubesched.api.strategy import Column, Object
from kubesched.apiserver.resource import Resource

_DEFAULT = (
    shared.name(),
    Column(
        "Created At",
        "date",
        "CreationTimestamp is a timestamp representing the server time when this object was created.",
        value=lambda obj, now: obj["metadata"].get("creationTimestamp", "<unknown>"),
    ),
)


def columns(resource: Resource) -> tuple[list[Object], Callable[[Object], list[Any]]]:
    """Column definitions of a kind, and the function that makes the cells of an object."""
    chosen = resource.strategy.columns or _DEFAULT
    now = resource.now()

    def cells(obj: Object) -> list[Any]:
        stored = resource.stored_of(obj)
        return [column.value(stored, now) for column in chosen]

    return [_definition(column) for column in chosen], cells


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }

# SPDX-License-Identifier: Apache-2.0
"""Rows and columns of a kind for Tables: its own, or its name and age."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kubesched.api.strategy import Column, Object
from kubesched.apiserver.resource import Resource

_DEFAULT = (
    Column("Name", "string", "Name must be unique within a namespace.", "name"),
    Column(
        "Created At",
        "date",
        "CreationTimestamp is a timestamp representing the server time when this object was created.",
    ),
)


def columns(resource: Resource) -> tuple[list[Object], Callable[[Object], list[Any]]]:
    """Column definitions of a kind, and the function that makes the cells of an object."""
    strategy = resource.strategy
    if strategy.cells is None:
        return [_definition(column) for column in _DEFAULT], _default_cells
    return [_definition(column) for column in strategy.columns], strategy.cells


def _definition(column: Column) -> Object:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _default_cells(obj: Object) -> list[Any]:
    metadata = obj["metadata"]
    return [metadata["name"], metadata.get("creationTimestamp", "<unknown>")]

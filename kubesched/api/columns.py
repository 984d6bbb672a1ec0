# SPDX-License-Identifier: Apache-2.0
"""What kinds share in their Tables: names, ages, labels, containers. Source: pkg/printers/internalversion, v1.36."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from typing import Any

from kubesched.api import meta, selectors
from kubesched.api.strategy import Column, Object

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_YEAR = 365 * _DAY


Getter = Callable[[Object], Any]
"""From an object to a cell."""


def at(obj: Object, *path: str) -> Any:
    """The value at a path of field names; None where there is none."""
    found: Any = obj
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    return found


def human(seconds: float) -> str:
    """A duration as kubectl shows it: ``5m``, ``3h20m``, ``2d``. Source: apimachinery/pkg/util/duration."""
    whole = int(seconds)
    if whole < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    if whole < 2 * _MINUTE:
        return f"{whole}s"
    minutes = whole // _MINUTE
    if minutes < 10:
        return _pair(minutes, "m", whole % _MINUTE, "s")
    if minutes < 3 * 60:
        return f"{minutes}m"
    hours = whole // _HOUR
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = whole // _DAY
    if hours < 8 * 24:
        return _pair(days, "d", hours % 24, "h")
    if whole < 2 * _YEAR:
        return f"{days}d"
    years = whole // _YEAR
    if whole < 8 * _YEAR:
        return _pair(years, "y", days % 365, "d")
    return f"{years}y"


def _pair(major: int, unit: str, minor: int, small: str) -> str:
    return f"{major}{unit}{minor}{small}" if minor else f"{major}{unit}"


def since(text: str | None, now: datetime.datetime) -> str:
    """How long ago a time was."""
    if not text:
        return "<unknown>"
    return human((now - meta.parse_time(text)).total_seconds())


def name(column: str = "Name") -> Column:
    return Column(
        column,
        format="name",
        description="Name must be unique within a namespace.",
        value=lambda obj, now: obj["metadata"]["name"],
    )


def age() -> Column:
    return Column(
        "Age",
        description="CreationTimestamp is a timestamp representing the server time when this object was created.",
        value=lambda obj, now: since(obj["metadata"].get("creationTimestamp"), now),
    )


def text(column: str, *path: str, empty: str = "", wide: bool = False, description: str = "") -> Column:
    """A field as it is; ``empty`` where it is not."""
    return Column(
        column,
        description=description,
        priority=int(wide),
        value=lambda obj, now: at(obj, *path) or empty,
    )


def number(column: str, *path: str, description: str = "") -> Column:
    """An integer; 0 where there is none."""
    return Column(column, "integer", description, value=lambda obj, now: at(obj, *path) or 0)


def boolean(column: str, *path: str, default: bool = False) -> Column:
    def value(obj: Object, now: datetime.datetime) -> bool:
        found = at(obj, *path)
        return default if found is None else bool(found)

    return Column(column, "boolean", value=value)


def count(column: str, *path: str, description: str = "") -> Column:
    """How many a list or a map holds."""
    return Column(column, "integer", description, value=lambda obj, now: len(at(obj, *path) or ()))


def made(column: str, value: Getter, kind: str = "string", *, wide: bool = False, description: str = "") -> Column:
    """A cell that a function makes of the object alone."""
    return Column(column, kind, description, priority=int(wide), value=lambda obj, now: value(obj))


def labels(found: Mapping[str, str] | None) -> str:
    """``a=b,c=d``."""
    return ",".join(f"{key}={value}" for key, value in sorted((found or {}).items())) or "<none>"


def selector(found: Object | None) -> str:
    """A label selector as text."""
    return selectors.text(found) if found and selectors.of_object(found) else "<none>"


def containers(*path: str, wide: bool = True) -> tuple[Column, Column]:
    """Names and images of the containers of a pod template."""

    def joined(field: str) -> Callable[[Object], str]:
        return lambda obj: ",".join(item.get(field) or "" for item in at(obj, *path, "spec", "containers") or ())

    return (
        made("Containers", joined("name"), wide=wide, description="Names of each container in the template."),
        made("Images", joined("image"), wide=wide, description="Images referenced by each container in the template."),
    )

# SPDX-License-Identifier: Apache-2.0
"""Checked access to the fields of plain objects: a wrong type is one clear error that names the path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kubesched.base import errors

_NAMES = {
    dict: "a mapping",
    list: "a list",
    str: "a string",
    int: "an integer",
    bool: "true or false",
}


class View:
    """A mapping with its path, for example ``Pod default/web: spec.containers[0]``.

    Absent and null fields read as empty; a field of another type raises InputError.
    """

    __slots__ = ("data", "owner", "path")

    def __init__(self, data: dict[str, Any], owner: str, path: str = "") -> None:
        self.data = data
        self.owner = owner
        self.path = path

    def where(self, name: str) -> str:
        """The full name of a field, for errors."""
        return f"{self.owner}: {self.path}.{name}" if self.path else f"{self.owner}: {name}"

    def _typed(self, name: str, kind: type) -> Any:
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise errors.InputError(self.where(name), "has the wrong type", value, _NAMES[kind])
        return value

    def has(self, name: str) -> bool:
        return self.data.get(name) is not None

    def text(self, name: str, default: str = "") -> str:
        value = self._typed(name, str)
        return default if value is None else value

    def integer(self, name: str, default: int = 0) -> int:
        value = self._typed(name, int)
        return default if value is None else value

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool))

    def view(self, name: str) -> View:
        return View(self._typed(name, dict) or {}, self.owner, f"{self.path}.{name}" if self.path else name)

    def views(self, name: str) -> Iterator[View]:
        """The mappings of a list."""
        path = f"{self.path}.{name}" if self.path else name
        for i, item in enumerate(self._typed(name, list) or ()):
            if not isinstance(item, dict):
                raise errors.InputError(f"{self.owner}: {path}[{i}]", "has the wrong type", item, "a mapping")
            yield View(item, self.owner, f"{path}[{i}]")

    def texts(self, name: str) -> tuple[str, ...]:
        """The strings of a list."""
        items = self._typed(name, list) or ()
        for i, item in enumerate(items):
            if not isinstance(item, str):
                raise errors.InputError(f"{self.where(name)}[{i}]", "has the wrong type", item, "a string")
        return tuple(items)

    def pairs(self, name: str) -> tuple[tuple[str, str], ...]:
        """The string pairs of a mapping, sorted by key."""
        items = self._typed(name, dict) or {}
        for key, value in items.items():
            if not isinstance(key, str) or not isinstance(value, str):
                raise errors.InputError(f"{self.where(name)}[{key!r}]", "has the wrong type", value, "a string")
        return tuple(sorted(items.items()))

    def missing(self, name: str, expected: str) -> errors.InputError:
        """The error for a field that must be there."""
        return errors.InputError(self.where(name), "is missing", None, expected)


def of(obj: Mapping[str, Any], kind: str | None = None) -> View:
    """View of a whole object; its errors name the source (if it is known), the kind and the name.

    Raises
    ------
    InputError
        It has no name.
    """
    kind = kind or str(obj.get("kind"))
    source = getattr(obj, "source", "")
    prefix = f"{source}: " if source else ""
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str) or not metadata["name"]:
        raise errors.InputError(f"{prefix}{kind}: metadata.name", "is missing", metadata, "a name")
    namespace = metadata.get("namespace")
    name = f"{namespace or 'default'}/{metadata['name']}" if kind == "Pod" else metadata["name"]
    return View(dict(obj), f"{prefix}{kind} {name}")

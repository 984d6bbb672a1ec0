# SPDX-License-Identifier: Apache-2.0
"""YAML within limits, for manifests and for bodies of requests.

A text is looked at event by event before anything is built, so that aliases, depth and size have a budget: a document
that would grow when its aliases are followed is refused, not loaded. Custom tags are errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import yaml

from kubesched.base import errors

MAX_DEPTH = 200
MAX_ALIASES = 1000  # a budget, not a habit: real manifests use a handful
MAX_EXPANDED = 10_000_000  # values of a text after following its aliases
MAX_SCALAR = 16 * 1024 * 1024  # one value or one line of that size is a mistake
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_PLAIN_TAGS = frozenset(
    "tag:yaml.org,2002:" + t
    for t in ["null", "bool", "int", "float", "str", "seq", "map", "timestamp", "merge", "binary"]
)

Place = Callable[[int | None], str]
"""Where a line is, in words for people."""

Twice = Callable[[str, int | None], None]
"""What happens when a key stands twice in a mapping: the key, its line."""


def load_all(text: str, place: Place, twice: Twice, loader: Any = _LOADER, max_values: int = MAX_EXPANDED) -> list[Any]:
    """The documents of a text, if it holds no more values than that after following its aliases.

    Raises
    ------
    InputError
        Not YAML, or beyond the limits.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_SCALAR:
            raise errors.InputError(place(number), "is too long", f"{len(line)} characters", f"up to {MAX_SCALAR}")
    try:
        _guard(text, place, twice, max_values)
        return list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        where = place(None if mark is None else mark.line + 1)
        raise errors.InputError(where, f"is not YAML ({problem})") from None
    except (RecursionError, ValueError) as error:
        raise errors.InputError(place(None), f"cannot be read ({str(error)[:100]})", None, "plain YAML") from None


class _Level:
    """A mapping or sequence that is open; of a mapping, the keys seen; ``size`` counts values, aliases followed."""

    __slots__ = ("anchor", "is_key", "keys", "size")

    def __init__(self, keys: set[str] | None, anchor: str | None) -> None:
        self.keys = keys
        self.is_key = keys is not None
        self.anchor = anchor
        self.size = 1


def _guard(text: str, place: Place, twice: Twice, max_values: int) -> None:
    """Look at the events of all documents and refuse what should not be built."""
    levels: list[_Level] = []
    sizes: dict[str, int] = {}
    aliases = 0
    for event in yaml.parse(text, Loader=_LOADER):
        line = None if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
            if aliases > MAX_ALIASES:
                raise errors.InputError(place(line), "has too many aliases", f"over {MAX_ALIASES}", "a plain manifest")
            if any(level.anchor == event.anchor for level in levels):
                raise errors.InputError(place(line), "refers to itself", f"*{event.anchor}", "no cyclic alias")
        tag = getattr(event, "tag", None)
        if tag is not None and tag not in _PLAIN_TAGS:
            raise errors.InputError(place(line), "has a custom tag", tag, "plain YAML")
        if isinstance(event, yaml.ScalarEvent):
            _guard_scalar(event, place, line)
            _guard_key(event, levels, line, twice)
        if _measure(event, levels, sizes) > max_values:
            if not aliases:
                raise errors.InputError(place(line), "holds too many values", f"over {max_values}", "fewer, or JSON")
            what = "grows without bound when its aliases are followed"
            raise errors.InputError(place(line), what, None, "a plain manifest")
        _step(event, levels, place, line)


def _measure(event: Any, levels: list[_Level], sizes: dict[str, int]) -> int:
    """Count values as if every alias were written out: a small text must not stand for billions of them.

    Returns the values so far of the collection that the event belongs to.
    """
    if isinstance(event, yaml.CollectionEndEvent):
        closed = levels[-1]
        size, anchor = closed.size, closed.anchor
        above = levels[-2] if len(levels) > 1 else None
    elif isinstance(event, yaml.ScalarEvent | yaml.AliasEvent):
        size = sizes.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
        anchor = event.anchor if isinstance(event, yaml.ScalarEvent) else None
        above = levels[-1] if levels else None
    else:
        return 0
    if anchor is not None:
        sizes[anchor] = size
    if above is None:
        return size
    above.size += size
    return above.size


def _guard_scalar(event: yaml.ScalarEvent, place: Place, line: int | None) -> None:
    if len(event.value) > MAX_SCALAR:
        raise errors.InputError(
            place(line), "has a huge value", f"{len(event.value)} characters", f"up to {MAX_SCALAR}"
        )


def _guard_key(event: yaml.ScalarEvent, levels: list[_Level], line: int | None, twice: Twice) -> None:
    if levels and levels[-1].keys is not None and levels[-1].is_key:
        if event.value in levels[-1].keys and event.value != "<<":
            twice(event.value, line)
        levels[-1].keys.add(event.value)


def _step(event: Any, levels: list[_Level], place: Place, line: int | None) -> None:
    """Follow nesting; in a mapping, keys and values alternate."""
    if isinstance(event, yaml.CollectionEndEvent):
        levels.pop()
    if isinstance(event, yaml.ScalarEvent | yaml.AliasEvent | yaml.CollectionEndEvent):
        if levels and levels[-1].keys is not None:
            levels[-1].is_key = not levels[-1].is_key
    elif isinstance(event, yaml.CollectionStartEvent):
        if len(levels) >= MAX_DEPTH:
            raise errors.InputError(place(line), "is nested too deeply", f"over {MAX_DEPTH} levels", "a plain manifest")
        levels.append(_Level(set() if isinstance(event, yaml.MappingStartEvent) else None, event.anchor))

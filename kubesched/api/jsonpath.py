# SPDX-License-Identifier: Apache-2.0
"""The JSONPath of printer columns: names, indices, wildcards, filters on equality.

Source: client-go/util/jsonpath, v1.36.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

Step = Callable[[list[Any]], list[Any]]

_STEP = re.compile(
    r"""\.(?P<name>(?:\\.|[^.\[\]\\])+)
      | \[(?P<index>-?[0-9]+)\]
      | \[(?P<all>\*)\]
      | \['(?P<quoted>[^']*)'\]
      | \[\?\(@\.(?P<key>[^=!<>\s]+)\s*(?P<operator>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)]*)\)\]""",
    re.VERBOSE,
)


class PathError(ValueError):
    """A path that cannot be read."""


@functools.lru_cache(maxsize=1024)
def compiled(path: str) -> tuple[Step, ...]:
    """The steps of ``.status.conditions[?(@.type=="Ready")].status``.

    Raises
    ------
    PathError
        It cannot be read.
    """
    text = path.strip().removeprefix("{").removesuffix("}").removeprefix("$")
    steps: list[Step] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None:
            raise PathError(f"unexpected {text[at:]!r}")
        steps.append(_step(match))
        at = match.end()
    return tuple(steps)


def _step(match: re.Match[str]) -> Step:
    name = match["name"] if match["name"] is not None else match["quoted"]
    if name == "*" or match["all"]:
        return lambda found: [item for value in found for item in _children(value)]
    if name is not None:
        plain = re.sub(r"\\(.)", r"\1", name)
        return lambda found: [value[plain] for value in found if isinstance(value, dict) and plain in value]
    if match["index"] is not None:
        return _index(int(match["index"]))
    return _filter(match["key"], match["operator"] == "==", match["value"].strip("\"'"))


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _index(number: int) -> Step:
    return lambda found: [
        value[number] for value in found if isinstance(value, list) and -len(value) <= number < len(value)
    ]


def _filter(key: str, equal: bool, wanted: str) -> Step:
    steps = compiled(f".{key}")

    def keep(item: Any) -> bool:
        found = evaluate([item], steps)
        return bool(found) and (_text(found[0]) == wanted) == equal

    return lambda found: [item for value in found for item in _children(value) if keep(item)]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def evaluate(found: list[Any], steps: tuple[Step, ...]) -> list[Any]:
    """All values that the steps lead to."""
    for step in steps:
        found = step(found)
    return found


def first(obj: Any, path: str) -> Any:
    """The first value of a path; None where there is none."""
    found = evaluate([obj], compiled(path))
    return found[0] if found else None

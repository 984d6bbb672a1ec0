# SPDX-License-Identifier: Apache-2.0
"""Long lists of small objects (variables, ports, keys) look at as a whole: mostly all have the same fields."""

from __future__ import annotations

from itertools import chain
from typing import Any

LONG = 4
"""Items from which on a look at the whole is worth it; measured."""
_ONLY_OBJECTS = {dict}


def names(items: list[Any]) -> frozenset[str] | None:
    """The fields of each item, if all are objects with the same fields."""
    if {*map(type, items)} != _ONLY_OBJECTS:
        return None
    found = frozenset(chain.from_iterable(items))
    return found if {*map(len, items)} == {len(found)} else None

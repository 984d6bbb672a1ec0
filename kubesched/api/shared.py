# SPDX-License-Identifier: Apache-2.0
"""Parts that many objects have alike, such as what a template says of its pods: read once, judged once.

Pods come from few templates. The specification of the second pod of a template is found by its bytes, and is the same
object as that of the third, so it is read-only: writing into one in place is a TypeError. What follows from it alone
(its defaults, its fields, that nothing is wrong with it) is worked out once and kept with it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, NoReturn

import orjson

_MOST_BYTES = 2 << 20  # of all keys of one `Newest`; what hangs on them takes some fifteen times as much
LARGE = 64 << 10  # bytes of a part that is not looked up
_MOST_ONCE = 4096  # parts that are not shared yet; arbitrary

SIGHTS = 2
"""How often a part comes before it is kept: most of what comes once never comes again."""


def _read_only(self: Any, *args: Any, **kwargs: Any) -> NoReturn:
    raise TypeError("this part is shared by many objects; copy it before changing it")


class Shared(dict[str, Any]):
    """An object that is shared, or a part of one."""

    __slots__ = ("__weakref__", "kept")

    def __init__(self, fields: dict[str, Any]) -> None:
        super().__init__(fields)
        self.kept: dict[Any, Any] = {}
        """What follows from it, by what worked it out."""

    __setitem__ = __delitem__ = __ior__ = _read_only
    clear = pop = popitem = setdefault = update = _read_only
    __hash__ = None


class SharedList(list[Any]):
    """A list within one."""

    __slots__ = ()

    __setitem__ = __delitem__ = __iadd__ = __imul__ = _read_only
    append = clear = extend = insert = pop = remove = reverse = sort = _read_only


def share(value: Any) -> Any:
    """A value that is read-only through and through."""
    if type(value) is dict:
        return Shared({name: share(item) for name, item in value.items()})
    return SharedList(map(share, value)) if type(value) is list else value


def plain(value: Any) -> Any:
    """A copy of which everything may be changed in place, of something shared or not."""
    return orjson.loads(orjson.dumps(value))  # ten times as quick as copy.deepcopy


def copy(value: dict[str, Any]) -> dict[str, Any]:
    """A copy of which every field may be set; of something shared it is a `plain` one."""
    return plain(value) if type(value) is Shared else dict(value)


def change(value: dict[str, Any], function: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """What ``function``, which changes in place, makes of a value: the value itself, or, of a shared one, another.

    Doing it again changes nothing more.
    """
    if type(value) is not Shared:
        function(value)
        return value
    found: Shared | None = value.kept.get(function)
    if found is None:
        new = plain(value)
        function(new)
        found = value.kept[function] = share(new)
        found.kept[function] = found
    return found


def recall(value: Any, function: Callable[..., Any]) -> Any:
    """What was kept of a shared value under a function's name; None if nothing was, or it is not shared."""
    return value.kept.get(function) if type(value) is Shared else None


def keep(value: Any, function: Callable[..., Any], found: Any) -> None:
    """Keep what a function found, if the value is shared."""
    if type(value) is Shared:
        value.kept[function] = found


class Newest(dict[bytes, Shared]):
    """Shared values by their bytes; those that came first go first."""

    def __init__(self) -> None:
        super().__init__()
        self._bytes = 0

    def add(self, key: bytes, value: Shared) -> list[bytes]:
        """Put a value in; the keys that had to go."""
        self._bytes += 0 if key in self else len(key)
        self[key] = value
        gone = []
        while self._bytes > _MOST_BYTES:
            gone.append(next(iter(self)))
            del self[gone[-1]]
            self._bytes -= len(gone[-1])
        return gone


class Memo:
    """Shared values of one type by their bytes."""

    def __init__(self) -> None:
        self._once: dict[int, int] = {}  # sights, by a hash of the bytes: where two have one, it is shared early
        self._known = Newest()
        self._lock = threading.Lock()  # large bodies are read in threads

    def get(self, key: bytes) -> Shared | None:
        """What was put in, if it was shared."""
        return self._known.get(key)

    def put(self, key: bytes, value: dict[str, Any]) -> dict[str, Any]:
        """Share a value if it came before; else it is the caller's own."""
        with self._lock:
            return self._put(key, value)

    def _put(self, key: bytes, value: dict[str, Any]) -> dict[str, Any]:
        sights = self._once.get(hash(key), 0) + 1
        if len(key) > LARGE or sights < SIGHTS:
            if len(self._once) >= _MOST_ONCE:
                self._once.clear()
            self._once[hash(key)] = sights
            return value
        found: Shared = share(value)
        self._known.add(key, found)
        return found

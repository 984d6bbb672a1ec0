# SPDX-License-Identifier: Apache-2.0
"""Objects as JSON to keep: what is `shared` is written once and found again by its bytes.

Half of a stored pod is who manages its fields, the same bytes for all pods of a template; most of the rest are its
containers. The JSON of such a part is worked out once. When an object is read back, parts whose JSON is known are not
read again: they are cut out before, and the shared value itself takes their place.
"""

from __future__ import annotations

import secrets
import threading
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from typing import Any

import orjson

from kubesched.api.shared import LARGE, Newest, Shared

Object = dict[str, Any]
Marks = Sequence[bytes]
"""What may stand before a shared part, in the order of the document."""

FIELDS: Marks = (b'"fieldsV1":',)
POD: Marks = (*FIELDS, b'"spec":', b'"containers":[')


class _Known:
    """Shared values by their JSON, found where it stands in another.

    No JSON of an object begins with that of another. So of all that are known, in order, only the one that comes right
    before a text can stand at its beginning.
    """

    def __init__(self) -> None:
        self._values = Newest()
        self._sorted: list[bytes] = []
        self._lock = threading.Lock()  # large objects are written in threads

    def add(self, text: bytes, value: Shared) -> None:
        with self._lock:
            if text not in self._values:
                insort(self._sorted, text)
            for gone in self._values.add(text, value):
                del self._sorted[bisect_left(self._sorted, gone)]

    def at(self, data: bytes, start: int) -> tuple[bytes, Shared] | None:
        """The known JSON that stands there, and what it is."""
        with self._lock:
            place = bisect_right(self._sorted, data[start : start + LARGE]) - 1
            if place < 0 or not data.startswith(self._sorted[place], start):
                return None
            return self._sorted[place], self._values[self._sorted[place]]


_known = _Known()


def dumps(value: Any) -> bytes:
    """JSON, of something that may have shared parts."""
    return orjson.dumps(value, default=_written, option=orjson.OPT_PASSTHROUGH_SUBCLASS)


def _written(value: Any) -> Any:
    """What to write for what is no plain JSON value."""
    if type(value) is Shared:
        return orjson.Fragment(_text(value))
    if isinstance(value, list):
        return list(value)
    raise TypeError(f"{type(value).__name__} is no JSON")


def _text(value: Shared) -> bytes:
    found: bytes | None = value.kept.get(_text)
    if found is None:
        found = value.kept[_text] = orjson.dumps(value)
        if len(found) <= LARGE:
            _known.add(found, value)
    return found


def loads(data: bytes, marks: Marks) -> Object:
    """Read what `dumps` wrote; shared parts behind the marks are shared again."""
    pieces, cut, done = list[bytes](), list[Shared](), 0
    for mark in marks:
        start = data.find(mark, done)
        while start >= 0:
            start += len(mark)
            while found := _known.at(data, start):
                text, value = found
                cut.append(value)
                pieces += data[done:start], _HOLE
                done = start = start + len(text)
                if not data.startswith(b",{", start):
                    break
                start += 1  # the next item of a list
            start = data.find(mark, start)
    if cut:
        out: Object = orjson.loads(b"".join((*pieces, data[done:])))
        if _fill(out, cut):
            return out
    return orjson.loads(data)  # type: ignore[no-any-return]


_NOTHING = secrets.token_hex(8)  # what nobody can have written
_HOLE = orjson.dumps(_NOTHING)


def _fill(obj: Object, cut: Sequence[Shared]) -> bool:
    """Put parts where they were; False if one stood where no shared part is expected."""
    left = iter(cut)
    for entry in obj["metadata"].get("managedFields") or ():
        if entry.get("fieldsV1") == _NOTHING:
            entry["fieldsV1"] = next(left)
    spec = obj.get("spec")
    if spec == _NOTHING:
        obj["spec"] = next(left)
    elif isinstance(spec, dict) and isinstance(spec.get("containers"), list):
        spec["containers"] = [next(left) if item == _NOTHING else item for item in spec["containers"]]
    return next(left, None) is None

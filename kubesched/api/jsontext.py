# SPDX-License-Identifier: Apache-2.0
"""JSON from strangers: read within limits, and looked at again where the order and repetition of keys matter.

orjson reads it. What orjson lets pass is checked before: depth. What it drops silently, keys that stand twice, is
looked for only when somebody wants to know.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import Any

import orjson

from kubesched.api import gotext

MAX_DEPTH = 200

_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"?', re.DOTALL)
_NO_BRACKET = bytes(set(range(256)) - set(b"{}[]"))
_STEP = {ord("{"): 1, ord("["): 1, ord("}"): -1, ord("]"): -1}


class Malformed(ValueError):
    """Not JSON, or beyond the limits; ``str()`` is upstream's text where upstream has one."""


class Pairs(list[tuple[str, Any]]):
    """An object with its keys in order, also those that stand there twice."""


def loads(body: bytes) -> Any:
    """Read JSON; of keys that stand twice the last counts.

    Raises
    ------
    Malformed
        Not JSON, not UTF-8, nested too deeply.
    """
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(body)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Malformed(_explain(body, str(error))) from None


_HOLE = secrets.randbits(60)
"""A number that stands where a part was left out; nobody else knows it."""
_SPEC, _STATUS = b'"spec":', b',"status":'  # what a typed client writes behind a specification, empty or not


def loads_around(body: bytes, known: Callable[[bytes], Any]) -> Any:
    """Read an object whose ``spec`` is a text that is known, without reading that text again.

    Keys that stand twice are not told, but found: None for what has some, as for everything out of the ordinary, what
    cannot be read, spaces between values.

    Parameters
    ----------
    body
        The object.
    known
        What a text was read as, which has no key twice; None: it is not known.
    """
    start = body.find(_SPEC) + len(_SPEC)
    end = body.rfind(_STATUS, start)
    if end < 0:
        end = body.rfind(b"}", start)
    part = None if end < 0 else known(body[start:end])
    if part is None:
        return None
    rest = b"%b%d%b" % (body[:start], _HOLE, body[end:])
    try:
        found = loads(rest)
    except Malformed:
        return None
    if type(found) is not dict or found.get("spec") != _HOLE or has_other_form(rest, found):
        return None  # what was found is another field of this name, or text in a string
    found["spec"] = part
    return found


def _check_depth(body: bytes) -> None:
    brackets = _STRING.sub(b"", body).translate(None, _NO_BRACKET)
    if max(accumulate(map(_STEP.__getitem__, brackets)), default=0) > MAX_DEPTH:
        raise Malformed(f"exceeded max depth of {MAX_DEPTH}")


_CONTEXTS = (
    ("Expecting value", "looking for beginning of value"),
    ("Expecting property name", "looking for beginning of object key string"),
    ("Illegal trailing comma", "looking for beginning of object key string"),
    ("Expecting ':'", "after object key"),
    ("Extra data", "after top-level value"),
    ("Invalid control character", "in string literal"),
    ("Invalid \\", "in string escape code"),
)


def _explain(body: bytes, why: str) -> str:
    """What is wrong, in upstream's words: the other reader knows better where it stopped and why."""
    text = body.decode("latin-1")  # upstream shows the byte that it stopped at
    try:
        json.loads(text, parse_constant=_refuse)
    except Malformed as error:
        return str(error)
    except json.JSONDecodeError as error:
        at, message = error.pos, error.msg
        if at >= len(text) or message.startswith("Unterminated string"):
            return "unexpected end of JSON input"
        if text[at] in _LITERALS and message.startswith("Expecting value"):
            return _in_literal(text[at:], _LITERALS[text[at]])
        context = next((said for start, said in _CONTEXTS if message.startswith(start)), "")
        if not context:  # a comma or the end was expected
            context = "after object key:value pair" if _in_object(text[:at]) else "after array element"
        return f"invalid character {_quoted(text[at])} {context}"
    except (RecursionError, ValueError):
        return why
    try:
        body.decode()
    except UnicodeDecodeError as error:
        return f"invalid UTF-8 at byte {error.start}"
    return why  # what only one of them minds: lone surrogates, numbers without end


def _refuse(constant: str) -> None:
    """NaN and the infinities are no JSON."""
    where = "in numeric literal" if constant[0] == "-" else "looking for beginning of value"
    raise Malformed(f"invalid character '{constant.lstrip('-')[0]}' {where}")


_LITERALS = {"t": "true", "f": "false", "n": "null"}


def _in_literal(text: str, literal: str) -> str:
    """Where a word that begins like a literal is none."""
    at = next(i for i, wanted in enumerate(literal) if text[i : i + 1] != wanted)
    if at >= len(text):
        return "unexpected end of JSON input"
    return f"invalid character {_quoted(text[at])} in literal {literal} (expecting {_quoted(literal[at])})"


def _in_object(text: str) -> bool:
    """Whether the innermost open bracket is a brace."""
    open_: list[int] = []
    for bracket in _STRING.sub(b"", text.encode("latin-1")).translate(None, _NO_BRACKET):
        if _STEP[bracket] > 0:
            open_.append(bracket)
        elif open_:
            open_.pop()
    return bool(open_) and open_[-1] == ord("{")


def _quoted(char: str) -> str:
    """A character as Go shows a rune."""
    special = {"'": "\\'", '"': '"'}.get(char)
    return f"'{gotext.quote(char)[1:-1] if special is None else special}'"


def pairs(body: bytes) -> Any:
    """Read JSON that `loads` has read, with objects as `Pairs`."""
    return json.loads(body, object_pairs_hook=Pairs)


class _TwiceError(Exception):
    pass


def _once(found: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(found)
    if len(out) != len(found):
        raise _TwiceError
    return out


def has_other_form(body: bytes, read: Any) -> bool:
    """Whether ``body``, which was read as ``read``, would be written otherwise; if not, no key stands twice in it."""
    return orjson.dumps(read) != body.strip()


def has_duplicates(body: bytes, read: Any) -> bool:
    """Whether a key stands twice in an object of ``body``, which was read as ``read``."""
    if not has_other_form(body, read):  # what most clients send is what would be written
        return False
    try:
        json.loads(body, object_pairs_hook=_once)
    except _TwiceError:
        return True
    return False


def duplicates(value: Any, path: str = "") -> Iterator[str]:
    """Paths of keys that stand twice, in the order of the document, of a value read by `pairs`."""
    if isinstance(value, Pairs):
        seen: set[str] = set()
        for name, item in value:
            inner = f"{path}.{name}" if path else name
            if name in seen:
                yield inner
            seen.add(name)
            yield from duplicates(item, inner)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from duplicates(item, f"{path}[{i}]")

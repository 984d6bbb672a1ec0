# SPDX-License-Identifier: Apache-2.0
"""Bodies to objects and back: JSON, YAML, protobuf.

Decoding walks the object by its type once and gives what a typed server would print again, with what the type does not
know reported by path.
"""

from __future__ import annotations

from typing import Any, Protocol

import orjson

from kubesched.api import status
from kubesched.api.schema import Type

Object = dict[str, Any]


class Named(Protocol):
    """Group, version and kind that a body is expected to be."""

    @property
    def group(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def kind(self) -> str: ...


class DecodeError(Exception):
    """A body that cannot be read; ``str()`` is upstream's text. ``found`` is the kind that it says it is."""

    def __init__(self, message: str, found: str = "", version: str = "") -> None:
        super().__init__(message)
        self.found = found
        self.version = version

    def explain(self, wanted: str, body: bytes) -> str:
        """The message of the 400 for a body that should have been a ``wanted``."""
        if self.found:
            return f'{self.found} in version "{self.version}" cannot be handled as a {wanted}: {self}'
        return f"the object provided is unrecognized (must be of type {wanted}): {self} ({_summary(body)})"


def _summary(body: bytes) -> str:
    if not body:
        return "<empty>"
    text = body[:30].decode(errors="replace") if body[:1] == b"{" else body[:30].hex()
    return f"{text} ..." if len(body) > 30 else text


def decode(body: bytes, media_type: str, kind: Type, wanted: Named, *, strict: bool) -> tuple[Object, list[str]]:
    """An object of a type, and (if ``strict``) its unknown and duplicate fields, as upstream words them.

    Raises
    ------
    DecodeError
        It cannot be read, or is something else.
    """
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise DecodeError(str(error)) from None
    if not isinstance(found, dict):
        raise DecodeError("json: cannot unmarshal into an object")
    return normalise(found, kind, strict=strict)


def normalise(obj: Any, kind: Type, *, strict: bool) -> tuple[Object, list[str]]:
    """The object as a typed server prints it, and what the type does not know. Raises DecodeError for wrong types."""
    if not isinstance(obj, dict):
        raise DecodeError("json: cannot unmarshal into an object")
    return obj, []


def patch_body(body: bytes, *, strict: bool) -> tuple[Any, list[str]]:
    """The JSON of a patch, and (if ``strict``) its duplicate fields. Raises StatusError 400."""
    try:
        return orjson.loads(body), []
    except orjson.JSONDecodeError as error:
        raise status.bad_request(f"error decoding patch: {error}") from None


def apply_body(body: bytes, *, strict: bool) -> tuple[Object, list[str]]:
    """The YAML (or JSON) of a configuration to apply, and its duplicate fields. Raises StatusError 400."""
    try:
        found: Object = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise status.bad_request(f"error decoding YAML: {error}") from None
    return found, []


def decode_options(body: bytes, media_type: str) -> Object:
    """A DeleteOptions. Raises DecodeError."""
    found: Object = orjson.loads(body)
    return found


def encode(obj: Object, media_type: str) -> bytes:
    """An object in another form than JSON: YAML, protobuf (in its envelope), or JSON itself."""
    return orjson.dumps(obj)

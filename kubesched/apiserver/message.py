# SPDX-License-Identifier: Apache-2.0
"""What passes between the front and the application: a request in; a response or a stream out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kubesched.api import meta, status
from kubesched.api.options import WriteOptions


@dataclass(frozen=True, slots=True)
class User:
    """Who asks. ``extra`` carries what an authenticator knows beside."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict)


ACCOUNT = "system:serviceaccount:"
"""What the names of service accounts as users begin with: namespace and name follow, with a colon between."""
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"


def account_groups(namespace: str) -> tuple[str, ...]:
    """The groups of a namespace's service accounts, without that of everybody who is known."""
    return "system:serviceaccounts", f"system:serviceaccounts:{namespace}"


ANONYMOUS = User("system:anonymous", (UNAUTHENTICATED,))


async def _no_body() -> bytes:
    return b""


@dataclass(slots=True)
class Request:
    """One request; header names are lower case.

    ``path`` is percent-decoded; ``query`` keeps repeated parameters. ``read`` reads the whole body within the front's
    limit (raises StatusError 413 beyond it).
    """

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    read: Callable[[], Awaitable[bytes]] = _no_body
    user: User = ANONYMOUS
    remote: str = ""
    warnings: list[str] = field(default_factory=list)
    size: int = 0  # bytes of the body, once an object was read from it

    def warn(self, text: str) -> None:
        """Tell the client something that is no error; each text once."""
        if text not in self.warnings:
            self.warnings.append(text)


def report(
    request: Request, options: WriteOptions, unknown: list[str], refuse: Callable[[str], status.StatusError]
) -> None:
    """Unknown and duplicate fields: warnings, or with fieldValidation=Strict the end."""
    if not unknown:
        return
    if options.validation == "Strict":
        raise refuse("strict decoding error: " + ", ".join(dict.fromkeys(unknown)))
    if options.validation == "Warn":
        for text in unknown:
            request.warn(text)


Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Pieces:
    """A body of ``size`` bytes whose pieces are made while they are sent: it is never in memory as a whole."""

    size: int
    pieces: Iterable[Bytes]

    def __iter__(self) -> Iterator[Bytes]:
        return iter(self.pieces)


@dataclass(slots=True)
class Response:
    """A whole answer. ``body`` may come in pieces that are sent one after the other without being joined."""

    status: int = 200
    body: bytes | Sequence[Bytes] | Pieces = b""
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Stream:
    """An answer without a known end: a watch, a followed log.

    The front sends each chunk at once, and closes a reader that is too slow by calling ``aclose`` on the chunks.
    """

    chunks: AsyncIterator[bytes]
    content_type: str = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200


Answer = Response | Stream


class Application(Protocol):
    async def __call__(self, request: Request) -> Answer: ...


def failed(error: status.StatusError) -> Response:
    """The response that says what went wrong, with what every answer carries: it may never reach the application."""
    headers = {"Audit-Id": meta.new_uid(), "Cache-Control": "no-cache, private"}
    if error.retry_after:
        headers["Retry-After"] = str(error.retry_after)
    return Response(error.code, error.encode(), headers=headers)

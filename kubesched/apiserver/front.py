# SPDX-License-Identifier: Apache-2.0
"""The front: HTTP/1.1 over TLS. Knows sockets, answers and streams; no path and no kind.

For each request that a `Connection` reads, `Front.answer` builds a `message.Request`, asks who the client is, calls the
application, and writes the answer.

What a client may do is in `Limits`. Beyond, it gets 414, 431, 413 or 408, and the connection is closed. Malformed HTTP
gets 400 and is closed.

Client certificates are verified by OpenSSL in the handshake, but for their times: one that somebody else signed, or
that is for no client, gets a TLS alert, not a 401. Python's ssl offers no way to let it in and judge it later.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from kubesched.api import status
from kubesched.apiserver.connection import Connection, Limits, Message, head
from kubesched.apiserver.message import ANONYMOUS, Application, Bytes, Pieces, Request, Response, Stream, User, failed

_log = logging.getLogger(__name__)


class Authenticator(Protocol):
    """Who sent a request. None is nobody in particular; both raise StatusError 401."""

    def certificate(self, tls: ssl.SSLObject | None) -> tuple[User | None, float]:
        """The user of a connection, and until when (seconds since the epoch); OpenSSL verified all but times."""

    async def header(self, authorization: str) -> User | None:
        """The user that the header Authorization names."""


class Front:
    """Serves an application on one address.

    ``tls`` None serves plain HTTP, for measurements and for what sits behind something else that speaks TLS.
    """

    def __init__(
        self,
        application: Application,
        authenticator: Authenticator,
        *,
        tls: ssl.SSLContext | None,
        limits: Limits | None = None,
    ) -> None:
        self.limits = limits or Limits()
        self._application = application
        self._authenticator = authenticator
        self._tls = tls
        self._listening: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._draining = False
        self._changed = asyncio.Event()
        """A connection ended."""

    async def listen(self, host: str, port: int) -> int:
        """Begin to serve; returns the port, which the system chooses when it is 0."""
        tls: dict[str, Any] = {}
        if self._tls is not None:
            limits = self.limits
            times = {"ssl_handshake_timeout": limits.handshake_s, "ssl_shutdown_timeout": limits.goodbye_s}
            tls = {"ssl": self._tls, **times}
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._connection, host, port, backlog=1024, **tls)
        return int(self._listening.sockets[0].getsockname()[1])

    def _connection(self) -> Connection:
        return Connection(self.limits, self.answer, self._connections.add, self._gone)

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        self._changed.set()

    async def drain(self, end_streams: Callable[[], None], timeout_s: float = 60.0) -> None:
        """Stop: take no new connections, end streams, let requests that are under way finish, close.

        ``end_streams`` lets the application end its streams cleanly.
        """
        assert self._listening is not None
        self._draining = True
        self._listening.close()
        end_streams()
        for connection in [one for one in self._connections if not one.is_busy]:
            connection.close()
        try:
            async with asyncio.timeout(timeout_s):
                while self._connections:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            for connection in list(self._connections):
                connection.abort()
        await self._listening.wait_closed()

    # ---- one request -----------------------------------------------------------------------------------------------

    async def answer(self, message: Message) -> bool:
        """Answer one request of a connection; whether the connection goes on."""
        try:
            request = self._request(message)
            request.user = self._user(message.connection) or await self._named(message)
            answer = await self._application(request)
        except status.StatusError as error:
            answer = failed(error)
        except Exception:
            _log.exception("a request failed in the front")
            message.connection.refuse(500)
            return False
        keep = message.keep and message.is_whole and not self._draining
        if isinstance(answer, Stream):
            return await self._stream(message, answer, keep)
        await self._respond(message, answer, keep)
        return keep

    @staticmethod
    def _request(message: Message) -> Request:
        target = message.target.decode("latin-1")
        if not target.startswith("/"):
            raise status.bad_request("the request target must be a path")
        path, _, query = target.partition("?")
        return Request(
            message.method,
            _decoded(path) if "%" in path else path,
            _query(query) if query else {},
            message.headers,
            message.read,
            remote=message.connection.remote,
        )

    def _user(self, connection: Connection) -> User | None:
        """The certificate's user."""
        if time.time() >= connection.user_until:
            found = self._authenticator.certificate(connection.extra("ssl_object"))
            connection.user, connection.user_until = found
        return connection.user

    async def _named(self, message: Message) -> User:
        """The header's user, else nobody in particular: what is asked after the certificate, as upstream does."""
        authorization = message.headers.get("authorization")
        return (authorization and await self._authenticator.header(authorization)) or ANONYMOUS

    async def _respond(self, message: Message, answer: Response, keep: bool) -> None:
        pieces: Iterable[Bytes] = (answer.body,) if isinstance(answer.body, bytes) else answer.body
        size = answer.body.size if isinstance(answer.body, Pieces) else sum(map(len, pieces))
        large = size > self.limits.gzip_bytes and "Content-Encoding" not in answer.headers  # some come compressed
        if large and "gzip" in message.headers.get("accept-encoding", ""):
            compressed = await asyncio.to_thread(_gzip, pieces)
            pieces, size = (compressed,), len(compressed)
            answer.headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        elif large:
            answer.headers["Vary"] = "Accept-Encoding"
        first = head(answer.status, answer.content_type, answer.headers, size, keep)
        if message.method == "HEAD":
            message.connection.write(first)
        elif size <= self.limits.buffered_bytes:
            message.connection.write(b"".join((first, *pieces)))
        else:
            await self._write_pieces(message.connection, first, pieces)

    async def _write_pieces(self, connection: Connection, first: bytes, pieces: Iterable[Bytes]) -> None:
        """Write a large body little by little, so that a slow reader costs no second copy of it."""
        together: list[Bytes] = [first]
        size, most = len(first), self.limits.buffered_bytes
        for piece in pieces:
            for part in (piece,) if len(piece) <= most else _cut(piece, most):
                together.append(part)
                size += len(part)
                if size >= most:
                    connection.write(b"".join(together))
                    await connection.drained()
                    together, size = [], 0
        connection.write(b"".join(together))

    async def _stream(self, message: Message, answer: Stream, keep: bool) -> bool:
        """Write chunks as they come. The client sees an end only if the stream ended by itself."""
        chunked = message.version == "1.1"
        keep = keep and chunked
        chunks, connection = answer.chunks, message.connection
        try:
            headers = answer.headers | {"Transfer-Encoding": "chunked"} if chunked else answer.headers
            connection.write(head(answer.status, answer.content_type, headers, None, keep))
            if message.method == "HEAD":
                return False
            async for chunk in chunks:
                if chunk:
                    connection.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await connection.drained()
            if chunked:
                connection.write(b"0\r\n\r\n")
        finally:
            close: Callable[[], Awaitable[None]] | None = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        return keep and not self._draining


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _decoded(path: str) -> str:
    try:
        return unquote(path, errors="strict")
    except UnicodeDecodeError:
        raise status.bad_request("the path is not valid UTF-8") from None


@lru_cache(256)
def _query(query: str) -> Mapping[str, Sequence[str]]:
    """A query's parameters; those of a client's loop are the same again and again."""
    found: dict[str, list[str]] = {}
    try:
        for name, value in parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=1_000):
            found.setdefault(name, []).append(value)
    except ValueError:
        raise status.bad_request("the query is malformed") from None
    return {name: tuple(values) for name, values in found.items()}


def _cut(piece: Bytes, most: int) -> Iterator[Bytes]:
    for begin in range(0, len(piece), most):
        yield piece[begin : begin + most]


def _gzip(pieces: Iterable[Bytes]) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join((*map(compressor.compress, pieces), compressor.flush()))

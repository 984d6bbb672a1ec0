# SPDX-License-Identifier: Apache-2.0
"""The front: HTTP/1.1 over TLS on aiohttp's low-level server. Knows sockets, limits and streams; no path and no kind.

One connection is one `_Connection`, aiohttp's own protocol class with our words for errors and our limits on slow
heads. For each request `Front.answer` builds a `message.Request`, asks who the client is, calls the application, and
writes the answer itself: aiohttp's response classes cost more than all the rest.

What a client may do is in `Limits`. Beyond, it gets 414, 431, 413 or 408, and the connection is closed. Malformed HTTP
gets 400 and is closed.

Client certificates are judged by OpenSSL in the handshake: one that is expired, or signed by somebody else, gets a TLS
alert, not a 401.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote

from aiohttp import StreamReader, http_exceptions, web

from kubesched.api import status
from kubesched.apiserver.message import ANONYMOUS, Application, Request, Response, Stream, User, failed

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one client may ask of the front; bytes and seconds."""

    line_bytes: int = 16 << 10
    head_bytes: int = 64 << 10
    body_bytes: int = 3 << 20  # upstream's limit
    head_s: float = 32.0  # upstream's ReadHeaderTimeout
    body_s: float = 60.0  # upstream's request time-out
    idle_s: float = 90.0  # upstream's IdleTimeout
    stalled_s: float = 30.0  # a reader that takes nothing for so long is gone
    handshake_s: float = 10.0
    buffered_bytes: int = 256 << 10  # written ahead of a slow reader
    gzip_bytes: int = 128 << 10  # upstream compresses from here on


class Authenticator(Protocol):
    """Who sent a request. None is nobody in particular; both raise StatusError 401."""

    def certificate(self, tls: ssl.SSLObject | None) -> tuple[User | None, float]:
        """The user of a connection, and until when (seconds since the epoch); OpenSSL verified the certificate."""

    async def header(self, authorization: str) -> User | None:
        """The user that the header Authorization names."""


class _Connection(web.RequestHandler):
    """One connection: whose it is, how much of a head is still missing, what is said about malformed HTTP."""

    __slots__ = ("_front", "_head_bytes", "_head_timer", "large", "remote", "user", "user_until")

    def __init__(self, front: Front, manager: web.Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._front = front
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self.large = False  # what came last may hold more headers than are allowed
        self.remote = ""
        self.user: User | None = None
        self.user_until = 0.0  # asked at the first request

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else ""
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self.large = self._head_bytes + len(data) > self._front.limits.head_bytes
        super().data_received(data)
        waiter = self._waiter
        if waiter is None or waiter.done():
            if self._head_timer is not None:
                self._whole_head()
            return
        self._head_bytes += len(data)  # nothing came of it yet: a part of a head
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self._front.limits.head_s, self._refuse, 408)
        if self._head_bytes > self._front.limits.head_bytes + self._front.limits.line_bytes:
            self._refuse(431)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._whole_head()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Say what is wrong with HTTP itself. aiohttp calls it for what its parser refuses."""
        code = status
        if isinstance(exc, http_exceptions.LineTooLong):
            code = 414 if exc.args[1] == self._front.limits.line_bytes else 431
        elif isinstance(exc, http_exceptions.BadHttpMessage) and "Too many headers" in str(exc.message):
            code = 431
        if code >= 500:
            _log.error("a request failed in the front", exc_info=exc)
        self._write_refusal(code)
        return _CLOSE

    def _whole_head(self) -> None:
        self._head_bytes = 0
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, code: int) -> None:
        self._whole_head()
        self._write_refusal(code)
        self.force_close()

    def _write_refusal(self, code: int) -> None:
        if self.transport is not None:
            body = f"{code} {_phrase(code)}".encode()
            self.transport.write(_head(code, "text/plain; charset=utf-8", {}, len(body), keep=False) + body)


class _Written(web.StreamResponse):
    """What is handed to aiohttp for an answer that is written already; all it needs to know is whether to go on."""

    def __init__(self, keep: bool) -> None:  # not StreamResponse's: there is no header and no body to keep
        self._keep = keep

    @property
    def keep_alive(self) -> bool:
        return self._keep

    async def prepare(self, request: web.BaseRequest) -> None:
        return None

    async def write_eof(self, data: object = b"") -> None:
        return None


_KEEP, _CLOSE = _Written(True), _Written(False)


class _Server(web.Server):
    """Makes our connections instead of aiohttp's."""

    def __init__(self, front: Front, **options: Any) -> None:
        super().__init__(front.answer, handler_cancellation=True, access_log=None, auto_decompress=False, **options)
        self._front = front

    def __call__(self) -> web.RequestHandler:
        return _Connection(self._front, self, loop=self._loop, **self._kwargs)


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
        self._server: _Server | None = None
        self._listening: asyncio.Server | None = None
        self._draining = False

    async def listen(self, host: str, port: int) -> int:
        """Begin to serve; returns the port, which the system chooses when it is 0."""
        limits = self.limits
        self._server = _Server(
            self,
            keepalive_timeout=limits.idle_s,
            max_line_size=limits.line_bytes,
            max_field_size=limits.head_bytes,
            lingering_time=1.0,  # after a refusal: long enough that the client reads it before the reset
        )
        tls: dict[str, Any] = {"ssl": self._tls, "ssl_handshake_timeout": limits.handshake_s} if self._tls else {}
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(self._server, host, port, backlog=1024, **tls)
        return int(self._listening.sockets[0].getsockname()[1])

    async def drain(self, end_streams: Callable[[], None], timeout_s: float = 60.0) -> None:
        """Stop: take no new connections, end streams, let requests that are under way finish, close.

        ``end_streams`` lets the application end its streams cleanly.
        """
        assert self._server is not None
        assert self._listening is not None
        self._draining = True
        self._listening.close()
        end_streams()
        self._server.pre_shutdown()
        await self._server.shutdown(timeout_s)
        await self._listening.wait_closed()

    # ---- one request -----------------------------------------------------------------------------------------------

    async def answer(self, raw: web.BaseRequest) -> web.StreamResponse:
        """Answer one request of a connection; aiohttp calls it."""
        keep = raw.keep_alive and not self._draining and raw.version >= (1, 0)
        body = _Body(raw, self.limits)
        try:
            request = self._request(raw, body)
            request.user = await self._user(raw)
            answer = await self._application(request)
        except status.StatusError as error:
            answer = failed(error)
        keep = keep and not body.abandoned
        try:
            if isinstance(answer, Stream):
                return await self._stream(raw, answer, keep)
            return await self._respond(raw, answer, keep)
        except ConnectionError:
            return _CLOSE  # the client left, or was cut off

    def _request(self, raw: web.BaseRequest, body: _Body) -> Request:
        target = raw.raw_path
        if raw.version < (1, 0):
            raise status.bad_request("HTTP/0.9 is not spoken here")
        if not target.startswith("/"):
            raise status.bad_request("the request target must be a path")
        path, _, query = target.partition("?")
        connection = raw.protocol
        assert isinstance(connection, _Connection)
        head = raw.headers
        if connection.large and sum(map(len, head.values())) > self.limits.head_bytes:
            raise status.StatusError(431, "RequestHeaderFieldsTooLarge", "request header fields too large")
        return Request(
            raw.method,
            _decoded(path) if "%" in path else path,
            _query(query) if query else {},
            head,
            body.read,
            remote=connection.remote,
        )

    async def _user(self, raw: web.BaseRequest) -> User:
        """The certificate's user, else the header's, else nobody in particular; in upstream's order."""
        connection = raw.protocol
        assert isinstance(connection, _Connection)
        if time.time() >= connection.user_until:
            tls = connection.transport.get_extra_info("ssl_object") if connection.transport else None
            connection.user, connection.user_until = self._authenticator.certificate(tls)
        if connection.user is not None:
            return connection.user
        authorization = raw.headers.get("Authorization")
        return (authorization and await self._authenticator.header(authorization)) or ANONYMOUS

    async def _respond(self, raw: web.BaseRequest, answer: Response, keep: bool) -> web.StreamResponse:
        pieces: Sequence[bytes] = (answer.body,) if isinstance(answer.body, bytes) else answer.body
        size = sum(map(len, pieces))
        large = size > self.limits.gzip_bytes and "Content-Encoding" not in answer.headers  # some come compressed
        if large and "gzip" in raw.headers.get("Accept-Encoding", ""):
            pieces = [await asyncio.to_thread(_gzip, pieces)]
            size = len(pieces[0])
            answer.headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        elif large:
            answer.headers["Vary"] = "Accept-Encoding"
        head = _head(answer.status, answer.content_type, answer.headers, size, keep)
        write = _writer(raw)
        if raw.method == "HEAD":
            write(head)
        elif size <= self.limits.buffered_bytes:
            write(b"".join((head, *pieces)))
        else:
            await self._write_pieces(raw, head, pieces)
        return _KEEP if keep else _CLOSE

    async def _write_pieces(self, raw: web.BaseRequest, head: bytes, pieces: Sequence[bytes]) -> None:
        """Write a large body little by little, so that a slow reader costs no second copy of it."""
        together: list[bytes] = [head]
        size = len(head)
        for piece in pieces:
            for first in range(0, len(piece), self.limits.buffered_bytes):
                together.append(piece[first : first + self.limits.buffered_bytes])
                size += len(together[-1])
                if size >= self.limits.buffered_bytes:
                    _writer(raw)(b"".join(together))
                    await self._drained(raw)
                    together, size = [], 0
        _writer(raw)(b"".join(together))

    async def _stream(self, raw: web.BaseRequest, answer: Stream, keep: bool) -> web.StreamResponse:
        """Write chunks as they come. The client sees an end only if the stream ended by itself."""
        chunked = raw.version >= (1, 1)
        keep = keep and chunked
        chunks = answer.chunks
        try:
            headers = answer.headers | {"Transfer-Encoding": "chunked"} if chunked else answer.headers
            _writer(raw)(_head(answer.status, answer.content_type, headers, None, keep))
            if raw.method == "HEAD":
                return _CLOSE
            async for chunk in chunks:
                if chunk:
                    _writer(raw)(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                    await self._drained(raw)
            if chunked:
                _writer(raw)(b"0\r\n\r\n")
        finally:
            close: Callable[[], Awaitable[None]] | None = getattr(chunks, "aclose", None)
            if close is not None:
                await close()
        return _KEEP if keep and not self._draining else _CLOSE

    async def _drained(self, raw: web.BaseRequest) -> None:
        """Wait until the reader has taken enough; one that takes nothing is cut off."""
        if not raw.protocol.writing_paused:
            return
        try:
            async with asyncio.timeout(self.limits.stalled_s):
                await raw.writer.drain()
        except TimeoutError:
            _abort(raw)
            raise ConnectionResetError("the reader is too slow") from None


class _Body:
    """Reads a request's body, once, within the limits. ``abandoned``: some was not read, so the connection ends."""

    __slots__ = ("_limits", "_raw", "abandoned")

    def __init__(self, raw: web.BaseRequest, limits: Limits) -> None:
        self._raw = raw
        self._limits = limits
        self.abandoned = False

    async def read(self) -> bytes:
        content = self._raw.content
        if content.is_eof() and content.total_bytes <= self._limits.body_bytes:
            return bytes(content.read_nowait())  # all of it came with the head, as most do
        self.abandoned = True
        declared = self._raw.headers.get("Content-Length")
        if declared is not None and int(declared) > self._limits.body_bytes:
            raise self._too_large()
        self._continue()
        try:
            async with asyncio.timeout(self._limits.body_s):
                body = await self._read_rest(content)
        except TimeoutError:
            raise status.StatusError(408, "Timeout", "Timeout: the request's body did not come in time") from None
        except (web.RequestPayloadError, http_exceptions.HttpProcessingError) as error:
            raise status.bad_request("the request's body is malformed") from error
        self.abandoned = False
        return body

    async def _read_rest(self, content: StreamReader) -> bytes:
        parts: list[bytes] = []
        size = 0
        while not content.at_eof():
            parts.append(await content.readany())
            size += len(parts[-1])
            if size > self._limits.body_bytes:
                raise self._too_large()
        return b"".join(parts)

    def _too_large(self) -> status.StatusError:
        return status.too_large(f"limit is {self._limits.body_bytes}")

    def _continue(self) -> None:
        """Let a client go on that waits for a word before it sends its body."""
        if self._raw.headers.get("Expect", "").lower() == "100-continue":
            _writer(self._raw)(b"HTTP/1.1 100 Continue\r\n\r\n")


# ---- bytes -----------------------------------------------------------------------------------------------------------


def _writer(raw: web.BaseRequest) -> Callable[[bytes], None]:
    transport = raw.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    return transport.write


def _abort(raw: web.BaseRequest) -> None:
    if raw.transport is not None:
        raw.transport.abort()


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


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


_LINES = {code.value: f"HTTP/1.1 {code.value} {code.phrase}\r\n" for code in HTTPStatus}


def _head(code: int, content_type: str, headers: Mapping[str, str], length: int | None, keep: bool) -> bytes:
    """The head of an answer; ``length`` None is a stream."""
    lines = [_LINES.get(code) or f"HTTP/1.1 {code} {_phrase(code)}\r\n"]
    for name, value in headers.items():
        lines.append(f"{name}: {value if value.isprintable() else _printable(value)}\r\n")
    lines.append(f"Content-Type: {content_type}\r\nDate: {_date(int(time.time()))}\r\n")
    if length is not None:
        lines.append(f"Content-Length: {length}\r\n")
    lines.append("\r\n" if keep else "Connection: close\r\n\r\n")
    return "".join(lines).encode("utf-8", "replace")


def _printable(value: str) -> str:
    """A header's value without what would end it: a warning may quote what a client sent."""
    return "".join(char if char.isprintable() else " " for char in value)


def _gzip(pieces: Sequence[bytes]) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    return b"".join((*map(compressor.compress, pieces), compressor.flush()))

# SPDX-License-Identifier: Apache-2.0
"""One HTTP/1.1 connection: bytes to requests, in order, one answered at a time; limits on what a client may send.

llhttp (through httptools) reads; nothing here is lenient. A request is handed over when its head is whole; its body may
still be under way. Whoever goes beyond the limits, is too slow, or sends what is no HTTP gets one line and is closed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import httptools

from kubesched.api import status
from kubesched.apiserver.message import User

_MOST_HEADERS = 256  # arbitrary: kubectl sends ten
_MOST_WAITING = 32  # arbitrary: requests sent ahead of their answers
_LINGER_S = 1.0  # after a refusal: long enough that the client reads it before the reset
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


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
    goodbye_s: float = 1.0  # a client that does not answer the end of TLS is not waited for longer
    buffered_bytes: int = 256 << 10  # written ahead of a slow reader
    gzip_bytes: int = 128 << 10  # upstream compresses from here on


class Message:
    """A request as it comes in."""

    __slots__ = (
        *("_parts", "_size", "_waiter", "connection", "headers", "is_broken"),
        *("is_whole", "keep", "method", "target", "version"),
    )

    def __init__(self, connection: Connection, headers: dict[str, str]) -> None:
        self.connection = connection
        self.method = ""
        self.target = b""
        self.version = ""
        self.headers = headers
        """Names in lower case; values of one name are joined by commas."""
        self.keep = False
        """Whether the client wants to go on afterwards."""
        self.is_whole = False
        """The body came to its end."""
        self.is_broken = False
        """What came instead of the body is no HTTP."""
        self._parts: list[bytes] = []
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, part: bytes) -> None:
        """A part of the body came."""
        self._size += len(part)
        if self._is_large():
            self._parts.clear()
            self.wake()
        else:
            self._parts.append(part)

    def wake(self) -> None:
        """Something happened that whoever reads must know."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _is_large(self) -> bool:
        return self._size > self.connection.limits.body_bytes

    async def read(self) -> bytes:
        """The whole body, once.

        Raises
        ------
        StatusError
            413 beyond the limit, 408 if it takes too long, 400 if it is malformed.
        """
        limits = self.connection.limits
        declared = self.headers.get("content-length")
        if self._is_large() or (declared is not None and int(declared) > limits.body_bytes):
            raise status.too_large(f"limit is {limits.body_bytes}")
        if not self.is_whole:
            await self._rest(limits)
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    async def _rest(self, limits: Limits) -> None:
        if self.headers.get("expect", "").lower() == "100-continue":
            self.connection.write(_CONTINUE)
        self._waiter = asyncio.get_running_loop().create_future()
        if not self.is_broken:
            try:
                async with asyncio.timeout(limits.body_s):
                    await self._waiter
            except TimeoutError:
                raise status.StatusError(408, "Timeout", "Timeout: the request's body did not come in time") from None
        if self._is_large():
            raise status.too_large(f"limit is {limits.body_bytes}")
        if self.is_broken:
            raise status.bad_request("the request's body is malformed")


class Connection(asyncio.Protocol):
    """Reads requests and has each answered before the next.

    Parameters
    ----------
    answer
        Writes the answer to a message; whether the connection goes on.
    made, gone
        Called when the connection stands (a handshake that fails makes none), and when it has ended.
    """

    def __init__(
        self,
        limits: Limits,
        answer: Callable[[Message], Awaitable[bool]],
        made: Callable[[Connection], None],
        gone: Callable[[Connection], None],
    ) -> None:
        self.limits = limits
        self.user: User | None = None
        self.user_until = 0.0  # asked at the first request
        self.remote = ""
        self._answer, self._made, self._gone = answer, made, gone
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: deque[Message] = deque()
        self._task: asyncio.Task[None] | None = None
        self._coming: Message | None = None
        """Whose body is under way."""
        self._last: Message | None = None
        self._target = b""
        self._headers: dict[str, str] = {}
        self._n_headers = 0
        self._head_size = 0
        self._head_bytes = 0
        """Bytes that came since a request was whole, without those that came together with its end."""
        self._in_head = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_timer: asyncio.TimerHandle | None = None
        self._active = self._loop.time()
        self._refusal = 0
        """Code of what is said after the answers that are due; then the connection ends."""
        self._is_deaf = False
        """What still comes is not looked at."""
        self._can_write: asyncio.Future[None] | None = None
        """While the client does not take what is written."""

    # ---- the transport's calls ----

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        peer = transport.get_extra_info("peername")
        self.remote = str(peer[0]) if peer else ""
        self._idle_timer = self._loop.call_later(self.limits.idle_s, self._idle)
        self._made(self)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._is_deaf = True  # answered as if nothing had been said of another protocol, and closed
            if self._last is not None:
                self._last.keep = False
        except httptools.HttpParserError:
            self._refuse(400)
        if self._refusal:
            self._give_up()
        elif self._in_head:
            self._wait_for_head()
        if self._waiting and self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif self._refusal and self._task is None:
            self._end()
        if len(self._waiting) > _MOST_WAITING and self._transport is not None:
            self._transport.pause_reading()

    def connection_lost(self, exc: BaseException | None) -> None:
        for timer in (self._head_timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self._transport = None
        self._waiting.clear()
        self.resume_writing()
        if self._task is not None:
            self._task.cancel()
        self._gone(self)

    def pause_writing(self) -> None:
        self._can_write = self._can_write or self._loop.create_future()

    def resume_writing(self) -> None:
        if self._can_write is not None and not self._can_write.done():
            self._can_write.set_result(None)
        self._can_write = None

    # ---- the parser's calls ----

    def on_message_begin(self) -> None:
        self._target, self._headers = b"", {}
        self._n_headers = self._head_size = 0
        self._in_head = True

    def on_url(self, part: bytes) -> None:
        self._target += part
        if len(self._target) > self.limits.line_bytes:
            self._refuse(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._n_headers += 1
        self._head_size += len(name) + len(value)
        if self._n_headers > _MOST_HEADERS or self._head_size > self.limits.head_bytes:
            self._refuse(431)
            return
        key, text, headers = _name(name), value.decode("latin-1"), self._headers
        if key not in headers:
            headers[key] = text
        elif key == "host":
            self._refuse(400)
        else:
            headers[key] += f", {text}"

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None
        version = self._parser.get_http_version()
        if self._headers.get("transfer-encoding", "chunked").lower() != "chunked":
            self._refuse(400)
        if version not in ("1.1", "1.0") or (version == "1.1" and "host" not in self._headers):
            self._refuse(400)
        if self._refusal:
            return
        message = self._coming = self._last = Message(self, self._headers)
        message.method, message.target = self._parser.get_method().decode(), self._target
        message.version, message.keep = version, self._parser.should_keep_alive()
        self._waiting.append(message)

    def on_body(self, part: bytes) -> None:
        if self._coming is not None:
            self._coming.feed(part)

    def on_message_complete(self) -> None:
        self._head_bytes = 0
        if self._coming is not None:
            self._coming.is_whole = True
            self._coming.wake()
            self._coming = None

    # ---- answers ----

    async def _serve(self) -> None:
        """Have the requests answered that are there."""
        while self._waiting:
            message = self._waiting.popleft()
            try:
                goes_on = await self._answer(message)
            except ConnectionError:
                goes_on = False  # the client left, or was cut off
            self._active = self._loop.time()
            if self._transport is None:
                return
            if not goes_on:
                self._waiting.clear()
                self._end()
                return
        self._task = None
        if self._refusal:
            self._end()
        elif self._transport is not None:
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Write at once; raises ConnectionResetError if nobody is there."""
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the client has taken enough; one that takes nothing is cut off."""
        if self._can_write is None:
            return
        try:
            async with asyncio.timeout(self.limits.stalled_s):
                await asyncio.shield(self._can_write)
        except TimeoutError:
            self.abort()
            raise ConnectionResetError("the reader is too slow") from None

    def abort(self) -> None:
        """Close without a word."""
        if self._transport is not None:
            self._transport.abort()

    def extra(self, name: str) -> Any:
        """What the transport knows, such as ``ssl_object``."""
        return None if self._transport is None else self._transport.get_extra_info(name)

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or comes."""
        return self._task is not None or self._in_head

    # ---- the end ----

    def refuse(self, code: int) -> None:
        """Say a line, and close behind it."""
        self.write(_line(code))

    def _refuse(self, code: int) -> None:
        self._refusal = self._refusal or code

    def _give_up(self) -> None:
        """Nothing more is read; a body that was under way is broken."""
        self._is_deaf, self._in_head = True, False
        if self._coming is not None:
            self._coming.is_broken, self._refusal = True, 0  # the answer to it says so
            self._coming.keep = False
            self._coming.wake()

    def _wait_for_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self._loop.call_later(self.limits.head_s, self._late)
        if self._head_bytes > self.limits.head_bytes + self.limits.line_bytes:
            self._refuse(431)
            self._give_up()

    def _late(self) -> None:
        self._head_timer = None
        self._refuse(408)
        self._give_up()
        if self._task is None:
            self._end()

    def _idle(self) -> None:
        """Close if nothing happened for long; else ask again when that may be."""
        left = self._active + self.limits.idle_s - self._loop.time()
        if self.is_busy:
            left = self.limits.idle_s
        elif left <= 0:
            self.close()
            return
        self._idle_timer = self._loop.call_later(left, self._idle)

    def _end(self) -> None:
        """Say what is to be said; close, but leave a client that still sends the time to read it."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        still_comes = self._is_deaf or self._coming is not None
        if self._refusal:
            transport.write(_line(self._refusal))
        self._is_deaf = True
        if still_comes:
            if transport.can_write_eof():  # not over TLS
                transport.write_eof()
            self._loop.call_later(_LINGER_S, self.close)
        else:
            self.close()

    def close(self) -> None:
        """Close behind what is written."""
        if self._transport is not None:
            self._transport.close()


@lru_cache(512)
def _name(name: bytes) -> str:
    return name.decode("latin-1").lower()


def _line(code: int) -> bytes:
    """A whole answer that says no more than its code."""
    body = f"{code} {_phrase(code)}".encode()
    return head(code, "text/plain; charset=utf-8", {}, len(body), keep=False) + body


@lru_cache(1)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def _phrase(code: int) -> str:
    try:
        return HTTPStatus(code).phrase
    except ValueError:
        return "Unknown"


_LINES = {code.value: f"HTTP/1.1 {code.value} {code.phrase}\r\n" for code in HTTPStatus}


def head(code: int, content_type: str, headers: Mapping[str, str], length: int | None, keep: bool) -> bytes:
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

# SPDX-License-Identifier: Apache-2.0
"""The front, byte by byte: what a client may send, what it gets, and what a bad or slow one gets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from uuid import UUID

import pytest
import uvloop

from kubesched.api import status
from kubesched.apiserver.connection import Limits
from kubesched.apiserver.front import Front
from kubesched.apiserver.message import Answer, Request, Response, Stream, User

GET = b"GET /x HTTP/1.1\r\nHost: h\r\n"


class Everybody:
    def certificate(self, tls: ssl.SSLObject | None) -> tuple[User | None, float]:
        return None, float("inf")

    async def header(self, authorization: str) -> User:
        if authorization != "Bearer good":
            raise status.unauthorized()
        return User("somebody")


@dataclass
class Application:
    """Answers by path, and writes down what it was asked."""

    requests: list[Request] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    closed: asyncio.Event = field(default_factory=asyncio.Event)
    end: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: Request) -> Answer:
        self.requests.append(request)
        if request.path == "/stream":
            return Stream(self.ticks())
        if request.path == "/flood":
            return Stream(self.flood())
        if request.path == "/unread":
            return Response(404, b"no")
        if request.path == "/broken":
            raise LookupError("a defect")
        if request.path == "/slow":
            await self.end.wait()
        if request.path == "/large":
            return Response(200, [b"%06d" % n for n in range(100_000)])
        try:
            self.bodies.append(await request.read())
        except status.StatusError as error:
            return Response(error.code, error.encode())
        return Response(200, b'{"path":"%b"}' % request.path.encode(), headers={"Warning": '299 - "a\r\nX: y"'})

    async def ticks(self) -> AsyncIterator[bytes]:
        try:
            yield b"one\n"
            await asyncio.sleep(0)
            yield b"two\n"
            await self.end.wait()
        finally:
            self.closed.set()

    async def flood(self) -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(64 << 10)
        finally:
            self.closed.set()


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = raw.rstrip().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines)
        return int(first.split()[1]), headers

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        code, headers = await self.head()
        return code, headers, await self.reader.readexactly(int(headers["Content-Length"]))

    async def ask(self, data: bytes) -> tuple[int, dict[str, str], bytes]:
        await self.send(data)
        return await self.answer()

    async def closed(self) -> bool:
        """Whether the server closes the connection, whatever it still says."""
        with suppress(ConnectionError):
            await self.reader.read()
        return True


@dataclass
class Served:
    application: Application
    front: Front
    port: int
    clients: list[Client] = field(default_factory=list)

    async def client(self, limit: int = 1 << 16) -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=limit)
        self.clients.append(Client(reader, writer))
        return self.clients[-1]


@asynccontextmanager
async def served(**limits: float) -> AsyncIterator[Served]:
    application = Application()
    front = Front(application, Everybody(), tls=None, limits=Limits(**limits))  # type: ignore[arg-type]
    found = Served(application, front, await front.listen("127.0.0.1", 0))
    try:
        yield found
    finally:
        for client in found.clients:
            client.writer.close()
        await front.drain(application.end.set, timeout_s=1)


def run(test: Callable[[Served], Awaitable[None]], **limits: float) -> None:
    async def whole() -> None:
        async with served(**limits) as found:
            await asyncio.wait_for(test(found), 30)

    uvloop.run(whole())


def test_request_then_everything_reaches_the_application() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        query = b"labelSelector=a%3Db&x=1&x=2&watch"
        head = b"POST /api/v1/a%20b?" + query + b" HTTP/1.1\r\nHost: h\r\nUser-Agent: t/1\r\n"
        code, headers, body = await client.ask(head + b"Content-Length: 4\r\n\r\nbody")
        assert (code, body) == (200, b'{"path":"/api/v1/a b"}')
        request = found.application.requests[0]
        assert request.method == "POST"
        assert request.query == {"labelSelector": ("a=b",), "x": ("1", "2"), "watch": ("",)}
        assert request.headers.get("user-agent") == "t/1"
        assert request.user.name == "system:anonymous"
        assert request.remote == "127.0.0.1"
        assert found.application.bodies == [b"body"]
        assert headers["Content-Type"] == "application/json"
        assert "Date" in headers
        assert headers["Warning"] == '299 - "a  X: y"'

    run(check)


def test_connection_when_kept_alive_then_many_requests_in_order() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(50)))
        for n in range(50):
            assert (await client.answer())[2] == b'{"path":"/%d"}' % n
        code, headers, _ = await client.ask(GET + b"Connection: close\r\n\r\n")
        assert (code, headers["Connection"]) == (200, "close")
        assert await client.closed()

    run(check)


def test_body_when_chunked_and_slow_then_read_whole() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nab")
        await asyncio.sleep(0.02)
        assert (await client.ask(b"cd\r\n2\r\nef\r\n0\r\n\r\n"))[0] == 200
        assert found.application.bodies == [b"abcdef"]

    run(check)


def test_expect_then_continue_or_the_final_error() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        head = b"POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: "
        await client.send(head + b"4\r\n\r\n")
        assert (await client.head())[0] == 100
        assert (await client.ask(b"body"))[0] == 200
        assert (await client.ask(head + b"99999999\r\n\r\n"))[0] == 413

    run(check)


def test_body_when_too_large_then_413_before_the_rest_is_read() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        declared = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2000\r\n\r\n"
        code, headers, body = await client.ask(declared + b"only this")
        assert (code, headers["Connection"]) == (413, "close")
        assert b"Request entity too large" in body
        client = await found.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(b"258\r\n" + bytes(600) + b"\r\n258\r\n" + bytes(600) + b"\r\n")
        assert (await client.answer())[0] == 413
        client = await found.client()
        code, _, _ = await client.ask(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n" + bytes(1001))
        assert code == 413
        client = await found.client()
        code, _, _ = await client.ask(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1000\r\n\r\n" + bytes(1000))
        assert code == 200

    run(check, body_bytes=1_000)


def test_body_when_not_read_then_the_next_request_is_not_confused() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(
            b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabcGET /y HTTP/1.1\r\nHost: h\r\n\r\n"
        )
        assert (await client.answer())[0] == 404
        assert (await client.answer())[2] == b'{"path":"/y"}'

    run(check)


def test_body_when_not_read_and_not_whole_then_answered_and_closed() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"POST /unread HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc")
        code, headers, _ = await client.answer()
        assert (code, headers["Connection"]) == (404, "close")
        await client.send(b"defghiGET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
        assert await client.closed()
        assert [request.path for request in found.application.requests] == ["/unread"]

    run(check)


def test_requests_when_far_ahead_of_their_answers_then_all_in_order() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        sending = asyncio.create_task(
            client.send(b"".join(b"GET /%05d HTTP/1.1\r\nHost: h\r\n\r\n" % n for n in range(20_000)))
        )
        for n in range(20_000):
            assert (await client.answer())[2] == b'{"path":"/%05d"}' % n
        await sending

    run(check)


def test_head_when_it_begins_behind_a_large_body_then_waited_for() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        body = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 900000\r\n\r\n" + bytes(900_000)
        await client.send(body + b"GET /y HT")
        assert (await client.answer())[0] == 200
        assert (await client.ask(b"TP/1.1\r\nHost: h\r\n\r\n"))[2] == b'{"path":"/y"}'

    run(check)


def test_other_protocol_when_asked_for_then_not_spoken_and_nothing_smuggled() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        upgrade = b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        await client.send(GET + upgrade + b"GET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
        code, headers, _ = await client.answer()
        assert (code, headers["Connection"]) == (200, "close")
        assert await client.closed()
        client = await found.client()
        code, headers, _ = await client.ask(b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (code, headers["Connection"]) == (400, "close")
        assert [request.path for request in found.application.requests] == ["/x"]

    run(check)


def test_version_1_0_then_closed_unless_asked_to_go_on() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        assert (await client.ask(b"GET /x HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"))[0] == 200
        assert (await client.ask(b"GET /x HTTP/1.0\r\n\r\n"))[0] == 200
        assert await client.closed()

    run(check)


def test_application_when_it_fails_then_500_and_others_served(caplog: pytest.LogCaptureFixture) -> None:
    async def check(found: Served) -> None:
        client, other = await found.client(), await found.client()
        await client.send(b"GET /broken HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.head())[0] == 500
        assert await client.closed()
        assert (await other.ask(GET + b"\r\n"))[0] == 200

    run(check)
    assert "a defect" in caplog.text


POST = b"POST /x HTTP/1.1\r\nHost: h\r\n"
MALFORMED = {
    "two lengths": b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "length and chunked": POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "unknown coding": b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip\r\n\r\n",
    "folded header": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    "space before colon": b"GET /x HTTP/1.1\r\nHost: h\r\nA : b\r\n\r\n",
    "negative length": b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: -1\r\n\r\n",
    "length with a plus": b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: +1\r\n\r\na",
    "bare line feed in a header": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\nC: d\r\n\r\n",
    "NUL in a header": b"GET /x HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no version": b"GET /x\r\n\r\n",
    "two hosts": b"GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "no host": b"GET /x HTTP/1.1\r\n\r\n",
    "absolute target": b"GET http://elsewhere/x HTTP/1.1\r\nHost: h\r\n\r\n",
    "path that is no UTF-8": b"GET /%ff HTTP/1.1\r\nHost: h\r\n\r\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_http_when_malformed_then_400(name: str) -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(MALFORMED[name])
        code, headers = await client.head()
        assert code == 400
        if name not in ("absolute target", "path that is no UTF-8"):
            assert headers["Connection"] == "close"
            assert await client.closed()
        assert not found.application.requests

    run(check)


def test_chunk_when_malformed_then_400_or_closed_and_never_smuggled() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nGET /evil HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.head())[0] == 400
        assert await client.closed()
        assert "/evil" not in [request.path for request in found.application.requests]

    run(check)


@pytest.mark.parametrize(
    ("code", "request_bytes"),
    [
        (414, b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: h\r\n\r\n"),
        (431, GET + b"A: " + b"b" * 70_000 + b"\r\n\r\n"),
        (431, GET + b"".join(b"A%d: %b\r\n" % (n, b"b" * 1_000) for n in range(100)) + b"\r\n"),
        (431, GET + b"".join(b"A%d: b\r\n" % n for n in range(500)) + b"\r\n"),
        (431, GET + b"A: " + b"b" * 60_000 + b"\r\nB: " + b"c" * 60_000),
    ],
    ids=["line", "header", "headers", "number of headers", "head without an end"],
)
def test_head_when_too_large_then_refused(code: int, request_bytes: bytes) -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(request_bytes)
        assert (await client.head())[0] == code
        assert not found.application.requests

    run(check)


def test_head_when_slow_then_408_and_closed() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"GET /x HT")
        await asyncio.sleep(0.03)
        await client.send(b"TP/1.1\r\nHo")
        assert (await client.head())[0] == 408
        assert await client.closed()
        other = await found.client()
        assert (await other.ask(GET + b"\r\n"))[0] == 200
        await asyncio.sleep(0.15)
        assert (await other.ask(GET + b"\r\n"))[0] == 200, "an idle connection is not a slow head"

    run(check, head_s=0.1)


def test_body_when_slow_then_408() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc")
        code, headers, _ = await client.answer()
        assert (code, headers["Connection"]) == (408, "close")

    run(check, body_s=0.05)


def test_connection_when_idle_then_closed() -> None:
    async def check(found: Served) -> None:
        silent = await found.client()
        assert await silent.closed()
        client = await found.client()
        assert (await client.ask(GET + b"\r\n"))[0] == 200
        assert await client.closed()

    run(check, idle_s=0.05)


def test_answer_when_large_then_whole_and_compressed_when_asked() -> None:
    async def check(found: Served) -> None:
        expected = b"".join(b"%06d" % n for n in range(100_000))
        client = await found.client()
        large = b"GET /large HTTP/1.1\r\nHost: h\r\n"
        code, headers, body = await client.ask(large + b"\r\n")
        assert (code, body) == (200, expected)
        assert "Content-Encoding" not in headers
        code, headers, body = await client.ask(large + b"Accept-Encoding: gzip, deflate\r\n\r\n")
        assert (headers["Content-Encoding"], headers["Vary"]) == ("gzip", "Accept-Encoding")
        assert gzip.decompress(body) == expected
        code, headers, body = await client.ask(GET + b"Accept-Encoding: gzip\r\n\r\n")
        assert "Content-Encoding" not in headers

    run(check)


def test_head_method_then_no_body() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n")
        code, headers = await client.head()
        assert (code, headers["Content-Length"]) == (200, "13")
        assert (await client.ask(GET + b"\r\n"))[0] == 200

    run(check)


async def chunk(client: Client) -> bytes:
    size = int(await client.reader.readline(), 16)
    return (await client.reader.readexactly(size + 2))[:-2]


def test_stream_then_each_chunk_at_once_and_a_clean_end() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n")
        code, headers = await client.head()
        assert (code, headers["Transfer-Encoding"]) == (200, "chunked")
        assert [await chunk(client), await chunk(client)] == [b"one\n", b"two\n"]
        found.application.end.set()
        assert await chunk(client) == b""
        assert (await client.ask(GET + b"\r\n"))[0] == 200, "the connection goes on after a stream"

    run(check)


def test_stream_when_http_1_0_then_unframed_and_closed() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"GET /stream HTTP/1.0\r\n\r\n")
        _, headers = await client.head()
        assert "Transfer-Encoding" not in headers
        assert await client.reader.readexactly(8) == b"one\ntwo\n"
        found.application.end.set()
        assert await client.reader.read() == b""

    run(check)


def test_stream_when_the_client_leaves_then_its_source_is_closed() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        await client.send(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        await client.head()
        client.writer.close()
        await found.application.closed.wait()

    run(check)


def test_stream_when_its_reader_stalls_then_cut_off_and_others_served() -> None:
    async def check(found: Served) -> None:
        client = await found.client(limit=1_024)
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await client.send(b"GET /flood HTTP/1.1\r\nHost: h\r\n\r\n")
        other = await found.client()
        assert (await other.ask(GET + b"\r\n"))[0] == 200
        await found.application.closed.wait()

    run(check, stalled_s=0.1)


def test_credentials_when_bad_then_401_and_the_application_is_not_asked() -> None:
    async def check(found: Served) -> None:
        client = await found.client()
        code, headers, body = await client.ask(GET + b"Authorization: Bearer bad\r\n\r\n")
        assert code == 401
        assert UUID(headers["Audit-Id"]).version == 4
        assert b'"reason":"Unauthorized"' in body
        assert not found.application.requests
        assert (await client.ask(GET + b"Authorization: Bearer good\r\n\r\n"))[0] == 200
        assert found.application.requests[0].user.name == "somebody"
        assert (await client.ask(GET + b"\r\n"))[0] == 200
        assert found.application.requests[1].user.name == "system:anonymous"

    run(check)


def test_drain_then_requests_finish_streams_end_and_new_connections_are_refused() -> None:
    async def check(found: Served) -> None:
        slow, stream, idle = await found.client(), await found.client(), await found.client()
        assert (await idle.ask(GET + b"\r\n"))[0] == 200
        await slow.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
        await stream.send(b"GET /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        await stream.head()
        assert [await chunk(stream), await chunk(stream)] == [b"one\n", b"two\n"]
        while len(found.application.requests) < 3:
            await asyncio.sleep(0.001)
        await found.front.drain(found.application.end.set, timeout_s=10)
        assert (await slow.answer())[0] == 200
        assert await slow.closed()
        assert await chunk(stream) == b""
        assert await stream.closed()
        assert await idle.closed()
        with pytest.raises(ConnectionError):
            await found.client()

    run(check)

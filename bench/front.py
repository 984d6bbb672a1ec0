# SPDX-License-Identifier: Apache-2.0
"""What the front costs: python bench/front.py [--plain] [--seconds S] [--connections C].

A server in a process of its own answers 2 kB of JSON and takes bodies of 3.8 kB; clients in this process keep C
connections busy. Every answer is compared byte by byte in length and counted. The figure to compare is the server's own
CPU time for a request, which neighbours on the machine do not change much; aiohttp's usual handler and response, in a
server beside it, is the reference.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import os
import ssl
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from kubesched.apiserver import certificates
from kubesched.apiserver.front import Front
from kubesched.apiserver.message import Answer, Request, Response, User

ANSWER = b'{"kind":"Pod"}' + b" " * 2_000
BODY = b"{" + b" " * 3_800 + b"}"


class Everybody:
    def certificate(self, tls: ssl.SSLObject | None) -> tuple[User | None, float]:
        return User("somebody"), float("inf")

    async def header(self, authorization: str) -> User:
        return User("somebody")


async def application(request: Request) -> Answer:
    body = await request.read()
    assert len(body) in (0, len(BODY))
    return Response(200, ANSWER)


async def plain_handler(request: web.BaseRequest) -> web.StreamResponse:
    body = await request.read()
    assert len(body) in (0, len(BODY))
    return web.Response(body=ANSWER, content_type="application/json")


async def serve(kind: str, tls: ssl.SSLContext | None, pipe: Connection) -> None:
    if kind == "front":
        port = await Front(application, Everybody(), tls=tls).listen("127.0.0.1", 0)
    else:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(web.Server(plain_handler, access_log=None), "127.0.0.1", 0, ssl=tls)
        port = server.sockets[0].getsockname()[1]
    pipe.send(port)
    await asyncio.Event().wait()


def server_process(kind: str, tls: certificates.Authority | None, pipe: Connection) -> None:
    uvloop.run(serve(kind, tls.server_context() if tls else None, pipe))


class Client(asyncio.Protocol):
    """Sends the same request again and again, as soon as the last was answered."""

    def __init__(self, request: bytes) -> None:
        self.request = request
        self.length = 0
        self.got = 0
        self.answers = 0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self.request)

    def data_received(self, data: bytes) -> None:
        if self.got == 0:
            assert data.startswith(b"HTTP/1.1 200 OK\r\n"), data[:100]
            self.length = data.index(b"\r\n\r\n") + 4 + len(ANSWER)
        self.got += len(data)
        assert self.got <= self.length
        if self.got == self.length:
            self.answers += 1
            self.got = 0
            self.transport.write(self.request)


def cpu_s(pid: int) -> tuple[float, float]:
    """Seconds in the process, and in the kernel for it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    tick = os.sysconf("SC_CLK_TCK")
    return int(fields[11]) / tick, int(fields[12]) / tick


async def load(port: int, pid: int, request: bytes, tls: ssl.SSLContext | None, options: argparse.Namespace) -> str:
    loop = asyncio.get_running_loop()
    clients = [Client(request) for _ in range(options.connections)]
    for client in clients:
        await loop.create_connection(lambda c=client: c, "127.0.0.1", port, ssl=tls)  # type: ignore[misc]
    await asyncio.sleep(1)  # warm
    before, began, used = sum(c.answers for c in clients), time.perf_counter(), cpu_s(pid)
    await asyncio.sleep(options.seconds)
    count = sum(c.answers for c in clients) - before
    took = time.perf_counter() - began
    own, kernel = (after - then for after, then in zip(cpu_s(pid), used, strict=True))
    for client in clients:
        client.transport.abort()
    return (
        f"{count / took:8,.0f}/s  {own / count * 1e6:6.1f} us of CPU each, and {kernel / count * 1e6:.1f} in the kernel"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--plain", action="store_true", help="without TLS")
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--connections", type=int, default=32)
    options = parser.parse_args()
    requests = {
        "GET": b"GET /api/v1/namespaces/default/pods/a HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
        b"User-Agent: kubectl/v1.33.0 (linux/amd64) kubernetes/abcdefg\r\nAccept-Encoding: gzip\r\n\r\n",
        "POST": b"POST /api/v1/namespaces/default/pods?fieldManager=kubectl HTTP/1.1\r\nHost: localhost\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY),
    }
    with tempfile.TemporaryDirectory() as folder:
        authority = None if options.plain else certificates.Authority.open(Path(folder))
        for kind in ("front", "aiohttp"):
            ours, theirs = multiprocessing.Pipe()
            process = multiprocessing.get_context("spawn").Process(
                target=server_process, args=(kind, authority, theirs), daemon=True
            )
            process.start()
            port = ours.recv()
            assert process.pid is not None
            for name, request in requests.items():
                tls = authority.client_context() if authority else None
                print(f"{kind:8} {name:5}", uvloop.run(load(port, process.pid, request, tls, options)))
            process.terminate()
            process.join()


if __name__ == "__main__":
    main()

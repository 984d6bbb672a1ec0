# SPDX-License-Identifier: Apache-2.0
"""How fast the API server is: python -m bench.apiserver [--objects N] [--connections C] [--only PART …].

A `kubesched apiserver` in a process of its own, over TLS with the administrator's certificate, objects in SQLite; the
clients are in this process. Every answer is verified: its code, that it holds the object that was asked for, and at the
end that the server holds exactly what was acknowledged. Beside it, in the same run, the same clients against a front
that answers fixed bytes: what TLS, HTTP and the clients cost by themselves.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import orjson
import uvloop

from bench.front import cpu_s, server_process
from kubesched.apiserver import certificates

PODS = "/api/v1/namespaces/default/pods"
LISTED = "/api/v1/namespaces/listed/pods"
POD_BYTES = 3_800
LIST_SIZE = 5_000
MAPS = "/api/v1/namespaces/default/configmaps"
WRITERS = 8
"""Clients that share the updates that are watched: each waits for its answer before its next one."""


def pod(name: str) -> bytes:
    """A pod of about 3.8 kB as its client sends it."""
    env = [{"name": f"VARIABLE_{n:02}", "value": f"the value of a variable {n:06}"} for n in range(36)]
    container = {
        "name": "main",
        "image": "registry.example.com/team/application:1.2.3",
        "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}, "limits": {"memory": "1Gi"}},
        "env": env,
        "ports": [{"containerPort": 8080, "name": "http"}],
        "readinessProbe": {"httpGet": {"path": "/ready", "port": "http"}, "periodSeconds": 5},
    }
    metadata = {"name": name, "labels": {"app": "application", "tier": "web"}, "annotations": {"note": ""}}
    made = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    cast(dict[str, str], metadata["annotations"])["note"] = "x" * (POD_BYTES - len(orjson.dumps(made)))
    return orjson.dumps(made)


# ---- clients ---------------------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One connection that asks one thing at a time."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._need = 0
        self._head = 0
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None
        self.follow: Callable[[bytes], None] | None = None
        """Takes what comes from now on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed"))

    def data_received(self, data: bytes) -> None:
        if self.follow is not None:
            self.follow(data)
            return
        self._buffer += data
        if not self._need:
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self._head = end + 4
            at = self._buffer.find(b"Content-Length: ", 0, self._head)
            self._need = self._head + (int(self._buffer[at + 16 : self._buffer.index(b"\r", at)]) if at > 0 else 0)
        if len(self._buffer) >= self._need and self._answer is not None:
            code, body = int(self._buffer[9:12]), bytes(self._buffer[self._head : self._need])
            del self._buffer[: self._need]
            self._need = 0
            self._answer.set_result((code, body))

    async def count(self, path: str, what: bytes) -> int:
        """How often something stands in a large answer, which is looked through while it comes, and not kept."""
        ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        head, rest, found, left = b"", b"", 0, -1

        def take(data: bytes) -> None:
            nonlocal head, rest, found, left
            if left < 0:
                head, end, data = (head + data).partition(b"\r\n\r\n")
                if not end:
                    return
                assert head.startswith(b"HTTP/1.1 200 "), head
                left = int(head.partition(b"Content-Length: ")[2].partition(b"\r")[0])
            left -= len(data)
            found += (rest + data[: len(what) - 1]).count(what) + data.count(what)
            rest = (rest + data[-len(what) :])[1 - len(what) :]
            if left <= 0 and not ended.done():
                assert left == 0, left
                ended.set_result(found)

        self.follow = take
        self.transport.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
        try:
            return await ended
        finally:
            self.follow = None

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\nUser-Agent: bench\r\n"
        if body:
            head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(head.encode() + b"\r\n" + body)
        return await self._answer


@dataclass
class Clients:
    """Many connections to one server."""

    port: int
    tls: ssl.SSLContext
    pid: int
    connections: list[Connection] = field(default_factory=list)

    async def connect(self, count: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(count):
            _, made = await loop.create_connection(Connection, "127.0.0.1", self.port, ssl=self.tls)
            self.connections.append(made)

    def close(self) -> None:
        for connection in self.connections:
            connection.transport.abort()

    async def do(self, name: str, count: int, work: Callable[[Connection, int], Awaitable[None]]) -> None:
        """Share the work out among the connections; print the rate, latencies, and CPU of both sides."""
        numbers, took = iter(range(count)), list[float]()

        async def one(connection: Connection) -> None:
            for number in numbers:
                began = time.perf_counter()
                await work(connection, number)
                took.append(time.perf_counter() - began)

        before, mine, began = cpu_s(self.pid), time.process_time(), time.perf_counter()
        await asyncio.gather(*map(one, self.connections))
        passed, mine = time.perf_counter() - began, time.process_time() - mine
        own = sum(cpu_s(self.pid)) - sum(before)
        took.sort()
        print(
            f"{name:34} {count / passed:8,.0f}/s   p50 {took[count // 2] * 1e3:7.2f} ms   p99 "
            f"{took[count * 99 // 100] * 1e3:7.2f} ms   CPU {own / count * 1e6:6.0f} us, the client's "
            f"{mine / count * 1e6:4.0f} us",
            flush=True,
        )


def expect(found: tuple[int, bytes], code: int, *parts: bytes) -> bytes:
    if found[0] != code or not all(part in found[1] for part in parts):
        raise AssertionError(f"expected {code} with {parts}, got {found[0]}: {found[1][:500]!r}")
    return found[1]


# ---- servers ---------------------------------------------------------------------------------------------------------


def rss_mb(pid: int, what: str = "VmRSS") -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(what)) / 1e3


def reset_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")


@contextmanager
def apiserver(folder: Path, store: str) -> Iterator[tuple[subprocess.Popen[str], int, ssl.SSLContext]]:
    config = folder / "admin.conf"
    arguments = ["apiserver", "--data-dir", str(folder / "data"), "--port", "0", "--store", store]
    command = [sys.executable, "-m", "kubesched", *arguments, "--kubeconfig-out", str(config)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline().rpartition(":")[2])
            print(f"{'from command to address':34} {time.perf_counter() - began:8.2f} s")
            kubectl = shutil.which("kubectl")
            if kubectl:
                asked = [kubectl, "--kubeconfig", str(config), "get", "namespaces", "-o", "name"]
                names = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.split()
                assert "namespace/default" in names, names
                print(f"{'to the first kubectl get namespaces':34} {time.perf_counter() - began:8.2f} s")
            yield process, port, certificates.Authority.open(folder / "data" / "pki").client_context()
        finally:
            process.terminate()
            process.wait(30)


@asynccontextmanager
async def clients(port: int, tls: ssl.SSLContext, pid: int, count: int) -> AsyncIterator[Clients]:
    made = Clients(port, tls, pid)
    await made.connect(count)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0.1)  # the server is stopped next, and would wait for connections that still stand


# ---- what is measured ------------------------------------------------------------------------------------------------


async def beside(options: argparse.Namespace) -> None:
    """The same clients against fixed bytes."""
    with tempfile.TemporaryDirectory() as folder:
        authority = certificates.Authority.open(Path(folder))
        ours, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        process = spawn.Process(target=server_process, args=("front", authority, theirs), daemon=True)
        process.start()
        port, pid = ours.recv(), process.pid
        assert pid is not None
        async with clients(port, authority.client_context(), pid, options.connections) as found:

            async def get(connection: Connection, number: int) -> None:
                expect(await connection.ask("GET", PODS), 200, b'"Pod"')

            await found.do("fixed bytes, for comparison", options.objects, get)
        process.terminate()
        process.join()


class Objects:
    """Writes and reads of single pods, in an order in which each finds what the one before it left."""

    def __init__(self, found: Clients, count: int) -> None:
        self.found, self.count = found, count
        self.uids: dict[int, bytes] = {}

    async def create(self, connection: Connection, number: int) -> None:
        name = b'"name":"p%07d"' % number
        body = expect(await connection.ask("POST", PODS, pod(f"p{number:07}")), 201, name, b'"resourceVersion":"')
        at = body.index(b'"uid":"') + 7
        self.uids[number] = body[at : at + 36]

    async def get(self, connection: Connection, number: int) -> None:
        at = number * 7_919 % self.count
        expect(await connection.ask("GET", f"{PODS}/p{at:07}"), 200, self.uids[at])

    async def patch(self, connection: Connection, number: int) -> None:
        body = b'{"status":{"phase":"Running","podIP":"10.0.%d.%d"}}' % divmod(number % 65_536, 256)
        path, kind = f"{PODS}/p{number:07}/status", "application/strategic-merge-patch+json"
        expect(await connection.ask("PATCH", path, body, kind), 200, self.uids[number], b'"phase":"Running"')

    async def delete(self, connection: Connection, number: int) -> None:
        body = b'{"gracePeriodSeconds":0}'
        expect(await connection.ask("DELETE", f"{PODS}/p{number:07}", body), 200, self.uids[number])

    async def check(self, left: int) -> None:
        """The server holds what it acknowledged, and nothing else."""
        connection = self.found.connections[0]
        held = orjson.loads(expect(await connection.ask("GET", f"{PODS}?limit=1"), 200))
        count = len(held["items"]) + held["metadata"].get("remainingItemCount", 0)
        assert count == left, (count, left)

    async def run(self) -> None:
        await self.found.do("create", self.count, self.create)
        await self.check(self.count)
        print(f"{'memory with these pods':34} {rss_mb(self.found.pid):8,.0f} MB")
        await self.found.do("get", self.count, self.get)
        await self.found.do("patch status", self.count, self.patch)
        await self.found.do("delete", self.count, self.delete)
        await self.check(0)


async def lists(found: Clients) -> None:
    connection = found.connections[0]
    namespace = b'{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"listed"}}'
    expect(await connection.ask("POST", "/api/v1/namespaces", namespace), 201)

    async def make(connection: Connection, number: int) -> None:
        expect(await connection.ask("POST", LISTED, pod(f"p{number:07}")), 201)

    async def ask(connection: Connection, number: int) -> None:
        assert await connection.count(LISTED, b'"managedFields":[') == LIST_SIZE

    await found.do(f"create {LIST_SIZE} to list", LIST_SIZE, make)
    one = Clients(found.port, found.tls, found.pid, found.connections[:1])
    await one.do("list of 5,000, one at a time", 20, ask)
    reset_peak(found.pid)
    await found.do("list of 5,000, all at once", len(found.connections), ask)
    print(f"{'most memory meanwhile':34} {rss_mb(found.pid, 'VmHWM'):8,.0f} MB")


async def memory(options: argparse.Namespace) -> None:
    """What the server takes with many pods, after they were created and after it read them from disk."""
    with tempfile.TemporaryDirectory() as folder:
        with apiserver(Path(folder), options.store) as (process, port, tls):
            async with clients(port, tls, process.pid, options.connections) as found:
                objects = Objects(found, options.stored)
                await found.do(f"create {options.stored:,}", options.stored, objects.create)
                await objects.check(options.stored)
                print(f"{'memory with these pods':34} {rss_mb(process.pid):8,.0f} MB")
        if options.store == "sqlite":
            with apiserver(Path(folder), options.store) as (process, port, tls):
                async with clients(port, tls, process.pid, 1) as found:
                    await Objects(found, options.stored).check(options.stored)
                    print(f"{'and after a restart':34} {rss_mb(process.pid):8,.0f} MB")


class Watched:
    """Objects that are updated at a rate, each by one client, and watchers that must see each update once, in order."""

    def __init__(self, found: Clients, options: argparse.Namespace) -> None:
        self.found, self.rate, self.updates = found, options.rate, options.updates
        self.writers = found.connections[:WRITERS]
        self.sent: dict[tuple[int, int], float] = {}  # by writer and number
        self.delays: list[float] = []
        self.left = options.watchers * options.updates

    async def prepare(self) -> None:
        for n, writer in enumerate(self.writers):
            made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"w{n}"}, "data": {"at": ""}}
            expect(await writer.ask("POST", MAPS, orjson.dumps(made)), 201)

    def follow(self) -> Callable[[bytes], None]:
        """What a watcher does with what comes."""
        rest, seen = b"", [0] * len(self.writers)

        def take(data: bytes) -> None:
            nonlocal rest
            now, (*lines, rest) = time.perf_counter(), (rest + data).split(b"\n")
            for line in lines:
                at = line.find(b'"at":"') + 6
                if at < 6 or b'"MODIFIED"' not in line:
                    continue
                writer, _, number = line[at : line.index(b'"', at)].partition(b".")
                update = (int(writer), int(number))
                assert update[1] == seen[update[0]] + 1, (update, seen)
                seen[update[0]] += 1
                self.delays.append(now - self.sent[update])
                self.left -= 1

        return take

    async def write(self, n: int, writer: Connection, began: float) -> None:
        """A writer's share of the updates, in time."""
        path, kind, every = f"{MAPS}/w{n}", "application/merge-patch+json", len(self.writers)
        for number, at in enumerate(range(n, self.updates, every), 1):
            await asyncio.sleep(max(0.0, began + at / self.rate - time.perf_counter()))
            self.sent[n, number] = time.perf_counter()
            expect(await writer.ask("PATCH", path, b'{"data":{"at":"%d.%d"}}' % (n, number), kind), 200)

    async def run(self) -> float:
        """Updates a second that were reached."""
        began = time.perf_counter()
        await asyncio.gather(*(self.write(n, writer, began) for n, writer in enumerate(self.writers)))
        took = time.perf_counter() - began
        while self.left:
            await asyncio.sleep(0.05)
            assert time.perf_counter() - began < took + 60, "events are missing"
        return self.updates / took


async def watches(found: Clients, options: argparse.Namespace) -> None:
    watched = Watched(found, options)
    await watched.prepare()
    watchers = Clients(found.port, found.tls, found.pid)
    await watchers.connect(options.watchers)
    for watcher in watchers.connections:
        watcher.follow = watched.follow()
        watcher.transport.write(f"GET {MAPS}?watch=1&resourceVersion=0 HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    await asyncio.sleep(2)
    before = sum(cpu_s(found.pid))
    reached = await watched.run()
    own = sum(cpu_s(found.pid)) - before
    delays = sorted(watched.delays)
    n = len(delays)
    print(
        f"{f'{options.watchers} watchers':34} {reached:8,.0f} updates/s   "
        f"p50 {delays[n // 2] * 1e3:.1f} ms   p99 {delays[n * 99 // 100] * 1e3:.1f} ms   "
        f"{n:,} events, CPU {own / n * 1e6:.1f} us each"
    )
    watchers.close()


async def run(options: argparse.Namespace) -> None:
    if "beside" in options.only:
        await beside(options)
    if "memory" in options.only:
        await memory(options)
    if options.only in (["beside"], ["memory"]):
        return
    with tempfile.TemporaryDirectory() as folder, apiserver(Path(folder), options.store) as (process, port, tls):
        print(f"{'memory after the start':34} {rss_mb(process.pid):8,.0f} MB")
        async with clients(port, tls, process.pid, options.connections) as found:
            if "objects" in options.only:
                await Objects(found, options.objects).run()
            if "lists" in options.only:
                await lists(found)
            if "watches" in options.only:
                await watches(found, options)


def main(arguments: Sequence[str] | None = None) -> None:
    parts = ("beside", "objects", "lists", "watches", "memory")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=10_000, help="pods created, read, patched, deleted")
    parser.add_argument("--stored", type=int, default=150_000, help="pods whose memory is measured")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--store", choices=("sqlite", "memory"), default="sqlite")
    parser.add_argument("--watchers", type=int, default=1_000)
    parser.add_argument("--updates", type=int, default=1_000, help="updates that every watcher sees")
    parser.add_argument("--rate", type=float, default=200, help="updates a second, at most")
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    options: Any = parser.parse_args(arguments)
    uvloop.run(run(options))


if __name__ == "__main__":
    main()

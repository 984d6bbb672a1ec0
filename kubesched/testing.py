# SPDX-License-Identifier: Apache-2.0
"""A real API server for tests: TLS, certificates, the whole path; in a thread, on a free port, in some 100 ms.

>>> pytest_plugins = ["kubesched.testing"]  # in conftest.py
>>> def test_mine(apiserver):
...     subprocess.run(["kubectl", "--kubeconfig", apiserver.kubeconfig, "get", "namespaces"], check=True)
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvloop

from kubesched.apiserver.server import Server, ServerConfig, running

_START_S = 30.0


@dataclass(slots=True)
class RunningServer:
    """Where a server is, and how its administrator gets in."""

    url: str
    kubeconfig: Path
    tls: ssl.SSLContext = field(repr=False)
    server: Server = field(repr=False)
    loop: asyncio.AbstractEventLoop = field(repr=False)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])


@contextlib.contextmanager
def serve(folder: Path, config: ServerConfig | None = None) -> Iterator[RunningServer]:
    """Serve from a thread until the block is left. ``folder`` gets the data and the kubeconfig."""
    config = config or ServerConfig(folder / "data", store="memory", drain_s=5)
    started: Future[tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=_run, args=(config, started), name="apiserver")
    thread.start()
    server, loop, stop = started.result(_START_S)
    try:
        kubeconfig = folder / "kubeconfig"
        server.write_kubeconfig(kubeconfig)
        yield RunningServer(server.url, kubeconfig, server.authority.client_context(), server, loop)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


def _run(config: ServerConfig, started: Future[tuple[Server, asyncio.AbstractEventLoop, asyncio.Event]]) -> None:
    async def whole() -> None:
        stop = asyncio.Event()
        async with running(config) as server:
            started.set_result((server, asyncio.get_running_loop(), stop))
            await stop.wait()

    try:
        uvloop.run(whole())
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)


@pytest.fixture
def apiserver(tmp_path: Path) -> Iterator[RunningServer]:
    """An API server of its own, empty but for the system's namespaces."""
    with serve(tmp_path) as running_server:
        yield running_server

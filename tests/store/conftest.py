# SPDX-License-Identifier: Apache-2.0
"""One store of each kind; a new kind is one more entry in ``KINDS``."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from kubesched.store.interface import Store
from kubesched.store.memory import MemoryStore
from kubesched.store.sqlite import SQLiteStore


async def _memory(path: Path, **bounds: Any) -> Store:
    return MemoryStore(**bounds)


async def _sqlite(path: Path, **bounds: Any) -> Store:
    return await SQLiteStore.open(path / "store.db", **bounds)


KINDS: dict[str, Callable[..., Awaitable[Store]]] = {"memory": _memory, "sqlite": _sqlite}
DURABLE = ("sqlite",)

Opener = Callable[..., AbstractAsyncContextManager[Any]]


def opener(kind: str, path: Path) -> Opener:
    """Opens the store of one folder, again and again."""

    @asynccontextmanager
    async def opened(**bounds: Any) -> AsyncIterator[Store]:
        store = await KINDS[kind](path, **bounds)
        try:
            yield store
        finally:
            await store.close()

    return opened


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


@pytest.fixture(params=DURABLE)
def durable(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return opener(request.param, tmp_path)


def failing_fsync(folder: Path) -> dict[str, str]:
    """The environment of a process whose fsync fails as soon as the file ``folder/fails`` exists."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to build a failing fsync with")
    library = folder / "failing_fsync.so"
    source = Path(__file__).with_name("failing_fsync.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library), "FSYNC_FAILS": str(folder / "fails")}


def run(test: Awaitable[None]) -> None:
    """Run a coroutine to its end; a minute is far beyond what any of these tests needs."""

    async def bounded() -> None:
        await asyncio.wait_for(test, 60)

    asyncio.run(bounded())

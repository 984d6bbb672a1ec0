# SPDX-License-Identifier: Apache-2.0
"""How fast the stores are: python bench/store.py [--objects N] [--kind sqlite|memory].

Prints puts a second (64 writers, pods of 3.8 kB), reads, lists, pages at an old revision, events delivered, memory, and
the time to open again; each figure only after what it did was verified. Beside them, in the same run: one fdatasync of
the same disk, which bounds a single writer.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import uvloop

from kubesched.store import ABSENT, Event
from kubesched.store.local import LocalStore
from kubesched.store.memory import MemoryStore
from kubesched.store.sqlite import SQLiteStore

VALUE_BYTES = 3_800
WRITERS = 64


def rss_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def key_of(n: int) -> str:
    return f"/pods/namespace-{n % 50:02}/pod-{n:07}"


def report(name: str, count: int, began: float, unit: str = "/s") -> None:
    took = time.perf_counter() - began
    print(f"{name:32} {count / took:12,.0f} {unit}   ({count} in {took:.2f} s)")


def disk(folder: Path) -> None:
    with (folder / "probe").open("wb") as file:
        began = time.perf_counter()
        for _ in range(100):
            file.write(bytes(VALUE_BYTES))
            file.flush()
            os.fdatasync(file.fileno())
    report("disk: append and fdatasync", 100, began)


async def put_all(store: LocalStore, count: int) -> None:
    values = [os.urandom(8) + bytes(VALUE_BYTES - 8) for _ in range(count)]
    seen = 0

    def deliver(events: Sequence[Event]) -> None:
        nonlocal seen
        seen += len(events)

    store.watch("/pods/", store.revision, deliver)
    numbers = iter(range(count))

    async def writer() -> None:
        for n in numbers:
            await store.put(key_of(n), values[n], expect=ABSENT)

    began = time.perf_counter()
    await asyncio.gather(*(writer() for _ in range(WRITERS)))
    report(f"put, {WRITERS} writers", count, began)
    assert seen == count
    for n in range(count):
        entry = await store.get(key_of(n))
        assert entry is not None
        assert entry.value == values[n]


async def read(store: LocalStore, count: int) -> None:
    began = time.perf_counter()
    for n in range(count):
        assert await store.get(key_of(n)) is not None
    report("get", count, began)
    began = time.perf_counter()
    for _ in range(3):
        listing = await store.list("/pods/")
        assert len(listing.entries) == count
    report("list of everything, entries", 3 * count, began)
    began = time.perf_counter()
    for n in range(1_000):
        assert (await store.list(f"/pods/namespace-{n % 50:02}/", limit=500)).entries
    report("list, 500 of a namespace", 1_000, began)
    await pages(store, count)


async def pages(store: LocalStore, count: int) -> None:
    revision = store.revision
    for n in range(0, count, max(1, count // 1_000)):
        await store.put(key_of(n), bytes(VALUE_BYTES), expect=(await store.get(key_of(n))).revision)  # type: ignore[union-attr]
    began, start, found, n_pages = time.perf_counter(), "", 0, 0
    while True:
        page = await store.list("/pods/", start=start, limit=500, revision=revision)
        found += len(page.entries)
        n_pages += 1
        if not page.more:
            break
        start = page.entries[-1].key + "\0"
    assert found == count
    report("pages of 500 at an old revision", n_pages, began)


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--kind", choices=["sqlite", "memory"], default="sqlite")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        disk(folder)
        before = rss_mb()
        sqlite = options.kind == "sqlite"
        store: LocalStore = await SQLiteStore.open(folder / "store.db") if sqlite else MemoryStore()
        await put_all(store, options.objects)
        await read(store, options.objects)
        await store.close()
        print(f"{'memory of the process':32} {rss_mb():12,.0f} MB   ({before:.0f} MB before)")
        if sqlite:
            print(f"{'file':32} {(folder / 'store.db').stat().st_size / 1e6:12,.0f} MB")
            del store
            began = time.perf_counter()
            again = await SQLiteStore.open(folder / "store.db")
            assert len((await again.list("/pods/")).entries) == options.objects
            report("open, entries", options.objects, began)
            await again.close()


if __name__ == "__main__":
    uvloop.run(main())

# SPDX-License-Identifier: Apache-2.0
"""Writes to an SQLite store until it is killed; prints each write that was acknowledged, one JSON line for each."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path

from kubesched.store import ANY
from kubesched.store.sqlite import SQLiteStore

WRITERS = 16


async def write_for_ever(store: SQLiteStore, writer: int, rng: random.Random) -> None:
    for n in range(1_000_000):
        key = f"/{writer}/{rng.randrange(5)}"
        value = f"{writer}-{n}-".encode() * rng.randrange(1, 300)
        if rng.random() < 0.2:
            await store.delete(key, expect=ANY)
            print(json.dumps([key, store.revision, None]), flush=True)
        else:
            entry = await store.put(key, value, expect=ANY)
            print(json.dumps([key, entry.revision, value.decode()]), flush=True)


async def compact_for_ever(store: SQLiteStore) -> None:
    while True:
        await asyncio.sleep(0.01)
        await store.compact(store.revision - 50)


async def main(path: Path, seed: int) -> None:
    store = await SQLiteStore.open(path)
    writers = [write_for_ever(store, n, random.Random(f"{seed} {n}")) for n in range(WRITERS)]
    await asyncio.gather(compact_for_ever(store), *writers)


asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))

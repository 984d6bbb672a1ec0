# SPDX-License-Identifier: Apache-2.0
"""Writes ten values, lets the disk fail, writes ten more; prints what became of each."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from kubesched.store import ABSENT, Unavailable
from kubesched.store.sqlite import SQLiteStore


async def main(path: Path) -> None:
    failures: list[str] = []
    store = await SQLiteStore.open(path, on_failure=failures.append)
    for n in range(20):
        if n == 10:
            Path(os.environ["FSYNC_FAILS"]).touch()
        if n == 15:
            Path(os.environ["FSYNC_FAILS"]).unlink()  # the next fsync would succeed: it must not be tried
        try:
            await store.put(f"/{n:02}", b"x", expect=ABSENT)
            print(f"{n} acknowledged")
        except Unavailable as error:
            print(f"{n} refused: {error}")
    print(f"{len(failures)} failure, {len((await store.list('/')).entries)} values to read")
    sys.stdout.flush()
    os._exit(0)  # as the server would: without touching the file again


asyncio.run(main(Path(sys.argv[1])))

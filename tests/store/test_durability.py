# SPDX-License-Identifier: Apache-2.0
"""What the SQLite store must survive, and what it must refuse."""

from __future__ import annotations

import asyncio
import json
import os
import random
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from kubesched.base.errors import StorageError
from kubesched.store import ABSENT, ANY, Mismatch, Unavailable
from kubesched.store.journal import Journal, make_record
from kubesched.store.sqlite import SQLiteStore
from tests.conftest import ROOT
from tests.store.conftest import Opener, failing_fsync, run

HERE = Path(__file__).parent


async def state(store: SQLiteStore) -> dict[str, tuple[bytes, int, int]]:
    listing = await store.list("")
    return {entry.key: (entry.value, entry.created, entry.revision) for entry in listing.entries}


@pytest.mark.parametrize("seed", range(3))
def test_kill_when_writing_and_compacting_then_every_acknowledged_write_is_there(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "store.db"
    rng = random.Random(seed)
    acknowledged: dict[str, tuple[int, str | None]] = {}
    newest = 0
    for _ in range(3):
        lines = killed_writer(path, rng.randrange(10**6), rng.uniform(0.05, 0.4))
        for key, revision, value in lines:
            newest = max(newest, revision)
            if key not in acknowledged or acknowledged[key][0] < revision:
                acknowledged[key] = (revision, value)
        newest = judge_recovery(path, acknowledged, newest)


def killed_writer(path: Path, seed: int, after_s: float) -> list[tuple[str, int, str | None]]:
    """What a writer acknowledged before it was killed, some time after its first write."""
    command = [sys.executable, str(HERE / "crash_writer.py"), str(path), str(seed)]
    output = path.with_name("acknowledged")
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, env={**os.environ, "PYTHONPATH": str(ROOT)})
        while not output.stat().st_size and process.poll() is None:
            time.sleep(0.005)
        time.sleep(after_s)
        process.kill()
        assert process.wait() == -signal.SIGKILL
    whole = output.read_bytes().rpartition(b"\n")[0]
    lines = [json.loads(line) for line in whole.splitlines()]
    assert lines
    return lines


def judge_recovery(path: Path, acknowledged: dict[str, tuple[int, str | None]], newest: int) -> int:
    async def check() -> None:
        store = await SQLiteStore.open(path)
        try:
            assert store.revision >= newest
            found = await state(store)
            for key, (revision, value) in acknowledged.items():
                if key not in found:
                    # A delete was on its way, or was acknowledged.
                    assert value is None or deleted_after(store, key, revision), (key, revision)
                elif found[key][2] <= revision:
                    assert value is not None
                    assert found[key][0].decode() == value
            revisions.append(store.revision)
        finally:
            await store.close()

    revisions: list[int] = []
    run(check())
    return revisions[0]


def deleted_after(store: SQLiteStore, key: str, revision: int) -> bool:
    seen: list[int] = []
    store.watch(key, max(store.oldest, revision), lambda events: seen.extend(e.revision for e in events)).cancel()
    return bool(seen) or store.oldest > revision


def test_reopen_then_values_revisions_and_history(durable: Opener) -> None:
    async def check() -> None:
        async with durable() as store:
            first = await store.put("/a", b"1", expect=ABSENT)
            await store.put("/b", b"1", expect=ABSENT)
            await store.put("/a", b"2", expect=ANY)
            await store.delete("/b", expect=ANY)
            before = await state(store)
        async with durable() as store:
            assert await state(store) == before
            assert store.revision == 4
            assert [entry.key for entry in (await store.list("/", revision=2)).entries] == ["/a", "/b"]
            seen: list[int] = []
            store.watch("/", first.revision, lambda events: seen.extend(event.revision for event in events))
            assert seen == [2, 3, 4]
            await store.compact(4)
        async with durable() as store:
            assert (store.oldest, store.revision) == (4, 4), "the revision does not go back with the last row"
            assert await state(store) == before

    run(check())


def test_ttl_when_reopened_then_counted_from_anew(durable: Opener) -> None:
    async def check() -> None:
        async with durable() as store:
            await store.put("/short", b"1", expect=ABSENT, ttl=0.3)
            await store.put("/kept", b"1", expect=ABSENT, ttl=0.01)
            await store.put("/kept", b"1", expect=ANY)
        async with durable() as store:
            assert await store.get("/short") is not None
            while await store.get("/short") is not None:
                await asyncio.sleep(0.01)
            assert await store.get("/kept") is not None

    run(check())


def test_disk_when_full_then_writes_are_refused_reads_go_on_and_it_recovers(tmp_path: Path) -> None:
    async def check() -> None:
        store = await SQLiteStore.open(tmp_path / "store.db", limit_bytes=40 * 8192)
        try:
            written = 0
            with pytest.raises(Unavailable, match="disk that holds the store is full"):
                for written in range(1_000):
                    await store.put(f"/{written:04}", bytes(4_000), expect=ABSENT)
            assert written > 20
            before = await state(store)
            assert len(before) == written
            results = await asyncio.gather(
                *(store.put(f"/more/{n}", bytes(4_000), expect=ABSENT) for n in range(5)), return_exceptions=True
            )
            assert all(isinstance(result, Unavailable) for result in results)
            assert await state(store) == before
            store.limit(None)
            entry = await store.put("/after", b"x", expect=ABSENT)
            assert entry.revision > written
        finally:
            await store.close()
        store = await SQLiteStore.open(tmp_path / "store.db")
        assert set(await state(store)) == {*before, "/after"}
        await store.close()

    run(check())


def test_pending_write_when_lost_then_what_was_compared_with_it_is_lost_too(tmp_path: Path) -> None:
    async def check() -> None:
        store = await SQLiteStore.open(tmp_path / "store.db", limit_bytes=8 * 8192)
        try:
            await store.put("/a", b"1", expect=ABSENT)
            big = asyncio.create_task(store.put("/a", bytes(1 << 20), expect=1))
            await asyncio.sleep(0)
            pending = await store.get("/a", pending=True)
            second = asyncio.create_task(store.put("/a", b"3", expect=pending.revision))
            rival = asyncio.create_task(store.put("/a", b"4", expect=1))
            waiting = asyncio.create_task(store.reach(pending.revision))
            results = await asyncio.gather(big, second, waiting, return_exceptions=True)
            assert [type(result) for result in results] == [Unavailable] * 3
            assert (await rival).value == b"4", "what expects the durable value is not refused for one that was lost"
            with pytest.raises(Mismatch):
                await store.put("/a", b"5", expect=pending.revision)
            with pytest.raises(Unavailable):
                await store.reach(pending.revision)
        finally:
            await store.close()

    run(check())


def test_erase_when_the_disk_was_full_then_no_old_value_comes_back(
    durable: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def check() -> None:
        async with durable() as store:
            await store.put("/a", b"1", expect=ABSENT)
            await store.put("/a", b"2", expect=ANY)
            erase = store._journal.erase

            def full(revisions: Sequence[int]) -> None:
                raise Unavailable("full")

            monkeypatch.setattr(store._journal, "erase", full)
            await store.compact(2)
            await store.delete("/a", expect=ANY)
            monkeypatch.setattr(store._journal, "erase", erase)
            await store.compact(3)
            assert rows(store._journal.path) == []
            await store.put("/b", b"1", expect=ABSENT)
            await store.put("/b", b"2", expect=ANY)
            monkeypatch.setattr(store._journal, "erase", full)
            await store.compact(5)
        async with durable() as store:
            assert {key: value for key, (value, _, _) in (await state(store)).items()} == {"/b": b"2"}
            while store._superfluous:
                await asyncio.sleep(0.001)
            path = store._journal.path
        assert rows(path) == [5]

    def rows(path: Path) -> list[int]:
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)
        if (wal := path.with_name(path.name + "-wal")).exists():
            shutil.copy(wal, copy.with_name(copy.name + "-wal"))
        connection = sqlite3.connect(copy)
        found = [row[0] for row in connection.execute("SELECT revision FROM record ORDER BY revision")]
        connection.close()
        copy.unlink()
        return found

    run(check())


def test_fsync_when_it_fails_then_nothing_is_acknowledged_any_more(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **failing_fsync(tmp_path)}
    command = [sys.executable, str(HERE / "fsync_writer.py"), str(tmp_path / "store.db")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    *lines, summary = done.stdout.splitlines()
    assert lines[:10] == [f"{n} acknowledged" for n in range(10)]
    assert len(lines) == 20
    assert all("refused: the store cannot write any more: disk I/O error" in line for line in lines[10:])
    assert summary == "1 failure, 10 values to read"

    async def check() -> None:
        store = await SQLiteStore.open(tmp_path / "store.db")
        assert {f"/{n:02}" for n in range(10)} <= set(await state(store))
        await store.close()

    run(check())


# ---- what is refused at the start ------------------------------------------------------------------------------------


def made(path: Path, count: int = 200) -> bytes:
    """A closed store with some values; returns its file."""

    async def make() -> None:
        store = await SQLiteStore.open(path)
        await asyncio.gather(*(store.put(f"/{n:03}", b"value-%03d" % n * 300, expect=ABSENT) for n in range(count)))
        await store.close()

    run(make())
    return path.read_bytes()


def refusal(path: Path) -> str:
    async def check() -> None:
        with pytest.raises(StorageError) as caught:
            await SQLiteStore.open(path)
        refusals.append(str(caught.value))

    refusals: list[str] = []
    run(check())
    return refusals[0]


def change_schema(path: Path, statement: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute(statement)
    connection.commit()
    connection.close()


def test_open_when_a_newer_version_wrote_it_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    made(path, 1)
    change_schema(path, "PRAGMA user_version = 2")
    expected = "was written by a newer version of kubesched, got 'schema 2', expected at most 1"
    assert refusal(path) == f"{path}: {expected}"


def test_open_when_it_is_not_ours_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    change_schema(path, "CREATE TABLE t (x)")
    assert refusal(path) == f"{path}: is an SQLite file, but not of kubesched"
    path.write_text("not a database at all" * 100)
    assert refusal(path) == f"{path}: is damaged: file is not a database"


def test_open_when_its_folder_cannot_be_made_then_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot be opened" in refusal(tmp_path / "file" / "store.db")


def test_open_when_a_bit_flipped_in_a_record_then_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    content = made(path)
    place = content.index(b"value-123")
    path.write_bytes(content[:place] + b"w" + content[place + 1 :])
    assert refusal(path) == f"{path}: record 124 (key '/123'): is damaged: its checksum is wrong"


def test_open_when_a_page_is_overwritten_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    content = made(path)
    page = len(content) // 8192 // 2 * 8192
    path.write_bytes(content[:page] + bytes(range(256)) * 32 + content[page + 8192 :])
    assert "is damaged" in refusal(path)


def test_open_when_cut_short_then_refused(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    content = made(path)
    path.write_bytes(content[: len(content) // 2])
    assert "is damaged" in refusal(path)


def crashed(path: Path, groups: int = 5) -> list[int]:
    """What a crash leaves after some commits; returns where each ended in the write-ahead log."""
    ends: list[int] = []

    async def write() -> None:
        store = await SQLiteStore.open(path.with_name("live.db"))
        for group in range(groups):
            await asyncio.gather(*(store.put(f"/{group}/{n}", bytes(3_000), expect=ABSENT) for n in range(10)))
            ends.append(path.with_name("live.db-wal").stat().st_size)
        shutil.copy(path.with_name("live.db"), path)
        shutil.copy(path.with_name("live.db-wal"), path.with_name(f"{path.name}-wal"))
        await store.close()

    run(write())
    return ends


def recovered(path: Path) -> int:
    counts: list[int] = []

    async def read() -> None:
        store = await SQLiteStore.open(path)
        counts.append(len(await state(store)))
        await store.close()

    run(read())
    return counts[0]


def test_log_when_its_middle_is_damaged_then_refused_every_time(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    wal = tmp_path / "store.db-wal"
    ends = crashed(path)
    whole = wal.read_bytes()
    for at in (
        ends[1] + 200,
        ends[1] - 4_000,
        33,
    ):  # in the third commit, in the second's last page, in the first frame
        wal.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        for _ in range(2):
            assert re.search(r"store\.db-wal: frame \d+ \(at byte \d+\): is damaged", refusal(path))
    wal.write_bytes(whole)
    assert recovered(path) == 50


@pytest.mark.parametrize("torn", ["cut", "flipped", "salt"])
def test_log_when_its_last_commit_is_torn_then_dropped(tmp_path: Path, torn: str) -> None:
    path = tmp_path / "store.db"
    wal = tmp_path / "store.db-wal"
    ends = crashed(path)
    whole = bytearray(wal.read_bytes())
    if torn == "cut":
        del whole[ends[3] + 5_000 :]
    elif torn == "flipped":
        whole[ends[3] + 5_000] ^= 1
    else:
        whole[ends[3] + 9] ^= 1
    wal.write_bytes(whole)
    assert recovered(path) == 40


def test_open_when_another_holds_it_then_refused(tmp_path: Path) -> None:
    async def check() -> None:
        path = tmp_path / "store.db"
        store = await SQLiteStore.open(path)
        probe = "import sys, asyncio; from pathlib import Path; from kubesched.store.sqlite import SQLiteStore\n"
        probe += "asyncio.run(SQLiteStore.open(Path(sys.argv[1])))"
        done = subprocess.run([sys.executable, "-c", probe, str(path)], capture_output=True, text=True, cwd=ROOT)
        assert "is used by another process" in done.stderr
        await store.close()

    run(check())


def test_files_then_only_the_owner_reads_them(tmp_path: Path) -> None:
    async def check() -> None:
        store = await SQLiteStore.open(tmp_path / "data" / "store.db")
        await store.put("/a", b"1", expect=ABSENT)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / "data").iterdir()}
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        await store.close()

    run(check())


def test_file_when_leases_are_renewed_then_it_stays_small(tmp_path: Path) -> None:
    async def check() -> None:
        path = tmp_path / "store.db"
        store = await SQLiteStore.open(path)
        for _ in range(100):
            await asyncio.gather(*(store.put(f"/leases/{n}", bytes(400), expect=ANY) for n in range(20)))
            await store.compact(store.revision - 60)
        await store.close()
        assert path.stat().st_size < 200_000

    run(check())


def test_log_when_much_is_erased_then_it_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubesched.store.journal._CHECKPOINT_BYTES", 1 << 20)

    async def check() -> None:
        store = await SQLiteStore.open(tmp_path / "store.db")
        for first in range(0, 4_000, 500):
            await asyncio.gather(*(store.put(f"/{n}", bytes(4_000), expect=ABSENT) for n in range(first, first + 500)))
        await asyncio.gather(*(store.delete(f"/{n}", expect=ANY) for n in range(4_000)))
        await store.compact(store.revision)
        assert (tmp_path / "store.db-wal").stat().st_size < 8 << 20
        await store.close()

    run(check())


def test_erase_then_pages_that_are_freed_are_not_written(tmp_path: Path) -> None:
    """Whatever the build of SQLite clears by default: what erasing logs is far less than what it erases."""
    path = tmp_path / "store.db"
    records = [make_record(n, f"/a/{n:04}", n, None, bytes(7_900)) for n in range(1, 257)]
    journal = Journal(path)
    journal.append(records)
    journal.close()
    journal = Journal(path)
    journal.erase([record.revision for record in records])
    assert 0 < path.with_name("store.db-wal").stat().st_size < 256 * 7_900 // 10
    journal.close()

# SPDX-License-Identifier: Apache-2.0
"""The file of the SQLite store: one row for each write, by revision; what `load` returns is what was appended.

::

    record(revision, key, created, ttl, value, checksum)    value NULL: the key was deleted
    mark(name, revision)                                    "compacted": nothing before it is asked for

Rows are only added at the end and, when a compaction says that nobody needs them, removed: SQLite sees appends, never
an update in place. The checksum covers the whole row, because SQLite would not notice a flipped bit in it.

One connection, used by one thread at a time, is the only one that opens the file (``locking_mode``): no other process
can write beside us, and SQLite's known trouble with two connections that checkpoint cannot happen.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from kubesched.base import errors
from kubesched.store import wal
from kubesched.store.interface import Unavailable

SCHEMA = 1
"""What this code reads and writes; kept in the file's ``user_version``."""
_APPLICATION = 0x6B736368  # "ksch"
_PAGE_BYTES = 8192  # measured: a usual pod and its row fit one page; 4,096 costs an overflow page for each
_CHECKPOINT_BYTES = 8 << 20  # arbitrary: what a restart after a crash reads from the write-ahead log
_ROWS = 64
"""Rows in one statement. SQLite gives up the interpreter's lock once a statement, so one a row would be slow beside a
busy event loop; statements are kept prepared by number of rows."""

_TABLES = """
CREATE TABLE record (
  revision INTEGER PRIMARY KEY, key TEXT NOT NULL, created INTEGER NOT NULL, ttl REAL, value BLOB,
  checksum INTEGER NOT NULL
);
CREATE TABLE mark (name TEXT PRIMARY KEY, revision INTEGER NOT NULL) WITHOUT ROWID;
"""


class Record(NamedTuple):
    """One row. ``value`` None is a delete, and ``created`` then 0."""

    revision: int
    key: str
    created: int
    ttl: float | None
    value: bytes | None
    checksum: int


def checksum(revision: int, key: str, created: int, ttl: float | None, value: bytes | None) -> int:
    """What a row's last column must hold."""
    head = f"{revision} {created} {ttl} {value is None} {key}".encode()
    return zlib.crc32(value or b"", zlib.crc32(head))


def make_record(revision: int, key: str, created: int, ttl: float | None, value: bytes | None) -> Record:
    """A row with its checksum."""
    return Record(revision, key, created, ttl, value, checksum(revision, key, created, ttl, value))


class Broken(Exception):
    """Writing failed in a way after which nothing may be acknowledged any more."""


class Journal:
    """The open file. Raises StorageError where it cannot be opened or what it holds is damaged."""

    def __init__(self, path: Path, *, limit_bytes: int | None = None) -> None:
        self.path = path
        with self._explained():
            _create(path)
            wal.check(path.with_name(f"{path.name}-wal"))
            self._connection = sqlite3.connect(
                path, timeout=1, isolation_level=None, check_same_thread=False, cached_statements=2 * _ROWS
            )
            try:
                self._prepare()
                self._check()
            except BaseException:
                self._connection.close()
                raise
        self._logged_bytes = 0  # written since the last checkpoint
        self.limit(limit_bytes)

    def limit(self, limit_bytes: int | None) -> None:
        """Let the file grow to so many bytes; writes beyond are refused as on a full disk."""
        pages = limit_bytes // _PAGE_BYTES if limit_bytes else 0xFFFFFFFE
        self._connection.execute(f"PRAGMA max_page_count = {pages}")

    def compacted(self) -> int:
        """The revision before which nothing is asked for."""
        row = self._connection.execute("SELECT revision FROM mark WHERE name = 'compacted'").fetchone()
        return int(row[0]) if row else 0

    def load(self) -> Iterator[Record]:
        """Every row, by revision, each judged by its checksum."""
        with self._explained():
            columns = ", ".join(Record._fields)
            for row in self._connection.execute(f"SELECT {columns} FROM record ORDER BY revision"):
                record = Record(*row)
                if record.checksum != checksum(*row[:-1]):
                    where = f"{self.path}: record {record.revision} (key {record.key!r})"
                    raise errors.StorageError(where, "is damaged: its checksum is wrong")
                yield record

    def append(self, records: Sequence[Record]) -> None:
        """Write the rows in one transaction; they are durable when this returns.

        Raises
        ------
        Unavailable
            The disk is full: nothing was written, and later appends may succeed.
        Broken
            Anything else; whether the rows are durable is unknown.
        """
        with self._written():
            if len(records) > _ROWS:
                self._connection.execute("BEGIN IMMEDIATE")
            for first in range(0, len(records), _ROWS):
                self._insert(records[first : first + _ROWS])
            if self._connection.in_transaction:
                self._connection.execute("COMMIT")
        self._logged_bytes += sum(len(record.value or b"") + _PAGE_BYTES // 16 for record in records)

    def record_compaction(self, revision: int) -> None:
        """Write down that nothing before ``revision`` is asked for."""
        with self._written():
            self._connection.execute("INSERT OR REPLACE INTO mark VALUES ('compacted', ?)", (revision,))

    def erase(self, revisions: Sequence[int]) -> None:
        """Remove rows that nobody needs."""
        with self._written():
            marks = ",".join("?" * len(revisions))
            self._connection.execute(f"DELETE FROM record WHERE revision IN ({marks})", revisions)
        self._logged_bytes += len(revisions) * _PAGE_BYTES // 2  # neighbours share a page

    @property
    def wants_checkpoint(self) -> bool:
        return self._logged_bytes >= _CHECKPOINT_BYTES

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file. Not left to SQLite, which would hide that it failed."""
        self._logged_bytes = 0
        with self._written(), contextlib.suppress(Unavailable):  # the log is kept, and what it holds is durable there
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        """Let go of the file, after moving the write-ahead log into it."""
        self._connection.close()

    # ---- within ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run(f"PRAGMA page_size = {_PAGE_BYTES}")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = FULL")
        run("PRAGMA wal_autocheckpoint = 0")
        run("PRAGMA cell_size_check = ON")
        run("PRAGMA secure_delete = FAST")  # some builds write every page that is freed, to clear it: twice the writes
        application, schema = (run(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version"))
        if (application, schema) == (0, 0) and not run("SELECT 1 FROM sqlite_schema").fetchall():
            self._connection.executescript(
                f"BEGIN; {_TABLES} PRAGMA application_id = {_APPLICATION}; PRAGMA user_version = {SCHEMA}; COMMIT;"
            )
        elif application != _APPLICATION:
            raise errors.StorageError(str(self.path), "is an SQLite file, but not of kubesched")
        elif schema > SCHEMA:
            what = "was written by a newer version of kubesched"
            raise errors.StorageError(str(self.path), what, f"schema {schema}", f"at most {SCHEMA}")

    def _check(self) -> None:
        found = self._connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise errors.StorageError(str(self.path), f"is damaged: {' '.join(found.split())}")

    def _insert(self, records: Sequence[Record]) -> None:
        values = [value for record in records for value in record]
        rows = ",".join(["(?,?,?,?,?,?)"] * len(records))
        self._connection.execute(f"INSERT INTO record VALUES {rows}", values)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Failures of opening and reading, as one line that names the file."""
        try:
            yield
        except sqlite3.Error as error:
            kind = "_".join(getattr(error, "sqlite_errorname", "").split("_")[:2])
            what = {"SQLITE_BUSY": "is used by another process"}.get(kind, f"is damaged: {error}")
            if kind in ("SQLITE_CANTOPEN", "SQLITE_IOERR", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_FULL"):
                what = f"cannot be opened: {error}"
            raise errors.StorageError(str(self.path), what) from error
        except OSError as error:
            raise errors.StorageError(str(self.path), f"cannot be opened: {error.strerror}") from error

    @contextlib.contextmanager
    def _written(self) -> Iterator[None]:
        """Failures of writing, as Unavailable where it may succeed later, else as Broken."""
        try:
            yield
        except sqlite3.Error as error:
            name = getattr(error, "sqlite_errorname", "")
            if name != "SQLITE_FULL":
                raise Broken(f"{error} ({name})") from error
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise Unavailable("the disk that holds the store is full") from error


def _create(path: Path) -> None:
    """Make the file, readable by its owner alone, and its folder's entry durable; keep one that is there."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        return
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)

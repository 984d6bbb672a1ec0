# SPDX-License-Identifier: Apache-2.0
"""Tells a write-ahead log that a crash left unfinished from one that was damaged.

SQLite reads its log up to the first frame whose checksum is wrong, and takes that for the end. That is right for the
last transaction, whose frames may not all have reached the disk. It is wrong before: each commit was synced before the
next transaction began, so what precedes a later one was whole once, and dropping it would lose acknowledged writes.

::

    header   32 bytes: magic, version, page size, sequence, 2 salts, 2 checksum words
    frame    24 bytes: page number, size of the database if it commits (else 0), 2 salts, 2 checksum words; the page

Source: https://www.sqlite.org/fileformat2.html, section 4 (The Write-Ahead Log).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kubesched.base import errors

_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MAGIC = 0x377F0682  # checksums over little-endian words; one more: big-endian


class _Frame(NamedTuple):
    commit: bool
    ours: bool  # of this log, not left over from before it was begun anew
    intact: bool


def check(path: Path) -> None:
    """Refuse a log with a damaged frame before its last transaction; one that is absent or torn at its end is fine.

    Raises
    ------
    StorageError
        Names the frame and where it is.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return
    if len(content) < _HEADER.size:
        return
    header = _HEADER.unpack_from(content)
    size = _FRAME.size + header[2]
    frames = _read(content, header, size)
    end = next((n for n, frame in enumerate(frames) if not frame.intact), len(frames))
    commits = [n for n in range(end, len(frames)) if frames[n].ours and frames[n].commit]
    if commits and any(frame.ours for frame in frames[commits[0] + 1 :]):
        where = f"{path}: frame {end + 1} (at byte {_HEADER.size + end * size})"
        raise errors.StorageError(where, "is damaged, and later commits depend on it")


def _read(content: bytes, header: tuple[int, ...], size: int) -> list[_Frame]:
    magic, _, page_bytes, _, *salts, first, second = header
    order = "<" if magic == _MAGIC else ">"
    words = struct.Struct(f"{order}{page_bytes // 4}I")
    head_words = struct.Struct(f"{order}2I")
    sums = (first, second)
    frames: list[_Frame] = []
    intact = magic in (_MAGIC, _MAGIC + 1) and _sum(struct.unpack_from(f"{order}6I", content), (0, 0)) == sums
    for at in range(_HEADER.size, len(content) - size + 1, size):
        _, commit, *frame_salts, frame_first, frame_second = _FRAME.unpack_from(content, at)
        ours = frame_salts == salts
        intact = intact and ours
        if intact:
            sums = _sum(head_words.unpack_from(content, at), sums)
            sums = _sum(words.unpack_from(content, at + _FRAME.size), sums)
            intact = sums == (frame_first, frame_second)
        frames.append(_Frame(commit != 0, ours, intact))
    return frames


def _sum(words: Iterable[int], sums: tuple[int, int]) -> tuple[int, int]:
    """SQLite's running checksum over pairs of words."""
    first, second = sums
    pairs = iter(words)
    for even, odd in zip(pairs, pairs, strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second

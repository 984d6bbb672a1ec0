# SPDX-License-Identifier: Apache-2.0
"""Random histories: every store against a plain log of what was written."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import hypothesis
import pytest
from hypothesis import strategies as st

from kubesched.store import ABSENT, ANY, Compacted, Entry, Event, EventKind, Mismatch, Store
from tests.store.conftest import DURABLE, KINDS, run

KEYS = ["/a/1", "/a/2", "/a/3", "/ab", "/b/1", "/b/2"]
PREFIXES = ["", "/", "/a", "/a/", "/b/", "/c/"]

keys = st.sampled_from(KEYS)
prefixes = st.sampled_from(PREFIXES)
share = st.floats(0, 1)
"""Where between the oldest revision and the newest; a little is beyond."""

write = st.one_of(
    st.tuples(st.just("put"), keys, st.sampled_from(["any", "absent", "current", "stale"]), st.binary(max_size=4)),
    st.tuples(st.just("delete"), keys, st.sampled_from(["any", "current", "stale"])),
)
step = st.one_of(
    write,
    st.tuples(st.just("together"), st.lists(write, min_size=2, max_size=6)),
    st.tuples(st.just("list"), prefixes, share, st.integers(0, 4), st.sampled_from(["", *KEYS])),
    st.tuples(st.just("watch"), prefixes, share),
    st.tuples(st.just("cancel"), st.integers(0, 5)),
    st.tuples(st.just("compact"), share),
    st.tuples(st.just("reopen")),
)


@dataclass
class Log:
    """The oracle: one line for each write, (revision, key, value or None)."""

    lines: list[tuple[int, str, bytes | None]] = field(default_factory=list)
    oldest: int = 0

    def state(self, revision: int) -> dict[str, tuple[bytes, int, int]]:
        """Key to value, created, revision; by replaying from the beginning."""
        found: dict[str, tuple[bytes, int, int]] = {}
        for at, key, value in self.lines:
            if at > revision:
                break
            if value is None:
                del found[key]
            else:
                found[key] = (value, found[key][1] if key in found else at, at)
        return dict(sorted(found.items()))

    def after(self, prefix: str, revision: int) -> list[tuple[int, str, bytes | None]]:
        return [line for line in self.lines if line[0] > revision and line[1].startswith(prefix)]

    @property
    def newest(self) -> int:
        return max(self.lines[-1][0] if self.lines else 0, self.oldest)


@dataclass
class Watched:
    prefix: str
    revision: int
    subscription: object = None
    seen: list[tuple[int, str, bytes | None]] = field(default_factory=list)
    expected: list[tuple[int, str, bytes | None]] | None = None  # what it had seen when it was cancelled

    def __call__(self, events: Sequence[Event]) -> None:
        for event in events:
            value = event.entry.value if event.kind is EventKind.PUT else None
            self.seen.append((event.revision, event.entry.key, value))


class Machine:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.log = Log()
        self.watches: list[Watched] = []

    def at(self, where: float) -> int:
        """A revision; some are compacted already."""
        return round((self.log.newest + 1) * where)

    async def write(self, kind: str, key: str, expect: str, value: bytes | None = None) -> None:
        before = self.log.state(self.log.newest).get(key)
        current = before[2] if before else ABSENT
        expected = {"any": ANY, "absent": ABSENT, "current": current, "stale": current + 1}[expect]
        newest = self.store.revision
        if expected not in (ANY, current):
            with pytest.raises(Mismatch) as caught:
                await self.send(kind, key, expected, value)
            found = caught.value.current
            assert (found.revision if found else ABSENT) == current
            assert self.store.revision == newest
            return
        entry = await self.send(kind, key, expected, value)
        if kind == "put":
            assert entry.created == (before[1] if before else entry.revision)
            self.log.lines.append((entry.revision, key, value))
        elif before is None:
            assert entry is None
            return
        else:
            assert (entry.value, entry.created, entry.revision) == before
            self.log.lines.append((self.store.revision, key, None))
        assert self.store.revision == newest + 1 == self.log.newest

    async def send(self, kind: str, key: str, expect: int, value: bytes | None) -> Entry | None:
        if kind == "delete":
            return await self.store.delete(key, expect=expect)
        assert value is not None
        return await self.store.put(key, value, expect=expect)

    async def together(self, writes: list[tuple[str, ...]]) -> None:
        """Writes in flight at once, without conditions, so that their order is what the revisions say."""
        watched = Watched("", self.store.revision)
        subscription = self.store.watch("", self.store.revision, watched)
        jobs = []
        for kind, key, _, *value in writes:
            jobs.append(
                self.store.put(key, *value, expect=ANY) if kind == "put" else self.store.delete(key, expect=ANY)
            )
        before = self.store.revision
        await asyncio.gather(*jobs)
        subscription.cancel()
        assert [line[0] for line in watched.seen] == list(range(before + 1, self.store.revision + 1))
        written = sum(kind == "put" for kind, *_ in writes)
        assert written <= len(watched.seen) <= len(writes)
        self.log.lines.extend(watched.seen)

    async def list(self, prefix: str, where: float, limit: int, start: str) -> None:
        revision = min(self.at(where), self.log.newest)
        if 0 < revision < self.log.oldest:
            with pytest.raises(Compacted):
                await self.store.list(prefix, start=start, limit=limit, revision=revision)
            return
        listing = await self.store.list(prefix, start=start, limit=limit, revision=revision)
        state = self.log.state(revision or self.log.newest)
        expected = [(key, *rest) for key, rest in state.items() if key.startswith(prefix) and key >= start]
        cut = expected[:limit] if limit else expected
        assert [(e.key, e.value, e.created, e.revision) for e in listing.entries] == cut
        assert listing.revision == (revision or self.log.newest)
        assert listing.remaining == len(expected) - len(cut)
        assert listing.more == (len(cut) < len(expected))

    async def watch(self, prefix: str, where: float) -> None:
        revision = self.at(where)
        watched = Watched(prefix, revision)
        if revision < self.log.oldest:
            with pytest.raises(Compacted):
                self.store.watch(prefix, revision, watched)
            return
        watched.subscription = self.store.watch(prefix, revision, watched)
        self.watches.append(watched)

    async def cancel(self, which: int) -> None:
        if which < len(self.watches) and self.watches[which].expected is None:
            self.watches[which].subscription.cancel()
            self.watches[which].expected = list(self.watches[which].seen)

    async def compact(self, where: float) -> None:
        revision = min(self.at(where), self.log.newest)
        await self.store.compact(revision)
        self.log.oldest = max(self.log.oldest, revision)
        assert self.store.oldest == self.log.oldest

    async def check(self) -> None:
        assert self.store.revision == self.log.newest
        newest = self.log.state(self.log.newest)
        for key in KEYS:
            entry = await self.store.get(key)
            assert (None if entry is None else (entry.value, entry.created, entry.revision)) == newest.get(key)
        for watched in self.watches:
            expected = self.log.after(watched.prefix, watched.revision)
            assert watched.seen == (expected if watched.expected is None else watched.expected)


@pytest.mark.parametrize("kind", KINDS)
@hypothesis.given(steps=st.lists(step, max_size=40))
def test_store_when_used_at_random_then_equals_its_log(kind: str, steps: list[tuple[object, ...]]) -> None:
    async def check() -> None:
        with tempfile.TemporaryDirectory() as folder:
            machine = Machine(await KINDS[kind](Path(folder)))
            try:
                for name, *arguments in steps:
                    if name == "reopen":
                        if kind in DURABLE:
                            await machine.store.close()
                            machine.watches.clear()
                            machine.store = await KINDS[kind](Path(folder))
                        continue
                    action = machine.write if name in ("put", "delete") else getattr(machine, str(name))
                    await action(*((name, *arguments) if action == machine.write else arguments))
                    await machine.check()
                for revision in range(machine.log.newest + 1):
                    await machine.list("", revision / (machine.log.newest + 1), 0, "")
            finally:
                await machine.store.close()

    run(check())

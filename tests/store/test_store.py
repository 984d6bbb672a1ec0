# SPDX-License-Identifier: Apache-2.0
"""What `kubesched.store.interface` promises, of every store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kubesched.store import ABSENT, ANY, Compacted, Event, EventKind, Mismatch, Store
from tests.store.conftest import Opener, run


def keys(listing: object) -> list[str]:
    return [entry.key for entry in listing.entries]  # type: ignore[attr-defined]


async def fill(store: Store, *names: str) -> None:
    for name in names:
        await store.put(name, name.encode(), expect=ABSENT)


def test_get_when_put_then_value_and_revisions(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            assert await store.get("/a") is None
            first = await store.put("/a", b"1", expect=ABSENT)
            second = await store.put("/a", b"2", expect=first.revision, note="n")
            got = await store.get("/a")
            assert (got.value, got.created, got.revision, got.note) == (b"2", first.revision, second.revision, "n")
            assert store.revision == second.revision > first.revision

    run(check())


@pytest.mark.parametrize("expect", [ABSENT, 77])
def test_put_when_another_value_is_there_then_mismatch(opened: Opener, expect: int) -> None:
    async def check() -> None:
        async with opened() as store:
            there = await store.put("/a", b"1", expect=ANY)
            with pytest.raises(Mismatch) as caught:
                await store.put("/a", b"2", expect=expect)
            assert caught.value.current.revision == there.revision
            assert (await store.get("/a")).value == b"1"
            assert store.revision == there.revision

    run(check())


def test_put_when_nothing_is_there_but_expected_then_mismatch(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            with pytest.raises(Mismatch) as caught:
                await store.put("/a", b"2", expect=5)
            assert caught.value.current is None

    run(check())


def test_delete_then_gone_and_created_anew(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            first = await store.put("/a", b"1", expect=ABSENT)
            with pytest.raises(Mismatch):
                await store.delete("/a", expect=first.revision + 1)
            removed = await store.delete("/a", expect=first.revision)
            assert removed.value == b"1"
            assert await store.get("/a") is None
            assert await store.delete("/a", expect=ANY) is None
            again = await store.put("/a", b"2", expect=ABSENT)
            assert again.created == again.revision == first.revision + 2

    run(check())


def test_write_when_many_race_then_one_wins(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            first = await store.put("/a", b"0", expect=ABSENT)
            racers = [store.put("/a", b"%d" % n, expect=first.revision) for n in range(20)]
            results = await asyncio.gather(*racers, return_exceptions=True)
            won = [result for result in results if not isinstance(result, Exception)]
            assert len(won) == 1
            for result in results:
                if isinstance(result, Mismatch):
                    assert result.current.revision == won[0].revision
            assert (await store.get("/a")).value == won[0].value

    run(check())


def test_write_when_pending_is_compared_with_then_chain_of_writes(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            await store.put("/n", b"0", expect=ABSENT)

            async def increment() -> None:
                current = await store.get("/n", pending=True)
                await store.put("/n", b"%d" % (int(current.value) + 1), expect=current.revision)

            await asyncio.gather(*(increment() for _ in range(50)))
            assert (await store.get("/n")).value == b"50"

    run(check())


def test_reach_when_pending_is_read_then_it_is_visible_afterwards(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            writer = asyncio.create_task(store.put("/a", b"1", expect=ABSENT))
            await asyncio.sleep(0)
            pending = await store.get("/a", pending=True)
            await store.reach(pending.revision)
            assert (await store.get("/a")).revision == pending.revision
            await writer
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(store.reach(1_000), 0.01)

    run(check())


def test_list_when_prefix_then_those_keys_in_order(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            await fill(store, "/b/2", "/a/1", "/b/10", "/b", "/c/1", "/b/é", "/b/\U0001f600")
            assert keys(await store.list("/b/")) == ["/b/10", "/b/2", "/b/é", "/b/\U0001f600"]
            assert keys(await store.list("/b/", start="/b/2")) == ["/b/2", "/b/é", "/b/\U0001f600"]
            assert keys(await store.list("/b/", start="/c")) == []
            assert keys(await store.list("/nothing/")) == []
            assert len(keys(await store.list(""))) == 7
            assert (await store.list("/b/")).revision == store.revision

    run(check())


def test_list_when_limited_then_pages_of_one_revision(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            names = [f"/p/{n:02}" for n in range(10)]
            await fill(store, *names)
            page = await store.list("/p/", limit=4)
            assert (keys(page), page.more, page.remaining) == (names[:4], True, 6)
            await store.put("/p/05", b"new", expect=ANY)
            await store.delete("/p/06", expect=ANY)
            await store.put("/p/055", b"late", expect=ABSENT)
            await store.delete("/p/00", expect=ANY)
            second = await store.list("/p/", start="/p/03\0", limit=4, revision=page.revision)
            assert (keys(second), second.more, second.remaining) == (names[4:8], True, 2)
            assert second.entries[1].value == b"/p/05"
            last = await store.list("/p/", start="/p/07\0", limit=4, revision=page.revision)
            assert (keys(last), last.more, last.remaining) == (names[8:], False, 0)
            exact = await store.list("/p/", limit=9)
            assert (len(exact.entries), exact.more, exact.remaining) == (9, False, 0)

    run(check())


def test_list_when_revision_is_in_the_future_then_refused(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            with pytest.raises(ValueError, match="future"):
                await store.list("/", revision=99)

    run(check())


class Recorder:
    """A watcher that writes down what it is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.calls = 0

    def __call__(self, events: Sequence[Event]) -> None:
        assert events
        self.calls += 1
        self.events.extend(events)

    def lines(self) -> list[tuple[str, str, bytes]]:
        return [(event.kind.value, event.entry.key, event.entry.value) for event in self.events]


def test_watch_when_replayed_and_live_then_every_event_once(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            await fill(store, "/a/1", "/b/1")
            start = store.revision
            await store.put("/a/1", b"two", expect=ANY)
            await store.delete("/a/1", expect=ANY)
            seen = Recorder()
            store.watch("/a/", start, seen)
            assert len(seen.events) == 2, "kept events are delivered at once"
            await store.put("/b/1", b"other", expect=ANY)
            await store.put("/a/2", b"three", expect=ABSENT)
            assert seen.lines() == [("put", "/a/1", b"two"), ("delete", "/a/1", b"two"), ("put", "/a/2", b"three")]
            put, delete, create = seen.events
            assert (put.before.value, delete.before.value, create.before) == (b"/a/1", b"two", None)
            assert put.revision < delete.revision < create.revision
            assert delete.entry.revision == put.revision

    run(check())


def test_watch_when_registered_between_writes_in_flight_then_no_gap(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            watchers: list[tuple[int, Recorder]] = []

            async def write(n: int) -> None:
                await store.put(f"/k/{n}", b"x", expect=ABSENT)
                seen = Recorder()
                watchers.append((store.revision, seen))
                store.watch("/k/", store.revision, seen)

            await asyncio.gather(*(write(n) for n in range(40)))
            await store.put("/k/end", b"x", expect=ABSENT)
            for revision, seen in watchers:
                expected = list(range(revision + 1, store.revision + 1))
                assert [event.revision for event in seen.events] == expected

    run(check())


def test_watch_when_from_the_future_then_only_later_events(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            await fill(store, "/a")
            seen = Recorder()
            store.watch("/", store.revision + 2, seen)
            await fill(store, "/b", "/c", "/d")
            assert [event.entry.key for event in seen.events] == ["/d"]

    run(check())


def test_watch_when_prefixes_nest_then_each_event_once(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            seen = {prefix: Recorder() for prefix in ("", "/", "/a/", "/a/b", "/a/b/c/longer")}
            for prefix, recorder in seen.items():
                store.watch(prefix, 0, recorder)
            await fill(store, "/a/b", "/a")
            counts = {prefix: len(recorder.events) for prefix, recorder in seen.items()}
            assert counts == {"": 2, "/": 2, "/a/": 1, "/a/b": 1, "/a/b/c/longer": 0}

    run(check())


def test_watch_when_cancelled_then_nothing_more(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            first, second = Recorder(), Recorder()
            subscriptions = [store.watch("/", 0, first)]

            def cancel_the_other(events: Sequence[Event]) -> None:
                second(events)
                subscriptions[-1].cancel()

            store.watch("/", 0, cancel_the_other)
            subscriptions.append(store.watch("/", 0, third := Recorder()))
            subscriptions[0].cancel()
            subscriptions[0].cancel()
            await fill(store, "/a")
            assert (len(first.events), len(second.events), len(third.events)) == (0, 1, 0)

    run(check())


def test_watch_when_one_watcher_fails_then_the_others_go_on(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            reported: list[dict[str, object]] = []
            asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))

            def fail(events: Sequence[Event]) -> None:
                raise RuntimeError("defect")

            store.watch("/", 0, fail)
            store.watch("/", 0, seen := Recorder())
            await fill(store, "/a", "/b")
            assert len(seen.events) == 2
            assert [str(context["exception"]) for context in reported] == ["defect"]

    run(check())


def test_watch_when_its_consumer_is_slow_then_writers_and_others_are_not(opened: Opener) -> None:
    """A consumer that waits does so behind its own queue: what it is given grows, nothing else waits."""

    async def check() -> None:
        async with opened() as store:
            queue: asyncio.Queue[Event] = asyncio.Queue()
            store.watch("/", 0, lambda events: [queue.put_nowait(event) for event in events] and None)
            store.watch("/", 0, quick := Recorder())
            await asyncio.gather(*(store.put(f"/{n}", b"x", expect=ABSENT) for n in range(200)))
            assert len(quick.events) == queue.qsize() == 200
            revisions = [queue.get_nowait().revision for _ in range(200)]
            assert revisions == sorted(revisions)

    run(check())


def test_compact_then_older_revisions_are_refused_and_newer_ones_are_whole(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            await fill(store, "/a", "/b", "/c")
            await store.put("/a", b"2", expect=ANY)
            kept = store.revision
            await store.put("/a", b"3", expect=ANY)
            await store.delete("/b", expect=ANY)
            await store.compact(kept)
            assert store.oldest == kept
            listing = await store.list("/", revision=kept)
            assert [(entry.key, entry.value) for entry in listing.entries] == [
                ("/a", b"2"),
                ("/b", b"/b"),
                ("/c", b"/c"),
            ]
            with pytest.raises(Compacted) as caught:
                await store.list("/", revision=kept - 1)
            assert (caught.value.revision, caught.value.oldest) == (kept - 1, kept)
            with pytest.raises(Compacted):
                store.watch("/", kept - 1, Recorder())
            store.watch("/", kept, seen := Recorder())
            assert [event.kind for event in seen.events] == [EventKind.PUT, EventKind.DELETE]
            await store.compact(kept - 1)
            assert store.oldest == kept
            await store.compact(store.revision + 100)
            assert store.oldest == store.revision
            assert keys(await store.list("/")) == ["/a", "/c"]

    run(check())


def test_compact_when_a_watch_is_open_then_it_goes_on(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            store.watch("/", 0, seen := Recorder())
            await fill(store, "/a", "/b")
            await store.compact(store.revision)
            await fill(store, "/c")
            assert [event.entry.key for event in seen.events] == ["/a", "/b", "/c"]

    run(check())


def test_history_when_it_outgrows_its_bound_then_the_oldest_is_compacted(opened: Opener) -> None:
    async def check() -> None:
        async with opened(history_events=100) as store:
            for n in range(400):
                await store.put("/a", b"%d" % n, expect=ANY)
                await asyncio.sleep(0)
            while store.oldest < 200:
                await asyncio.sleep(0.001)
            assert store.oldest < store.revision
            assert (await store.list("/", revision=store.oldest)).entries[0].revision == store.oldest

    run(check())


def test_ttl_when_it_is_over_then_deleted_and_watchers_told(opened: Opener) -> None:
    async def check() -> None:
        now = 0.0
        async with opened(clock=lambda: now) as store:
            store.watch("/", 0, seen := Recorder())
            await store.put("/far", b"1", expect=ABSENT, ttl=3_600)
            await store.put("/short", b"1", expect=ABSENT, ttl=10)
            await store.put("/renewed", b"1", expect=ABSENT, ttl=10)
            await store.put("/renewed", b"2", expect=ANY, ttl=3_600)
            await store.put("/kept", b"1", expect=ABSENT, ttl=10)
            await store.put("/kept", b"2", expect=ANY)
            await asyncio.sleep(0.01)
            assert await store.get("/short") is not None
            now = 11.0
            while await store.get("/short") is not None:
                await asyncio.sleep(0.005)
            await store.put("/last", b"1", expect=ABSENT)
            assert keys(await store.list("/")) == ["/far", "/kept", "/last", "/renewed"]
            assert seen.lines()[-2] == ("delete", "/short", b"1")

    run(check())


def test_write_when_its_task_is_cancelled_then_others_are_not_hurt(opened: Opener) -> None:
    async def check() -> None:
        async with opened() as store:
            tasks = [asyncio.create_task(store.put(f"/{n}", b"x", expect=ABSENT)) for n in range(10)]
            await asyncio.sleep(0)
            tasks[3].cancel()
            await asyncio.wait(tasks)
            assert [task.cancelled() for task in tasks].count(False) >= 9
            await store.put("/after", b"x", expect=ABSENT)
            assert len((await store.list("/")).entries) >= 10

    run(check())

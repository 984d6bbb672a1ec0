# SPDX-License-Identifier: Apache-2.0
"""Watches as clients see them: order, selectors, bookmarks, what is too old."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest

from kubesched.api import proto, schema
from kubesched.apiserver.message import Response, Stream
from kubesched.apiserver.watch import MAX_BUFFERED
from tests.unit.apiserver.conftest import Server, pod

PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


async def watch(server: Server, path: str = PODS, **query: str) -> AsyncIterator[bytes]:
    answer = await server.send("GET", path, query={"watch": "true", "timeoutSeconds": "60", **query})
    assert isinstance(answer, Stream)
    return answer.chunks


async def read(chunks: AsyncIterator[bytes], n: int) -> list[dict[str, Any]]:
    """The next ``n`` events."""
    found: list[dict[str, Any]] = []
    while len(found) < n:
        found += [orjson.loads(line) for line in (await anext(chunks)).splitlines()]
    assert len(found) == n
    return found


def kinds(events: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


def test_events_come_in_order(server: Server) -> None:
    async def play() -> None:
        await server.send("POST", PODS, pod("a"))
        chunks = await watch(server)
        assert kinds(await read(chunks, 1)) == [("ADDED", "a")]
        await server.send("POST", PODS, pod("b"))
        await server.send("PATCH", f"{PODS}/a", {"metadata": {"labels": {"x": "1"}}}, content_type=MERGE)
        await server.send("DELETE", f"{PODS}/a", {"gracePeriodSeconds": 0})
        events = await read(chunks, 4)
        assert kinds(events) == [("ADDED", "b"), ("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
        revisions = [int(event["object"]["metadata"]["resourceVersion"]) for event in events]
        assert revisions == sorted(set(revisions))

    server.run(play())


def test_watch_by_its_path_begins_with_what_there_is(server: Server) -> None:
    """The old form: without a revision it needs no history, however much of that is gone."""

    async def play() -> None:
        for name in ("gone", "a", "b"):
            await server.send("POST", PODS, pod(name))
        await server.send("DELETE", f"{PODS}/gone", {"gracePeriodSeconds": 0})
        path = PODS.replace("/api/v1/", "/api/v1/watch/")
        for query in ({}, {"resourceVersion": "0"}):
            answer = await server.send("GET", path, query=query)
            assert isinstance(answer, Stream)
            assert kinds(await read(answer.chunks, 2)) == [("ADDED", "a"), ("ADDED", "b")]
            await answer.chunks.aclose()  # type: ignore[attr-defined]
        only = await server.send("GET", f"{path}/b")
        assert isinstance(only, Stream)
        assert kinds(await read(only.chunks, 1)) == [("ADDED", "b")]
        await server.send("PATCH", f"{PODS}/b", {"metadata": {"labels": {"x": "1"}}}, content_type=MERGE)
        assert kinds(await read(only.chunks, 1)) == [("MODIFIED", "b")]

    server.run(play())


def test_from_a_revision_nothing_is_missed(server: Server) -> None:
    async def play() -> None:
        await server.send("POST", PODS, pod("a"))
        seen = str(server.app.store.revision)
        await server.send("POST", PODS, pod("b"))
        chunks = await watch(server, resourceVersion=seen)
        assert kinds(await read(chunks, 1)) == [("ADDED", "b")]

    server.run(play())


def test_entering_and_leaving_a_selector(server: Server) -> None:
    async def play() -> None:
        chunks = await watch(server, labelSelector="x=1", resourceVersion=str(server.app.store.revision))
        await server.send("POST", PODS, pod("a"))
        for value in ("1", "2"):
            change = {"metadata": {"labels": {"x": value}}}
            await server.send("PATCH", f"{PODS}/a", change, content_type=MERGE)
        events = await read(chunks, 2)
        assert kinds(events) == [("ADDED", "a"), ("DELETED", "a")]
        assert events[1]["object"]["metadata"]["labels"] == {"x": "1"}
        assert events[1]["object"]["metadata"]["resourceVersion"] == str(server.app.store.revision)

    server.run(play())


def test_the_state_first_then_a_mark(server: Server) -> None:
    async def play() -> None:
        await server.send("POST", PODS, pod("a"))
        asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan", "allowWatchBookmarks": "true"}
        events = await read(await watch(server, **asked), 2)
        assert kinds(events) == [("ADDED", "a"), ("BOOKMARK", "")]
        assert events[1]["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}

    server.run(play())


def test_too_old_is_said_in_the_stream(server: Server) -> None:
    async def play() -> None:
        await server.send("POST", PODS, pod("a"))
        await server.app.store.compact(server.app.store.revision)
        events = await read(await watch(server, resourceVersion="1"), 1)
        assert (events[0]["type"], events[0]["object"]["reason"]) == ("ERROR", "Expired")

    server.run(play())


def test_a_watcher_that_is_too_slow_is_let_go(server: Server) -> None:
    async def play() -> None:
        chunks = await watch(server, resourceVersion=str(server.app.store.revision))
        for i in range(20):
            obj = pod(f"p{i}")
            obj["metadata"]["annotations"] = {"x": "y" * 100_000}
            await server.send("POST", PODS, obj)
            await asyncio.sleep(0.005)  # long enough for a flush
        sent = [chunk async for chunk in chunks]  # ends: what it is behind by is too much
        assert sum(map(len, sent)) <= MAX_BUFFERED

    server.run(play())


def test_protobuf_events_are_framed_by_their_length(server: Server) -> None:
    """Four bytes of length, then WatchEvent{1: type, 2: RawExtension{1: an object in its envelope}}."""
    made = server.ask("POST", PODS, pod("a")).body
    accept = "application/vnd.kubernetes.protobuf,application/json"

    async def play() -> tuple[str, bytes]:
        query = {"watch": "true", "timeoutSeconds": "60", "resourceVersion": "0"}
        answer = await server.send("GET", PODS, query=query, accept=accept)
        assert isinstance(answer, Stream)
        return answer.content_type, await anext(answer.chunks)

    content_type, frame = server.run(play())
    assert content_type == "application/vnd.kubernetes.protobuf;stream=watch"
    assert int.from_bytes(frame[:4], "big") == len(frame) - 4
    assert frame[4:11] == b"\x0a\x05ADDED"
    envelope = frame[frame.index(b"k8s\0") :]
    api_version, kind, message = proto.unwrap(envelope)
    assert (api_version, kind) == ("v1", "Pod")
    found = proto.decode(message, schema.of("", "v1", "Pod"))
    assert found["metadata"]["uid"] == made["metadata"]["uid"]
    assert found["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]


def test_what_cannot_be_streamed_is_not_acceptable(server: Server) -> None:
    for accept in ("application/yaml", "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io"):
        answer = server.ask("GET", PODS, query={"watch": "true"}, accept=accept)
        assert (answer.status, answer.body["reason"]) == (406, "NotAcceptable"), accept


def test_head_of_a_watch_opens_none(server: Server) -> None:
    answer = server.run(server.send("HEAD", PODS, query={"watch": "true"}))
    assert isinstance(answer, Response)


def test_a_bookmark_comes_behind_what_it_covers(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """An event that waits for its flush is older than the revision that a bookmark says was reached."""
    monkeypatch.setattr("kubesched.apiserver.watch.BOOKMARK_EVERY", 0.05)
    monkeypatch.setattr("kubesched.apiserver.watch.FLUSH_AFTER", 60)

    async def play() -> None:
        revision = str(server.app.store.revision)
        plain = await watch(server, resourceVersion=revision)
        marked = await watch(server, resourceVersion=revision, allowWatchBookmarks="true")
        await server.send("POST", PODS, pod("a"))
        first, *others = await read(marked, 2)
        assert (first["type"], others[0]["type"]) == ("ADDED", "BOOKMARK")
        assert others[0]["object"]["metadata"]["resourceVersion"] == first["object"]["metadata"]["resourceVersion"]
        assert kinds(await read(marked, 1)) == [("BOOKMARK", "")]  # and again
        assert kinds(await read(plain, 1)) == [("ADDED", "a")]

    server.run(play())


def test_watches_that_are_opened_meanwhile_are_not_lost(server: Server) -> None:
    """One waits for a revision to come; another that asks for the same objects begins before it comes."""

    async def play() -> None:
        revision = server.app.store.revision
        asked = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        early = asyncio.ensure_future(watch(server, resourceVersion=str(revision + 1), **asked))
        await asyncio.sleep(0)
        later = await watch(server, resourceVersion=str(revision))
        await server.send("POST", PODS, pod("a"))
        assert kinds(await read(await early, 1)) == kinds(await read(later, 1)) == [("ADDED", "a")]
        await server.send("POST", PODS, pod("b"))
        assert kinds(await read(await early, 1)) == kinds(await read(later, 1)) == [("ADDED", "b")]

    server.run(play())

# SPDX-License-Identifier: Apache-2.0
"""/metrics: upstream's names and labels, the right numbers, and a text that Prometheus's own parser reads."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from kubesched.apiserver.message import ANONYMOUS, Stream
from tests.unit.apiserver.conftest import Answer, Server, pod

PODS = "/api/v1/namespaces/default/pods"
APPLY = "application/apply-patch+yaml"


def scraped(server: Server) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by its name and labels; each must be there once."""
    answer = server.ask("GET", "/metrics")
    assert answer.status == 200
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    samples = [sample for family in text_string_to_metric_families(answer.body) for sample in family.samples]
    found = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in samples}
    assert len(found) == len(samples)
    return found


def only(found: dict[tuple[str, frozenset[tuple[str, str]]], float], name: str, **wanted: str) -> float:
    """The one sample of a name with these labels among others."""
    matching = [
        value for (known, labels), value in found.items() if known == name and wanted.items() <= dict(labels).items()
    ]
    assert len(matching) == 1, (name, wanted, matching)
    return matching[0]


def test_requests_are_counted_by_upstreams_labels(server: Server) -> None:
    server.ask("POST", PODS, pod())
    server.ask("POST", PODS, pod())  # 409
    server.ask("POST", PODS, pod("q"), query={"dryRun": "All"})
    server.ask("GET", f"{PODS}/p", user_agent="kube-scheduler/v1.36.0 (linux/amd64)")
    server.ask("GET", PODS)
    server.ask("GET", "/api/v1/pods")
    server.merge(f"{PODS}/p", {"metadata": {"labels": {"a": "b"}}})
    applied = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"c": "d"}}}
    server.ask("PATCH", f"{PODS}/p", applied, query={"fieldManager": "m", "force": "true"}, content_type=APPLY)
    server.ask("GET", f"{PODS}/p/exec")
    server.ask("GET", "/readyz/ping")
    server.ask("DELETE", f"{PODS}/p")
    found = scraped(server)
    total = "apiserver_request_total"
    names = {name for known, labels in found if known == total for name, _ in labels}
    assert names == {
        *("verb", "dry_run", "group", "version", "resource", "subresource"),
        *("scope", "component", "code", "system_client"),
    }
    mine = {"group": "", "version": "v1", "resource": "pods", "component": "apiserver"}
    assert only(found, total, verb="POST", code="201", dry_run="", scope="resource", **mine) == 1
    assert only(found, total, verb="POST", code="409", **mine) == 1
    assert only(found, total, verb="POST", code="201", dry_run="All", **mine) == 1
    assert only(found, total, verb="GET", system_client="kube-scheduler", scope="resource", **mine) == 1
    assert only(found, total, verb="LIST", scope="namespace", **mine) == 1
    assert only(found, total, verb="LIST", scope="cluster", **mine) == 1
    assert only(found, total, verb="PATCH", code="200", **mine) == 1
    assert only(found, total, verb="APPLY", code="200", **mine) == 1
    assert only(found, total, verb="CONNECT", subresource="exec", code="400", **mine) == 1
    assert only(found, total, verb="GET", subresource="/readyz", code="200", component="", scope="") == 1
    assert only(found, total, verb="DELETE", code="200", **mine) == 1
    seconds = "apiserver_request_duration_seconds"
    assert only(found, f"{seconds}_count", verb="POST", dry_run="", **mine) == 2
    assert only(found, f"{seconds}_bucket", verb="POST", dry_run="", le="60", **mine) == 2
    assert only(found, "apiserver_request_sli_duration_seconds_count", verb="POST", **mine) == 2


def test_sizes_are_those_of_bodies(server: Server) -> None:
    first = server.ask("GET", "/api/v1/namespaces/default")
    second = server.ask("GET", "/api/v1/namespaces")
    found = scraped(server)
    sizes, mine = "apiserver_response_sizes", {"resource": "namespaces"}
    assert only(found, f"{sizes}_sum", verb="GET", **mine) == len(first.raw)
    assert only(found, f"{sizes}_sum", verb="LIST", **mine) == len(second.raw)
    assert only(found, f"{sizes}_bucket", verb="GET", le="1000", **mine) == (1 if len(first.raw) <= 1000 else 0)
    assert only(found, f"{sizes}_bucket", verb="GET", le="1e+09", **mine) == 1


def test_watches_are_open_until_they_end(server: Server) -> None:
    server.ask("POST", PODS, pod())

    async def first(stream: Stream) -> bytes:
        return await anext(stream.chunks)

    stream = server.run(
        server.send(
            "GET", PODS, query={"watch": "1", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
        )
    )
    assert isinstance(stream, Stream)
    sent = server.run(first(stream))
    running = {"verb": "WATCH", "resource": "pods", "scope": "namespace"}
    found = scraped(server)
    assert only(found, "apiserver_longrunning_requests", **running) == 1
    assert only(found, "apiserver_watch_events_total", resource="pods", group="", version="v1") == 1
    assert only(found, "apiserver_watch_events_sizes_sum", resource="pods") == len(sent)
    server.ask("POST", PODS, pod("q"))
    server.run(asyncio.wait_for(first(stream), 5))
    server.run(stream.chunks.aclose())  # type: ignore[attr-defined]
    found = scraped(server)
    assert only(found, "apiserver_longrunning_requests", **running) == 0
    assert only(found, "apiserver_watch_events_total", resource="pods") == 2
    assert only(found, "apiserver_request_total", code="200", **running) == 1


def test_stored_objects_under_both_names(server: Server) -> None:
    for name in "abc":
        server.ask("POST", PODS, pod(name))
    found = scraped(server)
    assert only(found, "apiserver_storage_objects", resource="pods") == 3
    assert only(found, "apiserver_resource_objects", group="", resource="pods") == 3
    assert only(found, "apiserver_storage_objects", resource="deployments.apps") == 0


def test_the_process_and_the_server_are_described(server: Server) -> None:
    found = scraped(server)
    assert only(found, "process_resident_memory_bytes") > 1 << 20
    assert only(found, "process_cpu_seconds_total") > 0
    assert only(found, "kubernetes_build_info", major="1", minor="36") == 1
    assert only(found, "apiserver_current_inflight_requests", request_kind="mutating") >= 0


def test_verdicts_are_counted(server: Server) -> None:
    def refused() -> Answer:
        return server.ask("GET", "/metrics", user=ANONYMOUS)

    assert refused().status == 403
    assert only(scraped(server), "authorization_attempts_total", result="no-opinion") == 1


def test_index_lists_what_there_is(server: Server) -> None:
    paths: list[Any] = server.ask("GET", "/").body["paths"]
    assert paths == sorted(paths)
    assert {"/metrics", "/api/v1", "/apis/apps", "/apis/apps/v1", "/readyz/ping", "/openapi/v3", "/version"} <= {*paths}
    for path in paths:
        assert server.ask("GET", path).status == 200, path


def test_a_watch_that_nobody_began_to_read_is_sent_nothing(server: Server) -> None:
    """Its client left before the first byte."""

    async def play() -> None:
        streams = [await server.send("GET", PODS, query={"watch": "1"}) for _ in range(2)]
        for stream in streams:
            assert isinstance(stream, Stream)
        await streams[0].chunks.aclose()  # type: ignore[union-attr]
        await server.send("POST", PODS, pod())
        await anext(streams[1].chunks)  # type: ignore[union-attr]

    server.run(play())
    assert only(scraped(server), "apiserver_watch_events_total", resource="pods") == 1

# SPDX-License-Identifier: Apache-2.0
"""What /metrics says: how many requests of which kind, how long, how large; watches; what is stored; the process.

Names, labels and buckets are upstream's, so that dashboards and alerts find what they know. The counters are plain
integers, found by one look into a dictionary: a labelled histogram of prometheus_client costs more for each request
than all of it here. The library turns them into text, and is loaded by the first who asks.

Source: apiserver/pkg/endpoints/metrics, pkg/storage/etcd3/metrics and pkg/server/filters/maxinflight.go, v1.36.
"""

from __future__ import annotations

import itertools
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from kubesched.api.kinds import Kind
from kubesched.apiserver.message import Answer, Pieces, Request, Response
from kubesched.apiserver.routes import Route

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_DURATIONS = (
    *(0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0),
    *(4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0),
)
_SLI_FROM = 2  # the indicator's buckets are those without the first two
_SIZES = tuple(1000.0 * 10**step for step in range(7))
_EVENT_SIZES = tuple(1024.0 * 2**step for step in range(8))

_VERBS = ("GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "APPLY", "DELETE", "CONNECT")
_CONNECT = ("log", "exec", "portforward", "attach", "proxy")
_SYSTEM_CLIENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "cluster-policy-controller")
_PATHS = {"healthz": "/healthz", "livez": "/livez", "readyz": "/readyz", "api": "/api", "apis": "/apis"}
_APPLY = "application/apply-patch+yaml"
_REMEMBERED = 10_000
"""Forms of requests whose series are found at once; arbitrary."""


class Labels(NamedTuple):
    """What tells one series of requests from another."""

    verb: str
    dry_run: str
    group: str
    version: str
    resource: str
    subresource: str
    scope: str
    component: str


_NAMES = Labels._fields
_PLAIN = tuple(name for name in _NAMES if name != "dry_run")


class Distribution:
    """How many values are within which bounds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times

    def buckets(self, begin: int = 0) -> list[tuple[str, float]]:
        """Upper bounds, as Go writes them, and how many values are not above each; without the first ``begin``."""
        names = [*(f"{bound:g}" for bound in self.bounds), "+Inf"]
        return list(zip(names, itertools.accumulate(map(float, self.counts)), strict=True))[begin:]


class _Series:
    """The requests that have their labels in common."""

    __slots__ = ("codes", "labels", "reads", "running", "seconds", "sizes")

    def __init__(self, labels: Labels) -> None:
        self.labels = labels
        self.reads = labels.verb in ("GET", "LIST", "WATCH")
        self.codes: Counter[tuple[int, str]] = Counter()  # by code and kind of client
        self.seconds = Distribution(_DURATIONS)
        self.sizes = Distribution(_SIZES)
        self.running = 0  # streams that are open


class _Watermark:
    """How many run at once: the most within the last whole second."""

    __slots__ = ("_high", "_last", "_second", "now")

    def __init__(self) -> None:
        self.now = self._high = self._last = self._second = 0

    def enter(self, at: float) -> None:
        self._turn(int(at))
        self.now += 1
        self._high = max(self._high, self.now)

    def read(self, at: float) -> int:
        self._turn(int(at))
        return self._last

    def _turn(self, second: int) -> None:
        if second != self._second:
            self._last = self._high if second == self._second + 1 else self.now
            self._high, self._second = self.now, second


class _Followed:
    """The chunks of a stream; counts it when it ends, however it does."""

    def __init__(self, chunks: AsyncIterator[bytes], ended: Callable[[int], None]) -> None:
        self._chunks, self._ended = chunks, ended
        self._size = 0
        self._open = True

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            chunk = await anext(self._chunks)
        except BaseException:
            self._end()
            raise
        self._size += len(chunk)
        return chunk

    async def aclose(self) -> None:
        self._end()
        close: Callable[[], Awaitable[None]] | None = getattr(self._chunks, "aclose", None)
        if close is not None:
            await close()

    def _end(self) -> None:
        if self._open:
            self._open = False
            self._ended(self._size)


class Metrics:
    """Counts; called on the event loop, but for `exposition`.

    ``clock``: seconds, for durations.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self.authorizations: Counter[str] = Counter()
        self._found: dict[tuple[Any, ...], _Series] = {}
        self._series: dict[Labels, _Series] = {}
        self._events: dict[tuple[str, str, str], Distribution] = {}
        self._inflight = {"readOnly": _Watermark(), "mutating": _Watermark()}

    # ---- requests ----

    def begin(self, method: str) -> float:
        """A request came; when."""
        at = self.clock()
        self._at_once(method).enter(at)
        return at

    def _at_once(self, method: str) -> _Watermark:
        return self._inflight["readOnly" if method in ("GET", "HEAD") else "mutating"]

    def end(self, request: Request, route: Route | None, answer: Answer, began: float) -> None:
        """It is answered; a stream is followed to its end."""
        self._at_once(request.method).now -= 1
        series = self._of(request, route)
        if series is None:
            return
        client = _client(request.headers.get("user-agent", ""))
        if isinstance(answer, Response):
            self._count(series, answer.status, client, began, answer)
            return
        series.running += 1

        def ended(size: int) -> None:
            series.running -= 1
            self._count(series, answer.status, client, began, size)

        answer.chunks = _Followed(answer.chunks, ended)

    def _count(self, series: _Series, code: int, client: str, began: float, answer: Response | int) -> None:
        series.codes[code, client] += 1
        series.seconds.observe(self.clock() - began)
        if series.reads:
            series.sizes.observe(answer if isinstance(answer, int) else _size(answer.body))

    def _of(self, request: Request, route: Route | None) -> _Series | None:
        """The series of a request; None: such are not counted."""
        query = request.query
        if route is None:
            form: tuple[Any, ...] = (request.method, request.path.split("/", 2)[1])
        else:
            form = (
                request.method,
                route.kind,
                route.subresource,
                bool(route.name),
                bool(route.namespace),
                route.watch or bool(query and _watches(query)),
                ",".join(sorted(set(query["dryRun"]))) if query and "dryRun" in query else "",
                request.method == "PATCH" and request.headers.get("content-type") == _APPLY,
            )
        found = self._found.get(form)
        if found is None:
            labels = _labels_of_path(*form) if route is None else _labels(*form)
            if labels is None:
                return None
            found = self._series.get(labels) or self._series.setdefault(labels, _Series(labels))
            if len(self._found) >= _REMEMBERED:
                self._found.clear()
            self._found[form] = found
        return found

    # ---- watches ----

    def events_of(self, kind: Kind) -> Distribution:
        """Sizes of the events that watchers of a resource were sent."""
        labels = (kind.group, kind.version, kind.plural)
        return self._events.get(labels) or self._events.setdefault(labels, Distribution(_EVENT_SIZES))

    # ---- the answer ----

    def exposition(self, stored: Mapping[tuple[str, str], int], build: Mapping[str, str]) -> bytes:
        """All of it as text; may be called in a thread. Costs some 5 us a line.

        Parameters
        ----------
        stored
            How many objects there are of each group and resource.
        build
            Labels of what the server says it is.
        """
        from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
        from prometheus_client.registry import Collector

        metrics = self

        class Own(Collector):
            def collect(self) -> Iterable[Metric]:
                yield from metrics._requests()
                yield from metrics._gauges()
                yield from metrics._watches()
                yield from _stored(stored)
                yield _gauge(
                    "kubernetes_build_info", "What the server says it is", list(build), {tuple(build.values()): 1}
                )

        registry = CollectorRegistry(auto_describe=False)
        registry.register(Own())
        ProcessCollector(registry=registry)
        return generate_latest(registry)

    def _requests(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        total = CounterMetricFamily(
            "apiserver_request", "Requests that were answered", labels=[*_NAMES, "code", "system_client"]
        )
        seconds = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "Time from a request to its answer's end", labels=_NAMES
        )
        sli = HistogramMetricFamily(
            "apiserver_request_sli_duration_seconds",
            "The same without dry runs; nothing is waited for here that upstream takes off",
            labels=_PLAIN,
        )
        sizes = HistogramMetricFamily("apiserver_response_sizes", "Bytes of answers to reads", labels=_PLAIN)
        for labels, series in list(self._series.items()):
            plain = [getattr(labels, name) for name in _PLAIN]
            for (code, client), count in list(series.codes.items()):
                total.add_metric([*labels, str(code), client], count)
            if not series.codes:
                continue
            seconds.add_metric(labels, series.seconds.buckets(), series.seconds.sum)
            if labels.dry_run:
                continue  # the others have no label for it
            sli.add_metric(plain, series.seconds.buckets(_SLI_FROM), series.seconds.sum)
            if series.reads:
                sizes.add_metric(plain, series.sizes.buckets(), series.sizes.sum)
        return total, seconds, sli, sizes

    def _gauges(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily

        now = self.clock()
        inflight: dict[tuple[str, ...], float] = {(kind,): mark.read(now) for kind, mark in self._inflight.items()}
        why = "The most requests that were answered at once within the last second"
        yield _gauge("apiserver_current_inflight_requests", why, ["request_kind"], inflight)
        running: Counter[tuple[str, ...]] = Counter()
        for labels, series in list(self._series.items()):
            if series.running or labels.verb in ("WATCH", "CONNECT"):
                running[tuple(getattr(labels, name) for name in _PLAIN)] += series.running
        yield _gauge("apiserver_longrunning_requests", "Watches and other streams that are open", _PLAIN, running)
        asked = CounterMetricFamily("authorization_attempts", "Requests by whether they may be made", labels=["result"])
        for result, count in list(self.authorizations.items()):
            asked.add_metric([result], count)
        yield asked

    def _watches(self) -> Iterable[Metric]:
        from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

        names = ["group", "version", "resource"]
        total = CounterMetricFamily("apiserver_watch_events", "Events that watchers were sent", labels=names)
        sizes = HistogramMetricFamily("apiserver_watch_events_sizes", "Bytes of these events", labels=names)
        for labels, found in list(self._events.items()):
            if any(found.counts):
                total.add_metric(labels, sum(found.counts))
                sizes.add_metric(labels, found.buckets(), found.sum)
        return total, sizes


def _gauge(name: str, why: str, names: Sequence[str], values: Mapping[tuple[str, ...], float]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(name, why, labels=names)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _stored(stored: Mapping[tuple[str, str], int]) -> Iterable[Metric]:
    by_name: dict[tuple[str, ...], float] = {
        (f"{plural}.{group}" if group else plural,): count for (group, plural), count in stored.items()
    }
    yield _gauge("apiserver_storage_objects", "Objects in the store (the older name)", ["resource"], by_name)
    by_group: dict[tuple[str, ...], float] = dict(stored.items())
    yield _gauge("apiserver_resource_objects", "Objects in the store", ["group", "resource"], by_group)


def _labels(
    method: str, kind: Kind, subresource: str, named: bool, within: bool, watch: bool, dry_run: str, apply: bool
) -> Labels:
    """Upstream's words for a request for a resource."""
    scope = "resource" if named or method == "POST" else "namespace" if within else "cluster"
    verb = method
    if method in ("GET", "HEAD"):
        verb = "WATCH" if watch else "GET" if scope == "resource" else "LIST"
    if apply:
        verb = "APPLY"
    if subresource in _CONNECT:
        verb = "CONNECT"
    if dry_run not in ("", "All"):
        dry_run = "invalid"
    return Labels(
        verb if verb in _VERBS else "other",
        dry_run,
        kind.group,
        kind.version,
        kind.plural,
        subresource,
        scope,
        "apiserver",
    )


def _labels_of_path(method: str, root: str) -> Labels | None:
    path = _PATHS.get(root)
    if path is None or method not in ("GET", "HEAD"):
        return None
    return Labels("GET", "", "", "", "", path, "", "apiserver" if root in ("api", "apis") else "")


def _watches(query: Mapping[str, Sequence[str]]) -> bool:
    value = query.get("watch")
    return bool(value) and value is not None and value[0].lower() not in ("0", "false")


def _client(agent: str) -> str:
    """Which of the control plane's own clients asked; empty: another."""
    name, slash, _ = agent.partition("/")
    return name if slash and name in _SYSTEM_CLIENTS else ""


def _size(body: Any) -> int:
    if isinstance(body, Pieces):
        return body.size
    return len(body) if isinstance(body, bytes) else sum(map(len, body))

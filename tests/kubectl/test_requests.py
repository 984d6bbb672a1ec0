# SPDX-License-Identifier: Apache-2.0
"""Every request that was recorded of kubectl 1.27 and 1.33 gets the documented kind of answer.

``files/requests.tsv``: 409 recorded requests, 191 without those that repeat (``seen`` counts them by version), and what
each must get: code, media type, kind of the body ("-": none). Bodies that the record cut are whole again; those of
protobuf are written as JSON and encoded here. ``RV``, ``UID``, ``T`` and ``ABC`` stand for what differs between runs.

The cluster is the same before each request: pods on a node that nobody runs, deployments, a service and so on.
"""

from __future__ import annotations

import csv
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from kubesched import testing
from kubesched.api import codec

FILES = Path(__file__).parent / "files"
JSON = "application/json"
PROTOBUF = "application/vnd.kubernetes.protobuf"
DEFAULT = "/api/v1/namespaces/default"
APPS = "/apis/apps/v1/namespaces/default"


class Row(NamedTuple):
    """A line of the file."""

    seen: str
    method: str
    path: str
    accept: str
    content_type: str
    upgrade: str
    subprotocol: str
    body: str
    code: str
    type: str
    kind: str


def _rows() -> list[Row]:
    with (FILES / "requests.tsv").open(newline="") as file:
        return [Row(*line) for line in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)][1:]


ROWS = _rows()


def _deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "img:1"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec}


def _pod(name: str, container: str = "c") -> dict[str, Any]:
    spec = {"nodeName": "n1", "containers": [{"name": container, "image": "img"}]}
    return {"metadata": {"name": name, "labels": {"app": "d1"}}, "spec": spec}


WORLD: dict[str, dict[str, Any]] = {
    "/api/v1/nodes/n1": {"metadata": {"name": "n1"}},
    f"{DEFAULT}/pods/p1": _pod("p1"),
    f"{DEFAULT}/pods/r1": _pod("r1"),
    f"{DEFAULT}/pods/it1": _pod("it1", "it1"),
    f"{DEFAULT}/configmaps/cm1": {"metadata": {"name": "cm1"}},
    f"{DEFAULT}/configmaps/cmx": {"metadata": {"name": "cmx"}},
    f"{DEFAULT}/serviceaccounts/default": {"metadata": {"name": "default"}},
    f"{DEFAULT}/services/s1": {"metadata": {"name": "s1"}, "spec": {"ports": [{"port": 80}]}},
    f"{APPS}/deployments/d1": _deployment("d1"),
    f"{APPS}/deployments/d2": _deployment("d2"),
    "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1": {"metadata": {"name": "n1"}},
    "/apis/certificates.k8s.io/v1/certificatesigningrequests/csr1": yaml.safe_load((FILES / "csr.yaml").read_text()),
}


class Client:
    """One connection, kept as long as the server keeps it."""

    def __init__(self, server: testing.RunningServer) -> None:
        self._server = server
        self._connection = self._new()

    def _new(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._server.port, context=self._server.tls, timeout=10)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> http.client.HTTPResponse:
        named = {name.replace("_", "-"): value for name, value in headers.items() if value}
        self._connection.request(method, path, body, named)
        return self._connection.getresponse()

    def ask(self, method: str, path: str, obj: Any = None) -> tuple[int, Any]:
        body = None if obj is None else json.dumps(obj).encode()
        merges = "application/merge-patch+json" if method == "PATCH" else JSON
        answer = self.send(method, path, body, content_type=merges)
        return answer.status, json.loads(answer.read())

    def close(self) -> None:
        self._connection.close()

    def again(self) -> None:
        """A new connection: the last answer did not end."""
        self.close()
        self._connection = self._new()

    def restore(self) -> None:
        """Make the world as it was."""
        for path, obj in WORLD.items():
            self.remove(path)
            code, made = self.ask("POST", path.rpartition("/")[0], obj)
            assert code == 201, made

    def remove(self, path: str) -> None:
        """Delete an object and whatever holds it."""
        if self.ask("DELETE", f"{path}?gracePeriodSeconds=0")[0] == 404:
            return
        self.ask("PATCH", path, {"metadata": {"finalizers": None}})
        if path.startswith("/api/v1/namespaces/") and path.count("/") == 4:
            name = path.rpartition("/")[2]
            namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "spec": {}}
            self.ask("PUT", f"{path}/finalize", namespace)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with testing.serve(tmp_path_factory.mktemp("requests")) as server:
        made = Client(server)
        made.restore()
        yield made
        made.close()


def _body(row: Row, live: dict[str, Any]) -> bytes | None:
    if not row.body:
        return None
    metadata = live.get("metadata", {})
    text = row.body.replace('"RV"', f'"{metadata.get("resourceVersion")}"').replace('"UID"', f'"{metadata.get("uid")}"')
    return codec.encode(json.loads(text), PROTOBUF) if row.content_type == PROTOBUF else text.encode()


def _kind(row: Row, data: bytes) -> str:
    """What a body says it is."""
    if row.type.startswith(PROTOBUF):
        assert data[:4] == b"k8s\0"
        return _protobuf_kind(data[4:])
    if not row.type.startswith(JSON):
        return "-"
    found = json.loads(data)
    return str(found.get("kind", "-"))


def _protobuf_kind(data: bytes) -> str:
    """``runtime.Unknown.typeMeta.kind``: the first field, and its second; all are shorter than 128 bytes."""
    assert data[0] == 0x0A
    meta = data[2 : 2 + data[1]]
    assert meta[0] == 0x0A
    rest = meta[2 + meta[1] :]
    assert rest[0] == 0x12
    return rest[2 : 2 + rest[1]].decode()


def _event_kind(row: Row, answer: http.client.HTTPResponse) -> str:
    """The kind of the object in a watch's first event."""
    if row.type.startswith(PROTOBUF):
        size = int.from_bytes(answer.read(4), "big")
        return "WatchEvent:" + _protobuf_kind(_raw_of_event(answer.read(size))[4:])
    event = json.loads(answer.readline())
    assert event["type"] == "ADDED"
    return f"WatchEvent:{event['object']['kind']}"


def _raw_of_event(data: bytes) -> bytes:
    """``WatchEvent.object.raw``: it is last, and begins with the mark of an object."""
    return data[data.index(b"k8s\0") :]


@pytest.mark.parametrize(
    "row", ROWS, ids=[f"{row.method} {row.path.split('?')[0]}-{ix}" for ix, row in enumerate(ROWS)]
)
def test_request_then_the_documented_kind_of_answer(client: Client, row: Row) -> None:
    path = row.path.partition("?")[0]
    if row.method == "POST" and row.body and not path.endswith("default/token"):
        name = json.loads(row.body).get("metadata", {}).get("name")
        if name and not path.endswith("/eviction"):
            client.remove(f"{path}/{name}")
    named = row.method in ("PUT", "PATCH")
    live = client.ask("GET", path.removesuffix("/approval"))[1] if named else {}
    target = row.path.replace("=RV", "=0").replace("=T&", "=1&")
    headers = {"accept": row.accept, "content_type": row.content_type}
    if row.upgrade:
        headers |= {"connection": "Upgrade", "upgrade": row.upgrade, "sec_websocket_key": "dGhlIHNhbXBsZSBub25jZQ=="}
    answer = client.send(row.method, target, _body(row, live), **headers)
    try:
        if row.kind.startswith("WatchEvent"):
            found = _event_kind(row, answer)
        else:
            data = answer.read()
            found = _kind(row, data) if answer.status == int(row.code) else data.decode(errors="replace")
        shown = answer.headers.get("Content-Type", "").removesuffix("; charset=utf-8")
        assert (answer.status, shown if row.type else "", found) == (int(row.code), row.type, row.kind)
    finally:
        if row.upgrade or row.kind.startswith("WatchEvent"):
            client.again()
        if row.method != "GET":
            client.restore()


def test_every_recorded_request_is_there() -> None:
    counted = [int(part.partition(":")[2]) for row in ROWS for part in row.seen.split()]
    assert (sum(counted), len(ROWS)) == (409, 191)

# SPDX-License-Identifier: Apache-2.0
"""Whatever strangers send to a server over TLS: it answers with a code that blames them, and goes on serving others."""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kubesched import testing

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
)
DEFAULT = "/api/v1/namespaces/default"
MAPS = f"{DEFAULT}/configmaps"
_SECONDS = 10.0


@dataclass
class Target:
    """A server, and what it logged as its own failure."""

    server: testing.RunningServer
    failures: list[str] = field(default_factory=list)
    connection: http.client.HTTPSConnection | None = None

    def ask(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        """One request on a kept connection; of what does not end, the beginning."""
        if self.connection is None:
            port, tls = self.server.port, self.server.tls
            self.connection = http.client.HTTPSConnection("127.0.0.1", port, context=tls, timeout=_SECONDS)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        answer = self.connection.getresponse()
        if answer.chunked and answer.status == 200:
            self.hang_up()
            return answer.status, b""
        data = answer.read()
        if answer.will_close:
            self.hang_up()
        return answer.status, data

    def hang_up(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def raw(self) -> ssl.SSLSocket:
        plain = socket.create_connection(("127.0.0.1", self.server.port), _SECONDS)
        return self.server.tls.wrap_socket(plain, server_hostname="localhost")

    def check_alive(self) -> None:
        assert self.ask("GET", "/readyz") == (200, b"ok")
        assert not self.failures


class _Failures(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.found = found

    def emit(self, record: logging.LogRecord) -> None:
        self.found.append(f"{record.getMessage()} {record.exc_info}")


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    with testing.serve(tmp_path_factory.mktemp("hostile")) as server:
        found = Target(server)
        handler = _Failures(found.failures)
        logging.getLogger().addHandler(handler)
        for path, obj in SEEDS.items():
            code, said = found.ask("POST", path.rpartition("/")[0], json.dumps(obj).encode())
            assert code == 201, said
        yield found
        found.hang_up()
        logging.getLogger().removeHandler(handler)


def _template() -> dict[str, Any]:
    container = {"name": "c", "image": "i", "env": [{"name": "A", "value": "b"}], "ports": [{"containerPort": 80}]}
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container], "volumes": [{"name": "v"}]}}


_SPEC = {"selector": {"matchLabels": {"a": "b"}}, "template": _template()}
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
_RULES = [{"rule": "self.n < 8", "messageExpression": "'n is ' + string(self.n)"}, {"rule": "self.n >= oldSelf.n"}]
_THING_SPEC = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "default": 1},
        "either": {"x-kubernetes-int-or-string": True},
        "kept": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
        "list": {
            "type": "array",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
        },
    },
    "x-kubernetes-validations": _RULES,
}
_VERSION = {
    "name": "v1",
    "served": True,
    "storage": True,
    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": _THING_SPEC}}},
    "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.n", "statusReplicasPath": ".status.n"}},
}
_DEFINITION = {
    "group": "example.com",
    "scope": "Namespaced",
    "names": {"plural": "things", "kind": "Thing"},
    "versions": [_VERSION],
}
_THING = {"n": 2, "either": "a", "kept": {"a": 1}, "list": [{"name": "a"}]}
SEEDS: dict[str, dict[str, Any]] = {
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.example.com": {
        "metadata": {"name": "things.example.com"},
        "spec": _DEFINITION,
    },
    f"{MAPS}/m": {"metadata": {"name": "m", "finalizers": ["a/b"]}, "data": {"a": "b"}, "binaryData": {"c": "AA=="}},
    f"{DEFAULT}/pods/p": {"metadata": {"name": "p"}, "spec": _template()["spec"]},
    f"{DEFAULT}/services/s": {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80, "targetPort": "http"}]}},
    f"{DEFAULT}/persistentvolumeclaims/c": {"metadata": {"name": "c"}, "spec": _CLAIM},
    "/apis/apps/v1/namespaces/default/deployments/d": {"metadata": {"name": "d"}, "spec": _SPEC},
    "/apis/example.com/v1/namespaces/default/things/t": {
        "apiVersion": "example.com/v1",
        "kind": "Thing",
        "metadata": {"name": "t"},
        "spec": _THING,
    },
}
# ---- bodies that are too much ----


@pytest.mark.parametrize("chunked", [False, True])
def test_body_when_too_large_then_413_and_closed(target: Target, chunked: bool) -> None:
    head = f"POST {MAPS} HTTP/1.1\r\nHost: h\r\n".encode()
    with target.raw() as client:
        if chunked:
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            with contextlib.suppress(OSError):  # it may be closed before all is sent
                for _ in range(5):
                    client.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")
        else:
            client.sendall(head + b"Content-Length: 4000000\r\n\r\n")
        said = _until_closed(client)
    assert said.startswith(b"HTTP/1.1 413 ")
    assert b"Request entity too large: limit is 3145728" in said
    target.check_alive()


BOMBS = {
    "deep JSON": (JSON, b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    "deep YAML": (YAML, b"- " * 100_000),
    "aliases": (
        YAML,
        b"a: &a [x,x]\n" + b"".join(b"%c: &%c [*%c,*%c,*%c]\n" % (c + 1, c + 1, c, c, c) for c in range(97, 118)),
    ),
    "an alias to itself": (YAML, b"a: &a [*a]\n"),
    "a tag": (YAML, b"a: !!python/object:os.system {}\n"),
    "digits": (JSON, b'{"metadata":{"generation":' + b"9" * 1_000_000 + b"}}"),
    "protobuf without an end": (PROTOBUF, b"k8s\0\x0a\xff\xff\xff\xff\x0f"),
    "protobuf in itself": (PROTOBUF, b"k8s\0" + b"\x12\x7f" * 50_000),
    "another kind's protobuf": (PROTOBUF, b"k8s\0\x0a\x0d\x0a\x02v1\x12\x07Unknown\x12\x00"),
    "no protobuf": (PROTOBUF, b"{}"),
    "nothing": (JSON, b""),
    "no UTF-8": (JSON, b'{"metadata":{"name":"\xff"}}'),
    "half a character": (JSON, b'{"metadata":{"name":"\\ud800"}}'),
}


@pytest.mark.parametrize("name", BOMBS)
def test_body_that_is_a_bomb_then_400(target: Target, name: str) -> None:
    media_type, body = BOMBS[name]
    for method, path in (("POST", MAPS), ("PUT", f"{MAPS}/m")):
        code, said = target.ask(method, path, body, content_type=media_type)
        assert (code, json.loads(said)["reason"]) == (400, "BadRequest")
    target.check_alive()


# ---- sockets that end early ----


@pytest.mark.parametrize("sent", [b"", b"GE", b"GET /readyz HTTP/1.1\r\nHost:", b"\x16\x03\x01", b"\0" * 100])
def test_connection_when_it_ends_in_the_middle_then_nothing_is_left(target: Target, sent: bytes) -> None:
    with target.raw() as client:
        client.sendall(sent)
        with contextlib.suppress(OSError):
            client.unwrap()  # the client's end of TLS
    target.check_alive()


@pytest.mark.parametrize("framing", [b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{"])
def test_body_when_its_sender_is_gone_then_nothing_is_written(target: Target, framing: bytes) -> None:
    before = json.loads(target.ask("GET", MAPS)[1])["metadata"]["resourceVersion"]
    for _ in range(5):
        with target.raw() as client:
            client.sendall(f"POST {MAPS} HTTP/1.1\r\nHost: h\r\n".encode() + framing)
    assert json.loads(target.ask("GET", MAPS)[1])["metadata"]["resourceVersion"] == before
    target.check_alive()


def test_handshake_when_it_is_none_then_others_are_served(target: Target) -> None:
    for sent in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40):
        with socket.create_connection(("127.0.0.1", target.server.port), _SECONDS) as client:
            client.sendall(sent)
            client.shutdown(socket.SHUT_WR)
            _until_closed(client)
    target.check_alive()


@pytest.mark.parametrize("line", [b"zz", b"-1", b"5;" + b"x" * 70_000, b"ffffffffffffffffff", b"5\n{", b"0x5", b" 5"])
def test_chunk_when_malformed_then_400(target: Target, line: bytes) -> None:
    with target.raw() as client:
        head = f"POST {MAPS} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        client.sendall(head + line + b"\r\n{}\r\n0\r\n\r\nGET /readyz HTTP/1.1\r\nHost: h\r\n\r\n")
        said = _until_closed(client)
    assert said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 431 "))
    assert said.count(b"HTTP/1.1 ") == 1, "what follows is not read as a request"
    target.check_alive()


def _until_closed(client: socket.socket) -> bytes:
    """What a peer says until it closes; a test that it hangs on fails by the time-out."""
    said = b""
    with contextlib.suppress(ConnectionError, ssl.SSLError):
        while part := client.recv(1 << 16):
            said += part
    return said


# ---- whatever comes ----

_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from([0, -1, 1, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 1.5, 1e308, 80]),
    st.sampled_from(
        ["", "a", "A B", "..", "\0", "\N{SNOWMAN}", "x" * 300, "1e999", "0x10", "100m", "50%", "v1", "a/b"]
    ),
    st.text(max_size=5),
)
_WORDS = """metadata spec status name labels kind apiVersion $patch $retainKeys $setElementOrder/containers containers
    data managedFields ownerReferences finalizers uid resourceVersion"""
_words = st.sampled_from(_WORDS.split())
_json = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words | st.text(max_size=3), inner, max_size=4),
    max_leaves=10,
)


@st.composite
def _mutated(draw: st.DrawFn) -> Any:
    """An object that would be taken, with something else in some places."""
    path = draw(st.sampled_from(sorted(SEEDS)))
    obj = json.loads(json.dumps(SEEDS[path]))
    for _ in range(draw(st.integers(1, 3))):
        place: Any = obj
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys)) if keys else draw(_words) if isinstance(place, dict) else None
            if key is None:
                place.append(draw(_json))
                break
            inner = place[key] if keys else None
            if isinstance(inner, dict | list) and draw(st.booleans()):
                place = inner
                continue
            place[key] = draw(_json)
            break
    return obj


_operations = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test", "x", 1]),
            "path": st.sampled_from(
                ["", "/", "/spec", "/metadata/labels/a", "/data/-", "/spec/ports/0", "/a~2", "x", 1]
            ),
            "from": st.sampled_from(["", "/metadata", "/spec", "/spec/ports/0", "/x/y"]),
            "value": _json,
        },
    ),
    max_size=3,
)
_VALUES = """All true 0 -1 x Strict Warn Ignore Exact NotOlderThan a=b a+in+( ! metadata.name=p spec.x=1 Orphan
    bm9uc2Vuc2U \N{SNOWMAN} \0 % m 999999999999999999999999999999"""
_values = st.sampled_from(["", *_VALUES.split()])
_NAMES = """dryRun fieldManager fieldValidation force limit continue resourceVersion resourceVersionMatch labelSelector
    fieldSelector timeoutSeconds sendInitialEvents watch gracePeriodSeconds pretty propagationPolicy orphanDependents
    includeObject allowWatchBookmarks other"""
_names = st.sampled_from(_NAMES.split())
_tails = st.sampled_from(
    ["", "/status", "/scale", "/binding", "/eviction", "/x", "/finalize", "/", "/../x", "/%00", "/%ff"]
)


def _encoded(value: Any) -> bytes:
    return json.dumps(value).encode("utf-8", "surrogatepass")


_bodies = st.one_of(
    st.none(),
    st.binary(max_size=40),
    st.binary(max_size=40).map(lambda data: b"k8s\0" + data),
    (_mutated() | _mutated() | _json | _operations).map(_encoded),
    st.text(max_size=30).map(lambda text: text.encode("utf-8", "surrogatepass")),
)
_targets = st.one_of(
    st.tuples(st.sampled_from([path for seed in SEEDS for path in (seed, seed.rpartition("/")[0])]), _tails).map(
        "".join
    ),
    st.lists(
        st.sampled_from(["api", "apis", "v1", "namespaces", "default", "pods", "apps", "", "..", "watch"]), max_size=7
    )
    .map("/".join)
    .map("/{}".format),
    st.text(max_size=12).map(lambda text: "/" + quote(text.encode("utf-8", "surrogatepass"))),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "PATCH", "PATCH", "DELETE", "HEAD", "OPTIONS", "X"]),
    path=_targets,
    query=st.dictionaries(_names, _values, max_size=3),
    body=_bodies,
    content_type=st.sampled_from(["", JSON, YAML, PROTOBUF, *PATCHES, "x/y", "application/json;charset=x"]),
    accept=st.sampled_from(["", "*/*", JSON, YAML, PROTOBUF, f"{JSON};as=Table;v=v1;g=meta.k8s.io", "x/y", ";q=x"]),
)
def test_request_whatever_it_is_then_no_fault_of_the_server(
    target: Target, method: str, path: str, query: dict[str, str], body: bytes | None, content_type: str, accept: str
) -> None:
    headers = {name: value for name, value in {"content_type": content_type, "accept": accept}.items() if value}
    code, said = target.ask(method, f"{path}?{urlencode(query)}", body, **headers)
    assert code < 500, said
    assert b"Traceback" not in said
    assert not target.failures
    if code >= 400 and said[:1] == b"{":  # what is no HTTP gets a line of text
        assert json.loads(said)["code"] == code


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=40
)
@given(cut=st.integers(0, 200), junk=st.binary(max_size=8), skip=st.integers(0, 8))
def test_bytes_whatever_they_are_then_the_server_goes_on(target: Target, cut: int, junk: bytes, skip: int) -> None:
    whole = f"POST {MAPS} HTTP/1.1\r\nHost: h\r\nContent-Type: {JSON}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    with target.raw() as client, contextlib.suppress(OSError):
        client.sendall(whole[:cut] + junk + whole[cut + skip :])
        client.settimeout(0.05)
        said = client.recv(1 << 16)
        assert not said.startswith(b"HTTP/1.1 5")
    target.check_alive()

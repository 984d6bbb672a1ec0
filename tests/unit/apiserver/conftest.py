# SPDX-License-Identifier: Apache-2.0
"""An API server without sockets: requests go into the application, answers come out."""

from __future__ import annotations

import asyncio
import base64
import datetime
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any

import orjson
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from kubesched.api import kinds
from kubesched.apiserver import bootstrap
from kubesched.apiserver.app import App
from kubesched.apiserver.message import Request, Response, Stream, User
from kubesched.store.memory import MemoryStore

ADMIN = User("kubernetes-admin", ("system:masters", "system:authenticated"))
JSON = "application/json"
MERGE = "application/merge-patch+json"


class Clock:
    """Time that moves only when it is told to."""

    def __init__(self) -> None:
        self.at = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)

    def __call__(self) -> datetime.datetime:
        return self.at

    def advance(self, seconds: float) -> None:
        self.at += datetime.timedelta(seconds=seconds)


class Answer:
    """A whole answer, decoded."""

    def __init__(self, response: Response) -> None:
        raw = response.body if isinstance(response.body, bytes) else b"".join(response.body)
        self.status = response.status
        self.headers = response.headers
        self.content_type = response.content_type
        self.raw = raw
        self.body: Any = orjson.loads(raw) if response.content_type.startswith(JSON) else raw.decode()


class Server:
    """What a test asks."""

    def __init__(self, run: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self.run = run
        self.clock = Clock()
        self.app = App(MemoryStore(), kinds.Registry(kinds.built_in()), self.clock)
        run(bootstrap.prepare(self.app))

    def ask(
        self,
        method: str,
        path: str,
        obj: Any = None,
        *,
        user: User = ADMIN,
        query: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Answer:
        """One request; ``obj`` is sent as JSON, or as it is if it is bytes."""
        answer = self.run(self.send(method, path, obj, user=user, query=query, **headers))
        assert isinstance(answer, Response)
        return Answer(answer)

    def merge(self, path: str, change: Any, **headers: str) -> Answer:
        """A merge patch."""
        return self.ask("PATCH", path, change, content_type=MERGE, **headers)

    async def send(
        self,
        method: str,
        path: str,
        obj: Any = None,
        *,
        user: User = ADMIN,
        query: Mapping[str, str] | None = None,
        **headers: str,
    ) -> Response | Stream:
        body = obj if isinstance(obj, bytes) else b"" if obj is None else orjson.dumps(obj)

        async def read() -> bytes:
            return body

        named = {name.replace("_", "-"): value for name, value in headers.items()}
        lists = {name: [value] for name, value in (query or {}).items()}
        return await self.app(Request(method, path, lists, named, read, user))


@pytest.fixture
def server() -> Iterator[Server]:
    """A new server with a clock of its own."""
    loop = asyncio.new_event_loop()
    try:
        made = Server(loop.run_until_complete)
        yield made
        made.app.close()
        loop.run_until_complete(made.app.store.close())
    finally:
        loop.close()


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    """A pod that says the least."""
    containers = [{"name": "c", "image": "nginx:1"}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers, **spec},
    }


def taken(server: Server, path: str, answer: Answer, name: str = "x") -> None:
    """A new object was taken, and is taken again as it was shown."""
    assert answer.status == 201, answer.body
    same = server.ask("PUT", f"{path}/{name}", answer.body)
    assert same.status == 200, same.body


def refused(answer: Answer) -> str:
    """What kubectl prints of a 422: one error in the line, several below each other, each text once."""
    assert answer.status == 422, answer.body
    details = answer.body["details"]
    texts = dict.fromkeys(f"{cause['field']}: {cause['message']}" for cause in details["causes"])
    listed = ", ".join(texts)
    kind = f"{details['kind']}.{details['group']}" if details.get("group") else details["kind"]
    said = f'{kind} "{details.get("name", "")}" is invalid: {listed if len(texts) == 1 else f"[{listed}]"}'
    assert answer.body["message"] == said
    return shown(details["kind"], *texts, name=details.get("name", ""))


def shown(kind: str, *texts: str, name: str = "x") -> str:
    """The lines that kubectl prints of an object with such errors."""
    head = f'The {kind} "{name}" is invalid: '
    return head + texts[0] if len(texts) == 1 else head + "".join(f"\n* {text}" for text in texts)


KEY = ec.generate_private_key(ec.SECP256R1())
_NAME = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n")])


def pem(found: x509.CertificateSigningRequest | x509.Certificate) -> bytes:
    return found.public_bytes(serialization.Encoding.PEM)


def certificate_request() -> x509.CertificateSigningRequest:
    return x509.CertificateSigningRequestBuilder().subject_name(_NAME).sign(KEY, hashes.SHA256())


def certificate() -> x509.Certificate:
    day = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    names = x509.CertificateBuilder().subject_name(_NAME).issuer_name(_NAME).public_key(KEY.public_key())
    dated = names.not_valid_before(day).not_valid_after(day + datetime.timedelta(1)).serial_number(1)
    return dated.sign(KEY, hashes.SHA256())


def encoded(data: bytes) -> str:
    """As JSON carries it."""
    return base64.b64encode(data).decode()

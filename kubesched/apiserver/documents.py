# SPDX-License-Identifier: Apache-2.0
"""Answers that say what is served: discovery (/api, /apis) and OpenAPI.

Each document is made when it is first asked for and kept, compressed, until the registry of kinds changes.

Source: apiserver/pkg/endpoints/discovery (aggregated) and kube-openapi/pkg/handler, handler3, v1.36.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import orjson

from kubesched.api import codec, discovery, openapi, status
from kubesched.api.kinds import Registry
from kubesched.apiserver import negotiate
from kubesched.apiserver.message import Request, Response

_COMPRESSED_FROM = 8192  # bytes; below, it does not pay
_LEVEL = 5  # of gzip: 30 ms for the largest document, a tenth of its size
_AGGREGATED = "APIGroupDiscoveryList"
_V2_MEDIA = (codec.JSON, openapi.V2_PROTOBUF, openapi.V2_PROTOBUF.replace("@", "."))
_YEAR = 31536000


class Document(NamedTuple):
    """A body, perhaps compressed, and what tells it from its earlier versions."""

    data: bytes
    etag: str
    compressed: bool

    @property
    def body(self) -> bytes:
        return gzip.decompress(self.data) if self.compressed else self.data


def _document(body: bytes) -> Document:
    etag = hashlib.sha512(body).hexdigest().upper()
    if len(body) < _COMPRESSED_FROM:
        return Document(body, etag, compressed=False)
    return Document(gzip.compress(body, _LEVEL, mtime=0), etag, compressed=True)


class Documents:
    """Documents of a registry, and requests for them answered."""

    def __init__(self, kinds: Registry) -> None:
        self.kinds = kinds
        self._generation = -1
        self._made: dict[tuple[str, ...], Document | None] = {}

    def get(self, *key: str, make: Callable[[], bytes | None]) -> Document:
        """The document of a key.

        Raises
        ------
        StatusError
            404: there is none.
        """
        if self._generation != self.kinds.generation:
            self._generation = self.kinds.generation
            self._made.clear()
        if key not in self._made:
            body = make()
            if body is None:
                raise status.no_such_path()
            self._made[key] = _document(body)
        found = self._made[key]
        if found is None:
            raise status.no_such_path()
        return found

    def answer(self, request: Request) -> Response | None:
        """The answer to a request for a document; None if the path is of nothing like it.

        Raises
        ------
        StatusError
            404: no such document; 406: not in that form.
        """
        parts = request.path.strip("/").split("/")
        if parts[0] in ("api", "apis"):
            return self._discovery(request, parts)
        if parts[:2] == ["openapi", "v2"] and len(parts) == 2:
            return self._openapi_v2(request)
        if parts[:2] == ["openapi", "v3"]:
            return self._openapi_v3(request, "/".join(parts[2:]))
        return None

    # ---- discovery ----

    def _discovery(self, request: Request, parts: Sequence[str]) -> Response:
        kinds, root = self.kinds, parts[0]
        if len(parts) == 1 and (version := _aggregated_version(request.headers.get("accept", ""))):
            make = functools.partial(discovery.aggregated, kinds, root, version)
            content_type = f"{codec.JSON};g=apidiscovery.k8s.io;v={version};as={_AGGREGATED}"
            return _respond(request, self.get(_AGGREGATED, root, version, make=make), content_type, {"Vary": "Accept"})
        address = request.headers.get("host", "")
        makers: dict[tuple[str, int], Callable[[], bytes | None]] = {
            ("api", 1): lambda: discovery.api_versions(address),
            ("api", 2): lambda: discovery.resource_list(kinds, "", parts[1]),
            ("apis", 1): lambda: discovery.group_list(kinds),
            ("apis", 2): lambda: discovery.group(kinds, parts[1]),
            ("apis", 3): lambda: discovery.resource_list(kinds, parts[1], parts[2]),
        }
        make_plain = makers.get((root, len(parts)))
        if make_plain is None:
            raise status.no_such_path()
        form = negotiate.choose(request.headers.get("accept", ""), converts=False)
        key = (*parts, address) if len(parts) == 1 and root == "api" else tuple(parts)
        found = self.get(*key, make=make_plain)
        if form.media_type == codec.JSON:
            return _respond(request, found, codec.JSON)
        return Response(200, codec.encode(orjson.loads(found.body), form.media_type), form.media_type)

    # ---- OpenAPI ----

    def _openapi_v2(self, request: Request) -> Response:
        media_type = _choose(request.headers.get("accept", ""), _V2_MEDIA)
        if media_type == codec.JSON:
            found = self.get("openapi", "v2", "json", make=lambda: openapi.v2_json(self.kinds))
            return _respond(request, found, codec.JSON, {"Vary": "Accept"})
        found = self.get("openapi", "v2", "protobuf", make=lambda: openapi.v2_protobuf(self.kinds))
        return _respond(request, found, _V2_MEDIA[2], {"Vary": "Accept"})

    def _openapi_v3(self, request: Request, path: str) -> Response:
        _choose(request.headers.get("accept", ""), (codec.JSON,))
        if not path:
            return _respond(request, self.get("openapi", "v3", make=lambda: openapi.v3_index(self.kinds)), codec.JSON)
        wanted = request.query.get("hash", ("",))[0]
        found = self.get("openapi", "v3", path, make=lambda: openapi.v3_document(self.kinds, path))
        current = openapi.v3_hash(self.kinds, path)
        if wanted and wanted != current:
            return Response(301, headers={"Location": f"/openapi/v3/{path}?hash={current}"})
        lasting = {"Cache-Control": f"public, max-age={_YEAR}, immutable"} if wanted else {}
        return _respond(request, found, codec.JSON, {"Vary": "Accept", **lasting})


def _aggregated_version(accept: str) -> str:
    """The version of the one document that a client would rather have than plain lists; empty: none."""
    for clause in negotiate.clauses(accept):
        if clause.media_type not in (codec.JSON, "*/*", "application/*"):
            continue
        wanted = clause.parameters
        if not wanted.get("as"):
            return ""
        version = wanted.get("v", "")
        known = wanted["as"] == _AGGREGATED and wanted.get("g") == "apidiscovery.k8s.io"
        if known and version in discovery.AGGREGATED_VERSIONS:
            return version
    return ""


def _choose(accept: str, offered: Sequence[str]) -> str:
    for clause in negotiate.clauses(accept) if accept.strip() else ():
        for media_type in offered:
            if negotiate.covers(clause.media_type, media_type):
                return media_type
    if accept.strip():
        raise status.not_acceptable(offered)
    return offered[0]


def _respond(
    request: Request, document: Document, content_type: str, headers: dict[str, str] | None = None
) -> Response:
    """A document, or that the client has it already."""
    found = {"ETag": f'"{document.etag}"', "Cache-Control": "public", **(headers or {})}
    known = request.headers.get("if-none-match", "")
    if document.etag in [tag.strip().removeprefix("W/").strip('"') for tag in known.split(",")]:
        return Response(304, b"", content_type, found)
    if document.compressed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(200, document.data, content_type, {**found, "Content-Encoding": "gzip"})
    return Response(200, document.body, content_type, found)

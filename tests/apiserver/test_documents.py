# SPDX-License-Identifier: Apache-2.0
"""Discovery and OpenAPI over the application: forms, tags of versions, compression, addresses that last."""

from __future__ import annotations

import gzip

import orjson
import pytest

from kubesched.api import codec, kinds
from kubesched.api.status import StatusError
from kubesched.apiserver.documents import Documents
from kubesched.apiserver.message import Request
from tests.unit.api.test_discovery import widgets

AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"
KUBECTL = f"{AGGREGATED.format('v2')},{AGGREGATED.format('v2beta1')},application/json"
V2_PROTOBUF = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"


@pytest.fixture
def registry():
    return kinds.Registry(kinds.built_in())


@pytest.fixture
def get(registry):
    documents = Documents(registry)

    def ask(path, accept="", query=None, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return documents.answer(Request("GET", path, query or {}, {"accept": accept, "host": "h", **headers}))

    return ask


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        (KUBECTL, AGGREGATED.format("v2")),
        (f"{AGGREGATED.format('v2beta1')},application/json", AGGREGATED.format("v2beta1")),
        (f"{AGGREGATED.format('v3')},application/json", codec.JSON),
        (f"application/json, {AGGREGATED.format('v2')}", codec.JSON),
        ("", codec.JSON),
        ("*/*", codec.JSON),
        ("application/vnd.kubernetes.protobuf", codec.PROTOBUF),
        ("application/yaml", codec.YAML),
    ],
)
def test_forms(get, accept, form):
    for path in ("/api", "/apis"):
        answer = get(path, accept)
        assert (answer.status, answer.content_type) == (200, form)
        assert answer.body


def test_forms_that_there_are_not(get):
    for path in ("/api", "/apis/apps/v1", "/openapi/v2", "/openapi/v3", "/openapi/v3/api/v1"):
        with pytest.raises(StatusError) as caught:
            get(path, "text/html")
        assert caught.value.code == 406


@pytest.mark.parametrize(
    "path", ["/api/v2", "/apis/none", "/apis/none/v1", "/apis/apps/v2", "/apis/apps/v1/x/y", "/openapi/v3/apis/apps/v9"]
)
def test_what_is_not_there(get, path):
    with pytest.raises(StatusError) as caught:
        get(path)
    assert caught.value.code == 404


def test_other_paths_are_somebody_elses(get):
    for path in ("/version", "/", "/openapi", "/openapi/v2/x"):
        assert get(path) is None


def test_who_has_a_document_is_told_so(get, registry):
    for path, accept in (("/apis", KUBECTL), ("/openapi/v2", V2_PROTOBUF), ("/openapi/v3", "")):
        first = get(path, accept)
        tag = first.headers["ETag"]
        again = get(path, accept, if_none_match=tag)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        registry.add(widgets(f"v{registry.generation}"))
        changed = get(path, accept, if_none_match=tag)
        assert (changed.status, changed.headers["ETag"] != tag) == (200, True)


def test_large_documents_are_kept_compressed(get):
    plain, small = get("/openapi/v2"), get("/openapi/v2", accept_encoding="gzip")
    assert small.headers["Content-Encoding"] == "gzip"
    assert len(small.body) * 4 < len(plain.body)
    assert gzip.decompress(small.body) == plain.body
    assert "Content-Encoding" not in get("/api", accept_encoding="gzip").headers


def test_addresses_of_version_3_last(get, registry):
    registry.add(widgets())
    url = orjson.loads(get("/openapi/v3").body)["paths"]["apis/example.com/v1"]["serverRelativeURL"]
    path, _, wanted = url.partition("?hash=")
    assert "immutable" in get(path, query={"hash": [wanted]}).headers["Cache-Control"]
    assert "immutable" not in get(path).headers["Cache-Control"]
    registry.add(widgets("v2"))
    assert get(path, query={"hash": [wanted]}).status == 200
    moved = get(path, query={"hash": ["0"]})
    assert (moved.status, moved.headers["Location"]) == (301, url)

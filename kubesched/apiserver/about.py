# SPDX-License-Identifier: Apache-2.0
"""Paths that name no resource: health, version, metrics, discovery, OpenAPI."""

from __future__ import annotations

import asyncio
import platform
from typing import TYPE_CHECKING

import orjson

from kubesched.api import status
from kubesched.apiserver import issuer, metrics
from kubesched.apiserver.message import Answer, Request, Response

if TYPE_CHECKING:
    from kubesched.apiserver.app import App

VERSION = "v1.36.0"
_CHECKS = {
    "/healthz": ("ping", "log", "store"),
    "/livez": ("ping", "log", "store"),
    "/readyz": ("ping", "log", "store", "shutdown"),
}


async def answer(request: Request, app: App) -> Answer:
    """Answer a request for something that is no resource."""
    if request.method not in ("GET", "HEAD"):
        raise status.method_not_allowed() if _known(request.path) else status.no_such_path()
    path = request.path.rstrip("/") or "/"
    if path == "/version":
        return Response(200, orjson.dumps(version(), option=orjson.OPT_INDENT_2))
    if path == "/metrics":
        return await _metrics(app)
    if path == "/":
        return Response(200, orjson.dumps({"paths": _paths(app)}, option=orjson.OPT_INDENT_2))
    if (published := issuer.answer(path, app.published)) is not None:
        return published
    for root in _CHECKS:
        if path == root or path.startswith(f"{root}/"):
            return _health(request, app, root, path[len(root) + 1 :])
    if (found := app.documents.answer(request)) is not None:
        return found
    raise status.no_such_path()


_FIRST = frozenset(
    ("api", "apis", "version", "healthz", "livez", "readyz", "openapi", "metrics", "openid", ".well-known")
)


def _known(path: str) -> bool:
    return path.split("/")[1:2][0] in _FIRST


def _paths(app: App) -> list[str]:
    """Everything that can be asked for here, sorted: what "/" lists."""
    checks = [f"{root}/{check}" for root, names in _CHECKS.items() for check in names]
    groups = [group for group in app.kinds.groups() if group]
    versions = [f"/apis/{group}/{version}" for group in groups for version in app.kinds.versions(group)]
    plain = ("/api", "/api/v1", "/apis", "/apis/", "/metrics", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/version")
    return sorted([*plain, *_CHECKS, *app.published, *checks, *(f"/apis/{group}" for group in groups), *versions])


async def _metrics(app: App) -> Response:
    """The counters as text; it takes some milliseconds, so it is made beside the event loop."""
    build = {_snake(name): value for name, value in version().items() if name in _BUILD}
    body = await asyncio.to_thread(app.metrics.exposition, await app.stored(), build)
    return Response(200, body, metrics.CONTENT_TYPE)


_BUILD = ("major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform")


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name)


def version() -> dict[str, str]:
    """What the server says it is."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    major, minor, _ = VERSION.removeprefix("v").split(".")
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": f"{VERSION}+kubesched",
        "gitCommit": "",
        "gitTreeState": "",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": f"linux/{machine}",
    }


def _health(request: Request, app: App, root: str, check: str) -> Response:
    """One check, or all; in words when asked, or when one fails."""
    names = _CHECKS[root]
    excluded = set(request.query.get("exclude", ()))
    if check and check not in names:
        raise status.no_such_path()
    chosen = (check,) if check else tuple(name for name in names if name not in excluded)
    failing = [name for name in chosen if name == "shutdown" and not app.ready]
    kind = root.strip("/")
    if not failing and "verbose" not in request.query:
        return Response(200, b"ok", "text/plain; charset=utf-8")
    lines = [f"[-]{name} failed: reason withheld" if name in failing else f"[+]{name} ok" for name in chosen]
    lines += [f"[+]{name} excluded: ok" for name in names if name in excluded]
    lines.append(f"{kind} check {'failed' if failing else 'passed'}")
    body = "\n".join(lines).encode() + b"\n"
    return Response(500 if failing else 200, body, "text/plain; charset=utf-8")

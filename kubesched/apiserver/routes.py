# SPDX-License-Identifier: Apache-2.0
"""From a path to a kind, a namespace, a name and a subresource. Source: apiserver/pkg/endpoints/request, v1.36."""

from __future__ import annotations

from typing import NamedTuple

from kubesched.api import status
from kubesched.api.kinds import Kind, Registry


class Route(NamedTuple):
    """What a path names. ``subpath`` is what follows a proxy subresource."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    subpath: str = ""
    watch: bool = False  # the old form: /api/v1/watch/...


def find(path: str, kinds: Registry) -> Route | None:
    """The route of a path under /api or /apis; None if it is no path of a resource (discovery, health).

    Raises
    ------
    StatusError
        404: there is no such version, resource or subresource.
    """
    parts = path.split("/")
    if len(parts) > 3 and parts[1] == "api":
        group, version, rest = "", parts[2], parts[3:]
    elif len(parts) > 4 and parts[1] == "apis":
        group, version, rest = parts[2], parts[3], parts[4:]
    else:
        return None
    if rest and rest[-1] == "" and len(rest) > 1:
        rest.pop()
    if not rest[0]:
        return None
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and _is_of_namespace(rest, kinds, version)):
        namespace, rest = rest[1], rest[2:]
    kind = kinds.find(group, version, rest[0])
    if kind is None or (namespace and not kind.namespaced):
        raise status.no_such_path()
    name = rest[1] if len(rest) > 1 else ""
    if kind.namespaced and name and not namespace:
        raise status.no_such_path()
    subresource = rest[2] if len(rest) > 2 else ""
    if len(rest) > 3 and subresource != "proxy":
        raise status.no_such_path()
    if subresource and subresource not in kind.subresources:
        raise status.no_such_path()
    return Route(kind, namespace, name, subresource, "/".join(rest[3:]), watch)


def _is_of_namespace(rest: list[str], kinds: Registry, version: str) -> bool:
    """Whether /namespaces/x/y means a subresource of namespace x, not the collection y in it."""
    kind = kinds.find("", version, "namespaces")
    return kind is not None and len(rest) == 3 and rest[2] in kind.subresources

# SPDX-License-Identifier: Apache-2.0
"""What a request asks for, as authorizers see it: a verb on a resource, or on a path.

It is read from the method, the path and the query alone, so that who may not ask learns nothing of what there is.
Source: apiserver/pkg/endpoints/request/requestinfo.go, v1.36.
"""

from __future__ import annotations

from typing import NamedTuple

from kubesched.api import gotext, names, selectors, status
from kubesched.apiserver.message import Request, User

_VERBS = {"POST": "create", "GET": "get", "HEAD": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_OLD_FORMS = ("proxy", "watch")  # verbs that stood in front of the resource
_OF_NAMESPACE = ("status", "finalize")  # subresources: all else behind a namespace's name is a collection in it


class Attributes(NamedTuple):
    """One question: may ``user`` do ``verb``? With a ``path`` it is about that path, else about objects."""

    user: User
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def whole_resource(self) -> str:
        """The resource with its subresource, as rules write it."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource

    def refusal(self, why: str = "") -> status.StatusError:
        """The 403 that says what is missing; ``why`` is the authorizer's own reason."""
        user, verb = gotext.quote(self.user.name), self.verb
        if self.path:
            text = f"User {user} cannot {verb} path {gotext.quote(self.path)}"
        else:
            where = f"in the namespace {gotext.quote(self.namespace)}" if self.namespace else "at the cluster scope"
            resource, group = gotext.quote(self.whole_resource), gotext.quote(self.group)
            text = f"User {user} cannot {verb} resource {resource} in API group {group} {where}"
        return status.forbidden(self.group, self.resource, self.name, f"{text}: {why}" if why else text)


def of(request: Request) -> Attributes:
    """What a request asks for.

    Raises
    ------
    StatusError
        500, as upstream: a path that ends behind ``watch`` or ``proxy``.
    """
    parts = request.path.strip("/").split("/")
    core = parts[0] == "api"
    if len(parts) < (3 if core else 4) or not (core or parts[0] == "apis"):
        return Attributes(request.user, request.method.lower(), path=request.path)
    group, version, rest = ("", parts[1], parts[2:]) if core else (parts[1], parts[2], parts[3:])
    verb = _VERBS.get(request.method, "")
    if rest[0] in _OLD_FORMS:
        if len(rest) < 2:
            raise status.internal(f"unable to determine kind and namespace from url, {request.path}")
        verb, rest = rest[0], rest[1:]
    namespace = rest[1] if rest[0] == "namespaces" and len(rest) > 1 else ""
    if namespace and len(rest) > 2 and rest[2] not in _OF_NAMESPACE:
        rest = rest[2:]
    name = rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 and verb != "proxy" else ""
    if not name and verb == "get":
        verb, name = _collection(request)
    if not name and verb == "delete":
        verb = "deletecollection"
    return Attributes(request.user, verb, group, version, rest[0], subresource, namespace, name)


def _collection(request: Request) -> tuple[str, str]:
    """What is read of a collection, and the one name that a field selector asks for, if it does."""
    query = request.query
    if not query:
        return "list", ""
    watch = query.get("watch")
    verb = "watch" if watch is not None and watch[0].lower() not in ("false", "0") else "list"
    try:
        name = selectors.parse_fields(query.get("fieldSelector", [""])[0]).exact("metadata.name") or ""
    except selectors.SelectorError:
        name = ""
    return verb, "" if names.path_segment(name) else name

# SPDX-License-Identifier: Apache-2.0
"""Questions about who somebody is and what they may do. Answered, never stored.

Source: pkg/registry/authentication and pkg/registry/authorization, v1.36.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from kubesched.api import status
from kubesched.api.strategy import Object
from kubesched.apiserver.authorization.attributes import Attributes
from kubesched.apiserver.authorization.policy import Policy, Verdict
from kubesched.apiserver.authorization.rules import OF_PATHS, OF_RESOURCES, part
from kubesched.apiserver.message import Request, User

Authenticate = Callable[[str, tuple[str, ...]], Awaitable[User | None]]
"""From a bearer token and the audiences it must be for to who it is; None: nobody."""


def user_info(user: User) -> Object:
    """A user as objects write one."""
    out: Object = {"username": user.name}
    if user.uid:
        out["uid"] = user.uid
    if user.groups:
        out["groups"] = list(user.groups)
    if user.extra:
        out["extra"] = {name: list(values) for name, values in user.extra.items()}
    return out


def myself(request: Request, review: Object) -> Object:
    """SelfSubjectReview: who the server takes the client for."""
    return {**review, "status": {"userInfo": user_info(request.user)}}


async def token(review: Object, authenticate: Authenticate) -> Object:
    """TokenReview: who a token is."""
    spec = review.get("spec") or {}
    if not spec.get("token"):
        raise status.bad_request("token is required for TokenReview in authentication")
    audiences = tuple(spec.get("audiences") or ())
    user = await authenticate(spec["token"], audiences)
    if user is None:
        return {**review, "status": {"user": {}, "error": "invalid bearer token"}}
    answer: dict[str, Any] = {"authenticated": True, "user": user_info(user)}
    if audiences:
        answer["audiences"] = list(audiences)
    return {**review, "status": answer}


def access(review: Object, decide: Callable[[Attributes], Verdict], asker: User, namespace: str = "") -> Object:
    """The access reviews: whether a user (the client itself, where the review names none) may do something."""
    spec = review.get("spec") or {}
    kind = review.get("kind", "")
    wrong = _validate_access(kind, spec, namespace)
    if wrong:
        raise status.invalid("authorization.k8s.io", kind, "", wrong)
    verdict = decide(_asked(spec, asker if kind == "SelfSubjectAccessReview" else _subject(spec)))
    answer: Object = {"allowed": verdict.allowed}
    if verdict.reason:
        answer["reason"] = verdict.reason
    return {**review, "status": answer}


def _subject(spec: Object) -> User:
    return User(spec.get("user", ""), tuple(spec.get("groups") or ()), spec.get("uid", ""), spec.get("extra") or {})


def _asked(spec: Object, user: User) -> Attributes:
    path = spec.get("nonResourceAttributes")
    if path is not None:
        return Attributes(user, path.get("verb", ""), path=path.get("path") or "/")
    what = spec["resourceAttributes"]
    fields = ("verb", "group", "version", "resource", "subresource", "namespace", "name")
    return Attributes(user, *(what.get(field, "") for field in fields))


def _validate_access(kind: str, spec: Object, namespace: str) -> list[status.FieldError]:
    wrong = []
    attributes = [spec.get("resourceAttributes"), spec.get("nonResourceAttributes")]
    if all(item is not None for item in attributes):
        why = "cannot be specified in combination with resourceAttributes"
        wrong.append(status.invalid_value("spec.nonResourceAttributes", attributes[1], why))
    if all(item is None for item in attributes):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        wrong.append(status.invalid_value("spec.resourceAttributes", None, why))
    if kind != "SelfSubjectAccessReview" and not spec.get("user") and not spec.get("groups"):
        wrong.append(status.invalid_value("spec.user", "", "at least one of user or group must be specified"))
    if kind == "LocalSubjectAccessReview":
        wanted = (spec.get("resourceAttributes") or {}).get("namespace", "")
        if wanted != namespace:
            why = "must match metadata.namespace"
            wrong.append(status.invalid_value("spec.resourceAttributes.namespace", wanted, why))
    return wrong


def rules(review: Object, user: User, policy: Policy) -> Object:
    """SelfSubjectRulesReview: all that the client may do in a namespace."""
    namespace = (review.get("spec") or {}).get("namespace")
    if not namespace:
        raise status.bad_request("no namespace on request")
    granted, error = policy.rules_of(user, namespace)
    answer: Object = {
        "resourceRules": [part(rule, OF_RESOURCES) for rule in granted if rule.get("resources")],
        "nonResourceRules": [part(rule, OF_PATHS) for rule in granted if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
    if error:
        answer["evaluationError"] = error
    return {**review, "status": answer}

# SPDX-License-Identifier: Apache-2.0
"""Acting as somebody else: who the headers name, if the client may act as every part of them.

Source: apiserver/pkg/endpoints/filters/impersonation, v1.36.
"""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Iterator, Mapping

from kubesched.api import names, status
from kubesched.apiserver.authorization.attributes import Attributes
from kubesched.apiserver.message import ACCOUNT, ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User, account_groups

_USER = "impersonate-user"
_GROUP = "impersonate-group"
_UID = "impersonate-uid"
_EXTRA = "impersonate-extra-"
_GROUP_OF_USERS = "authentication.k8s.io"


def impersonated(client: User, headers: Mapping[str, str], check: Callable[[Attributes], None]) -> User:
    """Whom the client acts as: itself, where the headers name nobody else.

    Parameters
    ----------
    client
        Who was authenticated.
    headers
        By lower-case name; those that came several times are joined by ", ", so that a group whose name has a comma
        is taken for two, of which the client must be allowed to be both.
    check
        Raises StatusError 403 for what the client may not do.

    Raises
    ------
    StatusError
        400 for parts without a user, 403.
    """
    parts = {name: value for name, value in headers.items() if name.startswith("impersonate-")}
    if not parts:
        return client
    name = parts.pop(_USER, "")
    groups = parts.get(_GROUP, "").split(", ") if parts.get(_GROUP) else []
    uid = parts.get(_UID, "")
    extra = {
        urllib.parse.unquote(header.removeprefix(_EXTRA)): value.split(", ")
        for header, value in parts.items()
        if header.startswith(_EXTRA)
    }
    if not name:
        if groups or uid or extra:
            raise status.bad_request(f"requested {_shown(parts)} without impersonating a user")
        return client
    for asked in _questions(client, name, groups, uid, extra):
        check(asked)
    account = _account(name)
    if account and not groups:
        groups = [*account_groups(account[0])]
    return User(name, _completed(name, groups), uid, extra)


def _questions(
    client: User, name: str, groups: list[str], uid: str, extra: Mapping[str, list[str]]
) -> Iterator[Attributes]:
    def asked(resource: str, named: str, group: str = "", subresource: str = "", namespace: str = "") -> Attributes:
        version = "v1" if group else ""
        return Attributes(client, "impersonate", group, version, resource, subresource, namespace, named)

    account = _account(name)
    if account:
        yield asked("serviceaccounts", account[1], namespace=account[0])
    else:
        yield asked("users", name)
    for group in groups:
        yield asked("groups", group)
    for key, values in extra.items():
        for value in values:
            yield asked("userextras", value, _GROUP_OF_USERS, key)
    if uid:
        yield asked("uids", uid, _GROUP_OF_USERS)


def _account(name: str) -> tuple[str, str] | None:
    """The namespace and the name of a service account, if the user is one."""
    namespace, colon, account = name.removeprefix(ACCOUNT).partition(":")
    if not name.startswith(ACCOUNT) or not colon or names.label(namespace) or names.subdomain(account):
        return None
    return namespace, account


def _completed(name: str, groups: list[str]) -> tuple[str, ...]:
    """With the group that everybody is in who is known, or is not."""
    own = UNAUTHENTICATED if name == ANONYMOUS.name else AUTHENTICATED
    both = (own, UNAUTHENTICATED)
    return tuple(groups) if any(group in both for group in groups) else (*groups, own)


def _shown(parts: Mapping[str, str]) -> str:
    return ", ".join(sorted(parts))

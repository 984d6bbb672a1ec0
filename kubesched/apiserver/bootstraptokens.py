# SPDX-License-Identifier: Apache-2.0
"""Tokens with which machines join a cluster: secrets of kube-system that name themselves, their end and their groups.

Source: plugin/pkg/auth/authenticator/token/bootstrap and cluster-bootstrap/token/util, v1.36.
"""

from __future__ import annotations

import base64
import datetime
import hmac
import logging
import re
from collections.abc import Mapping

from kubesched.api import gotime, status
from kubesched.apiserver.message import AUTHENTICATED, User
from kubesched.apiserver.resource import Now, Resource

_log = logging.getLogger(__name__)

_TOKEN = re.compile("([a-z0-9]{6})[.]([a-z0-9]{16})")
_TYPE = "bootstrap.kubernetes.io/token"
_GROUP = "system:bootstrappers"
_EXTRA_GROUP = re.compile(f"{_GROUP}:[a-z0-9:-]{{0,255}}[a-z0-9]")


class BootstrapTokens:
    """Looks tokens up in the secrets each time: they are few, and used seldom."""

    def __init__(self, secrets: Resource, now: Now) -> None:
        self._secrets = secrets
        self._now = now

    async def authenticate(self, token: str) -> User | None:
        """Whose token it is; None: it is none of these, or not one that is good."""
        form = _TOKEN.fullmatch(token)
        if form is None:
            return None
        named, secret = form.groups()
        try:
            found = self._secrets.decode(await self._secrets.get("kube-system", f"bootstrap-token-{named}"))
        except status.StatusError:
            return None
        if found["metadata"].get("deletionTimestamp") or found.get("type") != _TYPE:
            return None
        data = {key: base64.b64decode(value).decode(errors="replace") for key, value in found.get("data", {}).items()}
        if not hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode()):
            return None
        why = self._wrong(data, named)
        if why:
            _log.info("the bootstrap token %s was refused: %s", named, why)
            return None
        groups = sorted({_GROUP, *_extra_groups(data)})
        return User(f"system:bootstrap:{named}", (*groups, AUTHENTICATED))

    def _wrong(self, data: Mapping[str, str], named: str) -> str:
        if data.get("token-id") != named:
            return "its secret has another id"
        if data.get("usage-bootstrap-authentication") != "true":
            return "it is not for authentication"
        wrong = [group for group in _extra_groups(data) if not _EXTRA_GROUP.fullmatch(group)]
        if wrong:
            return f"its groups do not begin with {_GROUP}: {', '.join(wrong)}"
        return "it has expired" if self._is_over(data.get("expiration", "")) else ""

    def _is_over(self, end: str) -> bool:
        """Whether the end is past, or is none that can be read; "" never comes."""
        if not end:
            return False
        try:
            until = gotime.seconds(end)
        except ValueError:
            return True
        return until is None or self._now() >= datetime.datetime.fromisoformat(until)


def _extra_groups(data: Mapping[str, str]) -> list[str]:
    found = data.get("auth-extra-groups", "")
    return found.split(",") if found else []

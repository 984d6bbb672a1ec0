# SPDX-License-Identifier: Apache-2.0
"""Who asks: a client certificate's user, a service account's token, the bootstrap administrator's token, or nobody.

A certificate is asked about once for a connection, a token once in ten seconds: a verdict that is remembered costs a
hash. Bad credentials are 401, whatever is wrong with them; no credentials are the anonymous user, whom the application
lets see health and version.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import ssl
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any

from kubesched.api import status
from kubesched.apiserver.message import AUTHENTICATED, User, account_groups
from kubesched.apiserver.tokens import BadToken, Claims, Tokens

_log = logging.getLogger(__name__)

ADMINISTRATOR = User("kubernetes-admin", ("system:masters", AUTHENTICATED))
_EXTRA = "authentication.kubernetes.io/"
_REMEMBERED_S = 10.0  # as upstream: so long may a token outlive what it is bound to
_REMEMBERED = 4_096
_TOKEN_BYTES = 16 << 10

Alive = Callable[[Claims], Awaitable[bool]]
"""Whether the account, the pod and the node that a token is bound to are still those."""


async def _unchecked(claims: Claims) -> bool:
    return True


async def _nobody(token: str) -> User | None:
    return None


class Authentication:
    """Judges credentials; what `front.Authenticator` asks for.

    Parameters
    ----------
    tokens
        Judges tokens of service accounts.
    admin_token
        A token that may do everything; "" is none.
    alive
        Asked about a token whose signature and times are good.
    bootstrap
        Asked about every other token; None: it is nobody's.
    now
        The wall clock, seconds since the epoch.
    """

    def __init__(
        self,
        tokens: Tokens,
        *,
        admin_token: str = "",
        alive: Alive = _unchecked,
        bootstrap: Callable[[str], Awaitable[User | None]] = _nobody,
        issued: Callable[[bytes], bool] = lambda der: True,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._tokens = tokens
        self._admin_token = admin_token.encode()
        self._alive = alive
        self._bootstrap = bootstrap
        self._issued = issued
        self._now = now
        self._verdicts: OrderedDict[bytes, tuple[User, float]] = OrderedDict()

    def certificate(self, tls: ssl.SSLObject | None) -> tuple[User | None, float]:
        """The user that a connection's certificate names, and until when."""
        found = tls.getpeercert() if tls is not None else None
        if tls is None or not found:
            return None, float("inf")
        subject: Any = found["subject"]  # a sequence of sets of (kind, value)
        names = [str(value) for part in subject for kind, value in part if kind == "commonName"]
        groups = [str(value) for part in subject for kind, value in part if kind == "organizationName"]
        until = float(ssl.cert_time_to_seconds(str(found["notAfter"])))
        der = tls.getpeercert(binary_form=True) or b""
        if self._now() >= until or not self._issued(der) or any("\0" in name for name in (*names, *groups)):
            raise status.unauthorized()
        if not names or not names[-1]:
            return None, until  # as upstream: it names nobody
        digest = hashlib.sha256(der).hexdigest()
        extra = {f"{_EXTRA}credential-id": [f"X509SHA256={digest}"]}
        return User(names[-1], _with_authenticated(groups), extra=extra), until

    async def header(self, authorization: str) -> User | None:
        """The user of a bearer token; None for another scheme, which names nobody here."""
        scheme, _, token = authorization.strip().partition(" ")
        token = token.strip()
        if scheme.lower() != "bearer" or not token:
            return None
        raw = token.encode(errors="replace")
        if len(raw) > _TOKEN_BYTES:
            raise status.unauthorized()
        if self._admin_token and hmac.compare_digest(raw, self._admin_token):
            return ADMINISTRATOR
        return await self._account(token, hashlib.sha256(raw).digest())

    async def _account(self, token: str, digest: bytes) -> User:
        now = self._now()
        verdict = self._verdicts.get(digest)
        if verdict is not None and now < verdict[1]:
            return verdict[0]
        try:
            claims = self._tokens.verify(token)
        except BadToken as error:
            joining = await self._bootstrap(token)
            if joining is not None:
                return joining
            _log.info("a token was refused: %s", error)
            raise status.unauthorized() from error
        if not await self._alive(claims):
            self._verdicts.pop(digest, None)
            _log.info("a token was refused: what it is bound to is gone")
            raise status.unauthorized()
        user = user_of(claims)
        self._verdicts[digest] = (user, min(now + _REMEMBERED_S, claims.expires))
        self._verdicts.move_to_end(digest)
        while len(self._verdicts) > _REMEMBERED:
            self._verdicts.popitem(last=False)
        return user


def user_of(claims: Claims) -> User:
    """The user that a service account's token stands for."""
    extra: dict[str, list[str]] = {}
    if claims.id:
        extra[f"{_EXTRA}credential-id"] = [f"JTI={claims.id}"]
    for kind, bound in (("pod", claims.pod), ("node", claims.node)):
        if bound is not None:
            extra |= {f"{_EXTRA}{kind}-name": [bound.name], f"{_EXTRA}{kind}-uid": [bound.uid]}
    return User(claims.subject, (*account_groups(claims.namespace), AUTHENTICATED), claims.account.uid, extra)


def _with_authenticated(groups: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    return tuple(groups) if AUTHENTICATED in groups else (*groups, AUTHENTICATED)

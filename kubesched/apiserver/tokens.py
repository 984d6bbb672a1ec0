# SPDX-License-Identifier: Apache-2.0
"""Tokens of service accounts: JWTs bound to an account and, if asked, to a pod or node; ES256 with our own key.

Source: claims of upstream's pkg/serviceaccount/claims.go, v1.36.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from kubesched.apiserver.message import ACCOUNT

ISSUER = "https://kubernetes.default.svc.cluster.local"
_ALGORITHM = "ES256"
_NOT_BEFORE_S = 60  # by how much the clocks of two servers may differ
_PRIVATE = "kubernetes.io"


class BadToken(Exception):
    """The token is not ours, not for us, or not valid now. ``str()`` says why, for logs; clients are told 401 only."""


@dataclass(frozen=True, slots=True)
class Reference:
    """An object that a token is bound to: when it is gone, so is the token."""

    name: str
    uid: str

    def encode(self) -> dict[str, str]:
        return {"name": self.name, "uid": self.uid}

    @classmethod
    def decode(cls, found: object) -> Reference | None:
        if not isinstance(found, dict):
            return None
        return cls(_text(found, "name"), _text(found, "uid"))


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says."""

    namespace: str
    account: Reference
    audiences: tuple[str, ...]
    expires: int  # seconds since the epoch
    pod: Reference | None = None
    node: Reference | None = None
    secret: Reference | None = None
    id: str = ""

    @property
    def subject(self) -> str:
        return f"{ACCOUNT}{self.namespace}:{self.account.name}"

    def encode(self, issuer: str, now: int) -> dict[str, Any]:
        bound = {"serviceaccount": self.account, "pod": self.pod, "node": self.node, "secret": self.secret}
        private: dict[str, Any] = {name: ref.encode() for name, ref in bound.items() if ref is not None}
        return {
            "aud": list(self.audiences),
            "exp": self.expires,
            "iat": now,
            "iss": issuer,
            "jti": self.id or str(uuid.uuid4()),
            _PRIVATE: {"namespace": self.namespace, **private},
            "nbf": now,
            "sub": self.subject,
        }

    @classmethod
    def decode(cls, found: Mapping[str, Any]) -> Claims:
        private = found.get(_PRIVATE)
        if not isinstance(private, dict):
            raise BadToken("no claims of kubernetes.io")
        account = Reference.decode(private.get("serviceaccount"))
        if account is None:
            raise BadToken("no service account")
        audiences = found["aud"] if isinstance(found["aud"], list) else [found["aud"]]
        bound = {name: Reference.decode(private.get(name)) for name in ("pod", "node", "secret")}
        claims = cls(
            _text(private, "namespace"),
            account,
            tuple(audiences),
            int(found["exp"]),
            id=str(found.get("jti", "")),
            **bound,
        )
        if claims.subject != found["sub"]:
            raise BadToken("the subject is not the service account")
        return claims


class Tokens:
    """Signs and judges tokens with one key.

    ``audiences`` are those of the API server; a token made without any is for them.
    """

    def __init__(
        self,
        key: bytes,
        *,
        issuer: str = ISSUER,
        audiences: Sequence[str] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        private = serialization.load_pem_private_key(key, None)
        assert isinstance(private, ec.EllipticCurvePrivateKey)
        self.issuer = issuer
        self.audiences = tuple(audiences) or (issuer,)
        self._private = private
        self._public = private.public_key()
        self._now = now
        der = self._public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self._key_id = base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()

    def sign(self, claims: Claims) -> str:
        """A token that says this."""
        payload = claims.encode(self.issuer, int(self._now()))
        return jwt.encode(payload, self._private, algorithm=_ALGORITHM, headers={"kid": self._key_id, "typ": None})

    def verify(self, token: str, audiences: Sequence[str] = ()) -> Claims:
        """What the token says, if it is ours, valid now, and for one of these audiences (the API server's when none).

        Raises
        ------
        BadToken
            It is not.
        """
        required = ["aud", "exp", "iat", "iss", "nbf", "sub"]
        # Times are judged below, by the clock that was given.
        options: Any = {"require": required, "verify_exp": False, "verify_nbf": False, "verify_iat": False}
        try:
            found = jwt.decode(
                token,
                self._public,
                algorithms=[_ALGORITHM],  # never what the token's own header says
                audience=list(audiences or self.audiences),
                issuer=self.issuer,
                options=options,
            )
            now = self._now()
            if now >= float(found["exp"]):
                raise BadToken("expired")
            if now + _NOT_BEFORE_S < float(found["nbf"]):
                raise BadToken("not valid yet")
            return Claims.decode(found)
        except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as error:
            raise BadToken(str(error)) from error

    def jwks(self) -> dict[str, Any]:
        """The public key, as others read it to judge our tokens."""
        key = ECAlgorithm.to_jwk(self._public, as_dict=True)
        return {"keys": [{"use": "sig", "kid": self._key_id, "alg": _ALGORITHM, **key}]}


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name)
    if not isinstance(value, str):
        raise BadToken(f"no {name}")
    return value

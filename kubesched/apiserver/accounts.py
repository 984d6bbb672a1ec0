# SPDX-License-Identifier: Apache-2.0
"""Service accounts as users: issues their tokens, and asks the store whether what a token is bound to is still there.

Source: pkg/registry/core/serviceaccount/storage/token.go and pkg/serviceaccount/claims.go, v1.36.
"""

from __future__ import annotations

import datetime
import uuid

import orjson

from kubesched.api import gotext, meta, status
from kubesched.api.kinds import Registry
from kubesched.api.strategy import Object
from kubesched.apiserver.authentication import user_of
from kubesched.apiserver.message import User
from kubesched.apiserver.resource import Now
from kubesched.apiserver.tokens import BadToken, Claims, Reference, Tokens
from kubesched.store import Store

_LEEWAY = datetime.timedelta(seconds=60)
"""So long after it was deleted may what is bound to an object still be used; it takes that to end."""

_BINDABLE = {"Pod": "pods", "Node": "nodes", "Secret": "secrets"}


class ServiceAccounts:
    """Tokens of service accounts against the objects of a store; what `app.Accounts` asks for."""

    def __init__(self, tokens: Tokens, store: Store, kinds: Registry, now: Now) -> None:
        self._tokens = tokens
        self._store = store
        self._kinds = kinds
        self._now = now

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> User | None:
        """Who a token is, if it is valid for one of the audiences."""
        try:
            claims = self._tokens.verify(token, audiences)
        except BadToken:
            return None
        return user_of(claims) if await self.alive(claims) else None

    async def alive(self, claims: Claims) -> bool:
        """Whether the account and what the token is bound to are there, the same, and not long deleted.

        The node of a pod's token is information only.
        """
        bound = [("serviceaccounts", claims.namespace, claims.account)]
        if claims.secret is not None:
            bound.append(("secrets", claims.namespace, claims.secret))
        if claims.pod is not None:
            bound.append(("pods", claims.namespace, claims.pod))
        elif claims.node is not None:
            bound.append(("nodes", "", claims.node))
        for plural, namespace, reference in bound:
            found = await self._metadata(plural, namespace, reference.name)
            if found is None or found.get("uid") != reference.uid or self._is_long_deleted(found):
                return False
        return True

    async def issue(
        self, account: Object, spec: Object, seconds: int
    ) -> tuple[str, tuple[str, ...], datetime.datetime]:
        """A token for a service account, as a TokenRequest's spec wants it; whom it is for, and when it ends.

        Raises
        ------
        StatusError
            The object that it is to be bound to is not there, not of the account, another one, or of no such kind.
        """
        metadata = account["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        audiences = tuple(spec.get("audiences") or self._tokens.audiences)
        bound = await self._bound(namespace, name, spec.get("boundObjectRef"))
        now = self._now()
        claims = Claims(
            namespace,
            Reference(name, metadata["uid"]),
            audiences,
            int(now.timestamp()) + seconds,
            id=str(uuid.uuid4()),
            **bound,
        )
        return self._tokens.sign(claims), audiences, now + datetime.timedelta(seconds=seconds)

    async def _bound(self, namespace: str, account: str, wanted: Object | None) -> dict[str, Reference]:
        """The claims for an object reference."""
        if not wanted:
            return {}
        kind, version = wanted.get("kind", ""), wanted.get("apiVersion", "")
        if version not in ("v1", "") or kind not in _BINDABLE:
            group, _, rest = version.rpartition("/")
            raise status.bad_request(f"cannot bind token to object of type {group}/{rest}, Kind={kind}")
        plural, name = _BINDABLE[kind], wanted.get("name", "")
        found = await self._object(plural, "" if kind == "Node" else namespace, name)
        if found is None:
            raise status.not_found("", plural, name)
        uid = found["metadata"]["uid"]
        bound = {kind.lower(): Reference(name, uid)}
        if kind == "Pod":
            bound |= await self._node_of(found, account)
        if wanted.get("uid") not in (None, "", uid):
            why = (
                f"the UID in the bound object reference ({wanted['uid']}) does not match the UID in record. "
                "The object might have been deleted and then recreated"
            )
            raise status.conflict("", kind, name, why)
        return bound

    async def _node_of(self, pod: Object, account: str) -> dict[str, Reference]:
        spec = pod.get("spec", {})
        if spec.get("serviceAccountName", "") != account:
            why = f"cannot bind token for serviceaccount {gotext.quote(account)} to pod running with different "
            raise status.bad_request(f"{why}serviceaccount name.")
        if not spec.get("nodeName"):
            return {}
        node = await self._metadata("nodes", "", spec["nodeName"])
        return {"node": Reference(spec["nodeName"], "" if node is None else node["uid"])}

    def _is_long_deleted(self, metadata: Object) -> bool:
        deleted: str = metadata.get("deletionTimestamp") or ""
        return bool(deleted) and meta.parse_time(deleted) + _LEEWAY < self._now()

    async def _metadata(self, plural: str, namespace: str, name: str) -> Object | None:
        found = await self._object(plural, namespace, name)
        if found is None:
            return None
        metadata: Object = found["metadata"]
        return metadata

    async def _object(self, plural: str, namespace: str, name: str) -> Object | None:
        kind = self._kinds.find("", "v1", plural)
        assert kind is not None, "a built-in kind"
        entry = await self._store.get(kind.key(namespace, name))
        if entry is None:
            return None
        found: Object = orjson.loads(entry.value)
        return found

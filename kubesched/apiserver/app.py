# SPDX-License-Identifier: Apache-2.0
"""The application: a request in, an answer out, no sockets. Routing, authorization, and what every answer carries."""

from __future__ import annotations

import datetime
import logging
from typing import Protocol

from kubesched.api import codec, groups, meta, shared, status
from kubesched.api.kinds import Kind, Registry
from kubesched.api.strategy import Object, Strategy
from kubesched.apiserver import about, issuer, routes, signing, subresources, verbs
from kubesched.apiserver.admission import plugins
from kubesched.apiserver.authorization import attributes, policy
from kubesched.apiserver.authorization.aggregation import Aggregation
from kubesched.apiserver.authorization.authorizer import Authorizer
from kubesched.apiserver.authorization.impersonation import impersonated
from kubesched.apiserver.bootstraptokens import BootstrapTokens
from kubesched.apiserver.custom import DEFINITIONS, CustomResources, with_rules
from kubesched.apiserver.documents import Documents
from kubesched.apiserver.endpoint import Endpoint, GroupVersionKind
from kubesched.apiserver.message import Answer, Request, User, failed
from kubesched.apiserver.metrics import Metrics
from kubesched.apiserver.resource import Now, Resource
from kubesched.apiserver.watch import Watchers
from kubesched.store import Store

_log = logging.getLogger(__name__)

_COLLECTION: dict[str, tuple[str, verbs.Verb]] = {
    "GET": ("list", verbs.list_or_watch),
    "HEAD": ("list", verbs.list_or_watch),
    "POST": ("create", verbs.create),
    "DELETE": ("deletecollection", verbs.delete_collection),
}
_IN_NAMESPACE = ("create", "deletecollection")
"""What is done to a collection of one namespace only."""
_OBJECT: dict[str, tuple[str, verbs.Verb]] = {
    "GET": ("get", verbs.get),
    "HEAD": ("get", verbs.get),
    "PUT": ("update", verbs.update),
    "PATCH": ("patch", verbs.patch_object),
    "DELETE": ("delete", verbs.delete),
}


def system_now() -> datetime.datetime:
    """Now, in UTC."""
    return datetime.datetime.now(datetime.UTC)


class Accounts(Protocol):
    """Tokens of service accounts."""

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> User | None:
        """Who a token is, if it is valid for one of the audiences."""

    async def issue(
        self, account: Object, spec: Object, seconds: int
    ) -> tuple[str, tuple[str, ...], datetime.datetime]:
        """A token for a service account, as a TokenRequest's spec wants it."""


class App:
    """One API server over one store.

    Parameters
    ----------
    store
        Where objects are kept; the caller closes it.
    kinds
        What is served; custom resources come and go in it.
    now
        The wall clock.
    accounts
        Signs and judges tokens of service accounts; without it there are none.
    """

    def __init__(self, store: Store, kinds: Registry, now: Now = system_now, accounts: Accounts | None = None) -> None:
        self._accounts = accounts
        self.store = store
        self.kinds = kinds
        self.documents = Documents(kinds)
        self.metrics = Metrics()
        self.now = now
        self.ready = True  # /readyz; false while draining
        self.published: issuer.Published = {}  # about the issuer of accounts' tokens
        self._resources: dict[Kind, Resource] = {}
        self._watchers: dict[Kind, Watchers] = {}
        self._targets: dict[tuple[Kind, str], Endpoint] = {}
        self._custom: CustomResources | None = None
        self.bootstrap_tokens = BootstrapTokens(self.resource_of("", "v1", "secrets"), now)
        kinds_of_policy = [self.resource_of(policy.GROUP, "v1", plural) for plural in policy.RESOURCES.values()]
        self.authorizer = Authorizer(store, kinds_of_policy, self.metrics.authorizations)
        self._aggregation: Aggregation | None = None
        self._admission = plugins.chain(self.resource_of, self.authorizer)

    # ---- who there is ----

    async def authenticate(self, token: str, audiences: tuple[str, ...]) -> User | None:
        """Who a bearer token is; None: nobody."""
        account = None if self._accounts is None else await self._accounts.authenticate(token, audiences)
        return account or (None if audiences else await self.bootstrap_tokens.authenticate(token))

    async def issue_token(
        self, account: Object, spec: Object, seconds: int
    ) -> tuple[str, tuple[str, ...], datetime.datetime]:
        """A token of a service account, who it is for, and when it ends."""
        if self._accounts is None:
            raise status.unavailable("this server signs no tokens")
        return await self._accounts.issue(account, spec, seconds)

    # ---- what there is ----

    def resource(self, kind: Kind) -> Resource:
        """The objects of a kind."""
        found = self._resources.get(kind)
        if found is None:
            strategy = groups.strategy(kind.group, kind.plural)
            if (kind.group, kind.plural) == DEFINITIONS:
                strategy = with_rules(strategy)
            elif (kind.group, kind.plural) == signing.REQUESTS:
                strategy = signing.with_contents(strategy)
            conversion = groups.conversion(kind.group, kind.version, kind.plural)
            found = self._resources[kind] = Resource(kind, strategy, self.store, self.now, conversion)
        return found

    def adopt(self, kind: Kind, strategy: Strategy) -> None:
        """Serve a custom resource."""
        self._resources[kind] = Resource(kind, strategy, self.store, self.now)

    def forget(self, kind: Kind) -> None:
        """Serve a custom resource no more; its watches end."""
        self._resources.pop(kind, None)
        watchers = self._watchers.pop(kind, None)
        if watchers is not None:
            watchers.close()
        for target in [target for target in self._targets if target[0] is kind]:
            del self._targets[target]

    def resource_of(self, group: str, version: str, plural: str) -> Resource:
        """The objects of a kind by its names; KeyError if it is not served."""
        kind = self.kinds.find(group, version, plural)
        if kind is None:
            raise KeyError(plural)
        return self.resource(kind)

    async def stored(self) -> dict[tuple[str, str], int]:
        """How many objects there are of each group and resource; O(log n) for each."""
        counts: dict[tuple[str, str], int] = {}
        for group in self.kinds.groups():
            for version in self.kinds.versions(group):
                for kind in self.kinds.resources(group, version):
                    if not kind.virtual and (group, kind.plural) not in counts:
                        listing = await self.store.list(kind.prefix, limit=1)
                        counts[group, kind.plural] = len(listing.entries) + listing.remaining
        return counts

    def endpoint(self, route: routes.Route) -> Endpoint:
        """What a route leads to."""
        kind = route.kind
        target = self._targets.get((kind, route.subresource))
        if target is None:
            target = self._targets[kind, route.subresource] = self._target(kind, route.subresource)
        return Endpoint(
            target.resource,
            target.watchers,
            target.type,
            target.gvk,
            target.blank,
            route.namespace,
            route.name,
            route.subresource,
            route.watch,
            target.admit,
        )

    def _target(self, kind: Kind, subresource: str) -> Endpoint:
        resource = self.resource(kind)
        watchers = self._watchers.get(kind)
        if watchers is None:
            watchers = self._watchers[kind] = Watchers(resource, self.metrics.events_of(kind).observe)
        gvk = GroupVersionKind(kind.group, kind.version, kind.kind)
        type_ = kind.type
        bare = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {}}
        blank = shared.share(codec.normalise(bare, type_, strict=False)[0])
        return Endpoint(resource, watchers, type_, gvk, blank, subresource=subresource, admit=self._admission)

    async def start(self) -> None:
        """Know who may do what, and serve the custom resources that are defined; both are followed from then on."""
        await self.authorizer.start()
        self._aggregation = Aggregation(self)
        self._aggregation.start()
        self._custom = CustomResources(self)
        await self._custom.start()

    def close(self) -> None:
        """End all watches; requests that are under way finish."""
        self.ready = False
        self.authorizer.close()
        if self._aggregation is not None:
            self._aggregation.close()
        if self._custom is not None:
            self._custom.close()
        for watchers in self._watchers.values():
            watchers.close()

    # ---- requests ----

    async def __call__(self, request: Request) -> Answer:
        """Answer a request; never raises but for a cancelled one."""
        audit = meta.new_uid()
        began = self.metrics.begin(request.method)
        route = None
        try:
            request.user = impersonated(request.user, request.headers, self.authorizer.check)
            self.authorizer.check(attributes.of(request))
            route = routes.find(request.path, self.kinds)
            answer = await (about.answer(request, self) if route is None else self._dispatch(request, route))
        except status.StatusError as error:
            answer = failed(error)
        except Exception:
            _log.exception("request %s: %s %s failed", audit, request.method, request.path)
            answer = failed(status.internal(f"request {audit} failed, the server's log says why"))
        answer.headers.update(warning_headers(request))
        answer.headers["Audit-Id"] = audit
        answer.headers.setdefault("Cache-Control", "no-cache, private")
        self.metrics.end(request, route, answer, began)
        return answer

    async def _dispatch(self, request: Request, route: routes.Route) -> Answer:
        if route.subresource:
            return await subresources.dispatch(request, self.endpoint(route), route, self)
        table = _OBJECT if route.name and not route.watch else _COLLECTION
        found = table.get(request.method)
        if found is None or found[0] not in route.kind.verbs:
            raise status.method_not_allowed()
        if route.kind.virtual:
            return await subresources.ask(request, self.endpoint(route), self)
        if found[0] in _IN_NAMESPACE and route.kind.namespaced and not route.namespace:
            raise status.no_such_path() if route.kind.custom else status.method_not_allowed()
        return await found[1](request, self.endpoint(route))


def warning_headers(request: Request) -> dict[str, str]:
    """One header for all warnings: values may be joined by commas."""
    if not request.warnings:
        return {}
    quoted = (text.replace("\\", "\\\\").replace('"', '\\"') for text in request.warnings)
    return {"Warning": ", ".join(f'299 - "{text}"' for text in quoted)}

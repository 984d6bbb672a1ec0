# SPDX-License-Identifier: Apache-2.0
"""Cluster roles that are the union of others: their rules follow those of the roles that they select by labels.

Source: pkg/controller/clusterroleaggregation, v1.36.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubesched.api import managed, selectors, status
from kubesched.api.strategy import Object
from kubesched.apiserver import routes
from kubesched.apiserver.authorization import rules
from kubesched.store import Event, Subscription

if TYPE_CHECKING:
    from kubesched.apiserver.app import App

_log = logging.getLogger(__name__)

_MANAGER = "clusterrole-aggregation-controller"


class Aggregation:
    """Writes the rules of unions, once after each group of changes."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._roles = app.resource_of("rbac.authorization.k8s.io", "v1", "clusterroles")
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._subscription: Subscription | None = None

    def start(self) -> None:
        """Follow all changes; what is there now counts as one."""
        store = self._app.store
        self._subscription = store.watch(self._roles.kind.prefix, store.revision, self._note)
        self._changed.set()
        self._task = asyncio.get_running_loop().create_task(self._run(), name="role aggregation")

    def close(self) -> None:
        """Follow no more."""
        if self._subscription is not None:
            self._subscription.cancel()
        if self._task is not None:
            self._task.cancel()

    def _note(self, events: Sequence[Event]) -> None:
        self._changed.set()

    async def _run(self) -> None:
        while True:
            await self._changed.wait()
            self._changed.clear()
            try:
                await self._renew_all()
            except status.StatusError as error:  # a store that cannot write; the next change tries again
                _log.warning("roles were not aggregated: %s", error.message)

    async def _renew_all(self) -> None:
        roles = await self._roles.all()
        for role in roles:
            if role.get("aggregationRule") and (wanted := _union(role, roles)) != (role.get("rules") or []):
                await self._write(role, wanted)

    async def _write(self, role: Object, wanted: list[Object]) -> None:
        name = role["metadata"]["name"]
        endpoint = self._app.endpoint(routes.Route(self._roles.kind, name=name))
        applied = {
            "kind": role["kind"],
            "apiVersion": role["apiVersion"],
            "metadata": {"name": name},
            "rules": wanted,
        }
        try:
            await self._roles.update(
                "", name, lambda live: managed.apply(live, applied, _MANAGER, True, endpoint.fields_context())
            )
        except status.StatusError as error:
            if error.code != 404:  # it was deleted meanwhile
                raise


def _union(role: Object, roles: Sequence[Object]) -> list[Object]:
    """The rules of all roles that one selects, each rule once."""
    found: list[Object] = []
    for selector in role["aggregationRule"].get("clusterRoleSelectors") or ():
        chosen = selectors.of_object(selector)
        for other in roles:
            if other is role or not chosen.matches(other["metadata"].get("labels") or {}):
                continue
            for rule in other.get("rules") or ():
                plain = rules.part(rule, rules.FIELDS)
                if plain not in found:
                    found.append(plain)
    return found

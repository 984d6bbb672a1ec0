# SPDX-License-Identifier: Apache-2.0
"""The authorizer of a server: the policy in its store, followed from write to write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from kubesched.apiserver.authorization.attributes import Attributes
from kubesched.apiserver.authorization.policy import Policy, Verdict
from kubesched.apiserver.resource import Resource
from kubesched.store import Event, EventKind, Store, Subscription


class Authorizer:
    """Answers from the roles and bindings that readers of the store see.

    Parameters
    ----------
    resources
        The four kinds of roles and bindings.
    counted
        Where verdicts are counted, under upstream's names.
    """

    def __init__(self, store: Store, resources: Sequence[Resource], counted: Counter[str]) -> None:
        self.policy = Policy()
        self._store = store
        self._resources = tuple(resources)
        self._counted = counted
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Learn the policy, and follow it."""
        for resource in self._resources:
            listing = await self._store.list(resource.kind.prefix)
            for entry in listing.entries:
                self.policy.put(resource.decode(entry))
            self._follow(resource, listing.revision)

    def _follow(self, resource: Resource, revision: int) -> None:
        def take(events: Sequence[Event]) -> None:
            for event in events:
                change = self.policy.put if event.kind is EventKind.PUT else self.policy.remove
                change(resource.decode(event.entry))

        self._subscriptions.append(self._store.watch(resource.kind.prefix, revision, take))

    def close(self) -> None:
        """Follow no more."""
        for subscription in self._subscriptions:
            subscription.cancel()

    def decide(self, asked: Attributes) -> Verdict:
        """Whether somebody may do something."""
        return self.policy.decide(asked)

    def check(self, asked: Attributes) -> None:
        """Let a request pass.

        Raises
        ------
        StatusError
            403.
        """
        verdict = self.policy.decide(asked)
        self._counted["allowed" if verdict.allowed else "no-opinion"] += 1  # upstream's word for nobody's consent
        if not verdict.allowed:
            raise asked.refusal(verdict.reason)

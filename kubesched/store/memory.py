# SPDX-License-Identifier: Apache-2.0
"""A store that forgets everything when its process ends: for tests, and clusters that are thrown away."""

from __future__ import annotations

from kubesched.store.interface import Event, EventKind
from kubesched.store.local import LocalStore


class MemoryStore(LocalStore):
    """Writes are shown at once: nothing is ever pending."""

    async def _commit(self, event: Event, ttl: float | None) -> None:
        self._show((event,))
        if ttl is not None and event.kind is EventKind.PUT:
            self._expiry.set(event.entry, ttl)

# SPDX-License-Identifier: Apache-2.0
"""Keys, bytes and revisions: what the API server keeps. One interface, several homes."""

from kubesched.store.interface import (
    ABSENT,
    ANY,
    Compacted,
    Entry,
    Event,
    EventKind,
    Listing,
    Mismatch,
    Store,
    Subscription,
    Unavailable,
)

__all__ = [
    "ABSENT",
    "ANY",
    "Compacted",
    "Entry",
    "Event",
    "EventKind",
    "Listing",
    "Mismatch",
    "Store",
    "Subscription",
    "Unavailable",
]

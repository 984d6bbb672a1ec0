# SPDX-License-Identifier: Apache-2.0
"""What eviction wants to know of objects: PodDisruptionBudgets, when pods started, and which are being evicted.

Source: api/policy/v1 PodDisruptionBudget, framework/preemption, v1.36.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from kubesched.api import fields
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.scheduler.pods import label_selector
from kubesched.state import rows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def budget(obj: dict[str, Any]) -> rows.Budget:
    """Encode a PodDisruptionBudget; only its status says how many pods may go."""
    view = fields.of(obj, "PodDisruptionBudget")
    metadata, status = view.view("metadata"), view.view("status")
    return rows.Budget(
        namespace=metadata.text("namespace") or "default",
        name=metadata.text("name"),
        selector=label_selector(view.view("spec"), "selector"),
        allowed=status.integer("disruptionsAllowed"),
        disrupted=frozenset(status.view("disruptedPods").data),
    )


def started(pod: View) -> int:
    """``status.startTime`` in microseconds since 1970.

    Raises
    ------
    InputError
        It is not a time of RFC 3339.
    """
    status = pod.view("status")
    text = status.text("startTime")
    if not text:
        return rows.NOT_STARTED
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise errors.InputError(status.where("startTime"), "is not a time", text, "RFC 3339") from None
    if time.tzinfo is None:
        raise errors.InputError(status.where("startTime"), "has no time zone", text, "RFC 3339")
    since = time - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def is_evicted(pod: View) -> bool:
    """Whether the pod terminates because the scheduler evicted it."""
    if not pod.view("metadata").has("deletionTimestamp"):
        return False
    return any(
        (c.text("type"), c.text("status"), c.text("reason")) == ("DisruptionTarget", "True", "PreemptionByScheduler")
        for c in pod.view("status").views("conditions")
    )

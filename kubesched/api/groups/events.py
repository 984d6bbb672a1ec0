# SPDX-License-Identifier: Apache-2.0
"""Events of events.k8s.io: another view of the core group's, with stricter rules for writers.

Source: pkg/apis/events/v1/conversion.go, pkg/apis/core/validation/events.go, v1.36.
"""

from __future__ import annotations

import dataclasses

from kubesched.api import checks, status
from kubesched.api.checks import Errors
from kubesched.api.conversion import Conversion, printed
from kubesched.api.groups.core import cluster
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
"""Fields by their names here and in the core group; the others are named alike."""
_CORE_NAMES = {core: name for name, core in _NAMES.items()}
_REGARDING = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
_FIELDS = {
    **{f"regarding.{name}": f"involvedObject.{name}" for name in _REGARDING},
    "reportingController": "reportingComponent",
}


def _to_core(obj: Object) -> Object:
    found = {_NAMES.get(name, name): value for name, value in obj.items()}
    return printed({**found, "apiVersion": "v1"}, "", "v1", "Event")


def _from_core(obj: Object) -> Object:
    found = {_CORE_NAMES.get(name, name): value for name, value in obj.items()}
    return printed({**found, "apiVersion": "events.k8s.io/v1"}, "events.k8s.io", "v1", "Event")


def _series(obj: Object, out: Errors) -> None:
    series = obj.get("series")
    if series is None:
        return
    if series.get("count", 0) < 2:
        out.append(invalid_value("series.count", "", "should be at least 2"))
    if not series.get("lastObservedTime"):
        out.append(status.required("series.lastObservedTime"))


def _validate(obj: Object) -> list[FieldError]:
    """A new one has a time, a type, and nothing of what the core group's had before."""
    out = cluster.validate_event(obj, "reportingController")
    _series(obj, out)
    if not obj.get("eventTime"):
        out.append(status.required("eventTime"))
    kind = obj.get("type") or ""
    if kind not in ("Normal", "Warning"):
        out.append(invalid_value("type", "", f"has invalid value: {kind}"))
    for name in ("firstTimestamp", "lastTimestamp", "count", "source"):
        if obj.get(name):
            out.append(invalid_value(name, "", "needs to be unset"))
    return out


_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "reason",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    """Only the series goes on."""
    out = cluster.validate_event(new, "reportingController")
    if new.get("series") != old.get("series"):
        _series(new, out)
    for field in _FIXED:
        name = _NAMES.get(field, field)
        checks.unlike(new.get(name), old.get(name), field, out)
    return out


STRATEGIES = {
    "events": dataclasses.replace(
        cluster.STRATEGIES["events"],
        validate=_validate,
        validate_update=_validate_update,
        selectable=("reason", "type", *_FIELDS),
    )
}
"""By plural."""
CONVERSIONS = {("v1", "events"): Conversion(_to_core, _from_core, _FIELDS)}
"""By version and plural."""

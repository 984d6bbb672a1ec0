# SPDX-License-Identifier: Apache-2.0
"""Who manages which fields: server-side apply, and the bookkeeping of every other write.

`update` and `apply` set ``metadata.managedFields`` of an object. Source: apimachinery/pkg/util/managedfields and
structured-merge-diff v6 (merge), v1.36.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from kubesched.api import fieldset, gotext, meta, shared, status, stored
from kubesched.api.fieldset import FieldsError, Set
from kubesched.api.schema import Type

Object = dict[str, Any]

MAX_UPDATERS = 10  # entries of operation Update; beyond them the oldest are put together
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_ANCIENT = "ancient-changes"
_BEFORE_APPLY = "before-first-apply"
_KUBECTL = "kubectl"

_STRIPPED: Set = {
    "f:apiVersion": fieldset.LEAF,
    "f:kind": fieldset.LEAF,
    "f:metadata": {
        ".": fieldset.LEAF,
        **{
            f"f:{name}": fieldset.LEAF
            for name in (
                "name",
                "namespace",
                "creationTimestamp",
                "selfLink",
                "uid",
                "clusterName",
                "generation",
                "managedFields",
                "resourceVersion",
            )
        },
    },
}
"""What every object has and nobody manages."""


class Manager(NamedTuple):
    """Identity of an entry. Two appliers of one name are one whatever their version."""

    name: str
    operation: str
    version: str  # empty for Apply
    subresource: str = ""


@dataclass(slots=True)
class _Owned:
    fields: Set
    version: str
    time: str | None

    @property
    def empty(self) -> bool:
        return not self.fields


@dataclass(frozen=True, slots=True)
class Context:
    """One kind in one version, and who writes how.

    ``blank`` is an object of the kind with nothing set, as a typed server prints it; ``ignored`` are fields that this
    endpoint resets, so that nobody comes to own them by it.
    """

    type: Type
    version: str  # apiVersion of the request
    now: datetime.datetime
    blank: Object
    ignored: Set | None = None
    subresource: str = ""


# ---- every write but apply ----


def update(live: Object | None, new: Object, manager: str, context: Context) -> None:
    """Write into ``new`` who manages what after it replaced ``live`` (None: it is created).

    Never fails: an object that cannot be walked keeps no managed fields, as upstream does.
    """
    owners = _owners_of_request(live, new, context.subresource)
    new["metadata"].pop("managedFields", None)
    if not owners and live is not None:
        return  # an object whose fields are not tracked stays so until somebody applies
    before = context.blank if live is None else _without_managed(live)
    who = Manager(manager or "unknown", "Update", context.version, context.subresource)
    try:
        _update(owners, before, new, who, context)
        _cap(owners)
    except FieldsError:
        owners = {}
    _write(new, owners)


def _owners_of_request(live: Object | None, new: Object, subresource: str) -> dict[Manager, _Owned]:
    """Entries that count before the write: those sent along, else the live ones; ``[{}]`` clears them."""
    current = [] if live is None else live["metadata"].get("managedFields") or []
    sent = new["metadata"].get("managedFields")
    if subresource or sent is None or sent == current:
        return _read(current)
    if sent in ([], [{}]):
        return {}
    try:
        for entry in sent:
            fieldset.check(entry.get("fieldsV1") or {})
        return _read(sent) or _read(current)
    except FieldsError:
        return _read(current)


def _update(owners: dict[Manager, _Owned], live: Object, new: Object, manager: Manager, context: Context) -> None:
    difference = fieldset.compare(live, new, context.type).without(context.ignored)
    written = fieldset.union(difference.modified, difference.added)
    _take(owners, written, difference.removed, None)
    changed = fieldset.difference(written, _STRIPPED)
    if not changed:
        return
    before = owners.get(manager)
    fields = changed if before is None else fieldset.union(before.fields, changed)
    owners[manager] = _Owned(fields, context.version, meta.timestamp(context.now))


def _take(owners: dict[Manager, _Owned], changed: Set, removed: Set, taker: Manager | None) -> dict[Manager, Set]:
    """Take what changed away from everybody else; what each lost that was not simply removed."""
    lost: dict[Manager, Set] = {}
    touched = changed.keys() | removed.keys()
    for manager, owned in list(owners.items()):
        if manager == taker or (owned.fields and touched.isdisjoint(owned.fields)):
            continue
        if both := fieldset.intersection(owned.fields, changed):
            lost[manager] = both
        rest = fieldset.difference(fieldset.difference(owned.fields, changed), removed)
        if rest:
            owners[manager] = _Owned(rest, owned.version, owned.time)
        else:
            del owners[manager]
    return lost


def _cap(owners: dict[Manager, _Owned]) -> None:
    """Put the oldest updaters of a version together when there are too many."""
    updaters = [manager for manager in owners if manager.operation == "Update"]
    excess = len(updaters) - MAX_UPDATERS
    if excess <= 0:
        return
    updaters.sort(key=lambda manager: (owners[manager].time or "", _identity(manager)))
    first: dict[str, Manager] = {}
    for manager in updaters:
        if excess <= 0:
            return
        owned = owners[manager]
        if owned.version not in first:
            first[owned.version] = manager
            continue
        bucket = Manager(_ANCIENT, "Update", owned.version)
        if bucket not in owners:
            owners[bucket] = owners.pop(first[owned.version])
        if manager != bucket:
            fields = fieldset.union(owned.fields, owners[bucket].fields)
            owners[bucket] = _Owned(fields, owned.version, owned.time)
            del owners[manager]
        excess -= 1


# ---- apply ----


class Conflicts(Exception):
    """Fields that others manage: by manager, the set that clashes."""

    def __init__(self, by_manager: Mapping[Manager, tuple[Set, str | None]]) -> None:
        super().__init__("conflicts")
        self.by_manager = by_manager


def apply(live: Object | None, applied: Object, manager: str, force: bool, context: Context) -> Object:
    """The object after ``applied`` was applied to ``live`` (None: there is none yet), managed fields written.

    The same object as the live one when nothing changed. Neither argument is changed.

    Raises
    ------
    StatusError
        400: not a configuration of this kind; 409 names each field in conflict.
    """
    if applied.get("apiVersion") != context.version:
        text = f"Incorrect version specified in apply patch. Specified patch version: {applied.get('apiVersion', '')}"
        raise status.bad_request(f"{text}, expected: {context.version}")
    if (applied.get("metadata") or {}).get("managedFields") is not None:
        raise status.bad_request("metadata.managedFields must be nil")
    start = context.blank if live is None else live
    try:
        return _apply_as_kubectl(start, applied, manager, force, context)
    except Conflicts as conflicts:
        raise _conflict(conflicts) from None
    except FieldsError as error:
        raise status.bad_request(f"failed to create typed patch object: {error}") from None


def _apply_as_kubectl(live: Object, applied: Object, manager: str, force: bool, context: Context) -> Object:
    """Kubectl may take over what its own client-side apply has set, and keeps that one's annotation true."""
    try:
        out = _apply(live, applied, manager, force, context)
    except Conflicts as conflicts:
        if manager != _KUBECTL:
            raise
        allowed = _last_applied_fields(live, context)
        if allowed is None:
            raise
        left = {
            who: (rest, time)
            for who, (fields, time) in conflicts.by_manager.items()
            if (rest := fieldset.difference(fields, allowed))
        }
        if left:
            raise Conflicts(left) from None
        out = _apply(live, applied, manager, True, context)
    annotations = out["metadata"].get("annotations") or {}
    if manager == _KUBECTL and annotations.get(LAST_APPLIED):
        plain = shared.plain(applied)
        (plain["metadata"].get("annotations") or {}).pop(LAST_APPLIED, None)
        annotations[LAST_APPLIED] = orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    return out


def _apply(live: Object, applied: Object, name: str, force: bool, context: Context) -> Object:
    plain = _without_managed(live)
    owners = _read(live["metadata"].get("managedFields") or [])
    if not owners:
        before = Manager(_BEFORE_APPLY, "Update", context.version, context.subresource)
        _update(owners, context.blank, plain, before, context)
    manager = Manager(name or "unknown", "Apply", "", context.subresource)
    merged = fieldset.merge(plain, applied, context.type)
    fields = fieldset.of(applied, context.type)
    if context.ignored:
        fields = fieldset.recursive_difference(fields, context.ignored)
    last = owners.get(manager)
    owners[manager] = _Owned(fields, context.version, last.time if last else None)
    if last is not None and last.fields:
        merged = _prune(merged, owners, last.fields, context.type)
    difference = fieldset.compare(plain, merged, context.type).without(context.ignored)
    times = {who: owned.time for who, owned in owners.items()}
    lost = _take(owners, fieldset.union(difference.modified, difference.added), difference.removed, manager)
    if lost and not force:
        raise Conflicts({who: (clash, times[who]) for who, clash in lost.items()})
    own = fieldset.difference(fields, _STRIPPED)
    if not own:
        owners.pop(manager, None)
    else:
        unchanged = merged == plain
        time = (last.time if last else None) if unchanged else meta.timestamp(context.now)
        owners[manager] = _Owned(own, context.version, time)
    out: Object = shared.plain(merged)
    _write(out, owners)
    return out


def _without_managed(obj: Object) -> Object:
    metadata = {name: value for name, value in obj["metadata"].items() if name != "managedFields"}
    return {**obj, "metadata": metadata}


def _prune(merged: Object, owners: Mapping[Manager, _Owned], last: Set, kind: Type) -> Object:
    """Take out what the applier applied last time and does not any more, unless somebody else owns it."""
    named_last = fieldset.with_named_fields(last, kind)
    pruned = fieldset.remove(merged, named_last, kind)
    owned: Set = {}
    for entry in owners.values():
        owned = fieldset.union(owned, entry.fields)
    everything = fieldset.with_named_fields(fieldset.of(merged, kind), kind)
    left = fieldset.with_named_fields(fieldset.of(pruned, kind), kind)
    kept = fieldset.union(left, fieldset.with_named_fields(owned, kind))
    pruned = fieldset.remove(merged, fieldset.difference(everything, kept), kind)
    left = fieldset.with_named_fields(fieldset.of(pruned, kind), kind)
    gone = fieldset.intersection(fieldset.difference(everything, left), named_last)
    out: Object = fieldset.remove(merged, gone, kind)
    return out


def _last_applied_fields(live: Object, context: Context) -> Set | None:
    """The fields that client-side apply has set and that still are as it set them."""
    text = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if not text:
        return None
    try:
        last = orjson.loads(text)
        if not isinstance(last, dict) or last.get("apiVersion") != context.version:
            return None
        fields = fieldset.of(last, context.type)
        difference = fieldset.compare(last, _without_managed(live), context.type)
    except (orjson.JSONDecodeError, FieldsError):
        return None
    for changed in difference:
        fields = fieldset.difference(fields, changed)
    return fields


def _conflict(conflicts: Conflicts) -> status.StatusError:
    causes: list[dict[str, str]] = []
    lines: list[str] = []
    for manager in sorted(conflicts.by_manager, key=_identity):
        fields, time = conflicts.by_manager[manager]
        who = _show(manager, time)
        found = [fieldset.show(path) for path in fieldset.paths(fields)]
        causes += [{"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": f} for f in found]
        lines += [f"conflicts with {who}:", *(f"- {path}" for path in found)]
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(lines)
    return status.apply_conflict(message, causes)


def _show(manager: Manager, time: str | None) -> str:
    text = gotext.quote(manager.name)
    if manager.subresource:
        text += f" with subresource {gotext.quote(manager.subresource)}"
    if manager.operation == "Update":
        text += f" using {manager.version}"
    return text


# ---- the entries themselves ----


def _identity(manager: Manager) -> str:
    entry = {"manager": manager.name, "operation": manager.operation, "apiVersion": manager.version}
    if manager.subresource:
        entry["subresource"] = manager.subresource
    return orjson.dumps({name: value for name, value in entry.items() if value}).decode()


def _read(entries: list[Object]) -> dict[Manager, _Owned]:
    out: dict[Manager, _Owned] = {}
    for entry in entries:
        operation, version = entry.get("operation", ""), entry.get("apiVersion", "")
        if operation not in ("Apply", "Update") or not version or entry.get("fieldsType") != "FieldsV1":
            raise FieldsError("not an entry of managedFields")
        key_version = "" if operation == "Apply" else version
        manager = Manager(entry.get("manager", ""), operation, key_version, entry.get("subresource", ""))
        out[manager] = _Owned(entry.get("fieldsV1") or {}, version, entry.get("time"))
    return out


def _write(obj: Object, owners: Mapping[Manager, _Owned]) -> None:
    if not owners:
        obj["metadata"].pop("managedFields", None)
        return
    found = sorted(owners.items(), key=_entry_order)
    obj["metadata"]["managedFields"] = [_entry(manager, owned) for manager, owned in found]


def _entry_order(item: tuple[Manager, _Owned]) -> tuple[str, str, str, str, str]:
    manager, owned = item
    return manager.operation, owned.time or "", manager.name, owned.version, manager.subresource


_SETS = shared.Memo()


def _shared(fields: Set) -> Set:
    """A set, shared if it came before: objects of one template have the same ones."""
    if type(fields) is shared.Shared:
        return fields
    key = stored.dumps(fields)
    return _SETS.get(key) or _SETS.put(key, fields)


def _entry(manager: Manager, owned: _Owned) -> Object:
    out: Object = {"manager": manager.name, "operation": manager.operation, "apiVersion": owned.version}
    if owned.time:
        out["time"] = owned.time
    out["fieldsType"] = "FieldsV1"
    out["fieldsV1"] = _shared(owned.fields)
    if manager.subresource:
        out["subresource"] = manager.subresource
    return out


def without_times(obj: Object) -> Any:
    """Managed fields without their times: a write that changes nothing else is none."""
    entries = obj["metadata"].get("managedFields") or []
    return [{name: value for name, value in entry.items() if name != "time"} for entry in entries]

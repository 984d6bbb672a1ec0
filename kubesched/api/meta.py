# SPDX-License-Identifier: Apache-2.0
"""What all objects share: the fields of metadata, who may set them, and what is wrong with them.

Source: apimachinery/pkg/api/validation/objectmeta.go and apiserver/pkg/registry/rest, v1.36.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import random
import secrets
from collections.abc import Mapping
from typing import Any

from kubesched.api import checks, gotext, names, status
from kubesched.api.status import FieldError, invalid_value

Object = dict[str, Any]

MAX_ANNOTATIONS = 256 * 1024  # bytes of all keys and values of an object
MAX_MANAGER = 128
ORPHAN = "orphan"
FOREGROUND = "foregroundDeletion"
IMMUTABLE = "field is immutable"

_RANDOM = random.Random(os.urandom(64))
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX = 5
_MAX_GENERATED = 63 - _SUFFIX


def timestamp(now: datetime.datetime) -> str:
    """A time in the form of metadata: UTC, whole seconds."""
    return _written((now - _EPOCH) // _SECOND)


_EPOCH = datetime.datetime.fromtimestamp(0, datetime.UTC)
_SECOND = datetime.timedelta(seconds=1)


@functools.lru_cache(maxsize=256)
def _written(seconds: int) -> str:
    """A second since the epoch: in each, many objects are written."""
    return (_EPOCH + seconds * _SECOND).isoformat()[:-6] + "Z"


def parse_time(text: str) -> datetime.datetime:
    """A time of metadata, of whole seconds or finer."""
    return datetime.datetime.fromisoformat(text)


def has_condition(obj: Object, kind: str) -> bool:
    """Whether a condition of the status is true."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any(found.get("type") == kind and found.get("status") == "True" for found in conditions)


def set_condition(obj: Object, condition: Object) -> None:
    """Put a condition behind the others of the status, in the place of one of its type."""
    state = obj.setdefault("status", {})
    kept = [found for found in state.get("conditions") or () if found.get("type") != condition["type"]]
    state["conditions"] = [*kept, condition]


def generate_name(base: str) -> str:
    """A name that nobody has yet, probably: the base (cut) and five letters that spell no word."""
    return base[:_MAX_GENERATED] + "".join(secrets.choice(_SUFFIX_LETTERS) for _ in range(_SUFFIX))


def wipe_system_fields(metadata: Object) -> None:
    """Take out what only the server sets, before an object is created."""
    for name in (
        "creationTimestamp",
        "uid",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
        "resourceVersion",
    ):
        metadata.pop(name, None)


def fill_system_fields(metadata: Object, now: str) -> None:
    metadata["creationTimestamp"] = now
    metadata["uid"] = new_uid()


def new_uid() -> str:
    """A random UUID, version 4, unique and no secret; ``uuid.uuid4`` takes ten times as long."""
    digits = f"{_RANDOM.getrandbits(128):032x}"
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


def dedup_owners(metadata: Object) -> list[str]:
    """Drop owner references that stand there twice; the UIDs of those dropped."""
    owners = metadata.get("ownerReferences")
    if not owners or len(owners) == 1:
        return []
    kept: dict[str, Any] = {}
    dropped: list[str] = [
        owner.get("uid", "") for owner in owners if kept.setdefault(canonical(owner), owner) is not owner
    ]
    if dropped:
        metadata["ownerReferences"] = [*kept.values()]
    return dropped


# ---- validation ----


def validate(metadata: Object, *, namespaced: bool, name_rule: names.Rule, field: str = "metadata") -> list[FieldError]:
    """What is wrong with the metadata of an object of a kind whose names follow ``name_rule``."""
    out: list[FieldError] = []
    if generate := metadata.get("generateName"):
        checks.by(names.as_prefix(name_rule), generate, f"{field}.generateName", out)
    if name := metadata.get("name"):
        checks.by(name_rule, name, f"{field}.name", out)
    else:
        out.append(status.required(f"{field}.name", "name or generateName is required"))
    if namespaced:
        checks.named(names.label, metadata, "namespace", field, out)
    elif metadata.get("namespace"):
        out.append(status.forbidden_field(f"{field}.namespace", "not allowed on this type"))
    if (generation := metadata.get("generation", 0)) < 0:
        out.append(invalid_value(f"{field}.generation", generation, "must be greater than or equal to 0"))
    _validate_common(metadata, field, out)
    if finalizers := metadata.get("finalizers"):
        _validate_finalizers(finalizers, f"{field}.finalizers", out)
    return out


def _validate_common(metadata: Object, field: str, out: list[FieldError]) -> None:
    if labels := metadata.get("labels"):
        out += validate_labels(labels, f"{field}.labels")
    if annotations := metadata.get("annotations"):
        out += validate_annotations(annotations, f"{field}.annotations")
    if owners := metadata.get("ownerReferences"):
        out += _validate_owners(owners, f"{field}.ownerReferences")
    if managed := metadata.get("managedFields"):
        out += _validate_managed(managed, f"{field}.managedFields")


def validate_labels(labels: Mapping[str, str], field: str) -> list[FieldError]:
    """What is wrong with a set of labels."""
    out: list[FieldError] = []
    for key, value in labels.items():
        checks.by(names.qualified_name, key, field, out)
        checks.by(names.label_value, value, field, out)
    return out


def validate_annotations(annotations: Mapping[str, str], field: str) -> list[FieldError]:
    out: list[FieldError] = []
    size = 0
    for key, value in annotations.items():
        if wrong := names.qualified_name(key.lower()):
            out += [invalid_value(field, key, why) for why in wrong]
        size += names.size(key) + names.size(value)
    if size > MAX_ANNOTATIONS:
        out.append(status.too_long(field, MAX_ANNOTATIONS))
    return out


def validate_template(metadata: Object, field: str) -> list[FieldError]:
    """Metadata of what is made from a template: labels and annotations alone."""
    out = validate_annotations(metadata.get("annotations") or {}, f"{field}.annotations")
    out += validate_labels(metadata.get("labels") or {}, f"{field}.labels")
    shown = ((f"{field}.{told}", metadata.get(name)) for name, told in _NOT_OF_TEMPLATES.items())
    return out + [status.forbidden_field(where, "cannot be set") for where, value in shown if value]


_NOT_OF_TEMPLATES = {
    name: "uID" if name == "uid" else name
    for name in (
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
    )
}
"""Metadata that a claim made from a template cannot have, and as upstream's text names it."""


def _validate_owners(owners: list[Object], field: str) -> list[FieldError]:
    out: list[FieldError] = []
    first = ""
    for owner in owners:
        group_version, kind = owner.get("apiVersion", ""), owner.get("kind", "")
        if not group_version.rpartition("/")[2]:
            out.append(invalid_value(f"{field}.apiVersion", group_version, "version must not be empty"))
        for name, value in (("kind", kind), ("name", owner.get("name", "")), ("uid", owner.get("uid", ""))):
            if not value:
                out.append(invalid_value(f"{field}.{name}", value, "must not be empty"))
        if (group_version, kind) == ("v1", "Event"):
            out.append(invalid_value(field, owner, "/v1, Kind=Event is disallowed from being an owner"))
        if owner.get("controller"):
            this = f"{kind}/{owner.get('name', '')}"
            if first:
                why = (
                    'Only one reference can have Controller set to true. Found "true" in references for '
                    f"{first} and {this}"
                )
                out.append(invalid_value(field, owners, why))
            first = first or this
    return out


def _validate_finalizers(finalizers: list[str], field: str, out: list[FieldError]) -> None:
    for name in finalizers:
        checks.by(names.qualified_name, name, field, out)
    if ORPHAN in finalizers and FOREGROUND in finalizers:
        why = f"finalizer {ORPHAN} and {FOREGROUND} cannot be both set"
        out.append(invalid_value(field, finalizers, why))


_STANDARD_FINALIZERS = ("kubernetes", ORPHAN, FOREGROUND)


def standard_finalizers(metadata: Object) -> list[FieldError]:
    """What built-in kinds ask of finalizers beside that: those without a domain are known ones."""
    found = enumerate(metadata.get("finalizers") or ())
    return [error for i, name in found for error in _unknown_finalizer(name, f"metadata.finalizers[{i}]")]


def _unknown_finalizer(name: str, field: str) -> list[FieldError]:
    if "/" in name or name in _STANDARD_FINALIZERS:
        return []
    why = "name is neither a standard finalizer name nor is it fully qualified"
    return [invalid_value(field, name, why)]


def finalizer_errors(name: str, field: str) -> list[FieldError]:
    """What is wrong with a finalizer of a namespace's specification."""
    return [invalid_value(field, name, why) for why in names.qualified_name(name)] + _unknown_finalizer(name, field)


def _validate_managed(entries: list[Object], field: str) -> list[FieldError]:
    out: list[FieldError] = []
    for i, entry in enumerate(entries):
        at = f"{field}[{i}]"
        if entry.get("operation") not in ("Apply", "Update"):
            out.append(invalid_value(f"{at}.operation", entry.get("operation", ""), "must be `Apply` or `Update`"))
        if entry.get("fieldsType", "FieldsV1") != "FieldsV1":
            out.append(invalid_value(f"{at}.fieldsType", entry["fieldsType"], "must be `FieldsV1`"))
        out += validate_manager(entry.get("manager", ""), f"{at}.manager")
        if len(entry.get("subresource", "")) > 256:
            out.append(status.too_long(f"{at}.subresource", 256))
    return out


def validate_manager(manager: str, field: str) -> list[FieldError]:
    """What is wrong with the name of a field manager."""
    out: list[FieldError] = []
    if names.size(manager) > MAX_MANAGER:
        out.append(status.too_long(field, MAX_MANAGER))
    at = 0
    for char in "" if manager.isprintable() else manager:
        if not char.isprintable():
            out.append(invalid_value(field, manager, f"invalid character U+{ord(char):04X} (at position {at})"))
        at += len(char.encode())
    return out


_FIXED = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")
_EMPTY = {"name": "", "namespace": "", "uid": ""}
_WRITTEN = (*_FIXED, "generateName", "labels", "annotations", "ownerReferences", "finalizers")


def _stays(new: Object, old: Object) -> bool:
    """Whether only what the server counts and tracks is another."""
    if not new.get("resourceVersion") or new.get("generation", 0) < old.get("generation", 0):
        return False
    return [*map(new.get, _WRITTEN)] == [*map(old.get, _WRITTEN)]


def validate_update(
    new: Object, old: Object, *, namespaced: bool, name_rule: names.Rule, field: str = "metadata"
) -> list[FieldError]:
    """What is wrong with metadata after an update; what stays as it was, was judged when it was written."""
    if _stays(new, old):
        return 2 * _validate_managed(new.get("managedFields") or [], f"{field}.managedFields")  # upstream asks twice
    out = validate(new, namespaced=namespaced, name_rule=name_rule, field=field)
    if old.get("deletionTimestamp"):
        extra = sorted(set(new.get("finalizers") or ()) - set(old.get("finalizers") or ()))
        if extra:
            listed = "[]string{" + ", ".join(gotext.quote(name) for name in extra) + "}"
            why = f"no new finalizers can be added if the object is being deleted, found new finalizers {listed}"
            out.append(status.forbidden_field(f"{field}.finalizers", why))
    if not new.get("resourceVersion"):
        out.append(invalid_value(f"{field}.resourceVersion", "", "must be specified for an update"))
    if new.get("generation", 0) < old.get("generation", 0):
        out.append(invalid_value(f"{field}.generation", new.get("generation", 0), "must not be decremented"))
    changed = [name for name in _FIXED if new.get(name) != old.get(name)]
    out += [invalid_value(f"{field}.{name}", new.get(name, _EMPTY.get(name)), IMMUTABLE) for name in changed]
    _validate_common(new, field, out)
    return out


def owner_uids(metadata: Mapping[str, Any]) -> set[str]:
    return {owner.get("uid", "") for owner in metadata.get("ownerReferences") or ()}


def canonical(value: Any) -> str:
    """A text that is the same for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

# SPDX-License-Identifier: Apache-2.0
"""Namespaces. Source: pkg/registry/core/namespace, v1.36."""

from __future__ import annotations

import dataclasses

from kubesched.api import columns, meta, names, status
from kubesched.api.status import FieldError
from kubesched.api.strategy import STATUS, Object, Part, Strategy, carry

_FINALIZER = "kubernetes"
_ACTIVE = "may only be 'Active' if `deletionTimestamp` is empty"
_NAME_LABEL = "kubernetes.io/metadata.name"


def _default(obj: Object) -> None:
    """Every namespace carries its name as a label, so that selectors can name it."""
    name = obj["metadata"].get("name")
    if name:
        obj["metadata"].setdefault("labels", {})[_NAME_LABEL] = name


def _prepare_create(obj: Object) -> None:
    _default(obj)  # a generated name is known by now
    finalizers = obj.setdefault("spec", {}).setdefault("finalizers", [])
    if _FINALIZER not in finalizers:
        finalizers.append(_FINALIZER)
    obj["status"] = {"phase": "Active"}


def _prepare_update(new: Object, old: Object) -> None:
    """Finalizers of the specification go through their own subresource."""
    carry(new.setdefault("spec", {}), old.get("spec") or {}, "finalizers")


def _validate(obj: Object) -> list[FieldError]:
    found = (obj.get("spec") or {}).get("finalizers") or ()
    return [error for name in found for error in meta.finalizer_errors(name, "spec.finalizers")]


def _validate_finalize(new: Object, old: Object) -> list[FieldError]:
    found = (new.get("spec") or {}).get("finalizers") or ()
    return [error for i, name in enumerate(found) for error in meta.finalizer_errors(name, f"spec.finalizers[{i}]")]


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    ending = bool(new["metadata"].get("deletionTimestamp"))
    phase = (new.get("status") or {}).get("phase") or ""
    if phase == ("Terminating" if ending else "Active"):
        return []
    why = "may only be 'Terminating' if `deletionTimestamp` is not empty" if ending else _ACTIVE
    return [status.invalid_value("status.Phase", phase, why)]


def _prepare_finalize(new: Object, old: Object) -> None:
    carry(new, old, "status")


def _holds(obj: Object) -> bool:
    return bool((obj.get("spec") or {}).get("finalizers"))


def _end(obj: Object) -> None:
    obj.setdefault("status", {})["phase"] = "Terminating"


def _select(obj: Object) -> dict[str, str]:
    return {"status.phase": (obj.get("status") or {}).get("phase", "")}


NAMESPACES = Strategy(
    default=_default,
    prepare_create=_prepare_create,
    prepare_update=_prepare_update,
    validate=_validate,
    parts={
        "status": dataclasses.replace(STATUS, validate=_validate_status),
        "finalize": Part(_prepare_finalize, _validate_finalize),
    },
    name_rule=names.label,
    has_status=True,
    select=_select,
    selectable=("status.phase",),
    columns=(
        columns.name(),
        columns.text("Status", "status", "phase", description="The status of the namespace"),
        columns.age(),
    ),
    holds=_holds,
    ending=_end,
)

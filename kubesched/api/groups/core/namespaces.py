# SPDX-License-Identifier: Apache-2.0
"""Namespaces. Source: pkg/registry/core/namespace, v1.36."""

from __future__ import annotations

from kubesched.api import columns, names
from kubesched.api.strategy import STATUS, Object, Part, Strategy, carry

_FINALIZER = "kubernetes"
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
    parts={"status": STATUS, "finalize": Part(_prepare_finalize)},
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

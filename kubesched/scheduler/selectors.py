# SPDX-License-Identifier: Apache-2.0
"""Node selector terms of pods and volumes to rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.state import rows


def terms(views: Iterable[View]) -> tuple[rows.Term, ...]:
    """Terms of a NodeSelector."""
    return tuple(rows.Term(requirements(view)) for view in views)


def requirements(term: View) -> tuple[rows.Requirement, ...]:
    """Requirements of a term: on labels, then on fields."""
    out = [_requirement(view, False) for view in term.views("matchExpressions")]
    return tuple(out + [_requirement(view, True) for view in term.views("matchFields")])


def _requirement(view: View, is_field: bool) -> rows.Requirement:
    key, operator = view.text("key"), view.text("operator")
    if operator not in rows.OPERATORS:
        raise errors.InputError(view.where("operator"), "is not an operator", operator, ", ".join(rows.OPERATORS))
    if is_field and (key != "metadata.name" or operator not in ("In", "NotIn")):
        raise errors.InputError(
            view.where("key"),
            "is not a field selector",
            f"{key} {operator}",
            "metadata.name In or NotIn",
        )
    return rows.Requirement(key, operator, view.texts("values"), is_field)


def term_object(term: rows.Term) -> dict[str, Any]:
    """A term as a NodeSelectorTerm; the opposite of `requirements`."""
    out: dict[str, Any] = {}
    for one in term.requirements:
        kind = "matchFields" if one.is_field else "matchExpressions"
        values = {"values": list(one.values)} if one.values else {}
        out.setdefault(kind, []).append({"key": one.key, "operator": one.operator, **values})
    return out

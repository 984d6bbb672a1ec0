# SPDX-License-Identifier: Apache-2.0
"""Runtime classes. Source: pkg/apis/node/validation, pkg/registry/node, v1.36."""

from __future__ import annotations

from kubesched.api import checks, columns, meta, names, status
from kubesched.api.groups.core import containers, placing
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy

_KEYS = ("key", "operator", "value", "effect")


def _validate(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    handler = obj.get("handler")
    if not handler:
        out.append(status.required("handler"))
    else:
        checks.by(names.label, handler, "handler", out)
    overhead = (obj.get("overhead") or {}).get("podFixed")
    if overhead:
        containers.check_resources({"limits": overhead}, "overhead", set(), out)
    scheduling = obj.get("scheduling") or {}
    if scheduling.get("nodeSelector"):
        out += meta.validate_labels(scheduling["nodeSelector"], "scheduling.nodeSelector")
    _tolerations(scheduling.get("tolerations") or [], "scheduling.tolerations", out)
    return out


def _tolerations(tolerations: list[Object], at: str, out: list[FieldError]) -> None:
    placing.check_tolerations(tolerations, at, out)
    seen: set[tuple[str, ...]] = set()
    for i, toleration in enumerate(tolerations):
        key = tuple(toleration.get(name) or "" for name in _KEYS)
        if key in seen:
            out.append(status.duplicate(f"{at}[{i}]", placing.TOLERATION.show(toleration)))
        seen.add(key)


def _validate_update(new: Object, old: Object) -> list[FieldError]:
    out = _validate(new)
    checks.unlike(new.get("handler"), old.get("handler"), "handler", out)
    return out


STRATEGIES: dict[str, Strategy] = {
    "runtimeclasses": Strategy(
        validate=_validate,
        validate_update=_validate_update,
        create_on_update=True,
        unconditional_update=False,
        columns=(columns.name(), columns.text("Handler", "handler"), columns.age()),
    ),
}
"""By plural."""

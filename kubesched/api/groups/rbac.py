# SPDX-License-Identifier: Apache-2.0
"""Roles and who has them.

Source: pkg/apis/rbac, pkg/registry/rbac, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable

from kubesched.api import columns, names, status
from kubesched.api.columns import at
from kubesched.api.status import FieldError
from kubesched.api.strategy import Object, Strategy, fill_empty

_GROUP = "rbac.authorization.k8s.io"


def _default_binding(obj: Object) -> None:
    reference = obj.setdefault("roleRef", {})
    fill_empty(reference, "apiGroup", _GROUP)
    for subject in obj.get("subjects") or ():
        if subject.get("kind") in ("User", "Group"):
            fill_empty(subject, "apiGroup", _GROUP)


def _validate_role(obj: Object) -> list[FieldError]:
    found: list[FieldError] = []
    for i, rule in enumerate(obj.get("rules") or ()):
        at_rule = f"rules[{i}]"
        if not rule.get("verbs"):
            found.append(status.required(f"{at_rule}.verbs", "verbs must contain at least one value"))
        if rule.get("nonResourceURLs"):
            continue
        if not rule.get("apiGroups"):
            found.append(status.required(f"{at_rule}.apiGroups", "resource rules must supply at least one api group"))
        if not rule.get("resources"):
            found.append(status.required(f"{at_rule}.resources", "resource rules must supply at least one resource"))
    return found


def _validate_binding(obj: Object) -> list[FieldError]:
    found: list[FieldError] = []
    reference = obj.get("roleRef") or {}
    if reference.get("apiGroup") != _GROUP:
        found.append(status.not_supported("roleRef.apiGroup", reference.get("apiGroup", ""), [_GROUP]))
    kinds = ["ClusterRole"] if obj.get("kind") == "ClusterRoleBinding" else ["Role", "ClusterRole"]
    if reference.get("kind") not in kinds:
        found.append(status.not_supported("roleRef.kind", reference.get("kind", ""), kinds))
    if not reference.get("name"):
        found.append(status.required("roleRef.name"))
    for i, subject in enumerate(obj.get("subjects") or ()):
        if not subject.get("name"):
            found.append(status.required(f"subjects[{i}].name"))
        if subject.get("kind") not in ("ServiceAccount", "User", "Group"):
            kinds = ["ServiceAccount", "User", "Group"]
            found.append(status.not_supported(f"subjects[{i}].kind", subject.get("kind", ""), kinds))
        elif subject["kind"] == "ServiceAccount" and not subject.get("namespace"):
            found.append(status.required(f"subjects[{i}].namespace"))
    return found


def _validate_binding_update(new: Object, old: Object) -> list[FieldError]:
    found = _validate_binding(new)
    if new.get("roleRef") != old.get("roleRef"):
        found.append(status.invalid_value("roleRef", new.get("roleRef"), "cannot change roleRef"))
    return found


def _role(obj: Object) -> str:
    return f"{at(obj, 'roleRef', 'kind') or ''}/{at(obj, 'roleRef', 'name') or ''}"


def _subjects(kind: str) -> Callable[[Object], str]:
    def value(obj: Object) -> str:
        chosen = [item for item in obj.get("subjects") or () if item.get("kind") == kind]
        if kind == "ServiceAccount":
            return ", ".join(f"{item.get('namespace', '')}/{item.get('name', '')}" for item in chosen)
        return ", ".join(item.get("name", "") for item in chosen)

    return value


_ROLE = Strategy(
    validate=_validate_role,
    validate_update=lambda new, old: _validate_role(new),
    name_rule=names.path_segment,
    create_on_update=True,
)
_BINDING = Strategy(
    default=_default_binding,
    validate=_validate_binding,
    validate_update=_validate_binding_update,
    name_rule=names.path_segment,
    create_on_update=True,
    columns=(
        columns.name(),
        columns.made("Role", _role),
        columns.age(),
        columns.made("Users", _subjects("User"), wide=True),
        columns.made("Groups", _subjects("Group"), wide=True),
        columns.made("ServiceAccounts", _subjects("ServiceAccount"), wide=True),
    ),
)
STRATEGIES: dict[str, Strategy] = {
    "roles": _ROLE,
    "clusterroles": _ROLE,
    "rolebindings": _BINDING,
    "clusterrolebindings": _BINDING,
}
"""By plural."""

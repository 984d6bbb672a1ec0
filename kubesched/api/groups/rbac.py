# SPDX-License-Identifier: Apache-2.0
"""Roles and who has them.

Source: pkg/apis/rbac, pkg/registry/rbac, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable

from kubesched.api import checks, columns, gotext, names, status
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
    out: list[FieldError] = []
    spaced = obj.get("kind") == "Role"
    for i, rule in enumerate(obj.get("rules") or ()):
        _validate_rule(rule, f"rules[{i}]", out, spaced=spaced)
    aggregation = obj.get("aggregationRule")
    if aggregation is not None:
        field, found = "aggregationRule.clusterRoleSelectors", aggregation.get("clusterRoleSelectors") or ()
        if not found:
            why = "at least one clusterRoleSelector required if aggregationRule is non-nil"
            out.append(status.required(field, why))
        for i, selector in enumerate(found):
            checks.selector(selector, f"{field}[{i}]", out)
    return out


def _validate_rule(rule: Object, field: str, out: list[FieldError], *, spaced: bool) -> None:
    if not rule.get("verbs"):
        out.append(status.required(f"{field}.verbs", "verbs must contain at least one value"))
    if paths := rule.get("nonResourceURLs"):
        if spaced:
            why = "namespaced rules cannot apply to non-resource URLs"
            out.append(status.invalid_value(f"{field}.nonResourceURLs", paths, why))
        if any(rule.get(name) for name in ("apiGroups", "resources", "resourceNames")):
            why = "rules cannot apply to both regular resources and non-resource URLs"
            out.append(status.invalid_value(f"{field}.nonResourceURLs", paths, why))
        return
    for name, what in (("apiGroups", "api group"), ("resources", "resource")):
        if not rule.get(name):
            out.append(status.required(f"{field}.{name}", f"resource rules must supply at least one {what}"))


def _validate_binding(obj: Object) -> list[FieldError]:
    out: list[FieldError] = []
    reference, cluster = obj.get("roleRef") or {}, obj.get("kind") == "ClusterRoleBinding"
    checks.option(reference.get("apiGroup") or "", "roleRef.apiGroup", [_GROUP], out)
    kinds = ["ClusterRole"] if cluster else ["Role", "ClusterRole"]
    checks.option(reference.get("kind") or "", "roleRef.kind", kinds, out)
    checks.named(names.path_segment, reference, "name", "roleRef", out)
    for i, subject in enumerate(obj.get("subjects") or ()):
        _validate_subject(subject, f"subjects[{i}]", out, cluster=cluster)
    return out


def _validate_subject(subject: Object, field: str, out: list[FieldError], *, cluster: bool) -> None:
    kind, name, group = (subject.get(part) or "" for part in ("kind", "name", "apiGroup"))
    if not name:
        out.append(status.required(f"{field}.name"))
    if kind == "ServiceAccount":
        if name:
            checks.by(names.subdomain, name, f"{field}.name", out)
        checks.option(group, f"{field}.apiGroup", [""], out)
        if cluster and not subject.get("namespace"):
            out.append(status.required(f"{field}.namespace"))
    elif kind in ("User", "Group"):
        checks.option(group, f"{field}.apiGroup", [_GROUP], out)
    else:
        out.append(status.not_supported(f"{field}.kind", kind, ["ServiceAccount", "User", "Group"]))


_REFERENCE = gotext.Struct({"APIGroup": "", "Kind": "", "Name": ""})


def _validate_binding_update(new: Object, old: Object) -> list[FieldError]:
    out = _validate_binding(new)
    if new.get("roleRef") != old.get("roleRef"):
        shown = _REFERENCE.show(new.get("roleRef") or {})
        out.append(status.invalid_value("roleRef", shown, "cannot change roleRef"))
    return out


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

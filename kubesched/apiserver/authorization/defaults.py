# SPDX-License-Identifier: Apache-2.0
"""The roles and bindings that every cluster has, from two tables.

``default_roles.tsv`` has a line a rule: role (with its namespace, if it has one), verbs, groups (``core`` is the one
without a name), resources, names; a rule about paths leaves the groups empty. Two other lines say that a role is the
union of those that are part of it, and that it is part of another. ``default_bindings.tsv`` has a line a binding: its
name, its role, its subjects; accounts are those of kube-system.

Source: plugin/pkg/auth/authorizer/rbac/bootstrappolicy, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

from kubesched.api.strategy import Object
from kubesched.apiserver.authorization.policy import GROUP

AUTO_UPDATE = "rbac.authorization.kubernetes.io/autoupdate"
_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
_AGGREGATE = "rbac.authorization.k8s.io/aggregate-to-"
_PART_OF = "is part of "
_UNION = "is the union of its parts"


def roles() -> list[Object]:
    """ClusterRoles and Roles; those with rules of other roles have none of their own."""
    found: dict[str, Object] = {}
    for where, *columns in _lines("default_roles.tsv"):
        role = found.get(where)
        if role is None:
            role = found[where] = {**_named("Role", where), "rules": []}
        if columns[0] == _UNION:
            label = {f"{_AGGREGATE}{where}": "true"}
            role["aggregationRule"] = {"clusterRoleSelectors": [{"matchLabels": label}]}
        elif columns[0].startswith(_PART_OF):
            role["metadata"]["labels"][_AGGREGATE + columns[0].removeprefix(_PART_OF)] = "true"
        else:
            role["rules"].append(_rule(*columns))
    return list(found.values())


def bindings() -> list[Object]:
    """ClusterRoleBindings and RoleBindings."""
    found = []
    for where, role, subjects in _lines("default_bindings.tsv"):
        binding = _named("RoleBinding", where)
        kind = "Role" if "namespace" in binding["metadata"] else "ClusterRole"
        binding["roleRef"] = {"apiGroup": GROUP, "kind": kind, "name": role}
        binding["subjects"] = [_subject(*subject.split(" ")) for subject in subjects.split(", ") if subject]
        found.append(binding)
    return found


def _lines(table: str) -> Iterator[list[str]]:
    text = resources.files(__package__).joinpath(table).read_text(encoding="utf-8")
    return (line.split("\t") for line in text.splitlines() if not line.startswith("#"))


def _named(kind: str, where: str) -> Object:
    namespace, _, name = where.rpartition("/")
    metadata: Object = {"name": name, "labels": dict(_LABELS), "annotations": {AUTO_UPDATE: "true"}}
    if namespace:
        metadata["namespace"] = namespace
    return {
        "kind": kind if namespace else f"Cluster{kind}",
        "apiVersion": f"{GROUP}/v1",
        "metadata": metadata,
    }


def _rule(verbs: str, groups: str, what: str, names: str = "") -> Object:
    if not groups:
        return {"verbs": verbs.split(","), "nonResourceURLs": what.split(",")}
    rule: Object = {
        "verbs": verbs.split(","),
        "apiGroups": ["" if group == "core" else group for group in groups.split(",")],
        "resources": what.split(","),
    }
    if names:
        rule["resourceNames"] = names.split(",")
    return rule


def _subject(kind: str, name: str) -> Object:
    if kind == "account":
        return {"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}
    return {"apiGroup": GROUP, "kind": kind.capitalize(), "name": name}

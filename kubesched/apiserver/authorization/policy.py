# SPDX-License-Identifier: Apache-2.0
"""The roles and bindings of a cluster, as an index that answers at once: who may do what, and why.

::

    bindings by subject   (namespace, "user x" | "group y") -> bindings of that namespace ("" for the whole cluster)
    grants by user        (name, groups, namespace)         -> rules of all bindings that name the user or a group

An index of grants is made when a user first asks and forgotten with the next change of any role or binding.
Source: pkg/registry/rbac/validation/rule.go and plugin/pkg/auth/authorizer/rbac, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from kubesched.api import gotext, status
from kubesched.api.strategy import Object
from kubesched.apiserver.authorization import rules
from kubesched.apiserver.authorization.attributes import Attributes
from kubesched.apiserver.authorization.rules import Permission, Rule
from kubesched.apiserver.message import ACCOUNT, User

GROUP = "rbac.authorization.k8s.io"
RESOURCES = {
    "ClusterRole": "clusterroles",
    "Role": "roles",
    "ClusterRoleBinding": "clusterrolebindings",
    "RoleBinding": "rolebindings",
}
MASTERS = "system:masters"

_REMEMBERED = 4_096  # users and namespaces


class Verdict(NamedTuple):
    """An answer, and the reason: who allowed it, or what could not be looked up."""

    allowed: bool
    reason: str = ""


class _Binding(NamedTuple):
    kind: str
    namespace: str
    name: str
    role: tuple[str, str]  # kind and name
    subjects: tuple[tuple[str, str], ...]  # what is looked for, and how it is described

    def described(self, subject: str) -> str:
        shown = gotext.quote(f"{self.name}/{self.namespace}" if self.namespace else self.name)
        kind, role = self.role
        return f"{self.kind} {shown} of {kind} {gotext.quote(role)} to {subject}"


class _Grants(NamedTuple):
    """All that a user is given in a namespace: rules in the order of upstream's look-up, each with where it is from."""

    rules: list[tuple[Rule, str]]
    plain: list[Object]
    errors: list[str]


class Policy:
    """What all roles and bindings together say."""

    def __init__(self) -> None:
        self._roles: dict[tuple[str, str], list[Object]] = {}  # (namespace, name); "" for cluster roles
        self._bindings: dict[tuple[str, str], _Binding] = {}
        self._by_subject: dict[tuple[str, str], dict[str, _Binding]] = {}
        self._grants: dict[tuple[str, tuple[str, ...], str], _Grants] = {}

    # ---- what is there ----

    def put(self, obj: Object) -> None:
        """Take a new or changed role or binding."""
        metadata = obj["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        if obj["kind"] in ("ClusterRole", "Role"):
            self._roles[key] = obj.get("rules") or []
        else:
            self._unbind(key)
            binding = self._bindings[key] = _binding(obj, *key)
            for subject, _ in binding.subjects:
                self._by_subject.setdefault((key[0], subject), {})[key[1]] = binding
        self._grants.clear()

    def remove(self, obj: Object) -> None:
        """Forget one that is gone."""
        metadata = obj["metadata"]
        key = metadata.get("namespace", ""), metadata["name"]
        if obj["kind"] in ("ClusterRole", "Role"):
            self._roles.pop(key, None)
        else:
            self._unbind(key)
        self._grants.clear()

    def _unbind(self, key: tuple[str, str]) -> None:
        binding = self._bindings.pop(key, None)
        for subject, _ in binding.subjects if binding else ():
            found = self._by_subject.get((key[0], subject))
            if found is not None:
                found.pop(key[1], None)
                if not found:
                    del self._by_subject[key[0], subject]

    # ---- what it says ----

    def decide(self, asked: Attributes) -> Verdict:
        """Whether the user may do what is asked."""
        if MASTERS in asked.user.groups:
            return Verdict(True)
        grants = self._granted(asked.user, asked.namespace)
        needed = Permission.of(asked)
        for rule, source in grants.rules:
            if rule.covers(needed):
                return Verdict(True, f"RBAC: allowed by {source}")
        return Verdict(False, f"RBAC: {_joined(grants.errors)}" if grants.errors else "")

    def rules_of(self, user: User, namespace: str) -> tuple[list[Object], str]:
        """Every rule that is the user's in a namespace, and what could not be looked up."""
        grants = self._granted(user, namespace)
        return grants.plain, _joined(grants.errors)

    def rules_of_role(self, kind: str, name: str, namespace: str) -> list[Object]:
        """The rules of a role that a binding in the namespace names.

        Raises
        ------
        StatusError
            404.
        """
        found = self._roles.get((namespace if kind == "Role" else "", name))
        if found is None:
            raise status.not_found(GROUP, kind.lower(), name)  # upstream's caches say it in the singular
        return found

    def missing(self, user: User, namespace: str, wanted: Sequence[Object]) -> str:
        """What the user lacks to give somebody these rules, as upstream says it; "" if nothing."""
        grants = self._granted(user, namespace)
        lacking = rules.missing([rule for rule, _ in grants.rules], wanted)
        if not lacking:
            return ""
        text = (
            f"user {gotext.quote(user.name)} (groups=[{rules.quoted(user.groups)}]) is attempting to grant RBAC "
            "permissions not currently held:\n" + "\n".join(lacking)
        )
        return f"{text}; resolution errors: [{_joined(grants.errors)}]" if grants.errors else text

    def _granted(self, user: User, namespace: str) -> _Grants:
        key = user.name, tuple(user.groups), namespace
        found = self._grants.get(key)
        if found is None:
            if len(self._grants) >= _REMEMBERED:
                self._grants.clear()
            found = self._grants[key] = self._look_up(user, namespace)
        return found

    def _look_up(self, user: User, namespace: str) -> _Grants:
        out = _Grants([], [], [])
        for binding, subject in self._bindings_of(user, namespace):
            try:
                granted = self.rules_of_role(*binding.role, binding.namespace)
            except status.StatusError as error:
                out.errors.append(error.message)
                continue
            source = binding.described(subject)
            out.plain.extend(granted)
            out.rules.extend((rules.ready(rule), source) for rule in granted)
        return out

    def _bindings_of(self, user: User, namespace: str) -> Iterator[tuple[_Binding, str]]:
        """The bindings that name the user or a group, by name, those of the cluster first; with the subject meant."""
        wanted = {f"user {user.name}", *(f"group {group}" for group in user.groups)}
        for scope in ("", namespace) if namespace else ("",):
            found: dict[str, _Binding] = {}
            for subject in wanted:
                found.update(self._by_subject.get((scope, subject), {}))
            for name in sorted(found):
                shown = next(shown for subject, shown in found[name].subjects if subject in wanted)
                yield found[name], shown


def _joined(errors: Sequence[str]) -> str:
    """Several errors as one, each once."""
    each = list(dict.fromkeys(errors))
    return each[0] if len(each) == 1 else f"[{', '.join(each)}]" if each else ""


def _binding(obj: Object, namespace: str, name: str) -> _Binding:
    ref = obj["roleRef"]
    subjects = tuple(_subjects(obj, namespace))
    return _Binding(obj["kind"], namespace, name, (ref["kind"], ref["name"]), subjects)


def _subjects(obj: Object, namespace: str) -> Iterator[tuple[str, str]]:
    for subject in obj.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount":
            where = subject.get("namespace") or namespace
            if where:
                yield f"user {ACCOUNT}{where}:{name}", f"{kind} {gotext.quote(f'{name}/{where}')}"
        elif kind in ("User", "Group"):
            yield f"{kind.lower()} {name}", f"{kind} {gotext.quote(name)}"

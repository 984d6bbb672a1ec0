# SPDX-License-Identifier: Apache-2.0
"""What one rule of a role allows, and whether rules allow all that others do.

Rules are plain dicts, as roles hold them. Source: pkg/apis/rbac/v1/evaluation_helpers.go,
component-helpers/auth/rbac/validation and pkg/registry/rbac/validation/policy_compact.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

from kubesched.api import gotext
from kubesched.api.strategy import Object
from kubesched.apiserver.authorization.attributes import Attributes

EVERYTHING: tuple[Object, ...] = (
    {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]},
    {"verbs": ["*"], "nonResourceURLs": ["*"]},
)


OF_RESOURCES = ("verbs", "apiGroups", "resources", "resourceNames")
OF_PATHS = ("verbs", "nonResourceURLs")
FIELDS = tuple(dict.fromkeys(OF_RESOURCES + OF_PATHS))


def part(rule: Object, fields: Sequence[str]) -> Object:
    """These fields of a rule, those that say something."""
    return {field: rule[field] for field in fields if rule.get(field)}


class Permission(NamedTuple):
    """The smallest there is: one verb on one resource (of one name; None: of every name) or on one path."""

    verb: str
    group: str = ""
    resource: str = ""
    name: str | None = None
    path: str = ""

    @classmethod
    def of(cls, asked: Attributes) -> Permission:
        """What a question needs."""
        return cls(asked.verb, asked.group, asked.whole_resource, asked.name, asked.path)


class Rule(NamedTuple):
    """A rule, ready to be asked often."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    names: frozenset[str | None]
    paths: tuple[str, ...]

    def covers(self, wanted: Permission) -> bool:
        """Whether it gives a permission."""
        if wanted.verb not in self.verbs and "*" not in self.verbs:
            return False
        if wanted.path:
            return any(_covers_path(path, wanted.path) for path in self.paths)
        if wanted.group not in self.groups and "*" not in self.groups:
            return False
        return self._names_resource(wanted.resource) and (not self.names or wanted.name in self.names)

    def _names_resource(self, resource: str) -> bool:
        """Whether it is about a resource, or a subresource: by its name, any, or that subresource of any."""
        mine = self.resources
        if resource in mine or "*" in mine:
            return True
        _, slash, subresource = resource.partition("/")
        return bool(slash) and f"*/{subresource}" in mine


def ready(rule: Object) -> Rule:
    """From a role's rule."""
    return Rule(
        frozenset(rule.get("verbs") or ()),
        frozenset(rule.get("apiGroups") or ()),
        frozenset(rule.get("resources") or ()),
        frozenset(rule.get("resourceNames") or ()),
        tuple(rule.get("nonResourceURLs") or ()),
    )


def _covers_path(owner: str, path: str) -> bool:
    """Whether a path of a rule, which may end in ``*``, takes another in."""
    return owner == path or (owner.endswith("*") and path.startswith(owner.rstrip("*")))


# ---- escalation ------------------------------------------------------------------------------------------------------


def _permissions(rule: Object) -> Iterator[Permission]:
    verbs = rule.get("verbs") or ()
    named: Sequence[str | None] = rule.get("resourceNames") or [None]
    for group, resource, verb in product(rule.get("apiGroups") or (), rule.get("resources") or (), verbs):
        for name in named:
            yield Permission(verb, group, resource, name)
    for path, verb in product(rule.get("nonResourceURLs") or (), verbs):
        yield Permission(verb, path=path)


def missing(owned: Sequence[Rule], wanted: Sequence[Object]) -> list[str]:
    """What of the wanted rules the owned ones do not allow, in upstream's words, sorted; O(owned x permissions)."""
    asked = [one for rule in wanted for one in _permissions(rule)]
    together: dict[tuple[str, str, str | None], list[str]] = {}
    texts = set()
    for one in asked:
        if any(mine.covers(one) for mine in owned):
            continue
        if one.path:
            texts.add(f"{{NonResourceURLs:{_list([one.path])}, Verbs:{_list([one.verb])}}}")
        else:
            together.setdefault((one.group, one.resource, one.name), []).append(one.verb)
    for (group, resource, name), verbs in together.items():
        named = "" if name is None else f", ResourceNames:{_list([name])}"
        texts.add(f"{{APIGroups:{_list([group])}, Resources:{_list([resource])}{named}, Verbs:{_list(verbs)}}}")
    return sorted(texts)


def _list(texts: Sequence[str]) -> str:
    return f"[{quoted(texts)}]"


def quoted(texts: Sequence[str]) -> str:
    """Texts as Go prints them with ``%q``, without the brackets."""
    return " ".join(map(gotext.quote, texts))

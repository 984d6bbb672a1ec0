# SPDX-License-Identifier: Apache-2.0
"""Random policies, requests and grants against a model that walks everything each time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

from kubesched.apiserver.authorization import rules
from kubesched.apiserver.authorization.attributes import Attributes
from kubesched.apiserver.authorization.policy import Policy
from kubesched.apiserver.message import User
from tests.conftest import Tally

USERS = ("ann", "bob", "system:serviceaccount:a:robot", "system:serviceaccount:b:robot")
GROUPS = ("g", "h", "system:serviceaccounts:a")
NAMESPACES = ("a", "b")
VERBS = ("get", "list", "create")
API_GROUPS = ("", "apps")
RESOURCES = ("pods", "pods/log", "deployments", "deployments/scale")
NAMES = ("x", "y")
PATHS = ("/healthz", "/apis", "/apis/apps", "/a")


def some(draw: random.Random, words: tuple[str, ...], *more: str) -> list[str]:
    return draw.sample((*words, *more), draw.choice((1, 1, 1, 2)))


def random_rule(draw: random.Random) -> dict[str, Any]:
    if draw.random() < 0.2:
        return {"verbs": some(draw, VERBS, "*"), "nonResourceURLs": some(draw, PATHS, "*", "/ap*", "/apis/*")}
    rule: dict[str, Any] = {
        "verbs": some(draw, VERBS, "*"),
        "apiGroups": some(draw, API_GROUPS, "*"),
        "resources": some(draw, RESOURCES, "*", "*/log", "*/scale"),
    }
    if draw.random() < 0.3:
        rule["resourceNames"] = some(draw, NAMES)
    return rule


def random_subject(draw: random.Random) -> dict[str, str]:
    kind = draw.choice(("User", "Group", "ServiceAccount"))
    if kind == "User":
        return {"kind": kind, "name": draw.choice(USERS)}
    if kind == "Group":
        return {"kind": kind, "name": draw.choice(GROUPS)}
    where = {"namespace": draw.choice(NAMESPACES)} if draw.random() < 0.8 else {}
    return {"kind": kind, "name": "robot", **where}


class World:
    """Roles and bindings that come, change and go; the policy is told of each change."""

    def __init__(self, draw: random.Random) -> None:
        self.draw = draw
        self.policy = Policy()
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}

    def change(self) -> None:
        draw = self.draw
        kind = draw.choice(("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"))
        namespace = "" if kind.startswith("Cluster") else draw.choice(NAMESPACES)
        name = draw.choice("pqr")
        known = self.objects.pop((kind, namespace, name), None)
        if known is not None and draw.random() < 0.3:
            self.policy.remove(known)
            return
        obj: dict[str, Any] = {"kind": kind, "metadata": {"name": name, "namespace": namespace}}
        if kind.endswith("Role"):
            obj["rules"] = [random_rule(draw) for _ in range(draw.randint(0, 3))]
        else:
            ref = draw.choice(("Role", "ClusterRole")) if namespace else "ClusterRole"
            obj["roleRef"] = {"kind": ref, "name": draw.choice("pqr")}
            obj["subjects"] = [random_subject(draw) for _ in range(draw.randint(0, 3))]
        self.objects[kind, namespace, name] = obj
        self.policy.put(obj)

    def user(self) -> User:
        return User(self.draw.choice(USERS), tuple(some(self.draw, GROUPS)))

    def request(self) -> Attributes:
        draw = self.draw
        if draw.random() < 0.2:
            return Attributes(self.user(), draw.choice(VERBS), path=draw.choice(PATHS))
        resource, _, subresource = draw.choice(RESOURCES).partition("/")
        name = draw.choice(("", *NAMES))
        where = draw.choice(("", *NAMESPACES))
        return Attributes(
            self.user(), draw.choice(VERBS), draw.choice(API_GROUPS), "v1", resource, subresource, where, name
        )

    # ---- the model ----

    def granted(self, user: User, namespace: str) -> Iterator[dict[str, Any]]:
        """Every rule of every binding that is the user's."""
        for (kind, where, _), obj in self.objects.items():
            if not kind.endswith("Binding") or where not in ("", namespace):
                continue
            if any(_is(user, subject, where) for subject in obj["subjects"]):
                ref = obj["roleRef"]
                role = self.objects.get((ref["kind"], where if ref["kind"] == "Role" else "", ref["name"]))
                yield from role["rules"] if role else ()


def _is(user: User, subject: dict[str, str], namespace: str) -> bool:
    match subject["kind"]:
        case "User":
            return subject["name"] == user.name
        case "Group":
            return subject["name"] in user.groups
    where = subject.get("namespace", namespace)
    return bool(where) and user.name == f"system:serviceaccount:{where}:{subject['name']}"


def _word(words: list[str], asked: str) -> bool:
    return any(word in ("*", asked) for word in words)


def model_allows(rule: dict[str, Any], asked: Attributes) -> bool:
    """The rule read aloud."""
    if not _word(rule["verbs"], asked.verb):
        return False
    if asked.path:
        paths = rule.get("nonResourceURLs", [])
        return any(p == asked.path or (p[-1] == "*" and asked.path[: len(p) - 1] == p[:-1]) for p in paths)
    if "resources" not in rule or not _word(rule["apiGroups"], asked.group):
        return False
    whole = asked.resource + (f"/{asked.subresource}" if asked.subresource else "")
    if not _word(rule["resources"], whole) and not (
        asked.subresource and f"*/{asked.subresource}" in rule["resources"]
    ):
        return False
    return "resourceNames" not in rule or asked.name in rule["resourceNames"]


def every_request(user: User, namespace: str) -> Iterator[Attributes]:
    """Everything there is to ask in the small world, names that no rule has included."""
    for verb in (*VERBS, "other"):
        for group, resource, name in product(
            (*API_GROUPS, "other"), (*RESOURCES, "other", "other/log", "other/scale"), (*NAMES, "z")
        ):
            plain, _, subresource = resource.partition("/")
            yield Attributes(user, verb, group, "v1", plain, subresource, namespace, name)
        for path in (*PATHS, "/other", "/apis/other"):
            yield Attributes(user, verb, path=path)


def decisions(seed: int) -> Counter[str]:
    """One cluster whose policy changes while it is asked."""
    draw = random.Random(seed)
    seen = Counter[str]()
    world = World(draw)
    for _ in range(40):
        world.change()
    for _ in range(100):
        if draw.random() < 0.1:
            world.change()
        asked = world.request()
        wanted = any(model_allows(rule, asked) for rule in world.granted(asked.user, asked.namespace))
        assert world.policy.decide(asked).allowed == wanted, asked
        seen.update(decisions=1, allowed=wanted)
    return seen


def test_decisions_are_those_of_the_model() -> None:
    seen = sum(map(decisions, range(50)), Counter[str]())
    assert 0.1 < seen["allowed"] / seen["decisions"] < 0.9


@pytest.mark.nightly
def test_a_hundred_thousand_decisions(tally: Tally) -> None:
    tally("authorization", sum(map(decisions, range(1_000, 2_000)), Counter[str]()))


def test_rules_that_are_told_are_those_that_decide() -> None:
    """What SelfSubjectRulesReview lists allows exactly what trials do."""
    for seed in range(20):
        draw = random.Random(seed)
        world = World(draw)
        for _ in range(40):
            world.change()
        user, namespace = world.user(), draw.choice(NAMESPACES)
        told, _ = world.policy.rules_of(user, namespace)
        for asked in every_request(user, namespace):
            question = asked._replace(namespace=namespace)
            assert world.policy.decide(question).allowed == any(model_allows(rule, question) for rule in told)


def test_what_is_covered_allows_nothing_new() -> None:
    """Rules that lack nothing beside others allow no request that those refuse."""
    user = User("ann")
    seen = Counter[bool]()
    for seed in range(400):
        draw = random.Random(seed)
        owned = [random_rule(draw) for _ in range(draw.randint(1, 4))]
        wanted = [random_rule(draw)] if draw.random() < 0.8 else [dict(draw.choice(owned))]
        covered = not rules.missing([rules.ready(rule) for rule in owned], wanted)
        seen[covered] += 1
        escalates = any(
            any(model_allows(rule, asked) for rule in wanted) and not any(model_allows(rule, asked) for rule in owned)
            for asked in every_request(user, "a")
        )
        assert not (covered and escalates)
        if not covered and len(owned) == 1:  # with one owner nothing is lost by asking piece by piece
            assert escalates, (owned, wanted)
    assert min(seen[True], seen[False]) > 50

# SPDX-License-Identifier: Apache-2.0
"""Who joins which counter and whom each rule is about, against a pass over all classes and rules, while these change.

An engine that only writes down what it is told stands below; a counter is known by the classes that joined it. Rules
come before and behind the classes that they see, namespaces change, and classes are given up together.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest

from kubesched.kernel import native
from kubesched.state import rows
from kubesched.state.pairwise import Pairwise
from tests.property.test_engine_oracle import Rng, rng_of
from tests.strategies import below, chance, pick

KEYS = ("app", "part-of", "tier")
NAMESPACES = ("n1", "n2", "n3")
TOPOLOGIES = ("zone", "host")
Shape = rows.PodShape
TURNED = {
    None: "required_anti_pods",
    native.TERM_EXISTING: "preferred_pods",
    native.TERM_REQUIRED: "required_pods",
}
"""Rules of those that terms of others select, by the number of their kind in C; None: they filter."""


class Notebook:
    """Stands for the engine; ids that were given up are given out again."""

    is_speculating = False

    def __init__(self) -> None:
        self.joined: dict[int, set[int]] = {}
        self.moved: dict[int, set[int]] = {}
        self.rules: dict[int, native.PairwiseSpec] = {}

    def add_counter(self) -> int:
        number = next(n for n in range(len(self.joined) + 1) if n not in self.joined)
        self.joined[number], self.moved[number] = set(), set()
        return number

    def join_counter(self, counter: int, class_id: int) -> None:
        assert class_id not in self.joined[counter]
        self.joined[counter].add(class_id)

    def join_counter_moved(self, counter: int, class_id: int) -> None:
        assert class_id not in self.moved[counter]
        self.moved[counter].add(class_id)

    def remove_classes(self, gone: Collection[int]) -> None:
        for class_id in gone:
            self.rules.pop(class_id, None)
        for members in (*self.joined.values(), *self.moved.values()):
            members.difference_update(gone)

    def remove_counters(self, gone: Iterable[int]) -> None:
        for counter in gone:
            del self.joined[counter], self.moved[counter]

    def set_pairwise(self, class_id: int, spec: native.PairwiseSpec) -> None:
        self.rules[class_id] = spec


# ---- random classes ----


def labels(rng: Rng) -> rows.Labels:
    found = {key: f"v{below(rng, 6 if key == 'app' else 2)}" for key in KEYS if chance(rng, 0.6)}
    return tuple(sorted(found.items()))


def requirement(rng: Rng) -> rows.Requirement:
    operator = pick(rng, ("In", "In", "In", "NotIn", "Exists", "DoesNotExist"))
    values = tuple(sorted({f"v{below(rng, 6)}" for _ in range(1 + below(rng, 2))})) if operator.endswith("In") else ()
    return rows.Requirement(pick(rng, KEYS), operator, values)


def selector(rng: Rng) -> rows.LabelSelector:
    return None if chance(rng, 0.05) else tuple(requirement(rng) for _ in range(pick(rng, (0, 1, 1, 2, 2, 3))))


def term(rng: Rng) -> rows.PodTerm:
    named = tuple(sorted({pick(rng, NAMESPACES) for _ in range(below(rng, 3))}))
    by_labels = (rows.Requirement("env", pick(rng, ("In", "NotIn")), ("prod",)),) if chance(rng, 0.2) else None
    return rows.PodTerm(pick(rng, TOPOLOGIES), selector(rng), named, by_labels, 1 + below(rng, 2))


def some(rng: Rng, make: Callable[[Rng], Any]) -> tuple[Any, ...]:
    return tuple(make(rng) for _ in range(pick(rng, (0, 0, 0, 1, 2))))


def shape(rng: Rng) -> Shape:
    return Shape(
        (),
        (),
        0,
        0,
        namespace=pick(rng, NAMESPACES),
        labels=labels(rng),
        terminating=chance(rng, 0.2),
        spread=some(rng, lambda rng: rows.SpreadConstraint(pick(rng, TOPOLOGIES), 1, selector(rng), True)),
        required_pods=some(rng, term),
        required_anti_pods=some(rng, term),
        preferred_pods=some(rng, term),
    )


# ---- the pass over all of them ----


def fits(wanted: rows.LabelSelector, of: Mapping[str, str]) -> bool:
    if wanted is None:
        return False
    for q in wanted:
        is_there = q.key in of
        if {
            "In": of.get(q.key) not in q.values,
            "NotIn": is_there and of[q.key] in q.values,
            "Exists": not is_there,
            "DoesNotExist": is_there,
        }[q.operator]:
            return False
    return True


class Expected:
    """What must hold for some classes by their ids, and the labels of namespaces."""

    def __init__(self, shapes: Mapping[int, Shape], namespaces: Mapping[str, Mapping[str, str]]) -> None:
        self.shapes, self.namespaces = shapes, namespaces

    def ids(self, holds: Callable[[Shape], bool]) -> frozenset[int]:
        return frozenset(class_id for class_id, of in self.shapes.items() if holds(of))

    def spread(self, c: rows.SpreadConstraint, namespace: str) -> tuple[frozenset[int], frozenset[int]]:
        """Classes whose pods count, and those that count only when they are moved in thought."""
        seen = self.ids(lambda of: of.namespace == namespace and fits(c.selector, dict(of.labels)))
        moved = frozenset(i for i in seen if c.selector == () or self.shapes[i].terminating)
        return seen - moved, moved

    def near(self, one: rows.PodTerm, of: Shape) -> bool:
        """A class's own term, which looks at namespaces that exist, and at no labels at all."""
        there = self.namespaces.get(of.namespace)
        named = of.namespace in one.namespaces or fits(one.namespace_selector, {})
        named |= there is not None and fits(one.namespace_selector, there)
        return named and fits(one.selector, dict(of.labels))

    def all_near(self, terms: Sequence[rows.PodTerm]) -> frozenset[int]:
        return self.ids(lambda of: all(self.near(one, of) for one in terms))

    def owners(self, kind: str) -> dict[tuple[rows.PodTerm, int], frozenset[int]]:
        """Who has each term, by the sum of its weights in one class."""
        found: dict[tuple[rows.PodTerm, int], set[int]] = defaultdict(set)
        for class_id, of in self.shapes.items():
            weights: Counter[rows.PodTerm] = Counter()
            for one in getattr(of, kind):
                weights[replace(one, weight=0)] += one.weight if kind == "preferred_pods" else 1
            for what in weights.items():
                found[what].add(class_id)
        return {what: frozenset(ids) for what, ids in found.items()}

    def turned(self, kind: str, of: Shape) -> Counter[tuple[frozenset[int], str, int]]:
        """Terms of a kind that select the class: their owners, the topology, and the weight."""
        there = self.namespaces.get(of.namespace, {})
        return Counter(
            (ids, one.topology_key, weight if kind != "required_anti_pods" else 1)
            for (one, weight), ids in self.owners(kind).items()
            if fits(one.selector, dict(of.labels))
            and (of.namespace in one.namespaces or fits(one.namespace_selector, there))
        )


class World:
    def __init__(self, seed: int) -> None:
        self.rng = rng_of(seed)
        self.notebook = Notebook()
        self.topologies: list[str] = []
        self.pairwise = Pairwise(self.notebook, self.add_topology)  # type: ignore[arg-type]
        self.shapes: dict[int, Shape] = {}
        self.namespaces: dict[str, dict[str, str]] = {}

    def add_topology(self, key: str) -> int:
        self.topologies.append(key)
        return len(self.topologies) - 1

    def step(self) -> None:
        if chance(self.rng, 0.1):
            changed = {pick(self.rng, NAMESPACES): {"env": pick(self.rng, ("prod", "test"))}}
            self.namespaces |= changed
            self.pairwise.set_namespaces(changed)
        elif self.shapes and chance(self.rng, 0.15):
            gone = [class_id for class_id in self.shapes if chance(self.rng, 0.5)]
            self.shapes = {class_id: of for class_id, of in self.shapes.items() if class_id not in gone}
            unused = self.pairwise.forget(gone)
            self.notebook.remove_classes(gone)
            self.notebook.remove_counters(unused)
        else:
            class_id = next(n for n in range(len(self.shapes) + 1) if n not in self.shapes)
            self.shapes[class_id] = made = shape(self.rng)
            self.pairwise.add_class(class_id, made)

    def check(self) -> None:
        expected, used = Expected(self.shapes, self.namespaces), set[int]()
        for class_id, of in self.shapes.items():
            used |= self.check_class(class_id, of, expected)
        owners = {ids for kind in TURNED.values() for ids in expected.owners(kind).values()}
        unused = {frozenset(joined) for counter, joined in self.notebook.joined.items() if counter not in used}
        assert unused <= owners  # of terms that select no class yet

    def check_class(self, class_id: int, of: Shape, expected: Expected) -> set[int]:
        """Counters that the class's rules are about."""
        spec = self.notebook.rules.get(class_id, native.PairwiseSpec())

        def members(counter: int) -> frozenset[int]:
            return frozenset(self.notebook.joined[counter])

        for (counter, topology, *_), c in zip(spec.spread, of.spread, strict=True):
            found = members(counter), frozenset(self.notebook.moved[counter]), self.topologies[topology]
            assert found == (*expected.spread(c, of.namespace), c.topology_key)
        together = expected.all_near(of.required_pods)
        for (counter, topology), t in zip(spec.affinity, of.required_pods, strict=True):
            assert (members(counter), self.topologies[topology]) == (together, t.topology_key)
        for (counter, topology), t in zip(spec.anti, of.required_anti_pods, strict=True):
            assert (members(counter), self.topologies[topology]) == (expected.all_near([t]), t.topology_key)
        mine = [rule for rule in spec.scored if rule[2] == native.TERM_OWN]
        own = [(members(counter), self.topologies[topology], weight) for counter, topology, _, weight in mine]
        assert own == [(expected.all_near([t]), t.topology_key, t.weight) for t in of.preferred_pods]
        for kind, name in TURNED.items():
            turned = [(n, t, 1) for n, t in spec.existing] if kind is None else []
            turned += [(n, t, weight) for n, t, of_kind, weight in spec.scored if of_kind == kind]
            assert Counter((members(n), self.topologies[t], w) for n, t, w in turned) == expected.turned(name, of)
        parts = spec.spread, spec.affinity, spec.anti, spec.existing, spec.scored
        return {rule[0] for part in parts for rule in part}


@pytest.mark.parametrize("seed", range(8))
def test_everybody_hears_of_whom_they_see(seed: int) -> None:
    world = World(seed)
    for _ in range(60):
        world.step()
        world.check()
    assert world.notebook.joined

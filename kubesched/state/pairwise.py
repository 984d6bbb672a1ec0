# SPDX-License-Identifier: Apache-2.0
"""Which classes see each other: selectors of spread constraints and affinity terms against the labels of classes.

The engine knows no selectors. It counts running pods per node in counters that classes join, and a class's rules name
counters. This module decides who joins what, once for each pair of a selector and a class that share a label
(`state.by_label`), which the selector wants:

- a *match* counter holds the pods that a class's own constraint or term selects;
- an *owner* counter holds the pods that have a certain term, for the rules of the classes that the term selects
  (anti-affinity and preferences of running pods work both ways).

Sources: plugins/podtopologyspread, plugins/interpodaffinity, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from kubesched.kernel import native
from kubesched.state import rows
from kubesched.state.by_label import ByLabel, Label
from kubesched.state.sight import Sight

Labels = dict[str, str]


@dataclass(frozen=True, slots=True)
class _Spread:
    """What a spread constraint counts: pods of its namespace that stay and that it selects."""

    namespace: str
    selector: rows.LabelSelector


_Match = _Spread | tuple[rows.PodTerm, ...]
"""What a match counter holds: pods of a spread constraint, or pods that all the terms take in."""


@dataclass(frozen=True, slots=True)
class _Owned:
    """A term as the classes see it that it selects; ``weight`` is the sum over equal terms of a class."""

    kind: str
    """anti, preferred or required."""
    term: rows.PodTerm
    weight: int


@dataclass(slots=True)
class _Class:
    """A class as selectors see it, and the terms of others that select it."""

    class_id: int
    shape: rows.PodShape
    labels: Labels
    selected_by: dict[int, _Owned] = field(default_factory=dict)
    """By the counter of their owners."""
    has_rules: bool = False
    """The engine holds rules of it, which are not left in place when none apply any more."""


def selects(selector: rows.LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches. Source: apimachinery labels.Requirement.Matches."""
    return selector is not None and all(_holds(q, labels) for q in selector)


def clues(selector: rows.LabelSelector) -> list[tuple[Label, ...]]:
    """Sets of labels: to be selected a pod must have one of each; without any, labels alone may not matter."""
    if selector is None:
        return [()]
    return [tuple((q.key, value) for value in q.values) for q in selector if q.operator == "In"]


def _holds(q: rows.Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(q.key)
    if q.operator == "In":
        return value is not None and value in q.values
    if q.operator == "NotIn":
        return value is None or value not in q.values
    return (value is not None) == (q.operator == "Exists")


_Held = TypeVar("_Held", _Match, _Owned)


class _Counters(Generic[_Held]):
    """Counters of one kind by what they hold, which is filed by the labels that it wants."""

    def __init__(self) -> None:
        self.filed: ByLabel[_Held] = ByLabel()
        self._of: dict[_Held, int] = {}

    def get(self, held: _Held) -> int | None:
        return self._of.get(held)

    def add(self, held: _Held, counter: int, labels: tuple[Label, ...] | None) -> None:
        self._of[held] = counter
        self.filed.add(counter, held, labels)

    def keep(self, used: Collection[_Held]) -> list[int]:
        """Forget what is not used; its counters."""
        unused = [(held, counter) for held, counter in self._of.items() if held not in used]
        for held, counter in unused:
            del self._of[held]
            self.filed.remove(counter)
        return [counter for _, counter in unused]


class Pairwise:
    """Counters, topologies and rules of one engine.

    Parameters
    ----------
    engine
        Borrowed.
    add_topology
        Makes the engine's topology of a label key.
    """

    def __init__(self, engine: native.Engine, add_topology: Callable[[str], int]) -> None:
        self._engine = engine
        self._add_topology = add_topology
        self._topologies: dict[str, int] = {}
        self._classes = ByLabel[_Class]()
        self._matches = _Counters[_Match]()
        self._owners = _Counters[_Owned]()
        self._namespaces: dict[str, Labels] = {}
        self.sight = Sight()

    @property
    def namespaces(self) -> dict[str, Labels]:
        """Labels of the namespaces that exist; a copy."""
        return dict(self._namespaces)

    def set_namespaces(self, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Change labels of namespaces; every selector is judged again. As `add_class` for all classes.

        True: selectors can tell pods apart that were all the same to them.
        """
        changed = {name: dict(labels) for name, labels in namespaces.items()}
        exposes = [self.sight.list_namespace(name) for name in changed]
        if any(self._namespaces.get(name) != labels for name, labels in changed.items()):
            self._namespaces |= changed
            known, gone = self._classes, self._matches.keep(()) + self._owners.keep(())
            self._classes = ByLabel()
            for _, of in known:
                self.add_class(of.class_id, of.shape, of.has_rules)
            self._remove_counters(gone)
        return any(exposes)

    def _remove_counters(self, gone: Sequence[int]) -> None:
        """Counters that no rule is about any more; inside a speculation they are left where they are."""
        if not self._engine.is_speculating:
            self._engine.remove_counters(gone)

    def learn(self, shape: rows.PodShape) -> bool:
        """A shape comes: its rules see what their selectors name.

        True: they tell pods apart that were all the same to the selectors before.
        """
        exposes = False
        for s in shape.spread:
            exposes |= self.sight.name(shape.namespace) | self.sight.select(s.selector)
        for term in (*shape.required_pods, *shape.required_anti_pods, *shape.preferred_pods):
            exposes |= self.sight.select(term.selector)
            for namespace in term.namespaces:
                exposes |= self.sight.name(namespace)
            if term.namespace_selector is not None:
                exposes |= self.sight.select_namespaces()
        return exposes

    def forget(self, gone: Collection[int]) -> list[int]:
        """Classes are about to be given up; the counters that no rule of the others is about.

        Remove the classes first: rules of theirs are still about the counters.
        """
        for class_id in gone:
            self._classes.remove(class_id)
        unowned = self._owners.keep({owned for _, of in self._classes for owned in _owned_terms(of.shape)})
        for _, of in self._classes:
            left = of.selected_by.keys() - unowned
            if len(left) < len(of.selected_by):
                of.selected_by = {counter: owned for counter, owned in of.selected_by.items() if counter in left}
                self._set_rules(of)
        return unowned + self._matches.keep({match for _, of in self._classes for match in _own_matches(of.shape)})

    def add_class(self, class_id: int, shape: rows.PodShape, has_rules: bool = False) -> None:
        """Tell a new class and the others of each other. O(those that share a label that a selector wants)."""
        new = _Class(class_id, shape, dict(shape.labels), has_rules=has_rules)
        labels = (_namespace_label(shape.namespace), *shape.labels)
        for counter, match in self._matches.filed.find(labels):
            self._join(counter, match, new)
        owners = self._owners.filed.find(labels)
        new.selected_by = {counter: owned for counter, owned in owners if self._is_selected(owned.term, new)}
        self._classes.add(class_id, new, labels)
        for owned in _owned_terms(shape):
            self._own(owned, new)
        self._set_rules(new)

    def _rarest(self, wanted: Sequence[tuple[Label, ...]]) -> tuple[Label, ...] | None:
        """Of sets of labels the one that the fewest share; None without any."""
        filed = self._classes, self._matches.filed, self._owners.filed
        return min(wanted, key=lambda labels: sum(one.count(labels) for one in filed), default=None)

    # ---- counters ----

    def topology(self, key: str) -> int:
        """The engine's topology of a label key; made when it is first asked for."""
        found = self._topologies.get(key)
        if found is None:
            found = self._topologies[key] = self._add_topology(key)
        return found

    def _match(self, match: _Match) -> int:
        """The counter of a match; a new one is joined by every class that it holds."""
        found = self._matches.get(match)
        if found is None:
            found, labels = self._engine.add_counter(), self._rarest(_wanted_by(match))
            self._matches.add(match, found, labels)
            for _, of in self._classes.find(labels):
                self._join(found, match, of)
        return found

    def _join(self, counter: int, match: _Match, of: _Class) -> None:
        """Let a class's pods count if the match holds them."""
        if self._is_match(match, of):
            self._engine.join_counter(counter, of.class_id)
        elif _is_moved_match(match, of):
            self._engine.join_counter_moved(counter, of.class_id)

    def _own(self, owned: _Owned, owner: _Class) -> None:
        """Let a class's pods count as owners of a term; a new term changes the rules of the classes it selects."""
        counter = self._owners.get(owned)
        if counter is None:
            counter, labels = self._engine.add_counter(), self._rarest(_wanted(owned.term))
            self._owners.add(owned, counter, labels)
            for _, of in self._classes.find(labels):
                if self._is_selected(owned.term, of):
                    of.selected_by[counter] = owned
                    if of is not owner:
                        self._set_rules(of)
        self._engine.join_counter(counter, owner.class_id)

    # ---- who sees whom ----

    def _is_match(self, match: _Match, of: _Class) -> bool:
        if isinstance(match, _Spread):
            # An empty selector counts no pod, though it matches: upstream's shortcut.
            near = of.shape.namespace == match.namespace and not of.shape.terminating and match.selector != ()
            return near and selects(match.selector, of.labels)
        return all(self._sees(term, of) for term in match)

    def _sees(self, term: rows.PodTerm, of: _Class) -> bool:
        """Whether a class's own term takes in pods of another.

        Namespaces that exist are selected by their labels. 1.36 then matches pods against a term whose selector it
        meant to clear but did not (it clears a copy), and against no labels: a selector that no labels satisfy, such
        as one that only says what must not be, takes in every namespace.
        """
        namespace, by_labels = of.shape.namespace, term.namespace_selector
        exists = namespace in self._namespaces and selects(by_labels, self._namespaces[namespace])
        near = namespace in term.namespaces or exists or selects(by_labels, {})
        return near and selects(term.selector, of.labels)

    def _is_selected(self, term: rows.PodTerm, of: _Class) -> bool:
        """Whether a running pod's term takes in a class; an unknown namespace has no labels."""
        namespace = of.shape.namespace
        near = namespace in term.namespaces or selects(term.namespace_selector, self._namespaces.get(namespace, {}))
        return near and selects(term.selector, of.labels)

    # ---- rules ----

    def _set_rules(self, of: _Class) -> None:
        shape = of.shape
        owned = [
            (o.kind, counter, self.topology(o.term.topology_key), o.weight) for counter, o in of.selected_by.items()
        ]
        rules = owned or shape.spread or shape.required_pods or shape.required_anti_pods or shape.preferred_pods
        if not (rules or of.has_rules):
            return
        of.has_rules = bool(rules)
        scored = [
            (self._match_one(t), self.topology(t.topology_key), native.TERM_OWN, t.weight) for t in shape.preferred_pods
        ]
        kinds = {"preferred": native.TERM_EXISTING, "required": native.TERM_REQUIRED}
        scored += [
            (counter, topology, kinds[kind], weight) for kind, counter, topology, weight in owned if kind in kinds
        ]
        required = tuple(_placeless(t) for t in shape.required_pods)
        self._engine.set_pairwise(
            of.class_id,
            native.PairwiseSpec(
                spread=[self._spread_rule(s, of) for s in shape.spread],
                spread_needs_all=not shape.spread_is_default,
                affinity=[(self._match(required), self.topology(t.topology_key)) for t in shape.required_pods],
                affinity_self=all(self._sees(t, of) for t in shape.required_pods),
                anti=[(self._match_one(t), self.topology(t.topology_key)) for t in shape.required_anti_pods],
                existing=[(counter, topology) for kind, counter, topology, _ in owned if kind == "anti"],
                scored=scored,
            ),
        )

    def _match_one(self, term: rows.PodTerm) -> int:
        return self._match((_placeless(term),))

    def _spread_rule(self, s: rows.SpreadConstraint, of: _Class) -> tuple[int, int, int, int, int]:
        flags = native.SPREAD_HARD if s.hard else 0
        flags |= native.SPREAD_HONOR_AFFINITY if s.honor_affinity else 0
        flags |= native.SPREAD_HONOR_TAINTS if s.honor_taints else 0
        flags |= native.SPREAD_SELF if selects(s.selector, of.labels) else 0
        counter = self._match(_Spread(of.shape.namespace, s.selector))
        return counter, self.topology(s.topology_key), s.max_skew, s.min_domains, flags


def _is_moved_match(match: _Match, of: _Class) -> bool:
    """Whether a spread constraint counts the class's pods only when they are thought away from a node or onto it.

    Source: podtopologyspread/filtering.go updateWithPod, v1.36, which overlooks neither terminating pods nor the
    selector that is empty.
    """
    if not isinstance(match, _Spread) or not (of.shape.terminating or match.selector == ()):
        return False
    return of.shape.namespace == match.namespace and selects(match.selector, of.labels)


def _namespace_label(name: str) -> Label:
    """A namespace among labels, whose keys are never empty."""
    return "", name


def _wanted(term: rows.PodTerm) -> list[tuple[Label, ...]]:
    """As `clues`; where the term selects no namespaces, the pod must be in one that it names."""
    named = [] if term.namespace_selector is not None else [tuple(map(_namespace_label, term.namespaces))]
    return clues(term.selector) + named


def _wanted_by(match: _Match) -> list[tuple[Label, ...]]:
    if isinstance(match, _Spread):
        return [*clues(match.selector), (_namespace_label(match.namespace),)]
    return [labels for term in match for labels in _wanted(term)]


def _placeless(term: rows.PodTerm) -> rows.PodTerm:
    """The term without what does not matter to which pods it takes in."""
    return rows.PodTerm("", term.selector, term.namespaces, term.namespace_selector)


def _own_matches(shape: rows.PodShape) -> Iterator[_Match]:
    """What the class's own rules count."""
    for s in shape.spread:
        yield _Spread(shape.namespace, s.selector)
    if shape.required_pods:
        yield tuple(_placeless(t) for t in shape.required_pods)
    for t in (*shape.required_anti_pods, *shape.preferred_pods):
        yield (_placeless(t),)


def _owned_terms(shape: rows.PodShape) -> list[_Owned]:
    """Terms that the class's running pods hold against others, equal ones added up."""
    sums: dict[tuple[str, rows.PodTerm], int] = {}
    for kind, terms in (
        ("anti", shape.required_anti_pods),
        ("required", shape.required_pods),
        ("preferred", shape.preferred_pods),
    ):
        for t in terms:
            key = kind, rows.PodTerm(t.topology_key, t.selector, t.namespaces, t.namespace_selector)
            sums[key] = sums.get(key, 0) + (t.weight if kind == "preferred" else 1)
    return [_Owned(kind, term, weight) for (kind, term), weight in sums.items()]

# SPDX-License-Identifier: Apache-2.0
"""Which classes see each other: selectors of spread constraints and affinity terms against the labels of classes.

The engine knows no selectors. It counts running pods per node in counters that classes join, and a class's rules name
counters. This module decides who joins what, once for each pair of a selector and a class:

- a *match* counter holds the pods that a class's own constraint or term selects;
- an *owner* counter holds the pods that have a certain term, for the rules of the classes that the term selects
  (anti-affinity and preferences of running pods work both ways).

Sources: plugins/podtopologyspread, plugins/interpodaffinity, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from kubesched.kernel import native
from kubesched.state import rows
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
    selected_by: list[_Owned] = field(default_factory=list)
    has_rules: bool = False
    """The engine holds rules of it, which are not left in place when none apply any more."""


def selects(selector: rows.LabelSelector, labels: Mapping[str, str]) -> bool:
    """Whether a label selector matches. Source: apimachinery labels.Requirement.Matches."""
    return selector is not None and all(_holds(q, labels) for q in selector)


def clues(selector: rows.LabelSelector) -> tuple[tuple[str, str], ...] | None:
    """Labels of which a pod must have one to be selected; None: there are no such labels."""
    if selector is None:
        return ()
    return next((tuple((q.key, value) for value in q.values) for q in selector if q.operator == "In"), None)


def _holds(q: rows.Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(q.key)
    if q.operator == "In":
        return value is not None and value in q.values
    if q.operator == "NotIn":
        return value is None or value not in q.values
    return (value is not None) == (q.operator == "Exists")


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
        self._classes: dict[int, _Class] = {}
        self._matches: dict[_Match, int] = {}
        self._owners: dict[_Owned, int] = {}
        self._namespaces: dict[str, Labels] = {}
        self.sight = Sight()

    @property
    def namespaces(self) -> dict[str, Labels]:
        """Labels of the namespaces that exist; a copy."""
        return dict(self._namespaces)

    def set_namespaces(self, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
        """Change labels of namespaces; every selector is judged again. O(classes * terms).

        True: selectors can tell pods apart that were all the same to them.
        """
        changed = {name: dict(labels) for name, labels in namespaces.items()}
        exposes = [self.sight.list_namespace(name) for name in changed]
        if any(self._namespaces.get(name) != labels for name, labels in changed.items()):
            self._namespaces |= changed
            known, self._classes = self._classes, {}
            gone = [*self._matches.values(), *self._owners.values()]
            self._matches, self._owners = {}, {}
            for of in known.values():
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
            del self._classes[class_id]
        matches = {match for of in self._classes.values() for match in _own_matches(of.shape)}
        owners = {owned for of in self._classes.values() for owned in _owned_terms(of.shape)}
        unused = [counter for match, counter in self._matches.items() if match not in matches]
        unused += [counter for owned, counter in self._owners.items() if owned not in owners]
        self._matches = {match: counter for match, counter in self._matches.items() if match in matches}
        self._owners = {owned: counter for owned, counter in self._owners.items() if owned in owners}
        for of in self._classes.values():
            left = [owned for owned in of.selected_by if owned in owners]
            if len(left) < len(of.selected_by):
                of.selected_by = left
                self._set_rules(of)
        return unused

    def add_class(self, class_id: int, shape: rows.PodShape, has_rules: bool = False) -> None:
        """Tell a new class and the others of each other. O(counters + terms)."""
        new = _Class(class_id, shape, dict(shape.labels), has_rules=has_rules)
        for match, counter in self._matches.items():
            if self._is_match(match, new):
                self._engine.join_counter(counter, class_id)
            elif _is_moved_match(match, new):
                self._engine.join_counter_moved(counter, class_id)
        new.selected_by = [owned for owned in self._owners if self._is_selected(owned.term, new)]
        self._classes[class_id] = new
        for owned in _owned_terms(shape):
            self._own(owned, new)
        self._set_rules(new)

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
            found = self._matches[match] = self._engine.add_counter()
            for of in self._classes.values():
                if self._is_match(match, of):
                    self._engine.join_counter(found, of.class_id)
                elif _is_moved_match(match, of):
                    self._engine.join_counter_moved(found, of.class_id)
        return found

    def _own(self, owned: _Owned, owner: _Class) -> None:
        """Let a class's pods count as owners of a term; a new term changes the rules of the classes it selects."""
        counter = self._owners.get(owned)
        if counter is None:
            counter = self._owners[owned] = self._engine.add_counter()
            for of in self._classes.values():
                if self._is_selected(owned.term, of):
                    of.selected_by.append(owned)
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
        owned = [(o.kind, self._owners[o], self.topology(o.term.topology_key), o.weight) for o in of.selected_by]
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

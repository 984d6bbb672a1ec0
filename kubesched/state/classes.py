# SPDX-License-Identifier: Apache-2.0
"""Engine classes of pod shapes: which pods share one, and which are given up.

Pods share a class if nothing that the engine decides can tell them apart: neither their own requests and rules, nor
the selectors of the rules of others (`state.sight`). A rule that comes later may see more; then running pods are moved
to the classes of what is seen of them (`version` changes, and ids found before mean nothing any more).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import fields, replace
from operator import attrgetter
from typing import TypeVar

from kubesched.kernel import native
from kubesched.state import rows
from kubesched.state.class_forms import ClassForms
from kubesched.state.features import DeclaredFeatures
from kubesched.state.pairwise import Pairwise

_T = TypeVar("_T")
_MOST_SHAPES = 1 << 14
"""Arbitrary: shapes whose class is remembered."""
_LEAST_ROOM = 1024
"""Arbitrary: classes beside twice those in use before some are given up."""

_rest = attrgetter(*(field.name for field in fields(rows.PodShape) if field.name not in ("namespace", "labels")))
"""Everything of a shape but what selectors look at."""


class Classes:
    """Ids of classes.

    Parameters
    ----------
    forms
        Tells the engine of classes.
    pairwise, features
        Hear of new classes, and of those that are given up.
    split
        Moves running pods to the classes of `as_seen` after selectors began to tell them apart.
    """

    def __init__(
        self,
        engine: native.Engine,
        forms: ClassForms,
        pairwise: Pairwise,
        features: DeclaredFeatures,
        split: Callable[[], None],
    ) -> None:
        self._engine, self._forms, self._pairwise, self._features = engine, forms, pairwise, features
        self._split = split
        self._of_shape: dict[rows.PodShape, int] = {}
        self._of_kind: dict[tuple[int, int], tuple[rows.PodShape, int]] = {}
        """By the shape's identity and the kind of claims; with the shape, which keeps its identity."""
        self._of_seen: dict[tuple[str, rows.Labels, object], int] = {}
        self._shapes: dict[int, rows.PodShape] = {}
        self._room = _LEAST_ROOM
        self._is_finding = False
        self._is_void = False
        """What is being found must be found again."""
        self.version = 0
        """Changes when ids that were found before are void."""

    def __len__(self) -> int:
        return len(self._shapes)

    def id(self, shape: rows.PodShape) -> int:
        """Class of a shape. O(1) if it was met before."""
        found = self._of_shape.get(shape)
        return self._meet(shape) if found is None else found

    def of_kind(self, shape: rows.PodShape, kind: int) -> int:
        """Class of a shape with a kind of claims. O(1), without a look at the shape, if that object was met before."""
        key = id(shape), kind
        known = self._of_kind.get(key)
        if known is None:
            found = self.id(replace(shape, claim_kind=kind))
            if len(self._of_kind) >= _MOST_SHAPES:
                self._of_kind.clear()
            known = self._of_kind[key] = shape, found
        return known[1]

    def together(self, find: Callable[[], _T]) -> _T:
        """What ``find`` makes of ids, made again from the start if one that it asked for voids the others.

        Running pods are moved once, behind the last shape: thousands may bring a selector of their own.
        """
        while True:
            self._is_finding = True
            try:
                found = find()
            finally:
                self._is_finding, is_void, self._is_void = False, self._is_void, False
                if is_void:
                    self.split()
            if not is_void:
                return found

    def _meet(self, shape: rows.PodShape) -> int:
        if self._pairwise.learn(shape):
            if self._is_finding:
                self._is_void = True
            else:
                self.split()
        if len(self._of_shape) >= _MOST_SHAPES:
            self._of_shape.clear()
        found = self._of_shape[shape] = self.as_seen(shape)
        return found

    def split(self) -> None:
        """Selectors tell pods apart that were all the same to them. O(running pods)."""
        self._void()
        self._split()

    def as_seen(self, shape: rows.PodShape) -> int:
        """Class of what selectors see of a shape whose own they are already."""
        namespace, labels = self._pairwise.sight.seen(shape.namespace, shape.labels)
        key = namespace, labels, _rest(shape)  # cheaper than another shape, which is made for new classes only
        found = self._of_seen.get(key)
        if found is None:
            if (namespace, labels) != (shape.namespace, shape.labels):
                shape = replace(shape, namespace=namespace, labels=labels)
            found = self._engine.add_class(self._forms.form(shape), self._forms.amounts(shape))
            self._of_seen[key] = found
            self._shapes[found] = shape
            self._pairwise.add_class(found, shape)
            self._features.add_class(found, shape)
        return found

    def shape(self, class_id: int) -> rows.PodShape:
        """What the engine knows of a class; of labels and namespace, what selectors see."""
        return self._shapes[class_id]

    # ---- giving up ----

    @property
    def is_crowded(self) -> bool:
        """Whether it is time to give up those that nobody uses."""
        return len(self._shapes) >= self._room

    def look_anew(self, used: Collection[int]) -> None:
        """See only what the selectors of these classes name; running pods are to be moved, and the rest given up."""
        self._pairwise.sight.reset()
        for class_id in used:
            self._pairwise.learn(self._shapes[class_id])
        self.split()

    def give_up(self, used: Collection[int]) -> list[int]:
        """Give all other classes up; their ids. O(classes)."""
        self._void()
        gone = [class_id for class_id in self._shapes if class_id not in used]
        counters = self._pairwise.forget(gone)
        self._features.forget(gone)
        self._engine.remove_classes(gone)
        self._engine.remove_counters(counters)
        for class_id in gone:
            shape = self._shapes.pop(class_id)
            del self._of_seen[shape.namespace, shape.labels, _rest(shape)]
        self._room = 2 * len(self._shapes) + _LEAST_ROOM
        return gone

    def _void(self) -> None:
        self.version += 1
        self._of_shape.clear()
        self._of_kind.clear()

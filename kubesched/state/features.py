# SPDX-License-Identifier: Apache-2.0
"""NodeDeclaredFeatures: which nodes declare what a class of pods needs.

The sets of features that nodes declare are interned, so a class is judged once per distinct set, not per node.
Source: plugins/nodedeclaredfeatures, v1.36.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, U8
from kubesched.state import rows
from kubesched.state.intern import Interner
from kubesched.state.stateful import VerdictReasons

PLUGIN = "NodeDeclaredFeatures"
_REASON = "node(s) didn't match Pod's required features"


class DeclaredFeatures:
    """Feature set of each row, and the verdict columns of the classes that need features."""

    def __init__(self, engine: native.Engine, reasons: VerdictReasons) -> None:
        self._engine = engine
        self._failed = reasons.code(PLUGIN, (_REASON,), unresolvable=True)
        self._sets: Interner[tuple[str, ...]] = Interner([()])
        self._set_of: I32 = np.zeros(0, dtype=np.int32)
        self._needs: dict[int, frozenset[str]] = {}

    def sets(self) -> list[tuple[str, ...]]:
        """Distinct feature sets by id."""
        return self._sets.values()

    def set_of(self) -> I32:
        """Id of each row's feature set, ``[n_rows]``."""
        self._grow()
        return self._set_of

    def set_rows(self, changed: Sequence[int], declared: Sequence[tuple[str, ...]] | None = None) -> None:
        """Rows were added or rewritten; ``declared`` None: they declare nothing. O(rows * classes with needs)."""
        self._grow()
        ids = [0] * len(changed) if declared is None else [self._sets.id(features) for features in declared]
        at = arrays.int32(list(changed))
        self._set_of[at] = ids
        for class_id, needs in self._needs.items():
            self._engine.set_verdicts(class_id, native.FILTERS[PLUGIN], at, self._codes(needs)[self._set_of[at]])

    def add_class(self, class_id: int, shape: rows.PodShape) -> None:
        """A new class; O(rows) if it needs features, else O(1)."""
        if not shape.node_features:
            return
        self._grow()
        needs = self._needs[class_id] = frozenset(shape.node_features)
        self._engine.set_verdicts(class_id, native.FILTERS[PLUGIN], None, self._codes(needs)[self._set_of])

    def forget(self, gone: Collection[int]) -> None:
        """Classes are given up."""
        for class_id in gone:
            self._needs.pop(class_id, None)

    def _grow(self) -> None:
        more = self._engine.n_rows - len(self._set_of)
        self._set_of = np.concatenate([self._set_of, np.zeros(more, dtype=np.int32)]) if more else self._set_of

    def _codes(self, needs: frozenset[str]) -> U8:
        """Verdict of each distinct feature set."""
        sets = self._sets.values()
        return np.array([0 if needs.issubset(of) else self._failed for of in sets], dtype=np.uint8)

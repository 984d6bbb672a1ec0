# SPDX-License-Identifier: Apache-2.0
"""Columns of numbers that users add to the nodes for their plugins to read: watts, prices, rack units."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.kernel import native
from kubesched.kernel.arrays import F64


class UserColumns:
    """Named float64 columns of an engine's nodes; NaN where nothing was set."""

    def __init__(self, engine: native.Engine) -> None:
        self._engine = engine
        self._ids: dict[str, int] = {}

    @property
    def names(self) -> list[str]:
        return list(self._ids)

    def find(self, name: str) -> int | None:
        """Engine id of a column."""
        return self._ids.get(name)

    def set(self, name: str, values: Any, node_rows: Mapping[str, int]) -> None:
        """Write a column; it is made if it is new.

        Parameters
        ----------
        values
            A number for each node, in the order of the cluster's rows (removed ones left out), or a mapping from
            node name to number, which leaves the other nodes as they are.
        node_rows
            Row of each node.

        Raises
        ------
        InputError
            Another length, not numbers, an unknown node, or a name that is not an identifier.
        """
        where = f"column {name}"
        if not name.isidentifier() or name.startswith("_"):
            raise errors.InputError(where, "cannot be an attribute", name, "a Python identifier such as idle_watts")
        if isinstance(values, Mapping):
            lost = [node for node in values if node not in node_rows]
            if lost:
                raise errors.InputError(where, "names an unknown node", lost[0], "nodes of the cluster")
            rows = np.array([node_rows[node] for node in values], dtype=np.int32)
            numbers = _numbers(where, list(values.values()), len(values))
        else:
            rows = np.sort(np.fromiter(node_rows.values(), dtype=np.int32, count=len(node_rows)))
            numbers = _numbers(where, values, len(rows))
        if name not in self._ids:
            self._ids[name] = self._engine.add_node_column()
        self._engine.set_node_column(self._ids[name], rows, numbers)

    def by_node(self, names: Sequence[str | None]) -> dict[str, dict[str, float]]:
        """The numbers of each column by node name; ``names`` is the name of each row, None where it was removed."""
        values = self._engine.columns().column
        rows = [row for row, name in enumerate(names) if name is not None]
        return {column: {str(names[row]): float(values[row, at]) for row in rows} for column, at in self._ids.items()}


def _numbers(where: str, values: Sequence[float] | Any, n: int) -> F64:
    try:
        numbers = np.ascontiguousarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise errors.InputError(where, "is not made of numbers", type(values).__name__, f"{n} numbers") from None
    if numbers.shape != (n,):
        raise errors.InputError(where, "has another length", numbers.shape, f"a number for each of {n} nodes")
    return numbers

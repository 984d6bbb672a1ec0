# SPDX-License-Identifier: Apache-2.0
"""Explanation: why each node can or cannot take a pod, and which is best."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesched.framework.diagnosis import Diagnosis
from kubesched.kernel.arrays import I32
from kubesched.kernel.native import Verdicts

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Explanation:
    """One pod against all nodes; arrays are by row of the engine.

    Parameters
    ----------
    pod, profile
        What was asked.
    node_names
        ``[N]``; None where a row was removed.
    plugins, weights, skipped
        Score plugins in profile order; a skipped one leaves this pod out.
    """

    pod: str
    profile: str
    node_names: list[str | None]
    plugins: tuple[str, ...]
    weights: tuple[int, ...]
    diagnosis: Diagnosis
    verdicts: Verdicts
    gate_reason: str = ""

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(p for p, s in zip(self.plugins, self.verdicts.skipped, strict=True) if s)

    @property
    def feasible(self) -> I32:
        """Rows that every filter passes."""
        return self.diagnosis.feasible

    @property
    def best(self) -> list[str]:
        """Nodes with the highest total; any of them is a right choice."""
        rows = self._best_rows()
        return [self.node_names[row] or "" for row in rows]

    @property
    def message(self) -> str:
        """kube-scheduler's message if nothing is feasible, else empty."""
        return self.gate_reason or self.diagnosis.message()

    def _best_rows(self) -> list[int]:
        feasible = self.feasible
        if feasible.size == 0:
            return []
        total = self.verdicts.total[feasible]
        return [int(row) for row in feasible[total == total.max()]]

    def _reason(self, row: int) -> tuple[str, str, str]:
        """Plugin, code and reasons of a row; empty for a feasible one."""
        number = int(self.diagnosis.status_of[row])
        status = self.diagnosis.pre_filter.status if number == -2 else None
        if number >= 0:
            status = self.diagnosis.statuses[number]
        return ("", "", "") if status is None else (status.plugin, status.code, "; ".join(status.reasons))

    def to_rows(self) -> list[dict[str, Any]]:
        """One dict a node: feasible, plugin, code, reason, total, and each plugin's normalised score."""
        out = []
        feasible = set(self.feasible.tolist())
        for row, name in enumerate(self.node_names):
            if name is None:
                continue
            plugin, code, reason = self._reason(row)
            entry: dict[str, Any] = {"node": name, "feasible": row in feasible, "plugin": plugin, "code": code}
            entry |= {"reason": reason, "total": int(self.verdicts.total[row]) if row in feasible else None}
            for i, score_plugin in enumerate(self.plugins):
                shown = row in feasible and not self.verdicts.skipped[i]
                entry[score_plugin] = int(self.verdicts.score[i, row]) if shown else None
            out.append(entry)
        return out

    def to_arrow(self) -> Any:
        """Table with the columns of `to_rows`."""
        import pyarrow as pa

        text, i64 = pa.string(), pa.int64()
        fields = [("node", text), ("feasible", pa.bool_()), ("plugin", text), ("code", text), ("reason", text)]
        fields += [("total", i64), *((plugin, i64) for plugin in self.plugins)]
        return pa.Table.from_pylist(self.to_rows(), schema=pa.schema(fields))

    def __str__(self) -> str:
        lines = [f"Pod:       {self.pod}", f"Profile:   {self.profile}"]
        if self.gate_reason:
            return "\n".join([*lines, f"Gated:     {self.gate_reason}"])
        feasible = self.feasible
        lines.append(f"Feasible:  {feasible.size} of {self.diagnosis.n_nodes} nodes")
        if feasible.size == 0:
            lines.append(f"Message:   {self.message}")
        histogram = self.diagnosis.histogram()
        if histogram:
            lines.append("Rejected:")
            lines += [f"  {n:>7}  {reason}" for reason, n in sorted(histogram.items(), key=lambda x: (-x[1], x[0]))]
        if feasible.size:
            lines += self._score_lines(feasible)
        return "\n".join(lines)

    def _score_lines(self, feasible: I32) -> list[str]:
        total = self.verdicts.total
        order = feasible[np.lexsort((feasible, -total[feasible]))][:_SHOWN]
        scored = [i for i in range(len(self.plugins)) if not self.verdicts.skipped[i]]
        width = max(len("NODE"), *(len(self.node_names[row] or "") for row in order))
        heads = [f"{self.plugins[i]} x{self.weights[i]}" for i in scored]
        lines = [f"Best:      {len(self.best)} node(s) with total {int(total[order[0]])}", ""]
        lines.append(f"  {'NODE':<{width}}  TOTAL  " + "  ".join(heads))
        for row in order:
            cells = [f"{int(self.verdicts.score[i, row]):>{len(h)}}" for i, h in zip(scored, heads, strict=True)]
            lines.append(f"  {self.node_names[row]:<{width}}  {int(total[row]):>5}  " + "  ".join(cells))
        if feasible.size > _SHOWN:
            lines.append(f"  ... {feasible.size - _SHOWN} more feasible nodes")
        return lines

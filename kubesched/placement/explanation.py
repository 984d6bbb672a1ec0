# SPDX-License-Identifier: Apache-2.0
"""Explanation: why each node can or cannot take a pod, and which is best."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from kubesched.base import errors
from kubesched.framework.diagnosis import Diagnosis
from kubesched.kernel.arrays import I32
from kubesched.kernel.native import Verdicts

_SHOWN = 5
ANNOTATION_PREFIX = "kube-scheduler-simulator.sigs.k8s.io/"
ANNOTATION_LIMIT = 256 * 1024
"""Bytes that the API server accepts of an object's annotations."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """One pod against all nodes; arrays are by row of the engine.

    Parameters
    ----------
    pod, profile
        What was asked.
    node_names
        ``[N]``; None where a row was removed.
    filters
        Of the profile, first to last.
    plugins, weights, skipped
        Score plugins in profile order; a skipped one leaves this pod out.
    """

    pod: str
    profile: str
    node_names: list[str | None]
    filters: tuple[str, ...]
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

    def to_annotations(self, limit: int | None = ANNOTATION_LIMIT) -> dict[str, str]:
        """Annotations of the pod as kube-scheduler-simulator writes them, values in JSON.

        ``filter-result``: of each node the filters up to the first that fails, which says why; ``score-result``: raw
        scores of the feasible nodes; ``finalscore-result``: normalised and weighted; ``selected-node``: the first of
        the best. Filters that have no say about this pod are listed as passed.

        Parameters
        ----------
        limit
            Bytes that an object's annotations may take; None: no limit. A node takes about 500.

        Raises
        ------
        InputError
            They are larger.
        """
        passed = dict.fromkeys(self.filters, "passed")
        scored = [i for i in range(len(self.plugins)) if not self.verdicts.skipped[i]]
        filters, raw, final = {}, {}, {}
        feasible = set(self.feasible.tolist())
        for row, name in enumerate(self.node_names):
            if name is None:
                continue
            if row not in feasible:
                plugin, _, reason = self._reason(row)
                before = self.filters[: self.filters.index(plugin)] if plugin in self.filters else ()
                filters[name] = dict.fromkeys(before, "passed") | {plugin: reason}
                continue
            filters[name] = passed
            raw[name] = {self.plugins[i]: str(self.verdicts.raw[i, row]) for i in scored}
            final[name] = {self.plugins[i]: str(self.weights[i] * self.verdicts.score[i, row]) for i in scored}
        results = {"filter-result": filters, "score-result": raw, "finalscore-result": final}
        out = {ANNOTATION_PREFIX + key: json.dumps(value, separators=(",", ":")) for key, value in results.items()}
        if self.best:
            out[f"{ANNOTATION_PREFIX}selected-node"] = self.best[0]
        size = sum(len(key.encode()) + len(value.encode()) for key, value in out.items())
        if limit is not None and size > limit:
            raise errors.InputError(
                "annotations", "are larger than an object may carry", size, f"{limit} bytes at most"
            )
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

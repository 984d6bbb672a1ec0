# SPDX-License-Identifier: Apache-2.0
"""The picture of a scheduler-perf run: placements a second of each case, beside what upstream's CI asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kubesched.replay import picture

_GOAL = 100
"""Times the threshold that a case is meant to reach."""
_REACHED, _MISSED, _OPEN, _THRESHOLD, _MARK = "#0072B2", "#D55E00", "#56B4E9", "#000000", "#F0E442"
_INCHES_A_CASE, _LEAST_HEIGHT, _WIDTH = 0.24, 3.0, 11.0


def draw(cases: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Draw one bar a case on a logarithmic axis, its threshold, and a hundred times that.

    Parameters
    ----------
    cases
        Rows of `runner.run`, first at the top; at least one.
    path
        The PNG file; it appears whole or not at all.
    """
    figure, axes = picture.figure(_WIDTH, max(_LEAST_HEIGHT, 1.2 + _INCHES_A_CASE * len(cases)))
    rates = [case["placements_per_s"] for case in cases]
    thresholds = [case["threshold"] for case in cases]
    least = min([*(t for t in thresholds if t), *rates]) / 2
    axes.barh(range(len(cases)), [r - least for r in rates], 0.62, least, color=[_color(case) for case in cases])
    with_one = [at for at, threshold in enumerate(thresholds) if threshold]
    for factor, color in ((1, _THRESHOLD), (_GOAL, _MARK)):
        axes.plot([factor * thresholds[at] for at in with_one], with_one, "|", color=color, markersize=11, mew=2.4)
    for at, case in enumerate(cases):
        ratio = "" if case["ratio"] is None else f"  {case['ratio']:,.0f}\N{MULTIPLICATION SIGN}"
        end = max(rates[at], _GOAL * (case["threshold"] or 0))  # behind the bar and its marks
        axes.text(end * 1.12, at, f"{rates[at]:,}{ratio}", va="center", fontsize=7)
    axes.set_yticks(range(len(cases)), [case["case"] for case in cases], fontsize=7)
    axes.set_xscale("log")
    axes.set_xlim(least, 8 * max([*rates, *(_GOAL * t for t in thresholds if t)]))
    axes.set_ylim(len(cases) - 0.4, -0.6)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("placements a second, logarithmic")
    _add_legend(figure)
    return picture.save(figure, path)


def _color(case: Mapping[str, Any]) -> str:
    if case["ratio"] is None:
        return _OPEN
    return _REACHED if case["ratio"] >= _GOAL else _MISSED


def _add_legend(figure: Any) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    marks = [
        Patch(color=_REACHED, label=f"{_GOAL} times the threshold or more"),
        Patch(color=_MISSED, label="less"),
        Patch(color=_OPEN, label="no threshold"),
        Line2D(
            [], [], color=_THRESHOLD, marker="|", linestyle="", markersize=10, mew=2.4, label="upstream's threshold"
        ),
        Line2D([], [], color=_MARK, marker="|", linestyle="", markersize=10, mew=2.4, label=f"{_GOAL} times that"),
    ]
    figure.legend(handles=marks, loc="outside upper center", ncols=len(marks), fontsize=8, frameon=False)

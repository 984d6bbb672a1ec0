# SPDX-License-Identifier: Apache-2.0
"""The how-to page about plugins: its examples run and say what the page says, its list of values is the code's."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kubesched.kernel import plugin

PAGE = (Path(__file__).parents[3] / "docs" / "howto" / "write-a-plugin.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page() -> dict[str, Any]:
    """Everything that the page's examples define, run from top to bottom."""
    scope: dict[str, Any] = {"__name__": "page"}
    for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(block, scope)
    return scope


def test_the_numbers_of_the_page_are_those_of_its_example(page: dict[str, Any]) -> None:
    shown = re.findall(r"^(\w+) +(\d+) placed, (\d+) kW$", PAGE, re.MULTILINE)
    expected = [(name, plan.n_placed, round(page["draw"][name][-1])) for name, plan in page["plans"].items()]
    assert [(name, int(placed), int(kw)) for name, placed, kw in shown] == expected
    assert page["draw"]["saving"][-1] < page["draw"]["spreading"][-1]


def test_saving_takes_the_node_that_draws_least(page: dict[str, Any]) -> None:
    """The first pod meets empty machines: its node must be one whose draw, in steps of 8 watts, is the least."""
    node = int(page["plans"]["saving"].node_index[0])
    share = page["cpu"][0] / page["table"].allocatable["cpu"]
    draw = page["idle_watts"] + page["cpu_watts"] * share + page["gpu_watts"] * page["gpu"][0]
    fits = (share <= 1) & (page["table"].device_count >= page["shape"][0].device_count)
    points = np.clip((100 - draw / 8).astype(int), 0, 100)
    assert points[node] == points[fits].max()


def test_the_filter_keeps_pods_without_a_gpu_off_strong_machines(page: dict[str, Any]) -> None:
    node = page["plans"]["saving"].node_index
    plain = (page["gpu"] == 0) & (node >= 0)
    assert plain.any()
    assert page["gpu_watts"][node[plain]].max() <= 200
    assert "node(s) were too good for pods without a GPU" in page["why"].diagnosis.histogram()


def test_the_page_lists_every_value() -> None:
    inputs = plugin.Inputs.of((), {}, {})
    expected = {f"{side}.{'.'.join(leaf.path)}" for side in ("node", "pod") for leaf in getattr(inputs, side)}
    rows = [line for line in PAGE.splitlines() if line.startswith(("| `node.", "| `pod."))]
    shown = set()
    for row in rows:
        for first, *rest in (
            re.findall(r"`([^`]+)`", names) for names in [row.split("|")[1]] if "<" not in row.split("|")[1]
        ):
            stem = first.rsplit(".", 1)[0]
            shown |= {first, *(stem + name if name.startswith(".") else name for name in rest)}
    assert shown == expected


def test_the_page_lists_every_normalisation() -> None:
    table = PAGE.split("## Scores")[1].split("## ")[0]
    assert re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE) == ["normalize", *plugin.NORMALIZATIONS]

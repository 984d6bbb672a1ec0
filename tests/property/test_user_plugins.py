# SPDX-License-Identifier: Apache-2.0
"""Users' plugins in both drivers while a cluster lives: pods, nodes, and the columns that the plugins read change."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from kubesched.framework import plugins
from kubesched.framework import profile as profiles
from tests import strategies
from tests.property.test_drivers import Churn, World

COLUMNS = ("heat", "price")


def heat(node: Any, pod: Any) -> float:
    if node.heat != node.heat:  # no number yet
        return 7.0
    return 110.0 - node.heat + 9.0 * node.used.pods - pod.request.cpu / 500  # type: ignore[no-any-return]


def heat_of_columns(node: Any, pod: Any) -> Any:
    known = 110.0 - node.heat + 9.0 * node.used.pods - pod.request.cpu / 500
    return np.where(np.isnan(node.heat), 7.0, known)


def cheap(node: Any, pod: Any) -> float:
    return 1.0 if node.price != node.price else node.price * (1.0 + node.used.cpu + pod.request.cpu)  # type: ignore[no-any-return]


def cool(node: Any, pod: Any) -> bool:
    return not node.heat > 90.0 - 10.0 * node.used.pods or pod.request.memory == 0.0


@dataclasses.dataclass(frozen=True)
class UserWorld(World):
    @property
    def profiles(self) -> list[profiles.Profile]:
        plugins.score_plugin(heat, columns=COLUMNS, normalize="clamp")
        plugins.score_plugin(heat_of_columns, columns=COLUMNS, normalize="clamp", vectorized=True)
        plugins.score_plugin(cheap, columns=COLUMNS, normalize="max-reverse")
        plugins.filter_plugin(cool, columns=COLUMNS)
        return [
            self._with("default-v1.36", "heat", 1, True),
            self._with("node-local", "heat_of_columns", 1, False),
            self._with("default-v1.35", "heat", 1, False),
            self._with("node-local", "heat", 2, True),  # too heavy for a byte
            self._with("default-v1.36", "cheap", 3, True),  # needs all nodes
        ]

    @staticmethod
    def _with(name: str, score: str, weight: int, is_filtered: bool) -> profiles.Profile:
        found = profiles.find(name)
        filters = (*found.filters, "GpuShare", *(["cool"] if is_filtered else []))
        return dataclasses.replace(
            found, name=score, filters=filters, scores=(*found.scores, profiles.ScorePlugin(score, weight))
        )


class UserChurn(Churn):
    """Some nodes never get a number; updated ones lose theirs."""

    def add_nodes(self, n: int) -> int:
        before = len(self.names)
        super().add_nodes(n)
        self._set([name for name in self.names[before:] if strategies.chance(self.rng, 0.8)])
        return n

    def update_node(self) -> int:
        if strategies.chance(self.rng, 0.5):
            return super().update_node()
        k = len(self.names) if strategies.chance(self.rng, 0.1) else 1 + strategies.below(self.rng, 3)
        self._set(self.names[:: max(1, len(self.names) // k)])
        return 1

    def _set(self, names: list[str]) -> None:
        for column in COLUMNS:
            values = dict(zip(names, self.rng.integers(0, 130, len(names)).tolist(), strict=True))
            for state in self.states:
                state.add_node_column(column, values)


WORLDS = {
    "few": UserWorld(12, 12, False, False),
    "alike": UserWorld(60, 4, True, False),
    "many": UserWorld(400, 25, True, False),
}


@pytest.mark.parametrize("world", WORLDS)
def test_drivers_agree_on_users_plugins(world: str) -> None:
    churn = UserChurn(WORLDS[world], 3)
    churn.live(2500)
    assert churn.n_indexed > 100


@pytest.mark.nightly
@pytest.mark.parametrize("seed", range(100, 104))
@pytest.mark.parametrize("world", WORLDS)
def test_drivers_agree_on_users_plugins_for_long(world: str, seed: int) -> None:
    UserChurn(WORLDS[world], seed).live(20_000)

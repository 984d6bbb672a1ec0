# SPDX-License-Identifier: Apache-2.0
"""The zone-interleaved node order, against a slow walk of lists of lists."""

from __future__ import annotations

import random

import numpy as np
import pytest

from kubesched.state.node_order import NodeOrder, SearchOrder, zone_key

ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
OLD_ZONE = "failure-domain.beta.kubernetes.io/zone"


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, ("", "")),
        ({ZONE: "a"}, ("", "a")),
        ({ZONE: "a", REGION: "r"}, ("r", "a")),
        ({ZONE: "a", OLD_ZONE: "b"}, ("", "b")),
        ({ZONE: "a", OLD_ZONE: ""}, ("", "")),
    ],
)
def test_zone_key(labels: dict[str, str], expected: tuple[str, str]) -> None:
    assert zone_key(labels) == expected


def test_empty_order_has_no_rows() -> None:
    assert NodeOrder().rows().tolist() == []


def test_removing_an_unknown_row_is_an_error() -> None:
    with pytest.raises(KeyError):
        NodeOrder().remove(3)


def test_emptied_zone_comes_back_last() -> None:
    order = NodeOrder()
    order.put(0, {ZONE: "a"})
    order.put(1, {ZONE: "b"})
    order.remove(0)
    order.put(2, {ZONE: "a"})
    assert order.rows().tolist() == [1, 2]


def _walk(zones: list[tuple[str, list[int]]]) -> list[int]:
    deepest = max((len(rows) for _, rows in zones), default=0)
    return [rows[i] for i in range(deepest) for _, rows in zones if i < len(rows)]


def _drop(zones: list[tuple[str, list[int]]], row: int) -> None:
    for zone in zones:
        if row in zone[1]:
            zone[1].remove(row)
    zones[:] = [zone for zone in zones if zone[1]]


@pytest.mark.parametrize("seed", range(20))
def test_order_follows_coming_going_and_moving(seed: int) -> None:
    rng = random.Random(seed)
    order, zones = NodeOrder(), list[tuple[str, list[int]]]()
    for _ in range(200):
        row, name = rng.randrange(30), rng.choice("abcd")
        held = next((zone for zone, rows in zones if row in rows), None)
        if held is not None and rng.random() < 0.4:
            order.remove(row)
            _drop(zones, row)
        else:
            order.put(row, {ZONE: name})
            if held != name:
                _drop(zones, row)
                target = next((rows for zone, rows in zones if zone == name), None)
                if target is None:
                    zones.append((name, [row]))
                else:
                    target.append(row)
        assert order.rows().tolist() == _walk(zones)
    assert len(order) == sum(len(rows) for _, rows in zones)


# ---- what decisions see of it ----


class _World:
    """Rows and names, as a cluster state keeps them."""

    def __init__(self) -> None:
        self.order = SearchOrder()
        self.names: list[str | None] = []
        self.rows: dict[str, int] = {}

    def add(self, name: str, row: int, zone: str) -> None:
        self.names += [None] * (row + 1 - len(self.names))
        self.names[row], self.rows[name] = name, row
        self.order.put(row, {ZONE: zone})

    def remove(self, name: str) -> None:
        row = self.rows.pop(name)
        self.names[row] = None
        self.order.remove(row)

    @property
    def seen(self) -> list[str | None]:
        return [self.names[row] for row in self.order.listed(self.names, self.rows).tolist()]


def _three() -> _World:
    world = _World()
    for row, (name, zone) in enumerate((("x", "a"), ("y", "a"), ("z", "b"))):
        world.add(name, row, zone)
    return world


def test_a_node_that_changes_its_zone_keeps_its_place_until_others_come() -> None:
    world = _three()
    assert world.seen == ["x", "z", "y"]
    world.order.is_told = True
    world.order.update(0, {ZONE: "b"})
    assert world.order.is_told
    assert world.seen == ["x", "z", "y"]
    world.add("w", 3, "b")
    assert not world.order.is_told
    assert world.seen == ["y", "z", "x", "w"]


def test_a_node_that_comes_back_before_a_decision_keeps_its_place() -> None:
    world = _three()
    assert world.seen == ["x", "z", "y"]
    world.remove("x")
    world.add("x", 7, "c")
    assert world.seen == ["x", "z", "y"]
    assert world.order.listed(world.names, world.rows).tolist() == [7, 2, 1]
    world.remove("z")
    assert world.seen == ["y", "x"]


def test_many_nodes_at_once_equal_one_by_one() -> None:
    world, others = _World(), _World()
    sets, set_of = [{ZONE: "b"}, {ZONE: "a"}, {}], np.array([0, 1, 1, 2, 0], np.int32)
    others.order.put_many(0, 5, sets, set_of)
    for row, at in enumerate(set_of.tolist()):
        world.names.append(f"n{row}")
        world.rows[f"n{row}"] = row
        world.order.put(row, sets[at])
    assert others.order.listed(world.names, world.rows).tolist() == [0, 1, 3, 4, 2]
    assert world.seen == ["n0", "n1", "n3", "n4", "n2"]


def test_a_copy_stands_on_other_rows_and_goes_its_own_way() -> None:
    world = _three()
    copy = world.order.moved(world.names, {"x": 2, "y": 0, "z": 1})
    assert copy.listed(["y", "z", "x"], {"x": 2, "y": 0, "z": 1}).tolist() == [2, 1, 0]
    world.remove("x")
    assert copy.listed(["y", "z", "x"], {"x": 2, "y": 0, "z": 1}).tolist() == [2, 1, 0]
    assert world.seen == ["y", "z"]

# SPDX-License-Identifier: Apache-2.0
"""The zone-interleaved node order, against a slow walk of lists of lists."""

from __future__ import annotations

import random

import pytest

from kubesched.state.node_order import NodeOrder, zone_key

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

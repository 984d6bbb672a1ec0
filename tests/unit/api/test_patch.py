# SPDX-License-Identifier: Apache-2.0
"""Orders of lists in strategic patches, against the steps that upstream takes, one after another."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kubesched.api import meta, patch

Items = list[dict[str, Any]]


def named(names: list[str]) -> Items:
    return [{"name": name, "n": n} for n, name in enumerate(names)]


def inserted(items: Items, places: dict[str, int]) -> Items:
    """Insertion sort by upstream's comparison: without a place it is before everything."""
    out = list(items)
    for i in range(1, len(out)):
        at = i
        while at > 0:
            first, second = places.get(out[at]["name"]), places.get(out[at - 1]["name"])
            if first is not None and second is not None and first >= second:
                break
            out[at], out[at - 1] = out[at - 1], out[at]
            at -= 1
    return out


@pytest.mark.parametrize("seed", range(4))
def test_elements_without_a_place(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1_000):
        items = named(rng.choices("abcdefgh", k=rng.randrange(9)))
        names = rng.sample("abcdefgh", rng.randrange(9))
        places = {name: rng.randrange(4) for name in names}
        assert patch._sorted(items, places, "name") == inserted(items, places)


def shifted(before: Items, change: Items) -> Items:
    """The array in which upstream deletes by moving up, and appends in the places that became free."""
    out, size = list(before), len(before)
    for item in change:
        if item.get("$patch") == "delete":
            for at in reversed([i for i in range(size) if out[i]["name"] == item["name"]]):
                out[at : size - 1] = out[at + 1 : size]
                size -= 1
    present = [item["name"] for item in out[:size]]
    for item in change:
        if "$patch" not in item and item["name"] not in present and size < len(out):
            out[size] = item
            size += 1
    return out


@pytest.mark.parametrize("seed", range(4))
def test_the_order_before_a_change(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(1_000):
        before = named(rng.choices("abcdef", k=rng.randrange(8)))
        change = [{"name": name} for name in rng.choices("abcdefgh", k=rng.randrange(8))]
        for item in change:
            if rng.random() < 0.5:
                item["$patch"] = "delete"
        assert patch._old_order(before, change, "name") == shifted(before, change)


def test_owners_that_stand_there_twice() -> None:
    first, second = {"uid": "1", "kind": "A"}, {"uid": "2", "kind": "A"}
    metadata = {"ownerReferences": [first, second, {"kind": "A", "uid": "1"}, dict(second), {"uid": "1"}]}
    assert meta.dedup_owners(metadata) == ["1", "2"]
    assert metadata["ownerReferences"] == [first, second, {"uid": "1"}]

# SPDX-License-Identifier: Apache-2.0
"""The gate to C: arrays that are not exactly right are refused before C sees them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kubesched.base import errors
from kubesched.kernel import arrays, native


@pytest.fixture
def engine() -> native.Engine:
    made = native.Engine(4)
    made.add_nodes(np.tile(np.array([[8000], [1 << 34], [0], [10]], dtype=np.int64), (1, 3)))
    return made


def add_class(engine: native.Engine, **changes: Any) -> int:
    request = [(native.CPU, 1000), (native.MEMORY, 1 << 30)]
    return engine.add_class(native.ClassForm(native.ClassSpec(**changes)), native.Amounts(request, request, 1000, 0))


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((4, 2)), "has the wrong dtype, got 'float64', expected int64"),
        (np.zeros((4, 2), dtype=np.int32), "has the wrong dtype"),
        (np.zeros((3, 2), dtype=np.int64), "has the wrong shape, got (3, 2), expected (4, any)"),
        (np.zeros((2, 4), dtype=np.int64).T, "is not contiguous"),
        ([[1, 2]], "is not an array, got 'list'"),
        (np.zeros((4, 2), dtype=">i8"), "has the wrong dtype"),
    ],
)
def test_wrong_arrays_are_refused(engine: native.Engine, array: Any, says: str) -> None:
    with pytest.raises(errors.InputError) as caught:
        engine.add_nodes(array)
    assert f"add_nodes: allocatable: {says}" in str(caught.value)
    assert engine.n_rows == 3


def test_columns_must_be_as_long_as_the_rows(engine: native.Engine) -> None:
    with pytest.raises(errors.InputError, match="add_nodes: device_count: has the wrong shape"):
        engine.add_nodes(np.zeros((4, 2), dtype=np.int64), device_count=np.zeros(3, dtype=np.int32))
    with pytest.raises(errors.InputError, match="unknown column"):
        engine.add_nodes(np.zeros((4, 2), dtype=np.int64), colour=np.zeros(2, dtype=np.int32))


def test_status_codes_become_exceptions(engine: native.Engine) -> None:
    with pytest.raises(errors.KernelError) as caught:
        engine.add_nodes(np.full((4, 1), -1, dtype=np.int64))
    assert caught.value.status == native._lib.KS_EINVAL
    with pytest.raises(errors.KernelError, match="an id or row does not exist"):
        engine.place(native.Options(9), arrays.int32([0]))
    with pytest.raises(errors.UnsupportedError):
        balanced = native.ScoreSpec(
            native.SCORES["NodeResourcesBalancedAllocation"], 1, resource=arrays.int32([0] * 65)
        )
        engine.add_profile([native.FILTERS["NodeResourcesFit"]], [balanced], 0)
    with pytest.raises(errors.KernelError, match="too large"):
        engine.add_nodes(np.full((4, 1), 1 << 60, dtype=np.int64))
    with pytest.raises(errors.KernelError, match="item 1 of 2"):
        class_id = add_class(engine)
        engine.bind(arrays.int32([class_id, class_id]), arrays.int32([0, 7]))


def test_selector_runs_must_cover_their_values(engine: native.Engine) -> None:
    bad = native.Selector(
        term_start=arrays.int32([0, 1]),
        key=arrays.int32([1]),
        op=arrays.int32([0]),
        number=arrays.int64([0]),
        is_number=np.zeros(1, dtype=np.uint8),
        value_start=arrays.int32([0, 5]),
        value=arrays.int32([1]),
    )
    with pytest.raises(errors.InputError, match="does not cover the values"):
        add_class(engine, required=bad, has_required=True)


def test_views_show_changes_and_are_read_only(engine: native.Engine) -> None:
    columns = engine.columns()
    class_id = add_class(engine)
    engine.bind(arrays.int32([class_id]), arrays.int32([1]))
    assert columns.used[0].tolist() == [0, 1000, 0]
    with pytest.raises(ValueError, match="read-only"):
        columns.used[0][0] = 1
    assert engine.nbytes > 0


def test_runs_update_decisions_in_place(engine: native.Engine) -> None:
    class_id = add_class(engine)
    profile = engine.add_profile([native.FILTERS["NodeResourcesFit"]], [], 0)
    pods = arrays.int32([class_id] * 3)
    decisions, series = engine.run(native.Options(profile), arrays.int32([1, 2]), pods)
    assert series is None
    again, _ = engine.run(native.Options(profile), arrays.int32([-1, 3]), pods, decisions)
    assert again is decisions
    assert (decisions.node >= 0).all()
    assert int(engine.columns().used[3].sum()) == 2
    frozen = native.Decisions.empty(3)
    frozen.node.flags.writeable = False
    with pytest.raises(errors.InputError, match="is read-only"):
        engine.run(native.Options(profile), arrays.int32([1]), pods, frozen)

# SPDX-License-Identifier: Apache-2.0
"""Pausing the collector."""

from __future__ import annotations

import gc

import pytest

from kubesched.base import bulk


def test_blocks_nest_and_an_error_ends_them() -> None:
    assert gc.isenabled()
    with pytest.raises(ValueError, match="no"), bulk.without_collection():
        with bulk.without_collection():
            assert not gc.isenabled()
        assert not gc.isenabled()
        raise ValueError("no")
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with bulk.without_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

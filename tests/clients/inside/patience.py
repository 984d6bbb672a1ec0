# SPDX-License-Identifier: Apache-2.0
"""A pytest plugin for the suites of other clients: how long a test may take.

What is known to need more than there is may wait for it forever: it is given up early, the others late.
"""

from __future__ import annotations

import json
import os

import pytest

_KNOWN = pytest.mark.timeout(3, func_only=True)  # it must not fall into the report of a failure
_OTHERS = pytest.mark.timeout(60)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    known = set(json.loads(os.environ["KNOWN"]))
    for item in items:
        item.add_marker(_KNOWN if f"{item.path.stem}::{item.name}" in known else _OTHERS)

# SPDX-License-Identifier: Apache-2.0
"""kr8s's own tests, which its package carries, against our server."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from kubesched import testing
from tests.clients import suite


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="kr8s's tests need a kubectl, and none is on PATH")
def test_the_suite(client_python: Path, server: testing.RunningServer) -> None:
    tests = suite.package(client_python, "kr8s") / "tests"
    chance = [name.replace("::", ".py::") for name in suite.not_passing("kr8s, left to chance")]
    options = ("-p", "kr8s_cluster", *(f"--deselect=tests/{name}" for name in chance))
    assert suite.run(client_python, server, tests, suite.not_passing("kr8s"), *options) == []

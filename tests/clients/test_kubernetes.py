# SPDX-License-Identifier: Apache-2.0
"""The official Python client against our server."""

from __future__ import annotations

from pathlib import Path

from kubesched import testing
from tests.clients import suite


def test_the_checks(client_python: Path, server: testing.RunningServer) -> None:
    checks = suite.INSIDE / "kubernetes_checks.py"
    assert suite.run(client_python, server, checks, suite.not_passing("kubernetes")) == []

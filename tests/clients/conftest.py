# SPDX-License-Identifier: Apache-2.0
"""What the tests with other clients share: their Python, and a server beside which pods become ready."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubesched import testing
from tests.clients import pretend_kubelet, suite


@pytest.fixture(scope="session")
def client_python() -> Path:
    try:
        return suite.interpreter()
    except suite.Absent as why:
        pytest.skip(f"the packages of other clients are not here: {why}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[testing.RunningServer]:
    with testing.serve(tmp_path_factory.mktemp("server")) as running, pretend_kubelet.running(running):
        yield running

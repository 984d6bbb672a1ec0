# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several tests share."""

from __future__ import annotations

import os
import zlib
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / ".." / "shared" / "data" / "golden"
AZURE = ROOT / ".." / "shared" / "data" / "azure-2017-vm" / "azure_v1_vm_arrivals.parquet"

# A slow machine is not a defect, so no deadline. Every commit meets the same examples; the nightly run draws new ones
# and prints how to repeat a failure.
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True)
hypothesis.settings.register_profile("nightly", deadline=None, max_examples=5_000, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator whose seed depends on the test's name alone; a failure shows it."""
    seed = zlib.crc32(request.node.nodeid.encode())
    request.node.user_properties.append(("seed", seed))
    print(f"seed {seed}")
    return np.random.Generator(np.random.PCG64(seed))


Tally = Callable[[str, Mapping[str, int]], None]
"""Adds what a random test of a family met; the sums are printed at the end of the run."""
_TALLY = "tally "


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Tally:
    def add(family: str, counts: Mapping[str, int]) -> None:
        request.node.user_properties.append((_TALLY + family, dict(counts)))

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Random decisions by family, and what they turned on."""
    sums: dict[str, Counter[str]] = {}
    for report in terminalreporter.getreports("passed"):
        for name, counts in report.user_properties:
            if name.startswith(_TALLY):
                sums.setdefault(name.removeprefix(_TALLY), Counter()).update(counts)
    if sums:
        terminalreporter.section("random decisions that equal the oracle's")
    for family, counts in sorted(sums.items()):
        rest = ", ".join(f"{name} {n}" for name, n in counts.most_common() if name != "decisions")
        terminalreporter.line(f"{family}: {counts['decisions']} decisions ({rest})")


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recorded decisions."""
    if not GOLDEN.is_dir():
        pytest.skip("the recorded decisions (../shared/data/golden) are not here")
    return GOLDEN

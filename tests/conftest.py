# SPDX-License-Identifier: Apache-2.0
"""Fixtures that several tests share."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

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


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of the recorded decisions."""
    if not GOLDEN.is_dir():
        pytest.skip("the recorded decisions (../shared/data/golden) are not here")
    return GOLDEN

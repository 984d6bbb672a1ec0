# SPDX-License-Identifier: Apache-2.0
"""Work on many objects that makes no garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Pause the cyclic garbage collector in a block that makes very many objects which all stay.

    It would look at all of them again and again, and find nothing: half of the time of a large batch. Objects without
    cycles are freed as always. Blocks nest.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

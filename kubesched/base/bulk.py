# SPDX-License-Identifier: Apache-2.0
"""Work on many objects that makes no garbage."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

_MANY = 1000  # arbitrary: from here on the collector's passes are felt


@contextlib.contextmanager
def without_collection(n: int = _MANY) -> Iterator[None]:
    """Pause the cyclic garbage collector in a block that makes very many objects which all stay.

    It would look at all of them again and again, and find nothing: half of the time of a large batch. Objects without
    cycles are freed as always. Blocks nest.

    Parameters
    ----------
    n
        About how many objects; a few are not worth it.
    """
    if n < _MANY:
        yield
        return
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()

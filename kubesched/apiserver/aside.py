# SPDX-License-Identifier: Apache-2.0
"""Work on large bodies: in a thread, so that the event loop goes on serving others meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

LARGE = 128 << 10
"""Bytes of a body from which on handing it over is worth it: what is smaller takes some tens of milliseconds."""


async def run(size: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call a function that works on a body of so many bytes, and on nothing that others see."""
    if size < LARGE:
        return function(*args, **kwargs)
    return await asyncio.to_thread(function, *args, **kwargs)

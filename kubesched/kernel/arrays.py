# SPDX-License-Identifier: Apache-2.0
"""Array types of the engine and the one gate through which every array passes.

``ffi.from_buffer`` refuses strided arrays but would take a float64 array as ``int64_t[]``: so dtype, order and shape
are checked here, once, and nothing is converted silently.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kubesched.base import errors

I64 = npt.NDArray[np.int64]
I32 = npt.NDArray[np.int32]
U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
F64 = npt.NDArray[np.float64]

NO_NODE = -1
"""Row number that means "no node"."""


def check(
    array: Any,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
    where: str,
    name: str,
) -> npt.NDArray[Any]:
    """Return ``array`` if it is exactly what C expects.

    Parameters
    ----------
    array
        Borrowed; returned as it is, never copied or converted.
    dtype
        Required dtype.
    shape
        Required shape; None leaves an axis open.
    where, name
        The function and the argument, for the error.

    Raises
    ------
    InputError
        Not an array, wrong dtype, not C-contiguous, or wrong shape.
    """
    if not isinstance(array, np.ndarray):
        name_of = np.dtype(dtype).name
        raise errors.InputError(f"{where}: {name}", "is not an array", type(array).__name__, f"a {name_of} array")
    if array.dtype != dtype:
        raise errors.InputError(f"{where}: {name}", "has the wrong dtype", array.dtype.name, np.dtype(dtype).name)
    if not array.flags.c_contiguous:
        raise errors.InputError(f"{where}: {name}", "is not contiguous", array.strides, "C order")
    if array.shape != shape and not _fits(array.shape, shape):
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise errors.InputError(f"{where}: {name}", "has the wrong shape", array.shape, wanted)
    return array


def _fits(have: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(have) == len(wanted) and all(want in (None, n) for want, n in zip(wanted, have, strict=True))


def int32(values: Sequence[int]) -> I32:
    """A new int32 array from Python integers."""
    return np.array(values, dtype=np.int32)


def int64(values: Sequence[int]) -> I64:
    """A new int64 array from Python integers."""
    return np.array(values, dtype=np.int64)

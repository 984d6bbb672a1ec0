# SPDX-License-Identifier: Apache-2.0
"""Build time only: writes the C source of ``kubesched.kernel._native`` from the marked region of ks.h.

The region is the cffi declaration, read verbatim, so that no second copy of the contract exists; the C compiler
checks it against the header. Usage: ``ffi_build.py HEADER OUTPUT``.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from cffi import FFI


def declaration(header: str) -> str:
    """The text between ``ffi:begin`` and ``ffi:end``, without comments."""
    start, end = "/* ffi:begin */", "/* ffi:end */"
    if header.count(start) != 1 or header.count(end) != 1:
        raise SystemExit(f"ffi_build: expected exactly one {start} and one {end}")
    region = header[header.index(start) + len(start) : header.index(end)]
    return re.sub(r"/\*.*?\*/", "", region, flags=re.DOTALL)


CALLED_BY_C = """
extern "Python" int32_t ks_call_python(void *, int32_t, int32_t, const double *, const double *, double *);
"""
"""Python functions that C calls: kernel/plugin.py defines them."""


def main() -> None:
    header, output = map(Path, sys.argv[1:3])
    ffi = FFI()
    ffi.cdef(declaration(header.read_text(encoding="utf-8")) + CALLED_BY_C)
    ffi.set_source("kubesched.kernel._native", '#include "ks.h"')
    ffi.emit_c_code(str(output))


if __name__ == "__main__":
    main()

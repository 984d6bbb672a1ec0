# SPDX-License-Identifier: Apache-2.0
# The generated module: cffi's two objects. Names and types behind them are core/include/ks.h.
from typing import Any

ffi: Any
lib: Any

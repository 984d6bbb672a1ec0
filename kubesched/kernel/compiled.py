# SPDX-License-Identifier: Apache-2.0
"""Users' plugins compiled by Numba to C functions. Numba is imported here only, when the first one is compiled.

The function is inlined into two loops, one over rows and one over pod classes, so that the compiler can vectorise
them. Division by zero gives infinity or NaN, as in C; an exception ends the loop and its position is returned.
Cost: 0.3 to 1 s a plugin, once a process.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from kubesched.base import errors
from kubesched.kernel import _native, plugin

_LOOPS = """
def make_node(a, n, i):
    return {node}

def make_pod(a, n, i):
    return {pod}

make_node, make_pod = compile(make_node), compile(make_pod)

def loops(context, n_rows, n_classes, node, pod, out):
    at = 0
    try:
        if n_rows == 1:
            one_node = make_node(node, 1, 0)
            for at in range(n_classes):
                out[at] = judge(one_node, make_pod(pod, n_classes, at))
        else:
            one_pod = make_pod(pod, 1, 0)
            for at in range(n_rows):
                out[at] = judge(make_node(node, n_rows, at), one_pod)
    except Exception:
        return at + 1
    return 0
"""


def _numba(where: str) -> Any:
    try:
        import numba
    except ModuleNotFoundError:
        expected = "pip install 'kubesched[plugins]', or a vectorised plugin (vectorized=True)"
        raise errors.PluginError(where, "needs numba, which is not installed", None, expected) from None
    return numba


def compile_function(function: Callable[..., Any], inputs: plugin.Inputs, is_filter: bool, where: str) -> plugin.Hook:
    """Compile a plugin.

    Parameters
    ----------
    function
        Of (node, pod); a Numba function is compiled anew.
    inputs
        Everything that it may read; what it does not name is left out, so that C need not gather it.
    is_filter
        It must return a boolean; else a number.
    where
        Names the plugin in errors.

    Raises
    ------
    PluginError
        Numba is not installed, cannot compile it, or it returns something else.
    """
    numba = _numba(where)
    plain = getattr(function, "py_func", function)
    named = inputs.only(_names(plain.__code__))
    try:
        return _compile(numba, plain, named, is_filter, where)
    except numba.core.errors.NumbaError:
        pass  # it may hand a whole tuple to a function that reads more
    try:
        return _compile(numba, plain, inputs, is_filter, where)
    except numba.core.errors.NumbaError as error:
        raise errors.PluginError(where, f"cannot be compiled by Numba: {_gist(str(error))}") from error


def _names(code: Any) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if hasattr(constant, "co_names"):
            names |= _names(constant)
    return names


def _compile(numba: Any, plain: Callable[..., Any], inputs: plugin.Inputs, is_filter: bool, where: str) -> plugin.Hook:
    compile_one = numba.njit(error_model="numpy")
    judge = compile_one(plain)
    sides = [plugin.Tuples.of("node", inputs.node), plugin.Tuples.of("pod", inputs.pod)]
    judge.compile(tuple(numba.typeof(side.fill([1.0] * len(side.leaves))) for side in sides))
    _check_return(numba, judge.nopython_signatures[0].return_type, is_filter, where)
    scope: dict[str, Any] = {"compile": compile_one, "judge": judge}
    text = {}
    for name, side in zip(("node", "pod"), sides, strict=True):
        scope[f"{name}_type"] = side.type
        scope |= {f"{name}_{group}": nested for group, nested in side.nested.items()}
        text[name] = _constructor(name, side)
    exec(_LOOPS.format(**text), scope)
    t = numba.types
    column = t.CPointer(t.float64)
    signature = t.int32(t.voidptr, t.int32, t.int32, column, column, column)
    function = numba.cfunc(signature, error_model="numpy")(scope["loops"])
    pointer = _native.ffi.cast("ks_user_function", function.address)
    return plugin.Hook(pointer, _native.ffi.NULL, inputs, (function, judge))


def _constructor(name: str, side: plugin.Tuples) -> str:
    """Source of an expression that makes the tuple from columns ``a`` of length ``n`` at ``i``."""
    groups: dict[str, list[str]] = {}
    for number, leaf in enumerate(side.leaves):
        groups.setdefault(leaf.path[0], []).append(f"a[{number} * n + i]")
    parts = [f"{name}_{g}({', '.join(v)})" if g in side.nested else v[0] for g, v in groups.items()]
    return f"{name}_type({', '.join(parts)})"


def _check_return(numba: Any, found: Any, is_filter: bool, where: str) -> None:
    t = numba.types
    right = isinstance(found, t.Boolean) if is_filter else isinstance(found, t.Integer | t.Float)
    if not right:
        expected = "a boolean (True: the node passes)" if is_filter else "a number"
        raise errors.PluginError(where, "returns the wrong type", str(found), expected)


def _gist(text: str) -> str:
    """What is wrong and where, out of Numba's long message."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    skipped = ("Failed in nopython", "During:", "- Resolution", "- argument", "This error", "* For")
    told = itertools.takewhile(lambda line: not line.startswith("File "), lines)
    return "; ".join([line for line in told if not line.startswith(skipped)][:3])[:300]

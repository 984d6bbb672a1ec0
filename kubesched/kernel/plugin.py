# SPDX-License-Identifier: Apache-2.0
"""Users' plugins at the gate to C: what they read, and how C calls them.

A plugin is a function of a node and a pod. Both are named tuples of float64 (integers are exact below 2^53)::

    node.allocatable.cpu  node.used.cpu  node.nonzero_used.cpu    also memory; allocatable and used have
                                                                  ephemeral_storage and pods, too
    node.devices  node.free_milli                                 devices, and thousandths of them that are left
    node.<column>  node.<label>                                   columns and labels that the plugin names
    pod.request.cpu  pod.nonzero_request.cpu                      also memory
    pod.devices  pod.device_milli

Named resources stand beside cpu and memory. There are two forms: compiled by Numba (`compiled`), called by C as any C
function; and vectorised, called back in Python with arrays: one of node and pod then holds arrays, the other numbers.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kubesched.kernel import _native
from kubesched.kernel.arrays import F64

_ffi = _native.ffi
_lib = _native.lib

NORMALIZATIONS: dict[str, int] = {
    "none": _lib.KS_NORMALIZE_NONE,
    "clamp": _lib.KS_NORMALIZE_CLAMP,
    "max": _lib.KS_NORMALIZE_MAX,
    "max-reverse": _lib.KS_NORMALIZE_MAX_REVERSE,
    "min-max": _lib.KS_NORMALIZE_MIN_MAX,
}
OF_RESOURCE = (
    _lib.KS_INPUT_ALLOCATABLE,
    _lib.KS_INPUT_USED,
    _lib.KS_INPUT_REQUEST,
    _lib.KS_INPUT_NONZERO_USED,
    _lib.KS_INPUT_NONZERO_REQUEST,
)
OF_COLUMN: int = _lib.KS_INPUT_COLUMN
OF_LABEL: int = _lib.KS_INPUT_LABEL
RESERVED = ("allocatable", "used", "nonzero_used", "devices", "free_milli", "request", "nonzero_request")
"""Names that columns and labels cannot have."""
CORE = {"cpu": "cpu", "memory": "memory", "ephemeral_storage": "ephemeral-storage", "pods": "pods"}
"""Names of the core resources in tuples, and the resources."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One number that a plugin reads.

    Parameters
    ----------
    path
        Attribute names from the tuple down.
    kind
        KS_INPUT_*.
    name
        Resource, column or label key; empty where the input needs none.
    """

    path: tuple[str, ...]
    kind: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class Inputs:
    """All leaves of the two tuples, in the order in which C gathers them."""

    node: tuple[Leaf, ...]
    pod: tuple[Leaf, ...]

    @classmethod
    def of(cls, columns: Collection[str], labels: Mapping[str, str], resources: Mapping[str, str]) -> Inputs:
        """Everything that a plugin may read that names these columns, labels and resources."""
        amounts = CORE | dict(resources)
        basic = ("cpu", "memory")
        node = [Leaf(("allocatable", a), _lib.KS_INPUT_ALLOCATABLE, r) for a, r in amounts.items()]
        node += [Leaf(("used", a), _lib.KS_INPUT_USED, r) for a, r in amounts.items()]
        node += [Leaf(("nonzero_used", a), _lib.KS_INPUT_NONZERO_USED, a) for a in basic]
        node += [Leaf(("devices",), _lib.KS_INPUT_DEVICES), Leaf(("free_milli",), _lib.KS_INPUT_FREE_MILLI)]
        node += [Leaf((name,), _lib.KS_INPUT_COLUMN, name) for name in columns]
        node += [Leaf((name,), _lib.KS_INPUT_LABEL, key) for name, key in labels.items()]
        pod = [Leaf(("request", a), _lib.KS_INPUT_REQUEST, r) for a, r in amounts.items()]
        pod += [Leaf(("nonzero_request", a), _lib.KS_INPUT_NONZERO_REQUEST, a) for a in basic]
        pod += [Leaf(("devices",), _lib.KS_INPUT_ASKED_DEVICES), Leaf(("device_milli",), _lib.KS_INPUT_ASKED_MILLI)]
        return cls(tuple(node), tuple(pod))

    def only(self, names: Collection[str]) -> Inputs:
        """The leaves whose last name is among ``names``: what a function that says no others can read."""
        kept = [tuple(leaf for leaf in side if leaf.path[-1] in names) for side in (self.node, self.pod)]
        return Inputs(kept[0], kept[1])


@dataclass(frozen=True, slots=True)
class Tuples:
    """A named tuple type for the leaves of one side, with those that are nested in it."""

    type: Any
    nested: dict[str, Any]
    leaves: tuple[Leaf, ...]

    @classmethod
    def of(cls, name: str, leaves: tuple[Leaf, ...]) -> Tuples:
        groups: dict[str, list[str]] = {}
        for leaf in leaves:
            groups.setdefault(leaf.path[0], []).extend(leaf.path[1:])
        nested = {group: namedtuple(group, parts) for group, parts in groups.items() if parts}
        return cls(namedtuple(name, groups), nested, leaves)

    def fill(self, values: Any) -> Any:
        """A tuple of the values (numbers, or rows of an array) in the order of the leaves."""
        parts: dict[str, list[Any]] = {}
        for leaf, value in zip(self.leaves, values, strict=True):
            parts.setdefault(leaf.path[0], []).append(value)
        return self.type(*(self.nested[g](*v) if g in self.nested else v[0] for g, v in parts.items()))


@dataclass(frozen=True, slots=True)
class Failure:
    """ks_user_failure, with what the plugin had read."""

    row: int
    node: list[float]
    pod: list[float]
    raised: bool
    value: float


@dataclass(slots=True)
class Hook:
    """What C calls, with everything that must stay alive as long as the engine.

    Parameters
    ----------
    function, context
        C pointers.
    inputs
        What to gather.
    error
        The exception for a failure; set by whoever knows the names.
    caught
        Exception of a vectorised function, kept until C has returned.
    """

    function: Any
    context: Any
    inputs: Inputs
    alive: tuple[Any, ...] = ()
    error: Callable[[Failure], BaseException] | None = None
    caught: list[BaseException] = field(default_factory=list)


class _Vectorised:
    """Turns the columns that C gathered into the tuples of a vectorised function, and its answer into numbers."""

    def __init__(self, function: Callable[[Any, Any], Any], inputs: Inputs) -> None:
        self._function = function
        self._node, self._pod = Tuples.of("node", inputs.node), Tuples.of("pod", inputs.pod)
        self.caught: list[BaseException] = []

    def __call__(self, n_rows: int, n_classes: int, node: Any, pod: Any, out: Any) -> None:
        n = max(n_rows, n_classes)
        rows = _matrix(node, len(self._node.leaves), n_rows)
        pods = _matrix(pod, len(self._pod.leaves), n_classes)
        one_row = n_rows == 1 and n_classes > 1
        node_values = rows[:, 0] if one_row else rows
        pod_values = pods if one_row else pods[:, 0]
        with np.errstate(all="ignore"):
            answer = np.asarray(self._function(self._node.fill(node_values), self._pod.fill(pod_values)))
        if answer.shape not in ((), (n,)) or answer.dtype.kind not in "bif":
            what = f"returned {answer.dtype} of shape {answer.shape}, expected numbers of shape ({n},)"
            raise TypeError(what)
        _matrix(out, 1, n)[0] = answer


def _matrix(pointer: Any, rows: int, columns: int) -> F64:
    if rows == 0:
        return np.zeros((0, columns), dtype=np.float64)
    size = rows * columns
    view: F64 = np.frombuffer(_ffi.buffer(pointer, 8 * size), dtype=np.float64).reshape(rows, columns)
    return view


@_ffi.def_extern(name="ks_call_python", error=1)  # type: ignore[untyped-decorator]
def _call_python(context: Any, n_rows: int, n_classes: int, node: Any, pod: Any, out: Any) -> int:
    plugin: _Vectorised = _ffi.from_handle(context)
    try:
        plugin(n_rows, n_classes, node, pod, out)
    except BaseException as error:  # it must not cross C: native raises it when C has returned
        plugin.caught.append(error)
        return 1
    return 0


def vectorised(function: Callable[[Any, Any], Any], inputs: Inputs) -> Hook:
    """A hook that calls back into Python with whole columns."""
    plugin = _Vectorised(function, inputs)
    handle = _ffi.new_handle(plugin)
    return Hook(_lib.ks_call_python, handle, inputs, (plugin, handle), caught=plugin.caught)

# SPDX-License-Identifier: Apache-2.0
"""One method for each function of ks.h: check, point, call, raise.

The contract, with shapes, units and costs, is core/include/ks.h; the names are the same. Arrays are borrowed for the
call and copied by C. Methods that take columns run no Python per node or pod.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from kubesched.base import errors
from kubesched.kernel import _native, arrays
from kubesched.kernel import plugin as plugins
from kubesched.kernel.arrays import F64, I32, I64, NO_NODE, U8, U64

_ffi = _native.ffi
_lib = _native.lib

DRIVER_AUTO: int = _lib.KS_DRIVER_AUTO
DRIVER_DENSE: int = _lib.KS_DRIVER_DENSE
DRIVER_INDEXED: int = _lib.KS_DRIVER_INDEXED
DRIVERS = {"auto": DRIVER_AUTO, "dense": DRIVER_DENSE, "indexed": DRIVER_INDEXED}
ADAPTIVE: int = _lib.KS_ADAPTIVE
TIE_LOWEST: int = _lib.KS_TIE_LOWEST
TIE_UNIFORM: int = _lib.KS_TIE_UNIFORM
KEY_NODE_NAME: int = _lib.KS_KEY_NODE_NAME
KEY_HOSTNAME: int = _lib.KS_KEY_HOSTNAME
FIRST_EXTENDED: int = _lib.KS_FIRST_EXTENDED
CPU: int = _lib.KS_CPU
MEMORY: int = _lib.KS_MEMORY
PODS: int = _lib.KS_PODS
MAX_DEVICES: int = _lib.KS_MAX_DEVICES
MAX_MODELS: int = _lib.KS_MAX_MODELS
REMOVED_ROW = -2
"""Verdicts.filter of a row that was removed."""

OPERATORS: dict[str, int] = {
    "In": _lib.KS_OP_IN,
    "NotIn": _lib.KS_OP_NOT_IN,
    "Exists": _lib.KS_OP_EXISTS,
    "DoesNotExist": _lib.KS_OP_DOES_NOT_EXIST,
    "Gt": _lib.KS_OP_GT,
    "Lt": _lib.KS_OP_LT,
}
EFFECTS: dict[str, int] = {
    "": _lib.KS_EFFECT_ANY,
    "NoSchedule": _lib.KS_EFFECT_NO_SCHEDULE,
    "PreferNoSchedule": _lib.KS_EFFECT_PREFER_NO_SCHEDULE,
    "NoExecute": _lib.KS_EFFECT_NO_EXECUTE,
}
TOLERATION_OPERATORS: dict[str, int] = {
    "Equal": _lib.KS_TOLERATE_EQUAL,
    "Exists": _lib.KS_TOLERATE_EXISTS,
}
TOLERATE_NEVER: int = _lib.KS_TOLERATE_NEVER
SPREAD_HARD: int = _lib.KS_SPREAD_HARD
SPREAD_HONOR_AFFINITY: int = _lib.KS_SPREAD_HONOR_AFFINITY
SPREAD_HONOR_TAINTS: int = _lib.KS_SPREAD_HONOR_TAINTS
SPREAD_SELF: int = _lib.KS_SPREAD_SELF
TERM_OWN: int = _lib.KS_TERM_OWN
TERM_EXISTING: int = _lib.KS_TERM_EXISTING
TERM_REQUIRED: int = _lib.KS_TERM_REQUIRED
DETAIL_NO_TOPOLOGY: int = _lib.KS_DETAIL_NO_TOPOLOGY
DETAIL_SKEW: int = _lib.KS_DETAIL_SKEW
DETAIL_AFFINITY: int = _lib.KS_DETAIL_AFFINITY
DETAIL_ANTI_AFFINITY: int = _lib.KS_DETAIL_ANTI_AFFINITY
DETAIL_EXISTING: int = _lib.KS_DETAIL_EXISTING
DETAIL_ENFORCED: int = _lib.KS_DETAIL_ENFORCED
FILTERS: dict[str, int] = {
    "NodeUnschedulable": _lib.KS_FILTER_NODE_UNSCHEDULABLE,
    "NodeName": _lib.KS_FILTER_NODE_NAME,
    "TaintToleration": _lib.KS_FILTER_TAINT_TOLERATION,
    "NodeAffinity": _lib.KS_FILTER_NODE_AFFINITY,
    "NodePorts": _lib.KS_FILTER_NODE_PORTS,
    "NodeResourcesFit": _lib.KS_FILTER_NODE_RESOURCES_FIT,
    "VolumeRestrictions": _lib.KS_FILTER_VOLUME_RESTRICTIONS,
    "NodeVolumeLimits": _lib.KS_FILTER_NODE_VOLUME_LIMITS,
    "VolumeBinding": _lib.KS_FILTER_VOLUME_BINDING,
    "VolumeZone": _lib.KS_FILTER_VOLUME_ZONE,
    "PodTopologySpread": _lib.KS_FILTER_POD_TOPOLOGY_SPREAD,
    "InterPodAffinity": _lib.KS_FILTER_INTER_POD_AFFINITY,
    "DynamicResources": _lib.KS_FILTER_DYNAMIC_RESOURCES,
    "NodeDeclaredFeatures": _lib.KS_FILTER_NODE_DECLARED_FEATURES,
    "GpuShare": _lib.KS_FILTER_GPU_SHARE,
}
VERDICT_UNRESOLVABLE: int = _lib.KS_VERDICT_UNRESOLVABLE
FILTER_NAMES = {number: name for name, number in FILTERS.items()}
SCORES: dict[str, int] = {
    "TaintToleration": _lib.KS_SCORE_TAINT_TOLERATION,
    "NodeAffinity": _lib.KS_SCORE_NODE_AFFINITY,
    "NodeResourcesFit": _lib.KS_SCORE_NODE_RESOURCES_FIT,
    "PodTopologySpread": _lib.KS_SCORE_POD_TOPOLOGY_SPREAD,
    "InterPodAffinity": _lib.KS_SCORE_INTER_POD_AFFINITY,
    "DynamicResources": _lib.KS_SCORE_DYNAMIC_RESOURCES,
    "NodeResourcesBalancedAllocation": _lib.KS_SCORE_BALANCED_ALLOCATION,
    "ImageLocality": _lib.KS_SCORE_IMAGE_LOCALITY,
    "DotProduct": _lib.KS_SCORE_DOT_PRODUCT,
    "GpuClustering": _lib.KS_SCORE_GPU_CLUSTERING,
    "GpuPacking": _lib.KS_SCORE_GPU_PACKING,
    "BestFit": _lib.KS_SCORE_BEST_FIT,
    "FGD": _lib.KS_SCORE_FGD,
    "Random": _lib.KS_SCORE_RANDOM,
}
FIT_STRATEGIES: dict[str, int] = {
    "LeastAllocated": _lib.KS_FIT_LEAST_ALLOCATED,
    "MostAllocated": _lib.KS_FIT_MOST_ALLOCATED,
    "RequestedToCapacityRatio": _lib.KS_FIT_REQUESTED_TO_CAPACITY_RATIO,
}
BALANCED_FORMULAS: dict[str, int] = {
    "v1.36": _lib.KS_BALANCED_V136,
    "v1.35": _lib.KS_BALANCED_V135,
}
DEVICE_SELECTS: dict[str, int] = {
    "best-fit": _lib.KS_DEVICE_BEST_FIT,
    "random": _lib.KS_DEVICE_RANDOM,
    "fgd": _lib.KS_DEVICE_FGD,
}


def check_status(where: str, status: int, got: object = None) -> None:
    """Turn a status code into the exception that a caller can act on; OK passes."""
    if status == _lib.KS_OK:
        return
    text = _ffi.string(_lib.ks_status_text(status)).decode()
    if status == _lib.KS_ENOMEM:
        raise MemoryError(f"{where}: {text}")
    if status == _lib.KS_EUNSUPPORTED:
        raise errors.UnsupportedError(where, text, got)
    raise errors.KernelError(where, text, int(status), got)


def _empty_i32() -> I32:
    return np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Selector:
    """ks_selector: terms as runs of requirements, requirements as runs of values."""

    term_start: I32 = field(default_factory=lambda: np.zeros(1, dtype=np.int32))
    weight: I32 | None = None
    key: I32 = field(default_factory=_empty_i32)
    op: I32 = field(default_factory=_empty_i32)
    number: I64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    is_number: U8 = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    value_start: I32 = field(default_factory=lambda: np.zeros(1, dtype=np.int32))
    value: I32 = field(default_factory=_empty_i32)


@dataclass(frozen=True, slots=True)
class Amounts:
    """What a class asks for: (resource, amount) in canonical units, ascending, without PODS.

    Parameters
    ----------
    unchecked
        Of each request: 1 if it need not fit; empty: all must.
    """

    request: Sequence[tuple[int, int]]
    fit_request: Sequence[tuple[int, int]]
    nonzero_cpu: int
    nonzero_memory: int
    unchecked: Sequence[int] = ()


@dataclass(frozen=True, slots=True)
class ClassSpec:
    """ks_class_spec without the amounts."""

    node_name: int = NO_NODE
    tolerates_unschedulable: bool = False
    toleration_key: I32 = field(default_factory=_empty_i32)
    toleration_op: I32 = field(default_factory=_empty_i32)
    toleration_value: I32 = field(default_factory=_empty_i32)
    toleration_effect: I32 = field(default_factory=_empty_i32)
    has_required: bool = False
    node_selector: Selector = field(default_factory=Selector)
    required: Selector = field(default_factory=Selector)
    preferred: Selector = field(default_factory=Selector)
    has_enforced: bool = False
    enforced: Selector = field(default_factory=Selector)
    port: I32 = field(default_factory=_empty_i32)
    image: I32 = field(default_factory=_empty_i32)
    n_image_containers: int = 0
    device_count: int = 0
    device_milli: int = 0
    device_models: int = 0


@dataclass(frozen=True, slots=True)
class PairwiseSpec:
    """ks_pairwise_spec, each rule a tuple of numbers in the order of its columns there.

    Parameters
    ----------
    spread
        (counter, topology, max_skew, min_domains, flags)
    affinity
        (counter, topology); all of one counter
    anti, existing
        (counter, topology)
    scored
        (counter, topology, kind, weight)
    """

    spread: Sequence[tuple[int, int, int, int, int]] = ()
    spread_needs_all: bool = False
    affinity: Sequence[tuple[int, int]] = ()
    affinity_self: bool = False
    anti: Sequence[tuple[int, int]] = ()
    existing: Sequence[tuple[int, int]] = ()
    scored: Sequence[tuple[int, int, int, int]] = ()


@dataclass(frozen=True, slots=True)
class ScoreSpec:
    """ks_score_spec; ``plugin`` and ``variant`` are the numbers of SCORES, FIT_STRATEGIES, BALANCED_FORMULAS."""

    plugin: int
    weight: int
    variant: int = 0
    resource: I32 = field(default_factory=_empty_i32)
    resource_weight: I64 | None = None
    utilization: I64 | None = None
    shape_score: I64 | None = None


@dataclass(slots=True)
class Options:
    """ks_options; ``rng``, ``next_node`` and the numbers of decisions are written back by each call."""

    profile: int
    driver: int = DRIVER_AUTO
    tie: int = TIE_LOWEST
    commit: bool = True
    rng: int = 0
    n_dense: int = 0
    n_indexed: int = 0
    n_partial: int = 0
    next_node: int = 0


@dataclass(frozen=True, slots=True)
class Decisions:
    """ks_decisions: one entry a pod."""

    node: I32
    score: I64
    ties: I32
    feasible: I32
    devices: U64

    @classmethod
    def empty(cls, n: int) -> Decisions:
        """Columns of ``n`` pods that have not been decided."""
        return cls(
            node=np.full(n, NO_NODE, dtype=np.int32),
            score=np.full(n, -1, dtype=np.int64),
            ties=np.zeros(n, dtype=np.int32),
            feasible=np.zeros(n, dtype=np.int32),
            devices=np.zeros(n, dtype=np.uint64),
        )

    def part(self, begin: int, end: int) -> Decisions:
        """Views of some pods' entries."""
        at = slice(begin, end)
        return Decisions(self.node[at], self.score[at], self.ties[at], self.feasible[at], self.devices[at])


class Placing:
    """Pods that are decided a part at a time: their columns are checked, and pointed at, once.

    Parameters
    ----------
    engine
        That decides.
    class_of
        Engine class of each pod, ``[n]``.
    """

    def __init__(self, engine: Engine, class_of: I32) -> None:
        n, self._pointers = len(class_of), Pointers("place")
        self._engine = engine
        self.class_of = class_of
        self.out = Decisions.empty(n)
        """What came of each; pods that nobody decided are as in `Decisions.empty`."""
        self.options, self.done = _ffi.new("ks_options *"), _ffi.new("int32_t *")
        self._classes = self._pointers.of(class_of, np.int32, (n,), "class_id")
        self._first = _decision_columns(self._pointers, self.out, n)
        self._some = _ffi.new("ks_decisions *")

    def place(self, options: Options, begin: int, end: int) -> None:
        """Decide pods ``begin`` to ``end - 1``, one after another, in one call.

        If a user's plugin fails, none of them is placed.
        """
        self._engine.place_part(options, self, begin, end)

    def at(self, begin: int) -> tuple[Any, Any]:
        """Pointers at the class and the columns of a pod."""
        if begin == 0:
            return self._classes, self._first
        first, some = self._first, self._some
        some.node, some.score, some.ties = first.node + begin, first.score + begin, first.ties + begin
        some.feasible, some.devices = first.feasible + begin, first.devices + begin
        return self._classes + begin, some


@dataclass(frozen=True, slots=True)
class GroupSpec:
    """ks_groups: what is asked of each group."""

    start: I32
    """``[G + 1]``: pods ``start[g]`` to ``start[g + 1] - 1`` are group g."""
    minimum: I32
    """``[G]``: pods that must find a node, or none is placed; 0: each pod stands for itself."""
    topology: I32
    """``[G]``: whose domains are the group's placements, -1: it may go anywhere."""
    anchor: I32
    """``[G]``: a row in whose domain the group must be, -1: any domain will do."""
    running: I32
    """``[G]``: pods that run already."""

    @classmethod
    def anywhere(cls, start: I32, minimum: I32) -> GroupSpec:
        """Groups without a topology."""
        none = np.full(len(minimum), NO_NODE, dtype=np.int32)
        return cls(start, minimum, none, none, np.zeros(len(minimum), dtype=np.int32))

    def __len__(self) -> int:
        return len(self.minimum)

    def part(self, first: int, last: int) -> GroupSpec:
        """Groups ``first`` to ``last - 1``; their pods are numbered from 0."""
        columns = (self.minimum, self.topology, self.anchor, self.running)
        return GroupSpec(self.start[first : last + 1] - self.start[first], *(column[first:last] for column in columns))


@dataclass(frozen=True, slots=True)
class Groups:
    """ks_groups: how each group ended."""

    placed: U8
    """0: taken back; the decisions of its pods tell what was tried."""
    fitted: I32
    first_failed: I32
    """Position in the batch of the first pod that found no node, -1 if all did."""
    n_decided: I32
    """Pods decided before the group was given up."""
    placement: I32
    """A row of the placement whose decisions are told, -1: there is none."""
    n_placements: I32
    placement_ties: I32
    """How many placements are best, 0: none will do."""

    @classmethod
    def empty(cls, n: int) -> Groups:
        """Outcomes of ``n`` groups that have not been decided."""
        none, zeros = np.full(n, NO_NODE, dtype=np.int32), np.zeros((4, n), dtype=np.int32)
        return cls(np.zeros(n, dtype=np.uint8), zeros[0], none, zeros[1], none.copy(), zeros[2], zeros[3])


@dataclass(frozen=True, slots=True)
class Series:
    """ks_series: one entry an event."""

    used_device_milli: I64
    fragmented_milli: F64


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Outputs of ks_explain: N rows, S score plugins, W words of resource bits."""

    filter: I32
    unresolvable: U8
    detail: U8
    insufficient: U64
    raw: I64
    score: I64
    skipped: U8
    total: I64


@dataclass(frozen=True, slots=True)
class Counts:
    """Outputs of ks_summarize."""

    rejected: I64
    """Shape ``(filters, 256)``, users' plugins behind the built-in ones: nodes by their first failing filter and how it
    failed (detail and unresolvable bit)."""
    insufficient: I64
    """Shape ``(R,)``: nodes that NodeResourcesFit turned down and that lack the resource."""
    feasible: int
    score: int
    """Best total; -1 without a feasible node."""
    ties: int
    node: int
    """Lowest row with the best total."""


@dataclass(frozen=True, slots=True)
class Search:
    """How much of a cluster a profile looks at.

    Parameters
    ----------
    node_percentage
        The search for a node ends with so many feasible ones: 1..100 or ADAPTIVE; 0: every node is looked at.
    candidates
        Of eviction that are enough: percent and number; both 0: all.
    """

    node_percentage: int = 0
    candidates: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row on which evicting pods makes room."""

    row: int
    broken: int
    """Victims whose disruption budget is overdrawn."""
    is_best: bool
    victims: tuple[int, ...]
    """Handles, the most important first."""


@dataclass(frozen=True, slots=True)
class Preemption:
    """Outputs of ks_preempt."""

    row: int
    """Lowest of the best rows; -1: eviction helps nowhere."""
    ties: int
    victims: tuple[int, ...]
    """Handles, the most important first."""
    n_tried: int
    n_without_victims: int
    candidates: tuple[Candidate, ...]
    """All of them, if asked for."""
    counts: Counts | None
    """Why tried rows stay shut, if asked for."""


@dataclass(frozen=True, slots=True)
class Evicting:
    """Outputs of ks_place_evicting beside the decisions."""

    handle: I32
    """``[n]``: of the placed pods, -1: not placed."""
    victim_start: I32
    victims: I32
    """Handles of the pods that pod i evicted: ``victims[victim_start[i]:victim_start[i + 1]]``."""


DISK_WRITTEN, DISK_READ, ONE_POD = _lib.KS_HOLD_DISK_WRITTEN, _lib.KS_HOLD_DISK_READ, _lib.KS_HOLD_ONE_POD
"""Kinds of items that pods hold beside attachments, whose kind is the number of their driver."""
OF_POD, OF_NOMINATED, OF_ATTACHED, OF_LIMIT = (
    _lib.KS_HOLDS_POD,
    _lib.KS_HOLDS_NOMINATED,
    _lib.KS_HOLDS_ATTACHED,
    _lib.KS_HOLDS_LIMIT,
)
"""Whose items: of known pods, of nominated ones, what is attached to rows otherwise, and the limits of rows."""

Items = Sequence[tuple[int, int]]
"""(item, kind) of each thing that a pod holds; of limits (driver, most attachments)."""


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks about eviction and nominated pods."""

    priority: int
    nominated: int = -1
    """Handle under which it is nominated itself."""
    items: Items = ()
    in_use: int = 0
    """How many of its claims for one pod are in use."""
    are_new: bool = False
    """It holds attachments only, that no pod holds, as many of each driver as all pods of its class."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Read-only views of the engine's node columns.

    Borrowed: valid until a call adds nodes or resources, and they show every change of the engine.
    """

    n_rows: int
    allocatable: list[I64]
    used: list[I64]
    nonzero_cpu_used: I64
    nonzero_memory_used: I64
    name_id: I32
    label_set: I32
    taint_set: I32
    image_set: I32
    unschedulable: U8
    live: U8
    device_count: I32
    device_model: I32
    device_free: I32
    column: F64
    """``(N, columns that users added)``"""


class Pointers:
    """Points C at arrays and keeps them alive for one call."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._alive: list[Any] = []

    def of(self, array: Any, dtype: type[np.generic], shape: tuple[int | None, ...], name: str) -> Any:
        if array is None:
            return _ffi.NULL
        checked = arrays.check(array, dtype, shape, self.where, name)
        if checked.size == 0:
            return _ffi.NULL
        return self.keep(_ffi.from_buffer(_C_TYPES[np.dtype(dtype)], checked))

    def keep(self, pointer: Any) -> Any:
        """A pointer that nobody else keeps."""
        self._alive.append(pointer)
        return pointer

    def out(
        self,
        array: npt.NDArray[Any],
        dtype: type[np.generic],
        shape: tuple[int | None, ...],
        name: str,
    ) -> Any:
        checked = arrays.check(array, dtype, shape, self.where, name)
        if not checked.flags.writeable:
            raise errors.InputError(f"{self.where}: {name}", "is read-only", None, "a writable array")
        pointer = _ffi.from_buffer(_C_TYPES[np.dtype(dtype)], checked, require_writable=True)
        self._alive.append(pointer)
        return pointer


_C_TYPES = {
    np.dtype(np.int64): "int64_t[]",
    np.dtype(np.int32): "int32_t[]",
    np.dtype(np.uint8): "uint8_t[]",
    np.dtype(np.uint64): "uint64_t[]",
    np.dtype(np.float64): "double[]",
}


class Engine:
    """A placement engine; see ks.h. Not safe for use from two threads at once.

    Raises
    ------
    InputError
        An array has the wrong dtype, order or shape.
    KernelError
        C refused an argument; ``status`` is the code.
    UnsupportedError
        A plugin or selector that the engine does not implement.
    MemoryError
        An allocation failed; nothing changed.
    """

    def __init__(self, n_resources: int = FIRST_EXTENDED) -> None:
        out = _ffi.new("ks_engine **")
        check_status("Engine", _lib.ks_engine_new(n_resources, out), n_resources)
        self._engine: Any = _ffi.gc(out[0], _lib.ks_engine_free)
        self._n_resources = n_resources
        self._n_marks = 0
        self._class_out = _ffi.new("int32_t *")
        self._users: list[plugins.Hook] = []  # by number; C keeps their pointers
        self._asker: Asking | None = None

    def close(self) -> None:
        """Free the engine now; views from `columns` must not be used afterwards."""
        _ffi.release(self._engine)
        self._engine = _ffi.NULL

    @property
    def n_resources(self) -> int:
        return self._n_resources

    @property
    def n_rows(self) -> int:
        return int(self._columns().n_rows)

    @property
    def nbytes(self) -> int:
        """Bytes held by C, indexes included."""
        return int(_lib.ks_engine_bytes(self._engine))

    def grow_resources(self, n_resources: int) -> None:
        check_status("grow_resources", _lib.ks_engine_grow_resources(self._engine, n_resources), n_resources)
        self._n_resources = n_resources

    def _columns(self) -> Any:
        out = _ffi.new("ks_columns *")
        check_status("columns", _lib.ks_engine_columns(self._engine, out))
        return out

    def columns(self) -> Columns:
        """Views of all node columns; no copy, O(R)."""
        c = self._columns()
        n, stride = int(c.n_rows), int(c.device_stride)

        def view(pointer: Any, dtype: type[np.generic], count: int) -> Any:
            if count == 0:
                return np.zeros(0, dtype=dtype)
            size = count * np.dtype(dtype).itemsize
            array = np.frombuffer(_ffi.buffer(pointer, size), dtype=dtype)
            array.flags.writeable = False
            return array

        return Columns(
            n_rows=n,
            allocatable=[view(c.allocatable[r], np.int64, n) for r in range(self._n_resources)],
            used=[view(c.used[r], np.int64, n) for r in range(self._n_resources)],
            nonzero_cpu_used=view(c.nonzero_cpu_used, np.int64, n),
            nonzero_memory_used=view(c.nonzero_memory_used, np.int64, n),
            name_id=view(c.name_id, np.int32, n),
            label_set=view(c.label_set, np.int32, n),
            taint_set=view(c.taint_set, np.int32, n),
            image_set=view(c.image_set, np.int32, n),
            unschedulable=view(c.unschedulable, np.uint8, n),
            live=view(c.live, np.uint8, n),
            device_count=view(c.device_count, np.int32, n),
            device_model=view(c.device_model, np.int32, n),
            device_free=view(c.device_free, np.int32, n * stride).reshape(n, stride),
            column=view(c.column, np.float64, n * c.n_columns).reshape(n, c.n_columns),
        )

    # ---- interned sets ----

    def _add_set(self, where: str, add: Any, *columns: tuple[str, Any, type[np.generic]]) -> int:
        """Call one of the functions that take n and some columns ``[n]`` and return an id."""
        p, n = Pointers(where), len(columns[0][1])
        out = _ffi.new("int32_t *")
        check_status(
            where, add(self._engine, n, *(p.of(array, dtype, (n,), name) for name, array, dtype in columns), out)
        )
        return int(out[0])

    def add_label_set(self, key: I32, value: I32, number: I64, is_number: U8) -> int:
        text = (("key", key, np.int32), ("value", value, np.int32))
        numeric = (("number", number, np.int64), ("is_number", is_number, np.uint8))
        return self._add_set("add_label_set", _lib.ks_label_set_add, *text, *numeric)

    def add_taint_set(self, key: I32, value: I32, effect: I32) -> int:
        columns = (("key", key, np.int32), ("value", value, np.int32), ("effect", effect, np.int32))
        return self._add_set("add_taint_set", _lib.ks_taint_set_add, *columns)

    def add_image_set(self, image: I32, size: I64) -> int:
        columns = (("image", image, np.int32), ("size", size, np.int64))
        return self._add_set("add_image_set", _lib.ks_image_set_add, *columns)

    def add_port(self, ip: int, protocol: int, port: int) -> int:
        out = _ffi.new("int32_t *")
        check_status("add_port", _lib.ks_port_add(self._engine, ip, protocol, port, out), port)
        return int(out[0])

    # ---- nodes ----

    def _node_rows(self, p: Pointers, allocatable: I64, columns: dict[str, Any]) -> Any:
        arrays.check(allocatable, np.int64, (self._n_resources, None), p.where, "allocatable")
        n = allocatable.shape[1]
        rows = _ffi.new("ks_node_rows *")
        rows.n = n
        rows.allocatable = p.of(allocatable, np.int64, (self._n_resources, n), "allocatable")
        for name in (
            "name_id",
            "hostname_value",
            "label_set",
            "taint_set",
            "image_set",
            "device_count",
            "device_model",
        ):
            setattr(rows, name, p.of(columns.pop(name, None), np.int32, (n,), name))
        rows.unschedulable = p.of(columns.pop("unschedulable", None), np.uint8, (n,), "unschedulable")
        if columns:
            raise errors.InputError(p.where, "unknown column", next(iter(columns)), "a column of ks_node_rows")
        return rows

    def add_nodes(self, allocatable: I64, **columns: Any) -> int:
        """Append rows; ``allocatable`` is ``[R, n]``, every other column ``[n]``. Returns the first row. O(n R)."""
        p = Pointers("add_nodes")
        rows = self._node_rows(p, allocatable, columns)
        out = _ffi.new("int32_t *")
        check_status("add_nodes", _lib.ks_nodes_add(self._engine, rows, out))
        return int(out[0])

    def update_nodes(self, row: I32, allocatable: I64, **columns: Any) -> None:
        """Rewrite rows in place; usage stays."""
        p = Pointers("update_nodes")
        rows = self._node_rows(p, allocatable, columns)
        pointer = p.of(row, np.int32, (rows.n,), "row")
        check_status("update_nodes", _lib.ks_nodes_update(self._engine, pointer, rows))

    def remove_nodes(self, row: I32) -> None:
        p = Pointers("remove_nodes")
        pointer = p.of(row, np.int32, (None,), "row")
        check_status("remove_nodes", _lib.ks_nodes_remove(self._engine, len(row), pointer))

    def set_node_order(self, row: I32) -> None:
        """Say in which order profiles that end the search early look at nodes: ``[n]``, every live row once. O(N)."""
        p = Pointers("set_node_order")
        pointer = p.of(row, np.int32, (None,), "row")
        check_status("set_node_order", _lib.ks_node_order_set(self._engine, len(row), pointer))

    # ---- classes and profiles ----

    def add_class(self, form: ClassForm, amounts: Amounts) -> int:
        c, alive = form.spec, list[Any]()
        c.request = _fill_amounts(alive, amounts.request)
        c.fit_request = _fill_amounts(alive, amounts.fit_request)
        c.nonzero_cpu, c.nonzero_memory = amounts.nonzero_cpu, amounts.nonzero_memory
        c.unchecked = _ffi.NULL
        if amounts.unchecked:
            alive.append(_ffi.new("uint8_t[]", amounts.unchecked))
            c.unchecked = alive[-1]
        status = _lib.ks_class_add(self._engine, c, self._class_out)
        if status != _lib.KS_OK:
            check_status("add_class", status)
        return int(self._class_out[0])

    def remove_classes(self, gone: Sequence[int]) -> None:
        """Give classes up of which no pod runs; their ids are given out again. O(tallies)."""
        p, n = Pointers("remove_classes"), len(gone)
        ids = p.of(arrays.int32(gone), np.int32, (n,), "gone")
        check_status("remove_classes", _lib.ks_classes_remove(self._engine, n, ids))

    def remove_counters(self, gone: Sequence[int]) -> None:
        """Give counters up that no rule is about; their ids are given out again. O(classes)."""
        p, n = Pointers("remove_counters"), len(gone)
        ids = p.of(arrays.int32(gone), np.int32, (n,), "gone")
        check_status("remove_counters", _lib.ks_counters_remove(self._engine, n, ids))

    def reclass(self, was: I32, now: I32, node: I32, handle: I32 | None = None) -> None:
        """Let running pods go over to classes that take the same of a node.

        Parameters
        ----------
        was, now
            ``[n]`` classes.
        node
            ``[n]`` rows.
        handle
            ``[n]`` of those that are known, -1; None: none is.
        """
        p, s = Pointers("reclass"), _ffi.new("ks_reclass_spec *")
        s.n = n = len(was)
        s.to = p.of(now, np.int32, (n,), "now")
        s.node = p.of(node, np.int32, (n,), "node")
        s.handle = p.of(handle, np.int32, (n,), "handle")
        setattr(s, "from", p.of(was, np.int32, (n,), "was"))
        check_status("reclass", _lib.ks_reclass(self._engine, s))

    def add_topology(self, label_key: int, empty_value: int) -> int:
        """A label key by whose values nodes form domains. O(N)."""
        out = _ffi.new("int32_t *")
        check_status("add_topology", _lib.ks_topology_add(self._engine, label_key, empty_value, out), label_key)
        return int(out[0])

    def add_counter(self) -> int:
        """A counter of running pods that no class has joined yet. O(N)."""
        out = _ffi.new("int32_t *")
        check_status("add_counter", _lib.ks_counter_add(self._engine, out))
        return int(out[0])

    def join_counter(self, counter: int, class_id: int) -> None:
        """Let the class's running pods count. O(N) if there are any."""
        check_status("join_counter", _lib.ks_counter_join(self._engine, counter, class_id), (counter, class_id))

    def join_counter_moved(self, counter: int, class_id: int) -> None:
        """Let only those pods of the class count that are thought away from a node or onto it."""
        check_status(
            "join_counter_moved", _lib.ks_counter_join_moved(self._engine, counter, class_id), (counter, class_id)
        )

    def set_pairwise(self, class_id: int, spec: PairwiseSpec) -> None:
        """Replace the pairwise rules of a class."""
        p = Pointers("set_pairwise")
        s = _ffi.new("ks_pairwise_spec *")
        names = ("counter", "topology", "max_skew", "min_domains", "flags")
        _fill_rules(p, s, "spread", spec.spread, names)
        s.spread_needs_all = int(spec.spread_needs_all)
        s.n_affinity, s.affinity_self = len(spec.affinity), int(spec.affinity_self)
        if spec.affinity:
            s.affinity_counter = spec.affinity[0][0]
            topologies = arrays.int32([topology for _, topology in spec.affinity])
            s.affinity_topology = p.of(topologies, np.int32, (None,), "affinity_topology")
        _fill_rules(p, s, "anti", spec.anti, names[:2])
        _fill_rules(p, s, "existing", spec.existing, names[:2])
        _fill_rules(p, s, "scored", spec.scored, ("counter", "topology", "kind"))
        weights = arrays.int64([rule[3] for rule in spec.scored])
        s.scored_weight = p.of(weights, np.int64, (None,), "scored_weight")
        check_status("set_pairwise", _lib.ks_class_pairwise(self._engine, class_id, s), class_id)

    def set_verdicts(self, class_id: int, filter_id: int, row: I32 | None, code: U8) -> None:
        """Verdicts of a filter that the caller computes for a class.

        Parameters
        ----------
        row
            ``[n]``; None: all rows.
        code
            ``[n]``: 0 passes, else a number 1..127, plus VERDICT_UNRESOLVABLE where evicting pods cannot help.
        """
        p, n = Pointers("set_verdicts"), len(code)
        rows = p.of(row, np.int32, (n,), "row")
        codes = p.of(code, np.uint8, (n,), "code")
        check_status(
            "set_verdicts", _lib.ks_class_verdicts(self._engine, class_id, filter_id, n, rows, codes), filter_id
        )

    def set_raw(self, class_id: int, score: int, row: I32 | None, raw: I64) -> None:
        """Raw scores 0..1,000,000 of DynamicResources for a class, ``[n]``; ``row`` None: all rows."""
        p, n = Pointers("set_raw"), len(raw)
        rows = p.of(row, np.int32, (n,), "row")
        column = p.of(raw, np.int64, (n,), "raw")
        check_status("set_raw", _lib.ks_class_raw(self._engine, class_id, score, n, rows, column), score)

    def set_stand_in(self, resource: int, row: I32, total: I64, taken: I64) -> None:
        """How many devices stand in for an extended resource on rows, and how many of them are taken; ``[n]`` each."""
        p, n = Pointers("set_stand_in"), len(row)
        columns = (p.of(row, np.int32, (n,), "row"), p.of(total, np.int64, (n,), "total"))
        status = _lib.ks_stand_in_set(self._engine, resource, n, *columns, p.of(taken, np.int64, (n,), "taken"))
        check_status("set_stand_in", status, resource)

    def add_profile(
        self,
        filters: Sequence[int],
        scores: Sequence[ScoreSpec],
        device_select: int,
        required_weight: int = 1,
        ignore_existing: bool = False,
        user_filters: Sequence[int] = (),
        search: Search | None = None,
        placement_fit: ScoreSpec | None = None,
        placement_pods_weight: int = 0,
    ) -> int:
        """Add a profile; ``filters`` are filter numbers, first to last; users' filters are asked after those.

        ``search``: None: of everything. ``placement_fit`` and ``placement_pods_weight``: how placements of groups
        compare, None and 0: not by that.
        """
        p = Pointers("add_profile")
        specs = _ffi.new("ks_score_spec[]", max(len(scores), 1))
        for out_spec, spec in zip(specs, scores, strict=False):
            _fill_score(p, out_spec, spec)
        profile = _ffi.new("ks_profile_spec *")
        profile.filters = sum(1 << f for f in set(filters))
        profile.filter_order = p.of(arrays.int32(filters), np.int32, (len(set(filters)),), "filters")
        profile.n_scores, profile.scores = len(scores), specs
        profile.device_select = device_select
        profile.required_weight, profile.ignore_existing = required_weight, int(ignore_existing)
        search = search or Search()
        profile.node_percentage = search.node_percentage
        profile.candidate_percentage, profile.candidate_least = search.candidates
        profile.placement_pods_weight = placement_pods_weight
        fit = _ffi.new("ks_score_spec *")
        if placement_fit is not None:
            _fill_score(p, fit, placement_fit)
            profile.placement_fit = fit
        profile.n_user_filters = len(user_filters)
        profile.user_filter = p.of(arrays.int32(user_filters), np.int32, (None,), "user_filters")
        out = _ffi.new("int32_t *")
        check_status("add_profile", _lib.ks_profile_add(self._engine, profile, out))
        return int(out[0])

    # ---- users' plugins and columns ----

    @property
    def has_users(self) -> bool:
        """Whether users' plugins were added, so that calls may fail with their errors."""
        return bool(self._users)

    def add_user_filter(self, hook: plugins.Hook, which: I32) -> int:
        """Add a user's filter; ``which`` are the ids that its inputs name. Returns its id for profiles."""
        return self._add_user("add_user_filter", _lib.ks_user_filter_add, hook, which, "none")

    def add_user_score(self, hook: plugins.Hook, which: I32, normalize: str) -> int:
        """Add a user's score plugin; see `add_user_filter`."""
        return self._add_user("add_user_score", _lib.ks_user_score_add, hook, which, normalize)

    def _add_user(self, where: str, add: Any, hook: plugins.Hook, which: I32, normalize: str) -> int:
        p, inputs = Pointers(where), hook.inputs
        kinds = arrays.int32([leaf.kind for leaf in inputs.node + inputs.pod])
        s, out = _ffi.new("ks_user_spec *"), _ffi.new("int32_t *")
        s.function, s.context = hook.function, hook.context
        s.n_node, s.n_pod = len(inputs.node), len(inputs.pod)
        s.input = p.of(kinds, np.int32, (None,), "input")
        s.which = p.of(which, np.int32, kinds.shape, "which")
        s.normalize = plugins.NORMALIZATIONS[normalize]
        check_status(where, add(self._engine, s, out))
        self._users.append(hook)
        return int(out[0])

    def check_status(self, where: str, status: int, got: object = None) -> None:
        """As the function, for calls that ask users' plugins: their own error comes first."""
        if status == _lib.KS_EPLUGIN:
            failure = _ffi.new("ks_user_failure *")
            check_status(where, _lib.ks_user_failed(self._engine, failure))
            hook = self._users[failure.user]
            if hook.error is not None:
                node = [float(failure.node[i]) for i in range(len(hook.inputs.node))]
                pod = [float(failure.pod[i]) for i in range(len(hook.inputs.pod))]
                raise hook.error(plugins.Failure(failure.row, node, pod, bool(failure.raised), float(failure.value)))
        check_status(where, status, got)

    def _no_rejections(self) -> I64:
        """Zeros for the counts of ks_summary and ks_preemption."""
        return np.zeros((_lib.KS_N_FILTERS + len(self._users), _lib.KS_N_DETAILS), dtype=np.int64)

    def add_node_column(self) -> int:
        """Add a column to the nodes, NaN everywhere; returns its id. O(N)."""
        out = _ffi.new("int32_t *")
        check_status("add_node_column", _lib.ks_node_column_add(self._engine, out))
        return int(out[0])

    def set_node_column(self, column: int, row: I32, value: F64) -> None:
        p, n = Pointers("set_node_column"), len(row)
        columns = (p.of(row, np.int32, (n,), "row"), p.of(value, np.float64, (n,), "value"))
        check_status("set_node_column", _lib.ks_node_column_set(self._engine, column, n, *columns), column)

    def set_fragmentation(self, cpu: I64, count: I32, milli: I32, models: U64, frequency: F64) -> None:
        """Set the typical pods that fragmentation is measured against; every column is ``[T]``."""
        p, n = Pointers("set_fragmentation"), len(cpu)
        t = _ffi.new("ks_typical_pods *")
        t.n = n
        t.cpu = p.of(cpu, np.int64, (n,), "cpu")
        t.count = p.of(count, np.int32, (n,), "count")
        t.milli = p.of(milli, np.int32, (n,), "milli")
        t.models = p.of(models, np.uint64, (n,), "models")
        t.frequency = p.of(frequency, np.float64, (n,), "frequency")
        check_status("set_fragmentation", _lib.ks_fragmentation_set(self._engine, t))

    def fragmentation(self) -> F64:
        """Fragmented thousandths of devices, ``[N]``. O(N T)."""
        out = np.zeros(self.n_rows, dtype=np.float64)
        p = Pointers("fragmentation")
        check_status(
            "fragmentation",
            _lib.ks_fragmentation(self._engine, p.of(out, np.float64, (None,), "out")),
        )
        return out

    # ---- pods ----

    def _account(self, where: str, call: Any, class_id: I32, node: I32, devices: U64 | None) -> None:
        p, n = Pointers(where), len(class_id)
        done = _ffi.new("int32_t *")
        classes = p.of(class_id, np.int32, (n,), "class_id")
        nodes = p.of(node, np.int32, (n,), "node")
        masks = p.of(devices, np.uint64, (n,), "devices")
        status = call(self._engine, n, classes, nodes, masks, done)
        check_status(where, status, f"item {int(done[0])} of {n}")

    def bind(self, class_id: I32, node: I32, devices: U64 | None = None) -> None:
        """Put pods on nodes unconditionally; without ``devices`` C takes the best-fitting ones."""
        self._account("bind", _lib.ks_bind, class_id, node, devices)

    def release(self, class_id: I32, node: I32, devices: U64 | None = None) -> None:
        """Take pods off their nodes."""
        self._account("release", _lib.ks_release, class_id, node, devices)

    def place(self, options: Options, class_id: I32) -> Decisions:
        """Decide pods one after another, in one call; if a user's plugin fails, none of them is placed."""
        placing = Placing(self, class_id)
        placing.place(options, 0, len(class_id))
        return placing.out

    def place_part(self, options: Options, placing: Placing, begin: int, end: int) -> None:
        """Decide some of the pods; see `Placing.place`."""
        n, c_options, done = end - begin, placing.options, placing.done
        _set_options(c_options, options)
        status = _lib.ks_place(self._engine, c_options, n, *placing.at(begin), done)
        _read_options(c_options, options)
        if status == _lib.KS_EPLUGIN and options.commit:
            self._take_back(placing.class_of[begin:end], placing.out.part(begin, end), np.arange(n) < int(done[0]))
        if status != _lib.KS_OK:
            self.check_status("place", status, f"pod {int(done[0])} of {n}" if n else None)

    def _take_back(self, class_id: I32, out: Decisions, committed: npt.NDArray[np.bool_]) -> None:
        """Release what a batch placed before a user's plugin failed: nobody will look at its decisions."""
        there = committed & (out.node >= 0)
        self.release(class_id[there], out.node[there], out.devices[there])

    # ---- eviction ----

    def know_pods(self, class_id: I32, node: I32, priority: I32, started: I64, budgets: I32, devices: U64) -> I32:
        """Make running pods known, ``[n]`` each; their handles. All or none."""
        p, n, s = Pointers("know_pods"), len(class_id), _ffi.new("ks_known_spec *")
        s.n = n
        columns = {"class_id": class_id, "node": node, "priority": priority, "budgets": budgets}
        for name, column in columns.items():
            setattr(s, name, p.of(column, np.int32, (n,), name))
        s.started = p.of(started, np.int64, (n,), "started")
        s.devices = p.of(devices, np.uint64, (n,), "devices")
        handle = np.full(n, -1, dtype=np.int32)
        check_status("know_pods", _lib.ks_pods_know(self._engine, s, p.out(handle, np.int32, (n,), "handle")), n)
        return handle

    def forget_pods(self, handle: I32) -> None:
        """Give handles up."""
        p = Pointers("forget_pods")
        pointer = p.of(handle, np.int32, (None,), "handle")
        check_status("forget_pods", _lib.ks_pods_forget(self._engine, len(handle), pointer), len(handle))

    def set_budgets(self, allowed: I32) -> None:
        """How many pods each disruption budget lets go."""
        p = Pointers("set_budgets")
        pointer = p.of(allowed, np.int32, (None,), "allowed")
        check_status("set_budgets", _lib.ks_budgets_set(self._engine, len(allowed), pointer), len(allowed))

    def add_budget_set(self, budgets: I32) -> int:
        """The budgets that a pod counts for, as a number."""
        p, out = Pointers("add_budget_set"), _ffi.new("int32_t *")
        pointer = p.of(budgets, np.int32, (None,), "budgets")
        check_status("add_budget_set", _lib.ks_budget_set_add(self._engine, len(budgets), pointer, out), len(budgets))
        return int(out[0])

    def nominate(self, class_id: int, row: int, priority: int) -> int:
        """A pod waits for a row; its handle."""
        out = _ffi.new("int32_t[1]")
        status = _lib.ks_nominate(self._engine, 1, [class_id], [row], [priority], out)
        check_status("nominate", status, class_id)
        return int(out[0])

    def unnominate(self, handle: int) -> None:
        """It waits no more."""
        check_status("unnominate", _lib.ks_unnominate(self._engine, 1, [handle]), handle)

    @contextmanager
    def asking(self, asker: Asking) -> Iterator[None]:
        """Questions inside are for a pod that yields to nominated ones of its priority or a higher one. Nests."""
        before = self._asker
        self._ask(asker)
        try:
            yield
        finally:
            self._ask(before)

    def _ask(self, asker: Asking | None) -> None:
        self._asker = asker
        if asker is None:
            check_status("asking", _lib.ks_asked(self._engine))
            return
        check_status("asking", _lib.ks_asking(self._engine, asker.priority, asker.nominated), asker.nominated)
        if asker.items:
            holds = _holds(p := Pointers("asking"), [asker.items])
            check_status("asking", _lib.ks_asking_holds(self._engine, holds, asker.in_use, asker.are_new), p.where)

    def set_holds(self, of: int, at: Sequence[int], items: Sequence[Items]) -> None:
        """Replace what pods hold of volumes, or what rows do (`OF_POD` and its like).

        Parameters
        ----------
        at, items
            Handle or row, and its items, ``[n]`` each.
        """
        p = Pointers("set_holds")
        handles = p.of(arrays.int32(at), np.int32, (len(items),), "at")
        check_status("set_holds", _lib.ks_holds_set(self._engine, of, len(at), handles, _holds(p, items)), len(at))

    def set_hold_codes(self, disk: int, in_use: int, too_many: int) -> None:
        """Verdict codes of VolumeRestrictions (a disk clashes, a claim is in use) and of NodeVolumeLimits."""
        check_status("set_hold_codes", _lib.ks_holds_codes(self._engine, disk, in_use, too_many))

    def own_node(self, profile: int, class_id: int) -> int:
        """Row that the asking pod is nominated for, if it passes there; else -1."""
        out = _ffi.new("int32_t *")
        self.check_status("own_node", _lib.ks_own_node_of(self._engine, profile, class_id, out), class_id)
        return int(out[0])

    def preempt(
        self,
        profile: int,
        class_id: int,
        priority: int,
        open_rows: U8 | None = None,
        list_all: bool = False,
        count: bool = False,
        options: Options | None = None,
    ) -> Preemption:
        """Whom to evict for a pod that fits nowhere; changes nothing.

        Parameters
        ----------
        open_rows
            ``[N]``: 0 where PreFilter shut a row; None: all are open.
        list_all
            Also every candidate.
        count
            Also why rows that were tried stay shut.
        options
            Whose seed draws where a search that ends early begins (written back), if ties are drawn, too; else, and
            with None, it is the first row.
        """
        p, io = Pointers("preempt"), _ffi.new("ks_preemption *")
        io.profile, io.class_id, io.priority, io.list_all = profile, class_id, priority, list_all
        io.open = p.of(open_rows, np.uint8, (self.n_rows,), "open_rows")
        rejected = self._no_rejections()
        insufficient = np.zeros(self._n_resources, dtype=np.int64)
        if count:
            io.rejected = p.out(rejected, np.int64, rejected.shape, "rejected")
            io.insufficient = p.out(insufficient, np.int64, insufficient.shape, "insufficient")
        draws = options is not None and options.tie == TIE_UNIFORM
        rng = _ffi.new("uint64_t *", options.rng if options is not None else 0)
        io.rng = rng if draws else _ffi.NULL
        self.check_status("preempt", _lib.ks_preempt(self._engine, io), class_id)
        if options is not None and draws:
            options.rng = int(rng[0])
        n = io.n_candidates if list_all else 0
        victims = [tuple(io.candidate_victim[io.candidate_start[i] : io.candidate_start[i + 1]]) for i in range(n)]
        return Preemption(
            row=io.node,
            ties=io.ties,
            victims=tuple(io.victim[0 : io.n_victims]),
            n_tried=io.n_tried,
            n_without_victims=io.n_without_victims,
            candidates=tuple(
                Candidate(io.candidate_row[i], io.candidate_broken[i], bool(io.candidate_ties[i]), victims[i])
                for i in range(n)
            ),
            counts=Counts(rejected, insufficient, 0, -1, 0, -1) if count else None,
        )

    def place_evicting(
        self,
        options: Options,
        class_id: I32,
        priority: I32,
        may_evict: U8,
        started: I64,
        budgets: I32,
        items: Sequence[Items] | None = None,
    ) -> tuple[Decisions, Evicting]:
        """Decide pods one after another, up to the first that finds no place; one that fits nowhere evicts at once.

        All running pods must be known. The decisions end behind that pod, and, where ``items`` tells what each pod
        holds, behind one that changed what limits say to a pod of the batch.
        """
        p, n, v = Pointers("place_evicting"), len(class_id), _ffi.new("ks_evicting *")
        classes = p.of(class_id, np.int32, (n,), "class_id")
        v.priority = p.of(priority, np.int32, (n,), "priority")
        v.may_evict = p.of(may_evict, np.uint8, (n,), "may_evict")
        v.started = p.of(started, np.int64, (n,), "started")
        v.budgets = p.of(budgets, np.int32, (n,), "budgets")
        v.holds = _ffi.NULL if items is None else _holds(p, items)
        v.stop = 1
        handle, start = np.full(n, -1, dtype=np.int32), np.zeros(n + 1, dtype=np.int32)
        v.handle, v.victim_start = p.out(handle, np.int32, (n,), "handle"), p.out(start, np.int32, (n + 1,), "start")
        out, done = Decisions.empty(n), _ffi.new("int32_t *")
        c_options = _fill_options(options)
        status = _lib.ks_place_evicting(self._engine, c_options, v, n, classes, _decision_columns(p, out, n), done)
        _read_options(c_options, options)
        self.check_status("place_evicting", status, f"pod {int(done[0])} of {n}" if n else None)
        end = int(done[0])
        columns = Decisions(out.node[:end], out.score[:end], out.ties[:end], out.feasible[:end], out.devices[:end])
        return columns, Evicting(handle[:end], start[: end + 1], arrays.int32(list(v.victim[0 : int(start[end])])))

    def place_groups(self, options: Options, spec: GroupSpec, class_id: I32) -> tuple[Decisions, Groups]:
        """Decide groups of pods, each all or nothing, in one call; if a user's plugin fails, none of them is placed.

        Parameters
        ----------
        class_id
            ``[spec.start[G]]``.
        """
        p, n, n_pods, start = Pointers("place_groups"), len(spec), len(class_id), spec.start
        classes = p.of(class_id, np.int32, (n_pods,), "class_id")
        out, groups, done = Decisions.empty(n_pods), Groups.empty(n), _ffi.new("int32_t *")
        if len(start) != n + 1 or start[n] != n_pods:
            raise errors.InputError("place_groups: start", "has the wrong end", len(start), f"{n + 1} up to {n_pods}")
        g = _ffi.new("ks_groups *")
        g.n = n
        g.start = p.of(start, np.int32, (n + 1,), "start")
        for name in ("minimum", "topology", "anchor", "running"):
            setattr(g, name, p.of(getattr(spec, name), np.int32, (n,), name))
        g.placed = p.out(groups.placed, np.uint8, (n,), "placed")
        for name in ("fitted", "first_failed", "n_decided", "placement", "n_placements", "placement_ties"):
            setattr(g, name, p.out(getattr(groups, name), np.int32, (n,), name))
        c_options = _fill_options(options)
        columns = _decision_columns(p, out, n_pods)
        status = _lib.ks_place_groups(self._engine, c_options, g, classes, columns, done)
        _read_options(c_options, options)
        if status == _lib.KS_EPLUGIN and options.commit:
            at = np.arange(n)
            kept = (at < int(done[0])) & (groups.placed != 0)
            kept |= (at == int(done[0])) & (spec.minimum == 0)  # the one that failed; with a minimum C took it back
            self._take_back(class_id, out, np.repeat(kept, np.diff(start)))
        self.check_status("place_groups", status, f"group {int(done[0])} of {n}" if n else None)
        return out, groups

    def placements(self, topology: int) -> I32:
        """First rows of the sets of rows that share a domain of a topology, ascending. O(N) after nodes changed."""
        n, row = _ffi.new("int32_t *"), _ffi.new("const int32_t **")
        check_status("placements", _lib.ks_placements(self._engine, topology, n, row), topology)
        return arrays.int32(list(row[0][0 : int(n[0])]))

    def within(self, topology: int, row: int) -> int:
        """Only nodes in the domain of ``row`` can be chosen, counted or explained from now on; how many those are.

        topology -1: all nodes again.
        """
        out = _ffi.new("int32_t *")
        check_status("within", _lib.ks_within(self._engine, topology, row, out), row)
        return int(out[0])

    def placement_fit(self, profile: int, class_id: I32, node: I32) -> int:
        """NodeResourcesFit's score of the placement at hand, with pods ``[n]`` on it that do not run there yet."""
        p, n, out = Pointers("placement_fit"), len(class_id), _ffi.new("int64_t *")
        classes = p.of(class_id, np.int32, (n,), "class_id")
        nodes = p.of(node, np.int32, (n,), "node")
        check_status("placement_fit", _lib.ks_placement_fit(self._engine, profile, n, classes, nodes, out), profile)
        return int(out[0])

    def choose_placement(self, options: Options, pods: I32, fit: I64) -> tuple[int, int]:
        """The best of ``[n]`` placements by the group's pods on each and `placement_fit`, and how many are best."""
        p, n, out = Pointers("choose_placement"), len(pods), _ffi.new("int32_t[2]")
        counts, scores = p.of(pods, np.int32, (n,), "pods"), p.of(fit, np.int64, (n,), "fit")
        c_options = _fill_options(options)
        status = _lib.ks_placement_choose(self._engine, c_options, n, counts, scores, out, out + 1)
        _read_options(c_options, options)
        check_status("choose_placement", status, n)
        return int(out[0]), int(out[1])

    def run(
        self,
        options: Options,
        event: I32,
        pod_class: I32,
        decisions: Decisions | None = None,
        series: bool = False,
    ) -> tuple[Decisions, Series | None]:
        """Run arrivals (``p + 1``) and departures (``-(p + 1)``) in one call; ``decisions`` is updated in place."""
        out = Decisions.empty(len(pod_class)) if decisions is None else decisions
        n = len(event)
        record = Series(np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.float64)) if series else None
        self._run(options, event, pod_class, out, None, False, record)
        return out, record

    def play(self, options: Options, event: I32, pod_class: I32, instead: I32 | None, decisions: Decisions) -> int:
        """`run` up to the first pod that finds no node; how many events happened, that pod's arrival among them.

        Parameters
        ----------
        instead
            ``[P]``: pod that a pod takes the place of when it arrives, because it is what that one became; -1: it is
            decided. None: all are.
        decisions
            ``[P]``, updated in place; pods with a node run there already.
        """
        return self._run(options, event, pod_class, decisions, instead, True, None)

    def _run(
        self,
        options: Options,
        event: I32,
        pod_class: I32,
        out: Decisions,
        instead: I32 | None,
        stop: bool,
        record: Series | None,
    ) -> int:
        p, n, n_pods, tape = Pointers("run"), len(event), len(pod_class), _ffi.new("ks_tape *")
        tape.n_events, tape.event = n, p.of(event, np.int32, (n,), "event")
        tape.n_pods, tape.pod_class = n_pods, p.of(pod_class, np.int32, (n_pods,), "pod_class")
        tape.instead, tape.stop = p.of(instead, np.int32, (n_pods,), "instead"), stop
        c_series = _ffi.NULL
        if record is not None:
            c_series = _ffi.new("ks_series *")
            c_series.used_device_milli = p.of(record.used_device_milli, np.int64, (n,), "used_device_milli")
            c_series.fragmented_milli = p.of(record.fragmented_milli, np.float64, (n,), "fragmented_milli")
        done = _ffi.new("int32_t *")
        c_options = _fill_options(options)
        columns = _decision_columns(p, out, n_pods)
        status = _lib.ks_run(self._engine, c_options, tape, columns, c_series, done)
        _read_options(c_options, options)
        self.check_status("run", status, f"event {int(done[0])} of {n}" if n else None)
        return int(done[0])

    def speculate(self) -> int:
        """Open a speculation; what is placed, bound or released from now on can be undone."""
        out = _ffi.new("int64_t *")
        check_status("speculate", _lib.ks_speculate(self._engine, out))
        self._n_marks += 1
        return int(out[0])

    @property
    def is_speculating(self) -> bool:
        """Whether a mark is open."""
        return self._n_marks > 0

    def rollback(self, mark: int) -> None:
        check_status("rollback", _lib.ks_rollback(self._engine, mark), mark)
        self._n_marks -= 1

    def keep(self, mark: int) -> None:
        check_status("keep", _lib.ks_keep(self._engine, mark), mark)
        self._n_marks -= 1

    def explain(self, profile: int, class_id: int, n_scores: int) -> Verdicts:
        """Why, for every row; ``n_scores`` is the profile's number of score plugins. O(N (R + S))."""
        n, words = self.n_rows, (self._n_resources + 63) // 64
        out = Verdicts(
            filter=np.zeros(n, dtype=np.int32),
            unresolvable=np.zeros(n, dtype=np.uint8),
            detail=np.zeros(n, dtype=np.uint8),
            insufficient=np.zeros((n, words), dtype=np.uint64),
            raw=np.zeros((n_scores, n), dtype=np.int64),
            score=np.zeros((n_scores, n), dtype=np.int64),
            skipped=np.zeros(n_scores, dtype=np.uint8),
            total=np.zeros(n, dtype=np.int64),
        )
        p = Pointers("explain")
        status = _lib.ks_explain(
            self._engine,
            profile,
            class_id,
            p.of(out.filter, np.int32, (n,), "filter"),
            p.of(out.unresolvable, np.uint8, (n,), "unresolvable"),
            p.of(out.detail, np.uint8, (n,), "detail"),
            p.of(out.insufficient, np.uint64, (n, words), "insufficient"),
            p.of(out.raw, np.int64, (n_scores, n), "raw"),
            p.of(out.score, np.int64, (n_scores, n), "score"),
            p.of(out.skipped, np.uint8, (n_scores,), "skipped"),
            p.of(out.total, np.int64, (n,), "total"),
        )
        self.check_status("explain", status, class_id)
        return out

    def summarize(self, profile: int, class_id: int) -> Counts:
        """The same in numbers. O(N), without a column of any row."""
        rejected = self._no_rejections()
        insufficient = np.zeros(self._n_resources, dtype=np.int64)
        p, o = Pointers("summarize"), _ffi.new("ks_summary *")
        o.rejected = p.out(rejected, np.int64, rejected.shape, "rejected")
        o.insufficient = p.out(insufficient, np.int64, insufficient.shape, "insufficient")
        self.check_status("summarize", _lib.ks_summarize(self._engine, profile, class_id, o), class_id)
        return Counts(rejected, insufficient, o.feasible, o.score, o.ties, o.node)


class ClassForm:
    """A ClassSpec as C reads it, for many classes that differ in their amounts only: filling it in costs tens of us."""

    def __init__(self, spec: ClassSpec) -> None:
        self._pointers = p = Pointers("add_class")
        self.spec = c = _ffi.new("ks_class_spec *")
        c.node_name = spec.node_name
        c.tolerates_unschedulable = int(spec.tolerates_unschedulable)
        c.n_tolerations = n = len(spec.toleration_key)
        for name in ("toleration_key", "toleration_op", "toleration_value", "toleration_effect"):
            setattr(c, name, p.of(getattr(spec, name), np.int32, (n,), name))
        c.has_required, c.has_enforced = int(spec.has_required), int(spec.has_enforced)
        for name in ("node_selector", "required", "preferred", "enforced"):
            _fill_selector(p, getattr(c, name), getattr(spec, name), name)
        c.n_ports, c.port = len(spec.port), p.of(spec.port, np.int32, (None,), "port")
        c.n_images, c.image = len(spec.image), p.of(spec.image, np.int32, (None,), "image")
        c.n_image_containers = spec.n_image_containers
        c.device_count, c.device_milli = spec.device_count, spec.device_milli
        c.device_models = spec.device_models


def _fill_amounts(alive: list[Any], amounts: Sequence[tuple[int, int]]) -> tuple[int, Any, Any]:
    """ks_amounts; C's arrays are kept alive by the list."""
    if not amounts:
        return 0, _ffi.NULL, _ffi.NULL
    resource = _ffi.new("int32_t[]", [number for number, _ in amounts])
    amount = _ffi.new("int64_t[]", [of for _, of in amounts])
    alive += (resource, amount)
    return len(amounts), resource, amount


def _fill_selector(p: Pointers, out: Any, s: Selector, name: str) -> None:
    n_terms, n = len(s.term_start) - 1, len(s.key)
    if n_terms == 0 and n == 0:
        return  # as C's zeros say
    out.n_terms, out.n_requirements = n_terms, n
    out.term_start = p.of(s.term_start, np.int32, (n_terms + 1,), f"{name}.term_start")
    out.weight = p.of(s.weight, np.int32, (n_terms,), f"{name}.weight")
    out.key = p.of(s.key, np.int32, (n,), f"{name}.key")
    out.op = p.of(s.op, np.int32, (n,), f"{name}.op")
    out.number = p.of(s.number, np.int64, (n,), f"{name}.number")
    out.is_number = p.of(s.is_number, np.uint8, (n,), f"{name}.is_number")
    out.value_start = p.of(s.value_start, np.int32, (n + 1,), f"{name}.value_start")
    if n > 0 and (s.value_start[0] != 0 or s.value_start[-1] != len(s.value)):
        raise errors.InputError(f"{p.where}: {name}.value_start", "does not cover the values", s.value_start.tolist())
    out.value = p.of(s.value, np.int32, (None,), f"{name}.value")


def _fill_rules(p: Pointers, out: Any, prefix: str, rules: Sequence[tuple[int, ...]], columns: tuple[str, ...]) -> None:
    """Columns ``<prefix>_<column>`` of a structure from rules as tuples."""
    setattr(out, f"n_{prefix}", len(rules))
    for at, column in enumerate(columns):
        name = f"{prefix}_{column}"
        setattr(out, name, p.of(arrays.int32([rule[at] for rule in rules]), np.int32, (len(rules),), name))


def _fill_score(p: Pointers, out: Any, s: ScoreSpec) -> None:
    n = len(s.resource)
    out.plugin, out.weight, out.variant = s.plugin, s.weight, s.variant
    out.n_resources = n
    out.resource = p.of(s.resource, np.int32, (n,), "resource")
    out.resource_weight = p.of(s.resource_weight, np.int64, (n,), "resource_weight")
    out.n_points = 0 if s.utilization is None else len(s.utilization)
    out.utilization = p.of(s.utilization, np.int64, (out.n_points,), "utilization")
    out.shape_score = p.of(s.shape_score, np.int64, (out.n_points,), "shape_score")


def _fill_options(options: Options) -> Any:
    o = _ffi.new("ks_options *")
    _set_options(o, options)
    return o


def _set_options(o: Any, options: Options) -> None:
    o.profile, o.driver, o.tie = options.profile, options.driver, options.tie
    o.commit = int(options.commit)
    o.rng = options.rng & (2**64 - 1)
    o.n_dense, o.n_indexed, o.n_partial = options.n_dense, options.n_indexed, options.n_partial
    o.next_node = options.next_node


def _read_options(o: Any, options: Options) -> None:
    options.rng = int(o.rng)
    options.n_dense, options.n_indexed, options.n_partial = int(o.n_dense), int(o.n_indexed), int(o.n_partial)
    options.next_node = int(o.next_node)


def _holds(p: Pointers, items: Sequence[Items]) -> Any:
    s, ends = _ffi.new("ks_holds_spec *"), np.cumsum([0, *map(len, items)], dtype=np.int32)
    flat = np.array([pair for one in items for pair in one], dtype=np.int32).reshape(-1, 2)
    s.start = p.of(ends, np.int32, (len(items) + 1,), "start")
    s.item = p.of(np.ascontiguousarray(flat[:, 0]), np.int32, (len(flat),), "item")
    s.kind = p.of(np.ascontiguousarray(flat[:, 1]), np.int32, (len(flat),), "kind")
    return p.keep(s)


def _decision_columns(p: Pointers, out: Decisions, n: int) -> Any:
    d = _ffi.new("ks_decisions *")
    d.node = p.out(out.node, np.int32, (n,), "node")
    d.score = p.out(out.score, np.int64, (n,), "score")
    d.ties = p.out(out.ties, np.int32, (n,), "ties")
    d.feasible = p.out(out.feasible, np.int32, (n,), "feasible")
    d.devices = p.out(out.devices, np.uint64, (n,), "devices")
    return d

# SPDX-License-Identifier: Apache-2.0
"""What placement sees of resource claims and of the devices behind them, as plain immutable rows.

``scheduler/claims.py`` makes them from ResourceClaims, ResourceClaimTemplates, DeviceClasses and ResourceSlices;
``state/claims.py`` decides on them. Quantities are billionths. Names are as in the API: ``namespace/name`` for claims.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from kubesched.state.rows import Term

EXACT_COUNT, ALL = "ExactCount", "All"
"""Allocation modes."""
MAX_RESULTS = 32
"""Most devices that one claim may hold (resource.k8s.io AllocationResultsMaxSize)."""
MAX_ALTERNATIVES = 8
"""Most alternatives of a request (FirstAvailableDeviceRequestMaxSize); the score counts down from it."""

Amounts = tuple[tuple[str, int], ...]
"""(name, billionths), sorted."""
Value = tuple[str, str | int | bool]
"""Kind of an attribute (``string``, ``int``, ``bool``, ``version``; empty: of another kind) and the value."""


@dataclass(frozen=True, slots=True)
class NodeChoice:
    """Which nodes can reach a slice or a device."""

    node: str | None = None
    everywhere: bool = False
    terms: tuple[Term, ...] | None = None

    @property
    def is_open(self) -> bool:
        """Nothing was chosen."""
        return not self.node and not self.everywhere and self.terms is None


@dataclass(frozen=True, slots=True)
class RequestPolicy:
    """Which amounts of a capacity may be asked for; without one any."""

    default: int | None = None
    has_range: bool = False
    least: int | None = None
    most: int | None = None
    step: int | None = None
    values: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Capacity:
    value: int
    policy: RequestPolicy | None = None


@dataclass(frozen=True, slots=True)
class DeviceTaint:
    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Content:
    """Everything of a device but its name: devices of equal content are interchangeable."""

    driver: str
    attributes: tuple[tuple[str, Value], ...] = ()
    """By name, which may be qualified by a domain (``domain/id``); sorted."""
    capacity: tuple[tuple[str, Capacity], ...] = ()
    is_shared: bool = False
    """``allowMultipleAllocations``: claims take parts of the capacity."""
    counters: tuple[tuple[str, Amounts], ...] = ()
    """What it consumes, by counter set."""
    taints: tuple[DeviceTaint, ...] = ()
    binds: bool = False
    """It has binding conditions; its pool comes after those without."""
    binds_to_node: bool = False


@dataclass(frozen=True, slots=True)
class Device:
    name: str
    content: Content
    where: NodeChoice = NodeChoice()
    """Used if its slice chooses per device."""


@dataclass(frozen=True, slots=True)
class Slice:
    """A ResourceSlice: a part of a pool of a driver."""

    name: str
    driver: str
    pool: str
    generation: int
    n_slices: int
    """Slices that the pool has in this generation."""
    devices: tuple[Device, ...] = ()
    where: NodeChoice = NodeChoice()
    per_device: bool = False
    counters: tuple[tuple[str, Amounts], ...] = ()
    """Counter sets that the pool's devices share."""


@dataclass(frozen=True, slots=True)
class DeviceClass:
    name: str
    selectors: tuple[str | None, ...] = ()
    """CEL; None: a selector of another kind."""
    resource: str = ""
    """Extended resource that the class stands behind."""
    created: str = ""


@dataclass(frozen=True, slots=True)
class DeviceToleration:
    key: str
    operator: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Request:
    """Devices of one kind; one of the alternatives of a request, or all there is to it."""

    name: str
    device_class: str
    selectors: tuple[str | None, ...] = ()
    mode: str = EXACT_COUNT
    count: int = 1
    admin: bool = False
    tolerations: tuple[DeviceToleration, ...] = ()
    capacity: Amounts = ()


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    name: str
    exactly: Request | None = None
    alternatives: tuple[Request, ...] = ()
    """Tried in order; the first that fits is taken."""


@dataclass(frozen=True, slots=True)
class Constraint:
    attribute: str
    """Fully qualified."""
    requests: tuple[str, ...] = ()
    """Names of requests, or ``request/alternative``; none: all."""
    kind: str = "match"
    """``match``: one value for all; ``distinct``: no value twice; empty: unknown."""


@dataclass(frozen=True, slots=True)
class ClaimSpec:
    requests: tuple[ClaimRequest, ...] = ()
    constraints: tuple[Constraint, ...] = ()


DeviceId = tuple[str, str, str]
"""Driver, pool, device."""


@dataclass(frozen=True, slots=True)
class Held:
    """A device that a claim was given."""

    request: str
    """``request`` or ``request/alternative``."""
    device: DeviceId
    admin: bool = False
    """Looked at, not taken."""
    is_share: bool = False
    consumed: Amounts = ()


@dataclass(frozen=True, slots=True)
class Allocation:
    devices: tuple[Held, ...] = ()
    terms: tuple[Term, ...] | None = None
    """Nodes that can reach all of it; None: every node."""
    has_failed: bool = False
    """A driver reported that a device cannot be attached."""
    waits_since: float | None = None
    """When it was made, if a device still has to become ready for binding: seconds since 1970."""


@dataclass(frozen=True, slots=True)
class ClaimRow:
    namespace: str
    name: str
    spec: ClaimSpec
    allocation: Allocation | None = None
    reserved_for: tuple[str, ...] = ()
    """uids of the pods that use it."""
    owner: str = ""
    """uid of the controlling owner."""
    is_deleted: bool = False
    is_extended: bool = False
    """Made by a scheduler for a pod's extended resources."""

    @property
    def key(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


class SelectorError(Exception):
    """A selector cannot be compiled or evaluated; the text is what kube-scheduler says."""


class Selectors(Protocol):
    """Evaluates CEL expressions about devices."""

    def matches(self, expression: str, device: Content) -> bool:
        """Whether the device is selected.

        Raises
        ------
        SelectorError
            The expression is wrong, for this device or for any.
        """


@dataclass(slots=True)
class Devices:
    """Everything that claims are decided on."""

    selectors: Selectors | None = None
    """Needed as soon as a class or a request has selectors."""
    classes: tuple[DeviceClass, ...] = ()
    slices: tuple[Slice, ...] = ()
    claims: tuple[ClaimRow, ...] = ()
    templates: dict[str, ClaimSpec] = field(default_factory=dict)
    """By ``namespace/name``."""

    def __bool__(self) -> bool:
        return bool(self.classes or self.slices or self.claims or self.templates)

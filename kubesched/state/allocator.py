# SPDX-License-Identifier: Apache-2.0
"""The search for devices on one node: claims in order, requests in order, devices in the order of their pools.

The first solution is taken, and which one that is decides where later pods fit; so this follows upstream's search step
by step, with what it leaves behind where a candidate fails late (counters that a tainted or constrained device
consumed stay consumed for the rest of the search on that node).
Source: dynamic-resource-allocation/structured/internal/incubating (allocator, constraint, consumable_capacity), v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from kubesched.state import claim_rows
from kubesched.state.claim_rows import (
    Amounts,
    Capacity,
    ClaimSpec,
    Constraint,
    Content,
    DeviceClass,
    DeviceId,
    Request,
    RequestPolicy,
    SelectorError,
)
from kubesched.state.pools import Counters, Pool, Visible

MAX_STEPS = 1_000_000
"""Arbitrary: upstream gives up on a node after ten seconds; a count gives the same answer on every machine."""
INVALID_POOLS = "invalid resource pools were encountered"
NOT_ALL = "cannot allocate all claims"
_NANO = 10**9
_SCHEDULING = ("NoExecute", "NoSchedule")


class AllocationError(Exception):
    """The search cannot go on; no other node helps. ``claim``: position of the claim that the text is about."""

    def __init__(self, claim: int | None, text: str) -> None:
        super().__init__(text)
        self.claim = claim
        self.text = text


class _TooManyError(Exception):
    """A claim would hold more devices than it can."""


@dataclass(slots=True)
class Taken:
    """What is taken of all devices of the cluster."""

    whole: dict[DeviceId, int] = field(default_factory=dict)
    """Devices taken as a whole, with the number of claims."""
    shares: dict[DeviceId, int] = field(default_factory=dict)
    """Devices shared, with the number of shares."""
    consumed: dict[DeviceId, dict[str, int]] = field(default_factory=dict)
    """Capacity that shares consume."""

    def is_taken(self, device: DeviceId) -> bool:
        return device in self.whole or device in self.shares or device in self.consumed


@dataclass(frozen=True, slots=True)
class Pick:
    """A device chosen for a claim."""

    request: str
    pool: int
    device: int
    admin: bool
    is_share: bool
    consumed: Amounts


@dataclass(frozen=True, slots=True)
class Found:
    """Devices of each claim, and the raw score: 8 minus the alternative taken, summed."""

    picks: tuple[tuple[Pick, ...], ...]
    score: int = 0


@dataclass(slots=True)
class _Plan:
    """A request or an alternative, checked."""

    request: Request
    device_class: DeviceClass
    parent: str = ""
    n_devices: int = 0
    everything: list[tuple[int, int]] = field(default_factory=list)
    """(pool, device) of all that match, in mode All."""

    @property
    def name(self) -> str:
        return f"{self.parent}/{self.request.name}" if self.parent else self.request.name


# ---- constraints ----


class _Matching:
    """All devices have one value of an attribute."""

    def __init__(self, constraint: Constraint) -> None:
        self._names = frozenset(constraint.requests)
        self._attribute = constraint.attribute
        self._value: claim_rows.Value | None = None
        self._n = 0

    def _concerns(self, request: str, alternative: str) -> bool:
        return (
            not self._names or request in self._names or bool(alternative and f"{request}/{alternative}" in self._names)
        )

    def add(self, request: str, alternative: str, device: Content) -> bool:
        if not self._concerns(request, alternative):
            return True
        value = attribute_of(device, self._attribute)
        if value is None:
            return False
        if self._n == 0:
            self._value, self._n = value, 1
            return True
        if not value[0] or value != self._value:
            return False
        self._n += 1
        return True

    def remove(self, request: str, alternative: str) -> None:
        if self._concerns(request, alternative):
            self._n -= 1


class _Distinct(_Matching):
    """No two requests have one value of an attribute; of a request, only the last device counts."""

    def __init__(self, constraint: Constraint) -> None:
        super().__init__(constraint)
        self._values: dict[str, claim_rows.Value] = {}

    def add(self, request: str, alternative: str, device: Content) -> bool:
        if not self._concerns(request, alternative):
            return True
        value = attribute_of(device, self._attribute)
        if value is None:
            return False
        if self._n and self._values and (not value[0] or value in self._values.values()):
            return False
        self._values[request] = value
        self._n += 1
        return True

    def remove(self, request: str, alternative: str) -> None:
        if self._concerns(request, alternative):
            self._values.pop(request, None)
            self._n -= 1


def attribute_of(device: Content, name: str) -> claim_rows.Value | None:
    """An attribute by its qualified name; the driver's own domain may be left out on the device."""
    attributes = dict(device.attributes)
    if name in attributes:
        return attributes[name]
    domain, found, short = name.partition("/")
    return attributes.get(short) if found and domain == device.driver else None


# ---- capacity ----


def _wholes(nano: int) -> int:
    return -(-nano // _NANO)


def consumption(asked: int | None, capacity: Capacity) -> int:
    """What a request takes of a capacity: what it asks for, rounded up by the policy; else the default, or all."""
    policy = capacity.policy
    if asked is None:
        return policy.default if policy is not None and policy.default is not None else capacity.value
    if policy is None:
        return asked
    if policy.has_range and policy.least is not None:
        return _in_range(asked, policy.least, policy.step)
    if policy.values is not None:
        return next((value for value in policy.values if asked <= value), asked)
    return asked


def _in_range(asked: int, least: int, step: int | None) -> int:
    if asked < least:
        return least
    if step is None:
        return asked
    lowest, width = _wholes(least), _wholes(step)
    steps = -(-(_wholes(asked) - lowest) // width)
    return (lowest + width * steps) * _NANO


def _breaks(amount: int, policy: RequestPolicy | None) -> bool:
    if policy is None or amount == policy.default:
        return False
    if policy.has_range:
        if policy.most is not None and amount > policy.most:
            return True
        return policy.step is not None and (_wholes(amount) - _wholes(policy.least or 0)) % _wholes(policy.step) != 0
    return bool(policy.values) and amount not in (policy.values or ())


def _has_room(asked: Amounts, device: Content, taken: Mapping[str, int], taking: Mapping[str, int]) -> bool:
    """Whether a request fits into what is left of a device's capacity."""
    capacity, wanted = dict(device.capacity), dict(asked)
    if not wanted.keys() <= capacity.keys():
        return False
    for name, one in capacity.items():
        amount = consumption(wanted.get(name), one)
        if _breaks(amount, one.policy) or amount + taken.get(name, 0) + taking.get(name, 0) > one.value:
            return False
    return True


# ---- taints ----


def _is_kept_off(device: Content, request: Request) -> bool:
    return any(
        taint.effect in _SCHEDULING and not any(_tolerates(t, taint) for t in request.tolerations)
        for taint in device.taints
    )


def _tolerates(t: claim_rows.DeviceToleration, taint: claim_rows.DeviceTaint) -> bool:
    if (t.effect and t.effect != taint.effect) or (t.key and t.key != taint.key):
        return False
    return t.operator == "Exists" or (t.operator in ("", "Equal") and t.value == taint.value)


# ---- the search ----

Matches = Callable[[str, Visible], bool]
"""Whether an expression selects a device."""


class Search:
    """One search on one node.

    Parameters
    ----------
    pools
        That the node sees, in order.
    taken
        By claims of the cluster.
    classes
        Device classes by name.
    matches
        Evaluates a selector; raises SelectorError.
    """

    def __init__(
        self, pools: Sequence[Pool], taken: Taken, classes: Mapping[str, DeviceClass], matches: Matches
    ) -> None:
        self._pools = pools
        self._taken = taken
        self._classes = classes
        self._matches = matches
        self._claims: Sequence[ClaimSpec] = ()
        self._plans: dict[tuple[int, int, int], _Plan] = {}
        self._constraints: list[list[_Matching]] = []
        self._selected: dict[tuple[int, int, int, DeviceId], bool] = {}
        self._available: dict[str, Counters] = {}
        self._consumed: dict[str, Counters] = {}
        self._taking: dict[DeviceId, set[int]] = {}
        self._taking_capacity: dict[DeviceId, dict[str, int]] = {}
        self._picks: list[list[Pick]] = []
        self._chosen: dict[tuple[int, int], int] = {}
        self._n_steps = 0

    def run(self, claims: Sequence[ClaimSpec]) -> Found | str:
        """Devices for all the claims, or why there are none.

        Raises
        ------
        AllocationError
            A claim or class is wrong.
        """
        self._claims = claims
        self._picks = [[] for _ in claims]
        for c, claim in enumerate(claims):
            self._check(c, claim)
        try:
            found = self._next((0, 0, 0, 0), False, (0, 0))
        except _TooManyError:
            found = False
        if not found:
            return INVALID_POOLS if any(pool.is_invalid for pool in self._pools) else NOT_ALL
        return Found(tuple(map(tuple, self._picks)), self._score())

    def _score(self) -> int:
        total = 0
        for c, claim in enumerate(self._claims):
            names = {pick.request for pick in self._picks[c]}
            for request in claim.requests:
                for i, one in enumerate(request.alternatives):
                    total += (claim_rows.MAX_ALTERNATIVES - i) * (f"{request.name}/{one.name}" in names)
        return total

    # ---- checks before the search ----

    def _check(self, c: int, claim: ClaimSpec) -> None:
        least = 0
        for r, request in enumerate(claim.requests):
            parts = request.alternatives or ((request.exactly,) if request.exactly is not None else ())
            counts = []
            for s, part in enumerate(parts):
                plan = self._plan(c, r, s, part, request.name if request.alternatives else "")
                self._plans[c, r, s] = plan
                counts.append(plan.n_devices)
            least += min(counts)
        if least > claim_rows.MAX_RESULTS:
            limit = claim_rows.MAX_RESULTS
            raise AllocationError(c, f": number of requested devices {least} exceeds the claim limit of {limit}")
        constraints: list[_Matching] = []
        for i, constraint in enumerate(claim.constraints):
            if not constraint.kind:
                raise AllocationError(c, f", constraint #{i}: empty constraint (unsupported constraint type?)")
            constraints.append((_Matching if constraint.kind == "match" else _Distinct)(constraint))
        self._constraints.append(constraints)

    def _plan(self, c: int, r: int, s: int, request: Request, parent: str) -> _Plan:
        where = f", request {request.name}"
        for i, selector in enumerate(request.selectors):
            if selector is None:
                text = f"{where}, selector #{i}: CEL expression empty (unsupported selector type?)"
                raise AllocationError(c, text)
        if not request.device_class:
            raise AllocationError(c, f"{where}: missing device class name (unsupported request type?)")
        device_class = self._classes.get(request.device_class)
        if device_class is None:
            name = request.device_class
            missing = f'deviceclass.resource.k8s.io "{name}" not found'
            raise AllocationError(c, f"{where}: could not retrieve device class {name}: {missing}")
        plan = _Plan(request, device_class, parent)
        if request.mode == claim_rows.EXACT_COUNT:
            plan.n_devices = request.count
        elif request.mode == claim_rows.ALL:
            plan.everything = self._everything((c, r, s), plan)
            plan.n_devices = len(plan.everything)
        else:
            raise AllocationError(c, f"{where}: unsupported count mode {request.mode}")
        return plan

    def _everything(self, at: tuple[int, int, int], plan: _Plan) -> list[tuple[int, int]]:
        out = []
        for p, pool in enumerate(self._pools):
            if not pool.is_usable:
                state = "being updated" if pool.is_incomplete else "invalid"
                text = f"asks for all devices, but resource pool {pool.driver}/{pool.name} is currently {state}"
                raise AllocationError(at[0], f", request {plan.request.name}: {text}")
            for d, device in enumerate(pool.devices):
                if self._is_selected(at, plan, device) and self._has_room(plan.request, device):
                    out.append((p, d))
        return out

    # ---- the search itself ----

    def _next(self, at: tuple[int, int, int, int], in_alternative: bool, start: tuple[int, int]) -> bool:
        """Find devices from a position on: claim, request, alternative, device; ``start``: pool, device."""
        c, r, s, n = at
        self._n_steps += 1
        if self._n_steps > MAX_STEPS:
            raise AllocationError(None, "timed out trying to allocate devices")
        if c >= len(self._claims):
            return True
        if r >= len(self._claims[c].requests):
            try:
                return self._next((c + 1, 0, 0, 0), False, (0, 0))
            except _TooManyError:
                return False
        plan = self._plans[c, r, s]
        if plan.parent and not in_alternative:
            return self._alternatives(c, r)
        is_all = plan.request.mode == claim_rows.ALL
        if is_all and not plan.everything:
            return False
        if n >= plan.n_devices:
            return self._next((c, r + 1, 0, 0), False, (0, 0))
        if len(self._picks[c]) + plan.n_devices - n > claim_rows.MAX_RESULTS:
            raise _TooManyError
        if is_all:
            return self._take_all(at, plan, in_alternative)
        return self._take_one(at, plan, in_alternative, start)

    def _alternatives(self, c: int, r: int) -> bool:
        all_too_many = True
        s = 0
        while (c, r, s) in self._plans:
            try:
                found = self._next((c, r, s, 0), True, (0, 0))
            except _TooManyError:
                s += 1
                continue
            all_too_many = False
            if found:
                return True
            s += 1
        if all_too_many:
            raise _TooManyError
        return False

    def _take_all(self, at: tuple[int, int, int, int], plan: _Plan, in_alternative: bool) -> bool:
        c, r, s, n = at
        p, d = plan.everything[n]
        undo = self._take(at, plan, p, d, must=True)
        if undo is None:
            return False
        return self._go_on((c, r, s, n + 1), in_alternative, (0, 0), undo)

    def _take_one(
        self, at: tuple[int, int, int, int], plan: _Plan, in_alternative: bool, start: tuple[int, int]
    ) -> bool:
        c, r, s, n = at
        for p in range(start[0], len(self._pools)):
            pool = self._pools[p]
            if not pool.is_usable:
                continue
            for d in range(start[1] if p == start[0] else 0, len(pool.devices)):
                device = pool.devices[d]
                if self._is_in_use(c, plan.request, device.id):
                    continue
                if not self._is_selected((c, r, s), plan, device) or not self._has_room(plan.request, device):
                    continue
                undo = self._take(at, plan, p, d, must=False)
                if undo is not None and self._go_on((c, r, s, n + 1), in_alternative, (p, d + 1), undo):
                    return True
        return False

    def _go_on(
        self, at: tuple[int, int, int, int], in_alternative: bool, start: tuple[int, int], undo: Callable[[], None]
    ) -> bool:
        """Search the rest; give the device back if there is no way."""
        try:
            found = self._next(at, in_alternative, start)
        except (_TooManyError, AllocationError):
            undo()
            raise
        if not found:
            undo()
        return found

    def _is_in_use(self, c: int, request: Request, device: DeviceId) -> bool:
        taking = self._taking.get(device)
        if request.admin:
            return bool(taking) and c in (taking or ())
        return device in self._taken.whole or bool(taking)

    def _is_selected(self, at: tuple[int, int, int], plan: _Plan, device: Visible) -> bool:
        key = (*at, device.id)
        known = self._selected.get(key)
        if known is None:
            name = f"class {plan.device_class.name}"
            known = (
                self._all_match(None, name, plan.device_class.selectors, device)
                and self._all_match(at[0], "", plan.request.selectors, device)
                and device.is_here
            )
            self._selected[key] = known
        return known

    def _all_match(self, c: int | None, name: str, selectors: Sequence[str | None], device: Visible) -> bool:
        for i, selector in enumerate(selectors):
            try:
                if not self._matches(selector or "", device):
                    return False
            except SelectorError as error:
                raise AllocationError(c, f"{name}: selector #{i}: {error}") from None
        return True

    def _has_room(self, request: Request, device: Visible) -> bool:
        if not device.content.capacity and not request.capacity:
            return True
        taken = self._taken.consumed.get(device.id, {})
        return _has_room(request.capacity, device.content, taken, self._taking_capacity.get(device.id, {}))

    def _take(
        self, at: tuple[int, int, int, int], plan: _Plan, p: int, d: int, must: bool
    ) -> Callable[[], None] | None:
        """Take a device if counters, taints, constraints and capacity allow it; what undoes it again."""
        c = at[0]
        pool, request = self._pools[p], plan.request
        device = pool.devices[d]
        content, shared = device.content, device.content.is_shared
        if self._is_in_use(c, request, device.id) and not (shared and request.admin):
            return None
        in_part = shared and (device.id in self._taken.consumed or device.id in self._taking_capacity)
        if content.counters and not in_part and not self._count(pool, content):
            return None
        base, alternative = (plan.parent, request.name) if plan.parent else (request.name, "")
        if _is_kept_off(content, request) or not self._constrain(c, base, alternative, device, plan, must):
            return None
        taking = self._taking.setdefault(device.id, set())
        if not shared:
            taking.add(c)
        if not self._has_room(request, device):
            return None
        consumed = self._share(request, device) if shared else ()
        self._picks[c].append(Pick(plan.name, p, d, request.admin, shared, consumed))
        n_before = len(self._picks[c]) - 1

        def undo() -> None:
            for constraint in self._constraints[c]:
                constraint.remove(base, alternative)
            taking.discard(c)
            if shared:
                self._unshare(device.id, consumed)
            elif content.counters:
                self._uncount(pool, content)
            del self._picks[c][n_before:]

        return undo

    def _constrain(self, c: int, base: str, alternative: str, device: Visible, plan: _Plan, must: bool) -> bool:
        constraints = self._constraints[c]
        for i, constraint in enumerate(constraints):
            if constraint.add(base, alternative, device.content):
                continue
            if must:
                text = f"cannot add device {'/'.join(device.id)} because a claim constraint would not be satisfied"
                raise AllocationError(c, f", request {plan.request.name}: {text}")
            for earlier in constraints[:i]:
                earlier.remove(base, alternative)
            return False
        return True

    # ---- capacity and counters in the making ----

    def _share(self, request: Request, device: Visible) -> Amounts:
        wanted = dict(request.capacity)
        consumed = tuple((name, consumption(wanted.get(name), one)) for name, one in device.content.capacity)
        taking = self._taking_capacity.setdefault(device.id, {})
        for name, amount in consumed:
            taking[name] = taking.get(name, 0) + amount
        return consumed

    def _unshare(self, device: DeviceId, consumed: Amounts) -> None:
        taking = self._taking_capacity.get(device)
        if not consumed or taking is None:
            return
        for name, amount in consumed:
            taking[name] -= amount
        if not any(taking.values()):
            del self._taking_capacity[device]

    def _count(self, pool: Pool, device: Content) -> bool:
        """Consume counters, if enough is left; counts are kept by the name of the pool alone, as upstream does."""
        available = self._available.get(pool.name)
        if available is None:
            available = self._available[pool.name] = left(pool, self._taken)
        consumed = self._consumed.setdefault(pool.name, {})
        _add(consumed, device.counters, 1)
        for name, counters in available.items():
            used = consumed.get(name, {})
            if any(amount < used.get(counter, 0) for counter, amount in counters.items()):
                self._uncount(pool, device)
                return False
        return True

    def _uncount(self, pool: Pool, device: Content) -> None:
        _add(self._consumed[pool.name], device.counters, -1)


def _add(counters: Counters, amounts: tuple[tuple[str, Amounts], ...], sign: int) -> None:
    for name, part in amounts:
        of_set = counters.setdefault(name, {})
        for counter, amount in part:
            of_set[counter] = of_set.get(counter, 0) + sign * amount


def left(pool: Pool, taken: Taken) -> Counters:
    """Counters of a pool that taken devices leave; may be negative."""
    out = {name: dict(counters) for name, counters in pool.counters.items()}
    consuming = [(d.id, d.content.counters) for d in pool.devices if d.content.counters]
    for device, amounts in (*consuming, *pool.elsewhere):
        if taken.is_taken(device):
            _add(out, amounts, -1)
    return out

# SPDX-License-Identifier: Apache-2.0
"""Devices for claims: what is asked, in the form in which C searches, and what it found.

A question is made once for claims of equal specs: its requests and alternatives in order, and for each content of a
device whether selectors take it, what is consumed of it and the values that constraints compare. C looks for devices
(`core/src/dra.c`, which follows upstream's search step by step) and asks for contents that the question does not know
yet. Source: dynamic-resource-allocation/structured/internal/incubating, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kubesched.kernel import arrays, device_pools
from kubesched.kernel.arrays import I32
from kubesched.state import claim_rows
from kubesched.state.claim_rows import (
    Amounts,
    Capacity,
    ClaimSpec,
    Constraint,
    Content,
    DeviceClass,
    DeviceId,
    Held,
    Request,
    RequestPolicy,
    SelectorError,
)
from kubesched.state.intern import Interner
from kubesched.state.pools import Pool

MAX_STEPS = 1_000_000
"""Arbitrary: upstream gives up on a node after ten seconds; a count gives the same answer on every machine."""
INVALID_POOLS = "invalid resource pools were encountered"
NOT_ALL = "cannot allocate all claims"
_NANO = 10**9
_SCHEDULING = ("NoExecute", "NoSchedule")
_MODES = {claim_rows.EXACT_COUNT: device_pools.EXACT_COUNT, claim_rows.ALL: device_pools.ALL}
_FEW = 16  # arbitrary: contents that a question learns at once, at first


class AllocationError(Exception):
    """The search cannot go on; no other node helps. ``claim``: position of the claim that the text is about."""

    def __init__(self, claim: int | None, text: str) -> None:
        super().__init__(text)
        self.claim = claim
        self.text = text


@dataclass(frozen=True, slots=True)
class Pick:
    """A device chosen for a claim; pool and device are positions."""

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


# ---- what depends on the content of a device alone ----


def attribute_of(device: Content, name: str) -> claim_rows.Value | None:
    """An attribute by its qualified name; the driver's own domain may be left out on the device."""
    attributes = dict(device.attributes)
    if name in attributes:
        return attributes[name]
    domain, found, short = name.partition("/")
    return attributes.get(short) if found and domain == device.driver else None


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


def consumed(request: Request, device: Content) -> list[int] | None:
    """What a request consumes of each capacity of a device that nobody uses; None: there is not enough."""
    capacity, wanted = dict(device.capacity), dict(request.capacity)
    amounts = [consumption(wanted.get(name), one) for name, one in device.capacity]
    fits = wanted.keys() <= capacity.keys() and not any(
        _breaks(amount, one.policy) or amount > one.value
        for amount, one in zip(amounts, capacity.values(), strict=True)
    )
    return amounts if fits else None


def _is_kept_off(device: Content, request: Request) -> bool:
    return any(
        taint.effect in _SCHEDULING and not any(_tolerates(t, taint) for t in request.tolerations)
        for taint in device.taints
    )


def _tolerates(t: claim_rows.DeviceToleration, taint: claim_rows.DeviceTaint) -> bool:
    if (t.effect and t.effect != taint.effect) or (t.key and t.key != taint.key):
        return False
    return t.operator == "Exists" or (t.operator in ("", "Equal") and t.value == taint.value)


# ---- questions ----


@dataclass(slots=True)
class _Plan:
    """A request or an alternative, checked."""

    request: Request
    claim: int
    base: int
    """First request of the claim with the name of the plan's request; requests count through all claims."""
    parent: str = ""
    device_class: DeviceClass | None = None
    broken: str = ""
    """Why the search stops here."""

    @property
    def name(self) -> str:
        return f"{self.parent}/{self.request.name}" if self.parent else self.request.name

    @property
    def names(self) -> frozenset[str]:
        """Names by which constraints mean it."""
        return frozenset((self.parent, self.name)) if self.parent else frozenset((self.name,))


@dataclass(slots=True, eq=False)
class Question:
    """Claims to be met at once."""

    claims: tuple[ClaimSpec, ...]
    plans: list[_Plan]
    broken: dict[int, str]
    """By claim: why its constraints cannot be met."""
    asked: device_pools.Question
    errors: dict[tuple[int, int], AllocationError] = field(default_factory=dict)
    """By content and plan."""
    n_known: int = 0
    starts: dict[tuple[int, ...], int] = field(default_factory=dict)
    """Where amounts that are consumed stand."""

    @property
    def constraints(self) -> list[Constraint]:
        return [constraint for claim in self.claims for constraint in claim.constraints]

    def start_of(self, amounts: tuple[int, ...]) -> int:
        found = self.starts.get(amounts)
        if found is None:
            found = self.starts[amounts] = self.asked.add_amounts(amounts)
        return found


def _planned(claims: Sequence[ClaimSpec], classes: Mapping[str, DeviceClass]) -> Iterator[list[_Plan]]:
    """The plans of each request."""
    n = 0
    for c, claim in enumerate(claims):
        first: dict[str, int] = {}
        for request in claim.requests:
            base = first.setdefault(request.name, n)
            parts = request.alternatives or ((request.exactly,) if request.exactly is not None else ())
            yield [_plan(_Plan(part, c, base, request.name if request.alternatives else ""), classes) for part in parts]
            n += 1


def _plan(plan: _Plan, classes: Mapping[str, DeviceClass]) -> _Plan:
    """Find the class of a plan, and what is wrong with it."""
    request = plan.request
    name = request.device_class
    plan.device_class = classes.get(name)
    problem = ""
    if None in request.selectors:
        at = request.selectors.index(None)
        problem = f", selector #{at}: CEL expression empty (unsupported selector type?)"
    elif not name:
        problem = ": missing device class name (unsupported request type?)"
    elif plan.device_class is None:
        missing = f'deviceclass.resource.k8s.io "{name}" not found'
        problem = f": could not retrieve device class {name}: {missing}"
    elif request.mode not in _MODES:
        problem = f": unsupported count mode {request.mode}"
    plan.broken = f", request {request.name}{problem}" if problem else ""
    return plan


def _starts(counts: Sequence[int]) -> I32:
    return arrays.int32([0, *np.cumsum(counts, dtype=np.int64).tolist()])


def _question(claims: tuple[ClaimSpec, ...], classes: Mapping[str, DeviceClass]) -> Question:
    by_request = list(_planned(claims, classes))
    plans = [plan for of_request in by_request for plan in of_request]
    broken = {}
    for c, claim in enumerate(claims):
        bad = [i for i, constraint in enumerate(claim.constraints) if not constraint.kind]
        if bad:
            broken[c] = f", constraint #{bad[0]}: empty constraint (unsupported constraint type?)"
    constraints = [(c, constraint) for c, claim in enumerate(claims) for constraint in claim.constraints]
    concerns = [
        plan.claim == c and (not constraint.requests or not plan.names.isdisjoint(constraint.requests))
        for c, constraint in constraints
        for plan in plans
    ]

    def flags(values: list[bool]) -> np.ndarray:
        return np.array(values, dtype=np.uint8)

    modes = [device_pools.BROKEN if plan.broken else _MODES[plan.request.mode] for plan in plans]
    asked = device_pools.Question(
        max_steps=MAX_STEPS,
        request_start=_starts([len(claim.requests) for claim in claims]),
        plan_start=_starts([len(of_request) for of_request in by_request]),
        constraint_start=_starts([len(claim.constraints) for claim in claims]),
        is_broken=flags([c in broken for c in range(len(claims))]),
        mode=np.array(modes, dtype=np.uint8),
        count=arrays.int32([plan.request.count for plan in plans]),
        is_admin=flags([plan.request.admin for plan in plans]),
        is_alternative=flags([bool(plan.parent) for plan in plans]),
        base=arrays.int32([plan.base for plan in plans]),
        is_distinct=flags([constraint.kind == "distinct" for _, constraint in constraints]),
        concerns=flags(concerns),
    )
    return Question(claims, plans, broken, asked)


# ---- the allocator ----

Matches = Callable[[str, int, Content], bool]
"""Whether an expression selects devices of a content, given with its number; raises SelectorError."""


class Allocator:
    """All pools, who holds their devices, and the search.

    Parameters
    ----------
    classes
        Device classes by name.
    contents
        Contents of devices by number; more may come.
    matches
        Evaluates a selector.
    """

    def __init__(self, classes: Mapping[str, DeviceClass], contents: Interner[Content], matches: Matches) -> None:
        self._classes = classes
        self._contents = contents
        self._matches = matches
        self._pools = device_pools.DevicePools()
        self._n_pools = self._n_contents = 0
        self._devices: Interner[DeviceId] = Interner()
        self._families: Interner[tuple[str, str]] = Interner()
        self._names: Interner[str] = Interner()
        self._counters: Interner[tuple[str, str]] = Interner()
        self._capacities: Interner[str] = Interner()
        self._values: Interner[claim_rows.Value] = Interner()

    # ---- pools and what is held of them ----

    def add(self, pool: Pool) -> int:
        """Take over a pool as some nodes see it; its number. O(devices)."""
        while self._n_contents < len(self._contents):
            self._add_content(self._contents.value(self._n_contents))
            self._n_contents += 1
        counters = [((name, counter), n) for name, of in pool.counters.items() for counter, n in of.items()]
        spec = device_pools.PoolSpec(
            name=self._names.id(pool.name),
            family=self._families.id(pool.id),
            is_usable=pool.is_usable,
            device=[self._devices.id(device.id) for device in pool.devices],
            content=[device.number for device in pool.devices],
            is_here=[device.is_here for device in pool.devices],
            counters=[(self._counters.id(counter), n) for counter, n in counters],
            elsewhere_device=[self._devices.id(device.id) for device in pool.elsewhere],
            elsewhere_content=[device.number for device in pool.elsewhere],
        )
        self._pools.add_pool(spec)
        self._n_pools += 1
        return self._n_pools - 1

    def _add_content(self, content: Content) -> None:
        uses = [(self._counters.id((name, counter)), n) for name, of in content.counters for counter, n in of]
        capacity = [(self._capacities.id(name), one.value) for name, one in content.capacity]
        self._pools.add_content(content.is_shared, uses, capacity)

    def hold(self, held: Held, sign: int) -> None:
        """A claim comes to hold a device, or gives it back (-1)."""
        device = self._devices.id(held.device)
        if not held.is_share:
            self._pools.hold(device, sign, 0)
            return
        self._pools.hold(device, 0, sign, [(self._capacities.id(name), sign * n) for name, n in held.consumed])

    def state(self, pool: Pool) -> bytes:
        """Equal for two pools of one kind exactly if the same is held of both."""
        return self._pools.state(pool.number)

    # ---- the search ----

    def question(self, claims: tuple[ClaimSpec, ...]) -> Question:
        """What claims ask for at once, to be kept for searches. O(requests)."""
        return _question(claims, self._classes)

    def search(self, question: Question, pools: Sequence[Pool], numbers: I32) -> Found | str:
        """Devices for all claims of a question, or why there are none.

        Parameters
        ----------
        question
            From `question`; it learns contents of devices.
        pools, numbers
            That a node sees, in order.

        Raises
        ------
        AllocationError
            A claim or class is wrong.
        """
        if len(question.asked.known) < self._n_contents:
            question.asked.grow(self._n_contents)
        while True:
            answer = self._pools.search(question.asked, numbers)
            if answer.status != device_pools.NEEDS_CONTENT:
                break
            self._learn(question, pools, answer)
        if answer.status == device_pools.FOUND:
            return self._found(question, pools, answer.picks)
        if answer.status == device_pools.NONE:
            return INVALID_POOLS if any(pool.is_invalid for pool in pools) else NOT_ALL
        raise _error(question, pools, answer)

    def _learn(self, question: Question, pools: Sequence[Pool], answer: device_pools.Answer) -> None:
        """Complete the question for the content that was met, and for as many behind it as it knows already."""
        asked = question.asked
        left = question.n_known + _FEW
        for pool in pools[answer.pool :]:
            for device in pool.devices:
                if not asked.known[device.number]:
                    self._learn_one(question, device.number, device.content)
                    left -= 1
            if left <= 0:
                return

    def _learn_one(self, question: Question, number: int, content: Content) -> None:
        asked = question.asked
        at = number * len(question.plans)
        for s, plan in enumerate(question.plans):
            if plan.broken:
                continue
            amounts = consumed(plan.request, content)
            bits = self._selected(question, s, number, content)
            bits |= device_pools.KEPT_OFF if _is_kept_off(content, plan.request) else 0
            bits |= device_pools.NO_ROOM if amounts is None else 0
            asked.fits[at + s] = bits
            if amounts:
                asked.amount_start[at + s] = question.start_of(tuple(amounts))
        at = number * len(asked.is_distinct)
        for k, constraint in enumerate(question.constraints):
            asked.value[at + k] = self._value(content, constraint.attribute)
        asked.known[number] = 1
        question.n_known += 1

    def _value(self, content: Content, attribute: str) -> int:
        value = attribute_of(content, attribute)
        if value is None:
            return device_pools.ABSENT
        return self._values.id(value) if value[0] else device_pools.UNKNOWN

    def _selected(self, question: Question, s: int, number: int, content: Content) -> int:
        plan = question.plans[s]
        assert plan.device_class is not None  # it would be broken
        parts = (
            (None, f"class {plan.device_class.name}", plan.device_class.selectors),
            (plan.claim, "", plan.request.selectors),
        )
        for claim, name, selectors in parts:
            for i, selector in enumerate(selectors):
                try:
                    if not self._matches(selector or "", number, content):
                        return 0
                except SelectorError as error:
                    question.errors[number, s] = AllocationError(claim, f"{name}: selector #{i}: {error}")
                    return device_pools.FAILS
        return device_pools.SELECTED

    def _found(self, question: Question, pools: Sequence[Pool], picks: list[list[int]]) -> Found:
        by_claim: list[list[Pick]] = [[] for _ in question.claims]
        for c, s, p, d in picks:
            plan, content = question.plans[s], pools[p].devices[d].content
            taken: Amounts = ()
            if content.is_shared:
                names = [name for name, _ in content.capacity]
                taken = tuple(zip(names, consumed(plan.request, content) or (), strict=True))
            by_claim[c].append(Pick(plan.name, p, d, plan.request.admin, content.is_shared, taken))
        return Found(tuple(map(tuple, by_claim)), _score(question.claims, by_claim))


def _score(claims: Sequence[ClaimSpec], picks: Sequence[Sequence[Pick]]) -> int:
    return sum(
        alternative_score(claim, {pick.request for pick in of_claim})
        for claim, of_claim in zip(claims, picks, strict=True)
    )


def alternative_score(claim: ClaimSpec, requests: set[str]) -> int:
    """The raw score of a claim: 8 less the position of the alternative that was taken, of each request with some.

    Parameters
    ----------
    claim
        What it asks for.
    requests
        Names of the requests that got devices, ``request/alternative`` where there are alternatives.
    """
    return sum(
        claim_rows.MAX_ALTERNATIVES - i
        for request in claim.requests
        for i, one in enumerate(request.alternatives)
        if f"{request.name}/{one.name}" in requests
    )


def _error(question: Question, pools: Sequence[Pool], answer: device_pools.Answer) -> AllocationError:
    """Why the search stopped."""
    c, status = answer.claim, answer.status
    if status == device_pools.ASKS_TOO_MANY:
        limit = claim_rows.MAX_RESULTS
        return AllocationError(c, f": number of requested devices {answer.n_least} exceeds the claim limit of {limit}")
    if status == device_pools.CLAIM_BROKEN:
        return AllocationError(c, question.broken[c])
    if status == device_pools.REQUEST_BROKEN:
        return AllocationError(c, question.plans[answer.plan].broken)
    if status == device_pools.TIMED_OUT:
        return AllocationError(None, "timed out trying to allocate devices")
    pool, request = pools[answer.pool], question.plans[answer.plan].request.name
    if status == device_pools.POOL_FLAWED:
        state = "being updated" if pool.is_incomplete else "invalid"
        text = f"asks for all devices, but resource pool {pool.driver}/{pool.name} is currently {state}"
        return AllocationError(c, f", request {request}: {text}")
    device = pool.devices[answer.device]
    if status == device_pools.CONSTRAINT_BROKEN:
        text = f"cannot add device {'/'.join(device.id)} because a claim constraint would not be satisfied"
        return AllocationError(c, f", request {request}: {text}")
    return question.errors[device.number, answer.plan]

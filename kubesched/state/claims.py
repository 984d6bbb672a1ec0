# SPDX-License-Identifier: Apache-2.0
"""DynamicResources: pods whose claims need devices.

A search per node is what makes this plugin slow upstream. Here nodes whose devices are alike, in content and in what
is taken, share one search: its answer is kept by the kind of claims and the number of what the node holds. Placing a
pod changes one node, so the next pod of the kind costs a lookup for that node. Claims that are allocated already only
restrict the nodes.

A claim that a placed pod was given counts as bound at once: the next pod of it goes where the devices are.
Source: plugins/dynamicresources, v1.36.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from kubesched.base import errors
from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32, U8
from kubesched.state import allocator, rows
from kubesched.state.allocator import AllocationError, alternative_score
from kubesched.state.claim_rows import (
    Allocation,
    ClaimRow,
    ClaimSpec,
    Content,
    DeviceClass,
    Devices,
    Held,
    SelectorError,
    Slice,
)
from kubesched.state.device_rows import Codes, Column, DeviceRows, Search
from kubesched.state.extended_claims import claim_of
from kubesched.state.intern import Interner
from kubesched.state.nodes import Nodes
from kubesched.state.pools import Pool
from kubesched.state.row_labels import Bool, RowLabels
from kubesched.state.stand_ins import StandIns
from kubesched.state.stateful import Rejection, VerdictReasons

PLUGIN = "DynamicResources"
EXTENDED = "<extended-resources>"
"""Name of the claim that stands for a pod's extended resources until it is written."""
BINDING_TIMEOUT = 600.0
"""Seconds in which devices have to become ready for binding (bindingTimeout of the default arguments)."""
NO_CLAIMS = "no new claims to deallocate"
DEALLOCATED = "deallocation of ResourceClaim completed"
UNAVAILABLE = "resourceclaim not available on the node"
_STALE = "cannot schedule extended resource claim"
_FEW = 64  # arbitrary: up to here rows are set one by one rather than as a whole column


class _RefusedError(Exception):
    """PreFilter says no."""


@dataclass(slots=True)
class _Claim:
    """A claim with what became of it."""

    row: ClaimRow
    spec: int
    """Number of its spec."""
    allocation: Allocation | None
    reserved: tuple[str, ...]
    stays: bool
    """It was allocated and nobody used it: it stays allocated when the pods leave."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What a pod still needs, and where that is open to it."""

    claims: tuple[_Claim, ...]
    """All of the pod's."""
    missing: tuple[_Claim, ...]
    """Those that are not allocated."""
    search: Search
    """For ``missing`` and the extended resources."""
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Scored:
    """Extended resources that a profile scores."""

    resources: frozenset[str] = frozenset()
    balanced: frozenset[str] = frozenset()
    """Those of them that NodeResourcesBalancedAllocation looks at."""


@dataclass(slots=True)
class _Applied:
    """What the engine was told last of a class."""

    column: Column | None = None
    """None: a column of its own."""
    at: int = 0
    """Changes of the column that the engine knows."""


@dataclass(slots=True)
class _Undo:
    """State of claims before a pod came or left."""

    key: str
    pod: rows.PodDevices | None
    before: list[tuple[_Claim, Allocation | None, tuple[str, ...]]]
    extended: Allocation | None


class Claims:
    """Claims, devices and who has which; does nothing until there are some."""

    def __init__(self, nodes: Nodes, labels: RowLabels, reasons: VerdictReasons) -> None:
        self._nodes = nodes
        self._labels = labels
        self._reasons = reasons
        self._is_undoable = False
        self.now: float | None = None
        """Seconds since 1970; None: nothing times out."""
        self._given: Devices | None = None
        """Selectors, classes and templates; slices and claims are elsewhere. None: nobody needed any."""
        self._claims: dict[str, _Claim] = {}
        self._classes: dict[str, DeviceClass] = {}
        self._by_resource: dict[str, DeviceClass] = {}
        """Extended resource to the class behind it."""
        self._lifted: dict[str, None] = {}
        """Extended resources that NodeResourcesFit leaves to this plugin, in order."""
        self._made: dict[str, _Undo] = {}
        """What claims were before `reserve`, by pod."""
        self._last: tuple[str, _Wanted] | None = None
        """The pod that was asked about last, until a claim changes."""
        self._pods: dict[str, rows.PodDevices] = {}
        self._extended: dict[str, Allocation] = {}
        self._specs: Interner[ClaimSpec] = Interner()
        self._asked: Interner[tuple[rows.ContainerDevices, ...]] = Interner()
        self._kinds: Interner[tuple[int, ...]] = Interner([()])
        self._journal: list[_Undo] = []
        self._start_anew({})

    def _start_anew(self, slices: dict[str, Slice]) -> None:
        """Pools of these slices, of which nothing is held; no row was looked at."""
        self._matched: dict[tuple[str, object], bool | SelectorError] = {}
        self._rest_of: dict[int, object] = {}
        codes = Codes(self._no_devices, self._failed)
        self._rows = DeviceRows(self._nodes, self._labels, self._classes, self._matches, self._asks, codes, slices)
        self._applied: dict[int, _Applied] = {}
        self._stand_ins: StandIns | None = None
        """None: to be counted when they are scored next."""

    # ---- what there is ----

    @property
    def is_used(self) -> bool:
        """Whether devices or claims were given, or a pod asked for them."""
        return self._given is not None

    def load(self, devices: Devices) -> None:
        """Take over classes, slices and claims; those of before are forgotten. O(slices + nodes)."""
        self._given = replace(devices, slices=(), claims=())
        self._classes = {one.name: one for one in devices.classes}
        self._by_resource = _resources_of(devices.classes)
        self._journal.clear()
        self._made.clear()
        self._last = None
        self._start_anew({one.name: one for one in devices.slices})
        self._claims = {row.key: self._new_claim(row) for row in devices.claims}
        for claim in self._claims.values():
            self._hold(claim.allocation, 1)
        self._lift(one.resource for one in devices.classes if one.resource)
        self.set_rows(range(self._nodes.engine.n_rows))

    def _lift(self, resources: Iterable[str]) -> None:
        """From now on NodeResourcesFit leaves the resources to this plugin where a node does not offer them."""
        new = [resource for resource in dict.fromkeys(resources) if resource not in self._lifted]
        if new:
            self._lifted.update(dict.fromkeys(new))
            self._nodes.lift(new)
            self._rows.see_offers(new)

    def _new_claim(self, row: ClaimRow) -> _Claim:
        stays = row.allocation is not None and not row.reserved_for
        return _Claim(row, self._specs.id(row.spec), row.allocation, row.reserved_for, stays)

    def current(self) -> Devices | None:
        """What `load` was given, with the claims as they are now."""
        if self._given is None:
            return None
        now = [
            replace(claim.row, allocation=claim.allocation, reserved_for=claim.reserved)
            for claim in self._claims.values()
        ]
        return replace(self._given, slices=tuple(self._rows.slices.values()), claims=tuple(now))

    def allocations(self, pods: Iterable[str] | None = None) -> dict[str, Allocation]:
        """By ``namespace/name`` of the claim; for a pod's extended resources after the pod's name.

        O(claims), with ``pods`` of these pods.
        """
        keys = self._pods if pods is None else [key for key in pods if key in self._pods]
        of_pods = [one.claim for key in keys for one in self._pods[key].claims] if pods is not None else self._claims
        claims = {key: self._claims[key] for key in of_pods if key in self._claims}
        out = {key: claim.allocation for key, claim in claims.items() if claim.allocation is not None}
        extended = (
            self._extended if pods is None else {key: self._extended[key] for key in keys if key in self._extended}
        )
        return out | {f"{pod}/{EXTENDED}": allocation for pod, allocation in extended.items()}

    def put(self, more: Devices) -> None:
        """Add classes, slices, claims and templates, or replace those of the same name.

        O(what is put, and the rows that see its pools); with classes O(all of them + nodes).

        Raises
        ------
        StateError
            A mark is open: what was found before could not be taken back.
        """
        if self._is_undoable:
            raise errors.StateError("devices", "cannot change inside a speculation", None, "its end")
        if self._given is None or more.classes or not self._rows.put(more.slices):
            self._put_anew(more)
            return
        if more.slices:
            self._stand_ins = None
        self._journal.clear()
        self._made.clear()
        self._last = None
        self._given.templates |= more.templates
        for row in more.claims:
            before = self._claims.get(row.key)
            self._hold(None if before is None else before.allocation, -1)
            self._claims[row.key] = self._new_claim(row)
            self._hold(row.allocation, 1)

    def _put_anew(self, more: Devices) -> None:
        """Load all of it again with what is new."""
        now = self.current() or Devices()
        stays = {key: claim.stays for key, claim in self._claims.items()}
        extended = dict(self._extended)
        self.load(
            Devices(
                now.selectors or more.selectors,
                tuple({one.name: one for one in (*now.classes, *more.classes)}.values()),
                tuple({one.name: one for one in (*now.slices, *more.slices)}.values()),
                tuple({one.key: one for one in (*now.claims, *more.claims)}.values()),
                now.templates | more.templates,
            )
        )
        for key in stays.keys() - {one.key for one in more.claims}:
            self._claims[key].stays = stays[key]
        self._extended = extended
        for allocation in extended.values():
            self._hold(allocation, 1)

    def adopt(self, other: Claims) -> None:
        """Take over all of another cluster whose nodes have the same names, with what its pods hold."""
        now = other.current()
        if now is None:
            return
        self.load(now)
        self.now = other.now
        self._lift(other._lifted)
        self._pods = dict(other._pods)
        for claim in self._claims.values():
            claim.stays = other._claims[claim.row.key].stays
        for key, allocation in other._extended.items():
            self._extended[key] = allocation
            self._hold(allocation, 1)

    def lifted(self) -> list[str]:
        """Extended resources that devices stand in for on nodes that do not offer them."""
        return list(self._lifted)

    # ---- pods ----

    def kind(self, pod: rows.PodRow) -> int:
        """Number of the kind of a pod's claims, 0: none; remembers what it asks for. O(claims of the pod)."""
        if pod.devices is None:
            return 0
        self._last = None
        extended = self._extended_of(pod.devices)
        if not pod.devices.claims and not extended:
            return 0
        if self._given is None:
            self.load(Devices())
        self._lift(resource for one in extended for resource, _ in one.amounts)
        self._pods[pod.key] = pod.devices
        specs = []
        for one in pod.devices.claims:
            claim = self._claim(pod.devices, one)
            specs.append(-1 if claim is None else claim.spec)
        return self._kinds.id((*specs, self._asked.id(extended) if extended else -1))

    def know(self, pod: rows.PodRow) -> None:
        """Remember the claims of a pod that runs."""
        if pod.devices is not None and pod.devices.claims:
            self._pods[pod.key] = pod.devices

    def _extended_of(self, pod: rows.PodDevices) -> tuple[rows.ContainerDevices, ...]:
        """What the containers ask of resources that device classes stand behind; empty: nothing."""
        if not pod.containers or not self._by_resource:
            return ()
        kept = tuple(
            rows.ContainerDevices(one.is_short, tuple(ask for ask in one.amounts if ask[0] in self._by_resource))
            for one in pod.containers
        )
        return kept if any(one.amounts for one in kept) else ()

    def _claim(self, pod: rows.PodDevices, one: rows.PodClaim) -> _Claim | None:
        """A claim of a pod; one that is to be made from a template is made, as the claim controller would."""
        found = self._claims.get(one.claim)
        if found is None and one.template and self._given is not None:
            spec = self._given.templates.get(one.template)
            if spec is not None:
                namespace, name = one.claim.split("/", 1)
                row = ClaimRow(namespace, name, spec, owner=pod.uid)
                found = self._claims[one.claim] = self._new_claim(row)
        return found

    # ---- rows, devices and searches ----

    def set_rows(self, changed: Sequence[int]) -> None:
        """Rows were added, rewritten or removed. O(rows), nothing without devices."""
        if self._given is not None and len(changed):
            self._stand_ins = None
            self._rows.set_rows(changed, list(self._lifted))

    def _hold(self, allocation: Allocation | None, sign: int) -> None:
        """Take the devices of an allocation, or give them back."""
        if allocation is None:
            return
        self._rows.hold(allocation, sign)
        if self._stand_ins is not None:
            self._stand_ins.hold(allocation, sign)

    def _no_devices(self, reason: str) -> int:
        return self._reasons.code(PLUGIN, (reason,), unresolvable=True)

    def _asks(self, search: Search, offers: frozenset[str]) -> tuple[ClaimSpec, ...]:
        """What claims ask for where a node offers some extended resources itself."""
        specs = [self._specs.value(number) for number in search[:-1]]
        if search[-1] >= 0:
            asked = self._asked.value(search[-1])
            wanted = {resource for one in asked for resource, _ in one.amounts}
            names = (wanted & self._by_resource.keys()) - offers
            specs.append(claim_of(asked, {name: self._by_resource[name] for name in names}))
        return tuple(specs)

    def _matches(self, expression: str, number: int, content: Content) -> bool:
        """Whether an expression selects devices of a content; found once for those that it cannot tell apart."""
        looks = "attributes" in expression or "capacity" in expression
        rest = self._rest_of[number] if number in self._rest_of else self._rest(number, content)
        key = (expression, number if looks else rest)
        known = self._matched.get(key)
        if known is None:
            if self._given is None or self._given.selectors is None:
                raise errors.StateError("devices", "are selected", expression, "something that evaluates selectors")
            try:
                known = self._given.selectors.matches(expression, content)
            except SelectorError as error:
                known = error
            self._matched[key] = known
        if isinstance(known, SelectorError):
            raise known
        return known

    def _rest(self, number: int, content: Content) -> object:
        """What selectors see of a device besides attributes and capacity; attributes without value fail all of them."""
        odd = tuple(one for one in content.attributes if one[1][0] in ("", "version"))
        rest = self._rest_of[number] = (content.driver, content.is_shared, odd)
        return rest

    # ---- the plugin ----

    def concerns(self, shape: rows.PodShape) -> bool:
        """Whether pods of the shape have claims. O(1)."""
        return shape.claim_kind != 0

    def tell_scored(self, key: str, scored: Scored) -> None:
        """Tell the engine how many devices rows have of what a pod asks for, where the profile scores that.

        Raises
        ------
        UnsupportedError
            BalancedAllocation would have to evaluate a selector: 1.36 gives it nothing to do that with, and stops.
        """
        pod = self._pods.get(key) if scored.resources else None
        if pod is None:
            return
        asked = {resource for one in self._extended_of(pod) for resource, _ in one.amounts}
        for resource in sorted(asked & scored.resources):
            behind = self._by_resource[resource]
            if resource in scored.balanced and any(text is not None for text in behind.selectors):
                what = (
                    f"asks for what NodeResourcesBalancedAllocation scores and DeviceClass {behind.name} selects by CEL"
                )
                raise errors.UnsupportedError(f"Pod {key}", what, resource)
            if self._stand_ins is None:
                self._stand_ins = StandIns(self._rows, self._matches, self.allocations().values())
            self._stand_ins.tell(self._nodes.engine, resource, self._nodes.names.resource_id(resource), behind)

    def prepare(self, key: str, class_id: int, shape: rows.PodShape) -> Rejection | None:
        """Tell the engine where the pod's claims can be met; see `stateful.Stateful`."""
        try:
            wanted = self._wanted(key)
        except _RefusedError as refused:
            return Rejection(PLUGIN, True, (str(refused),))
        column = self._rows.column(wanted.search)
        self._tell(class_id, wanted, column)
        return None if column.error is None or wanted.is_stale else self._failure(wanted, *column.error)

    def _tell(self, class_id: int, wanted: _Wanted, column: Column) -> None:
        allocated = [claim.allocation for claim in wanted.claims if claim.allocation is not None]
        scores = any(request.alternatives for claim in wanted.claims for request in claim.row.spec.requests)
        if not allocated and not wanted.is_stale:
            self._apply(class_id, column, scores)
            return
        codes = self._restricted(column, allocated)
        if wanted.is_stale:
            codes = np.full_like(codes, self._reasons.code(PLUGIN, (_STALE,), unresolvable=True))
        engine = self._nodes.engine
        engine.set_verdicts(class_id, native.FILTERS[PLUGIN], None, codes)
        if scores:
            constant = self._constant(wanted) if wanted.missing or wanted.search[-1] >= 0 else 0
            engine.set_raw(class_id, native.SCORES[PLUGIN], None, column.raw + constant)
        self._applied[class_id] = _Applied()

    def _apply(self, class_id: int, column: Column, scores: bool) -> None:
        """Tell the engine what changed in the column since it was told last."""
        engine, applied = self._nodes.engine, self._applied.setdefault(class_id, _Applied())
        changes = column.changes.since(applied.at) if applied.column is column else None
        applied.column, applied.at = column, column.changes.end
        if changes is not None and not changes:
            return
        at = arrays.int32(sorted(set(changes))) if changes is not None and len(changes) <= _FEW else None
        code = column.code if at is None else column.code[at]
        engine.set_verdicts(class_id, native.FILTERS[PLUGIN], at, code)
        if scores:
            engine.set_raw(class_id, native.SCORES[PLUGIN], at, column.raw if at is None else column.raw[at])

    def _restricted(self, column: Column, allocated: Sequence[Allocation]) -> U8:
        """The column's codes, and a rejection where the search succeeds and an allocation does not reach."""
        here = np.ones(len(column.code), dtype=np.bool_)
        for allocation in allocated:
            here &= self._reach(allocation)
        code = self._reasons.code(PLUGIN, (UNAVAILABLE,), unresolvable=True)
        out: U8 = np.where((column.code == 0) & ~here, np.uint8(code), column.code)
        return out

    def _reach(self, allocation: Allocation) -> Bool:
        n = self._nodes.engine.n_rows
        if allocation.has_failed or self._has_timed_out(allocation):
            return np.zeros(n, dtype=np.bool_)
        return np.ones(n, dtype=np.bool_) if allocation.terms is None else self._rows.admitted(allocation.terms)

    def _has_timed_out(self, allocation: Allocation) -> bool:
        """Whether devices that it waits for should have been ready by now."""
        since = allocation.waits_since
        return since is not None and self.now is not None and since + BINDING_TIMEOUT < self.now

    def _constant(self, wanted: _Wanted) -> int:
        """Score of the claims that are allocated already."""
        return sum(
            alternative_score(claim.row.spec, {held.request for held in claim.allocation.devices})
            for claim in wanted.claims
            if claim.allocation is not None
        )

    def _failure(self, wanted: _Wanted, error: AllocationError, row: int) -> Rejection:
        """An error of the search, with the names of this pod's claims."""
        text = error.text
        if error.claim is not None:
            missing = wanted.missing
            name = missing[error.claim].row.key if error.claim < len(missing) else EXTENDED
            text = f"claim {name}{text}"
        elif "timed out" in text:
            text = f"node {self._nodes.name(row)}: {text}"
        reason = f'running "{PLUGIN}" filter plugin: {text}'
        return Rejection(PLUGIN, True, (reason,), is_error=True, code=self._failed)

    @property
    def _failed(self) -> int:
        """Code of nodes where the search stops with an error."""
        return self._reasons.code(PLUGIN, ("the search failed",), unresolvable=True)

    def _wanted(self, key: str) -> _Wanted:
        """The pod's claims, checked as PreFilter does."""
        if self._last is not None and self._last[0] == key:
            return self._last[1]
        pod = self._pods[key]
        claims = tuple(claim for one in pod.claims if (claim := self._checked(key, pod, one)) is not None)
        missing = tuple(claim for claim in claims if claim.allocation is None)
        extended = self._extended_of(pod)
        stale = bool(extended) and self._is_stale(pod)
        for claim in missing:
            self._check_classes(claim.row)
        search = (*(claim.spec for claim in missing), self._asked.id(extended) if extended and not stale else -1)
        found = _Wanted(claims, missing, search, stale)
        self._last = (key, found)
        return found

    def _checked(self, key: str, pod: rows.PodDevices, one: rows.PodClaim) -> _Claim | None:
        if one.problem:
            raise _RefusedError(one.problem)
        if not one.claim:
            return None
        claim = self._claim(pod, one)
        if claim is None:
            if one.template:
                raise _RefusedError(f'pod "{key}": ResourceClaim not created yet')
            raise _RefusedError(f'could not find ResourceClaim "{one.claim}"')
        if claim.row.is_deleted:
            raise _RefusedError(f'resourceclaim "{claim.row.name}" is being deleted')
        if one.must_own and claim.row.owner != pod.uid:
            raise _RefusedError(f"ResourceClaim {one.claim} was not created for Pod {key} (Pod is not owner)")
        return claim

    def _is_stale(self, pod: rows.PodDevices) -> bool:
        """Whether a claim for the pod's extended resources is left of an earlier attempt."""
        return any(claim.row.is_extended and claim.row.owner == pod.uid for claim in self._claims.values())

    def _check_classes(self, claim: ClaimRow) -> None:
        for request in claim.spec.requests:
            if request.exactly is None and not request.alternatives:
                raise _RefusedError(f"resource claim {claim.key}, request {request.name}: unknown request type")
            exactly = () if request.exactly is None else ((request.name, request.exactly),)
            parts = exactly or tuple((f"{request.name}/{one.name}", one) for one in request.alternatives)
            for name, part in parts:
                if part.device_class not in self._classes:
                    raise _RefusedError(f"request {name}: device class {part.device_class} does not exist")

    # ---- reserving ----

    def reserve(self, key: str, class_id: int, shape: rows.PodShape, row: int) -> None:
        """Give the pod's claims the devices that the search found on the row; see `stateful.Stateful`."""
        try:
            wanted = self._wanted(key)
        except _RefusedError:
            return
        uid = self._pods[key].uid
        self._made[key] = self._note_undo(key, wanted.claims)
        if wanted.missing or wanted.search[-1] >= 0:
            answer = self._rows.answer(wanted.search, row)
            picks = answer.found.picks if answer.found is not None else ()
            seen = self._rows.pools_of(row)
            made = [_allocation(self._nodes.name(row) or "", seen, of) for of in picks]
            for claim, allocation in zip(wanted.missing, made, strict=False):
                claim.allocation = allocation
                self._hold(allocation, 1)
            if wanted.search[-1] >= 0 and made:
                self._extended[key] = made[-1]
                self._hold(made[-1], 1)
        for claim in wanted.claims:
            if uid not in claim.reserved:
                claim.reserved = (*claim.reserved, uid)

    def release(self, key: str) -> None:
        """The pod left: claims that nobody uses any more give their devices back; see `stateful.Stateful`."""
        pod = self._pods.get(key)
        if pod is None:
            return
        claims = [claim for one in pod.claims if (claim := self._claims.get(one.claim)) is not None]
        self._note_undo(key, claims)
        self._made.pop(key, None)
        for claim in claims:
            if pod.uid not in claim.reserved:
                continue
            claim.reserved = tuple(uid for uid in claim.reserved if uid != pod.uid)
            is_own = claim.row.owner == pod.uid
            if not claim.reserved and (is_own or not claim.stays):
                self._hold(claim.allocation, -1)
                claim.allocation = None
            if is_own:
                self._claims.pop(claim.row.key, None)  # it goes with its owner
        self._hold(self._extended.pop(key, None), -1)
        del self._pods[key]

    def unreserve(self, key: str) -> None:
        """The pod was never put there; see `stateful.Stateful`."""
        undo = self._made.pop(key, None)
        if undo is not None:
            self._note_undo(key, [claim for claim, _, _ in undo.before])
            self._restore(undo)

    def _note_undo(self, key: str, claims: Sequence[_Claim]) -> _Undo:
        """Remember what is about to change."""
        self._last = None
        before = [(claim, claim.allocation, claim.reserved) for claim in claims]
        undo = _Undo(key, self._pods.get(key), before, self._extended.get(key))
        if self._is_undoable:
            self._journal.append(undo)
        return undo

    def mark(self) -> int:
        """A point to which `rollback` returns."""
        self._is_undoable = True
        return len(self._journal)

    def forget_classes(self, gone: Collection[int]) -> None:
        """Classes are given up."""
        for class_id in gone:
            self._applied.pop(class_id, None)

    def forget(self) -> None:
        """No mark is left to return to."""
        self._is_undoable = False
        self._journal.clear()

    def rollback(self, mark: int) -> None:
        """Undo every reserve and release since the mark."""
        while len(self._journal) > mark:
            self._restore(self._journal.pop())

    def _restore(self, undo: _Undo) -> None:
        self._last = None
        if undo.pod is not None:
            self._pods[undo.key] = undo.pod
        for claim, allocation, reserved in undo.before:
            self._claims[claim.row.key] = claim
            if claim.allocation is not allocation:
                self._hold(claim.allocation, -1)
                self._hold(allocation, 1)
            claim.allocation, claim.reserved = allocation, reserved
        now = self._extended.pop(undo.key, None)
        if now is not undo.extended:
            self._hold(now, -1)
            self._hold(undo.extended, 1)
        if undo.extended is not None:
            self._extended[undo.key] = undo.extended

    # ---- after the filters ----

    def post_filter(self, key: str, at: I32) -> str:
        """What PostFilter says of a pod that fits nowhere.

        Parameters
        ----------
        key
            The pod's.
        at
            Rows where the search succeeded and an allocated claim does not reach.
        """
        try:
            wanted = self._wanted(key)
        except (_RefusedError, KeyError):
            return NO_CLAIMS
        if wanted.is_stale:
            return "deletion of ResourceClaim completed"
        return "still not schedulable" if self._stuck(key, wanted, at) is None else DEALLOCATED

    def _stuck(self, key: str, wanted: _Wanted, at: I32) -> _Claim | None:
        """A claim that nobody else uses and that does not reach one of the rows; upstream picks one at random."""
        uid = self._pods[key].uid
        for claim in wanted.claims:
            if claim.allocation is None or not len(at) or self._reach(claim.allocation)[at].all():
                continue
            if claim.reserved in ((), (uid,)):
                return claim
        return None

    def deallocate(self, key: str, at: I32) -> str:
        """Take the devices from a claim that keeps the pod from rows, as PostFilter does; its ``namespace/name``.

        Parameters are those of `post_filter`. Empty: there is no such claim.
        """
        try:
            claim = self._stuck(key, self._wanted(key), at)
        except (_RefusedError, KeyError):
            return ""
        if claim is None:
            return ""
        self._note_undo(key, (claim,))
        self._hold(claim.allocation, -1)
        claim.allocation, claim.reserved, claim.stays = None, (), False
        return claim.row.key


def _resources_of(classes: Sequence[DeviceClass]) -> dict[str, DeviceClass]:
    """Extended resource to the class behind it: the newest, then the first by name; each class has one of its own.

    Source: deviceclass/extendedresourcecache, v1.36.
    """
    out: dict[str, DeviceClass] = {}
    for one in sorted(classes, key=lambda c: c.name, reverse=True):
        out[f"deviceclass.resource.kubernetes.io/{one.name}"] = one
    for one in sorted(classes, key=lambda c: c.name):
        if one.resource and (one.resource not in out or one.created > out[one.resource].created):
            out[one.resource] = one
    return out


def _allocation(node: str, seen: Sequence[Pool], picks: Sequence[allocator.Pick]) -> Allocation:
    """What a claim's status would say: its devices, and the nodes that reach all of them."""
    held = []
    requirements: dict[rows.Requirement, None] = {}
    is_local = False
    for pick in picks:
        device = seen[pick.pool].devices[pick.device]
        held.append(Held(pick.request, device.id, pick.admin, pick.is_share, pick.consumed))
        is_local = is_local or device.where.node is not None or device.content.binds_to_node
        if device.where.terms is not None and len(device.where.terms) == 1:
            requirements.update(dict.fromkeys(device.where.terms[0].requirements))
    here = (rows.Term((rows.Requirement("metadata.name", "In", (node,), is_field=True),)),)
    terms = here if is_local else (rows.Term(tuple(requirements)),) if requirements else None
    return Allocation(tuple(held), terms)

# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth for DynamicResources: every pod, every node, one search each, from the objects.

Written from the rules of plugins/dynamicresources and of the structured allocator of 1.36 (the one that its default
features choose), beside `oracle`; it imports nothing of kubesched. Reserve is kept as if the pod were bound at once:
its claims are allocated and reserved for it. What upstream's search leaves behind where a candidate fails late is left
behind here too, for the rest of the search on that node.

Not here: claims made from templates, binding conditions, timeouts.

Source: plugins/dynamicresources, dynamic-resource-allocation/structured/internal/incubating, v1.36.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from fractions import Fraction

from tests import cel_oracle, oracle
from tests.oracle import UNRESOLVABLE, Node, Obj, Status

PLUGIN = "DynamicResources"
CANNOT = "cannot allocate all claims"
INVALID = "invalid resource pools were encountered"
DEALLOCATED = "deallocation of ResourceClaim completed"
ELSEWHERE = "resourceclaim not available on the node"
MOST = 32
IMPLICIT = "deviceclass.resource.kubernetes.io/"

Id = tuple[str, str, str]
Counters = dict[str, dict[str, Fraction]]


class RejectedError(Exception):
    """PreFilter turned the pod down."""


class WrongError(Exception):
    """The scheduler stops with an error."""


class TooManyError(Exception):
    """A claim would hold more devices than it can."""


def name_of(obj: Obj) -> str:
    return str(obj["metadata"]["name"])


def uid_of(pod: Obj) -> str:
    return str(pod["metadata"].get("uid") or f"{pod['metadata'].get('namespace') or 'default'}/{name_of(pod)}")


@dataclass
class World:
    classes: dict[str, Obj] = field(default_factory=dict)
    slices: list[Obj] = field(default_factory=list)
    claims: dict[tuple[str, str], Obj] = field(default_factory=dict)
    extended: list[Obj] = field(default_factory=list)
    """Claims made for extended resources of placed pods."""

    @classmethod
    def of(cls, case: Obj) -> World:
        claims = {
            (c["metadata"].get("namespace") or "default", name_of(c)): c for c in case.get("resourceclaims") or []
        }
        return cls(
            {name_of(c): c for c in case.get("deviceclasses") or []},
            case.get("resourceslices") or [],
            {key: {**claim, "status": dict(claim.get("status") or {})} for key, claim in claims.items()},
        )

    def results(self) -> list[Obj]:
        """Devices of all allocated claims, those only looked at left out."""
        allocations = [(c.get("status") or {}).get("allocation") for c in [*self.claims.values(), *self.extended]]
        found = [r for a in allocations if a is not None for r in (a.get("devices") or {}).get("results") or []]
        return [r for r in found if not r.get("adminAccess")]

    def class_behind(self, resource: str) -> Obj | None:
        if resource.startswith(IMPLICIT):
            return self.classes.get(resource.removeprefix(IMPLICIT))
        found = [c for c in self.classes.values() if c["spec"].get("extendedResourceName") == resource]
        return min(found, key=name_of) if found else None


def id_of(result: Obj) -> Id:
    return result["driver"], result["pool"], result["device"]


# ---- the claims of a pod ----


def claims_of(pod: Obj, world: World) -> list[Obj]:
    namespace = pod["metadata"].get("namespace") or "default"
    out = []
    for one in pod["spec"].get("resourceClaims") or []:
        name = one["resourceClaimName"]
        claim = world.claims.get((namespace, name))
        if claim is None:
            raise RejectedError(f'could not find ResourceClaim "{namespace}/{name}"')
        if claim["metadata"].get("deletionTimestamp"):
            raise RejectedError(f'resourceclaim "{name}" is being deleted')
        out.append(claim)
    return out


def allocation_of(claim: Obj) -> Obj | None:
    found: Obj | None = claim["status"].get("allocation")
    return found


def check_classes(claims: list[Obj], world: World) -> None:
    for claim in claims:
        if allocation_of(claim) is not None:
            continue
        for request in claim["spec"]["devices"].get("requests") or []:
            for qualified, part in parts(request):
                if part["deviceClassName"] not in world.classes:
                    missing = part["deviceClassName"]
                    raise RejectedError(f"request {qualified}: device class {missing} does not exist")


def parts(request: Obj) -> list[tuple[str, Obj]]:
    """A request's alternatives by their full name; or the one thing it asks for."""
    if request.get("exactly") is not None:
        return [(request["name"], request["exactly"])]
    return [(f"{request['name']}/{one['name']}", one) for one in request["firstAvailable"]]


def delegated(pod: Obj, node: Node, world: World) -> list[str]:
    """Extended resources of the pod that devices stand in for on the node."""
    asked = oracle.real(pod, from_status=False)
    return sorted(
        r for r, n in asked.items() if "/" in r and n and world.class_behind(r) is not None and not node.alloc.get(r)
    )


def made_claim(pod: Obj, resources: list[str], world: World) -> Obj:
    """The claim for a pod's extended resources on one node."""
    inits, mains = pod["spec"].get("initContainers") or [], pod["spec"].get("containers") or []
    containers = [(c, not oracle.is_sidecar(c)) for c in inits] + [(c, False) for c in mains]
    requests = []
    for resource in resources:
        behind = world.class_behind(resource)
        assert behind is not None
        asked = [
            int(oracle.quantity(((c.get("resources") or {}).get("requests") or {}).get(resource, 0)))
            for c, _ in containers
        ]
        lasting = [0 if short else n for n, (_, short) in zip(asked, containers, strict=True)]
        missing = [
            n - sum(lasting[i:]) for i, (n, (_, short)) in enumerate(zip(asked, containers, strict=True)) if short
        ]
        counts = [max([0, *missing]), *lasting]
        requests += [
            {"name": f"{resource}-{i}", "exactly": {"deviceClassName": name_of(behind), "count": n}}
            for i, n in enumerate(counts)
            if n > 0
        ]
    return {"metadata": {"name": "<extended-resources>"}, "spec": {"devices": {"requests": requests}}, "status": {}}


# ---- pools ----


@dataclass
class Device:
    id: Id
    obj: Obj
    where: Obj
    """What chooses its nodes: itself or its slice."""
    is_here: bool


@dataclass
class Pool:
    driver: str
    name: str
    incomplete: bool = False
    invalid: bool = False
    devices: list[Device] = field(default_factory=list)
    counters: Counters = field(default_factory=dict)
    consumers: list[Device] = field(default_factory=list)
    """All its devices, seen from here or not."""


def reaches(where: Obj, node: Node) -> bool:
    if where.get("nodeName"):
        return bool(where["nodeName"] == node.name)
    if where.get("allNodes"):
        return True
    selector = where.get("nodeSelector")
    return selector is not None and any(oracle.term_matches(node, t) for t in selector["nodeSelectorTerms"])


def is_relevant(spec: Obj, node: Node) -> bool:
    if spec.get("sharedCounters"):
        return True
    if spec.get("nodeName") or spec.get("allNodes") or spec.get("nodeSelector") is not None:
        return reaches(spec, node)
    return bool(spec.get("perDeviceNodeSelection")) and any(reaches(d, node) for d in spec.get("devices") or [])


def pools_of(node: Node, world: World) -> list[Pool]:
    groups: dict[tuple[str, str], list[Obj]] = {}
    for one in world.slices:
        if is_relevant(one["spec"], node):
            groups.setdefault((one["spec"]["driver"], one["spec"]["pool"]["name"]), []).append(one)
    made = [pool(key, slices, node, world) for key, slices in sorted(groups.items())]
    found = [p for p in made if p is not None]
    return sorted(found, key=lambda p: any(d.obj.get("bindingConditions") is not None for d in p.devices))


def pool(key: tuple[str, str], slices: list[Obj], node: Node, world: World) -> Pool | None:
    newest = max(s["spec"]["pool"]["generation"] for s in slices)
    slices = [s for s in slices if s["spec"]["pool"]["generation"] == newest]
    wanted = slices[0]["spec"]["pool"]["resourceSliceCount"]
    whole = [s for s in world.slices if (s["spec"]["driver"], s["spec"]["pool"]["name"]) == key]
    if len(slices) != wanted:
        if any(s["spec"]["pool"]["generation"] > newest for s in whole):
            return None
        whole = [s for s in whole if s["spec"]["pool"]["generation"] == newest]
        if len(whole) != wanted:
            return Pool(*key, incomplete=True)
    else:
        whole = slices
    out = Pool(*key)
    for one in sorted(slices, key=name_of):
        if not one["spec"].get("sharedCounters"):
            out.devices += devices_of(one, key, node)
    sets = [s for one in slices for s in one["spec"].get("sharedCounters") or []]
    out.counters = {s["name"]: amounts(s["counters"]) for s in sets}
    out.consumers = [d for one in whole for d in devices_of(one, key, node)]
    repeated = len({d.id for d in out.devices}) < len(out.devices) or len(out.counters) < len(sets)
    return Pool(*key, invalid=True) if repeated or not all(is_backed(d, out.counters) for d in out.consumers) else out


def devices_of(one: Obj, key: tuple[str, str], node: Node) -> list[Device]:
    per_device = one["spec"].get("perDeviceNodeSelection")
    return [
        Device((*key, d["name"]), d, d if per_device else one["spec"], not per_device or reaches(d, node))
        for d in one["spec"].get("devices") or []
    ]


def amounts(counters: Obj) -> dict[str, Fraction]:
    return {name: oracle.quantity(c["value"]) for name, c in counters.items()}


def is_backed(device: Device, counters: Counters) -> bool:
    wanted = device.obj.get("consumesCounters") or []
    return all(name in counters.get(use["counterSet"], {}) for use in wanted for name in use["counters"])


# ---- constraints ----


class Constraint:
    def __init__(self, obj: Obj) -> None:
        self.matching = obj.get("matchAttribute") is not None
        self.attribute: str = obj["matchAttribute" if self.matching else "distinctAttribute"]
        self.requests: list[str] = obj.get("requests") or []
        self.n = 0
        self.value: Obj | None = None
        self.by_request: dict[str, Obj] = {}

    def concerns(self, full_name: str) -> bool:
        return not self.requests or full_name in self.requests or full_name.split("/")[0] in self.requests

    def add(self, full_name: str, device: Device) -> bool:
        if not self.concerns(full_name):
            return True
        value = attribute(device, self.attribute)
        if value is None:
            return False
        if self.n > 0 and self.matching and value != self.value:
            return False
        if self.n > 0 and not self.matching and value in self.by_request.values():
            return False
        if self.n == 0:
            self.value = value
        self.by_request[full_name.split("/")[0]] = value
        self.n += 1
        return True

    def remove(self, full_name: str) -> None:
        if self.concerns(full_name):
            self.by_request.pop(full_name.split("/")[0], None)
            self.n -= 1


def attribute(device: Device, name: str) -> Obj | None:
    given = device.obj.get("attributes") or {}
    domain, _, short = name.partition("/")
    found: Obj | None = given.get(name, given.get(short) if domain == device.id[0] else None)
    return found


# ---- capacity ----


def optional(obj: Obj, name: str) -> Fraction | None:
    return oracle.quantity(obj[name]) if obj.get(name) is not None else None


def consumption(asked: Fraction | None, capacity: Obj) -> Fraction:
    policy = capacity.get("requestPolicy") or {}
    if asked is None:
        default = optional(policy, "default")
        return oracle.quantity(capacity["value"]) if default is None else default
    limits = policy.get("validRange") or {}
    least = optional(limits, "min")
    if least is not None:
        step = optional(limits, "step")
        if asked < least or step is None:
            return max(asked, least)
        steps = math.ceil(Fraction(math.ceil(asked) - math.ceil(least)) / math.ceil(step))
        return Fraction(math.ceil(least) + steps * math.ceil(step))
    values = [oracle.quantity(v) for v in policy.get("validValues") or []]
    return next((v for v in values if asked <= v), asked)


def is_refused(amount: Fraction, capacity: Obj) -> bool:
    policy = capacity.get("requestPolicy") or {}
    if not policy or amount == optional(policy, "default"):
        return False
    if policy.get("validRange"):
        most, step = optional(policy["validRange"], "max"), optional(policy["validRange"], "step")
        least = optional(policy["validRange"], "min") or Fraction(0)
        uneven = step is not None and (math.ceil(amount) - math.ceil(least)) % math.ceil(step) != 0
        return (most is not None and amount > most) or uneven
    values = [oracle.quantity(v) for v in policy.get("validValues") or []]
    return bool(values) and amount not in values


# ---- the search on one node ----


@dataclass
class Ask:
    """A request or an alternative."""

    name: str
    """With the request's name in front for an alternative."""
    obj: Obj
    is_alternative: bool
    n: int = 0
    everything: list[tuple[int, int]] = field(default_factory=list)

    @property
    def is_all(self) -> bool:
        return bool(self.obj.get("allocationMode") == "All")

    @property
    def is_admin(self) -> bool:
        return bool(self.obj.get("adminAccess"))

    @property
    def requested(self) -> dict[str, Fraction]:
        found = (self.obj.get("capacity") or {}).get("requests") or {}
        return {name: oracle.quantity(value) for name, value in found.items()}


class Search:
    def __init__(self, node: Node, claims: list[Obj], world: World) -> None:
        self.node, self.claims, self.world = node, claims, world
        self.pools = pools_of(node, world)
        self.held: set[Id] = set()
        self.shared: set[Id] = set()
        self.used: dict[Id, dict[str, Fraction]] = {}
        for result in world.results():
            (self.shared if result.get("shareID") else self.held).add(id_of(result))
            for name, amount in (result.get("consumedCapacity") or {}).items():
                of = self.used.setdefault(id_of(result), {})
                of[name] = of.get(name, Fraction(0)) + oracle.quantity(amount)
        self.asks: list[list[list[Ask]]] = []
        self.constraints: list[list[Constraint]] = []
        self.results: list[list[Obj]] = [[] for _ in claims]
        self.taking: dict[Id, set[int]] = {}
        self.taking_capacity: dict[Id, dict[str, Fraction]] = {}
        self.left: dict[str, Counters] = {}
        self.counted: dict[str, Counters] = {}

    def run(self) -> list[Obj] | str:
        """Allocations, one a claim; or why there are none."""
        for i, claim in enumerate(self.claims):
            self.check(i, claim)
        try:
            done = self.claim(0)
        except TooManyError:
            done = False
        if done:
            return [self.allocation(results) for results in self.results]
        return INVALID if any(p.invalid for p in self.pools) else CANNOT

    def check(self, c: int, claim: Obj) -> None:
        made = []
        for request in claim["spec"]["devices"].get("requests") or []:
            asks = [Ask(name, obj, request.get("exactly") is None) for name, obj in parts(request)]
            for ask in asks:
                self.prepare(c, ask)
            made.append(asks)
        if sum(min(ask.n for ask in asks) for asks in made) > MOST:
            raise WrongError("too many devices")
        self.asks.append(made)
        self.constraints.append([Constraint(one) for one in claim["spec"]["devices"].get("constraints") or []])

    def prepare(self, c: int, ask: Ask) -> None:
        if not ask.is_all:
            ask.n = ask.obj.get("count") or 1
            return
        for p, one in enumerate(self.pools):
            if one.incomplete or one.invalid:
                raise WrongError("asks for all devices of a flawed pool")
            for d, device in enumerate(one.devices):
                if self.is_selected(ask, device) and self.has_room(ask, device):
                    ask.everything.append((p, d))
        ask.n = len(ask.everything)

    # -- step by step --

    def claim(self, c: int) -> bool:
        return c >= len(self.claims) or self.request(c, 0)

    def request(self, c: int, r: int) -> bool:
        if r >= len(self.asks[c]):
            try:
                return self.claim(c + 1)
            except TooManyError:
                return False
        asks = self.asks[c][r]
        if not asks[0].is_alternative:
            return self.devices(c, r, asks[0], 0, (0, 0))
        n_too_many = 0
        for ask in asks:
            try:
                if self.devices(c, r, ask, 0, (0, 0)):
                    return True
            except TooManyError:
                n_too_many += 1
        if n_too_many == len(asks):
            raise TooManyError
        return False

    def devices(self, c: int, r: int, ask: Ask, n: int, start: tuple[int, int]) -> bool:
        if ask.is_all and not ask.everything:
            return False
        if n >= ask.n:
            return self.request(c, r + 1)
        if len(self.results[c]) + ask.n - n > MOST:
            raise TooManyError
        for p, d in [ask.everything[n]] if ask.is_all else self.candidates(start):
            device = self.pools[p].devices[d]
            if not ask.is_all and not self.is_candidate(c, ask, device):
                continue
            if not self.take(c, ask, p, device):
                continue
            try:
                if self.devices(c, r, ask, n + 1, (0, 0) if ask.is_all else (p, d + 1)):
                    return True
            except TooManyError:
                self.give_back(c, ask, p, device)
                raise
            self.give_back(c, ask, p, device)
        return False

    def candidates(self, start: tuple[int, int]) -> list[tuple[int, int]]:
        usable = [(p, d) for p, one in enumerate(self.pools) for d in range(len(one.devices))]
        return [at for at in usable if at >= start]

    def is_candidate(self, c: int, ask: Ask, device: Device) -> bool:
        return not self.is_busy(c, ask, device) and self.is_selected(ask, device) and self.has_room(ask, device)

    def is_busy(self, c: int, ask: Ask, device: Device) -> bool:
        by = self.taking.get(device.id, set())
        return c in by if ask.is_admin else device.id in self.held or bool(by)

    def is_selected(self, ask: Ask, device: Device) -> bool:
        behind = self.world.classes[ask.obj["deviceClassName"]]
        selectors = (behind["spec"].get("selectors") or []) + (ask.obj.get("selectors") or [])
        for selector in selectors:
            try:
                if not cel_oracle.evaluate(selector["cel"]["expression"], device.id[0], device.obj):
                    return False
            except cel_oracle.CelError as error:
                raise WrongError(str(error)) from None
        return device.is_here

    def has_room(self, ask: Ask, device: Device) -> bool:
        capacity, wanted = device.obj.get("capacity") or {}, ask.requested
        if not wanted.keys() <= capacity.keys():
            return False
        for name, one in capacity.items():
            amount = consumption(wanted.get(name), one)
            others = [self.used.get(device.id, {}), self.taking_capacity.get(device.id, {})]
            total = amount + sum(of.get(name, Fraction(0)) for of in others)
            if is_refused(amount, one) or total > oracle.quantity(one["value"]):
                return False
        return True

    def take(self, c: int, ask: Ask, p: int, device: Device) -> bool:
        shared = bool(device.obj.get("allowMultipleAllocations"))
        if self.is_busy(c, ask, device) and not (shared and ask.is_admin):
            return False
        in_parts = shared and (device.id in self.used or device.id in self.taking_capacity)
        if device.obj.get("consumesCounters") and not in_parts and not self.count(p, device):
            return False
        if is_kept_off(device.obj, ask.obj):
            return False
        added = []
        for constraint in self.constraints[c]:
            if not constraint.add(ask.name, device):
                if ask.is_all:
                    raise WrongError("a constraint keeps a device off that all includes")
                for earlier in added:
                    earlier.remove(ask.name)
                return False
            added.append(constraint)
        if not shared:
            self.taking.setdefault(device.id, set()).add(c)
        if not self.has_room(ask, device):
            return False
        result: Obj = {"request": ask.name, "driver": device.id[0], "pool": device.id[1], "device": device.id[2]}
        if ask.is_admin:
            result["adminAccess"] = True
        if shared:
            result |= {"shareID": "new", "consumedCapacity": self.consume(ask, device)}
        self.results[c].append(result | {"where": device.where, "bindsToNode": device.obj.get("bindsToNode")})
        return True

    def consume(self, ask: Ask, device: Device) -> dict[str, str]:
        of = self.taking_capacity.setdefault(device.id, {})
        out = {}
        for name, one in (device.obj.get("capacity") or {}).items():
            amount = consumption(ask.requested.get(name), one)
            of[name] = of.get(name, Fraction(0)) + amount
            out[name] = f"{math.ceil(amount * 10**9)}n"
        return out

    def give_back(self, c: int, ask: Ask, p: int, device: Device) -> None:
        for constraint in self.constraints[c]:
            constraint.remove(ask.name)
        self.taking.get(device.id, set()).discard(c)
        result = self.results[c].pop()
        if result.get("shareID"):
            of = self.taking_capacity.get(device.id, {})
            for name, amount in result["consumedCapacity"].items():
                of[name] -= oracle.quantity(amount)
            if result["consumedCapacity"] and not any(of.values()):
                del self.taking_capacity[device.id]
        elif device.obj.get("consumesCounters"):
            self.add_counters(self.counted[self.pools[p].name], device, -1)

    def count(self, p: int, device: Device) -> bool:
        """Counters are looked up by the pool's name, whatever its driver."""
        one = self.pools[p]
        if one.name not in self.left:
            left = {name: dict(of) for name, of in one.counters.items()}
            for other in one.consumers:
                if other.id in self.held | self.shared | self.used.keys():
                    self.add_counters(left, other, -1)
            self.left[one.name] = left
        counted = self.counted.setdefault(one.name, {})
        self.add_counters(counted, device, 1)
        for name, of in self.left[one.name].items():
            if any(amount < counted.get(name, {}).get(counter, 0) for counter, amount in of.items()):
                self.add_counters(counted, device, -1)
                return False
        return True

    @staticmethod
    def add_counters(to: Counters, device: Device, sign: int) -> None:
        for use in device.obj.get("consumesCounters") or []:
            of = to.setdefault(use["counterSet"], {})
            for name, amount in amounts(use["counters"]).items():
                of[name] = of.get(name, Fraction(0)) + sign * amount

    def allocation(self, results: list[Obj]) -> Obj:
        wheres = [result.pop("where") for result in results]
        bound = [result.pop("bindsToNode") for result in results]
        local = any(bound) or any(w.get("nodeName") for w in wheres)
        out: Obj = {"devices": {"results": results}}
        if local:
            here = {"key": "metadata.name", "operator": "In", "values": [self.node.name]}
            return out | {"nodeSelector": {"nodeSelectorTerms": [{"matchFields": [here]}]}}
        terms = [t for w in wheres for t in (w.get("nodeSelector") or {}).get("nodeSelectorTerms") or []]
        merged = {k: [q for t in terms for q in t.get(k) or []] for k in ("matchFields", "matchExpressions")}
        return out | ({"nodeSelector": {"nodeSelectorTerms": [merged]}} if any(merged.values()) else {})


def is_kept_off(device: Obj, ask: Obj) -> bool:
    return any(
        taint["effect"] in ("NoSchedule", "NoExecute")
        and not any(tolerates(t, taint) for t in ask.get("tolerations") or [])
        for taint in device.get("taints") or []
    )


def tolerates(t: Obj, taint: Obj) -> bool:
    fits = all(not t.get(k) or t[k] == taint[k] for k in ("effect", "key"))
    return fits and (t.get("operator") == "Exists" or (t.get("value") or "") == (taint.get("value") or ""))


# ---- the decision ----


@dataclass
class Answer:
    """Of the filter on one node."""

    status: Status | None = None
    allocations: list[Obj] = field(default_factory=list)
    """Of the claims that were not allocated; the one for extended resources last."""
    unavailable: list[Obj] = field(default_factory=list)


def filter_claims(pod: Obj, claims: list[Obj], node: Node, world: World) -> Answer:
    resources = delegated(pod, node, world)
    missing = [claim for claim in claims if allocation_of(claim) is None]
    wanted = missing + ([made_claim(pod, resources, world)] if resources else [])
    found = Search(node, wanted, world).run() if wanted else []
    if isinstance(found, str):
        return Answer((PLUGIN, UNRESOLVABLE, [found]))
    gone = [claim for claim in claims if allocation_of(claim) is not None and not is_here(claim, node)]
    return Answer((PLUGIN, UNRESOLVABLE, [ELSEWHERE]), unavailable=gone) if gone else Answer(None, found)


def is_here(claim: Obj, node: Node) -> bool:
    selector = (allocation_of(claim) or {}).get("nodeSelector")
    return selector is None or any(oracle.term_matches(node, t) for t in selector["nodeSelectorTerms"])


def raw_score(claims: list[Obj], answer: Answer, stands_in: bool) -> int:
    """8 less the position of the alternative that was taken, over all requests with alternatives.

    Where there is nothing to allocate nothing is scored; a claim for extended resources counts, even an empty one.
    """
    if not answer.allocations and not stands_in:
        return 0
    new = iter(answer.allocations)
    total = 0
    for claim in claims:
        allocation = allocation_of(claim) or next(new)
        names = {result["request"] for result in allocation["devices"]["results"]}
        for request in claim["spec"]["devices"].get("requests") or []:
            for i, one in enumerate(request.get("firstAvailable") or []):
                total += (8 - i) if f"{request['name']}/{one['name']}" in names else 0
    return total


def without(pod: Obj, resources: list[str]) -> Obj:
    """The pod as NodeResourcesFit filters it where devices stand in for resources."""

    def strip(container: Obj) -> Obj:
        asked = (container.get("resources") or {}).get("requests") or {}
        return {**container, "resources": {"requests": {r: n for r, n in asked.items() if r not in resources}}}

    spec = dict(pod["spec"])
    for kind in ("containers", "initContainers"):
        if spec.get(kind):
            spec[kind] = [strip(c) for c in spec[kind]]
    return {**pod, "spec": spec}


def stands_in(pod: Obj, world: World) -> bool:
    """Whether a class stands behind a resource that the pod asks for."""
    asked = [r for r, n in oracle.real(pod, from_status=False).items() if "/" in r and n]
    return any(world.class_behind(r) is not None for r in asked)


def said(decision: Obj) -> Obj:
    """A decision without what it leads to."""
    return {name: value for name, value in decision.items() if name not in ("reserve", "stuck")}


# ---- how much of its devices a node has given away, as scores see it ----


def device_totals(node: Node, behind: Obj, world: World) -> tuple[int, int]:
    """Devices of a class in slices that reach a node, and how many of them somebody holds.

    Slices count as they are: out of date, of incomplete pools, and with neither node nor selector for every node. One
    device that a selector fails on makes it nothing at all. Source: noderesources/resource_allocation.go, v1.36.
    """
    taken = {id_of(result) for result in world.results()}
    total = allocated = 0
    for one in world.slices:
        spec = one["spec"]
        chooses = spec.get("nodeName") or spec.get("allNodes") or spec.get("nodeSelector") is not None
        if not spec.get("perDeviceNodeSelection") and chooses and not reaches(spec, node):
            continue
        for device in spec.get("devices") or []:
            if spec.get("perDeviceNodeSelection") and not reaches(device, node):
                continue
            try:
                expressions = [selector["cel"]["expression"] for selector in behind["spec"].get("selectors") or []]
                if not all(cel_oracle.evaluate(text, spec["driver"], device) for text in expressions):
                    continue
            except cel_oracle.CelError:
                return 0, 0
            total += 1
            allocated += (spec["driver"], spec["pool"]["name"], device["name"]) in taken
    return total, allocated


def as_scored(node: Node, profile: oracle.Profile, world: World) -> Node:
    """The node with the totals of its devices in place of scored resources that it does not offer itself."""
    out = copy.copy(node)
    out.alloc, out.used = dict(node.alloc), dict(node.used)
    for resource in {name for name, _ in profile.resources} | set(profile.balanced):
        behind = world.class_behind(resource) if "/" in resource else None
        if behind is not None and not node.alloc.get(resource):
            out.alloc[resource], out.used[resource] = device_totals(node, behind, world)
    return out


def decide(pod: Obj, nodes: list[Node], world: World, profile: oracle.Profile = oracle.DEFAULT) -> Obj:
    """As `oracle.decide`, with DynamicResources.

    ``reserve``: what each feasible node would allocate; ``stuck``: the claim that PostFilter takes devices from.
    """
    plain = oracle.decide(pod, nodes, profile)
    if (
        "gated" in plain
        or not nodes
        or not (pod["spec"].get("resourceClaims") or stands_in(pod, world))
        or ("preFilter" in plain and "status" not in plain)
    ):
        return plain
    try:
        claims = claims_of(pod, world)
        check_classes(claims, world)
    except RejectedError as rejected:
        record = {"plugin": PLUGIN, "code": UNRESOLVABLE, "reasons": [str(rejected)]}
        text = f"0/{len(nodes)} nodes are available: {rejected}."
        return {"preFilter": record, "feasible": [], "message": text}
    names = oracle.named_nodes(oracle.Ask(pod))
    statuses: list[Status | None] = []
    answers: dict[int, Answer] = {}
    for i, node in enumerate(nodes):
        status = earlier(pod, node, names, plain["status"][i], world)
        if status is None:
            answers[i] = filter_claims(pod, claims, node, world)
            status = answers[i].status or oracle.declared_features(oracle.Ask(pod), node)
        statuses.append(status)
    result: Obj = {"status": statuses, "feasible": [i for i, s in enumerate(statuses) if s is None]}
    if "preFilter" in plain:
        result["preFilter"] = plain["preFilter"]
    feasible = result["feasible"]
    if not feasible:
        result["message"] = oracle.fit_error(len(nodes), oracle.histogram(statuses))
        text = oracle.preemption_text(pod, nodes, statuses)
        first = post_filter(pod, claims, list(answers.values()))
        result["stuck"] = stuck(pod, claims, list(answers.values()))
        code = oracle.UNSCHEDULABLE
        return result | {"preemption": {"code": code, "message": f"{first}, preemption: {text}", "nominatedNode": -1}}
    raw = [raw_score(claims, answers[i], stands_in(pod, world)) for i in feasible]
    others = {PLUGIN: (raw, oracle.share(raw))}
    scored = [as_scored(node, profile, world) for node in nodes]
    scores = oracle.score_all(oracle.Ask(pod), scored, feasible, profile, others)
    return result | scores | {"reserve": {i: answers[i].allocations for i in feasible}}


def earlier(pod: Obj, node: Node, names: set[str] | None, plain: Status | None, world: World) -> Status | None:
    """What the filters before say, with devices standing in for extended resources."""
    if names is not None and node.name not in names:
        return plain
    return oracle.filter_node(oracle.Ask(without(pod, delegated(pod, node, world))), node)


def post_filter(pod: Obj, claims: list[Obj], answers: list[Answer]) -> str:
    return "still not schedulable" if stuck(pod, claims, answers) is None else DEALLOCATED


def stuck(pod: Obj, claims: list[Obj], answers: list[Answer]) -> Obj | None:
    """The claim that PostFilter takes devices from; upstream picks one at random, here the first of the pod."""
    for claim in claims:
        users = [user["uid"] for user in claim["status"].get("reservedFor") or []]
        if users in ([], [uid_of(pod)]) and any(claim in answer.unavailable for answer in answers):
            return claim
    return None


def reserve(pod: Obj, allocations: list[Obj], world: World) -> None:
    """The pod is bound: its claims are allocated and reserved."""
    new = list(allocations)
    for claim in claims_of(pod, world):
        if allocation_of(claim) is None and new:
            claim["status"]["allocation"] = new.pop(0)
        users = claim["status"].get("reservedFor") or []
        claim["status"]["reservedFor"] = [*users, {"uid": uid_of(pod)}]
    world.extended += [{"metadata": {"name": "x"}, "status": {"allocation": one}} for one in new]


def sequence(nodes: list[Node], pods: list[Obj], world: World, profile: oracle.Profile = oracle.DEFAULT) -> Obj:
    """As `oracle.sequence`, with Reserve."""
    return oracle.one_after_another(
        nodes,
        pods,
        lambda pod: decide(pod, nodes, world, profile),
        lambda pod, node, d: reserve(pod, d.get("reserve", {}).get(node, []), world),
    )


def nodes_with_post_filter(nodes: list[Node], pods: list[Obj], world: World) -> list[str | None]:
    """Node of each pod in a sequence, where PostFilter of one that fits nowhere takes devices from a claim."""
    out: list[str | None] = []
    for pod in pods:
        d = decide(pod, nodes, world)
        best = d.get("best", [])
        out.append(nodes[best[0]].name if best else None)
        if best:
            reserve(pod, d.get("reserve", {}).get(best[0], []), world)
            nodes[best[0]].add(pod)
        elif d.get("stuck") is not None:
            d["stuck"]["status"] = {}
    return out

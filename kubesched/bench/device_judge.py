# SPDX-License-Identifier: Apache-2.0
"""The devices of the judge: which claim holds which, and whether that holds; shares no code with what decides.

After each step the allocations of the claims that it concerns are checked: devices that exist, on nodes that they
reach, selected and tolerated, none held twice, counters and capacity not exceeded, requests and constraints met. In the
end those of all claims must be what the steps told. What of the API the cases do not use is refused by name.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import quantity
from kubesched.base import errors

Object = Mapping[str, Any]
Allocations = Mapping[str, Object]
"""``status.allocation`` of each claim by ``namespace/name``; of a pod's extended resources after the pod's name."""
Id = tuple[str, str, str]
"""Driver, pool, device."""
_EXTENDED = "<extended-resources>"
_IMPLICIT = "deviceclass.resource.kubernetes.io/"
_TERM = re.compile(
    r"""device\.(?:
        driver\ ==\ "(?P<driver>[^"]*)"
      | (?P<shared>allowMultipleAllocations)
      | attributes\["(?P<domain>[^"]*)"\]\.(?P<flag>\w+)
      | capacity\["(?P<of>[^"]*)"\]\.(?P<amount>\w+)\.compareTo\(quantity\("(?P<least>[^"]*)"\)\)\ >=\ 0
    )""",
    re.VERBOSE,
)


@dataclass(slots=True)
class _Device:
    id: Id
    obj: Object
    where: Object
    """The spec of its slice, which says where it can be reached."""


@dataclass(slots=True)
class _Need:
    """A claim as it has to be met."""

    spec: Object
    pods: dict[str, str] = field(default_factory=dict)
    """Node of each pod that uses it."""
    results: Sequence[Object] = ()
    """Its devices, as far as was told."""
    used: Mapping[Id, Counter[str]] = field(default_factory=dict)
    """What it consumes of shared devices."""


class Devices:
    """Slices, classes and claims, and the pods that use them.

    Parameters
    ----------
    objects
        All objects; Nodes, ResourceSlices, DeviceClasses, ResourceClaims and ResourceClaimTemplates are read.
    """

    def __init__(self, objects: Sequence[Object]) -> None:
        self._classes: dict[str, Object] = {}
        self._by_resource: dict[str, str] = {}
        self._specs: dict[tuple[str, str, str], Object] = {}
        self._devices: dict[Id, _Device] = {}
        self._in_pool: defaultdict[tuple[str, str], list[Id]] = defaultdict(list)
        self._counters: dict[tuple[str, str], dict[str, Object]] = {}
        self._labels: dict[str, Mapping[str, str]] = {}
        self._needs: dict[str, _Need] = {}
        self._kept: set[str] = set()
        """Claims that had devices from the start."""
        self._open: dict[str, None] = {}
        """Claims with other pods than when they were last judged."""
        self._held: Counter[Id] = Counter()
        self._used: defaultdict[Id, Counter[str]] = defaultdict(Counter)
        self._touched: set[Id] = set()
        """Devices that were taken since the last check."""
        self._told: dict[str, Object] = {}
        """Their allocations, until the first check."""
        self._left_out: dict[str, Object] = {}
        self.is_used = False
        """Whether there is anything to judge."""
        self.read(objects)

    def read(self, objects: Sequence[Object]) -> None:
        """Objects that are there from now on."""
        for obj in objects:
            self._read(obj)

    def _read(self, obj: Object) -> None:
        kind, metadata, spec = obj["kind"], obj["metadata"], obj.get("spec") or {}
        name = metadata.get("name", "")
        if kind == "Node":
            self._labels[name] = metadata.get("labels") or {}
        elif kind == "DeviceClass":
            self._classes[name] = spec
            self._by_resource[_IMPLICIT + name] = name
            if spec.get("extendedResourceName"):
                self._by_resource[spec["extendedResourceName"]] = name
        elif kind == "ResourceClaimTemplate":
            self._specs[kind, metadata["namespace"], name] = spec["spec"]
        elif kind == "ResourceClaim":
            self._specs[kind, metadata["namespace"], name] = spec
            if "allocation" in obj.get("status", {}):
                self._kept.add(f"{metadata['namespace']}/{name}")
                self._needs[f"{metadata['namespace']}/{name}"] = _Need(spec)
                self._told[f"{metadata['namespace']}/{name}"] = obj["status"]["allocation"]
        elif kind == "ResourceSlice":
            self.is_used = True
            self._read_slice(spec)

    def _read_slice(self, spec: Object) -> None:
        pool = (spec["driver"], spec["pool"]["name"])
        if spec["pool"]["generation"] != 1 or spec.get("perDeviceNodeSelection"):
            raise errors.UnsupportedError("judge", "does not know generations and devices with nodes of their own")
        for counters in spec.get("sharedCounters") or ():
            self._counters.setdefault(pool, {})[counters["name"]] = counters["counters"]
        for device in spec.get("devices") or ():
            at = (*pool, device["name"])
            self._devices[at] = _Device(at, device, spec)
            self._in_pool[pool].append(at)

    def stand_in(self, resource: str) -> bool:
        """Whether devices stand in for an extended resource; no node of the cases offers one itself."""
        return resource in self._by_resource

    # ---- pods ----

    def count(self, pod: Object, node: str, n: int) -> None:
        """A pod came to a node (1) or left it (-1)."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name", "")
        for claim, spec, _ in self._of(pod):
            need = self._needs.setdefault(claim, _Need(spec))
            self._open[claim] = None
            if n > 0:
                need.pods[f"{namespace}/{name}"] = node
            else:
                need.pods.pop(f"{namespace}/{name}", None)
                if not need.pods and claim not in self._kept:
                    self._give_back(need)
                    del self._needs[claim]

    def leave_out(self, key: str, pod: Object) -> None:
        """A pod with claims found no node; `check` looks whether one is left for it."""
        self._left_out[key] = pod

    def _of(self, pod: Object) -> Iterator[tuple[str, Object, bool]]:
        """Each claim of a pod, what it asks for, and whether it is the pod's own; its extended resources make one."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name", "")
        for one in pod["spec"].get("resourceClaims") or ():
            if "resourceClaimName" in one:
                claim = one["resourceClaimName"]
                yield f"{namespace}/{claim}", self._specs["ResourceClaim", namespace, claim], False
            else:
                spec = self._specs["ResourceClaimTemplate", namespace, one["resourceClaimTemplateName"]]
                yield f"{namespace}/{name}-{one['name']}", spec, True
        requests = [
            {"name": f"container-{i}-{r}", "exactly": {"deviceClassName": self._by_resource[r], "count": int(amount)}}
            for i, container in enumerate(pod["spec"]["containers"])
            for r, amount in ((container.get("resources") or {}).get("requests") or {}).items()
            if self.stand_in(r)
        ]
        if requests:
            yield f"{namespace}/{name}/{_EXTENDED}", {"devices": {"requests": requests}}, True

    # ---- the check ----

    def check(self, allocations: Allocations) -> None:
        """Check claims as they are after a step.

        Parameters
        ----------
        allocations
            Of the claims of pods that the step decided at least.

        Raises
        ------
        KubeschedError
            Names the claim, and what does not hold.
        """
        told, self._told = {**self._told, **allocations}, {}
        for claim, allocation in told.items():
            need = self._need(claim)
            self._give_back(need)
            need.results = allocation["devices"]["results"]
            self._touched.update(_id(result) for result in need.results)
            self._held.update(_id(result) for result in need.results)
        for claim in told | self._open:
            if claim in self._needs:
                self._judge(claim, self._needs[claim])
        self._open.clear()
        for at in sorted(self._touched):
            if self._held[at] > 1 and not self._is_shared(at):
                raise errors.KubeschedError(f"verify: device {'/'.join(at)}", "is held more than once", self._held[at])
        self._check_capacity()
        self._check_counters()
        self._touched.clear()
        self._check_left_out(self._held)

    def check_all(self, allocations: Allocations) -> None:
        """Check that these, of all claims, are what the steps told."""
        for claim in sorted(allocations.keys() | self._needs.keys()):
            results = self._need(claim).results
            if claim not in allocations or list(allocations[claim]["devices"]["results"]) != list(results):
                raise errors.KubeschedError(f"verify: claim {claim}", "has other devices in the end than it was given")

    def _need(self, claim: str) -> _Need:
        if claim not in self._needs:
            raise errors.KubeschedError(f"verify: claim {claim}", "has devices and no pod")
        return self._needs[claim]

    def _give_back(self, need: _Need) -> None:
        for result in need.results:
            self._held[_id(result)] -= 1
        for at, amounts in need.used.items():
            self._used[at].subtract(amounts)
        need.results, need.used = (), {}

    def _judge(self, claim: str, need: _Need) -> None:
        if not need.results:
            raise errors.KubeschedError(f"verify: claim {claim}", "has a pod and no devices")
        for at, amounts in need.used.items():
            self._used[at].subtract(amounts)
        need.used = self._check_claim(claim, need)
        for at, amounts in need.used.items():
            self._used[at].update(amounts)

    def _is_shared(self, at: Id) -> bool:
        return bool(self._devices[at].obj.get("allowMultipleAllocations"))

    def _check_claim(self, claim: str, need: _Need) -> dict[Id, Counter[str]]:
        """What the claim consumes of shared devices."""

        def wrong(text: str, value: Any = None) -> errors.KubeschedError:
            return errors.KubeschedError(f"verify: claim {claim}", text, value)

        used: defaultdict[Id, Counter[str]] = defaultdict(Counter)
        by_request: defaultdict[str, list[Id]] = defaultdict(list)
        for result in need.results:
            if _id(result) not in self._devices:
                raise wrong("holds a device that is not there", _id(result))
            by_request[result["request"]].append(_id(result))
        for request in need.spec["devices"]["requests"]:
            name, part = _taken(request, by_request, wrong)
            devices = [self._devices[at] for at in by_request.pop(name, ())]
            if len(devices) != part.get("count", 1):
                raise wrong(f"has a wrong number of devices for request {name}", len(devices))
            for device in devices:
                text = self._unfit(device, part, need.pods.values())
                if text:
                    raise wrong(f"holds {'/'.join(device.id)}, {text}")
                if self._is_shared(device.id):
                    used[device.id].update(_consumed(device, part))
        if by_request:
            raise wrong("holds devices that no request asks for", min(by_request))
        for constraint in need.spec["devices"].get("constraints") or ():
            self._check_constraint(constraint, need.results, wrong)
        return used

    def _unfit(self, device: _Device, part: Object, nodes: Any) -> str:
        """What keeps a device from a request of a claim whose pods run on the nodes; empty if nothing does."""
        _refuse(part, {"name", "deviceClassName", "selectors", "count", "tolerations", "capacity", "allocationMode"})
        behind = self._classes[part["deviceClassName"]]
        for selector in [*(behind.get("selectors") or ()), *(part.get("selectors") or ())]:
            if not _selects(selector["cel"]["expression"], device):
                return "which is not selected"
        for node in nodes:
            if not self._reaches(device.where, node):
                return f"which does not reach {node}"
        tolerated = [(t.get("key"), t.get("operator")) for t in part.get("tolerations") or ()]
        taints = device.obj.get("taints") or ()
        return "" if all((t["key"], "Exists") in tolerated for t in taints) else "whose taint is not tolerated"

    def _reaches(self, where: Object, node: str) -> bool:
        if "nodeName" in where:
            return bool(where["nodeName"] == node)
        ((term,),) = (where["nodeSelector"]["nodeSelectorTerms"],)
        labels = self._labels[node]
        return all(labels.get(one["key"]) in one["values"] for one in term["matchExpressions"])

    def _check_constraint(self, constraint: Object, results: Sequence[Object], wrong: Callable[..., Exception]) -> None:
        _refuse(constraint, {"requests", "matchAttribute"})
        names = constraint.get("requests") or [result["request"] for result in results]
        of = [self._devices[_id(result)] for result in results if result["request"] in names]
        values = [device.obj.get("attributes", {}).get(constraint["matchAttribute"]) for device in of]
        if None in values or any(value != values[0] for value in values):
            raise wrong("holds devices that differ", constraint["matchAttribute"])

    def _check_capacity(self) -> None:
        for at in self._touched & self._used.keys():
            for name, amount in self._used[at].items():
                if amount > _nano(self._devices[at].obj["capacity"][name]["value"]):
                    raise errors.KubeschedError(f"verify: device {'/'.join(at)}", f"has not enough {name}")

    def _check_counters(self) -> None:
        for pool in sorted({at[:2] for at in self._touched} & self._counters.keys()):
            for (counter_set, name), amount in self._used_counters(pool).items():
                if amount > _nano(self._counters[pool][counter_set][name]["value"]):
                    raise errors.KubeschedError(
                        f"verify: pool {'/'.join(pool)}", f"has not enough {counter_set}.{name}"
                    )

    def _used_counters(self, pool: tuple[str, str]) -> Counter[tuple[str, str]]:
        out: Counter[tuple[str, str]] = Counter()
        for at in self._in_pool[pool]:
            for use in (self._devices[at].obj.get("consumesCounters") or ()) if self._held[at] > 0 else ():
                for name, counter in use["counters"].items():
                    out[use["counterSet"], name] += _nano(counter["value"])
        return out

    def _check_left_out(self, held: Counter[Id]) -> None:
        """A pod that found no node must find none now: devices were only taken since. Devices are counted."""
        for key, pod in self._left_out.items():
            for _, spec, is_own in self._of(pod):
                if not is_own or self._counters or any(s["devices"].get("constraints") for s in self._specs.values()):
                    raise errors.UnsupportedError("judge", "does not know whether a pod was rightly left out", key)
                for node in self._labels:
                    if self._has_free(spec, node, held):
                        raise errors.KubeschedError(f"verify: {key}", "was left out, but its devices are there", node)
        self._left_out.clear()

    def _has_free(self, spec: Object, node: str, held: Counter[Id]) -> bool:
        free = [d for at, d in self._devices.items() if held[at] <= 0 and not self._is_shared(at)]
        for request in spec["devices"]["requests"]:
            parts = request.get("firstAvailable") or [request["exactly"]]
            fitting = [[d for d in free if not self._unfit(d, part, [node])] for part in parts]
            if all(len(d) < part.get("count", 1) for d, part in zip(fitting, parts, strict=True)):
                return False
        return True


def _id(result: Object) -> Id:
    return result["driver"], result["pool"], result["device"]


def _nano(value: Any) -> int:
    return quantity.parse_nano(str(value))


def _refuse(obj: Object, known: set[str]) -> None:
    unknown = obj.keys() - known
    if unknown or obj.get("allocationMode", "ExactCount") != "ExactCount":
        raise errors.UnsupportedError(
            "judge", "does not know a field of a claim", min(unknown, default="allocationMode")
        )


def _taken(request: Object, by_request: Mapping[str, list[Id]], wrong: Callable[..., Exception]) -> tuple[str, Object]:
    """The one thing that a request asks for, or the alternative that was taken, by its full name."""
    if "exactly" in request:
        return request["name"], request["exactly"]
    found = [(f"{request['name']}/{part['name']}", part) for part in request["firstAvailable"]]
    found = [(name, part) for name, part in found if name in by_request]
    if len(found) != 1:
        raise wrong("has not one alternative of a request", request["name"])
    return found[0]


def _consumed(device: _Device, part: Object) -> dict[str, int]:
    """What a request consumes of a shared device."""
    asked = (part.get("capacity") or {}).get("requests") or {}
    out = {}
    for name, capacity in device.obj["capacity"].items():
        policy = capacity.get("requestPolicy") or {}
        _refuse(policy, {"default", "validRange"})
        _refuse(policy.get("validRange") or {}, {"min"})
        amount = _nano(asked[name] if name in asked else policy.get("default", capacity["value"]))
        least = (policy.get("validRange") or {}).get("min")
        out[name] = amount if least is None else max(amount, _nano(least))
    return out


def _selects(expression: str, device: _Device) -> bool:
    """Whether an expression of the few forms that the cases use holds for a device."""
    return all(_term_holds(term.strip(), device) for term in expression.split("&&"))


def _term_holds(term: str, device: _Device) -> bool:
    match = _TERM.fullmatch(term)
    if match is None:
        raise errors.UnsupportedError("judge", "does not know a form of selector", term)
    if match["driver"] is not None:
        return match["driver"] == device.id[0]
    if match["shared"]:
        return bool(device.obj.get("allowMultipleAllocations"))
    if match["flag"]:
        return match["domain"] == device.id[0] and bool(device.obj["attributes"][match["flag"]]["bool"])
    amount = device.obj["capacity"][match["amount"]]["value"]
    return match["of"] == device.id[0] and _nano(amount) >= _nano(match["least"])


def has_devices(pod: Object, devices: Devices) -> bool:
    """Whether a pod needs devices that this judges."""
    asked = [r for c in pod["spec"]["containers"] for r in (c.get("resources") or {}).get("requests") or {}]
    return bool(pod["spec"].get("resourceClaims")) or any(map(devices.stand_in, asked))

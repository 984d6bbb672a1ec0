# SPDX-License-Identifier: Apache-2.0
"""Cluster addresses and node ports of Services: given out once each, taken back with the Service.

What is in use is learned from the store; what was given out and is not stored yet is remembered for a while.
Source: pkg/registry/core/service/storage/alloc.go, v1.36.
"""

from __future__ import annotations

import ipaddress
import random
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from kubesched.api import status
from kubesched.api.groups.core import services
from kubesched.api.strategy import Object
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.resource import Resource
from kubesched.store import Event, EventKind

T = TypeVar("T")

NETWORK = ipaddress.IPv4Network("10.96.0.0/12")
NODE_PORTS = range(30000, 32768)
_RESERVED = 256  # first addresses, for those that are chosen by hand
_REMEMBERED = 60.0  # seconds that something given out is kept for its Service to appear
_TRIES = 64


class _Pool(Generic[T]):
    """Things that are in use, by whom, and things given out."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._used: dict[T, set[str]] = {}
        self._given: dict[T, float] = {}
        self._clock = clock

    def free(self, item: T) -> bool:
        return item not in self._used and self._given.get(item, 0.0) <= self._clock()

    def give(self, item: T) -> None:
        self._given[item] = self._clock() + _REMEMBERED

    def use(self, item: T, owner: str) -> None:
        self._given.pop(item, None)
        self._used.setdefault(item, set()).add(owner)

    def leave(self, item: T, owner: str) -> None:
        owners = self._used.get(item)
        if owners is not None:
            owners.discard(owner)
            if not owners:
                del self._used[item]


class ServiceAddresses:
    """Admission plugin: every Service that needs an address or a node port gets one."""

    resource = ("", "services")

    def __init__(
        self,
        services: Resource,
        network: ipaddress.IPv4Network = NETWORK,
        rng: random.Random | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._services = services
        self._network = network
        self._rng = rng or random.Random()
        self._addresses: _Pool[str] = _Pool(clock)
        self._ports: _Pool[int] = _Pool(clock)
        self._watching = False

    async def _learn(self) -> None:
        """Read what is in use once, then follow it."""
        if self._watching:
            return
        self._watching = True
        store = self._services.store
        listing = await store.list(self._services.kind.prefix)
        for entry in listing.entries:
            self._note(self._services.decode(entry), entry.key, self._addresses.use, self._ports.use)
        store.watch(self._services.kind.prefix, listing.revision, self._follow)

    def _follow(self, events: Sequence[Event]) -> None:
        for event in events:
            before = event.before if event.kind is EventKind.PUT else event.entry
            if before is not None:
                old = self._services.decode(before)
                self._note(old, before.key, self._addresses.leave, self._ports.leave)
            if event.kind is EventKind.PUT:
                new = self._services.decode(event.entry)
                self._note(new, event.entry.key, self._addresses.use, self._ports.use)

    @staticmethod
    def _note(
        service: Object, owner: str, address: Callable[[str, str], None], port: Callable[[int, str], None]
    ) -> None:
        spec = service.get("spec") or {}
        for item in spec.get("clusterIPs") or ():
            address(item, owner)
        for number in _node_ports(spec):
            port(number, owner)

    async def admit(self, attributes: Attributes) -> None:
        """Give a Service that is written what it lacks."""
        if attributes.new is None or attributes.endpoint.subresource:
            return
        await self._learn()
        spec = attributes.new.setdefault("spec", {})
        old = (attributes.old or {}).get("spec") or {}
        if spec.get("type") == "ExternalName":
            for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
                spec.pop(name, None)
            return
        self._give_address(attributes.new, spec, old)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            self._give_ports(attributes.new, spec, old)
            self._give_health_port(spec, old)
        elif old.get("type") in ("NodePort", "LoadBalancer"):
            for port in spec.get("ports") or ():
                port.pop("nodePort", None)

    def _give_address(self, service: Object, spec: Object, old: Object) -> None:
        wanted = spec.get("clusterIP") or (spec.get("clusterIPs") or [""])[0]
        if not wanted:
            wanted = next(self._choices(), "")
            if not wanted:
                raise status.internal("failed to allocate a serviceIP: range is full")
            self._addresses.give(wanted)
        elif wanted != "None" and wanted != old.get("clusterIP"):
            self._take_address(service, wanted)
        spec["clusterIP"], spec["clusterIPs"] = wanted, [wanted]
        if wanted != "None" or spec.get("selector"):
            spec.setdefault("ipFamilies", ["IPv4"])
            spec.setdefault("ipFamilyPolicy", "SingleStack")

    def _choices(self) -> Iterator[str]:
        size = self._network.num_addresses
        start = _RESERVED if size > 2 * _RESERVED else 1
        for _ in range(_TRIES):
            found = str(self._network[self._rng.randrange(start, size - 1)])
            if self._addresses.free(found):
                yield found
        yield from (text for i in range(1, size - 1) if self._addresses.free(text := str(self._network[i])))

    def _take_address(self, service: Object, wanted: str) -> None:
        try:
            inside = ipaddress.ip_address(wanted) in self._network
        except ValueError:
            why = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            raise _invalid(service, "spec.clusterIPs[0]", wanted, why) from None
        if not inside:
            why = f"failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. "
            why += f"The range of valid IPs is {self._network}"
            raise _invalid(service, "spec.clusterIPs", [wanted], why)
        if not self._addresses.free(wanted):
            why = f"failed to allocate IP {wanted}: provided IP is already allocated"
            raise _invalid(service, "spec.clusterIPs", [wanted], why)
        self._addresses.give(wanted)

    def _give_ports(self, service: Object, spec: Object, old: Object) -> None:
        if spec.get("type") == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is False:
            return
        mine = set(_node_ports(old))
        for i, port in enumerate(spec.get("ports") or ()):
            wanted = port.get("nodePort")
            if not wanted:
                port["nodePort"] = self._kept_port(port, old) or self._free_port()
                self._ports.give(port["nodePort"])
            elif wanted not in mine:
                if wanted not in NODE_PORTS:
                    span = f"{NODE_PORTS.start}-{NODE_PORTS.stop - 1}"
                    why = f"provided port is not in the valid range. The range of valid ports is {span}"
                    raise _invalid(service, f"spec.ports[{i}].nodePort", wanted, why)
                if not self._ports.free(wanted):
                    why = "provided port is already allocated"
                    raise _invalid(service, f"spec.ports[{i}].nodePort", wanted, why)
                self._ports.give(wanted)

    def _give_health_port(self, spec: Object, old: Object) -> None:
        """Balancers of local traffic ask nodes at a port of its own."""
        if services.needs_health_check(spec) and not spec.get("healthCheckNodePort"):
            kept = old.get("healthCheckNodePort") if services.needs_health_check(old) else 0
            spec["healthCheckNodePort"] = kept or self._free_port()
            self._ports.give(spec["healthCheckNodePort"])

    @staticmethod
    def _kept_port(port: Object, old: Object) -> int:
        """The node port that the same port had before, when a client leaves it out."""
        key = (port.get("protocol"), port.get("port"))
        for item in old.get("ports") or ():
            if (item.get("protocol"), item.get("port")) == key:
                return int(item.get("nodePort") or 0)
        return 0

    def _free_port(self) -> int:
        for _ in range(_TRIES):
            found = self._rng.choice(NODE_PORTS)
            if self._ports.free(found):
                return found
        left = next((port for port in NODE_PORTS if self._ports.free(port)), None)
        if left is None:
            raise status.internal("failed to allocate a nodePort: range is full")
        return left


def _node_ports(spec: Object) -> Iterator[int]:
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def _invalid(service: Object, field: str, value: object, why: str) -> status.StatusError:
    name = service["metadata"].get("name", "")
    return status.invalid("", "Service", name, [status.invalid_value(field, value, why)])

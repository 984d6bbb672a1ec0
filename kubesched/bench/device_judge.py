# SPDX-License-Identifier: Apache-2.0
"""The devices of the judge: how many a node has, and which claims hold them. Devices are counted, not told apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubesched.base import errors

Claim = tuple[str, str, str]
"""Namespace, name; for a claim of one pod its pod, else empty."""


class Devices:
    """Devices by node; shares no code with what decides.

    Parameters
    ----------
    objects
        All objects; ResourceSlices, DeviceClasses, ResourceClaims and ResourceClaimTemplates are read.
    """

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._free: Counter[str] = Counter()
        self._resources: set[str] = set()
        self._needs: dict[tuple[str, str, str], int] = {}
        self._holders: dict[Claim, tuple[str, int]] = {}
        for obj in objects:
            kind, metadata, spec = obj["kind"], obj["metadata"], obj.get("spec") or {}
            if kind == "ResourceSlice":
                self._free[spec["nodeName"]] += len(spec["devices"])
            elif kind == "DeviceClass":
                self._resources.add(spec.get("extendedResourceName", ""))
            elif kind == "ResourceClaim":
                self._needs[kind, metadata["namespace"], metadata["name"]] = _n_devices(spec)
            elif kind == "ResourceClaimTemplate":
                self._needs[kind, metadata["namespace"], metadata["name"]] = _n_devices(spec["spec"])

    def stand_in(self, resource: str) -> bool:
        """Whether devices stand in for an extended resource; no node of the cases offers one itself."""
        return resource in self._resources

    def wrong(self, pod: Mapping[str, Any], node: str) -> str:
        """What of a pod's claims keeps it off a node; empty if nothing does."""
        needed = 0
        for claim, n in self._of(pod):
            holder = self._holders.get(claim)
            if holder is None:
                needed += n
            elif holder[0] != node:
                return "a claim has its devices elsewhere"
        return "not enough devices" if needed > self._free[node] else ""

    def count(self, pod: Mapping[str, Any], node: str, n: int) -> None:
        """A pod came to a node (1) or left it (-1)."""
        for claim, devices in self._of(pod):
            _, users = self._holders.pop(claim, (node, 0))
            if users == 0:
                self._free[node] -= devices
            if users + n:
                self._holders[claim] = node, users + n
            else:
                self._free[node] += devices

    def _of(self, pod: Mapping[str, Any]) -> Iterator[tuple[Claim, int]]:
        """Each claim of a pod and the devices it needs; its extended resources make one."""
        namespace, name = pod["metadata"]["namespace"], pod["metadata"].get("name", "")
        for one in pod["spec"].get("resourceClaims") or ():
            if "resourceClaimName" in one:
                claim = one["resourceClaimName"]
                yield (namespace, claim, ""), self._needs["ResourceClaim", namespace, claim]
            else:
                template = one["resourceClaimTemplateName"]
                needs = self._needs["ResourceClaimTemplate", namespace, template]
                yield (namespace, one["name"], name), needs
        extended = sum(
            int(amount)
            for container in pod["spec"]["containers"]
            for resource, amount in ((container.get("resources") or {}).get("requests") or {}).items()
            if self.stand_in(resource)
        )
        if extended:
            yield (namespace, "", name), extended


def _n_devices(spec: Mapping[str, Any]) -> int:
    """Devices that a claim needs, if any device will do."""
    total = 0
    for request in spec["devices"]["requests"]:
        parts = request.get("firstAvailable") or [request["exactly"]]
        if any("selectors" in part for part in parts):
            raise errors.UnsupportedError("judge", "does not tell devices apart", request["name"])
        total += min(part.get("count", 1) for part in parts)
    return total


def has_devices(pod: Mapping[str, Any], devices: Devices) -> bool:
    """Whether a pod needs devices that this judges."""
    asked = [r for c in pod["spec"]["containers"] for r in (c.get("resources") or {}).get("requests") or {}]
    return bool(pod["spec"].get("resourceClaims")) or any(map(devices.stand_in, asked))

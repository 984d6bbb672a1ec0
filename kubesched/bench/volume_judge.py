# SPDX-License-Identifier: Apache-2.0
"""The volumes of the judge: bound claims, where their volumes can be used, and how many a node can attach."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubesched.base import errors

_DRIVERS = {"awsElasticBlockStore": "ebs.csi.aws.com"}
"""CSI driver that took over an in-tree kind of volume; the kinds that scenarios use."""


class Volumes:
    """Volumes by node; shares no code with what decides.

    Parameters
    ----------
    objects
        All objects; PersistentVolumes, PersistentVolumeClaims and CSINodes are read.
    """

    def __init__(self, objects: Sequence[Mapping[str, Any]]) -> None:
        self._claims: dict[tuple[str, str], Mapping[str, Any]] = {}
        self._volumes: dict[str, Mapping[str, Any]] = {}
        self._limits: dict[str, dict[str, int]] = {}
        self._on_node: dict[str, dict[str, tuple[str, int]]] = {}
        self._users: Counter[tuple[str, str]] = Counter()
        """Running pods by the claim that they use."""
        for obj in objects:
            metadata = obj["metadata"]
            if obj["kind"] == "PersistentVolumeClaim":
                self._claims[metadata["namespace"], metadata["name"]] = obj
            elif obj["kind"] == "PersistentVolume":
                self._volumes[metadata["name"]] = obj
            elif obj["kind"] == "CSINode":
                drivers = obj["spec"]["drivers"]
                self._limits[metadata["name"]] = {d["name"]: d["allocatable"]["count"] for d in drivers}

    def wrong(self, pod: Mapping[str, Any], node: str) -> str:
        """What of a pod's volumes keeps it off a node; empty if nothing does."""
        new: dict[str, int] = {}
        there = self._on_node.get(node, {})
        for claim in _claims_of(pod):
            modes = self._claims.get(claim, {"spec": {}})["spec"].get("accessModes", ())
            if "ReadWriteOncePod" in modes and self._users[claim]:
                return "a claim that one pod alone may use is used"
        for name, volume in self._of(pod):
            if volume is None:
                return "a claim has no volume"
            if volume["spec"].get("nodeAffinity"):
                raise errors.UnsupportedError("judge", "does not know the node affinity of volumes", name)
            driver = _driver(volume)
            if name not in there:
                new[driver] = new.get(driver, 0) + 1
        for driver, count in new.items():
            held = sum(of == driver for of, _ in there.values())
            if held + count > self._limits.get(node, {}).get(driver, held + count):
                return f"too many volumes of {driver}"
        return ""

    def count(self, pod: Mapping[str, Any], node: str, n: int) -> None:
        """A pod came to a node (1) or left it (-1)."""
        there = self._on_node.setdefault(node, {})
        for claim in _claims_of(pod):
            self._users[claim] += n
        for name, volume in self._of(pod):
            if volume is None:
                continue
            driver, users = there.pop(name, (_driver(volume), 0))
            if users + n:
                there[name] = driver, users + n

    def _of(self, pod: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
        """Name and volume of each claim of a pod."""
        for key in _claims_of(pod):
            claim = self._claims.get(key)
            of = "" if claim is None else claim["spec"].get("volumeName", "")
            yield of, self._volumes.get(of)


def has_claims(pod: Mapping[str, Any]) -> bool:
    """Whether a pod has volumes that this judges."""
    return bool(_claims_of(pod))


def _claims_of(pod: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Namespace and name of each claim of a pod."""
    volumes = pod["spec"].get("volumes") or ()
    names = (v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v)
    return [(pod["metadata"]["namespace"], name) for name in names]


def _driver(volume: Mapping[str, Any]) -> str:
    spec = volume["spec"]
    if "csi" in spec:
        return str(spec["csi"]["driver"])
    return next((driver for kind, driver in _DRIVERS.items() if kind in spec), "")

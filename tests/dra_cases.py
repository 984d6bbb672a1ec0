# SPDX-License-Identifier: Apache-2.0
"""Random clusters with devices and claims of every kind, in the form of recorded cases. Knows no kubesched."""

from __future__ import annotations

import random
from typing import Any

Obj = dict[str, Any]
DRIVERS = ("gpu.example.com", "nic.example.com")
ZONE = "topology.kubernetes.io/zone"
MODELS = ("a", "b")
RESOURCE = "example.com/gpu"


def named(key: str, *values: str) -> Obj:
    return {"nodeSelectorTerms": [{"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}]}


class Maker:
    """Draws one cluster, and pods for it, from a seed.

    Parameters
    ----------
    is_calm
        No pool is flawed, no selector wrong, nothing asks for all devices: the scheduler never stops with an error.
    """

    def __init__(self, seed: int, n_nodes: int, is_calm: bool = True) -> None:
        self.rng = random.Random(seed)
        self.is_calm = is_calm
        self.names = [f"n{i}" for i in range(n_nodes)]
        self.claims: list[Obj] = []
        self.slices: list[Obj] = []
        self.n_made = 0

    def some(self, chance: float) -> bool:
        return self.rng.random() < chance

    # ---- nodes and devices ----

    def node(self, name: str) -> Obj:
        allocatable = {"cpu": str(self.rng.choice([1, 8, 16])), "memory": "64Gi", "pods": "110"}
        if self.some(0.25):
            allocatable[RESOURCE] = str(self.rng.randint(0, 2))
        labels = {"kubernetes.io/hostname": name, ZONE: self.rng.choice(["x", "y"])}
        return {"metadata": {"name": name, "labels": labels}, "spec": {}, "status": {"allocatable": allocatable}}

    def device(self, name: str, driver: str, counters: bool, per_device: bool) -> Obj:
        rng = self.rng
        attributes: Obj = {"model": {"string": rng.choice(MODELS)}, "index": {"int": rng.randint(0, 2)}}
        if self.some(0.5):
            attributes["numa"] = {"int": rng.randint(0, 1)}
        if self.some(0.3):
            attributes["fast"] = {"bool": self.some(0.5)}
        if self.some(0.3):
            attributes["shared.example.com/rack"] = {"string": rng.choice(["r", "s"])}
        if self.some(0.3):
            attributes["driverVersion"] = {"version": rng.choice(["1.2.3", "1.10.0", "2.0.0-rc.1"])}
        out: Obj = {
            "name": name,
            "attributes": attributes,
            "capacity": {"memory": {"value": rng.choice(["40Gi", "80Gi"])}},
        }
        if self.some(0.15):
            out["taints"] = [
                {"key": "broken", "value": "yes", "effect": rng.choice(["NoSchedule", "NoExecute", "None"])}
            ]
        if self.some(0.2):
            self.share(out)
        if counters:
            amounts = {"slots": {"value": str(rng.randint(1, 3))}, "memory": {"value": f"{rng.randint(1, 4)}0Gi"}}
            out["consumesCounters"] = [{"counterSet": "set", "counters": amounts}]
        if per_device:
            out |= rng.choice(
                [{"nodeName": rng.choice(self.names)}, {"allNodes": True}, {"nodeSelector": named(ZONE, "x")}]
            )
        if self.some(0.05):
            out |= {
                "bindingConditions": ["ready"],
                "bindingFailureConditions": ["failed"],
                "bindsToNode": self.some(0.5),
            }
        del driver
        return out

    def share(self, device: Obj) -> None:
        """Make it one of which claims take parts."""
        device["allowMultipleAllocations"] = True
        policy = self.rng.choice(
            [
                {},
                {"requestPolicy": {"default": "10Gi", "validRange": {"min": "5Gi", "step": "5Gi", "max": "30Gi"}}},
                {"requestPolicy": {"default": "10Gi", "validValues": ["10Gi", "20Gi", "40Gi"]}},
            ]
        )
        device["capacity"]["memory"] |= policy

    def pool(self, name: str, driver: str, where: Obj) -> None:
        """A pool of one to three slices, now and then with counters, of several generations or with one missing."""
        rng = self.rng
        counters, n = self.some(0.3), rng.randint(1, 2)
        per_device = where == {"perDeviceNodeSelection": True}
        generation = rng.randint(1, 3)
        total = n + counters
        number = 0
        made = []
        for _ in range(n):
            count = rng.randint(1, 4)
            devices = [self.device(f"d{number + k}", driver, counters, per_device) for k in range(count)]
            number += count
            made.append(where | {"devices": devices})
        if counters:
            amounts = {"slots": {"value": str(rng.randint(3, 6))}, "memory": {"value": "80Gi"}}
            made.append(where | {"sharedCounters": [{"name": "set", "counters": amounts}]})
        rng.shuffle(made)
        if self.some(0.05) if self.is_calm else self.some(0.15):
            total += 1
        if not self.is_calm and self.some(0.15):
            devices = made[0].get("devices") or [{}]
            devices.append(dict(devices[0]))
        for i, spec in enumerate(made):
            at = {"name": name, "generation": generation, "resourceSliceCount": total}
            self.slices.append(
                {"metadata": {"name": f"{name}-{driver}-{i}"}, "spec": spec | {"driver": driver, "pool": at}}
            )
        if self.some(0.3):  # a newer generation that other nodes see
            newer = {"name": name, "generation": generation + 1, "resourceSliceCount": 1}
            other = {"nodeName": self.rng.choice([*self.names, "gone"])}
            spec = other | {"driver": driver, "pool": newer, "devices": [self.device("new", driver, False, False)]}
            self.slices.append({"metadata": {"name": f"{name}-{driver}-new"}, "spec": spec})
        if self.some(0.15):
            old = {"name": name, "generation": generation - 1, "resourceSliceCount": 1}
            spec = where | {"driver": driver, "pool": old, "devices": [self.device("old", driver, False, per_device)]}
            self.slices.append({"metadata": {"name": f"{name}-{driver}-old"}, "spec": spec})

    def cluster(self) -> Obj:
        for name in self.names:
            for driver in DRIVERS:
                if self.some(0.6):
                    self.pool(self.rng.choice([name, f"{name}-{driver[0]}"]), driver, {"nodeName": name})
        for i, where in enumerate(
            [{"allNodes": True}, {"nodeSelector": named(ZONE, "x")}, {"perDeviceNodeSelection": True}]
        ):
            if self.some(0.3):
                self.pool(f"net{i}", self.rng.choice(DRIVERS), where)
        self.rng.shuffle(self.slices)
        return {
            "id": "random",
            "family": "random",
            "profile": "default-v1.36",
            "nodes": [self.node(name) for name in self.names],
            "pods": [],
            "deviceclasses": [self.device_class(driver) for driver in DRIVERS],
            "resourceslices": self.slices,
            "resourceclaims": self.claims,
        }

    def device_class(self, driver: str) -> Obj:
        spec: Obj = {"selectors": [{"cel": {"expression": f'device.driver == "{driver}"'}}]}
        if driver == DRIVERS[0] and self.some(0.7):
            spec["extendedResourceName"] = RESOURCE
        return {"metadata": {"name": driver.split(".")[0]}, "spec": spec}

    # ---- claims ----

    def selector(self, driver: str) -> Obj:
        own = f'device.attributes["{driver}"]'
        memory = f'device.capacity["{driver}"].memory'
        known = [
            f'{own}.model == "a"',
            f'{own}.model in ["a", "b"] && {own}.index < 2',
            f'{memory}.compareTo(quantity("60Gi")) > 0',
            f"has({own}.numa) && {own}.numa == 1",
            f"!has({own}.fast) || {own}.fast",
            'has(device.attributes["shared.example.com"].rack)',
            '!has(device.attributes["absent.example.com"].x)',
            f'has({own}.driverVersion) && {own}.driverVersion.isLessThan(semver("1.9.0"))',
            f'{own}.index == 1 || {memory}.isGreaterThan(quantity("50Gi"))',
            "device.allowMultipleAllocations == false",
        ]
        if not self.is_calm:
            known += [f"{own}.numa == 0", f'{own}.model == "a" || {own}.fast']
        return {"cel": {"expression": self.rng.choice(known)}}

    def part(self) -> Obj:
        driver = self.rng.choice([DRIVERS[0], DRIVERS[0], DRIVERS[1]])
        out: Obj = {"deviceClassName": driver.split(".")[0]}
        if self.some(0.5):
            out["selectors"] = [self.selector(driver) for _ in range(self.rng.randint(1, 2))]
        if self.some(0.3) and not self.is_calm:
            out["allocationMode"] = "All"
        else:
            out |= {"allocationMode": "ExactCount", "count": self.rng.choice([1, 1, 1, 2, 3])}
        if self.some(0.2):
            toleration = {"key": "broken", "operator": "Exists"}
            other = {
                "key": "broken",
                "operator": "Equal",
                "value": self.rng.choice(["yes", "no"]),
                "effect": "NoSchedule",
            }
            out["tolerations"] = [self.rng.choice([toleration, other])]
        if self.some(0.2):
            out["capacity"] = {"requests": {"memory": self.rng.choice(["7Gi", "10Gi", "25Gi", "50Gi"])}}
        return out

    def request(self, name: str) -> Obj:
        if self.some(0.3):
            alternatives = [self.part() | {"name": f"s{i}"} for i in range(self.rng.randint(1, 3))]
            return {"name": name, "firstAvailable": alternatives}
        part = self.part()
        if self.some(0.1):
            part["adminAccess"] = True
        return {"name": name, "exactly": part}

    def constraint(self, names: list[str]) -> Obj:
        attribute = self.rng.choice(
            [f"{DRIVERS[0]}/model", f"{DRIVERS[0]}/index", f"{DRIVERS[0]}/numa", "shared.example.com/rack"]
        )
        kind = self.rng.choice(["matchAttribute", "matchAttribute", "distinctAttribute"])
        out: Obj = {kind: attribute}
        if self.some(0.5):
            out["requests"] = self.rng.sample(names, 1)
        return out

    def claim(self) -> str:
        name = f"c{len(self.claims)}"
        metadata = {"name": name, "namespace": "default"}
        if self.claims and self.some(0.5):  # as from one template
            spec = self.rng.choice(self.claims)["spec"]
            self.claims.append({"metadata": metadata, "spec": spec, "status": {}})
            return name
        requests = [self.request(f"r{i}") for i in range(self.rng.choice([1, 1, 2, 3]))]
        spec: Obj = {"requests": requests}
        if self.some(0.35):
            names = [r["name"] for r in requests]
            names += [f"{r['name']}/{s['name']}" for r in requests for s in r.get("firstAvailable") or []]
            spec["constraints"] = [self.constraint(names) for _ in range(self.rng.randint(1, 2))]
        self.claims.append({"metadata": metadata, "spec": {"devices": spec}, "status": {}})
        return name

    def allocated(self) -> str:
        """A claim that has a device of some node already."""
        name = self.claim()
        local = [s for s in self.slices if s["spec"].get("nodeName") and s["spec"].get("devices")]
        if local:
            one = self.rng.choice(local)["spec"]
            device = self.rng.choice(one["devices"])["name"]
            result = {"request": "r0", "driver": one["driver"], "pool": one["pool"]["name"], "device": device}
            field = {"key": "metadata.name", "operator": "In", "values": [one["nodeName"]]}
            nodes = self.rng.choice([{"nodeSelectorTerms": [{"matchFields": [field]}]}, named(ZONE, "x")])
            users = self.rng.choice([[], [{"resource": "pods", "name": "other", "uid": "default/other"}]])
            allocation = {"devices": {"results": [result]}, "nodeSelector": nodes}
            self.claims[-1]["status"] = {"allocation": allocation, "reservedFor": users}
        return name

    # ---- pods ----

    def pod(self, name: str) -> Obj:
        rng = self.rng
        claims: list[str] = []
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            if self.claims and self.some(0.25):
                claims.append(f"c{rng.randrange(len(self.claims))}")
            else:
                claims.append(self.allocated() if self.some(0.15) else self.claim())
        claims = list(dict.fromkeys(claims))
        containers = [self.container(f"c{i}") for i in range(rng.randint(1, 2))]
        inits = [self.container(f"i{i}") for i in range(rng.choice([0, 0, 2, 3]))]
        for one in inits:
            if self.some(0.3):
                one["restartPolicy"] = "Always"
        spec: Obj = {"containers": containers, "initContainers": inits}
        if claims:
            spec["resourceClaims"] = [{"name": claim, "resourceClaimName": claim} for claim in claims]
        return {"metadata": {"name": name, "namespace": "default"}, "spec": spec}

    def container(self, name: str) -> Obj:
        requests = {"cpu": "100m"}
        if self.some(0.3):
            requests[RESOURCE] = str(self.rng.randint(1, 2))
        return {"name": name, "resources": {"requests": requests}}

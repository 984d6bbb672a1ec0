# SPDX-License-Identifier: Apache-2.0
"""The claim that stands for a pod's extended resources on a node that offers devices in their place.

Containers that run together ask for devices of their own; init containers that end before may use those of the
containers behind them, and ask for what is missing once for all of them.
Source: plugins/dynamicresources/extendeddynamicresources.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubesched.state.claim_rows import ClaimRequest, ClaimSpec, DeviceClass, Request
from kubesched.state.rows import ContainerDevices


def claim_of(containers: Sequence[ContainerDevices], classes: Mapping[str, DeviceClass]) -> ClaimSpec:
    """The requests of containers (init containers first) for resources that the classes stand behind."""
    out: list[ClaimRequest] = []
    for resource in sorted(classes):
        asked = [dict(one.amounts).get(resource, 0) for one in containers]
        lasting = [0 if one.is_short else n for one, n in zip(containers, asked, strict=True)]
        extra, at = 0, 0
        for i, one in enumerate(containers):
            missing = asked[i] - sum(lasting[i:]) if one.is_short else 0
            if missing > extra:
                extra, at = missing, i
        counts = [(at, extra), *enumerate(lasting)]
        out += [_request(i, resource, classes[resource], n) for i, n in counts if n > 0]
    return ClaimSpec(tuple(out))


def _request(container: int, resource: str, device_class: DeviceClass, count: int) -> ClaimRequest:
    name = f"container-{container}-{resource}"
    return ClaimRequest(name, Request(name, device_class.name, count=count))

# SPDX-License-Identifier: Apache-2.0
"""Slices of endpoints. Source: pkg/apis/discovery/v1/defaults.go, v1.36."""

from __future__ import annotations

from kubesched.api import columns
from kubesched.api.groups.core import endpoints
from kubesched.api.strategy import Object, Strategy, fill


def _default_slice(obj: Object) -> None:
    for port in obj.get("ports") or ():
        fill(port, "name", "")
        fill(port, "protocol", "TCP")


def _slice_ports(obj: Object) -> str:
    found = [str(port.get("port")) if port.get("port") else "*" for port in obj.get("ports") or ()]
    return _some(found, "<unset>")


def _slice_endpoints(obj: Object) -> str:
    return _some([address for item in obj.get("endpoints") or () for address in item.get("addresses") or ()], "<unset>")


def _some(found: list[str], empty: str) -> str:
    text = ",".join(found[:3])
    return f"{text} + {len(found) - 3} more..." if len(found) > 3 else text or empty


STRATEGIES: dict[str, Strategy] = {
    "endpointslices": Strategy(
        default=_default_slice,
        validate=endpoints.validate_slice,
        validate_update=endpoints.validate_slice_update,
        has_generation=True,
        generation_of=("endpoints", "ports", "addressType"),
        columns=(
            columns.name(),
            columns.text("AddressType", "addressType"),
            columns.made("Ports", _slice_ports),
            columns.made("Endpoints", _slice_endpoints),
            columns.age(),
        ),
    ),
}
"""By plural."""

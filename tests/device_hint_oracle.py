# SPDX-License-Identifier: Apache-2.0
"""The slow, obvious truth about queueing hints of DynamicResources: an event, a pod, and all claims that there are.

Written from EventsToRegister, isSchedulableAfterClaimChange and isSchedulableAfterPodChange of
plugins/dynamicresources, v1.36; imports nothing of kubesched.
"""

from __future__ import annotations

from typing import Any

Obj = dict[str, Any]


class NoClaimsError(Exception):
    """The pod's claims are not all there."""


def claims_of(pod: Obj, claims: dict[tuple[str, str], Obj]) -> list[Obj]:
    """The claims that a pod uses now.

    Raises
    ------
    NoClaimsError
        One has not been generated, is not there, or is being deleted.
    """
    namespace = pod["metadata"]["namespace"]
    generated = {s["name"]: s.get("resourceClaimName") for s in pod.get("status", {}).get("resourceClaimStatuses", [])}
    out = []
    for one in pod["spec"].get("resourceClaims", []):
        name = one.get("resourceClaimName")
        if name is None:
            if one["name"] not in generated:
                raise NoClaimsError
            name = generated[one["name"]]
            if name is None:
                continue  # the pod needs none
        claim = claims.get((namespace, name))
        if claim is None or claim["metadata"].get("deletionTimestamp"):
            raise NoClaimsError
        out.append(claim)
    return out


def prune(value: Any) -> Any:
    """Empty and missing are one."""
    if isinstance(value, dict):
        return {k: prune(v) for k, v in value.items() if prune(v) not in (None, {}, [])}
    return [prune(v) for v in value] if isinstance(value, list) else value


def allocation(claim: Obj) -> Any:
    return (claim.get("status") or {}).get("allocation")


def after_claim(pod: Obj, old: Obj | None, new: Obj, claims: dict[tuple[str, str], Obj]) -> bool:
    """``claims``: as they are after the event."""
    try:
        uses = any(claim["metadata"] == new["metadata"] for claim in claims_of(pod, claims))
    except NoClaimsError:
        return False
    if old is not None and allocation(old) is not None and allocation(new) is None:
        return True
    if not uses:
        return False
    return old is None or prune(old.get("status") or {}) != prune(new.get("status") or {})


def after_pod(pod: Obj, new: Obj, claims: dict[tuple[str, str], Obj]) -> bool:
    """An update of generated claims."""
    if (pod["metadata"]["namespace"], pod["metadata"]["name"]) != (
        new["metadata"]["namespace"],
        new["metadata"]["name"],
    ):
        return False
    try:
        claims_of(new, claims)
    except NoClaimsError:
        return False
    return True

# SPDX-License-Identifier: Apache-2.0
"""Queueing hints of DynamicResources against their oracle, with the index that chooses which pods are asked."""

from __future__ import annotations

import copy
import random
from collections import Counter
from typing import Any

from kubesched.scheduler import encode, events, storage_hints
from kubesched.scheduler.events import Action, Event, PodView
from tests import device_hint_oracle

Obj = dict[str, Any]
NAMES, NAMESPACES = ("a", "b", "c"), ("x", "y")


def pod_of(rng: random.Random) -> Obj:
    """A pod with up to two claims: by name, generated, not generated yet, or found not to be needed."""
    claims, statuses = [], []
    for i in range(rng.choice([0, 1, 1, 2])):
        kind = rng.choice(["named", "named", "generated", "waiting", "not needed"])
        if kind == "named":
            claims.append({"name": f"r{i}", "resourceClaimName": rng.choice(NAMES)})
            continue
        claims.append({"name": f"r{i}", "resourceClaimTemplateName": "t"})
        if kind != "waiting":
            statuses.append(
                {"name": f"r{i}"} | ({"resourceClaimName": rng.choice(NAMES)} if kind == "generated" else {})
            )
    metadata = {"name": rng.choice(["p", "q"]), "namespace": rng.choice(NAMESPACES)}
    spec = {"containers": [{"name": "c"}], "resourceClaims": claims}
    return {"kind": "Pod", "metadata": metadata, "spec": spec, "status": {"resourceClaimStatuses": statuses}}


def claim_of(rng: random.Random, namespace: str, name: str) -> Obj:
    status: Obj = rng.choice(
        [{}, {"reservedFor": []}, {"reservedFor": [{"uid": "1"}]}, {"allocation": {"devices": {}}}]
    )
    metadata = {"name": name, "namespace": namespace} | ({"deletionTimestamp": "now"} if rng.random() < 0.1 else {})
    return {"kind": "ResourceClaim", "metadata": metadata, "spec": {}, "status": copy.deepcopy(status)}


def view_of(pod: Obj) -> PodView:
    return events.view(pod, encode.pod_row(pod))


def asks(pod: Obj, event: Event, is_own: bool) -> bool:
    """What the table says, as the queue asks it: first which pods are meant, then each of them."""
    view = view_of(pod)
    for one in storage_hints.BY_PLUGIN["DynamicResources"]:
        if not events.matches(one.resource, one.actions, event):
            continue
        meant = one.of_event(event) if one.of_event is not None else None
        if meant is None or one.of_pod is None or is_own or not set(meant).isdisjoint(one.of_pod(view)):
            return one.ask(view, event, is_own)
    return False


def test_claims_come_and_change() -> None:
    rng, seen = random.Random(1), Counter[bool]()
    for _ in range(4000):
        pod = pod_of(rng)
        claims = {(ns, name): claim_of(rng, ns, name) for ns in NAMESPACES for name in NAMES}
        key = rng.choice(sorted(claims))
        new = claims[key]
        old = None if rng.random() < 0.3 else {**claim_of(rng, *key), "metadata": new["metadata"]}
        event = Event(events.RESOURCE_CLAIM, Action.ADD if old is None else Action.UPDATE, old, new)
        expected = device_hint_oracle.after_claim(pod, old, new, claims)
        others = {c["metadata"].get("deletionTimestamp") for k, c in claims.items() if k != key}
        if others != {None}:
            continue  # claims that are not the event's are not looked up: PreEnqueue holds the pod back
        assert asks(pod, event, is_own=False) is expected, (pod, event)
        seen[expected] += 1
    assert min(seen.values()) > 200, seen


def test_claims_of_pods_are_generated() -> None:
    rng, seen = random.Random(2), Counter[bool]()
    claims = {(ns, name): {"metadata": {"name": name, "namespace": ns}} for ns in NAMESPACES for name in NAMES}
    for _ in range(2000):
        pod, new = pod_of(rng), pod_of(rng)
        expected = device_hint_oracle.after_pod(pod, new, claims)
        is_own = all(pod["metadata"][k] == new["metadata"][k] for k in ("name", "namespace"))
        event = Event(events.UNSCHEDULED_POD, Action.POD_GENERATED_CLAIM, view_of(pod), view_of(new))
        assert asks(pod, event, is_own) is expected, (pod, new)
        seen[expected] += 1
    assert min(seen.values()) > 200, seen


def test_nodes_classes_and_slices_always_help() -> None:
    for resource, action in (
        (events.NODE, Action.ADD),
        (events.NODE, Action.NODE_LABEL),
        (events.NODE, Action.NODE_ALLOCATABLE),
        (events.DEVICE_CLASS, Action.ADD),
        (events.DEVICE_CLASS, Action.UPDATE),
        (events.RESOURCE_SLICE, Action.ADD),
        (events.RESOURCE_SLICE, Action.UPDATE),
    ):
        assert asks(pod_of(random.Random(3)), Event(resource, action, {}, {}), is_own=False)
    for resource, action in ((events.NODE, Action.NODE_TAINT), (events.RESOURCE_SLICE, Action.DELETE)):
        assert not asks(pod_of(random.Random(3)), Event(resource, action, {}, {}), is_own=False)

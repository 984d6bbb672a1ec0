# SPDX-License-Identifier: Apache-2.0
"""The cluster of a recorded case as a state."""

from __future__ import annotations

from typing import Any

from kubesched.parity.cases import KINDS, Case
from kubesched.scheduler import encode
from kubesched.state import live, rows


def objects(case: Case, new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """All objects of a case with their kinds, the pods to place last."""
    out = [{**obj, "kind": "Node"} for obj in case["nodes"]]
    for name, kind in KINDS.items():
        out += [{**obj, "kind": kind} for obj in case.get(name) or ()]
    return out + [{**obj, "kind": "Pod"} for obj in (case.get("pods") or []) + new]


def load(case: Case, new: list[dict[str, Any]]) -> tuple[live.ClusterState, list[rows.PodRow]]:
    """State of the cluster before the decision, and the rows of the pods to place."""
    encoded = encode.encode(objects(case, new))
    # A recorded pod to place may name its node (family node-name): it is decided, not bound.
    keys = [f"{pod['metadata'].get('namespace') or 'default'}/{pod['metadata']['name']}" for pod in new]
    to_place = set(keys)
    placed = {row.key: row for row in encoded.running + encoded.pending}
    running = [row for row in encoded.running if row.key not in to_place]
    state = live.ClusterState()
    state.set_namespaces(encoded.namespaces)
    state.volumes.put(encoded.storage)
    if encoded.devices:
        state.set_devices(encoded.devices)
    state.add_nodes(encoded.nodes)
    state.bind(running)
    state.evictions.set_budgets(encoded.budgets)
    for pod in encoded.pending:
        row = state.row_of(pod.nominated_node) if pod.nominated_node else None
        if row is not None:
            state.evictions.nominate(pod, state.class_of(pod), row)
    return state, [placed[key] for key in keys]

# SPDX-License-Identifier: Apache-2.0
"""One pod shape against one node row, without an engine: what queueing hints ask when a single node changes.

The engine decides with its own copies of these rules on columns; tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Mapping

from kubesched.state import rows
from kubesched.state.intern import parse_int64

UNSCHEDULABLE_TAINT = "node.kubernetes.io/unschedulable"
_NO_SCHEDULE = ("NoSchedule", "NoExecute")


def affinity_matches(shape: rows.PodShape, node: rows.NodeRow) -> bool:
    """Whether the node satisfies the pod's node selector and its required terms."""
    labels = dict(node.labels)
    if any(labels.get(key) != value for key, value in shape.node_selector):
        return False
    terms = shape.required_terms
    return terms is None or any(_term_matches(term, node.name, labels) for term in terms)


def _term_matches(term: rows.Term, name: str, labels: Mapping[str, str]) -> bool:
    return bool(term.requirements) and all(
        _holds(q, {q.key: name} if q.is_field else labels) for q in term.requirements
    )


def _holds(q: rows.Requirement, labels: Mapping[str, str]) -> bool:
    value = labels.get(q.key)
    if q.operator in ("In", "NotIn"):
        return (value in q.values) == (q.operator == "In")
    if q.operator in ("Exists", "DoesNotExist"):
        return (value is None) == (q.operator == "DoesNotExist")
    number, bound = parse_int64(value or ""), parse_int64(q.values[0]) if len(q.values) == 1 else None
    if number is None or bound is None:
        return False
    return number > bound if q.operator == "Gt" else number < bound


def tolerates(toleration: rows.Toleration, taint: rows.Taint) -> bool:
    """Whether one toleration covers one taint."""
    if toleration.effect not in ("", taint.effect) or toleration.key not in ("", taint.key):
        return False
    if toleration.operator == "Exists":
        return True
    return toleration.operator == "Equal" and toleration.value == taint.value


def is_untolerated(shape: rows.PodShape, node: rows.NodeRow) -> bool:
    """Whether a NoSchedule or NoExecute taint of the node keeps the pod away."""
    return any(
        taint.effect in _NO_SCHEDULE and not any(tolerates(t, taint) for t in shape.tolerations)
        for taint in node.taints
    )


def tolerates_unschedulable(shape: rows.PodShape) -> bool:
    """Whether the pod may go to a node that is marked unschedulable."""
    taint = rows.Taint(UNSCHEDULABLE_TAINT, "", "NoSchedule")
    return any(tolerates(t, taint) for t in shape.tolerations)


def fits_empty(shape: rows.PodShape, node: rows.NodeRow) -> bool:
    """Whether the node would hold the pod if nothing ran there."""
    room = dict(node.allocatable)
    return room.get(rows.PODS, 0) >= 1 and all(room.get(name, 0) >= amount for name, amount in shape.requests)


def ports_clash(a: rows.PodShape, b: rows.PodShape) -> bool:
    """Whether the two want a host port of the same address."""
    return any(
        p.port == q.port and p.protocol == q.protocol and (p.ip == q.ip or rows.WILDCARD_IP in (p.ip, q.ip))
        for p in a.host_ports
        for q in b.host_ports
    )

# SPDX-License-Identifier: Apache-2.0
"""The parts of a pod that look at other pods: topology spreading, inter-pod affinity, default spreading.

Sources: plugins/podtopologyspread/common.go, scheduler/framework/types.go (affinity terms), plugins/helper/spread.go,
apimachinery LabelSelectorAsSelector, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubesched.api import fields, labels
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.state import rows

ZONE_LABEL = "topology.kubernetes.io/zone"
SYSTEM_DEFAULTS = ((rows.HOSTNAME_LABEL, 3), (ZONE_LABEL, 5))
"""(key, maxSkew) of the constraints that pods of a Service or controller get; ScheduleAnyway."""

_WITH_VALUES, _WITHOUT_VALUES = ("In", "NotIn"), ("Exists", "DoesNotExist")
_HARD, _SOFT = "DoNotSchedule", "ScheduleAnyway"
_CONTROLLERS = {
    "ReplicationController": ("v1",),
    "ReplicaSet": ("apps/v1",),
    "StatefulSet": ("apps/v1",),
}


# ---- label selectors ----


def label_selector(view: View, name: str) -> rows.LabelSelector:
    """A LabelSelector field; None where it is absent, which matches nothing."""
    if not view.has(name):
        return None
    selector = view.view(name)
    found = set(_pairs_selector(labels.pairs(selector, "matchLabels")))
    for q in selector.views("matchExpressions"):
        found.add(_requirement(q))
    return tuple(sorted(found, key=lambda q: (q.key, q.operator, q.values)))


def _requirement(view: View) -> rows.Requirement:
    key, operator, values = labels.key(view, "key"), view.text("operator"), view.texts("values")
    if operator not in _WITH_VALUES + _WITHOUT_VALUES:
        known = ", ".join(_WITH_VALUES + _WITHOUT_VALUES)
        raise errors.InputError(view.where("operator"), "is not an operator of label selectors", operator, known)
    if (operator in _WITH_VALUES) != bool(values):
        expected = "one value or more" if operator in _WITH_VALUES else "no values"
        raise errors.InputError(view.where("values"), f"does not fit {operator}", list(values), expected)
    for i, value in enumerate(values):
        if not labels.is_value(value):
            raise errors.InputError(f"{view.where('values')}[{i}]", "is no label value", value, labels.VALUE)
    return rows.Requirement(key, operator, tuple(sorted(set(values))))


def _pairs_selector(pairs: Iterable[tuple[str, str]]) -> tuple[rows.Requirement, ...]:
    return tuple(rows.Requirement(key, "In", (value,)) for key, value in pairs)


def _merged(*parts: tuple[rows.Requirement, ...]) -> tuple[rows.Requirement, ...]:
    return tuple(sorted({q for part in parts for q in part}, key=lambda q: (q.key, q.operator, q.values)))


# ---- topology spreading ----


def spread_constraints(spec: View, mine: Mapping[str, str]) -> tuple[rows.SpreadConstraint, ...]:
    """The constraints of a pod with these labels; matchLabelKeys become part of the selector."""
    found: dict[tuple[str, bool], rows.SpreadConstraint] = {}
    for view in spec.views("topologySpreadConstraints"):
        made = _constraint(view, mine)
        if (made.topology_key, made.hard) in found:
            what = f"{made.topology_key} {view.text('whenUnsatisfiable')}"
            expected = "one constraint of a topologyKey and whenUnsatisfiable"
            raise errors.InputError(view.where("topologyKey"), "exists twice", what, expected)
        found[made.topology_key, made.hard] = made
    return tuple(found.values())


def listed_constraints(args: View) -> tuple[rows.SpreadConstraint, ...]:
    """Default constraints of PodTopologySpread's arguments.

    Each pod's deduced selector takes the place of any other, that of matchLabelKeys too; minDomains of a soft
    constraint, which pods must not have, says nothing.
    """
    out = []
    for view in args.views("defaultConstraints"):
        soft = view.text("whenUnsatisfiable") == _SOFT
        kept = {name: value for name, value in view.data.items() if not (soft and name == "minDomains")}
        out.append(_constraint(View(kept, view.owner, view.path), {}))
    return tuple(out)


def _constraint(view: View, mine: Mapping[str, str]) -> rows.SpreadConstraint:
    key, action = labels.key(view, "topologyKey"), view.text("whenUnsatisfiable")
    if action not in (_HARD, _SOFT):
        raise errors.InputError(view.where("whenUnsatisfiable"), "is unknown", action, f"{_HARD} or {_SOFT}")
    if action == _SOFT and view.has("minDomains"):
        raise errors.InputError(view.where("minDomains"), f"goes with {_HARD} alone", action, _HARD)
    selector = label_selector(view, "labelSelector")
    given = [(k, mine[k]) for k in _label_keys(view, "matchLabelKeys") if k in mine]
    if selector is not None and given:
        selector = _merged(selector, _pairs_selector(given))
    return rows.SpreadConstraint(
        topology_key=key,
        max_skew=_positive(view, "maxSkew", None),
        selector=selector,
        hard=action == _HARD,
        min_domains=_positive(view, "minDomains", 1),
        honor_affinity=_policy(view, "nodeAffinityPolicy", "Honor"),
        honor_taints=_policy(view, "nodeTaintsPolicy", "Ignore"),
    )


def _label_keys(view: View, name: str) -> tuple[str, ...]:
    """Keys of labels that become part of the selector, which therefore has to be there."""
    found = labels.keys(view, name)
    if found and not view.has("labelSelector"):
        raise errors.InputError(view.where(name), "needs a labelSelector beside it", list(found), "no keys, or both")
    return found


def _positive(view: View, name: str, default: int | None) -> int:
    if not view.has(name) and default is not None:
        return default
    value = view.integer(name)
    if not 1 <= value < 2**31:
        raise errors.InputError(view.where(name), "is out of range", value, "1 or more")
    return value


def _policy(view: View, name: str, default: str) -> bool:
    value = view.text(name) or default
    if value not in ("Honor", "Ignore"):
        raise errors.InputError(view.where(name), "is not a policy", value, "Honor or Ignore")
    return value == "Honor"


class DefaultSpread:
    """Default constraints of the pods that a Service, or an owning controller, selects.

    Parameters
    ----------
    objects
        All objects of the cluster; Services and controllers are kept.
    constraints
        (topology key, maxSkew) of each constraint.
    """

    def __init__(self, objects: Sequence[dict[str, Any]], constraints: tuple[tuple[str, int], ...] = SYSTEM_DEFAULTS):
        self._constraints = constraints
        self._services: dict[str, list[dict[str, str]]] = {}
        self._owners: dict[tuple[str, str, str], tuple[rows.Requirement, ...]] = {}
        for obj in objects:
            kind = obj.get("kind")
            if kind == "Service" or kind in _CONTROLLERS:
                self._keep(str(kind), fields.of(obj))

    def _keep(self, kind: str, view: View) -> None:
        namespace, name = view.view("metadata").text("namespace") or "default", view.view("metadata").text("name")
        spec = view.view("spec")
        if kind == "Service":
            if spec.has("selector"):
                self._services.setdefault(namespace, []).append(dict(spec.pairs("selector")))
        elif kind == "ReplicationController":
            self._owners[kind, namespace, name] = _pairs_selector(spec.pairs("selector"))
        else:
            self._owners[kind, namespace, name] = label_selector(spec, "selector") or ()

    def constraints(self, pod: View) -> tuple[rows.SpreadConstraint, ...]:
        """Constraints of a pod that has none of its own; empty if nothing selects it."""
        metadata = pod.view("metadata")
        namespace, mine = metadata.text("namespace") or "default", dict(metadata.pairs("labels"))
        merged: dict[str, str] = {}
        for selector in self._services.get(namespace, ()):
            if selector.items() <= mine.items():
                merged |= selector
        of_owner: tuple[rows.Requirement, ...] = ()
        for owner in metadata.views("ownerReferences"):
            kind = owner.text("kind")
            if owner.flag("controller") and owner.text("apiVersion") in _CONTROLLERS.get(kind, ()):
                of_owner = self._owners.get((kind, namespace, owner.text("name")), ())
                if kind == "ReplicationController":
                    merged |= {q.key: q.values[0] for q in of_owner}
                    of_owner = ()
                break
        found = _merged(_pairs_selector(merged.items()), of_owner)
        return tuple(rows.SpreadConstraint(key, skew, found, False) for key, skew in self._constraints) if found else ()


# ---- inter-pod affinity ----


def required_terms(affinity: View, namespace: str) -> tuple[rows.PodTerm, ...]:
    """Required terms of podAffinity or podAntiAffinity."""
    return tuple(_term(view, namespace) for view in affinity.views("requiredDuringSchedulingIgnoredDuringExecution"))


def preferred_terms(affinity: View, namespace: str, sign: int) -> tuple[rows.PodTerm, ...]:
    """Preferred terms with their weight times ``sign``."""
    out = []
    for view in affinity.views("preferredDuringSchedulingIgnoredDuringExecution"):
        weight = view.integer("weight")
        if not 1 <= weight <= 100:
            raise errors.InputError(view.where("weight"), "is out of range", weight, "1 to 100")
        out.append(_term(view.view("podAffinityTerm"), namespace, sign * weight))
    return tuple(out)


def _term(view: View, namespace: str, weight: int = 0) -> rows.PodTerm:
    key = labels.key(view, "topologyKey")
    namespaces, selector = view.texts("namespaces"), label_selector(view, "namespaceSelector")
    for i, name in enumerate(namespaces):
        if not labels.is_namespace(name):
            raise errors.InputError(f"{view.where('namespaces')}[{i}]", "is no namespace", name, labels.NAMESPACE)
    both = set(_label_keys(view, "matchLabelKeys")) & set(_label_keys(view, "mismatchLabelKeys"))
    if both:
        raise errors.InputError(view.where("mismatchLabelKeys"), "repeats a matchLabelKey", min(both), "another key")
    if not namespaces and selector is None:
        namespaces = (namespace,)
    pods = label_selector(view, "labelSelector")
    return rows.PodTerm(key, pods, tuple(sorted(set(namespaces))), selector, weight)

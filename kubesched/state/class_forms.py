# SPDX-License-Identifier: Apache-2.0
"""How the engine is told of a class: strings as ids, and what classes have in common said once.

Clusters have many classes that differ in nothing but amounts: one extended resource each, or requests that a controller
set pod by pod. What is left without amounts and labels are few *forms*, which are kept as C reads them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kubesched.kernel import arrays, native
from kubesched.kernel.arrays import I32
from kubesched.state import one_node, rows
from kubesched.state.intern import parse_int64
from kubesched.state.names import Names

_MOST_FORMS = 1024
"""Arbitrary: some hundred bytes each, and forms that come once are worth nothing."""


class ClassForms:
    """Forms of classes, made when they are first met."""

    def __init__(self, names: Names) -> None:
        self._names = names
        self._forms: dict[tuple[object, ...], native.ClassForm] = {}

    def form(self, shape: rows.PodShape) -> native.ClassForm:
        """Everything of a class but its amounts."""
        key = (
            shape.node_name,
            shape.node_selector,
            shape.required_terms,
            shape.enforced_terms,
            shape.preferred_terms,
            shape.tolerations,
            shape.host_ports,
            shape.images,
            shape.n_image_containers,
            shape.device_count,
            shape.device_milli,
            shape.device_models,
        )
        found = self._forms.get(key)
        if found is None:
            if len(self._forms) >= _MOST_FORMS:
                self._forms.clear()
            found = self._forms[key] = native.ClassForm(self._spec(shape))
        return found

    def amounts(self, shape: rows.PodShape) -> native.Amounts:
        """What the class asks for.

        Raises
        ------
        InputError
            An amount is out of range.
        """
        request = self._amounts(shape.requests)
        return native.Amounts(
            request,
            self._amounts(shape.fit_requests),
            shape.nonzero_cpu_milli,
            shape.nonzero_memory_bytes,
            self._unchecked(request, shape.unchecked) if shape.unchecked else (),
        )

    def _amounts(self, amounts: tuple[tuple[str, int], ...]) -> list[tuple[int, int]]:
        for resource, amount in amounts:
            if not 0 <= amount <= rows.MAX_QUANTITY:
                raise rows.out_of_range(f"pod request {resource}", amount)
        return sorted([(self._names.resource_id(resource), amount) for resource, amount in amounts])

    def _unchecked(self, request: Sequence[tuple[int, int]], unchecked: tuple[str, ...]) -> list[int]:
        those = {self._names.resource_id(resource) for resource in unchecked}
        return [int(number in those) for number, _ in request]

    def _spec(self, shape: rows.PodShape) -> native.ClassSpec:
        names, tolerations = self._names, shape.tolerations
        tolerated = [names.toleration(t) for t in tolerations]
        return native.ClassSpec(
            node_name=names.node_name_id(shape.node_name),
            tolerates_unschedulable=one_node.tolerates_unschedulable(shape),
            toleration_key=arrays.int32([key for key, _ in tolerated]),
            toleration_op=arrays.int32([_toleration_op(t) for t in tolerations]),
            toleration_value=arrays.int32([value for _, value in tolerated]),
            toleration_effect=arrays.int32([native.EFFECTS[t.effect] for t in tolerations]),
            has_required=shape.required_terms is not None,
            has_enforced=shape.enforced_terms is not None,
            node_selector=self._selector(_selector_term(shape.node_selector)),
            required=self._selector(shape.required_terms or ()),
            enforced=self._selector(shape.enforced_terms or ()),
            preferred=self._selector(shape.preferred_terms, weighted=True),
            port=arrays.int32([names.port_id(p) for p in shape.host_ports]),
            image=names.image_ids(shape.images),
            n_image_containers=shape.n_image_containers,
            device_count=shape.device_count,
            device_milli=shape.device_milli,
            device_models=names.model_mask(shape.device_models),
        )

    def _selector(self, terms: tuple[rows.Term, ...], weighted: bool = False) -> native.Selector:
        requirements = [q for term in terms for q in term.requirements]
        numbers = [_operand(q) for q in requirements]
        values = [self._names.requirement_values(q) for q in requirements]
        return native.Selector(
            term_start=_starts([len(term.requirements) for term in terms]),
            weight=arrays.int32([term.weight for term in terms]) if weighted else None,
            key=arrays.int32([self._names.requirement_key(q) for q in requirements]),
            op=arrays.int32([native.OPERATORS[q.operator] for q in requirements]),
            number=arrays.int64([n or 0 for n in numbers]),
            is_number=np.array([n is not None for n in numbers], dtype=np.uint8),
            value_start=_starts([len(v) for v in values]),
            value=arrays.int32([v for of in values for v in of]),
        )


def _starts(lengths: Sequence[int]) -> I32:
    out = np.zeros(len(lengths) + 1, dtype=np.int32)
    np.cumsum(lengths, out=out[1:])
    return out


def _operand(q: rows.Requirement) -> int | None:
    if q.operator in ("Gt", "Lt") and len(q.values) == 1:
        return parse_int64(q.values[0])
    return None


def _selector_term(selector: tuple[tuple[str, str], ...]) -> tuple[rows.Term, ...]:
    """``spec.nodeSelector`` as one term: every pair must match."""
    if not selector:
        return ()
    return (rows.Term(tuple(rows.Requirement(k, "In", (v,)) for k, v in selector)),)


def _toleration_op(t: rows.Toleration) -> int:
    return native.TOLERATION_OPERATORS.get(t.operator, native.TOLERATE_NEVER)

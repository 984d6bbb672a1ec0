# SPDX-License-Identifier: Apache-2.0
"""Priority and fairness. Source: pkg/apis/flowcontrol/v1/defaults.go, v1.36."""

from __future__ import annotations

import dataclasses
from typing import Any

from kubesched.api import columns
from kubesched.api.columns import at
from kubesched.api.groups import flows
from kubesched.api.strategy import STATUS, Object, Strategy, fill, fill_empty


def _default_level(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    for name, shares in (("exempt", 0), ("limited", 30)):
        if spec.get(name) is not None:
            fill(spec[name], "nominalConcurrencyShares", shares)
            fill(spec[name], "lendablePercent", 0)
    queuing = at(spec, "limited", "limitResponse", "queuing")
    if queuing is not None:
        for name, value in (("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)):
            queuing[name] = queuing.get(name) or value


def _default_flow(obj: Object) -> None:
    spec: Object = obj.setdefault("spec", {})
    fill_empty(spec, "matchingPrecedence", 1000)


def _dangling(obj: Object) -> str:
    found = at(obj, "status", "conditions") or ()
    return next((item.get("status", "") for item in found if item.get("type") == "Dangling"), "?")


def _queuing(name: str) -> columns.Getter:
    def value(obj: Object) -> Any:
        found = at(obj, "spec", "limited", "limitResponse", "queuing")
        return "<none>" if found is None else found.get(name, 0)

    return value


_STATUS = {"status": dataclasses.replace(STATUS, validate=flows.status_update)}
STRATEGIES: dict[str, Strategy] = {
    "flowschemas": Strategy(
        default=_default_flow,
        validate=flows.schema,
        validate_update=lambda new, old: flows.schema(new),
        parts=_STATUS,
        has_status=True,
        has_generation=True,
        columns=(
            columns.name(),
            columns.text("PriorityLevel", "spec", "priorityLevelConfiguration", "name"),
            columns.number("MatchingPrecedence", "spec", "matchingPrecedence"),
            columns.text("DistinguisherMethod", "spec", "distinguisherMethod", "type", empty="<none>"),
            columns.age(),
            columns.made("MissingPL", _dangling),
        ),
    ),
    "prioritylevelconfigurations": Strategy(
        default=_default_level,
        validate=flows.level,
        validate_update=lambda new, old: flows.level(new),
        parts=_STATUS,
        has_status=True,
        has_generation=True,
        columns=(
            columns.name(),
            columns.text("Type", "spec", "type"),
            columns.text("NominalConcurrencyShares", "spec", "limited", "nominalConcurrencyShares", empty="<none>"),
            columns.made("Queues", _queuing("queues")),
            columns.made("HandSize", _queuing("handSize")),
            columns.made("QueueLengthLimit", _queuing("queueLengthLimit")),
            columns.age(),
        ),
    ),
}
"""By plural."""

# SPDX-License-Identifier: Apache-2.0
"""Priority classes. Source: pkg/apis/scheduling/v1/defaults.go, v1.36."""

from __future__ import annotations

from kubesched.api import columns
from kubesched.api.strategy import Strategy, fill

STRATEGIES: dict[str, Strategy] = {
    "priorityclasses": Strategy(
        default=lambda obj: fill(obj, "preemptionPolicy", "PreemptLowerPriority"),
        has_generation=True,
        generation_of=(),
        columns=(
            columns.name(),
            columns.number("Value", "value"),
            columns.boolean("Global-Default", "globalDefault"),
            columns.age(),
            columns.text("PreemptionPolicy", "preemptionPolicy"),
        ),
    ),
}
"""By plural."""

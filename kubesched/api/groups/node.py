# SPDX-License-Identifier: Apache-2.0
"""Runtime classes. Source: pkg/registry/node, v1.36."""

from __future__ import annotations

from kubesched.api import columns
from kubesched.api.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    "runtimeclasses": Strategy(
        create_on_update=True,
        unconditional_update=False,
        columns=(columns.name(), columns.text("Handler", "handler"), columns.age()),
    ),
}
"""By plural."""

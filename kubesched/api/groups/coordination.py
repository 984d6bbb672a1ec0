# SPDX-License-Identifier: Apache-2.0
"""Leases. Source: pkg/registry/coordination, v1.36."""

from __future__ import annotations

from kubesched.api import columns
from kubesched.api.strategy import Strategy

STRATEGIES: dict[str, Strategy] = {
    "leases": Strategy(
        create_on_update=True,
        unconditional_update=False,
        columns=(columns.name(), columns.text("Holder", "spec", "holderIdentity"), columns.age()),
    ),
}
"""By plural."""

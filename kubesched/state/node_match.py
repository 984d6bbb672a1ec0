# SPDX-License-Identifier: Apache-2.0
"""Which rows a node selector admits, by labels and by name: for slices and allocations that choose nodes.

Source: component-helpers/scheduling/corev1/nodeaffinity, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from kubesched.state.row_labels import Bool, RowLabels, is_readable
from kubesched.state.rows import Requirement, Term


def admitted(labels: RowLabels, row_of: Callable[[str], int | None], terms: Sequence[Term]) -> Bool:
    """``[n_rows]``: rows that match one of the terms; a term that is empty or cannot be read matches nothing."""
    out = np.zeros(labels.n_rows, dtype=np.bool_)
    for term in terms:
        if term.requirements and all(map(is_readable, term.requirements)):
            found = labels.all_hold(term.requirements, None)
            for requirement in term.requirements:
                if requirement.is_field:
                    found &= _named(labels.n_rows, row_of, requirement)
            out |= found
    return out


def _named(n: int, row_of: Callable[[str], int | None], q: Requirement) -> Bool:
    out = np.zeros(n, dtype=np.bool_)
    out[[row for row in map(row_of, q.values) if row is not None]] = True
    return out if q.operator == "In" else ~out

# SPDX-License-Identifier: Apache-2.0
"""A recorded case of any kind: decided and compared, or skipped with the feature that it needs."""

from __future__ import annotations

from kubesched.base import errors
from kubesched.parity import decisions, sequences
from kubesched.parity.cases import Case
from kubesched.parity.outcome import Outcome


def replay(case: Case) -> Outcome:
    """Decide a case and compare."""
    try:
        if "ops" in case:
            return Outcome(tuple(sequences.replay_operations(case)))
        if "sequence" in case:
            return Outcome(tuple(sequences.replay_sequence(case)))
        return Outcome(tuple(decisions.replay_decision(case)))
    except errors.UnsupportedError as error:
        return Outcome(skipped=error.where)

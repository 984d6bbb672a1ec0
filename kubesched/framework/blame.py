# SPDX-License-Identifier: Apache-2.0
"""Which plugins turned a pod down: what the scheduling queue asks of a failure.

Source: schedule_one.go findNodesThatFitPod, framework/types.go Diagnosis, v1.36.
"""

from __future__ import annotations

import numpy as np

from kubesched.framework import diagnosis
from kubesched.kernel import native
from kubesched.state import live, rows
from kubesched.state.stateful import Rejection

Plugins = frozenset[str]
NOBODY: Plugins = frozenset()


def blame(
    state: live.ClusterState, profile: int, class_id: int, shape: rows.PodShape, rejection: Rejection | None = None
) -> Plugins:
    """Plugins that turned some node down, or the whole pod; none: an error, or there is no node.

    Parameters
    ----------
    profile, class_id
        Of the engine.
    rejection
        What ``state.prepare`` said before.
    """
    if state.n_choosable == 0 or (rejection is not None and rejection.is_error):
        return NOBODY
    names = diagnosis.named_nodes(shape)
    if rejection is None and names is None:
        counts = state.engine.summarize(profile, class_id)
        failing = np.flatnonzero(counts.rejected.any(axis=1)).tolist()
        return frozenset(native.FILTER_NAMES[number] for number in failing)
    found = diagnosis.diagnose(state, shape, state.engine.explain(profile, class_id, 0), rejection)
    plugins = set() if names is None else {"NodeAffinity"}  # it cut nodes off in PreFilter
    if found.pre_filter.status is not None:
        return frozenset(plugins | {found.pre_filter.status.plugin})
    plugins.update(found.statuses[i].plugin for i in np.unique(found.status_of[found.status_of >= 0]).tolist())
    return frozenset(plugins - {diagnosis.PREFILTER_RESULT})

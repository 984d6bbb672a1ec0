# SPDX-License-Identifier: Apache-2.0
"""One pod against one node without an engine, against the oracle."""

from __future__ import annotations

import numpy as np
import pytest

from kubesched.scheduler import encode
from kubesched.state import one_node
from tests import oracle, strategies


@pytest.mark.parametrize("seed", range(20))
def test_one_pod_against_one_node_equals_the_oracle(seed: int) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    case = strategies.case(rng, 12, 6, 24)
    shapes = [encode.pod_row(pod).shape for pod in case["sequence"]]
    for obj in case["nodes"]:
        row, node = encode.node_row(obj), oracle.Node(obj)
        for pod, shape in zip(case["sequence"], shapes, strict=True):
            ask = oracle.Ask(pod)
            assert one_node.affinity_matches(shape, row) == oracle.affinity_matches(ask, node)
            assert one_node.is_untolerated(shape, row) == (oracle.taints(ask, node) is not None)
            assert one_node.fits_empty(shape, row) == (oracle.fit(ask, node) is None)
            closed = node.unschedulable and oracle.unschedulable(ask, node) is None
            assert not closed or one_node.tolerates_unschedulable(shape)
    for pod, shape in zip(case["sequence"], shapes, strict=True):
        for other, theirs in zip(case["sequence"], shapes, strict=True):
            pairs = [(a, b) for a in oracle.host_ports(pod) for b in oracle.host_ports(other)]
            assert one_node.ports_clash(shape, theirs) == any(oracle.clash(a, b) for a, b in pairs)

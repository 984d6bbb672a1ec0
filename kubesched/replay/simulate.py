# SPDX-License-Identifier: Apache-2.0
"""The discrete-event loop: columns of events in, columns of decisions out; no Python per event.

Time only orders events: at one instant departures come before arrivals, and both keep the order of the trace. All
randomness comes from the seed, so the same workload, profile and seed give the same bytes.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from kubesched.framework import profile as profiles
from kubesched.kernel import native
from kubesched.kernel.arrays import F64, I32, I64
from kubesched.replay import workload
from kubesched.replay.workload import NEVER, Workload
from kubesched.state import live

CHUNK = 65_536
"""Events of one engine call; between calls progress is told. Part of the result's definition only in the last digits
of the fragmentation series, which is summed anew in each call."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run. P arrivals (repeated draws count anew), E events.

    Parameters
    ----------
    pods
        The arrivals as pods of their own, in the order of arrival.
    decisions
        One entry an arrival.
    event
        ``[E]``: ``p + 1`` pod p arrived, ``-(p + 1)`` it left.
    used_milli, fragmented_milli
        ``[E]``: devices used, and fragmented, after the event, in thousandths.
    seconds
        Wall time of the engine alone; not part of the result.
    """

    policy: str
    seed: int
    pods: workload.PodTable
    source: I32
    decisions: native.Decisions
    event: I32
    used_milli: I64
    fragmented_milli: F64
    device_free: I32
    n_dense: int
    n_indexed: int
    seconds: float

    @property
    def n_unplaced(self) -> int:
        return int(np.count_nonzero(self.decisions.node < 0))


def build_state(nodes: workload.NodeTable) -> live.ClusterState:
    """A cluster with the workload's nodes, empty."""
    state = live.ClusterState()
    state.add_node_columns(
        nodes.names,
        nodes.allocatable,
        device_count=nodes.device_count,
        device_model=nodes.device_model,
    )
    return state


def with_devices(profile: profiles.Profile, nodes: workload.NodeTable) -> profiles.Profile:
    """On nodes with devices every profile must respect them."""
    if nodes.device_milli == 0 or "GpuShare" in profile.filters:
        return profile
    return dataclasses.replace(profile, filters=(*profile.filters, "GpuShare"))


def set_typical(state: live.ClusterState, typical: workload.TypicalPods) -> None:
    """Tell the engine what fragmentation is measured against."""
    models = np.array([state.names.model_mask(m) for m in typical.models], dtype=np.uint64)
    state.engine.set_fragmentation(typical.cpu_milli, typical.count, typical.milli, models, typical.frequency)


def make_events(pods: workload.PodTable) -> I32:
    """Events in the order of time. O(P log P)."""
    n = len(pods)
    leaving = np.flatnonzero(pods.departure_s != NEVER)
    code = np.concatenate([-(leaving + 1), np.arange(1, n + 1)]).astype(np.int32)
    when = np.concatenate([pods.departure_s[leaving], pods.arrival_s])
    events: I32 = code[np.argsort(when, kind="stable")]  # departures stand first: they win ties
    return _own_departures_last(events, pods)


def _own_departures_last(events: I32, pods: workload.PodTable) -> I32:
    """A pod that leaves in the second in which it came must come first: such departures move behind the second."""
    instant = pods.departure_s == pods.arrival_s
    if not instant.any():
        return events
    pod = np.abs(events) - 1
    when = np.where(events > 0, pods.arrival_s[pod], pods.departure_s[pod])
    late = (events < 0) & instant[pod]
    moved: I32 = events[np.lexsort((np.arange(len(events)), late, when))]
    return moved


def select(pods: workload.PodTable, order: I32) -> workload.PodTable:
    """The arrivals as pods of their own."""
    return workload.PodTable(pods.shapes, pods.shape[order], pods.arrival_s[order], pods.departure_s[order])


def run(
    work: Workload,
    profile: profiles.Profile,
    seed: int,
    *,
    driver: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Play a workload under a profile.

    Parameters
    ----------
    work
        Nodes, pods and the order of arrival.
    profile
        What decides; on nodes with devices the GpuShare filter is added.
    seed
        Of tie-breaks and device choices where the profile draws them.
    driver
        ``auto``, ``dense`` or ``indexed``: the same answer at another speed.
    progress
        Called with events done and events in all.
    """
    profile = with_devices(profile, work.nodes)
    state = build_state(work.nodes)
    pods = select(work.pods, work.order)
    class_ids = state.class_ids(pods.shapes)
    pod_class = class_ids[pods.shape]
    if work.typical is not None:
        set_typical(state, work.typical)
    options = native.Options(
        profiles.register(state, profile),
        driver=native.DRIVERS[driver],
        tie=native.TIE_UNIFORM if profile.tie == "uniform" else native.TIE_LOWEST,
        rng=seed,
    )
    event = make_events(pods)
    decisions = native.Decisions.empty(len(pods))
    used, fragmented = np.zeros(len(event), dtype=np.int64), np.zeros(len(event), dtype=np.float64)
    with_series = work.nodes.device_milli > 0
    seconds = 0.0
    for start in range(0, len(event), CHUNK):
        end = min(start + CHUNK, len(event))
        began = time.perf_counter()
        _, series = state.engine.run(options, event[start:end], pod_class, decisions, with_series)
        seconds += time.perf_counter() - began
        if series is not None:
            used[start:end], fragmented[start:end] = (
                series.used_device_milli,
                series.fragmented_milli,
            )
        if progress is not None:
            progress(end, len(event))
    return Run(
        policy=profile.name,
        seed=seed,
        pods=pods,
        source=work.order,
        decisions=decisions,
        event=event,
        used_milli=used,
        fragmented_milli=fragmented,
        device_free=state.engine.columns().device_free.copy(),
        n_dense=options.n_dense,
        n_indexed=options.n_indexed,
        seconds=seconds,
    )

# SPDX-License-Identifier: Apache-2.0
"""What a table of pods says. Source: printPod in pkg/printers/internalversion/printers.go, v1.36."""

from __future__ import annotations

import datetime
from typing import Any

from kubesched.api import columns
from kubesched.api.columns import at
from kubesched.api.strategy import Column, Object

_ENDED = ("Succeeded", "Failed")


class _Summary:
    """Counts and the one word for a pod, from its containers' states."""

    def __init__(self, pod: Object) -> None:
        spec, state = pod.get("spec") or {}, pod.get("status") or {}
        self.pod, self.spec, self.state = pod, spec, state
        self.total = len(spec.get("containers") or ())
        self.ready = self.restarts = 0
        self.restarted = ""  # when one last did
        self.reason: str = state.get("reason") or state.get("phase") or ""
        if any(_is(condition, "PodScheduled", reason="SchedulingGated") for condition in self._conditions()):
            self.reason = "SchedulingGated"
        self._read()

    def _conditions(self) -> list[Any]:
        return self.state.get("conditions") or []

    def _read(self) -> None:
        sidecars = {
            item["name"] for item in self.spec.get("initContainers") or () if item.get("restartPolicy") == "Always"
        }
        self.total += len(sidecars)
        initializing = self._read_initial(sidecars)
        if not initializing or any(_is(condition, "Initialized", state="True") for condition in self._conditions()):
            self._read_ordinary(sidecars)
        if self.pod["metadata"].get("deletionTimestamp"):
            if self.state.get("reason") == "NodeLost":
                self.reason = "Unknown"
            elif self.state.get("phase") not in _ENDED:
                self.reason = "Terminating"

    def _count(self, container: Object) -> None:
        self.restarts += container.get("restartCount") or 0
        ended = at(container, "lastState", "terminated", "finishedAt") or ""
        self.restarted = max(self.restarted, ended)

    def _read_initial(self, sidecars: set[str]) -> bool:
        """Whether the pod is still being initialized."""
        for i, container in enumerate(self.state.get("initContainerStatuses") or ()):
            self._count(container)
            state = container.get("state") or {}
            terminated, waiting = state.get("terminated"), at(state, "waiting", "reason")
            if terminated is not None and not terminated.get("exitCode"):
                continue
            if container.get("name") in sidecars and container.get("started"):
                self.ready += bool(container.get("ready"))
                continue
            if terminated is not None:
                self.reason = "Init:" + _ended(terminated)
            elif waiting and waiting != "PodInitializing":
                self.reason = f"Init:{waiting}"
            else:
                self.reason = f"Init:{i}/{len(self.spec.get('initContainers') or ())}"
            return True
        return False

    def _read_ordinary(self, sidecars: set[str]) -> None:
        self.restarts, self.restarted = 0, ""
        for container in self.state.get("initContainerStatuses") or ():
            if container.get("name") in sidecars:
                self._count(container)
        running, failed = False, ""
        for container in reversed(self.state.get("containerStatuses") or ()):
            self._count(container)
            state = container.get("state") or {}
            terminated = state.get("terminated")
            if waiting := at(state, "waiting", "reason"):
                self.reason = waiting
            elif terminated is not None:
                self.reason = _ended(terminated)
                if terminated.get("exitCode"):
                    failed = self.reason
            elif container.get("ready") and state.get("running") is not None:
                running = True
                self.ready += 1
        if self.reason == "Completed":
            is_ready = any(_is(condition, "Ready", state="True") for condition in self._conditions())
            if running and is_ready:
                self.reason = "Running"
            elif failed:
                self.reason = failed
            elif running:
                self.reason = "NotReady"


def _is(condition: Object, kind: str, *, state: str = "", reason: str = "") -> bool:
    if condition.get("type") != kind or (reason and condition.get("reason") != reason):
        return False
    return not state or condition.get("status") == state


def _ended(terminated: Object) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"


def _ready(pod: Object) -> str:
    summary = _Summary(pod)
    return f"{summary.ready}/{summary.total}"


def _restarts(pod: Object, now: datetime.datetime) -> str:
    summary = _Summary(pod)
    if summary.restarts and summary.restarted:
        return f"{summary.restarts} ({columns.since(summary.restarted, now)} ago)"
    return str(summary.restarts)


def _address(pod: Object) -> str:
    addresses = at(pod, "status", "podIPs") or [{}]
    return addresses[0].get("ip") or "<none>"


def _gates(pod: Object) -> str:
    gates = at(pod, "spec", "readinessGates") or ()
    if not gates:
        return "<none>"
    conditions = at(pod, "status", "conditions") or ()
    wanted = [gate.get("conditionType") for gate in gates]
    met = sum(any(_is(condition, kind, state="True") for condition in conditions) for kind in wanted)
    return f"{met}/{len(wanted)}"


COLUMNS = (
    columns.name(),
    columns.made("Ready", _ready, description="The aggregate readiness state of this pod for accepting traffic."),
    columns.made(
        "Status",
        lambda pod: _Summary(pod).reason,
        description="The aggregate status of the containers in this pod.",
    ),
    Column(
        "Restarts",
        description="The number of times the containers in this pod have been restarted and when the last container "
        "in this pod has restarted.",
        value=_restarts,
    ),
    columns.age(),
    columns.made("IP", _address, wide=True),
    columns.text("Node", "spec", "nodeName", empty="<none>", wide=True),
    columns.text("Nominated Node", "status", "nominatedNodeName", empty="<none>", wide=True),
    columns.made("Readiness Gates", _gates, wide=True),
)

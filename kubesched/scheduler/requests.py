# SPDX-License-Identifier: Apache-2.0
"""What a pod asks for, by kube-scheduler's rules.

Containers add up; init containers run one after another, each beside the sidecars (restartable init containers)
started before it; the pod needs the larger of the two. Pod-level requests replace the sum per resource, overhead
comes on top. A running pod in the middle of a resize counts the largest of what was asked, granted and applied.
Source: component-helpers/resource/helpers.go, pkg/scheduler/framework/types.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kubesched.api import quantity
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.state import rows

Amounts = dict[str, int]
"""Resource to billionths."""

DEFAULT_CPU = 100 * 10**6  # 100m, upstream's DefaultMilliCPURequest
DEFAULT_MEMORY = 200 * 1024 * 1024 * quantity.NANO  # 200 MiB, upstream's DefaultMemoryRequest
_NONZERO = {rows.CPU: DEFAULT_CPU, rows.MEMORY: DEFAULT_MEMORY}


def read_amounts(view: View, name: str) -> Amounts:
    """Read a resource list; negative amounts are refused."""
    amounts: Amounts = {}
    source: dict[Any, Any] = view.view(name).data
    for resource, value in source.items():
        where = f"{view.where(name)}.{resource}"
        if not isinstance(resource, str) or not _is_known(resource):
            raise errors.InputError(where, "is not a resource", resource, _KNOWN_TEXT)
        amount = quantity.read_nano(value, where)
        if amount < 0:
            raise errors.InputError(where, "is negative", value, "0 or more")
        if amount > rows.MAX_QUANTITY * quantity.NANO:
            raise errors.InputError(where, "is absurdly large", value, f"at most {rows.MAX_QUANTITY}")
        amounts[resource] = amount
    return amounts


def _add(total: Amounts, more: Amounts) -> None:
    for resource, amount in more.items():
        total[resource] = total.get(resource, 0) + amount


def _raise_to(total: Amounts, other: Amounts) -> None:
    for resource, amount in other.items():
        total[resource] = max(total.get(resource, 0), amount)


def _resize_is_infeasible(status: View) -> bool:
    for condition in status.views("conditions"):
        if condition.text("type") == "PodResizePending":
            return condition.text("reason") == "Infeasible"
    return False


def _statuses(status: View) -> dict[str, View]:
    found = list(status.views("containerStatuses")) + list(status.views("initContainerStatuses"))
    return {view.text("name"): view for view in found}


class PodRequests:
    """Reads a pod once and adds it up in the variants that plugins need.

    Parameters
    ----------
    pod
        The object.
    """

    def __init__(self, pod: View) -> None:
        spec = pod.view("spec")
        status = pod.view("status") if pod.has("status") else None
        statuses = _statuses(status) if status is not None else {}
        infeasible = status is not None and _resize_is_infeasible(status)
        self._containers = [
            _effective(_requests(view), statuses.get(view.text("name")), infeasible)
            for view in spec.views("containers")
        ]
        self._init: list[tuple[Amounts, bool]] = []
        for view in spec.views("initContainers"):
            sidecar = view.text("restartPolicy") == "Always"
            reported = statuses.get(view.text("name")) if sidecar else None
            self._init.append((_effective(_requests(view), reported, infeasible), sidecar))
        self._overhead = read_amounts(spec, "overhead")
        asked = {r: amount for r, amount in _requests(spec).items() if _is_pod_level(r)}
        level = _effective(asked, status, infeasible)
        self._level = {r: level.get(r, 0) for r in asked}

    def total(self, *, pod_level: bool = True, defaults: Iterable[str] = ()) -> Amounts:
        """Sum of the pod.

        Parameters
        ----------
        pod_level
            Whether pod-level requests replace the containers' sum.
        defaults
            Resources for which a container without a request counts upstream's non-zero default.
        """
        fill = {name: _NONZERO[name] for name in defaults}
        total: Amounts = {}
        for container in self._containers:
            _add(total, fill | container)
        sidecars: Amounts = {}
        peak: Amounts = {}
        for container, is_sidecar in self._init:
            now = dict(fill | container)
            if is_sidecar:
                _add(total, now)
                _add(sidecars, now)
                now = dict(sidecars)
            else:
                _add(now, sidecars)
            _raise_to(peak, now)
        _raise_to(total, peak)
        if pod_level:
            total.update(self._level)
        _add(total, self._overhead)
        return total

    def nonzero(self) -> tuple[int, int]:
        """What a node's non-zero usage grows by: thousandths of a core, bytes.

        With pod-level requests the default only fills a resource that the whole pod leaves out.
        """
        missing = list(_NONZERO)
        if self._level:
            real = self.total()
            missing = [r for r in _NONZERO if r not in real]
        total = self.total(defaults=missing)
        return quantity.milli(total.get(rows.CPU, 0)), quantity.whole(total.get(rows.MEMORY, 0))


def _requests(spec: View) -> Amounts:
    """What a container, or the pod as a whole, asks for."""
    return read_amounts(spec.view("resources"), "requests")


def _effective(asked: Amounts, status: View | None, infeasible: bool) -> Amounts:
    """What was asked for, or what the status says during a resize."""
    if status is None or not status.has("resources"):
        return asked
    result: Amounts = {} if infeasible else dict(asked)
    _raise_to(result, _requests(status))
    _raise_to(result, read_amounts(status, "allocatedResources"))
    return result


_KNOWN_TEXT = "cpu, memory, ephemeral-storage, pods, hugepages-<size> or a name with a domain, such as nvidia.com/gpu"


def _is_known(resource: str) -> bool:
    """Whether the API server would accept the name; a misspelt one must not count as nothing."""
    return is_counted(resource) or resource in (rows.PODS, "storage")


def _is_pod_level(resource: str) -> bool:
    return resource in (rows.CPU, rows.MEMORY) or resource.startswith("hugepages-")


def is_counted(resource: str) -> bool:
    """Whether placement counts a resource: the core ones, and scalar resources.

    Source: schedutil.IsScalarResourceName, v1.36: extended (with a slash), huge pages, attachable volumes.
    """
    return (
        resource in (rows.CPU, rows.MEMORY, rows.EPHEMERAL_STORAGE)
        or "/" in resource
        or resource.startswith(("hugepages-", "attachable-volumes-"))
    )


def canonical(amounts: Amounts) -> tuple[tuple[str, int], ...]:
    """Amounts in canonical units, sorted, zeros and uncounted resources left out."""
    out = []
    for resource, nano in sorted(amounts.items()):
        amount = quantity.milli(nano) if resource == rows.CPU else quantity.whole(nano)
        if amount > 0 and is_counted(resource):
            out.append((resource, amount))
    return tuple(out)

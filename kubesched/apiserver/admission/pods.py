# SPDX-License-Identifier: Apache-2.0
"""Pods: how long they stay on a node that fails, and how much they matter.

Source: plugin/pkg/admission/{defaulttolerationseconds,priority}, v1.36.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from kubesched.api import shared, status
from kubesched.api.strategy import Object
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.resource import Resource

_OUTAGES = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_OUTAGE_S = 300  # upstream's default for both


class DefaultTolerationSeconds:
    """Pods stay five minutes on a node that is not ready or cannot be reached, unless they say how long themselves."""

    resource = ("", "pods")

    async def admit(self, attributes: Attributes) -> None:
        pod = attributes.new
        if pod is not None and not attributes.endpoint.subresource:
            pod["spec"] = shared.change(pod.get("spec", {}), _tolerate)


def _tolerate(spec: Object) -> None:
    own = spec.get("tolerations") or []
    told = {one.get("key", "") for one in own if one.get("effect", "") in ("", "NoExecute")}
    added = [
        {"key": taint, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _OUTAGE_S}
        for taint in _OUTAGES
        if told.isdisjoint((taint, ""))
    ]
    if added:
        spec["tolerations"] = [*own, *added]


_LOWER = "PreemptLowerPriority"
_OF_PRIORITY = ("priority", "preemptionPolicy")


class Priority:
    """A new pod gets the numbers of its priority class, of the default one, or zero; they stay when it is updated."""

    resource = ("", "pods")

    def __init__(self, classes: Resource) -> None:
        self._classes = classes
        self._default = DefaultPriority(classes)

    async def admit(self, attributes: Attributes) -> None:
        pod, old = attributes.new, attributes.old
        if pod is None or attributes.endpoint.subresource:
            return
        if old is not None:
            kept = {name: old["spec"][name] for name in _OF_PRIORITY if name in old.get("spec", {})}
            pod["spec"] = {**kept, **pod["spec"]} if kept.keys() - pod["spec"].keys() else pod["spec"]
            return
        spec = pod.setdefault("spec", {})
        name, value, policy = await self._resolve(attributes, spec.get("priorityClassName", ""))
        given, given_policy = spec.get("priority", value), spec.get("preemptionPolicy", policy)
        if given != value:
            why = f"the integer value of priority ({given}) must not be provided in pod spec; "
            raise attributes.refusal(f"{why}priority admission controller computed {value} {_FROM_NAME}")
        if policy and given_policy != policy:
            why = f"the string value of PreemptionPolicy ({given_policy}) must not be provided in pod spec; "
            raise attributes.refusal(f"{why}priority admission controller computed {policy} {_FROM_NAME}")
        pod["spec"] = shared.change(spec, _with_priority(name, value, policy))

    async def _resolve(self, attributes: Attributes, name: str) -> tuple[str, int, str]:
        """The class of a pod, its value and its policy ("" where the class has none)."""
        if name:
            try:
                found = self._classes.decode(await self._classes.get("", name))
            except status.StatusError:
                raise attributes.refusal(f"no PriorityClass with name {name} was found") from None
        else:
            default = await self._default.find()
            if default is None:
                return "", 0, _LOWER
            found = default
        return found["metadata"]["name"], found.get("value", 0), found.get("preemptionPolicy", "")


_FROM_NAME = "from the given PriorityClass name"


class DefaultPriority:
    """The class of pods that name none; where several are, the lowest. Found again only when one has changed."""

    def __init__(self, classes: Resource) -> None:
        self._classes = classes
        self._revisions: list[int] = []
        self._found: Object | None = None

    async def find(self) -> Object | None:
        listing = await self._classes.store.list(self._classes.kind.prefix)
        revisions = [entry.revision for entry in listing.entries]
        if revisions != self._revisions:
            classes = map(self._classes.decode, listing.entries)
            self._found = min((one for one in classes if one.get("globalDefault")), key=_value, default=None)
            self._revisions = revisions
        return self._found


def _value(found: Object) -> int:
    value: int = found.get("value", 0)
    return value


@functools.lru_cache(256)
def _with_priority(name: str, value: int, policy: str) -> Callable[[Object], None]:
    def write(spec: Object) -> None:
        if name:
            spec["priorityClassName"] = name
        spec["priority"] = value
        if policy:
            spec["preemptionPolicy"] = policy

    return write


class OneDefaultPriority:
    """Of the priority classes one at most is that of pods that name none."""

    resource = ("scheduling.k8s.io", "priorityclasses")

    def __init__(self, classes: Resource) -> None:
        self._default = DefaultPriority(classes)

    async def validate(self, attributes: Attributes) -> None:
        new = attributes.new
        if new is None or not new.get("globalDefault"):
            return
        default = await self._default.find()
        if default is None:
            return
        name = default["metadata"]["name"]
        if attributes.old is None or name != new["metadata"].get("name"):
            raise attributes.refusal(f"PriorityClass {name} is already marked as default. Only one default can exist")

# SPDX-License-Identifier: Apache-2.0
"""What a profile's arguments make of a pod before the engine sees it.

kube-scheduler's plugins take some arguments that speak of pods: affinity that every pod gets, default spreading,
resources that need not fit. Here they become part of the pod's shape: a class is then decided exactly as any other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from kubesched.base import errors
from kubesched.state import rows

_OF_VOLUMES = ("VolumeRestrictions", "NodeVolumeLimits", "VolumeBinding", "VolumeZone")


@dataclass(frozen=True, slots=True)
class Adapts:
    """Arguments that change pods; the default changes nothing.

    Parameters
    ----------
    required_terms
        NodeAffinity's addedAffinity: nodes must match a term; None: no such rule.
    preferred_terms
        Its preferred terms, beside the pod's own.
    ignored_resources, ignored_groups
        Extended resources, by name or by what stands before the slash, that NodeResourcesFit's filter leaves out.
    default_spread
        Constraints of pods that a Service or controller selects and that have none of their own; their selectors are
        still open. None: those of the system.
    without
        Plugins beyond filters that the profile leaves out: pods that they concern are refused.
    """

    required_terms: tuple[rows.Term, ...] | None = None
    preferred_terms: tuple[rows.Term, ...] = ()
    ignored_resources: tuple[str, ...] = ()
    ignored_groups: tuple[str, ...] = ()
    default_spread: tuple[rows.SpreadConstraint, ...] | None = None
    without: tuple[str, ...] = ()

    @property
    def changes_pods(self) -> bool:
        """Whether any pod may become another one, or be refused."""
        return self != _NOTHING

    def pod(self, pod: rows.PodRow) -> rows.PodRow:
        """The pod as the profile decides it.

        Raises
        ------
        UnsupportedError
            A plugin that is left out would have a say.
        """
        if not self.changes_pods:
            return pod
        self._refuse(pod)
        return replace(pod, shape=self.shape(pod.shape))

    def shape(self, shape: rows.PodShape) -> rows.PodShape:
        """The shape as the profile decides it."""
        if self.default_spread is not None and shape.spread_is_default:
            selector = shape.spread[0].selector  # all default constraints of a pod share it
            spread = tuple(replace(constraint, selector=selector) for constraint in self.default_spread)
            # Listed constraints are scored as the pod's own are: only nodes with every key.
            shape = replace(shape, spread=spread, spread_is_default=False)
        return replace(
            shape,
            enforced_terms=self.required_terms,
            preferred_terms=shape.preferred_terms + self.preferred_terms,
            unchecked=tuple(name for name, amount in shape.requests if amount and self._is_ignored(name)),
        )

    def _is_ignored(self, resource: str) -> bool:
        group = resource.partition("/")[0]
        named = resource in self.ignored_resources or group in self.ignored_groups
        return named and rows.is_extended(resource)

    def _refuse(self, pod: rows.PodRow) -> None:
        asks = [name for name in self.without if name in _OF_VOLUMES] if pod.volumes is not None else []
        if pod.shape.required_terms is not None:
            asks += [name for name in self.without if name == "NodeAffinity"]
        if pod.scheduling_gates:
            asks += [name for name in self.without if name == "SchedulingGates"]
        if pod.devices is not None and (pod.devices.claims or pod.devices.containers):
            asks += [name for name in self.without if name == "DynamicResources"]
        if asks:
            what = f"is a pod for {asks[0]}; to decide it with that plugin disabled is not implemented"
            raise errors.UnsupportedError(f"Pod {pod.key}", what)


_NOTHING = Adapts()

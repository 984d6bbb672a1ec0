# SPDX-License-Identifier: Apache-2.0
"""The volumes of a pod that placement looks at, as plain immutable rows; `storage_rows` has what they refer to."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClaimUse:
    """A volume of a pod that stands for a claim in the pod's namespace."""

    name: str
    is_ephemeral: bool = False
    """Made for this pod alone: the claim must be owned by the pod."""


@dataclass(frozen=True, slots=True)
class Disk:
    """A disk that a pod names itself: two pods cannot have it on one node unless both only read it."""

    token: tuple[str, ...]
    """Kind and identity; equal tokens are the same disk."""
    exclusive: bool
    """False: it is only read."""


@dataclass(frozen=True, slots=True)
class Attachable:
    """A volume that takes one of a node's attachments for a CSI driver."""

    driver: str
    handle: str

    @property
    def name(self) -> str:
        """Equal names are one volume. Source: plugins/nodevolumelimits getVolumeUniqueName, v1.36."""
        return f"{self.driver}/{self.handle}"


@dataclass(frozen=True, slots=True)
class PodVolumes:
    """The volumes of a pod that placement looks at."""

    uid: str
    """Of the pod: what its ephemeral claims must be owned by."""
    claims: tuple[ClaimUse, ...] = ()
    """In the order of ``spec.volumes``."""
    disks: tuple[Disk, ...] = ()
    attached: tuple[Attachable, ...] = ()
    """Named in the pod itself."""

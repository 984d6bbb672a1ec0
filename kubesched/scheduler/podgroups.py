# SPDX-License-Identifier: Apache-2.0
"""PodGroups: which pods belong together, and how many of them must run.

Source: api/scheduling/v1alpha2 PodGroup, api/core/v1 PodSchedulingGroup, v1.36.
"""

from __future__ import annotations

from typing import Any

from kubesched.api import fields, labels
from kubesched.api.fields import View
from kubesched.base import errors
from kubesched.state import rows

_MOST_PODS = 2**31 - 1


def is_ours(obj: dict[str, Any]) -> bool:
    """Whether a PodGroup is Kubernetes' own: other schedulers have kinds of this name."""
    return str(obj.get("apiVersion", "")).partition("/")[0] == "scheduling.k8s.io"


def gang(obj: dict[str, Any]) -> rows.Gang:
    """Encode a PodGroup of scheduling.k8s.io.

    Raises
    ------
    InputError
        Not exactly one policy is set, ``minCount`` is not a positive number, or the topology is not one label key.
    UnsupportedError
        It asks for claims.
    """
    group = fields.of(obj, "PodGroup")
    metadata, spec = group.view("metadata"), group.view("spec")
    if spec.data.get("resourceClaims"):
        where = spec.where("resourceClaims")
        raise errors.UnsupportedError(where, "asks for claims of a group", spec.data["resourceClaims"], "nothing")
    policy = spec.view("schedulingPolicy")
    if policy.has("gang") == policy.has("basic"):
        raise errors.InputError(spec.where("schedulingPolicy"), "is not one policy", policy.data, "gang or basic")
    min_count = policy.view("gang").integer("minCount") if policy.has("gang") else 0
    if policy.has("gang") and not 1 <= min_count <= _MOST_PODS:
        raise errors.InputError(policy.view("gang").where("minCount"), "is out of range", min_count, "1 or more")
    topology_key = _topology_key(spec.view("schedulingConstraints"))
    return rows.Gang(metadata.text("namespace") or "default", metadata.text("name"), min_count, topology_key)


def _topology_key(constraints: View) -> str:
    """Label key of the topology constraint; empty: there is none. The API allows one."""
    found = list(constraints.views("topology"))
    if len(found) > 1:
        raise errors.InputError(constraints.where("topology"), "has too many items", len(found), "one at most")
    return labels.key(found[0], "key") if found else ""


def group_of(pod: View) -> str:
    """Name of the PodGroup that a pod belongs to; empty: none."""
    return pod.view("spec").view("schedulingGroup").text("podGroupName")

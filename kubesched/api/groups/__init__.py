# SPDX-License-Identifier: Apache-2.0
"""Strategies of the built-in kinds, a module for each API group: defaults, validation, columns, selectable fields.

`strategy(group, plural)` finds a kind's, `conversion` what a version does that is stored as another; groups are
imported when they are first asked for.
"""

from __future__ import annotations

import functools
import importlib

from kubesched.api.conversion import Conversion
from kubesched.api.strategy import GENERIC, Strategy

_MODULES: dict[str, str] = {
    "": "core",
    "admissionregistration.k8s.io": "admissionregistration",
    "apiextensions.k8s.io": "apiextensions",
    "apiregistration.k8s.io": "apiregistration",
    "apps": "apps",
    "autoscaling": "autoscaling",
    "batch": "batch",
    "certificates.k8s.io": "certificates",
    "coordination.k8s.io": "coordination",
    "discovery.k8s.io": "discovery",
    "events.k8s.io": "events",
    "flowcontrol.apiserver.k8s.io": "flowcontrol",
    "networking.k8s.io": "networking",
    "node.k8s.io": "node",
    "policy": "policy",
    "rbac.authorization.k8s.io": "rbac",
    "resource.k8s.io": "resource",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
}
"""API group → module here."""


@functools.cache
def strategy(group: str, plural: str) -> Strategy:
    """The strategy of a built-in kind; the generic one where nothing is particular."""
    module = _MODULES.get(group)
    if module is None:
        return GENERIC
    found: Strategy = importlib.import_module(f"kubesched.api.groups.{module}").STRATEGIES.get(plural, GENERIC)
    return found


@functools.cache
def conversion(group: str, version: str, plural: str) -> Conversion | None:
    """How a built-in kind's version is converted to the stored one; None if it is the stored one."""
    module = _MODULES.get(group)
    if module is None:
        return None
    found = getattr(importlib.import_module(f"kubesched.api.groups.{module}"), "CONVERSIONS", {})
    converted: Conversion | None = found.get((version, plural))
    return converted

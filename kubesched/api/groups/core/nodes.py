# SPDX-License-Identifier: Apache-2.0
"""What is wrong with Nodes. Source: pkg/apis/core/validation/validation.go, v1.36."""

from __future__ import annotations

import re
from collections.abc import Sequence

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.gotext import quote
from kubesched.api.groups.core import placing
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_TAINT = gotext.Struct({"Key": "", "Value": "", "Effect": "", "TimeAdded": None})
_ADDRESS = gotext.Struct({"Type": "", "Address": ""})
_FEATURE = "[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*"
_MAX_FEATURE = 253


def validate(obj: Object) -> list[FieldError]:
    """A new Node."""
    out: Errors = []
    spec = obj.get("spec") or {}
    _taints(spec.get("taints") or (), "metadata.taints", out)
    _state(obj, out)
    ranges = spec.get("podCIDRs") or []
    for i, text in enumerate(ranges):
        checks.by(checks.cidr_errors, text, f"spec.podCIDRs[{i}]", out)
    if len(ranges) > 2 or not checks.two_families(ranges):
        out.append(invalid_value("spec.podCIDRs", ranges, "may specify no more than one CIDR for each IP family"))
    return out


def validate_update(new: Object, old: Object) -> list[FieldError]:
    """A node's ranges and its machine are set once."""
    out: Errors = []
    _state(new, out)
    seen: list[Object] = []
    for i, address in enumerate((new.get("status") or {}).get("addresses") or ()):
        shown = _ADDRESS.show(address)
        if shown in seen:
            out.append(status.duplicate(f"status.addresses[{i}]", shown))
        seen.append(shown)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    ranges, was = after.get("podCIDRs") or [], before.get("podCIDRs") or []
    changed = 1 if len(ranges) != len(was) else sum(mine != its for mine, its in zip(ranges, was, strict=True))
    if was:
        why = 'node updates may not change podCIDR except from "" to valid'
        out.extend([status.forbidden_field("spec.podCIDRs", why)] * changed)
    if before.get("providerID") and after.get("providerID") != before["providerID"]:
        why = 'node updates may not change providerID except from "" to valid'
        out.append(status.forbidden_field("spec.providerID", why))
    _taints(after.get("taints") or (), "metadata.taints", out)
    if after.get("externalID") != before.get("externalID"):
        out.append(status.forbidden_field("spec.externalID", "may not be updated"))
    return out


def _state(obj: Object, out: Errors) -> None:
    state = obj.get("status") or {}
    for part in ("capacity", "allocatable"):
        for name, text in (state.get(part) or {}).items():
            checks.amount(name, text, f"status.{part}.{name}", out)
    features = state.get("declaredFeatures") or ()
    for i, name in enumerate(features):
        at = f"status.declaredFeatures[{i}]"
        if len(name) > _MAX_FEATURE:
            why = f"invalid feature name {quote(name)}: must be no more than {_MAX_FEATURE} characters"
            out.append(invalid_value(at, name, why))
        elif not re.fullmatch(_FEATURE, name):
            why = (
                f"invalid feature name {quote(name)}: must start with an UpperCamelCase segment, with subsequent "
                "segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric "
                "characters and slashes"
            )
            out.append(invalid_value(at, name, why))
        if i and features[i - 1] == name:
            out.append(status.duplicate(at, name))
        elif i and features[i - 1] > name:
            out.append(invalid_value(at, name, "list must be sorted alphabetically"))


def _taints(taints: Sequence[Object], at: str, out: Errors) -> None:
    """Taints; upstream says that they are metadata. No effect twice for one key."""
    seen: set[tuple[str, str]] = set()
    for i, taint in enumerate(taints):
        here = f"{at}[{i}]"
        key, value, effect = (taint.get(name) or "" for name in ("key", "value", "effect"))
        checks.by(names.qualified_name, key, f"{here}.key", out)
        if wrong := names.label_value(value):
            out.append(invalid_value(f"{here}.value", value, ";".join(wrong)))
        checks.choice(effect, f"{here}.effect", placing.EFFECTS, out)
        if (key, effect) in seen:
            found = status.duplicate(here, _TAINT.show(taint))
            out.append(found._replace(detail="taints must be unique by key and effect pair"))
        seen.add((key, effect))

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with ranges of service addresses, and with the addresses taken from them.

Source: pkg/apis/networking/validation/validation.go, v1.36.
"""

from __future__ import annotations

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_ONE_EACH = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
_CIDRS = "spec.cidrs"


def ranges(obj: Object) -> list[FieldError]:
    """A ServiceCIDR."""
    out: Errors = []
    found = (obj.get("spec") or {}).get("cidrs") or []
    if not found:
        out.append(status.required(_CIDRS, "at least one CIDR required"))
    elif len(found) > 2:
        out.append(invalid_value(_CIDRS, {"CIDRs": found}, "may only hold up to 2 values"))
    else:
        for i, text in enumerate(found):
            checks.by(checks.canonical_cidr_errors, text, f"{_CIDRS}[{i}]", out)
        families = [checks.cidr_family(text) for text in found]
        if len(found) == 2 and families[0] and families[0] == families[1]:
            out.append(invalid_value(_CIDRS, found, _ONE_EACH))
    return out


def ranges_update(new: Object, old: Object) -> list[FieldError]:
    """A second range may come, of the other family."""
    out: Errors = []
    now, before = ((obj.get("spec") or {}).get("cidrs") or [] for obj in (new, old))
    if len(now) == len(before) or (len(before), len(now)) == (1, 2):
        for i, text in enumerate(before):
            if now[i] != text:
                out.append(invalid_value(f"{_CIDRS}[{i}]", now[i], checks.IMMUTABLE))
        if len(now) > len(before):
            out += ranges(new)
    else:
        out.append(invalid_value(_CIDRS, now or None, checks.IMMUTABLE))
    return out


_PARENT = gotext.Struct({"Group": "", "Resource": "", "Namespace": "", "Name": ""})


def address(obj: Object) -> list[FieldError]:
    """An IPAddress."""
    out: Errors = []
    parent, at = (obj.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        out.append(status.required(at))
        return out
    if parent.get("group"):
        checks.by(names.subdomain, parent["group"], f"{at}.group", out)
    checks.named(names.path_segment, parent, "resource", at, out)
    checks.named(names.path_segment, parent, "name", at, out)
    checks.by(names.path_segment, parent.get("namespace") or "", f"{at}.namespace", out)
    return out


def address_update(new: Object, old: Object) -> list[FieldError]:
    out = address(new)
    now, before = ((obj.get("spec") or {}).get("parentRef") for obj in (new, old))
    if now != before:
        out.append(invalid_value("spec.parentRef", now and _PARENT.show(now), checks.IMMUTABLE))
    return out

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with what is asked of a volume: specifications of PersistentVolumeClaims and of templates for them.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Sequence

from kubesched.api import checks, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import invalid_value
from kubesched.api.strategy import Object

MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")


def check_spec(spec: Object, at: str, out: Errors) -> None:
    """A claim's specification."""
    modes = spec.get("accessModes") or ()
    if not modes:
        out.append(status.required(f"{at}.accessModes", "at least 1 access mode is required"))
    checks.selector(spec.get("selector"), f"{at}.selector", out)
    check_modes(modes, f"{at}.accessModes", out)
    _check_size(spec, f"{at}.resources[storage]", out)
    if spec.get("storageClassName"):
        checks.by(names.subdomain, spec["storageClassName"], f"{at}.storageClassName", out)
    checks.option(spec.get("volumeMode"), f"{at}.volumeMode", VOLUME_MODES, out)
    _check_sources(spec, at, out)
    if spec.get("volumeAttributesClassName"):
        checks.by(names.subdomain, spec["volumeAttributesClassName"], f"{at}.volumeAttributesClassName", out)


def check_modes(modes: Sequence[str], field: str, out: Errors) -> None:
    """How a volume may be mounted: one pod alone, or others."""
    for mode in modes:
        checks.option(mode, field, MODES, out)
    if "ReadWriteOncePod" in modes and any(mode in MODES[:3] for mode in modes):
        out.append(status.forbidden_field(field, "may not use ReadWriteOncePod with other access modes"))


def _check_size(spec: Object, at: str, out: Errors) -> None:
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if size is None:
        out.append(status.required(at))
    else:
        checks.positive_amount(size, at, out)


def _check_sources(spec: Object, at: str, out: Errors) -> None:
    """What the volume is to be filled from, in the old field and the new one."""
    old, new = spec.get("dataSource"), spec.get("dataSourceRef")
    for name, source in (("dataSource", old), ("dataSourceRef", new)):
        if source is not None:
            _check_source(source, f"{at}.{name}", out)
    if new is None or old is None:
        return
    shown: Object = {}  # upstream shows a path of fields, which writes itself as an empty object
    if new.get("namespace"):
        out.append(invalid_value(at, shown, "may not be specified when dataSourceRef.namespace is specified"))
    elif any(old.get(name) != new.get(name) for name in ("apiGroup", "kind", "name")):
        out.append(invalid_value(at, shown, "must match dataSourceRef"))


def _check_source(source: Object, at: str, out: Errors) -> None:
    checks.needed(source, ("name", "kind"), at, out)
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        out.append(invalid_value(at, kind, why))
    if group:
        checks.by(names.subdomain, group, f"{at}.apiGroup", out)
    if source.get("namespace"):
        checks.by(names.label, source["namespace"], f"{at}.namespace", out)

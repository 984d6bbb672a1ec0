# SPDX-License-Identifier: Apache-2.0
"""API services: which server has a group's version.

Source: kube-aggregator/pkg/apis/apiregistration, kube-aggregator/pkg/registry/apiservice, v1.36.
"""

from __future__ import annotations

import base64
import dataclasses

from kubesched.api import checks, columns, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import STATUS, Object, Strategy, fill

_MAX_GROUP = 20_000
_MAX_VERSION = 1_000
_STATES = ("True", "False", "Unknown")
_LOCAL = {"reason": "Local", "message": "Local APIServices are always available"}


def _default(obj: Object) -> None:
    service = at(obj, "spec", "service")
    if service is not None:
        fill(service, "port", 443)


def _prepare_create(obj: Object) -> None:
    """What this server has itself is there at once."""
    if at(obj, "spec", "service") is None:
        since = obj["metadata"].get("creationTimestamp")
        available = {"type": "Available", "status": "True", "lastTransitionTime": since, **_LOCAL}
        obj["status"] = {"conditions": [available]}


def _validate(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec, name = obj.get("spec") or {}, obj["metadata"].get("name") or ""
    group, version = spec.get("group") or "", spec.get("version") or ""
    if name and name != f"{version}.{group}":
        why = f'must be `spec.version+"."+spec.group`: {gotext.quote(f"{version}.{group}")}'
        out.append(invalid_value("metadata.name", name, why))
    if not group and version != "v1":
        why = "only v1 may have an empty group and it better be legacy kube"
        out.append(status.required("spec.group", why))
    if group:
        checks.by(names.subdomain, group, "spec.group", out)
    checks.by(names.dns_1035_label, version, "spec.version", out)
    for field, most in (("groupPriorityMinimum", _MAX_GROUP), ("versionPriority", _MAX_VERSION)):
        value = spec.get(field, 0)
        if not 0 < value <= most:
            out.append(invalid_value(f"spec.{field}", value, f"must be positive and less than {most}"))
    _service(spec, out)
    return out


def _service(spec: Object, out: Errors) -> None:
    service, bundle, blind = spec.get("service"), spec.get("caBundle"), spec.get("insecureSkipTLSVerify")
    if service is None:
        if bundle:
            shown = f"{len(base64.b64decode(bundle))} bytes"
            out.append(invalid_value("spec.caBundle", shown, "local APIServices may not have a caBundle"))
        if blind:
            why = "local APIServices may not have insecureSkipTLSVerify"
            out.append(invalid_value("spec.insecureSkipTLSVerify", True, why))
        return
    checks.needed(service, ("namespace", "name"), "spec.service", out)
    port = service.get("port", 0)
    if wrong := names.port_number(port):
        out.append(invalid_value("spec.service.port", port, f"port is not valid: {', '.join(wrong)}"))
    if blind and bundle:
        out.append(invalid_value("spec.insecureSkipTLSVerify", True, "may not be true if caBundle is present"))


def _validate_status(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    for i, condition in enumerate(at(new, "status", "conditions") or ()):
        state = condition.get("status") or ""
        if state not in _STATES:
            out.append(status.not_supported(f"status.conditions[{i}].status", state, _STATES))
    return out


def _shown_service(obj: Object) -> str:
    service = at(obj, "spec", "service")
    return "Local" if service is None else f"{service.get('namespace', '')}/{service.get('name', '')}"


def _available(obj: Object) -> str:
    found = at(obj, "status", "conditions") or ()
    condition = next((item for item in found if item.get("type") == "Available"), None)
    if condition is None:
        return "Unknown"
    state: str = condition.get("status") or ""
    reason = condition.get("reason")
    return f"{state} ({reason})" if reason and state != "True" else state


STRATEGIES: dict[str, Strategy] = {
    "apiservices": Strategy(
        default=_default,
        prepare_create=_prepare_create,
        validate=_validate,
        validate_update=lambda new, old: _validate(new),
        parts={"status": dataclasses.replace(STATUS, validate=_validate_status)},
        name_rule=names.path_segment,
        has_status=True,
        unconditional_update=False,
        columns=(
            columns.name(),
            columns.made("Service", _shown_service),
            columns.made("Available", _available),
            columns.age(),
        ),
    ),
}
"""By plural."""

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with CSI drivers, what they say of nodes and capacity, attachments, and classes of attributes.

Source: pkg/apis/storage/validation/validation.go, v1.36.
"""

from __future__ import annotations

from kubesched.api import checks, gotext, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import persistent, volumes
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLES = ("Persistent", "Ephemeral")
_MIN_PERIOD_S = 10
_MIN_TOKEN_S = 600
_MAX_TOKEN_S = 1 << 32
_MAX_NODE_ID = 256
_MAX_METADATA = 256 * 1024
_MAX_MESSAGE = 1024
_MAX_PARAMETERS = 512

# ---- drivers ----


def driver(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    checks.option(spec.get("fsGroupPolicy"), "spec.fsGroupPolicy", _GROUP_POLICIES, out)
    tokens = spec.get("tokenRequests") or []
    _tokens(tokens, "spec.tokenRequests", out)
    for mode in spec.get("volumeLifecycleModes") or ():
        checks.option(mode, "spec.volumeLifecycleModes", _LIFECYCLES, out)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _MIN_PERIOD_S:
        why = f"must be greater than or equal to {_MIN_PERIOD_S} seconds"
        out.append(invalid_value("spec.nodeAllocatableUpdatePeriodSeconds", period, why))
    in_secrets = spec.get("serviceAccountTokenInSecrets")
    if in_secrets is not None and not tokens:
        why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        out.append(invalid_value("spec.serviceAccountTokenInSecrets", in_secrets, why))
    return out


def _tokens(requests: list[Object], at: str, out: Errors) -> None:
    seen: set[str] = set()
    for i, request in enumerate(requests):
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in seen:
            out.append(status.duplicate(f"{at}[{i}].audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < _MIN_TOKEN_S:
            why = "may not specify a duration less than 10 minutes"
            out.append(invalid_value(f"{at}[{i}].expirationSeconds", seconds, why))
        if seconds is not None and seconds > _MAX_TOKEN_S:
            why = "may not specify a duration larger than 2^32 seconds"
            out.append(invalid_value(f"{at}[{i}].expirationSeconds", seconds, why))


def driver_update(new: Object, old: Object) -> list[FieldError]:
    """Upstream names the first field wrongly."""
    out = driver(new)
    for name, told in (("attachRequired", "attachedRequired"), ("volumeLifecycleModes", "volumeLifecycleModes")):
        checks.unlike(new["spec"].get(name), old["spec"].get(name), f"spec.{told}", out)
    return out


_NO_SECRETS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


def driver_warnings(obj: Object) -> list[str]:
    spec = obj.get("spec") or {}
    return [_NO_SECRETS] if spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None else []


# ---- what drivers say ----


def node(obj: Object) -> list[FieldError]:
    out: Errors = []
    seen: set[str] = set()
    for i, found in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        at, name, identity = f"spec.drivers[{i}]", found.get("name") or "", found.get("nodeID") or ""
        volumes.check_driver(name, f"{at}.name", out)
        if not identity:
            out.append(status.required(f"{at}.nodeID"))
        if len(identity.encode()) > _MAX_NODE_ID:
            out.append(invalid_value(f"{at}.nodeID", identity, f"must be {_MAX_NODE_ID} characters or less"))
        checks.not_negative(found.get("allocatable") or {}, f"{at}.allocatable", out, "count")
        if name in seen:
            out.append(status.duplicate(f"{at}.name", name))
        seen.add(name)
        _topology_keys(found.get("topologyKeys") or [], at, out)
    return out


def _topology_keys(keys: list[str], at: str, out: Errors) -> None:
    again = checks.repeated(keys)
    for i, key in enumerate(keys):
        if not key:
            out.append(status.required(at))
        if i in again:
            out.append(status.duplicate(at, key))
        checks.by(names.qualified_name, key, at, out)


_DRIVER = gotext.Struct({"Name": "", "NodeID": "", "TopologyKeys": None, "Allocatable": None})


def node_update(new: Object, old: Object) -> list[FieldError]:
    """What was said of a driver stays, but for how much it can take."""
    out = node(new)
    shown = [
        {found.get("name"): _DRIVER.show({**found, "allocatable": None}) for found in obj["spec"].get("drivers") or ()}
        for obj in (new, old)
    ]
    for name, before in shown[1].items():
        now = shown[0].get(name, before)
        checks.unlike(now, before, "spec.drivers", out)
    return out


def capacity(obj: Object) -> list[FieldError]:
    out: Errors = []
    checks.selector(obj.get("nodeTopology"), "nodeTopology", out)
    checks.by(names.subdomain, obj.get("storageClassName") or "", "storageClassName", out)
    amount = obj.get("capacity")
    if amount is not None and quantity.parse_nano(amount) < 0:
        out.append(invalid_value("capacity", amount, checks.NEGATIVE))
    return out


def capacity_update(new: Object, old: Object) -> list[FieldError]:
    out = capacity(new)
    for name in ("nodeTopology", "storageClassName"):
        checks.unlike(new.get(name), old.get(name), name, out)
    return out


# ---- attachments ----

_SOURCE = gotext.Struct({"PersistentVolumeName": None, "InlineVolumeSpec": None})
_ATTACHMENT = gotext.Struct({"Attacher": "", "Source": _SOURCE, "NodeName": ""})
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def attachment(obj: Object) -> list[FieldError]:
    out: Errors = []
    spec = obj.get("spec") or {}
    source = spec.get("source") or {}
    volumes.check_driver(spec.get("attacher") or "", "spec.attacher", out)
    named, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    if named is None and inline is None:
        out.append(status.required("spec.source", _ONE_SOURCE))
    elif named is not None and inline is not None:
        out.append(status.forbidden_field("spec.source", _ONE_SOURCE))
    elif named == "":
        why = "must specify non empty persistentVolumeName"
        out.append(status.required("spec.source.persistentVolumeName", why))
    elif inline is not None:
        persistent.inline_volume(inline, "spec.source.inlineVolumeSpec", out)
    checks.by(names.subdomain, spec.get("nodeName") or "", "spec.nodeName", out)
    _attachment_status(obj.get("status") or {}, out)
    if named is not None:
        checks.by(names.subdomain, named, "spec.source.persistentVolumeName", out)
    return out


def _attachment_status(found: Object, out: Errors) -> None:
    metadata = found.get("attachmentMetadata") or {}
    if sum(len(name.encode()) + len(value.encode()) for name, value in metadata.items()) > _MAX_METADATA:
        out.append(status.too_long("status.attachmentMetadata", _MAX_METADATA))
    for name in ("attachError", "detachError"):
        error = found.get(name) or {}
        if len((error.get("message") or "").encode()) > _MAX_MESSAGE:
            out.append(status.too_long(f"status.{name}.message", _MAX_METADATA))  # upstream tells the wrong limit
        if (error.get("errorCode") or 0) < 0:
            why = checks.within(0, checks.MAX_INT32)
            out.append(invalid_value(f"status.{name}.errorCode", error["errorCode"], why))


def attachment_update(new: Object, old: Object) -> list[FieldError]:
    out = attachment(new)
    if new.get("spec") != old.get("spec"):
        out.append(invalid_value("spec", _ATTACHMENT.show(new.get("spec") or {}), checks.IMMUTABLE))
    return out


# ---- classes ----


def provisioner(name: str, field: str, out: Errors) -> None:
    """Who makes volumes of a class."""
    if not name:
        out.append(status.required(field))
    else:
        checks.by(names.qualified_name, name.lower(), field, out)


def parameters(found: dict[str, str], out: Errors) -> None:
    """What the driver is told of volumes of a class."""
    if len(found) > _MAX_PARAMETERS:
        out.append(status.too_long("parameters", _MAX_PARAMETERS))
        return
    if "" in found:
        out.append(invalid_value("parameters", "", "field can not be empty."))
    if sum(len(key.encode()) + len(value.encode()) for key, value in found.items()) > _MAX_METADATA:
        out.append(status.too_long("parameters", _MAX_METADATA))


def topologies(terms: list[Object], out: Errors) -> None:
    """Where volumes of a class may be: terms, each with the values that a label may have."""
    seen: list[dict[str, set[str]]] = [{} for _ in terms]  # upstream begins with empty terms, so that none may be empty
    for i, term in enumerate(terms):
        field = f"allowedTopologies[{i}].matchLabelExpressions"
        found: dict[str, set[str]] = {}
        for j, wanted in enumerate(term.get("matchLabelExpressions") or ()):
            at, key, values = f"{field}[{j}]", wanted.get("key") or "", wanted.get("values") or []
            if not values:
                out.append(status.required(f"{at}.values"))
            out += [status.duplicate(f"{at}.values[{k}]", values[k]) for k in sorted(checks.repeated(values))]
            checks.by(names.qualified_name, key, f"{at}.key", out)
            if key in found:
                out.append(status.duplicate(f"{at}.key", key))
            found[key] = set(values)
        out += [status.duplicate(field, "") for other in seen if other == found]
        seen.append(found)


def attributes_class(obj: Object) -> list[FieldError]:
    out: Errors = []
    provisioner(obj.get("driverName") or "", "driverName", out)
    found = obj.get("parameters") or {}
    parameters(found, out)
    if not found:
        out.append(status.required("parameters", "must contain at least one key/value pair"))
    return out


def attributes_class_update(new: Object, old: Object) -> list[FieldError]:
    out: Errors = []
    for name in ("driverName", "parameters"):
        if (new.get(name) or None) != (old.get(name) or None):
            out.append(status.forbidden_field(name, f"updates to {name} are forbidden."))
    return out + attributes_class(new)

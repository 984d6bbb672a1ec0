# SPDX-License-Identifier: Apache-2.0
"""What is wrong with PersistentVolumes and PersistentVolumeClaims, and what of them may change.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

import posixpath

from kubesched.api import checks, gotext, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.columns import at as value_at
from kubesched.api.groups.core import claims, placing, volumes
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

_RECLAIM = ("Delete", "Recycle", "Retain")
_SOURCES = (
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
)
"""Sources that a PersistentVolume may have, in the order in which they are looked at."""
_SECRETS = ("controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef")
OLD_CLASS = "volume.beta.kubernetes.io/storage-class"


def class_of(obj: Object) -> str:
    """The storage class that a volume or a claim names, in the old way or the new; "" is none."""
    old = (obj["metadata"].get("annotations") or {}).get(OLD_CLASS)
    return old if old is not None else value_at(obj, "spec", "storageClassName") or ""


# ---- volumes ----


def volume(obj: Object) -> list[FieldError]:
    """A PersistentVolume."""
    out: Errors = []
    spec, at = obj.get("spec") or {}, "spec"
    _access(spec, at, out)
    _capacity(spec.get("capacity") or {}, f"{at}.capacity", out)
    if policy := spec.get("persistentVolumeReclaimPolicy"):
        checks.option(policy, f"{at}.persistentVolumeReclaimPolicy", _RECLAIM, out)
    affinity = spec.get("nodeAffinity")
    if affinity is not None:
        if affinity.get("required") is None:
            out.append(status.required(f"{at}.nodeAffinity.required", "must specify required node constraints"))
        else:
            placing.check_node_selector(affinity["required"], f"{at}.nodeAffinity.required", out)
    _source(spec, at, out)
    root = posixpath.normpath(value_at(spec, "hostPath", "path") or ".") in ("/", "//")
    if root and policy == "Recycle":
        why = "may not be 'recycle' for a hostPath mount of '/'"
        out.append(status.forbidden_field(f"{at}.persistentVolumeReclaimPolicy", why))
    if spec.get("storageClassName"):
        checks.by(names.subdomain, spec["storageClassName"], f"{at}.storageClassName", out)
    checks.option(spec.get("volumeMode"), f"{at}.volumeMode", claims.VOLUME_MODES, out)
    _attributes_class(spec, at, out)
    return out


_INLINE = "in the context of inline volumes"


def inline_volume(spec: Object, at: str, out: Errors) -> None:
    """What a volume is, inside another object: of a CSI driver, and claimed by nobody."""

    def forbid(*fields: str) -> None:
        out.extend(
            status.forbidden_field(f"{at}.{name}", f"may not be specified {_INLINE}")
            for name in fields
            if spec.get(name)
        )

    forbid("claimRef", "capacity")
    if spec.get("csi") is None:
        out.append(status.required(f"{at}.csi", f"has to be specified {_INLINE}"))
    _access(spec, at, out)
    if spec.get("persistentVolumeReclaimPolicy", "Retain") != "Retain":
        field = f"{at}.persistentVolumeReclaimPolicy"
        out.append(status.forbidden_field(field, f"may only be Retain {_INLINE}"))
    forbid("nodeAffinity")
    _source(spec, at, out)
    forbid("storageClassName")
    if spec.get("volumeMode", "Filesystem") != "Filesystem":
        why = f"may not specify volumeMode other than Filesystem {_INLINE}"
        out.append(status.forbidden_field(f"{at}.volumeMode", why))


def _access(spec: Object, at: str, out: Errors) -> None:
    modes = spec.get("accessModes") or ()
    if not modes:
        out.append(status.required(f"{at}.accessModes"))
    claims.check_modes(modes, f"{at}.accessModes", out)


def _capacity(capacity: Object, field: str, out: Errors) -> None:
    if not capacity:
        out.append(status.required(field))
    if set(capacity) != {"storage"}:
        out.append(status.not_supported(field, dict(sorted(capacity.items())) or None, ["storage"]))
    for name, text in capacity.items():
        amount = quantity.whole(quantity.parse_nano(text))
        if amount < 0:
            out.append(invalid_value(f"{field}[{name}]", amount, "must be a valid resource quantity"))
        checks.positive_amount(text, f"{field}[{name}]", out)


def _source(spec: Object, at: str, out: Errors) -> None:
    found = [name for name in _SOURCES if spec.get(name) is not None]
    if not found:
        out.append(status.required(at, "must specify a volume type"))
        return
    name, source = found[0], spec[found[0]]
    if name == "csi":
        _csi(source, f"{at}.csi", out)
    elif name == "local":
        checks.needed(source, ("path",), f"{at}.local", out)
        checks.no_steps_back(source.get("path") or "", f"{at}.local.path", out)
        if spec.get("nodeAffinity") is None:
            out.append(status.required(f"{at}.nodeAffinity", "Local volume requires node affinity"))
    else:
        volumes.check_source(name, source, at, out)
        if name in ("cinder", "storageos") and source.get("secretRef") is not None:
            checks.needed(source["secretRef"], ("namespace",), f"{at}.{name}.secretRef", out)
    out.extend(volumes.one_too_many(other, at) for other in found[1:])


def _csi(source: Object, at: str, out: Errors) -> None:
    volumes.check_driver(source.get("driver") or "", f"{at}.driver", out)
    checks.needed(source, ("volumeHandle",), at, out)
    for name in _SECRETS:
        if source.get(name) is not None:
            checks.named(names.subdomain, source[name], "name", f"{at}.{name}", out)
            checks.named(names.label, source[name], "namespace", f"{at}.{name}", out)


def _attributes_class(spec: Object, at: str, out: Errors) -> None:
    name = spec.get("volumeAttributesClassName")
    if name is None:
        return
    if not name:
        out.append(status.required(f"{at}.volumeAttributesClassName", "an empty string is disallowed"))
    else:
        checks.by(names.subdomain, name, f"{at}.volumeAttributesClassName", out)
    if spec.get("csi") is None:
        why = "has to be specified when using volumeAttributesClassName"
        out.append(status.required(f"{at}.csi", why))


def volume_update(new: Object, old: Object) -> list[FieldError]:
    """What a volume is stays; a secret for expanding it may come later."""
    out = volume(new)
    after, before = new.get("spec") or {}, old.get("spec") or {}
    mine, its = ({name: spec[name] for name in _SOURCES if spec.get(name) is not None} for spec in (after, before))
    if "csi" in mine and "csi" in its and "controllerExpandSecretRef" not in its["csi"]:
        mine["csi"] = {key: value for key, value in mine["csi"].items() if key != "controllerExpandSecretRef"}
    if mine != its:
        why = f"spec.persistentvolumesource is immutable after creation\n{gotext.difference(its, mine)}"
        out.append(status.forbidden_field("spec.persistentvolumesource", why))
    checks.unlike(after.get("volumeMode"), before.get("volumeMode"), "volumeMode", out)
    if before.get("volumeAttributesClassName") is not None and after.get("volumeAttributesClassName") is None:
        why = "update from non-nil value to nil is forbidden"
        out.append(status.forbidden_field("spec.volumeAttributesClassName", why))
    return out


# ---- claims ----


def claim(obj: Object) -> list[FieldError]:
    """A PersistentVolumeClaim."""
    out: Errors = []
    claims.check_spec(obj.get("spec") or {}, "spec", out)
    return out


def claim_update(new: Object, old: Object) -> list[FieldError]:
    """A claim that is bound may grow, and get other attributes; a class that it lacks may come, and its volume once."""
    out = claim(new)
    after, before = dict(new.get("spec") or {}), dict(old.get("spec") or {})
    if not before.get("volumeName"):
        _put(before, after, "volumeName")
    classes = [(obj["metadata"].get("annotations") or {}).get(OLD_CLASS) for obj in (new, old)]
    named = after.get("storageClassName")
    if before.get("storageClassName") is None and named is not None and classes[1] in (None, named):
        after.pop("storageClassName")
    elif classes[0] != classes[1]:
        out.append(invalid_value(f"metadata.annotations.{OLD_CLASS}", classes[0] or "", checks.IMMUTABLE))
    sizes = [value_at(spec, "resources", "requests", "storage") for spec in (after, before)]
    if value_at(new, "status", "phase") == "Bound":
        if value_at(after, "resources", "requests") is not None:
            requests = {**after["resources"]["requests"]}
            _put(requests, value_at(before, "resources", "requests") or {}, "storage")
            after["resources"] = {**after["resources"], "requests": requests}
        _put(after, before, "volumeAttributesClassName")
    if after != before:
        why = (
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
        )
        out.append(status.forbidden_field("spec", f"{why}\n{gotext.difference(before, after)}"))
    _size(sizes, value_at(old, "status", "capacity", "storage"), out)
    checks.unlike(after.get("volumeMode"), before.get("volumeMode"), "volumeMode", out)
    if value_at(old, "status", "currentVolumeAttributesClassName") is not None:
        found = value_at(new, "spec", "volumeAttributesClassName")
        if not found:
            what = "nil" if found is None else "empty string"
            why = f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
            out.append(status.forbidden_field("spec.volumeAttributesClassName", why))
    return out


def _put(target: Object, source: Object, name: str) -> None:
    if name in source:
        target[name] = source[name]
    else:
        target.pop(name, None)


def _size(sizes: list[str | None], there: str | None, out: Errors) -> None:
    """A size that was asked for in vain may be taken back, but not below what is there."""
    asked, before, has = (quantity.parse_nano(text or "0") for text in (*sizes, there))
    if asked < before and asked <= has:
        field = "spec.resources.requests.storage"
        out.append(status.forbidden_field(field, "field can not be less than status.capacity"))

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with sources of volumes: those of pods, and those of persistent volumes, which are nearly the same.

A source is a row of `_SOURCES`: the fields that it needs, and a function for what else it asks.
Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

from kubesched.api import checks, gotext, meta, names, quantity, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import claims, containers
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object

Check = Callable[[Object, str, Errors], None]

_MORE = "may not specify more than 1 volume type"
_HOST_PATHS = ("", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket")
_CACHING = ("None", "ReadOnly", "ReadWrite")
_DISK_KINDS = ("Dedicated", "Managed", "Shared")
_MANAGED_DISK = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
_INITIATORS = {
    "iqn": r"iqn\.\d{4}-\d{2}\.([a-zA-Z0-9-.]+)(:[^,;*&$|\s]+)$",
    "eui": r"eui.[a-zA-Z0-9]{16}$",
    "naa": r"naa.[a-zA-Z0-9]{32}$",
}
_MIN_TOKEN = 600  # seconds
_MAX_TOKEN = 2**32
_KEY_TYPES = ("RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")
_MIN_CERTIFICATE = 3600
_MAX_CERTIFICATE = 91 * 86400
_MAX_OWN_CERTIFICATE = 86400  # of signers of Kubernetes itself
_BUNDLE = gotext.Struct({"Name": None, "SignerName": None, "LabelSelector": None, "Optional": None, "Path": ""})


def check(volumes: Sequence[Object], pod: str, at: str, out: Errors) -> dict[str, Object]:
    """What is wrong with a pod's volumes; those that are right, by name. ``pod`` is empty in a template."""
    good: dict[str, Object] = {}
    created = {f"{pod}-{volume.get('name', '')}" for volume in volumes if volume.get("ephemeral") and pod}
    for i, volume in enumerate(volumes):
        here, name, before = f"{at}[{i}]", volume.get("name") or "", len(out)
        _check_source(volume, here, pod, out)
        checks.named(names.label, volume, "name", here, out)
        if name in good:
            out.append(status.duplicate(f"{here}.name", name))
        if len(out) == before:
            good[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim and claim in created:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            out.append(invalid_value(f"{here}.persistentVolumeClaim.claimName", claim, why))
    return good


def _check_source(volume: Object, at: str, pod: str, out: Errors) -> None:
    found = [name for name in volume if name != "name" and volume[name] is not None]
    if len(found) > 1:
        found.sort(key=_RANK.__getitem__)
    elif not found:
        out.append(status.required(at, "must specify a volume type"))
        return
    if found[0] == "image" and pod:
        checks.needed(volume["image"], ("reference",), f"{at}.image", out)
    check_source(found[0], volume[found[0]], at, out)
    if found[0] == "ephemeral" and pod and volume.get("name"):
        claim = f"{pod}-{volume['name']}"
        for why in names.subdomain(claim):
            out.append(invalid_value(f"{at}.name", volume["name"], f"PVC name {gotext.quote(claim)}: {why}"))
    for name in found[1:]:
        out.append(one_too_many(name, at))


def check_source(name: str, source: Object, at: str, out: Errors) -> None:
    """A source by the name of its field."""
    fields, function = _SOURCES[name]
    here = f"{at}.{_SHOWN.get(name, name)}"
    checks.needed(source, fields, here, out)
    if function is not None:
        function(source, here, out)


def one_too_many(name: str, at: str) -> FieldError:
    """A source beside another."""
    return status.forbidden_field(f"{at}.{_SHOWN_TWICE.get(name, name)}", _MORE)


# ---- files ----


def _items(items: Iterable[Object], at: str, out: Errors) -> None:
    for i, item in enumerate(items):
        here = f"{at}[{i}]"
        checks.needed(item, ("key", "path"), here, out)
        checks.file_path(item.get("path") or "", f"{here}.path", out)
        checks.mode(item.get("mode"), f"{here}.mode", out)


def _keys(source: Object, at: str, out: Errors) -> None:
    """Of a Secret or a ConfigMap."""
    checks.mode(source.get("defaultMode"), f"{at}.defaultMode", out)
    _items(source.get("items") or (), f"{at}.items", out)


def _pod_files(source: Object, at: str, out: Errors) -> None:
    checks.mode(source.get("defaultMode"), f"{at}.defaultMode", out)
    for item in source.get("items") or ():
        _pod_file(item, at, out)


def _pod_file(item: Object, at: str, out: Errors) -> None:
    """A file with a field of the pod; upstream names the list, not the item."""
    checks.needed(item, ("path",), at, out)
    checks.file_path(item.get("path") or "", f"{at}.path", out)
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        containers.check_field_ref(field, f"{at}.fieldRef", out)
        if resource is not None:
            out.append(
                invalid_value(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously")
            )
    elif resource is not None:
        containers.check_resource_ref(resource, f"{at}.resourceFieldRef", out)
    else:
        out.append(status.required(at, "one of fieldRef and resourceFieldRef is required"))
    checks.mode(item.get("mode"), f"{at}.mode", out)


# ---- several sources in one volume ----


class _Paths:
    """The paths that the sources of one volume fill; none twice."""

    def __init__(self, at: str, out: Errors) -> None:
        self.at, self.out = at, out
        self.seen: set[str] = set()

    def take(self, path: str, shown: str | None = None) -> None:
        """``shown`` is the value that the error names, if it is not the path."""
        if path in self.seen:
            self.out.append(invalid_value(self.at, path if shown is None else shown, "conflicting duplicate paths"))
        self.seen.add(path)


def _projected(source: Object, at: str, out: Errors) -> None:
    checks.mode(source.get("defaultMode"), f"{at}.defaultMode", out)
    paths = _Paths(at, out)
    for i, projection in enumerate(source.get("sources") or ()):
        here = f"{at}.sources[{i}]"
        found = [name for name in _PROJECTIONS if projection.get(name) is not None]
        for name in found:
            _PROJECTIONS[name](projection[name], f"{here}.{name}", paths, out)
        if len(found) > 1:
            out.append(status.forbidden_field(here, "may not specify more than 1 volume type per source"))


def _project_keys(source: Object, at: str, paths: _Paths, out: Errors) -> None:
    checks.needed(source, ("name",), at, out)
    for i, item in enumerate(source.get("items") or ()):
        single: Errors = []
        _items([item], f"{at}.items", single)
        out.extend(error._replace(field=error.field.replace(".items[0]", f".items[{i}]", 1)) for error in single)
        if item.get("path"):
            paths.take(item["path"], source.get("name") or "")


def _project_pod(source: Object, at: str, paths: _Paths, out: Errors) -> None:
    for item in source.get("items") or ():
        _pod_file(item, at, out)
        if item.get("path"):
            paths.take(item["path"])


def _project_token(source: Object, at: str, paths: _Paths, out: Errors) -> None:
    seconds = source.get("expirationSeconds", 0)
    if seconds < _MIN_TOKEN:
        why = "may not specify a duration less than 10 minutes"
        out.append(invalid_value(f"{at}.expirationSeconds", seconds, why))
    if seconds > _MAX_TOKEN:
        why = "may not specify a duration larger than 2^32 seconds"
        out.append(invalid_value(f"{at}.expirationSeconds", seconds, why))
    checks.needed(source, ("path",), paths.at, out)
    checks.file_path(source.get("path") or "", f"{paths.at}.path", out)


def _project_bundle(source: Object, at: str, paths: _Paths, out: Errors) -> None:
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        out.append(invalid_value(at, _BUNDLE.show(source), "only one of name and signerName may be used"))
    elif name is not None:
        if not name:
            out.append(status.required(f"{at}.name", "must be a valid object name"))
        if source.get("labelSelector") is not None:
            why = "labelSelector must be unset if name is specified"
            out.append(invalid_value(f"{at}.labelSelector", source["labelSelector"], why))
    elif signer is not None:
        if not signer:
            out.append(status.required(f"{at}.signerName", "must be a valid signer name"))
        checks.signer_name(signer, f"{at}.signerName", out)
        checks.selector(source.get("labelSelector"), f"{at}.labelSelector", out)
    else:
        out.append(status.required(at, "either name or signerName must be specified"))
    checks.needed(source, ("path",), at, out)
    checks.file_path(source.get("path") or "", f"{at}.path", out)
    paths.take(source.get("path") or "")


def _project_certificate(source: Object, at: str, paths: _Paths, out: Errors) -> None:
    checks.signer_name(source.get("signerName") or "", f"{at}.signerName", out)
    checks.option(source.get("keyType") or "", f"{at}.keyType", _KEY_TYPES, out)
    seconds = source.get("maxExpirationSeconds")
    own = (source.get("signerName") or "").startswith("kubernetes.io/")
    most = _MAX_OWN_CERTIFICATE if own else _MAX_CERTIFICATE
    if seconds is not None and not _MIN_CERTIFICATE <= seconds <= most:
        limit = f">= {_MIN_CERTIFICATE}" if seconds < _MIN_CERTIFICATE else f"<= {most}"
        why = f"if provided, maxExpirationSeconds must be {limit}"
        out.append(invalid_value(f"{at}.maxExpirationSeconds", seconds, why))
    given = [name for name in ("credentialBundlePath", "keyPath", "certificateChainPath") if source.get(name)]
    for name in given:
        checks.file_path(source[name], f"{at}.{name}", out)
        paths.take(source[name])
    if not given:
        why = "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"
        out.append(status.required(at, why))


_PROJECTIONS: Mapping[str, Callable[[Object, str, _Paths, Errors], None]] = {
    "secret": _project_keys,
    "configMap": _project_keys,
    "downwardAPI": _project_pod,
    "serviceAccountToken": _project_token,
    "clusterTrustBundle": _project_bundle,
    "podCertificate": _project_certificate,
}


# ---- the rest ----


def _empty_dir(source: Object, at: str, out: Errors) -> None:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse_nano(limit) < 0:
        out.append(status.forbidden_field(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity"))


def _host_path(source: Object, at: str, out: Errors) -> None:
    if source.get("path"):
        checks.no_steps_back(source["path"], f"{at}.path", out)
        checks.option(source.get("type"), f"{at}.type", _HOST_PATHS, out)


def _git(source: Object, at: str, out: Errors) -> None:
    checks.relative_path(source.get("directory") or "", f"{at}.directory", out)


def _partition(source: Object, at: str, out: Errors) -> None:
    number = source.get("partition", 0)
    if not 0 <= number <= 255:
        out.append(invalid_value(f"{at}.partition", number, checks.within(1, 255)))


def _nfs(source: Object, at: str, out: Errors) -> None:
    path = source.get("path") or ""
    if not path.startswith("/"):
        out.append(invalid_value(f"{at}.path", path, "must be an absolute path"))


def _iscsi(source: Object, at: str, out: Errors) -> None:
    if source.get("iqn"):
        _initiator(source["iqn"], f"{at}.iqn", out)
    checks.number_within(source.get("lun", 0), 0, 255, f"{at}.lun", out)
    if (source.get("chapAuthDiscovery") or source.get("chapAuthSession")) and source.get("secretRef") is None:
        out.append(status.required(f"{at}.secretRef"))
    if source.get("initiatorName") is not None:
        _initiator(source["initiatorName"], f"{at}.initiatorname", out)


def _initiator(text: str, at: str, out: Errors) -> None:
    pattern = _INITIATORS.get(text[:3])
    if pattern is None:
        out.append(invalid_value(at, text, "must be valid format starting with iqn, eui, or naa"))
    elif not re.match(pattern, text):
        out.append(invalid_value(at, text, "must be valid format"))


def _flocker(source: Object, at: str, out: Errors) -> None:
    name, uid = source.get("datasetName") or "", source.get("datasetUUID") or ""
    if not name and not uid:
        out.append(status.required(at, "one of datasetName and datasetUUID is required"))
    if name and uid:
        why = "datasetName and datasetUUID can not be specified simultaneously"
        out.append(invalid_value(at, "resource", why))
    if "/" in name:
        out.append(invalid_value(f"{at}.datasetName", name, "must not contain '/'"))


def _secret_name(source: Object, at: str, out: Errors) -> None:
    if source.get("secretRef") is not None:
        checks.needed(source["secretRef"], ("name",), f"{at}.secretRef", out)


def _quobyte(source: Object, at: str, out: Errors) -> None:
    why = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry") or ""
    if not registry:
        out.append(status.required(f"{at}.registry", why))
    elif len(source.get("tenant") or "") >= 65:
        out.append(status.required(f"{at}.tenant", "must be a UUID and may not exceed a length of 64 characters"))
    else:
        wrong = [pair for pair in registry.split(",") if not re.fullmatch(r"(\[[^\[\]]*\]|[^:\[\]]*):[^:]*", pair)]
        out.extend(invalid_value(f"{at}.registry", registry, why) for _ in wrong)
    checks.needed(source, ("volume",), at, out)


def _fibre(source: Object, at: str, out: Errors) -> None:
    targets, ids, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    if not targets and not ids:
        why = "must specify either targetWWNs or wwids, but not both"
        out.append(status.required(f"{at}.targetWWNs", why))
    if targets and ids:
        why = "targetWWNs and wwids can not be specified simultaneously"
        out.append(invalid_value(f"{at}.targetWWNs", targets, why))
    if targets and lun is None:
        out.append(status.required(f"{at}.lun", "lun is required if targetWWNs is specified"))
    elif targets:
        checks.number_within(lun, 0, 255, f"{at}.lun", out)


def _flex(source: Object, at: str, out: Errors) -> None:
    for key in source.get("options") or ():
        domain = f".{key.partition('/')[0].lower()}"
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            why = "kubernetes.io and k8s.io namespaces are reserved"
            out.append(invalid_value(f"{at}.options[{key}]", key, why))


def _azure_disk(source: Object, at: str, out: Errors) -> None:
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    checks.option(source.get("cachingMode"), f"{at}.cachingMode", _CACHING, out)
    checks.option(kind, f"{at}.kind", _DISK_KINDS, out)
    managed = kind == "Managed"
    if kind is not None and not uri.startswith("/subscriptions/" if managed else "https://"):
        out.append(status.not_supported(f"{at}.diskURI", uri, [_MANAGED_DISK if managed else _BLOB_DISK]))


def _storage_os(source: Object, at: str, out: Errors) -> None:
    checks.named(names.label, source, "volumeName", at, out)
    if source.get("volumeNamespace"):
        checks.by(names.label, source["volumeNamespace"], f"{at}.volumeNamespace", out)
    _secret_name(source, at, out)


_MAX_DRIVER = 63


def check_driver(name: str, at: str, out: Errors) -> None:
    """A name of a CSI driver."""
    if not name:
        out.append(status.required(at))
        return
    if len(name.encode()) > _MAX_DRIVER:
        out.append(status.too_long(at, _MAX_DRIVER))
    out.extend(invalid_value(at, name, why) for why in names.subdomain(name.lower()))


def _csi(source: Object, at: str, out: Errors) -> None:
    check_driver(source.get("driver") or "", f"{at}.driver", out)
    secret = source.get("nodePublishSecretRef")
    if secret is not None and not secret.get("name"):
        out.append(status.required(f"{at}.nodePublishSecretRef.name"))
    elif secret is not None:
        checks.by(names.subdomain, secret["name"], f"{at}.name", out)


def _ephemeral(source: Object, at: str, out: Errors) -> None:
    template = source.get("volumeClaimTemplate")
    if template is None:
        out.append(status.required(f"{at}.volumeClaimTemplate"))
        return
    here, metadata = f"{at}.volumeClaimTemplate", template.get("metadata") or {}
    out.extend(meta.validate_template(metadata, f"{here}.metadata"))
    claims.check_spec(template.get("spec") or {}, f"{here}.spec", out)


def _image(source: Object, at: str, out: Errors) -> None:
    checks.choice(source.get("pullPolicy"), f"{at}.pullPolicy", containers.PULLS, out)


_Source = tuple[tuple[str, ...], Check | None]

_SOURCES: Mapping[str, _Source] = {
    "emptyDir": ((), _empty_dir),
    "hostPath": (("path",), _host_path),
    "gitRepo": (("repository",), _git),
    "gcePersistentDisk": (("pdName",), _partition),
    "awsElasticBlockStore": (("volumeID",), _partition),
    "secret": (("secretName",), _keys),
    "nfs": (("server", "path"), _nfs),
    "iscsi": (("targetPortal", "iqn"), _iscsi),
    "glusterfs": (("endpoints", "path"), None),
    "flocker": ((), _flocker),
    "persistentVolumeClaim": (("claimName",), None),
    "rbd": (("monitors", "image"), None),
    "cinder": (("volumeID",), _secret_name),
    "cephfs": (("monitors",), None),
    "quobyte": ((), _quobyte),
    "downwardAPI": ((), _pod_files),
    "fc": ((), _fibre),
    "flexVolume": (("driver",), _flex),
    "configMap": (("name",), _keys),
    "azureFile": (("secretName", "shareName"), None),
    "vsphereVolume": (("volumePath",), None),
    "photonPersistentDisk": (("pdID",), None),
    "portworxVolume": (("volumeID",), None),
    "azureDisk": (("diskName", "diskURI"), _azure_disk),
    "storageos": ((), _storage_os),
    "projected": ((), _projected),
    "scaleIO": (("gateway", "system", "volumeName"), None),
    "csi": ((), _csi),
    "ephemeral": ((), _ephemeral),
    "image": ((), _image),
}
"""In the order in which they are looked at."""
_RANK = {name: i for i, name in enumerate(_SOURCES)}
_SHOWN: Mapping[str, str] = {"gcePersistentDisk": "persistentDisk"}
_SHOWN_TWICE: Mapping[str, str] = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}
"""Upstream's texts name these fields otherwise: in their own errors, and where they are one too many."""

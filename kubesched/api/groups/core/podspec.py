# SPDX-License-Identifier: Apache-2.0
"""Defaults of a pod's specification, wherever one stands: in pods and in templates.

Source: pkg/apis/core/v1/defaults.go and zz_generated.defaults.go, v1.36.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from kubesched.api import quantity
from kubesched.api.shared import change
from kubesched.api.strategy import Object, fill, fill_empty

_MODE = 0o644  # of files in volumes
_TOKEN_SECONDS = 3600
_IMAGE = re.compile(
    r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9.]*[a-zA-Z0-9])?(?::[0-9]+)?/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?P<digest>@[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?"
)


def pull_policy(image: str) -> str:
    """What an image without a policy gets: one that moves is pulled always."""
    found = _IMAGE.fullmatch(image)
    if found is None:
        return "IfNotPresent"
    tag = found["tag"] or ("" if found["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def default_template(template: Any) -> None:
    """A pod template's specification."""
    if isinstance(template, dict):
        template["spec"] = change(template.get("spec", {}), _default_spec)


def default_pod(pod: Object) -> None:
    """A pod's specification."""
    pod["spec"] = change(pod.get("spec", {}), _default_own)


def _default_own(spec: Object) -> None:
    _default_spec(spec)
    _default_pod(spec)


def _default_spec(spec: Object) -> None:
    """Everything but what only a pod itself gets."""
    fill_empty(spec, "dnsPolicy", "ClusterFirst")
    fill_empty(spec, "restartPolicy", "Always")
    fill(spec, "securityContext", {})
    fill(spec, "terminationGracePeriodSeconds", 30)
    fill_empty(spec, "schedulerName", "default-scheduler")
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    _change_each(spec, _default_container, *_ALL)
    if spec.get("hostNetwork"):
        _change_each(spec, _host_ports, *_LASTING)


_LASTING = ("containers", "initContainers")
_ALL = (*_LASTING, "ephemeralContainers")


def _change_each(spec: Object, function: Callable[[Object], None], *lists: str) -> None:
    """Change the containers of a specification."""
    for name in lists:
        if found := spec.get(name):
            spec[name] = [change(container, function) for container in found]


def _host_ports(container: Object) -> None:
    """On the host's network, a port of a container is the host's."""
    for port in container.get("ports") or ():
        if not port.get("hostPort") and port.get("containerPort"):
            port["hostPort"] = port["containerPort"]


def _default_container(container: Object) -> None:
    for port in container.get("ports") or ():
        fill_empty(port, "protocol", "TCP")
    for variable in [variable for variable in container.get("env") or () if "valueFrom" in variable]:
        source = variable["valueFrom"] or {}
        _default_field_ref(source.get("fieldRef"))
        if source.get("fileKeyRef") is not None:
            fill(source["fileKeyRef"], "optional", False)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        _default_probe(container.get(name))
    for name in ("postStart", "preStop"):
        handler = (container.get("lifecycle") or {}).get(name) or {}
        _default_http(handler.get("httpGet"))
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    fill_empty(container, "terminationMessagePath", "/dev/termination-log")
    fill_empty(container, "terminationMessagePolicy", "File")


def _default_http(action: Object | None) -> None:
    if action is not None:
        fill_empty(action, "path", "/")
        fill_empty(action, "scheme", "HTTP")


def _default_probe(probe: Object | None) -> None:
    if probe is None:
        return
    _default_http(probe.get("httpGet"))
    if probe.get("grpc") is not None:
        fill(probe["grpc"], "service", "")
    fill_empty(probe, "timeoutSeconds", 1)
    fill_empty(probe, "periodSeconds", 10)
    fill_empty(probe, "successThreshold", 1)
    fill_empty(probe, "failureThreshold", 3)


def _default_field_ref(reference: Object | None) -> None:
    if reference is not None:
        fill_empty(reference, "apiVersion", "v1")


_DISKS: dict[str, dict[str, Any]] = {
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "fsType": "ext4", "readOnly": False, "kind": "Shared"},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}
"""Defaults of volume sources that are no more than defaults; also those of persistent volumes."""


def default_source(source: Object) -> None:
    """A volume's source, of a pod or of a persistent volume."""
    for name, fields in _DISKS.items():
        if source.get(name) is not None:
            for key, value in fields.items():
                fill(source[name], key, value)
    if source.get("hostPath") is not None:
        fill(source["hostPath"], "type", "")


def default_volume(volume: Object) -> None:
    """A volume of a pod; one without a source is an empty directory."""
    sources = [name for name in volume if name != "name" and volume[name] is not None]
    if not sources:
        volume["emptyDir"] = {}
        return
    default_source(volume)
    for name in ("secret", "configMap", "downwardAPI", "projected"):
        if volume.get(name) is not None:
            fill(volume[name], "defaultMode", _MODE)
    for item in (volume.get("downwardAPI") or {}).get("items") or ():
        _default_field_ref(item.get("fieldRef"))
    for source in (volume.get("projected") or {}).get("sources") or ():
        if source.get("serviceAccountToken") is not None:
            fill(source["serviceAccountToken"], "expirationSeconds", _TOKEN_SECONDS)
        for item in (source.get("downwardAPI") or {}).get("items") or ():
            _default_field_ref(item.get("fieldRef"))
    claim = ((volume.get("ephemeral") or {}).get("volumeClaimTemplate") or {}).get("spec")
    if claim is not None:
        fill_empty(claim, "volumeMode", "Filesystem")
    if volume.get("image") is not None:
        fill_empty(volume["image"], "pullPolicy", pull_policy(volume["image"].get("reference") or ""))


# ---- what only a pod itself gets ----

_POD_LEVEL = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"


def _default_pod(spec: Object) -> None:
    _change_each(spec, _requests_from_limits, *_LASTING)
    resources = spec.get("resources")
    if resources is not None:
        _huge_page_limits(spec, resources)
        _pod_requests(spec, resources)
    fill(spec, "enableServiceLinks", True)


def _requests_from_limits(container: Object) -> None:
    limits = (container.get("resources") or {}).get("limits")
    if limits:
        requests = container["resources"].setdefault("requests", {})
        for name, amount in limits.items():
            requests.setdefault(name, amount)


def _pod_level(name: str) -> bool:
    return name in _POD_LEVEL or name.startswith(_HUGE_PAGES)


def total(spec: Object, part: str) -> dict[str, str]:
    """What all containers together ask for: the ordinary ones and sidecars at once, or an initial one before them."""
    sums: Counter[str] = Counter()
    sidecars: Counter[str] = Counter()
    peaks: Counter[str] = Counter()
    binary: dict[str, bool] = {}  # whether an amount is written in powers of two

    def amounts(container: Object) -> Counter[str]:
        found = (container.get("resources") or {}).get(part) or {}
        for name, text in found.items():
            binary.setdefault(name, text.endswith("i"))
        return Counter({name: quantity.parse_nano(text) for name, text in found.items()})

    for container in spec.get("containers") or ():
        sums += amounts(container)
    for container in spec.get("initContainers") or ():
        mine = amounts(container)
        if container.get("restartPolicy") == "Always":
            sidecars += mine
            mine = sidecars
        else:
            mine += sidecars
        peaks |= mine
    totals = (sums + sidecars) | peaks
    return {name: _written(amount, binary[name]) for name, amount in totals.items()}


def _written(nano: int, binary: bool) -> str:
    """An amount in its shortest form."""
    if nano % quantity.NANO:
        return f"{quantity.milli(nano)}m"
    whole = nano // quantity.NANO
    base, units = (
        (1024, ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")) if binary else (1000, ("", "k", "M", "G", "T", "P", "E"))
    )
    at = 0
    while whole and whole % base == 0 and at < len(units) - 1:
        whole //= base
        at += 1
    return f"{whole}{units[at]}"


def _huge_page_limits(spec: Object, resources: Object) -> None:
    if not resources.get("limits") and not resources.get("requests"):
        return
    limits = dict(resources.get("limits") or {})
    for name, amount in total(spec, "limits").items():
        if name.startswith(_HUGE_PAGES) and name not in (resources.get("requests") or {}):
            limits.setdefault(name, amount)
    if limits:
        resources["limits"] = limits


def _pod_requests(spec: Object, resources: Object) -> None:
    if not resources.get("limits"):
        return
    requests = dict(resources.get("requests") or {})
    for name, amount in total(spec, "requests").items():
        if _pod_level(name) and not name.startswith(_HUGE_PAGES):
            requests.setdefault(name, amount)
    for name, amount in resources["limits"].items():
        if _pod_level(name):
            requests.setdefault(name, amount)
    if requests:
        resources["requests"] = requests

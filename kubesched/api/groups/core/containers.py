# SPDX-License-Identifier: Apache-2.0
"""What is wrong with containers: of all kinds, and what only ordinary, initial and ephemeral ones may have.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import checks, names, quantity, shared, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import security
from kubesched.api.status import invalid_value
from kubesched.api.strategy import Object

_PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGES = ("File", "FallbackToLogsOnError")
PULLS = ("Always", "IfNotPresent", "Never")
_SCHEMES = ("HTTP", "HTTPS")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_READ_ONLY = ("Disabled", "Enabled", "IfPossible")
_RESTARTS = ("Always", "Never", "OnFailure")
_RULE_ACTIONS = ("Restart", "RestartAllContainers")
_RULE_OPERATORS = ("In", "NotIn")
_RESIZED = ("cpu", "memory")
_RESIZES = ("NotRequired", "RestartContainer")
_MAX_RULES = 20
_MAX_EXIT_CODES = 255
_MANY_SOURCES = "may not have more than one field specified at a time"
_NAME_OF_REFERENCE = names.as_prefix(names.subdomain)  # upstream lets a reference end like a prefix

_POSIX_SIGNALS = (
    *("ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT"),
    *("KILL", "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP"),
    *("TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX"),
)
_SIGNALS = {
    "windows": ["SIGKILL", "SIGTERM"],
    "linux": sorted(
        [f"SIG{name}" for name in _POSIX_SIGNALS]
        + [f"SIGRTMIN+{i}" for i in range(1, 16)]
        + [f"SIGRTMAX-{i}" for i in range(1, 15)]
    ),
}

LISTS = ("initContainers", "containers", "ephemeralContainers")
"""Where a specification has containers, in the order in which they are visited."""


@dataclass(slots=True)
class Frame:
    """What of a pod's specification its containers are judged by."""

    volumes: dict[str, Object]  # by name; only those that are right themselves
    claims: set[str]
    grace: int | None
    system: str  # its operating system, if it says one
    restart: str
    host_users: bool
    files: list[tuple[str, str]] = field(default_factory=list)  # volumes that variables are read from, and where

    def copy(self) -> Frame:
        """As it is now: files are added while containers are looked at."""
        return dataclasses.replace(self, files=self.files[:])


def each(spec: Object, at: str) -> Iterator[tuple[Object, str]]:
    """All containers of a specification and where they are."""
    for part in LISTS:
        for i, container in enumerate(spec.get(part) or ()):
            yield container, f"{at}.{part}[{i}]"


# ---- the three lists ----


def check_ordinary(containers: Sequence[Object], at: str, frame: Frame, out: Errors) -> None:
    if not containers:
        out.append(status.required(at))
        return
    seen: set[str] = set()
    for i, container in enumerate(containers):
        here = f"{at}[{i}]"
        if shared.recall(container, check_ordinary) == frame:  # nothing was wrong with it within such a frame
            _unique(container, here, seen, out)
            continue
        before, within = len(out), frame.copy()
        _check(container, here, frame, out)
        _unique(container, here, seen, out)
        _check_running(container, here, frame, out)
        _restart_policy(container, here, out)
        if len(out) == before and frame == within:
            shared.keep(container, check_ordinary, within)
    _host_ports(containers, at, set(), out)


def check_initial(containers: Sequence[Object], others: Sequence[Object], at: str, frame: Frame, out: Errors) -> None:
    seen = {other.get("name") or "" for other in others}
    for i, container in enumerate(containers):
        here = f"{at}[{i}]"
        _check(container, here, frame, out)
        if container.get("restartPolicy") is not None or container.get("restartPolicyRules"):
            _restart_policy(container, here, out)
        sidecar = container.get("restartPolicy") == "Always"
        _unique(container, here, seen, out)
        _host_ports([container], at, set(), out)
        if sidecar:
            _check_running(container, here, frame, out)
            continue
        for name in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(name) is not None:
                why = "may not be set for init containers without restartPolicy=Always"
                out.append(status.forbidden_field(f"{here}.{name}", why))
        for j, policy in enumerate(container.get("resizePolicy") or ()):
            if policy.get("restartPolicy") == "RestartContainer":
                why = "must not be set to 'RestartContainer' for non-sidecar initContainers"
                where = f"{here}.resizePolicy[{j}].restartPolicy"
                out.append(invalid_value(where, policy["restartPolicy"], why))


_NOT_EPHEMERAL = (
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
)
_NEVER_EPHEMERAL = "cannot be set for an Ephemeral Container"


def check_ephemeral(containers: Sequence[Object], spec: Object, at: str, frame: Frame, out: Errors) -> None:
    others = {other.get("name") or "" for part in LISTS[:2] for other in spec.get(part) or ()}
    seen = set(others)
    for i, container in enumerate(containers):
        here = f"{at}[{i}]"
        _check(container, here, frame, out)
        check_image(container, here, out)
        _unique(container, here, seen, out)
        target = container.get("targetContainerName")
        if target and target not in others:
            out.append(status.value_not_found(f"{here}.targetContainerName", target))
        for name in _NOT_EPHEMERAL:
            if container.get(name):
                out.append(status.forbidden_field(f"{here}.{name}", _NEVER_EPHEMERAL))
        for j, mount in enumerate(container.get("volumeMounts") or ()):
            for name in ("subPath", "subPathExpr"):
                if mount.get(name):
                    out.append(status.forbidden_field(f"{here}.volumeMounts[{j}].{name}", _NEVER_EPHEMERAL))


def check_image(container: Object, at: str, out: Errors) -> None:
    """What a template may have, and a pod may not."""
    image = container.get("image") or ""
    if image.strip() != image:
        out.append(invalid_value(f"{at}.image", image, "must not have leading or trailing whitespace"))


def _unique(container: Object, at: str, seen: set[str], out: Errors) -> None:
    name = container.get("name") or ""
    if name in seen:
        out.append(status.duplicate(f"{at}.name", name))
    seen.add(name)


def _host_ports(containers: Sequence[Object], at: str, seen: set[str], out: Errors) -> None:
    """A port of the host goes to one container."""
    for i, container in enumerate(containers):
        for j, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in seen:
                out.append(status.duplicate(f"{at}[{i}].ports[{j}].hostPort", key))
            seen.add(key)


# ---- any container ----


def _check(container: Object, at: str, frame: Frame, out: Errors) -> None:
    """What all have. A check is left out where there is nothing to check: this runs for each write of a pod."""
    checks.named(names.label, container, "name", at, out)
    if not container.get("image"):
        out.append(status.required(f"{at}.image"))
    checks.choice(container.get("terminationMessagePolicy"), f"{at}.terminationMessagePolicy", _MESSAGES, out)
    get = container.get
    if ports := get("ports"):
        _ports(ports, f"{at}.ports", out)
    if env := get("env"):
        _env(env, f"{at}.env", frame, out)
    if env := get("envFrom"):
        _env_from(env, f"{at}.envFrom", out)
    mounts, devices = get("volumeMounts") or (), get("volumeDevices") or ()
    if mounts:
        _mounts(container, mounts, {item.get("name"): item.get("devicePath") for item in devices}, at, frame, out)
    if devices:
        paths = {item.get("name"): item.get("mountPath") for item in mounts}
        _devices(devices, paths, f"{at}.volumeDevices", frame, out)
    checks.choice(get("imagePullPolicy"), f"{at}.imagePullPolicy", PULLS, out)
    if resources := get("resources"):
        check_resources(resources, f"{at}.resources", frame.claims, out)
    if policies := get("resizePolicy"):
        _resize_policy(policies, f"{at}.resizePolicy", frame, out)
    if context := get("securityContext"):
        security.check_container(context, f"{at}.securityContext", out, host_users=frame.host_users)


def _ports(ports: Sequence[Object], at: str, out: Errors) -> None:
    seen: set[str] = set()
    for i, port in enumerate(ports):
        here = f"{at}[{i}]"
        name = port.get("name")
        if name:
            if wrong := names.port_name(name):
                out.extend(invalid_value(f"{here}.name", name, why) for why in wrong)
            elif name in seen:
                out.append(status.duplicate(f"{here}.name", name))
            seen.add(name)
        if not port.get("containerPort"):
            out.append(status.required(f"{here}.containerPort"))
        for kind in ("containerPort", "hostPort"):
            if number := port.get(kind):
                out.extend(invalid_value(f"{here}.{kind}", number, why) for why in names.port_number(number))
        checks.choice(port.get("protocol"), f"{here}.protocol", _PROTOCOLS, out)


# ---- environment ----

_PLAIN: Object = {}  # stands for a variable with nothing wrong


def _env(variables: Sequence[Object], at: str, frame: Frame, out: Errors) -> None:
    if not any(map(names.env_var, [variable.get("name") or "" for variable in variables])):
        variables = [variable if "valueFrom" in variable else _PLAIN for variable in variables]
    for i, variable in enumerate(variables):
        if variable is _PLAIN:
            continue
        name = variable.get("name")
        if not name:
            out.append(status.required(f"{at}[{i}].name"))
        elif wrong := names.env_var(name):
            out.extend(invalid_value(f"{at}[{i}].name", name, why) for why in wrong)
        if "valueFrom" in variable:
            source, here = variable["valueFrom"] or {}, f"{at}[{i}].valueFrom"
            _value_from(variable, source, here, out)
            if source.get("fileKeyRef") is not None:
                frame.files.append((source["fileKeyRef"].get("volumeName") or "", f"{here}.fileKeyRef.volumeName"))


def _value_from(variable: Object, source: Object, at: str, out: Errors) -> None:
    found = [name for name in _VALUE_SOURCES if source.get(name) is not None]
    for name in found:
        _VALUE_SOURCES[name](source[name], f"{at}.{name}", out)
    if not found:
        *most, last = (f"`{name}`" for name in _VALUE_SOURCES)
        out.append(invalid_value(at, "", f"must specify one of: {', '.join(most)} or {last}"))
    elif variable.get("value"):
        out.append(invalid_value(at, "", "may not be specified when `value` is not empty"))
    elif len(found) > 1:
        out.append(invalid_value(at, "", _MANY_SOURCES))


_ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
_VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_KNOWN_FIELDS = {
    *_ENV_FIELDS,
    *_VOLUME_FIELDS,
    "spec.host",
    "spec.restartPolicy",
    "spec.schedulerName",
    "status.phase",
}
_SUBSCRIPT = re.compile(r"(?P<path>.+?)\['(?P<key>.*)'\]\Z", re.DOTALL)


def check_field_ref(reference: Object, at: str, out: Errors, fields: Sequence[str] = _VOLUME_FIELDS) -> None:
    """A field of the pod that the pod gets to know."""
    for name in ("apiVersion", "fieldPath"):
        if not reference.get(name):
            out.append(status.required(f"{at}.{name}"))
            return
    path: str = reference["fieldPath"]
    version = reference["apiVersion"]
    subscript = _SUBSCRIPT.match(path)
    if version != "v1":
        why = f"unsupported pod version: {version}"
    elif subscript and subscript["path"] not in ("metadata.annotations", "metadata.labels"):
        why = f"field label does not support subscript: {path}"
    elif not subscript and path not in _KNOWN_FIELDS:
        why = f"field label not supported: {path}"
    elif subscript:
        key = subscript["key"]
        checks.by(names.qualified_name, key.lower() if subscript["path"] == "metadata.annotations" else key, at, out)
        return
    else:
        path = "spec.nodeName" if path == "spec.host" else path
        checks.option(path, f"{at}.fieldPath", fields, out)
        return
    out.append(invalid_value(f"{at}.fieldPath", path, f"error converting fieldPath: {why}"))


_AMOUNTS = tuple(f"{part}.{name}" for part in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory"))
_HUGE_AMOUNTS = ("limits.hugepages-", "requests.hugepages-")
_DIVISORS = ["1", *(f"1{unit}" for unit in ("k", "M", "G", "T", "P", "E", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"))]


def check_resource_ref(reference: Object, at: str, out: Errors, *, other_container: bool = True) -> None:
    """An amount that a container asks for, as it gets to know it."""
    resource = reference.get("resource") or ""
    if other_container and not reference.get("containerName"):
        out.append(status.required(f"{at}.containerName"))
    elif not resource:
        out.append(status.required(f"{at}.resource"))
    elif resource not in _AMOUNTS and not resource.startswith(_HUGE_AMOUNTS):
        out.append(status.not_supported(f"{at}.resource", resource, _AMOUNTS))
    divisor = reference.get("divisor") or "0"
    kind = resource.partition(".")[2]
    if divisor == "0" or not (kind in ("cpu", "memory", "ephemeral-storage") or kind.startswith("hugepages-")):
        return
    if kind == "cpu":
        if divisor not in ("1m", "1"):
            why = "only divisor's values 1m and 1 are supported with the cpu resource"
            out.append(invalid_value(f"{at}.divisor", resource, why))
    elif divisor not in _DIVISORS:
        shown = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(kind, "hugepages")
        why = f"only divisor's values {', '.join(_DIVISORS)} are supported with the {shown} resource"
        out.append(invalid_value(f"{at}.divisor", resource, why))


def _key_ref(reference: Object, at: str, out: Errors) -> None:
    """A key of a ConfigMap or a Secret."""
    checks.by(names.subdomain, reference.get("name") or "", f"{at}.name", out)
    checks.named(names.config_key, reference, "key", at, out)


def _file_ref(reference: Object, at: str, out: Errors) -> None:
    """A variable of a file in a volume."""
    checks.named(names.env_var, reference, "key", at, out)
    checks.named(names.label, reference, "volumeName", at, out)
    checks.needed(reference, ("path",), at, out)
    checks.no_steps_back(reference.get("path") or "", f"{at}.path", out)


_VALUE_SOURCES = {
    "fieldRef": lambda reference, at, out: check_field_ref(reference, at, out, _ENV_FIELDS),
    "resourceFieldRef": lambda reference, at, out: check_resource_ref(reference, at, out, other_container=False),
    "configMapKeyRef": _key_ref,
    "secretKeyRef": _key_ref,
    "fileKeyRef": _file_ref,
}


def _env_from(sources: Sequence[Object], at: str, out: Errors) -> None:
    for i, source in enumerate(sources):
        if source.get("prefix"):
            checks.by(names.env_var, source["prefix"], f"{at}[{i}].prefix", out)
        found = [name for name in ("configMapRef", "secretRef") if source.get(name) is not None]
        for name in found:
            checks.named(_NAME_OF_REFERENCE, source[name], "name", f"{at}[{i}].{name}", out)
        if not found:
            out.append(invalid_value(at, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(found) > 1:
            out.append(invalid_value(at, "", _MANY_SOURCES))


# ---- volumes ----


def _mounts(
    container: Object, mounts: Sequence[Object], devices: dict[Any, Any], at: str, frame: Frame, out: Errors
) -> None:
    at += ".volumeMounts"
    seen: set[str] = set()
    device_paths = set(devices.values())
    for i, mount in enumerate(mounts):
        name, path = mount.get("name") or "", mount.get("mountPath") or ""
        here = f"{at}[{i}]"
        if not name:
            out.append(status.required(f"{here}.name"))
        if name not in frame.volumes:
            out.append(status.value_not_found(f"{here}.name", name))
        if not path:
            out.append(status.required(f"{here}.mountPath"))
        if path in seen:
            out.append(invalid_value(f"{here}.mountPath", path, "must be unique"))
        seen.add(path)
        if name in devices:
            out.append(invalid_value(f"{here}.name", name, "must not already exist in volumeDevices"))
        if path in device_paths:
            out.append(invalid_value(f"{here}.mountPath", path, "must not already exist as a path in volumeDevices"))
        if len(mount) > 2:
            _mount_options(container, mount, at, here, out)


def _mount_options(container: Object, mount: Object, at: str, here: str, out: Errors) -> None:
    """Upstream names the list, not the mount, where these are wrong."""
    if sub_path := mount.get("subPath"):
        checks.relative_path(sub_path, f"{at}.subPath", out)
    if expression := mount.get("subPathExpr"):
        if sub_path:
            why = "subPathExpr and subPath are mutually exclusive"
            out.append(invalid_value(f"{here}.subPathExpr", expression, why))
        checks.relative_path(expression, f"{at}.subPathExpr", out)
    propagation = mount.get("mountPropagation")
    checks.option(propagation, f"{at}.mountPropagation", _PROPAGATIONS, out)
    if propagation == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        why = "Bidirectional mount propagation is available only to privileged containers"
        out.append(status.forbidden_field(f"{at}.mountPropagation", why))
    deep = mount.get("recursiveReadOnly")
    checks.option(deep, f"{at}.recursiveReadOnly", _READ_ONLY, out)
    if deep in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            why = "may only be specified when readOnly is true"
            out.append(status.forbidden_field(f"{at}.recursiveReadOnly", why))
        if propagation not in (None, "None"):
            why = "may only be specified when mountPropagation is None or not specified"
            out.append(status.forbidden_field(f"{at}.recursiveReadOnly", why))


def _devices(devices: Sequence[Object], mounts: dict[Any, Any], at: str, frame: Frame, out: Errors) -> None:
    names_seen: set[str] = set()
    paths_seen: set[str] = set()
    mount_paths = set(mounts.values())
    for i, device in enumerate(devices):
        name, path = device.get("name") or "", device.get("devicePath") or ""
        here = f"{at}[{i}]"
        volume = frame.volumes.get(name)
        if not name:
            out.append(status.required(f"{here}.name"))
        if name in names_seen:
            out.append(invalid_value(f"{here}.name", name, "must be unique"))
        if volume is None:
            out.append(status.value_not_found(f"{here}.name", name))
        elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
            why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            out.append(invalid_value(f"{here}.name", name, why))
        if not path:
            out.append(status.required(f"{here}.devicePath"))
        if path in paths_seen:
            out.append(invalid_value(f"{here}.devicePath", path, "must be unique"))
        if ".." in path.split("/"):
            out.append(invalid_value(f"{here}.devicePath", path, "can not contain backsteps ('..')"))
        else:
            paths_seen.add(path)
        if name in mounts:
            out.append(invalid_value(f"{here}.name", name, "must not already exist in volumeMounts"))
        if path in mount_paths:
            out.append(invalid_value(f"{here}.devicePath", path, "must not already exist as a path in volumeMounts"))
        if name:
            names_seen.add(name)


# ---- resources ----


NameCheck = Callable[[str, str, Errors], None]


def _check_name(name: str, at: str, out: Errors) -> None:
    checks.by(checks.container_resource, name, at, out)


def check_resources(
    resources: Object, at: str, claims: set[str], out: Errors, check_name: NameCheck = _check_name
) -> None:
    """Requests and limits."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for name, text in limits.items():
        if name not in _COMPUTE or text[0] == "-":
            _resource(name, text, f"{at}.limits[{name}]", check_name, out)
    for name, text in requests.items():
        if name not in _COMPUTE or text[0] == "-":
            _resource(name, text, f"{at}.requests[{name}]", check_name, out)
        shared = name in _COMPUTE or (checks.is_native(name) and not checks.is_huge(name))
        limit = limits.get(name)
        if limit is None:
            if not shared:
                why = "Limit must be set for non overcommitable resources"
                out.append(status.required(f"{at}.limits", why))
        elif limit != text:
            _within_limit(name, text, limit, f"{at}.requests", out, shared=shared)
    asked = limits.keys() | requests.keys()
    if not ("cpu" in asked or "memory" in asked) and any(map(checks.is_huge, asked)):
        out.append(status.forbidden_field(at, "HugePages require cpu or memory"))
    if wanted := resources.get("claims"):
        _claims(wanted, f"{at}.claims", claims, out)


_COMPUTE = ("cpu", "memory")  # what anybody may ask for


def _resource(name: str, text: str, at: str, check_name: NameCheck, out: Errors) -> None:
    check_name(name, at, out)
    checks.amount(name, text, at, out)
    if checks.is_huge(name):
        try:
            page = quantity.parse_nano(name.removeprefix("hugepages-"))
        except ValueError:
            page = 0
        if page <= 0 or page % quantity.NANO or quantity.parse_nano(text) % page:
            out.append(invalid_value(at, text, f"{text} is not positive integer multiple of {name}"))


def _within_limit(name: str, text: str, limit: str, at: str, out: Errors, *, shared: bool) -> None:
    asked, most = quantity.parse_nano(text), quantity.parse_nano(limit)
    if asked != most and not shared:
        out.append(invalid_value(at, text, f"must be equal to {name} limit of {limit}"))
    elif asked > most:
        out.append(invalid_value(at, text, f"must be less than or equal to {name} limit of {limit}"))


def _claims(wanted: Sequence[Object], at: str, claims: set[str], out: Errors) -> None:
    """Claims of the pod that a container uses: as a whole, or single requests of them."""
    seen: set[str] = set()
    for i, claim in enumerate(wanted):
        name, request = claim.get("name") or "", claim.get("request") or ""
        here = f"{at}[{i}]"
        if not name:
            out.append(status.required(here))
            continue
        key = f"{name}/{request}" if request else name
        if name not in seen and request:
            checks.by(names.label, request, f"{here}.request", out)
        if name in seen or key in seen:
            out.append(status.duplicate(here, name if name in seen else key))
        elif not request and any(other.startswith(f"{name}/") for other in seen):
            out.append(status.duplicate(here, name))
        seen.add(name if name in seen else key)
        if name not in claims:
            listed = f": {', '.join(sorted(claims))}" if claims else " which is empty"
            why = f"must be one of the names in pod.spec.resourceClaims{listed}"
            out.append(status.value_not_found(here, name)._replace(detail=why))


def _resize_policy(policies: Sequence[Object], at: str, frame: Frame, out: Errors) -> None:
    seen: set[str] = set()
    for i, policy in enumerate(policies):
        name, restart = policy.get("resourceName") or "", policy.get("restartPolicy") or ""
        if name in seen:
            out.append(status.duplicate(f"{at}[{i}]", name))
        seen.add(name)
        checks.choice(name, at, _RESIZED, out)
        checks.choice(restart, at, _RESIZES, out)
        if frame.restart == "Never" and restart != "NotRequired":
            why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'"
            out.append(invalid_value(at, restart, why))


# ---- what runs all the time ----


def _check_running(container: Object, at: str, frame: Frame, out: Errors) -> None:
    """Hooks and probes, which ordinary containers and sidecars have."""
    lifecycle = container.get("lifecycle")
    if lifecycle is not None:
        for name in ("postStart", "preStop"):
            if lifecycle.get(name) is not None:
                _handler(lifecycle[name], f"{at}.lifecycle.{name}", frame, out)
        if lifecycle.get("stopSignal") is not None:
            _stop_signal(lifecycle["stopSignal"], f"{at}.lifecycle.stopSignal", frame, out)
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        probe = container.get(name)
        if probe is not None:
            _probe(name, probe, f"{at}.{name}", frame, out)


def _stop_signal(signal: str, at: str, frame: Frame, out: Errors) -> None:
    if not frame.system:
        out.append(status.forbidden_field(at, "may not be set for containers with empty `spec.os.name`"))
    elif frame.system in _SIGNALS:
        checks.option(signal, at, _SIGNALS[frame.system], out)


_PROBE_NUMBERS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")


def _probe(name: str, probe: Object, at: str, frame: Frame, out: Errors) -> None:
    _handler(probe, at, frame, out)
    checks.not_negative(probe, at, out, *_PROBE_NUMBERS)
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and grace <= 0:
        out.append(invalid_value(f"{at}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    if name == "readinessProbe":
        if grace is not None:
            why = "must not be set for readinessProbes"
            out.append(invalid_value(f"{at}.terminationGracePeriodSeconds", grace, why))
    elif probe.get("successThreshold", 0) != 1:
        out.append(invalid_value(f"{at}.successThreshold", probe.get("successThreshold", 0), "must be 1"))


def _handler(handler: Object, at: str, frame: Frame, out: Errors) -> None:
    """What is done: exactly one of a few."""
    found = [name for name in ("exec", "httpGet", "tcpSocket", "grpc", "sleep") if handler.get(name) is not None]
    if not found:
        out.append(status.required(at, "must specify a handler type"))
        return
    action, here = handler[found[0]], f"{at}.{found[0]}"
    match found[0]:
        case "exec":
            checks.needed(action, ("command",), here, out)
        case "httpGet":
            _http(action, here, out)
        case "sleep":
            _sleep(action.get("seconds", 0), here, frame.grace, out)
        case _:
            checks.port(action.get("port"), f"{here}.port", out)
    for name in found[1:]:
        out.append(status.forbidden_field(f"{at}.{name}", "may not specify more than 1 handler type"))


def _http(action: Object, at: str, out: Errors) -> None:
    checks.needed(action, ("path",), at, out)
    checks.port(action.get("port"), f"{at}.port", out)
    checks.option(action.get("scheme") or "", f"{at}.scheme", _SCHEMES, out)
    for header in action.get("httpHeaders") or ():
        checks.by(names.http_header, header.get("name") or "", f"{at}.httpHeaders", out)


def _sleep(seconds: int, at: str, grace: int | None, out: Errors) -> None:
    if grace is not None and not 0 <= seconds <= grace:
        why = f"must be non-negative and less than terminationGracePeriodSeconds ({grace})"
        out.append(invalid_value(at, seconds, why))


# ---- restarting ----


def _restart_policy(container: Object, at: str, out: Errors) -> None:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is None:
        if rules:
            why = "must specify restartPolicy when restart rules are used"
            out.append(status.required(f"{at}.restartPolicy", why))
        else:
            return
    checks.option(policy, f"{at}.restartPolicy", _RESTARTS, out)
    if len(rules) > _MAX_RULES:
        out.append(status.too_many(f"{at}.restartPolicyRules", len(rules), _MAX_RULES))
    for i, rule in enumerate(rules):
        here = f"{at}.restartPolicyRules[{i}]"
        checks.option(rule.get("action") or "", f"{here}.action", _RULE_ACTIONS, out)
        codes = rule.get("exitCodes")
        if codes is None:
            out.append(status.required(f"{here}.exitCodes", "must be specified"))
            continue
        checks.option(codes.get("operator") or "", f"{here}.exitCodes.operator", _RULE_OPERATORS, out)
        if len(codes.get("values") or ()) > _MAX_EXIT_CODES:
            out.append(status.too_many(f"{here}.exitCodes.values", len(codes["values"]), _MAX_EXIT_CODES))


# ---- updates ----


def check_images(new: Sequence[Object], old: Sequence[Object], at: str, out: Errors) -> bool:
    """Whether as many containers are there as before; if so, whether their images may be taken."""
    if len(new) != len(old):
        out.append(status.forbidden_field(at, "pod updates may not add or remove containers"))
        return False
    for i, container in enumerate(new):
        checks.needed(container, ("image",), f"{at}[{i}]", out)
        check_image(container, f"{at}[{i}]", out)
    return True

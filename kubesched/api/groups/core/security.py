# SPDX-License-Identifier: Apache-2.0
"""What is wrong with security contexts, and with what pods of one operating system may not say.

Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from kubesched.api import checks, gotext, names, status
from kubesched.api.checks import Errors
from kubesched.api.status import invalid_value
from kubesched.api.strategy import Object

_PROFILES = ("Localhost", "RuntimeDefault", "Unconfined")
_PROC_MOUNTS = ("Default", "Unmasked")
_CHOICES = {
    "fsGroupChangePolicy": ("Always", "OnRootMismatch"),
    "supplementalGroupsPolicy": ("Merge", "Strict"),
    "seLinuxChangePolicy": ("MountOption", "Recursive"),
}
SYSTEMS = ("linux", "windows")
_MAX_PATH = 4095

_SECCOMP = gotext.Struct({"Type": "", "LocalhostProfile": None})
_APP_ARMOR = _SECCOMP
_CONTEXT = gotext.Struct(
    {
        "Capabilities": gotext.Struct({"Add": None, "Drop": None}),
        "Privileged": None,
        "SELinuxOptions": gotext.Struct({"User": "", "Role": "", "Type": "", "Level": ""}),
        "WindowsOptions": gotext.Struct(
            {"GMSACredentialSpecName": None, "GMSACredentialSpec": None, "RunAsUserName": None, "HostProcess": None}
        ),
        "RunAsUser": None,
        "RunAsGroup": None,
        "RunAsNonRoot": None,
        "ReadOnlyRootFilesystem": None,
        "AllowPrivilegeEscalation": None,
        "ProcMount": None,
        "SeccompProfile": _SECCOMP,
        "AppArmorProfile": _APP_ARMOR,
    }
)
"""Upstream shows these values as its own types write themselves."""


# ---- of a container ----


def check_container(context: Object, at: str, out: Errors, *, host_users: bool) -> None:
    """The security context of one container."""
    get = context.get
    checks.identity(get("runAsUser"), f"{at}.runAsUser", out)
    checks.identity(get("runAsGroup"), f"{at}.runAsGroup", out)
    proc_mount = get("procMount")
    if proc_mount is not None:
        checks.option(proc_mount, f"{at}.procMount", _PROC_MOUNTS, out)
        if host_users and proc_mount == "Unmasked":
            why = "`hostUsers` must be false to use `Unmasked`"
            out.append(invalid_value(f"{at}.procMount", proc_mount, why))
    _seccomp(get("seccompProfile"), f"{at}.seccompProfile", out)
    if get("allowPrivilegeEscalation") is False:
        _no_escalation(context, at, out)
    _windows_options(get("windowsOptions"), f"{at}.windowsOptions", out)
    _app_armor(get("appArmorProfile"), f"{at}.appArmorProfile", out)


def _no_escalation(context: Object, at: str, out: Errors) -> None:
    wrong = ["`privileged` to true"] if context.get("privileged") else []
    added = (context.get("capabilities") or {}).get("add") or ()
    wrong += ["`capabilities.Add` CAP_SYS_ADMIN" for name in added if name == "CAP_SYS_ADMIN"]
    for what in wrong:
        why = f"cannot set `allowPrivilegeEscalation` to false and {what}"
        out.append(invalid_value(at, _CONTEXT.show(context), why))


def _seccomp(profile: Object | None, at: str, out: Errors) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    if not kind:
        out.append(status.required(f"{at}.type", "type is required when seccompProfile is set"))
    else:
        checks.option(kind, f"{at}.type", _PROFILES, out)
    if kind != "Localhost":
        if local is not None:
            why = "can only be set when seccomp type is Localhost"
            out.append(invalid_value(f"{at}.localhostProfile", _SECCOMP.show(profile), why))
    elif local is None:
        out.append(status.required(f"{at}.localhostProfile", "must be set when seccomp type is Localhost"))
    else:
        checks.relative_path(local, f"{at}.localhostProfile", out)


def _app_armor(profile: Object | None, at: str, out: Errors) -> None:
    if profile is None:
        return
    kind, local = profile.get("type") or "", profile.get("localhostProfile")
    here = f"{at}.localhostProfile"
    if kind == "Localhost":
        if local is None or not local:
            out.append(status.required(here, "must be set when AppArmor type is Localhost"))
        elif local.strip() != local:
            out.append(invalid_value(here, local, "must not be padded with whitespace"))
        if len((local or "").encode()) > _MAX_PATH:
            out.append(status.too_long(here, _MAX_PATH))
    elif kind in _PROFILES:
        if local is not None:
            out.append(invalid_value(here, local, "can only be set when AppArmor type is Localhost"))
    elif not kind:
        out.append(status.required(f"{at}.type", "type is required when appArmorProfile is set"))
    else:
        out.append(status.not_supported(f"{at}.type", kind, _PROFILES))


# ---- of a pod ----


def check_pod(spec: Object, at: str, out: Errors) -> None:
    """The security context of a pod's specification."""
    context = spec.get("securityContext") or {}
    if not context and not spec.get("shareProcessNamespace"):
        return
    here = f"{at}.securityContext"
    for name in ("fsGroup", "runAsUser", "runAsGroup"):
        checks.identity(context.get(name), f"{here}.{name}", out)
    for i, group in enumerate(context.get("supplementalGroups") or ()):
        checks.identity(group, f"{here}.supplementalGroups[{i}]", out)
    if spec.get("shareProcessNamespace") and spec.get("hostPID"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        out.append(invalid_value(f"{here}.shareProcessNamespace", True, why))
    for i, sysctl in enumerate(context.get("sysctls") or ()):
        _sysctl(sysctl, context["sysctls"][:i], spec, f"{here}.sysctls[{i}].name", out)
    _choice(context, "fsGroupChangePolicy", here, out)
    _seccomp(context.get("seccompProfile"), f"{here}.seccompProfile", out)
    _windows_options(context.get("windowsOptions"), f"{here}.windowsOptions", out)
    _app_armor(context.get("appArmorProfile"), f"{here}.appArmorProfile", out)
    _choice(context, "supplementalGroupsPolicy", here, out)
    _choice(context, "seLinuxChangePolicy", here, out)


def _choice(context: Object, name: str, at: str, out: Errors) -> None:
    checks.option(context.get(name), f"{at}.{name}", _CHOICES[name], out)


_SYSCTL = "[a-z0-9]([-_a-z0-9]*[a-z0-9])?"
_SYSCTLS = rf"({_SYSCTL}[\./])*{_SYSCTL}"
_MAX_SYSCTL = 253
_OF_IPC = frozenset(
    f"kernel.{name}"
    for name in ["sem", "shm", "shmall", "shmmax", "shmmni", "shm_rmid_forced", "msg", "msgmax", "msgmnb", "msgmni"]
)


def _sysctl(sysctl: Object, before: Iterable[Object], spec: Object, at: str, out: Errors) -> None:
    name = sysctl.get("name") or ""
    if not name:
        out.append(status.required(at))
    elif len(name) > _MAX_SYSCTL or not re.fullmatch(_SYSCTLS, name):
        why = f"must have at most {_MAX_SYSCTL} characters and match regex ^{_SYSCTLS}$"
        out.append(invalid_value(at, name, why))
    elif any(other.get("name") == name for other in before):
        out.append(status.duplicate(at, name))
    dotted = _dotted(name)
    if spec.get("hostNetwork") and dotted.startswith("net."):
        out.append(invalid_value(at, name, "may not be specified when 'hostNetwork' is true"))
    elif spec.get("hostIPC") and (dotted in _OF_IPC or dotted.startswith("fs.mqueue.")):
        out.append(invalid_value(at, name, "may not be specified when 'hostIPC' is true"))


def _dotted(name: str) -> str:
    """A name in the form with dots: whichever separator comes first separates, the other is part of a name."""
    first = re.search(r"[./]", name)
    return name if first is None or first[0] == "." else name.translate(str.maketrans("./", "/."))


# ---- Windows ----

_MAX_CREDENTIAL_KIB = 64
_MAX_DOMAIN = 256
_MAX_USER = 104
_NETBIOS = r'[^\\/:*?"<>|.][^\\/:*?"<>|]{0,14}'
_DNS_LABEL = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_DNS_NAME = rf"{_DNS_LABEL}(?:\.{_DNS_LABEL})*"


def _windows_options(options: Object | None, at: str, out: Errors) -> None:
    if options is None:
        return
    name = options.get("gmsaCredentialSpecName")
    if name is not None:
        checks.by(names.subdomain, name, f"{at}.gmsaCredentialSpecName", out)
    credential = options.get("gmsaCredentialSpec")
    if credential is not None:
        size = len(credential.encode())
        why = "gmsaCredentialSpec cannot be an empty string" if not size else ""
        if size > _MAX_CREDENTIAL_KIB * 1024:
            why = f"gmsaCredentialSpec size must be under {_MAX_CREDENTIAL_KIB} KiB"
        if why:
            out.append(invalid_value(f"{at}.gmsaCredentialSpec", credential, why))
    user = options.get("runAsUserName")
    if user is not None:
        for why in _windows_user(user):
            out.append(invalid_value(f"{at}.runAsUserName", user, f"runAsUserName{why}"))


def _windows_user(text: str) -> Iterable[str]:
    """What is wrong with a user: its name, after a domain and a backslash or alone."""
    if not text:
        return [" cannot be an empty string"]
    if re.search(r"[\x00-\x1f\x7f]", text):
        return [" cannot contain control characters"]
    if text.count("\\") > 1:
        return [" cannot contain more than one backslash"]
    domain, slash, user = text.rpartition("\\")
    wrong = []
    if len(domain.encode()) >= _MAX_DOMAIN:
        wrong.append(f"'s Domain length must be under {_MAX_DOMAIN} characters")
    if slash and not re.fullmatch(_NETBIOS, domain) and not re.fullmatch(_DNS_NAME, domain):
        wrong.append("'s Domain doesn't match the NetBios nor the DNS format")
    if not user:
        wrong.append("'s User cannot be empty")
    elif len(user.encode()) > _MAX_USER:
        wrong.append(f"'s User length must not be longer than {_MAX_USER} characters")
    if re.fullmatch(r"[. ]+", user):
        wrong.append("'s User cannot contain only periods or spaces")
    if re.search(r'["/\\:;|=,+*?<>@\[\]]', user):
        wrong.append("'s User cannot contain the following characters: \"/\\:;|=,+*?<>@[]")
    return wrong


def check_host_process(spec: Object, at: str, each: Iterable[tuple[Object, str]], out: Errors) -> None:
    """Containers that are processes of a Windows host: all or none."""
    of_pod = _host_process(spec)
    found = []
    for container, here in each:
        own = _host_process(container)
        if of_pod is not None and own is not None and of_pod != own:
            was = "true" if of_pod else "false"
            why = f"pod hostProcess value must be identical if both are specified, was {was}"
            out.append(invalid_value(f"{here}.securityContext.windowsOptions.hostProcess", own, why))
        found.append(bool(of_pod if own is None else own))
    if not any(found):
        return
    if not all(found):
        why = "If pod contains any hostProcess containers then all containers must be HostProcess containers"
        out.append(invalid_value(at, "", why))
    if not spec.get("hostNetwork"):
        why = "hostNetwork must be true if pod contains any hostProcess containers"
        out.append(invalid_value(f"{at}.hostNetwork", False, why))


def _host_process(holder: Object) -> Any:
    return ((holder.get("securityContext") or {}).get("windowsOptions") or {}).get("hostProcess")


# ---- operating systems ----

_POD_ON_WINDOWS = (
    "securityContext.appArmorProfile",
    "securityContext.seLinuxOptions",
    "hostUsers",
    "hostPID",
    "hostIPC",
    "securityContext.seccompProfile",
    "securityContext.fsGroup",
    "securityContext.fsGroupChangePolicy",
    "securityContext.sysctls",
    "shareProcessNamespace",
    "securityContext.runAsUser",
    "securityContext.runAsGroup",
    "securityContext.supplementalGroups",
    "securityContext.supplementalGroupsPolicy",
    "securityContext.seLinuxChangePolicy",
)
_CONTAINER_ON_WINDOWS = (
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
)
_EMPTY_IS_NONE = {"hostPID", "hostIPC", "securityContext.sysctls"}


def check_system(spec: Object, at: str, each: Iterable[tuple[Object, str]], out: Errors) -> None:
    """A pod that names its operating system says nothing that only the other one knows."""
    system = spec["os"].get("name") or ""
    if not system:
        out.append(status.required(f"{at}.os.name"))
    elif system not in SYSTEMS:
        out.append(status.not_supported(f"{at}.os", system, SYSTEMS))
    elif system == "linux":
        for holder, here in ((spec, at), *each):
            if (holder.get("securityContext") or {}).get("windowsOptions") is not None:
                why = "windows options cannot be set for a linux pod"
                out.append(status.forbidden_field(f"{here}.securityContext.windowsOptions", why))
    else:
        _check_windows(spec, at, each, out)


def _check_windows(spec: Object, at: str, each: Iterable[tuple[Object, str]], out: Errors) -> None:
    why = "cannot be set for a windows pod"
    context = spec.get("securityContext") or {}
    for path in _POD_ON_WINDOWS:
        name = path.removeprefix("securityContext.")
        value = (spec if name == path else context).get(name)
        if value if path in _EMPTY_IS_NONE else value is not None:
            out.append(status.forbidden_field(f"{at}.{path}", why))
    for container, here in each:
        context = container.get("securityContext") or {}
        for name in _CONTAINER_ON_WINDOWS:
            if context.get(name) is not None:
                out.append(status.forbidden_field(f"{here}.securityContext.{name}", why))


# ---- the host's users ----


def check_host_users(spec: Object, at: str, each: Iterable[tuple[Object, str]], out: Errors) -> None:
    """A pod with users of its own shares no namespace of the host."""
    if spec.get("hostUsers") is not False:
        return
    why = "when `hostUsers` is false"
    for name, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")):
        if spec.get(name):
            out.append(status.forbidden_field(f"{at}.{shown}", why))
    for container, here in each:
        if container.get("volumeDevices"):
            out.append(status.forbidden_field(f"{here}.volumeDevices", why))

# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a pod's specification, wherever one stands, and with what a pod itself adds.

Errors come in upstream's order. Source: pkg/apis/core/validation/validation.go, v1.36.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kubesched.api import checks, gotext, meta, names, quantity, shared, status
from kubesched.api.checks import Errors
from kubesched.api.groups.core import containers, placing, podspec, security, volumes
from kubesched.api.groups.core.containers import Frame
from kubesched.api.status import invalid_value
from kubesched.api.strategy import Object

MIRROR = "kubernetes.io/config.mirror"
_DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_APP_ARMOR = "container.apparmor.security.beta.kubernetes.io/"
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP_CONTAINER = "container.seccomp.security.alpha.kubernetes.io/"

RESTARTS = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_PREEMPTIONS = ("PreemptLowerPriority", "Never")
_MAX_SERVERS = 3
_MAX_SEARCHES = 32
_MAX_SEARCH_LENGTH = 2048
_MAX_HOSTNAME = 64

_CLAIM = gotext.Struct({"Name": "", "ResourceClaimName": None, "ResourceClaimTemplateName": None})


# ---- pods and templates ----


def check_pod(pod: Object, out: Errors) -> None:
    """A pod's own annotations and its specification; metadata is judged as that of any object."""
    spec, metadata = pod.get("spec") or {}, pod["metadata"]
    if annotations := metadata.get("annotations"):
        check_annotations(annotations, spec, "metadata.annotations", out)
    check_spec(spec, "spec", out, metadata)


def _no_tokens(spec: Object, out: Errors) -> None:
    for i, volume in enumerate(spec.get("volumes") or ()):
        for j, source in enumerate((volume.get("projected") or {}).get("sources") or ()):
            if source.get("serviceAccountToken") is not None:
                at = f"spec.volumes[{i}].projected.sources[{j}].serviceAccountToken"
                out.append(status.forbidden_field(at, "must not be specified when serviceAccountName is not set"))


def check_template(template: Object, at: str, out: Errors) -> None:
    """A template of pods: labels, annotations and a specification."""
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    if labels := metadata.get("labels"):
        out.extend(meta.validate_labels(labels, f"{at}.labels"))
    if annotations := metadata.get("annotations"):
        out.extend(meta.validate_annotations(annotations, f"{at}.annotations"))
        check_annotations(annotations, spec, f"{at}.annotations", out)
    check_spec(spec, f"{at}.spec", out)
    if spec.get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        out.append(status.forbidden_field(f"{at}.spec.ephemeralContainers", why))


def check_annotations(annotations: Mapping[str, str], spec: Object, at: str, out: Errors) -> None:
    """Annotations that mean something for pods."""
    mirror = annotations.get(MIRROR)
    if mirror is not None and not spec.get("nodeName"):
        why = "must set spec.nodeName if mirror pod annotation is set"
        out.append(invalid_value(f"{at}[{MIRROR}]", mirror, why))
    cost = annotations.get(_DELETION_COST)
    if cost is not None and not _is_cost(cost):
        out.append(invalid_value(f"{at}[{_DELETION_COST}]", cost, "must be a 32bit integer"))
    for key, value in annotations.items():
        if key == _SECCOMP_POD or key.startswith(_SECCOMP_CONTAINER):
            _check_seccomp(value, f"{at}.{key}", out)
        elif key.startswith(_APP_ARMOR):
            _check_app_armor(key, value, spec, at, out)


def _is_cost(text: str) -> bool:
    if not text.isascii() or not text.removeprefix("-").isdigit() or (text[0] == "0" and len(text) > 1):
        return False
    return -(2**31) <= int(text) <= checks.MAX_INT32


def _check_seccomp(profile: str, at: str, out: Errors) -> None:
    if profile.startswith("localhost/"):
        checks.relative_path(profile.removeprefix("localhost/"), at, out)
    elif profile not in ("runtime/default", "docker/default", "unconfined"):
        out.append(invalid_value(at, profile, "must be a valid seccomp profile"))


def _check_app_armor(key: str, profile: str, spec: Object, at: str, out: Errors) -> None:
    name = key.removeprefix(_APP_ARMOR)
    if all(container.get("name") != name for container, _ in containers.each(spec, "spec")):
        out.append(invalid_value(f"{at}[{key}]", name, "container not found"))
    if profile not in ("", "runtime/default", "unconfined") and not profile.startswith("localhost/"):
        why = f"invalid AppArmor profile name: {gotext.quote(profile)}"
        out.append(invalid_value(f"{at}[{key}]", profile, why))


# ---- the specification ----


def check_spec(spec: Object, at: str, out: Errors, pod: Object | None = None) -> None:
    """A specification; ``pod`` is the metadata of the pod that has it, None in a template."""
    within = _within(spec, pod)
    if shared.recall(spec, check_spec) == within:
        return  # nothing was wrong with it
    before = len(out)
    grace = spec.get("terminationGracePeriodSeconds")
    if grace is None:
        out.append(status.required(f"{at}.terminationGracePeriodSeconds"))
    name = "" if pod is None else pod.get("name") or ""
    wanted = spec.get("resourceClaims") or ()
    frame = Frame(
        volumes=volumes.check(spec.get("volumes") or (), name, f"{at}.volumes", out),
        claims={claim["name"] for claim in wanted if claim.get("name")},
        grace=grace,
        system=(spec.get("os") or {}).get("name") or "",
        restart=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
    )
    if wanted:
        _check_claims(wanted, pod, f"{at}.resourceClaims", out)
    _check_framed(spec, at, frame, out, is_pod=pod is not None)
    if pod is not None:
        _check_own(spec, at, out)
    if len(out) == before:
        shared.keep(spec, check_spec, within)


def _within(spec: Object, pod: Object | None) -> tuple[str | bool, ...]:
    """What of a pod counts for its specification beside that there is one."""
    if pod is None:
        return ()
    name: str = pod.get("name") or ""
    mounted, claims = spec.get("volumes"), spec.get("resourceClaims")
    naming = mounted and any("ephemeral" in volume for volume in mounted)  # claims that are named after it
    return name if naming else bool(name), bool(claims) and MIRROR in (pod.get("annotations") or ())


def _check_framed(spec: Object, at: str, frame: Frame, out: Errors, *, is_pod: bool) -> None:
    """All but volumes and claims."""
    ordinary = spec.get("containers") or ()
    containers.check_ordinary(ordinary, f"{at}.containers", frame, out)
    if initial := spec.get("initContainers"):
        containers.check_initial(initial, ordinary, f"{at}.initContainers", frame, out)
    if ephemeral := spec.get("ephemeralContainers"):
        containers.check_ephemeral(ephemeral, spec, f"{at}.ephemeralContainers", frame, out)
    if spec.get("resources") is not None:
        _check_resources(spec, f"{at}.resources", frame, out)
    if spec.get("hostNetwork"):
        _check_host_ports(ordinary, f"{at}.containers", out, any_port=not is_pod)
    checks.choice(spec.get("restartPolicy"), f"{at}.restartPolicy", RESTARTS, out)
    checks.choice(spec.get("dnsPolicy"), f"{at}.dnsPolicy", _DNS_POLICIES, out)
    if selector := spec.get("nodeSelector"):
        out.extend(meta.validate_labels(selector, f"{at}.nodeSelector"))
    security.check_pod(spec, at, out)
    if affinity := spec.get("affinity"):
        placing.check_affinity(affinity, f"{at}.affinity", out)
    _check_dns(spec, f"{at}.dnsConfig", out)
    for i, gate in enumerate(spec.get("readinessGates") or ()):
        checks.by(names.qualified_name, gate.get("conditionType") or "", f"{at}.readinessGates[{i}].conditionType", out)
    _check_rest(spec, at, out)
    if frame.files:
        _check_files(spec, frame, out)


def _check_own(spec: Object, at: str, out: Errors) -> None:
    """What a template may have, and a pod may not."""
    if not spec.get("serviceAccountName"):
        _no_tokens(spec, out)
    for part in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(part) or ()):
            containers.check_image(container, f"{at}.{part}[{i}]", out)


def _check_rest(spec: Object, at: str, out: Errors) -> None:
    """What comes after gates; most of it is absent from most pods."""
    if gates := spec.get("schedulingGates"):
        placing.check_gates(gates, f"{at}.schedulingGates", out)
    if constraints := spec.get("topologySpreadConstraints"):
        placing.check_spreading(constraints, f"{at}.topologySpreadConstraints", out)
    security.check_host_process(spec, at, containers.each(spec, at), out)
    security.check_host_users(spec, at, containers.each(spec, at), out)
    if spec.get("hostnameOverride") is not None:
        _check_hostname(spec, f"{at}.hostnameOverride", out)
    for name, check in _FIELDS.items():
        value = spec.get(name)
        if value is not None:
            check(value, f"{at}.{name}", out)
    if spec.get("os") is not None:
        security.check_system(spec, at, list(containers.each(spec, at)), out)
    if spec.get("schedulingGroup") is not None:
        _check_group(spec["schedulingGroup"], f"{at}.schedulingGroup.podGroupName", out)


def _by(rule: names.Rule) -> Callable[[Any, str, Errors], None]:
    def check(value: str, at: str, out: Errors) -> None:
        if value:
            checks.by(rule, value, at, out)

    return check


def _deadline(value: int, at: str, out: Errors) -> None:
    checks.number_within(value, 1, checks.MAX_INT32, at, out)


def _hosts(aliases: list[Object], at: str, out: Errors) -> None:
    for i, alias in enumerate(aliases):
        checks.by(checks.address_errors, alias.get("ip") or "", f"{at}[{i}].ip", out)
        for j, name in enumerate(alias.get("hostnames") or ()):
            checks.by(names.subdomain, name, f"{at}[{i}].hostnames[{j}]", out)


def _runtime_class(value: str, at: str, out: Errors) -> None:
    checks.by(names.subdomain, value, at, out)


def _preemption(value: str, at: str, out: Errors) -> None:
    checks.choice(value, at, _PREEMPTIONS, out)


def _overhead(value: Object, at: str, out: Errors) -> None:
    containers.check_resources({"limits": value}, at, set(), out)


_FIELDS: Mapping[str, Callable[[Any, str, Errors], None]] = {
    "serviceAccountName": _by(names.subdomain),
    "nodeName": _by(names.subdomain),
    "activeDeadlineSeconds": _deadline,
    "hostname": _by(names.label),
    "subdomain": _by(names.label),
    "tolerations": placing.check_tolerations,
    "hostAliases": _hosts,
    "priorityClassName": _by(names.subdomain),
    "runtimeClassName": _runtime_class,
    "preemptionPolicy": _preemption,
    "overhead": _overhead,
}


def _check_claims(wanted: list[Object], pod: Object | None, at: str, out: Errors) -> None:
    """Claims of devices, by name or made from a template."""
    seen: set[str] = set()
    static = pod is not None and MIRROR in (pod.get("annotations") or ())
    for i, claim in enumerate(wanted):
        if static:
            out.append(status.forbidden_field("", "static pods do not support resource claims"))
            continue
        here, name = f"{at}[{i}]", claim.get("name") or ""
        if name in seen:
            out.append(status.duplicate(f"{here}.name", name))
        else:
            checks.named(names.label, claim, "name", here, out)
            seen |= {name} - {""}
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            out.append(invalid_value(here, _CLAIM.show(claim), why))
        if not given:
            why = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            out.append(invalid_value(here, _CLAIM.show(claim), why))
        for field in given:
            checks.by(names.subdomain, claim[field], f"{here}.{field}", out)


def _check_host_ports(ordinary: Sequence[Object], at: str, out: Errors, *, any_port: bool) -> None:
    for i, container in enumerate(ordinary):
        for j, port in enumerate(container.get("ports") or ()):
            given = port.get("hostPort", 0)
            if given != port.get("containerPort", 0) and (given or not any_port):
                why = "must match `containerPort` when `hostNetwork` is true"
                out.append(invalid_value(f"{at}[{i}].ports[{j}].hostPort", given, why))


def _check_dns(spec: Object, at: str, out: Errors) -> None:
    config = spec.get("dnsConfig")
    if spec.get("dnsPolicy") == "None":
        if config is None:
            out.append(status.required(at, "must provide `dnsConfig` when `dnsPolicy` is None"))
            return
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            out.append(status.required(f"{at}.nameservers", why))
            return
    if config is not None:
        _check_dns_config(config, at, out)


def _check_dns_config(config: Object, at: str, out: Errors) -> None:
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > _MAX_SERVERS:
        out.append(invalid_value(f"{at}.nameservers", servers, f"must not have more than {_MAX_SERVERS} nameservers"))
    for i, server in enumerate(servers):
        checks.by(checks.address_errors, server, f"{at}.nameservers[{i}]", out)
    if len(searches) > _MAX_SEARCHES:
        out.append(invalid_value(f"{at}.searches", searches, f"must not have more than {_MAX_SEARCHES} search paths"))
    if len(" ".join(searches)) > _MAX_SEARCH_LENGTH:
        why = f"must not have more than {_MAX_SEARCH_LENGTH} characters (including spaces) in the search list"
        out.append(invalid_value(f"{at}.searches", searches, why))
    for i, search in enumerate(searches):
        if search != ".":
            checks.by(names.subdomain_with_underscore, search.removesuffix("."), f"{at}.searches[{i}]", out)
    for i, item in enumerate(config.get("options") or ()):
        if not item.get("name"):
            out.append(status.required(f"{at}.options[{i}]", "must not be empty"))


def _check_hostname(spec: Object, at: str, out: Errors) -> None:
    name = spec["hostnameOverride"]
    for other in ("setHostnameAsFQDN", "hostNetwork"):
        if spec.get(other):
            out.append(status.forbidden_field(at, f"may not be specified when {other} is true"))
    if len(name.encode()) > _MAX_HOSTNAME:
        out.append(status.too_long(at, _MAX_HOSTNAME))
    checks.by(names.subdomain, name, at, out)


def _check_group(group: Object, at: str, out: Errors) -> None:
    name = group.get("podGroupName")
    if name is None:
        out.append(invalid_value(at, None, "must specify one of: `podGroupName`"))
    else:
        checks.by(names.subdomain, name, at, out)


def _check_files(spec: Object, frame: Frame, out: Errors) -> None:
    """Variables of files come from volumes that begin empty."""
    by_name = {volume.get("name"): volume for volume in spec.get("volumes") or ()}
    for name, at in frame.files:
        if name not in by_name:
            out.append(status.value_not_found(at, name))
        elif by_name[name].get("emptyDir") is None:
            out.append(invalid_value(at, name, "referenced volume must be of type emptyDir"))


# ---- resources of the whole pod ----

_WHOLE = ("cpu", "hugepages-", "memory")


def _check_whole(name: str, at: str, out: Errors) -> None:
    if wrong := checks.resource_name(name):
        out.extend(invalid_value(at, name, why) for why in wrong)
    elif name not in _WHOLE and not checks.is_huge(name):
        out.append(status.not_supported(at, name, _WHOLE))


def _check_resources(spec: Object, at: str, frame: Frame, out: Errors) -> None:
    resources: Object = spec["resources"]
    if frame.system == "windows":
        out.append(status.forbidden_field(at, "may not be set for a windows pod"))
        return
    if resources.get("claims") is not None:
        out.append(status.forbidden_field(f"{at}.claims", "claims may not be set for Resources at pod-level"))
    containers.check_resources(resources, at, frame.claims, out, _check_whole)
    _check_sums(spec, resources, at, out)


def _check_sums(spec: Object, resources: Object, at: str, out: Errors) -> None:
    """Containers together ask for no more than the pod, and none may use more."""
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, text in podspec.total(spec, "requests").items():
        if name in requests and quantity.parse_nano(text) > quantity.parse_nano(requests[name]):
            why = f"must be greater than or equal to aggregate container requests of {text}"
            out.append(invalid_value(f"{at}.requests[{name}]", requests[name], why))
    for name, text in podspec.total(spec, "limits").items():
        if checks.is_huge(name) and name in limits and quantity.parse_nano(text) > quantity.parse_nano(limits[name]):
            why = f"must be greater than or equal to aggregate container limits of {text}"
            out.append(invalid_value(f"{at}.limits[{name}]", limits[name], why))
    for i, container in enumerate(spec.get("containers") or ()):
        for name, text in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.parse_nano(text) > quantity.parse_nano(limits[name]):
                why = f"must be less than or equal to pod limits of {limits[name]}"
                out.append(invalid_value(f"{at}.containers[{i}][{name}].limits", text, why))


# ---- quality of service ----


def quality(spec: Object) -> str:
    """BestEffort, Burstable or Guaranteed."""
    found: str = shared.recall(spec, quality) or _quality(spec)
    shared.keep(spec, quality, found)
    return found


def _quality(spec: Object) -> str:
    if (whole := spec.get("resources")) and (whole.get("requests") or whole.get("limits")):
        asking = [whole]
    else:
        parts = ("containers", "initContainers")
        asking = [item.get("resources") or {} for part in parts for item in spec.get(part) or ()]
    requests, limits = _positive(asking, "requests"), _positive(asking, "limits")
    if not requests and not limits:
        return "BestEffort"
    guaranteed = all(len(_positive([one], "limits")) == 2 for one in asking) and requests == limits
    return "Guaranteed" if guaranteed else "Burstable"


def _positive(asking: list[Object], part: str) -> dict[str, int]:
    """Sums of what is asked of processors and memory."""
    sums: dict[str, int] = {}
    for resources in asking:
        amounts = resources.get(part) or {}
        for name in ("cpu", "memory"):
            if name in amounts and (nano := quantity.parse_nano(amounts[name])) > 0:
                sums[name] = sums.get(name, 0) + nano
    return sums

# SPDX-License-Identifier: Apache-2.0
"""The table of kinds: what is served under which group and version, how it is named, and under which key it is kept.

Routes, discovery, printing and storage come from here. A new built-in kind is a row of `_BUILT_IN`; kinds that
CustomResourceDefinitions define come and go at run time (`Registry.add`, `Registry.remove`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubesched.api import schema

ALL_VERBS = frozenset({"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"})


@dataclass(frozen=True, slots=True)
class Subresource:
    """A part of an object with a path of its own, ``pods/binding`` for example."""

    name: str
    verbs: frozenset[str]
    group: str = ""  # of the kind of its bodies
    version: str = ""  # empty: the bodies are of the object's own group and version
    kind: str = ""  # empty: the bodies are of the object's own kind


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """One resource in one version. Versions with the same ``prefix`` show the same stored objects."""

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool = True
    verbs: frozenset[str] = ALL_VERBS
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: Mapping[str, Subresource] = field(default_factory=dict)
    list_kind: str = ""
    prefix: str = ""  # of its keys in the store, ending in a slash; empty: nothing is kept
    storage_version: str = ""  # apiVersion in which it is kept
    custom: bool = False  # made by a CustomResourceDefinition
    custom_type: schema.Type | None = None  # of a custom resource
    openapi: Mapping[str, Any] | None = None  # OpenAPI v2 schema of a custom resource, as it is published

    @property
    def api_version(self) -> str:
        """As objects say it: ``apps/v1``, ``v1``."""
        return api_version(self.group, self.version)

    @property
    def virtual(self) -> bool:
        """Whether nothing is kept: it is asked or done, not stored (reviews, bindings)."""
        return not self.prefix

    @property
    def type(self) -> schema.Type:
        """The type of its objects."""
        return self.custom_type or schema.of(self.group, self.version, self.kind)

    def key(self, namespace: str, name: str) -> str:
        """The key of an object in the store; ``namespace`` is empty for what is not in one."""
        return f"{self.prefix}{namespace}/{name}" if self.namespaced else f"{self.prefix}{name}"


def api_version(group: str, version: str) -> str:
    return f"{group}/{version}" if group else version


def split_api_version(text: str) -> tuple[str, str]:
    """``apps/v1`` -> ``("apps", "v1")``, ``v1`` -> ``("", "v1")``."""
    group, slash, version = text.rpartition("/")
    return (group, version) if slash else ("", text)


def prefix_of(group: str, plural: str) -> str:
    """Where objects of a resource are kept."""
    return f"{group or 'core'}/{plural}/"


# ---- the built-in kinds ----


@dataclass(frozen=True, slots=True)
class _Row:
    """A resource as the table below writes it."""

    plural: str
    kind: str
    short: str = ""
    namespaced: bool = True
    categories: str = ""
    verbs: str = ""  # empty: all
    subresources: tuple[Subresource, ...] = ()
    stored_as: str = ""  # apiVersion, where it is another than its own


def _sub(name: str, verbs: str, kind: str = "", group: str = "", version: str = "") -> Subresource:
    return Subresource(name, frozenset(verbs.split()), group, version, kind)


_STATUS = _sub("status", "get patch update")
_SCALE = _sub("scale", "get patch update", "Scale", "autoscaling", "v1")

# Groups in the order of discovery, versions with the preferred one first, resources by name.
_BUILT_IN: Mapping[tuple[str, str], tuple[_Row, ...]] = {
    ("", "v1"): (
        _Row("bindings", "Binding", verbs="create"),
        _Row("componentstatuses", "ComponentStatus", short="cs", namespaced=False, verbs="get list"),
        _Row("configmaps", "ConfigMap", short="cm"),
        _Row("endpoints", "Endpoints", short="ep"),
        _Row("events", "Event", short="ev"),
        _Row("limitranges", "LimitRange", short="limits"),
        _Row(
            "namespaces",
            "Namespace",
            short="ns",
            namespaced=False,
            verbs="create delete get list patch update watch",
            subresources=(_sub("finalize", "update"), _STATUS),
        ),
        _Row(
            "nodes",
            "Node",
            short="no",
            namespaced=False,
            subresources=(_sub("proxy", "create delete get patch update", "NodeProxyOptions"), _STATUS),
        ),
        _Row("persistentvolumeclaims", "PersistentVolumeClaim", short="pvc", subresources=(_STATUS,)),
        _Row("persistentvolumes", "PersistentVolume", short="pv", namespaced=False, subresources=(_STATUS,)),
        _Row(
            "pods",
            "Pod",
            short="po",
            categories="all",
            subresources=(
                _sub("attach", "create get", "PodAttachOptions"),
                _sub("binding", "create", "Binding"),
                _sub("ephemeralcontainers", "get patch update"),
                _sub("eviction", "create", "Eviction", "policy", "v1"),
                _sub("exec", "create get", "PodExecOptions"),
                _sub("log", "get"),
                _sub("portforward", "create get", "PodPortForwardOptions"),
                _sub("proxy", "create delete get patch update", "PodProxyOptions"),
                _sub("resize", "get patch update"),
                _STATUS,
            ),
        ),
        _Row("podtemplates", "PodTemplate"),
        _Row(
            "replicationcontrollers",
            "ReplicationController",
            short="rc",
            categories="all",
            subresources=(_SCALE, _STATUS),
        ),
        _Row("resourcequotas", "ResourceQuota", short="quota", subresources=(_STATUS,)),
        _Row("secrets", "Secret"),
        _Row(
            "serviceaccounts",
            "ServiceAccount",
            short="sa",
            subresources=(_sub("token", "create", "TokenRequest", "authentication.k8s.io", "v1"),),
        ),
        _Row(
            "services",
            "Service",
            short="svc",
            categories="all",
            subresources=(_sub("proxy", "create delete get patch update", "ServiceProxyOptions"), _STATUS),
        ),
    ),
    ("apiregistration.k8s.io", "v1"): (
        _Row("apiservices", "APIService", namespaced=False, categories="api-extensions", subresources=(_STATUS,)),
    ),
    ("apps", "v1"): (
        _Row("controllerrevisions", "ControllerRevision"),
        _Row("daemonsets", "DaemonSet", short="ds", categories="all", subresources=(_STATUS,)),
        _Row(
            "deployments",
            "Deployment",
            short="deploy",
            categories="all",
            subresources=(_SCALE, _STATUS),
        ),
        _Row(
            "replicasets",
            "ReplicaSet",
            short="rs",
            categories="all",
            subresources=(_SCALE, _STATUS),
        ),
        _Row(
            "statefulsets",
            "StatefulSet",
            short="sts",
            categories="all",
            subresources=(_SCALE, _STATUS),
        ),
    ),
    ("events.k8s.io", "v1"): (_Row("events", "Event", short="ev", stored_as="v1"),),
    ("authentication.k8s.io", "v1"): (
        _Row("selfsubjectreviews", "SelfSubjectReview", namespaced=False, verbs="create"),
        _Row("tokenreviews", "TokenReview", namespaced=False, verbs="create"),
    ),
    ("authorization.k8s.io", "v1"): (
        _Row("localsubjectaccessreviews", "LocalSubjectAccessReview", verbs="create"),
        _Row("selfsubjectaccessreviews", "SelfSubjectAccessReview", namespaced=False, verbs="create"),
        _Row("selfsubjectrulesreviews", "SelfSubjectRulesReview", namespaced=False, verbs="create"),
        _Row("subjectaccessreviews", "SubjectAccessReview", namespaced=False, verbs="create"),
    ),
    ("autoscaling", "v2"): (
        _Row(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            short="hpa",
            categories="all",
            subresources=(_STATUS,),
        ),
    ),
    ("autoscaling", "v1"): (
        _Row(
            "horizontalpodautoscalers",
            "HorizontalPodAutoscaler",
            short="hpa",
            categories="all",
            subresources=(_STATUS,),
            stored_as="autoscaling/v2",
        ),
    ),
    ("batch", "v1"): (
        _Row("cronjobs", "CronJob", short="cj", categories="all", subresources=(_STATUS,)),
        _Row("jobs", "Job", categories="all", subresources=(_STATUS,)),
    ),
    ("certificates.k8s.io", "v1"): (
        _Row(
            "certificatesigningrequests",
            "CertificateSigningRequest",
            short="csr",
            namespaced=False,
            subresources=(_sub("approval", "get patch update"), _STATUS),
        ),
    ),
    ("networking.k8s.io", "v1"): (
        _Row("ingressclasses", "IngressClass", namespaced=False),
        _Row("ingresses", "Ingress", short="ing", subresources=(_STATUS,)),
        _Row("ipaddresses", "IPAddress", short="ip", namespaced=False),
        _Row("networkpolicies", "NetworkPolicy", short="netpol"),
        _Row("servicecidrs", "ServiceCIDR", namespaced=False, subresources=(_STATUS,)),
    ),
    ("policy", "v1"): (_Row("poddisruptionbudgets", "PodDisruptionBudget", short="pdb", subresources=(_STATUS,)),),
    ("rbac.authorization.k8s.io", "v1"): (
        _Row("clusterrolebindings", "ClusterRoleBinding", namespaced=False),
        _Row("clusterroles", "ClusterRole", namespaced=False),
        _Row("rolebindings", "RoleBinding"),
        _Row("roles", "Role"),
    ),
    ("storage.k8s.io", "v1"): (
        _Row("csidrivers", "CSIDriver", namespaced=False),
        _Row("csinodes", "CSINode", namespaced=False),
        _Row("csistoragecapacities", "CSIStorageCapacity"),
        _Row("storageclasses", "StorageClass", short="sc", namespaced=False),
        _Row("volumeattachments", "VolumeAttachment", namespaced=False, subresources=(_STATUS,)),
        _Row("volumeattributesclasses", "VolumeAttributesClass", short="vac", namespaced=False),
    ),
    ("admissionregistration.k8s.io", "v1"): (
        _Row("mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False, categories="api-extensions"),
        _Row(
            "mutatingadmissionpolicybindings",
            "MutatingAdmissionPolicyBinding",
            namespaced=False,
            categories="api-extensions",
        ),
        _Row(
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
            namespaced=False,
            categories="api-extensions",
        ),
        _Row(
            "validatingadmissionpolicies",
            "ValidatingAdmissionPolicy",
            namespaced=False,
            categories="api-extensions",
            subresources=(_STATUS,),
        ),
        _Row(
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
            namespaced=False,
            categories="api-extensions",
        ),
        _Row(
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
            namespaced=False,
            categories="api-extensions",
        ),
    ),
    ("apiextensions.k8s.io", "v1"): (
        _Row(
            "customresourcedefinitions",
            "CustomResourceDefinition",
            short="crd crds",
            namespaced=False,
            categories="api-extensions",
            subresources=(_STATUS,),
        ),
    ),
    ("scheduling.k8s.io", "v1"): (_Row("priorityclasses", "PriorityClass", short="pc", namespaced=False),),
    ("coordination.k8s.io", "v1"): (_Row("leases", "Lease"),),
    ("node.k8s.io", "v1"): (_Row("runtimeclasses", "RuntimeClass", namespaced=False),),
    ("discovery.k8s.io", "v1"): (_Row("endpointslices", "EndpointSlice"),),
    ("resource.k8s.io", "v1"): (
        _Row("deviceclasses", "DeviceClass", namespaced=False),
        _Row("resourceclaims", "ResourceClaim", subresources=(_STATUS,)),
        _Row("resourceclaimtemplates", "ResourceClaimTemplate"),
        _Row("resourceslices", "ResourceSlice", namespaced=False),
    ),
    ("flowcontrol.apiserver.k8s.io", "v1"): (
        _Row("flowschemas", "FlowSchema", namespaced=False, subresources=(_STATUS,)),
        _Row("prioritylevelconfigurations", "PriorityLevelConfiguration", namespaced=False, subresources=(_STATUS,)),
    ),
}

_RANK = {group: i for i, (group, _) in enumerate(_BUILT_IN)}


def _kind(group: str, version: str, row: _Row) -> Kind:
    stored_as = row.stored_as or api_version(group, version)
    verbs = frozenset(row.verbs.split()) or ALL_VERBS
    return Kind(
        group,
        version,
        row.plural,
        row.kind,
        singular=row.kind.lower(),
        namespaced=row.namespaced,
        verbs=verbs,
        short_names=tuple(row.short.split()),
        categories=tuple(row.categories.split()),
        subresources={sub.name: sub for sub in row.subresources},
        list_kind=f"{row.kind}List",
        prefix=prefix_of(split_api_version(stored_as)[0], row.plural) if "watch" in verbs else "",
        storage_version=stored_as,
    )


def built_in() -> Iterator[Kind]:
    """Every built-in kind, in the order of discovery."""
    for (group, version), rows in _BUILT_IN.items():
        for row in rows:
            yield _kind(group, version, row)


# ---- the registry ----

_VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?\Z")


def version_order(version: str) -> tuple[Any, ...]:
    """Sorts versions as clients expect them: v10, v2, v1, v2beta1, v1alpha2, then whatever else by name."""
    match = _VERSION.match(version)
    if match is None:
        return (3, 0, 0, version)
    stage = {None: 0, "beta": 1, "alpha": 2}[match[2]]
    return (stage, -int(match[1]), -int(match[3] or 0), version)


class Registry:
    """What is served now. ``generation`` counts changes, so that what is made from the registry can be kept."""

    def __init__(self, kinds: Iterable[Kind] = ()) -> None:
        self._groups: dict[str, dict[str, dict[str, Kind]]] = {}
        self._kinds: dict[tuple[str, str, str], Kind] = {}
        self.generation = 0
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        """Serve a kind, in place of the one of that name if there is one."""
        self.remove(kind.group, kind.version, kind.plural)
        versions = self._groups.setdefault(kind.group, {})
        if kind.version not in versions:
            versions[kind.version] = {}
            if kind.custom:
                self._groups[kind.group] = {v: versions[v] for v in sorted(versions, key=version_order)}
        self._groups[kind.group][kind.version][kind.plural] = kind
        self._kinds[kind.group, kind.version, kind.kind] = kind
        self.generation += 1

    def remove(self, group: str, version: str, plural: str) -> None:
        """Serve it no longer; nothing happens if it is not served."""
        kind = self.find(group, version, plural)
        if kind is None:
            return
        del self._groups[group][version][plural]
        del self._kinds[group, version, kind.kind]
        if not self._groups[group][version]:
            del self._groups[group][version]
        if not self._groups[group]:
            del self._groups[group]
        self.generation += 1

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        """The resource of a path; None if there is none."""
        try:
            return self._groups[group][version].get(plural)
        except KeyError:
            return None

    def of_kind(self, group: str, version: str, kind: str) -> Kind | None:
        """The resource whose objects are of that kind."""
        return self._kinds.get((group, version, kind))

    def groups(self) -> list[str]:
        """Groups in the order of discovery: core, the other built-in ones, then custom ones by name."""
        return sorted(self._groups, key=lambda group: (_RANK.get(group, len(_BUILT_IN)), group))

    def versions(self, group: str) -> list[str]:
        """Versions of a group, the preferred one first; none if the group is not served."""
        return list(self._groups.get(group, ()))

    def resources(self, group: str, version: str) -> list[Kind]:
        """Kinds of a version, by name."""
        found = self._groups.get(group, {}).get(version, {})
        return [found[plural] for plural in sorted(found)]

    def __iter__(self) -> Iterator[Kind]:
        for group in self.groups():
            for version in self.versions(group):
                yield from self.resources(group, version)

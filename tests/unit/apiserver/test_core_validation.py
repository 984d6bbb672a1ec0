# SPDX-License-Identifier: Apache-2.0
"""Core objects beside pods that upstream refuses, and its words for it.

The cases are those of upstream's own tests of validation (pkg/apis/core/validation and pkg/apis/discovery/validation,
v1.36); the texts were worked out from its source.
"""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.unit.apiserver.conftest import Answer, Server, refused, shown, taken

LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
SPACED = "/api/v1/namespaces/default/"
PATHS = {
    "Service": f"{SPACED}services",
    "Endpoints": f"{SPACED}endpoints",
    "EndpointSlice": "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
    "ConfigMap": f"{SPACED}configmaps",
    "Secret": f"{SPACED}secrets",
    "LimitRange": f"{SPACED}limitranges",
    "ResourceQuota": f"{SPACED}resourcequotas",
    "ServiceAccount": f"{SPACED}serviceaccounts",
    "PersistentVolumeClaim": f"{SPACED}persistentvolumeclaims",
    "PersistentVolume": "/api/v1/persistentvolumes",
    "Node": "/api/v1/nodes",
    "Namespace": "/api/v1/namespaces",
}
Fields = dict[str, Any]


def made(kind: str, **fields: Any) -> Fields:
    version = "discovery.k8s.io/v1" if kind == "EndpointSlice" else "v1"
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, **fields}


def create(server: Server, kind: str, fields: Fields) -> Answer:
    return server.ask("POST", PATHS[kind], made(kind, **fields))


def patch(server: Server, kind: str, change: Fields, part: str = "") -> Answer:
    return server.merge(f"{PATHS[kind]}/x{part}", change)


def service(**spec: Any) -> Fields:
    return {"spec": {"ports": [{"port": 80}], **spec}}


def claim(**spec: Any) -> Fields:
    least = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {"spec": {**least, **spec}}


def volume(**spec: Any) -> Fields:
    least = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/d"}}
    return {"spec": {name: value for name, value in {**least, **spec}.items() if value is not None}}


def limits(**limit: Any) -> Fields:
    return {"spec": {"limits": [{"type": "Container", **limit}]}}


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


TAKEN = [
    ("Service", service()),
    ("Service", service(type="LoadBalancer", externalTrafficPolicy="Local", loadBalancerSourceRanges=[" 10.0.0.0/8 "])),
    ("Service", service(clusterIP="None", ports=[])),
    ("Service", {"spec": {"type": "ExternalName", "externalName": "example.com."}}),
    ("Endpoints", {"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 1}]}]}),
    ("EndpointSlice", {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:db8::1"]}], "ports": [{"port": 1}]}),
    ("ConfigMap", {"data": {"a.b": "c"}, "binaryData": {"c": encoded("d")}}),
    ("Secret", {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": encoded("{}")}}),
    ("LimitRange", limits(min={"cpu": "1"}, max={"cpu": "2"}, maxLimitRequestRatio={"cpu": "2"})),
    ("ResourceQuota", {"spec": {"hard": {"pods": "1", "count/jobs.batch": "2"}, "scopes": ["BestEffort"]}}),
    ("PersistentVolumeClaim", claim()),
    ("PersistentVolume", volume()),
    ("Node", {"spec": {"taints": [{"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoExecute"}]}}),
    ("Namespace", {}),
    ("ServiceAccount", {}),
]


@pytest.mark.parametrize(("kind", "fields"), TAKEN)
def test_taken(server: Server, kind: str, fields: Fields) -> None:
    taken(server, PATHS[kind], create(server, kind, fields))


SERVICES = [
    (service(ports=[]), ["spec.ports: Required value"]),
    (
        service(ports=[{"port": 80}, {"port": 0, "name": "b"}]),
        [
            "spec.ports[0].name: Required value",
            "spec.ports[1].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
        ],
    ),
    (
        service(ports=[{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]),
        [
            'spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,'
            '"NodePort":0}'
        ],
    ),
    (
        service(ports=[{"port": 80, "nodePort": 30080}]),
        ["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    ),
    (
        service(type="NodePort", clusterIP="None"),
        ["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    ),
    ({"spec": {"type": "ExternalName"}}, ["spec.externalName: Required value"]),
    (
        service(type="Global"),
        [
            'spec.type: Unsupported value: "Global": supported values: "ClusterIP", "ExternalName", '
            '"LoadBalancer", "NodePort"'
        ],
    ),
    (
        service(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}}),
        [
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less "
            "than 86400"
        ],
    ),
    (
        service(externalIPs=["127.0.0.1", "x"]),
        [
            'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
            f'spec.externalIPs[1]: Invalid value: "x": {ADDRESS}',
        ],
    ),
    (
        service(externalTrafficPolicy="Local"),
        [
            'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
        ],
    ),
    (
        service(loadBalancerClass="a/b", allocateLoadBalancerNodePorts=False, loadBalancerSourceRanges=["10.0.0.0/33"]),
        [
            "spec.LoadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": must be a valid CIDR value, (e.g. '
            "10.9.8.0/24 or 2001:db8::/64)",
            "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
            "spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'",
        ],
    ),
    (
        service(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.1/8"]),
        [
            'spec.LoadBalancerSourceRanges[0]: Invalid value: "10.0.0.1/8": must not have bits set beyond the prefix '
            "length"
        ],
    ),
    (
        service(trafficDistribution="PreferFar"),
        [
            'spec.trafficDistribution: Unsupported value: "PreferFar": supported values: "PreferClose", '
            '"PreferSameZone", "PreferSameNode"'
        ],
    ),
    (
        service(ports=[{"port": 80, "appProtocol": "a/b/c"}]),
        [
            'spec.ports[0].appProtocol: Invalid value: "a/b/c": a valid label key must consist of alphanumeric '
            "characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or "
            "'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with "
            "an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ],
    ),
]
OTHERS = [
    ("Endpoints", {"subsets": [{}]}, ["subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"]),
    (
        "Endpoints",
        {"subsets": [{"addresses": [{"ip": "169.254.1.1"}], "ports": [{"port": 1}, {"port": 2, "name": "b"}]}]},
        [
            'subsets[0].addresses[0].ip: Invalid value: "169.254.1.1": may not be in the link-local range '
            "(169.254.0.0/16, fe80::/10)",
            "subsets[0].ports[0].name: Required value",
        ],
    ),
    (
        "EndpointSlice",
        {"addressType": "IPv4", "endpoints": [{"addresses": ["::1"]}, {"addresses": []}]},
        [
            'endpoints[0].addresses: Invalid value: "::1": must be an IPv4 address',
            'endpoints[0].addresses[0]: Invalid value: "::1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
            "endpoints[1].addresses: Required value: must contain at least 1 address",
        ],
    ),
    (
        "EndpointSlice",
        {"addressType": "IPv6", "endpoints": [{"addresses": ["2001:DB8::1"]}]},
        ['endpoints[0].addresses[0]: Invalid value: "2001:DB8::1": must be in canonical form ("2001:db8::1")'],
    ),
    (
        "EndpointSlice",
        {"addressType": "DNS", "endpoints": [], "ports": [{"name": "a"}, {"name": "a"}]},
        [
            'addressType: Unsupported value: "DNS": supported values: "FQDN", "IPv4", "IPv6"',
            'ports[1].name: Duplicate value: "a"',
        ],
    ),
    (
        "ConfigMap",
        {"data": {"a/b": "", "c": ""}, "binaryData": {"c": ""}},
        [
            "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of alphanumeric characters, '-', '_' "
            "or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')",
            'data[c]: Invalid value: "c": duplicate of key present in binaryData',
        ],
    ),
    ("ConfigMap", {"data": {"a": "x" * 1048577}}, [": Too long: may not be more than 1048576 bytes"]),
    (
        "Secret",
        {"type": "kubernetes.io/tls", "data": {}},
        ["data[tls.crt]: Required value", "data[tls.key]: Required value"],
    ),
    (
        "Secret",
        {"type": "kubernetes.io/dockercfg", "data": {".dockercfg": encoded("[]")}},
        [
            'data[.dockercfg]: Invalid value: "<secret contents redacted>": json: cannot unmarshal array into '
            "Go value of type map[string]interface {}"
        ],
    ),
    (
        "LimitRange",
        limits(min={"cpu": "2"}, max={"cpu": "1"}),
        [
            'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1',
            'spec.limits[0].defaultRequest[cpu]: Invalid value: "1": min value 2 is greater than default request value '
            "1",
            'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1',
        ],
    ),
    (
        "LimitRange",
        {"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}, {"type": "Pods"}]}},
        [
            "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            'spec.limits[1].type: Invalid value: "Pods": must be a standard limit type or fully qualified',
        ],
    ),
    (
        "ResourceQuota",
        {"spec": {"hard": {"pods": "0.5", "storage": "1"}}},
        [
            'spec.hard[pods]: Invalid value: "500m": must be an integer',
            'spec.hard[storage]: Invalid value: "storage": must be a standard resource for quota',
        ],
    ),
    (
        "ResourceQuota",
        {"spec": {"hard": {"services": "1"}, "scopes": ["BestEffort", "NotBestEffort"]}},
        [
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: unsupported scope applied to resource',
            'spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes',
        ],
    ),
    (
        "PersistentVolumeClaim",
        claim(accessModes=["ReadWriteOncePod", "ReadWriteOnce"], resources={"requests": {"storage": "0"}}),
        [
            "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            'spec.resources[storage]: Invalid value: "0": must be greater than zero',
        ],
    ),
    (
        "PersistentVolumeClaim",
        claim(dataSource={"kind": "Snapshot", "name": "s"}),
        [
            "spec.dataSource: Invalid value: \"Snapshot\": must be 'PersistentVolumeClaim' when referencing the "
            "default apiGroup"
        ],
    ),
    (
        "PersistentVolume",
        volume(capacity={"storage": "1Gi", "cpu": "1"}, hostPath=None),
        [
            'spec.capacity: Unsupported value: {"cpu":"1","storage":"1Gi"}: supported values: "storage"',
            "spec: Required value: must specify a volume type",
        ],
    ),
    (
        "PersistentVolume",
        volume(hostPath={"path": "/"}, persistentVolumeReclaimPolicy="Recycle", nfs={"server": "s", "path": "/p"}),
        [
            "spec.nfs: Forbidden: may not specify more than 1 volume type",
            "spec.persistentVolumeReclaimPolicy: Forbidden: may not be 'recycle' for a hostPath mount of '/'",
        ],
    ),
    (
        "PersistentVolume",
        volume(hostPath=None, local={"path": "/d"}),
        ["spec.nodeAffinity: Required value: Local volume requires node affinity"],
    ),
    (
        "Node",
        {
            "spec": {
                "taints": [
                    {"key": "a", "effect": "Never"},
                    {"key": "b", "effect": "NoExecute"},
                    {"key": "b", "effect": "NoExecute"},
                ]
            }
        },
        [
            'metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule", '
            '"PreferNoSchedule", "NoExecute"',
            'metadata.taints[2]: Duplicate value: {"Key":"b","Value":"","Effect":"NoExecute","TimeAdded":null}: taints '
            "must be unique by key and effect pair",
        ],
    ),
    (
        "Namespace",
        {"metadata": {"name": "x", "finalizers": ["mine"]}},
        [
            'metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully '
            "qualified"
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "texts"), [("Service", *case) for case in SERVICES] + OTHERS)
def test_refused(server: Server, kind: str, fields: Fields, texts: list[str]) -> None:
    assert refused(create(server, kind, fields)) == shown(kind, *texts)


def test_a_service_is_named_as_a_label(server: Server) -> None:
    answer = server.ask("POST", PATHS["Service"], made("Service", metadata={"name": "A"}, **service()))
    assert refused(answer) == f'The Service "A" is invalid: metadata.name: Invalid value: "A": {LABEL}'
    assert server.ask("POST", PATHS["Service"], made("Service", metadata={"name": "0a"}, **service())).status == 201


def test_a_service_changes_its_type(server: Server) -> None:
    fields = service(type="LoadBalancer", externalTrafficPolicy="Local")
    before = create(server, "Service", fields).body["spec"]
    assert before["healthCheckNodePort"]
    after = patch(server, "Service", {"spec": {"type": "ClusterIP"}})
    assert after.status == 200, after.body
    gone = {"externalTrafficPolicy", "healthCheckNodePort", "allocateLoadBalancerNodePorts"}
    assert not gone & after.body["spec"].keys()
    assert "nodePort" not in after.body["spec"]["ports"][0]
    assert after.body["spec"]["clusterIP"] == before["clusterIP"]


def test_what_of_a_service_stays(server: Server) -> None:
    assert create(server, "Service", service(clusterIP="10.96.0.10")).status == 201
    change = {"spec": {"clusterIP": "10.96.0.11", "clusterIPs": ["10.96.0.11"]}}
    assert refused(patch(server, "Service", change)) == shown(
        "Service", 'spec.clusterIPs[0]: Invalid value: ["10.96.0.11"]: may not change once set'
    )
    report = {"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}}}
    assert refused(patch(server, "Service", report, "/status")) == shown(
        "Service", "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"
    )


@pytest.mark.parametrize(("kind", "field"), [("ConfigMap", "data"), ("Secret", "data")])
def test_what_is_immutable_stays(server: Server, kind: str, field: str) -> None:
    assert create(server, kind, {field: {"a": encoded("b")}, "immutable": True}).status == 201
    answer = patch(server, kind, {field: {"a": encoded("c")}, "immutable": None})
    why = "field is immutable when `immutable` is set"
    assert refused(answer) == shown(kind, f"immutable: Forbidden: {why}", f"{field}: Forbidden: {why}")


def test_a_claim_grows_when_it_is_bound(server: Server) -> None:
    grows = {"metadata": {"name": "growing"}, "provisioner": "a.b/c", "allowVolumeExpansion": True}
    assert server.ask("POST", "/apis/storage.k8s.io/v1/storageclasses", grows).status == 201
    assert create(server, "PersistentVolumeClaim", claim(storageClassName="growing")).status == 201
    larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    text = refused(patch(server, "PersistentVolumeClaim", larger))
    assert text.startswith(
        shown(
            "PersistentVolumeClaim",
            "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName "
            "for bound claims\n@@ ",
        )
    )
    bound = {"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}
    assert patch(server, "PersistentVolumeClaim", bound, "/status").status == 200
    assert patch(server, "PersistentVolumeClaim", larger).status == 200
    smaller = {"spec": {"resources": {"requests": {"storage": "512Mi"}}}}
    assert refused(patch(server, "PersistentVolumeClaim", smaller)) == shown(
        "PersistentVolumeClaim",
        "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity",
    )


def test_a_claim_gets_a_class_when_it_has_none(server: Server) -> None:
    assert create(server, "PersistentVolumeClaim", claim()).status == 201
    assert patch(server, "PersistentVolumeClaim", {"status": {"phase": "Bound"}}, "/status").status == 200
    assert patch(server, "PersistentVolumeClaim", {"spec": {"storageClassName": "fast"}}).status == 200


def test_what_a_volume_is_stays(server: Server) -> None:
    assert create(server, "PersistentVolume", volume()).status == 201
    text = refused(patch(server, "PersistentVolume", {"spec": {"hostPath": {"path": "/e"}}}))
    assert text.startswith(
        shown(
            "PersistentVolume",
            "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation\n@@ ",
        )
    )
    assert '-  "path": "/d",\n+  "path": "/e",\n' in text


def test_what_of_a_node_stays(server: Server) -> None:
    assert create(server, "Node", {"spec": {"providerID": "a", "podCIDRs": ["10.0.0.0/24"]}}).status == 201
    change = {"spec": {"providerID": "b", "podCIDRs": ["10.0.1.0/24"]}}
    assert refused(patch(server, "Node", change)) == shown(
        "Node",
        'spec.podCIDRs: Forbidden: node updates may not change podCIDR except from "" to valid',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
    )


def test_the_scopes_of_a_quota_stay(server: Server) -> None:
    assert create(server, "ResourceQuota", {"spec": {"hard": {"pods": "1"}, "scopes": ["BestEffort"]}}).status == 201
    assert refused(patch(server, "ResourceQuota", {"spec": {"scopes": ["NotBestEffort"]}})) == shown(
        "ResourceQuota", 'spec.scopes: Invalid value: ["NotBestEffort"]: field is immutable'
    )


def test_definitions_may_have_finalizers_without_a_domain(server: Server) -> None:
    """Upstream asks for known ones of its own kinds only; it keeps a definition by such a finalizer itself."""
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
    schema = {"openAPIV3Schema": {"type": "object"}}
    spec = {
        "group": "example.com",
        "scope": "Namespaced",
        "names": names,
        "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
    }
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com", "finalizers": ["customresourcecleanup.apiextensions.k8s.io"]},
        "spec": spec,
    }
    assert server.ask("POST", path, definition).status == 201

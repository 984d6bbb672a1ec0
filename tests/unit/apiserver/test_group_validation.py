# SPDX-License-Identifier: Apache-2.0
"""Objects of the named groups that upstream refuses, and its words for it.

The cases are those of upstream's own tests of validation (pkg/apis/*/validation, v1.36); the texts were worked out from
its source.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import (
    Answer,
    Server,
    certificate,
    certificate_request,
    encoded,
    pem,
    refused,
    shown,
    taken,
)

RBAC = "rbac.authorization.k8s.io"
PATHS = {
    "HorizontalPodAutoscaler": "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/default/poddisruptionbudgets",
    "Ingress": "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
    "IngressClass": "/apis/networking.k8s.io/v1/ingressclasses",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
    "Role": f"/apis/{RBAC}/v1/namespaces/default/roles",
    "ClusterRole": f"/apis/{RBAC}/v1/clusterroles",
    "RoleBinding": f"/apis/{RBAC}/v1/namespaces/default/rolebindings",
    "ClusterRoleBinding": f"/apis/{RBAC}/v1/clusterrolebindings",
    "StorageClass": "/apis/storage.k8s.io/v1/storageclasses",
    "PriorityClass": "/apis/scheduling.k8s.io/v1/priorityclasses",
    "Lease": "/apis/coordination.k8s.io/v1/namespaces/default/leases",
    "ValidatingWebhookConfiguration": "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "CertificateSigningRequest": "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "CSIDriver": "/apis/storage.k8s.io/v1/csidrivers",
    "CSINode": "/apis/storage.k8s.io/v1/csinodes",
    "CSIStorageCapacity": "/apis/storage.k8s.io/v1/namespaces/default/csistoragecapacities",
    "VolumeAttachment": "/apis/storage.k8s.io/v1/volumeattachments",
    "VolumeAttributesClass": "/apis/storage.k8s.io/v1/volumeattributesclasses",
    "FlowSchema": "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "PriorityLevelConfiguration": "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
    "ResourceClaim": "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims",
    "ResourceClaimTemplate": "/apis/resource.k8s.io/v1/namespaces/default/resourceclaimtemplates",
    "DeviceClass": "/apis/resource.k8s.io/v1/deviceclasses",
    "ResourceSlice": "/apis/resource.k8s.io/v1/resourceslices",
    "ValidatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "MutatingAdmissionPolicy": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "MutatingAdmissionPolicyBinding": "/apis/admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings",
    "APIService": "/apis/apiregistration.k8s.io/v1/apiservices",
    "RuntimeClass": "/apis/node.k8s.io/v1/runtimeclasses",
    "ServiceCIDR": "/apis/networking.k8s.io/v1/servicecidrs",
    "IPAddress": "/apis/networking.k8s.io/v1/ipaddresses",
}
Fields = dict[str, Any]
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
ROLE = {"apiGroup": RBAC, "kind": "Role", "name": "r"}
SUBJECT = {"kind": "User", "name": "u", "apiGroup": RBAC}
REQUEST = {
    "spec": {"request": encoded(pem(certificate_request())), "signerName": "example.com/s", "usages": ["client auth"]}
}


def create(server: Server, kind: str, fields: Fields, name: str = "x") -> Answer:
    obj = {"apiVersion": "/".join(PATHS[kind].split("/")[2:4]), "kind": kind, "metadata": {"name": name}, **fields}
    return server.ask("POST", PATHS[kind], obj)


def patch(server: Server, kind: str, change: Fields, part: str = "") -> Answer:
    return server.merge(f"{PATHS[kind]}/x{part}", change)


def scaler(**spec: Any) -> Fields:
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    return {"spec": {"scaleTargetRef": target, "maxReplicas": 2, **spec}}


def path(**fields: Any) -> Fields:
    rule = {"http": {"paths": [{"path": "/a", "pathType": "Prefix", "backend": BACKEND, **fields}]}}
    return {"spec": {"rules": [rule]}}


def hook(**fields: Any) -> Fields:
    least = {
        "name": "a.example.com",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/a"}},
        "rules": [
            {"operations": ["*"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods", "pods/status"]}
        ],
    }
    return {"webhooks": [{**least, **fields}]}


def peers(*found: Fields, ports: list[Fields] | None = None) -> Fields:
    return {"spec": {"podSelector": {}, "ingress": [{"from": list(found), "ports": ports or []}]}}


TAKEN = [
    ("HorizontalPodAutoscaler", scaler()),
    ("PodDisruptionBudget", {"spec": {"minAvailable": "50%"}}),
    ("Ingress", path()),
    ("Ingress", {"spec": {"defaultBackend": BACKEND, "tls": [{"hosts": ["*.example.com"]}]}}),
    ("IngressClass", {"spec": {"controller": "example.com/c"}}),
    ("NetworkPolicy", peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}})),
    ("Role", {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
    ("ClusterRole", {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
    ("RoleBinding", {"roleRef": ROLE, "subjects": [SUBJECT, {"kind": "ServiceAccount", "name": "a"}]}),
    ("StorageClass", {"provisioner": "Example.com/p"}),
    ("PriorityClass", {"value": 1000000000}),
    ("Lease", {"spec": {"leaseDurationSeconds": 10}}),
    ("CertificateSigningRequest", REQUEST),
    ("ValidatingWebhookConfiguration", hook()),
    ("ValidatingWebhookConfiguration", hook(clientConfig={"url": "https://example.com/a"})),
]


@pytest.mark.parametrize(("kind", "fields"), TAKEN)
def test_taken(server: Server, kind: str, fields: Fields) -> None:
    taken(server, PATHS[kind], create(server, kind, fields))


PART = "must set either a target raw value or a target utilization"
REFUSED = [
    (
        "HorizontalPodAutoscaler",
        scaler(maxReplicas=0, minReplicas=0),
        [
            "spec.minReplicas: Invalid value: 0: must be greater than or equal to 1",
            "spec.maxReplicas: Required value: must be set and greater than 0",
            "spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero "
            "replicas",
        ],
    ),
    (
        "HorizontalPodAutoscaler",
        scaler(minReplicas=3, scaleTargetRef={"kind": "Deployment", "name": ""}),
        [
            "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
            "spec.scaleTargetRef.name: Required value",
            'spec.scaleTargetRef.apiVersion: Invalid value: "": apiVersion must specify API group',
        ],
    ),
    (
        "HorizontalPodAutoscaler",
        scaler(metrics=[{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization"}}}]),
        [f"spec.metrics[0].resource.target.averageUtilization: Required value: {PART}"],
    ),
    (
        "HorizontalPodAutoscaler",
        scaler(metrics=[{"type": "Pods"}, {"type": "Nodes"}]),
        [
            "spec.metrics[0].pods: Required value: must populate information for the given metric source",
            'spec.metrics[1].type: Unsupported value: "Nodes": supported values: "ContainerResource", "External", '
            '"Object", "Pods", "Resource"',
        ],
    ),
    (
        "HorizontalPodAutoscaler",
        scaler(behavior={"scaleUp": {"policies": [{"type": "Pods", "value": 0, "periodSeconds": 1801}]}}),
        [
            "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than zero",
            "spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 1801: must be less than or equal to 1800",
        ],
    ),
    (
        "PodDisruptionBudget",
        {"spec": {"minAvailable": 1, "maxUnavailable": "110%"}},
        [
            'spec: Invalid value: {"MinAvailable":1,"Selector":null,"MaxUnavailable":"110%",'
            '"UnhealthyPodEvictionPolicy":null}: minAvailable and maxUnavailable cannot be both set',
            'spec.maxUnavailable: Invalid value: "110%": must not be greater than 100%',
        ],
    ),
    (
        "PodDisruptionBudget",
        {"spec": {"unhealthyPodEvictionPolicy": "Never"}},
        [
            'spec.unhealthyPodEvictionPolicy: Unsupported value: "Never": supported values: "AlwaysAllow", '
            '"IfHealthyBudget"'
        ],
    ),
    ("Ingress", {"spec": {}}, ["spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"]),
    (
        "Ingress",
        path(pathType=None),
        ["spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"],
    ),
    (
        "Ingress",
        path(path="a//b"),
        [
            'spec.rules[0].http.paths[0].path: Invalid value: "a//b": must be an absolute path',
            "spec.rules[0].http.paths[0].path: Invalid value: \"a//b\": must not contain '//'",
        ],
    ),
    (
        "Ingress",
        path(backend={"service": {"name": "web", "port": {}}}),
        ["spec.rules[0].http.paths[0].backend: Required value: port name or number is required"],
    ),
    (
        "Ingress",
        path(backend={}),
        ['spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required'],
    ),
    (
        "Ingress",
        {"spec": {"rules": [{"host": "1.2.3.4"}]}},
        ['spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address'],
    ),
    (
        "IngressClass",
        {"spec": {"controller": "c", "parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}},
        [
            'spec.controller: Invalid value: "c": must be a domain-prefixed path (such as "acme.io/foo")',
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
        ],
    ),
    ("NetworkPolicy", peers({}), ["spec.ingress[0].from[0]: Required value: must specify a peer"]),
    (
        "NetworkPolicy",
        peers({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}, "podSelector": {}}),
        [
            'spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of '
            "`cidr`",
            "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
        ],
    ),
    (
        "NetworkPolicy",
        peers({"podSelector": {}}, ports=[{"port": "web", "endPort": 5}, {"port": 10, "endPort": 5}]),
        [
            "spec.ingress[0].ports[0].endPort: Invalid value: 5: may not be specified when `port` is non-numeric",
            "spec.ingress[0].ports[1].endPort: Invalid value: 10: must be greater than or equal to `port`",
        ],
    ),
    (
        "Role",
        {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/a"], "resources": ["pods"]}, {}]},
        [
            'rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs',
            'rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and '
            "non-resource URLs",
            "rules[1].verbs: Required value: verbs must contain at least one value",
            "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[1].resources: Required value: resource rules must supply at least one resource",
        ],
    ),
    (
        "ClusterRole",
        {"aggregationRule": {}},
        [
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if "
            "aggregationRule is non-nil"
        ],
    ),
    (
        "ClusterRoleBinding",
        {"roleRef": ROLE, "subjects": [{"kind": "ServiceAccount", "name": "a"}, {"kind": "Robot", "name": "b"}]},
        [
            'roleRef.kind: Unsupported value: "Role": supported values: "ClusterRole"',
            "subjects[0].namespace: Required value",
            'subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"',
        ],
    ),
    (
        "StorageClass",
        {"provisioner": "", "volumeBindingMode": "Later", "reclaimPolicy": "Recycle"},
        [
            "provisioner: Required value",
            'reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"',
            'volumeBindingMode: Unsupported value: "Later": supported values: "Immediate", "WaitForFirstConsumer"',
        ],
    ),
    (
        "PriorityClass",
        {"value": 1000000001},
        ["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    ),
    (
        "Lease",
        {"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}},
        [
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    ),
    (
        "ValidatingWebhookConfiguration",
        hook(name="a.b", sideEffects=None, timeoutSeconds=31, admissionReviewVersions=["v2"], clientConfig={}),
        [
            'webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots',
            "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
            "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
            "webhooks[0].clientConfig: Required value: exactly one of url or service is required",
            'webhooks[0].admissionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1',
        ],
    ),
    (
        "ValidatingWebhookConfiguration",
        hook(
            clientConfig={"url": "http://u@example.com?a=b"},
            rules=[
                {"operations": ["*", "CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["a/*", "a/b"]}
            ],
        ),
        [
            'webhooks[0].rules[0].operations: Invalid value: ["*","CREATE"]: if \'*\' is present, must not specify '
            "other operations",
            "webhooks[0].rules[0].resources[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b",
            "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired "
            "format: https://host[/path]",
            'webhooks[0].clientConfig.url: Invalid value: "u": user information is not permitted in the URL',
            'webhooks[0].clientConfig.url: Invalid value: "a=b": query parameters are not permitted in the URL',
        ],
    ),
    (
        "CertificateSigningRequest",
        {"spec": {"request": "YQ==", "signerName": "signer", "usages": ["any", "any"], "expirationSeconds": 599}},
        [
            'spec.request: Invalid value: "YQ==": PEM block type must be CERTIFICATE REQUEST',
            'spec.usages[1]: Duplicate value: "any"',
            'spec.signerName: Invalid value: "signer": must be a fully qualified domain and path of the form '
            "'example.com/signer-name'",
            "spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "texts"), REFUSED)
def test_refused(server: Server, kind: str, fields: Fields, texts: list[str]) -> None:
    assert refused(create(server, kind, fields)) == shown(kind, *texts)


def test_names_of_the_systems_priorities_are_kept(server: Server) -> None:
    answer = create(server, "PriorityClass", {"value": 5}, "system-mine")
    assert refused(answer) == (
        "The PriorityClass \"system-mine\" is invalid: metadata.name: Forbidden: priority class names with 'system-' "
        "prefix are reserved for system use only. error: system-mine is not a known system priority class"
    )


@pytest.mark.parametrize(
    ("kind", "fields", "change", "text"),
    [
        (
            "RoleBinding",
            {"roleRef": ROLE},
            {"roleRef": {"name": "s"}},
            f'roleRef: Invalid value: {{"APIGroup":"{RBAC}","Kind":"Role","Name":"s"}}: cannot change roleRef',
        ),
        ("PriorityClass", {"value": 5}, {"value": 6}, "value: Forbidden: may not be changed in an update."),
        (
            "StorageClass",
            {"provisioner": "p", "parameters": {"a": "b"}},
            {"parameters": {"a": "c"}},
            'parameters: Invalid value: {"a":"c"}: field is immutable',
        ),
        (
            "IngressClass",
            {"spec": {"controller": "example.com/c"}},
            {"spec": {"controller": "example.com/d"}},
            'spec.controller: Invalid value: "example.com/d": field is immutable',
        ),
    ],
)
def test_what_may_not_change(server: Server, kind: str, fields: Fields, change: Fields, text: str) -> None:
    assert create(server, kind, fields).status == 201
    assert refused(patch(server, kind, change)) == shown(kind, text)


def test_decisions_about_certificates_stay(server: Server) -> None:
    kind = "CertificateSigningRequest"
    assert create(server, kind, REQUEST).status == 201

    def decided(*kinds: str) -> Fields:
        return {"status": {"conditions": [{"type": name, "status": "True"} for name in kinds]}}

    assert refused(patch(server, kind, decided("Approved"), "/status")) == shown(
        kind, 'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    )
    assert patch(server, kind, decided("Approved"), "/approval").status == 200
    assert refused(patch(server, kind, decided("Denied"), "/approval")) == shown(
        kind, 'status.conditions: Forbidden: updates may not remove a condition of type "Approved"'
    )
    assert refused(patch(server, kind, decided("Approved", "Denied"), "/approval")) == shown(
        kind, 'status.conditions: Invalid value: "Denied": Approved and Denied conditions are mutually exclusive'
    )
    assert patch(server, kind, {"status": {"certificate": encoded(pem(certificate()))}}, "/status").status == 200
    other = encoded(pem(certificate()) * 2)
    assert refused(patch(server, kind, {"status": {"certificate": other}}, "/status")) == shown(
        kind, "status.certificate: Forbidden: updates may not modify existing certificate content"
    )

# SPDX-License-Identifier: Apache-2.0
"""Objects that parts of a cluster write about themselves: what upstream refuses of them, and its words for it.

The cases are those of upstream's own tests of validation (pkg/apis/*/validation, v1.36); the texts were worked out from
its source.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.apiserver.conftest import Server, refused, shown, taken
from tests.unit.apiserver.test_group_validation import PATHS, Fields, create, patch

CLASS = "storageClassName"
NAMES = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def attachment(**source: Any) -> Fields:
    return {"spec": {"attacher": "a.example.com", "nodeName": "n", "source": source or {"persistentVolumeName": "v"}}}


def flow(*subjects: Fields, rule: Fields | None = None, **spec: Any) -> Fields:
    resources = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"], **(rule or {})}
    rules = [{"subjects": list(subjects) or [{"kind": "User", "user": {"name": "u"}}], "resourceRules": [resources]}]
    return {"spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": rules, **spec}}


def level(**limited: Any) -> Fields:
    return {"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": {}}, **limited}}}


PARENT = {"resource": "services", "namespace": "default", "name": "s"}
INLINE = {"accessModes": ["ReadWriteOnce"], "csi": {"driver": "a.example.com", "volumeHandle": "h"}}
TAKEN = [
    ("CSIDriver", {"spec": {"tokenRequests": [{"audience": "a", "expirationSeconds": 600}]}}, "x"),
    ("CSINode", {"spec": {"drivers": [{"name": "a.io", "nodeID": "n", "topologyKeys": ["a/b"]}]}}, "x"),
    ("CSIStorageCapacity", {CLASS: "c", "capacity": "1Gi", "nodeTopology": {"matchLabels": {"a": "b"}}}, "x"),
    ("VolumeAttachment", attachment(), "x"),
    ("VolumeAttachment", attachment(inlineVolumeSpec=INLINE), "x"),
    ("VolumeAttributesClass", {"driverName": "a.example.com", "parameters": {"a": "b"}}, "x"),
    ("FlowSchema", flow(), "x"),
    ("PriorityLevelConfiguration", level(), "x"),
    ("PriorityLevelConfiguration", {"spec": {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 3}}}, "exempt"),
    ("RuntimeClass", {"handler": "h", "overhead": {"podFixed": {"cpu": "1"}}}, "x"),
    ("ServiceCIDR", {"spec": {"cidrs": ["10.1.0.0/16", "fd00::/112"]}}, "x"),
    ("IPAddress", {"spec": {"parentRef": PARENT}}, "10.1.0.1"),
    ("IPAddress", {"spec": {"parentRef": PARENT}}, "fd00::1"),
]


@pytest.mark.parametrize(("kind", "fields", "name"), TAKEN)
def test_taken(server: Server, kind: str, fields: Fields, name: str) -> None:
    taken(server, PATHS[kind], create(server, kind, fields, name), name)


REFUSED = [
    (
        "CSIDriver",
        {
            "spec": {
                "fsGroupPolicy": "Some",
                "volumeLifecycleModes": ["Never"],
                "nodeAllocatableUpdatePeriodSeconds": 9,
                "tokenRequests": [{"audience": ""}, {"audience": ""}, {"audience": "a", "expirationSeconds": 599}],
            }
        },
        [
            'spec.fsGroupPolicy: Unsupported value: "Some": supported values: "File", "None", '
            '"ReadWriteOnceWithFSType"',
            'spec.tokenRequests[1].audience: Duplicate value: ""',
            "spec.tokenRequests[2].expirationSeconds: Invalid value: 599: may not specify a duration less than 10 "
            "minutes",
            'spec.volumeLifecycleModes: Unsupported value: "Never": supported values: "Persistent", "Ephemeral"',
            "spec.nodeAllocatableUpdatePeriodSeconds: Invalid value: 9: must be greater than or equal to 10 seconds",
        ],
    ),
    (
        "CSIDriver",
        {"spec": {"serviceAccountTokenInSecrets": True}},
        [
            "spec.serviceAccountTokenInSecrets: Invalid value: true: serviceAccountTokenInSecrets is set but no "
            "tokenRequests are specified"
        ],
    ),
    (
        "CSINode",
        {
            "spec": {
                "drivers": [
                    {"name": "a", "nodeID": "", "topologyKeys": ["k", "k"], "allocatable": {"count": -1}},
                    {"name": "a", "nodeID": "n" * 257},
                ]
            }
        },
        [
            "spec.drivers[0].nodeID: Required value",
            "spec.drivers[0].allocatable.count: Invalid value: -1: must be greater than or equal to 0",
            'spec.drivers[0]: Duplicate value: "k"',
            f'spec.drivers[1].nodeID: Invalid value: "{"n" * 257}": must be 256 characters or less',
            'spec.drivers[1].name: Duplicate value: "a"',
        ],
    ),
    (
        "CSIStorageCapacity",
        {CLASS: "C", "capacity": "-1"},
        [
            f'storageClassName: Invalid value: "C": {NAMES}',
            'capacity: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
    (
        "VolumeAttachment",
        attachment(persistentVolumeName="v", inlineVolumeSpec=INLINE),
        ["spec.source: Forbidden: must specify exactly one of inlineVolumeSpec and persistentVolumeName"],
    ),
    (
        "VolumeAttachment",
        attachment(inlineVolumeSpec={"capacity": {"storage": "1"}, "nfs": {"server": "s", "path": "/"}}),
        [
            "spec.source.inlineVolumeSpec.capacity: Forbidden: may not be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec.csi: Required value: has to be specified in the context of inline volumes",
            "spec.source.inlineVolumeSpec.accessModes: Required value",
        ],
    ),
    (
        "VolumeAttributesClass",
        {"driverName": ""},
        ["driverName: Required value", "parameters: Required value: must contain at least one key/value pair"],
    ),
    (
        "FlowSchema",
        flow(
            {"kind": "Group", "user": {"name": "u"}},
            {"kind": "ServiceAccount", "serviceAccount": {"name": "*"}},
            {"kind": "Robot"},
            matchingPrecedence=1,
            distinguisherMethod={"type": "ByLuck"},
            priorityLevelConfiguration={"name": ""},
            rule={"verbs": ["watch", "look"], "resources": ["*", "pods"], "namespaces": []},
        ),
        [
            "spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1",
            'spec.distinguisherMethod.type: Unsupported value: {"Type":"ByLuck"}: supported values: "ByNamespace", '
            '"ByUser"',
            "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            "spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'",
            "spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'",
            "spec.rules[0].subjects[1].serviceAccount.namespace: Required value: must specify namespace for service "
            "account",
            'spec.rules[0].subjects[2].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", '
            '"User"',
            'spec.rules[0].resourceRules[0].verbs: Unsupported value: ["watch","look"]: supported values: "create", '
            '"delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"',
            'spec.rules[0].resourceRules[0].resources: Invalid value: ["*","pods"]: if \'*\' is present, must not '
            "specify other resources",
            "spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped "
            "must supply at least one namespace",
        ],
    ),
    (
        "FlowSchema",
        {
            "spec": {
                "priorityLevelConfiguration": {"name": "l"},
                "rules": [
                    {},
                    {
                        "subjects": [{"kind": "User", "user": {"name": "*"}}],
                        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["a", "/a//b", "/a*", "/a/*", "/"]}],
                    },
                ],
            }
        },
        [
            "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            'spec.rules[1].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash',
            'spec.rules[1].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a//b": must not contain double '
            "slash",
            'spec.rules[1].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a*": wildcard can only do suffix '
            "matching",
        ],
    ),
    (
        "PriorityLevelConfiguration",
        {"spec": {"type": "Exempt", "limited": {}}},
        [
            "spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
            "spec.limited: Forbidden: must be nil if the type is not Limited",
        ],
    ),
    (
        "PriorityLevelConfiguration",
        level(
            lendablePercent=101,
            borrowingLimitPercent=-1,
            limitResponse={"type": "Queue", "queuing": {"queues": 512, "handSize": 8, "queueLengthLimit": -1}},
        ),
        [
            "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 512 and "
            "handSize 8 should not be greater than 60",
            "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
        ],
    ),
    (
        "RuntimeClass",
        {
            "handler": "a.b",
            "scheduling": {"tolerations": [{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists"}]},
            "overhead": {"podFixed": {"gadgets": "1"}},
        },
        [
            'handler: Invalid value: "a.b": must not contain dots',
            'overhead.limits[gadgets]: Invalid value: "gadgets": must be a standard resource type or fully qualified',
            'overhead.limits[gadgets]: Invalid value: "gadgets": must be a standard resource for containers',
            'scheduling.tolerations[1]: Duplicate value: {"Key":"a","Operator":"Exists","Value":"","Effect":"",'
            '"TolerationSeconds":null}',
        ],
    ),
    ("ServiceCIDR", {"spec": {}}, ["spec.cidrs: Required value: at least one CIDR required"]),
    (
        "ServiceCIDR",
        {"spec": {"cidrs": ["10.1.0.0/16", "10.2.0.0/16"]}},
        [
            'spec.cidrs: Invalid value: ["10.1.0.0/16","10.2.0.0/16"]: may specify no more than one IP for each IP '
            "family, i.e 192.168.0.0/24 and 2001:db8::/64"
        ],
    ),
    (
        "ServiceCIDR",
        {"spec": {"cidrs": ["FD00::/112"]}},
        ['spec.cidrs[0]: Invalid value: "FD00::/112": must be in canonical form ("fd00::/112")'],
    ),
]


REFUSED += [
    (
        "StorageClass",
        {
            "provisioner": "p",
            "allowedTopologies": [
                {"matchLabelExpressions": [{"key": "z", "values": ["a", "a"]}, {"key": "z"}]},
                {"matchLabelExpressions": [{"key": "y", "values": ["a"]}]},
                {"matchLabelExpressions": [{"key": "y", "values": ["a"]}]},
            ],
        },
        [
            'allowedTopologies[0].matchLabelExpressions[0].values[1]: Duplicate value: "a"',
            "allowedTopologies[0].matchLabelExpressions[1].values: Required value",
            'allowedTopologies[0].matchLabelExpressions[1].key: Duplicate value: "z"',
            'allowedTopologies[2].matchLabelExpressions: Duplicate value: ""',
        ],
    ),
    (
        "APIService",
        {"spec": {"group": "G", "version": "1", "groupPriorityMinimum": 20001, "caBundle": "YWI="}},
        [
            'metadata.name: Invalid value: "x": must be `spec.version+"."+spec.group`: "1.G"',
            f'spec.group: Invalid value: "G": {NAMES}',
            'spec.version: Invalid value: "1": a DNS-1035 label must consist of lower case alphanumeric characters or '
            "'-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or "
            "'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            "spec.groupPriorityMinimum: Invalid value: 20001: must be positive and less than 20000",
            "spec.versionPriority: Invalid value: 0: must be positive and less than 1000",
            'spec.caBundle: Invalid value: "2 bytes": local APIServices may not have a caBundle',
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "texts"), REFUSED)
def test_refused(server: Server, kind: str, fields: Fields, texts: list[str]) -> None:
    assert refused(create(server, kind, fields)) == shown(kind, *texts)


def test_names_of_addresses(server: Server) -> None:
    answer = create(server, "IPAddress", {"spec": {}}, "10.1.0.01")
    assert refused(answer) == shown(
        "IPAddress",
        'metadata.name: Invalid value: "10.1.0.01": must not have leading 0s',
        "spec.parentRef: Required value",
        name="10.1.0.01",
    )


def test_what_every_cluster_has_stays_as_it_is(server: Server) -> None:
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "namespaces": ["*"], "clusterScope": True}
    fields = {
        "spec": {
            "matchingPrecedence": 1,
            "priorityLevelConfiguration": {"name": "exempt"},
            "rules": [
                {
                    "subjects": [{"kind": "Group", "group": {"name": "system:masters"}}],
                    "resourceRules": [everything],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        }
    }
    assert create(server, "FlowSchema", fields, "exempt").status == 201
    changed = server.merge(f"{PATHS['FlowSchema']}/exempt", {"spec": {"matchingPrecedence": 2}})
    assert changed.status == 422
    assert changed.body["message"].endswith("spec of 'exempt' must equal the fixed value")


@pytest.mark.parametrize(
    ("kind", "fields", "change", "text"),
    [
        (
            "CSIDriver",
            {"spec": {}},
            {"spec": {"attachRequired": False}},
            "spec.attachedRequired: Invalid value: false: field is immutable",
        ),
        (
            "CSINode",
            {"spec": {"drivers": [{"name": "a", "nodeID": "n", "allocatable": {"count": 1}}]}},
            {"spec": {"drivers": [{"name": "a", "nodeID": "m", "allocatable": {"count": 2}}]}},
            'spec.drivers: Invalid value: {"Name":"a","NodeID":"m","TopologyKeys":null,"Allocatable":null}: field is '
            "immutable",
        ),
        (
            "CSIStorageCapacity",
            {CLASS: "c"},
            {CLASS: "d"},
            'storageClassName: Invalid value: "d": field is immutable',
        ),
        (
            "VolumeAttachment",
            attachment(),
            {"spec": {"nodeName": "m"}},
            'spec: Invalid value: {"Attacher":"a.example.com","Source":{"PersistentVolumeName":"v",'
            '"InlineVolumeSpec":null},"NodeName":"m"}: field is immutable',
        ),
        (
            "VolumeAttributesClass",
            {"driverName": "a", "parameters": {"a": "b"}},
            {"parameters": {"a": "c"}},
            "parameters: Forbidden: updates to parameters are forbidden.",
        ),
        ("RuntimeClass", {"handler": "a"}, {"handler": "b"}, 'handler: Invalid value: "b": field is immutable'),
        (
            "ServiceCIDR",
            {"spec": {"cidrs": ["10.1.0.0/16"]}},
            {"spec": {"cidrs": ["10.2.0.0/16"]}},
            'spec.cidrs[0]: Invalid value: "10.2.0.0/16": field is immutable',
        ),
    ],
)
def test_what_may_not_change(server: Server, kind: str, fields: Fields, change: Fields, text: str) -> None:
    assert create(server, kind, fields).status == 201
    assert refused(patch(server, kind, change)) == shown(kind, text)


def test_an_attachment_tells_what_went_wrong(server: Server) -> None:
    assert create(server, "VolumeAttachment", attachment()).status == 201
    error = {"message": "m" * 1025, "errorCode": -1}
    answer = patch(server, "VolumeAttachment", {"status": {"attached": False, "attachError": error}}, "/status")
    assert refused(answer) == shown(
        "VolumeAttachment",
        "status.attachError.message: Too long: may not be more than 262144 bytes",
        "status.attachError.errorCode: Invalid value: -1: must be between 0 and 2147483647, inclusive",
    )


def test_a_driver_that_logs_tokens_is_warned_of(server: Server) -> None:
    answer = create(server, "CSIDriver", {"spec": {"tokenRequests": [{"audience": "a"}]}})
    assert "serviceAccountTokenInSecrets is unset" in answer.headers["Warning"]


def test_services_of_the_api(server: Server) -> None:
    priorities = {"groupPriorityMinimum": 1, "versionPriority": 1}
    local = {"spec": {"group": "a.io", "version": "v1", **priorities}}
    remote = {"spec": {"group": "b.io", "version": "v1", "service": {"namespace": "n", "name": "s"}, **priorities}}
    assert create(server, "APIService", local, "v1.a.io").body["status"]["conditions"][0]["reason"] == "Local"
    made = create(server, "APIService", remote, "v1.b.io").body
    assert made["spec"]["service"]["port"] == 443
    path = f"{PATHS['APIService']}/v1.b.io"
    state = {"type": "Available", "status": "False", "reason": "NoPods"}
    assert server.merge(f"{path}/status", {"status": {"conditions": [state]}}).status == 200
    table = server.ask("GET", PATHS["APIService"], accept="application/json;as=Table;v=v1;g=meta.k8s.io").body
    rows = {row["cells"][0]: row["cells"][1:3] for row in table["rows"]}
    assert rows == {"v1.a.io": ["Local", "True"], "v1.b.io": ["n/s", "False (NoPods)"]}
    refusal = server.merge(f"{path}/status", {"status": {"conditions": [{**state, "status": "Perhaps"}]}})
    assert refusal.body["message"].endswith('supported values: "True", "False", "Unknown"')

# SPDX-License-Identifier: Apache-2.0
"""Pods that upstream refuses, and its words for it.

The cases are those of upstream's own tests of validation (pkg/apis/core/validation/validation_test.go, v1.36); the
texts were worked out from its source.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.apiserver.conftest import Server, pod, refused, shown

PODS = "/api/v1/namespaces/default/pods"
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
VALUE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
PORT = "must be between 1 and 65535, inclusive"
SOURCES = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`"
NOT_SIDECAR = "may not be set for init containers without restartPolicy=Always"
EPHEMERAL_ON_CREATE = "cannot be set on create"


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "image": "nginx:1", **fields}


def one(**fields: Any) -> dict[str, Any]:
    """A specification of one container."""
    return {"containers": [container(**fields)]}


def env(**variable: Any) -> dict[str, Any]:
    return one(env=[{"name": "A", **variable}])


def mounted(volume: dict[str, Any], **mount: Any) -> dict[str, Any]:
    return {**one(volumeMounts=[{"name": "v", "mountPath": "/m", **mount}]), "volumes": [{"name": "v", **volume}]}


def probe(**fields: Any) -> dict[str, Any]:
    return one(livenessProbe={"exec": {"command": ["true"]}, **fields})


def nodes(*terms: Any) -> dict[str, Any]:
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": list(terms)}}
    return {"affinity": {"nodeAffinity": required}}


def spread(**fields: Any) -> dict[str, Any]:
    least = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}
    return {"topologySpreadConstraints": [{**least, **fields}]}


TERM = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
C = "spec.containers[0]"

CONTAINERS = [
    ({"containers": []}, ["spec.containers: Required value"]),
    ({"containers": [{"name": "", "image": "i"}]}, [f"{C}.name: Required value"]),
    ({"containers": [{"name": "c"}]}, [f"{C}.image: Required value"]),
    ({"containers": [{"name": "A_b", "image": "i"}]}, [f'{C}.name: Invalid value: "A_b": {LABEL}']),
    ({"containers": [{"name": "a.b", "image": "i"}]}, [f'{C}.name: Invalid value: "a.b": must not contain dots']),
    ({"containers": [container(), container()]}, ['spec.containers[1].name: Duplicate value: "c"']),
    (one(image=" i"), [f'{C}.image: Invalid value: " i": must not have leading or trailing whitespace']),
    (
        one(imagePullPolicy="Often"),
        [f'{C}.imagePullPolicy: Unsupported value: "Often": supported values: "Always", "IfNotPresent", "Never"'],
    ),
    (
        one(terminationMessagePolicy="Never"),
        [
            f'{C}.terminationMessagePolicy: Unsupported value: "Never": supported values: "File", '
            '"FallbackToLogsOnError"'
        ],
    ),
    (one(ports=[{"containerPort": 0}]), [f"{C}.ports[0].containerPort: Required value"]),
    (one(ports=[{"containerPort": 65536}]), [f"{C}.ports[0].containerPort: Invalid value: 65536: {PORT}"]),
    (
        one(ports=[{"containerPort": 80, "protocol": "ICMP"}]),
        [f'{C}.ports[0].protocol: Unsupported value: "ICMP": supported values: "SCTP", "TCP", "UDP"'],
    ),
    (
        one(ports=[{"containerPort": 80, "name": "a"}, {"containerPort": 81, "name": "a"}]),
        [f'{C}.ports[1].name: Duplicate value: "a"'],
    ),
    (
        one(ports=[{"containerPort": 80, "hostPort": 1}, {"containerPort": 81, "hostPort": 1}]),
        [f'{C}.ports[1].hostPort: Duplicate value: "TCP//1"'],
    ),
    (
        {**one(ports=[{"containerPort": 80, "hostPort": 81}]), "hostNetwork": True},
        [f"{C}.ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"],
    ),
    (
        one(ports=[{"containerPort": 80, "name": "this-name-is-long"}]),
        [f'{C}.ports[0].name: Invalid value: "this-name-is-long": must be no more than 15 characters'],
    ),
]
ENVIRONMENT = [
    (env(name=""), [f"{C}.env[0].name: Required value"]),
    (
        env(name="a=b"),
        [
            f'{C}.env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable '
            "ASCII characters other than '='"
        ],
    ),
    (env(valueFrom={}), [f'{C}.env[0].valueFrom: Invalid value: "": {SOURCES}']),
    (
        env(value="x", valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}),
        [f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'],
    ),
    (
        env(
            valueFrom={
                "fieldRef": {"fieldPath": "metadata.name"},
                "secretKeyRef": {"name": "s", "key": "k"},
            }
        ),
        [f'{C}.env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time'],
    ),
    (
        env(valueFrom={"fieldRef": {"fieldPath": "metadata.labels"}}),
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "metadata.labels": supported values: '
            '"metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName", '
            '"status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs"'
        ],
    ),
    (
        env(valueFrom={"fieldRef": {"fieldPath": "metadata.whoops"}}),
        [
            f'{C}.env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.whoops": error converting fieldPath: '
            "field label not supported: metadata.whoops"
        ],
    ),
    (
        env(valueFrom={"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1Ki"}}),
        [
            f'{C}.env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor\'s values 1m '
            "and 1 are supported with the cpu resource"
        ],
    ),
    (
        env(valueFrom={"configMapKeyRef": {"name": "m", "key": ""}}),
        [f"{C}.env[0].valueFrom.configMapKeyRef.key: Required value"],
    ),
    (
        env(valueFrom={"fileKeyRef": {"key": "A", "volumeName": "v", "path": "a"}}),
        [f'{C}.env[0].valueFrom.fileKeyRef.volumeName: Not found: "v"'],
    ),
    (one(envFrom=[{}]), [f'{C}.envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`']),
    (one(envFrom=[{"secretRef": {"name": ""}}]), [f"{C}.envFrom[0].secretRef.name: Required value"]),
]
RESOURCES = [
    (
        one(resources={"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}),
        [f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'],
    ),
    (
        one(resources={"limits": {"cpu": "-1"}, "requests": {"cpu": "-1"}}),
        [
            f'{C}.resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0',
            f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
        ],
    ),
    (
        one(resources={"requests": {"disk": "1"}}),
        [
            f'{C}.resources.requests[disk]: Invalid value: "disk": must be a standard resource type or fully qualified',
            f'{C}.resources.requests[disk]: Invalid value: "disk": must be a standard resource for containers',
        ],
    ),
    (
        one(resources={"requests": {"pods": "1"}}),
        [f'{C}.resources.requests[pods]: Invalid value: "pods": must be a standard resource for containers'],
    ),
    (
        one(resources={"requests": {"example.com/gpu": "1"}}),
        [f"{C}.resources.limits: Required value: Limit must be set for non overcommitable resources"],
    ),
    (
        one(resources={"limits": {"example.com/gpu": "500m"}, "requests": {"example.com/gpu": "500m"}}),
        [
            f'{C}.resources.limits[example.com/gpu]: Invalid value: "500m": must be an integer',
            f'{C}.resources.requests[example.com/gpu]: Invalid value: "500m": must be an integer',
        ],
    ),
    (
        one(resources={"limits": {"example.com/gpu": "2"}, "requests": {"example.com/gpu": "1"}}),
        [f'{C}.resources.requests: Invalid value: "1": must be equal to example.com/gpu limit of 2'],
    ),
    (
        one(resources={"limits": {"hugepages-2Mi": "2Mi"}}),
        [f"{C}.resources: Forbidden: HugePages require cpu or memory"],
    ),
    (
        one(resources={"limits": {"cpu": "1", "hugepages-2Mi": "3Mi"}}),
        [
            f'{C}.resources.limits[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of '
            "hugepages-2Mi",
            f'{C}.resources.requests[hugepages-2Mi]: Invalid value: "3Mi": 3Mi is not positive integer multiple of '
            "hugepages-2Mi",
        ],
    ),
    (
        one(resources={"claims": [{"name": "gpu"}]}),
        [
            f'{C}.resources.claims[0]: Not found: "gpu": must be one of the names in pod.spec.resourceClaims which is '
            "empty"
        ],
    ),
    (
        {**one(), "resourceClaims": [{"name": "gpu"}]},
        [
            'spec.resourceClaims[0]: Invalid value: {"Name":"gpu","ResourceClaimName":null,'
            '"ResourceClaimTemplateName":null}: must specify one of: `resourceClaimName`, `resourceClaimTemplateName`'
        ],
    ),
    (
        {**one(resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]), "restartPolicy": "Never"},
        [
            f"{C}.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when pod `restartPolicy` is "
            "'Never'"
        ],
    ),
    (
        {**one(resources={"requests": {"cpu": "2"}}), "resources": {"requests": {"cpu": "1"}}},
        [
            'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container '
            "requests of 2"
        ],
    ),
]
RUNNING = [
    (one(livenessProbe={}), [f"{C}.livenessProbe: Required value: must specify a handler type"]),
    (
        probe(httpGet={"port": 80}),
        [f"{C}.livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"],
    ),
    (probe(successThreshold=2), [f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1"]),
    (
        probe(periodSeconds=-1),
        [f"{C}.livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"],
    ),
    (
        one(readinessProbe={"tcpSocket": {"port": 0}, "terminationGracePeriodSeconds": 1}),
        [
            f"{C}.readinessProbe.tcpSocket.port: Invalid value: 0: {PORT}",
            f"{C}.readinessProbe.terminationGracePeriodSeconds: Invalid value: 1: must not be set for readinessProbes",
        ],
    ),
    (
        one(livenessProbe={"httpGet": {"port": "", "scheme": "FTP"}}),
        [
            f'{C}.livenessProbe.httpGet.port: Invalid value: "": must contain only alpha-numeric characters (a-z, 0-9),'
            " and hyphens (-)",
            f'{C}.livenessProbe.httpGet.port: Invalid value: "": must contain at least one letter (a-z)',
            f'{C}.livenessProbe.httpGet.scheme: Unsupported value: "FTP": supported values: "HTTP", "HTTPS"',
        ],
    ),
    (
        one(lifecycle={"preStop": {"sleep": {"seconds": 31}}}),
        [
            f"{C}.lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)"
        ],
    ),
    (
        one(lifecycle={"stopSignal": "SIGTERM"}),
        [f"{C}.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"],
    ),
    (
        {**one(), "initContainers": [container(name="i", livenessProbe={"exec": {"command": ["true"]}})]},
        [f"spec.initContainers[0].livenessProbe: Forbidden: {NOT_SIDECAR}"],
    ),
    ({**one(), "initContainers": [container()]}, ['spec.initContainers[0].name: Duplicate value: "c"']),
    (
        {**one(), "initContainers": [container(name="i", restartPolicy="Sometimes")]},
        [
            'spec.initContainers[0].restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never",'
            ' "OnFailure"'
        ],
    ),
    (
        {**one(), "ephemeralContainers": [container(name="e")]},
        [f"spec.ephemeralContainers: Forbidden: {EPHEMERAL_ON_CREATE}"],
    ),
    (
        {**one(), "ephemeralContainers": [container(name="e", ports=[{"containerPort": 1}])]},
        [
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
            f"spec.ephemeralContainers: Forbidden: {EPHEMERAL_ON_CREATE}",
        ],
    ),
]
VOLUMES = [
    (one(volumeMounts=[{"name": "v", "mountPath": "/m"}]), [f'{C}.volumeMounts[0].name: Not found: "v"']),
    (mounted({}, mountPath=""), [f"{C}.volumeMounts[0].mountPath: Required value"]),
    (mounted({}, subPath="/a"), [f'{C}.volumeMounts.subPath: Invalid value: "/a": must be a relative path']),
    (mounted({}, subPath="a/../b"), [f"{C}.volumeMounts.subPath: Invalid value: \"a/../b\": must not contain '..'"]),
    (
        mounted({}, mountPropagation="Bidirectional"),
        [
            f"{C}.volumeMounts.mountPropagation: Forbidden: Bidirectional mount propagation is available only to "
            "privileged containers"
        ],
    ),
    (
        {
            **one(volumeMounts=[{"name": "v", "mountPath": "/m"}, {"name": "v", "mountPath": "/m"}]),
            "volumes": [{"name": "v"}],
        },
        [f'{C}.volumeMounts[1].mountPath: Invalid value: "/m": must be unique'],
    ),
    (
        {**one(), "volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/a"}}]},
        ["spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"],
    ),
    ({**one(), "volumes": [{"name": "v"}, {"name": "v"}]}, ['spec.volumes[1].name: Duplicate value: "v"']),
    (
        {**one(), "volumes": [{"name": "v", "hostPath": {"path": "/a/../b"}}]},
        ["spec.volumes[0].hostPath.path: Invalid value: \"/a/../b\": must not contain '..'"],
    ),
    (
        {**one(), "volumes": [{"name": "v", "secret": {"secretName": "", "defaultMode": 512}}]},
        [
            "spec.volumes[0].secret.secretName: Required value",
            "spec.volumes[0].secret.defaultMode: Invalid value: 512: must be a number between 0 and 0777 (octal), both "
            "inclusive",
        ],
    ),
    (
        {**one(), "volumes": [{"name": "v", "configMap": {"name": "m", "items": [{"key": "k", "path": "..x"}]}}]},
        ["spec.volumes[0].configMap.items[0].path: Invalid value: \"..x\": must not start with '..'"],
    ),
    (
        {**one(), "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]},
        ["spec.volumes[0].persistentVolumeClaim.claimName: Required value"],
    ),
    (
        {**one(), "volumes": [{"name": "v", "nfs": {"server": "s", "path": "a"}}]},
        ['spec.volumes[0].nfs.path: Invalid value: "a": must be an absolute path'],
    ),
    (
        {**one(), "volumes": [{"name": "v", "csi": {"driver": "a b"}}]},
        [
            'spec.volumes[0].csi.driver: Invalid value: "a b": a lowercase RFC 1123 subdomain must consist of lower '
            "case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            "'example.com', regex used for validation is "
            "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
        ],
    ),
    (
        {**one(), "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {}}}}]},
        [
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.accessModes: Required value: at least 1 access mode is "
            "required",
            "spec.volumes[0].ephemeral.volumeClaimTemplate.spec.resources[storage]: Required value",
        ],
    ),
    (
        {
            **one(),
            "serviceAccountName": "default",
            "volumes": [
                {
                    "name": "v",
                    "projected": {"sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 599}}]},
                }
            ],
        },
        [
            "spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 599: may not "
            "specify a duration less than 10 minutes"
        ],
    ),
    (
        {
            **one(),
            "volumes": [
                {
                    "name": "v",
                    "projected": {
                        "sources": [
                            {"secret": {"name": "s", "items": [{"key": "k", "path": "p"}]}},
                            {"configMap": {"name": "m", "items": [{"key": "k", "path": "p"}]}},
                        ]
                    },
                }
            ],
        },
        ['spec.volumes[0].projected: Invalid value: "m": conflicting duplicate paths'],
    ),
    (
        {**one(volumeDevices=[{"name": "v", "devicePath": "/d"}]), "volumes": [{"name": "v"}]},
        [
            f'{C}.volumeDevices[0].name: Invalid value: "v": can only use volume source type of PersistentVolumeClaim '
            "or Ephemeral for block mode"
        ],
    ),
]
PLACING = [
    ({"nodeSelector": {"a": "b c"}}, [f'spec.nodeSelector: Invalid value: "b c": {VALUE}']),
    (nodes(), [f"{TERM}: Required value: must have at least one node selector term"]),
    (
        nodes({"matchExpressions": [{"key": "a", "operator": "In"}]}),
        [f"{TERM}[0].matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'"],
    ),
    (
        nodes({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]}),
        [
            f"{TERM}[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is "
            "'Lt' or 'Gt'"
        ],
    ),
    (
        nodes({"matchExpressions": [{"key": "a", "operator": "Has"}]}),
        [f'{TERM}[0].matchExpressions[0].operator: Invalid value: "Has": not a valid selector operator'],
    ),
    (
        nodes({"matchFields": [{"key": "metadata.labels", "operator": "In", "values": ["x"]}]}),
        [f'{TERM}[0].matchFields[0].key: Invalid value: "metadata.labels": not a valid field selector key'],
    ),
    (
        {
            "affinity": {
                "podAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}
                    ]
                }
            }
        },
        [
            "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: "
            "must be in the range 1-100"
        ],
    ),
    (
        {
            "affinity": {
                "podAntiAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": [
                        {"topologyKey": "zone", "matchLabelKeys": ["app"]}
                    ]
                }
            }
        },
        [
            "spec.affinity.podAntiAffinity.requiredDuringSchedulingIgnoredDuringExecution[0].matchLabelKeys: "
            "Forbidden: must not be specified when labelSelector is not set"
        ],
    ),
    (
        {"tolerations": [{"operator": "Equal"}]},
        [
            'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty, which '
            'means "match all values and all keys"'
        ],
    ),
    (
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]},
        ["spec.tolerations[0].operator: Invalid value: \"b\": value must be empty when `operator` is 'Exists'"],
    ),
    (
        {"tolerations": [{"key": "a", "operator": "Like"}]},
        ['spec.tolerations[0].operator: Unsupported value: "Like": supported values: "Equal", "Exists"'],
    ),
    (
        {"tolerations": [{"key": "a", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        [
            "spec.tolerations[0].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when "
            "`tolerationSeconds` is set"
        ],
    ),
    (spread(maxSkew=0), ["spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"]),
    (spread(topologyKey=""), ["spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty"]),
    (
        spread(whenUnsatisfiable="Maybe"),
        [
            'spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Maybe": supported values: '
            '"DoNotSchedule", "ScheduleAnyway"'
        ],
    ),
    (
        spread(whenUnsatisfiable="ScheduleAnyway", minDomains=2),
        [
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if "
            "whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway"
        ],
    ),
    (
        {"topologySpreadConstraints": spread()["topologySpreadConstraints"] * 2},
        [
            "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: "
            '"{zone, DoNotSchedule}"'
        ],
    ),
    (
        {"schedulingGates": [{"name": "a"}, {"name": "a"}]},
        ['spec.schedulingGates[1]: Duplicate value: "a"'],
    ),
    (
        {"schedulingGates": [{"name": "a"}], "nodeName": "n"},
        ["spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared"],
    ),
]
SECURITY = [
    (
        {"securityContext": {"runAsUser": -1}},
        ["spec.securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"],
    ),
    (
        {"shareProcessNamespace": True, "hostPID": True},
        [
            "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot "
            "both be enabled"
        ],
    ),
    (
        {"securityContext": {"sysctls": [{"name": "net.ipv4.x", "value": "1"}]}, "hostNetwork": True},
        [
            'spec.securityContext.sysctls[0].name: Invalid value: "net.ipv4.x": may not be specified when '
            "'hostNetwork' is true"
        ],
    ),
    (
        {"securityContext": {"seccompProfile": {"type": "Localhost"}}},
        [
            "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is "
            "Localhost"
        ],
    ),
    (
        one(securityContext={"allowPrivilegeEscalation": False, "privileged": True}),
        [
            f'{C}.securityContext: Invalid value: {{"Capabilities":null,"Privileged":true,"SELinuxOptions":null,'
            '"WindowsOptions":null,"RunAsUser":null,"RunAsGroup":null,"RunAsNonRoot":null,'
            '"ReadOnlyRootFilesystem":null,"AllowPrivilegeEscalation":false,"ProcMount":null,"SeccompProfile":null,'
            '"AppArmorProfile":null}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true'
        ],
    ),
    (
        one(securityContext={"procMount": "Unmasked"}),
        [
            f'{C}.securityContext.procMount: Invalid value: "Unmasked": `hostUsers` must be false to use `Unmasked`',
        ],
    ),
    ({"hostUsers": False, "hostIPC": True}, ["spec.HostIPC: Forbidden: when `hostUsers` is false"]),
    (
        {"os": {"name": "windows"}, "hostPID": True, "securityContext": {"fsGroup": 1}},
        [
            "spec.hostPID: Forbidden: cannot be set for a windows pod",
            "spec.securityContext.fsGroup: Forbidden: cannot be set for a windows pod",
        ],
    ),
    ({"os": {"name": "plan9"}}, ['spec.os: Unsupported value: "plan9": supported values: "linux", "windows"']),
]
REST = [
    (
        {"restartPolicy": "Often"},
        ['spec.restartPolicy: Unsupported value: "Often": supported values: "Always", "OnFailure", "Never"'],
    ),
    (
        {"dnsPolicy": "None"},
        ["spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"],
    ),
    (
        {"dnsConfig": {"nameservers": ["1.2.3.04"], "options": [{}]}},
        [
            'spec.dnsConfig.nameservers[0]: Invalid value: "1.2.3.04": must not have leading 0s',
            "spec.dnsConfig.options[0]: Required value: must not be empty",
        ],
    ),
    (
        {"activeDeadlineSeconds": 0},
        ["spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"],
    ),
    ({"hostname": "a.b"}, ['spec.hostname: Invalid value: "a.b": must not contain dots']),
    (
        {"hostAliases": [{"ip": "x", "hostnames": ["h"]}]},
        ['spec.hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'],
    ),
]


REFUSED = CONTAINERS + ENVIRONMENT + RESOURCES + RUNNING + VOLUMES + PLACING + SECURITY + REST


@pytest.mark.parametrize(("spec", "texts"), REFUSED)
def test_refused(server: Server, spec: dict[str, Any], texts: list[str]) -> None:
    answer = server.ask("POST", PODS, pod(**copy.deepcopy(spec)))
    assert refused(answer) == shown("Pod", *texts, name="p")
    assert server.ask("GET", f"{PODS}/p").status == 404


TAKEN = [
    {
        **one(),
        "initContainers": [container(name="i", restartPolicy="Always", startupProbe={"tcpSocket": {"port": 1}})],
    },
    one(resources={"limits": {"hugepages-2Mi": "4Mi", "memory": "1Gi"}}),
    one(resources={"limits": {"example.com/gpu": "2"}}),
    one(ports=[{"containerPort": 53, "protocol": "TCP"}, {"containerPort": 53, "protocol": "UDP"}]),
    env(name="with space.and-more"),
    env(valueFrom={"fieldRef": {"fieldPath": "metadata.annotations['Example.com/x']"}}),
    mounted({"hostPath": {"path": "/a", "type": ""}}, readOnly=True, recursiveReadOnly="Enabled"),
    {"dnsPolicy": "None", "dnsConfig": {"nameservers": ["::1"], "searches": ["a_b.example.", "."]}},
    {"tolerations": [{"operator": "Exists"}, {"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}]},
    {"hostUsers": False, **one(securityContext={"procMount": "Unmasked"})},
    {"os": {"name": "linux"}, **one(lifecycle={"stopSignal": "SIGRTMIN+1"})},
    {
        "securityContext": {"windowsOptions": {"hostProcess": True, "runAsUserName": "NT AUTHORITY\\SYSTEM"}},
        "hostNetwork": True,
        "os": {"name": "windows"},
    },
    {"securityContext": {"sysctls": [{"name": "kernel/shm_rmid_forced", "value": "0"}]}},
]


@pytest.mark.parametrize("spec", TAKEN)
def test_taken(server: Server, spec: dict[str, Any]) -> None:
    assert server.ask("POST", PODS, pod(**spec)).status == 201


def test_metadata_and_specification_are_one_answer(server: Server) -> None:
    made = pod(containers=[{"name": "c"}])
    made["metadata"]["labels"] = {"a": "b c"}
    assert refused(server.ask("POST", PODS, made)) == (
        'The Pod "p" is invalid: \n'
        f'* metadata.labels: Invalid value: "b c": {VALUE}\n'
        "* spec.containers[0].image: Required value"
    )


@pytest.mark.parametrize(
    ("annotations", "text"),
    [
        (
            {"kubernetes.io/config.mirror": "x"},
            'metadata.annotations[kubernetes.io/config.mirror]: Invalid value: "x": must set spec.nodeName if mirror '
            "pod annotation is set",
        ),
        (
            {"controller.kubernetes.io/pod-deletion-cost": "+1"},
            'metadata.annotations[controller.kubernetes.io/pod-deletion-cost]: Invalid value: "+1": must be a 32bit '
            "integer",
        ),
    ],
)
def test_annotations(server: Server, annotations: dict[str, str], text: str) -> None:
    made = pod()
    made["metadata"]["annotations"] = annotations
    assert refused(server.ask("POST", PODS, made)) == f'The Pod "p" is invalid: {text}'


def test_a_pod_begins_with_its_quality_and_its_gate(server: Server) -> None:
    limits = {"cpu": "1", "memory": "1Gi"}
    made = server.ask("POST", PODS, pod(**one(resources={"limits": limits}), schedulingGates=[{"name": "g"}]))
    assert made.body["status"]["qosClass"] == "Guaranteed"
    (condition,) = made.body["status"]["conditions"]
    assert (condition["type"], condition["status"], condition["reason"]) == ("PodScheduled", "False", "SchedulingGated")
    assert condition["lastTransitionTime"] == "2026-01-02T03:04:05Z"
    burstable = server.ask("POST", PODS, pod("q", **one(resources={"requests": {"cpu": "1"}})))
    assert burstable.body["status"]["qosClass"] == "Burstable"
    assert server.ask("POST", PODS, pod("r")).body["status"]["qosClass"] == "BestEffort"


def test_label_keys_become_part_of_selectors(server: Server) -> None:
    made = pod(**spread(matchLabelKeys=["app", "none"], labelSelector={"matchLabels": {"x": "y"}}))
    made["metadata"]["labels"] = {"app": "web"}
    (constraint,) = server.ask("POST", PODS, made).body["spec"]["topologySpreadConstraints"]
    assert constraint["labelSelector"] == {
        "matchLabels": {"x": "y"},
        "matchExpressions": [{"key": "app", "operator": "In", "values": ["web"]}],
    }


# ---- updates ----

FIXED = (
    "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing "
    "tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"
)


def changed(server: Server, change: dict[str, Any], subresource: str = "", **spec: Any) -> Any:
    assert server.ask("POST", PODS, pod(**spec)).status == 201
    path = f"{PODS}/p/{subresource}" if subresource else f"{PODS}/p"
    return server.merge(path, change)


def test_what_may_change(server: Server) -> None:
    answer = changed(
        server,
        {
            "spec": {
                "containers": [container(image="nginx:2")],
                "activeDeadlineSeconds": 5,
                "tolerations": [{"key": "b", "operator": "Exists"}, {"key": "a", "operator": "Exists"}],
            }
        },
        tolerations=[{"key": "a", "operator": "Exists"}],
    )
    assert answer.status == 200
    assert answer.body["spec"]["containers"][0]["image"] == "nginx:2"


def test_what_may_not_change_is_shown(server: Server) -> None:
    text = refused(changed(server, {"spec": {"hostname": "h"}}))
    assert text.startswith(f'The Pod "p" is invalid: {FIXED}@@ ')
    assert '\n+ "hostname": "h",\n' in text or '\n+ "hostname": "h"\n' in text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"containers": [container(), container(name="d")]},
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        ({"containers": [container(image="")]}, f"{C}.image: Required value"),
        (
            {"activeDeadlineSeconds": 11},
            "spec.activeDeadlineSeconds: Invalid value: 11: must be less than or equal to previous value",
        ),
        (
            {"activeDeadlineSeconds": None},
            "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value",
        ),
        (
            {"tolerations": None},
            "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
        ),
        (
            {"schedulingGates": [{"name": "h"}]},
            "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'h'",
        ),
        (
            {"nodeSelector": {"a": "c"}},
            'spec.nodeSelector: Invalid value: {"a":"c"}: only additions to spec.nodeSelector are allowed (no '
            "mutations or deletions)",
        ),
    ],
)
def test_what_may_not_change(server: Server, change: dict[str, Any], text: str) -> None:
    answer = changed(
        server,
        {"spec": change},
        activeDeadlineSeconds=10,
        tolerations=[{"key": "a", "operator": "Exists"}],
        schedulingGates=[{"name": "g"}],
        nodeSelector={"a": "b"},
    )
    assert refused(answer) == f'The Pod "p" is invalid: {text}'


def test_a_gated_pod_is_narrowed(server: Server) -> None:
    term = {"matchExpressions": [{"key": "a", "operator": "Exists"}]}
    more = {"matchExpressions": [*term["matchExpressions"], {"key": "b", "operator": "Exists"}]}
    gated = {"schedulingGates": [{"name": "g"}], **nodes(term)}
    answer = changed(server, {"spec": {**nodes(more), "nodeSelector": {"x": "y"}}}, **gated)
    assert answer.status == 200
    text = refused(server.merge(f"{PODS}/p", {"spec": nodes(term)}))
    assert text == (
        f'The Pod "p" is invalid: {TERM}[0]: Invalid value: {{"MatchExpressions":[{{"Key":"a","Operator":"Exists",'
        '"Values":null}],"MatchFields":null}: only additions are allowed (no mutations or deletions)'
    )


def test_ephemeral_containers_stay(server: Server) -> None:
    path = f"{PODS}/p/ephemeralcontainers"
    debug = {"spec": {"ephemeralContainers": [{"name": "d", "image": "busybox", "targetContainerName": "c"}]}}
    assert changed(server, debug, "ephemeralcontainers").status == 200
    gone = server.merge(path, {"spec": {"ephemeralContainers": []}})
    assert refused(gone) == (
        'The Pod "p" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers "d" may not be '
        "removed\n"
    )


def test_resizing(server: Server) -> None:
    asked = {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}
    change = {"spec": {"containers": [container(resources={"requests": {"cpu": "1500m"}, "limits": {"cpu": "2"}})]}}
    answer = changed(server, change, "resize", **one(resources=asked))
    assert answer.status == 200
    assert answer.body["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1500m"}
    less = {"spec": {"containers": [container(resources={"requests": {"cpu": "1"}})]}}
    assert refused(server.merge(f"{PODS}/p/resize", less)) == (
        f'The Pod "p" is invalid: {C}.resources.limits: Forbidden: resource limits cannot be removed'
    )
    equal = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
    better = {"spec": {"containers": [container(resources=equal)]}}
    assert refused(server.merge(f"{PODS}/p/resize", better)) == (
        'The Pod "p" is invalid: spec: Invalid value: "Burstable": Pod QOS Class may not change as a result of resizing'
    )


def test_status(server: Server) -> None:
    def report(name: str, state: dict[str, Any]) -> dict[str, Any]:
        return {"status": {"containerStatuses": [{"name": name, "state": state, "image": "", "imageID": ""}]}}

    assert (
        changed(server, report("c", {"terminated": {"exitCode": 0}}), "status", restartPolicy="OnFailure").status == 200
    )
    path = f"{PODS}/p/status"
    again = server.merge(path, report("c", {"running": {}}))
    assert refused(again) == (
        'The Pod "p" is invalid: status.containerStatuses[0].state: Forbidden: may not be transitioned to '
        "non-terminated state"
    )
    quality = server.merge(path, {"status": {"qosClass": "Guaranteed"}})
    assert (
        refused(quality) == 'The Pod "p" is invalid: status.qosClass: Invalid value: "Guaranteed": field is immutable'
    )
    addresses = {"status": {"podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]}}
    assert refused(server.merge(path, addresses)) == (
        'The Pod "p" is invalid: status.podIPs: Invalid value: [{"IP":"10.0.0.1"},{"IP":"10.0.0.2"}]: may specify no '
        "more than one IP for each IP family"
    )

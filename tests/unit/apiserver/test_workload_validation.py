# SPDX-License-Identifier: Apache-2.0
"""Workloads that upstream refuses, and its words for it.

The cases are those of upstream's own tests of validation (pkg/apis/apps and pkg/apis/batch, v1.36); the texts were
worked out from its source.
"""

from __future__ import annotations

import copy
from typing import Any

import pytest

from tests.unit.apiserver.conftest import Answer, Server, refused, shown, taken

UNMATCHED = "`selector` does not match template `labels`"
NEGATIVE = "must be greater than or equal to 0"
PATHS = {
    "Deployment": "/apis/apps/v1/namespaces/default/deployments",
    "ReplicaSet": "/apis/apps/v1/namespaces/default/replicasets",
    "StatefulSet": "/apis/apps/v1/namespaces/default/statefulsets",
    "DaemonSet": "/apis/apps/v1/namespaces/default/daemonsets",
    "Job": "/apis/batch/v1/namespaces/default/jobs",
    "CronJob": "/apis/batch/v1/namespaces/default/cronjobs",
    "ReplicationController": "/api/v1/namespaces/default/replicationcontrollers",
    "PodTemplate": "/api/v1/namespaces/default/podtemplates",
    "ControllerRevision": "/apis/apps/v1/namespaces/default/controllerrevisions",
}
Merged = dict[str, Any]


def merged(target: Merged, change: Merged) -> Merged:
    """A merge patch applied."""
    out = copy.deepcopy(target)
    for key, value in change.items():
        if value is None:
            out.pop(key, None)
        else:
            out[key] = merged(out.get(key) or {}, value) if isinstance(value, dict) else value
    return out


def template(**spec: Any) -> Merged:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def least(kind: str) -> Merged:
    """An object that upstream takes."""
    version = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1", "PodTemplate": "v1"}
    obj: Merged = {"apiVersion": version.get(kind, "apps/v1"), "kind": kind, "metadata": {"name": "x"}}
    match kind:
        case "Job":
            return {**obj, "spec": {"template": template(restartPolicy="Never")}}
        case "CronJob":
            job = {"spec": {"template": template(restartPolicy="Never")}}
            return {**obj, "spec": {"schedule": "* * * * *", "jobTemplate": job}}
        case "PodTemplate":
            return {**obj, "template": template()}
        case "ControllerRevision":
            return {**obj, "data": {"a": 1}, "revision": 1}
        case "ReplicationController":
            return {**obj, "spec": {"selector": {"a": "b"}, "template": template()}}
    return {**obj, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template()}}


def create(server: Server, kind: str, change: Merged | None = None) -> Answer:
    return server.ask("POST", PATHS[kind], merged(least(kind), change or {}))


@pytest.mark.parametrize("kind", PATHS)
def test_the_least_is_taken(server: Server, kind: str) -> None:
    taken(server, PATHS[kind], create(server, kind))


T = "spec.template"
INDEXED = {"completionMode": "Indexed", "completions": 2, "parallelism": 2}
CASES = [
    (
        "Deployment",
        {"spec": {"selector": None}},
        ["spec.selector: Required value", f'{T}.metadata.labels: Invalid value: {{"a":"b"}}: {UNMATCHED}'],
    ),
    (
        "Deployment",
        {"spec": {"selector": {"matchLabels": None}}},
        ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
    ),
    (
        "Deployment",
        {"spec": {"replicas": -1, "template": {"spec": {"restartPolicy": "Never"}}}},
        [
            f"spec.replicas: Invalid value: -1: {NEGATIVE}",
            f'{T}.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
        ],
    ),
    (
        "Deployment",
        {"spec": {"template": {"metadata": {"labels": {"a": "c"}}, "spec": {"containers": [{"name": "c"}]}}}},
        [
            f'{T}.metadata.labels: Invalid value: {{"a":"c"}}: {UNMATCHED}',
            f"{T}.spec.containers[0].image: Required value",
        ],
    ),
    (
        "Deployment",
        {"spec": {"strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}},
        ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    ),
    (
        "Deployment",
        {"spec": {"strategy": {"type": "Slow"}}},
        [
            'spec.strategy: Unsupported value: {"Type":"Slow","RollingUpdate":null}: supported values: "Recreate", '
            '"RollingUpdate"'
        ],
    ),
    (
        "Deployment",
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}}},
        ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0'],
    ),
    (
        "Deployment",
        {"spec": {"strategy": {"rollingUpdate": {"maxSurge": "x", "maxUnavailable": "101%"}}}},
        [
            'spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent string must be a numeric string '
            "followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
        ],
    ),
    (
        "Deployment",
        {"spec": {"progressDeadlineSeconds": 5, "minReadySeconds": 5}},
        ["spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"],
    ),
    (
        "Deployment",
        {"spec": {"template": {"spec": {"activeDeadlineSeconds": 5, "hostNetwork": True}}}},
        [f"{T}.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported"],
    ),
    (
        "ReplicaSet",
        {"spec": {"minReadySeconds": -1, "selector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}},
        [
            f"spec.minReadySeconds: Invalid value: -1: {NEGATIVE}",
            "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or "
            "'NotIn'",
            'spec.selector: Invalid value: {"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"In"}]}: '
            "invalid label selector",
        ],
    ),
    (
        "StatefulSet",
        {"spec": {"podManagementPolicy": "Wild", "serviceName": "A"}},
        [
            "spec.podManagementPolicy: Invalid value: \"Wild\": must be 'OrderedReady' or 'Parallel'",
            'spec.serviceName: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric '
            "characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', "
            "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ],
    ),
    (
        "StatefulSet",
        {"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}}},
        [
            'spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for '
            "updateStrategy 'RollingUpdate'"
        ],
    ),
    (
        "StatefulSet",
        {"spec": {"volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": {"accessModes": ["ReadWriteOnce"]}}]}},
        ["spec.volumeClaimTemplates[0].spec.resources[storage]: Required value"],
    ),
    (
        "DaemonSet",
        {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 1, "maxSurge": 1}}}},
        [
            "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is "
            "non-zero"
        ],
    ),
    (
        "DaemonSet",
        {"spec": {"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0}}}},
        ["spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"],
    ),
    (
        "Job",
        {"spec": {"template": {"spec": {"restartPolicy": None}}}},
        [f'{T}.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    (
        "Job",
        {"spec": {"backoffLimit": -1, "completionMode": "Some"}},
        [
            f"spec.backoffLimit: Invalid value: -1: {NEGATIVE}",
            'spec.completionMode: Unsupported value: "Some": supported values: "NonIndexed", "Indexed"',
        ],
    ),
    (
        "Job",
        {"spec": {"completionMode": "Indexed", "parallelism": 1}},
        ["spec.completions: Required value: when completion mode is Indexed"],
    ),
    (
        "Job",
        {"spec": {"backoffLimitPerIndex": 1}},
        ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
    ),
    (
        "Job",
        {"spec": {"podFailurePolicy": {"rules": [{"action": "FailJob"}]}}},
        [
            "spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is "
            "required"
        ],
    ),
    (
        "Job",
        {
            "spec": {
                "podFailurePolicy": {
                    "rules": [{"action": "Ignore", "onExitCodes": {"operator": "In", "values": [3, 0, 3]}}]
                }
            }
        },
        [
            "spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator",
            "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 3",
            "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [3,0,3]: must be ordered",
        ],
    ),
    (
        "Job",
        {"spec": {**INDEXED, "successPolicy": {"rules": [{"succeededIndexes": "0,0"}, {}]}}},
        [
            'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0,0": error parsing succeededIndexes: '
            "non-increasing order, previous: 0, current: 0",
            "spec.successPolicy.rules[1]: Required value: at least one of succeededCount or succeededIndexes must be "
            "specified",
        ],
    ),
    (
        "Job",
        {"spec": {"managedBy": "me"}},
        ['spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")'],
    ),
    (
        "CronJob",
        {"spec": {"schedule": "* * *"}},
        ['spec.schedule: Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]'],
    ),
    (
        "CronJob",
        {"spec": {"schedule": "60 * * * *"}},
        ['spec.schedule: Invalid value: "60 * * * *": end of range (60) above maximum (59): 60'],
    ),
    (
        "CronJob",
        {"spec": {"schedule": "CRON_TZ=UTC 0 0 * * sun", "timeZone": "Nowhere/At all"}},
        [
            'spec.schedule: Invalid value: "CRON_TZ=UTC 0 0 * * sun": cannot use TZ or CRON_TZ in schedule, use '
            "timeZone field instead",
            'spec.timeZone: Invalid value: "Nowhere/At all": unknown time zone Nowhere/At all',
        ],
    ),
    (
        "CronJob",
        {"spec": {"concurrencyPolicy": "Never", "jobTemplate": {"spec": {"manualSelector": True}}}},
        [
            'spec.concurrencyPolicy: Unsupported value: "Never": supported values: "Allow", "Forbid", "Replace"',
            'spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: "nil", "false"',
        ],
    ),
    (
        "CronJob",
        {"spec": {"jobTemplate": {"spec": {"template": {"spec": {"containers": []}}}}}},
        ["spec.jobTemplate.spec.template.spec.containers: Required value"],
    ),
    (
        "ReplicationController",
        {"spec": {"selector": {"a": "c"}, "template": {"spec": {"restartPolicy": "OnFailure"}}}},
        [
            f'{T}.metadata.labels: Invalid value: {{"a":"b"}}: {UNMATCHED}',
            f'{T}.spec.restartPolicy: Unsupported value: "OnFailure": supported values: "Always"',
        ],
    ),
    (
        "PodTemplate",
        {"template": {"spec": {"dnsPolicy": "Mine"}}},
        [
            'template.spec.dnsPolicy: Unsupported value: "Mine": supported values: "ClusterFirstWithHostNet", '
            '"ClusterFirst", "Default", "None"'
        ],
    ),
    (
        "ControllerRevision",
        {"revision": -1, "data": None},
        [
            f"revision: Invalid value: -1: {NEGATIVE}",
            "data: Required value: data is mandatory",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "change", "texts"), CASES)
def test_refused(server: Server, kind: str, change: Merged, texts: list[str]) -> None:
    assert refused(create(server, kind, change)) == shown(kind, *texts)


def test_a_stateful_set_mounts_its_claims(server: Server) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    containers = [{"name": "c", "image": "i", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}]
    spec = {
        "volumeClaimTemplates": [{"metadata": {"name": "v"}, "spec": claim}],
        "template": {"spec": {"containers": containers}},
    }
    assert create(server, "StatefulSet", {"spec": spec}).status == 201


def test_a_names_length_counts(server: Server) -> None:
    name = "a" * 53
    answer = create(server, "CronJob", {"metadata": {"name": name}})
    assert refused(answer) == (
        f'The CronJob "{name}" is invalid: metadata.name: Invalid value: "{name}": must be no more than 52 characters'
    )
    long = "a" * 62
    answer = create(server, "Job", {"metadata": {"name": long}, "spec": INDEXED})
    assert (
        f'metadata.name: Invalid value: "{long}": will not able to create pod with invalid DNS label: {long}-1'
    ) in refused(answer)


@pytest.mark.parametrize(
    ("kind", "change", "texts"),
    [
        (
            "Deployment",
            {"spec": {"selector": {"matchLabels": {"b": "c"}}, "template": {"metadata": {"labels": {"b": "c"}}}}},
            ['spec.selector: Invalid value: {"matchLabels":{"a":"b","b":"c"}}: field is immutable'],
        ),
        (
            "StatefulSet",
            {"spec": {"serviceName": "s"}},
            [
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                "'minReadySeconds' are forbidden"
            ],
        ),
        ("Job", {"spec": {"completions": 3}}, ["spec.completions: Invalid value: 3: field is immutable"]),
        ("ControllerRevision", {"data": {"a": 2}}, ['data: Invalid value: {"a":2}: field is immutable']),
    ],
)
def test_what_may_not_change(server: Server, kind: str, change: Merged, texts: list[str]) -> None:
    assert create(server, kind).status == 201
    answer = server.merge(f"{PATHS[kind]}/x", change)
    assert refused(answer) == shown(kind, *texts)


def test_the_template_of_a_job_is_fixed_but_for_where_it_runs_while_it_waits(server: Server) -> None:
    assert create(server, "Job", {"spec": {"suspend": True}}).status == 201
    path = f"{PATHS['Job']}/x"
    moved = {"spec": {"template": {"spec": {"nodeSelector": {"a": "b"}}}}}
    assert server.merge(path, moved).status == 200
    other = {"spec": {"template": {"spec": {"hostname": "h"}}}}
    answer = server.merge(path, other)
    assert refused(answer).startswith('The Job "x" is invalid: spec.template.spec: Invalid value: ')
    resumed = {"spec": {"suspend": False}}
    assert server.merge(path, resumed).status == 200
    again = {"spec": {"template": {"spec": {"nodeSelector": None}}}}
    answer = server.merge(path, again)
    assert refused(answer).startswith('The Job "x" is invalid: spec.template: Invalid value: ')


def test_a_status_counts_what_is_there(server: Server) -> None:
    assert create(server, "Deployment").status == 201
    path = f"{PATHS['Deployment']}/x/status"
    change = {"status": {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3}}
    assert refused(server.merge(path, change)) == shown(
        "Deployment",
        "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
        "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
    )

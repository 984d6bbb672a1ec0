# SPDX-License-Identifier: Apache-2.0
"""Two versions of one stored object. What each shows was worked out from upstream's conversions, v1.36."""

from __future__ import annotations

import json
from typing import Any

import pytest

from kubesched.apiserver.message import Stream
from tests.unit.apiserver.conftest import JSON, Server, refused, shown

V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
CORE = "/api/v1/namespaces/default/events"
NEW = "/apis/events.k8s.io/v1/namespaces/default/events"
PREFIX = "autoscaling.alpha.kubernetes.io/"
TARGET = {"kind": "Deployment", "name": "web", "apiVersion": "apps/v1"}
TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io"


def scaler(version: str, **spec: Any) -> dict[str, Any]:
    whole = {"scaleTargetRef": TARGET, "maxReplicas": 5, **spec}
    return {
        "apiVersion": f"autoscaling/{version}",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "x"},
        "spec": whole,
    }


def cpu(percent: int) -> dict[str, Any]:
    target = {"type": "Utilization", "averageUtilization": percent}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


PODS = {
    "type": "Pods",
    "pods": {
        "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
        "target": {"type": "AverageValue", "averageValue": "100"},
    },
}
OLD_PODS = {
    "type": "Pods",
    "pods": {"metricName": "hits", "targetAverageValue": "100", "selector": {"matchLabels": {"a": "b"}}},
}
OBJECT = {
    "type": "Object",
    "object": {
        "describedObject": {"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"},
        "metric": {"name": "rate"},
        "target": {"type": "Value", "value": "10k"},
    },
}
OLD_OBJECT = {
    "type": "Object",
    "object": {
        "target": {"kind": "Ingress", "name": "i", "apiVersion": "networking.k8s.io/v1"},
        "metricName": "rate",
        "targetValue": "10k",
    },
}
EXTERNAL = {
    "type": "External",
    "external": {"metric": {"name": "queue"}, "target": {"type": "AverageValue", "averageValue": "30"}},
}
OLD_EXTERNAL = {"type": "External", "external": {"metricName": "queue", "targetAverageValue": "30"}}
CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {
        "name": "memory",
        "container": "c",
        "target": {"type": "Utilization", "averageUtilization": 60},
    },
}
OLD_CONTAINER = {
    "type": "ContainerResource",
    "containerResource": {"name": "memory", "container": "c", "targetAverageUtilization": 60},
}


# ---- autoscalers ----


def test_what_v1_holds_is_a_metric_of_v2(server: Server) -> None:
    made = server.ask("POST", V1, scaler("v1", targetCPUUtilizationPercentage=70))
    assert made.status == 201, made.body
    assert made.body["apiVersion"] == "autoscaling/v1"
    assert made.body["spec"] == {
        "scaleTargetRef": TARGET,
        "minReplicas": 1,
        "maxReplicas": 5,
        "targetCPUUtilizationPercentage": 70,
    }
    found = server.ask("GET", f"{V2}/x").body
    assert found["apiVersion"] == "autoscaling/v2"
    assert found["spec"]["metrics"] == [cpu(70)]
    assert "targetCPUUtilizationPercentage" not in found["spec"]
    assert found["metadata"]["uid"] == made.body["metadata"]["uid"]


def test_without_a_target_there_is_one_of_80_percent(server: Server) -> None:
    server.ask("POST", V1, scaler("v1"))
    assert server.ask("GET", f"{V2}/x").body["spec"]["metrics"] == [cpu(80)]
    assert server.ask("GET", f"{V1}/x").body["spec"]["targetCPUUtilizationPercentage"] == 80


@pytest.mark.parametrize(
    ("new", "old"), [(PODS, OLD_PODS), (OBJECT, OLD_OBJECT), (EXTERNAL, OLD_EXTERNAL), (CONTAINER, OLD_CONTAINER)]
)
def test_other_metrics_travel_in_an_annotation(server: Server, new: dict[str, Any], old: dict[str, Any]) -> None:
    server.ask("POST", V2, scaler("v2", metrics=[new, cpu(50)]))
    seen = server.ask("GET", f"{V1}/x").body
    assert json.loads(seen["metadata"]["annotations"][f"{PREFIX}metrics"]) == [old]
    assert seen["spec"]["targetCPUUtilizationPercentage"] == 50
    written = server.ask("PUT", f"{V1}/x", {**seen, "spec": {**seen["spec"], "maxReplicas": 9}})
    assert written.status == 200, written.body
    whole = server.ask("GET", f"{V2}/x").body
    assert whole["spec"]["metrics"] == [new, cpu(50)]
    assert whole["spec"]["maxReplicas"] == 9
    assert "annotations" not in whole["metadata"]


def test_behaviour_is_written_as_upstreams_own_type(server: Server) -> None:
    rules = {"selectPolicy": "Min", "policies": [{"type": "Pods", "value": 4, "periodSeconds": 60}]}
    server.ask("POST", V2, scaler("v2", behavior={"scaleDown": rules}))
    before = server.ask("GET", f"{V2}/x").body["spec"]["behavior"]
    text = server.ask("GET", f"{V1}/x").body["metadata"]["annotations"][f"{PREFIX}behavior"]
    assert text.endswith(
        '"ScaleDown":{"StabilizationWindowSeconds":null,"SelectPolicy":"Min","Policies":[{"Type":"Pods","Value":4,'
        '"PeriodSeconds":60}],"Tolerance":null}}'
    )
    patch = {"metadata": {"labels": {"a": "b"}}}
    assert server.merge(f"{V1}/x", patch).status == 200
    assert server.ask("GET", f"{V2}/x").body["spec"]["behavior"] == before


def test_a_status_is_whole_in_both(server: Server) -> None:
    server.ask("POST", V2, scaler("v2"))
    current = {
        "type": "Resource",
        "resource": {"name": "cpu", "current": {"averageUtilization": 40, "averageValue": "1"}},
    }
    condition = {"type": "AbleToScale", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    state = {"currentReplicas": 2, "desiredReplicas": 3, "currentMetrics": [current], "conditions": [condition]}
    assert server.merge(f"{V2}/x/status", {"status": state}).status == 200
    seen = server.ask("GET", f"{V1}/x").body
    assert seen["status"] == {"currentReplicas": 2, "desiredReplicas": 3, "currentCPUUtilizationPercentage": 40}
    notes = seen["metadata"]["annotations"]
    assert json.loads(notes[f"{PREFIX}conditions"]) == [condition]
    assert json.loads(notes[f"{PREFIX}current-metrics"]) == [
        {
            "type": "Resource",
            "resource": {"name": "cpu", "currentAverageUtilization": 40, "currentAverageValue": "1"},
        }
    ]
    bare = {**seen, "metadata": {**seen["metadata"], "annotations": None}}
    assert server.ask("PUT", f"{V1}/x", bare).status == 200
    assert server.ask("GET", f"{V2}/x").body["status"]["conditions"] == [condition]


def test_broken_annotations_are_forgotten(server: Server) -> None:
    made = scaler("v1", targetCPUUtilizationPercentage=70)
    made["metadata"]["annotations"] = {f"{PREFIX}metrics": "{", f"{PREFIX}behavior": "[]", "mine": "kept"}
    assert server.ask("POST", V1, made).status == 201
    whole = server.ask("GET", f"{V2}/x").body
    assert whole["metadata"]["annotations"] == {"mine": "kept"}
    assert whole["spec"]["metrics"] == [cpu(70)]


def test_lists_and_tables_show_the_version_that_is_asked_for(server: Server) -> None:
    server.ask("POST", V2, scaler("v2", metrics=[cpu(50)]))
    (item,) = server.ask("GET", V1).body["items"]
    assert item["spec"]["targetCPUUtilizationPercentage"] == 50
    assert "apiVersion" not in item
    (row,) = server.ask("GET", V1, accept=TABLE).body["rows"]
    assert row["cells"][2] == "cpu: <unknown>/50%"
    gone = server.ask("DELETE", f"{V1}/x")
    assert gone.status == 200
    assert server.ask("GET", f"{V2}/x").status == 404


def test_a_dry_run_and_server_side_apply_answer_in_the_version_of_the_request(server: Server) -> None:
    dry = server.ask("POST", V1, scaler("v1", targetCPUUtilizationPercentage=70), query={"dryRun": "All"})
    assert dry.body["spec"]["targetCPUUtilizationPercentage"] == 70
    headers = {"content-type": "application/apply-patch+yaml"}
    query = {"fieldManager": "me"}
    wanted = scaler("v1", targetCPUUtilizationPercentage=60)
    made = server.ask("PATCH", f"{V1}/x", wanted, query=query, **headers)
    assert made.status == 201, made.body
    again = server.ask("PATCH", f"{V1}/x", wanted, query=query, **headers)
    assert again.body["metadata"]["resourceVersion"] == made.body["metadata"]["resourceVersion"]
    assert again.body["spec"]["targetCPUUtilizationPercentage"] == 60


# ---- events ----


def event(**fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
        "reason": "Started",
        "note": "it runs",
        "type": "Normal",
        "action": "Start",
        "reportingController": "example.com/c",
        "reportingInstance": "c-1",
        **fields,
    }


def test_an_event_has_two_views(server: Server) -> None:
    made = server.ask("POST", NEW, event())
    assert made.status == 201, made.body
    assert made.body["note"] == "it runs"
    old = server.ask("GET", f"{CORE}/e").body
    assert old["apiVersion"] == "v1"
    assert old["involvedObject"] == {"kind": "Pod", "name": "p", "namespace": "default"}
    assert (old["message"], old["reportingComponent"], old["eventTime"]) == (
        "it runs",
        "example.com/c",
        "2026-01-02T03:04:05.000000Z",
    )
    assert "regarding" not in old
    (line,) = server.ask(
        "GET", NEW, query={"fieldSelector": "regarding.name=p,reportingController=example.com/c"}
    ).body["items"]
    assert line["regarding"]["name"] == "p"
    assert server.ask("GET", NEW, query={"fieldSelector": "regarding.name=q"}).body["items"] == []
    refusal = server.ask("GET", NEW, query={"fieldSelector": "involvedObject.name=p"})
    assert (refusal.status, refusal.body["message"]) == (400, "field label not supported: involvedObject.name")


def test_an_old_event_is_seen_as_a_new_one(server: Server) -> None:
    old = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
        "message": "hello",
        "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z",
        "source": {"component": "kubelet"},
    }
    assert server.ask("POST", CORE, old).status == 201
    seen = server.ask("GET", f"{NEW}/e").body
    assert (seen["note"], seen["deprecatedCount"], seen["deprecatedSource"]) == ("hello", 3, {"component": "kubelet"})
    assert seen["deprecatedFirstTimestamp"] == "2026-01-01T00:00:00Z"
    (row,) = server.ask("GET", NEW, accept=TABLE).body["rows"]
    assert row["cells"][3] == "pod/p"


@pytest.mark.parametrize(
    ("fields", "texts"),
    [
        (
            {"eventTime": None, "type": "Loud", "deprecatedCount": 2},
            [
                "eventTime: Required value",
                'type: Invalid value: "": has invalid value: Loud',
                'count: Invalid value: "": needs to be unset',
            ],
        ),
        (
            {"reportingInstance": "", "action": "x" * 129, "note": "x" * 1025},
            [
                "reportingInstance: Required value",
                'action: Invalid value: "": can have at most 128 characters',
                'message: Invalid value: "": can have at most 1024 characters',
            ],
        ),
        (
            {"series": {"count": 1, "lastObservedTime": None}},
            ['series.count: Invalid value: "": should be at least 2', "series.lastObservedTime: Required value"],
        ),
    ],
)
def test_new_events_are_judged_strictly(server: Server, fields: dict[str, Any], texts: list[str]) -> None:
    answer = server.ask("POST", NEW, event(**fields))
    assert refused(answer) == shown("Event", *texts, name="e")


def test_only_the_series_of_a_new_event_goes_on(server: Server) -> None:
    assert server.ask("POST", NEW, event()).status == 201
    series = {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.000000Z"}
    assert server.merge(f"{NEW}/e", {"series": series}).status == 200
    answer = server.merge(f"{NEW}/e", {"note": "other"})
    assert refused(answer) == 'The Event "e" is invalid: message: Invalid value: "other": field is immutable'


def test_old_events_belong_to_the_namespace_of_their_object(server: Server) -> None:
    old = {"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"}, "involvedObject": {"namespace": "other"}}
    assert refused(server.ask("POST", CORE, old)) == (
        'The Event "e" is invalid: involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    )


def test_a_watch_shows_the_version_that_is_asked_for(server: Server) -> None:
    server.ask("POST", V2, scaler("v2", metrics=[cpu(50)]))

    async def first() -> bytes:
        stream = await server.send("GET", V1, query={"watch": "true", "timeoutSeconds": "1"})
        assert isinstance(stream, Stream)
        async for chunk in stream.chunks:
            return chunk
        raise AssertionError("nothing came")

    event = json.loads(server.run(first()).splitlines()[0])
    assert event["type"] == "ADDED"
    assert event["object"]["apiVersion"] == "autoscaling/v1"
    assert event["object"]["spec"]["targetCPUUtilizationPercentage"] == 50

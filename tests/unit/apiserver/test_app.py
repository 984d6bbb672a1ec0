# SPDX-License-Identifier: Apache-2.0
"""The application as clients see it: codes, bodies, texts."""

from __future__ import annotations

import gc
import tracemalloc

import orjson
import pytest

from kubesched.apiserver.message import Pieces
from tests.unit.apiserver.conftest import JSON, MERGE, Answer, Server, pod

PODS = "/api/v1/namespaces/default/pods"
MAPS = "/api/v1/namespaces/default/configmaps"
TABLE = f"{JSON};as=Table;v=v1;g=meta.k8s.io"
PARTIAL = f"{JSON};as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
APPLY = "application/apply-patch+yaml"


def config(name: str = "m", **data: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def test_what_is_created_is_read_back(server: Server) -> None:
    made = server.ask("POST", PODS, pod())
    assert made.status == 201
    metadata = made.body["metadata"]
    assert metadata["uid"]
    assert metadata["creationTimestamp"] == "2026-01-02T03:04:05Z"
    assert metadata["generation"] == 1
    assert made.body["spec"]["restartPolicy"] == "Always"
    assert made.body["status"]["phase"] == "Pending"
    assert server.ask("GET", f"{PODS}/p").body == made.body
    listed = server.ask("GET", PODS).body
    assert listed["kind"] == "PodList"
    assert listed["items"] == [{name: value for name, value in made.body.items() if name not in ("kind", "apiVersion")}]


def test_errors_read_as_upstreams(server: Server) -> None:
    server.ask("POST", PODS, pod())
    again = server.ask("POST", PODS, pod())
    assert (again.status, again.body["reason"], again.body["message"]) == (
        409,
        "AlreadyExists",
        'pods "p" already exists',
    )
    absent = server.ask("GET", "/apis/apps/v1/namespaces/default/deployments/x")
    assert absent.body == {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'deployments.apps "x" not found',
        "reason": "NotFound",
        "details": {"name": "x", "group": "apps", "kind": "deployments"},
        "code": 404,
    }
    assert server.ask("GET", "/apis/apps/v1/nothing").body["message"] == (
        "the server could not find the requested resource"
    )
    assert server.ask("PUT", PODS, pod()).status == 405
    assert server.ask("POST", "/api/v1/namespaces/nowhere/pods", pod()).body["message"] == (
        'namespaces "nowhere" not found'
    )


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"name": "UP"}, "a lowercase RFC 1123 subdomain must consist of"),
        ({}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "x", "labels": {"a b": "c"}}, "metadata.labels: Invalid value"),
        ({"name": "x", "namespace": "other"}, "the namespace of the provided object does not match"),
    ],
)
def test_bad_metadata(server: Server, metadata: dict[str, object], message: str) -> None:
    answer = server.ask("POST", MAPS, {**config(), "metadata": metadata})
    assert answer.status in (400, 422)
    assert message in answer.body["message"]


def test_a_write_that_changes_nothing_is_none(server: Server) -> None:
    made = server.ask("POST", MAPS, config(a="1")).body
    same = server.ask("PUT", f"{MAPS}/m", made)
    assert same.body["metadata"]["resourceVersion"] == made["metadata"]["resourceVersion"]
    server.clock.advance(5)
    again = server.ask("PATCH", f"{MAPS}/m", {"data": {"a": "1"}}, content_type=MERGE)
    assert again.body == made


def test_the_revision_guards_a_put(server: Server) -> None:
    made = server.ask("POST", MAPS, config(a="1")).body
    server.ask("PATCH", f"{MAPS}/m", {"data": {"a": "2"}}, content_type=MERGE)
    late = server.ask("PUT", f"{MAPS}/m", made)
    assert late.status == 409
    assert late.body["message"].startswith(
        'Operation cannot be fulfilled on configmaps "m": the object has been modified'
    )


_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}}
_WORKLOAD = {"selector": {"matchLabels": {"a": "b"}}, "template": _TEMPLATE}


@pytest.mark.parametrize(
    ("path", "spec", "status"),
    [
        ("apps/v1/namespaces/default/deployments", _WORKLOAD, {}),
        ("apps/v1/namespaces/default/replicasets", _WORKLOAD, {"replicas": 0}),
        ("apps/v1/namespaces/default/statefulsets", _WORKLOAD, {"replicas": 0, "availableReplicas": 0}),
        ("networking.k8s.io/v1/namespaces/default/ingresses", {"rules": [{"host": "a.b"}]}, {"loadBalancer": {}}),
        (
            "autoscaling/v1/namespaces/default/horizontalpodautoscalers",
            {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}},
            {"currentReplicas": 0, "desiredReplicas": 0},
        ),
    ],
)
def test_a_new_object_has_the_status_of_one_with_nothing_set(
    server: Server, path: str, spec: object, status: object
) -> None:
    body = {"metadata": {"name": "x"}, "spec": spec, "status": {"observedGeneration": 7}}
    made = server.ask("POST", f"/apis/{path}", body)
    assert made.body["status"] == status, made.body
    assert server.ask("GET", f"/apis/{path}/x").body == made.body


def test_a_node_registers_with_its_status(server: Server) -> None:
    node = {"metadata": {"name": "n"}, "status": {"capacity": {"cpu": "4"}}}
    made = server.ask("POST", "/api/v1/nodes", node).body
    assert made["status"]["capacity"] == {"cpu": "4"}
    changed = server.ask("PUT", "/api/v1/nodes/n", {**node, "status": {"capacity": {"cpu": "5"}}}).body
    assert changed["status"]["capacity"] == {"cpu": "4"}


def test_status_and_the_rest_are_written_apart(server: Server) -> None:
    server.ask("POST", PODS, pod())
    change = {"status": {"phase": "Running"}, "metadata": {"labels": {"a": "b"}}}
    main = server.ask("PATCH", f"{PODS}/p", change, content_type=MERGE).body
    assert (main["status"]["phase"], main["metadata"]["labels"]) == ("Pending", {"a": "b"})
    part = server.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE).body
    assert (part["status"]["phase"], part["metadata"]["generation"]) == ("Running", 1)


def test_dry_run_stores_nothing(server: Server) -> None:
    assert server.ask("POST", MAPS, config(), query={"dryRun": "All"}).status == 201
    assert server.ask("GET", f"{MAPS}/m").status == 404
    assert server.ask("POST", MAPS, config(), query={"dryRun": "Some"}).status == 422


def test_unknown_fields(server: Server) -> None:
    strange = {**config("s"), "dta": {}}
    strict = server.ask("POST", MAPS, strange, query={"fieldValidation": "Strict"})
    assert strict.status == 400
    assert 'strict decoding error: unknown field "dta"' in strict.body["message"]
    warned = server.ask("POST", MAPS, strange)
    assert warned.headers["Warning"] == '299 - "unknown field \\"dta\\""'
    ignored = server.ask("POST", MAPS, {**strange, "metadata": {"name": "t"}}, query={"fieldValidation": "Ignore"})
    assert "Warning" not in ignored.headers


def test_generated_names(server: Server) -> None:
    made = [server.ask("POST", MAPS, {**config(), "metadata": {"generateName": "x-"}}).body for _ in range(3)]
    names = {item["metadata"]["name"] for item in made}
    assert len(names) == 3
    assert all(name.startswith("x-") and len(name) == 7 for name in names)


def test_apply_owns_fields_and_gives_them_up(server: Server) -> None:
    def apply(manager: str, force: str = "false", **data: str) -> Answer:
        query = {"fieldManager": manager, "force": force}
        return server.ask("PATCH", f"{MAPS}/m", config(**data), query=query, content_type=APPLY)

    assert apply("one", a="1", b="1").status == 201
    clash = apply("two", a="2")
    assert clash.status == 409
    assert clash.body["message"] == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert clash.body["details"]["causes"][0]["reason"] == "FieldManagerConflict"
    forced = apply("two", "true", a="2")
    assert forced.body["data"] == {"a": "2", "b": "1"}
    dropped = apply("one", c="3")
    assert dropped.body["data"] == {"a": "2", "c": "3"}
    assert server.ask("PATCH", f"{MAPS}/m", config(), content_type=APPLY).status == 422


def test_finalizers_keep_an_object(server: Server) -> None:
    server.ask("POST", MAPS, {**config(), "metadata": {"name": "m", "finalizers": ["x/y"]}})
    going = server.ask("DELETE", f"{MAPS}/m").body
    assert going["metadata"]["deletionTimestamp"] == "2026-01-02T03:04:05Z"
    more = {"metadata": {"finalizers": ["x/y", "x/z"]}}
    assert server.ask("PATCH", f"{MAPS}/m", more, content_type=MERGE).status == 422
    assert server.ask("PATCH", f"{MAPS}/m", {"metadata": {"finalizers": None}}, content_type=MERGE).status == 200
    assert server.ask("GET", f"{MAPS}/m").status == 404


def test_a_pod_on_a_node_has_time_to_end(server: Server) -> None:
    server.ask("POST", PODS, pod(nodeName="n"))
    first = server.ask("DELETE", f"{PODS}/p").body["metadata"]
    assert (first["deletionGracePeriodSeconds"], first["deletionTimestamp"]) == (30, "2026-01-02T03:04:35Z")
    longer = server.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 60}).body["metadata"]
    assert longer["deletionGracePeriodSeconds"] == 30
    shorter = server.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 10}).body["metadata"]
    assert (shorter["deletionGracePeriodSeconds"], shorter["deletionTimestamp"]) == (10, "2026-01-02T03:04:15Z")
    server.ask("DELETE", f"{PODS}/p", {"gracePeriodSeconds": 0})
    assert server.ask("GET", f"{PODS}/p").status == 404


@pytest.mark.parametrize(
    ("policy", "finalizers"), [("Foreground", ["foregroundDeletion"]), ("Orphan", ["orphan"]), ("Background", None)]
)
def test_propagation(server: Server, policy: str, finalizers: list[str] | None) -> None:
    server.ask("POST", MAPS, config())
    server.ask("DELETE", f"{MAPS}/m", {"propagationPolicy": policy})
    left = server.ask("GET", f"{MAPS}/m")
    assert (left.body["metadata"].get("finalizers") if left.status == 200 else None) == finalizers


def test_preconditions(server: Server) -> None:
    server.ask("POST", MAPS, config())
    wrong = server.ask("DELETE", f"{MAPS}/m", {"preconditions": {"uid": "other"}})
    assert wrong.status == 409
    assert "the UID in the precondition (other) does not match the UID in record" in wrong.body["message"]


def test_pages_show_one_moment(server: Server) -> None:
    for i in range(5):
        server.ask("POST", MAPS, config(f"m{i}"))
    first = server.ask("GET", MAPS, query={"limit": "2"}).body
    assert [item["metadata"]["name"] for item in first["items"]] == ["m0", "m1"]
    assert first["metadata"]["remainingItemCount"] == 3
    server.ask("DELETE", f"{MAPS}/m3")
    token = first["metadata"]["continue"]
    rest = server.ask("GET", MAPS, query={"limit": "5", "continue": token}).body
    assert [item["metadata"]["name"] for item in rest["items"]] == ["m2", "m3", "m4"]
    assert rest["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    assert server.ask("GET", MAPS, query={"continue": "nonsense"}).status == 400


def test_selectors(server: Server) -> None:
    server.ask("POST", PODS, {**pod("a"), "metadata": {"name": "a", "labels": {"x": "1"}}})
    server.ask("POST", PODS, pod("b", nodeName="n"))

    def names(**query: str) -> list[str]:
        return [item["metadata"]["name"] for item in server.ask("GET", PODS, query=query).body["items"]]

    assert names(labelSelector="x=1") == ["a"]
    assert names(labelSelector="x!=1") == ["b"]
    assert names(fieldSelector="spec.nodeName=n") == ["b"]
    assert names(fieldSelector="metadata.name=a,status.phase=Pending") == ["a"]
    wrong = server.ask("GET", PODS, query={"fieldSelector": "spec.nothing=1"})
    assert (wrong.status, wrong.body["message"]) == (400, "field label not supported: spec.nothing")


def test_forms(server: Server) -> None:
    server.ask("POST", PODS, pod())
    table = server.ask("GET", PODS, accept=TABLE).body
    assert table["kind"] == "Table"
    assert table["rows"][0]["cells"][:5] == ["p", "0/1", "Pending", "0", "0s"]
    assert table["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    assert server.ask("GET", f"{PODS}/p", accept=PARTIAL).body["kind"] == "PartialObjectMetadata"
    assert "kind: Pod" in server.ask("GET", f"{PODS}/p", accept="application/yaml").body
    refused = server.ask("GET", PODS, accept="text/html")
    assert refused.status == 406
    assert refused.body["message"].startswith("only the following media types are accepted: application/json")
    assert server.ask("POST", PODS, b"x", content_type="text/plain").status == 415


def test_services_get_addresses(server: Server) -> None:
    path = "/api/v1/namespaces/default/services"

    def service(name: str, **spec: object) -> dict[str, object]:
        return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}

    first = server.ask("POST", path, service("a")).body["spec"]
    second = server.ask("POST", path, service("b", type="NodePort")).body["spec"]
    assert first["clusterIP"].startswith("10.")
    assert first["clusterIP"] != second["clusterIP"]
    assert 30000 <= second["ports"][0]["nodePort"] < 32768
    taken = server.ask("POST", path, service("c", clusterIP=first["clusterIP"]))
    assert taken.status == 422
    server.ask("DELETE", f"{path}/a")
    assert server.ask("POST", path, service("c", clusterIP=first["clusterIP"])).status == 201


def test_scale(server: Server) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments"
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    server.ask("POST", path, {"metadata": {"name": "d"}, "spec": spec})
    scale = server.ask("GET", f"{path}/d/scale").body
    assert (scale["spec"], scale["status"]) == ({"replicas": 2}, {"replicas": 0, "selector": "a=b"})
    server.ask("PATCH", f"{path}/d/scale", {"spec": {"replicas": 5}}, content_type=MERGE)
    after = server.ask("GET", f"{path}/d").body
    assert (after["spec"]["replicas"], after["metadata"]["generation"]) == (5, 2)


def test_binding_happens_once(server: Server) -> None:
    server.ask("POST", PODS, pod())
    bind = {"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}}
    assert server.ask("POST", f"{PODS}/p/binding", bind).status == 201
    assert server.ask("GET", f"{PODS}/p").body["spec"]["nodeName"] == "n"
    again = server.ask("POST", f"{PODS}/p/binding", bind)
    assert (again.status, again.body["message"].rpartition(": ")[2]) == (
        409,
        'pod p is already assigned to node "n"',
    )


def test_evictions_respect_budgets(server: Server) -> None:
    server.ask("POST", PODS, {**pod(nodeName="n"), "metadata": {"name": "p", "labels": {"a": "b"}}})
    server.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE)
    budgets = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}
    server.ask("POST", budgets, {"metadata": {"name": "b"}, "spec": spec})
    state = {"observedGeneration": 1, "currentHealthy": 1, "desiredHealthy": 1, "disruptionsAllowed": 0}
    state["expectedPods"] = 1
    server.ask("PATCH", f"{budgets}/b/status", {"status": state}, content_type=MERGE)
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    server.ask("PATCH", f"{PODS}/p/status", ready, content_type=MERGE)
    evict = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    refused = server.ask("POST", f"{PODS}/p/eviction", evict)
    assert refused.status == 429
    assert refused.body["details"]["causes"][0]["message"] == (
        "The disruption budget b needs 1 healthy pods and has 1 currently"
    )
    server.ask("PATCH", f"{budgets}/b/status", {"status": {"disruptionsAllowed": 1}}, content_type=MERGE)
    assert server.ask("POST", f"{PODS}/p/eviction", evict).status == 201
    assert server.ask("GET", f"{PODS}/p").body["metadata"]["deletionTimestamp"]


def test_namespaces_end_when_they_are_finalized(server: Server) -> None:
    server.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "n"}})
    ending = server.ask("DELETE", "/api/v1/namespaces/n").body
    assert ending["status"]["phase"] == "Terminating"
    refused = server.ask("POST", "/api/v1/namespaces/n/configmaps", config())
    assert refused.status == 403
    assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    ending["spec"]["finalizers"] = []
    server.ask("PUT", "/api/v1/namespaces/n/finalize", ending)
    assert server.ask("GET", "/api/v1/namespaces/n").status == 404
    assert server.ask("DELETE", "/api/v1/namespaces/default").status == 403


def test_reviews(server: Server) -> None:
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = server.ask("POST", path, {})
    assert answer.status == 201
    assert answer.body["status"]["userInfo"]["username"] == "kubernetes-admin"
    spec = {"resourceAttributes": {"verb": "create", "resource": "pods", "namespace": "default"}}
    may = server.ask("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {"spec": spec})
    assert may.body["status"] == {"allowed": True}


SCALER = {"scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}, "maxReplicas": 3}


@pytest.mark.parametrize(
    ("path", "spec"),
    [
        (MAPS, {}),
        ("/api/v1/namespaces", {}),
        ("/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", {"spec": SCALER}),
        ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {"spec": SCALER}),
    ],
)
def test_list_then_its_announced_size_is_that_of_its_pieces(server: Server, path: str, spec: dict[str, object]) -> None:
    before = len(server.ask("GET", path).body["items"])
    for count in range(3):
        if count:
            assert server.ask("POST", path, {"metadata": {"name": f"n{count}"}, **spec}).status == 201
        answer = server.run(server.send("GET", path))
        assert isinstance(answer.body, Pieces)
        raw = b"".join(answer.body)
        assert answer.body.size == len(raw)
        assert len(orjson.loads(raw)["items"]) == before + count


def test_a_stored_object_takes_the_memory_of_its_bytes(server: Server) -> None:
    """JSON of 20 kB comes out of a buffer of 32 kB, which must not be what is kept."""
    made = [config(f"c{n}", text="x" * 20_000) for n in range(20)]
    assert server.ask("POST", MAPS, made.pop()).status == 201  # whatever is made once is there now
    tracemalloc.start()
    try:
        for obj in made:
            assert server.ask("POST", MAPS, obj).status == 201
        gc.collect()
        each = tracemalloc.get_traced_memory()[0] / len(made)
    finally:
        tracemalloc.stop()
    assert 20_000 < each < 25_000


def test_streams_of_pods_when_no_node_has_it_then_upstreams_words(server: Server) -> None:
    made = pod("p", initContainers=[{"name": "i", "image": "x"}])
    made["spec"]["containers"] = [{"name": name, "image": "x"} for name in "ab"]
    assert server.ask("POST", PODS, made).status == 201

    def said(method: str, part: str, **query: str) -> tuple[int, str]:
        answer = server.ask(method, f"{PODS}/p/{part}", query=query)
        return answer.status, answer.body["message"] if answer.status >= 400 else answer.body

    which = (400, "a container name must be specified for pod p, choose one of: [i a b]")
    for part in ("log", "exec", "attach"):
        assert said("GET", part) == which
        assert said("GET", part, container="c") == (400, "container c is not valid for pod p")
    unassigned = (400, "pod p does not have a host assigned")
    assert said("GET", "log", container="i") == (200, ""), "what did not start has said nothing yet"
    assert said("POST", "exec", container="a") == unassigned
    assert said("POST", "portforward") == said("GET", "proxy") == unassigned
    assert said("DELETE", "log")[0] == said("PATCH", "exec")[0] == 405
    assert said("GET", "log", container="a", tailLines="-1") == (
        422,
        'PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0',
    )
    assert said("GET", "log", container="a", limitBytes="0")[0] == 422
    assert said("GET", "log", container="a", sinceSeconds="1", sinceTime="2026-01-01T00:00:00Z")[0] == 422

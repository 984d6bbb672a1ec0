# SPDX-License-Identifier: Apache-2.0
"""Roles and bindings at work: who may do what, in upstream's words, and that nobody gives away what they lack."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from kubesched.api import kinds, status
from kubesched.apiserver import bootstrap, routes
from kubesched.apiserver.authorization import attributes
from kubesched.apiserver.message import ANONYMOUS, Request, User
from tests.unit.apiserver.conftest import Answer, Server, pod

RBAC = "/apis/rbac.authorization.k8s.io/v1"
PODS = "/api/v1/namespaces/default/pods"
REVIEWS = "/apis/authorization.k8s.io/v1"
ANN = User("ann", ("system:authenticated",))
READ_PODS = {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]}


@pytest.fixture
def guarded(server: Server) -> Server:
    """A server with the default roles, which follows its policy."""
    server.run(server.app.start())
    server.run(bootstrap.grant(server.app))
    return server


def made(answer: Answer) -> Any:
    assert answer.status == 201, answer.body
    return answer.body


def role(server: Server, name: str, *rules: Any, namespace: str = "default", user: User | None = None) -> Answer:
    as_user = {"user": user} if user else {}
    path = f"{RBAC}/namespaces/{namespace}/roles" if namespace else f"{RBAC}/clusterroles"
    return server.ask("POST", path, {"metadata": {"name": name}, "rules": list(rules)}, **as_user)


def bind(server: Server, ref: str, *users: str, namespace: str = "default", user: User | None = None) -> Answer:
    as_user = {"user": user} if user else {}
    path = f"{RBAC}/namespaces/{namespace}/rolebindings" if namespace else f"{RBAC}/clusterrolebindings"
    kind, _, name = ref.rpartition("/")
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": one} for one in users]
    ref_ = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    return server.ask(
        "POST", path, {"metadata": {"generateName": "b-"}, "roleRef": ref_, "subjects": subjects}, **as_user
    )


# ---- what is asked ----


@pytest.mark.parametrize(
    ("method", "path", "query", "asked"),
    [
        ("GET", PODS, {}, ("list", "", "v1", "pods", "", "default", "", "")),
        ("GET", PODS, {"watch": ["1"]}, ("watch", "", "v1", "pods", "", "default", "", "")),
        ("GET", PODS, {"watch": ["false"]}, ("list", "", "v1", "pods", "", "default", "", "")),
        ("GET", PODS, {"fieldSelector": ["metadata.name=x"]}, ("list", "", "v1", "pods", "", "default", "x", "")),
        ("GET", PODS, {"fieldSelector": ["metadata.name=.."]}, ("list", "", "v1", "pods", "", "default", "", "")),
        ("GET", f"{PODS}/x", {}, ("get", "", "v1", "pods", "", "default", "x", "")),
        ("HEAD", f"{PODS}/x", {}, ("get", "", "v1", "pods", "", "default", "x", "")),
        ("POST", f"{PODS}/x/exec", {}, ("create", "", "v1", "pods", "exec", "default", "x", "")),
        ("DELETE", PODS, {}, ("deletecollection", "", "v1", "pods", "", "default", "", "")),
        ("DELETE", f"{PODS}/x", {}, ("delete", "", "v1", "pods", "", "default", "x", "")),
        ("GET", "/api/v1/namespaces/n", {}, ("get", "", "v1", "namespaces", "", "n", "n", "")),
        ("PUT", "/api/v1/namespaces/n/finalize", {}, ("update", "", "v1", "namespaces", "finalize", "n", "n", "")),
        ("GET", "/api/v1/watch/namespaces/n/pods/x", {}, ("watch", "", "v1", "pods", "", "n", "x", "")),
        (
            "PATCH",
            "/apis/apps/v1/namespaces/n/deployments/x",
            {},
            ("patch", "apps", "v1", "deployments", "", "n", "x", ""),
        ),
        ("GET", "/apis/no.such/v9/things", {}, ("list", "no.such", "v9", "things", "", "", "", "")),
        ("GET", "/api/v1/nodes/x/proxy/a/b", {}, ("get", "", "v1", "nodes", "proxy", "", "x", "")),
        ("GET", "/apis/apps", {}, ("get", "", "", "", "", "", "", "/apis/apps")),
        ("GET", "/api/v1", {}, ("get", "", "", "", "", "", "", "/api/v1")),
        ("POST", "/healthz", {}, ("post", "", "", "", "", "", "", "/healthz")),
    ],
)
def test_requests_are_read(method: str, path: str, query: dict[str, list[str]], asked: tuple[str, ...]) -> None:
    found = attributes.of(Request(method, path, query, user=ANN))
    assert found[1:] == asked


def test_what_is_routed_is_what_was_asked_about() -> None:
    """Whatever a path looks like: where it leads is what the authorizer was asked."""
    draw = random.Random(7)
    registry = kinds.Registry(kinds.built_in())
    words = ("namespaces", "pods", "status", "finalize", "watch", "proxy", "n", "", "nodes", "log", "deployments", "..")
    routed = 0
    for _ in range(20_000):
        stem = draw.choice(("/api/v1/", "/apis/apps/v1/", "/api/", "/apis/apps/", "//api/v1/"))
        path = stem + "/".join(draw.choice(words) for _ in range(draw.randint(1, 6)))
        try:
            route = routes.find(path, registry)
        except status.StatusError:
            continue
        if route is None:
            continue
        routed += 1
        asked = attributes.of(Request("POST", path, user=ANN))
        assert (asked.group, asked.resource, asked.path) == (route.kind.group, route.kind.plural, ""), path
        if asked.resource != "namespaces":
            assert asked.namespace == route.namespace, path
        if route.name:
            assert (asked.name, asked.subresource) == (route.name, route.subresource), path
        if route.watch:
            assert asked.verb == "watch"
    assert routed > 400


# ---- who may ----


def test_who_is_given_nothing_may_discover_and_ask_about_themselves(guarded: Server) -> None:
    assert guarded.ask("GET", "/apis", user=ANN).status == 200
    assert guarded.ask("POST", f"{REVIEWS}/selfsubjectaccessreviews", _access("get", "pods"), user=ANN).status == 201
    denied = guarded.ask("GET", PODS, user=ANN)
    assert (denied.status, denied.body["message"]) == (
        403,
        'pods is forbidden: User "ann" cannot list resource "pods" in API group "" in the namespace "default"',
    )
    assert denied.body["details"] == {"kind": "pods"}
    denied = guarded.ask("PATCH", f"{PODS}/p/status", {}, user=ANN)
    assert denied.body["message"] == (
        'pods "p" is forbidden: User "ann" cannot patch resource "pods/status" in API group "" '
        'in the namespace "default"'
    )
    denied = guarded.ask("GET", "/apis/no.such/v1/things", user=ANN)
    assert denied.body["message"] == (
        'things.no.such is forbidden: User "ann" cannot list resource "things" in API group "no.such" '
        "at the cluster scope"
    )


def test_who_is_unknown_sees_health_and_version_only(guarded: Server) -> None:
    for path in ("/healthz", "/livez", "/readyz", "/version"):
        assert guarded.ask("GET", path, user=ANONYMOUS).status == 200
    denied = guarded.ask("GET", "/apis", user=ANONYMOUS)
    assert (denied.status, denied.body["message"]) == (
        403,
        'forbidden: User "system:anonymous" cannot get path "/apis"',
    )
    for path in ("/", "/metrics", "/api/v1/pods", "/openapi/v2", "/healthz/ping"):
        assert guarded.ask("GET", path, user=ANONYMOUS).status == 403, path


def test_rights_come_and_go_with_roles_and_bindings(guarded: Server) -> None:
    def may() -> bool:
        return guarded.ask("GET", PODS, user=ANN).status == 200

    binding = made(bind(guarded, "Role/reader", "ann"))
    denied = guarded.ask("GET", PODS, user=ANN)
    assert denied.body["message"].endswith(': RBAC: role.rbac.authorization.k8s.io "reader" not found')
    made(role(guarded, "reader", READ_PODS))
    assert may()
    assert guarded.ask("GET", "/api/v1/namespaces/kube-system/pods", user=ANN).status == 403
    assert guarded.ask("POST", PODS, pod(), user=ANN).status == 403
    guarded.merge(f"{RBAC}/namespaces/default/roles/reader", {"rules": [{**READ_PODS, "resourceNames": ["a"]}]})
    assert not may()
    assert guarded.ask("GET", PODS, user=ANN, query={"fieldSelector": "metadata.name=a"}).status == 200
    guarded.merge(f"{RBAC}/namespaces/default/roles/reader", {"rules": [READ_PODS]})
    assert may()
    guarded.ask("DELETE", f"{RBAC}/namespaces/default/rolebindings/{binding['metadata']['name']}")
    assert not may()


def test_accounts_are_bound_by_their_names(guarded: Server) -> None:
    subjects = [{"kind": "ServiceAccount", "name": "robot", "namespace": "kube-public"}]
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    body = {"metadata": {"name": "b"}, "roleRef": ref, "subjects": subjects}
    made(guarded.ask("POST", f"{RBAC}/namespaces/default/rolebindings", body))
    robot = User("system:serviceaccount:kube-public:robot", ("system:authenticated",))
    assert guarded.ask("GET", PODS, user=robot).status == 200
    review = guarded.ask("POST", f"{REVIEWS}/selfsubjectaccessreviews", _access("list", "pods"), user=robot).body
    assert review["status"] == {
        "allowed": True,
        "reason": 'RBAC: allowed by RoleBinding "b/default" of ClusterRole "view" '
        'to ServiceAccount "robot/kube-public"',
    }
    other = User("system:serviceaccount:default:robot", ("system:authenticated",))
    assert guarded.ask("GET", PODS, user=other).status == 403


def _access(verb: str, resource: str, namespace: str = "default") -> Any:
    return {"spec": {"resourceAttributes": {"verb": verb, "resource": resource, "namespace": namespace}}}


def test_reviews_answer_as_the_server_would(guarded: Server) -> None:
    made(role(guarded, "reader", READ_PODS))
    made(bind(guarded, "Role/reader", "ann"))
    body = _access("list", "pods")
    body["spec"]["user"] = "ann"
    assert guarded.ask("POST", f"{REVIEWS}/subjectaccessreviews", body).body["status"]["allowed"] is True
    body["spec"]["resourceAttributes"]["verb"] = "create"
    assert guarded.ask("POST", f"{REVIEWS}/subjectaccessreviews", body).body["status"] == {"allowed": False}
    paths = {
        "spec": {
            "user": "ann",
            "groups": ["system:authenticated"],
            "nonResourceAttributes": {"path": "/apis/x", "verb": "get"},
        }
    }
    assert guarded.ask("POST", f"{REVIEWS}/subjectaccessreviews", paths).body["status"]["allowed"] is True
    rules = guarded.ask("POST", f"{REVIEWS}/selfsubjectrulesreviews", {"spec": {"namespace": "default"}}, user=ANN)
    found = rules.body["status"]
    assert READ_PODS in found["resourceRules"]
    assert found["incomplete"] is False
    assert any("/version" in rule["nonResourceURLs"] for rule in found["nonResourceRules"])
    assert guarded.ask("POST", f"{REVIEWS}/subjectaccessreviews", body, user=ANN).status == 403


# ---- giving rights away ----


def test_nobody_gives_what_they_lack(guarded: Server) -> None:
    made(bind(guarded, "ClusterRole/admin", "ann"))
    made(role(guarded, "mine", READ_PODS, user=ANN))
    more = {"verbs": ["get", "delete"], "apiGroups": [""], "resources": ["nodes"]}
    refused = role(guarded, "more", READ_PODS, more, user=ANN)
    assert (refused.status, refused.body["message"]) == (
        403,
        'roles.rbac.authorization.k8s.io "more" is forbidden: user "ann" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["nodes"], Verbs:["get" "delete"]}',
    )
    grown = guarded.merge(f"{RBAC}/namespaces/default/roles/mine", {"rules": [more]})
    assert grown.status == 200  # the administrator may
    refused = guarded.ask(
        "PATCH", f"{RBAC}/namespaces/default/roles/mine", {"metadata": {"labels": {"a": "b"}}}, user=ANN,
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert refused.status == 403  # she would write again what she could not
    collected = guarded.ask(
        "PATCH", f"{RBAC}/namespaces/default/roles/mine", {"metadata": {"finalizers": ["a.b/c"]}}, user=ANN,
        content_type="application/merge-patch+json",
    )  # fmt: skip
    assert collected.status == 200
    refused = bind(guarded, "ClusterRole/cluster-admin", "ann", user=ANN)
    assert refused.status == 403
    assert refused.body["message"].endswith(
        '{APIGroups:["*"], Resources:["*"], Verbs:["*"]}\n{NonResourceURLs:["*"], Verbs:["*"]}'
    )
    made(bind(guarded, "ClusterRole/view", "bob", user=ANN))
    assert bind(guarded, "ClusterRole/nothing", "bob", user=ANN).status == 404


def test_escalate_and_bind_are_rights_of_their_own(guarded: Server) -> None:
    rights = "rbac.authorization.k8s.io"
    more = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    writer = {"verbs": ["create", "escalate"], "apiGroups": [rights], "resources": ["roles"]}
    binder = {"verbs": ["create"], "apiGroups": [rights], "resources": ["rolebindings"]}
    only = {"verbs": ["bind"], "apiGroups": [rights], "resources": ["clusterroles"], "resourceNames": ["edit"]}
    made(role(guarded, "rights", writer, binder, only))
    made(bind(guarded, "Role/rights", "ann"))
    made(role(guarded, "all", more, user=ANN))
    made(bind(guarded, "ClusterRole/edit", "bob", user=ANN))
    assert bind(guarded, "ClusterRole/admin", "bob", user=ANN).status == 403


def test_unions_need_all_rights(guarded: Server) -> None:
    rights = {"verbs": ["create", "update"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"]}
    made(role(guarded, "writer", rights, namespace=""))
    made(bind(guarded, "ClusterRole/writer", "ann", namespace=""))
    union = {"metadata": {"name": "u"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}}
    refused = guarded.ask("POST", f"{RBAC}/clusterroles", union, user=ANN)
    assert refused.body["message"] == (
        'clusterroles.rbac.authorization.k8s.io "u" is forbidden: must have cluster-admin privileges to use the '
        "aggregationRule"
    )


def test_what_is_not_there_is_not_made_by_who_may_only_update(guarded: Server) -> None:
    leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
    update = {"verbs": ["update"], "apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    made(role(guarded, "updater", update))
    made(bind(guarded, "Role/updater", "ann"))
    lease = {"metadata": {"name": "x"}, "spec": {"holderIdentity": "a"}}
    refused = guarded.ask("PUT", f"{leases}/x", lease, user=ANN)
    assert (refused.status, refused.body["message"]) == (
        403,
        'leases.coordination.k8s.io "x" is forbidden: User "ann" cannot create resource "leases" in API group '
        '"coordination.k8s.io" in the namespace "default"',
    )
    live = made(guarded.ask("POST", leases, lease))
    assert guarded.ask("PUT", f"{leases}/x", live, user=ANN).status == 200


# ---- acting as others ----


def test_impersonation_is_a_right_for_each_part(guarded: Server) -> None:
    whoami = "/apis/authentication.k8s.io/v1/selfsubjectreviews"

    def acting(user: User | None = None, **headers: str) -> Answer:
        as_user = {"user": user} if user else {}
        return guarded.ask("POST", whoami, {}, **as_user, **headers)

    found = acting(impersonate_user="bob", impersonate_group="g", impersonate_uid="7", impersonate_extra_scopes="a, b")
    assert found.body["status"]["userInfo"] == {
        "username": "bob",
        "uid": "7",
        "groups": ["g", "system:authenticated"],
        "extra": {"scopes": ["a", "b"]},
    }
    account = acting(impersonate_user="system:serviceaccount:kube-system:x").body["status"]["userInfo"]
    assert account["groups"] == ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
    nobody = acting(impersonate_user="system:anonymous")
    assert nobody.status == 403
    refused = acting(ANN, impersonate_user="bob")
    assert refused.body["message"] == (
        'users "bob" is forbidden: User "ann" cannot impersonate resource "users" in API group "" at the cluster scope'
    )
    made(
        role(
            guarded,
            "as-bob",
            {"verbs": ["impersonate"], "apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"]},
            namespace="",
        )
    )
    made(bind(guarded, "ClusterRole/as-bob", "ann", namespace=""))
    assert acting(ANN, impersonate_user="bob").status == 201
    assert acting(ANN, impersonate_user="eve").status == 403
    assert acting(ANN, impersonate_user="bob", impersonate_group="system:masters").status == 403
    assert acting(impersonate_group="g").status == 400


# ---- the roles that are always there ----


def test_default_roles_get_back_what_they_lack(guarded: Server) -> None:
    path = f"{RBAC}/clusterroles/system:discovery"
    whole = guarded.ask("GET", path).body["rules"]
    guarded.merge(path, {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/mine"]}]})
    guarded.merge(f"{RBAC}/clusterrolebindings/system:discovery", {"subjects": []})
    kept = f"{RBAC}/clusterroles/system:basic-user"
    changed = {"metadata": {"annotations": {"rbac.authorization.kubernetes.io/autoupdate": "false"}}, "rules": []}
    guarded.merge(kept, changed)
    guarded.ask("DELETE", f"{RBAC}/clusterroles/system:monitoring")
    guarded.run(bootstrap.grant(guarded.app))
    assert guarded.ask("GET", path).body["rules"] == [{"verbs": ["get"], "nonResourceURLs": ["/mine"]}, *whole]
    binding = guarded.ask("GET", f"{RBAC}/clusterrolebindings/system:discovery").body
    assert [subject["name"] for subject in binding["subjects"]] == ["system:authenticated"]
    assert not guarded.ask("GET", kept).body.get("rules")
    assert guarded.ask("GET", f"{RBAC}/clusterroles/system:monitoring").status == 200


def test_unions_follow_their_parts(guarded: Server) -> None:
    async def settle() -> None:
        for _ in range(50):  # the follower takes a few turns of the loop
            await asyncio.sleep(0)

    def rules_of(name: str) -> list[Any]:
        guarded.run(settle())
        found: list[Any] = guarded.ask("GET", f"{RBAC}/clusterroles/{name}").body.get("rules") or []
        return found

    assert READ_PODS not in rules_of("view")
    part = {"metadata": {"name": "p", "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"}}}
    made(guarded.ask("POST", f"{RBAC}/clusterroles", {**part, "rules": [READ_PODS]}))
    assert READ_PODS in rules_of("view")
    assert READ_PODS in rules_of("edit")
    assert READ_PODS in rules_of("admin")
    guarded.ask("DELETE", f"{RBAC}/clusterroles/p")
    assert READ_PODS not in rules_of("admin")
    guarded.merge(f"{RBAC}/clusterroles/view", {"rules": [READ_PODS]})
    assert READ_PODS not in rules_of("view")
    managers = guarded.ask("GET", f"{RBAC}/clusterroles/view").body["metadata"]["managedFields"]
    assert "clusterrole-aggregation-controller" in [one["manager"] for one in managers]

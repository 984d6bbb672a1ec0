# SPDX-License-Identifier: Apache-2.0
"""Who has a say in a write, in upstream's words."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID

from kubesched.api import status
from kubesched.apiserver.message import User
from kubesched.apiserver.resource import Change
from tests.unit.apiserver.conftest import KEY, MERGE, Server, pem, pod

PODS = "/api/v1/namespaces/default/pods"
CLASSES = "/apis/scheduling.k8s.io/v1/priorityclasses"
CLAIMS = "/api/v1/namespaces/default/persistentvolumeclaims"
STORAGE = "/apis/storage.k8s.io/v1/storageclasses"
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
ROLES = "/apis/rbac.authorization.k8s.io/v1"


def made(server: Server, path: str, obj: Any) -> Any:
    answer = server.ask("POST", path, obj)
    assert answer.status == 201, answer.body
    return answer.body


def refused(server: Server, path: str, obj: Any) -> str:
    answer = server.ask("POST", path, obj)
    assert answer.status == 403, answer.body
    return str(answer.body["message"])


def priorities(server: Server, name: str, **spec: Any) -> tuple[Any, ...]:
    found = made(server, PODS, pod(name, **spec))["spec"]
    return found.get("priorityClassName"), found.get("priority"), found.get("preemptionPolicy")


# ---- tolerations ----

NOT_READY = {
    "key": "node.kubernetes.io/not-ready",
    "operator": "Exists",
    "effect": "NoExecute",
    "tolerationSeconds": 300,
}
UNREACHABLE = {**NOT_READY, "key": "node.kubernetes.io/unreachable"}
OTHER = {"key": "a", "operator": "Exists"}
ALL = {"operator": "Exists"}


@pytest.mark.parametrize(
    ("given", "added"),
    [
        ([], [NOT_READY, UNREACHABLE]),
        ([OTHER], [NOT_READY, UNREACHABLE]),
        ([ALL], []),
        ([{**ALL, "effect": "NoExecute"}], []),
        ([{**ALL, "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
        ([{"key": NOT_READY["key"], "operator": "Exists"}], [UNREACHABLE]),
        ([{**UNREACHABLE, "tolerationSeconds": 5}], [NOT_READY]),
        ([{"key": NOT_READY["key"], "operator": "Exists", "effect": "NoSchedule"}], [NOT_READY, UNREACHABLE]),
    ],
)
def test_a_pod_outlasts_short_outages_of_its_node(server: Server, given: list[object], added: list[object]) -> None:
    made = server.ask("POST", PODS, pod(tolerations=given)).body
    assert made["spec"]["tolerations"] == [*given, *added]
    assert ("f:tolerations" in made["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"]) == bool(given)


def test_what_admission_adds_to_a_pod_stays(server: Server) -> None:
    server.ask("POST", PODS, pod())
    changed = server.merge(f"{PODS}/p", {"spec": {"tolerations": [OTHER]}})
    assert changed.body["spec"]["tolerations"] == [OTHER, NOT_READY, UNREACHABLE]
    server.ask("PATCH", f"{PODS}/p/status", {"status": {"phase": "Running"}}, content_type=MERGE)
    assert server.ask("GET", f"{PODS}/p").body["spec"]["tolerations"] == [OTHER, NOT_READY, UNREACHABLE]


def test_a_template_is_left_as_it_is(server: Server) -> None:
    template = {"metadata": {"name": "t"}, "template": {"spec": pod()["spec"]}}
    made = server.ask("POST", "/api/v1/namespaces/default/podtemplates", template).body
    assert "tolerations" not in made["template"]["spec"]


# ---- priorities ----


def test_pods_get_the_numbers_of_their_class(server: Server) -> None:
    made(server, CLASSES, {"metadata": {"name": "high"}, "value": 100, "preemptionPolicy": "Never"})
    assert priorities(server, "none") == (None, 0, "PreemptLowerPriority")
    assert priorities(server, "high", priorityClassName="high") == ("high", 100, "Never")
    critical = priorities(server, "critical", priorityClassName="system-node-critical")
    assert critical == ("system-node-critical", 2_000_001_000, "PreemptLowerPriority")
    made(server, CLASSES, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    assert priorities(server, "default") == ("usual", 7, "PreemptLowerPriority")
    assert priorities(server, "told", priority=7) == ("usual", 7, "PreemptLowerPriority")


def test_pods_do_not_choose_their_numbers(server: Server) -> None:
    made(server, CLASSES, {"metadata": {"name": "high"}, "value": 100, "preemptionPolicy": "Never"})
    assert refused(server, PODS, pod("a", priorityClassName="nothing")) == (
        'pods "a" is forbidden: no PriorityClass with name nothing was found'
    )
    assert refused(server, PODS, pod("a", priority=5)) == (
        'pods "a" is forbidden: the integer value of priority (5) must not be provided in pod spec; priority admission '
        "controller computed 0 from the given PriorityClass name"
    )
    policy = pod("a", priorityClassName="high", preemptionPolicy="PreemptLowerPriority")
    assert refused(server, PODS, policy) == (
        'pods "a" is forbidden: the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in '
        "pod spec; priority admission controller computed Never from the given PriorityClass name"
    )


def test_a_policy_that_is_none_is_refused_where_it_stands(server: Server) -> None:
    """Of a pod before it is validated, of a template by its validation."""
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod(preemptionPolicy="Always")["spec"]}
    spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
    deployments = "/apis/apps/v1/namespaces/default/deployments"
    answer = server.ask("POST", deployments, {"metadata": {"name": "d"}, "spec": spec})
    assert answer.body["details"]["causes"][0]["message"] == (
        'Unsupported value: "Always": supported values: "PreemptLowerPriority", "Never"'
    )
    assert "the string value of PreemptionPolicy (Always)" in refused(server, PODS, pod(preemptionPolicy="Always"))


def test_numbers_stay_when_a_manifest_comes_again(server: Server) -> None:
    made(server, CLASSES, {"metadata": {"name": "high"}, "value": 100})
    manifest = pod("a", priorityClassName="high")
    made(server, PODS, manifest)
    manifest["metadata"]["labels"] = {"a": "b"}
    again = server.ask("PUT", f"{PODS}/a", manifest)
    assert (again.status, again.body["spec"]["priority"]) == (200, 100), again.body


def test_one_priority_class_is_the_default(server: Server) -> None:
    made(server, CLASSES, {"metadata": {"name": "usual"}, "value": 7, "globalDefault": True})
    second = {"metadata": {"name": "other"}, "value": 8, "globalDefault": True}
    assert refused(server, CLASSES, second) == (
        'priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already marked as default. '
        "Only one default can exist"
    )
    made(server, CLASSES, {**second, "globalDefault": False})
    assert server.merge(f"{CLASSES}/other", {"globalDefault": True}).status == 403
    assert server.merge(f"{CLASSES}/usual", {"description": "the usual one"}).status == 200


# ---- classes that are not named ----


def claim(name: str, size: str = "1Gi", **spec: Any) -> Any:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, **spec}
    return {"metadata": {"name": name}, "spec": wanted}


def storage_class(name: str, *, default: bool = False, **more: Any) -> Any:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "a.b/c", **more}


def test_claims_get_the_newest_default_class(server: Server) -> None:
    made(server, STORAGE, storage_class("plain"))
    assert "storageClassName" not in made(server, CLAIMS, claim("a"))["spec"]
    made(server, STORAGE, storage_class("old", default=True))
    assert made(server, CLAIMS, claim("b"))["spec"]["storageClassName"] == "old"
    server.clock.advance(5)
    made(server, STORAGE, storage_class("z-new", default=True))
    made(server, STORAGE, storage_class("new", default=True))
    assert made(server, CLAIMS, claim("c"))["spec"]["storageClassName"] == "new"
    assert made(server, CLAIMS, claim("d", storageClassName=""))["spec"]["storageClassName"] == ""


def test_ingresses_get_the_default_class(server: Server) -> None:
    path = "/apis/networking.k8s.io/v1"
    mark = {"ingressclass.kubernetes.io/is-default-class": "true"}
    body = {"metadata": {"name": "usual", "annotations": mark}, "spec": {"controller": "a.b/c"}}
    made(server, f"{path}/ingressclasses", body)
    backend = {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}
    ingresses = f"{path}/namespaces/default/ingresses"
    assert made(server, ingresses, {"metadata": {"name": "a"}, "spec": backend})["spec"]["ingressClassName"] == "usual"
    old = {"name": "b", "annotations": {"kubernetes.io/ingress.class": "mine"}}
    assert "ingressClassName" not in made(server, ingresses, {"metadata": old, "spec": backend})["spec"]


def test_claims_grow_when_their_class_says_so(server: Server) -> None:
    def grow(name: str) -> Any:
        return server.merge(f"{CLAIMS}/{name}", {"spec": {"resources": {"requests": {"storage": "2Gi"}}}})

    made(server, STORAGE, storage_class("fixed"))
    made(server, STORAGE, storage_class("growing", allowVolumeExpansion=True))
    for name in ("fixed", "growing"):
        made(server, CLAIMS, claim(name, storageClassName=name, volumeName="v"))
        assert grow(name).status == 422  # the specification of what is not bound does not change at all
        server.merge(f"{CLAIMS}/{name}/status", {"status": {"phase": "Bound"}})
    assert grow("fixed").body["message"] == (
        'persistentvolumeclaims "fixed" is forbidden: only dynamically provisioned pvc can be resized and the '
        "storageclass that provisions the pvc must support resize"
    )
    assert grow("growing").status == 200


# ---- certificates ----

ANN = User("ann", ("system:authenticated",))


def request_for(signer: str, group: str = "workers") -> Any:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, "n"), x509.NameAttribute(NameOID.ORGANIZATION_NAME, group)]
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(KEY, hashes.SHA256())
    spec = {"request": base64.b64encode(pem(built)).decode(), "signerName": signer, "usages": ["client auth"]}
    return {"metadata": {"name": "x"}, "spec": spec}


def test_masters_are_not_made_by_the_signer_of_clients(server: Server) -> None:
    signer = "kubernetes.io/kube-apiserver-client"
    assert refused(server, REQUESTS, request_for(signer, "system:masters")) == (
        f'certificatesigningrequests.certificates.k8s.io "x" is forbidden: use of {signer} signer with system:masters '
        "group is not allowed"
    )
    made(server, REQUESTS, request_for(signer))


@pytest.mark.parametrize("named", ["a.b/c", "a.b/*"])
def test_who_approves_needs_the_right_for_the_signer(server: Server, named: str) -> None:
    server.run(server.app.start())
    group = "certificates.k8s.io"
    update = {"verbs": ["update"], "apiGroups": [group], "resources": ["certificatesigningrequests/approval"]}
    approve = {"verbs": ["approve"], "apiGroups": [group], "resources": ["signers"], "resourceNames": [named]}
    made(server, f"{ROLES}/clusterroles", {"metadata": {"name": "r"}, "rules": [update]})
    subject = {"kind": "User", "name": "ann", "apiGroup": "rbac.authorization.k8s.io"}
    ref = {"kind": "ClusterRole", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}
    made(server, f"{ROLES}/clusterrolebindings", {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]})
    live = made(server, REQUESTS, request_for("a.b/c"))
    live["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Because"}]}
    answer = server.ask("PUT", f"{REQUESTS}/x/approval", live, user=ANN)
    assert (answer.status, answer.body["message"]) == (
        403,
        'certificatesigningrequests.certificates.k8s.io "x" is forbidden: user not permitted to approve requests with '
        'signerName "a.b/c"',
    )
    server.merge(f"{ROLES}/clusterroles/r", {"rules": [update, approve]})
    assert server.ask("PUT", f"{REQUESTS}/x/approval", live, user=ANN).status == 200


# ---- writers who cross ----


@pytest.mark.parametrize("named", [False, True])
def test_patches_that_cross_are_made_again_unless_they_name_a_revision(server: Server, named: bool) -> None:
    """Another writer comes between reading and writing, while admission is asked."""
    path = "/api/v1/namespaces/default/configmaps"
    live = made(server, path, {"metadata": {"name": "x"}, "data": {"a": "0"}})
    resource = server.app.resource_of("", "v1", "configmaps")
    writers = 0

    async def cross(new: Any, old: Any) -> None:
        nonlocal writers
        writers += 1
        if writers == 1:
            answer = await server.send("PATCH", f"{path}/x", {"data": {"b": "1"}}, content_type=MERGE)
            assert answer.status == 200

    def renew(found: Any) -> Any:
        revision = live["metadata"]["resourceVersion"] if named else found["metadata"]["resourceVersion"]
        metadata = {**found["metadata"], "resourceVersion": revision}
        return {**found, "metadata": metadata, "data": {**found["data"], "c": "2"}}

    update = resource.update("default", "x", renew, Change(admit=cross))
    if named:
        with pytest.raises(status.StatusError, match="the object has been modified"):
            server.run(update)
    else:
        server.run(update)
        assert server.ask("GET", f"{path}/x").body["data"] == {"a": "0", "b": "1", "c": "2"}

# SPDX-License-Identifier: Apache-2.0
"""Service accounts' tokens through the whole server: issued, used, reviewed, gone with what they are bound to."""

from __future__ import annotations

from typing import Any

import pytest

from kubesched.testing import RunningServer
from tests.apiserver.test_server import ask

CORE = "/api/v1/namespaces/default"
ACCOUNT = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "p"},
    "spec": {"serviceAccountName": "robot", "containers": [{"name": "c", "image": "i"}]},
}


class Client:
    """Asks a server as its administrator, or with a token."""

    def __init__(self, server: RunningServer) -> None:
        self.server = server

    def admin(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        return ask(self.server.port, self.server.tls, method, path, body)

    def made(self, path: str, body: Any) -> Any:
        code, found = self.admin("POST", path, body)
        assert code == 201, found
        return found

    def token(self, **spec: Any) -> tuple[int, Any]:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        return self.admin("POST", f"{CORE}/serviceaccounts/robot/token", body)

    def with_token(self, token: str) -> tuple[int, Any]:
        bare = self.server.server.authority.client_context(None)
        return ask(self.server.port, bare, "GET", CORE, Authorization=f"Bearer {token}")

    def review(self, token: str, *audiences: str) -> Any:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        if audiences:
            body["spec"]["audiences"] = list(audiences)  # type: ignore[index]
        return self.made("/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]


@pytest.fixture
def client(apiserver: RunningServer) -> Client:
    found = Client(apiserver)
    found.made(f"{CORE}/serviceaccounts", ACCOUNT)
    return found


def test_token_when_asked_for_then_it_is_the_account(client: Client) -> None:
    code, answer = client.token()
    assert code == 201
    token = answer["status"]["token"]
    code, _ = client.with_token(token)
    assert code in (200, 403), "known, whatever it may do"
    status = client.review(token)
    assert status["authenticated"]
    assert status["user"]["username"] == "system:serviceaccount:default:robot"
    assert "system:serviceaccounts:default" in status["user"]["groups"]
    assert not client.review(token, "vault").get("authenticated")
    assert not client.review(token[:-3] + "abc").get("authenticated")


def test_token_when_for_another_audience_then_only_that_one_takes_it(client: Client) -> None:
    _, answer = client.token(audiences=["vault"])
    token = answer["status"]["token"]
    assert answer["spec"]["audiences"] == ["vault"]
    assert client.review(token, "vault")["authenticated"]
    assert client.with_token(token)[0] == 401


def test_token_when_its_account_is_made_anew_then_401(client: Client) -> None:
    _, answer = client.token()
    assert client.admin("DELETE", f"{CORE}/serviceaccounts/robot")[0] == 200
    client.made(f"{CORE}/serviceaccounts", ACCOUNT)
    assert client.with_token(answer["status"]["token"])[0] == 401


def test_token_when_bound_to_a_pod_then_gone_with_it(client: Client) -> None:
    pod = client.made(f"{CORE}/pods", POD)
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": pod["metadata"]["uid"]}
    code, answer = client.token(boundObjectRef=reference)
    assert code == 201, answer
    token = answer["status"]["token"]
    extra = client.review(token)["user"]["extra"]
    assert extra["authentication.kubernetes.io/pod-name"] == ["p"]
    assert client.admin("DELETE", f"{CORE}/pods/p?gracePeriodSeconds=0")[0] == 200
    assert client.with_token(token)[0] == 401


def test_token_when_it_cannot_be_bound_then_upstreams_errors(client: Client) -> None:
    client.made(
        f"{CORE}/pods", POD | {"metadata": {"name": "other"}, "spec": POD["spec"] | {"serviceAccountName": "x"}}
    )  # type: ignore[operator]
    client.made(f"{CORE}/pods", POD)

    def refused(**reference: str) -> tuple[int, str]:
        code, answer = client.token(boundObjectRef=reference)
        return code, answer["message"]

    assert refused(apiVersion="v1", kind="Pod", name="absent") == (404, 'pods "absent" not found')
    assert refused(apiVersion="v1", kind="ConfigMap", name="c") == (
        400,
        "cannot bind token to object of type /v1, Kind=ConfigMap",
    )
    assert refused(apiVersion="v1", kind="Pod", name="other") == (
        400,
        'cannot bind token for serviceaccount "robot" to pod running with different serviceaccount name.',
    )
    code, message = refused(apiVersion="v1", kind="Pod", name="p", uid="wrong")
    assert code == 409
    assert "the UID in the bound object reference (wrong) does not match the UID in record." in message

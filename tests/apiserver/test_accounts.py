# SPDX-License-Identifier: Apache-2.0
"""Service accounts' tokens through the whole server: issued, used, reviewed, gone with what they are bound to."""

from __future__ import annotations

from typing import Any

import jwt
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

    def with_token(self, token: str, path: str = CORE) -> tuple[int, Any]:
        bare = self.server.server.authority.client_context(None)
        return ask(self.server.port, bare, "GET", path, Authorization=f"Bearer {token}")

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


def test_keys_when_published_then_others_can_judge_a_token(client: Client) -> None:
    token = client.token()[1]["status"]["token"]
    code, configuration = client.with_token(token, "/.well-known/openid-configuration")
    assert code == 200
    assert configuration["id_token_signing_alg_values_supported"] == ["ES256"]
    address, _, path = configuration["jwks_uri"].partition("/openid/")
    assert address == f"https://127.0.0.1:{client.server.port}"
    code, keys = client.with_token(token, f"/openid/{path}")
    assert code == 200
    issuer = configuration["issuer"]
    [key] = jwt.PyJWKSet.from_dict(keys).keys
    assert key.key_id == jwt.get_unverified_header(token)["kid"]
    claims = jwt.decode(token, key.key, algorithms=["ES256"], audience=issuer, issuer=issuer)
    assert claims["sub"] == "system:serviceaccount:default:robot"
    bare = client.server.server.authority.client_context(None)
    assert ask(client.server.port, bare, "GET", "/openid/v1/jwks")[0] == 403


def test_bootstrap_token_when_its_secret_is_good_then_it_is_who_joins(client: Client) -> None:
    def secret(**changes: str) -> Any:
        data = {
            "token-id": "abcdef",
            "token-secret": "0123456789abcdef",
            "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:workers",
            **changes,
        }
        metadata = {"name": "bootstrap-token-abcdef", "namespace": "kube-system"}
        return {"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "stringData": data}

    path, token = "/api/v1/namespaces/kube-system/secrets", "abcdef.0123456789abcdef"
    assert client.with_token(token)[0] == 401
    client.made(path, secret())
    assert client.with_token(token)[0] == 403
    assert client.with_token("abcdef.0123456789abcdeX")[0] == 401
    assert client.with_token("abcdef.0000000000000000")[0] == 401
    review = client.review(token)
    assert review["user"] == {
        "username": "system:bootstrap:abcdef",
        "groups": ["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"],
    }
    for changes in (
        {"expiration": "2020-01-01T00:00:00Z"},
        {"expiration": "tomorrow"},
        {"usage-bootstrap-authentication": "false"},
        {"auth-extra-groups": "system:masters"},
        {"token-id": "fedcba"},
    ):
        assert client.admin("PUT", f"{path}/bootstrap-token-abcdef", secret(**changes))[0] == 200
        assert client.with_token(token)[0] == 401, changes
    assert (
        client.admin("PUT", f"{path}/bootstrap-token-abcdef", secret(expiration="2999-01-01T00:00:00+01:00"))[0] == 200
    )
    assert client.with_token(token)[0] == 403

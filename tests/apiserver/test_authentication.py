# SPDX-License-Identifier: Apache-2.0
"""Certificates and tokens: who is let in as whom, and who is not."""

from __future__ import annotations

import asyncio
import base64
import datetime
import hashlib
import hmac
import json
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubesched.api.status import StatusError
from kubesched.apiserver.authentication import ADMINISTRATOR, Authentication, user_of
from kubesched.apiserver.certificates import Authority, Pair, write_private
from kubesched.apiserver.front import Front
from kubesched.apiserver.message import Answer, Request, Response, User
from kubesched.apiserver.tokens import ISSUER, BadToken, Claims, Reference, Tokens
from kubesched.base.errors import InputError, StorageError

NOW = 1_900_000_000.0
DAY = datetime.timedelta(days=1)


def clock(offset: datetime.timedelta) -> Callable[[], datetime.datetime]:
    return lambda: datetime.datetime.now(datetime.UTC) + offset


# ---- certificates ----------------------------------------------------------------------------------------------------


def test_folder_then_made_once_used_again_and_private(tmp_path: Path) -> None:
    folder = tmp_path / "pki"
    first = Authority.open(folder)
    pairs = [first.server(), first.administrator()]
    key = first.signing_key()
    again = Authority.open(folder)
    assert again.certificate == first.certificate
    assert [again.server(), again.administrator()] == pairs
    assert again.signing_key() == key
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 7, "nothing else is left behind"


def test_certificate_when_it_expires_soon_then_renewed(tmp_path: Path) -> None:
    old = Authority.open(tmp_path, now=clock(-340 * DAY))
    server, admin = old.server(), old.administrator()
    new = Authority.open(tmp_path)
    assert new.certificate == old.certificate
    assert new.server() != server
    assert new.administrator() != admin
    later = Authority.open(tmp_path, now=clock(3_640 * DAY))
    assert later.certificate != old.certificate
    assert x509.load_pem_x509_certificate(later.server().certificate).issuer


def test_server_certificate_when_more_names_are_wanted_then_made_anew(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    first = authority.server()
    second = authority.server(["example.test"], ["192.0.2.1"])
    assert second != first
    assert authority.server() == second, "one that holds for more is kept"
    names = x509.load_pem_x509_certificate(second.certificate).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    assert {"localhost", "kubernetes.default.svc.cluster.local", "example.test"} <= set(
        names.value.get_values_for_type(x509.DNSName)
    )
    addresses = {str(address) for address in names.value.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", "::1", "10.96.0.1", "192.0.2.1"} == addresses


def test_pair_when_half_of_it_is_there_then_made_anew(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path)
    first = authority.administrator()
    (tmp_path / "admin.key").unlink()
    assert authority.administrator() != first


def test_folder_when_damaged_or_closed_then_one_line(tmp_path: Path) -> None:
    Authority.open(tmp_path)
    (tmp_path / "ca.crt").write_text("nonsense")
    with pytest.raises(InputError, match="cannot be read"):
        Authority.open(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="cannot be used"):
        Authority.open(tmp_path / "file" / "pki")


def test_kubeconfig_then_private_and_it_names_the_administrator(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "pki")
    path = tmp_path / "kubeconfig"
    path.write_text("old")
    path.chmod(0o644)
    write_private(path, authority.kubeconfig("https://127.0.0.1:6443"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = json.loads(path.read_text())
    assert found["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:6443"
    certificate = x509.load_pem_x509_certificate(base64.b64decode(found["users"][0]["user"]["client-certificate-data"]))
    assert certificate.subject.rfc4514_string() == "CN=kubernetes-admin,O=system:masters"


# ---- client certificates over TLS ------------------------------------------------------------------------------------


def tokens(authority: Authority, **options: Any) -> Tokens:
    return Tokens(authority.signing_key(), **options)


async def who(request: Request) -> Answer:
    return Response(200, json.dumps([request.user.name, *request.user.groups]).encode())


async def ask(port: int, context: ssl.SSLContext, header: str = "") -> tuple[int, Any]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    try:
        writer.write(f"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{header}\r\n".encode())
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        if not head:
            raise ConnectionError("closed without an answer")
        return int(head.split()[1]), json.loads(body)
    finally:
        writer.close()


def served(authority: Authority, requests: list[tuple[ssl.SSLContext, str]], **options: Any) -> list[Any]:
    """What each request gets: a code and a body, or the error of the connection."""

    async def whole() -> list[Any]:
        authentication = Authentication(tokens(authority), issued=authority.issued, **options)
        front = Front(who, authentication, tls=authority.server_context())
        port = await front.listen("127.0.0.1", 0)
        try:
            return await asyncio.gather(*(ask(port, *request) for request in requests), return_exceptions=True)
        finally:
            await front.drain(lambda: None, timeout_s=1)

    return asyncio.run(whole())


def with_pair(authority: Authority, folder: Path, pair: Pair) -> ssl.SSLContext:
    """A client of the authority's server that shows this certificate."""
    context = authority.client_context(None)
    name = f"client-{len(list(folder.iterdir()))}"
    (folder / f"{name}.crt").write_bytes(pair.certificate)
    (folder / f"{name}.key").write_bytes(pair.key)
    context.load_cert_chain(folder / f"{name}.crt", folder / f"{name}.key")
    return context


def self_signed(name: x509.Name, days: int = 1) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now - DAY).not_valid_after(now + days * DAY)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Pair(builder.sign(key, hashes.SHA256()).public_bytes(pem), private)


def test_certificate_then_user_and_groups(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "pki")
    jane = with_pair(authority, tmp_path, authority.sign_client("jane", ("devs", "ops")))
    got = served(authority, [(authority.client_context(), ""), (jane, ""), (authority.client_context(None), "")])
    assert got == [
        (200, ["kubernetes-admin", "system:masters", "system:authenticated"]),
        (200, ["jane", "devs", "ops", "system:authenticated"]),
        (200, ["system:anonymous", "system:unauthenticated"]),
    ]


def test_certificate_when_bad_then_the_handshake_fails(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "pki")
    other = Authority.open(tmp_path / "other")
    admin = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "system:masters"),
            x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes-admin"),
        ]
    )
    bad = {
        "another authority": other.administrator(),
        "self-signed": self_signed(admin),
        "the server's own": authority.server(),
    }
    got = served(authority, [(with_pair(authority, tmp_path, pair), "") for pair in bad.values()])
    for name, result in zip(bad, got, strict=True):
        assert isinstance(result, (ssl.SSLError, ConnectionError)), (name, result)


def test_certificate_when_out_of_its_time_then_401(tmp_path: Path) -> None:
    """As upstream: it is let in, and refused with a code that clients understand."""
    authority = Authority.open(tmp_path / "pki")
    old, new = (Authority.open(tmp_path / "pki", now=clock(days * DAY)) for days in (-400, 10))
    pairs = [found.sign_client("jane", ("system:masters",)) for found in (old, new)]
    got = served(authority, [(with_pair(authority, tmp_path, pair), "") for pair in pairs])
    assert [(code, body["reason"]) for code, body in got] == [(401, "Unauthorized")] * 2


def test_certificate_when_another_stands_between_then_401(tmp_path: Path) -> None:
    """Nobody looks at the time of an authority between: what it signed is refused."""
    authority = Authority.open(tmp_path / "pki")
    key = ec.generate_private_key(ec.SECP256R1())
    root = x509.load_pem_x509_certificate(authority.certificate)
    root_key = serialization.load_pem_private_key((tmp_path / "pki" / "ca.key").read_bytes(), None)
    now = datetime.datetime.now(datetime.UTC)

    def certificate(name: str, issuer: x509.Name, public: Any, signer: Any, ca: bool) -> bytes:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public)
        builder = builder.serial_number(2).not_valid_before(now - DAY).not_valid_after(now + (-0.5 if ca else 1) * DAY)
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    between = certificate("between", root.subject, key.public_key(), root_key, True)
    issuer = x509.load_pem_x509_certificate(between).subject
    leaf = certificate("kubernetes-admin", issuer, key.public_key(), key, False)
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    chained = with_pair(authority, tmp_path, Pair(leaf + between, key.private_bytes(*pem)))
    (got,) = served(authority, [(chained, "")])
    assert got[0] == 401


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_server_then_only_its_own_authority_and_new_tls_are_accepted(tmp_path: Path) -> None:
    authority = Authority.open(tmp_path / "pki")
    stranger = Authority.open(tmp_path / "other").client_context(None)
    old = authority.client_context()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.set_ciphers("ALL:@SECLEVEL=0")
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    first, second = served(authority, [(stranger, ""), (old, "")])
    assert isinstance(first, ssl.SSLCertVerificationError)
    assert isinstance(second, (ssl.SSLError, ConnectionError))


class Shown:
    """What a connection's TLS says about its peer."""

    def __init__(self, *subject: tuple[str, str], after: str = "Jan  1 00:00:00 2035 GMT") -> None:
        self.found = {"subject": tuple((pair,) for pair in subject), "notAfter": after}

    def getpeercert(self, binary_form: bool = False) -> Any:
        return b"der" if binary_form else self.found


def test_subject_when_strange_then_nobody_or_401(tmp_path: Path) -> None:
    authentication = Authentication(tokens(Authority.open(tmp_path)), now=lambda: NOW)

    def judge(*subject: tuple[str, str], **options: str) -> User | None:
        return authentication.certificate(Shown(*subject, **options))[0]  # type: ignore[arg-type]

    assert judge(("organizationName", "system:masters")) is None
    assert judge(("commonName", "")) is None
    named = judge(("commonName", "a"), ("organizationName", "g"))
    assert named is not None
    assert (named.name, named.groups) == ("a", ("g", "system:authenticated"))
    with pytest.raises(StatusError):
        judge(("commonName", "admin\0x"))
    with pytest.raises(StatusError):
        judge(("commonName", "a"), ("organizationName", "system:masters\0"))
    with pytest.raises(StatusError):
        judge(("commonName", "a"), after="Jan  1 00:00:00 2020 GMT")


# ---- tokens ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.open(tmp_path_factory.mktemp("pki"))


def claims(**changes: Any) -> Claims:
    fields = {"namespace": "ns", "account": Reference("sa", "u-1"), "audiences": (ISSUER,), "expires": int(NOW) + 3_600}
    return Claims(**fields | changes)


def test_token_then_upstreams_claims(authority: Authority) -> None:
    signer = tokens(authority, now=lambda: NOW)
    token = signer.sign(claims(pod=Reference("p", "u-2"), node=Reference("n", "u-3"), id="j-1"))
    payload = jwt.decode(token, options={"verify_signature": False})
    assert payload == {
        "aud": [ISSUER],
        "exp": int(NOW) + 3_600,
        "iat": int(NOW),
        "iss": ISSUER,
        "jti": "j-1",
        "kubernetes.io": {
            "namespace": "ns",
            "serviceaccount": {"name": "sa", "uid": "u-1"},
            "pod": {"name": "p", "uid": "u-2"},
            "node": {"name": "n", "uid": "u-3"},
        },
        "nbf": int(NOW),
        "sub": "system:serviceaccount:ns:sa",
    }
    header = jwt.get_unverified_header(token)
    assert header["alg"] == "ES256"
    assert header["kid"] == signer.jwks()["keys"][0]["kid"]
    user = user_of(signer.verify(token))
    assert (user.name, user.uid) == ("system:serviceaccount:ns:sa", "u-1")
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    assert user.extra == {
        "authentication.kubernetes.io/credential-id": ["JTI=j-1"],
        "authentication.kubernetes.io/pod-name": ["p"],
        "authentication.kubernetes.io/pod-uid": ["u-2"],
        "authentication.kubernetes.io/node-name": ["n"],
        "authentication.kubernetes.io/node-uid": ["u-3"],
    }


def test_jwks_then_it_judges_our_tokens(authority: Authority) -> None:
    signer = tokens(authority, now=lambda: NOW)
    key = jwt.PyJWKSet.from_dict(signer.jwks()).keys[0]
    assert key.algorithm_name == "ES256"
    options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
    assert jwt.decode(signer.sign(claims()), key, options=options)["sub"].endswith(":sa")


def forged(authority: Authority, **options: Any) -> str:
    """A token with the right claims, signed in another way."""
    payload = claims().encode(ISSUER, int(NOW)) | options.pop("payload", {})
    return jwt.encode(payload, **options)


def public_pem(authority: Authority) -> bytes:
    key = serialization.load_pem_private_key(authority.signing_key(), None)
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def signed_with_public_key(authority: Authority) -> str:
    """HS256 whose secret is our public key; libraries refuse to make it, so it is made by hand."""

    def part(value: dict[str, Any]) -> bytes:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")

    message = part({"alg": "HS256", "typ": "JWT"}) + b"." + part(claims().encode(ISSUER, int(NOW)))
    digest = hmac.new(public_pem(authority), message, hashlib.sha256).digest()
    return (message + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


def bad_tokens(authority: Authority) -> dict[str, str]:
    signer = tokens(authority, now=lambda: NOW)
    good = signer.sign(claims())
    other = ec.generate_private_key(ec.SECP256R1())
    ours = serialization.load_pem_private_key(authority.signing_key(), None)
    head, body, signature = good.split(".")
    changed = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed["sub"] = "system:serviceaccount:kube-system:admin"
    other_body = base64.urlsafe_b64encode(json.dumps(changed).encode()).rstrip(b"=").decode()
    es = {"key": ours, "algorithm": "ES256"}
    return {
        "no algorithm": forged(authority, key=None, algorithm="none"),
        "HS256 with the public key": signed_with_public_key(authority),
        "another key": forged(authority, key=other, algorithm="ES256"),
        "another key and our key id": forged(
            authority, key=other, algorithm="ES256", headers={"kid": jwt.get_unverified_header(good)["kid"]}
        ),
        "key id that is a path": forged(authority, key=other, algorithm="ES256", headers={"kid": "../../dev/null"}),
        "changed claims": f"{head}.{other_body}.{signature}",
        "no signature": f"{head}.{body}.",
        "another audience": signer.sign(claims(audiences=("vault",))),
        "no audience": forged(authority, **es, payload={"aud": []}),
        "another issuer": forged(authority, **es, payload={"iss": "https://elsewhere"}),
        "expired": signer.sign(claims(expires=int(NOW))),
        "not valid yet": forged(authority, **es, payload={"nbf": int(NOW) + 3_600}),
        "expiry that is text": forged(authority, **es, payload={"exp": "tomorrow"}),
        "expiry that is no number": forged(authority, **es, payload={"exp": float("nan")}),
        "another subject": forged(authority, **es, payload={"sub": "system:serviceaccount:kube-system:admin"}),
        "no account": forged(authority, **es, payload={"kubernetes.io": {"namespace": "ns"}}),
        "not a token": "abc",
        "empty parts": "..",
        "binary": "\ufffd\x00",
        "huge": "a" * 100_000,
    }


def judge(authority: Authority, token: str, **options: Any) -> User | None:
    authentication = Authentication(tokens(authority, now=lambda: NOW), now=lambda: NOW, **options)
    return asyncio.run(authentication.header(f"Bearer {token}"))


def test_token_when_bad_then_401(authority: Authority) -> None:
    for name, token in bad_tokens(authority).items():
        with pytest.raises(StatusError) as caught:
            judge(authority, token)
        assert (caught.value.code, caught.value.message) == (401, "Unauthorized"), name


def test_token_when_its_audience_is_asked_for_then_accepted(authority: Authority) -> None:
    signer = tokens(authority, now=lambda: NOW)
    token = signer.sign(claims(audiences=("vault", "other")))
    assert signer.verify(token, ["vault"]).audiences == ("vault", "other")
    with pytest.raises(BadToken):
        signer.verify(token)


def test_token_when_what_it_is_bound_to_goes_then_401_soon(authority: Authority) -> None:
    now = NOW
    alive = True
    asked = 0

    async def is_alive(claims: Claims) -> bool:
        nonlocal asked
        asked += 1
        return alive

    async def check() -> None:
        nonlocal now, alive
        authentication = Authentication(tokens(authority, now=lambda: now), now=lambda: now, alive=is_alive)
        header = "Bearer " + tokens(authority, now=lambda: now).sign(claims())
        for _ in range(5):
            assert await authentication.header(header) is not None
        assert asked == 1
        alive = False
        now += 11
        with pytest.raises(StatusError):
            await authentication.header(header)
        alive = True
        now = NOW + 3_600
        with pytest.raises(StatusError):
            await authentication.header(header)

    asyncio.run(check())


def test_header_when_static_administrator_or_another_scheme(authority: Authority) -> None:
    assert judge(authority, "secret-token", admin_token="secret-token") is ADMINISTRATOR
    with pytest.raises(StatusError):
        judge(authority, "secret-tokeN", admin_token="secret-token")
    authentication = Authentication(tokens(authority))
    for header in ("Basic YTpi", "Bearer", "Bearer ", "", "Negotiate x"):
        assert asyncio.run(authentication.header(header)) is None


def test_token_when_sent_over_tls_then_its_user_unless_a_certificate_says_another(authority: Authority) -> None:
    token = Tokens(authority.signing_key()).sign(claims(expires=4_000_000_000))
    header = f"Authorization: Bearer {token}\r\n"
    got = served(
        authority,
        [
            (authority.client_context(None), header),
            (authority.client_context(), header),
            (authority.client_context(None), "Authorization: Bearer x\r\n"),
        ],
    )
    assert got[0][1][0] == "system:serviceaccount:ns:sa"
    assert got[1][1][0] == "kubernetes-admin"
    assert got[2][0] == 401

# SPDX-License-Identifier: Apache-2.0
"""What is inside requests for certificates and certificates, and whom a request is from."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from kubesched.apiserver.message import User
from tests.unit.apiserver.conftest import Answer, Server, certificate, certificate_request, encoded, pem

PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"


def ask(server: Server, request: bytes, **more: object) -> Answer:
    spec = {"request": encoded(request), "signerName": "example.com/s", "usages": ["client auth"], **more}
    body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "x"}}
    user = User("jane", ("a", "system:masters"), "uid-1", {"key": ("value",)})
    return server.ask("POST", PATH, {**body, "spec": spec}, user=user)


def cause(answer: Answer) -> str:
    assert answer.status == 422, answer.body
    causes = answer.body["details"]["causes"]
    assert len(causes) == 1
    why = causes[0]["message"].rpartition('": ')[2]  # what follows the value
    return f"{causes[0]['field']}: {why}"


def forged(request: x509.CertificateSigningRequest) -> bytes:
    """The same with another signature."""
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return pem(x509.load_der_x509_csr(bytes(der)))


def test_nobody_asks_in_anothers_name(server: Server) -> None:
    answer = ask(server, pem(certificate_request()), username="root", groups=["root"], extra={"a": ["b"]})
    assert answer.status == 201, answer.body
    spec = answer.body["spec"]
    assert (spec["username"], spec["groups"], spec["uid"]) == ("jane", ["a", "system:masters"], "uid-1")
    assert spec["extra"] == {"key": ["value"]}
    taken = server.merge(f"{PATH}/x", {"spec": {"username": "root"}})
    assert taken.body["spec"]["username"] == "jane"


def test_what_is_no_request(server: Server) -> None:
    wrong = "spec.request: PEM block type must be CERTIFICATE REQUEST"
    assert cause(ask(server, b"")) == wrong
    assert cause(ask(server, pem(certificate()))) == wrong
    assert cause(ask(server, pem(certificate()) + pem(certificate_request()))) == wrong
    assert "x509: " in cause(ask(server, pem(certificate_request()).replace(b"MI", b"AB", 1)))


def test_a_signature_that_is_somebody_elses(server: Server) -> None:
    assert cause(ask(server, forged(certificate_request()))) == "spec.request: x509: ECDSA verification failure"
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "n")])
    key = rsa.generate_private_key(65537, 2048)
    by_rsa = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    assert ask(server, pem(by_rsa)).status == 201
    server.ask("DELETE", f"{PATH}/x")
    assert cause(ask(server, forged(by_rsa))) == "spec.request: crypto/rsa: verification error"
    by_other = x509.CertificateSigningRequestBuilder().subject_name(name)
    assert ask(server, pem(by_other.sign(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()))).status == 201


def test_what_is_no_certificate(server: Server) -> None:
    assert ask(server, pem(certificate_request())).status == 201

    def put(data: bytes) -> Answer:
        return server.merge(f"{PATH}/x/status", {"status": {"certificate": encoded(data)}})

    none = "status.certificate: must contain at least one CERTIFICATE PEM block"
    assert cause(put(b"a")) == none
    answer = put(pem(certificate()) + pem(certificate_request()))
    assert answer.body["details"]["causes"][0]["message"] == (
        'Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "CERTIFICATE REQUEST"'
    )
    headed = pem(certificate()).replace(b"CERTIFICATE-----\n", b"CERTIFICATE-----\na: b\n\n", 1)
    assert cause(put(headed)) == "status.certificate: no PEM block headers are permitted"
    assert put(pem(certificate()) * 2).status == 200

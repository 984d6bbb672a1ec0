# SPDX-License-Identifier: Apache-2.0
"""What requests for certificates contain, and who asks.

Source: pkg/apis/certificates/validation, pkg/registry/certificates/certificates/strategy.go, v1.36. Texts about what is
no X.509 are our library's.
"""

from __future__ import annotations

import base64
import dataclasses
import re

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from kubesched.api import gotext
from kubesched.api.columns import at
from kubesched.api.status import FieldError, invalid_value
from kubesched.api.strategy import Object, Part, Strategy
from kubesched.apiserver.admission.chain import Attributes

REQUESTS = ("certificates.k8s.io", "certificatesigningrequests")
_REQUEST = "CERTIFICATE REQUEST"
_BLOCK = re.compile(rb"-----BEGIN ([^\n-]+)-----\s*\n((?:[^\n:]+: [^\n]*\n)*)(.*?)-----END \1-----", re.DOTALL)


def with_contents(strategy: Strategy) -> Strategy:
    """The rules of requests for certificates with what is inside them."""

    def validate(obj: Object) -> list[FieldError]:
        request = at(obj, "spec", "request") or ""
        why = _wrong_request(base64.b64decode(request))
        return ([invalid_value("spec.request", request, why)] if why else []) + strategy.validate(obj)

    signed = strategy.parts["status"]
    status = dataclasses.replace(signed, validate=lambda new, old: signed.validate(new, old) + _certificate(new, old))
    parts: dict[str, Part] = {**strategy.parts, "status": status}
    return dataclasses.replace(strategy, validate=validate, parts=parts)


def read_request(obj: Object) -> x509.CertificateSigningRequest:
    """What is inside a request that is valid."""
    block = _BLOCK.search(base64.b64decode(obj["spec"]["request"]))
    assert block is not None
    return x509.load_pem_x509_csr(block[0])


def _wrong_request(data: bytes) -> str:
    block = _BLOCK.search(data)
    if block is None or block[1].decode(errors="replace") != _REQUEST:
        return f"PEM block type must be {_REQUEST}"
    try:
        request = x509.load_pem_x509_csr(block[0])
        valid, key = request.is_signature_valid, request.public_key()
    except ValueError as error:
        return f"x509: {error}"
    except UnsupportedAlgorithm:
        return "x509: cannot verify signature: algorithm unimplemented"
    if valid:
        return ""
    if isinstance(key, rsa.RSAPublicKey):
        return "crypto/rsa: verification error"
    return f"x509: {'ECDSA' if isinstance(key, ec.EllipticCurvePublicKey) else 'Ed25519'} verification failure"


def _certificate(new: Object, old: Object) -> list[FieldError]:
    found = at(new, "status", "certificate")
    if not found or found == at(old, "status", "certificate"):
        return []
    why = _wrong_certificates(base64.b64decode(found))
    return [invalid_value("status.certificate", "<certificate data>", why)] if why else []


def _wrong_certificates(data: bytes) -> str:
    blocks = list(_BLOCK.finditer(data))
    if not blocks:
        return "must contain at least one CERTIFICATE PEM block"
    for block in blocks:
        kind = block[1].decode(errors="replace")
        if kind != "CERTIFICATE":
            return f"only CERTIFICATE PEM blocks are allowed, found {gotext.quote(kind)}"
        if block[2]:
            return "no PEM block headers are permitted"
        try:
            x509.load_pem_x509_certificate(block[0])
        except ValueError as error:
            return f"x509: {error}"
    return ""


class Requester:
    """Writes into a new request who asks: nobody asks in another's name."""

    resource = REQUESTS

    async def admit(self, attributes: Attributes) -> None:
        if attributes.new is None or attributes.operation != "CREATE":
            return
        user, spec = attributes.request.user, attributes.new.setdefault("spec", {})
        told = {
            "username": user.name,
            "uid": user.uid,
            "groups": list(user.groups),
            "extra": {name: list(values) for name, values in user.extra.items()},
        }
        for name, value in told.items():
            spec.pop(name, None)
            if value:
                spec[name] = value

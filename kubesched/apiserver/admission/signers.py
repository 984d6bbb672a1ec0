# SPDX-License-Identifier: Apache-2.0
"""Requests for certificates: who may approve and sign them, and what no signer of clients signs.

Source: plugin/pkg/admission/certificates and pkg/certauthorization, v1.36.
"""

from __future__ import annotations

from cryptography.x509.oid import NameOID

from kubesched.api import gotext
from kubesched.api.strategy import Object
from kubesched.apiserver import signing
from kubesched.apiserver.admission.chain import Attributes
from kubesched.apiserver.authorization.attributes import Attributes as Asked
from kubesched.apiserver.authorization.authorizer import Authorizer
from kubesched.apiserver.authorization.policy import MASTERS
from kubesched.apiserver.message import User

_CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"
_VERBS = {"approval": "approve", "status": "sign"}


class Signers:
    """Approving and signing need the right to do so for the signer that the request names."""

    resource = signing.REQUESTS

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def validate(self, attributes: Attributes) -> None:
        verb = _VERBS.get(attributes.endpoint.subresource)
        new, old = attributes.new, attributes.old
        if verb is None or new is None or old is None or (verb == "sign" and not _is_signed(new, old)):
            return
        signer = old["spec"].get("signerName", "")
        if not self._may(attributes.request.user, verb, signer):
            raise attributes.refusal(f"user not permitted to {verb} requests with signerName {gotext.quote(signer)}")

    def _may(self, user: User, verb: str, signer: str) -> bool:
        """By the signer's name, or by that of all of its domain."""
        domain = signer.partition("/")[0]
        asked = Asked(user, verb, signing.REQUESTS[0], "*", "signers")
        return any(self._authorizer.decide(asked._replace(name=name)).allowed for name in (signer, f"{domain}/*"))


def _is_signed(new: Object, old: Object) -> bool:
    mine, theirs = new.get("status") or {}, old.get("status") or {}
    return any(mine.get(name) != theirs.get(name) for name in ("certificate", "conditions"))


class SubjectRestriction:
    """The signer of clients makes nobody a master."""

    resource = signing.REQUESTS

    async def validate(self, attributes: Attributes) -> None:
        new = attributes.new
        if attributes.operation != "CREATE" or new is None or new["spec"].get("signerName") != _CLIENT_SIGNER:
            return
        subject = signing.read_request(new).subject
        groups = [str(one.value) for one in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        if MASTERS in groups:
            raise attributes.refusal(f"use of {_CLIENT_SIGNER} signer with {MASTERS} group is not allowed")

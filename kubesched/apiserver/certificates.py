# SPDX-License-Identifier: Apache-2.0
"""The cluster's own certificate authority, what it signs, and the kubeconfig that carries it.

Everything lives in one folder, is made once, and is used again; what expires soon is made anew at the next start. Keys
are P-256: quick to make and to use. Private files are readable by their owner alone, and appear whole or not at all.

::

    ca.crt ca.key           the authority, ten years
    server.crt server.key   what the API server shows, one year
    admin.crt admin.key     the bootstrap administrator (group system:masters), one year
    sa.key                  signs tokens of service accounts; does not expire
"""

from __future__ import annotations

import base64
import contextlib
import datetime
import ipaddress
import os
import ssl
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from kubesched.base import errors

ADMINISTRATORS = "system:masters"
SERVER_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
SERVER_ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1")
"""Where the API server is reached: on this machine, and as the service ``kubernetes`` at upstream's usual address."""

_AUTHORITY_DAYS = 3_650
_LEAF_DAYS = 365
_RENEW_DAYS = 30  # what has fewer left is made anew: a server that starts runs for a while
_NO_CHECK_TIME = 0x200000  # OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which ssl has no name
_BACKDATED = datetime.timedelta(minutes=5)  # clients' clocks differ

Now = Callable[[], datetime.datetime]


def system_now() -> datetime.datetime:
    """The wall clock, in UTC."""
    return datetime.datetime.now(datetime.UTC)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key, PEM."""

    certificate: bytes
    key: bytes


def write_private(path: Path, content: bytes) -> None:
    """Write a file that only its owner may read; readers see the old content or all of the new."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise


class Authority:
    """The certificate authority of one folder."""

    def __init__(self, folder: Path, certificate: bytes, key: bytes, now: Now) -> None:
        self.folder = folder
        self.certificate = certificate
        self._key = key
        self._now = now

    @classmethod
    def open(cls, folder: Path, *, now: Now = system_now) -> Authority:
        """Use the authority in the folder, or make one.

        Raises
        ------
        StorageError
            A file cannot be read or written.
        InputError
            A file is there, and is not what it should be.
        """
        with _explained(folder):
            pair = _read_pair(folder, "ca")
            if pair is None or _remaining(pair.certificate, now) < datetime.timedelta(days=_RENEW_DAYS):
                pair = _make_authority(now)
                _write_pair(folder, "ca", pair)
        return cls(folder, pair.certificate, pair.key, now)

    def server(self, names: Iterable[str] = (), addresses: Iterable[str] = ()) -> Pair:
        """The API server's certificate, which also holds for these names and addresses."""
        wanted: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys((*SERVER_NAMES, *names))]
        wanted += [x509.IPAddress(ipaddress.ip_address(a)) for a in dict.fromkeys((*SERVER_ADDRESSES, *addresses))]
        return self._kept(
            "server",
            "kube-apiserver",
            (),
            ExtendedKeyUsageOID.SERVER_AUTH,
            x509.SubjectAlternativeName(wanted),
        )

    def administrator(self) -> Pair:
        """The certificate that may do everything."""
        return self.client("admin", "kubernetes-admin", (ADMINISTRATORS,))

    def client(self, file: str, user: str, groups: Sequence[str]) -> Pair:
        """A client's certificate, kept in the folder under ``file``."""
        return self._kept(file, user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def sign_client(self, user: str, groups: Sequence[str]) -> Pair:
        """A client's certificate that is not kept."""
        return self._sign(user, groups, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def server_context(self, names: Iterable[str] = (), addresses: Iterable[str] = ()) -> ssl.SSLContext:
        """TLS for the server: 1.3, or 1.2 with forward secrecy and an AEAD; client certificates of this authority."""
        self.server(names, addresses)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
        context.set_alpn_protocols(["http/1.1"])
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= _NO_CHECK_TIME  # judged by `issued`: an expired certificate gets 401, no alert
        context.load_verify_locations(cadata=self.certificate.decode())
        context.load_cert_chain(self.folder / "server.crt", self.folder / "server.key")
        # A resumed session would bring a client's certificate back without judging it again.
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return context

    def issued(self, der: bytes) -> bool:
        """Whether this authority itself signed a certificate, and both are valid now.

        OpenSSL, which let it through, looked at neither time, nor at that of certificates between the two.
        """
        found, authority = x509.load_der_x509_certificate(der), x509.load_pem_x509_certificate(self.certificate)
        now = self._now()
        if any(not one.not_valid_before_utc <= now <= one.not_valid_after_utc for one in (found, authority)):
            return False
        try:
            found.verify_directly_issued_by(authority)
        except (ValueError, TypeError, InvalidSignature):
            return False
        return True

    def client_context(self, pair: str | None = "admin") -> ssl.SSLContext:
        """TLS for a client of this server, with a certificate of the folder, or none."""
        context = ssl.create_default_context(cadata=self.certificate.decode())
        if pair == "admin":
            self.administrator()
        if pair is not None:
            context.load_cert_chain(self.folder / f"{pair}.crt", self.folder / f"{pair}.key")
        return context

    def signing_key(self) -> bytes:
        """The private key that signs tokens of service accounts, PEM."""
        path = self.folder / "sa.key"
        with _explained(self.folder):
            if not path.exists():
                write_private(path, _pem_of(ec.generate_private_key(ec.SECP256R1())))
            return path.read_bytes()

    def kubeconfig(self, server: str, cluster: str = "kubesched") -> bytes:
        """A kubeconfig for the administrator. JSON, which is YAML as well."""
        admin = self.administrator()
        text: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": cluster, "cluster": {"server": server, "certificate-authority-data": _b64(self.certificate)}}
            ],
            "users": [
                {
                    "name": f"{cluster}-admin",
                    "user": {
                        "client-certificate-data": _b64(admin.certificate),
                        "client-key-data": _b64(admin.key),
                    },
                }
            ],
            "contexts": [{"name": cluster, "context": {"cluster": cluster, "user": f"{cluster}-admin"}}],
            "current-context": cluster,
        }
        return orjson.dumps(text, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)

    # ---- within ----------------------------------------------------------------------------------------------------

    def _kept(
        self,
        file: str,
        user: str,
        groups: Sequence[str],
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> Pair:
        with _explained(self.folder):
            pair = _read_pair(self.folder, file)
            if pair is None or not self._still_good(pair, names):
                pair = self._sign(user, groups, usage, names)
                _write_pair(self.folder, file, pair)
        return pair

    def _still_good(self, pair: Pair, names: x509.SubjectAlternativeName | None) -> bool:
        """Whether a kept certificate is ours, lasts for a while, and holds for these names."""
        certificate = x509.load_pem_x509_certificate(pair.certificate)
        if _remaining(pair.certificate, self._now) < datetime.timedelta(days=_RENEW_DAYS):
            return False
        try:
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(self.certificate))
        except Exception:
            return False  # the authority was made anew
        if names is None:
            return True
        kept = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return set(names) <= set(kept)

    def _sign(
        self,
        user: str,
        groups: Sequence[str],
        usage: x509.ObjectIdentifier,
        names: x509.SubjectAlternativeName | None,
    ) -> Pair:
        authority = x509.load_pem_x509_certificate(self.certificate)
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_name(user, groups), authority.subject, key, _LEAF_DAYS, self._now)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_key_usage(signs_certificates=False), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        builder = builder.add_extension(_authority_identifier(authority), critical=False)
        if names is not None:
            builder = builder.add_extension(names, critical=False)
        signer = serialization.load_pem_private_key(self._key, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        signed = builder.sign(signer, hashes.SHA256())
        return Pair(signed.public_bytes(serialization.Encoding.PEM), _pem_of(key))


def _make_authority(now: Now) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("kubernetes", ())
    builder = _builder(name, name, key, _AUTHORITY_DAYS, now)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    builder = builder.add_extension(_key_usage(signs_certificates=True), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = builder.add_extension(identifier, critical=False).sign(key, hashes.SHA256())
    return Pair(certificate.public_bytes(serialization.Encoding.PEM), _pem_of(key))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, days: int, now: Now
) -> x509.CertificateBuilder:
    moment = now()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(moment - _BACKDATED)
        .not_valid_after(moment + datetime.timedelta(days=days))
    )


def _name(user: str, groups: Sequence[str]) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
    return x509.Name([*attributes, x509.NameAttribute(NameOID.COMMON_NAME, user)])


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(authority: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    own = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _remaining(certificate: bytes, now: Now) -> datetime.timedelta:
    return x509.load_pem_x509_certificate(certificate).not_valid_after_utc - now()


def _read_pair(folder: Path, file: str) -> Pair | None:
    try:
        return Pair((folder / f"{file}.crt").read_bytes(), (folder / f"{file}.key").read_bytes())
    except FileNotFoundError:
        return None


def _write_pair(folder: Path, file: str, pair: Pair) -> None:
    """The key first: a certificate without its key is no use, and half a pair is made anew."""
    (folder / f"{file}.crt").unlink(missing_ok=True)
    write_private(folder / f"{file}.key", pair.key)
    write_private(folder / f"{file}.crt", pair.certificate)


def _b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@contextlib.contextmanager
def _explained(folder: Path) -> Any:
    try:
        yield
    except OSError as error:
        raise errors.StorageError(str(error.filename or folder), f"cannot be used: {error.strerror}") from error
    except ValueError as error:
        raise errors.InputError(str(folder), f"holds a certificate or key that cannot be read: {error}") from error

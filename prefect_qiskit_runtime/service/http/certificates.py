"""A self-signed certificate, for teams without a certificate from an authority."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from prefect_qiskit_runtime.service.http.server import TlsFiles

# Apple's systems do not trust server certificates that are valid for longer
# (https://support.apple.com/en-us/103769).
_VALID_DAYS = 825
_RENEW_DAYS = 30
_NAME = "prefect-qiskit-runtime"


def self_signed(folder: Path, host: str) -> TlsFiles:
    """Return the service's self-signed certificate, created on first use and before it expires.

    It is its own authority: clients that trust the file `cert.pem` trust the service.

    Args:
        folder: Folder of `cert.pem` and `key.pem`.
        host: The host name or address on which the service listens.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    files = TlsFiles(folder / "cert.pem", folder / "key.pem")
    names = _names(host)
    if not _still_good(files, names):
        _make(files, names)
    return files


def _names(host: str) -> list[x509.GeneralName]:
    """Return every name by which clients may address the service."""
    hosts = ["localhost", "127.0.0.1", host]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        hosts.append(socket.gethostname())
    return [_general_name(name) for name in dict.fromkeys(hosts)]


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _still_good(files: TlsFiles, names: Iterable[x509.GeneralName]) -> bool:
    if not (files.certificate.exists() and files.key.exists()):
        return False
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    known = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    renewal = datetime.now(UTC) + timedelta(days=_RENEW_DAYS)
    return certificate.not_valid_after_utc > renewal and set(names) <= set(known)


def _make(files: TlsFiles, names: list[x509.GeneralName]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    certificate = _sign(key, names).public_bytes(serialization.Encoding.PEM)
    _replace(files.key, private, mode=0o600)
    _replace(files.certificate, certificate, mode=0o644)


def _sign(key: ec.EllipticCurvePrivateKey, names: list[x509.GeneralName]) -> x509.Certificate:
    public = key.public_key()
    identity = x509.SubjectKeyIdentifier.from_public_key(public)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, _NAME)])
    now = datetime.now(UTC)
    extensions: list[tuple[x509.ExtensionType, bool]] = [
        (x509.SubjectAlternativeName(names), False),
        # An authority, because clients accept only certificates in their file of authorities.
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (_usage(), True),
        (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        # Python 3.13 and later check RFC 5280 strictly, which requires these two.
        (identity, False),
        (x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identity), False),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        # From an hour ago, for clients whose clocks are slow.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=_VALID_DAYS))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    return builder.sign(key, hashes.SHA256())


def _usage() -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _replace(path: Path, content: bytes, *, mode: int) -> None:
    draft = path.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
    draft.replace(path)

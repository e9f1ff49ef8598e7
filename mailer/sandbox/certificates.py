"""A certificate authority of the sandbox's own. Unless it is to be kept, its key never touches the disk."""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A sandbox left running over a weekend still works; a leaked key does not matter long.
VALID = datetime.timedelta(days=7)
VALID_KEPT = datetime.timedelta(days=365)
CLOCK_SKEW = datetime.timedelta(minutes=10)
LOOPBACK: tuple[x509.GeneralName, ...] = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)


def create_server_context(folder: Path, *, is_kept: bool = False) -> tuple[ssl.SSLContext, Path]:
    """A TLS context for loopback, and the path of the CA file that verifies it.

    The file is written into `folder`. With `is_kept` the authority's key is stored there too, readable by
    this user alone, and used again by the next call: a client that trusts the CA file trusts every sandbox of
    that folder. OSError: the folder cannot be written. ValueError: what is in it is not an authority of the
    sandbox.
    """
    ca_file = folder / "ca.pem"
    ca_key, ca = _load_authority(folder) if is_kept else (None, None)
    if ca_key is None or ca is None:
        ca_key = ec.generate_private_key(ec.SECP256R1())
        ca = _make_authority(ca_key, VALID_KEPT if is_kept else VALID)
        if is_kept:
            _write_private(folder / "ca-key.pem", _private_pem(ca_key))
        ca_file.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    key = ec.generate_private_key(ec.SECP256R1())
    return _make_context(folder, key, _make_server_certificate(key, ca, ca_key)), ca_file


def _load_authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey | None, x509.Certificate | None]:
    """The kept authority; None and None if there is none, or if it ends soon."""
    try:
        key = serialization.load_pem_private_key((folder / "ca-key.pem").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    except FileNotFoundError:
        return None, None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError(f"{folder}: ca-key.pem and ca.pem do not belong together; remove both")
    ends_soon = certificate.not_valid_after_utc < datetime.datetime.now(datetime.UTC) + VALID
    return (None, None) if ends_soon else (key, certificate)


def _write_private(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(content)


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _make_authority(key: ec.EllipticCurvePrivateKey, valid: datetime.timedelta) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailer sandbox CA")])
    # A CA that is trusted by mistake is trusted for loopback only (RFC 5280, 4.2.1.10).
    scope = x509.NameConstraints(
        permitted_subtrees=[
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_network("127.0.0.1/32")),
            x509.IPAddress(ipaddress.ip_network("::1/128")),
        ],
        excluded_subtrees=None,
    )
    usage = _key_usage(key_cert_sign=True, crl_sign=True)
    return (
        _start_certificate(name, name, key.public_key(), valid)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(scope, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _make_server_certificate(
    key: ec.EllipticCurvePrivateKey, ca: x509.Certificate, ca_key: ec.EllipticCurvePrivateKey
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mailer sandbox")])
    return (
        _start_certificate(name, ca.subject, key.public_key(), VALID)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(LOOPBACK), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _start_certificate(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + valid)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _make_context(
    folder: Path, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate
) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    path = folder / f"server-{os.getpid()}.pem"  # the ssl module reads keys from files only
    try:
        _write_private(path, _private_pem(key) + certificate.public_bytes(serialization.Encoding.PEM))
        context.load_cert_chain(path)
    finally:
        path.unlink(missing_ok=True)
    return context

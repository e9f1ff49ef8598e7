"""TLS for an SMTP session: the context, what went wrong in words, and what the certificate says.

There is no switch that turns verification off: `ca_file` is the way to a private CA or a self-signed server. With a
`ca_file` only what it holds is trusted; the system's store is for sessions without one.
"""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mailer.errors import InputError, TlsError
from mailer.text import make_printable

MAX_CA_FILE = 16 << 20  # the system's own bundle has 0.2 MB
_MAX_NAMES = 8

_GIVE_CA = "give that CA's certificate (PEM) as server.ca_file or --ca-file"
_CLOCK = "is this machine's clock wrong?"
_OPERATOR = "the server's operator must replace it"

# verify_code -> what is wrong with "the certificate of HOST", and what to do. The codes are X509_V_ERR_* of OpenSSL
# (x509_vfy.h); Python names none of them. Expiry is found for any certificate of the chain.
_UNKNOWN_ISSUER = (
    "has an issuer that is not trusted here",
    "a private CA, or an intermediate certificate that the server leaves out: " + _GIVE_CA,
)
_TOO_WEAK = ("has too weak a key or signature", _OPERATOR)
_VERDICTS: Mapping[int, tuple[str, str]] = {
    2: _UNKNOWN_ISSUER,
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    9: ("(or of an issuer of it) is not valid yet", _CLOCK),
    10: ("(or of an issuer of it) has expired", "the server's operator must renew it; or " + _CLOCK),
    18: (
        "is self-signed",
        "if it is the right one, give it (PEM) as server.ca_file or --ca-file; no switch skips the check",
    ),
    19: ("comes from a private CA that is not trusted here", _GIVE_CA),
    23: ("is revoked", _OPERATOR),
    66: _TOO_WEAK,
    67: _TOO_WEAK,
    68: _TOO_WEAK,
}
_WRONG_NAME = frozenset({62, 64})  # host name, IP address

_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG"})
_OLD_PROTOCOL = frozenset(
    {"UNSUPPORTED_PROTOCOL", "TLSV1_ALERT_PROTOCOL_VERSION", "SSLV3_ALERT_PROTOCOL_VERSION", "VERSION_TOO_LOW"}
)
_OWN_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED"})


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """The server's verified certificate. Times are ISO 8601 in UTC; `names` are DNS names and IP addresses."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    valid_from: str
    valid_until: str


def make_client_context(ca_file: Path | None) -> ssl.SSLContext:
    """TLS 1.2 or newer, chain and name verified. InputError where `ca_file` cannot be read or holds no certificate."""
    if ca_file is None:
        context = ssl.create_default_context()
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
        _trust(context, ca_file)
        # The file may hold the server's own certificate, or an intermediate one, instead of the root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        # A FIFO would block, a device would not end.
        info = ca_file.stat()
        if not stat.S_ISREG(info.st_mode):
            raise InputError(f"{ca_file}: ca_file is not a regular file")
        if info.st_size > MAX_CA_FILE:
            raise InputError(f"{ca_file}: ca_file has {info.st_size} bytes; {MAX_CA_FILE} are accepted")
        # Comments between the certificates may be in any encoding; PEM itself is ASCII (RFC 7468).
        pem = ca_file.read_bytes().decode("ascii", "replace").replace("\ufffd", "?")
    except OSError as error:
        raise InputError(f"{ca_file}: ca_file cannot be read: {error.strerror or error}") from None
    hint = "it must hold one or more certificates in PEM (-----BEGIN CERTIFICATE-----)"
    if "-----BEGIN CERTIFICATE-----" not in pem and "-----BEGIN TRUSTED CERTIFICATE-----" not in pem:
        raise InputError(f"{ca_file}: ca_file holds no certificate", hint=hint)
    try:
        context.load_verify_locations(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise InputError(f"{ca_file}: ca_file holds a damaged certificate ({reason})", hint=hint) from None


def make_tls_error(
    error: BaseException, host: str, *, port: int = 0, security: str = "tls", names: Sequence[str] = ()
) -> TlsError:
    """Return what a failed handshake means, and what to do. `names` are those of the certificate, if they are known."""
    where = f"{host}:{port}" if port else host
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_error(error, host, where, names)
    reason: str = getattr(error, "reason", None) or ""  # of an SSLError, though not of everyone
    if reason in _NOT_TLS:
        return TlsError(f"{where} does not speak TLS: it answered in plaintext", hint=_plaintext_hint(security))
    if reason in _OLD_PROTOCOL:
        return TlsError(
            f"{where} speaks only TLS older than 1.2",
            hint="TLS 1.0 and 1.1 are forbidden (RFC 8996); the server needs an update",
        )
    if reason in _OWN_CERTIFICATE:
        return TlsError(f"{where} wants a certificate from the client, which is not supported")
    if isinstance(error, TimeoutError | ConnectionAbortedError):  # the latter is asyncio's ssl_handshake_timeout
        return TlsError(
            f"{where} did not finish the TLS handshake in time", hint=make_security_hint(port, security) or _BUSY
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return TlsError(
            f"{where} closed the connection during the TLS handshake", hint=make_security_hint(port, security) or _BUSY
        )
    if reason:
        return TlsError(f"TLS with {where} failed: {reason.replace('_', ' ').lower()}")
    return TlsError(f"TLS with {where} failed: {_one_line(str(error)) or type(error).__name__}")


_BUSY = "it may be overloaded, or refuse this address; `mailer probe` shows what it says"


def _plaintext_hint(security: str) -> str:
    if security == "starttls":
        return "it offered STARTTLS and then did not do TLS: something between here and there is in the way"
    return "did you mean security: starttls (port 587)? TLS from the first byte is port 465"


def make_security_hint(port: int, security: str) -> str | None:
    """A port that is known for the other kind of security (RFC 8314 section 3.3), or None."""
    if security == "tls" and port in {25, 587}:
        return f"port {port} speaks STARTTLS: set security: starttls (smtp+starttls://), or port 465"
    if security != "tls" and port == 465:
        return "port 465 speaks TLS from the first byte: set security: tls (smtps://)"
    return None


def _certificate_error(error: ssl.SSLCertVerificationError, host: str, where: str, names: Sequence[str]) -> TlsError:
    if error.verify_code in _WRONG_NAME:
        return _wrong_name(host, where, names)
    if error.verify_code not in _VERDICTS:
        return TlsError(f"the certificate of {where} was not accepted: {_one_line(error.verify_message)}")
    verdict, hint = _VERDICTS[error.verify_code]
    paths = ssl.get_default_verify_paths()
    if hint.endswith(_GIVE_CA) and paths.cafile is None and paths.capath is None:
        hint = "this system has no trust store (on Debian: the package ca-certificates); or " + hint
    return TlsError(f"the certificate of {where} {verdict}", hint=hint)


def _wrong_name(host: str, where: str, names: Sequence[str]) -> TlsError:
    if not names:
        return TlsError(
            f"the certificate of {where} is for another name",
            hint="use the name that the certificate bears as the host",
        )
    shown = ", ".join(names[:_MAX_NAMES]) + (" …" if len(names) > _MAX_NAMES else "")
    return TlsError(
        f"the certificate of {where} is for another name: it bears {shown}, not {host}",
        hint="use one of its names as the host, if it is the same server",
    )


async def fetch_certificate_names(
    host: str, port: int, ca_file: Path | None, *, security: str = "tls", seconds: float = 10.0
) -> tuple[str, ...]:
    """The names in the certificate of a server whose name did not match, for `explain`; () where it cannot be told.

    OpenSSL forgets the certificate when a handshake fails. So this connects once more, the chain verified and the
    name not, reads the names, and hangs up: nothing is sent over it but what STARTTLS needs.
    """
    context = make_client_context(ca_file)
    context.check_hostname = False
    try:
        async with asyncio.timeout(seconds):
            return await _read_names(host, port, context, security)
    except (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return ()


async def _read_names(host: str, port: int, context: ssl.SSLContext, security: str) -> tuple[str, ...]:
    if security == "tls":
        _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    else:
        reader, writer = await asyncio.open_connection(host, port)
    try:
        if security != "tls":
            for command in (b"", b"EHLO localhost\r\n", b"STARTTLS\r\n"):
                writer.write(command)
                while (await reader.readuntil(b"\n"))[3:4] == b"-":
                    pass
            await writer.start_tls(context, server_hostname=host)
        return _names(writer.get_extra_info("peercert") or {})
    finally:
        writer.transport.abort()


def summarize_certificate(tls: ssl.SSLObject | ssl.SSLSocket) -> CertificateSummary | None:
    """What the peer's certificate says, for a person; None before the handshake."""
    certificate = tls.getpeercert()
    if not certificate:
        return None
    return CertificateSummary(
        subject=_distinguished(certificate.get("subject")),
        issuer=_distinguished(certificate.get("issuer")),
        names=_names(certificate),
        valid_from=_when(certificate.get("notBefore")),
        valid_until=_when(certificate.get("notAfter")),
    )


def _names(certificate: Mapping[str, object]) -> tuple[str, ...]:
    pairs = certificate.get("subjectAltName")
    if not isinstance(pairs, tuple):
        return ()
    return tuple(_one_line(value) for kind, value in pairs if kind in {"DNS", "IP Address"})


def _distinguished(name: object) -> str:
    """RFC 4514 in spirit: the parts that tell one name from another."""
    wanted = {"commonName": "CN", "organizationName": "O", "countryName": "C"}
    return ", ".join(f"{wanted[key]}={_one_line(value)}" for key, value in _attributes(name) if key in wanted)


def _attributes(name: object) -> Iterator[tuple[str, str]]:
    """getpeercert() gives a tuple of relative names, each a tuple of (key, value)."""
    relative: Iterable[tuple[tuple[str, str], ...]] = name if isinstance(name, tuple) else ()
    for pairs in relative:
        yield from pairs


def _when(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC).isoformat().replace("+00:00", "Z")


def _one_line(text: str) -> str:
    """Foreign text for a terminal: printable and bounded."""
    return make_printable(text).strip()[:200]

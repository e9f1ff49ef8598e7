"""TLS for an SMTP session: the context, and what went wrong in words.

There is no switch that turns verification off: `ca_file` is the way to a private CA or a self-signed server.
With a `ca_file` only what it holds is trusted; the system's store is for sessions without one. A certificate
needs a subjectAltName: its common name does not count (RFC 9525). Chains to the system's store must meet RFC
5280 strictly; private CAs often miss some of its extensions, so chains to a `ca_file` need not.
"""

from __future__ import annotations

import asyncio
import ssl
import stat
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from mailer.errors import ConnectionLost, InputError, ServerError, TlsError
from mailer.smtp.certificate import list_names, show_text
from mailer.smtp.endpoint import ClientCertificateFiles, Endpoint
from mailer.smtp.protocol.values import SocketAddress
from mailer.smtp.sasl.mechanism import ChannelBinding
from mailer.smtp.tcp import TcpConnection, open_tcp
from mailer.smtp.transport import NOT_TLS, find_last_words

MAX_CA_FILE = 16 << 20  # the system's own bundle has 0.2 MB
_MAX_NAMES = 8

_GIVE_CA = "give that CA's certificate (PEM) as server.ca_file or --ca-file"
_CLOCK = "is this machine's clock wrong?"
_OPERATOR = "the server's operator must replace it"

# verify_code -> what is wrong with "the certificate of HOST", and what to do. The codes are X509_V_ERR_* of
# OpenSSL (x509_vfy.h); Python names none of them. Expiry is found for any certificate of the chain.
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
WRONG_NAME = frozenset({62, 64})  # verify codes: host name, IP address

_OLD_PROTOCOL = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_PROTOCOL_VERSION",
        "VERSION_TOO_LOW",
    }
)
# Alerts about the client's certificate (RFC 8446, section 6.2). A TLS 1.2 server that misses one says only
# that the handshake failed. In TLS 1.3 they come after the handshake, with the first octets that are read.
_CERTIFICATE_WANTED = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "TLSV1_ALERT_CERTIFICATE_REQUIRED"})
_CERTIFICATE_REFUSED = frozenset(
    {
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_UNKNOWN_CA",
    }
)
_CLIENT_CERT_HINT = "set server.client_cert (cert and key in PEM) in the campaign"


def get_client_context(endpoint: Endpoint) -> ssl.SSLContext:
    """Return the context for sessions with `endpoint`; a new one only if one of its files has changed.

    Reading the system's trust store takes some 20 ms, in which all other sessions would wait. Raises
    InputError if a file cannot be read, or holds no certificate.
    """
    certificate = endpoint.client_cert
    paths = [endpoint.ca_file, *((certificate.cert, certificate.key) if certificate else ())]
    if endpoint.ca_file is None:
        system = ssl.get_default_verify_paths()
        paths += [Path(path) for path in (system.cafile, system.capath) if path is not None]
    return _make_cached_context(endpoint.ca_file, certificate, tuple(map(_read_version, paths)))


@lru_cache(maxsize=8)
def _make_cached_context(
    ca_file: Path | None,
    client_cert: ClientCertificateFiles | None,
    _versions: tuple[tuple[int, int, int] | None, ...],
) -> ssl.SSLContext:
    return make_client_context(ca_file, client_cert)


def _read_version(path: Path | None) -> tuple[int, int, int] | None:
    """What differs after a file was written anew; None if there is no such file."""
    try:
        found = path.stat() if path is not None else None
    except OSError:
        return None
    return None if found is None else (found.st_ino, found.st_size, found.st_mtime_ns)


def make_client_context(
    ca_file: Path | None, client_cert: ClientCertificateFiles | None = None
) -> ssl.SSLContext:
    """Return a new context for TLS 1.2 or newer that verifies chain and name.

    `ca_file` replaces the system's trust store; None keeps it. `client_cert` is shown to a server that asks.
    Raises InputError if a file cannot be read, or holds no certificate.
    """
    if ca_file is None:
        context = ssl.create_default_context()
        context.verify_flags |= ssl.VERIFY_X509_STRICT
    else:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies chain and name
        _trust(context, ca_file)
        # The file may hold the server's own certificate, or an intermediate one, instead of the root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    if client_cert is not None:
        _load_client_certificate(context, client_cert)
    return context


def _load_client_certificate(context: ssl.SSLContext, files: ClientCertificateFiles) -> None:
    names = " and ".join(str(path) for path in (files.cert, files.key) if path is not None)
    try:
        context.load_cert_chain(
            files.cert, files.key, password=lambda: b""
        )  # or OpenSSL asks at the terminal
    except ssl.SSLError as error:
        reason = (error.reason or "not PEM").replace("_", " ").lower()
        raise InputError(
            f"client_cert cannot be used: {names}: {reason}",
            hint="it must be a certificate and its key in PEM, the key without a password",
        ) from None
    except OSError as error:
        raise InputError(f"client_cert cannot be read: {names}: {error.strerror or error}") from None


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
    error: BaseException,
    host: str,
    *,
    port: int = 0,
    security: str = "tls",
    names: Sequence[str] | None = None,
) -> TlsError | ConnectionLost:
    """Return what `error`, a failed handshake, means, and what to do: ConnectionLost if it may work later.

    `host` and `port` are shown; 0 is no port. `security` is that of the endpoint: tls, starttls or none.
    `names` are those of the certificate; None if they are not known.
    """
    where = f"{host}:{port}" if port else host
    if isinstance(error, ssl.SSLCertVerificationError):
        return _make_certificate_error(error, host, where, names)
    reason: str = getattr(error, "reason", None) or ""  # of an SSLError, though not of everyone
    if reason in NOT_TLS:
        return TlsError(
            f"{where} does not speak TLS: it answered in plaintext", hint=_plaintext_hint(security)
        )
    if reason in _OLD_PROTOCOL:
        return TlsError(
            f"{where} speaks only TLS older than 1.2",
            hint="TLS 1.0 and 1.1 are forbidden (RFC 8996); the server needs an update",
        )
    if _is_client_certificate_alert(error):
        verb = (
            "wants a certificate from the client"
            if reason in _CERTIFICATE_WANTED
            else "refuses our certificate"
        )
        return TlsError(f"{where} {verb} ({_name_alert(reason)})", hint=_CLIENT_CERT_HINT)
    if reason == "SSLV3_ALERT_HANDSHAKE_FAILURE":
        hint = "it may want a certificate from the client: " + _CLIENT_CERT_HINT
        return TlsError(f"{where} refuses the TLS handshake", hint=hint)
    if isinstance(
        error, TimeoutError | ConnectionAbortedError
    ):  # the latter is asyncio's ssl_handshake_timeout
        return ConnectionLost(
            f"{where} did not finish the TLS handshake in time",
            hint=make_security_hint(port, security) or _BUSY,
        )
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ConnectionError):
        return ConnectionLost(
            f"{where} closed the connection during the TLS handshake",
            hint=make_security_hint(port, security) or _BUSY,
        )
    if reason:
        return TlsError(f"TLS with {where} failed: {reason.replace('_', ' ').lower()}")
    return TlsError(f"TLS with {where} failed: {show_text(str(error)) or type(error).__name__}")


def make_broken_error(error: OSError, endpoint: Endpoint, last_octets: bytes) -> ServerError:
    """Return the error of a session that `error` ended; `last_octets` are the last that came, encrypted or not."""
    host = endpoint.host
    if _is_client_certificate_alert(error):  # in TLS 1.3 it comes after the handshake
        return make_tls_error(error, host, port=endpoint.port, security=endpoint.security)
    if words := find_last_words(error, last_octets):
        return ConnectionLost(f"{host} ended the session outside TLS: {words}")
    reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
    return ConnectionLost(f"the connection to {host} broke: {reason or error}")


def _is_client_certificate_alert(error: BaseException) -> bool:
    """Return whether `error` says that the server wants a client certificate, or refuses ours."""
    return getattr(error, "reason", None) in _CERTIFICATE_WANTED | _CERTIFICATE_REFUSED


def _name_alert(reason: str) -> str:
    return reason.partition("_ALERT_")[2].replace("_", " ").lower()


def make_silence_hint(host: str, port: int, security: str) -> str:
    """Return what it can mean that the server at `host` and `port` does not greet.

    `security` is that of the endpoint: tls, starttls or none.
    """
    known = make_security_hint(port, security)
    if known is not None:
        return known
    if security == "tls":
        return f"{host} may be busy, or refuse this address by silence"
    return "the port may speak TLS from the first byte (security: tls); or the server is slow to greet"


_BUSY = "it may be overloaded, or refuse this address; `mailer probe` shows what it says"


def _plaintext_hint(security: str) -> str:
    if security == "starttls":
        return "it offered STARTTLS and then did not do TLS: something between here and there is in the way"
    return "did you mean security: starttls (port 587)? TLS from the first byte is port 465"


def make_security_hint(port: int, security: str) -> str | None:
    """Return a hint if `port` is known for the other kind of security (RFC 8314 section 3.3), else None."""
    if security == "tls" and port in {25, 587}:
        return f"port {port} speaks STARTTLS: set security: starttls (smtp+starttls://), or port 465"
    if security != "tls" and port == 465:
        return "port 465 speaks TLS from the first byte: set security: tls (smtps://)"
    return None


def _make_certificate_error(
    error: ssl.SSLCertVerificationError, host: str, where: str, names: Sequence[str] | None
) -> TlsError:
    if error.verify_code in WRONG_NAME:
        return _make_wrong_name_error(host, where, names)
    if error.verify_code not in _VERDICTS:
        return TlsError(
            f"the certificate of {where} was not accepted: {show_text(error.verify_message)}",
            hint="if it comes from a private CA that leaves extensions out (RFC 5280): " + _GIVE_CA,
        )
    verdict, hint = _VERDICTS[error.verify_code]
    paths = ssl.get_default_verify_paths()
    if hint.endswith(_GIVE_CA) and paths.cafile is None and paths.capath is None:
        hint = "this system has no trust store (on Debian: the package ca-certificates); or " + hint
    return TlsError(f"the certificate of {where} {verdict}", hint=hint)


def _make_wrong_name_error(host: str, where: str, names: Sequence[str] | None) -> TlsError:
    if names is not None and not names:
        return TlsError(
            f"the certificate of {where} has no subjectAltName: its common name does not count (RFC 9525)",
            hint=_OPERATOR,
        )
    if names is None:
        return TlsError(
            f"the certificate of {where} is for another name",
            hint="use a name that is in the certificate as the host",
        )
    shown = ", ".join(names[:_MAX_NAMES]) + (" …" if len(names) > _MAX_NAMES else "")
    return TlsError(
        f"the certificate of {where} is for another name: it is for {shown}, not for {host}",
        hint="use one of its names as the host, if it is the same server",
    )


async def fetch_certificate_names(
    endpoint: Endpoint, *, preferred: SocketAddress | None = None, seconds: float = 10.0
) -> tuple[str, ...] | None:
    """Return the names in the certificate of a server whose name did not match; None if they cannot be had.

    OpenSSL forgets the certificate when a handshake fails. So this connects once more (to the `preferred`
    address, if there are several), the chain verified and the name not, reads the names, and hangs up:
    nothing is sent over it but what STARTTLS needs.
    """
    context = make_client_context(endpoint.ca_file, endpoint.client_cert)
    context.check_hostname = False
    try:
        async with asyncio.timeout(seconds):
            tcp = await open_tcp(endpoint, seconds, preferred=preferred)
            return await _read_names(tcp, endpoint, context)
    except (ServerError, OSError, EOFError, ValueError, asyncio.LimitOverrunError):
        return None


async def _read_names(tcp: TcpConnection, endpoint: Endpoint, context: ssl.SSLContext) -> tuple[str, ...]:
    host = endpoint.host
    if endpoint.security == "tls":
        _, writer = await asyncio.open_connection(sock=tcp.sock, ssl=context, server_hostname=host)
    else:
        reader, writer = await asyncio.open_connection(sock=tcp.sock)
    try:
        if endpoint.security != "tls":
            for command in (b"", b"EHLO localhost\r\n", b"STARTTLS\r\n"):
                writer.write(command)
                while (await reader.readuntil(b"\n"))[3:4] == b"-":
                    pass
            await writer.start_tls(context, server_hostname=host)
        return list_names(writer.get_extra_info("peercert") or {})
    finally:
        writer.transport.abort()


def get_channel_binding(tls: ssl.SSLObject) -> ChannelBinding | None:
    """Return what ties a login to this connection; None in TLS 1.3, whose tls-exporter Python's ssl does not
    give.
    """
    if tls.version() != "TLSv1.2" or "tls-unique" not in ssl.CHANNEL_BINDING_TYPES:
        return None
    data = tls.get_channel_binding("tls-unique")
    return ChannelBinding("tls-unique", data) if data else None

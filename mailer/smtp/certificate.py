"""What the certificate of a server says, for a person."""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime

from mailer.dataclass import dataclass
from mailer.text import make_printable, shorten

_MAX_SHOWN = 200  # characters of a text that comes from the peer or from OpenSSL


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """The server's verified certificate.

    Times are ISO 8601 in UTC; `names` are DNS names and IP addresses.
    """

    subject: str
    issuer: str
    names: tuple[str, ...]
    valid_from: str
    valid_until: str


def summarize_certificate(tls: ssl.SSLObject | ssl.SSLSocket) -> CertificateSummary | None:
    """Return what the certificate of the server says, for a person; None before the handshake of `tls`."""
    certificate = tls.getpeercert()
    if not certificate:
        return None
    return CertificateSummary(
        subject=_format_distinguished_name(certificate.get("subject")),
        issuer=_format_distinguished_name(certificate.get("issuer")),
        names=list_names(certificate),
        valid_from=_format_time(certificate.get("notBefore")),
        valid_until=_format_time(certificate.get("notAfter")),
    )


def list_names(certificate: Mapping[str, object]) -> tuple[str, ...]:
    """Return the DNS names and IP addresses in `certificate`, as `getpeercert` returns it."""
    pairs = certificate.get("subjectAltName")
    if not isinstance(pairs, tuple):
        return ()
    return tuple(show_text(value) for kind, value in pairs if kind in {"DNS", "IP Address"})


def _format_distinguished_name(name: object) -> str:
    """Return the parts of a name that tell it from others, in the form of RFC 4514."""
    wanted = {"commonName": "CN", "organizationName": "O", "countryName": "C"}
    return ", ".join(
        f"{wanted[key]}={show_text(value)}" for key, value in _list_attributes(name) if key in wanted
    )


def _list_attributes(name: object) -> Iterator[tuple[str, str]]:
    """Return each key and value: `getpeercert` has a tuple of relative names, each a tuple of such pairs."""
    relative: Iterable[tuple[tuple[str, str], ...]] = name if isinstance(name, tuple) else ()
    for pairs in relative:
        yield from pairs


def _format_time(text: object) -> str:
    if not isinstance(text, str):
        return ""
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC).isoformat().replace("+00:00", "Z")


def show_text(text: str) -> str:
    """Return `text`, which comes from the peer or from OpenSSL, for a terminal: printable and bounded."""
    return shorten(make_printable(text).strip(), _MAX_SHOWN)

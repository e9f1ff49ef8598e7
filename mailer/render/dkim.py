"""DKIM signatures (RFC 6376; Ed25519 by RFC 8463), relaxed/relaxed.

Every field of the message is signed. From is signed once more than it occurs, so that a second From cannot be
added (RFC 6376 8.15). The signed fields include List-Unsubscribe and List-Unsubscribe-Post, as RFC 8058 4
requires.
"""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from time import time

from mailer.campaign.model import Dkim
from mailer.errors import MissingExtra
from mailer.files import UnusableFile, open_regular_file, read_limited, show_path
from mailer.idna import encode_domain
from mailer.render.attachments import FileProblem

MAX_KEY = 65536  # bytes of a key file
MIN_BITS = 1024  # RFC 8301 3.2; 2048 is what is recommended

_FIELD_END = re.compile(rb"\r\n(?![ \t])")
_BLANKS = re.compile(rb"[ \t]+")


class Signer:
    """Signs the messages of one campaign. `clock` gives seconds since the epoch."""

    def __init__(self, dkim: Dkim, clock: Callable[[], float] = time) -> None:
        """:raises FileProblem: if the key cannot be used.
        :raises MissingExtra: if `cryptography` is not installed.
        """
        self._algorithm, self._sign = _load_key(_read_key(dkim.key_file), show_path(dkim.key_file))
        self._domain = encode_domain(dkim.domain)
        self._selector = dkim.selector
        self._clock = clock

    def sign(self, content: bytes) -> bytes:
        """Make the DKIM-Signature field, which goes before the message.

        `content` is a message that ends with CRLF.
        """
        head, _, body = content.partition(b"\r\n\r\n")
        fields = [field.partition(b":") for field in _FIELD_END.split(head)]
        names = [name.decode("ascii").lower() for name, _, _ in fields]
        fields.reverse()  # RFC 6376 5.4.2: of a name that occurs twice, the last is signed first
        signed = names[::-1]
        canonical = [
            name.encode() + b":" + _canonicalize_value(value)
            for (_, _, value), name in zip(fields, signed, strict=True)
        ]
        unsigned = self._format_field([*signed, "from"], hashlib.sha256(_canonicalize_body(body)).digest())
        name, _, value = unsigned.partition(b":")
        canonical.append(name.lower() + b":" + _canonicalize_value(value))
        signature = b64encode(self._sign(b"\r\n".join(canonical)))
        lines = [signature[n : n + 70] for n in range(0, len(signature), 70)]
        return unsigned + b"\r\n ".join(lines) + b"\r\n"

    def _format_field(self, names: list[str], body_hash: bytes) -> bytes:
        """The DKIM-Signature field up to `b=`."""
        lines = [
            f"DKIM-Signature: v=1; a={self._algorithm}; c=relaxed/relaxed;",
            f" d={self._domain}; s={self._selector};",
            f" t={int(self._clock())}; bh={b64encode(body_hash).decode('ascii')};",
        ]
        line = " h="
        for name in names:
            if len(line) + len(name) > 74:
                lines.append(line)
                line = "  "
            line += name + ":"
        return "\r\n".join([*lines, line[:-1] + ";", " b="]).encode("ascii")


def _canonicalize_value(value: bytes) -> bytes:
    """RFC 6376 3.4.2: unfold, reduce blanks to one, remove them at the ends."""
    return _BLANKS.sub(b" ", value.replace(b"\r\n", b"")).strip(b" ")


def _canonicalize_body(body: bytes) -> bytes:
    """RFC 6376 3.4.4: remove blanks at the end of each line, reduce others to one, remove empty lines at the
    end.
    """
    body = body.replace(b"\t", b" ")
    end = (
        body.rfind(b" ") + 3
    )  # and a line end; what follows has no blanks and needs no work (mostly an image)
    text = body[:end]
    while b"  " in text:  # each pass halves the runs of blanks; a regular expression takes ten times as long
        text = text.replace(b"  ", b" ")
    body = text.replace(b" \r\n", b"\r\n") + body[end:]
    body = body.rstrip(b"\r\n")
    return body + b"\r\n" if body else b""


def _read_key(path: Path) -> bytes:
    try:
        with open_regular_file(path) as stream:
            return read_limited(stream, MAX_KEY)
    except UnusableFile as problem:
        raise FileProblem(f"{show_path(path)}: {problem}") from None


def _load_key(pem: bytes, name: str) -> tuple[str, Callable[[bytes], bytes]]:
    """The algorithm's name and the function that signs."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key
    except ImportError as error:
        raise MissingExtra(
            "DKIM needs the cryptography package", hint="pip install 'mailer[dkim]'"
        ) from error
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise FileProblem(f"{name}: the key is encrypted; expected one without a passphrase") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise FileProblem(f"{name}: is not a private key in PEM") from error
    if isinstance(key, Ed25519PrivateKey):
        ed25519 = key
        return "ed25519-sha256", lambda data: ed25519.sign(hashlib.sha256(data).digest())
    if not isinstance(key, RSAPrivateKey):
        raise FileProblem(f"{name}: expected an RSA or Ed25519 key")
    if key.key_size < MIN_BITS:
        raise FileProblem(f"{name}: an RSA key of {key.key_size} bits; expected 2048")
    rsa, padding, sha256 = key, PKCS1v15(), SHA256()
    return "rsa-sha256", lambda data: rsa.sign(data, padding, sha256)

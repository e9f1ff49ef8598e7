"""Secrets: passwords, tokens and keys that do not show themselves, and texts from servers without them.

`repr`, `str` and `format` of a `Secret` give `[secret]`, and it cannot be pickled. Only `reveal()` gives the
text. `blank_secrets` replaces every known secret in a text that came from a server, which may repeat a
password in its reply: the secret as it is, and in the encodings in which servers repeat what they were sent.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import NoReturn
from urllib.parse import quote, quote_plus

BLANK = "[secret]"
MIN_BASE64 = 4  # characters: shorter pieces of base64 occur in any text


class Secret:
    """A text that no log, error or report shows by accident."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """Return the text itself."""
        return self._text

    def __repr__(self) -> str:
        return BLANK

    __str__ = __repr__

    def __format__(self, _spec: str) -> str:
        return BLANK

    def __bool__(self) -> bool:
        return bool(self._text)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not to be pickled")


def blank_secrets(text: str, secrets: Iterable[str]) -> str:
    """Return `text` with each of `secrets` replaced by `[secret]`, also in base64, URL encoding and JSON."""
    return make_blanker(secrets)(text)


def make_blanker(secrets: Iterable[str]) -> Callable[[str], str]:
    """Return a function that does what `blank_secrets` does for many texts: the secrets are prepared once."""
    forms = {form for secret in secrets if secret for form in _list_forms(secret)}
    if not forms:
        return str
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub(BLANK, text)


def _list_forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from _list_base64_forms(raw)
    for written in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield written
        yield re.sub("%..", lambda octet: octet[0].lower(), written)
    for written in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield written
        yield written.replace("/", "\\/")
    if not secret.isascii():
        with suppress(UnicodeEncodeError):  # of a server that writes Latin-1, as it is read
            yield secret.encode("latin-1").decode("utf-8", "replace")


def _list_base64_forms(raw: bytes) -> Iterable[str]:
    """Yield the base64 of `raw`, and the part of it that is in the base64 of a longer text ("user:secret").

    Three octets become four characters, so that part depends on how many octets come before. Characters that
    also hold bits of a neighbouring octet are left out.
    """
    whole = base64.b64encode(raw).decode("ascii")
    yield whole
    parts = [whole.rstrip("=")]
    for before, shared in enumerate((0, 2, 3)):
        encoded = base64.b64encode(bytes(before) + raw).decode("ascii")
        parts.append(encoded[shared : (before + len(raw)) * 8 // 6])
    for part in parts:
        if len(part) >= MIN_BASE64:
            yield part
            yield part.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")  # RFC 4648 section 5

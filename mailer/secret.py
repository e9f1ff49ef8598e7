"""A string that does not show itself: passwords, tokens, keys.

`repr`, `str`, `format`, pickling and JSON all give `[secret]` or refuse; only `reveal()` gives the text. `blank`
takes every known secret out of a text that came from outside (a server that repeats a password in its reply), as it
is and in the encodings that servers write what they were sent in.
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
LEAST = 4  # characters of base64 that are looked for: fewer stand in any text


class Secret:
    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
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


def blank(text: str, secrets: Iterable[str]) -> str:
    """`text` without the secrets, raw, in base64, in a URL or in JSON, wherever they stand; the longest first."""
    return blanker(secrets)(text)


def blanker(secrets: Iterable[str]) -> Callable[[str], str]:
    """`blank` for many texts: the secrets are prepared once."""
    forms = {form for secret in secrets if secret for form in _forms(secret)}
    if not forms:
        return str
    pattern = re.compile("|".join(re.escape(form) for form in sorted(forms, key=len, reverse=True)))
    return lambda text: pattern.sub(BLANK, text)


def _forms(secret: str) -> Iterable[str]:
    raw = secret.encode("utf-8", "surrogatepass")
    yield secret
    yield from _base64(raw)
    for written in (quote(raw, safe=""), quote(raw), quote_plus(raw)):
        yield written
        yield re.sub("%..", lambda octet: octet[0].lower(), written)
    for written in (json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]):
        yield written
        yield written.replace("/", "\\/")
    if not secret.isascii():
        with suppress(UnicodeEncodeError):  # of a server that writes Latin-1, as it is read
            yield secret.encode("latin-1").decode("utf-8", "replace")


def _base64(raw: bytes) -> Iterable[str]:
    """The base64 of it, and the part of it that is in the base64 of something around it ("user:secret", a login's
    line): three octets are four characters, so it depends on how many stand before. Characters that hold bits of a
    neighbour are left out.
    """
    whole = base64.b64encode(raw).decode("ascii")
    yield whole
    parts = [whole.rstrip("=")]
    for before, shared in enumerate((0, 2, 3)):
        encoded = base64.b64encode(bytes(before) + raw).decode("ascii")
        parts.append(encoded[shared : (before + len(raw)) * 8 // 6])
    for part in parts:
        if len(part) >= LEAST:
            yield part
            yield part.translate(_URL_SAFE)


_URL_SAFE = str.maketrans("+/", "-_")  # RFC 4648 section 5

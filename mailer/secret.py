"""A string that does not show itself: passwords, tokens, keys.

`repr`, `str`, `format`, pickling and JSON all give `[secret]` or refuse; only `reveal()` gives the text. `blank`
takes every known secret out of a text that came from outside (a server that repeats a password in its reply).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterable
from typing import NoReturn

BLANK = "[secret]"


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
    """`text` without the secrets, raw or in base64, wherever they stand; the longest first."""
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
    encoded = base64.b64encode(raw).decode("ascii")
    yield secret
    yield encoded
    if len(stripped := encoded.rstrip("=")) >= 4:
        yield stripped

"""Internationalised domain names: A-labels (RFC 5890), by UTS 46, as browsers read names."""

from __future__ import annotations

import re
from functools import lru_cache

MAX_QUOTED = 20  # characters of a name in a message
MAX_DOMAIN = 253  # characters: 255 octets on the wire (RFC 1035, section 2.3.4)


@lru_cache(maxsize=4096)
def encode_domain(domain: str) -> str:
    """Return `domain` as A-labels: `bücher.example` becomes `xn--bcher-kva.example`.

    Raises ValueError if it is not a domain name.
    """
    if domain.isascii():
        return domain
    import idna  # a table of all Unicode: loaded only if a name needs it

    try:
        if len(domain) > MAX_DOMAIN:
            raise ValueError("it is too long")
        return idna.encode(domain, uts46=True).decode("ascii")
    except (idna.IDNAError, ValueError) as error:
        raise ValueError(_describe_error(domain, error)) from None


def _describe_error(domain: str, error: Exception) -> str:
    shown = domain if len(domain) <= MAX_QUOTED else domain[: MAX_QUOTED - 1] + "…"
    reason = re.sub(r" (?:of|in) '.*'", "", str(error))  # idna repeats the whole label
    return f"{shown!r} is not a domain name: {reason}"


def encode_address(address: str) -> str:
    """Return `address` with its domain as A-labels and its local part unchanged.

    Raises ValueError if the domain is not a domain name.
    """
    if address.isascii():
        return address
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{encode_domain(domain)}"

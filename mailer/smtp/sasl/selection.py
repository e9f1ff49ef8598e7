"""Which mechanisms to try, in which order.

`auto` with a password: SCRAM-SHA-256, PLAIN, LOGIN, CRAM-MD5. SCRAM never shows the password and makes the server
prove itself. PLAIN comes before CRAM-MD5 because credentials cross verified TLS (or loopback) only: there, hiding the
password from the server gains nothing, while CRAM-MD5 makes the server keep it readable, rests on MD5, proves nothing
of the server and has no rule for letters outside ASCII. LOGIN says what PLAIN says, in an older form and
more round trips.

`auto` with a token: OAUTHBEARER (the standard), then XOAUTH2; where neither is offered, the same text may be meant as
a password (API keys look like tokens), so the mechanisms for passwords follow.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal

from mailer.errors import AuthenticationError
from mailer.secret import Secret
from mailer.smtp.sasl.mechanism import Mechanism, UnfitCredentials
from mailer.smtp.sasl.mechanisms import CramMd5, Login, OAuthBearer, Plain, XOAuth2
from mailer.smtp.sasl.scram import ScramSha256
from mailer.text import make_printable

ChannelSecurity = Literal["tls", "loopback", "plaintext"]
_FOR_PASSWORDS: tuple[type[Mechanism], ...] = (ScramSha256, Plain, Login, CramMd5)
_FOR_TOKENS: tuple[type[Mechanism], ...] = (OAuthBearer, XOAuth2)
MECHANISMS: dict[str, type[Mechanism]] = {cls.name.lower(): cls for cls in (*_FOR_PASSWORDS, *_FOR_TOKENS)}

# Google's access tokens, and JSON web tokens (Microsoft 365, most identity providers); opaque ones are told by their
# length, since no server takes passwords that long.
_TOKEN = re.compile(r"ya29\.\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*|[\w.~+/-]{256,}=*", re.ASCII)


def is_token_like(secret: Secret) -> bool:
    return _TOKEN.fullmatch(secret.reveal()) is not None


def choose_mechanisms(
    username: str | None,
    secret: Secret | None,
    auth_choice: str | Sequence[str],
    advertised: Iterable[str],
    *,
    security: ChannelSecurity,
) -> list[Mechanism]:
    """Fresh mechanisms, the best first, each to be tried at most once; never empty.

    `auth_choice` is the campaign's `auth`: auto, a name, or names of which those that the server offers are used.
    `advertised` are the names behind EHLO's AUTH, in any case. `security` says what carries the credentials ("loopback"
    is plaintext to ourselves). AuthenticationError if none fits.
    """
    if security == "plaintext":
        raise AuthenticationError(
            "no login without TLS: the user name and password would cross the network readable",
            hint="use security: tls (port 465) or starttls (port 587)",
        )
    username, secret = _check_credentials(username, secret)
    offered = {name.upper() for name in advertised}
    if not offered:
        raise AuthenticationError("the server offers no login", hint=_no_login_hint(security))
    if auth_choice != "auto":
        names = [auth_choice] if isinstance(auth_choice, str) else auth_choice
        offered_names = [name for name in names if MECHANISMS[name].name in offered]
        return [_chosen(name, username, secret, offered) for name in offered_names or names[:1]]
    return _automatic(username, secret, offered)


def _check_credentials(username: str | None, secret: Secret | None) -> tuple[str, Secret]:
    if not username:
        raise AuthenticationError(
            "a password without a user name", hint="set server.username, MAILER_USERNAME, or user@ in the server's URL"
        )
    if not secret:
        raise AuthenticationError(
            f"no password for {username}" if secret is None else f"the password for {username} is empty",
            hint="set MAILER_PASSWORD, or server.password in the campaign",
        )
    for what, text in (("user name", username), ("password", secret.reveal())):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise AuthenticationError(f"the {what} is not UTF-8 (RFC 4616 section 2)") from None
    return username, secret


def _no_login_hint(security: ChannelSecurity) -> str:
    if security == "loopback":
        return "many servers offer AUTH behind TLS only: try security: starttls or tls; or leave the user name out"
    return "it may take mail without a login: leave the user name out; or this is not the submission port (465, 587)"


def _chosen(choice: str, username: str, secret: Secret, offered: set[str]) -> Mechanism:
    cls = MECHANISMS[choice]
    if cls.name not in offered:
        raise AuthenticationError(
            f"the server does not offer {cls.name}; it offers {_names(offered)}",
            hint="auth: auto takes the best of these",
        )
    try:
        return cls(username, secret)
    except UnfitCredentials as error:
        raise AuthenticationError(str(error)) from None


def _automatic(username: str, secret: Secret, offered: set[str]) -> list[Mechanism]:
    token = is_token_like(secret)
    order: Sequence[type[Mechanism]] = _FOR_PASSWORDS
    if token and any(cls.name in offered for cls in _FOR_TOKENS):
        order = _FOR_TOKENS
    found: list[Mechanism] = []
    unfit: list[str] = []
    for cls in order:
        if cls.name in offered:
            try:
                found.append(cls(username, secret))
            except UnfitCredentials as error:
                unfit.append(str(error))
    if not found:
        raise AuthenticationError(
            "; ".join(unfit) or f"no login that fits: the server offers {_names(offered)}", hint=_misfit_hint(offered)
        )
    return found


def _misfit_hint(offered: set[str]) -> str | None:
    if any(cls.name in offered for cls in _FOR_TOKENS):
        return "this server wants an OAuth 2 access token as the password: set auth: xoauth2 (or oauthbearer)"
    return f"supported are {', '.join(cls.name for cls in MECHANISMS.values())}"


def _names(offered: set[str]) -> str:
    """The server's words, bounded and printable: they go to a terminal."""
    shown = sorted(make_printable(name)[:40] for name in offered)
    return ", ".join(shown[:12]) + (" …" if len(shown) > 12 else "")

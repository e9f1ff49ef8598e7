"""A login: which mechanisms to try, in which order, and what a refusal means.

`auto` with a password: SCRAM-SHA-256 (with channel binding if possible), PLAIN, LOGIN, CRAM-MD5. SCRAM never
shows the password and makes the server prove itself. PLAIN comes before CRAM-MD5 because credentials cross
verified TLS (or loopback) only: there, hiding the password from the server gains nothing, while CRAM-MD5
makes the server keep it readable, rests on MD5, proves nothing of the server and has no rule for letters
outside ASCII. LOGIN says what PLAIN says, in an older form and with more round trips.

`auto` with a token: OAUTHBEARER (the standard), then XOAUTH2. If neither is offered, the same text may be
meant as a password (API keys look like tokens), so the mechanisms for passwords follow.

The next mechanism is tried only if the server turns out not to know the one before (500 to 504). After SCRAM
only another SCRAM follows, in this session and in later ones: an attacker between us and the server could
take SCRAM away to read the password.

A refusal is shown in the server's words, with what its provider means by them. The reply comes before the
host's name, since it says what is wrong: a relay of another name may pass a provider's reply on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, Protocol

from mailer.dataclass import dataclass
from mailer.errors import AuthenticationError
from mailer.secret import Secret, blank_secrets
from mailer.smtp.sasl.mechanism import ChannelBinding, Mechanism, UnfitCredentials
from mailer.smtp.sasl.mechanisms import (
    CramMd5Mechanism,
    LoginMechanism,
    OAuthBearerMechanism,
    PlainMechanism,
    XOAuth2Mechanism,
)
from mailer.smtp.sasl.scram import ScramMechanism, ScramPlusMechanism
from mailer.text import make_printable, shorten

MAX_REASON = 500  # characters of a reply that are repeated in an error

# What carries a login: TLS; plaintext that does not leave this machine; plaintext that does.
Channel = Literal["tls", "loopback", "plaintext"]
_FOR_PASSWORDS: tuple[type[Mechanism], ...] = (
    ScramMechanism,
    PlainMechanism,
    LoginMechanism,
    CramMd5Mechanism,
)
_FOR_TOKENS: tuple[type[Mechanism], ...] = (OAuthBearerMechanism, XOAuth2Mechanism)
MECHANISMS: dict[str, type[Mechanism]] = {cls.name.lower(): cls for cls in (*_FOR_PASSWORDS, *_FOR_TOKENS)}

# Google's access tokens, and JSON web tokens (Microsoft 365, most identity providers). Opaque ones are
# recognized by their length: no server takes passwords that long.
_TOKEN = re.compile(r"ya29\.\S+|eyJ[\w-]+\.[\w-]+\.[\w-]*|[\w.~+/-]{256,}=*", re.ASCII)


def is_token_like(secret: Secret) -> bool:
    """Return whether `secret`, a password, looks like an OAuth 2 access token."""
    return _TOKEN.fullmatch(secret.reveal()) is not None


def choose_mechanisms(
    username: str | None,
    secret: Secret | None,
    auth_choice: str | Sequence[str],
    advertised: Iterable[str],
    *,
    channel: Channel,
    binding: ChannelBinding | None = None,
    needs_proof: bool = False,
) -> list[Mechanism]:
    """Return new mechanisms, the best first, each to be tried at most once; never an empty list.

    `auth_choice` is the campaign's `auth`: "auto", a name of MECHANISMS, or several, the preferred one first.
    `advertised` has the names behind EHLO's AUTH, in any case. `channel` says what carries the credentials
    ("loopback" is plaintext on this machine). `binding` is that of the TLS connection, if there is one.
    `needs_proof` says that the server proved itself by SCRAM before, so that nothing weaker will do.

    Raises AuthenticationError if no mechanism fits.
    """
    if channel == "plaintext":
        raise AuthenticationError(
            "no login without TLS: the user name and password would cross the network readable",
            hint="use security: tls (port 465) or starttls (port 587)",
        )
    username, secret = _check_credentials(username, secret)
    offered = {name.upper() for name in advertised}
    if not offered:
        raise AuthenticationError("the server offers no login", hint=_make_no_login_hint(channel))
    wanted = _list_wanted(auth_choice, secret, offered)
    found = _make_mechanisms(wanted, username, secret, offered, binding)
    if needs_proof and not found[0].proves_server:
        raise AuthenticationError(
            f"the server offered SCRAM before and does not now; it offers {_list_names(offered)}",
            hint="do not trust this connection: an attacker may have taken it away to read the password",
        )
    return found


def list_fallbacks(mechanisms: Sequence[Mechanism]) -> list[Mechanism]:
    """Return what may be tried after the first of the mechanisms, if the server does not know that one."""
    first, *others = mechanisms
    return [other for other in others if other.proves_server or not first.proves_server]


def _check_credentials(username: str | None, secret: Secret | None) -> tuple[str, Secret]:
    if not username:
        raise AuthenticationError(
            "a password without a user name",
            hint="set server.username, MAILER_USERNAME, or user@ in the server's URL",
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


def _make_no_login_hint(channel: Channel) -> str:
    if channel == "loopback":
        return (
            "many servers offer AUTH only in TLS: try security: starttls or tls, or leave the user name out"
        )
    return "if it takes mail without a login, leave the user name out; submission ports are 465 and 587"


def _list_wanted(
    auth_choice: str | Sequence[str], secret: Secret, offered: set[str]
) -> Sequence[type[Mechanism]]:
    """Return the mechanisms that the campaign and the kind of the password allow, the best first."""
    if auth_choice == "auto":
        has_token = is_token_like(secret) and any(cls.name in offered for cls in _FOR_TOKENS)
        return _FOR_TOKENS if has_token else _FOR_PASSWORDS
    names = [auth_choice] if isinstance(auth_choice, str) else auth_choice
    wanted = [MECHANISMS[name] for name in names]
    if not any(_is_offered(cls, offered) for cls in wanted):
        chosen = " or ".join(cls.name for cls in wanted)
        raise AuthenticationError(
            f"the server does not offer {chosen}; it offers {_list_names(offered)}",
            hint="auth: auto takes the best of these",
        )
    return wanted


def _is_offered(cls: type[Mechanism], offered: set[str]) -> bool:
    return cls.name in offered or (cls is ScramMechanism and ScramPlusMechanism.name in offered)


def _make_mechanisms(
    wanted: Sequence[type[Mechanism]],
    username: str,
    secret: Secret,
    offered: set[str],
    binding: ChannelBinding | None,
) -> list[Mechanism]:
    found: list[Mechanism] = []
    unfit: list[str] = []
    for cls in wanted:
        try:
            if cls is ScramMechanism:
                found += _make_scram(username, secret, offered, binding)
            elif cls.name in offered:
                found.append(cls(username, secret))
        except UnfitCredentials as error:
            unfit.append(str(error))
    if not found:
        raise AuthenticationError(
            "; ".join(unfit) or f"no login that fits: the server offers {_list_names(offered)}",
            hint=None if unfit else _make_misfit_hint(offered),
        )
    return found


def _make_scram(
    username: str, secret: Secret, offered: set[str], binding: ChannelBinding | None
) -> Iterable[Mechanism]:
    has_plus = ScramPlusMechanism.name in offered
    if has_plus and binding is not None:
        yield ScramPlusMechanism(username, secret, binding=binding)
    if ScramMechanism.name in offered:
        # The server learns that it could have been bound, and can find out that -PLUS was taken away.
        yield ScramMechanism(username, secret, could_bind=binding is not None and not has_plus)


def _make_misfit_hint(offered: set[str]) -> str:
    if any(cls.name in offered for cls in _FOR_TOKENS):
        return "this server wants an OAuth 2 access token as the password: set auth: xoauth2 (or oauthbearer)"
    return f"supported are {', '.join(cls.name for cls in MECHANISMS.values())}"


def _list_names(offered: set[str]) -> str:
    """Return the server's words, bounded and printable."""
    shown = sorted(make_printable(name)[:40] for name in offered)
    return ", ".join(shown[:12]) + (" …" if len(shown) > 12 else "")


# -- refusals --


class RefusingReply(Protocol):
    """The part of a Reply that matters here."""

    @property
    def code(self) -> int: ...

    @property
    def text(self) -> str: ...


@dataclass(frozen=True, slots=True)
class MailProvider:
    """A provider's servers, by domain, and what it wants for a password.

    `source` is the provider's own page.
    """

    domains: tuple[str, ...]
    advice: str
    source: str


# The link in QQ's own 535 reply.
_QQ_SOURCE = "http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=28&&no=1001256"
_MICROSOFT_SOURCE = (
    "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/"
    "authenticated-client-smtp-submission"
)

PROVIDERS = (
    MailProvider(
        ("exmail.qq.com",),
        "Tencent Exmail takes a client password (客户端专用密码) where secure login is on, not the account's own",
        "https://service.exmail.qq.com",
    ),
    MailProvider(
        ("qq.com", "foxmail.com"),
        "QQ Mail takes an authorisation code (授权码), not the QQ password: Settings > Account > SMTP service",
        _QQ_SOURCE,
    ),
    MailProvider(
        ("163.com", "126.com", "yeah.net"),
        "NetEase Mail takes an authorisation code (授权码), not the password: Settings > POP3/SMTP/IMAP",
        "https://help.mail.163.com",
    ),
    MailProvider(
        ("gmail.com", "googlemail.com", "google.com"),
        "Gmail takes an app password (with 2-Step Verification) or a token (auth: xoauth2), not the password",
        "https://support.google.com/mail/?p=BadCredentials",
    ),
    MailProvider(
        ("office365.com", "outlook.com", "hotmail.com", "live.com", "office.com"),
        "Microsoft needs SMTP AUTH enabled for the mailbox, and mostly a token (auth: xoauth2)",
        _MICROSOFT_SOURCE,
    ),
    MailProvider(
        ("yahoo.com", "yahoo.co.jp", "aol.com"),
        "Yahoo and AOL take an app password, not the account's password",
        "https://help.yahoo.com/kb/SLN15241.html",
    ),
    MailProvider(
        ("me.com", "icloud.com"),
        "iCloud takes an app-specific password, not the Apple Account's password",
        "https://support.apple.com/102654",
    ),
    MailProvider(
        ("amazonaws.com",),
        "Amazon SES takes SMTP credentials of its own (made per region), not the AWS access key",
        "https://docs.aws.amazon.com/ses/latest/dg/smtp-credentials.html",
    ),
)


@dataclass(frozen=True, slots=True)
class RefusalRule:
    """A reply to AUTH that says what to do. Matches if the code, and the enhanced code or the text, do."""

    code: int
    enhanced: str | None
    text: re.Pattern[str] | None
    advice: str
    source: str

    def matches(self, reply: RefusingReply) -> bool:
        """Return whether the rule is for this reply."""
        if reply.code != self.code or (self.enhanced and not reply.text.startswith(self.enhanced)):
            return False
        return self.text is None or self.text.search(reply.text) is not None


_GMAIL = "https://support.google.com/mail/?p=InvalidSecondFactor"

REFUSALS = (
    RefusalRule(
        534,
        "5.7.9",
        None,
        "make an app password for this account (with 2-Step Verification) and use it as the password; "
        "or use a token (auth: xoauth2)",
        _GMAIL,
    ),
    RefusalRule(
        534,
        "5.7.14",
        None,
        "sign in to the account with a browser first, then use an app password or a token (auth: xoauth2)",
        "https://support.google.com/mail/answer/78754",
    ),
    RefusalRule(
        535,
        "5.7.139",
        re.compile(r"disabled for the (tenant|mailbox)|SmtpClientAuthentication", re.IGNORECASE),
        "SMTP AUTH is switched off: an administrator enables it for the organization or the mailbox "
        "(Set-CASMailbox -SmtpClientAuthenticationDisabled $false)",
        _MICROSOFT_SOURCE,
    ),
    RefusalRule(
        535,
        "5.7.139",
        None,
        "a policy of the organization (security defaults, conditional access) refuses passwords: "
        "use a token (auth: xoauth2)",
        _MICROSOFT_SOURCE,
    ),
    RefusalRule(
        535,
        None,
        re.compile(r"authorization code|\u6388\u6743\u7801", re.IGNORECASE),
        "this server takes an authorisation code (授权码) from the account's settings, not the password",
        _QQ_SOURCE,
    ),
    RefusalRule(
        550,
        None,
        re.compile(r"user has no permission", re.IGNORECASE),
        "switch the SMTP service on in the account's settings, and use the authorisation code (授权码) that "
        "they give out as the password",
        "https://help.mail.163.com",
    ),
)


def find_provider(host: str) -> MailProvider | None:
    """Return the provider that runs `host`, found by the end of its name; None if that is not known."""
    name = host.lower().rstrip(".")
    return next((p for p in PROVIDERS if any(name == d or name.endswith("." + d) for d in p.domains)), None)


def make_login_error(host: str, mechanism: Mechanism, reply: RefusingReply) -> AuthenticationError:
    """Return the error for `reply`, a 4xx or 5xx of `host` to AUTH with `mechanism`.

    The secret is blanked in it. A 4xx makes it temporary.
    """
    said = shorten(make_printable(blank_secrets(reply.text, [mechanism.secret.reveal()])), MAX_REASON)
    if mechanism.failure:
        said += f" ({mechanism.failure})"
    if reply.code // 100 == 4:
        return AuthenticationError(
            f"{host} cannot check the login now ({mechanism.name}): {reply.code} {said}",
            hint="this is the server's trouble, not the password's: try again later",
            temporary=True,
        )
    return AuthenticationError(
        f"{host} refused the login of {mechanism.username} ({mechanism.name}): {reply.code} {said}",
        hint=_make_hint(host, mechanism.secret, reply),
    )


def _make_hint(host: str, secret: Secret, reply: RefusingReply) -> str:
    if reply.code in {530, 538}:  # RFC 4954 section 6
        return "the server wants TLS first: security: tls (port 465) or starttls (port 587)"
    if secret.reveal() != secret.reveal().strip():
        return "the password begins or ends with a blank or a line end: is that intended?"
    for rule in REFUSALS:
        if rule.matches(reply):
            return f"{rule.advice}; see {rule.source}"
    provider = find_provider(host)
    if provider is not None:
        return f"{provider.advice}; see {provider.source}"
    return (
        "check the user name (usually the whole address) and the password; `mailer probe` shows the dialogue"
    )

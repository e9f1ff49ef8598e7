"""What to tell the user when a login is refused: the server's words, and what its provider means by them.

The reply itself comes first, since it says what is wrong: a relay of another name may give a provider's
reply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from mailer.errors import AuthenticationError
from mailer.secret import Secret, blank_secrets
from mailer.smtp.sasl.mechanism import Mechanism
from mailer.text import make_printable


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


_QQ_SOURCE = (
    "http://service.mail.qq.com/cgi-bin/help?subtype=1&&id=28&&no=1001256"  # the link in its own 535 reply
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
        "NetEase Mail takes an authorisation code (授权码), not the account's password: Settings > POP3/SMTP/IMAP",
        "https://help.mail.163.com",
    ),
    MailProvider(
        ("gmail.com", "googlemail.com", "google.com"),
        "Gmail takes an app password (with 2-Step Verification) or a token (auth: xoauth2), not the account's password",
        "https://support.google.com/mail/?p=BadCredentials",
    ),
    MailProvider(
        ("office365.com", "outlook.com", "hotmail.com", "live.com", "office.com"),
        "Microsoft needs SMTP AUTH enabled for the mailbox, and mostly a token with auth: xoauth2, not a password",
        "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission",
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
_MICROSOFT = "https://learn.microsoft.com/exchange/clients-and-mobile-in-exchange-online/authenticated-client-smtp-submission"

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
        _MICROSOFT,
    ),
    RefusalRule(
        535,
        "5.7.139",
        None,
        "a policy of the organization (security defaults, conditional access) refuses passwords: "
        "use a token (auth: xoauth2)",
        _MICROSOFT,
    ),
    RefusalRule(
        535,
        None,
        re.compile(r"authorization code|\u6388\u6743\u7801", re.IGNORECASE),
        "this server takes an authorisation code (授权码), which the account's settings give out, not the password",
        _QQ_SOURCE,
    ),
    RefusalRule(
        550,
        None,
        re.compile(r"user has no permission", re.IGNORECASE),
        "switch the SMTP service on in the account's settings; they give out the authorisation code (授权码) to use as "
        "the password",
        "https://help.mail.163.com",
    ),
)


def find_provider(host: str) -> MailProvider | None:
    """Return who runs this server, found by the end of its name; None if that is not known."""
    name = host.lower().rstrip(".")
    return next((p for p in PROVIDERS if any(name == d or name.endswith("." + d) for d in p.domains)), None)


def make_login_error(host: str, mechanism: Mechanism, reply: RefusingReply) -> AuthenticationError:
    """Return the error for a 4xx or 5xx to AUTH, without the secret."""
    said = _one_line(blank_secrets(reply.text, [mechanism.secret.reveal()]))
    if mechanism.failure:
        said += f" ({_one_line(mechanism.failure)})"
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


def _one_line(text: str) -> str:
    return re.sub(r" {2,}", " ", make_printable(text)).strip()[:500]

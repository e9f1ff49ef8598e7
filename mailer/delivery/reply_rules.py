"""Replies that mean more than their first digit: one table, each line with its source.

RFC 5321 4.2.1 lets a client act on the first digit alone, and so do we, except for the rules below. Most of
these replies speak of the session, the account or the sending domain, not of the one message that drew them
(the last ones speak of the recipient): trying the next message at once would only draw the same reply again,
and marking each recipient `failed` would be untrue.

The first rule that matches wins. Nothing here suppresses or sends by itself: a rule is advice to the run.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import cache

from mailer.dataclass import dataclass
from mailer.errors import ServerReply


class ReplyAction(Enum):
    """What the run does about a reply."""

    NEW_SESSION = "new session"  # this session is used up: continue in a new one; the message bears no mark
    FEWER_SESSIONS = "fewer sessions"  # too many at once: continue with those that are open, or wait
    WAIT_FOR_LOGIN = (
        "wait before the next login"  # keep the open sessions; log in and start messages only after a wait
    )
    PAUSE = "pause"  # too fast: no message for a while, then slowly again; the message bears no mark
    GREYLISTED = (
        "greylisted"  # RFC 6647: the same message is accepted later; its last tries are minutes apart
    )
    GIVE_UP = "give up"  # the account or the domain is refused: every other message would be too
    UNUSABLE_SERVER = (
        "unusable server"  # it takes no mail over this connection: without a login, or without TLS
    )
    UNKNOWN_USER = "unknown user"  # failed permanently, and offered for suppression


# The reply is about the session, the account or the speed, and not about the message that drew it: that one
# is sent again, and the try does not count as an attempt.
NOT_ABOUT_MESSAGE = frozenset({
    ReplyAction.NEW_SESSION, ReplyAction.FEWER_SESSIONS, ReplyAction.WAIT_FOR_LOGIN, ReplyAction.PAUSE,
    ReplyAction.GIVE_UP, ReplyAction.UNUSABLE_SERVER,
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class ReplyRule:
    """What the run does about a reply whose code, enhanced code and text match.

    An empty set or None matches any. `meaning` and `hint` are for a person; `source` says where the rule is
    from.
    """

    action: ReplyAction
    codes: frozenset[int]
    enhanced: frozenset[str]
    text: str | None  # a regular expression
    meaning: str
    hint: str | None
    source: str

    @property
    def is_not_about_message(self) -> bool:
        """Whether the reply is not about the message that drew it, which is then sent again without counting
        an attempt.
        """
        return self.action in NOT_ABOUT_MESSAGE

    def matches(self, reply: ServerReply) -> bool:
        """Return whether the rule applies to a reply whose code is one of `codes`."""
        if self.enhanced and reply.enhanced not in self.enhanced:
            return False
        return self.text is None or _search(self.text, reply.text)


def _search(expression: str, text: str) -> bool:
    """Whether `expression` matches in `text`.

    It is compiled (and kept) only now: most runs need none of them.
    """
    return re.search(expression, text, re.IGNORECASE) is not None


def _rule(
    action: ReplyAction,
    codes: Iterable[int],
    meaning: str,
    source: str,
    *,
    enhanced: str = "",
    text: str | None = None,
    hint: str | None = None,
) -> ReplyRule:
    return ReplyRule(action, frozenset(codes), frozenset(enhanced.split()), text, meaning, hint, source)


_4XX = range(400, 500)
_5XX = range(500, 600)
_ALL = range(400, 600)

_GMAIL = "Gmail SMTP errors and codes, support.google.com/a/answer/3726730"
_EXCHANGE = (
    "Exchange Online, learn.microsoft.com/exchange/troubleshoot/send-emails/smtp-submission-improvements"
)
_EXCHANGE_NDR = (
    "Exchange Online, non-delivery reports, learn.microsoft.com/troubleshoot/exchange/email-delivery/ndr"
)
_OUTLOOK = "Outlook.com, support.microsoft.com, Fix NDR error 550 5.7.515"
_SES = "Amazon SES, docs.aws.amazon.com/ses/latest/dg/manage-sending-quotas-errors.html"
_SES_CODES = "Amazon SES, docs.aws.amazon.com/ses/latest/dg/troubleshoot-smtp.html (response codes)"
_QQ = "QQ Mail's bounce texts, service.exmail.qq.com/cgi-bin/help?subtype=1&id=20022&no=1000723 to 1000725"
_NETEASE = "NetEase (163.com), list of bounce codes, help.mail.163.com"
_YAHOO = "Yahoo, senders.yahooinc.com/smtp-error-codes"
_POSTFIX = "Postfix, src/smtpd/smtpd.c"
_EXIM = "Exim, src/smtp_in.c (smtp_accept_max_per_connection)"

_LOGIN_HINT = "give the server a `username` and a password (--server smtps://USER@HOST, MAILER_PASSWORD)"
_DOMAIN_HINT = "set up SPF, DKIM and DMARC for the domain in `from`, then run the same command again"
_TOMORROW = "run the same command again when the limit has passed; those not sent are pending in the ledger"

RULES: tuple[ReplyRule, ...] = (
    # -- the sender or the sending domain is refused: the same for every recipient
    _rule(
        ReplyAction.GIVE_UP,
        (550, 554),
        "the receiving side refuses the sending domain: its mail is not authenticated",
        f"{_GMAIL}; {_OUTLOOK}; RFC 7372 section 3",
        enhanced="5.7.26 5.7.27 5.7.30 5.7.32 5.7.40 5.7.509 5.7.515",
        hint=_DOMAIN_HINT,
    ),
    _rule(
        ReplyAction.GIVE_UP,
        (550, 554),
        "the receiving side refuses the sending domain: its DMARC policy was not met",
        _QQ,
        text=r"dmarc (check|verification|validation) fail",
        hint=_DOMAIN_HINT,
    ),
    _rule(
        ReplyAction.GIVE_UP,
        (501, 550, 553, 554),
        "the server does not let this login send as this sender",
        f"{_EXCHANGE_NDR} (5.7.60, SendAsDenied); QQ 501, NetEase 553 and Yandex 553 in their users' reports",
        text=r"mail from (address )?must (be same as|equal) (the )?authori[sz](ation|ed) user"
        r"|not owned by (auth )?user|permissions? to send as this sender|SendAsDenied",
        hint="`from` (or `envelope_from`) must be an address of the account that logs in",
    ),
    _rule(
        ReplyAction.UNUSABLE_SERVER,
        (530,),
        "the server requires TLS",
        "RFC 3207 section 4 (530 Must issue a STARTTLS command first)",
        text=r"starttls",
        hint="set `security: starttls` (--server smtp+starttls://HOST:587), or tls and port 465",
    ),
    _rule(
        ReplyAction.UNUSABLE_SERVER,
        (530,),
        "the server requires a login",
        "RFC 4954 section 6 (530)",
        hint=_LOGIN_HINT,
    ),
    _rule(
        ReplyAction.UNUSABLE_SERVER,
        (550, 553, 554),
        "the server requires a login",
        "Postfix, reject_authenticated_sender_login_mismatch (not logged in); providers' users' reports",
        text=r"authentication (is )?required|must authenticate|log ?in first|not logged in|client not authenticated",
        hint=_LOGIN_HINT,
    ),
    # -- our own name is refused: the same for every message
    _rule(
        ReplyAction.GIVE_UP,
        (450, 501, 504, 550, 554),
        "the server refuses the name that we give in EHLO",
        f"{_POSTFIX} (reject_invalid_helo_hostname 501, reject_non_fqdn_helo_hostname 504, "
        "reject_unknown_helo_hostname 450 or 550); Exim, acl_smtp_helo texts",
        text=r"helo command rejected|\b(helo|ehlo)\b.{0,20}\b(name|host|hostname|domain|argument|greeting)\b"
        r"|\b(invalid|bad|bogus|forged|unknown|syntactically invalid) (helo|ehlo)\b",
        hint="set `ehlo_name` in `server` to a host name that resolves to the address you send from",
    ),
    _rule(
        ReplyAction.GIVE_UP,
        (554,),
        "Amazon SES: an identity is not verified (in the SES sandbox each recipient must be, too)",
        "Amazon SES, docs.aws.amazon.com/ses/latest/dg/troubleshoot-error-messages.html",
        text=r"address(es)? (is|are) not verified",
        hint="verify the sender, or move the account out of the SES sandbox, then run the same command again",
    ),
    # -- the day's limit is reached
    _rule(
        ReplyAction.GIVE_UP,
        (550, 552, 554),
        "the account's daily sending limit is reached",
        f"{_GMAIL}; {_EXCHANGE_NDR} (5.1.90, 5.7.705)",
        enhanced="5.4.5 5.1.90 5.7.705",
        hint=_TOMORROW,
    ),
    _rule(
        ReplyAction.GIVE_UP,
        _ALL,
        "the account's daily sending limit is reached",
        f"{_SES}; {_GMAIL}; {_EXCHANGE} (SubmissionQuotaExceededException)",
        text=r"daily message quota exceeded|daily (user |smtp relay )?(sending )?(limit|quota) (is |was )?exceeded"
        r"|SubmissionQuotaExceeded",
        hint=_TOMORROW,
    ),
    # -- the limit of this session is reached
    _rule(
        ReplyAction.NEW_SESSION,
        _4XX,
        "the server takes no more messages in this session",
        f"{_EXIM}; OpenSMTPD, smtpd/smtp_session.c (max-mails); RFC 9422 (MAILMAX)",
        text=r"too many messages (in|for|per|on|during|this)\b.{0,20}\b(connection|session)"
        r"|(messages?|mails?|transactions?) per (connection|session)|too many recipients: too many messages sent",
    ),
    _rule(
        ReplyAction.NEW_SESSION,
        (450, 451, 452),
        "the server takes no more messages, recipients or commands in this session",
        f"{_NETEASE} (MI:DMC, RP:DRC, MI:CCL, RP:CCL)",
        text=r"\b(MI:DMC|RP:DRC|MI:CCL|RP:CCL)\b",
    ),
    _rule(
        ReplyAction.NEW_SESSION,
        (421,),
        "the server ended the session after too many errors or commands in it",
        f"{_POSTFIX} (smtpd_hard_error_limit); sendmail/srvrsmtp.c (bad commands, bad recipients); OpenSMTPD; "
        "chasquid; aiosmtpd/smtp.py (command_call_limit); smtp-server for Node.js (unrecognized commands)",
        text=r"too many (consecutive )?errors|too many (\w+ )?commands|too many bad recipients|sent too many times",
    ),
    # -- too many sessions, too many logins
    _rule(
        ReplyAction.FEWER_SESSIONS,
        _4XX,
        "the server allows fewer connections at once",
        f"{_EXCHANGE} (432 4.3.2); {_SES_CODES}; {_POSTFIX} (smtpd_client_connection_count_limit); {_NETEASE} (HL:ICC)",
        text=r"(concurrent|simultaneous|parallel).{0,30}(connection|session)|too many.{0,20}connections"
        r"|sender thread limit|\bHL:ICC\b",
        hint="use fewer connections (delivery.connections, --connections)",
    ),
    _rule(
        ReplyAction.WAIT_FOR_LOGIN,
        (421, 450, 451, 454),
        "too many logins in a short time",
        "Gmail, 454 4.7.0 Too many login attempts, support.google.com/mail/answer/7126229",
        text=r"too many login|authenticate too many times",
    ),
    # -- too fast
    _rule(
        ReplyAction.PAUSE,
        _ALL,
        "the account sends faster than the server allows",
        f"{_SES}; {_EXCHANGE_NDR} (4.7.500)",
        text=r"throttl|sending rate exceeded|submission rate .{0,40}exceeded|server busy",
    ),
    _rule(
        ReplyAction.PAUSE,
        _ALL,
        "the server has seen too much mail from here lately",
        f"{_GMAIL} (4.7.28, 421 4.7.0, 550 5.7.1 unusual rate); {_YAHOO} (TSS04)",
        text=r"unusual rate of|rate limit(ed|s)?\b|unexpected volume|too (much|many) (e-?)?(mails?|messages) from",
    ),
    _rule(
        ReplyAction.PAUSE,
        _4XX,
        "the server has seen too much mail from here lately",
        _GMAIL,
        enhanced="4.7.28",
    ),
    _rule(
        ReplyAction.PAUSE,
        _ALL,
        "the sender, its domain or its connection is over the provider's frequency limit",
        f"{_QQ}; {_NETEASE} (HL:IFC, MI:SFQ)",
        text=r"frequency limited|too frequent|\b(HL:IFC|MI:SFQ)\b",
    ),
    _rule(
        ReplyAction.PAUSE,
        (421,),
        "the server asks to come back later",
        f"{_GMAIL} (421 4.7.0 Try again later, closing connection)",
        enhanced="4.7.0",
    ),
    # -- about this recipient
    _rule(
        ReplyAction.GREYLISTED,
        _4XX,
        "greylisted: the server takes the message when it comes again later",
        "RFC 6647; postgrey, Exim and rspamd texts",
        text=r"gr[ae]y-?\s?list",
    ),
    _rule(
        ReplyAction.UNKNOWN_USER,
        _5XX,
        "there is no such mailbox",
        "RFC 3463 section 3.2 (X.1.1, X.1.6); RFC 7505 (5.1.10, null MX)",
        enhanced="5.1.1 5.1.6 5.1.10",
    ),
    _rule(
        ReplyAction.UNKNOWN_USER,
        (550, 551, 553),
        "there is no such mailbox",
        f"{_QQ}; servers without enhanced codes",
        text=r"(user|mailbox|recipient|account) (is )?(unknown|not found|does ?n[o']t exist|not exist)"
        r"|(unknown|no such) (user|mailbox|recipient|account)",
    ),
)


@cache
def _rules_for(code: int) -> tuple[ReplyRule, ...]:
    return tuple(rule for rule in RULES if code in rule.codes)


def find_reply_rule(reply: ServerReply) -> ReplyRule | None:
    """Return the rule for a reply; None if its first digit says everything."""
    for rule in _rules_for(reply.code):
        if rule.matches(reply):
            return rule
    return None

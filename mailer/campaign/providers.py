"""What is known of well-known providers: the submission server, and how fast an account may send.

The address beside each is the provider's documentation of its server. Microsoft and Amazon document a rate
for SMTP, which is `rate` here. The other mailbox providers document a limit for a day at most, and throttle
accounts without saying when; their rates here are careful choices. Relay services document no pace for SMTP,
so they have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

from mailer.campaign.model import Rate, Security
from mailer.dataclass import dataclass

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider's submission server.

    `host` is None if the user must choose a region. `regions` maps each region to its host. `rate` is the pace
    of one account, or None for no limit. `connections` is the documented maximum of sessions at once, or None.
    """

    host: str | None
    port: int
    security: Security
    rate: Rate | None = None
    regions: Mapping[str, str] = field(default_factory=dict)
    connections: int | None = None


_SES_REGIONS = [
    "us-east-1",
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "ca-central-1",
    "sa-east-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-central-1",
    "eu-north-1",
    "eu-south-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-southeast-3",
    "ap-northeast-1",
    "ap-northeast-2",
    "ap-northeast-3",
    "me-south-1",
    "il-central-1",
    "af-south-1",
]
_ZOHO_REGIONS = ("com", "eu", "in", "com.au", "jp", "com.cn", "sa")

PROVIDERS: dict[str, Provider] = {
    # support.google.com/a/answer/176600 (server), /a/answer/166852 (2,000 messages a day for Workspace, 500
    # for trial accounts; no rate)
    "gmail": Provider("smtp.gmail.com", 465, "tls", Rate(20, _MINUTE)),
    # learn.microsoft.com/exchange/mail-flow-best-practices (server; TLS by STARTTLS only) and
    # /exchange/troubleshoot/send-emails/smtp-submission-improvements (30 messages a minute, 10,000 recipients
    # a day, 3 connections at once)
    "microsoft365": Provider("smtp.office365.com", 587, "starttls", Rate(30, _MINUTE), connections=3),
    # docs.aws.amazon.com/ses/latest/dg/smtp-connect.html and /general/latest/gr/ses.html (the regions);
    # /ses/latest/dg/manage-sending-quotas.html: 14 a second is what an account out of the sandbox starts with
    "ses": Provider(
        None,
        465,
        "tls",
        Rate(14, 1.0),
        regions={name: f"email-smtp.{name}.amazonaws.com" for name in _SES_REGIONS},
    ),
    # www.twilio.com/docs/sendgrid/for-developers/sending-email/integrating-with-the-smtp-api
    "sendgrid": Provider(
        "smtp.sendgrid.net", 465, "tls", regions={"us": "smtp.sendgrid.net", "eu": "smtp.eu.sendgrid.net"}
    ),
    # documentation.mailgun.com/docs/mailgun/user-manual/sending-messages/send-smtp
    "mailgun": Provider(
        "smtp.mailgun.org", 465, "tls", regions={"us": "smtp.mailgun.org", "eu": "smtp.eu.mailgun.org"}
    ),
    # postmarkapp.com/developer/user-guide/send-email-with-smtp (STARTTLS only)
    "postmark": Provider("smtp.postmarkapp.com", 587, "starttls"),
    # help.brevo.com/hc/articles/209462765 (ports 587 and 465)
    "brevo": Provider("smtp-relay.brevo.com", 465, "tls"),
    # service.mail.qq.com/detail/0/427 (server); Tencent does not publish its limits
    "qq": Provider("smtp.qq.com", 465, "tls", Rate(10, _MINUTE)),
    # help.mail.163.com (client settings); NetEase does not publish its limits
    "163": Provider("smtp.163.com", 465, "tls", Rate(10, _MINUTE)),
    # help.yahoo.com/kb/SLN4724.html (server), SLN17518 (500 recipients a day for business mail; no rate)
    "yahoo": Provider("smtp.mail.yahoo.com", 465, "tls", Rate(20, _MINUTE)),
    # support.apple.com/102525 (server; STARTTLS only), support.apple.com/102198 (1,000 messages and
    # recipients a day; no rate)
    "icloud": Provider("smtp.mail.me.com", 587, "starttls", Rate(20, _MINUTE)),
    # www.fastmail.help/hc/articles/1500000278342 (server), fastmail.com/help/account/limits.html (by plan)
    "fastmail": Provider("smtp.fastmail.com", 465, "tls", Rate(30, _MINUTE)),
    # www.zoho.com/mail/help/zoho-smtp.html (server; an account belongs to one data centre)
    "zoho": Provider(
        "smtp.zoho.com",
        465,
        "tls",
        Rate(20, _MINUTE),
        regions={name: f"smtp.zoho.{name}" for name in _ZOHO_REGIONS},
    ),
}

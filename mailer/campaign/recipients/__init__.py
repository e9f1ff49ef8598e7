"""Lists of recipients: in the campaign, in files, from a database. All are streams of `Recipient`."""

from mailer.campaign.recipients.inline import InlineSource
from mailer.campaign.recipients.rows import RESERVED, Where
from mailer.campaign.recipients.source import FileSource, StandardInput, list_format
from mailer.campaign.recipients.sql import SqlSource
from mailer.campaign.recipients.text import check_encoding

__all__ = [
    "RESERVED",
    "FileSource",
    "InlineSource",
    "SqlSource",
    "StandardInput",
    "Where",
    "check_encoding",
    "list_format",
]

"""Lists of recipients: in the campaign, in files, from a database. All are streams of `Recipient`."""

from mailer.campaign.sources.inline import InlineSource
from mailer.campaign.sources.rows import RESERVED, Where
from mailer.campaign.sources.source import FileSource, StandardInput, list_format
from mailer.campaign.sources.sql import SqlSource
from mailer.campaign.sources.text import check_encoding

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

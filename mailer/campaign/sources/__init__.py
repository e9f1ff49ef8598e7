"""Lists of recipients: in the campaign, in files, from a database. All are streams of `Recipient`."""

from mailer.campaign.sources.inline import InlineSource, WithheldSource
from mailer.campaign.sources.names import check_variable_name
from mailer.campaign.sources.rows import RowRules, Where
from mailer.campaign.sources.source import (
    FileSource,
    IterableSource,
    StandardInput,
    convert_recipients,
    list_format,
    read_recipients,
)
from mailer.campaign.sources.sql import SqlSource
from mailer.campaign.sources.text import check_encoding

__all__ = [
    "FileSource",
    "InlineSource",
    "IterableSource",
    "RowRules",
    "SqlSource",
    "StandardInput",
    "Where",
    "WithheldSource",
    "check_encoding",
    "check_variable_name",
    "convert_recipients",
    "list_format",
    "read_recipients",
]

# What mailer/__init__.py imports on first use, for type checkers and editors; tests/test_api.py compares the two.
from mailer._version import __version__ as __version__
from mailer.api import async_send as async_send
from mailer.api import load_campaign as load_campaign
from mailer.api import send as send
from mailer.campaign.model import Campaign as Campaign
from mailer.errors import InputError as InputError
from mailer.errors import LedgerError as LedgerError
from mailer.errors import MailerError as MailerError
from mailer.errors import ServerError as ServerError
from mailer.report.summary import Report as Report

__all__: list[str]

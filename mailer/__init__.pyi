# What mailer/__init__.py imports on first use, for type checkers and editors; tests/test_api.py compares the two.
from mailer._version import __version__ as __version__
from mailer.api import async_send as async_send
from mailer.api import check as check
from mailer.api import load_campaign as load_campaign
from mailer.api import read_report as read_report
from mailer.api import render as render
from mailer.api import sandbox as sandbox
from mailer.api import send as send
from mailer.campaign.model import Campaign as Campaign
from mailer.campaign.model import Recipient as Recipient
from mailer.delivery.observer import Observer as Observer
from mailer.delivery.signals import StopSignal as StopSignal
from mailer.errors import InputError as InputError
from mailer.errors import LedgerError as LedgerError
from mailer.errors import MailerError as MailerError
from mailer.errors import ServerError as ServerError
from mailer.ledger.outcome import Outcome as Outcome
from mailer.ledger.outcome import Status as Status
from mailer.lint.finding import Finding as Finding
from mailer.render.message import Message as Message
from mailer.report.summary import Report as Report

__all__: list[str]

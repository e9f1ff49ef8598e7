"""A templated batch mailer. This module is the public API, by name; everything else is internal.

Names are imported when they are first used, so that `import mailer` and `mailer --version` cost nothing.
`__init__.pyi` tells type checkers and editors what they are, and docs/api.md shows how they are used.
"""

import importlib
import sys
from types import ModuleType

from mailer._version import __version__

_HOMES = {
    "async_send": "mailer.api",
    "check": "mailer.api",
    "load_campaign": "mailer.api",
    "read_report": "mailer.api",
    "render": "mailer.api",
    "sandbox": "mailer.api",
    "send": "mailer.api",
    "Campaign": "mailer.campaign.model",
    "Finding": "mailer.lint.finding",
    "InputError": "mailer.errors",
    "LedgerError": "mailer.errors",
    "MailerError": "mailer.errors",
    "Message": "mailer.render.message",
    "Observer": "mailer.delivery.observer",
    "Outcome": "mailer.ledger.outcome",
    "Recipient": "mailer.campaign.model",
    "Report": "mailer.report.summary",
    "ServerError": "mailer.errors",
    "Status": "mailer.ledger.outcome",
    "StopSignal": "mailer.delivery.signals",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - strings, spelt out in __init__.pyi


class _Package(ModuleType):
    """This module.

    `mailer.render` and `mailer.sandbox` are functions; the packages of these names are internal.
    """

    def __setattr__(self, name: str, value: object) -> None:
        """Set an attribute, but not a submodule with the name of a function, which the import system would
        set.
        """
        if name not in _HOMES or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

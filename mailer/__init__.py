"""A templated batch mailer. The public API, by name; nothing else.

Names are imported when they are first used, so that `import mailer` and `mailer --version` cost nothing; `__init__.pyi`
tells type checkers and editors what they are.
"""

import importlib

from mailer._version import __version__

_HOMES = {
    "async_send": "mailer.api",
    "load_campaign": "mailer.api",
    "send": "mailer.api",
    "Campaign": "mailer.campaign.model",
    "Report": "mailer.report.summary",
    "MailerError": "mailer.errors",
    "InputError": "mailer.errors",
    "LedgerError": "mailer.errors",
    "ServerError": "mailer.errors",
}

__all__ = ["__version__", *_HOMES]  # noqa: PLE0604 - strings, spelt out in __init__.pyi


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

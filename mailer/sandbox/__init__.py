"""The embedded SMTP server: a rehearsal's mailbox for every recipient. It delivers no mail.

`Sandbox` is the server, `serve_sandbox` runs it with its inbox page until cancelled. Needs the extra
`sandbox`.
"""

from mailer.errors import MissingExtra

try:
    import aiosmtpd as _aiosmtpd
    import cryptography as _cryptography
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"the sandbox needs the package {error.name}", hint="install the extra: pip install 'mailer[sandbox]'"
    ) from error

from mailer.sandbox.behavior import Behavior
from mailer.sandbox.maildir import CaughtMessage, Maildir
from mailer.sandbox.server import Sandbox

__all__ = ["Behavior", "CaughtMessage", "Maildir", "Sandbox"]

del _aiosmtpd, _cryptography

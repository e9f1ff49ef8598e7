"""The embedded SMTPS server: a rehearsal's mailbox for everybody. It delivers to nobody.

`Sandbox` is the server, `serve` runs it with its inbox page until cancelled. Needs the extra `sandbox`.
"""

from mailer.errors import MissingExtra

try:
    import aiosmtpd as _aiosmtpd
    import cryptography as _cryptography
except ModuleNotFoundError as error:
    raise MissingExtra(
        f"the sandbox needs the package {error.name}", hint="install the extra: pip install 'mailer[sandbox]'"
    ) from error

from mailer.sandbox.maildir import CaughtMessage, Maildir
from mailer.sandbox.serve import SandboxAddresses, serve_sandbox
from mailer.sandbox.server import Sandbox

__all__ = ["CaughtMessage", "Maildir", "Sandbox", "SandboxAddresses", "serve_sandbox"]

del _aiosmtpd, _cryptography

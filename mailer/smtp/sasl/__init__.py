"""SASL (RFC 4422) for SMTP (RFC 4954), without I/O.

    for mechanism in choose_mechanisms(username, secret, "auto", extensions.auth, security="tls"):
        exchange = SaslExchange(mechanism)      # make_command(), answer(challenge), finish(): see exchange.py
        ...
    raise make_login_error(host, mechanism, reply)

Which mechanism is tried next, and when to stop, is the caller's decision: 535 leads to the next one (a server may know
SCRAM's keys for some users only), 454 and SaslError end the login.
"""

from mailer.smtp.sasl.diagnosis import find_provider, make_login_error
from mailer.smtp.sasl.exchange import CANCEL, SaslExchange
from mailer.smtp.sasl.mechanism import Mechanism, SaslError
from mailer.smtp.sasl.selection import MECHANISMS, ChannelSecurity, choose_mechanisms, is_token_like

__all__ = [
    "CANCEL",
    "MECHANISMS",
    "ChannelSecurity",
    "Mechanism",
    "SaslError",
    "SaslExchange",
    "choose_mechanisms",
    "find_provider",
    "is_token_like",
    "make_login_error",
]

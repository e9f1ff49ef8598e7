"""SASL (RFC 4422) for SMTP (RFC 4954), without I/O.

    for mechanism in choose_mechanisms(username, secret, "auto", extensions.auth, security="tls"):
        exchange = SaslExchange(mechanism)      # make_command(), answer(challenge), finish(): see exchange.py
        ...
    raise make_login_error(host, mechanism, reply)

The next mechanism is tried only if the server does not know this one (500 to 504); `list_fallbacks` says
which. 535, 4xx and SaslError end the login: a wrong password is tried once.
"""

from mailer.smtp.sasl.diagnosis import find_provider, make_login_error
from mailer.smtp.sasl.exchange import CANCEL, SaslExchange
from mailer.smtp.sasl.mechanism import ChannelBinding, Mechanism, SaslError
from mailer.smtp.sasl.selection import (
    MECHANISMS,
    ChannelSecurity,
    choose_mechanisms,
    is_token_like,
    list_fallbacks,
)

__all__ = [
    "CANCEL",
    "MECHANISMS",
    "ChannelBinding",
    "ChannelSecurity",
    "Mechanism",
    "SaslError",
    "SaslExchange",
    "choose_mechanisms",
    "find_provider",
    "is_token_like",
    "list_fallbacks",
    "make_login_error",
]

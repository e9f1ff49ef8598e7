"""SASL (RFC 4422) for SMTP (RFC 4954), without I/O.

    for mechanism in candidates(username, secret, "auto", extensions.auth, channel="tls"):
        dialogue = Dialogue(mechanism)      # command(), answer(challenge), finish(): see dialogue.py
        ...
    raise refused(host, mechanism, reply)

Which of the candidates to try next, and when to stop, is the caller's: 535 moves on to the next one (a server may
know SCRAM's keys for some users only), 454 and SaslError end it.
"""

from mailer.smtp.sasl.diagnosis import provider_of, refused
from mailer.smtp.sasl.exchange import CANCEL, Dialogue
from mailer.smtp.sasl.mechanism import Mechanism, SaslError
from mailer.smtp.sasl.selection import MECHANISMS, Channel, candidates, looks_like_token

__all__ = [
    "CANCEL",
    "MECHANISMS",
    "Channel",
    "Dialogue",
    "Mechanism",
    "SaslError",
    "candidates",
    "looks_like_token",
    "provider_of",
    "refused",
]

"""SASL (RFC 4422) for SMTP (RFC 4954), without I/O.

    for mechanism in choose_mechanisms(username, secret, "auto", extensions.auth, channel="tls"):    login.py
        exchange = SaslExchange(mechanism)      make_command(), answer(challenge), finish(): see mechanism.py
        ...
    raise make_login_error(host, mechanism, reply)                                                   login.py

The next mechanism is tried only if the server does not know this one (500 to 504); `list_fallbacks` says
which. 535, 4xx and SaslError end the login: a wrong password is tried once.
"""

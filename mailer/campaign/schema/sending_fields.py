"""The keys `server`, `delivery` and `dkim` of a campaign file: how its messages are sent and signed."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from mailer.campaign import quantities
from mailer.campaign.model import (
    AUTO,
    AuthMechanism,
    Backoff,
    ClientCertificate,
    Delivery,
    Dkim,
    InDoubt,
    Security,
    ServerConfig,
    Strategy,
)
from mailer.campaign.providers import PROVIDERS
from mailer.campaign.schema.field_types import (
    Choice,
    Constant,
    FilePath,
    Flag,
    Integer,
    ListOf,
    Text,
    join_words,
    text_matching,
)
from mailer.campaign.schema.mapping_types import Field, MappingType, ParsedMapping
from mailer.campaign.schema.secret_types import Password, parse_proxy
from mailer.campaign.secrets import KeyringSecret
from mailer.campaign.servers import DEFAULT_PORT, find_plaintext_problem, parse_host
from mailer.errors import Problem

# -- server

MECHANISMS: tuple[str, ...] = get_args(AuthMechanism)


def _parse_username(text: str) -> str:
    if not text:
        raise ValueError("expected a user name, found an empty text")
    if re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("a control character is not allowed in a user name")
    return text


def _parse_ehlo_name(text: str) -> str:
    """RFC 5321 4.1.3: a domain name or an address literal."""
    if text.startswith("[") and text.endswith("]"):
        literal = text[1:-1]
        try:
            address = ipaddress.ip_address(literal[5:] if literal[:5].lower() == "ipv6:" else literal)
        except ValueError:
            raise ValueError("expected a domain name, or an address literal such as [192.0.2.7]") from None
        return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"
    try:
        host = parse_host(text)
        ipaddress.ip_address(host)
    except ValueError as error:
        if "does not appear to be" in str(error):
            return host
        raise ValueError("expected a domain name, or an address literal such as [192.0.2.7]") from None
    raise ValueError(f"an IP address needs brackets here: [{host}]")


def _parse_source_address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError("expected an IP address of this machine such as 192.0.2.7") from None


def _build_certificate(values: Mapping[str, Any], _parsed: ParsedMapping) -> ClientCertificate:
    return ClientCertificate(values["cert"].path, values.get("key", values["cert"]).path)


CLIENT_CERTIFICATE = MappingType(
    "a mapping with 'cert' and 'key'",
    (
        Field(
            "cert",
            FilePath(exists=True),
            "The certificate, with its chain if it has one: a PEM file.",
            True,
            example="me.pem",
        ),
        Field(
            "key",
            FilePath(exists=True),
            "The private key: a PEM file. Default: the file of `cert`.",
            example="me.key",
        ),
    ),
    build=_build_certificate,
)


def _check_server(parsed: ParsedMapping) -> Iterator[Problem]:
    values, places = parsed.values, parsed.places
    if "provider" in places:
        yield from _check_provider(parsed)
    elif "host" not in places:
        text = "the key 'host' (or 'provider') is missing; one of them is required"
        yield parsed.problem(parsed.place, text)
    if "region" in places and "provider" not in places:
        yield parsed.problem(places["region"], "a region goes with a 'provider'", "region")
    if "host" in values and "provider" not in places:
        problem = find_plaintext_problem(
            values["host"],
            values.get("security", "tls"),
            values.get("username"),
            allowed=values.get("allow_plaintext", False),
        )
        if problem:
            yield parsed.problem(places["security"], problem, "security")
    if isinstance(values.get("password"), KeyringSecret) and "username" not in places:
        yield parsed.problem(places["password"], "the keyring needs the 'username' beside it", "password")


def _check_provider(parsed: ParsedMapping) -> Iterator[Problem]:
    for key in ("host", "port", "security"):
        if key in parsed.places:
            yield parsed.problem(
                parsed.places[key], f"'provider' sets the {key}; leave one of the two out", key
            )
    if (name := parsed.values.get("provider")) is None:
        return
    regions = PROVIDERS[name].regions
    region = parsed.values.get("region")
    if region is None and PROVIDERS[name].host is None and "region" not in parsed.places:
        text = f"{name} has a server in each region: expected 'region', such as {next(iter(regions))}"
        yield parsed.problem(parsed.places["provider"], text, "provider")
    elif region is not None and region not in regions:
        expected = f"expected {join_words(regions, 'or')}" if regions else f"{name} has no regions"
        yield parsed.problem(parsed.places["region"], expected, "region")


def _build_server(values: Mapping[str, Any], _parsed: ParsedMapping) -> ServerConfig:
    values = dict(values)
    region = values.pop("region", None)
    if name := values.get("provider"):
        provider = PROVIDERS[name]
        values["host"] = provider.regions[region] if region else provider.host
        values["port"], values["security"] = provider.port, provider.security
    values.setdefault("port", DEFAULT_PORT[values.get("security", "tls")])
    if ca_file := values.pop("ca_file", None):
        values["ca_file"] = ca_file.path
    if isinstance(password := values.get("password"), KeyringSecret):
        values["password"] = password.for_user(values["username"])
    return ServerConfig(**values)


SERVER = MappingType(
    "a mapping with 'host' or 'provider'",
    (
        Field(
            "host",
            Text(parse_host, "a host name"),
            "The server's name or IP address.",
            example="smtp.example.com",
        ),
        Field(
            "port",
            Integer(1, 65535),
            "The server's port. Default: 465 for tls, 587 for starttls, 25 for none.",
            example="465",
        ),
        Field(
            "security",
            Choice(get_args(Security)),
            "`tls`: TLS from the first byte; `starttls`: TLS after STARTTLS; `none`: no TLS, only on"
            " loopback (or with `allow_plaintext`).",
            default="tls",
            example="starttls",
        ),
        Field(
            "provider",
            Choice(tuple(PROVIDERS)),
            "A known provider, in place of `host`, `port` and `security`. It also sets `delivery.rate`,"
            " unless the campaign has one: to the rate that the provider documents, or to a careful one if it"
            " documents none.",
            example="gmail",
        ),
        Field(
            "region",
            Text(str, "a region"),
            "The provider's region: for ses (required, such as eu-west-1), sendgrid and mailgun (us, eu) and"
            " zoho (com, eu, in, com.au, jp, com.cn, sa).",
            example="eu-west-1",
        ),
        Field(
            "username",
            Text(_parse_username, "a user name"),
            "The login's name. Without it there is no login.",
            also=("user", "login"),
            example="news@example.com",
        ),
        Field(
            "password",
            Password(),
            "Where the password comes from; never the password itself. For xoauth2 and oauthbearer it is the"
            " token, which is read again for each login.",
            example="{env: SMTP_PASSWORD}",
        ),
        Field(
            "auth",
            Constant("auto", (), ListOf(Choice(MECHANISMS), or_one=True, minimum=1)),
            "The login's mechanism, or a list of those that may be used, the preferred one first. `auto`"
            " uses the best that the server offers.",
            default="auto",
            example="[scram-sha-256, plain]",
        ),
        Field(
            "ca_file",
            FilePath(exists=True),
            "A PEM file of certificate authorities to trust, in place of the system's trust store.",
            example="ca.pem",
        ),
        Field(
            "client_cert",
            CLIENT_CERTIFICATE,
            "The certificate that the mailer shows to the server.",
            example="{cert: me.pem, key: me.key}",
        ),
        Field(
            "ehlo_name",
            Text(_parse_ehlo_name, "a domain name"),
            "The name in EHLO: a domain name, or an address literal. Default: the literal of the client's"
            " address.",
            also=("helo", "ehlo", "helo_name", "local_hostname"),
            example="mail.example.com",
        ),
        Field(
            "source_address",
            Text(_parse_source_address, "an IP address"),
            "The IP address of this machine to connect from. Default: what the system chooses.",
            also=("bind", "bind_address"),
            example="192.0.2.7",
        ),
        Field(
            "proxy",
            Text(parse_proxy, "a proxy's URL"),
            "The SOCKS5 proxy to connect through. TLS ends at the server, not at the proxy.",
            example="socks5://127.0.0.1:1080",
        ),
        Field(
            "allow_plaintext",
            Flag(),
            "Allows `security: none` beyond loopback, never with a login.",
            default=False,
            example="true",
        ),
    ),
    build=_build_server,
    check=_check_server,
    rules={"anyOf": [{"required": ["host"]}, {"required": ["provider"]}]},
)


# -- delivery and dkim

_SELECTOR = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_DURATION = Text(
    quantities.parse_duration, "a duration such as 30s", quantities.DURATION, ("250ms", "30s", "5m", "1h")
)
_RATE = Text(quantities.parse_rate, "a rate", quantities.RATE, ("30/minute", "14/second", "500/hour"))
_STOP_AFTER = Text(quantities.parse_stop_after, "a limit", quantities.STOP_AFTER, ("50 in a row", "10%"))


def _check_backoff(parsed: ParsedMapping) -> Iterator[Problem]:
    backoff = Backoff(**parsed.values)
    if backoff.first > backoff.most:
        place = parsed.places.get("first") or parsed.places["most"]
        yield parsed.problem(
            place, f"'first' ({backoff.first:g} s) is longer than 'most' ({backoff.most:g} s)"
        )


BACKOFF = MappingType(
    "a mapping with 'first' and 'most'",
    (
        Field("first", _DURATION, "The wait before the second attempt.", default="1s", example="2s"),
        Field("most", _DURATION, "The longest wait between two attempts.", default="5m", example="10m"),
    ),
    build=lambda values, _parsed: Backoff(**values),
    check=_check_backoff,
)

DELIVERY = MappingType(
    "a mapping",
    (
        Field(
            "connections",
            Constant(AUTO, AUTO, Integer(1, 100)),
            "Sessions with the server at the same time. `auto` adds sessions while throughput grows, and"
            " uses one fewer when the server objects.",
            default=1,
            example="auto",
        ),
        Field(
            "rate",
            Constant(None, None, _RATE),
            "The maximum number of messages per second, minute, hour or day. null is no limit.",
            example="30/minute",
        ),
        Field(
            "strategy",
            Choice(get_args(Strategy)),
            "`streamed`: many messages in flight (PIPELINING and CHUNKING); `pipelined`: one round trip per"
            " message (PIPELINING); `sequential`: one command at a time; `auto`: the best that the server"
            " offers. A named strategy is the upper limit.",
            default="auto",
            example="sequential",
        ),
        Field(
            "window",
            Constant(AUTO, None, Integer(1, 100_000)),
            "Messages in flight in one session, as far as the server allows it. A number is a maximum.",
            default="auto",
            example="64",
        ),
        Field(
            "attempts",
            Integer(1, 100),
            "Attempts per message and run, the first included. A session that is lost before the message's"
            " last byte is sent is not an attempt.",
            default=5,
            example="3",
        ),
        Field(
            "backoff",
            BACKOFF,
            "Waits between attempts: exponential, with jitter.",
            example="{first: 2s, most: 10m}",
        ),
        Field(
            "timeout",
            _DURATION,
            "The time for one complete reply of the server.",
            default="60s",
            example="2m",
        ),
        Field(
            "in_doubt",
            Choice(get_args(InDoubt)),
            "What the next run does with a message whose last byte was sent and whose reply never arrived:"
            " `resend` it (it may arrive twice), or `hold` it (it may never arrive).",
            default="resend",
            example="hold",
        ),
        Field(
            "stop_after",
            Constant(None, None, _STOP_AFTER),
            'The run ends early when this many messages fail permanently: "N in a row", or a share of the'
            " messages sent or failed in this run (from the 50th on). null is never.",
            default="50 in a row",
            example="10%",
        ),
    ),
    build=lambda values, _parsed: Delivery(**values),
)

DKIM = MappingType(
    "a mapping with 'domain', 'selector' and 'key_file'",
    (
        Field(
            "domain",
            Text(parse_host, "a domain name"),
            "The signing domain (d=).",
            True,
            example="example.com",
        ),
        Field(
            "selector",
            text_matching(_SELECTOR, "a selector such as s1"),
            "The key's selector (s=).",
            required=True,
            example="s1",
        ),
        Field(
            "key_file", FilePath(), "The private key (RSA or Ed25519): a PEM file.", True, example="dkim.pem"
        ),
    ),
    build=lambda values, _parsed: Dkim(
        values["domain"], values["selector"], values["key_file"].path, values["key_file"].named_at
    ),
)

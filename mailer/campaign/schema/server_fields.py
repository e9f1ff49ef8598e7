"""The key `server` of a campaign file: which server, and how the mailer connects and logs in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from mailer.campaign.model import AuthMechanism, ClientCertificate, Security, ServerConfig
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
)
from mailer.campaign.schema.mapping_types import Field, MappingType, ParsedMapping
from mailer.campaign.schema.secret_types import Password, parse_proxy
from mailer.campaign.secrets import KeyringSecret
from mailer.campaign.servers import DEFAULT_PORT, find_plaintext_problem, parse_host
from mailer.errors import Problem

MECHANISMS: tuple[str, ...] = get_args(AuthMechanism)


def _parse_username(text: str) -> str:
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("expected a user name without control characters")
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
            "cert", FilePath(exists=True), "The certificate, with its chain if it has one: a PEM file.", True
        ),
        Field("key", FilePath(exists=True), "The private key: a PEM file. Default: the file of `cert`."),
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
            "A known provider, in place of `host`, `port` and `security`. It also sets `delivery.rate` to a"
            " rate that the provider is known to accept, unless the campaign has one.",
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
            "The name in EHLO: a domain name, or an address literal. Default: the literal of the client's address.",
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

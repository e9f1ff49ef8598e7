"""The campaign file, key by key: the one table from which both the loader and the editors' JSON Schema come."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from mailer.campaign import quantities
from mailer.campaign.addresses import check_address, parse_mailbox
from mailer.campaign.model import Attachment, Backoff, Delivery, Dkim, Mailbox, ServerConfig, Unsubscribe
from mailer.campaign.schema.field_types import (
    Choice,
    Constant,
    Field,
    FilePath,
    Flag,
    Integer,
    ListOf,
    MapOf,
    MappingType,
    ParsedMapping,
    Template,
    Text,
)
from mailer.campaign.schema.special_types import AttachmentType, Password, Recipients, Variables
from mailer.campaign.servers import DEFAULT_PORT, parse_host, plaintext_problem
from mailer.errors import Problem

CAMPAIGN_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_IMAGE_NAME = r"[A-Za-z0-9._@-]{1,64}"
_HEADER_NAME = r"[!-9;-~]{1,76}"  # RFC 5322 3.6.8 ftext; no longer than fits a line
_RULE = r"[a-z0-9][a-z0-9-]{0,63}"
_SELECTOR = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_OWN_HEADERS = re.compile(
    r"from|to|cc|bcc|subject|date|message-id|mime-version|content-.*|list-unsubscribe.*|dkim-signature|received"
    r"|return-path",
    re.IGNORECASE,
)


def _matching_text(pattern: str, what: str) -> Text[str]:
    def parse(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"expected {what}")
        return text

    return Text(parse, what, pattern)


def check_campaign_name(text: str) -> str:
    if not re.fullmatch(CAMPAIGN_NAME, text):
        raise ValueError(
            f"{text[:80]!r} is no campaign name; expected lower-case letters, digits, '.', '_' and '-', at most 64, "
            "the first a letter or digit"
        )
    return text


def _mailbox(text: str) -> Mailbox:
    if "{{" in text or "{%" in text:
        raise ValueError('this key is not a template: everyone gets the same; expected "Name <name@example.com>"')
    return parse_mailbox(text)


def _image_name(text: str) -> None:
    if not re.fullmatch(_IMAGE_NAME, text):
        raise ValueError(f"{text[:80]!r} is no image name; expected 1 to 64 of A-Z a-z 0-9 . _ @ -")


def _header_name(text: str) -> None:
    if _OWN_HEADERS.fullmatch(text):
        raise ValueError(f"the mailer writes the header {text[:80]} itself; it cannot be set here")
    if not re.fullmatch(_HEADER_NAME, text):
        raise ValueError(f"{text[:80]!r} is no header name; expected letters, digits and '-'")


def _username(text: str) -> str:
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise ValueError("expected a user name without control characters")
    return text


def _unsubscribe_url(text: str) -> None:
    if not re.fullmatch(r"https?://[^\s<>\"]+", text, re.IGNORECASE):
        raise ValueError("expected an https or http URL without blanks")


def _check_unsubscribe(parsed: ParsedMapping) -> Iterator[Problem]:
    url = parsed.values.get("url")
    if not parsed.places.keys() & {"url", "mailto"}:
        yield Problem(parsed.place, "expected 'url', 'mailto' or both")
    if parsed.values.get("one_click"):
        if "url" not in parsed.places:
            yield Problem(parsed.places["one_click"], "one_click needs a 'url' (RFC 8058)")
        elif url is not None and re.match(r"(?!https:)[a-z]+:", url.source, re.IGNORECASE):
            yield Problem(url.place, "one_click needs an https URL (RFC 8058, section 3.1)")


UNSUBSCRIBE = MappingType(
    "a mapping with 'url' or 'mailto'",
    (
        Field("url", Template(_unsubscribe_url), "Where a recipient unsubscribes; Jinja2."),
        Field("mailto", Template(check_address), "An address to which a mail unsubscribes; Jinja2."),
        Field("one_click", Flag(), "Also RFC 8058's one-click header; needs an https URL.", default=False),
    ),
    build=lambda values, _parsed: Unsubscribe(**values),
    check=_check_unsubscribe,
    rules={"anyOf": [{"required": ["url"]}, {"required": ["mailto"]}]},
)


def _server(values: Mapping[str, Any], _parsed: ParsedMapping) -> ServerConfig:
    values = dict(values)
    values.setdefault("port", DEFAULT_PORT[values.get("security", "tls")])
    if ca_file := values.pop("ca_file", None):
        values["ca_file"] = ca_file.path
    return ServerConfig(**values)


def _check_server(parsed: ParsedMapping) -> Iterator[Problem]:
    values = parsed.values
    if "host" in values:
        problem = plaintext_problem(
            values["host"],
            values.get("security", "tls"),
            values.get("username"),
            allowed=values.get("allow_plaintext", False),
        )
        if problem:
            yield Problem(parsed.places["security"], problem)


SERVER = MappingType(
    "a mapping with at least 'host'",
    (
        Field("host", Text(parse_host, "a host name"), "The server's name or IP address.", required=True),
        Field("port", Integer(1, 65535), "Default: 465 for tls, 587 for starttls, 25 for none."),
        Field(
            "security",
            Choice(("tls", "starttls", "none")),
            "tls from the first byte, starttls, or none (loopback only, unless allow_plaintext).",
            default="tls",
        ),
        Field("username", Text(_username), "The login's name.", also=("user", "login")),
        Field("password", Password(), "Where the password (or token) comes from; never the password itself."),
        Field(
            "auth",
            Choice(("auto", "plain", "login", "cram-md5", "scram-sha-256", "xoauth2", "oauthbearer")),
            "The login's mechanism.",
            default="auto",
        ),
        Field("ca_file", FilePath(exists=True), "PEM file of the CA to trust, instead of the system's."),
        Field("allow_plaintext", Flag(), "Allows security none beyond loopback; never with a login.", default=False),
    ),
    build=_server,
    check=_check_server,
)


def _check_backoff(parsed: ParsedMapping) -> Iterator[Problem]:
    both = Backoff(**parsed.values)
    if both.first > both.most:
        place = parsed.places.get("first") or parsed.places["most"]
        yield Problem(place, f"'first' ({both.first:g} s) is longer than 'most' ({both.most:g} s)")


_DURATION = Text(quantities.parse_duration, "a duration such as 30s", quantities.DURATION, ("250ms", "30s", "5m", "1h"))

BACKOFF = MappingType(
    "a mapping with 'first' and 'most'",
    (
        Field("first", _DURATION, "The wait before the second try.", default="1s"),
        Field("most", _DURATION, "The longest wait between two tries.", default="5m"),
    ),
    build=lambda values, _parsed: Backoff(**values),
    check=_check_backoff,
)

DELIVERY = MappingType(
    "a mapping",
    (
        Field("connections", Integer(1, 100), "Sessions with the server at the same time.", default=1),
        Field(
            "rate",
            Constant(None, None, Text(quantities.parse_rate, "a rate", quantities.RATE, ("30/minute", "14/second"))),
            "The most messages in a time; null is without limit.",
        ),
        Field(
            "window",
            Constant("auto", None, Integer(1, 100_000)),
            "Messages in flight in one session, at most, where the server allows it.",
            default="auto",
        ),
        Field("attempts", Integer(1, 100), "Tries a message and run, the first included.", default=5),
        Field("backoff", BACKOFF, "Waits between tries: exponential, with jitter."),
        Field("timeout", _DURATION, "For one whole reply of the server.", default="60s"),
        Field(
            "in_doubt",
            Choice(("resend", "hold")),
            "What a message gets whose last byte left and whose reply never came.",
            default="resend",
        ),
        Field(
            "stop_after",
            Constant(
                None,
                None,
                Text(quantities.parse_stop_after, "a limit", quantities.STOP_AFTER, ("50 in a row", "10%")),
            ),
            "Give the run up when so many fail for good; null is never.",
            default="50 in a row",
        ),
    ),
    build=lambda values, _parsed: Delivery(**values),
)

DKIM = MappingType(
    "a mapping with 'domain', 'selector' and 'key_file'",
    (
        Field("domain", Text(parse_host, "a domain name"), "The signing domain (d=).", required=True),
        Field(
            "selector", _matching_text(_SELECTOR, "a selector such as s1"), "The key's selector (s=).", required=True
        ),
        Field("key_file", FilePath(), "The private key, PEM.", required=True),
    ),
    build=lambda values, _parsed: Dkim(
        values["domain"], values["selector"], values["key_file"].path, values["key_file"].named_at
    ),
)

ATTACHMENT = MappingType(
    "a path, or a mapping with 'path'",
    (
        Field("path", Template(), "The file, relative to the campaign; Jinja2.", required=True),
        Field("filename", Template(), "The name it gets in the message; Jinja2. Default: the file's own."),
    ),
    build=lambda values, _parsed: Attachment(**values),
)


def _check_campaign(parsed: ParsedMapping) -> Iterator[Problem]:
    if not parsed.places.keys() & {"template", "text"}:
        yield Problem(parsed.place, "the key 'template' or 'text' is missing; one of them is required")
    by_folded: dict[str, str] = {"reply-to": "reply_to"} if "reply_to" in parsed.places else {}
    for name, pattern in parsed.values.get("headers", {}).items():
        if (first := by_folded.setdefault(name.lower(), name)) != name:
            yield Problem(pattern.place, f"the header {name!r} repeats {first!r}")


CAMPAIGN: MappingType[Mapping[str, Any]] = MappingType(
    "a mapping with the campaign's keys",
    (
        Field(
            "campaign",
            Template(check_campaign_name),
            "The campaign's identity; Jinja2 over vars.",
            True,
            also=("name", "id"),
        ),
        Field("from", Text(_mailbox, "a mailbox"), "The sender: an address or Name <address>.", True, also=("sender",)),
        Field("reply_to", Text(_mailbox, "a mailbox"), "Where replies go.", also=("replyto", "reply-to")),
        Field("cc", ListOf(Template(parse_mailbox)), "Copies that everyone sees; Jinja2."),
        Field("bcc", ListOf(Template(parse_mailbox)), "Copies that nobody sees; Jinja2."),
        Field("envelope_from", Template(check_address), "Where bounces go; Jinja2. Default: the address in from."),
        Field("subject", Template(), "The subject; Jinja2.", required=True, also=("title",)),
        Field("template", Template(), "The HTML, Markdown or MJML template's path; Jinja2.", also=("html", "body")),
        Field("text", Template(), "The text template's path; Jinja2. Default: derived from the HTML.", also=("plain",)),
        Field("images", MapOf(Template(), _image_name, _IMAGE_NAME), "Inline images: name and path; Jinja2."),
        Field("attachments", ListOf(AttachmentType(ATTACHMENT)), "Files that go along; Jinja2."),
        Field("headers", MapOf(Template(), _header_name, _HEADER_NAME), "More headers; values are Jinja2."),
        Field("unsubscribe", UNSUBSCRIBE, "How a recipient leaves (List-Unsubscribe)."),
        Field("vars", Variables(), "Values for every recipient; a recipient's own value wins.", also=("variables",)),
        Field("key", Template(), "What makes a message unique; Jinja2. Default: the address, case-folded."),
        Field("recipients", Recipients(), "To whom: a list, a file, or a query.", True, also=("to", "list")),
        Field("server", SERVER, "Through which server; --server and MAILER_SERVER win.", also=("smtp",)),
        Field("delivery", DELIVERY, "How fast, how often, and when to give up."),
        Field("dkim", DKIM, "Signs each message (RFC 6376)."),
        Field(
            "ignore", ListOf(_matching_text(_RULE, "a rule's id")), "Rules of `mailer check` that do not apply here."
        ),
    ),
    build=lambda values, _parsed: values,
    check=_check_campaign,
    rules={"anyOf": [{"required": ["template"]}, {"required": ["text"]}]},
)


def json_schema() -> dict[str, Any]:
    """The campaign file's JSON Schema (draft 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mailer campaign",
        "description": "A campaign of the batch mailer: what goes to whom, through which server.",
        **CAMPAIGN.schema(),
    }

"""The campaign file, key by key: the one table for the loader, the editors' JSON Schema and the reference in
docs/.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

from mailer.campaign.addresses import check_address, parse_mailbox
from mailer.campaign.model import Attachment, Calendar, CssMode, Unsubscribe
from mailer.campaign.schema.field_types import Choice, Flag, ListOf, MapOf, Template, text_matching
from mailer.campaign.schema.mapping_types import Field, MappingType, OrMapping, ParsedMapping
from mailer.campaign.schema.recipients import Recipients
from mailer.campaign.schema.scalars import MAX_QUOTED
from mailer.campaign.schema.secret_types import Variables
from mailer.campaign.schema.sending_fields import DELIVERY, DKIM, SERVER
from mailer.errors import Problem
from mailer.text import shorten

CAMPAIGN_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"
_IMAGE_NAME = r"[A-Za-z0-9._@-]{1,64}"
_HEADER_NAME = r"[!-9;-~]{1,76}"  # RFC 5322 3.6.8 ftext; no longer than fits a line
_RULE = r"[a-z0-9][a-z0-9-]{0,63}"
_METHODS = (
    "PUBLISH",
    "REQUEST",
    "REPLY",
    "ADD",
    "CANCEL",
    "REFRESH",
    "COUNTER",
    "DECLINECOUNTER",
)  # RFC 5546 1.4
_OWN_HEADERS = re.compile(
    r"from|to|cc|bcc|subject|date|message-id|mime-version|content-.*|list-unsubscribe.*|dkim-signature"
    r"|received|return-path",
    re.IGNORECASE,
)


def check_campaign_name(text: str) -> str:
    """Return `text` if it can be a campaign's name; ValueError if not."""
    if not re.fullmatch(CAMPAIGN_NAME, text):
        raise ValueError(
            f"{shorten(text, MAX_QUOTED)!r} is not a campaign name; expected lower-case letters, digits, '.',"
            " '_' and '-', at most 64, the first a letter or digit"
        )
    return text


def _check_display_name(text: str) -> None:
    if "@" in text or text.rstrip().endswith(">"):
        raise ValueError("expected a display name; the address in To is always the recipient's")


def _check_image_name(text: str) -> None:
    if not re.fullmatch(_IMAGE_NAME, text):
        raise ValueError(
            f"{shorten(text, MAX_QUOTED)!r} is not an image name; expected 1 to 64 of A-Z a-z 0-9 . _ @ -"
        )


def _check_header_name(text: str) -> None:
    if _OWN_HEADERS.fullmatch(text):
        raise ValueError(f"the mailer writes the header {shorten(text, 40)} itself; it cannot be set here")
    if not re.fullmatch(_HEADER_NAME, text):
        raise ValueError(
            f"{shorten(text, MAX_QUOTED)!r} is not a header name; expected letters, digits and '-'"
        )


def _check_unsubscribe_url(text: str) -> None:
    if not re.fullmatch(r"https?://[^\s<>\"]+", text, re.IGNORECASE):
        raise ValueError("expected an https or http URL without blanks")


def _check_unsubscribe(parsed: ParsedMapping) -> Iterator[Problem]:
    url = parsed.values.get("url")
    if not parsed.places.keys() & {"url", "mailto"}:
        yield parsed.problem(parsed.place, "expected 'url', 'mailto' or both")
    elif parsed.values.get("one_click"):
        if "url" not in parsed.places:
            yield parsed.problem(
                parsed.places["one_click"], "one_click needs a 'url' (RFC 8058)", "one_click"
            )
        elif url is not None and re.match(r"(?!https:)[a-z]+:", url.source, re.IGNORECASE):
            yield parsed.problem(url.place, "one_click needs an https URL (RFC 8058, section 3.1)", "url")


UNSUBSCRIBE = MappingType(
    "a mapping with 'url' or 'mailto'",
    (
        Field(
            "url",
            Template(_check_unsubscribe_url),
            "The page on which the recipient unsubscribes; Jinja2.",
            example='"https://example.com/u/{{ token }}"',
        ),
        Field(
            "mailto",
            Template(check_address),
            "The address to which a message unsubscribes; Jinja2.",
            example="unsubscribe@example.com",
        ),
        Field(
            "one_click",
            Flag(),
            "Adds List-Unsubscribe-Post (RFC 8058): mail clients unsubscribe with one click. It needs an"
            " https `url`.",
            default=False,
            example="true",
        ),
    ),
    build=lambda values, _parsed: Unsubscribe(**values),
    check=_check_unsubscribe,
    rules={"anyOf": [{"required": ["url"]}, {"required": ["mailto"]}]},
)

ATTACHMENT = MappingType(
    "a path, or a mapping with 'path'",
    (
        Field(
            "path",
            Template(),
            "The file, relative to the campaign file; Jinja2. If it renders empty, there is no attachment.",
            required=True,
            example='"invoices/{{ invoice }}.pdf"',
        ),
        Field(
            "filename",
            Template(),
            "The attachment's name in the message; Jinja2. Default: the file's own name.",
            example='"Invoice {{ invoice }}.pdf"',
        ),
    ),
    build=lambda values, _parsed: Attachment(**values),
)

CALENDAR = MappingType(
    "a path, or a mapping with 'path'",
    (
        Field(
            "path",
            Template(),
            "The iCalendar file (RFC 5545), relative to the campaign file; a Jinja2 template. The path is"
            " Jinja2, too.",
            required=True,
            example="invite.ics.j2",
        ),
        Field(
            "method",
            Choice(_METHODS),
            "What the recipient's calendar does with it (RFC 5546).",
            default="REQUEST",
            example="CANCEL",
        ),
    ),
    build=lambda values, _parsed: Calendar(**values),
)


def _check_campaign(parsed: ParsedMapping) -> Iterator[Problem]:
    if not parsed.places.keys() & {"template", "text"}:
        yield parsed.problem(parsed.place, "the key 'template' or 'text' is missing; one of them is required")
    first_names: dict[str, str] = {"reply-to": "reply_to"} if "reply_to" in parsed.places else {}
    for name, pattern in parsed.values.get("headers", {}).items():
        if (first := first_names.setdefault(name.lower(), name)) != name:
            one, other = shorten(name, MAX_QUOTED), shorten(first, MAX_QUOTED)
            yield parsed.problem(pattern.place, f"the header {one!r} repeats {other!r}", "headers")


CAMPAIGN: MappingType[Mapping[str, Any]] = MappingType(
    "a mapping with the campaign's keys",
    (
        Field(
            "campaign",
            Template(check_campaign_name),
            "The name that identifies the campaign in the ledger: lower-case letters, digits, `.`, `_` and"
            " `-`, at most 64. Jinja2 with `vars` and `--var`.",
            required=True,
            also=("name", "id"),
            example='"release-{{ version }}"',
        ),
        Field(
            "from",
            Template(parse_mailbox),
            "The sender: an address, or a name with an address; Jinja2.",
            required=True,
            also=("sender",),
            example='"Ada Example <news@example.com>"',
        ),
        Field(
            "reply_to",
            ListOf(Template(parse_mailbox), or_one=True),
            "The address, or the list of addresses, that replies go to; Jinja2. An address that renders"
            " empty is left out.",
            also=("replyto", "reply-to"),
            example="help@example.com",
        ),
        Field(
            "to",
            Template(_check_display_name),
            "The recipient's display name in To; Jinja2. The address in To is always the recipient's."
            " Default: the column `name`.",
            example='"{{ first }} {{ last }}"',
        ),
        Field(
            "cc",
            ListOf(Template(parse_mailbox), or_one=True),
            "Addresses that get a visible copy of each message; Jinja2. One that renders empty is left out.",
            example="[boss@example.com]",
        ),
        Field(
            "bcc",
            ListOf(Template(parse_mailbox), or_one=True),
            "Addresses that get a copy of each message without being named in it; Jinja2. One that renders"
            " empty is left out.",
            example="[archive@example.com]",
        ),
        Field(
            "envelope_from",
            Template(check_address),
            "The address that bounces go to; Jinja2. Default: the address in `from`. With a value of the"
            " recipient in it, each recipient has a separate one (VERP).",
            example='"bounce+{{ token }}@example.com"',
        ),
        Field(
            "subject",
            Template(),
            "The subject; Jinja2.",
            required=True,
            also=("title",),
            example='"Hello {{ name }}"',
        ),
        Field(
            "template",
            Template(),
            "The template of the message: HTML (.html, .html.j2), Markdown (.md, .md.j2) or MJML (.mjml,"
            " .mjml.j2), with Jinja2. The path is Jinja2, too. This key or `text` is required.",
            also=("html", "body"),
            example="newsletter.html.j2",
        ),
        Field(
            "text",
            Template(),
            "The template of the plain text; its path is Jinja2. Default: the text is derived from the"
            " rendered HTML.",
            also=("plain",),
            example="newsletter.txt.j2",
        ),
        Field(
            "images",
            MapOf(Template(), _check_image_name, _IMAGE_NAME),
            "Images in the message: a name of A-Z a-z 0-9 . _ @ -, and a file (Jinja2). A template shows"
            ' one by src="cid:logo" or by src="{{ image(\'logo\') }}".',
            example="{logo: images/logo.png}",
        ),
        Field(
            "attachments",
            ListOf(OrMapping(ATTACHMENT, Template(), Attachment)),
            "Files that are attached: a path, or a mapping with `path` and `filename`.",
            example='["files/terms.pdf", {path: "invoices/{{ invoice }}.pdf", filename: "Invoice.pdf"}]',
        ),
        Field(
            "headers",
            MapOf(Template(), _check_header_name, _HEADER_NAME),
            "More header fields; the values are Jinja2. Fields that the mailer writes itself are refused.",
            example="{X-Team: growth}",
        ),
        Field(
            "calendar",
            OrMapping(CALENDAR, Template(), Calendar),
            "An invitation: a text/calendar alternative (RFC 6047), which mail clients show as an event.",
            example="{path: invite.ics.j2, method: REQUEST}",
        ),
        Field(
            "css",
            Choice(get_args(CssMode)),
            "`inline`: the rules of <style> elements are also copied into style attributes, because some"
            " mail clients ignore <style>; `keep`: nothing is changed.",
            default="inline",
            example="keep",
        ),
        Field(
            "unsubscribe",
            UNSUBSCRIBE,
            "How the recipient unsubscribes: adds List-Unsubscribe (RFC 2369).",
            example='{url: "https://example.com/u/{{ token }}", one_click: true}',
        ),
        Field(
            "vars",
            Variables(),
            "Values for the templates of every recipient. A recipient's own value takes precedence. `{env:"
            " NAME}` is the value of an environment variable.",
            also=("variables",),
            example="{company: Example, version: {env: CI_COMMIT_TAG}}",
        ),
        Field(
            "key",
            Template(),
            "What identifies a message within the campaign; Jinja2. Default: the address, with ASCII letters"
            " in lower case and the domain as an A-label.",
            example='"{{ email }}/{{ invoice }}"',
        ),
        Field(
            "recipients",
            Recipients(),
            "The recipients: a list of addresses and mappings, a file, or a mapping with `file` or `sql`.",
            required=True,
            also=("list",),
            example="people.csv",
        ),
        Field(
            "server",
            SERVER,
            "The submission server. `--server` and MAILER_SERVER take precedence.",
            also=("smtp",),
            example="{host: smtp.example.com, username: news@example.com, password: {env: SMTP_PASSWORD}}",
        ),
        Field(
            "delivery",
            DELIVERY,
            "How fast and how often messages are sent, and when the run ends early.",
            example="{connections: 4, rate: 14/second}",
        ),
        Field(
            "dkim",
            DKIM,
            "Signs each message (RFC 6376).",
            example="{domain: example.com, selector: s1, key_file: dkim.pem}",
        ),
        Field(
            "ignore",
            ListOf(text_matching(_RULE, "a rule's name")),
            "Rules of `mailer check` that do not apply to this campaign.",
            example="[http-links]",
        ),
    ),
    build=lambda values, _parsed: values,
    check=_check_campaign,
    rules={"anyOf": [{"required": ["template"]}, {"required": ["text"]}]},
)


def json_schema() -> dict[str, Any]:
    """Return the campaign file's JSON Schema (draft 2020-12), for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mailer campaign",
        "description": "A campaign of the batch mailer: which message goes to which recipients.",
        **CAMPAIGN.schema(),
    }

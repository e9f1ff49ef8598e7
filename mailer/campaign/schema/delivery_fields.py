"""The keys `delivery` and `dkim` of a campaign file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from mailer.campaign import quantities
from mailer.campaign.model import AUTO, Backoff, Delivery, Dkim, InDoubt, Strategy
from mailer.campaign.schema.field_types import Choice, Constant, FilePath, Integer, Text, text_matching
from mailer.campaign.schema.mapping_types import Field, MappingType, ParsedMapping
from mailer.campaign.servers import parse_host
from mailer.errors import Problem

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
            'The run ends early when this many messages fail permanently: "N in a row", or a share of the messages'
            " sent or failed in this run (from the 50th on). null is never.",
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

"""EHLO replies as servers write them."""

from __future__ import annotations

import pytest

from mailer.smtp.protocol.extensions import Extensions, SessionLimits, parse_extensions
from mailer.smtp.protocol.reply import Reply


def read(*lines: str) -> Extensions:
    return parse_extensions(Reply(250, None, ("mail.example Hello PIPELINING", *lines)))


def test_nothing_is_offered_by_the_first_line() -> None:
    assert read() == Extensions()


def test_all_that_is_known() -> None:
    found = read(
        "PIPELINING", "SIZE 35882577", "8BITMIME", "STARTTLS", "ENHANCEDSTATUSCODES", "CHUNKING", "SMTPUTF8",
        "AUTH LOGIN PLAIN XOAUTH2", "LIMITS MAILMAX=500 RCPTMAX=100 RCPTDOMAINMAX=1",
    )  # fmt: skip
    assert found == Extensions(
        names=(
            "PIPELINING",
            "SIZE",
            "8BITMIME",
            "STARTTLS",
            "ENHANCEDSTATUSCODES",
            "CHUNKING",
            "SMTPUTF8",
            "AUTH",
            "LIMITS",
        ),
        pipelining=True,
        chunking=True,
        eight_bit_mime=True,
        smtputf8=True,
        starttls=True,
        enhanced_status=True,
        declares_size=True,
        size=35882577,
        auth=("LOGIN", "PLAIN", "XOAUTH2"),
        limits=SessionLimits(500, 100, 1),
    )


def test_lower_case_blank_lines_and_odd_spacing() -> None:
    found = read("pipelining", "", "   ", "  Size   100 ", "auth  plain   login")
    assert found.names == ("PIPELINING", "SIZE", "AUTH")
    assert (found.pipelining, found.size, found.auth) == (True, 100, ("PLAIN", "LOGIN"))


def test_the_old_form_of_auth() -> None:
    assert read("AUTH=LOGIN PLAIN").auth == ("LOGIN", "PLAIN")
    assert read("AUTH LOGIN PLAIN", "AUTH=LOGIN PLAIN CRAM-MD5").auth == ("LOGIN", "PLAIN", "CRAM-MD5")
    assert read("AUTH=").auth == ()


@pytest.mark.parametrize(
    ("words", "size"), [("", None), ("0", None), ("-1", None), ("x", None), ("9" * 30, None), ("²", None)]
)
def test_sizes_that_limit_nothing(words: str, size: int | None) -> None:
    found = read(f"SIZE {words}")
    assert found.declares_size
    assert found.size is size


@pytest.mark.parametrize("words", ["", "MAILMAX", "MAILMAX=", "MAILMAX=x", "MAILMAX=0", "=", "OTHER=1"])
def test_limits_that_say_nothing(words: str) -> None:
    assert read(f"LIMITS {words}").limits == SessionLimits()

"""Server URLs: each form, and no error that shows a password."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailer.campaign import ServerConfig, parse_server
from mailer.campaign.servers import is_loopback, parse_host
from mailer.errors import InputError


def shown(server: ServerConfig) -> tuple[str, int, str, str | None, str | None]:
    password = server.password.read().reveal() if server.password else None
    return server.host, server.port, server.security, server.username, password


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("smtps://smtp.example.com", ("smtp.example.com", 465, "tls", None, None)),
        ("smtps://news@smtp.qq.com:465", ("smtp.qq.com", 465, "tls", "news", None)),
        ("smtps://news@qq.com@smtp.qq.com:465", ("smtp.qq.com", 465, "tls", "news@qq.com", None)),
        ("smtps://news%40qq.com@smtp.qq.com", ("smtp.qq.com", 465, "tls", "news@qq.com", None)),
        ("smtp+starttls://u@h.example", ("h.example", 587, "starttls", "u", None)),
        ("SMTP+STARTTLS://H.Example:2525/", ("h.example", 2525, "starttls", None, None)),
        ("smtp://127.0.0.1:1025", ("127.0.0.1", 1025, "none", None, None)),
        ("smtp://localhost", ("localhost", 25, "none", None, None)),
        ("smtp://[::1]:1025", ("::1", 1025, "none", None, None)),
        ("smtps://[2001:db8::1]", ("2001:db8::1", 465, "tls", None, None)),
        ("smtps://sandbox:p%40s%3As%2F@127.0.0.1:4650", ("127.0.0.1", 4650, "tls", "sandbox", "p@s:s/")),
        ("smtps://u:p:w@h.example", ("h.example", 465, "tls", "u", "p:w")),
        ("smtps://müller.example", ("xn--mller-kva.example", 465, "tls", None, None)),
        (" smtps://h.example\n", ("h.example", 465, "tls", None, None)),
    ],
)
def test_a_server_url_is_parsed(url: str, expected: tuple[str, int, str, str | None, str | None]) -> None:
    assert shown(parse_server(url)) == expected


@pytest.mark.parametrize(
    "url",
    [
        "",
        "smtp.example.com:465",
        "https://u:hunter2@h.example",
        "smtps://",
        "smtps://u:hunter2@",
        "smtps://u:hunter2@h.example:0",
        "smtps://u:hunter2@h.example:99999",
        "smtps://u:hunter2@h.example:hunter2",
        "smtps://u:hunter2@h.example/path",
        "smtps://u:hunter2@h.example?x=hunter2",
        "smtps://u:hunter2#@h example",
        "smtps://u:hunter2/x@h.example:hunter2",
        "smtps://u:hunter2",
        "smtps://:hunter2@h.example",
        "smtps://u:@h.example",
        "smtps://u:hunter2%ff@h.example",
        "smtps://u:hunter2%0d%0aX@h.example",
        "smtps://u:hunter2@[::1",
        "smtps://u:hunter2@::1:465",
        "smtps://u:hunter2@[h.example]",
        "smtps://u:hunter2@1.2.3.4.5",
        "smtp://u:hunter2@h.example",
        "smtp://mail.example.com",
    ],
)
def test_a_wrong_server_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_server(url)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value)


def test_a_password_does_not_show_in_the_configuration() -> None:
    assert "hunter2" not in repr(parse_server("smtps://u:hunter2@h.example"))


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_any_url_is_a_server_or_an_input_error(text: str) -> None:
    for url in (text, "smtps://" + text, "smtps://u:p@" + text):
        try:
            server = parse_server(url)
        except InputError:
            continue
        assert server.host.isascii()
        assert 1 <= server.port <= 65535


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("a.localhost", True),
        ("127.8.9.1", True),
        ("::1", True),
        ("example.com", False),
        ("notlocalhost", False),
        ("10.0.0.1", False),
        ("127.0.0.1.example.com", False),
    ],
)
def test_loopback_is_decided_by_the_name_alone(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.mark.parametrize(
    "host", ["", ".", "-a", "a..b", "a" * 64, "a.b-", "x" * 300, "ä" * 300, "1.2.3", "a\0b", "☃" * 70]
)
def test_text_that_is_not_a_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError):
        parse_host(host)

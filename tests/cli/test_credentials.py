"""Which server, which password; above all, which password never."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mailer.campaign.model import ServerConfig
from mailer.cli import console
from mailer.cli.credentials import choose_server_and_password
from mailer.errors import InputError
from mailer.secret import Secret


@dataclass
class Source:
    """The campaign's password; it counts how often it is read."""

    text: str = "campaigns-own"
    reads: int = 0

    def read(self) -> Secret:
        self.reads += 1
        return Secret(self.text)


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def own(source: Source) -> ServerConfig:
    return ServerConfig(
        "smtp.example.com", 465, username="news@example.com", password=source, auth=("login",)
    )


def chosen(
    own: ServerConfig | None, url: str | None = None, **environment: str
) -> tuple[ServerConfig, str | None]:
    server, password = choose_server_and_password(own, url, None, environment=environment)
    return server, password.reveal() if password else None


def test_the_campaigns_server_and_password_are_used_without_others(own: ServerConfig) -> None:
    server, password = chosen(own)
    assert (server.host, server.username, password) == (
        "smtp.example.com",
        "news@example.com",
        "campaigns-own",
    )


def test_the_option_comes_before_the_environment_and_that_before_the_campaign(own: ServerConfig) -> None:
    environment = {"MAILER_SERVER": "smtps://env.example.com", "MAILER_PASSWORD": "x"}
    assert chosen(own, **environment)[0].host == "env.example.com"
    assert chosen(own, "smtps://opt.example.com", **environment)[0].host == "opt.example.com"
    assert chosen(own, MAILER_SERVER="")[0].host == "smtp.example.com"


@pytest.mark.parametrize(
    "url",
    [
        "smtps://news@example.com@smtp.example.net:465",
        "smtps://news@example.com@evil.example.com",
        "smtps://somebody.else@smtp.example.com:465",
        "smtps://news@example.com@smtp.example.com.evil.example:465",
    ],
)
def test_the_campaigns_password_goes_nowhere_else(own: ServerConfig, source: Source, url: str) -> None:
    with pytest.raises(InputError, match="no password for"):
        chosen(own, url)
    with pytest.raises(InputError, match="no password for"):
        chosen(own, MAILER_SERVER=url)
    assert source.reads == 0


def test_on_loopback_another_port_is_another_server(own: ServerConfig, source: Source) -> None:
    tunnel = replace(own, host="127.0.0.1", port=2465)
    with pytest.raises(InputError, match="no password"):
        chosen(tunnel, "smtps://news@example.com@127.0.0.1:2466")
    assert source.reads == 0
    assert chosen(tunnel, "smtps://127.0.0.1:2465")[1] == "campaigns-own"


def test_the_same_server_by_url_keeps_the_campaigns_login(own: ServerConfig) -> None:
    server, password = chosen(own, "smtp+starttls://SMTP.example.com:587")
    assert (server.security, server.username, server.auth, password) == (
        "starttls", "news@example.com", ("login",), "campaigns-own",
    )  # fmt: skip


def test_another_user_is_not_the_campaigns_login(own: ServerConfig, source: Source) -> None:
    server, password = chosen(own, MAILER_USERNAME="other", MAILER_PASSWORD="others")
    assert (server.username, password) == ("other", "others")
    with pytest.raises(InputError, match="no password for other"):
        chosen(own, MAILER_USERNAME="other")
    assert source.reads == 0


def test_mailer_password_wins_over_the_campaigns(own: ServerConfig, source: Source) -> None:
    assert chosen(own, MAILER_PASSWORD="given")[1] == "given"
    assert source.reads == 0


def test_a_password_in_the_option_is_for_that_server_alone() -> None:
    assert chosen(None, "smtps://me:typed@smtp.example.com", MAILER_PASSWORD="given")[1] == "typed"


def test_mailer_password_wins_over_one_in_mailer_server() -> None:
    url = "smtps://me:written@smtp.example.com"
    assert chosen(None, MAILER_SERVER=url)[1] == "written"
    assert chosen(None, MAILER_SERVER=url, MAILER_PASSWORD="given")[1] == "given"


def test_the_url_names_the_user_before_the_environment() -> None:
    environment = {"MAILER_USERNAME": "env", "MAILER_PASSWORD": "x"}
    assert chosen(None, "smtps://smtp.example.com", **environment)[0].username == "env"
    assert chosen(None, "smtps://url@smtp.example.com", **environment)[0].username == "url"


def test_without_a_user_no_password_is_read(own: ServerConfig, source: Source) -> None:
    server, password = chosen(replace(own, username=None), "smtp://127.0.0.1:1025")
    assert (server.username, password, source.reads) == (None, None, 0)


def test_without_a_server_the_hint_names_the_ways_to_give_one() -> None:
    with pytest.raises(InputError, match="no server is named") as caught:
        chosen(None)
    assert "MAILER_SERVER" in str(caught.value.hint)


def test_a_person_is_asked() -> None:
    asked = []

    def ask(question: str) -> str:
        asked.append(question)
        return "typed in"

    _, password = choose_server_and_password(
        None, "smtps://me@smtp.example.com", None, environment={}, ask=ask
    )
    assert password == Secret("typed in")
    assert asked == ["Password for me at smtp.example.com:465: "]


def test_an_empty_answer_is_none() -> None:
    with pytest.raises(InputError, match="no password was given"):
        choose_server_and_password(
            None, "smtps://me@smtp.example.com", None, environment={}, ask=lambda _: ""
        )


def test_a_password_that_was_read_is_blanked_in_foreign_text(own: ServerConfig) -> None:
    chosen(replace(own, password=Source("Zq9-unprintable")))
    assert console.blank_foreign_text("the server said Zq9-unprintable") == "the server said [secret]"


def test_a_ca_file_that_is_not_there(own: ServerConfig, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such CA file"):
        choose_server_and_password(own, None, tmp_path / "ca.pem", environment={})


def test_a_password_from_outside_the_campaign_goes_to_that_server_only(
    own: ServerConfig, tmp_path: Path
) -> None:
    """A changed campaign must not choose the authority or the proxy by which the server is reached."""
    (tmp_path / "evil.pem").write_text("")
    changed = replace(
        own, ca_file=tmp_path / "evil.pem", proxy="socks5://evil.example:1080", ehlo_name="a.example"
    )
    url = "smtps://news@example.com@smtp.example.com:465"
    server, password = chosen(changed, MAILER_SERVER=url, MAILER_PASSWORD="x")
    assert (server.host, password, server.ca_file, server.proxy) == ("smtp.example.com", "x", None, None)
    assert server.ehlo_name == "a.example"
    server, password = chosen(changed, "smtps://news%40example.com:x@smtp.example.com:465")
    assert (password, server.ca_file, server.proxy) == ("x", None, None)
    server, password = chosen(changed, url)
    assert (password, server.ca_file, server.proxy) == ("campaigns-own", changed.ca_file, changed.proxy)

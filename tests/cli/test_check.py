from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., Any]


def test_a_campaign_without_errors_is_exit_0(command: Command, campaign: Path) -> None:
    ended = command("check", campaign)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[-1].startswith(f"{campaign}: 3 recipients, no errors, ")


def test_warnings_count_when_strict(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().replace("ada@example.com", "ada@gmail.com"))
    ended = command("check", campaign)
    assert ended.code == 0
    assert any("warning: " in line and line.endswith("[from-freemail]") for line in ended.out.splitlines())
    assert command("check", campaign, "--strict").code == 2


def test_it_explains_how_much_of_a_template_is_compiled(command: Command, campaign: Path) -> None:
    ended = command("check", campaign, "--explain")
    assert ended.code == 0
    assert ": compiled, 1 way through its branches, " in ended.out


def test_a_repeated_recipient_is_a_warning(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + "  - {email: Bob@example.com, name: Bob}\n")
    ended = command("check", campaign)
    assert ended.code == 0
    assert "the first one counts [repeated-recipient]" in ended.out


def test_a_repeated_recipient_can_be_ignored(command: Command, campaign: Path) -> None:
    text = campaign.read_text() + "  - {email: Bob@example.com, name: Bob}\n"
    campaign.write_text(text + "ignore: [repeated-recipient]\n")
    ended = command("check", campaign)
    assert ended.code == 0
    assert "repeated-recipient" not in ended.out


def test_every_error_is_a_line_with_its_place(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + "  - {email: nonsense, name: X}\n  - eve@example.com\n")
    ended = command("check", campaign)
    assert ended.code == 2
    lines = ended.err.splitlines()
    assert len(lines) == 3  # the name is missing in the subject and in the text
    assert lines[0].startswith("mailer: error: spring.yaml:9:") or ":9:" in lines[0]
    assert "eve@example.com" in lines[1]
    assert "name" in lines[1]


def test_a_wrong_file_names_all_that_is_wrong(command: Command, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("campaign: Bad Name\nsubjct: x\nfrom: nobody\n")
    ended = command("check", "bad.yaml")
    assert ended.code == 2
    assert all(line.startswith("mailer: error: bad.yaml:") for line in ended.err.splitlines())
    assert len(ended.err.splitlines()) >= 3
    assert "subject" in ended.err


def test_no_secret_is_read_and_no_command_run(command: Command, campaign: Path, tmp_path: Path) -> None:
    text = "server: {host: smtp.example.com, username: me, password: {command: touch ran}}\n"
    campaign.write_text(campaign.read_text() + text)
    assert command("check", campaign).code == 0
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / ".mailer").exists()


def test_var_gives_a_value_that_the_file_lacks(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().replace("Hello {{ name }}", "{{ version }} for {{ name }}"))
    assert "version" in command("check", campaign).err
    assert command("check", campaign, "--var", "version=2.0").code == 0


DKIM = "dkim: {domain: example.com, selector: s1, key_file: KEY}\n"


def test_the_signing_key_is_not_read_but_must_be_there(
    command: Command, campaign: Path, tmp_path: Path
) -> None:
    (campaign.parent / "key.pem").write_text("not a key")
    campaign.write_text(campaign.read_text() + DKIM.replace("KEY", "key.pem"))
    ended = command("check", campaign)
    assert (ended.code, ended.err) == (0, "")
    (campaign.parent / "key.pem").unlink()
    ended = command("check", campaign)
    assert ended.code == 2
    assert "dkim.key_file: " in ended.err
    assert ended.err.strip().endswith("there is no such file")


def test_a_key_outside_the_project_is_not_looked_for(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + DKIM.replace("KEY", "/no/such/key.pem"))
    assert command("check", campaign).code == 0
    assert command("check", campaign, "--trusted").code == 2


def test_no_environment_variable_is_read(
    command: Command, campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "hunter2")
    text = campaign.read_text().replace("Hello {{ name }}", "{{ image(p|reverse|join('-')) }}")
    campaign.write_text(text + "vars: {p: {env: SMTP_PASSWORD}}\n")
    ended = command("check", campaign)
    assert ended.code == 2
    assert "-D-R-O-W-S-S-A-P-" in ended.err  # the stand-in, reversed; 20 characters of it
    assert "2-r-e-t-n-u-h" in command("check", campaign, "--trusted").err


def test_a_list_outside_the_project_is_not_read(command: Command, campaign: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.env"
    outside.write_text("TOKEN=secret-of-another-file\n")
    project = tmp_path / "project"
    project.mkdir()
    (project / "people.csv").symlink_to(outside)
    text = campaign.read_text()
    (project / campaign.name).write_text(text[: text.index("recipients:")] + "recipients: people.csv\n")
    (project / "spring.txt.j2").write_text("Hi")
    ended = command("check", project / campaign.name)
    assert "secret-of-another-file" not in ended.out + ended.err
    assert (
        "a list outside the project is not read here; `--trusted` reads what `mailer send` would read"
        in ended.out
    )


def test_sql_is_not_run(command: Command, campaign: Path, tmp_path: Path) -> None:
    text = campaign.read_text()
    source = 'recipients: {sql: "create table t (a)", url: "sqlite:///made.db"}\n'
    campaign.write_text(text[: text.index("recipients:")] + source)
    ended = command("check", campaign)
    assert ended.code == 0
    assert "recipients from a database are not read here" in ended.out
    assert not list(tmp_path.rglob("made.db"))


@pytest.mark.parametrize("path", [".git/config", ".mailer/ledger.sqlite3", ".env"])
def test_no_hidden_file_is_included(command: Command, campaign: Path, path: str) -> None:
    hidden = campaign.parent / path
    hidden.parent.mkdir(exist_ok=True)
    hidden.write_text("a-secret-line")
    (campaign.parent / "hidden.txt").write_text('{% include "' + path + '" %}')
    text = re.sub(r"(?m)^(text|template):.*\n", "", campaign.read_text())
    campaign.write_text("text: hidden.txt\n" + text)
    ended = command("check", campaign)
    assert ended.code == 2
    assert "a-secret-line" not in ended.out + ended.err


def test_campaign_list_and_templates_are_wrong_in_one_round(command: Command, campaign: Path) -> None:
    text = campaign.read_text() + "  - {email: nonsense, name: X}\ndelivery: {window: many}\n"
    campaign.write_text(text.replace("Hello {{ name }}", "{{ name"))
    for template in campaign.parent.glob("*.j2"):
        template.write_text("{% if %}")
    for arguments in (["check", campaign], ["send", campaign, "--yes"]):
        ended = command(*arguments)
        assert ended.code == 2
        assert "delivery.window: expected auto or a whole number" in ended.err
        assert "'nonsense' is not an address" in ended.err
        assert "subject: " in ended.err
        assert ".txt" in ended.err


def test_a_name_from_the_environment_has_a_stand_in(
    command: Command, campaign: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI_COMMIT_TAG", "v1.2")
    text = campaign.read_text().replace("campaign: spring", 'campaign: "spring-{{ tag }}"')
    campaign.write_text(text + "vars: {tag: {env: CI_COMMIT_TAG}}\n")
    ended = command("check", str(campaign))
    assert ended.code == 0, ended.err
    assert "v1.2" not in ended.out + ended.err

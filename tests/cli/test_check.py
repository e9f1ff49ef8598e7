from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    assert len(lines) == 2
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


def test_the_signing_key_is_not_read(command: Command, campaign: Path) -> None:
    campaign.write_text(
        campaign.read_text() + "dkim: {domain: example.com, selector: s1, key_file: key-of-another-machine.pem}\n"
    )
    ended = command("check", campaign)
    assert (ended.code, ended.err) == (0, "")

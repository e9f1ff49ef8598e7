"""Options as a whole: given twice, without effect, `-` for a file, and the name of a campaign."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from mailer.cli.commands import mailer
from mailer.cli.options import SEND_INEFFECTIVE, SEND_NEEDED, StrictCommand

Command = Callable[..., Any]


@pytest.mark.parametrize(
    "arguments",
    [
        ["--limit", "1", "--limit", "2"],
        ["--server", "smtp://127.0.0.1:1", "--server", "smtp://127.0.0.1:2"],
        ["--yes", "--yes"],
        ["--only", "a@example.com", "--only", "b@example.com"],
        ["--var", "x=1", "--var", "x=2"],
    ],
)
def test_an_option_given_twice_is_an_error(command: Command, campaign: Path, arguments: list[str]) -> None:
    ended = command("send", campaign, *arguments)
    assert ended.code == 2
    assert "given twice" in ended.err


@pytest.mark.parametrize(
    ("name", "option"),
    [
        (name, option.opts[-1])
        for name, command in mailer.commands.items()
        for option in command.params
        if isinstance(option, click.Option) and not option.is_flag
    ],
)
def test_an_empty_value_is_an_error(command: Command, campaign: Path, name: str, option: str) -> None:
    """`--ledger "$LEDGER"` without that variable must not mean the default ledger."""
    ended = command(name, option, "")
    assert (ended.code, ended.out) == (2, "")
    assert f"{option}: expected a value, found an empty text" in ended.err


def test_repeatable_options_are_not_given_twice(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text().replace("Hello {{ name }}", "{{ a }}{{ b }} for {{ name }}"))
    assert command("check", campaign, "--var", "a=1", "--var", "b=2").code == 0


@pytest.mark.parametrize(
    ("option", "other"), [(option, other) for option, others in SEND_INEFFECTIVE.items() for other in others]
)
def test_an_option_without_effect_beside_another_is_an_error(
    command: Command, campaign: Path, option: str, other: str
) -> None:
    send = mailer.commands["send"]
    parameters = {name: one for one in send.params if isinstance(one, click.Option) for name in one.opts}
    values = {
        "--proof": "me@example.com",
        "--server": "smtp://127.0.0.1:1",
        "--in-doubt": "sent",
        "--report": "r.json",
        "--workers": "amqp://127.0.0.1:1",
    }
    given = []
    for name in (option, other):
        given += [name] if parameters[name].is_flag else [name, values.get(name, "1")]
    ended = command("send", campaign, *given)
    assert (ended.code, f"{other} has no effect beside {option}" in ended.err) == (2, True), ended.err


@pytest.mark.parametrize(("option", "other"), SEND_NEEDED.items())
def test_an_option_without_the_one_that_it_needs_is_an_error(
    command: Command, campaign: Path, option: str, other: str
) -> None:
    send = mailer.commands["send"]
    (parameter,) = [one for one in send.params if isinstance(one, click.Option) and option in one.opts]
    ended = command("send", campaign, option, *([] if parameter.is_flag else ["1%"]))
    assert (ended.code, f"{option} has no effect without {other}" in ended.err) == (2, True), ended.err


def test_every_command_refuses_repeated_options() -> None:
    def commands(group: click.Group) -> list[click.Command]:
        found = []
        for one in group.commands.values():
            found += commands(one) if isinstance(one, click.Group) else [one]
        return found

    assert [one.name for one in commands(mailer) if not isinstance(one, StrictCommand)] == []


@pytest.mark.parametrize(
    "words", [["check"], ["render", "--mbox", "-"], ["send", "--dry-run"], ["send", "--sandbox"]]
)
def test_a_name_finds_the_file_in_campaigns(command: Command, campaign: Path, words: list[str]) -> None:
    folder = campaign.parent / "campaigns"
    folder.mkdir()
    campaign.rename(folder / "spring.yaml")
    ended = command(words[0], "spring", *words[1:])
    assert ended.code == 0, ended.err


def test_a_folder_with_the_name_of_a_campaign_is_not_the_campaign(command: Command, campaign: Path) -> None:
    folder = campaign.parent / "campaigns"
    folder.mkdir()
    campaign.rename(folder / "spring.yaml")
    (campaign.parent / "spring").mkdir()
    assert command("check", "spring").code == 0
    assert command("send", "spring", "--sandbox").code == 0
    (folder / "spring.yaml").unlink()
    ended = command("check", "spring")
    assert (ended.code, "there is no spring, campaigns/spring.yaml or spring.yaml" in ended.err) == (2, True)


def test_a_name_without_a_file_says_which_files_were_tried(command: Command, tmp_path: Path) -> None:
    ended = command("send", "spring")
    assert ended.code == 2
    assert "there is no spring, campaigns/spring.yaml or spring.yaml" in ended.err


def test_an_mbox_can_go_to_standard_output(command: Command, campaign: Path) -> None:
    ended = command("render", campaign, "--mbox", "-")
    assert (ended.code, ended.out.count("From ada@example.com ")) == (0, 3)
    assert ended.err == "3 messages\n"


def test_suppressed_addresses_can_come_from_standard_input(command: Command, tmp_path: Path) -> None:
    ended = command("suppress", "import", "-", stdin="bob@example.com\n")
    assert (ended.code, ended.err.splitlines()[-1]) == (0, "1 new address suppressed")


def test_a_dry_run_shows_the_first_message_and_leaves_nothing(command: Command, campaign: Path) -> None:
    ended = command("send", campaign, "--dry-run")
    assert (ended.code, ended.err) == (0, "3 messages without errors; nothing was sent\n")
    lines = ended.out.splitlines()
    assert lines[:3] == ["From: Ada <ada@example.com>", "To: Bob <bob@example.com>", "Subject: Hello Bob"]
    assert "Hello Bob," in lines
    assert not (campaign.parent / ".mailer").exists()


def test_a_dry_run_finds_the_errors_of_all_messages(command: Command, campaign: Path) -> None:
    campaign.write_text(campaign.read_text() + "  - eve@example.com\n")
    ended = command("send", campaign, "--dry-run", "--only", "eve@example.com")
    assert ended.code == 2
    assert "name" in ended.err


def test_several_campaigns_are_checked_and_the_worst_counts(command: Command, campaign: Path) -> None:
    other = campaign.with_name("other.yaml")
    other.write_text(campaign.read_text().replace("{{ name }}", "{{ nmae }}"))
    broken = campaign.with_name("broken.yaml")
    broken.write_text("campaign: [\n")
    ended = command("check", campaign, other, broken)
    assert ended.code == 2
    assert f"{campaign}: 3 recipients, no errors" in ended.out
    assert "nmae" in ended.err
    assert "broken.yaml:" in ended.err
    assert command("check", campaign, campaign).code == 0


@pytest.mark.parametrize("name", ["worker", "bounces", "login", "forget", "preview"])
def test_a_command_of_the_documentation_exists_or_says_that_it_does_not_yet(
    command: Command, name: str
) -> None:
    ended = command(name, "--help")
    assert ended.code == 0 or f"this version of mailer has no {name!r} command yet" in ended.err


@pytest.mark.parametrize(
    ("arguments", "error", "hint"),
    [
        (["send", "--server"], "Option '--server' requires an argument.", "mailer send --help"),
        (["send", "x", "--yes=1"], "Option '--yes' does not take a value.", "mailer send --help"),
        (["suppress", "add"], "Missing argument 'ADDRESS...'.", "mailer suppress add --help"),
        (["send", "x", "--limit", "x"], "'x' is not a valid number.", "mailer send --help"),
        (
            ["send", "folder"],
            "campaigns/folder.yaml or folder.yaml; folder is a folder",
            "mailer send --help",
        ),
        (["--nothing"], "No such option", "mailer --help"),
    ],
)
def test_a_wrong_use_names_the_help_of_its_command(
    command: Callable[..., Any], tmp_path: Path, arguments: list[str], error: str, hint: str
) -> None:
    (tmp_path / "folder").mkdir()
    ended = command(*arguments)
    assert ended.code == 2
    assert error in ended.err.splitlines()[0]
    assert ended.err.splitlines()[1] == f"hint: {hint}"

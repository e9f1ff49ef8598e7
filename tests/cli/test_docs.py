"""Every command and option has help, and its place in docs/commands.md."""

from __future__ import annotations

import click
import pytest

from tests.cli.help_blocks import DOCUMENT, commands, named, renewed

COMMANDS = dict(commands())


@pytest.mark.parametrize("name", COMMANDS)
def test_it_has_help(name: str) -> None:
    assert COMMANDS[name].help


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_has_help(name: str) -> None:
    options = [parameter for parameter in COMMANDS[name].params if isinstance(parameter, click.Option)]
    assert [option.name for option in options if not option.help and not option.hidden] == []


def test_the_document_has_a_block_for_each_command() -> None:
    assert sorted(named(DOCUMENT.read_text(encoding="utf-8"))) == sorted(COMMANDS)


def test_the_document_says_what_help_says() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == renewed(document), "run: python -m tests.cli.help_blocks"

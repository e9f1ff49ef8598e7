"""What an untrusted campaign cannot make the mailer read: each of these worked before it was forbidden."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from mailer.campaign import UNTRUSTED, Campaign, load_campaign
from mailer.campaign.access import is_project_file
from mailer.campaign.load import read_campaign
from mailer.campaign.sources import FileSource, WithheldSource
from mailer.errors import InputError
from tests.swapping import swap_repeatedly

BASE = "campaign: x\nfrom: a@example.com\nsubject: s\ntext: t\n"


@pytest.fixture
def project(folder: Path) -> Path:
    """A project inside the working directory, with secrets around it."""
    root = folder / "project"
    (root / "campaigns").mkdir(parents=True)
    (folder / "outside.csv").write_text("email,name\nada@example.com,s3cret\n")
    (folder / "creds.csv").write_text("SMTP_PASSWORD=s3cret\n")
    (root / "people.csv").write_text("email\nada@example.com\n")
    (root / ".env.csv").write_text("SMTP_PASSWORD=s3cret\n")
    return root


def load(project: Path, text: str) -> Campaign:
    (project / "campaigns/x.yaml").write_text(BASE + text)
    return load_campaign(project / "campaigns/x.yaml", access=UNTRUSTED)


def test_environment_variables_are_replaced_by_stand_ins(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    campaign = load(
        project, "vars: {p: {env: SMTP_PASSWORD}, q: [{env: NOT_SET}]}\nrecipients: [a@example.com]\n"
    )
    assert campaign.vars == {"p": "\u2039SMTP_PASSWORD\u203a", "q": ["\u2039NOT_SET\u203a"]}
    assert campaign.warnings == ()


@pytest.mark.parametrize(
    "form", ["{env: SMTP_PASSWORD}", "{command: touch ran}", "{file: ../../creds.csv}", "{keyring: smtp}"]
)
def test_an_untrusted_campaign_reads_no_secret_and_runs_no_command(
    project: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("SMTP_PASSWORD", "s3cret")
    server = f"server: {{host: a.example, username: me, password: {form}}}\nrecipients: [a@example.com]\n"
    campaign = load(project, server)
    assert campaign.server is not None
    assert campaign.server.password is not None
    with pytest.raises(InputError, match="no secret is read here"):
        campaign.server.password.read()
    assert not (project / "campaigns/ran").exists()


def test_an_untrusted_campaign_reads_no_database(project: Path) -> None:
    campaign = load(project, "recipients: {sql: select 1 as email, url: 'sqlite:///../people.db'}\n")
    assert isinstance(campaign.recipients, WithheldSource)
    assert "a database" in campaign.recipients.reason
    assert list(campaign.recipients) == []


@pytest.mark.parametrize(
    "name", ["../../outside.csv", "../link.csv", "../folder/outside.csv", "../.env.csv", "gone.csv"]
)
def test_a_list_outside_the_project_is_not_read(project: Path, folder: Path, name: str) -> None:
    (project / "link.csv").symlink_to(folder / "creds.csv")
    (project / "folder").symlink_to(folder)
    (project / "campaigns/gone.csv").symlink_to(folder / "gone.csv")
    campaign = load(project, f"recipients: {name}\n")
    assert isinstance(campaign.recipients, WithheldSource)
    assert "is not read here" in campaign.recipients.reason
    assert list(campaign.recipients) == []


def test_a_list_in_the_project_is_read(project: Path) -> None:
    (project / "alias.csv").symlink_to("people.csv")
    for name in ("../people.csv", "../alias.csv"):
        campaign = load(project, f"recipients: {name}\n")
        assert isinstance(campaign.recipients, FileSource)
        assert [r.email for r in campaign.recipients] == ["ada@example.com"]
    with pytest.raises(InputError, match=r"nope\.csv: there is no such file"):
        load(project, "recipients: ../nope.csv\n")


def test_a_list_that_is_swapped_after_the_check_is_not_read(project: Path, folder: Path) -> None:
    (project / "lists").mkdir()
    (project / "lists/creds.csv").write_text("email\nada@example.com\n")
    campaign = load(project, "recipients: ../lists/creds.csv\n")
    (project / "lists").rename(project / "old")
    (project / "lists").symlink_to(folder)
    with pytest.raises(InputError) as caught:
        list(campaign.recipients)
    assert "SMTP" not in str(caught.value)


def test_a_folder_that_is_swapped_while_it_is_opened_gives_no_hidden_list(project: Path) -> None:
    (project / "lists").mkdir()
    (project / "lists/a.csv").write_text("email\nada@example.com\n")
    (project / ".git").mkdir()
    (project / ".git/a.csv").write_text("email\nsecret@example.com\n")
    campaign = load(project, "recipients: ../lists/a.csv\n")
    found = set()
    with swap_repeatedly(project / "lists", ".git"):
        for _ in range(500):
            with contextlib.suppress(InputError):
                found |= {recipient.email for recipient in campaign.recipients}
    assert found <= {"ada@example.com"}


def test_an_untrusted_campaign_does_not_learn_whether_an_outside_file_exists(project: Path) -> None:
    for name in ("../../outside.csv", "../../nope.csv", "/etc/passwd", "/etc/nope"):
        campaign = load(
            project, f"server: {{host: a.example, ca_file: {name}}}\nrecipients: [a@example.com]\n"
        )
        assert campaign.server is not None


def test_a_campaign_file_that_is_a_link_out_of_the_project_is_refused(project: Path, folder: Path) -> None:
    (folder / "creds.yaml").write_text("password: s3cret\n")
    (project / "campaigns/x.yaml").symlink_to(folder / "creds.yaml")
    with pytest.raises(InputError) as caught:
        load_campaign(project / "campaigns/x.yaml", access=UNTRUSTED)
    assert "is a link out of the project, or hidden" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "--trusted" in str(caught.value.hint)


def test_a_trusted_campaign_reads_environment_and_outside_files(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TAG", "1.2")
    text = "vars: {v: {env: TAG}}\nrecipients: ../../outside.csv\n"
    (project / "campaigns/x.yaml").write_text(BASE + text)
    campaign = load_campaign(project / "campaigns/x.yaml")
    assert campaign.vars == {"v": "1.2"}
    assert [r.email for r in campaign.recipients] == ["ada@example.com"]


def test_hidden_files_and_files_outside_are_not_project_files(project: Path, folder: Path) -> None:
    (project / "up").symlink_to("..")
    os.mkdir(project / ".git")
    found = {
        name: is_project_file(project / name, project)
        for name in (
            "a.txt",
            "campaigns/a.txt",
            "../a.txt",
            "up/a.txt",
            ".git/config",
            "campaigns/.a",
            "a\0b",
        )
    }
    assert [name for name, inside in found.items() if inside] == ["a.txt", "campaigns/a.txt"]
    assert not is_project_file(folder / "project-two/a.txt", project)


def test_a_campaign_with_problems_can_still_be_checked_further(project: Path) -> None:
    (project / "campaigns/x.yaml").write_text(BASE + "delivery: {window: many}\nrecipients: ../people.csv\n")
    result = read_campaign(project / "campaigns/x.yaml")
    assert [problem.text.split(":")[0] for problem in result.problems] == ["delivery.window"]
    assert result.campaign is not None
    assert [r.email for r in result.campaign.recipients] == ["ada@example.com"]
    (project / "campaigns/x.yaml").write_text("subject: s\n")
    assert read_campaign(project / "campaigns/x.yaml").campaign is None


def test_names_of_var_that_the_campaign_does_not_use_are_unknown(project: Path) -> None:
    (project / "campaigns/x.yaml").write_text(
        BASE.replace("subject: s", "subject: '{{ a }}'") + "vars: {b: 1}\nrecipients: ../people.csv\n"
    )
    campaign = load_campaign(project / "campaigns/x.yaml", variables={"a": "1", "b": "", "c": "2"})
    assert campaign.unknown_variables == ("c",)
    assert [str(warning) for warning in campaign.warnings] == ["--var b: the value is empty"]


def test_an_empty_environment_variable_is_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAG", "")
    (project / "campaigns/x.yaml").write_text(BASE + "vars: {v: {env: TAG}}\nrecipients: ../people.csv\n")
    (warning,) = load_campaign(project / "campaigns/x.yaml").warnings
    assert warning.text == "vars.v: the environment variable TAG is empty"

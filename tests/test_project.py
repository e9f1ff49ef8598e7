"""What the project says of itself is true: its documents, its samples, its packaging."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from mailer.campaign import load_campaign
from mailer.cli.exit_codes import ExitCode

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
SNIPPETS = [match[1] for match in re.finditer(r"```yaml\n(.*?)```", README, re.DOTALL)]
PROVIDERS = [
    part for snippet in SNIPPETS if "\nserver:" in "\n" + snippet for part in re.split(r"^# or\n", snippet, flags=re.M)
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_exit_codes_of_the_readme_are_those_of_the_command() -> None:
    table = README.split("| exit |")[1].split("\n\n")[0]
    told = {int(number) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for number in cell.split(",")}
    assert told <= {*(int(code) for code in ExitCode), 130, 143}
    assert told >= {int(code) for code in ExitCode if code < 64}  # beyond: a bug of ours, a closed pipe


@pytest.mark.parametrize("snippet", PROVIDERS)
def test_the_readme_shows_campaigns_that_load(snippet: str, tmp_path: Path) -> None:
    keys = set(re.findall(r"^(\w+):", snippet, re.M))
    rest = {
        "campaign": "x",
        "from": "a@example.com",
        "subject": "x",
        "text": "x.txt.j2",
        "recipients": "[b@example.com]",
    }
    lines = [f"{key}: {value}\n" for key, value in rest.items() if key not in keys]
    path = tmp_path / "campaigns" / "x.yaml"
    path.parent.mkdir()
    path.write_text("".join(lines) + snippet, encoding="utf-8")
    for name in re.findall(r"[\w/]+\.(?:j2|csv|png|pem)(?:\.j2)?", path.read_text(encoding="utf-8")):
        (path.parent / name).parent.mkdir(exist_ok=True)
        (path.parent / name).write_text("email,plan\nb@example.com,pro\n")
    assert load_campaign(path).server is not None


@pytest.mark.parametrize(("name", "count"), [("newsletter", 16), ("notification", 3)])
def test_the_samples_are_right(name: str, count: int) -> None:
    recipients = list(load_campaign(ROOT / "campaigns" / f"{name}.yaml").recipients)
    assert [recipient.problem for recipient in recipients] == [None] * count


def test_the_samples_images_are_small() -> None:
    for image in (ROOT / "campaigns/images").iterdir():
        assert image.stat().st_size <= 40_000, image


def test_the_extra_all_is_every_feature() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.fullmatch(r"mailer\[(.+)\]", everything)[1].split(",")) == set(extras) - {"all", "dev", "bench"}


def test_every_dependency_has_its_reason() -> None:
    section = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [")[1].split("\n[")[0]
    listed = [line for line in section.splitlines() if re.match(r'\s+"(?!mailer\[)', line)]
    assert [line for line in listed if "#" not in line and "types-" not in line] == []

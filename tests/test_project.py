"""What the project says of itself is true: its documents, its samples, its packaging."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import click
import pytest
import yaml

from mailer import check
from mailer.campaign import json_schema, load_campaign
from mailer.cli import commands
from mailer.cli.exit_codes import ExitCode
from tests import prose

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
PROVIDERS_PAGE = (ROOT / "docs" / "providers.md").read_text(encoding="utf-8")
SNIPPETS = [match[1] for match in re.finditer(r"```yaml\n(.*?)```", README + PROVIDERS_PAGE, re.DOTALL)]
PROVIDERS = [
    part
    for snippet in SNIPPETS
    if "\nserver:" in "\n" + snippet
    for part in re.split(r"^# or\n", snippet, flags=re.M)
]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?://)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [target for target in targets if not (document.parent / target).exists()] == []


def test_the_exit_codes_of_the_readme_are_those_of_the_command() -> None:
    table = README.split("| exit |")[1].split("\n\n")[0]
    told = {
        int(number) for cell in re.findall(r"^\| ([\d, ]+) \|", table, re.M) for number in cell.split(",")
    }
    assert told <= {*(int(code) for code in ExitCode), 130, 143}
    assert told >= {int(code) for code in ExitCode if code < 64}  # beyond: a bug of ours, a closed pipe


@pytest.mark.parametrize("snippet", PROVIDERS)
def test_the_readme_and_the_providers_page_show_campaigns_that_load(snippet: str, tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("name", "count"),
    [("newsletter", 16), ("notification", 3), ("digest", 3), ("announcement", 3), ("invoices", 3)],
)
def test_the_samples_have_no_error_and_no_warning(name: str, count: int) -> None:
    campaign = load_campaign(ROOT / "campaigns" / f"{name}.yaml")
    assert [recipient.problem for recipient in campaign.recipients] == [None] * count
    assert check(campaign) == []


def test_the_samples_schema_is_the_programs() -> None:
    text = (ROOT / "campaigns/campaign.schema.json").read_text(encoding="utf-8")
    assert json.loads(text) == json_schema(), "run: mailer schema > campaigns/campaign.schema.json"


def test_the_samples_images_are_small() -> None:
    for image in (ROOT / "campaigns/images").iterdir():
        assert image.stat().st_size <= 40_000, image


def test_the_extra_all_is_every_feature() -> None:
    extras = PROJECT["project"]["optional-dependencies"]
    (everything,) = extras["all"]
    assert set(re.fullmatch(r"mailer\[(.+)\]", everything)[1].split(",")) == set(extras) - {
        "all",
        "dev",
        "bench",
    }


def test_every_dependency_has_its_reason() -> None:
    section = (
        (ROOT / "pyproject.toml").read_text(encoding="utf-8").split("dependencies = [")[1].split("\n[")[0]
    )
    listed = [line for line in section.splitlines() if re.match(r'\s+"(?!mailer\[)', line)]
    assert [line for line in listed if "#" not in line and "types-" not in line] == []


@pytest.mark.parametrize(
    "path",
    [ROOT / ".pre-commit-config.yaml", *sorted((ROOT / ".github").rglob("*.yml"))],
    ids=lambda path: path.name,
)
def test_the_services_files_are_yaml(path: Path) -> None:
    assert isinstance(yaml.safe_load(path.read_text(encoding="utf-8")), dict)


CI_PAGE = (ROOT / "docs" / "ci.md").read_text(encoding="utf-8")
_COMMAND = r"(?:^|\$ |run: |- |`)(mailer [a-z]+ [^\n`]* [^\n`]*)"
COMMAND_LINES = sorted(
    {
        line
        for document in DOCUMENTS
        if document.name != "CHANGELOG.md"
        for line in re.findall(_COMMAND, document.read_text(encoding="utf-8"), re.MULTILINE)
        if "…" not in line  # shortened
    }
)


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_the_documents_command_lines_are_ones_that_the_command_takes(line: str) -> None:
    words = shlex.split(re.split(r"   #| \|\| | 2>", line)[0], comments=True)[1:]
    command = commands.mailer.commands[words[0]]
    context = click.Context(command, help_option_names=["-h", "--help"])
    _, arguments, order = command.make_parser(context).parse_args(words[1:])
    assert order or arguments


def test_the_ci_examples_are_yaml_with_the_steps_that_are_needed() -> None:
    github, gitlab, check = (
        yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", CI_PAGE, re.DOTALL)
    )
    steps = github["jobs"]["announce"]["steps"]
    send = next(step for step in steps if "mailer send" in step.get("run", ""))
    assert send["env"].keys() >= {"MAILER_SERVER", "MAILER_PASSWORD"}
    assert "cache" not in str(github)
    assert gitlab["notify"].keys() >= {"image", "rules", "before_script", "script"}
    assert "mailer check" in str(check)


def test_the_python_versions_of_ci_are_those_that_the_package_names() -> None:
    matrix = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]["quick"]["strategy"][
        "matrix"
    ]
    named = [
        text.rsplit(" ", 1)[1] for text in PROJECT["project"]["classifiers"] if re.search(r":: 3\.\d+$", text)
    ]
    assert matrix["python"] == named


def test_no_committed_file_names_a_package_index() -> None:
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, check=False, text=True
    ).stdout.split()
    hosts = re.compile("|".join(["py" + "pi", "python" + "hosted", "npm" + "js"]) + r"\.(?:org|com)")
    found = [
        name for name in files if (ROOT / name).is_file() and hosts.search((ROOT / name).read_text("latin-1"))
    ]
    assert found == []


def test_the_locked_requirements_have_a_hash_for_each_version() -> None:
    text = (ROOT / "requirements-dev.txt").read_text()
    versions = re.findall(
        r"^[a-z0-9._-]+==\S+ \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", text, re.M
    )
    assert len(versions) == len(re.findall(r"^[a-z0-9]", text, re.M)) > 30


def test_every_dependency_is_locked() -> None:
    project = PROJECT["project"]
    extras = [
        given for name, given in project["optional-dependencies"].items() if name not in ("all", "bench")
    ]
    named = {
        re.match(r"[\w.-]+", text)[0].lower().replace("_", "-")
        for texts in (project["dependencies"], *extras)
        for text in texts
    }
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / "requirements-dev.txt").read_text(), re.M))
    assert named - locked == set(), "run: make lock"


def test_the_projects_prose_has_no_idiom_that_readers_stumbled_over() -> None:
    assert prose.main([]) == 0, "see above for plainer words"


@pytest.mark.parametrize(
    "text", ["That nobody knows.", "It goes on.", "def test_nobody_gets_it() -> None:", "Here it stands."]
)
def test_idioms_are_found(text: str) -> None:
    assert list(prose.find_idioms(text))


@pytest.mark.parametrize(
    "text", ["nobody@example.com", 'user = "nobody"', "It stands for a reply.", "Say where it is."]
)
def test_values_and_plain_words_are_no_idioms(text: str) -> None:
    assert list(prose.find_idioms(text)) == []

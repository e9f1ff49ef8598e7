"""deploy/: the manifests fit Kubernetes' own schemas, and every command line in them is one that mailer takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from mailer.cli.commands import mailer

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = manifest["spec"]["template"]["spec"]["containers"]
    return found


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_fits_the_schema_of_its_kind(path: Path) -> None:
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    manifest = yaml.safe_load(path.read_text())
    validator.validate(manifest, validator.latest_version(), strict=True)
    with pytest.raises(validator.ValidationError):
        validator.validate(
            {**manifest, "spec": {**manifest["spec"], "replica": 3}}, validator.latest_version(), strict=True
        )


def parse(arguments: list[str]) -> click.Context:
    """The context of a command line, or an error for an option that there is not."""
    name, *rest = [argument.replace("$(", "").replace(")", "") for argument in arguments]
    command = mailer.commands[name]
    return command.make_context(name, rest, resilient_parsing=False)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_the_command_lines_of_the_manifests_are_valid(path: Path, monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv("MAILER_LEDGER", "postgresql://mailer@db/mailer")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "campaigns").mkdir()
    (tmp_path / "campaigns" / "newsletter.yaml").touch()
    for container in containers(yaml.safe_load(path.read_text())):
        environment = {variable["name"] for variable in container["env"]}
        for argument in container["args"]:
            if argument.startswith("$("):
                assert argument[2:-1] in environment
        assert parse(container["args"]).params


def test_the_compose_file_fits_the_schema_of_the_compose_specification(tmp_path: Path) -> None:
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run(
        [*command, str(DEPLOY / "compose.yaml")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout
    broken = tmp_path / "compose.yaml"
    broken.write_text((DEPLOY / "compose.yaml").read_text().replace("replicas: 3", "replica: 3"))
    assert subprocess.run([*command, str(broken)], capture_output=True, check=False).returncode == 1


def test_the_compose_file_has_all_parts_and_valid_command_lines(monkeypatch: Any) -> None:
    monkeypatch.setenv("MAILER_LEDGER", "postgresql://mailer@db/mailer")
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"postgres", "rabbitmq", "worker", "send"}
    for service in services.values():
        assert ("image" in service) != ("build" in service)
        assert set(service.get("depends_on", {})) <= set(services)
    assert parse(services["worker"]["command"]).params["broker"].startswith("amqp://")
    program, command, *options = services["send"]["entrypoint"]
    assert program == "mailer"
    known = {name for option in mailer.commands[command].params for name in option.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert (DEPLOY / "compose.yaml").parent.joinpath(
        services["worker"]["build"]["context"]
    ).resolve() == DEPLOY.parent

"""The JSON Schema for editors says what the loader says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mailer.campaign import json_schema
from mailer.campaign.schema import nodes
from mailer.campaign.schema.compose import compose

CAMPAIGNS = sorted((Path(__file__).parents[3] / "campaigns").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def document(text: str) -> Any:
    node, problems = compose(text, "f")
    assert node is not None
    assert not problems
    return nodes.to_value(node)


MINIMAL = {
    "campaign": "a",
    "from": "a@example.com",
    "subject": "s",
    "text": "t",
    "recipients": ["a@example.com"],
}


def test_the_schema_is_valid_json_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("path", CAMPAIGNS, ids=lambda path: path.name)
def test_the_sample_campaigns_are_valid(path: Path) -> None:
    VALIDATOR.validate(document(path.read_text()))


def test_every_key_has_a_description() -> None:
    def walk(schema: Any) -> None:
        if isinstance(schema, dict):
            for name, entry in schema.get("properties", {}).items():
                assert entry.get("description") or name == "email", name
            for value in schema.values():
                walk(value)
        elif isinstance(schema, list):
            for value in schema:
                walk(value)

    walk(json_schema())


@pytest.mark.parametrize(
    "extra",
    [
        {"server": {"host": "a", "password": {"env": "A"}}},
        {"server": {"host": "a", "password": {"command": "pass show smtp"}}},
        {"delivery": {"rate": None, "window": "auto", "stop_after": None}},
        {"delivery": {"rate": "30/minute", "window": 5, "stop_after": "10%", "timeout": "1.5s"}},
        {"recipients": {"sql": "select", "url": {"env": "DATABASE_URL"}}},
        {"recipients": {"file": "a.csv", "where": "a", "encoding": "utf-8"}},
        {"recipients": "-"},
        {"recipients": [{"email": "a@example.com", "x": [1]}]},
        {"attachments": ["a", {"path": "b", "filename": "c"}]},
        {"vars": {"a": {"env": "B"}, "c": [1, None]}},
        {"ignore": ["a-rule"]},
    ],
)
def test_the_json_schema_accepts_what_the_loader_accepts(extra: dict[str, Any]) -> None:
    VALIDATOR.validate({**MINIMAL, **extra})


@pytest.mark.parametrize(
    "extra",
    [
        {"subjct": "x"},
        {"subject": 5},
        {"server": {"port": 25}},
        {"server": {"host": "a", "password": "hunter2"}},
        {"server": {"host": "a", "password": {"env": "A", "file": "b"}}},
        {"delivery": {"rate": 5}},
        {"delivery": {"timeout": "5"}},
        {"delivery": {"stop_after": "five"}},
        {"images": {"a b": "x"}},
        {"vars": {"image": 1}},
        {"unsubscribe": {"one_click": True}},
        {"recipients": []},
        {"recipients": {"where": "a"}},
        {"dkim": {}},
    ],
)
def test_the_json_schema_refuses_what_the_loader_refuses(extra: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate({**MINIMAL, **extra})


def test_the_loader_accepts_the_defaults_of_the_schema() -> None:
    """Each default that the schema shows is a value that it allows."""
    for name in ("delivery", "server"):
        for key, entry in json_schema()["properties"][name]["properties"].items():
            if "default" in entry:
                jsonschema.Draft202012Validator(entry).validate(entry["default"])
                assert re.fullmatch("[a-z_]+", key)

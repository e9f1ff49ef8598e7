"""What a campaign file can make its reading cost. Work is counted in calls of functions, not in seconds."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

import pytest

from mailer.campaign.load import read_campaign
from mailer.campaign.schema.compose import MAX_PROBLEMS, MAX_VALUES
from mailer.campaign.schema.field_types import MAX_ITEMS
from mailer.errors import InputError

pytestmark = pytest.mark.slow  # each test starts processes, or is about cost

HEAD = "campaign: c\nfrom: a@example.com\nsubject: Hello\ntext: t.j2\n"
CALLS_PER_VALUE = 60  # of Python and C functions
CALLS_PER_PROBLEM = 700  # the nearest known key is looked for

# Files with about `count` values, by what they are full of.
SHAPES: dict[str, Callable[[int], str]] = {
    "rows": lambda count: f"{HEAD}recipients:\n" + "- {email: a@example.com, a: 1}\n" * (count // 5),
    "addresses": lambda count: f"{HEAD}recipients: [{'a@example.com, ' * count}]",
    "vars": lambda count: f"{HEAD}vars: {{{', '.join(f'v{n}: 1' for n in range(count // 2))}}}",
    "nested": lambda count: f"{HEAD}vars: {{x: [{'[[[[]]]], ' * (count // 4)}]}}",
    "aliases": lambda count: f"{HEAD}vars: {{x: &x [1, 2, 3], y: [{'*x, ' * (count // 4)}]}}",
    "unknown keys": lambda count: HEAD + "".join(f"key{n}: 1\n" for n in range(count // 2)),
    "wrong tags": lambda count: f"{HEAD}vars: {{x: [{'!a b, ' * count}]}}",
    "copies": lambda count: f"{HEAD}cc: [{'a@example.com, ' * count}]",
    "headers": lambda count: f"{HEAD}headers: {{{', '.join(f'X-{n}: a' for n in range(count // 2))}}}",
    "unquoted": lambda count: HEAD + "x: {{ a }} b\n" * count,
}


def count_calls(path: Path, text: str) -> int:
    """Return how many functions are called while a campaign file with `text` is read."""
    path.write_text(text)
    calls = 0

    def note(_frame: FrameType, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        with suppress(InputError):
            read_campaign(path)
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.parametrize("shape", SHAPES)
def test_the_work_grows_with_the_file_and_no_faster(tmp_path: Path, shape: str) -> None:
    make, path = SHAPES[shape], tmp_path / "x.yaml"
    count_calls(path, make(100))  # what is made once
    small, large = (count_calls(path, make(count)) for count in (1000, 4000))
    assert large < 4.4 * small
    assert large < CALLS_PER_VALUE * 4000 + CALLS_PER_PROBLEM * MAX_PROBLEMS


@pytest.mark.parametrize("shape", ["rows", "aliases"])
def test_the_work_ends_at_the_limit_of_values(tmp_path: Path, shape: str) -> None:
    make, path = SHAPES[shape], tmp_path / "x.yaml"
    assert count_calls(path, make(3 * MAX_VALUES)) < CALLS_PER_VALUE * MAX_VALUES
    with pytest.raises(InputError, match="more than 100,000 values"):
        read_campaign(path)


@pytest.mark.parametrize(
    ("key", "item"), [("cc", "a@example.com"), ("attachments", "a.pdf"), ("ignore", "a")]
)
def test_a_list_of_templates_has_a_limit(tmp_path: Path, key: str, item: str) -> None:
    path = tmp_path / "x.yaml"
    for count, is_refused in ((MAX_ITEMS, False), (MAX_ITEMS + 1, True)):
        path.write_text(f"{HEAD}recipients: [a@example.com]\n{key}: [{', '.join([item] * count)}]\n")
        text = f"{key}: expected at most 1,000 items, found {count:,}"
        assert any(text in str(problem) for problem in read_campaign(path).problems) == is_refused


def test_a_mapping_of_templates_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    headers = ", ".join(f"X-{number}: a" for number in range(MAX_ITEMS + 1))
    path.write_text(f"{HEAD}recipients: [a@example.com]\nheaders: {{{headers}}}\n")
    assert ":6:10: headers: expected at most 1,000 items" in str(read_campaign(path).problems[0])

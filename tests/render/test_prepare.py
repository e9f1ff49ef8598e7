"""The problems of the campaign file, its templates and its list are shown in one round."""

from pathlib import Path

import pytest

from mailer.errors import InputError
from mailer.render.prepare import prepare_campaign


def test_a_wrong_value_an_undefined_name_and_a_wrong_address_are_shown_together(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("Hello {{ nmae }}\n")
    (tmp_path / "people.csv").write_text("email,name\nada@example.com,Ada\nnot an address,Bob\n")
    path = tmp_path / "c.yaml"
    path.write_text(
        "campaign: c\nfrom: a@example.com\nsubject: s\ntext: t.txt\nrecipients: people.csv\n"
        "delivery: {window: many}\n"
    )
    with pytest.raises(InputError) as caught:
        prepare_campaign(path)
    text = str(caught.value)
    assert "delivery.window" in text
    assert "'nmae' is undefined; did you mean 'name'?, for ada@example.com" in text
    assert "people.csv:3" in text

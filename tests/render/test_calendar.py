from __future__ import annotations

import pytest

from mailer.campaign.model import Calendar
from mailer.errors import RenderError
from mailer.render.calendar import MAX_FOLDED, finish_calendar
from tests.render.projects import Project, content_of, parsed, pattern, person

EVENT = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//example//EN
BEGIN:VEVENT
UID:{{ token }}@example.com
DTSTART:20261214T190000Z
SUMMARY:{{ title }}
ATTENDEE;CN="{{ name }}":mailto:{{ email }}
URL:{{ url|safe }}
END:VEVENT
END:VCALENDAR
"""


def test_an_invitation_is_the_last_alternative(project: Project) -> None:
    project.put("invite.ics.j2", EVENT)
    compiled = project.compile(text="Come", template="<p>Come", calendar=Calendar(pattern("invite.ics.j2")))
    recipient = person(
        token="t1", title="Tea; cake, and\nBEGIN:VALARM", name='Zoë "Z" Łukasz', url="https://e.com/?a=1,2;b"
    )
    for _ in range(20):
        message = parsed(compiled.render(recipient).content)
    *_, part = message.iter_parts()
    assert part["Content-Type"].params["method"] == "REQUEST"
    assert part.get_content_type() == "text/calendar"
    text = content_of(part).replace("\n ", "")
    assert text.startswith("BEGIN:VCALENDAR\nMETHOD:REQUEST\nVERSION:2.0\n")
    assert "SUMMARY:Tea\\; cake\\, and\\nBEGIN:VALARM\n" in text
    assert "ATTENDEE;CN=\"Zoë 'Z' Łukasz\":mailto:ada@example.com\n" in text
    assert "URL:https://e.com/?a=1,2;b\n" in text
    assert text.count("\nBEGIN:") == 1
    assert max(len(line.encode()) for line in content_of(part).splitlines()) <= MAX_FOLDED


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("Hello", "expected an iCalendar object"),
        (
            "BEGIN:VCALENDAR\nMETHOD:CANCEL\nEND:VCALENDAR",
            "its METHOD is CANCEL, and the campaign's calendar.method",
        ),
    ],
)
def test_a_wrong_invitation_is_an_error(project: Project, text: str, problem: str) -> None:
    project.put("invite.ics", text)
    compiled = project.compile(text="Come", calendar=Calendar(pattern("invite.ics", 4)))
    with pytest.raises(RenderError, match=f"^campaign.yaml:4: calendar: {problem}"):
        compiled.render(person())


def test_a_method_that_is_there_stays() -> None:
    text = "BEGIN:VCALENDAR\r\nmethod:request\r\nEND:VCALENDAR\r\n"
    assert finish_calendar(text, "REQUEST") == text.replace("\r\n", "\n")


@pytest.mark.parametrize(
    "end", ["\n", "\r", "\r\n", "\v", "\f", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"]
)
def test_no_line_end_of_a_value_begins_another_property(project: Project, end: str) -> None:
    project.put("invite.ics.j2", EVENT)
    compiled = project.compile(text="Come", calendar=Calendar(pattern("invite.ics.j2")))
    title = f"Tea{end}ATTENDEE:mailto:eve@example.com"
    recipient = person(token="t1", title=title, name="Ada", url=f"https://e.com/{end}ATTACH:x")
    *_, part = parsed(compiled.render(recipient).content).iter_parts()
    lines = content_of(part).replace("\n ", "").split("\n")
    assert "SUMMARY:Tea\\nATTENDEE:mailto:eve@example.com" in lines
    assert sum(line.startswith("ATT") for line in lines) == 1


def test_a_control_character_in_an_invitation_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"a control character \(U\+0001\) cannot be in an iCalendar object"):
        finish_calendar("BEGIN:VCALENDAR\nSUMMARY:a\x01b\nEND:VCALENDAR", "REQUEST")


def test_a_line_separator_of_the_template_is_a_character_of_its_line() -> None:
    text = "BEGIN:VCALENDAR\nMETHOD:REQUEST\nSUMMARY:a\u2028b\nEND:VCALENDAR\n"
    assert finish_calendar(text, "REQUEST") == text

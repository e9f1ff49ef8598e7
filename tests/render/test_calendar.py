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

"""The preview in a real browser: changes on save, errors, hostile messages, proofs, long lists."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from mailer.preview.page import PreviewPage, ProofOutcome
from mailer.preview.session import PreviewSession
from tests.browser.accessibility import find_violations
from tests.browser.devtools import Page
from tests.preview.conftest import CAMPAIGN, write_people

FRAME = "document.querySelector('.device iframe:not(.loading)')"
LETTER = """<!doctype html><html lang="en"><head><title>x</title><style>
body {{ margin: 0; background: #fff; color: #222 }} p {{ margin: 16px }}
@media (prefers-color-scheme: dark) {{ body {{ background: #111 !important; color: #eee }} }}
</style></head><body><h1>{head}</h1>
{{% for n in range(60) %}}<p>Line {{{{ n }}}} for {{{{ name }}}}.</p>{{% endfor %}}</body></html>
"""
Open = Callable[..., PreviewSession]


@pytest.fixture
def proofs() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def open_preview(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, proofs: list[tuple[str, str]]
) -> Iterator[Open]:
    monkeypatch.chdir(tmp_path)
    Path("spring.yaml").write_text(CAMPAIGN)
    Path("letter.html.j2").write_text(LETTER.format(head="Spring"))
    write_people(tmp_path, 12)

    def send_proof(address: str, recipient: str) -> ProofOutcome:
        proofs.append((address, recipient))
        return ProofOutcome(address != "bad@example.com", f"The answer for {address}.")

    with ExitStack() as stack:

        def open_preview(proof_server: str | None = "smtp.example.com:465") -> PreviewSession:
            session = PreviewSession(Path("spring.yaml"), {})
            preview = PreviewPage(session, send_proof=send_proof, proof_server=proof_server)
            stack.callback(preview.web.stop)
            stack.callback(session.close)
            session.start()
            preview.web.start()
            page.evaluate("void 0")
            page.open(preview.web.url)
            page.wait_for("document.documentElement?.dataset.ready === 'true'")
            return session

        yield open_preview


def text_of(page: Page, selector: str) -> str:
    text: str = page.evaluate(f"document.querySelector({selector!r}).innerText")
    return text


def wait_for_frame(page: Page, text: str) -> None:
    page.wait_for(f"{FRAME}?.contentDocument?.body?.innerText.includes({text!r})")


def test_a_change_is_shown_when_it_is_saved_and_the_page_keeps_its_place(
    page: Page, open_preview: Open
) -> None:
    open_preview()
    wait_for_frame(page, "Line 59 for Person 0")
    page.evaluate("document.querySelector('.stage').scrollTop = 500")
    Path("letter.html.j2").write_text(LETTER.format(head="Summer"))
    wait_for_frame(page, "Summer")
    assert page.evaluate("document.querySelector('.stage').scrollTop") == 500
    Path("people.csv").write_text("email,name,code\nz@example.com,Zofia,1\n")
    wait_for_frame(page, "for Zofia")
    assert text_of(page, "#progress") == "1 recipient"
    assert page.complaints() == []


def test_an_error_is_shown_with_its_lines_in_front_of_the_last_good_message(
    page: Page, open_preview: Open
) -> None:
    open_preview()
    wait_for_frame(page, "Spring")
    Path("letter.html.j2").write_text("<p>\n{{ nosuch }}\n</p>")
    page.wait_for("!document.getElementById('errors').hidden")
    assert "letter.html.j2:2" in text_of(page, "#errors .place")
    assert "{{ nosuch }}" in text_of(page, "#errors .here")
    wait_for_frame(page, "Spring")
    assert find_violations(page, without=("iframe",)) == []
    Path("letter.html.j2").write_text(LETTER.format(head="Recovered"))
    wait_for_frame(page, "Recovered")
    page.wait_for("document.getElementById('errors').hidden")


def test_an_error_of_the_campaign_file_is_shown_and_goes(page: Page, open_preview: Open) -> None:
    Path("spring.yaml").write_text(CAMPAIGN + "subjekt: x\n")
    open_preview()
    page.wait_for("!document.getElementById('errors').hidden")
    assert "spring.yaml:6" in text_of(page, "#errors .place")
    assert text_of(page, "#errors h2") == "The campaign cannot be used"
    assert page.evaluate("document.getElementById('viewer').hidden")
    assert find_violations(page) == []
    Path("spring.yaml").write_text(CAMPAIGN)
    wait_for_frame(page, "Spring")
    page.wait_for("document.getElementById('errors').hidden")


def test_the_message_is_shown_at_each_width_and_in_the_dark(page: Page, open_preview: Open) -> None:
    open_preview()
    wait_for_frame(page, "Spring")
    for width, pixels in (("phone", 375), ("tablet", 768), ("desktop", 1024)):
        page.evaluate(f"document.querySelector('[data-value={width}]').click()")
        page.wait_for(f"{FRAME}?.contentWindow.innerWidth === {pixels}")
    page.evaluate("document.querySelector('[data-value=dark]').click()")
    page.wait_for(f"getComputedStyle({FRAME}.contentDocument.body).backgroundColor === 'rgb(17, 17, 17)'")


def test_keys_search_and_jumps_choose_a_recipient(page: Page, open_preview: Open) -> None:
    write_people(Path(), 12, lambda n: "A very long name indeed" if n == 9 else f"Person {n}")
    open_preview()
    wait_for_frame(page, "for Person 0")
    page.press("ArrowDown", 40)
    wait_for_frame(page, "for Person 1")
    page.evaluate("document.querySelector('#rows [aria-current]').focus()")
    page.press("ArrowDown", 40)
    wait_for_frame(page, "for Person 2")
    assert page.evaluate("document.activeElement.dataset.position") == "2"
    page.press("ArrowUp", 38)
    wait_for_frame(page, "for Person 1")
    page.evaluate("document.querySelector('[data-jump=longest]').click()")
    wait_for_frame(page, "for A very long name indeed")
    page.evaluate("document.getElementById('find').value = 'person 11'")
    page.evaluate("document.getElementById('find').dispatchEvent(new Event('input'))")
    page.wait_for("document.querySelectorAll('#rows button').length === 1")
    page.evaluate("document.querySelector('#rows button').click()")
    wait_for_frame(page, "for Person 11")


def test_the_next_error_is_found(page: Page, open_preview: Open) -> None:
    Path("letter.html.j2").write_text("<p>{{ name }} {{ 1 // (code|int - 7) }}</p>")
    open_preview()
    wait_for_frame(page, "Person 0")
    page.evaluate("document.querySelector('[data-jump=failing]').click()")
    page.wait_for("!document.getElementById('errors').hidden")
    assert page.evaluate("document.querySelector('#rows [aria-current]').dataset.position") == "7"


def test_a_hostile_template_does_nothing(page: Page, open_preview: Open) -> None:
    Path("letter.html.j2").write_text(
        "<html><body onload=\"top.document.title='owned'\"><p>Hello</p><script>top.document.title='owned'</script>"
        "<img src='https://x.invalid/x.png' onerror=\"top.document.title='owned'\">"
        "<form action='/clear'><button>go</button></form>"
        "<iframe src='/'></iframe><a id=link href=\"javascript:top.document.title='owned'\">a</a></body></html>"
    )
    open_preview()
    wait_for_frame(page, "Hello")
    page.evaluate(f"{FRAME}.contentDocument.getElementById('link').click()")
    page.evaluate(f"{FRAME}.contentDocument.querySelector('button').click()")
    page.evaluate("new Promise(done => setTimeout(done, 200))")
    assert page.evaluate("document.title") == "spring · mailer preview"


def test_a_proof_is_sent_after_a_confirmation_and_its_outcome_is_shown(
    page: Page, open_preview: Open, proofs: list[tuple[str, str]]
) -> None:
    open_preview()
    wait_for_frame(page, "Spring")
    page.evaluate("document.getElementById('prove').click()")
    page.wait_for("document.getElementById('proof').open")
    assert "p0@example.com is sent to one address, by smtp.example.com:465" in text_of(page, "#proof-text")
    assert proofs == []
    page.evaluate("document.getElementById('address').value = 'me@example.com'")
    page.evaluate("document.getElementById('proof-send').click()")
    page.wait_for("document.getElementById('outcome').innerText === 'The answer for me@example.com.'")
    assert proofs == [("me@example.com", "p0@example.com")]
    assert find_violations(page, without=("iframe",)) == []
    page.evaluate("document.getElementById('address').value = 'bad@example.com'")
    page.evaluate("document.getElementById('proof-send').click()")
    page.wait_for("document.getElementById('outcome').classList.contains('bad')")
    page.evaluate("document.getElementById('proof-close').click()")
    page.evaluate("window.isOld = true; location.reload()")
    page.wait_for("!window.isOld && document.documentElement?.dataset.ready === 'true'")
    page.evaluate("document.getElementById('prove').click()")
    page.wait_for("document.getElementById('address').value === 'bad@example.com'")


def test_a_proof_without_a_server_says_how_to_name_one(page: Page, open_preview: Open) -> None:
    open_preview(proof_server=None)
    wait_for_frame(page, "Spring")
    page.evaluate("document.getElementById('prove').click()")
    page.wait_for("document.getElementById('proof').open")
    assert "--server" in text_of(page, "#proof-text")
    assert page.evaluate("document.getElementById('proof-send').disabled")
    assert find_violations(page, without=("iframe",)) == []


def test_on_a_phone_a_chosen_recipient_is_shown(page: Page, open_preview: Open) -> None:
    page.size(390, 844)
    open_preview()
    wait_for_frame(page, "Spring")
    page.evaluate("document.querySelector('[data-pane=people]').click()")
    page.evaluate("document.querySelector('#rows [data-position=\"3\"]').click()")
    wait_for_frame(page, "for Person 3")
    assert page.evaluate("document.getElementById('app').dataset.pane") == "reader"


NAMES = [
    "عبد الرحمن بن محمد بن عبد العزيز آل سعود القحطاني",
    "Donaudampfschiff" * 20,
    "harmless \u202egnp.exe",
]


@pytest.mark.parametrize("width", [390, 1280])
def test_extreme_texts_fit_and_are_accessible(page: Page, open_preview: Open, width: int) -> None:
    copies = ", ".join(f"boss{n}@example.com" for n in range(30))
    Path("spring.yaml").write_text(
        CAMPAIGN.replace("Hello {{ name }}", "A subject that does not end " * 12)
        + f'to: "{{{{ name }}}}"\ncc: [{copies}]\nattachments: [a.pdf, b.pdf, c.pdf, d.pdf, e.pdf, f.pdf]\n'
    )
    for name in "abcdef":
        Path(f"{name}.pdf").write_bytes(b"%PDF-1.4")
    write_people(Path(), len(NAMES), lambda n: NAMES[n])
    page.size(width, 844)
    open_preview()
    for position in range(len(NAMES)):
        if width == 390:
            page.evaluate("document.querySelector('[data-pane=people]').click()")
            assert page.evaluate("document.getElementById('people').offsetWidth") <= width
        page.evaluate(f"document.querySelector('#rows [data-position=\"{position}\"]').click()")
        page.wait_for(f"{FRAME}?.src.includes('/{position}/html')")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelector('.top').offsetHeight") < 420
        assert find_violations(page, without=("iframe",)) == []
    assert "\\u202egnp.exe" in text_of(page, "#rows li:last-child .who")


def test_a_list_of_a_hundred_thousand_is_paged(page: Page, open_preview: Open) -> None:
    write_people(Path(), 100_000)
    open_preview()
    wait_for_frame(page, "for Person 0")
    page.wait_for("document.getElementById('progress').innerText === '100,000 recipients'")
    assert page.evaluate("document.querySelectorAll('#rows button').length") == 100
    page.evaluate("document.getElementById('later').click()")
    page.wait_for("document.querySelector('#rows button').dataset.position === '100'")
    page.evaluate("document.getElementById('find').value = 'person 99999'")
    page.evaluate("document.getElementById('find').dispatchEvent(new Event('input'))")
    page.wait_for("document.querySelectorAll('#rows button').length === 1")
    page.evaluate("document.querySelector('#rows button').click()")
    wait_for_frame(page, "for Person 99999")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_it_fits_the_window_and_is_accessible(
    page: Page, open_preview: Open, width: int, scheme: str
) -> None:
    page.size(width, 844)
    page.prefer(scheme)
    open_preview()
    wait_for_frame(page, "Spring")
    panes = ("people", "notes", "reader") if width < 900 else ()
    for pane in ("", *panes):
        if pane:
            page.evaluate(f"document.querySelector('[data-pane={pane}]').click()")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert find_violations(page, without=("iframe",)) == []
    assert page.complaints() == []

"""The Python API, as contract section 5 has it."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import mailer
from mailer.errors import InputError, ServerError
from mailer.sandbox import Sandbox

CAMPAIGN = """\
campaign: spring
from: ada@example.com
subject: "Hello {{ name }}"
text: text.j2
recipients:
  - {email: bob@example.com, name: Bob}
  - {email: zoe@example.com, name: Zoë}
"""


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.j2").write_text("Hello {{ name }}\n")
    path = tmp_path / "spring.yaml"
    path.write_text(CAMPAIGN)
    return path


@pytest.fixture
def refusing(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(
        maildir=tmp_path / "caught",
        refuse=lambda address: "550 5.1.1 no" if address.startswith("bob") else None,
    )
    sandbox.start()
    yield sandbox
    sandbox.stop()


def test_the_stub_names_what_the_package_has() -> None:
    stub = Path(mailer.__file__).with_suffix(".pyi").read_text()
    said = {
        alias.asname
        for node in ast.walk(ast.parse(stub))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert said == set(mailer.__all__)
    assert set(mailer.__all__) <= set(dir(mailer))
    for name in mailer.__all__:
        assert getattr(mailer, name) is not None


def test_an_unknown_name() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sned'"):
        mailer.sned  # type: ignore[attr-defined]  # noqa: B018


def test_importing_it_imports_nothing_else() -> None:
    script = "import mailer, sys; print(sorted(name for name in sys.modules if name.startswith(('mailer', 'jinja2'))))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.strip() == "['mailer', 'mailer._version']"


def test_send_and_async_send_take_the_same() -> None:
    from mailer import api

    assert inspect.signature(api.send) == inspect.signature(api.async_send)


def test_a_campaign_is_sent_once_and_its_report_can_be_read_again(path: Path, sandbox: Sandbox) -> None:
    campaign = mailer.load_campaign(path)
    report = mailer.send(campaign, server=f"smtps://sandbox@127.0.0.1:{sandbox.port}", password=sandbox.password,
                         ca_file=sandbox.ca_file)  # fmt: skip
    assert (report.counts.sent, report.counts.total, report.failed()) == (2, 2, [])
    assert [outcome.email for outcome in report.recipients] == ["bob@example.com", "zoe@example.com"]
    assert [outcome.email for outcome in report.recipients] == ["bob@example.com", "zoe@example.com"]
    assert report.ending == "complete"
    assert len(sandbox.messages) == 2
    again = mailer.send(campaign, server=sandbox.url, ca_file=sandbox.ca_file)
    assert (again.counts.sent, len(sandbox.messages)) == (2, 2)


def test_a_refused_recipient_is_in_the_report(path: Path, refusing: Sandbox) -> None:
    report = mailer.send(
        mailer.load_campaign(path), server=refusing.url, ca_file=refusing.ca_file, ledger="x.sqlite3"
    )
    assert (report.counts.sent, report.counts.failed, report.ending) == (1, 1, "incomplete")
    assert [(outcome.email, outcome.code) for outcome in report.failed()] == [("bob@example.com", 550)]


def test_async_send_sends_within_a_running_loop(path: Path, sandbox: Sandbox) -> None:
    async def main() -> int:
        campaign = mailer.load_campaign(path)
        report = await mailer.async_send(
            campaign, server=sandbox.url, ca_file=sandbox.ca_file, rate="100/second", limit=1
        )
        return report.counts.sent

    assert asyncio.run(main()) == 1


def test_send_within_a_loop_says_what_to_do(path: Path) -> None:
    async def main() -> None:
        mailer.send(mailer.load_campaign(path), server="smtp://127.0.0.1:1")

    with pytest.raises(RuntimeError, match=r"await mailer\.async_send"):
        asyncio.run(main())


def test_wrong_input_and_an_unusable_server_raise_their_errors(
    path: Path, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mailer.delivery.reconnect.MIN_CONNECT_SECONDS", 0.0)  # of trying to connect
    campaign = mailer.load_campaign(path)
    with pytest.raises(InputError, match="no server is named"):
        mailer.send(campaign)
    with pytest.raises(InputError, match="rate 'fast'"):
        mailer.send(campaign, server=sandbox.url, rate="fast")
    with pytest.raises(ServerError) as caught:
        mailer.send(
            campaign,
            server=f"smtps://sandbox@127.0.0.1:{sandbox.port}",
            password="Zq9",
            ca_file=sandbox.ca_file,
        )
    assert "Zq9" not in str(caught.value)
    with pytest.raises(ServerError):
        mailer.send(campaign, server="smtp://127.0.0.1:1")
    assert sandbox.messages == []


def test_a_proof_gives_its_own_report_with_a_message_id_of_its_own(path: Path, sandbox: Sandbox) -> None:
    campaign = mailer.load_campaign(path)
    given = {"server": sandbox.url, "ca_file": sandbox.ca_file, "ledger": path.parent / "never" / "l.sqlite3"}
    first = mailer.send(campaign, proof="me@example.org", **given)  # type: ignore[arg-type]
    second = mailer.send(campaign, proof="me@example.org", **given)  # type: ignore[arg-type]
    assert (first.counts.total, first.counts.sent, first.ending) == (1, 1, "complete")
    (row,) = first.recipients
    assert (row.email, row.status, row.code) == ("me@example.org", "sent", 250)
    assert "250" in str(first.reason)
    assert first.server is not None
    assert first.server.sessions == 1
    ids = [message.message_id for message in (*first.recipients, *second.recipients)]
    assert len(set(ids)) == 2
    assert not (path.parent / "never").exists()  # nothing of it is recorded


@pytest.mark.parametrize(
    "wrong",
    [
        {"limit": 0}, {"limit": "3"}, {"limit": True}, {"limit": 1.5}, {"window": -1}, {"window": 0},
        {"connections": 0}, {"connections": "many"}, {"in_doubt": "perhaps"}, {"rate": "fast"}, {"only": 7},
        {"proof": 7}, {"proof": "a@example.com\nb"}, {"password": 7}, {"strategy": "fast"},
    ],
)  # fmt: skip
def test_a_wrong_argument_is_refused_by_name_before_anything_is_sent(
    path: Path, sandbox: Sandbox, wrong: dict[str, Any]
) -> None:
    campaign = mailer.load_campaign(path)
    (name,) = wrong
    with pytest.raises(InputError, match=rf"{name}\b.*: expected|{name}.* is not an address"):
        mailer.send(campaign, server=sandbox.url, ca_file=sandbox.ca_file, **wrong)  # type: ignore[arg-type]
    assert sandbox.messages == []


def test_the_document_names_everything_public_and_nothing_else() -> None:
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)", row)}
    assert named == set(mailer.__all__) - {"__version__"}


def test_the_documents_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "invoice.txt.j2").write_text("Invoice {{ number }} for {{ email }}\n")
    text = (Path(__file__).parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(examples) == 3
    rows = [SimpleNamespace(email=f"person{n}@example.com", number=n) for n in range(3)]
    scope: dict[str, Any] = {"rows": rows}
    for example in examples[1:]:  # the first one needs a server
        exec(example, scope)
    assert scope["report"].counts.sent == 3
    assert b"Invoice 7" in scope["message"].content


def test_a_sandbox_misbehaves_as_its_arguments_say(path: Path) -> None:
    campaign = mailer.load_campaign(path)
    with mailer.sandbox(
        fail=["rcpt=550 5.1.1 Unknown:^bob"], chunking=False, delay="1ms", drop=0.0
    ) as server:
        report = mailer.send(campaign, server=server.url, ca_file=server.ca_file, password=server.password)
        assert len(server.messages) == report.counts.sent == report.counts.total - 1
    assert [(outcome.email, outcome.code) for outcome in report.failed()] == [("bob@example.com", 550)]
    assert report.server is not None
    assert report.server.strategy == "pipelined"


def test_a_wrong_argument_of_a_sandbox_is_an_error_before_it_starts() -> None:
    for wrong in ({"fail": ["200"]}, {"delay": -1.0}, {"delay": "soon"}, {"drop": 2.0}, {"drop": "x"}):
        with pytest.raises(ValueError):
            mailer.sandbox(**wrong)  # type: ignore[arg-type]


def test_functions_with_the_name_of_a_package_are_functions_whatever_was_imported_before() -> None:
    script = "import mailer.render.compile, mailer.sandbox; from mailer import render, sandbox; print(render, sandbox)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    assert done.stdout.count("<function ") == 2


def test_check_raises_with_every_problem_and_returns_the_warnings(path: Path) -> None:
    campaign = mailer.load_campaign(path)
    assert {finding.rule for finding in mailer.check(campaign)} == {"unsubscribe-missing"}
    path.write_text(path.read_text() + "  - eve@example.com\n  - nonsense\n")
    with pytest.raises(InputError) as caught:
        mailer.check(mailer.load_campaign(path))
    assert len(caught.value.problems) == 3  # of two rows; one of them in the subject and in the text


def test_render_takes_a_recipient_who_is_not_in_the_list(path: Path) -> None:
    message = mailer.render(mailer.load_campaign(path), {"email": "new@example.com", "name": "New"})
    assert message.recipients == ("new@example.com",)
    assert b"Subject: Hello New\r\n" in message.content
    with pytest.raises(InputError):
        mailer.render(mailer.load_campaign(path), {"email": "nonsense", "name": "New"})
    with pytest.raises(InputError, match="name"):
        mailer.render(mailer.load_campaign(path), {"email": "new@example.com"})


def test_a_report_can_be_read_by_the_campaign_or_by_its_name(path: Path, sandbox: Sandbox) -> None:
    campaign = mailer.load_campaign(path)
    with pytest.raises(mailer.LedgerError):
        mailer.read_report(campaign)
    mailer.send(campaign, server=sandbox.url, ca_file=sandbox.ca_file)
    for report in (
        mailer.read_report(campaign),
        mailer.read_report("spring"),
        mailer.read_report("spring", edition=1),
    ):
        assert [outcome.status for outcome in report.recipients] == [mailer.Status.SENT] * 2
    with pytest.raises(InputError, match="no campaign 'autumn'"):
        mailer.read_report("autumn")


@pytest.mark.parametrize(
    "arguments",
    [{"limit": 0}, {"limit": -1}, {"window": -1}, {"window": 0}, {"connections": 0}, {"rate": "-1/second"}],
)
def test_wrong_arguments_raise_before_anything_is_sent(
    path: Path, sandbox: Sandbox, arguments: dict[str, Any]
) -> None:
    with pytest.raises((ValueError, InputError)):
        mailer.send(mailer.load_campaign(path), server=sandbox.url, ca_file=sandbox.ca_file, **arguments)
    assert sandbox.messages == []


def test_an_unknown_argument_is_a_type_error(path: Path, sandbox: Sandbox) -> None:
    unknown: Any = {"windows": 3}
    with pytest.raises(TypeError, match="windows"):
        mailer.send(mailer.load_campaign(path), server=sandbox.url, ca_file=sandbox.ca_file, **unknown)


def test_an_observer_that_raises_changes_nothing(path: Path, sandbox: Sandbox) -> None:
    class Raising(mailer.Observer):
        def on_outcome(self, outcome: mailer.Outcome) -> None:
            raise RuntimeError("an observer's mistake")

    report = mailer.send(
        mailer.load_campaign(path), server=sandbox.url, ca_file=sandbox.ca_file, observer=Raising()
    )
    assert (report.counts.sent, len(sandbox.messages)) == (2, 2)


def test_a_cancelled_send_is_continued_by_the_next_one(path: Path, sandbox: Sandbox) -> None:
    campaign = mailer.load_campaign(path)

    async def cancel() -> None:
        task = asyncio.ensure_future(
            mailer.async_send(campaign, server=sandbox.url, ca_file=sandbox.ca_file, rate="1/minute")
        )
        while len(sandbox.messages) < 1:
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    report = mailer.send(campaign, server=sandbox.url, ca_file=sandbox.ca_file)
    assert report.counts.sent == 2
    assert len(sandbox.messages) in (
        2,
        3,
    )  # the message in flight when the task was cancelled may be there twice


def test_an_empty_ledger_is_not_the_default_one(path: Path) -> None:
    with pytest.raises(InputError, match="ledger: expected a path"):
        mailer.send(mailer.load_campaign(path), server="smtp://127.0.0.1:1", ledger="")

"""Fuzz targets: each parser against text and bytes that are nearly right. `make soak` gives each a minute.

A target takes its dice and tries one input; what it may raise is caught in it, and whatever else it raises is a find.
An input is told by its seed, so that `python -m tests.fuzz NAME --seed SEED` tries it again. Beside the property tests,
which hypothesis keeps small, these run long, and every input has a time it may take.
"""
# ruff: noqa: PT017 - these are no tests: an error that may come is looked at

from __future__ import annotations

import argparse
import contextlib
import email
import email.policy
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from mailer.bounded_process import ProcessLimits, run_bounded
from mailer.campaign import check_address, load_campaign
from mailer.campaign.named_file import NamedFile
from mailer.campaign.sources.source import FileSource, Format
from mailer.errors import InputError, Place, ProtocolViolation
from mailer.idna import encode_address
from mailer.render import headers
from mailer.render.body import BodyEncoder
from mailer.smtp.protocol.reply import Reply, ReplyParser
from mailer.templating import create_environment, describe_error, render_pattern
from mailer.text import UNPRINTABLE, make_printable

MAX_SECONDS = 5.0  # of one input; templates are stopped after one

Dice = random.Random

CAMPAIGN = """\
campaign: "a-{{ v }}"
from: "Ada <a@example.com>"
cc: [b@example.com, "{{ boss }}"]
subject: "Hello {{ name }}"
text: a.txt
vars: &v {v: 1, w: [0x1F, .inf, 1e9, NO, 01234], e: {env: HOME}}
headers: {X-Team: growth}
unsubscribe: {url: "https://example.com/{{ t }}", one_click: true}
recipients:
  - a@example.com
  - {email: b@example.com, name: "Zo\\u00eb", x: *v}
server: {host: smtp.example.com, port: 465, username: u, password: {env: X}}
delivery: {rate: 30/minute, backoff: {first: 1s, most: 5m}, stop_after: 10%}
"""
CSV = 'email;name;note\r\na@example.com;Ada;"two\nlines ""quoted"""\r\n\r\nb@example.com;Bob;\r\n'
JSON = (
    '[{"email": "a@example.com", "n": [1, -2.5e3, null, true, "\\u00e9\\ud83d\\ude00"]},\n "b@example.com"]'
)
JSONL = '{"email": "a@example.com", "n": {"x": [1, 2]}}\n\n"b@example.com"\n'
PEOPLE = "- a@example.com\n- &a {email: b@example.com, tags: [x, 'y', \"z\"]}\n- *a\n- email: c@example.com\n  n: |\n    t\n"
ADDRESS = [
    '"a b"@example.com',
    "zoë@bücher.example",
    "a.b+c@sub.example.co.uk",
    "x@xn--4ca.de",
    "a@localhost",
]
TEMPLATE = (
    "{% macro m(a, b=2) %}{{ a ~ b }}{% endmacro %}{% set ns = namespace(x='a') %}{% for i in range(9) if i is odd %}"
    "{{ loop.index }}{{ m(i) }}{% set ns.x = ns.x * 2 %}{% else %}no{% endfor %}{{ ns.x|upper|replace('A', name) }}"
    "{{ '%05d' % 7 }}{{ '{:>{w}}'.format(name, w=9) }}{{ [1, 2]|map('string')|join('-') }}{{ {'k': 2 ** 9}.items() }}"
    "{% if name and not missing is defined %}{{ name[1:]|center(20)|wordwrap(3) }}{% endif %}{{ rows|sort|groupby(0) }}"
)
REPLY = (
    b"220 mail.example.com ESMTP\r\n250-mail\r\n250-SIZE 100\r\n250 PIPELINING\r\n"
    b"550 5.1.1 no such user\r\n421 \xff\r\n"
)
# fmt: off
TEXTS = ["", "a", " ", "\t", "\n", "\r", "\r\n", ".", "=", "=?utf-8?q?x?=", "é", "王", "👩‍👩‍👧", "\u202e", "\u2028",
         "\0", "x" * 99, "?", "_", "From ", "\ud800", "\x1b[31m", ",", '"', "<a@b.de>", "--", "e\u0301",
         "\ufeff", "\x85"]
PIECES = [b"{", b"}", b"[", b"]", b'"', b"'", b"\n", b"\r", b"\t", b":", b"- ", b"&a ", b"*a", b"!!str ", b"{{", b"}}",
          b"{% for i in range(99999) %}", b"\0", b"\xff\xfe", b"\xc3", b"\xed\xa0\x80", b"9" * 500, b"1e999",
          b"[" * 200, b"(" * 300, b"\xef\xbb\xbf", b"__class__", b"|join", b"**9", b"250-", b"334 ", b"\r\n",
          b"x" * 5000, b"\\ud800", b"---\n", b"? ", b"|\n", b">", b"#", b",", b";", b"@", b"* 10 ** 9", b"~"]
PARTS = [b"<", b">", b"&a;", b'"', b"-1", b"9" * 12, b"1e999", b"\0", b"<v>", b"A1", b"ZZZ9", b't="s"', b"</row>"]
# fmt: on


def disturbed(dice: Dice, seed: bytes, pieces: Sequence[bytes] = PIECES) -> bytes:
    """`seed` with a few pieces put in, cut out, doubled or moved."""
    for _ in range(dice.randint(1, 6)):
        start = dice.randrange(len(seed) + 1)
        end = min(len(seed), start + int(dice.expovariate(0.1)))
        match dice.randrange(4):
            case 0:
                seed = seed[:start] + dice.choice(pieces) + seed[start:]
            case 1:
                seed = seed[:start] + seed[end:]
            case 2:
                seed = seed[:end] + seed[start:end] * dice.randint(1, 5) + seed[end:]
            case _:
                seed = (
                    seed[:start] + bytes(dice.randrange(256) for _ in range(dice.randint(1, 3))) + seed[end:]
                )
    return seed


def _read(name: str, form: Format, content: bytes) -> None:
    """The rows of a list, each with its place; or an error with one."""
    with TemporaryDirectory(prefix="fuzz-") as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        try:
            for recipient in FileSource(NamedFile(path, name), form):
                assert recipient.place.file == name
                assert recipient.problem or check_address(recipient.email) == recipient.email
                json.dumps(recipient.columns, ensure_ascii=False).encode("utf-8", "surrogatepass")
        except InputError as error:
            _check_error(error, name)


def _check_error(error: InputError, name: str) -> None:
    for problem in error.problems:
        assert make_printable(str(problem)) == str(problem)
        if problem.place is None:
            assert problem is error.problems[-1]
            assert re.fullmatch(r"and [0-9,]+ more", problem.text)
        else:
            assert problem.place.file == name


def yaml(dice: Dice) -> None:
    with TemporaryDirectory(prefix="fuzz-") as folder, contextlib.chdir(folder):
        Path("c.yaml").write_bytes(disturbed(dice, CAMPAIGN.encode()))
        try:
            list(load_campaign("c.yaml").recipients)
        except InputError as error:
            assert all(problem.place is not None and "\n" not in str(problem) for problem in error.problems)
    _read("p.yaml", "yaml", disturbed(dice, PEOPLE.encode()))


def csv(dice: Dice) -> None:
    encoding = dice.choice(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    _read("p.csv", "csv", disturbed(dice, CSV.encode(encoding)))
    _read("p.tsv", "tsv", disturbed(dice, CSV.replace(";", "\t").encode(encoding)))


def json_lists(dice: Dice) -> None:
    _read("p.json", "json", disturbed(dice, JSON.encode()))
    _read("p.jsonl", "jsonl", disturbed(dice, JSONL.encode()))


@cache
def _workbook() -> bytes:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["email", "n", "d"], ["a@example.com", 1.5, "x"], ["b@example.com", True, None]):
        book.active.append(row)
    content = io.BytesIO()
    book.save(content)
    return content.getvalue()


def xlsx(dice: Dice) -> None:
    if dice.random() < 0.4:
        _read("p.xlsx", "xlsx", disturbed(dice, _workbook()))
        return
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(_workbook())) as old,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as new,
    ):
        chosen = dice.choice(old.namelist())
        for name in old.namelist():
            new.writestr(name, disturbed(dice, old.read(name), PARTS) if name == chosen else old.read(name))
    _read("p.xlsx", "xlsx", content.getvalue())


def addresses(dice: Dice) -> None:
    text = disturbed(
        dice, dice.choice(ADDRESS).encode(), [*PIECES, *(t.encode("utf-8", "ignore") for t in TEXTS)]
    )
    try:
        address = check_address(text.decode("utf-8", "replace"))
    except ValueError as error:
        assert "\n" not in str(error)
    else:
        assert check_address(address) == address
        assert not re.search("[\x00-\x1f\x7f-\x9f\u2028\u2029]", address)
        assert len(address.encode()) <= 320
        assert encode_address(address).count("@") >= 1


def templates(dice: Dice) -> None:
    source = disturbed(dice, TEMPLATE.encode()).decode("utf-8", "replace")
    variables = {"name": "Ada <&>", "rows": [(1, "a"), (0, "b")]}
    try:
        environment = create_environment(autoescape=dice.random() < 0.5)
        made = run_bounded(
            lambda: environment.from_string(source).render(variables), ProcessLimits(seconds=1.0)
        )
        assert isinstance(made, str)
    except Exception as error:
        assert "\n" not in describe_error(error)
        if isinstance(error, AssertionError):
            raise
    with contextlib.suppress(InputError):
        render_pattern(source[: dice.randrange(200)], variables, Place("c.yaml", 3, 1))


def replies(dice: Dice) -> None:
    data = disturbed(dice, REPLY * dice.randint(1, 3))
    cuts = sorted(dice.randrange(len(data) + 1) for _ in range(dice.randint(0, 6)))
    split = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)]
    whole = _parsed([data])
    assert whole == _parsed(split) == _parsed([bytes([octet]) for octet in data])


def _parsed(chunks: Sequence[bytes]) -> list[Reply | str]:
    parser, found = ReplyParser(), list[Reply | str]()
    try:
        for chunk in chunks:
            parser.feed(chunk)
            while (reply := parser.next_reply()) is not None:
                assert 200 <= reply.code < 600
                assert not any(map(UNPRINTABLE.search, reply.lines))
                found.append(reply)
    except ProtocolViolation as error:
        found.append(type(error).__name__)
    return found


def mime(dice: Dice) -> None:
    """A subject, a name and a body, as the standard library's parser reads them back."""
    subject, name, body = ("".join(dice.choices(TEXTS, k=dice.randint(0, 40))) for _ in range(3))
    fields = []
    for make in (
        lambda: headers.format_unstructured("Subject", subject),
        lambda: headers.format_mailboxes("To", [(name.strip(), "a@example.com")]),
    ):
        try:
            fields.append(make())
        except ValueError:
            fields.append(b"")
    try:
        encoded = BodyEncoder(b"=_mark").encode(body, eight_bit=dice.random() < 0.5)
    except ValueError:
        assert "\0" in body or "\ud800" in body
        return
    fields.append(b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n")
    fields.append(b"Content-Transfer-Encoding: " + encoded.encoding + b"\r\n\r\n")
    content = b"".join(fields) + encoded.content
    assert all(len(line) <= 998 for line in content.split(b"\r\n"))
    message: Any = email.message_from_bytes(content, policy=email.policy.default)
    assert not message.defects
    sent = body.replace("\r\n", "\n").replace("\r", "\n")
    assert message.get_payload(decode=True).decode().replace("\r\n", "\n") == sent
    assert len(message.keys()) == 3 + bool(fields[0]) + bool(fields[1])
    if fields[1]:
        assert [box.addr_spec for box in message["To"].addresses] == ["a@example.com"]


TARGETS: dict[str, Callable[[Dice], None]] = {
    "yaml": yaml,
    "csv": csv,
    "json": json_lists,
    "xlsx": xlsx,
    "addresses": addresses,
    "templates": templates,
    "replies": replies,
    "mime": mime,
}


def seeds(dice: Dice, seconds: float) -> Iterator[int]:
    end = monotonic() + seconds
    while monotonic() < end:
        yield dice.randrange(1 << 48)


def run(name: str, seconds: float) -> int:
    """How many inputs were tried; AssertionError with the seed of the one that the target cannot take."""
    tried = 0
    for tried, seed in enumerate(seeds(random.Random(), seconds), 1):  # noqa: B007 - what is left is the count
        one(name, seed)
    return tried


def one(name: str, seed: int) -> None:
    began = monotonic()
    try:
        TARGETS[name](random.Random(seed))
    except Exception as error:
        raise AssertionError(
            f"python -m tests.fuzz {name} --seed {seed}: {type(error).__name__}: {error}"
        ) from error
    took = monotonic() - began
    assert took < MAX_SECONDS, f"python -m tests.fuzz {name} --seed {seed}: it took {took:.1f} s"


def run_command(
    description: str,
    targets: Collection[str],
    run_seconds: Callable[[str, float], int],
    try_one: Callable[[str, int], None],
) -> None:
    """Run the targets that the command line names, for some seconds each or with one seed."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(targets)}; all by default")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each target")
    parser.add_argument("--seed", type=int, help="one input again")
    given = parser.parse_args()
    for name in given.names or targets:
        if given.seed is not None:
            try_one(name, given.seed)
        else:
            print(f"{name}: ", end="", flush=True)
            print(f"{run_seconds(name, given.seconds):,} inputs", flush=True)


if __name__ == "__main__":
    run_command("Fuzz one parser, or all of them.", TARGETS, run, one)

"""Good campaigns and lists, and hundreds of ways in which people get them wrong.

`campaign_mutations` and `list_mutations` yield a name and the content of a file. Every mutation is made of a
good file, so that each is a mistake that somebody could make.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GOOD: dict[str, Any] = {
    "campaign": "spring-{{ season }}",
    "from": "Ada Example <news@example.com>",
    "reply_to": ["help@example.com"],
    "to": "{{ name }}",
    "cc": ["boss@example.com"],
    "bcc": ["archive@example.com"],
    "envelope_from": "bounce@example.com",
    "subject": "Hello {{ name }}",
    "template": "news.html.j2",
    "text": "news.txt.j2",
    "images": {"logo": "logo.png"},
    "attachments": ["terms.txt", {"path": "{{ doc }}.txt", "filename": "Terms {{ name }}.txt"}],
    "headers": {"X-Team": "growth"},
    "calendar": {"path": "invite.ics.j2", "method": "REQUEST"},
    "css": "inline",
    "unsubscribe": {"url": "https://example.com/u/{{ name }}", "mailto": "u@example.com", "one_click": True},
    "vars": {"season": "x", "company": "Example"},
    "key": "{{ email }}",
    "recipients": [
        {"email": "ada@example.com", "name": "Ada", "doc": "terms"},
        {"email": "bob@example.com", "name": "Bob", "doc": "terms"},
    ],
    "server": {
        "host": "smtp.example.com",
        "port": 465,
        "security": "tls",
        "username": "news",
        "password": {"env": "SMTP_PASSWORD"},
        "auth": ["plain"],
        "ehlo_name": "mail.example.com",
        "source_address": "192.0.2.7",
        "proxy": "socks5://127.0.0.1:1080",
    },
    "delivery": {
        "connections": 1,
        "rate": "30/minute",
        "strategy": "auto",
        "window": "auto",
        "attempts": 5,
        "backoff": {"first": "1s", "most": "5m"},
        "timeout": "60s",
        "in_doubt": "resend",
        "stop_after": "50 in a row",
    },
    "dkim": {"domain": "example.com", "selector": "s1", "key_file": "dkim.pem"},
    "ignore": ["http-links"],
}
ROWS = [
    {"email": "ada@example.com", "name": "Ada", "doc": "terms"},
    {"email": "bob@example.com", "name": "Bob", "doc": "terms"},
]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360606060000000"
    "0500015ea2f2490000000049454e44ae426082"
)
INVITATION = (
    "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//x//y//EN\r\nMETHOD:REQUEST\r\nBEGIN:VEVENT\r\nUID:1@example.com\r\n"
    "DTSTAMP:20260101T000000Z\r\nDTSTART:20260102T000000Z\r\nORGANIZER:mailto:news@example.com\r\n"
    "ATTENDEE:mailto:{{ email }}\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n"
)

VALUES: dict[str, Any] = {
    "null": None,
    "empty": "",
    "blanks": "   ",
    "number": 42,
    "negative": -1,
    "fraction": 1.5,
    "huge number": 10**30,
    "true": True,
    "list": ["a", "b"],
    "empty list": [],
    "mapping": {"a": "b"},
    "empty mapping": {},
    "nested list": [[["a"]]],
    "nested mapping": {"a": {"b": {"c": 1}}},
    "list of null": [None],
    "huge text": "x" * 20_000,
    "unicode": "\u202e\u0301\U0001f600\ufdd0",
    "control": "a\x07b",
    "line end": "a\nb",
    "open tag": "{{ name",
    "undefined": "{{ nope }}",
    "wrong filter": "{{ name|nofilter }}",
    "endless": "{% for a in range(99999999) %}{{ a }}{% endfor %}",
    "division by zero": "{{ 1 / 0 }}",
    "path up": "../../etc/passwd",
    "folder": ".",
    "address": "a@b@c",
    "percent": "%s{0}",
}


def keys_of(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of each value below `value`."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from keys_of(item, (*path, key))


def replaced(document: Any, path: tuple[Any, ...], change: Any) -> Any:
    """Return a copy of `document` in which `change(container, key)` was applied at `path`."""
    copy = json.loads(json.dumps(document))
    container = copy
    for key in path[:-1]:
        container = container[key]
    change(container, path[-1])
    return copy


def _remove(box: Any, key: Any) -> None:
    del box[key]


def _wrap(box: Any, key: Any) -> None:
    box[key] = {"x": box[key]}


def _enlist(box: Any, key: Any) -> None:
    box[key] = [box[key]]


def _misspell(box: Any, key: Any) -> None:
    if isinstance(box, dict):
        box[key[:-1] + "q"] = box.pop(key)


def structural_mutations(document: Any) -> Iterator[tuple[str, Any]]:
    """Yield documents in which one value is missing, misspelt, nested wrongly or of another type."""
    for path in keys_of(document):
        name = ".".join(map(str, path))
        for what, change in {"missing": _remove, "too deep": _wrap, "in a list": _enlist}.items():
            yield f"{name} {what}", replaced(document, path, change)
        if isinstance(path[-1], str):
            yield f"{name} misspelt", replaced(document, path, _misspell)
        for what, value in VALUES.items():
            yield (
                f"{name} is {what}",
                replaced(
                    document,
                    path,
                    lambda box, key, v=value: (
                        box.update({key: v}) if isinstance(box, dict) else box.__setitem__(key, v)
                    ),
                ),
            )


def text_mutations(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the text with the damage that editors, programs and copying do."""
    lines = text.splitlines(keepends=True)
    yield "byte order mark", text.encode("utf-8-sig")
    yield "two byte order marks", b"\xef\xbb\xbf" + text.encode("utf-8-sig")
    yield "UTF-16", text.encode("utf-16")
    yield "UTF-16 without a mark", text.encode("utf-16-le")
    yield "UTF-32", text.encode("utf-32")
    yield "Latin-1", text.replace("Ada", "Zo\u00eb").encode("latin-1")
    yield "CRLF", text.replace("\n", "\r\n").encode()
    yield "CR", text.replace("\n", "\r").encode()
    yield "line separators", text.replace("\n", "\u2028").encode()
    yield "no line end", text.rstrip().encode()
    yield "empty", b""
    yield "only blanks", b"  \n \n"
    yield "binary", bytes(range(256)) * 4
    yield "twice", (text + text).encode()
    yield "tabs", text.replace("  ", "\t").encode()
    yield "no-break blanks", text.replace(" ", "\u00a0").encode()
    yield "smart quotes", text.replace('"', "\u201c").encode()
    yield "a conflict of git", f"<<<<<<< HEAD\n{text}=======\n{text}>>>>>>> x\n".encode()
    yield "HTML", f"<!DOCTYPE html><html><body>{text}</body></html>".encode()
    for number, line in enumerate(lines):
        before, after = "".join(lines[:number]), "".join(lines[number + 1 :])
        for what, other in {
            "repeated": line * 2,
            "removed": "",
            "indented": f" {line}",
            "indented by a tab": f"\t{line}",
            "cut": line[: len(line) // 2] + "\n",
            "with a NUL": line.replace("e", "\0", 1),
            "with an open quote": line.replace(": ", ": '", 1).replace(",", ',"', 1),
            "with a control character": line.replace("a", "\x1b[2J", 1),
        }.items():
            yield f"line {number + 1} {what}", (before + other + after).encode()
        yield f"cut in line {number + 1}", (before + line[: len(line) // 2]).encode()


def yaml_mutations(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield the text with what only YAML has: anchors, merge keys, tags, documents, bad quotes."""
    for line in text.splitlines(keepends=True):
        key, colon, value = line.partition(": ")
        if not colon:
            continue
        for what, other in {
            "anchored": f"{key}: &a {value}",
            "an unknown alias": f"{key}: *nope\n",
            "its own alias": f"{key}: &a [*a]\n",
            "a Python object": f"{key}: !!python/object/apply:os.system ['id']\n",
            "tagged": f"{key}: !!binary aGVsbG8=\n",
            "a merge key": f"{key}: {{<<: {{a: b}}}}\n",
            "a block": f"{key}: |\n  {value}",
            "unquoted tag": f"{key}: {{{{ name }}}} hi\n",
            "quoted name": f'{key}: "M\u00fcller, J\u00f6rg" <joerg@example.com>\n',
            "a colon": f"{key}: a: b: c\n",
            "an at sign": f"{key}: @ada\n",
            "a comment": f"{key}: # {value}",
            "without a blank": f"{key}:{value}",
            "an equals sign": f"{key} = {value}",
            "a complex key": f"? [a, b]\n: {value}",
        }.items():
            yield f"{key.strip()} as {what}", text.replace(line, other, 1).encode()
    for what, before in {
        "a directive": "%YAML 1.1\n---\n",
        "a wrong directive": "%NOPE\n",
        "a document before": "a: b\n---\n",
        "a comma": ",\n",
    }.items():
        yield what, (before + text).encode()


def campaign_mutations() -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of each wrong campaign file."""
    for name, document in structural_mutations(GOOD):
        yield name, write_campaign(document).encode()
    text = write_campaign(GOOD)
    yield from text_mutations(text)
    yield from yaml_mutations(text)


def list_mutations(suffix: str) -> Iterator[tuple[str, bytes]]:
    """Yield a name and the content of each wrong list of the format `suffix`."""
    for name, rows in structural_mutations(ROWS):
        yield name, write_list(rows, suffix)
    good = write_list(ROWS, suffix)
    if suffix != ".xlsx":
        yield from text_mutations(good.decode())
        if suffix == ".yaml":
            yield from yaml_mutations(good.decode())
        return
    for part in range(0, len(good), 211):
        yield f"cut at {part}", good[:part]
        yield f"damaged at {part}", good[:part] + b"\xff\0" + good[part + 2 :]


def write_campaign(document: Any) -> str:
    """Return a campaign as YAML: a line for each key."""
    if not isinstance(document, dict):
        return json.dumps(document)
    return "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in document.items())


def write_list(rows: Any, suffix: str) -> bytes:
    """Return a list as a file of the format `suffix`. Values that a table cannot hold are written as JSON."""
    if suffix == ".json":
        return json.dumps(rows, ensure_ascii=False, indent=1).encode("utf-8", "surrogatepass")
    if suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    if suffix == ".yaml":
        return "".join(f"- {json.dumps(row, ensure_ascii=False)}\n" for row in rows).encode()
    mappings = [row if isinstance(row, dict) else {"email": row} for row in rows]
    names = list(dict.fromkeys(name for row in mappings for name in row))
    cells = [[_to_cell(row.get(name)) for name in names] for row in mappings]
    if suffix == ".xlsx":
        return _write_workbook([names, *cells])
    stream = io.StringIO()
    csv.writer(stream, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n").writerows(
        [names, *cells]
    )
    return stream.getvalue().encode()


def _to_cell(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, (dict, list)) else value


def _write_workbook(rows: list[list[Any]]) -> bytes:
    import openpyxl
    from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE

    book = openpyxl.Workbook()
    for row in rows:
        book.active.append([ILLEGAL_CHARACTERS_RE.sub("?", v) if isinstance(v, str) else v for v in row])
    stream = io.BytesIO()
    book.save(stream)
    return stream.getvalue()


def write_project(folder: Path) -> None:
    """Write the files that the good campaign names."""
    (folder / "news.html.j2").write_text("<p>Hello {{ name }}</p><img src=\"{{ image('logo') }}\" alt=x>\n")
    (folder / "news.txt.j2").write_text("Hello {{ name }}\n")
    (folder / "logo.png").write_bytes(PNG)
    (folder / "terms.txt").write_text("Terms\n")
    (folder / "invite.ics.j2").write_text(INVITATION)
    (folder / "dkim.pem").write_text("")

"""The same work for each contender: a newsletter of 8 KB HTML, a text part, a 20 KB inline image, nine
columns a recipient.

One recipient in five has a name that is not ASCII. No two recipients have the same name or token, so that a
cache of what was made for another recipient does not flatter a contender. `write(folder, count)` lays out the
campaign, the templates, the list and the image, so that each contender reads the same files.
"""

from __future__ import annotations

import csv
import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import yaml

NEWSLETTER = Path(__file__).parent / "newsletter"
COLUMNS = ["email", "name", "city", "plan", "credits", "renewal", "manager", "token", "lang"]
ASCII_NAMES = ["Ada Lovelace", "Bob Jones", "Carol Smith", "Dan Brown"]
OTHER_NAMES = ["Zoë Łukasz", "王小明", "Ἀριάδνη Π.", "Noémie Çelik", "محمد علي"]
CITIES = ["Paris", "Rome", "Oslo", "Lima"]


def variables() -> dict[str, object]:
    """The campaign's `vars`: the company and the articles of the template's loop."""
    campaign = yaml.safe_load((NEWSLETTER / "bench.yaml").read_text(encoding="utf-8"))
    return dict(campaign["vars"])


def rows(count: int) -> Iterator[list[str]]:
    """`count` recipients in the order of COLUMNS, the same for the same count."""
    for n in range(count):
        name = f"{OTHER_NAMES[n // 5 % len(OTHER_NAMES)] if n % 5 == 0 else ASCII_NAMES[n % 4]} {n}"
        plan = "pro" if n % 3 else "free"
        token = f"{n * 2654435761 % 2**32:08x}"
        yield [
            f"person{n}@example.com",
            name,
            CITIES[n % 4],
            plan,
            str(n % 97),
            f"2027-0{n % 9 + 1}-15",
            "Grace Hopper",
            token,
            "en",
        ]


def write(folder: Path, count: int) -> None:
    """The campaign's files, `count` recipients in people.csv, and a 20 KB image of noise."""
    shutil.copytree(NEWSLETTER, folder, dirs_exist_ok=True)
    (folder / "variables.json").write_text(json.dumps(variables()), encoding="utf-8")
    (folder / "logo.png").write_bytes(b"\x89PNG\r\n\x1a\n" + random.Random(1).randbytes(20_000 - 8))
    with (folder / "people.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows(count))

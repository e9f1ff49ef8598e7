"""What a message costs to make: CPU, beside Jinja2's own render of its HTML, in one run.

    python -m benchmarks.render [COUNT]

The newsletter of benchmarks/newsletter: 8 KB of HTML with a loop and conditions, a text, a 20 KB image, nine columns,
one name in five not ASCII. Interleaved, medians of five.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from time import process_time

from jinja2 import Environment, FileSystemLoader

from benchmarks.workload import COLUMNS, rows, variables, write
from mailer.campaign.model import Campaign, Pattern, Recipient
from mailer.errors import Place
from mailer.render.compile import compile_campaign

ROUNDS = 5


class _List:
    """Recipients for a campaign that is not sent from here."""

    def __iter__(self) -> Iterator[Recipient]:
        return iter(())

    def fingerprint(self) -> str | None:
        return None


def campaign(folder: Path, *, text: bool) -> Campaign:
    place = Place("bench.yaml", 1)
    return Campaign(
        path=folder / "bench.yaml",
        root=folder,
        name="bench",
        sender=Pattern("Example News <news@example.com>", place),
        subject=Pattern("{{ company }}: news for {{ name }}", place),
        recipients=_List(),
        template=Pattern("newsletter.html.j2", place),
        text=Pattern("newsletter.txt.j2", place) if text else None,
        images={"logo": Pattern("logo.png", place)},
        vars=variables(),
    )


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write(folder, 10)
        people = [
            Recipient(row[0], dict(zip(COLUMNS, row, strict=True)), Place("people.csv", n + 2))
            for n, row in enumerate(rows(count))
        ]
        given, derived = (compile_campaign(campaign(folder, text=text)) for text in (True, False))
        bare = Environment(loader=FileSystemLoader(folder), autoescape=True).get_template("newsletter.html.j2")
        common = variables()
        measure(
            {
                "jinja2 alone (template.render of the HTML)": lambda person: bare.render(common | person.columns),
                "a message, 7 bit": given.render,
                "a message, 8 bit": lambda person: given.render(person, eight_bit=True),
                "a message, its text derived from the HTML": derived.render,
            },
            people,
        )


def measure(ways: dict[str, Callable[[Recipient], object]], people: list[Recipient]) -> None:
    times: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(ROUNDS + 1):
        for name, make in ways.items():
            start = process_time()
            for person in people:
                make(person)
            if turn:  # the first fills the caches
                times[name].append((process_time() - start) / len(people) * 1e3)
    base = median(next(iter(times.values())))
    print(f"{'CPU ms a message, median of ' + str(ROUNDS):<46} {'ms':>7} {'x jinja2':>9}")
    for name, all_of_it in times.items():
        print(f"{name:<46} {median(all_of_it):>7.3f} {median(all_of_it) / base:>9.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

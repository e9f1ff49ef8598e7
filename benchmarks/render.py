"""What a message costs to make: CPU, beside Jinja2's own render of its HTML, in one run.

    python -m benchmarks.render [COUNT]

Five campaigns: the newsletter of `benchmarks/newsletter` (its articles are in `vars`); the foreign one there
(its articles are in the template, with branches and filters on columns); the sample newsletter of
`campaigns/` (layout, macros, includes); the benchmark's with a list of orders in a column, and with ten independent
branches. Interleaved, medians of five. Before anything is measured, each
message is checked to bear its recipient's own name and token.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from email import message_from_bytes, policy
from pathlib import Path
from statistics import median
from time import process_time

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from benchmarks.workload import COLUMNS, rows, write
from mailer.campaign import load_campaign
from mailer.campaign.model import Campaign, Recipient
from mailer.errors import Place
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign

ROUNDS = 5
SAMPLE = Path(__file__).parents[1] / "campaigns" / "newsletter.yaml"
_CELL = '<td style="font-size:15px;color:#333333">{}</td>'
# What is added to the benchmark's newsletter before its last row: HTML, and a pattern that changes nothing else.
SHAPES = {
    "orders": "{% for order in orders %}<tr>"
    + _CELL.format("{{ loop.index }}. {{ order.name }}{% if order.sale %} <b>sale</b>{% endif %}")
    + _CELL.format("{{ order.price }}")
    + "</tr>{% endfor %}",
    "branches": "".join(
        f"{{% if flag{n} %}}<tr>{_CELL.format(f'Offer {n} for {{{{ city }}}}')}</tr>\n{{% endif %}}"
        for n in range(10)
    ),
}
Way = Callable[[Recipient], object]


def make_people(count: int, *, is_sample: bool) -> list[Recipient]:
    """Recipients of the benchmark's list, or with the columns of the sample newsletter's."""
    made = []
    for n, row in enumerate(rows(count)):
        columns: dict[str, object] = dict(zip(COLUMNS, row, strict=True))
        if is_sample:
            columns["plan"] = "member" if n % 3 else "guest"
            columns["berth"] = f"car {n % 30}, berth {n % 40}" if n % 2 else ""
        columns["orders"] = [
            {"name": f"Print {n % 89 + k}", "price": f"{k}.50", "sale": (n >> k) % 2} for k in range(n % 12)
        ]
        columns |= {f"flag{k}": "yes" if (n * 2654435761 >> k + 8) % 2 else "" for k in range(10)}
        made.append(Recipient(row[0], columns, Place("people.csv", n + 2)))
    return made


def jinja2_alone(campaign: Campaign, folders: list[Path]) -> Way:
    """`template.render` of the campaign's HTML."""
    environment = Environment(loader=FileSystemLoader(folders), autoescape=True, undefined=StrictUndefined)
    environment.globals["image"] = "cid:{}".format
    assert campaign.template is not None
    template = environment.get_template(campaign.template.source)
    common = {**campaign.vars, "campaign": campaign.name}

    def render(person: Recipient) -> str:
        unsubscribe = f"https://example.com/u/{person.columns['token']}"
        return template.render({**common, **person.columns, "unsubscribe_url": unsubscribe})

    return render


def check_messages(compiled: CompiledCampaign, people: list[Recipient]) -> None:
    """Each message has the name and the token of its recipient, which no other one has."""
    names = {person.columns["name"] for person in people}
    tokens = {person.columns["token"] for person in people}
    assert len(names) == len(tokens) == len(people), "names and tokens must differ"
    for person in people[:: max(1, len(people) // 100)]:
        message = message_from_bytes(compiled.render(person).content, policy=policy.default)
        for part in message.walk():
            if part.get_content_maintype() == "text":
                text = part.get_content()
                assert str(person.columns["token"]) in text, (person, text)
                assert str(person.columns["name"]).lower().split()[-1] in text.lower(), (person, text)


def ways_of(campaign: Campaign, folders: list[Path]) -> Iterator[tuple[str, Way, CompiledCampaign | None]]:
    """The ways to make a campaign's message, Jinja2 alone first."""
    derived = replace(campaign, text=None)
    yield "jinja2 alone (template.render of the HTML)", jinja2_alone(campaign, folders), None
    kept = compile_campaign(replace(campaign, css="keep"))
    yield "a message, 7 bit", kept.render, kept
    yield "a message, 8 bit", lambda person: kept.render(person, eight_bit=True), kept
    text = compile_campaign(replace(derived, css="keep"))
    yield (
        "a message, 8 bit, its text derived from the HTML",
        lambda person: text.render(person, eight_bit=True),
        text,
    )
    whole = compile_campaign(replace(derived, css="inline"))
    yield (
        "a message, 8 bit, text derived, CSS inlined",
        lambda person: whole.render(person, eight_bit=True),
        whole,
    )


def measure(ways: list[tuple[str, Way]], people: list[Recipient]) -> None:
    """Print the CPU time of each way, and its ratio to the first one."""
    times: dict[str, list[float]] = {name: [] for name, _ in ways}
    for turn in range(ROUNDS + 1):
        for name, make in ways:
            start = process_time()
            for person in people:
                make(person)
            if turn:  # the first compiles the templates
                times[name].append((process_time() - start) / len(people) * 1e3)
    base = median(times[ways[0][0]])
    print(f"  {'CPU ms a message, median of ' + str(ROUNDS):<50} {'ms':>7} {'x jinja2':>9}")
    for name, all_of_it in times.items():
        print(f"  {name:<50} {median(all_of_it):>7.3f} {median(all_of_it) / base:>9.2f}")


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        write(folder, 10)
        last_row = "<tr><td style="
        source = (folder / "newsletter.html.j2").read_text(encoding="utf-8")
        head, _, tail = source.rpartition(last_row)
        for shape, added in SHAPES.items():
            (folder / f"{shape}.html.j2").write_text(f"{head}{added}{last_row}{tail}", encoding="utf-8")
        bench = load_campaign(folder / "bench.yaml")
        assert bench.template is not None
        shaped = {
            shape: replace(bench, template=replace(bench.template, source=f"{shape}.html.j2"))
            for shape in SHAPES
        }
        campaigns = [
            ("the benchmark's newsletter", bench, [folder]),
            ("with a list of 0 to 11 orders in a column", shaped["orders"], [folder]),
            ("with ten independent branches on columns", shaped["branches"], [folder]),
            ("a foreign newsletter", load_campaign(folder / "foreign.yaml"), [folder]),
            ("the sample newsletter", load_campaign(SAMPLE), [SAMPLE.parents[1] / "templates"]),
        ]
        for title, campaign, folders in campaigns:
            people = make_people(count, is_sample=campaign.path == SAMPLE)
            made = list(ways_of(campaign, folders))
            for _, _, compiled in made:
                if compiled is not None:
                    check_messages(compiled, people)
            print(f"{title}:")
            measure([(way_name, way) for way_name, way, _ in made], people)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 500)

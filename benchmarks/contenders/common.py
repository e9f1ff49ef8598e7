"""What the Python contenders share: arguments, the list, and the line of figures at the end."""

from __future__ import annotations

import argparse
import csv
import json
import resource
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import make_msgid
from itertools import islice
from pathlib import Path

import jinja2

from benchmarks.workload import variables


@dataclass
class Work:
    """What to send and where to; `clock` starts when the contender is ready to connect."""

    folder: Path
    port: int
    ca_file: Path
    count: int
    connections: int
    is_automatic: bool = False  # the number of connections is for the mailer to find

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    def rows(self) -> Iterator[dict[str, str]]:
        with (self.folder / "people.csv").open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file)):
                if number == self.count:
                    return
                yield row


def work() -> Work:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("ca_file", type=Path)
    parser.add_argument("count", type=int)
    parser.add_argument("--connections", default="1", help="a number; ours takes `auto` too")
    given = parser.parse_args()
    is_automatic = given.connections == "auto"
    return Work(
        given.folder,
        given.port,
        given.ca_file,
        given.count,
        1 if is_automatic else int(given.connections),
        is_automatic=is_automatic,
    )


def shorten_campaign(job: Work, name: str) -> Path:
    """The campaign `name` with a list cut to the messages asked for; line by line, as peak memory is
    measured.
    """
    people, short = job.folder / "people.csv", job.folder / f"people-{job.count}.csv"
    with (
        people.open(encoding="utf-8", newline="") as file,
        short.open("w", encoding="utf-8", newline="") as cut,
    ):
        cut.writelines(islice(file, job.count + 1))
    text = (job.folder / f"{name}.yaml").read_text(encoding="utf-8").replace("people.csv", short.name)
    path = job.folder / f"{name}-{job.count}.yaml"
    path.write_text(text, encoding="utf-8")
    return path


class Stopwatch:
    def __init__(self) -> None:
        self.wall, self.cpu = time.perf_counter(), time.process_time()

    def finish(self, messages: int, **more: object) -> None:
        """Print {"messages", "seconds", "cpu" (seconds), "peak" (KiB)}."""
        figures = {
            "messages": messages,
            "seconds": time.perf_counter() - self.wall,
            "cpu": time.process_time() - self.cpu,
            "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        print(json.dumps(figures | more), flush=True)


class Newsletter:
    """The way the documentation of Jinja2 and `email` teaches it, done with care: templates are parsed once."""

    def __init__(self, folder: Path) -> None:
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined
        )
        self.html = environment.get_template("newsletter.html.j2")
        self.text = environment.get_template("newsletter.txt.j2")
        self.image = (folder / "logo.png").read_bytes()
        self.common = variables()

    def message(self, row: dict[str, str]) -> EmailMessage:
        values = self.common | row
        user, _, domain = row["email"].partition("@")
        message = EmailMessage()
        message["From"] = Address("Example News", "news", "example.com")
        message["To"] = Address(row["name"], user, domain)
        message["Subject"] = f"Example: news for {row['name']}"
        message["Message-ID"] = make_msgid(domain="example.com")
        message.set_content(self.text.render(values))
        message.add_alternative(self.html.render(values), subtype="html")
        related = message.get_payload()[1]  # type: ignore[index]
        related.add_related(self.image, "image", "png", cid="<logo>")  # type: ignore[union-attr]
        return message

"""The sandbox's inbox page: what was caught, as its recipients would see it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from mailer.loopback import MAIL_POLICY, LoopbackServer, Response
from mailer.sandbox.inbox import Inbox

ASSETS = {
    "/": ("inbox.html", "text/html; charset=utf-8"),
    "/inbox.css": ("inbox.css", "text/css; charset=utf-8"),
    "/inbox.js": ("inbox.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
MESSAGE = re.compile(r"/messages/(?P<id>[^/]+)(?:/(?P<view>html|source|parts/(?P<number>\d{1,4})))?")


class Page:
    """The inbox page of a maildir, at `url`."""

    def __init__(self, maildir: Path, *, port: int = 0) -> None:
        self._inbox = Inbox(maildir)
        self._server = LoopbackServer(self.answer, port=port)
        self.url = self._server.url

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def answer(self, path: str, query: Mapping[str, str]) -> Response | None:
        if path in ASSETS:
            name, kind = ASSETS[path]
            return Response(resources.files("mailer.sandbox").joinpath("assets", name).read_bytes(), kind)
        if path == "/messages":
            return _json(self._inbox.list(query.get("find", "")))
        if match := MESSAGE.fullmatch(path):
            return self._view(match["id"], match["view"], match["number"])
        return None

    def _view(self, name: str, view: str | None, number: str | None) -> Response | None:
        if number is not None:
            part = self._inbox.part(name, int(number))
            # Never shown, always saved: an attached HTML file must not run as this page.
            return part and Response(part[1], "application/octet-stream", filename=part[0].name)
        if view == "html":
            html = self._inbox.html(name)
            return None if html is None else Response(html.encode("utf-8", "replace"), policy=MAIL_POLICY)
        if view == "source":
            source = self._inbox.source(name)
            return None if source is None else Response(source, "text/plain; charset=utf-8", policy=MAIL_POLICY)
        message = self._inbox.message(name)
        return None if message is None else _json(message)


def _json(value: object) -> Response:
    return Response(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"), "application/json")

"""What both pages answer: their files, JSON, and the parts of a message."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from urllib.parse import quote

from markupsafe import escape
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mailer.web.message_view import MessagePart, MessageView

# For mail: nothing runs, and nothing is loaded but the message's own images. Links open outside of the frame.
# `allow-same-origin` lets our page measure the frame and keep its place; without scripts the mail gains
# nothing by it.
_FRAME = "sandbox allow-same-origin allow-popups allow-popups-to-escape-sandbox"
_NOTHING = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
MAIL_POLICY = f"{_NOTHING}; img-src 'self' data:; font-src data:; {_FRAME}"
MAIL_POLICY_WITHOUT_IMAGES = f"{_NOTHING}; {_FRAME}"

_TYPES = {"css": "text/css", "html": "text/html", "js": "text/javascript", "svg": "image/svg+xml"}


class ShownJson(Response):
    """JSON that may hold any text of a stranger: what has no UTF-8 form is replaced."""

    media_type = "application/json"

    def render(self, content: object) -> bytes:
        return json.dumps(content, ensure_ascii=False).encode("utf-8", "replace")


def make_asset_routes(package: str, name: str, title: str) -> list[Route]:
    """Return the routes of a page and its files.

    The page is at `/`: the frame of all pages with `title`, around NAME.html. NAME.css and NAME.js are its
    style and its script. All three are in the folder `assets` of `package`.
    """
    shared = [("mailer.web", file) for file in ("base.css", "viewer.js", "icon.svg")]
    own = [(package, f"{name}.css"), (package, f"{name}.js")]
    return [Route("/", _make_page(package, name, title))] + [
        Route(f"/{file}", Response(_read_asset(home, file), media_type=_TYPES[file.rpartition(".")[2]]))
        for home, file in shared + own
    ]


def _make_page(package: str, name: str, title: str) -> Response:
    page = _read_asset("mailer.web", "page.html")
    for mark, text in (
        ("@TITLE@", escape(title)),
        ("@NAME@", name),
        ("@BODY@", _read_asset(package, f"{name}.html")),
    ):
        page = page.replace(mark, text)
    return Response(page, media_type="text/html")


def _read_asset(package: str, name: str) -> str:
    return resources.files(package).joinpath("assets", name).read_text(encoding="utf-8")


def make_message_routes(path: str, find_view: Callable[[Request], MessageView | None]) -> list[Route]:
    """Return the routes of a message's HTML, source and parts, below `path`.

    `find_view` returns the message that a request's path names, or None if there is none.
    """

    def show_html(request: Request) -> Response:
        view = find_view(request)
        return answer_not_found() if view is None else answer_html(view, request)

    def show_source(request: Request) -> Response:
        view = find_view(request)
        return answer_not_found() if view is None else answer_source(view, request)

    def show_part(request: Request) -> Response:
        view = find_view(request)
        return answer_not_found() if view is None else answer_part(view, request.path_params["number"])

    return [
        Route(f"{path}/html", show_html),
        Route(f"{path}/source", show_source),
        Route(f"{path}/parts/{{number:int}}", show_part),
    ]


def answer_html(message: MessageView, request: Request) -> Response:
    """Return the message's HTML as the query asks for it: `images=off`, `scheme=light` or `scheme=dark`."""
    images = request.query_params.get("images") != "off"
    html = message.make_html_document(images=images, scheme=request.query_params.get("scheme"))
    if html is None:
        return answer_not_found()
    policy = MAIL_POLICY if images else MAIL_POLICY_WITHOUT_IMAGES
    return Response(
        html.encode("utf-8", "replace"), media_type="text/html", headers={"Content-Security-Policy": policy}
    )


def answer_source(message: MessageView, request: Request) -> Response:
    """Return the message's octets: as text to be looked at, or with `download=NAME` as a file."""
    name = request.query_params.get("download")
    headers = {"Content-Security-Policy": MAIL_POLICY_WITHOUT_IMAGES}
    if name:
        return Response(
            message.content, media_type="message/rfc822", headers=headers | _make_disposition(name)
        )
    return Response(message.content, media_type="text/plain", headers=headers)


def answer_part(message: MessageView, number: int) -> Response:
    """Return a part of the message.

    It is saved when it is opened; only an image can be shown, by the message's HTML.
    """
    part = message.find_part(number)
    if part is None:
        return answer_not_found()
    kind = part.type if is_shown_image(part) else "application/octet-stream"
    return Response(
        part.content,
        media_type=kind,
        headers={"Content-Security-Policy": MAIL_POLICY_WITHOUT_IMAGES} | _make_disposition(part.name),
    )


def is_shown_image(part: MessagePart) -> bool:
    """Return whether a browser may show the part as an image."""
    return part.type in {"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/avif"}


def answer_not_found() -> Response:
    """Return the answer for what does not exist."""
    return Response("Not here.", 404, media_type="text/plain")


def _make_disposition(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}

"""The answers that both pages give: files of the package, JSON, the parts of a message."""

from __future__ import annotations

import json
from importlib import resources
from urllib.parse import quote

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


def asset_routes(package: str, names: list[str], index: str) -> list[Route]:
    """Routes for the files `names` in the folder `assets` of `package`; `index` is the page itself, at `/`."""
    shared = [("mailer.web", name) for name in ("base.css", "viewer.js", "icon.svg")]
    own = [(package, name) for name in names]
    return [Route("/", _read_asset(package, index))] + [
        Route(f"/{name}", _read_asset(home, name)) for home, name in shared + own
    ]


def _read_asset(package: str, name: str) -> Response:
    content = resources.files(package).joinpath("assets", name).read_bytes()
    return Response(content, media_type=_TYPES[name.rpartition(".")[2]])


def html_response(message: MessageView, request: Request) -> Response:
    """The message's HTML as the query asks for it: `images=off`, `scheme=light` or `scheme=dark`."""
    images = request.query_params.get("images") != "off"
    html = message.html_document(images=images, scheme=request.query_params.get("scheme"))
    if html is None:
        return not_found()
    policy = MAIL_POLICY if images else MAIL_POLICY_WITHOUT_IMAGES
    return Response(
        html.encode("utf-8", "replace"), media_type="text/html", headers={"Content-Security-Policy": policy}
    )


def source_response(message: MessageView, request: Request) -> Response:
    """The message's octets: as text to be looked at, or with `download=NAME` as a file."""
    name = request.query_params.get("download")
    headers = {"Content-Security-Policy": MAIL_POLICY_WITHOUT_IMAGES}
    if name:
        return Response(message.content, media_type="message/rfc822", headers=headers | _saved_as(name))
    return Response(message.content, media_type="text/plain", headers=headers)


def part_response(message: MessageView, number: int) -> Response:
    """A part of the message.

    It is saved when it is opened; only an image can be shown, by the message's HTML.
    """
    part = message.find_part(number)
    if part is None:
        return not_found()
    kind = part.type if is_shown_image(part) else "application/octet-stream"
    return Response(
        part.content,
        media_type=kind,
        headers={"Content-Security-Policy": MAIL_POLICY_WITHOUT_IMAGES} | _saved_as(part.name),
    )


def is_shown_image(part: MessagePart) -> bool:
    """Whether a browser may show the part as an image."""
    return part.type in {"image/png", "image/jpeg", "image/gif", "image/webp", "image/svg+xml", "image/avif"}


def not_found() -> Response:
    """The answer for what does not exist."""
    return Response("Not here.", 404, media_type="text/plain")


def _saved_as(name: str) -> dict[str, str]:
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}"}

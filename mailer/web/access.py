"""Who may use a local page: an ASGI middleware that checks every request before a page sees it.

Loopback alone is no protection. Any web site that the person visits can make the browser ask 127.0.0.1, and
every user of the machine can connect to it. Therefore:

- The name in `Host` must be ours, which stops DNS rebinding. A foreign `Origin` is refused.
- The printed address carries a token. It is exchanged for a cookie that other sites cannot use
  (SameSite=Strict).
- Browsers send a cookie to every port of a host. So the cookie is bound to a path that only the address bar
  knows: a server of another user on 127.0.0.1 never gets to see it.
- A program uses the `/api` with a login (RFC 7617) instead.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import HTMLResponse, PlainTextResponse, Response

from mailer.dataclass import dataclass

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

COOKIE = "mailer"
MAX_BODY = 64 * 1024  # octets of a request's body; the largest is a form of two fields

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-DNS-Prefetch-Control": "off",
}
# The redirection is the page's own, not the server's: only then do browsers count the next request as
# same-site and send the new cookie, also when the address was opened from a page of another site (a terminal
# in a browser).
_ENTRANCE = (
    '<!doctype html><html lang="en"><meta charset="utf-8"><title>mailer</title>'
    '<link rel="icon" href="data:,">'
    '<meta http-equiv="refresh" content="0;url={path}"><p><a href="{path}">Continue</a></p></html>'
)


@dataclass(frozen=True, slots=True)
class ApiLogin:
    """The user name and the password with which a program may use `/api`."""

    username: str
    password: str

    def is_proved_by(self, authorization: str) -> bool:
        """Return whether an `Authorization` header is HTTP Basic with this login."""
        scheme, _, encoded = authorization.partition(" ")
        try:
            given = base64.b64decode(encoded.strip(), validate=True)
        except (binascii.Error, ValueError):
            return False
        expected = f"{self.username}:{self.password}".encode()
        return scheme.lower() == "basic" and secrets.compare_digest(given, expected)


class AccessControl:
    """Lets requests of the page's own browser and programs with the login pass to `application`; refuses all
    others.

    `port` is the server's, `login` that of programs (None: there is no `/api` for programs).
    """

    def __init__(self, application: Application, *, port: int, login: ApiLogin | None = None) -> None:
        self._application = application
        self._hosts = frozenset(f"{name}:{port}" for name in ("127.0.0.1", "localhost"))
        self._login = login
        self.token = secrets.token_urlsafe(18)
        self._cookie = secrets.token_urlsafe(18)
        self._base = f"/{secrets.token_urlsafe(9)}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request (ASGI)."""
        if scope["type"] != "http":
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        answer = self._find_refusal(scope, headers)
        if answer is not None:
            await answer(scope, receive, _add_headers(send))
            return
        path: str = scope["path"]
        if path.startswith(f"{self._base}/"):
            scope = {**scope, "path": path[len(self._base) :], "raw_path": None}
        await self._application(scope, _limit_body(receive), _add_headers(send))

    def _find_refusal(self, scope: Scope, headers: dict[str, str]) -> Response | None:
        """The answer to a request that goes no further; None if it may pass."""
        if headers.get("host") not in self._hosts:
            return PlainTextResponse("This page is at 127.0.0.1 only.", 403)
        origin = headers.get("origin")
        if origin is not None and origin.removeprefix("http://") not in self._hosts:
            return PlainTextResponse("This page is not for other sites.", 403)
        if scope["path"].startswith(f"{self._base}/") and self._has_cookie(headers.get("cookie", "")):
            return None
        if scope["path"].startswith("/api/") and self._login is not None:
            if self._login.is_proved_by(headers.get("authorization", "")):
                return None
            return PlainTextResponse("The login is the one of the SMTP server.", 401)
        token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and secrets.compare_digest(token.encode(), self.token.encode()):
            return self._make_entrance()
        return PlainTextResponse("Open the address that the terminal shows.", 403)

    def _has_cookie(self, header: str) -> bool:
        try:
            morsel = SimpleCookie(header).get(COOKIE)
        except CookieError:
            return False
        return morsel is not None and secrets.compare_digest(morsel.value.encode(), self._cookie.encode())

    def _make_entrance(self) -> Response:
        response = HTMLResponse(_ENTRANCE.format(path=f"{self._base}/"))
        response.set_cookie(COOKIE, self._cookie, path=f"{self._base}/", httponly=True, samesite="strict")
        return response


def _add_headers(send: Send) -> Send:
    """Return a `send` that adds the security headers which the answer does not set itself."""

    async def send_with_headers(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            added = [(name.lower().encode(), value.encode()) for name, value in _HEADERS.items()]
            message = {
                **message,
                "headers": [*message["headers"], *(h for h in added if h[0] not in present)],
            }
        await send(message)

    return send_with_headers


def _limit_body(receive: Receive) -> Receive:
    """Return a `receive` that gives at most MAX_BODY octets of a request's body, and drops the rest."""
    left = MAX_BODY

    async def receive_within_limit() -> MutableMapping[str, Any]:
        nonlocal left
        message = await receive()
        if message["type"] == "http.request":
            body = message.get("body", b"")[:left]
            left -= len(body)
            message = {**message, "body": body}
        return message

    return receive_within_limit

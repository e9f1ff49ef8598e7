"""The local pages' HTTP server: whom it lets in, and what it tells a browser."""

from __future__ import annotations

import base64
import http.client
import socket
from collections.abc import Iterator, Mapping

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mailer.web.access import MAX_BODY, PAGE_POLICY, ApiLogin
from mailer.web.message_view import MessageView
from mailer.web.responses import MAIL_POLICY, MAIL_POLICY_WITHOUT_IMAGES, answer_part
from mailer.web.server import WebServer
from tests.web.visitor import Visitor

LOGIN = ApiLogin("sandbox", "pässword")


def show_page(_request: Request) -> Response:
    return PlainTextResponse("the page")


async def measure_body(request: Request) -> Response:
    return PlainTextResponse(str(len(await request.body())))


@pytest.fixture(scope="module")
def server() -> Iterator[WebServer]:
    routes = [
        Route("/", show_page),
        Route("/api/messages", show_page),
        Route("/body", measure_body, methods=["POST"]),
    ]
    server = WebServer(routes, login=LOGIN)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def visitor(server: WebServer) -> Visitor:
    return Visitor(server.url)


def request_raw(
    server: WebServer, path: str, headers: Mapping[str, str] = {}, method: str = "GET"
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers
    finally:
        connection.close()


def test_the_printed_address_opens_the_page(visitor: Visitor) -> None:
    status, body, headers = visitor.request("")
    assert (status, body) == (200, b"the page")
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_cookie_is_of_no_use_to_another_site_port_or_script(server: WebServer) -> None:
    _, _, headers = request_raw(server, server.url.removeprefix(server.origin))
    attributes = {part.strip().lower() for part in headers["Set-Cookie"].split(";")[1:]}
    assert {"httponly", "samesite=strict"} <= attributes
    (path,) = [part.removeprefix("path=") for part in attributes if part.startswith("path=")]
    assert len(path) >= 12  # another local server does not know it, so that it never gets the cookie


@pytest.mark.parametrize(
    "path", ["/", "/?token=", "/?token=wrong", "/?token=%FF", "/api/messages", "/base.css"]
)
def test_without_the_token_nothing_is_shown(server: WebServer, path: str) -> None:
    status, body, _ = request_raw(server, path)
    assert status in (401, 403)
    assert "the page" not in body


def test_the_path_without_the_cookie_is_not_enough(server: WebServer, visitor: Visitor) -> None:
    assert request_raw(server, visitor.base)[0] == 403
    assert request_raw(server, visitor.base, {"Cookie": "mailer=guessed"})[0] == 403
    assert request_raw(server, visitor.base, {"Cookie": '"; =;'})[0] == 403


def test_the_cookie_without_the_path_is_not_enough(server: WebServer, visitor: Visitor) -> None:
    assert request_raw(server, "/api/messages", {"Cookie": visitor.cookie})[0] == 401
    assert request_raw(server, "/", {"Cookie": visitor.cookie})[0] == 403


def test_a_program_uses_the_login(server: WebServer) -> None:
    given = base64.b64encode("sandbox:pässword".encode()).decode()
    assert request_raw(server, "/api/messages", {"Authorization": f"Basic {given}"})[:2] == (200, "the page")
    assert request_raw(server, "/", {"Authorization": f"Basic {given}"})[0] == 403


@pytest.mark.parametrize(
    "given", ["", "Basic", "Basic !!!", "Basic c2FuZGJveDp3cm9uZw==", "Bearer x", "Basic /w=="]
)
def test_a_wrong_login_is_refused(server: WebServer, given: str) -> None:
    assert request_raw(server, "/api/messages", {"Authorization": given})[0] == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_another_host_name_is_refused(visitor: Visitor, host: str) -> None:
    """DNS rebinding: a foreign name that resolves to 127.0.0.1."""
    assert visitor.request("", headers={"Host": host.format(port=visitor.port)})[0] in (400, 403)


def test_localhost_is_accepted(visitor: Visitor) -> None:
    assert visitor.request("", headers={"Host": f"localhost:{visitor.port}"})[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "null", ""]
)
def test_another_origin_is_refused(visitor: Visitor, origin: str) -> None:
    assert visitor.request("", headers={"Origin": origin.format(port=visitor.port)})[0] == 403


def test_our_own_origin_is_accepted(visitor: Visitor) -> None:
    assert visitor.request("", headers={"Origin": f"http://127.0.0.1:{visitor.port}"})[0] == 200


UPGRADE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}  # fmt: skip


def test_no_websocket_is_opened(server: WebServer, visitor: Visitor) -> None:
    foreign = {**UPGRADE, "Origin": "http://evil.example", "Cookie": visitor.cookie}
    assert request_raw(server, visitor.base, foreign)[0] == 403
    assert request_raw(server, visitor.base, UPGRADE)[0] == 403
    assert request_raw(server, visitor.base, {**UPGRADE, "Cookie": visitor.cookie})[0] == 200


def test_another_site_can_neither_post_nor_delete_nor_listen(server: WebServer, visitor: Visitor) -> None:
    """A browser sends no cookie with such a request; even with the cookie it is refused by its Origin."""
    for method in ("GET", "POST", "DELETE"):
        foreign = {"Origin": "http://evil.example", "Cookie": visitor.cookie, "Accept": "text/event-stream"}
        assert request_raw(server, f"{visitor.base}body", foreign, method)[0] == 403
        assert request_raw(server, f"{visitor.base}body", {}, method)[0] == 403


def test_no_other_page_may_frame_ours() -> None:
    assert "frame-ancestors 'none'" in PAGE_POLICY
    assert "frame-ancestors 'self'" in MAIL_POLICY


def test_a_body_is_read_up_to_its_limit(visitor: Visitor) -> None:
    assert (
        visitor.request("body", method="POST", body=b"x" * (MAX_BODY + 100_000))[1] == str(MAX_BODY).encode()
    )


@pytest.mark.parametrize("policy", [PAGE_POLICY, MAIL_POLICY, MAIL_POLICY_WITHOUT_IMAGES])
def test_no_policy_lets_anything_load_from_elsewhere(policy: str) -> None:
    assert "default-src 'none'" in policy
    assert "http" not in policy
    assert "*" not in policy
    assert "unsafe-eval" not in policy


@pytest.mark.parametrize("policy", [MAIL_POLICY, MAIL_POLICY_WITHOUT_IMAGES])
def test_no_mail_runs_a_script(policy: str) -> None:
    assert "script-src" not in policy
    assert "allow-scripts" not in policy
    assert "sandbox" in policy


def test_a_file_is_saved_under_its_name_and_its_name_is_no_header() -> None:
    head = b'Content-Type: application/pdf\r\nContent-Disposition: attachment; filename="a b.pdf"\r\n\r\n'
    response = answer_part(MessageView(head + b"%PDF"), 0)
    assert response.headers["Content-Disposition"].startswith("attachment; filename*=UTF-8''a%20b")
    assert response.headers["Content-Type"] == "application/octet-stream"


def test_it_listens_on_loopback_alone(server: WebServer) -> None:
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", server.port), timeout=10)


def test_it_ends_while_a_connection_is_open() -> None:
    other = WebServer([Route("/", show_page)])
    other.start()
    with socket.create_connection(("127.0.0.1", other.port), timeout=10):
        other.stop()


def test_a_port_in_use_is_an_error(server: WebServer) -> None:
    with pytest.raises(OSError, match="in use"):
        WebServer([], port=server.port)

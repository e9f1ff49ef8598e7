"""The local pages' HTTP server: what it shows, and to whom it does not."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping

import pytest

from mailer.loopback import MAIL_POLICY, PAGE_POLICY, LoopbackServer, Response


def answer(path: str, query: Mapping[str, str]) -> Response | None:
    match path:
        case "/":
            return Response(b"<h1>page</h1>")
        case "/echo":
            return Response(query.get("find", "").encode(), "text/plain; charset=utf-8", policy=MAIL_POLICY)
        case "/file":
            return Response(b"%PDF", "application/octet-stream", filename='a "b"\r\nX: ż.pdf')
        case _:
            return None


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    server = LoopbackServer(answer)
    server.start()
    yield server
    server.stop()


def get(
    server: LoopbackServer, path: str, headers: Mapping[str, str] = {}, method: str = "GET"
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers=dict(headers))
        response = connection.getresponse()
        return response.status, response.read().decode(), dict(response.getheaders())
    finally:
        connection.close()


def test_a_page(server: LoopbackServer) -> None:
    status, body, headers = get(server, "/")
    assert (status, body) == (200, "<h1>page</h1>")
    assert headers["Content-Security-Policy"] == PAGE_POLICY
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_no_policy_lets_anything_load_from_elsewhere() -> None:
    for policy in (PAGE_POLICY, MAIL_POLICY):
        assert "default-src 'none'" in policy
        assert "http" not in policy
        assert "*" not in policy
        assert "unsafe-eval" not in policy
    assert "script-src" not in MAIL_POLICY
    assert "sandbox" in MAIL_POLICY
    assert "allow-scripts" not in MAIL_POLICY
    assert "allow-same-origin" not in MAIL_POLICY


def test_a_query_is_decoded(server: LoopbackServer) -> None:
    assert get(server, "/echo?find=%C5%BC%20a%26b")[1] == "ż a&b"


def test_what_is_not_there(server: LoopbackServer) -> None:
    assert get(server, "/missing")[0] == 404


def test_nothing_is_sent_twice(server: LoopbackServer) -> None:
    tag = get(server, "/")[2]["ETag"]
    assert get(server, "/", {"If-None-Match": tag})[:2] == (304, "")
    assert get(server, "/", {"If-None-Match": '"other"'})[0] == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "[::1]:{port}", ""]
)
def test_another_host_name_is_refused(server: LoopbackServer, host: str) -> None:
    """DNS rebinding: a foreign name that resolves to 127.0.0.1."""
    assert get(server, "/", {"Host": host.format(port=server.port)})[0] == 403


def test_localhost_is_ours(server: LoopbackServer) -> None:
    assert get(server, "/", {"Host": f"localhost:{server.port}"})[0] == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "https://127.0.0.1:{port}", "http://127.0.0.1:1", "null", ""]
)
def test_another_origin_is_refused(server: LoopbackServer, origin: str) -> None:
    assert get(server, "/", {"Origin": origin.format(port=server.port)})[0] == 403


def test_our_own_origin_is_not(server: LoopbackServer) -> None:
    assert get(server, "/", {"Origin": server.url})[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_but_get(server: LoopbackServer, method: str) -> None:
    assert get(server, "/", method=method)[0] == 501


def test_a_file_is_saved_under_its_name_and_its_name_is_no_header(server: LoopbackServer) -> None:
    headers = get(server, "/file")[2]
    assert headers["Content-Disposition"] == "attachment; filename*=UTF-8''a%20%22b%22%0D%0AX%3A%20%C5%BC.pdf"
    assert "X" not in headers


def test_it_listens_on_loopback_alone(server: LoopbackServer) -> None:
    assert server._server.server_address[0] == "127.0.0.1"


def test_it_ends_while_a_connection_is_open(server: LoopbackServer) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10):
        other = LoopbackServer(answer)
        other.start()
        with socket.create_connection(("127.0.0.1", other.port), timeout=10):
            other.stop()


def test_a_port_that_is_taken(server: LoopbackServer) -> None:
    with pytest.raises(OSError, match="in use"):
        LoopbackServer(answer, port=server.port)

"""A small HTTP server for a person at this machine: read-only pages on loopback.

Loopback alone is not enough: any web site that the person visits can make the browser ask 127.0.0.1. So the name in
`Host` must be ours (DNS rebinding), a foreign `Origin` is refused, only GET is answered, and nothing that a page
shows may run scripts or load from elsewhere (CSP).
"""

from __future__ import annotations

import hashlib
import socketserver
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, quote, urlsplit

PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "frame-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# For mail: nothing runs, nothing is loaded; pictures are in the message itself. Links open outside of the frame.
MAIL_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; font-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'self'; sandbox allow-popups allow-popups-to-escape-sandbox"
)


@dataclass(frozen=True, slots=True)
class Response:
    """What a page answers. With `filename` the browser saves it instead of showing it."""

    body: bytes
    type: str = "text/html; charset=utf-8"
    policy: str = PAGE_POLICY
    filename: str | None = None


Answer = Callable[[str, Mapping[str, str]], Response | None]  # path and query -> what to show, None is 404


class LoopbackServer:
    """Serves `answer` on 127.0.0.1 in threads of its own, from `start()` to `stop()`. OSError: the port is taken."""

    def __init__(self, answer: Answer, *, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self._server.answer = answer
        self.port: int = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._server.hosts = frozenset(f"{name}:{self.port}" for name in ("127.0.0.1", "localhost"))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="page", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False  # a browser's idle keep-alive connection must not hold up the end
    answer: Answer
    hosts: frozenset[str]

    def server_bind(self) -> None:
        socketserver.TCPServer.server_bind(self)  # HTTPServer's would look up our name in the DNS

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that closes early is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "mailer"
    sys_version = ""
    timeout = 30.0  # seconds for one request; an idle connection is closed
    server: _Server

    def do_GET(self) -> None:
        if fault := self._fault():
            self._send(403, Response(fault.encode(), "text/plain; charset=utf-8"))
            return
        url = urlsplit(self.path)
        response = self.server.answer(url.path, dict(parse_qsl(url.query)))
        if response is None:
            self._send(404, Response(b"Not here.", "text/plain; charset=utf-8"))
        else:
            self._send(200, response)

    def _fault(self) -> str | None:
        if self.headers.get("Host") not in self.server.hosts:
            return "This page is at 127.0.0.1 only."
        origin = self.headers.get("Origin")
        if origin is not None and origin.removeprefix("http://") not in self.server.hosts:
            return "This page is not for other sites."
        return None

    def _send(self, status: int, response: Response) -> None:
        tag = f'"{hashlib.sha256(response.body).hexdigest()[:32]}"'
        unchanged = status == 200 and self.headers.get("If-None-Match") == tag
        self.send_response(304 if unchanged else status)
        self.send_header("ETag", tag)
        self.send_header("Cache-Control", "no-cache")
        self.send_header("Content-Security-Policy", response.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        if not unchanged:
            self.send_header("Content-Type", response.type)
            self.send_header("Content-Length", str(len(response.body)))
            if response.filename is not None:
                name = quote(response.filename, safe="")
                self.send_header("Content-Disposition", f"attachment; filename*=UTF-8''{name}")
        self.end_headers()
        if not unchanged:
            self.wfile.write(response.body)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet: the terminal shows the addresses and nothing else."""

"""An HTTP server on loopback for a person at this machine, in a thread of its own."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence

import uvicorn
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from mailer.web.access import AccessControl, ApiLogin

# Without a handler Python would print uvicorn's errors to standard error, in the middle of the printed
# addresses.
logging.getLogger("uvicorn").addHandler(logging.NullHandler())


class WebServer:
    """Serves `routes` on 127.0.0.1 from `start()` to `stop()`, behind `AccessControl`.

    `port` 0 takes a free one. `login` is what programs use for the routes under `/api/`. `url` is the address
    for the person; it contains the token. Raises OSError if the port is in use.
    """

    def __init__(self, routes: Sequence[BaseRoute], *, port: int = 0, login: ApiLogin | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        # Inherited by each connection. asyncio sets it only for sockets whose protocol was named.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.port: int = self._socket.getsockname()[1]
        self.origin = f"http://127.0.0.1:{self.port}"
        access = AccessControl(Starlette(routes=list(routes)), port=self.port, login=login)
        self.url = f"{self.origin}/?token={access.token}"
        config = uvicorn.Config(
            access, http="h11", ws="none", lifespan="off", loop="asyncio", log_config=None, access_log=False,
            server_header=False, proxy_headers=False, timeout_keep_alive=30,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._serve, name="page", daemon=True)

    def start(self) -> None:
        """Answer requests from now on. The socket listens already, so that none is refused meanwhile."""
        self._thread.start()

    def stop(self) -> None:
        """End at once, also if a browser keeps a connection open or waits for an event."""
        self._server.should_exit = self._server.force_exit = True
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        self._server.run(sockets=[self._socket])

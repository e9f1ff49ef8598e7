"""What a browser does with a printed address: exchange its token for the cookie, and come back with that."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit


class Visitor:
    """A browser without a screen. `base` is the path of the page, `cookie` what opens it."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.port = address.port or 0
        status, body, headers = self._send("GET", f"{address.path}?{address.query}", {}, None)
        assert status == 200, body
        found = re.search(rb'url=([^"]+)"', body)
        assert found is not None
        self.base = found[1].decode()
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    def request(
        self, path: str, *, method: str = "GET", headers: Mapping[str, str] = {}, body: bytes | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and headers of the answer; `path` is relative to the page."""
        return self._send(method, self.base + path, {"Cookie": self.cookie, **headers}, body)

    def json(self, path: str, *, method: str = "GET", body: object = None) -> Any:
        """The JSON of the answer."""
        content = None if body is None else json.dumps(body).encode()
        status, answer, _ = self.request(path, method=method, body=content)
        assert status == 200, answer
        return json.loads(answer)

    def _send(
        self, method: str, path: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read(), response.headers
        finally:
            connection.close()

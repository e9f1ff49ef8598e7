"""The preview's page, what it asks for, and the loop that serves it until it is cancelled."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import field
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from mailer.dataclass import dataclass
from mailer.preview.session import PreviewSession
from mailer.web.message_view import MessageView
from mailer.web.responses import ShownJson, answer_not_found, make_asset_routes, make_message_routes
from mailer.web.server import WebServer

PAUSE = 0.5  # seconds between two looks at how far the list has been read


@dataclass(frozen=True, slots=True)
class ProofOutcome:
    """How sending a proof ended, in a sentence."""

    is_sent: bool
    text: str


SendProof = Callable[[str, str], ProofOutcome]  # the address, and the recipient whose message is sent to it


class PreviewPage:
    """The page of a session.

    `send_proof` is called when the person has confirmed. Without it the page has no button for a proof.
    `proof_server` is the host and port by which it sends, None for the campaign's server.
    """

    def __init__(
        self,
        session: PreviewSession,
        *,
        port: int = 0,
        send_proof: SendProof | None = None,
        proof_server: str | None = None,
    ) -> None:
        self._session = session
        self._proof_server = proof_server
        self._send_proof = send_proof
        self.web = WebServer(self._make_routes(), port=port)

    def _make_routes(self) -> list[Route]:
        message = "/messages/{version:int}/{position:int}"
        return [
            *make_asset_routes("mailer.preview", "preview", "mailer preview"),
            Route("/events", self._stream_events),
            Route("/recipients", self._list_recipients),
            Route("/jump", self._find_jump),
            Route("/message", self._show_message),
            Route("/findings", self._list_findings),
            Route("/proof", self._answer_proof, methods=["POST"]),
            *make_message_routes(message, self._find_view),
        ]

    async def _stream_events(self, _request: Request) -> Response:
        return StreamingResponse(self._generate_events(), media_type="text/event-stream")

    async def _generate_events(self) -> AsyncIterator[str]:
        """Server-sent events: the state at once, and after each change."""
        changed = self._session.subscribe()
        try:
            sent = ""
            while not self._session.is_closed:
                changed.clear()
                state = json.dumps(await run_in_threadpool(self._describe_state))
                if state != sent:
                    yield f"data: {state}\n\n"
                    sent = state
                is_complete = json.loads(state)["isComplete"]
                try:
                    await asyncio.wait_for(changed.wait(), None if is_complete else PAUSE)
                except TimeoutError:
                    continue
        finally:
            self._session.unsubscribe(changed)

    def _describe_state(self) -> dict[str, object]:
        session = self._session
        state = session.state
        problems = [*state.problems, *session.list_problems]
        return {
            "version": session.version,
            "campaign": state.name,
            "file": str(session.path),
            "problems": session.describe_problems(problems),
            "count": session.index.count(),
            "isComplete": bool(session.list_problems) or not state.name or session.index.is_complete(),
            "server": self._proof_server or state.server,
            "mayProve": self._send_proof is not None,
        }

    def _list_recipients(self, request: Request) -> Response:
        query = request.query_params
        start = _parse_number(query.get("start"))
        page = self._session.index.read_page(
            query.get("find", ""), start, backwards=query.get("backwards") == "1"
        )
        rows = [{"position": p, "email": e, "name": n, "hasProblem": wrong} for p, e, n, wrong in page.rows]
        return ShownJson({"rows": rows, "hasMore": page.has_more})

    def _find_jump(self, request: Request) -> Response:
        query = request.query_params
        start = _parse_number(query.get("start"))
        index = self._session.index
        match query.get("to"):
            case "longest":
                return ShownJson({"position": index.find_longest_name()})
            case "fewest":
                return ShownJson({"position": index.find_fewest_columns()})
            case "random":
                return ShownJson({"position": self._session.find_random()})
            case "failing":
                position, searched = self._session.find_failing(start)
                is_done = position is not None or (index.is_complete() and searched >= index.count())
                return ShownJson({"position": position, "searched": searched, "isDone": is_done})
            case _:
                return answer_not_found()

    def _show_message(self, request: Request) -> Response:
        session = self._session
        position, version = _parse_number(request.query_params.get("position")), session.version
        message = session.render(position)
        if message is None:
            return answer_not_found()
        shown: dict[str, object] = {"position": position, "version": version}
        if message.view is None:
            return ShownJson(shown | {"problems": session.describe_problems(message.problems)})
        envelope = {"sender": message.sender, "recipients": message.recipients}
        return ShownJson(shown | message.view.summarize() | {"envelope": envelope, "problems": []})

    def _list_findings(self, request: Request) -> Response:
        return ShownJson(self._session.lint(_parse_number(request.query_params.get("position"))))

    async def _answer_proof(self, request: Request) -> Response:
        """Send a proof; the body has the `address` and the `position` of the recipient."""
        try:
            asked = json.loads(await request.body())
            address, position = str(asked["address"]), int(asked["position"])
        except (ValueError, TypeError, KeyError):
            return Response("Not a proof.", 400, media_type="text/plain")
        rows = await run_in_threadpool(self._session.index.read_recipients, position, 1)
        if not rows or self._send_proof is None:
            return answer_not_found()
        outcome = await run_in_threadpool(self._send_proof, address, rows[0][1].email)
        return ShownJson({"isSent": outcome.is_sent, "text": outcome.text})

    def _find_view(self, request: Request) -> MessageView | None:
        return self._session.find_rendered(request.path_params["position"], request.path_params["version"])


@dataclass(frozen=True, slots=True)
class PreviewAddresses:
    """The address of the running preview, with its token."""

    page: str


@dataclass(frozen=True, slots=True)
class PreviewOptions:
    """What `mailer preview` was asked.

    `port` 0 takes a free one; without `send_proof` the page sends none.
    """

    campaign_file: Path
    variables: dict[str, str] = field(default_factory=dict)
    port: int = 0
    send_proof: SendProof | None = None
    proof_server: str | None = None


async def serve_preview(announce: Callable[[PreviewAddresses], None], options: PreviewOptions) -> None:
    """Start the page on loopback, call `announce` with its address, and serve until the task is cancelled.

    The page shows the errors of a campaign; they do not end it. Raises OSError if the port is in use.
    """
    session = PreviewSession(options.campaign_file, options.variables)
    with ExitStack() as stack:
        stack.callback(session.close)
        page = PreviewPage(
            session, port=options.port, send_proof=options.send_proof, proof_server=options.proof_server
        )
        stack.callback(page.web.stop)
        stack.callback(
            session.close
        )  # before the server: it ends the stream of events, which the server waits for
        await asyncio.to_thread(session.start)
        page.web.start()
        announce(PreviewAddresses(page.web.url))
        await asyncio.Event().wait()


def _parse_number(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 12 else 0

"""An SMTP client session without I/O: octets in, octets and events out (RFC 5321).

    session = SmtpSession(settings)
    session.start(now)
    while session.state is not State.CLOSED:
        write(session.data_to_send(now)); session.bytes_sent(offset, now)
        events = session.receive(read(), now)              or receive_eof(now), fail(error, now)
        for event in events: ...                           HandshakeNeeded: TLS, then complete_handshake(now)
        if now >= session.deadline: events = session.handle_timeout(now)

Times are seconds on one clock. `receive` never raises for what a server does: that ends the session, and a
SessionEnded says why. The results before it count.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from mailer.errors import ConnectionLost, ServerError
from mailer.smtp.protocol import commands
from mailer.smtp.protocol.events import Event, HandshakeNeeded, NoopAnswered, SessionEnded, SessionReady
from mailer.smtp.protocol.extensions import Extensions
from mailer.smtp.protocol.opening import ClientSettings, Opening
from mailer.smtp.protocol.pipeline import Pipeline, Trace
from mailer.smtp.protocol.reply import Reply, ReplyParser
from mailer.smtp.protocol.states import State, StateMachine, Step
from mailer.smtp.protocol.submission import Submission, choose_strategy
from mailer.smtp.protocol.values import (
    ServerTraits,
    Strategy,
    Transaction,
    TransactionResult,
    UnfinishedTransactions,
)
from mailer.smtp.sasl.mechanism import ChannelBinding

ENDING_SECONDS = 5.0  # for what a server still answers behind its 421
# A server that owes a reply, is silent for so long and then ends the session has waited for us as we for it.
SILENCE_SECONDS = 5.0
UNHEARD_SECONDS = 10.0  # for the reply to a command that the server may have dropped


class SmtpSession:
    """One session, from the greeting to the end."""

    def __init__(self, settings: ClientSettings, *, trace: Trace | None = None) -> None:
        """`trace` is called with a direction ("C", "S" or "*") and each line, secrets blanked.

        Raises ValueError if the client's name in `settings` cannot be written in EHLO.
        """
        self.settings = settings
        self._machine = StateMachine()
        self._pipeline = Pipeline(trace)
        self._parser = ReplyParser(show=(lambda line: trace("S", line)) if trace else None)
        self._opening = Opening(settings, self._machine, self._pipeline, self._parser)
        self._submission: Submission | None = None  # once the session is open
        self._events: list[Event] = []
        self._end: SessionEnded | None = None
        self._is_end_told = False
        self._has_written_quit = False
        self._has_timed_out = False  # a reply was due, and this side or the server gave up waiting
        self._began_at = 0.0
        self.round_trip = 0.0  # seconds between EHLO and its reply

    # -- octets and time --

    def start(self, now: float, *, since: float | None = None, binding: ChannelBinding | None = None) -> None:
        """Wait for the greeting; called once the socket, and TLS if it comes first, are there.

        `since` is the time at which connecting began, if that was earlier. `binding` is that of the TLS
        connection.
        """
        self._began_at = now if since is None else since
        self._opening.start(now, binding)

    def receive(self, data: bytes, now: float) -> list[Event]:
        """Read `data`, octets that came from the server at `now`, and return what happened.

        Call `bytes_sent` before it: a server cannot accept what has not left this machine.
        """
        if self._end is not None:
            return []
        submission = self._submission
        try:
            self._parser.feed(data)
            while self._end is None and (reply := self._parser.next_reply()) is not None:
                self._handle_reply(reply, now)
            if submission is not None and submission.is_stuck:
                raise ConnectionLost(f"{self.settings.host} takes no more messages in this session")
        except ServerError as error:
            self._close(error)
        return self._take_events(now)

    def receive_eof(self, now: float) -> list[Event]:
        """End the session, since the server closed the connection at `now`, and return what happened."""
        is_expected = self._machine.state is State.QUITTING or (self._has_written_quit and self.is_idle)
        self._note_silence(now)
        self._close(None if is_expected else ConnectionLost(f"{self.settings.host} closed the connection"))
        return self._take_events(now)

    def fail(self, error: ServerError, now: float) -> list[Event]:
        """End the session at `now` for `error`, a reason outside of it, and return what happened.

        Nothing happens if it is over.
        """
        self._note_silence(now)
        self._close(error)
        return self._take_events(now)

    def handle_timeout(self, now: float) -> list[Event]:
        """End the session, since the deadline has passed: a reply that came now would be taken for another
        one.
        """
        announcement = self._announcement
        if announcement is not None:
            # 421 says that the server closes (RFC 5321 3.8); behind another refusal of RSET it may yet take
            # messages.
            self._close(self._make_ended_error(announcement), may_still_accept=announcement.code != 421)
        else:
            seconds = f"{self._reply_seconds:g}"
            self._has_timed_out = True
            self._close(ConnectionLost(f"{self.settings.host} did not answer within {seconds} seconds"))
        return self._take_events(now)

    def complete_handshake(self, now: float, *, binding: ChannelBinding | None = None) -> None:
        """Continue at `now`: the TLS handshake that a HandshakeNeeded asked for is done.

        `binding` ties the login to this TLS connection; None: it is not tied.
        """
        self._opening.complete_handshake(now, binding)

    def log_in(self, now: float) -> list[Event]:
        """Write AUTH: the login, for which the state BEFORE_LOGIN waits, may happen now."""
        if self._machine.state is State.BEFORE_LOGIN:
            try:
                self._opening.log_in()
            except ServerError as error:
                self._close(error)
        return self._take_events(now)

    def data_to_send(self, now: float) -> bytes:
        """Return the octets to send now; b"" if there are none.

        The caller keeps what the socket does not take.
        """
        state = self._machine.state
        if state is State.READY and self._submission is not None:
            self._submission.write(now)
        elif state is State.ENDING or state is State.CLOSED:
            return b""
        return self._pipeline.data_to_send(now)

    def bytes_sent(self, offset: int, now: float) -> None:
        """Note that the octets up to `offset`, counted over all of data_to_send(), may have left this
        machine.
        """
        self._pipeline.bytes_sent(offset, now)

    @property
    def deadline(self) -> float | None:
        """The time at which the reply that is due is late; None if no reply is due.

        A part of a reply does not move it.
        """
        if self._machine.state is State.ENDING:
            return self._pipeline.waiting_since + min(ENDING_SECONDS, self.settings.timeout)
        if self._machine.state is State.CLOSED or not self._pipeline.is_waiting:
            return None
        return self._pipeline.waiting_since + self._reply_seconds

    @property
    def _reply_seconds(self) -> float:
        """The seconds for the reply that is due: few, if the server may have dropped the command."""
        if self._submission is not None and self._submission.may_be_unheard:
            return min(UNHEARD_SECONDS, self.settings.timeout)
        return self.settings.timeout

    # -- what is known --

    @property
    def state(self) -> State:
        return self._machine.state

    @property
    def is_closed(self) -> bool:
        """The session is over."""
        return self._machine.state is State.CLOSED

    @property
    def end(self) -> SessionEnded | None:
        """How the session ended; None while it has not."""
        return self._end

    @property
    def greeting(self) -> str:
        return self._opening.greeting

    @property
    def extensions(self) -> Extensions:
        return self._opening.extensions

    @property
    def mechanism(self) -> str | None:
        """The SASL mechanism of the login."""
        return self._opening.mechanism

    @property
    def strategy(self) -> Strategy:
        """The strategy in use; before the session is ready, the one that it will begin with."""
        if self._submission is not None:
            return self._submission.strategy
        settings = self.settings
        return choose_strategy(
            self.extensions, settings.traits, window=settings.window, at_most=settings.strategy_at_most
        )

    @property
    def traits(self) -> ServerTraits:
        """What the session learned about the server."""
        if self._submission is None:
            return self.settings.traits
        traits = self._submission.traits
        return replace(traits, has_scram=True) if self._opening.has_proof else traits

    def note(self, text: str) -> None:
        """Add `text` to the trace, as a line that is not SMTP."""
        self._pipeline.note(text)

    # -- messages --

    @property
    def room(self) -> int:
        """How many messages may be submitted now."""
        if self._submission is None or self._machine.state is not State.READY:
            return 0
        return self._submission.room

    @property
    def worthwhile_results(self) -> int:
        """How many results are worth waiting for, so that one commit is for several."""
        return self._submission.worthwhile_results if self._submission is not None else 1

    @property
    def is_exhausted(self) -> bool:
        """The session takes no more messages."""
        return (
            self._submission is None
            or self._machine.state is not State.READY
            or self._submission.is_exhausted
        )

    @property
    def is_idle(self) -> bool:
        """No message waits or is in flight."""
        return self._submission is None or self._submission.is_idle

    def submit(self, transaction: Transaction, *, is_held: bool = False) -> TransactionResult | None:
        """Queue `transaction`. Return a result at once if this server cannot be given it, else None.

        With `is_held`, its content is not written before `permit_contents`; its envelope may be. Check `room`
        first. A message that a closed session takes is among the unfinished ones. Raises RuntimeError if the
        session was never ready.
        """
        if self._submission is None:
            raise RuntimeError("the session is not open")
        return self._submission.submit(transaction, is_held=is_held)

    def permit_contents(self, transactions: Collection[Transaction]) -> None:
        """Let the contents of `transactions` be written, as far as they are without a result."""
        if self._submission is not None:
            self._submission.permit_contents(transactions)

    def list_unfinished(self) -> UnfinishedTransactions:
        """Return the messages without a result."""
        return (
            self._submission.list_unfinished()
            if self._submission is not None
            else UnfinishedTransactions([], [])
        )

    def send_noop(self) -> None:
        """Write NOOP; a NoopAnswered follows."""
        self._pipeline.write_command(commands.NOOP, self._handle_noop_reply)

    def finish(self) -> None:
        """Take no more messages. QUIT leaves behind the last content, if the server is known to read it there."""
        if self._submission is not None:
            self._submission.close_queue()

    def send_quit(self) -> None:
        """Write QUIT, unless it is written; a SessionEnded follows. Raises RuntimeError unless the session is
        ready.
        """
        self._machine.advance(Step.QUIT)
        if not self._has_written_quit:
            self._write_quit()

    def _write_quit(self) -> None:
        self._has_written_quit = True
        self._pipeline.write_command(commands.QUIT, lambda _reply: self._close(None))

    # -- replies --

    @property
    def _announcement(self) -> Reply | None:
        return self._submission.announcement if self._submission is not None else None

    def _open(self, now: float) -> None:
        settings = self.settings
        self._submission = Submission(
            self._pipeline,
            self.extensions,
            settings.traits,
            window=settings.window,
            strategy_at_most=settings.strategy_at_most,
            session_cost=now - self._began_at,
            write_quit=self._write_quit,
        )
        self._events.append(SessionReady())

    def _handle_reply(self, reply: Reply, now: float) -> None:
        submission = self._submission
        if reply.code in (221, 421) and not self._is_quitting(reply):
            self._note_silence(now)
            if reply.code == 221 or submission is None:
                # 221 is the reply to QUIT. Postfix also sends it after lines that are no commands.
                raise self._make_ended_error(reply)
            submission.announce_end(reply)  # 421, to anything or to nothing (RFC 5321 3.8)
            if not self._pipeline.is_waiting:
                raise self._make_ended_error(reply)
        if submission is None and self._machine.state is State.EHLO:
            self.round_trip = now - self._pipeline.waiting_since
        self._pipeline.handle_reply(reply, now)
        if submission is None:
            if self._machine.state is State.READY:
                self._open(now)
            elif self._machine.state is State.HANDSHAKE:
                self._events.append(HandshakeNeeded())
        elif (announcement := submission.announcement) is not None:
            self._expect_end(announcement)

    def _is_quitting(self, reply: Reply) -> bool:
        """Whether the session ends by QUIT, or `reply` answers the QUIT behind the last content."""
        is_answer_to_quit = self._has_written_quit and reply.code == 221 and self.is_idle
        return self._machine.state is State.QUITTING or is_answer_to_quit

    def _expect_end(self, announcement: Reply) -> None:
        """Behind the announced end the server may still answer what it has read. Nothing more is written."""
        if self._machine.state is State.READY:
            self._machine.advance(Step.ANNOUNCED_END)
        if not self._pipeline.may_get_reply:
            raise self._make_ended_error(announcement)

    def _handle_noop_reply(self, reply: Reply) -> None:
        if not reply.is_success:
            # RFC 5321 4.1.1.9 has no other reply; Exim refuses NOOP if there were too many of them.
            raise self._make_ended_error(reply)
        if self._submission is not None:
            self._submission.note_noop()
        self._events.append(NoopAnswered())

    # -- the end --

    def _make_ended_error(self, reply: Reply) -> ConnectionLost:
        return ConnectionLost(f"{self.settings.host} ended the session: {reply}", reply=reply)

    def _note_silence(self, now: float) -> None:
        """Note that the server ends the session, if it was silent for long and owes a reply."""
        silence = now - self._pipeline.waiting_since
        if self._pipeline.may_get_reply and silence >= SILENCE_SECONDS:
            self._has_timed_out = True

    def _close(self, error: ServerError | None, *, may_still_accept: bool = False) -> None:
        """The only way to CLOSED. Behind an announced end, that is what ended the session."""
        if self._machine.state is State.CLOSED:
            return
        announcement = self._announcement
        if announcement is not None and error is not None:
            error = self._make_ended_error(announcement)
        self._machine.advance(Step.CLOSE)
        self._end = SessionEnded(error, announcement, may_still_accept, self._has_timed_out)
        if self._submission is not None:
            self._submission.close(self._end)

    def _take_events(self, now: float) -> list[Event]:
        """Return what happened since the last call: results before the end of the session."""
        events, self._events = self._events, []
        if self._submission is not None:
            events += self._submission.take_results(now)
        if self._end is not None and not self._is_end_told:
            self._is_end_told = True
            events.append(self._end)
        return events

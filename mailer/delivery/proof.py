"""`--proof`: one recipient's message to another address, to be looked at in a real mail program.

Nothing of it enters the ledger, and no copies are sent: the recipients of the campaign are not touched. Each
proof has a Message-ID of its own, so that a mail program shows the second one too, and does not take it for
the recipient's message.
"""

from __future__ import annotations

import secrets
from contextlib import closing
from dataclasses import replace

from mailer.campaign.addresses import check_address
from mailer.campaign.model import Campaign, Recipient
from mailer.campaign.sources import convert_recipients
from mailer.delivery.clock import Clock
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.race import race
from mailer.delivery.server_access import describe_session, make_server_access
from mailer.delivery.signals import StopSignal
from mailer.errors import ConnectionLost, InputError, ServerError
from mailer.ledger import RunRecord, format_time
from mailer.ledger.outcome import Outcome, Status
from mailer.ledger.ulid import ulid
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.render.render_process import RenderProcess
from mailer.smtp.connection import Connection, SessionDetails, connect
from mailer.smtp.protocol.values import Transaction, TransactionResult


async def send_proof(
    campaign: Campaign,
    options: SendOptions,
    address: str,
    *,
    observer: Observer,
    clock: Clock,
    stop: StopSignal,
) -> RunResult:
    """Send the message of the first recipient, or of `options.only`, to `address`, and return how that ended.

    A request to stop ends it at once, because nothing of a proof is recorded. `observer` is told of the
    session and the outcome. Raises InputError if the address is not valid, there is no such recipient, or the
    message cannot be made; nothing was sent then.
    """
    try:
        address = check_address(address)
    except ValueError as error:
        raise InputError(f"--proof {address}: {error}") from None
    with stop.raise_on_request():
        compiled = compile_campaign(
            campaign, edition=-secrets.randbits(62) - 1
        )  # no edition of the campaign has it
        recipient = find_recipient(campaign, compiled, options.only)
        with RenderProcess(
            compiled
        ) as process:  # an error of a template is raised before a connection is opened
            process.render(recipient)
    return await _Proof(compiled, options, recipient, address, observer=observer, clock=clock).send(stop)


def find_recipient(campaign: Campaign, compiled: CompiledCampaign, only: str | None) -> Recipient:
    """Return the recipient whose address or key is `only`, or the first one without a problem.

    `compiled` makes the keys. Raises InputError if the list has no such recipient.
    """

    def add_key(recipient: Recipient) -> tuple[Recipient, str | None]:
        return recipient, compiled.make_key(recipient) if only and recipient.problem is None else None

    with closing(convert_recipients(campaign.recipients, add_key)) as converted:
        for recipient, key in converted:
            if only and recipient.email.casefold() == only.casefold():
                if recipient.problem is not None:
                    raise InputError(recipient.problem)
                return recipient
            if recipient.problem is None and (not only or key == only):
                return recipient
    raise InputError(f"{only} is not in the list" if only else "the list has no recipient")


class _Proof:
    def __init__(
        self,
        compiled: CompiledCampaign,
        options: SendOptions,
        recipient: Recipient,
        address: str,
        *,
        observer: Observer,
        clock: Clock,
    ) -> None:
        self._compiled, self._options = compiled, options
        self._recipient, self._address = recipient, address
        self._observer, self._clock = observer, clock
        self._started = clock.now()
        self._details: SessionDetails | None = None

    async def send(self, stop: StopSignal) -> RunResult:
        try:
            outcome = await race(self._deliver(), stop.wait())
        except ServerError as error:
            return self._result(Ending.UNREACHABLE, str(error), hint=error.hint)
        if outcome is None:
            return self._result(Ending.INTERRUPTED, "interrupted before the reply to the proof was read")
        self._observer.on_outcome(outcome)
        said = " ".join(str(part) for part in (outcome.code, outcome.reply or outcome.error) if part)
        if outcome.status is not Status.SENT:
            return self._result(
                Ending.INCOMPLETE, f"the proof to {self._address} was refused: {said}", outcome
            )
        went = f"the message of {self._recipient.email} went to {self._address}: {said}"
        return self._result(Ending.COMPLETE, went, outcome)

    def _result(
        self, ending: Ending, reason: str, outcome: Outcome | None = None, *, hint: str | None = None
    ) -> RunResult:
        now = self._clock.now()
        sent = outcome is not None and outcome.status is Status.SENT
        record = RunRecord(
            id=0,  # in no ledger
            run=ulid(self._started),
            campaign=self._compiled.campaign.name,
            edition=1,
            template=self._compiled.fingerprint,
            started=format_time(self._started),
            finished=format_time(now),
            seconds=round(now - self._started, 3),
            server=None if self._details is None else describe_session(self._details),
            messages=0 if outcome is None else 1,
            bytes=(outcome.size or 0) if outcome is not None and sent else 0,
            sessions=0 if self._details is None else 1,
            ending=ending.value,
            reason=reason,
        )
        return RunResult(ending, 1, record, reason, hint, proof=outcome)

    async def _deliver(self) -> Outcome:
        access, options = make_server_access(self._options.server, self._options.password), self._options
        connection = await connect(
            access.endpoint,
            access.login,
            timeout=options.delivery.timeout,
            window=1,
            trace=options.trace,
            on_notice=self._observer.on_warning,
        )
        self._details = connection.details
        self._observer.on_session(connection.details)
        try:
            message = self._compiled.render(self._recipient, eight_bit=connection.extensions.eight_bit_mime)
            utf8 = message.utf8 or not self._address.isascii()
            transaction = Transaction(
                message.sender, (self._address,), message.content, utf8, message.eight_bit
            )
            result = await _submit(connection, transaction)
        except ConnectionLost as error:
            raise ConnectionLost(
                f"{error}: whether the proof arrived is not known", hint=error.hint
            ) from error
        finally:
            connection.abort()
        return replace(self._make_outcome(result, len(message.content)), message_id=message.message_id)

    def _make_outcome(self, result: TransactionResult, size: int) -> Outcome:
        key, at, reply = (
            self._compiled.make_key(self._recipient),
            format_time(self._clock.now()),
            result.reply,
        )
        if reply is None:
            return Outcome(self._address, key, Status.FAILED, size=size, at=at, error=result.problem)
        refusal = Status.DEFERRED if reply.is_transient else Status.FAILED
        return Outcome(
            self._address,
            key,
            Status.SENT if result.is_success else refusal,
            attempts=1,
            code=reply.code,
            enhanced=reply.enhanced,
            reply=reply.text,
            size=size,
            at=at,
        )


async def _submit(connection: Connection, transaction: Transaction) -> TransactionResult:
    connection.submit(transaction)
    results: list[TransactionResult] = []
    while not results:
        results = await connection.next_results()
    await connection.quit()
    return results[0]

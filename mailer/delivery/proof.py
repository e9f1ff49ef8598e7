"""`--proof`: one recipient's message to another address, to be looked at in a real mail program.

Nothing of it enters the ledger, and no copies go out: the people of the campaign are not touched.
"""

from __future__ import annotations

from mailer.campaign.addresses import check_address
from mailer.campaign.model import Campaign, Recipient
from mailer.delivery.clock import Clock
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.race import race
from mailer.delivery.server_access import server_access
from mailer.delivery.signals import StopSignal
from mailer.errors import ConnectionLost, InputError, ServerError
from mailer.ledger import format_time
from mailer.ledger.outcome import Outcome, Status
from mailer.render.compiled import CompiledCampaign
from mailer.smtp.connection import Connection, connect
from mailer.smtp.protocol.values import Transaction, TransactionResult


async def send_proof(
    campaign: Campaign,
    compiled: CompiledCampaign,
    options: SendOptions,
    address: str,
    *,
    observer: Observer,
    clock: Clock,
    stop: StopSignal,
) -> RunResult:
    """Send the first recipient's message (or `only`'s) to `address`. The result has no run.

    Asked to stop, it does at once: nothing of a proof is recorded, so that nothing is left to be settled.
    """
    try:
        address = check_address(address)
    except ValueError as error:
        raise InputError(f"--proof {address}: {error}") from None
    with stop.raising():
        recipient = _chosen(campaign, compiled, options.only)
        compiled.render(recipient)  # a template's error is told before a connection is opened
    try:
        outcome = await race(
            _delivered(compiled, options, recipient, address, observer=observer, at=format_time(clock.now())),
            stop.wait(),
        )
    except ServerError as error:
        return RunResult(Ending.UNREACHABLE, 1, None, str(error), error.hint)
    if outcome is None:
        return RunResult(Ending.INTERRUPTED, 1, None, "interrupted before the reply to the proof was read")
    observer.on_outcome(outcome)
    ending = Ending.COMPLETE if outcome.status is Status.SENT else Ending.INCOMPLETE
    reason = (
        f"the message of {recipient.email} went to {address}"
        if ending is Ending.COMPLETE
        else outcome.reply or outcome.error
    )
    return RunResult(ending, 1, None, reason)


async def _delivered(
    compiled: CompiledCampaign,
    options: SendOptions,
    recipient: Recipient,
    address: str,
    *,
    observer: Observer,
    at: str,
) -> Outcome:
    connection = await _opened(options, observer)
    return await _sent(compiled, connection, recipient, address, at)


def _chosen(campaign: Campaign, compiled: CompiledCampaign, only: str | None) -> Recipient:
    """The one with that address or key, or the first one."""
    for recipient in campaign.recipients:
        if only and recipient.email.casefold() == only.casefold():
            if recipient.problem is not None:
                raise InputError(recipient.problem)
            return recipient
        if recipient.problem is None and (not only or compiled.make_key(recipient) == only):
            return recipient
    raise InputError(f"{only} is not in the list" if only else "the list has nobody to send to")


async def _opened(options: SendOptions, observer: Observer) -> Connection:
    where = server_access(options.server, options.password)
    timeout = options.delivery.timeout
    connection = await connect(where.endpoint, where.login, timeout=timeout, window=1, trace=options.trace)
    observer.on_session(connection.details)
    return connection


async def _sent(
    compiled: CompiledCampaign, connection: Connection, recipient: Recipient, address: str, at: str
) -> Outcome:
    try:
        message = compiled.render(recipient, eight_bit=connection.extensions.eight_bit_mime)
        utf8 = message.utf8 or not address.isascii()
        connection.submit(Transaction(message.sender, (address,), message.content, utf8, message.eight_bit))
        settled: list[TransactionResult] = []
        while not settled:
            settled = await connection.next_results()
        await connection.quit()
    except ConnectionLost as error:
        raise ConnectionLost(f"{error}: whether the proof arrived is not known", hint=error.hint) from error
    finally:
        connection.abort()
    size, key, reply = len(message.content), compiled.make_key(recipient), settled[0].reply
    if reply is None:
        return Outcome(address, key, Status.FAILED, 1, size=size, at=at, error=settled[0].problem)
    status = Status.SENT if settled[0].is_success else Status.FAILED
    return Outcome(address, key, status, 1, reply.code, reply.enhanced, reply.text, message.message_id, size, at)

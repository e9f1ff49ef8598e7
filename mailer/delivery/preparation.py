"""What happens before anything is sent.

    recover claims of former runs -> another edition if asked for -> plan -> preflight -> ask -> decide

What the user decides by an option (about messages in doubt, to try failed recipients again, to give up the
rest of an edition) is written only when sending begins, so an answer of no changes nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from mailer.campaign.model import Campaign
from mailer.delivery.clock import Clock
from mailer.delivery.observer import Observer
from mailer.delivery.options import Ending, RunResult, SendOptions
from mailer.delivery.plan import PlanResult, plan
from mailer.delivery.preflight import preflight
from mailer.errors import InputError, LedgerBusy, append_remainder
from mailer.ledger import Edition, Ledger
from mailer.ledger.outcome import Status
from mailer.ledger.planning import note_campaign_file, set_texts
from mailer.ledger.records import Policy, Recovered
from mailer.ledger.recovery import (
    Decisions,
    abandon_rest,
    apply_decisions,
    count_as_decided,
    recover_claims,
    reopen_deferred,
)
from mailer.render.compile import compile_campaign
from mailer.render.compiled import CompiledCampaign
from mailer.text import count_noun

FATES: dict[Policy, str] = {"resend": "sent again", "hold": "held as in doubt", "sent": "recorded as sent"}


class Preparation:
    """What happens before anything is sent: the edition, with its queue recovered, planned and checked."""

    def __init__(
        self,
        campaign: Campaign,
        compiled: CompiledCampaign,
        ledger: Ledger,
        options: SendOptions,
        *,
        observer: Observer,
        clock: Clock,
    ) -> None:
        """Find the edition of `campaign` in `ledger`, or begin its first one.

        `compiled` is the campaign, compiled for its first edition. `options` are those of the run, `observer`
        is told what happens, and `clock` says when.
        """
        self.compiled = compiled
        self.edition = ledger.ensure_edition(campaign.name)
        self.recovered = Recovered()
        # Every message was rendered within its limits, or found sure to render: it can be rendered here.
        self.is_checked = False
        self._campaign, self._ledger, self._options = campaign, ledger, options
        self._observer, self._clock = observer, clock
        self._recovered_edition = self.edition  # that `in_doubt` of `options` decides about
        self._abandoned: Edition | None = None  # its rest is to be given up
        self._skipped = 0  # recipients for whom no message can be made

    def prepare(self) -> None:
        """Recover, plan and check. To be called once, by the sender that holds the campaign.

        Raises InputError if the list cannot be read, an edition that is to be sent again is not finished, or
        a message cannot be made (unless such recipients are to be skipped).
        """
        ledger, options, campaign = self._ledger, self._options, self._campaign
        self._recover()
        if other := note_campaign_file(ledger, campaign.name, campaign.path, campaign.root):
            self._observer.on_warning(
                f"campaign {campaign.name!r} was sent from {other} before: is this the same campaign?"
            )
        if options.again and self.edition.planned:
            self._require_finished_edition()
            self.edition, self.recovered = ledger.add_edition(campaign.name), Recovered()
        if self.edition.number > 1:  # Message-IDs differ from edition to edition
            self.compiled = compile_campaign(campaign, edition=self.edition.number)
        planned = plan(ledger, campaign, self.compiled, self.edition, observer=self._observer)
        self._warn_of_duplicates(planned)
        self._warn_of_changed_keys(planned)
        problems = append_remainder(planned.invalid, planned.invalid_count)
        if options.preflight:
            checked = preflight(
                ledger,
                self.edition,
                self.compiled,
                self._observer,
                only=options.only,
                with_failed=options.retry_failed,
                with_held=options.in_doubt == "resend",
            )
            problems += checked.problems
            self.is_checked = checked.is_complete
            if problems and not options.skip_invalid:
                raise InputError(problems)
            self._skipped = checked.failed_count
        self._skipped += planned.invalid_count
        if self._skipped:
            self._observer.on_warning(_describe_skipped(self._skipped))
        if others := ledger.count_sent_with_other_template(self.edition, self.compiled.fingerprint):
            recipients = count_noun(others, "recipient")
            self._observer.on_warning(f"{recipients} got the message before the templates were changed")

    def count_recipients(self) -> int:
        """Return how many recipients are to be sent to. Raises InputError if `only` names none."""
        counts = self._count_as_decided(self._options.only)
        if not any(counts.values()) and self._options.only is not None:
            raise InputError(f"{self._options.only} is not in the list")
        return min(counts[Status.PENDING], self._options.limit or counts[Status.PENDING])

    def conclude_without_sending(self) -> RunResult:
        """Write what the options decide, and return the result of a run that has nothing to send."""
        self._write_decisions()
        only = self._options.only
        counts = self._ledger.count_by_status(self.edition, only=only)
        is_incomplete = has_unsent(counts)
        reason = "every recipient has an outcome, but not all of them have the message"
        if not is_incomplete:
            reason = "the campaign is complete"
        if only is not None:
            reason = f"{only}: {', '.join(status.value for status in Status if counts[status])} already"
        return RunResult(
            Ending.INCOMPLETE if is_incomplete else Ending.COMPLETE,
            self.edition.number,
            self._ledger.find_last_run(self.edition),
            reason,
            None
            if is_incomplete or only is not None
            else "--again sends the campaign again, to every recipient",
            nothing_to_do=True,
        )

    def announce_start(self) -> None:
        """Tell the observer that sending begins. It may raise what is not an Exception to prevent that."""
        counts = self._count_as_decided()
        total = sum(counts.values()) - self._skipped
        self._observer.on_start(total, total - counts[Status.PENDING])

    def apply_decisions(self) -> None:
        """Write what the options decide, now that sending begins."""
        self._write_decisions()
        if self._abandoned is not None:
            abandon_rest(self._ledger, self._abandoned)
        set_texts(self._ledger, self.edition, self._campaign.subject.source, self._campaign.sender.source)

    def _write_decisions(self) -> None:
        now = self._clock.now()
        for edition in dict.fromkeys((self._recovered_edition, self.edition)):
            if (decisions := self._find_decisions(edition)) is not None:
                apply_decisions(self._ledger, edition, decisions, now=now)

    def _find_decisions(self, edition: Edition) -> Decisions | None:
        """Return what the options decide about an edition; None is nothing."""
        options = self._options
        doubts = options.in_doubt if edition == self._recovered_edition else None
        retries_failed = options.retry_failed and edition == self.edition
        return Decisions(doubts, retries_failed, options.only) if doubts or retries_failed else None

    def _count_as_decided(self, only: str | None = None) -> Mapping[Status, int]:
        """Return the number of messages by status, as they will be when the decisions are written."""
        ledger, edition = self._ledger, self.edition
        if (decisions := self._find_decisions(edition)) is None:
            return ledger.count_by_status(edition, only=only)
        return count_as_decided(ledger, edition, decisions, now=self._clock.now(), only=only)[1]

    def _recover(self) -> None:
        """Decide about claims of former runs as the campaign says.

        Messages that `--in-doubt` decides about are only counted here, and changed by `apply_decisions`.
        """
        ledger, edition, options, now = self._ledger, self.edition, self._options, self._clock.now()
        given, policy, only = options.in_doubt, options.delivery.in_doubt, options.only
        decided = 0
        if given in ("hold", "sent") and only is None:
            by_campaign = Recovered(0, reopen_deferred(ledger, edition))
        else:
            but = only if given in ("hold", "sent") else None
            by_campaign = recover_claims(ledger, edition, policy, now=now, but=but)
        if given is not None:
            decisions = Decisions(given, only=only)
            decided, _ = count_as_decided(ledger, edition, decisions, now=now)
            if given == "resend" and only is None:
                decided += by_campaign.in_doubt if policy == "resend" else 0
                by_campaign = Recovered(0, by_campaign.deferred)
            self._warn_of_doubts(decided, given)
        self._warn_of_doubts(by_campaign.in_doubt, policy)
        self.recovered = Recovered(decided + by_campaign.in_doubt, by_campaign.deferred)

    def _warn_of_doubts(self, count: int, fate: Policy) -> None:
        if count:
            were = "message was" if count == 1 else "messages were"
            self._observer.on_warning(f"{count:,} {were} in flight when a former run ended: {FATES[fate]}")

    def _require_finished_edition(self) -> None:
        """Raise InputError if the edition is not finished, or abandon its rest."""
        if self.edition.complete:
            return
        if self._ledger.has_other_senders(self.edition.campaign):
            hint = "--again needs a finished edition"
            raise LedgerBusy(f"another sender is sending {self.edition.campaign!r}", hint=hint)
        if self._options.abandon:
            self._abandoned = self.edition
            return
        counts = self._ledger.count_by_status(self.edition)
        rest = ", ".join(
            f"{counts[status]:,} {status.value}"
            for status in (Status.PENDING, Status.DEFERRED)
            if counts[status]
        )
        raise InputError(
            f"campaign {self.edition.campaign!r} is not finished: {rest}",
            hint="run the command without --again to send the rest, or with --again --abandon to give the rest up",
        )

    def _warn_of_changed_keys(self, planned: PlanResult) -> None:
        if planned.key_changed:
            people = count_noun(planned.key_changed, "recipient")
            have = "has" if planned.key_changed == 1 else "have"
            self._observer.on_warning(
                f"{people} who {have} the message {have} another `key` now, and would get it again; "
                "if that is not meant, give the campaign its former `key`"
            )

    def _warn_of_duplicates(self, planned: PlanResult) -> None:
        for problem in append_remainder(planned.duplicates, planned.duplicate_count):
            self._observer.on_warning(str(problem))


def _describe_skipped(count: int) -> str:
    if count == 1:
        return "1 recipient cannot be sent to: it is skipped, and reported as failed"
    return f"{count:,} recipients cannot be sent to: they are skipped, and reported as failed"


def describe_unsent(counts: Mapping[Status, int]) -> str:
    """Return, of the `counts` of each status, those without the message: `2 failed, 1 in doubt`."""
    missing = (Status.FAILED, Status.DEFERRED, Status.IN_DOUBT, Status.PENDING)
    return ", ".join(
        f"{counts[status]:,} {status.value.replace('_', ' ')}" for status in missing if counts[status]
    )


def has_unsent(counts: Mapping[Status, int]) -> bool:
    """Return whether a recipient failed, is deferred or in doubt, by the `counts` of each status."""
    return bool(counts[Status.FAILED] or counts[Status.DEFERRED] or counts[Status.IN_DOUBT])

"""What a run does about replies that concern more than one message: pauses, and giving up."""

from __future__ import annotations

from mailer.campaign.model import Backoff
from mailer.delivery.backoff import seconds_of_pause
from mailer.delivery.coordination import Coordinator
from mailer.delivery.options import Ending
from mailer.delivery.pacing import Pacer
from mailer.delivery.reply_rules import ReplyAction, ReplyRule
from mailer.delivery.run_state import RunState
from mailer.errors import ServerReply


class Throttle:
    """Pauses the run, or ends it, as a server's replies say. `pause_count` counts the pauses of the run."""

    def __init__(self, state: RunState, pacer: Pacer, backoff: Backoff, coordinator: Coordinator) -> None:
        """Pause `pacer`, and by `coordinator` the other runs; end the run by its `state`.

        `backoff` says how long pauses last.
        """
        self._state, self._pacer, self._backoff = state, pacer, backoff
        self._coordinator = coordinator
        self._pauses_in_a_row = 0
        self.pause_count = 0

    def count_sent(self) -> None:
        """Count one accepted message: the pace may grow, and pauses are no longer in a row."""
        self._pacer.accept(1)
        self._pauses_in_a_row = 0

    def apply_rule(self, rule: ReplyRule, reply: ServerReply) -> bool:
        """Do what a rule says of the run; `reply` is what the server said.

        Returns False if the rule says nothing of the run.
        """
        said = f"{rule.meaning} ({reply.code} {reply.text})"
        if rule.action is ReplyAction.GIVE_UP:
            self._state.end(Ending.GIVEN_UP, said, rule.hint)
        elif rule.action is ReplyAction.UNUSABLE_SERVER:
            self._state.end(Ending.UNREACHABLE, said, rule.hint)
        elif rule.action in (ReplyAction.PAUSE, ReplyAction.WAIT_FOR_LOGIN):
            self.pause(rule.meaning, reply)
        else:
            return False
        return True

    def pause(self, why: str, reply: ServerReply | None = None) -> None:
        """Start no message for a while; `why` is for a person, with the server's `reply`.

        Replies to what was in flight already do not make the pause longer.
        """
        now = self._state.clock.now()
        if self._pacer.is_paused(now):
            return
        self._pauses_in_a_row += 1
        self.pause_count += 1
        seconds = seconds_of_pause(self._backoff, self._pauses_in_a_row)
        if seconds is None:
            said = f" ({reply.code} {reply.text})" if reply else ""
            ending = (
                Ending.GIVEN_UP if self._state.figures.sessions else Ending.UNREACHABLE
            )  # never let us in
            self._state.end(ending, f"{why}, still after {self._pauses_in_a_row - 1} pauses{said}")
            return
        self._pacer.pause(seconds, now)
        self._coordinator.pause_others(seconds, why)
        self._state.observer.on_waiting(seconds, why)

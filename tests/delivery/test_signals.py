import asyncio
import os
import signal

import pytest

from mailer.delivery.signals import Interrupted, StopSignal


def test_the_first_signal_asks_to_stop_and_the_second_to_stop_at_once():
    stop = StopSignal()
    stop.request(signal.SIGTERM)
    assert (stop.requested, stop.at_once, stop.number) == (True, False, signal.SIGTERM)
    stop.request(signal.SIGINT)
    assert (stop.at_once, stop.number) == (True, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_wakes_a_waiting_task(number):
    async def body(stop):
        waiting = asyncio.ensure_future(stop.wait())
        await asyncio.sleep(0)
        os.kill(os.getpid(), number)
        await asyncio.wait_for(waiting, 5)
        again = asyncio.ensure_future(stop.wait())
        await asyncio.sleep(0.01)
        assert not again.done()
        os.kill(os.getpid(), number)
        await asyncio.wait_for(again, 5)

    with StopSignal().handle_signals() as stop:
        asyncio.run(body(stop))
    assert stop.at_once
    assert stop.number == number


def test_a_request_before_the_wait_counts():
    stop = StopSignal()
    stop.request()
    asyncio.run(asyncio.wait_for(stop.wait(), 5))


def test_a_request_raises_while_nothing_is_sent():
    def loop_that_never_looks() -> None:
        with stop.raise_on_request():
            os.kill(os.getpid(), signal.SIGTERM)
            while True:
                pass

    with StopSignal().handle_signals() as stop, pytest.raises(Interrupted):
        loop_that_never_looks()
    assert stop.requested


def test_the_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal().handle_signals():
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before


def test_what_the_parent_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignal().handle_signals() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert not stop.requested
    finally:
        signal.signal(signal.SIGHUP, before)

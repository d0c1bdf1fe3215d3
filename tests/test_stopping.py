"""Ctrl-C once asks for a stop at the next checkpoint, twice stops now."""

import os
import signal

import pytest

from bench.driver.stopping import stoppable
from bench.schedule import InlineExecutor, Job
from bench.trial import interruption


@pytest.fixture(autouse=True)
def heard():
    """Signals as in a foreground process, whatever the tests themselves were started with."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
    assert not interruption.requested()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "terminated"])
def test_once_asks_and_twice_interrupts(number, capfd):
    with stoppable():
        os.kill(os.getpid(), number)
        assert interruption.requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert capfd.readouterr().err == "stopping after the next checkpoint; Ctrl-C again stops now\n"


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGTERM)
    with stoppable():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_what_was_ignored_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stoppable():
        os.kill(os.getpid(), signal.SIGINT)
        assert not interruption.requested()


def test_jobs_that_have_not_begun_do_not_begin(monkeypatch):
    import bench.schedule.inline as inline

    monkeypatch.setattr(inline, "call", lambda work, payload: ({"status": "ok"}, {}))
    events = []

    def ask_after_the_second(event):
        events.append((event.kind, event.job.key))
        if len(events) == 4:
            interruption.request()

    with stoppable(), pytest.raises(KeyboardInterrupt):
        InlineExecutor().run(
            [Job(key) for key in "abcd"], "any:work", on_event=ask_after_the_second, on_interrupt=lambda: events.append("flushed")
        )
    assert events == [("started", "a"), ("finished", "a"), ("started", "b"), ("finished", "b"), "flushed"]

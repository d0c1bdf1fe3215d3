"""Ctrl-C, once and twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from bench.trial import interruption

TOLD = "stopping after the next checkpoint; Ctrl-C again stops now\n"


@contextmanager
def stoppable() -> Iterator[None]:
    """Ctrl-C or SIGTERM asks what runs to stop at its next checkpoint; the second one is a KeyboardInterrupt at once.

    A process that was started with one of them ignored, as in the background of a script, goes on ignoring it.
    """

    def ask(number: int, frame: FrameType | None) -> None:
        if interruption.requested():
            raise KeyboardInterrupt
        interruption.request()
        with suppress(OSError):
            os.write(2, TOLD.encode())  # not print: the signal may have come in the middle of one

    heard = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, ask) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        interruption.withdraw()

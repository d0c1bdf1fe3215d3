"""A request to stop at the next safe point, to whatever works in this process.

A trial heeds it where its last checkpoint is worth as much as going on; nobody has to.
"""

import threading

_requested = threading.Event()  # set by another thread, or by a signal


def request() -> None:
    """Ask for a stop."""
    _requested.set()


def requested() -> bool:
    """Whether a stop was asked for."""
    return _requested.is_set()


def withdraw() -> None:
    """Ask for it no more."""
    _requested.clear()


def check() -> None:
    """Stop here if that was asked for; call it where nothing is lost by it.

    Raises:
        KeyboardInterrupt: a stop was asked for.
    """
    if requested():
        raise KeyboardInterrupt

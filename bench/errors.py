"""Errors with a cure in their text, and the exit code each of them leads to."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """What a `bench` command tells its caller."""

    OK = 0  # diverged and skipped are outcomes, not failures
    CELL_FAILED = 1  # a cell failed, ran out of memory or time, or its infrastructure broke
    INTERRUPTED = 2
    BROKEN_PLUGIN = 3  # a named plugin is broken, or an internal error
    USAGE = 4  # usage, or an invalid suite
    NOTHING_SELECTED = 5
    REGRESSION = 6  # found by compare


class BenchError(Exception):
    """Base of every error whose text is meant for a user: what is wrong, where, and what to do."""

    exit_code = ExitCode.BROKEN_PLUGIN


class UsageError(BenchError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = ExitCode.USAGE


class SuiteError(BenchError):
    """A suite file is invalid; the text lists every problem with its place."""

    exit_code = ExitCode.USAGE


class NothingSelectedError(BenchError):
    """A filter matched no cell."""

    exit_code = ExitCode.NOTHING_SELECTED


class PluginError(BenchError):
    """A plugin that a suite names is broken or unavailable."""


class ContractError(BenchError):
    """A component broke its contract; the text names the component, the rule and a cure."""


class MetricError(BenchError):
    """A measure was asked for something it does not define."""


class DataError(BenchError):
    """Data that a task distribution needs is missing or not what it should be."""

    exit_code = ExitCode.USAGE


class StoreError(BenchError):
    """A results folder cannot be read or written."""

    exit_code = ExitCode.USAGE


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` Did you mean 'x'?`` for the closest known word, or an empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean {close[0]!r}?" if close else ""

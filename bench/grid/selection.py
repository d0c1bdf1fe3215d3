"""Which cells a ``-k`` expression means: words joined by ``and``, ``or``, ``not`` and brackets."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bench.errors import NothingSelectedError, UsageError
from bench.grid.cells import Trial

# A word of -k; brackets right after it belong to it, as in the label maml(order=2).
TOKEN = re.compile(r"(?!(?:and|or|not)\()[^\s()]+\([^()]*\)|[^\s()]+|[()]")


def select(trials: list[Trial], expression: str) -> list[Trial]:
    """Cells whose labels match ``expression``: words joined by ``and``, ``or``, ``not`` and brackets, as in pytest's -k.

    A word is part of a label, or spells a column out: ``shots=5``, ``replicate=0``, ``arm=reptile`` (that arm and no variant of it).
    The tuning trials that choose the settings of a cell come with it.

    Raises:
        NothingSelectedError: no cell matches.
        UsageError: the expression cannot be read.
    """
    final = [trial for trial in trials if trial.configuration is None]
    chosen = [trial for trial in final if matches(expression, trial.cell())]
    if not chosen:
        arms = sorted({trial.arm for trial in final})
        raise NothingSelectedError(f"-k {expression!r} selects none of {len(final)} cells; arms: {', '.join(arms)}")
    wanted = {trial.trial_id for trial in chosen}.union(*(trial.tuning or () for trial in chosen))
    return [trial for trial in trials if trial.trial_id in wanted]


def matches(expression: str, cell: Mapping[str, Any]) -> bool:
    """Whether a -k expression means the trial with these columns, see :meth:`bench.grid.cells.Trial.cell`.

    Raises:
        UsageError: the expression cannot be read.
    """
    tokens = TOKEN.findall(expression.lower())
    text = " ".join(value for value in cell.values() if isinstance(value, str)).lower()
    spelled = {f"{name}={value}".lower() for name, value in cell.items()}

    def either() -> bool:
        value = both()
        while tokens and tokens[0] == "or":
            tokens.pop(0)
            value = both() or value
        return value

    def both() -> bool:
        value = inverse()
        while tokens and tokens[0] == "and":
            tokens.pop(0)
            value = inverse() and value
        return value

    def inverse() -> bool:
        if not tokens or tokens[0] in ("and", "or", ")"):
            raise UsageError(
                f"-k {expression!r} cannot be read; write words joined by and, or, not, for example 'reptile and not wasserstein'"
            )
        token = tokens.pop(0)
        if token == "not":
            return not inverse()
        if token == "(":
            value = either()
            if not tokens or tokens.pop(0) != ")":
                raise UsageError(f"-k {expression!r}: a bracket is not closed")
            return value
        return token in spelled if token.partition("=")[0] in cell else token in text

    value = either()
    if tokens:
        raise UsageError(f"-k {expression!r} cannot be read after {tokens[0]!r}; join words by and, or, not")
    return value

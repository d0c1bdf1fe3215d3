"""Measurements of one trial, gathered column by column."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from bench.store import MEASUREMENT_COLUMNS


class Rows:
    """Grows by rows, is stored by columns; a column that a row does not name is None there."""

    def __init__(self, columns: Mapping[str, list[Any]] | None = None) -> None:
        self.columns: dict[str, list[Any]] = {name: list((columns or {}).get(name, [])) for name in MEASUREMENT_COLUMNS}

    def add(self, **values: Any) -> None:
        """One measurement; ``split``, ``metric`` and ``value`` at least."""
        for name in MEASUREMENT_COLUMNS:
            self.columns[name].append(values.get(name, "" if name in ("task_id", "fingerprint") else None))

    def extend(self, other: Rows) -> None:
        """All rows of ``other``."""
        for name in MEASUREMENT_COLUMNS:
            self.columns[name] += other.columns[name]

    def keep(self, split: str, outer_steps: Iterable[int]) -> None:
        """Of the rows of ``split``, those at ``outer_steps`` only."""
        wanted = set(outer_steps)
        places = zip(self.columns["split"], self.columns["outer_step"], strict=True)
        kept = [own != split or step in wanted for own, step in places]
        self.columns = {name: list(itertools.compress(values, kept)) for name, values in self.columns.items()}

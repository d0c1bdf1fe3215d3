"""What was measured, as rows and as a page."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("section", "regime", "contender", "quantity", "value")
GOALS = {  # of the slower of this engine and its best peer in a round
    "mlp T8 K5 second order": 1.7,
    "mlp T8 K5 first order": 2.4,
    "mlp T8 K10 reptile, sgd": 2.4,
    "mlp T8 K10 reptile, adam": 2.4,
    "conv T8 K3 second order": 1.3,
    "conv T8 K5 second order": 1.3,
    "conv T8 K3 first order": 1.4,
    "conv T8 K5 first order": 1.4,
    "conv T8 K10 reptile, sgd": 1.6,
    "conv T8 K10 reptile, adam": 1.6,
    "mlp memory": 4.5,
    "conv memory": 3.0,
}
"""Wanted ratios: peer / engine in time, plain unrolling / engine in memory."""


def write_rows(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """The long form: one number a row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(line) + " |" for line in lines), ""]


def verdict(name: str, ratio: float) -> str:
    """A ratio beside its goal, where it has one."""
    return f"{ratio:.2f}" if name not in GOALS else f"{ratio:.2f} (wanted {GOALS[name]}: {'met' if ratio >= GOALS[name] else 'missed'})"

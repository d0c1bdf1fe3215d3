"""Tables and small curves on a terminal, for those on a cluster without a browser."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from bench.report.blocks import Table
from bench.report.text import clean

_BARS = "▁▂▃▄▅▆▇█"


def terminal_table(table: Table, *, width: int, colour: bool = False) -> str:
    """The table with its caption; where not all columns fit, the last ones are left out and named below."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Grid
    from rich.text import Text

    shown = _fitting(table, width)
    grid = Grid(title=Text(clean(table.caption)), title_justify="left", title_style="bold", box=box.SIMPLE_HEAD, pad_edge=False)
    for i, heading in enumerate(table.columns[:shown]):
        numeric = i > 0 and all(row[i].numeric for row in table.rows)
        grid.add_column(Text(clean(heading)), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        grid.add_row(*(Text(clean(cell.text), style="bold" if cell.best else "") for cell in row[:shown]))
    text = io.StringIO()
    Console(file=text, width=width, force_terminal=colour, no_color=not colour, highlight=False).print(grid)
    lines = [line.rstrip() for line in text.getvalue().splitlines()]
    left_out = [f"Too wide for this terminal: {', '.join(map(clean, table.columns[shown:]))}."] if shown < len(table.columns) else []
    return "\n".join([*lines, *left_out])


def _fitting(table: Table, width: int) -> int:
    """How many of the columns fit in ``width``, headings folded at spaces; at least two."""
    used = 0
    for i, heading in enumerate(table.columns):
        words = [len(word) for word in clean(heading).split()]
        used += max([*words, *(len(clean(row[i].text)) for row in table.rows)]) + 3
        if used > width and i > 1:
            return i
    return len(table.columns)


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """One character a value, from ``▁`` at ``low`` to ``█`` at ``high``; ``?`` where a value is undefined."""
    span = high - low

    def bar(value: float) -> str:
        if not math.isfinite(value):
            return "?"
        share = (value - low) / span if span > 0 else 0.0
        return _BARS[min(len(_BARS) - 1, max(0, round(share * (len(_BARS) - 1))))]

    return "".join(map(bar, values))

import math

import pandas as pd
import pytest

from bench.report.blocks import Cell, Table
from bench.report.terminal import sparkline, terminal_table

TABLE = Table(
    "t",
    "A caption",
    ("arm", "energy distance", "KID", "FLOPs"),
    ((Cell("reptile", numeric=False), Cell("1.5 [1.0, 2.0]", best=True), Cell("3"), Cell("4.00 G")),),
    pd.DataFrame(),
)


def test_a_wide_terminal_shows_every_column():
    text = terminal_table(TABLE, width=120)
    for words in ("A caption", "arm", "energy distance", "reptile", "1.5 [1.0, 2.0]", "4.00 G"):
        assert words in text
    assert "Too wide" not in text


@pytest.mark.parametrize("width", [20, 40])
def test_a_narrow_one_says_what_it_leaves_out(width):
    text = terminal_table(TABLE, width=width)
    assert "reptile" in text
    assert "Too wide for this terminal:" in text
    assert "FLOPs." in text
    assert max(map(len, text.splitlines()[:-1])) <= width


def test_bold_type_is_for_terminals_only():
    assert "\x1b" not in terminal_table(TABLE, width=100)
    assert "\x1b[1m" in terminal_table(TABLE, width=100, colour=True)


def test_hostile_text_is_visible_and_inert():
    table = Table("t", "c", ("arm",), ((Cell("[red]x\x1b[2J", numeric=False),),), pd.DataFrame())
    text = terminal_table(table, width=80)
    assert "[red]x⟨U+001B⟩[2J" in text


def test_a_sparkline_goes_from_lowest_to_highest_and_marks_what_is_undefined():
    assert sparkline([0, 1, 0.5, math.nan], 0, 1) == "▁█▅?"
    assert sparkline([2, 2], 2, 2) == "▁▁"

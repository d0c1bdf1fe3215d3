import re

import pandas as pd
import pytest

from bench.report.blocks import Cell, Paragraph, Section, Table, text_row
from bench.report.files import report_markdown, table_csv, table_latex, table_markdown

HOSTILE = r'\end{table} 50% of $x_1$ & "a|b" #{} <script>alert(1)</script> ~^ ' + "\u202eabc"


@pytest.fixture
def table():
    return Table(
        key="results",
        caption=f"Results of {HOSTILE}",
        columns=("arm", "energy_distance ↓", "note"),
        rows=(
            (Cell("reptile", numeric=False), Cell("−0.06 [−0.08, −0.04]", best=True), Cell(HOSTILE, numeric=False)),
            (Cell(HOSTILE, numeric=False), Cell("0.1‡"), Cell("none", numeric=False)),
        ),
        data=pd.DataFrame({"arm": ["reptile", HOSTILE], "energy": [-0.0612345678901, 0.1]}),
        notes=("‡ capped",),
    )


def unescaped(text, character):
    return len(re.findall(rf"(?<!\\){re.escape(character)}", text))


def test_latex_has_balanced_groups_environments_and_one_cell_a_column(table):
    text = table_latex(table)
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))
    assert unescaped(body, "{") == unescaped(body, "}")
    assert re.findall(r"\\begin\{(\w+)\}", body) == ["table", "tabular"]
    assert re.findall(r"\\end\{(\w+)\}", body) == ["tabular", "table"]
    rows = [line for line in body.splitlines() if line.endswith(r"\\")]
    assert len(rows) == 3
    assert all(unescaped(row, "&") == 2 for row in rows)
    assert unescaped(body, "$") % 2 == 0
    assert all(r"\%" in line or "%" not in line for line in body.splitlines() if not line.endswith("{%"))
    assert body.isascii() or all(ord(c) < 256 for c in body)
    for command in (r"\toprule", r"\midrule", r"\bottomrule", r"\textbf{$-$0.06"):
        assert command in body


def test_a_wide_latex_table_is_scaled_to_the_line():
    wide = Table("wide", "Wide", tuple(f"c{i}" for i in range(9)), (text_row(*map(str, range(9))),), pd.DataFrame())
    text = table_latex(wide)
    assert r"\resizebox{\linewidth}{!}{%" in text
    assert "\\end{tabular}}" in text


def test_markdown_rows_have_one_cell_a_column_whatever_they_hold(table):
    rows = [line for line in table_markdown(table).splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {unescaped(row, "|") for row in rows} == {4}
    assert "<script>" not in table_markdown(table)
    assert "**−0.06" in rows[2]


def test_csv_keeps_the_numbers_unrounded(table):
    assert "-0.0612345678901" in table_csv(table)


def test_the_markdown_report_says_that_it_is_partial(table):
    sections = [Section("answer", "Answer", (Paragraph("A beats B.", "answer"), table))]
    assert "**Partial report.** 3 planned cells" in report_markdown("x", sections, partial=3)
    assert "Partial" not in report_markdown("x", sections, partial=0)

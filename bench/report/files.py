"""Tables and the whole report as plain files: CSV, Markdown and LaTeX."""

from __future__ import annotations

from collections.abc import Sequence
from textwrap import indent

from bench.report.blocks import Cell, Gallery, Paragraph, Section, Table
from bench.report.text import clean, clean_lines, latex, markdown


def table_csv(table: Table) -> str:
    """The numbers behind a table, unrounded."""
    return table.data.to_csv(index=False, lineterminator="\n")


def table_markdown(table: Table) -> str:
    """A pipe table with its caption and notes."""

    def cell(value: Cell) -> str:
        return f"**{markdown(value.text)}**" if value.best else markdown(value.text)

    align = ["---", *("---:" if _numeric(table, i) else "---" for i in range(1, len(table.columns)))]
    lines = [
        f"**{markdown(table.caption)}**",
        "",
        f"| {' | '.join(markdown(c) for c in table.columns)} |",
        f"| {' | '.join(align)} |",
        *(f"| {' | '.join(cell(c) for c in row)} |" for row in table.rows),
    ]
    return "\n".join(lines + [line for note in table.notes for line in ("", markdown(note))]) + "\n"


def table_latex(table: Table) -> str:
    """A booktabs ``table`` that compiles as is; more than six columns are scaled to the line, long texts get paragraph columns."""

    def cell(value: Cell) -> str:
        return rf"\textbf{{{latex(value.text)}}}" if value.best else latex(value.text)

    columns = ""
    for i in range(len(table.columns)):
        longest = max((len(clean(row[i].text)) for row in table.rows), default=0)
        columns += "r" if i and _numeric(table, i) else r"p{6cm}" if longest > 40 else "l"
    notes = "".join(rf"\par\smallskip {latex(note)}" + "\n" for note in table.notes)
    body = "\n".join(f"{' & '.join(cell(c) for c in row)} \\\\" for row in table.rows)
    scale, close = ("\\resizebox{\\linewidth}{!}{%\n", "}") if len(table.columns) > 6 else ("", "")
    return (
        "% needs \\usepackage{booktabs}, \\usepackage{graphicx}, \\usepackage[T1]{fontenc} and \\usepackage[utf8]{inputenc}\n"
        f"\\begin{{table}}\n\\centering\\footnotesize\n\\caption{{{latex(table.caption)}}}\n\\label{{tab:{table.key}}}\n"
        f"{scale}\\begin{{tabular}}{{{columns}}}\n\\toprule\n{' & '.join(latex(c) for c in table.columns)} \\\\\n\\midrule\n"
        f"{body}\n\\bottomrule\n\\end{{tabular}}{close}\n{notes}\\end{{table}}\n"
    )


def report_markdown(title: str, sections: Sequence[Section], *, partial: int) -> str:
    """The whole report; figures are links to the files beside it."""
    parts = [f"# {markdown(title)}"]
    if partial:
        parts.append(f"**Partial report.** {partial} planned cells have no result yet; numbers will change.")
    for section in sections:
        parts.append(f"## {markdown(section.title)}")
        for block in section.blocks:
            if isinstance(block, Paragraph):
                parts.append(_paragraph(block))
            elif isinstance(block, Table):
                parts.append(table_markdown(block).rstrip("\n"))
            elif isinstance(block, Gallery):
                parts += [f"![{markdown(p.alt)}]({p.key}.png)" for p in block.pictures]
    return "\n\n".join(parts) + "\n"


def _paragraph(block: Paragraph) -> str:
    if block.role == "code":
        return indent(clean_lines(block.text), "    ")
    if block.role == "heading":
        return f"### {markdown(block.text)}"
    return f"> {markdown(block.text)}" if block.role in ("question", "answer") else markdown(block.text)


def _numeric(table: Table, column: int) -> bool:
    return all(row[column].numeric for row in table.rows)

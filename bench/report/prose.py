"""Markdown that a reporter plugin wrote -> blocks of the report.

Headings, paragraphs, list items, pipe tables and code become blocks; everything else, HTML and inline marks too, stays text that
the formats escape like any other. So a plugin's text can be read, and can do nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import pandas as pd

from bench.report.blocks import Block, Cell, Paragraph, Table

_HEADING = re.compile(r"#{1,6}\s+(.*?)\s*#*$")
_ITEM = re.compile(r"\s*(?:[-*+]|\d+[.)])\s+(.*)")
_FENCE = re.compile(r"\s*(```+|~~~+)")
_RULE = re.compile(r"\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*")
_BAR = re.compile(r"(?<!\\)\|")


def prose(text: str, *, key: str, title: str) -> tuple[Block, ...]:
    """The blocks of a text.

    Args:
        text: Markdown.
        key: what the file names of its tables begin with.
        title: caption of tables before the first heading; later ones have the heading above them.
    """
    lines, caption, at = text.splitlines(), title, 0
    blocks: list[Block] = []
    while at < len(lines):
        taken, found = _block(lines[at:], caption, f"{key}-{sum(isinstance(block, Table) for block in blocks) + 1}")
        at += taken
        if found is not None:
            blocks.append(found)
            caption = found.text if isinstance(found, Paragraph) and found.role == "heading" else caption
    return tuple(blocks)


def _block(lines: Sequence[str], caption: str, key: str) -> tuple[int, Block | None]:
    """How many lines the first block takes, and the block; None for an empty line."""
    line = lines[0]
    if not line.strip():
        return 1, None
    if fence := _FENCE.match(line):
        end = next((i for i, later in enumerate(lines[1:], 1) if later.strip() == fence[1]), len(lines))
        return end + 1, Paragraph("\n".join(lines[1:end]), "code")
    if line.startswith("    "):
        end = _run(lines, lambda later: later.startswith("    "))
        return end, Paragraph("\n".join(code[4:] for code in lines[:end]), "code")
    if heading := _HEADING.match(line):
        return 1, Paragraph(heading[1], "heading")
    if _begins_table(lines):
        end = _run(lines, lambda later: "|" in later)
        return end, _table(lines[:end], caption, key)
    if item := _ITEM.match(line):
        return 1, Paragraph(f"• {item[1]}")
    end = 1
    while end < len(lines) and _continues(lines[end:]):
        end += 1
    return end, Paragraph(" ".join(part.strip() for part in lines[:end]))


def _run(lines: Sequence[str], belongs: Callable[[str], bool]) -> int:
    return next((i for i, line in enumerate(lines) if not belongs(line)), len(lines))


def _begins_table(lines: Sequence[str]) -> bool:
    return "|" in lines[0] and len(lines) > 1 and "|" in lines[1] and _RULE.fullmatch(lines[1]) is not None


def _continues(lines: Sequence[str]) -> bool:
    """Whether a paragraph goes on with the first of these lines."""
    first = lines[0]
    return bool(first.strip()) and not (_FENCE.match(first) or _HEADING.match(first) or _ITEM.match(first) or _begins_table(lines))


def _table(lines: Sequence[str], caption: str, key: str) -> Table:
    """A pipe table; a column that is aligned right holds numbers. Rows get as many cells as there are headings."""
    head, rule, *body = map(_cells, lines)
    rows = [[*row, *[""] * len(head)][: len(head)] for row in body]
    numeric = [*(mark.endswith(":") and not mark.startswith(":") for mark in rule), *[False] * len(head)]
    return Table(
        key=key,
        caption=caption,
        columns=tuple(head),
        rows=tuple(tuple(Cell(text, numeric=is_number) for text, is_number in zip(row, numeric, strict=False)) for row in rows),
        data=pd.DataFrame(rows, columns=head),
    )


def _cells(line: str) -> list[str]:
    return [cell.strip().replace(r"\|", "|") for cell in _BAR.split(line.strip().removeprefix("|").removesuffix("|"))]

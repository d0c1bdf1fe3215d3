"""What a report is made of: sections of paragraphs, tables and figures, independent of the format they are written in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from bench.report.style import Picture


@dataclass(frozen=True)
class Cell:
    """One formatted cell; ``best`` only where the interval of the difference to the second says so.

    Attributes:
        anchor: id that other cells of the page link to; of the first cell of a row, that row's.
        link: anchor of what is behind the text.
    """

    text: str
    best: bool = False
    numeric: bool = True
    anchor: str = ""
    link: str = ""


@dataclass(frozen=True)
class Table:
    """A table for people (``rows``) and the numbers behind it (``data``, for CSV).

    Attributes:
        key: file name without ending.
        columns: headings; the first column names the row.
        notes: what a reader needs to read it rightly.
        fixed: its rows are settings, read in their order; there is nothing to sort or filter.
    """

    key: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    data: pd.DataFrame
    notes: tuple[str, ...] = ()
    fixed: bool = False


@dataclass(frozen=True)
class Paragraph:
    """A paragraph; ``role`` is ``answer``, ``warning``, ``question``, ``code`` or ``''``."""

    text: str
    role: str = ""


@dataclass(frozen=True)
class Gallery:
    """Figures side by side. ``wide`` ones keep their size and scroll inside their own box; ``folded`` ones open on demand."""

    pictures: tuple[Picture, ...]
    wide: bool = False
    folded: str = ""


Block = Paragraph | Table | Gallery


@dataclass(frozen=True)
class Told:
    """What a reporter plugin says: ``text`` is its Markdown, or, where ``failed``, why there is none.

    Attributes:
        reporter: name of the component.
        origin: its plugin.
    """

    reporter: str
    origin: str
    text: str
    failed: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with its blocks."""

    key: str
    title: str
    blocks: tuple[Block, ...] = field(default_factory=tuple)

    @property
    def tables(self) -> tuple[Table, ...]:
        """Its tables, in order."""
        return tuple(b for b in self.blocks if isinstance(b, Table))

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """Its figures, in order."""
        return tuple(p for b in self.blocks if isinstance(b, Gallery) for p in b.pictures)


def text_row(*texts: str) -> tuple[Cell, ...]:
    """A row of words."""
    return tuple(Cell(text, numeric=False) for text in texts)


def pairs_table(key: str, caption: str, pairs: Sequence[tuple[str, str]], heading: tuple[str, str] = ("setting", "value")) -> Table:
    """A two-column table of names and values."""
    data = pd.DataFrame(list(pairs), columns=list(heading))
    return Table(key, caption, heading, tuple(text_row(*pair) for pair in pairs), data, fixed=True)

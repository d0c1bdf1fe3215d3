"""Samples that are images: rows of tiles under headings, whole pixels, never smoothed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from bench.report.style import DPI, Frame, drawable, sheet

Array = npt.NDArray[np.float64]

_TILE = 76  # device pixels of a tile, about
_GAP, _SPACE = 2, 18  # device pixels between tiles, and between strips
_HEAD, _LINE, _LETTER = 34, 26, 12  # device pixels: above the tiles, of a line of text, and of a letter
_NOT_FINITE = (0.84, 0.37, 0.0)


@dataclass(frozen=True)
class TileRow:
    """A named row of strips (n, C, H, W), one under each heading; ``notes`` are a few letters under each tile of a strip."""

    name: str
    strips: Sequence[Array]
    notes: Mapping[int, Sequence[str]] = field(default_factory=dict)


@contextmanager
def tile_sheet(
    rows: Sequence[TileRow],
    headings: Sequence[str],
    limits: tuple[float, float],
    *,
    corner: str = "",
) -> Iterator[tuple[Figure, tuple[Frame, ...]]]:
    """A figure of tiles, and the place of each heading's strips in it.

    Args:
        rows: from top to bottom.
        headings: of the strips.
        limits: values that are black and white.
        corner: text above the names of the rows.
    """
    zoom = max(1, round(_TILE / max(rows[0].strips[0].shape[-2:])))  # device pixels a sample pixel
    strips = [[_strip(samples, limits, zoom) for samples in row.strips] for row in rows]
    tall, widths = strips[0][0].shape[0], [max(strip.shape[1] for strip in column) for column in zip(*strips, strict=True)]
    pitch = tall + 4 + (_LINE if any(row.notes for row in rows) else 0)
    label = 22 + _LETTER * max(len(drawable(name, 24)) for name in (corner, *(row.name for row in rows)))
    starts = [label + sum(widths[:i]) + _SPACE * i for i in range(len(widths))]
    height, width = _HEAD + len(rows) * pitch, starts[-1] + widths[-1]
    pixels = np.full((height, width, 4), 255, np.uint8)
    for r, of_row in enumerate(strips):
        for start, strip in zip(starts, of_row, strict=True):
            pixels[_HEAD + r * pitch :, start:, :3][: strip.shape[0], : strip.shape[1]] = np.round(255 * strip)
    with sheet(width / DPI, height / DPI, fitted=False) as figure:
        figure.figimage(pixels, resize=False)
        _write(figure, 2, 4, drawable(corner, 24))
        for start, heading in zip(starts, headings, strict=True):
            _write(figure, start, 4, drawable(heading, 30))
        for r, row in enumerate(rows):
            top = _HEAD + r * pitch
            _write(figure, 2, top + tall / 2 - 12, drawable(row.name, 24))
            for column, notes in row.notes.items():
                for n, note in enumerate(notes):
                    _write(figure, starts[column] + n * (zoom * row.strips[column].shape[-1] + _GAP), top + tall, note)
        boxes = [(start / width, _HEAD / height, wide / width, 1 - _HEAD / height) for start, wide in zip(starts, widths, strict=True)]
        yield figure, tuple(Frame(heading, box) for heading, box in zip(headings, boxes, strict=True))


def _strip(samples: Array, limits: tuple[float, float], zoom: int) -> Array:
    """(n, C, H, W) -> one row of tiles (H', W', 3) in [0, 1]; values that are not finite are orange."""
    low, high = limits
    tiles = []
    for sample in samples:
        finite = np.isfinite(sample).all(axis=0)
        unit = np.clip((np.nan_to_num(sample, nan=low, posinf=high, neginf=low) - low) / (high - low or 1.0), 0, 1)
        rgb = np.repeat(unit, 3, axis=0)[:3] if len(unit) == 1 else unit[:3]
        tile = np.where(finite, rgb, np.array(_NOT_FINITE)[:, None, None]).transpose(1, 2, 0)
        tiles += [np.kron(tile, np.ones((zoom, zoom, 1))), np.ones((tile.shape[0] * zoom, _GAP, 3))]
    return np.concatenate(tiles[:-1], axis=1)


def _write(figure: Figure, x: float, top: float, text: str) -> None:
    """Text whose upper left corner is at a device pixel."""
    width, height = figure.get_size_inches() * DPI
    figure.text(x / width, 1 - top / height, text, va="top", ha="left", fontsize=8)

"""Samples -> pictures: single ones in whole pixels, and a sheet with a labelled row per kind of sample.

Shape suffixes: n samples, C channels, H height, W width.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bench.contracts import SampleSpec

Array = np.ndarray[Any, Any]

TILE = 64  # pixels of a tile on the sheet, about
TEXT = 18  # pixels
GAP, MARGIN = 4, 16
PAPER, INK, LINE = (255, 255, 255), (20, 20, 20), (150, 150, 150)


def picture(sample_CHW: Array, spec: SampleSpec, scale: int = 1) -> Image.Image:
    """A sample as an image of 8 bits, every pixel ``scale`` x ``scale``; values beyond the range are clipped."""
    low, high = (0.0, 1.0) if spec.low is None or spec.high is None else (spec.low, spec.high)
    levels = np.round((sample_CHW.clip(low, high) - low) / (high - low) * 255).astype(np.uint8)
    values = np.moveaxis(levels, 0, 2).repeat(scale, axis=0).repeat(scale, axis=1)
    return Image.fromarray(values[:, :, 0] if len(levels) == 1 else values)


def sheet(title: str, rows: Sequence[tuple[str, Array]], spec: SampleSpec, *, columns: int) -> Image.Image:
    """Labelled rows of samples under a title.

    Args:
        title: one line.
        rows: (label, samples (n, C, H, W)) from top to bottom; more than ``columns`` samples go on in the next line.
        spec: of the samples.
        columns: samples side by side.
    """
    _, height, width = spec.shape
    zoom = max(1, round(TILE / max(height, width)))
    tall, wide = height * zoom + GAP, width * zoom + GAP
    font = ImageFont.load_default(TEXT)
    label = max(_length(font, name) for name, _ in rows) + MARGIN
    lines = [-(-len(samples) // columns) for _, samples in rows]
    most = max(min(columns, len(samples)) for _, samples in rows)
    across = 2 * MARGIN + max(label + most * wide, _length(font, title))
    page = Image.new("RGB", (across, 2 * MARGIN + 2 * TEXT + sum(lines) * tall + (len(rows) - 1) * GAP * 2), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), title, INK, font)
    top = MARGIN + 2 * TEXT
    for (name, samples), count in zip(rows, lines, strict=True):
        draw.text((MARGIN, top + tall // 2), name, INK, font, anchor="lm")
        for number, sample in enumerate(samples):
            down, right = divmod(number, columns)
            left, upper = MARGIN + label + right * wide, top + down * tall
            draw.rectangle((left - 1, upper - 1, left + width * zoom, upper + height * zoom), outline=LINE)  # a blank tile is one, too
            page.paste(picture(sample, spec, zoom), (left, upper))
        top += count * tall + 2 * GAP
    return page


def png(image: Image.Image) -> bytes:
    """``image`` as the content of a PNG file."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _length(font: Any, text: str) -> int:
    return int(np.ceil(font.getlength(text)))

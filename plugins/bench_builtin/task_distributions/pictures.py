"""Pictures as samples: 8-bit levels, grey or colour, cut square, resized.

Everything is integer arithmetic until the last step, so that every machine gives the same bits.
Shape suffixes: N pictures, C channels, H and W rows and columns.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np

from bench.contracts import DataError

if TYPE_CHECKING:
    from PIL.Image import Image

LUMA = np.array([19595, 38470, 7471], dtype=np.uint32)  # of 65536: ITU-R 601, as Pillow's conversion to grey
KEPT = 4096  # decoded files; at most 200 MB, at 128 pixels in colour


@cache
def area_weights(side: int, size: int) -> np.ndarray:
    """(size, side) overlaps of target with source pixels, in 1/size of a source pixel: integers; each row sums to ``side``."""
    target, source = np.arange(size)[:, None], np.arange(side)
    overlap = np.minimum((target + 1) * side, (source + 1) * size) - np.maximum(target * side, source * size)
    weights: np.ndarray = np.clip(overlap, 0, None).astype(np.float32)
    return weights


@cache
def linear_weights(side: int, size: int) -> np.ndarray:
    """(size, side) weights that interpolate between the centres of source pixels: integers; each row sums to ``2 size``."""
    # In units of 1 / (2 size) of a source pixel, counted from the first one's centre and held constant outside.
    place = np.clip((2 * np.arange(size)[:, None] + 1) * side - size, 0, 2 * size * (side - 1))
    weights: np.ndarray = np.clip(2 * size - np.abs(place - 2 * size * np.arange(side)), 0, None).astype(np.float32)
    return weights


def grey(levels: np.ndarray) -> np.ndarray:
    """(N, 3, H, W) uint8 colour -> (N, 1, H, W) uint8."""
    weighted = np.einsum("nchw,c->nhw", levels, LUMA)  # uint32: at most 255 * 65536
    rounded: np.ndarray = ((weighted + 0x8000) >> 16).astype(np.uint8)
    return rounded[:, None]


def resize(levels: np.ndarray, size: int) -> np.ndarray:
    """(N, C, H, H) -> (N, C, size, size) uint8: averaged over areas where pictures shrink, interpolated linearly where they grow."""
    side = levels.shape[2]
    if side == size:
        return levels
    weights = (area_weights if size < side else linear_weights)(side, size).astype(np.float64)
    total = weights[0].sum() ** 2
    sums = weights @ levels @ weights.T  # of integers below 2**53: exact
    resized: np.ndarray = np.rint(sums / total).astype(np.uint8)
    return resized


def samples(levels: np.ndarray) -> np.ndarray:
    """Levels 0 to 255 -> float32 in [-1, 1]."""
    return (levels / 127.5 - 1).astype(np.float32)


@lru_cache(maxsize=KEPT)
def load(path: str, *, size: int, colour: bool) -> np.ndarray:
    """(C, size, size) uint8 of an image file: turned upright as it says, its largest centred square, without transparency.

    Raises:
        DataError: the file is missing, damaged, no picture, or has more than 8 bits a channel.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as opened:
            image = ImageOps.exif_transpose(opened)
            levels = _levels(image, path, colour=colour)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"cannot read the picture {path} ({type(error).__name__}: {error}); replace or delete it") from error
    height, width = levels.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square: np.ndarray = resize(levels[:, :, top : top + side, left : left + side], size)[0]
    square.setflags(write=False)  # it is shared
    return square


def _levels(image: Image, path: str, *, colour: bool) -> np.ndarray:
    """(1, C, H, W) uint8."""
    if image.mode.startswith(("I", "F")):
        raise DataError(f"{path} has more than 8 bits a channel (mode {image.mode}); convert it to 8-bit grey or colour")
    if not colour and image.mode in ("1", "L", "LA"):
        return np.asarray(image.convert("L"))[None, None]
    levels = np.asarray(image.convert("RGB")).transpose(2, 0, 1)[None]
    return levels if colour else grey(levels)


def load_samples(paths: list[str], *, size: int, colour: bool) -> np.ndarray:
    """(N, C, size, size) float32 in [-1, 1]; N may be 0.

    Raises:
        DataError: as :func:`load`.
    """
    shape = (0, 3 if colour else 1, size, size)
    return samples(np.stack([load(path, size=size, colour=colour) for path in paths]) if paths else np.empty(shape, dtype=np.uint8))

"""A folder of pictures -> samples as a trial knows them: size, channels, polarity and range of its sample_spec.

Shape suffixes: C channels, H height, W width, S pictures.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.contracts import SampleSpec
from bench.errors import DataError

Array = np.ndarray[Any, Any]
Fit = Literal["pad", "crop"]
Invert = Literal["auto", "yes", "no"]

SUFFIXES = (".png", ".jpg", ".jpeg")
BLANK = 2 / 255  # a picture whose values differ by less than this shows nothing
_DEEP = {"I;16": 65535, "I;16B": 65535, "I": 65535}  # modes of 16-bit PNG files, which Pillow would clip to 8 bits


@dataclass(frozen=True)
class Picture:
    """A file as a sample.

    Attributes:
        name: of the file.
        digest: SHA-256 of its content.
        inverted: whether its polarity was turned.
        sample_CHW: float32, in the range of the sample_spec.
    """

    name: str
    digest: str
    inverted: bool
    sample_CHW: Array


@dataclass(frozen=True)
class Listing:
    """Names in a folder, sorted: pictures, and everything else but hidden files."""

    folder: Path
    pictures: tuple[str, ...]
    others: tuple[str, ...]


def list_pictures(folder: Path) -> Listing:
    """What lies in ``folder``.

    Raises:
        DataError: there is no such folder, or no picture in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise DataError(f"{folder}: {what}; name a folder that holds PNG or JPEG images")
    entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    pictures = tuple(path.name for path in entries if path.suffix.lower() in SUFFIXES and path.is_file())
    others = tuple(path.name for path in entries if path.name not in pictures)
    if not pictures:
        raise DataError(f"{folder}: holds no PNG or JPEG image{f', only {enumerated(others)}' if others else ''}; put images there")
    return Listing(folder, pictures, others)


def enumerated(names: Sequence[str], limit: int = 8) -> str:
    """``a, b and 3 more``."""
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def read_picture(path: Path, spec: SampleSpec, *, fit: Fit, invert: Invert, bright_ground: bool) -> Picture:
    """One file as a sample of ``spec``.

    Turned upright as its camera says; transparent parts become the ground, black or white, from which the rest stands out. Then
    brought to the shape of a sample by ``fit``, and resized by averaging over areas.

    Args:
        path: PNG or JPEG file, of any size, grey, coloured, with a palette or transparent.
        spec: of images with one or three channels.
        fit: ``pad``: all of it, with its ground around; ``crop``: its middle.
        invert: ``auto``: a one-channel sample is inverted where its ground, the median of its border, is on the other side of middle
            grey than ``bright_ground`` says.
        bright_ground: whether samples of the trial have a bright ground.

    Raises:
        DataError: the file is no such picture, is damaged, or is blank once it has the sample's size.
    """
    channels, height, width = spec.shape
    content = _read(path)
    pixels_CHW = _pixels(path, content, channels)
    ground_C = border_median(pixels_CHW)
    inverted = invert == "yes" or (invert == "auto" and channels == 1 and bool(ground_C[0] > 0.5) != bright_ground)
    small_CHW = area_resized(_framed(pixels_CHW, height / width, ground_C, fit), height, width)
    if np.ptp(small_CHW, axis=(1, 2)).max() < BLANK:
        raise DataError(
            f"{path}: is blank at {height} x {width} pixels, every pixel has the same value; use an image that shows something, remove it, "
            "or let its lines be thicker"
        )
    unit = 1.0 - small_CHW if inverted else small_CHW
    low, high = (0.0, 1.0) if spec.low is None or spec.high is None else (spec.low, spec.high)
    sample = (low + unit.clip(0, 1) * (high - low)).astype(np.float32)
    return Picture(path.name, hashlib.sha256(content).hexdigest(), inverted, sample)


def border_median(image_CHW: Array) -> Array:
    """(C,) median of the outermost pixels: the ground that something is drawn on."""
    rim = [image_CHW[:, 0], image_CHW[:, -1], image_CHW[:, :, 0], image_CHW[:, :, -1]]
    medians: Array = np.median(np.concatenate(rim, axis=1), axis=1)
    return medians


def area_resized(image_CHW: Array, height: int, width: int) -> Array:
    """(C, height, width): every new pixel is the mean of the old ones under it, by the share of each that it covers."""
    resized: Array = _coverage(image_CHW.shape[1], height) @ image_CHW @ _coverage(image_CHW.shape[2], width).T
    return resized


def _coverage(before: int, after: int) -> Array:
    """(after, before) weights that sum to 1 in each row: how much of each new interval each old one covers."""
    edges = np.arange(after + 1) * (before / after)
    cells = np.arange(before)
    overlap = np.minimum(edges[1:, None], cells + 1) - np.maximum(edges[:-1, None], cells)
    weights: Array = overlap.clip(0) * (after / before)
    return weights


def _framed(image_CHW: Array, aspect: float, ground_C: Array, fit: Fit) -> Array:
    """``image_CHW`` with height / width = ``aspect`` to the pixel, centred: padded with its ground, or cropped."""
    _, height, width = image_CHW.shape
    if fit == "crop":
        tall, wide = min(height, max(1, round(width * aspect))), min(width, max(1, round(height / aspect)))
        top, left = (height - tall) // 2, (width - wide) // 2
        return image_CHW[:, top : top + tall, left : left + wide]
    tall, wide = max(height, round(width * aspect)), max(width, round(height / aspect))
    framed = np.broadcast_to(ground_C[:, None, None], (len(ground_C), tall, wide)).copy()
    top, left = (tall - height) // 2, (wide - width) // 2
    framed[:, top : top + height, left : left + width] = image_CHW
    return framed


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); check its permissions and the disk") from error


def _pixels(path: Path, content: bytes, channels: int) -> Array:
    """(C, H, W) values in [0, 1], upright and opaque."""
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as file:
            image: Image.Image = ImageOps.exif_transpose(file)
            if image.mode in _DEEP:
                grey = np.asarray(image, dtype=np.float64)[None] / _DEEP[image.mode]
                return grey.repeat(channels, axis=0)
            flat = _opaque(image) if image.has_transparency_data else image
            values = np.asarray(flat.convert("L" if channels == 1 else "RGB"), dtype=np.float64) / 255
    # SyntaxError: what Pillow raises for a PNG file with a broken chunk.
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = "its content is neither PNG nor JPEG" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(f"{path}: not an image that can be read ({reason}); save it again as PNG or JPEG, or remove it") from error
    return values[None] if channels == 1 else np.moveaxis(values, 2, 0)


def _opaque(image: Image.Image) -> Image.Image:
    """``image`` on white where what is drawn is dark, on black where it is bright."""
    rgba = image.convert("RGBA")
    alpha = np.asarray(rgba.getchannel("A"), dtype=np.float64)
    grey = np.asarray(rgba.convert("RGB").convert("L"), dtype=np.float64)
    dark = float((grey * alpha).sum()) < 127.5 * float(alpha.sum())
    ground = Image.new("RGBA", rgba.size, (255, 255, 255, 255) if dark else (0, 0, 0, 255))
    return Image.alpha_composite(ground, rgba)

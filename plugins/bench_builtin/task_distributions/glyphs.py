"""Characters of some thirty scripts with random face, pose, stroke width and elastic jitter: the default tasks, without a download.

A shipped one-bit drawing becomes a signed distance field at its first use; a sample is one warped look-up in that field.
Lengths are in units of the drawing's 64 pixels, so that every image size shows the same distribution.
Shape suffixes: N samples, H and W rows and columns of the sampling grid.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task

SIDE = 64
NOT_LETTERS = frozenset({"Misc_symbols", "Geometric"})  # pictograms: the least letter-like of meta-train
STEPS = 16  # of the stored distance, per pixel: int8 then reaches 7.9 pixels, and no threshold looks further

# Jitter at strength 1, from a look at contact sheets beside Omniglot.
ROTATION = np.deg2rad(12)
SHEAR = 0.2
SCALE = (0.8, 1.05)
ASPECT = 0.15  # of the logarithm of height over width
SHIFT = 3.4
ELASTIC = 3.6  # standard deviation at the control points
CONTROLS = 4  # control points of the elastic field, per axis
THICKNESS = (-0.8, 0.8)  # shift of the outline


class Drawings:
    """The shipped cache: one-bit drawings by class, and their distance fields as far as they have been needed."""

    def __init__(self) -> None:
        packed = Path(__file__).parents[1] / "data" / "glyphs.npz"
        self.fingerprint = hashlib.sha256(packed.read_bytes()).hexdigest()
        with np.load(packed, allow_pickle=False) as arrays:
            self._bits = arrays["bits"]
            self._first = np.searchsorted(arrays["class_of"], np.arange(len(arrays["character"]) + 1))
            self.alphabets = [str(arrays["alphabets"][index]) for index in arrays["alphabet_of"]]
            self.splits = [str(arrays["splits"][index]) for index in arrays["alphabet_of"]]
            self.names = [f"{alphabet}-U+{point:04X}" for alphabet, point in zip(self.alphabets, arrays["character"].tolist(), strict=True)]
        self._distance = np.zeros((len(self._bits), SIDE, SIDE), dtype=np.int8)  # pages stay unmapped until written
        self._ready = np.zeros(len(self.names), dtype=bool)

    def faces(self, label: int) -> range:
        """Rows of the drawings of a class."""
        return range(int(self._first[label]), int(self._first[label + 1]))

    def drawing(self, row: int) -> np.ndarray:
        """(64, 64) bool, ink true."""
        return np.unpackbits(self._bits[row]).reshape(SIDE, SIDE).astype(bool)

    def distance(self, label: int) -> np.ndarray:
        """Distance from the outline, negative inside, in 1/16 pixel, of all drawings; those of class ``label`` are filled in."""
        if not self._ready[label]:
            from scipy.ndimage import distance_transform_edt

            for row in self.faces(label):
                ink = self.drawing(row)
                # Between neighbouring pixels of either kind the outline lies half way: hence the 0.5.
                signed = np.where(ink, 0.5 - distance_transform_edt(ink), distance_transform_edt(~ink) - 0.5)
                self._distance[row] = np.rint(np.clip(signed * STEPS, -127, 127))
            self._ready[label] = True
        return self._distance


@cache
def drawings() -> Drawings:
    """The cache of this process."""
    return Drawings()


def draw_jitter(faces: range, n: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random numbers of ``n`` samples: ``face`` (N,), ``pose`` (N, 7) in [-1, 1), ``elastic`` (N, 2, 4, 4) standard normal."""
    return {
        "face": rng.integers(faces.start, faces.stop, size=n),
        "pose": rng.uniform(-1, 1, size=(n, 7)),
        "elastic": rng.standard_normal((n, 2, CONTROLS, CONTROLS)),
    }


@cache
def _grid(pitch_count: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions (H,) of sampling points from the centre, and weights (H, 4) that interpolate the control points linearly."""
    position = (np.arange(pitch_count) + 0.5) * SIDE / pitch_count - SIDE / 2
    along = (position / SIDE + 0.5) * (CONTROLS - 1)
    weights = np.clip(1 - np.abs(along[:, None] - np.arange(CONTROLS)), 0, 1)
    return position.astype(np.float32), weights.astype(np.float32)


def render(distance: np.ndarray, jitter: dict[str, np.ndarray], *, size: int, strength: float) -> np.ndarray:
    """Draw (N, 1, size, size) float32 images in [-1, 1] (ink +1), in 255 grey steps.

    Args:
        distance: as :meth:`Drawings.distance` gives it, filled in for the faces in ``jitter``.
        jitter: as :func:`draw_jitter` gives it.
        size: side of the images.
        strength: factor on every deviation from the upright drawing; 0 gives the drawing itself.
    """
    supersampling = 2 if size < 28 else 1  # a pixel of a small image is wider than a stroke
    count = size * supersampling
    position, weights = _grid(count)
    pose = (jitter["pose"] * strength).astype(np.float32)[:, :, None, None]
    middle, spread = (SCALE[1] + SCALE[0]) / 2, (SCALE[1] - SCALE[0]) / 2
    zoom = 1 + strength * (middle - 1) + spread * pose[:, 0]
    stretch = np.exp(0.5 * ASPECT * pose[:, 1])
    angle, shear = ROTATION * pose[:, 2], SHEAR * pose[:, 3]
    cosine, sine = np.cos(angle), np.sin(angle)

    # Inverse warp: shift back, rotate back, shear back, scale back; then the elastic field.
    x_NW = position - SHIFT * pose[:, 4, :, 0]
    y_NH = position - SHIFT * pose[:, 5, :, 0]
    x_NHW, y_NHW = x_NW[:, None, :], y_NH[:, :, None]
    turned_x, turned_y = cosine * x_NHW + sine * y_NHW, cosine * y_NHW - sine * x_NHW
    # einsum without BLAS: the same bits for every batch and number of threads.
    bent = strength * ELASTIC * np.einsum("ndij,hi->dnhj", jitter["elastic"].astype(np.float32), weights)
    bent = np.einsum("dnhj,wj->dnhw", bent.astype(np.float32), weights)
    source_x = (turned_x - shear * turned_y) / (zoom / stretch) + bent[0]
    source_y = turned_y / (zoom * stretch) + bent[1]

    looked_up = _interpolate(distance, jitter["face"], source_x + (SIDE / 2 - 0.5), source_y + (SIDE / 2 - 0.5)) / STEPS
    low, high = THICKNESS
    outline = strength * (low + high) / 2 + (high - low) / 2 * pose[:, 6]
    # A pixel at the outline is half ink; one sampling distance further in, all ink.
    ink = np.clip(0.5 + (outline - looked_up) * zoom * (count / SIDE), 0, 1)
    ink = ink.reshape(-1, size, supersampling, size, supersampling).mean(axis=(2, 4))
    return (np.rint(ink * 255) / 127.5 - 1).astype(np.float32)[:, None]


def _interpolate(fields: np.ndarray, row: np.ndarray, x_NHW: np.ndarray, y_NHW: np.ndarray) -> np.ndarray:
    """Bilinear values of ``fields[row]`` at pixel coordinates, held constant outside."""
    x, y = np.clip(x_NHW, 0, SIDE - 1.001), np.clip(y_NHW, 0, SIDE - 1.001)
    left, top = x.astype(np.int32), y.astype(np.int32)
    right_share, bottom_share = x - left, y - top
    corner = (row[:, None, None] * SIDE + top) * SIDE + left
    flat = fields.reshape(-1)
    value = [flat.take(corner + offset).astype(np.float32) for offset in (0, 1, SIDE, SIDE + 1)]
    upper = value[0] + right_share * (value[1] - value[0])
    lower = value[2] + right_share * (value[3] - value[2])
    interpolated: np.ndarray = upper + bottom_share * (lower - upper)
    return interpolated


class Glyphs:
    """One character is one task; a sample is a random face of it under jitter, in [-1, 1] with ink +1.

    The splits are disjoint by alphabet, and characters that look alike across splits are left out (613 / 88 / 179 classes).

    Args:
        size: side of the images in pixels.
        jitter: strength of pose, stroke width and elastic jitter; 1 looks rather like handwriting, 0 is print.
        alphabets: ``letters`` leaves pictograms and geometric shapes out of meta-train, ``all`` keeps them (810 classes).
    """

    kind: ClassVar[Kind] = "image"

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=64, multiple_of=4)] = 16,
        jitter: Annotated[float, Field(ge=0, le=2)] = 1.0,
        alphabets: Literal["letters", "all"] = "letters",
    ) -> None:
        self.side = size
        self.jitter = jitter
        self.left_out = NOT_LETTERS if alphabets == "letters" else frozenset()
        self.sample_spec = SampleSpec("image", (1, size, size), -1.0, 1.0)
        self._labels: dict[Split, list[int]] = {}

    def labels(self, split: Split) -> list[int]:
        """Classes of a split, as numbers in the shipped cache."""
        if split not in self._labels:
            shipped = drawings()
            kinds = zip(shipped.splits, shipped.alphabets, strict=True)
            self._labels[split] = [label for label, (part, alphabet) in enumerate(kinds) if part == split and alphabet not in self.left_out]
        return self._labels[split]

    def size(self, split: Split) -> int | None:
        """Number of characters in the split."""
        return len(self.labels(split))

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Independent drawings of one character; a task never runs out of them.

        Raises:
            DataError: the split has no such task.
        """
        labels = self.labels(split)
        check_task(task, len(labels), split)
        label, shipped = labels[task], drawings()
        # Support before query, so that the support does not depend on how many queries follow.
        parts = [draw_jitter(shipped.faces(label), n, rng) for n in (shots, query)]
        jitter = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        images = render(shipped.distance(label), jitter, size=self.side, strength=self.jitter)
        return Episode(shipped.names[label], {"x": images[:shots]}, {"x": images[shots:]})

    def fingerprint(self) -> str:
        """SHA-256 of the shipped cache."""
        return drawings().fingerprint

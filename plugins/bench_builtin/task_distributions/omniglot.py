"""Omniglot: 1,623 handwritten characters of 50 alphabets, each drawn once by 20 people.

Read from one packed file ``omniglot.npz`` or from the folders that torchvision downloads; both give the same pixels.
Shape suffixes: C characters, N drawers, H and W rows and columns.

Source: Lake, Salakhutdinov and Tenenbaum, 2015, https://doi.org/10.1126/science.aab3050, https://github.com/brendenlake/omniglot.
"""

from __future__ import annotations

import hashlib
import logging
import os
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import DataError, Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task, draw_episode
from bench_builtin.task_distributions.pictures import area_weights

logger = logging.getLogger(__name__)

SIDE = 105
DRAWERS = 20
CHARACTERS = 1623
FILE = "omniglot.npz"
FOLDER = "omniglot-py"  # what torchvision calls its download
PARTS = {"images_background": True, "images_evaluation": False}

META_VAL = frozenset({"Armenian", "Burmese_(Myanmar)", "Hebrew", "N_Ko"})
"""Background alphabets held back for meta-val (130 characters): from the fourth on, every fifth in alphabetical order of the 22
outside the small sets below. None has a second set of its script, as the Georgian, Japanese, Syriac and Canadian ones have."""

SMALL = {
    "small1": frozenset({"Balinese", "Early_Aramaic", "Greek", "Korean", "Latin"}),
    "small2": frozenset({"Greek", "Japanese_(katakana)", "Latin", "Sanskrit", "Tagalog"}),
}
"""The two small background sets of the original repository, for a harder meta-train."""


@dataclass(frozen=True)
class Characters:
    """All characters, sorted by alphabet and number.

    Attributes:
        bits: packed pixels (C, N, 1379) uint8, row-major, 1 = ink.
        alphabets: name by character (C,).
        numbers: number within the alphabet, from 1, (C,).
        background: official split by character (C,) bool.
    """

    bits: np.ndarray
    alphabets: tuple[str, ...]
    numbers: tuple[int, ...]
    background: np.ndarray

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names and pixels, the same wherever they came from."""
        digest = hashlib.sha256()
        for alphabet, number, background, bits in zip(self.alphabets, self.numbers, self.background, self.bits, strict=True):
            digest.update(f"{alphabet}/{number}/{int(background)}/".encode() + bits.tobytes())
        return digest.hexdigest()


def read_packed(path: Path) -> Characters:
    """Read the packed file.

    Raises:
        DataError: the file is damaged or something else.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            names = [str(arrays["alphabets"][index]) for index in arrays["alphabet"]]
            numbers, background, bits = arrays["character"].tolist(), arrays["background"], arrays["bits"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a packed Omniglot file ({type(error).__name__}: {error}); replace or delete it") from error
    return _sorted(bits, names, numbers, background, path)


def read_folders(root: Path) -> Characters:
    """Read ``omniglot-py/images_background`` and ``images_evaluation`` under ``root``, as torchvision unpacks them.

    Raises:
        DataError: a part is missing, or a character has not 20 images of 105 x 105.
    """
    from PIL import Image

    bits, names, numbers, background = [], [], [], []
    for part, is_background in PARTS.items():
        folder = root / FOLDER / part
        characters = sorted(path for path in folder.glob("*/character*") if path.is_dir())
        if not characters:
            raise DataError(f"no characters in {folder}; delete {folder.parent} and download Omniglot again")
        for character in characters:
            images = []
            for file in sorted(character.glob("*.png")):
                with Image.open(file) as image:
                    images.append(np.packbits(np.asarray(image.convert("L")) < 128))  # paper is white
            if len(images) != DRAWERS:
                raise DataError(f"{character} has {len(images)} images instead of {DRAWERS}; delete {root / FOLDER} and download it again")
            bits.append(images)
            names.append(character.parent.name)
            numbers.append(int(character.name.removeprefix("character")))
            background.append(is_background)
    return _sorted(np.array(bits), names, numbers, np.array(background), root / FOLDER)


def _sorted(bits: np.ndarray, names: list[str], numbers: list[int], background: np.ndarray, source: Path) -> Characters:
    if bits.shape[1:] != (DRAWERS, (SIDE * SIDE + 7) // 8):
        raise DataError(f"{source} holds images of {bits.shape[1:]} packed bytes; Omniglot has {DRAWERS} of {SIDE} x {SIDE} pixels")
    if len(names) != CHARACTERS:
        logger.warning("%s holds %d of Omniglot's %d characters", source.name, len(names), CHARACTERS)
    order = sorted(range(len(names)), key=lambda index: (names[index], numbers[index]))
    return Characters(
        bits[order], tuple(names[index] for index in order), tuple(int(numbers[index]) for index in order), np.asarray(background)[order]
    )


def write_packed(characters: Characters, path: Path) -> None:
    """Write the packed file, whole or not at all."""
    alphabets = sorted(set(characters.alphabets))
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=path.name, delete=False) as file:
        np.savez_compressed(
            file,
            bits=characters.bits,
            alphabets=np.array(alphabets),
            alphabet=np.array([alphabets.index(name) for name in characters.alphabets], dtype=np.int16),
            character=np.array(characters.numbers, dtype=np.int16),
            background=characters.background,
        )
    os.replace(file.name, path)


def _download(root: Path) -> None:
    from torchvision.datasets import Omniglot as Download

    try:
        for background in PARTS.values():
            Download(str(root), background=background, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(f"could not download Omniglot into {root}: {error}; fetch it elsewhere and set path or BENCH_DATA") from error


def locate(path: str | None, root: str | None, environment: Mapping[str, str]) -> tuple[Path | None, list[Path]]:
    """The first place that holds Omniglot (a packed file, or the folder around torchvision's), and all places looked at."""
    if path is not None:
        places = [Path(path).expanduser()]
    else:
        places = [Path(folder).expanduser() for folder in (root, environment.get("BENCH_DATA")) if folder]
    looked: list[Path] = []
    for place in places:
        # A file that is named is taken as it is; within a folder the packed file is the faster one.
        for candidate in (place,) if place.suffix == ".npz" else (place / FILE, place / "omniglot" / FILE, place / FOLDER):
            looked.append(candidate)
            if candidate.exists():
                return (place if candidate.name == FOLDER else candidate), looked
    return None, looked


def find(path: str | None, root: str | None, *, download: bool) -> Characters:
    """Read Omniglot from where it is, or download it.

    Raises:
        DataError: it is in none of the places looked at, or what is there is damaged.
    """
    found, looked = locate(path, root, os.environ)
    if found is None and download and path is None:
        folder = root or os.environ.get("BENCH_DATA")
        if not folder:
            raise DataError("Omniglot has no folder to be downloaded into; give root, or set BENCH_DATA to a folder for data")
        found = Path(folder).expanduser()
        found.mkdir(parents=True, exist_ok=True)
        _download(found)
    if found is None:
        raise DataError(
            f"Omniglot is missing; looked for {', '.join(map(str, looked)) or 'nothing, as neither path nor BENCH_DATA is set'}. "
            f"Give the path of {FILE} ({{omniglot: {{path: ...}}}}), or set BENCH_DATA to the folder that holds {FILE} or {FOLDER}, "
            "or allow the download ({omniglot: {download: true, root: ...}})"
        )
    return _read(found.resolve())


@cache
def _read(found: Path) -> Characters:
    if found.suffix == ".npz":
        return read_packed(found)
    characters = read_folders(found)
    if len(characters.alphabets) == CHARACTERS:
        try:  # 32,460 small files are slow to read, so keep them packed
            write_packed(characters, found / FILE)
        except OSError as error:
            logger.info("cannot keep a packed copy of Omniglot: %s", error)
    return characters


def shrink(bits: np.ndarray, size: int) -> np.ndarray:
    """Area-averaged images (N, 1, size, size) float32 in [-1, 1], ink +1, of packed ones (N, 1379).

    Sums of integers below 2**24 are exact in float32, so every machine gives the same bits.
    """
    ink = np.unpackbits(bits, axis=-1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE).astype(np.float32)
    weights = area_weights(SIDE, size)
    covered = weights @ ink @ weights.T
    return (covered.astype(np.float64) * (2 / SIDE**2) - 1).astype(np.float32)[:, None]


class Omniglot:
    """One character is one task of 20 images, in [-1, 1] with ink +1; no augmentation.

    The splits are disjoint by alphabet: the official evaluation alphabets are meta-test, four background alphabets
    (:data:`META_VAL`) are meta-val, the other background alphabets meta-train (834 / 130 / 659 characters).

    Args:
        size: side of the images, by area averaging from 105.
        split: ``official``, or meta-train restricted to one of the original repository's small background sets.
        path: the packed file, or a folder that holds it or torchvision's download; otherwise ``root`` and BENCH_DATA are searched.
        root: folder for data, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    kind: ClassVar[Kind] = "image"
    locations: ClassVar[tuple[str, ...]] = ("path", "root", "download")

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=SIDE)] = 28,
        split: Literal["official", "small1", "small2"] = "official",
        path: str | None = None,
        root: str | None = None,
        download: bool = False,
    ) -> None:
        self.side = size
        self.split = split
        self.path, self.root, self.download = path, root, download
        self.sample_spec = SampleSpec("image", (1, size, size), -1.0, 1.0)
        self._images: dict[int, np.ndarray] = {}

    @cached_property
    def _characters(self) -> Characters:
        return find(self.path, self.root, download=self.download)

    def split_of(self, character: int) -> Split | None:
        """Split of a character, None where this choice of splits leaves it out."""
        if not self._characters.background[character]:
            return "meta-test"
        alphabet = self._characters.alphabets[character]
        if alphabet in META_VAL:
            return "meta-val"
        return "meta-train" if alphabet in SMALL.get(self.split, {alphabet}) else None

    @cached_property
    def _tasks(self) -> dict[Split, list[int]]:
        tasks: dict[Split, list[int]] = {"meta-train": [], "meta-val": [], "meta-test": []}
        for character in range(len(self._characters.alphabets)):
            if (part := self.split_of(character)) is not None:
                tasks[part].append(character)
        return tasks

    def size(self, split: Split) -> int | None:
        """Number of characters in the split.

        Raises:
            DataError: the data are missing.
        """
        return len(self._tasks[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Images of one character by different people.

        Raises:
            DataError: the data are missing, ``shots + query`` exceeds 20, or the split has no such task.
        """
        check_task(task, len(self._tasks[split]), split)
        character = self._tasks[split][task]
        if character not in self._images:
            self._images[character] = shrink(self._characters.bits[character], self.side)
        name = f"{self._characters.alphabets[character]}-{self._characters.numbers[character]:02d}"
        return draw_episode(name, self._images[character], shots=shots, query=query, rng=rng)

    def fingerprint(self) -> str:
        """SHA-256 of names and pixels, not of the place they were read from.

        Raises:
            DataError: the data are missing.
        """
        return self._characters.fingerprint

"""CelebA: 202,599 faces of 10,177 people with 40 yes-or-no attributes. Faces that share attributes are one task.

Source: Liu, Luo, Wang and Tang, 2015, https://arxiv.org/abs/1411.7766. Shape suffixes: N images, A attributes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import combinations
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import SPLITS, DataError, Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task, draw_numbers
from bench_builtin.task_distributions.folders import find
from bench_builtin.task_distributions.pictures import load_samples

KINDS: dict[Split, str] = {
    "meta-train": "5_o_Clock_Shadow Goatee Mustache No_Beard Sideburns Black_Hair Blond_Hair Brown_Hair Gray_Hair Attractive Heavy_Makeup "
    "Pale_Skin Rosy_Cheeks Wearing_Lipstick Arched_Eyebrows Bags_Under_Eyes Bushy_Eyebrows Narrow_Eyes Big_Nose Pointy_Nose Blurry Male "
    "Young",
    "meta-val": "Bald Bangs Receding_Hairline Straight_Hair Wavy_Hair Chubby Double_Chin Oval_Face",
    "meta-test": "Big_Lips High_Cheekbones Mouth_Slightly_Open Smiling Eyeglasses Wearing_Earrings Wearing_Hat Wearing_Necklace "
    "Wearing_Necktie",
}
ATTRIBUTES: dict[Split, tuple[str, ...]] = {split: tuple(names.split()) for split, names in KINDS.items()}
"""The 40 attributes, 23 / 8 / 9. Those of one kind say nearly the same of a face and are in one split: beard, colour of the hair,
make-up, eyes and nose; shape of hair and face; mouth and what is worn."""

TITLE = "CelebA"
FOLDER = "celeba"  # what torchvision calls its download
FILES = (f"{FOLDER}/list_attr_celeba.txt", f"{FOLDER}/list_eval_partition.txt", f"{FOLDER}/img_align_celeba")


@dataclass(frozen=True)
class Faces:
    """What is known of the faces in a folder.

    Attributes:
        folder: where the images lie.
        files: names of the images (N,).
        names: of the attributes (A,).
        has: (N, A) bool.
        part: official part (N,): 0 train, 1 validation, 2 test. No person is in two.
    """

    folder: Path
    files: tuple[str, ...]
    names: tuple[str, ...]
    has: np.ndarray
    part: np.ndarray

    def path(self, number: int) -> str:
        """Where the image of a face lies."""
        return str(self.folder / self.files[number])

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of attributes, parts and the bytes of all image files; some seconds for the real ones."""
        digest = hashlib.sha256(repr((self.names, self.has.shape)).encode() + self.has.tobytes() + self.part.astype("<i8").tobytes())
        for name in self.files:
            try:
                digest.update(name.encode() + hashlib.sha256((self.folder / name).read_bytes()).digest())
            except OSError as error:
                raise DataError(f"{TITLE} lacks the image {self.folder / name} ({error}); unpack img_align_celeba.zip again") from error
        return digest.hexdigest()


@cache
def read(root: Path) -> Faces:
    """Read torchvision's folder ``celeba`` under ``root``; once per process. Images are only read where they are drawn.

    Raises:
        DataError: one of the two lists is damaged, or they do not belong together.
    """
    attributes, partition, images = (root / file for file in FILES)
    try:
        count, names, *rows = attributes.read_text(encoding="ascii").splitlines()
        table, parts = [row.split() for row in rows], [line.split() for line in partition.read_text(encoding="ascii").splitlines()]
        has = np.array([row[1:] for row in table], dtype=np.int8) == 1
        faces = Faces(images, tuple(row[0] for row in table), tuple(names.split()), has, np.array([int(part) for _, part in parts]))
        consistent = has.shape == (int(count), len(faces.names)) and faces.files == tuple(file for file, _ in parts)
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"the lists of {TITLE} in {attributes.parent} are damaged ({error}); {_again()}") from error
    known = {name for split in SPLITS for name in ATTRIBUTES[split]}
    if not consistent or set(faces.names) != known or not np.isin(faces.part, range(3)).all():
        raise DataError(
            f"{attributes} and {partition.name} do not belong together or are not those of {TITLE}: {len(faces.files)} faces with "
            f"{len(faces.names)} attributes, {len(parts)} of them in a part; {_again()}"
        )
    return faces


def _again() -> str:
    return f"delete {' and '.join(FILES[:2])} and fetch them again"


def _download(root: Path) -> None:
    from torchvision.datasets import CelebA as Download

    Download(str(root), download=True)


def combined(names: Sequence[str], number: int) -> list[dict[str, bool]]:
    """Tasks of a split, {attribute: value}: each attribute that is there, or each pair of which at least one is there.

    What is common to faces without two attributes is hardly ever to be seen.
    """
    if number == 1:
        return [{name: True} for name in names]
    values = ((True, True), (True, False), (False, True))
    return [dict(zip(pair, chosen, strict=True)) for pair in combinations(names, 2) for chosen in values]


class CelebA:
    """A task is what faces with the same values of two attributes have in common, such as hat but no necktie; in [-1, 1].

    The splits share no attribute (23 / 8 / 9 of them), no image and no person: meta-train draws from the official training part,
    meta-val from the validation part, meta-test from the test part.

    Args:
        size: side of the images, by area averaging from the middle 178 x 178 pixels.
        colour: three channels; otherwise one, grey.
        attributes: 2 takes pairs of attributes, of which at least one is there; 1 takes single attributes that are there.
        least: combinations that fewer faces of a split have are no tasks.
        root: torchvision's root folder, which holds ``celeba``, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing; that needs the package gdown.
    """

    kind: ClassVar[Kind] = "image"
    locations: ClassVar[tuple[str, ...]] = ("root", "download")

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=128, multiple_of=4)] = 32,
        colour: bool = True,
        attributes: Literal[1, 2] = 2,
        least: Annotated[int, Field(ge=2)] = 100,
        root: str | None = None,
        download: bool = False,
    ) -> None:
        self.side, self.colour = size, colour
        self.attributes = attributes
        self.least = least
        self.root, self.download = root, download
        self.sample_spec = SampleSpec("image", (3 if colour else 1, size, size), -1.0, 1.0)

    @cached_property
    def _faces(self) -> Faces:
        return read(find(TITLE, FILES, self.root, download=_download if self.download else None))

    def faces_of(self, split: Split, values: dict[str, bool]) -> np.ndarray:
        """Numbers of the faces of a split that have these values."""
        faces = self._faces
        fits = faces.part == SPLITS.index(split)
        for name, value in values.items():
            fits = fits & (faces.has[:, faces.names.index(name)] == value)
        return np.flatnonzero(fits)

    @cached_property
    def _tasks(self) -> dict[Split, list[dict[str, bool]]]:
        return {
            split: [values for values in combined(ATTRIBUTES[split], self.attributes) if len(self.faces_of(split, values)) >= self.least]
            for split in SPLITS
        }

    def size(self, split: Split) -> int | None:
        """Number of combinations of attributes that enough faces have.

        Raises:
            DataError: the data are missing or damaged.
        """
        return len(self._tasks[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different images of faces with one combination of attributes.

        Raises:
            DataError: the data are missing or damaged, fewer than ``shots + query`` faces fit, or the split has no such task.
        """
        check_task(task, len(self._tasks[split]), split)
        values = self._tasks[split][task]
        fitting = self.faces_of(split, values)
        name = "-".join(["celeba", *(key if value else f"not-{key}" for key, value in values.items())])
        support, asked = (
            load_samples([self._faces.path(number) for number in fitting[numbers]], size=self.side, colour=self.colour)
            for numbers in draw_numbers(name, len(fitting), shots=shots, query=query, rng=rng)
        )
        return Episode(name, {"x": support}, {"x": asked})

    def fingerprint(self) -> str:
        """SHA-256 of lists and image files, not of the place they were read from.

        Raises:
            DataError: the data are missing or damaged.
        """
        return self._faces.fingerprint

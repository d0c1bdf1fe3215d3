"""Anybody's pictures: one folder of image files is one class, and one class is one task."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from bench.contracts import SPLITS, ContractError, DataError, Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions.finite import check_task, draw_numbers
from bench_builtin.task_distributions.folders import data_folders
from bench_builtin.task_distributions.pictures import load_samples

NAME = "image-folder"
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Classes:
    """Image files by class, {class: files}, of one split where folders say so; sorted."""

    split: Split | None
    files: dict[str, tuple[Path, ...]]


@cache
def read(folder: Path) -> tuple[Classes, ...]:
    """Classes of ``folder``, or of its sub-folders meta-train, meta-val and meta-test; once per process.

    Raises:
        DataError: there are no classes, an empty one, one of two splits, or not all three splits.
    """
    given = [split for split in SPLITS if (folder / split).is_dir()]
    if not given:
        return (Classes(None, classes_in(folder)),)
    if len(given) < len(SPLITS):
        raise DataError(f"{folder} has {' and '.join(given)} but not all of {', '.join(SPLITS)}; make all three, or none")
    found = tuple(Classes(split, classes_in(folder / split)) for split in SPLITS)
    names = [name for classes in found for name in classes.files]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{folder} has {', '.join(twice)} in more than one of {', '.join(SPLITS)}; keep each class in one")
    return found


def classes_in(folder: Path) -> dict[str, tuple[Path, ...]]:
    """Image files at any depth of each sub-folder, by the rules of torchvision's ImageFolder; hidden folders count for nothing.

    Raises:
        DataError: there is no sub-folder, or one without images.
    """
    from torchvision.datasets import ImageFolder as Found

    try:
        found = Found(str(folder), allow_empty=True)
    except FileNotFoundError as error:
        raise DataError(f"{folder} has no sub-folders; make one for each class and put its images there") from error
    files: dict[str, list[Path]] = {name: [] for name in found.classes if not name.startswith(".")}
    for path, label in found.samples:
        if found.classes[label] in files:
            files[found.classes[label]].append(Path(path))
    if empty := [name for name, own in files.items() if not own]:
        raise DataError(f"{folder} has folders without images: {', '.join(empty)}; put some there, or delete them")
    if not files:
        raise DataError(f"{folder} has no sub-folders; make one for each class and put its images there")
    return {name: tuple(own) for name, own in files.items()}


@cache
def fingerprint(folder: Path) -> str:
    """SHA-256 of splits, class names, and the bytes of all image files, whatever their names.

    Raises:
        DataError: as :func:`read`, or a file cannot be read.
    """
    digest = hashlib.sha256()
    for classes in read(folder):
        for name, files in classes.files.items():
            digest.update(repr((classes.split, name, len(files))).encode())
            for file in files:
                try:
                    digest.update(hashlib.sha256(file.read_bytes()).digest())
                except OSError as error:
                    raise DataError(f"cannot read the picture {file} ({error}); replace or delete it") from error
    return digest.hexdigest()


class ImageFolder:
    """One sub-folder of image files (PNG, JPEG and others) is one task; their largest centred squares, in [-1, 1].

    Where the folder has sub-folders meta-train, meta-val and meta-test, the classes lie in these. Otherwise classes are put into
    splits in the order of a hash of their names, the same on every machine.

    Args:
        size: side of the images; area averages of larger ones, smaller ones interpolated.
        colour: three channels; otherwise one, grey.
        meta_val: share of the classes in meta-val, rounded, at least one class.
        meta_test: the same for meta-test.
        root: the folder of the classes; otherwise ``image-folder`` in BENCH_DATA.
    """

    kind: ClassVar[Kind] = "image"
    locations: ClassVar[tuple[str, ...]] = ("root",)

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=8, le=128, multiple_of=4)] = 32,
        colour: bool = True,
        meta_val: Share = 0.2,
        meta_test: Share = 0.2,
        root: str | None = None,
    ) -> None:
        if meta_val + meta_test >= 1:
            raise ContractError(f"meta_val + meta_test must be below 1, got {meta_val:g} + {meta_test:g}; leave classes for meta-train")
        self.side, self.colour = size, colour
        self.meta_val, self.meta_test = meta_val, meta_test
        self.root = root
        self.sample_spec = SampleSpec("image", (3 if colour else 1, size, size), -1.0, 1.0)

    @cached_property
    def _folder(self) -> Path:
        if self.root:
            folder = Path(self.root).expanduser()
        else:
            places = data_folders(None)
            if not places:
                raise DataError(f"{NAME} has no folder; give root, or set BENCH_DATA to a folder that holds {NAME}")
            folder = places[0] / NAME
        if not folder.is_dir():
            raise DataError(f"{NAME}: there is no folder {folder}; give as root the one that has a sub-folder of images for each class")
        return folder.resolve()

    @cached_property
    def _tasks(self) -> dict[Split, list[tuple[str, tuple[Path, ...]]]]:
        found = read(self._folder)
        if found[0].split is not None:
            return {classes.split: list(classes.files.items()) for classes in found if classes.split}
        names = sorted(found[0].files, key=lambda name: hashlib.sha256(name.encode()).digest())
        val, test = (max(1, round(share * len(names))) for share in (self.meta_val, self.meta_test))
        if val + test >= len(names):
            raise DataError(
                f"{self._folder} has {len(names)} classes: {val} for meta-val and {test} for meta-test leave none for meta-train; "
                "add classes, or lower meta_val and meta_test"
            )
        chosen = {"meta-test": names[:test], "meta-val": names[test : test + val], "meta-train": names[test + val :]}
        return {split: [(name, found[0].files[name]) for name in sorted(chosen[split])] for split in SPLITS}

    def size(self, split: Split) -> int | None:
        """Number of classes in the split.

        Raises:
            DataError: the folder is missing or is not made as it should be.
        """
        return len(self._tasks[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different files of one class.

        Raises:
            DataError: the folder is missing or is not made as it should be, the class has fewer than ``shots + query`` images, one
                of them cannot be read, or the split has no such task.
        """
        check_task(task, len(self._tasks[split]), split)
        name, files = self._tasks[split][task]
        support, asked = (
            load_samples([str(files[number]) for number in numbers], size=self.side, colour=self.colour)
            for numbers in draw_numbers(name, len(files), shots=shots, query=query, rng=rng)
        )
        return Episode(name, {"x": support}, {"x": asked})

    def fingerprint(self) -> str:
        """SHA-256 of class names and image files, not of the place they were read from.

        Raises:
            DataError: the folder is missing or is not made as it should be.
        """
        return fingerprint(self._folder)

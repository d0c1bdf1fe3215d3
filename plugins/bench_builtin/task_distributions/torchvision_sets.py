"""Labelled image sets that torchvision knows: one class is one task, and the splits are disjoint by class.

torchvision's own division into train and test says nothing about tasks, so the images of both are pooled.
Shape suffixes: N images, C channels, H and W rows and columns.
"""

from __future__ import annotations

import hashlib
import string
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import DataError, Episode, Kind, SampleSpec, Split
from bench_builtin.task_distributions import pictures
from bench_builtin.task_distributions.finite import check_task, draw_numbers
from bench_builtin.task_distributions.folders import find

Size = Annotated[int, Field(ge=8, le=64, multiple_of=4)]
MetaTest = Literal["held-out", "all"]
Splits = Mapping[Split, tuple[str, ...]]


# ------------------------------------------------------------------ reading
@dataclass(frozen=True)
class LabelledImages:
    """All images of a data set.

    Attributes:
        levels: (N, C, H, H) uint8.
        labels: (N,) numbers in ``classes``.
        classes: names.
    """

    levels: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of names, labels and pixels, the same wherever they lie."""
        digest = hashlib.sha256(repr((self.classes, self.levels.shape)).encode())
        digest.update(self.labels.astype("<i8").tobytes())
        digest.update(self.levels.data)
        return digest.hexdigest()


@dataclass(frozen=True)
class Source:
    """How torchvision stores a data set.

    Attributes:
        title: its name in messages and, in lower case, in task ids.
        files: what must be there, relative to the data folder.
        side, channels: of its images.
        classes: names in the order of the labels.
        load: ``load(folder, download)`` gives levels (N, C, H, W) and labels (N,) by torchvision.
        archive: what torchvision downloads and unpacks into ``files``; '' where that is the files themselves.
    """

    title: str
    files: tuple[str, ...]
    side: int
    channels: int
    classes: tuple[str, ...]
    load: Callable[[Path, bool], tuple[np.ndarray, np.ndarray]]
    archive: str = ""


def _idx(name: str, **settings: Any) -> Callable[[Path, bool], tuple[np.ndarray, np.ndarray]]:
    """Reader of MNIST and its successors, torchvision's class ``name``."""

    def load(folder: Path, download: bool) -> tuple[np.ndarray, np.ndarray]:
        import torchvision.datasets

        kind = getattr(torchvision.datasets, name)
        parts = [kind(str(folder), train=train, download=download, **settings) for train in (True, False)]
        levels, labels = (np.concatenate([getattr(part, what).numpy() for part in parts]) for what in ("data", "targets"))
        return levels[:, None], labels

    return load


def _emnist(split: str, first: int) -> Callable[[Path, bool], tuple[np.ndarray, np.ndarray]]:
    def load(folder: Path, download: bool) -> tuple[np.ndarray, np.ndarray]:
        levels, labels = _idx("EMNIST", split=split)(folder, download)
        return levels.transpose(0, 1, 3, 2), labels - first  # EMNIST stores images column by column

    return load


def _cifar(folder: Path, download: bool) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import CIFAR100

    with warnings.catch_warnings():
        # The official files were pickled by Python 2, whose NumPy wrote numbers where NumPy 2.4.0 to 2.4.4 want truth values.
        warnings.filterwarnings("ignore", message=r"dtype\(\): align should be passed as Python or NumPy boolean")
        parts = [CIFAR100(str(folder), train=train, download=download) for train in (True, False)]
    if tuple(parts[0].classes) != CIFAR_CLASSES:
        raise ValueError(f"its classes are {', '.join(parts[0].classes)}")
    return np.concatenate([part.data for part in parts]).transpose(0, 3, 1, 2), np.concatenate([part.targets for part in parts])


def _svhn(folder: Path, download: bool) -> tuple[np.ndarray, np.ndarray]:
    from torchvision.datasets import SVHN

    parts = [SVHN(str(folder), split=split, download=download) for split in ("train", "test")]
    return np.concatenate([part.data for part in parts]), np.concatenate([part.labels for part in parts])


@cache
def read(source: Source, folder: Path) -> LabelledImages:
    """What torchvision reads from ``folder``; once per process.

    Raises:
        DataError: a file is damaged.
    """
    try:
        levels, labels = source.load(folder, False)
        shape = (len(labels), source.channels, source.side, source.side)
        if levels.shape != shape or levels.dtype != np.uint8:
            raise ValueError(f"{levels.dtype} images of shape {levels.shape} instead of 8-bit {shape}")
        if not np.isin(labels, range(len(source.classes))).all():
            raise ValueError(f"labels from {labels.min()} to {labels.max()} for {len(source.classes)} classes")
    except (OSError, RuntimeError, ValueError, TypeError, KeyError, AssertionError) as error:  # what torchvision's parsers run into
        raise DataError(
            f"{source.title} in {folder} is damaged ({type(error).__name__}: {error}); delete {', '.join(source.files)} there, "
            "and fetch them again"
        ) from error
    return LabelledImages(np.ascontiguousarray(levels), labels, source.classes)


# ------------------------------------------------------------------ tasks
class TorchvisionClasses:
    """What the data sets below share, which differ in source, classes of each split, and hyperparameters."""

    kind: ClassVar[Kind] = "image"
    locations: ClassVar[tuple[str, ...]] = ("root", "download")

    def __init__(self, source: Source, splits: Splits, *, size: int, root: str | None, download: bool, colour: bool = False) -> None:
        self.source, self.splits = source, splits
        self.side, self.colour = size, colour
        self.root, self.download = root, download
        self.sample_spec = SampleSpec("image", (3 if colour else 1, size, size), -1.0, 1.0)
        self._levels: dict[str, np.ndarray] = {}

    @cached_property
    def _images(self) -> LabelledImages:
        fetch = (lambda folder: self.source.load(folder, True)) if self.download else None
        return read(self.source, find(self.source.title, self.source.files, self.root, download=fetch, archive=self.source.archive))

    def _of_class(self, name: str) -> np.ndarray:
        """(N, C, size, size) uint8, made at the first use of a class."""
        if name not in self._levels:
            images = self._images
            levels = images.levels[images.labels == images.classes.index(name)]
            levels = levels if self.colour or levels.shape[1] == 1 else pictures.grey(levels)
            self._levels[name] = pictures.resize(levels, self.side)
        return self._levels[name]

    def size(self, split: Split) -> int | None:
        """Number of classes in the split."""
        return len(self.splits[split])

    def episode(self, split: Split, task: int, *, shots: int, query: int, rng: np.random.Generator) -> Episode:
        """Different images of one class.

        Raises:
            DataError: the data are missing or damaged, the class has fewer than ``shots + query`` images, or there is no such task.
        """
        check_task(task, len(self.splits[split]), split)
        name = self.splits[split][task]
        levels, task_id = self._of_class(name), f"{self.source.title.lower()}-{name}"
        parts = draw_numbers(task_id, len(levels), shots=shots, query=query, rng=rng)
        support, asked = (pictures.samples(levels[numbers]) for numbers in parts)
        return Episode(task_id, {"x": support}, {"x": asked})

    def fingerprint(self) -> str:
        """SHA-256 of names, labels and pixels, not of the place they were read from.

        Raises:
            DataError: the data are missing or damaged.
        """
        return self._images.fingerprint


def first_classes(classes: tuple[str, ...], meta_test: MetaTest) -> Splits:
    """Of ten classes the first six for meta-train, two for meta-val and two for meta-test; or all of them for meta-test."""
    if meta_test == "all":
        return {"meta-train": (), "meta-val": (), "meta-test": classes}
    return {"meta-train": classes[:6], "meta-val": classes[6:8], "meta-test": classes[8:]}


def _idx_source(title: str, name: str, classes: tuple[str, ...]) -> Source:
    files = tuple(f"{name}/raw/{part}-ubyte" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"))
    return Source(title, files, 28, 1, classes, _idx(name), f"{name}/raw/*.gz")


DIGITS = tuple(string.digits)
MNIST = _idx_source("MNIST", "MNIST", DIGITS)
FASHION = _idx_source(
    "Fashion-MNIST",
    "FashionMNIST",
    ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle-boot"),
)
KUZUSHIJI = _idx_source("KMNIST", "KMNIST", ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"))
SVHN = Source("SVHN", ("train_32x32.mat", "test_32x32.mat"), 32, 3, DIGITS, _svhn)


class Mnist(TorchvisionClasses):
    """One handwritten digit is one task of some 7,000 images: 0-5 meta-train, 6-7 meta-val, 8-9 meta-test; ink +1.

    Source: LeCun, Bottou, Bengio and Haffner, 1998, https://doi.org/10.1109/5.726791.

    Args:
        size: side of the images; area averages below 28 pixels, interpolated above.
        meta_test: ``all`` makes meta-test tasks of all ten classes, for learners that are meta-trained elsewhere: none is left to train on.
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(self, *, size: Size = 28, meta_test: MetaTest = "held-out", root: str | None = None, download: bool = False) -> None:
        super().__init__(MNIST, first_classes(MNIST.classes, meta_test), size=size, root=root, download=download)


class FashionMnist(TorchvisionClasses):
    """One article of clothing is one task of 7,000 images: shirt and sneaker meta-val, bag and ankle boot meta-test.

    Source: Xiao, Rasul and Vollgraf, 2017, https://arxiv.org/abs/1708.07747.

    Args:
        size: side of the images; area averages below 28 pixels, interpolated above.
        meta_test: ``all`` makes meta-test tasks of all ten classes, for learners that are meta-trained elsewhere: none is left to train on.
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(self, *, size: Size = 28, meta_test: MetaTest = "held-out", root: str | None = None, download: bool = False) -> None:
        super().__init__(FASHION, first_classes(FASHION.classes, meta_test), size=size, root=root, download=download)


class Kmnist(TorchvisionClasses):
    """One cursive hiragana is one task of 7,000 images: ma and ya meta-val, re and wo meta-test; ink +1.

    Source: Clanuwat et al., 2018 (Kuzushiji-MNIST), https://arxiv.org/abs/1812.01718.

    Args:
        size: side of the images; area averages below 28 pixels, interpolated above.
        meta_test: ``all`` makes meta-test tasks of all ten classes, for learners that are meta-trained elsewhere: none is left to train on.
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(self, *, size: Size = 28, meta_test: MetaTest = "held-out", root: str | None = None, download: bool = False) -> None:
        super().__init__(KUZUSHIJI, first_classes(KUZUSHIJI.classes, meta_test), size=size, root=root, download=download)


# ------------------------------------------------------------------ EMNIST
def _emnist_source(split: str, classes: str, first: int) -> Source:
    files = tuple(
        f"EMNIST/raw/emnist-{split}-{part}-ubyte"
        for part in ("train-images-idx3", "train-labels-idx1", "test-images-idx3", "test-labels-idx1")
    )
    return Source("EMNIST", files, 28, 1, tuple(classes), _emnist(split, first), "EMNIST/raw/gzip.zip")


EMNIST = {
    "balanced": _emnist_source("balanced", string.digits + string.ascii_uppercase + "abdefghnqrt", 0),
    "letters": _emnist_source("letters", string.ascii_uppercase, 1),
}
EMNIST_LETTERS: dict[Split, frozenset[str]] = {"meta-val": frozenset("HMNPR"), "meta-test": frozenset("KUVWXY")}
"""Letters held out, in either case. Those that are drawn alike stay together: U V Y, V W, K X, M N, H N, P R; and the letters that
digits resemble (B G I O S Z, q g) are in meta-train beside them."""


def emnist_splits(classes: tuple[str, ...]) -> Splits:
    """Classes by split; a capital and its small letter are never in two."""

    def split_of(name: str) -> Split:
        return next((split for split, letters in EMNIST_LETTERS.items() if name.upper() in letters), "meta-train")

    splits: tuple[Split, ...] = ("meta-train", "meta-val", "meta-test")
    return {split: tuple(name for name in classes if split_of(name) == split) for split in splits}


class Emnist(TorchvisionClasses):
    """One handwritten letter or digit is one task of 2,800 or more images, upright, with ink +1; splits disjoint by letter.

    Source: Cohen, Afshar, Tapson and van Schaik, 2017, https://arxiv.org/abs/1702.05373.

    Args:
        size: side of the images; area averages below 28 pixels, interpolated above.
        classes: ``balanced``, digits and letters (33 / 8 / 6 classes), or ``letters``, capital and small ones merged (15 / 5 / 6).
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(
        self, *, size: Size = 28, classes: Literal["balanced", "letters"] = "balanced", root: str | None = None, download: bool = False
    ) -> None:
        source = EMNIST[classes]
        super().__init__(source, emnist_splits(source.classes), size=size, root=root, download=download)


# ------------------------------------------------------------------ CIFAR-FS and SVHN
CIFAR_NAMES: dict[Split, str] = {
    "meta-train": "apple aquarium_fish bear bee bottle bowl boy bridge bus can castle caterpillar chair clock cloud cockroach couch cup "
    "dinosaur dolphin elephant forest girl hamster house kangaroo keyboard lawn_mower lion lizard lobster mountain mouse mushroom "
    "oak_tree orange orchid palm_tree pear pine_tree plate porcupine possum rabbit raccoon ray road seal shrew skunk skyscraper snake "
    "spider squirrel streetcar sunflower tank tiger train trout tulip turtle willow_tree wolf",
    "meta-val": "beaver beetle butterfly camel cattle crab crocodile flatfish lamp maple_tree motorcycle otter sea shark television "
    "tractor",
    "meta-test": "baby bed bicycle chimpanzee fox leopard man pickup_truck plain poppy rocket rose snail sweet_pepper table telephone "
    "wardrobe whale woman worm",
}
CIFAR_FS: dict[Split, tuple[str, ...]] = {split: tuple(names.split()) for split, names in CIFAR_NAMES.items()}
"""The split of Bertinetto et al., 2019: 64 / 16 / 20 classes."""

CIFAR_CLASSES = tuple(sorted(name for names in CIFAR_FS.values() for name in names))  # CIFAR-100 numbers them alphabetically
CIFAR = Source(
    "CIFAR-100",
    tuple(f"cifar-100-python/{name}" for name in ("train", "test", "meta")),
    32,
    3,
    CIFAR_CLASSES,
    _cifar,
    "cifar-100-python.tar.gz",
)


class CifarFs(TorchvisionClasses):
    """CIFAR-FS: one class of CIFAR-100 is one task of 600 images, 64 / 16 / 20 classes.

    Source: Bertinetto, Henriques, Torr and Vedaldi, 2019, https://arxiv.org/abs/1805.08136.

    Args:
        size: side of the images; area averages below 32 pixels, interpolated above.
        colour: three channels; otherwise one, grey.
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(self, *, size: Size = 32, colour: bool = True, root: str | None = None, download: bool = False) -> None:
        super().__init__(CIFAR, CIFAR_FS, size=size, colour=colour, root=root, download=download)


class Svhn(TorchvisionClasses):
    """One digit of house numbers is one task of 6,000 to 19,000 images: 0-5 meta-train, 6-7 meta-val, 8-9 meta-test.

    Source: Netzer et al., 2011, http://ufldl.stanford.edu/housenumbers/ (cropped digits, without the extra ones).

    Args:
        size: side of the images; area averages below 32 pixels, interpolated above.
        colour: three channels; otherwise one, grey.
        meta_test: ``all`` makes meta-test tasks of all ten classes, for learners that are meta-trained elsewhere: none is left to train on.
        root: torchvision's root folder, searched before BENCH_DATA; downloads go there.
        download: let torchvision download what is missing.
    """

    def __init__(
        self,
        *,
        size: Size = 32,
        colour: bool = True,
        meta_test: MetaTest = "held-out",
        root: str | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(SVHN, first_classes(SVHN.classes, meta_test), size=size, colour=colour, root=root, download=download)

"""Image sets on disk: small folders in the real formats are read as torchvision reads them, and split as documented."""

import gzip
import hashlib
import pickle
from itertools import combinations
from math import lcm
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from bench.contracts import SPLITS, ContractError, DataError
from bench.driver.run import RunOptions, prepare
from bench.testing import TaskDistributionContract
from bench.trial.run import run
from bench_builtin.task_distributions import CelebA, CifarFs, Emnist, FashionMnist, ImageFolder, Kmnist, Mnist, Svhn, celeba, pictures
from bench_builtin.task_distributions import torchvision_sets as sets

SUITES = Path(__file__).parent.parent.parent / "suites"
TEN = {Mnist: "MNIST", FashionMnist: "FashionMNIST", Kmnist: "KMNIST"}
ALL = (CelebA, CifarFs, Emnist, FashionMnist, Kmnist, Mnist, Svhn)
EACH = 12  # images of a class in either part


def rng(*seed):
    return np.random.default_rng(list(seed) or [0])


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("BENCH_DATA", raising=False)


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def as_set(levels):
    return {image.tobytes() for image in levels}


def shown(tasks, split, task, n):
    """Names of a task and its first ``n`` samples as levels 0 to 255."""
    episode = tasks.episode(split, task, shots=n // 2, query=n - n // 2, rng=rng(task))
    samples = np.concatenate([episode.support["x"], episode.query["x"]])
    levels = (samples + 1) * 127.5
    assert np.abs(levels - levels.round()).max() < 1e-4
    return episode.task_id, levels.round().astype(np.uint8)


# ------------------------------------------------------------------ folders in the real formats
def idx(values):
    """The bytes of an idx file of unsigned bytes."""
    header = bytes([0, 0, 8, values.ndim]) + b"".join(side.to_bytes(4, "big") for side in values.shape)
    return header + values.astype(np.uint8).tobytes()


def labelled(seed, classes, shape):
    """Random images (N, *shape) and their labels, shuffled."""
    random = rng(*seed)
    labels = random.permutation(np.repeat(classes, EACH))
    return random.integers(256, size=(len(labels), *shape), dtype=np.uint8), labels


def write_idx(raw, parts, seed=1, labels=range(10)):
    """Files of two parts, {image file: label file}; what they hold, pooled."""
    raw.mkdir(parents=True)
    held = []
    for number, (image_file, label_file) in enumerate(parts.items()):
        images, numbers = labelled((seed, number), labels, (28, 28))
        (raw / image_file).write_bytes(idx(images))
        (raw / label_file).write_bytes(idx(numbers))
        held.append((images, numbers))
    return tuple(np.concatenate(both) for both in zip(*held, strict=True))


def write_mnist(root, name, seed=1):
    parts = {f"{part}-images-idx3-ubyte": f"{part}-labels-idx1-ubyte" for part in ("train", "t10k")}
    return write_idx(root / name / "raw", parts, seed)


def write_emnist(root, split, labels):
    parts = {f"emnist-{split}-{part}-images-idx3-ubyte": f"emnist-{split}-{part}-labels-idx1-ubyte" for part in ("train", "test")}
    return write_idx(root / "EMNIST" / "raw", parts, labels=labels)


def pickled_by_python_2(value):
    """As the official files are: NumPy's descriptions of types say 0 and 1 where those of today say False and True."""
    return pickle.dumps(value, protocol=2).replace(b"\x89\x88\x87q", b"K\x00K\x01\x87q")


@pytest.fixture(scope="module")
def cifar(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    folder = root / "cifar-100-python"
    folder.mkdir()
    held = []
    for part in ("train", "test"):
        images, numbers = labelled((part == "train",), range(100), (3, 32, 32))
        (folder / part).write_bytes(pickled_by_python_2({"data": images.reshape(-1, 3072), "fine_labels": numbers.tolist()}))
        held.append((images, numbers))
    (folder / "meta").write_bytes(pickled_by_python_2({"fine_label_names": sorted(sets.CIFAR_CLASSES)}))
    levels, labels = (np.concatenate(both) for both in zip(*held, strict=True))
    return SimpleNamespace(root=root, levels=levels, labels=labels)


@pytest.fixture
def official_cifar(cifar, monkeypatch):
    """The folder passes for the official one: torchvision is told its checksums."""
    for list_name, part in (("train_list", "train"), ("test_list", "test")):
        monkeypatch.setattr(torchvision.datasets.CIFAR100, list_name, [[part, md5(cifar.root / "cifar-100-python" / part)]])
    meta = {**torchvision.datasets.CIFAR100.meta, "md5": md5(cifar.root / "cifar-100-python" / "meta")}
    monkeypatch.setattr(torchvision.datasets.CIFAR100, "meta", meta)
    return cifar


@pytest.fixture
def svhn(tmp_path, monkeypatch):
    held, listed = [], {}
    for number, part in enumerate(("train", "test")):
        images, numbers = labelled((7, number), range(10), (3, 32, 32))
        path = tmp_path / f"{part}_32x32.mat"
        savemat(path, {"X": images.transpose(2, 3, 1, 0), "y": np.where(numbers == 0, 10, numbers)[:, None].astype(np.uint8)})
        listed[part] = ["", path.name, md5(path)]
        held.append((images, numbers))
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", listed)
    levels, labels = (np.concatenate(both) for both in zip(*held, strict=True))
    return SimpleNamespace(root=tmp_path, levels=levels, labels=labels)


# ------------------------------------------------------------------ the MNIST family
@pytest.mark.parametrize("make", TEN, ids=lambda make: make.__name__)
def test_ten_classes_are_split_six_two_two_and_pool_both_parts(make, tmp_path):
    images, labels = write_mnist(tmp_path, TEN[make])
    tasks, numbers, names = make(root=str(tmp_path)), iter(range(10)), []
    assert [tasks.size(split) for split in SPLITS] == [6, 2, 2]
    for split in SPLITS:
        for task in range(tasks.size(split)):
            name, levels = shown(tasks, split, task, 2 * EACH)
            assert as_set(levels) == as_set(images[labels == next(numbers)])
            names.append(name)
    assert len(set(names)) == 10
    everything = make(root=str(tmp_path), meta_test="all")
    assert [everything.size(split) for split in SPLITS] == [0, 0, 10]
    assert [shown(everything, "meta-test", task, 1)[0] for task in range(10)] == names


class TestContract(TaskDistributionContract):
    @pytest.fixture
    def tasks(self, tmp_path):
        write_mnist(tmp_path, "MNIST")
        return Mnist(root=str(tmp_path), size=16)


def test_the_support_does_not_depend_on_the_number_of_queries(tmp_path):
    write_mnist(tmp_path, "MNIST")
    few, many = (Mnist(root=str(tmp_path)).episode("meta-val", 1, shots=4, query=query, rng=rng(5)) for query in (1, 9))
    assert np.array_equal(few.support["x"], many.support["x"])


def test_more_images_than_a_class_has_are_refused(tmp_path):
    write_mnist(tmp_path, "MNIST")
    with pytest.raises(DataError, match=r"mnist-8 has 24 samples, but shots \+ query = 20 \+ 5"):
        Mnist(root=str(tmp_path)).episode("meta-test", 0, shots=20, query=5, rng=rng())
    with pytest.raises(DataError, match="meta-test has 2 tasks, numbered from 0: there is no task 2"):
        Mnist(root=str(tmp_path)).episode("meta-test", 2, shots=1, query=0, rng=rng())


def test_the_fingerprint_follows_content_and_not_place(tmp_path):
    for folder, seed in (("one", 1), ("copy", 1), ("other", 2)):
        write_mnist(tmp_path / folder, "MNIST", seed)
    one, copy, other = (Mnist(root=str(tmp_path / folder)).fingerprint() for folder in ("one", "copy", "other"))
    assert one == copy != other
    (tmp_path / "one" / "MNIST").rename(tmp_path / "one" / "KMNIST")
    assert Kmnist(root=str(tmp_path / "one")).fingerprint() != one  # other names


def test_the_data_folder_is_searched_after_root(tmp_path, monkeypatch):
    for folder, seed in (("root", 1), ("data", 2)):
        write_mnist(tmp_path / folder, "MNIST", seed)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    root, data = Mnist(root=str(tmp_path / "root")).fingerprint(), Mnist().fingerprint()
    assert root != data
    assert Mnist(root=str(tmp_path / "empty")).fingerprint() == data


def test_images_that_are_not_mnist_are_refused(tmp_path):
    write_mnist(tmp_path, "MNIST")
    raw = tmp_path / "MNIST" / "raw"
    whole = (raw / "train-images-idx3-ubyte").read_bytes()
    (raw / "train-images-idx3-ubyte").write_bytes(whole[:1000])
    with pytest.raises(DataError, match=f"MNIST in {tmp_path} is damaged .*delete MNIST/raw/train-images-idx3-ubyte"):
        Mnist(root=str(tmp_path)).fingerprint()
    (raw / "train-images-idx3-ubyte").write_bytes(whole)
    (raw / "train-labels-idx1-ubyte").write_bytes(idx(np.full(10 * EACH, 11)))
    with pytest.raises(DataError, match="labels from 0 to 11 for 10 classes"):
        Mnist(root=str(tmp_path)).fingerprint()


def test_archives_that_lie_there_are_checked_and_unpacked_by_torchvision(tmp_path, monkeypatch):
    write_mnist(tmp_path / "plain", "MNIST")
    raw = tmp_path / "packed" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (tmp_path / "plain" / "MNIST" / "raw").iterdir():
        (raw / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    packed = str(tmp_path / "packed")
    with pytest.raises(DataError, match=r"MNIST is missing.*download: true.*unpacks MNIST/raw/\*\.gz"):
        Mnist(root=packed).fingerprint()

    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])  # nothing is fetched
    with pytest.raises(
        DataError, match=r"could not download MNIST into .*Error downloading train-images-idx3-ubyte.gz.*fetch MNIST/raw/train"
    ):
        Mnist(root=packed, download=True).fingerprint()
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [f"file://{raw}/"])
    official = [(name, md5(raw / name)) for name, _ in torchvision.datasets.MNIST.resources]
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", official)
    assert Mnist(root=packed, download=True).fingerprint() == Mnist(root=str(tmp_path / "plain")).fingerprint()


# ------------------------------------------------------------------ EMNIST
@pytest.mark.parametrize(("variant", "first", "sizes"), [("balanced", 0, [33, 8, 6]), ("letters", 1, [15, 5, 6])])
def test_letters_are_upright_and_capital_and_small_ones_in_one_split(variant, first, sizes, tmp_path):
    classes = torchvision.datasets.EMNIST.classes_split_dict[variant][first:]
    images, labels = write_emnist(tmp_path, variant, range(first, first + len(classes)))
    tasks, letters = Emnist(root=str(tmp_path), classes=variant), {}
    assert [tasks.size(split) for split in SPLITS] == sizes
    for split in SPLITS:
        names = []
        for task in range(tasks.size(split)):
            name, levels = shown(tasks, split, task, 2 * EACH)
            names.append(name.removeprefix("emnist-"))
            number = first + [known if variant == "balanced" else known.upper() for known in classes].index(names[-1])
            assert as_set(levels[:, 0]) == as_set(images[labels == number].transpose(0, 2, 1))
        letters[split] = {name.upper() for name in names}
    assert not any(letters[one] & letters[other] for one, other in combinations(SPLITS, 2))
    assert set.union(*letters.values()) == {name.upper() for name in classes}


# ------------------------------------------------------------------ CIFAR-FS
def test_the_split_of_cifar_fs_is_the_published_one():
    assert [len(sets.CIFAR_FS[split]) for split in SPLITS] == [64, 16, 20]
    assert len({name for names in sets.CIFAR_FS.values() for name in names}) == 100
    # Three superclasses lie in meta-train as a whole, and the reptiles in meta-train and meta-val.
    assert {"bottle", "bowl", "can", "cup", "plate"} <= set(sets.CIFAR_FS["meta-train"])
    assert {"hamster", "mouse", "rabbit", "shrew", "squirrel"} <= set(sets.CIFAR_FS["meta-train"])
    assert {"bridge", "castle", "house", "road", "skyscraper"} <= set(sets.CIFAR_FS["meta-train"])
    assert not {"crocodile", "dinosaur", "lizard", "snake", "turtle"} & set(sets.CIFAR_FS["meta-test"])


def test_cifar_images_are_in_colour_and_of_the_class_that_they_are_named_after(official_cifar):
    tasks = CifarFs(root=str(official_cifar.root))
    assert tasks.sample_spec.shape == (3, 32, 32)
    for split in SPLITS:
        for task in (0, 7, tasks.size(split) - 1):
            name, levels = shown(tasks, split, task, 2 * EACH)
            number = sorted(sets.CIFAR_CLASSES).index(name.removeprefix("cifar-100-"))
            assert as_set(levels) == as_set(official_cifar.levels[official_cifar.labels == number])


def test_grey_images_are_those_that_pillow_makes(official_cifar):
    tasks = CifarFs(root=str(official_cifar.root), colour=False)
    name, levels = shown(tasks, "meta-train", 3, 2 * EACH)
    chosen = official_cifar.levels[official_cifar.labels == sorted(sets.CIFAR_CLASSES).index(name.removeprefix("cifar-100-"))]
    theirs = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))[None] for image in chosen]
    assert levels.shape == (2 * EACH, 1, 32, 32)
    assert as_set(levels) == as_set(theirs)


def test_a_cifar_file_with_another_checksum_is_refused_before_it_is_unpickled(official_cifar, tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    for name in ("train", "test", "meta"):
        (folder / name).write_bytes((official_cifar.root / "cifar-100-python" / name).read_bytes())
    (folder / "test").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(DataError, match="CIFAR-100 in .* is damaged .*corrupted.*delete cifar-100-python/train"):
        CifarFs(root=str(tmp_path)).fingerprint()


class Trap:
    def __reduce__(self):
        return pytest.fail, ("the file was unpickled",)


# ------------------------------------------------------------------ SVHN
def test_the_digits_of_svhn_are_split_six_two_two_and_zero_is_a_digit(svhn):
    tasks, numbers = Svhn(root=str(svhn.root)), iter(range(10))
    assert [tasks.size(split) for split in SPLITS] == [6, 2, 2]
    for split in SPLITS:
        for task in range(tasks.size(split)):
            name, levels = shown(tasks, split, task, 2 * EACH)
            number = next(numbers)
            assert name == f"svhn-{number}"
            assert as_set(levels) == as_set(svhn.levels[svhn.labels == number])


# ------------------------------------------------------------------ what all have in common
@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_missing_data_say_where_they_were_looked_for_and_what_to_put_there(make, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="neither root nor BENCH_DATA is set"):
        make().fingerprint()
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    with pytest.raises(DataError) as caught:
        make(root=str(tmp_path / "root")).episode("meta-train", 0, shots=1, query=1, rng=rng())
    files = celeba.FILES if make is CelebA else make().source.files
    for expected in (*files, str(tmp_path / "data"), str(tmp_path / "root"), "BENCH_DATA", "download: true"):
        assert expected in str(caught.value)


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_a_download_needs_a_folder_and_says_why_it_failed(make, tmp_path, monkeypatch):
    with pytest.raises(DataError, match="no folder to be downloaded into; give root, or set BENCH_DATA"):
        make(download=True).fingerprint()

    def offline(*_, **__):
        raise OSError("there is no network")

    for name in ("MNIST", "CIFAR100", "SVHN", "CelebA", "EMNIST"):
        monkeypatch.setattr(getattr(torchvision.datasets, name), "download", offline)
    with pytest.raises(DataError, match=rf"could not download .* into {tmp_path}: there is no network; fetch .* elsewhere, put them there"):
        make(download=True, root=str(tmp_path)).fingerprint()


@pytest.mark.parametrize("make", [*ALL, ImageFolder], ids=lambda make: make.__name__)
def test_shape_and_range_are_known_without_data(make):
    assert make().sample_spec.shape in {(1, 28, 28), (3, 32, 32)}
    assert make(size=20).sample_spec.shape[1:] == (20, 20)
    assert (make().sample_spec.low, make().sample_spec.high) == (-1, 1)
    assert {"root"} <= set(make.locations) <= {"root", "download"}


# ------------------------------------------------------------------ CelebA
def write_celeba(root, *, count=90, seed=5):
    """Faces in torchvision's folder; the grey of a face is twice its number, and every third one is of a part."""
    folder, random = root / "celeba", rng(seed)
    (folder / "img_align_celeba").mkdir(parents=True)
    names = sorted(name for split in SPLITS for name in celeba.ATTRIBUTES[split])
    has, part = random.random((count, 40)) < 0.5, np.arange(count) % 3
    files = [f"{number + 1:06d}.jpg" for number in range(count)]
    rows = [f"{file} {' '.join(f'{2 * int(value) - 1:2d}' for value in row)}" for file, row in zip(files, has, strict=True)]
    (folder / "list_attr_celeba.txt").write_text("\n".join([str(count), " ".join(names) + " ", *rows]) + "\n")
    (folder / "list_eval_partition.txt").write_text("".join(f"{file} {number}\n" for file, number in zip(files, part, strict=True)))
    for number, file in enumerate(files):
        Image.new("RGB", (178, 218), (2 * number,) * 3).save(folder / "img_align_celeba" / file)
    return SimpleNamespace(root=root, folder=folder, names=names, has=has, part=part, files=files)


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return write_celeba(tmp_path_factory.mktemp("faces"))


def numbers_of(levels):
    return np.rint(levels.reshape(len(levels), -1).mean(axis=1) / 2).astype(int)


@pytest.mark.parametrize("attributes", [1, 2])
def test_faces_of_a_task_share_its_attributes_and_lie_in_the_part_of_its_split(faces, attributes):
    tasks = CelebA(root=str(faces.root), size=8, attributes=attributes, least=2)
    for split in SPLITS:
        for task in range(0, tasks.size(split), max(1, tasks.size(split) // 5)):
            name, levels = shown(tasks, split, task, 2)
            values = dict(named(name))
            assert len(values) == attributes
            assert set(values) <= set(celeba.ATTRIBUTES[split])
            assert any(values.values())
            for number in numbers_of(levels):
                assert faces.part[number] == SPLITS.index(split)
                assert all(faces.has[number, faces.names.index(attribute)] == value for attribute, value in values.items())


def named(name):
    """(attribute, value) of a task id."""
    parts = iter(name.removeprefix("celeba-").split("-"))
    for part in parts:
        yield (next(parts), False) if part == "not" else (part, True)


def test_attributes_are_in_one_split():
    assert [len(celeba.ATTRIBUTES[split]) for split in SPLITS] == [23, 8, 9]
    listed = [name for split in SPLITS for name in celeba.ATTRIBUTES[split]]
    assert len(set(listed)) == 40
    for split, pairs in zip(SPLITS, (3 * 253, 3 * 28, 3 * 36), strict=True):
        assert len(celeba.combined(celeba.ATTRIBUTES[split], 2)) == pairs


def test_the_lists_are_read_as_torchvision_reads_them(faces, monkeypatch):
    for name in ("identity_CelebA.txt", "list_bbox_celeba.txt", "list_landmarks_align_celeba.txt"):
        header = "" if name.startswith("identity") else f"{len(faces.files)}\nx y\n"
        (faces.folder / name).write_text(header + "".join(f"{file} 1 2\n" for file in faces.files))
    monkeypatch.setattr(torchvision.datasets.CelebA, "_check_integrity", lambda self: True)
    ours = celeba.read(faces.root)
    for number, split in enumerate(("train", "valid", "test")):
        theirs = torchvision.datasets.CelebA(str(faces.root), split=split)
        chosen = ours.part == number
        assert [file for file, own in zip(ours.files, chosen, strict=True) if own] == theirs.filename
        assert np.array_equal(ours.has[chosen], theirs.attr.numpy().astype(bool))
        assert list(ours.names) == [name for name in theirs.attr_names if name]


def test_combinations_of_few_faces_are_no_tasks(faces):
    few, many = (CelebA(root=str(faces.root), least=least) for least in (2, 9))
    for split in SPLITS:
        counts = [len(many.faces_of(split, values)) for values in celeba.combined(celeba.ATTRIBUTES[split], 2)]
        assert [tasks.size(split) for tasks in (few, many)] == [sum(count >= least for count in counts) for least in (2, 9)]
    assert many.size("meta-test") < few.size("meta-test")
    with pytest.raises(DataError, match=r"celeba-.* has \d+ samples, but shots \+ query = 30 \+ 1"):
        few.episode("meta-test", 0, shots=30, query=1, rng=rng())


def test_faces_have_a_content_fingerprint(faces, tmp_path):
    copy = write_celeba(tmp_path / "copy")
    assert CelebA(root=str(copy.root)).fingerprint() == CelebA(root=str(faces.root)).fingerprint()
    other = write_celeba(tmp_path / "other")
    Image.new("RGB", (178, 218)).save(other.folder / "img_align_celeba" / "000090.jpg")
    assert CelebA(root=str(other.root)).fingerprint() != CelebA(root=str(faces.root)).fingerprint()


def test_damaged_lists_and_missing_faces_are_refused(tmp_path):
    missing, cut, foreign = (write_celeba(tmp_path / name, count=6) for name in ("missing", "cut", "foreign"))
    for file in missing.files:
        (missing.folder / "img_align_celeba" / file).unlink()
    with pytest.raises(DataError, match="000001.jpg .*unpack img_align_celeba.zip again"):
        CelebA(root=str(missing.root)).fingerprint()
    tasks = CelebA(root=str(missing.root), least=2)
    with pytest.raises(DataError, match=r"cannot read the picture .*\.jpg \(FileNotFoundError"):
        tasks.episode("meta-train", 0, shots=1, query=1, rng=rng())
    lines = (cut.folder / "list_attr_celeba.txt").read_text().splitlines(keepends=True)
    (cut.folder / "list_attr_celeba.txt").write_text("".join(lines[:-2]))
    with pytest.raises(DataError, match="do not belong together"):
        CelebA(root=str(cut.root)).fingerprint()
    (foreign.folder / "list_attr_celeba.txt").write_text("no list")
    with pytest.raises(DataError, match=f"the lists of CelebA in {foreign.folder} are damaged.*fetch them again"):
        CelebA(root=str(foreign.root)).fingerprint()


# ------------------------------------------------------------------ folders of pictures
def picture(seed, height, width):
    return np.random.default_rng(seed).integers(256, size=(height, width, 3), dtype=np.uint8)


def write_folder(root, names, each=4, seed=0):
    """PNG files of several sizes, one sub-folder a class."""
    for number, name in enumerate(names):
        for index in range(each):
            file = root / name / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture((seed, number, index), 20 + index, 24)).save(file)
    return root


def classes_by_split(tasks):
    return {
        split: [tasks.episode(split, task, shots=1, query=0, rng=rng()).task_id for task in range(tasks.size(split))] for split in SPLITS
    }


def test_classes_are_split_by_name_alone(tmp_path):
    names = [f"class-{letter}" for letter in "abcdefghij"]
    one, other = write_folder(tmp_path / "one", names), write_folder(tmp_path / "other", names[::-1], each=3, seed=1)
    splits = classes_by_split(ImageFolder(root=str(one)))
    assert [len(splits[split]) for split in SPLITS] == [6, 2, 2]
    assert sorted(name for chosen in splits.values() for name in chosen) == names
    assert classes_by_split(ImageFolder(root=str(other))) == splits
    more = classes_by_split(ImageFolder(root=str(one), meta_test=0.5))
    assert [len(more[split]) for split in SPLITS] == [3, 2, 5]


def test_folders_named_after_splits_say_which_class_is_where(tmp_path, monkeypatch):
    for split, names in zip(SPLITS, (["cat", "dog"], ["fish"], ["bird", "cow", "ant"]), strict=True):
        write_folder(tmp_path / "image-folder" / split, names)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert classes_by_split(ImageFolder()) == {"meta-train": ["cat", "dog"], "meta-val": ["fish"], "meta-test": ["ant", "bird", "cow"]}


def test_support_and_query_are_different_files(tmp_path):
    tasks = ImageFolder(root=str(write_folder(tmp_path, "abc", each=6)), size=16)
    _, levels = shown(tasks, "meta-test", 0, 6)
    assert len(as_set(levels)) == 6
    with pytest.raises(DataError, match=r"has 6 samples, but shots \+ query = 5 \+ 2"):
        tasks.episode("meta-test", 0, shots=5, query=2, rng=rng())


def test_a_folder_has_a_content_fingerprint(tmp_path):
    one, copy, other, renamed = (
        write_folder(tmp_path / name, names, seed=seed)
        for name, names, seed in (("one", "abc", 0), ("copy", "abc", 0), ("other", "abc", 1), ("renamed", "abd", 0))
    )
    (copy / "a" / "notes.txt").write_text("not a picture")
    (copy / ".thumbnails").mkdir()
    prints = [ImageFolder(root=str(folder)).fingerprint() for folder in (one, copy, other, renamed)]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3


def test_folders_that_are_not_made_as_they_should_be_are_refused(tmp_path, monkeypatch):
    def said(root, **settings):
        with pytest.raises(DataError) as caught:
            ImageFolder(root=root and str(root), **settings).size("meta-train")
        return str(caught.value)

    assert "give root, or set BENCH_DATA" in said(None)
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert f"there is no folder {tmp_path / 'image-folder'}" in said(None)
    (tmp_path / "bare" / ".hidden").mkdir(parents=True)
    assert "has no sub-folders; make one for each class" in said(tmp_path / "bare")
    (write_folder(tmp_path / "empty", "abc") / "d").mkdir()
    assert "folders without images: d" in said(tmp_path / "empty")
    assert "leave none for meta-train" in said(write_folder(tmp_path / "two", "ab"))
    write_folder(tmp_path / "half" / "meta-train", "ab")
    assert "has meta-train but not all of meta-train, meta-val, meta-test" in said(tmp_path / "half")
    for split in SPLITS:
        write_folder(tmp_path / "twice" / split, "a")
    assert "has a in more than one of meta-train" in said(tmp_path / "twice")
    with pytest.raises(ContractError, match=r"meta_val \+ meta_test must be below 1, got 0.5 \+ 0.5"):
        ImageFolder(meta_val=0.5, meta_test=0.5)


# ------------------------------------------------------------------ pictures
def saved(image, path, **settings):
    image.save(path, **settings)
    return str(path)


def test_the_middle_square_of_a_picture_is_taken(tmp_path):
    wide, tall = picture(1, 20, 31), picture(2, 31, 20)
    for number, (levels, square) in enumerate(((wide, wide[:, 5:25]), (tall, tall[5:25]))):
        loaded = pictures.load(saved(Image.fromarray(levels), tmp_path / f"{number}.png"), size=20, colour=True)
        assert np.array_equal(loaded, square.transpose(2, 0, 1))


@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_pictures_of_every_usual_mode_become_what_pillow_makes_of_them(mode, colour, tmp_path):
    image = Image.fromarray(picture(3, 16, 16)).convert(mode)
    path = saved(image, tmp_path / ("picture.tif" if mode == "CMYK" else "picture.png"))
    expected = np.asarray(image.convert("RGB") if colour else image.convert("RGB").convert("L"))
    loaded = pictures.load(path, size=16, colour=colour)
    assert np.array_equal(loaded, expected.transpose(2, 0, 1) if colour else expected[None])


def test_photographs_are_turned_upright(tmp_path):
    upright = np.repeat(np.repeat(picture(4, 2, 2), 16, axis=0), 16, axis=1)
    turned = Image.fromarray(np.rot90(upright).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    loaded = pictures.load(saved(turned, tmp_path / "photo.jpg", exif=exif, quality=100, subsampling=0), size=32, colour=True)
    assert np.abs(loaded.astype(int) - upright.transpose(2, 0, 1)).max() <= 3


def test_what_is_no_8_bit_picture_is_refused(tmp_path):
    deep = saved(Image.fromarray(np.full((16, 16), 40_000, dtype=np.uint16)), tmp_path / "deep.png")
    with pytest.raises(DataError, match=r"deep.png has more than 8 bits a channel \(mode I;16\); convert it"):
        pictures.load(deep, size=16, colour=False)
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match=r"cannot read the picture .*text.png \(UnidentifiedImageError.*replace or delete it"):
        pictures.load(str(tmp_path / "text.png"), size=16, colour=True)
    whole = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot read the picture .*half.png"):
        pictures.load(str(tmp_path / "half.png"), size=16, colour=True)


@pytest.mark.parametrize(("side", "size"), [(28, 20), (32, 16), (28, 8), (45, 32)])
def test_smaller_pictures_are_area_averages(side, size):
    levels = rng(5).integers(256, size=(3, 2, side, side), dtype=np.uint8)
    fine = lcm(side, size)
    enlarged = levels.repeat(fine // side, axis=2).repeat(fine // side, axis=3).reshape(3, 2, size, fine // size, size, fine // size)
    assert np.abs(pictures.resize(levels, size) - enlarged.mean(axis=(3, 5))).max() <= 0.5 + 1e-9


@pytest.mark.parametrize(("side", "size"), [(28, 32), (8, 20), (5, 64)])
def test_larger_pictures_are_those_that_torch_interpolates(side, size):
    levels = rng(6).integers(256, size=(3, 2, side, side), dtype=np.uint8)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(levels).double(), size=(size, size), mode="bilinear", align_corners=False)
    assert np.abs(pictures.resize(levels, size) - theirs.numpy()).max() <= 0.5 + 1e-9


def test_levels_span_the_promised_range():
    assert pictures.samples(np.array([0, 255], dtype=np.uint8)).tolist() == [-1, 1]
    assert pictures.load_samples([], size=8, colour=True).shape == (0, 3, 8, 8)


SHORTER = {
    "replicates: 3": "replicates: 1",
    "{gradient_evaluations: 6000, warm_start: {finetune: 2000}}": "{gradient_evaluations: 60, warm_start: {finetune: 20}}",
    "shots: 8": "shots: 2",
    "query: 16": "query: 2",
    "reference: 32": "reference: 2",
    "samples: 64": "samples: 6",
    "{meta_val: 10, meta_test: 32}": "{meta_val: 2, meta_test: 2}",
    "{celeba: {size: 32}}": "{celeba: {size: 8, least: 4}}",
    "width: 32, latent: 16": "width: 4, latent: 4",
}


def test_the_shipped_suite_of_faces_runs_on_a_small_folder(faces, tmp_path, monkeypatch):
    text = (SUITES / "vae-celeba.yaml").read_text()
    for full, short in SHORTER.items():
        assert full in text
        text = text.replace(full, short)
    (tmp_path / "faces.yaml").write_text(text)
    monkeypatch.setenv("BENCH_DATA", str(faces.root))
    planned = prepare(tmp_path / "faces.yaml", RunOptions(output=tmp_path / "out"))
    rows = {trial.arm: run({"trial": trial.to_dict(), "results": str(tmp_path)}) for trial in planned.plan.missing}
    assert {"scratch", "finetune", "reptile", "maml", "hypernetwork-one-shot", "hypernetwork-two-stage"} <= set(rows)
    for row, measured in rows.values():
        assert row["status"] in ("ok", "diverged"), row["reason"]  # after a hundredth of the budget either is an outcome
        assert {"energy", "fid-pooled", "inception-score"} <= set(measured["metric"])

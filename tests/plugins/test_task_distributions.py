"""Task distributions: disjoint, reproducible, and distributed as they say."""

import os
from itertools import combinations
from math import lcm
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.contracts import SPLITS, DataError
from bench_builtin.task_distributions import TASK_DISTRIBUTIONS, Digits, GaussianRings, Glyphs, IdentifiedSinusoids, Omniglot, Sinusoids
from bench_builtin.task_distributions import omniglot as omniglot_module

WITHOUT_FILES = [Digits, GaussianRings, Glyphs, IdentifiedSinusoids, Sinusoids]
ALPHABETS = {"images_background": ["Greek", "Hebrew", "Korean", "Tagalog", "Braille"], "images_evaluation": ["Angelic", "Tengwar"]}


def rng(*seed):
    return np.random.default_rng(list(seed) or [0])


# ------------------------------------------------------------------ every distribution
@pytest.mark.parametrize("make", WITHOUT_FILES)
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize(("shots", "query"), [(3, 5), (0, 4), (2, 0)])
def test_an_episode_has_the_promised_shapes(make, split, shots, query):
    tasks = make()
    episode = tasks.episode(split, 1, shots=shots, query=query, rng=rng())
    for part, n in ((episode.support, shots), (episode.query, query)):
        assert part["x"].shape == (n, *tasks.sample_spec.shape)
        assert all(values.dtype == np.float32 for values in part.values())
        assert ("y" in part) == (tasks.kind == "regression")
        if tasks.sample_spec.low is not None and n:
            assert tasks.sample_spec.low <= part["x"].min() <= part["x"].max() <= tasks.sample_spec.high
    assert tasks.sample_spec.kind == tasks.kind == make.kind


@pytest.mark.parametrize("make", WITHOUT_FILES)
def test_all_randomness_comes_from_the_given_generator(make):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    first = make().episode("meta-test", 0, shots=4, query=4, rng=rng(5))
    again = make().episode("meta-test", 0, shots=4, query=4, rng=rng(5))
    other = make().episode("meta-test", 0, shots=4, query=4, rng=rng(6))
    assert np.array_equal(first.support["x"], again.support["x"])
    assert np.array_equal(first.query["x"], again.query["x"])
    assert not np.array_equal(first.query["x"], other.query["x"])
    assert np.array_equal(before, np.random.get_state()[1])


@pytest.mark.parametrize("make", WITHOUT_FILES)
def test_the_support_does_not_depend_on_the_number_of_queries(make):
    few = make().episode("meta-val", 1, shots=4, query=1, rng=rng(5))
    many = make().episode("meta-val", 1, shots=4, query=9, rng=rng(5))
    assert few.task_id == many.task_id
    assert np.array_equal(few.support["x"], many.support["x"])


@pytest.mark.parametrize("make", [Digits, Glyphs])
def test_a_task_that_does_not_exist_is_refused(make):
    tasks = make()
    for task in (-1, tasks.size("meta-val")):
        with pytest.raises(DataError, match="there is no task"):
            tasks.episode("meta-val", task, shots=1, query=1, rng=rng())


def test_the_offered_names_are_the_documented_ones():
    points = ["dirac", "gaussian-grid", "gaussian-rings", "gaussians", "spirals"]
    curves = ["sinusoids", "sinusoids-identified", "waveforms"]
    shipped = ["digits", "glyphs", "stacked-digits"]
    on_disk = ["celeba", "cifar-fs", "emnist", "fashion-mnist", "image-folder", "kmnist", "mnist", "omniglot", "svhn"]
    made_of_others = ["n-way"]
    assert sorted(TASK_DISTRIBUTIONS) == sorted([*points, *curves, *shipped, *on_disk, *made_of_others])


# ------------------------------------------------------------------ rings
def test_a_ring_has_the_moments_of_its_mixture():
    n = 40_000
    episode = GaussianRings().episode("meta-train", 0, shots=n, query=0, rng=rng(1))
    centre = episode.modes.centres.mean(axis=0)
    radius = np.linalg.norm(episode.modes.centres - centre, axis=1)
    assert radius == pytest.approx(radius[0])
    # Three or more evenly spaced points on a circle have covariance radius^2 / 2 in every direction.
    variance = radius[0] ** 2 / 2 + episode.modes.scale**2
    points = episode.support["x"].astype(np.float64)
    assert points.mean(axis=0) == pytest.approx(centre, abs=5 * np.sqrt(variance / n))
    assert np.cov(points.T) == pytest.approx(variance * np.eye(2), abs=5 * variance * np.sqrt(2 / n))


def test_points_lie_within_three_deviations_of_a_mode_as_often_as_the_chi_square_law_says():
    episode = GaussianRings().episode("meta-test", 0, shots=0, query=40_000, rng=rng(2))
    distances = np.linalg.norm(episode.query["x"][:, None] - episode.modes.centres, axis=2)
    assert np.mean(distances.min(axis=1) < 3 * episode.modes.scale) == pytest.approx(1 - np.exp(-4.5), abs=0.003)
    assert np.bincount(distances.argmin(axis=1), minlength=5) / 40_000 == pytest.approx(np.full(5, 0.2), abs=0.01)


def test_rings_differ_within_the_documented_ranges():
    drawn = [GaussianRings(modes=7).episode("meta-train", 0, shots=1, query=1, rng=rng(seed)).modes.centres for seed in range(300)]
    centres = np.array([ring.mean(axis=0) for ring in drawn])
    radii = np.array([np.linalg.norm(ring[0] - ring.mean(axis=0)) for ring in drawn])
    assert drawn[0].shape == (7, 2)
    assert 0.6 <= radii.min() < 0.65 < 1.15 < radii.max() <= 1.2
    assert -0.5 <= centres.min() < -0.45 < 0.45 < centres.max() <= 0.5


# ------------------------------------------------------------------ sinusoids
def test_targets_are_one_sinusoid_of_the_inputs():
    for seed in range(20):
        episode = Sinusoids().episode("meta-train", 0, shots=20, query=20, rng=rng(seed))
        x, y = (np.concatenate([episode.support[name], episode.query[name]])[:, 0].astype(np.float64) for name in "xy")
        basis = np.stack([np.sin(x), np.cos(x)], axis=1)
        (along_sine, along_cosine), *_ = np.linalg.lstsq(basis, y)
        assert basis @ [along_sine, along_cosine] == pytest.approx(y, abs=1e-5)
        assert 0.1 <= np.hypot(along_sine, along_cosine) <= 5
        assert 0 <= np.arctan2(along_cosine, along_sine) <= np.pi


# ------------------------------------------------------------------ identified sinusoids
def amplitude_code_and_noise(episode):
    """The support's least-squares amplitude, its one code and the standard deviation of what a sine does not explain."""
    x, y = (episode.support[name].astype(np.float64) for name in "xy")
    assert (x[:, 1:] == x[0, 1:]).all()
    assert np.array_equal(episode.query["x"][:, 1:], x[:1, 1:].repeat(len(episode.query["x"]), axis=0))
    assert sorted(x[0, 1:]) == [0] * 19 + [1]
    sine = np.sin(x[:, 0])
    amplitude = sine @ y[:, 0] / (sine @ sine)
    return amplitude, int(x[0, 1:].argmax()), (y[:, 0] - amplitude * sine).std()


def test_in_meta_training_the_code_tells_the_amplitude():
    tasks = IdentifiedSinusoids()
    assert tasks.size("meta-train") == 16
    for task in range(16):
        amplitude, code, noise = amplitude_code_and_noise(tasks.episode("meta-train", task, shots=2000, query=3, rng=rng(task)))
        assert code == task
        # A slope's standard error is 0.1 / sqrt(N / 2) = 0.003, a standard deviation's 0.1 / sqrt(2 N) = 0.0016.
        assert amplitude == pytest.approx(0.1 + task * 3.9 / 19, abs=0.015)
        assert noise == pytest.approx(0.1, abs=0.008)


@pytest.mark.parametrize("split", ["meta-val", "meta-test"])
def test_on_held_out_tasks_the_code_says_nothing_of_the_amplitude(split):
    tasks = IdentifiedSinusoids()
    assert tasks.size(split) is None
    drawn = [amplitude_code_and_noise(tasks.episode(split, 0, shots=200, query=1, rng=rng(seed)))[:2] for seed in range(1000)]
    amplitudes, codes = np.array(drawn).T
    assert set(codes) == set(range(16))
    assert -0.1 < amplitudes.min() < 0.2
    assert 3.9 < amplitudes.max() < 4.2
    assert amplitudes.mean() == pytest.approx(2.05, abs=5 * 3.9 / np.sqrt(12 * 1000))
    assert abs(np.corrcoef(amplitudes, codes)[0, 1]) < 5 / np.sqrt(1000)


@pytest.mark.parametrize(("split", "width"), [("meta-train", 5), ("meta-val", 4.5), ("meta-test", 4.5)])
def test_held_out_queries_keep_to_the_published_interval(split, width):
    episode = IdentifiedSinusoids().episode(split, 0, shots=2000, query=2000, rng=rng())
    for part, bound in ((episode.support, 5), (episode.query, width)):
        assert bound - 0.05 < np.abs(part["x"][:, 0]).max() <= bound


def test_a_code_that_does_not_occur_in_meta_training_is_refused():
    with pytest.raises(DataError, match="meta-train has 16 tasks, numbered from 0: there is no task 16"):
        IdentifiedSinusoids().episode("meta-train", 16, shots=1, query=1, rng=rng())


def test_published_sinusoids_are_one_hundred_fixed_tasks():
    """Amplitude and first input come from one number each time the generator is seeded; the noise of targets is the stated one."""
    tasks = IdentifiedSinusoids(meta_test="published")
    assert (tasks.size("meta-test"), tasks.size("meta-val"), tasks.size("meta-train")) == (100, None, 16)
    squares = []
    for task in range(100):
        episode, again = (tasks.episode("meta-test", task, shots=5, query=200, rng=rng(seed)) for seed in (0, 1))
        assert np.array_equal(episode.support["y"], again.support["y"])
        assert np.array_equal(episode.support["x"][:, 0], again.support["x"][:, 0])  # codes alone are drawn by whoever asks
        amplitude = 0.1 + 3.9 * (float(episode.support["x"][0, 0]) + 5) / 10
        assert np.allclose(episode.query["x"][:, 0], np.linspace(-4.5, 4.5, 200))
        squares.append((episode.query["y"][:, 0] - amplitude * np.sin(episode.query["x"][:, 0])) ** 2)
    assert np.mean(squares) == pytest.approx(0.01, rel=0.05)
    with pytest.raises(DataError):
        tasks.episode("meta-test", 100, shots=5, query=5, rng=rng(0))


# ------------------------------------------------------------------ digits
def test_support_and_query_share_no_image():
    episode = Digits().episode("meta-train", 3, shots=60, query=100, rng=rng())
    support, query = ({image.tobytes() for image in part["x"]} for part in (episode.support, episode.query))
    assert len(support) == 60
    assert len(query) == 100
    assert not support & query


def test_digits_are_those_of_scikit_learn_and_no_digit_is_in_two_splits():
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    seen = []
    for split in SPLITS:
        for task in range(Digits().size(split)):
            episode = Digits().episode(split, task, shots=174, query=0, rng=rng())
            label = int(episode.task_id.removeprefix("digit-"))
            known = {tuple(row) for row in images[labels == label]}
            assert {tuple(row) for row in (episode.support["x"].reshape(174, 64) + 1) * 8} <= known
            seen.append(label)
    assert sorted(seen) == list(range(10))


def images_of(**settings):
    return Digits(**settings).episode("meta-test", 0, shots=174, query=0, rng=rng()).support["x"]


@pytest.mark.parametrize("size", [16, 28])
def test_larger_digits_are_those_that_pillow_interpolates(size):
    small, large = images_of(), images_of(size=size)  # of one order, as both are drawn with equal random numbers
    assert large.shape == (174, 1, size, size)
    for given, image in zip(small[:20, 0], large[:20, 0], strict=True):
        theirs = np.asarray(Image.fromarray((given + 1) / 2).resize((size, size), Image.Resampling.BILINEAR))
        assert (image + 1) / 2 == pytest.approx(theirs, abs=0.5 / 255 + 1e-6)  # ours are in 255 grey steps
    grey = (large + 1) * 127.5
    assert np.abs(grey - grey.round()).max() < 1e-4


def test_all_ten_digits_can_be_meta_test_tasks_and_then_none_is_left_to_train_on():
    ten = Digits(meta_test="all")
    assert [ten.size(split) for split in SPLITS] == [0, 0, 10]
    drawn = [ten.episode("meta-test", task, shots=3, query=0, rng=rng()).task_id for task in range(10)]
    assert drawn == [f"digit-{digit}" for digit in range(10)]
    with pytest.raises(DataError, match="meta-train has 0 tasks"):
        ten.episode("meta-train", 0, shots=1, query=0, rng=rng())


def test_more_samples_than_a_digit_has_are_refused():
    with pytest.raises(DataError, match=r"digit-8 has 174 samples, but shots \+ query = 100 \+ 75"):
        Digits().episode("meta-test", 0, shots=100, query=75, rng=rng())


# ------------------------------------------------------------------ Omniglot
@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small Omniglot as torchvision unpacks it: 7 alphabets of 2 characters."""
    root, random, number = tmp_path_factory.mktemp("omniglot"), rng(11), 0
    for part, alphabets in ALPHABETS.items():
        for alphabet in sorted(alphabets):
            for character in (1, 2):
                number += 1
                target = root / "omniglot-py" / part / alphabet / f"character{character:02d}"
                target.mkdir(parents=True)
                for drawer in range(1, 21):
                    paper = random.random((105, 105)) > 0.08
                    Image.fromarray(paper).save(target / f"{number:04d}_{drawer:02d}.png")
    return root


@pytest.fixture(scope="module")
def packed(folder, tmp_path_factory):
    """The same as one packed file, with the characters in another order."""
    found = omniglot_module.read_folders(folder)
    order = rng(3).permutation(len(found.alphabets))
    shuffled = omniglot_module.Characters(
        found.bits[order],
        tuple(found.alphabets[index] for index in order),
        tuple(found.numbers[index] for index in order),
        found.background[order],
    )
    path = tmp_path_factory.mktemp("packed") / "omniglot.npz"
    omniglot_module.write_packed(shuffled, path)
    return path


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("BENCH_DATA", raising=False)


def test_folders_and_packed_file_give_the_same_images(folder, packed):
    unpacked, repacked = Omniglot(path=str(folder)), Omniglot(path=str(packed))
    assert unpacked.fingerprint() == repacked.fingerprint()
    for split in SPLITS:
        assert unpacked.size(split) == repacked.size(split)
        for task in range(unpacked.size(split)):
            first, second = (tasks.episode(split, task, shots=8, query=12, rng=rng(task)) for tasks in (unpacked, repacked))
            assert first.task_id == second.task_id
            assert np.array_equal(first.support["x"], second.support["x"])
            assert np.array_equal(first.query["x"], second.query["x"])


def test_the_images_are_those_of_torchvision(folder, monkeypatch):
    from torchvision.datasets import Omniglot as Reference

    monkeypatch.setattr(Reference, "_check_integrity", lambda self: True)  # there are no zips beside the folders
    reference = Reference(str(folder), background=False)
    tasks = Omniglot(path=str(folder), size=105)
    ours = [tasks.episode("meta-test", task, shots=20, query=0, rng=rng()).support["x"] for task in range(tasks.size("meta-test"))]
    theirs = [[] for _ in ours]
    for image, label in reference:
        theirs[label].append((1 - 2 * (np.asarray(image.convert("L")) / 255)).astype(np.float32))
    # As sets: torchvision numbers the characters in the order of the file system.
    as_set = [{frozenset(image.tobytes() for image in character) for character in characters} for characters in (ours, theirs)]
    assert as_set[0] == as_set[1]
    assert len(as_set[0]) == 4


@pytest.mark.parametrize("size", [28, 20, 105, 35, 40])
def test_area_averaging_equals_block_means_of_a_finer_grid(size):
    ink = rng(4).random((105, 105)) < 0.1
    fine = lcm(105, size)
    enlarged, block = np.kron(ink, np.ones((fine // 105,) * 2)), fine // size
    expected = 2 * enlarged.reshape(size, block, size, block).mean(axis=(1, 3)) - 1
    shrunk = omniglot_module.shrink(np.packbits(ink)[None], size)
    assert shrunk.shape == (1, 1, size, size)
    assert shrunk[0, 0] == pytest.approx(expected, abs=1e-7)


def test_alphabets_are_in_one_split_only(folder):
    tasks = Omniglot(path=str(folder))
    alphabets = {
        split: {tasks.episode(split, task, shots=1, query=1, rng=rng()).task_id.rsplit("-", 1)[0] for task in range(tasks.size(split))}
        for split in SPLITS
    }
    assert alphabets == {
        "meta-train": {"Greek", "Korean", "Tagalog", "Braille"},
        "meta-val": {"Hebrew"},
        "meta-test": {"Angelic", "Tengwar"},
    }


def test_small_sets_restrict_meta_train_only(folder):
    sizes = {split: [Omniglot(path=str(folder), split=split).size(part) for part in SPLITS] for split in ("official", "small1", "small2")}
    assert sizes == {"official": [8, 2, 4], "small1": [4, 2, 4], "small2": [4, 2, 4]}
    assert not omniglot_module.META_VAL & (omniglot_module.SMALL["small1"] | omniglot_module.SMALL["small2"])


def test_support_and_query_are_by_different_drawers(folder):
    episode = Omniglot(path=str(folder)).episode("meta-train", 0, shots=8, query=12, rng=rng())
    assert len({image.tobytes() for part in (episode.support, episode.query) for image in part["x"]}) == 20
    with pytest.raises(DataError, match="has 20 samples"):
        Omniglot(path=str(folder)).episode("meta-train", 0, shots=8, query=13, rng=rng())


@pytest.mark.parametrize("place", ["omniglot.npz", "omniglot/omniglot.npz"])
def test_the_data_folder_is_searched(packed, tmp_path, monkeypatch, place):
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_bytes(packed.read_bytes())
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert Omniglot().fingerprint() == Omniglot(path=str(packed)).fingerprint()


def test_missing_data_say_where_they_were_looked_for_and_what_to_do(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="neither path nor BENCH_DATA is set"):
        Omniglot().size("meta-train")
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    with pytest.raises(DataError, match="download") as caught:
        Omniglot().episode("meta-train", 0, shots=1, query=1, rng=rng())
    assert str(tmp_path / "omniglot" / "omniglot.npz") in str(caught.value)
    with pytest.raises(DataError, match="nowhere.npz"):
        Omniglot(path=str(tmp_path / "nowhere.npz")).fingerprint()


def test_damaged_data_are_refused(folder, tmp_path):
    (tmp_path / "omniglot.npz").write_bytes(b"not a zip")
    with pytest.raises(DataError, match="not a packed Omniglot file"):
        Omniglot(path=str(tmp_path)).size("meta-train")
    halved = tmp_path / "halved"
    for file in (folder / "omniglot-py").rglob("*.png"):
        if not file.name.endswith("_07.png"):
            target = halved / file.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())
    with pytest.raises(DataError, match="19 images instead of 20"):
        Omniglot(path=str(halved)).size("meta-train")


def test_a_download_goes_through_torchvision_into_the_data_folder(folder, tmp_path, monkeypatch):
    import torchvision.datasets

    calls = []

    def download(root, *, background, download):
        calls.append((root, background, download))
        part = "images_background" if background else "images_evaluation"
        target = Path(root) / "omniglot-py" / part
        target.parent.mkdir(exist_ok=True)
        target.symlink_to(folder / "omniglot-py" / part)

    monkeypatch.setattr(torchvision.datasets, "Omniglot", download)
    with pytest.raises(DataError, match="no folder to be downloaded into"):
        Omniglot(download=True).fingerprint()
    root = tmp_path / "data"
    assert Omniglot(download=True, root=str(root)).fingerprint() == Omniglot(path=str(folder)).fingerprint()
    assert calls == [(str(root), True, True), (str(root), False, True)]
    Omniglot(download=True, root=str(root)).size("meta-val")
    assert len(calls) == 2  # what is there is not downloaded again


def test_the_real_omniglot_has_the_published_splits():
    path = os.environ.get("BENCH_TEST_OMNIGLOT")
    if not path:
        pytest.skip("BENCH_TEST_OMNIGLOT does not name an omniglot.npz")
    tasks = Omniglot(path=path)
    assert [tasks.size(split) for split in SPLITS] == [834, 130, 659]
    alphabets = {split: {task_id.rsplit("-", 1)[0] for task_id in _task_ids(tasks, split)} for split in SPLITS}
    assert [len(alphabets[split]) for split in SPLITS] == [26, 4, 20]
    assert not any(alphabets[first] & alphabets[second] for first, second in combinations(SPLITS, 2))
    assert [Omniglot(path=path, split=small).size("meta-train") for small in ("small1", "small2")] == [136, 156]
    ink = np.concatenate([tasks.episode("meta-test", task, shots=20, query=0, rng=rng()).support["x"] for task in range(0, 659, 10)])
    assert ink.shape[1:] == (1, 28, 28)
    assert (ink.mean() + 1) / 2 == pytest.approx(0.08, abs=0.01)


def _task_ids(tasks, split):
    return [tasks.episode(split, task, shots=1, query=0, rng=rng()).task_id for task in range(tasks.size(split))]

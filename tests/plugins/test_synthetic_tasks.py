"""Tasks made by code: their moments are those that arithmetic gives, and what must differ between tasks and splits does."""

from functools import partial
from itertools import combinations

import numpy as np
import pytest

from bench.contracts import SPLITS, ContractError, DataError
from bench.testing import TaskDistributionContract
from bench_builtin.feature_extractors import ProtoNetConv4, conv4
from bench_builtin.task_distributions import Dirac, GaussianGrid, GaussianRings, Gaussians, Spirals, StackedDigits, Waveforms
from bench_builtin.task_distributions import stacked_digits as stacked
from bench_builtin.task_distributions.digits import enlarged, grey_levels
from bench_builtin.task_distributions.finite import draw_numbers
from bench_builtin.task_distributions.signals import HARMONICS, fourier

PACGAN_RING = {"modes": 8, "scale": 0.01, "radius": (1.0, 1.0), "shift": 0.0, "rotate": False}
PACGAN_GRID = {"zoom": (1.0, 1.0), "shift": 0.0, "rotate": False}
NEW = (Dirac, GaussianGrid, Gaussians, Spirals, StackedDigits, Waveforms)


def rng(*seed):
    return np.random.default_rng(list(seed) or [0])


def points(tasks, n, seed=0, split="meta-train"):
    return tasks.episode(split, 0, shots=n, query=0, rng=rng(seed)).support["x"].astype(np.float64)


class TestContracts(TaskDistributionContract):
    @pytest.fixture(params=[make for make in NEW if make is not Dirac], ids=lambda make: make.__name__)
    def tasks(self, request):
        return request.param()


@pytest.mark.parametrize("make", NEW)
def test_the_support_does_not_depend_on_the_number_of_queries(make):
    few, many = (make().episode("meta-val", 1, shots=4, query=query, rng=rng(5)) for query in (1, 9))
    assert few.task_id == many.task_id
    assert np.array_equal(few.support["x"], many.support["x"])


@pytest.mark.parametrize("make", NEW)
def test_global_randomness_is_left_alone(make):
    np.random.seed(0)
    before = np.random.get_state()[1].copy()
    make().episode("meta-test", 0, shots=4, query=4, rng=rng())
    assert np.array_equal(before, np.random.get_state()[1])


# ------------------------------------------------------------------ one point
def test_every_sample_of_a_dirac_task_is_its_point():
    drawn = []
    for seed in range(200):
        episode = Dirac(features=3, reach=2.0).episode("meta-train", seed, shots=4, query=5, rng=rng(seed))
        together = np.concatenate([episode.support["x"], episode.query["x"]])
        assert together.shape == (9, 3)
        assert together.dtype == np.float32
        assert (together == together[0]).all()
        assert episode.modes is None
        drawn.append(together[0])
    spread = np.array(drawn)
    assert -2 <= spread.min() < -1.9
    assert 1.9 < spread.max() <= 2
    assert spread.std() == pytest.approx(2 / np.sqrt(3), rel=0.1)


# ------------------------------------------------------------------ one Gaussian
@pytest.mark.parametrize("covariance", ["full", "diagonal", "isotropic"])
def test_samples_have_the_mean_and_covariance_of_their_task(covariance):
    n, tasks = 40_000, Gaussians(features=3, reach=2.0, covariance=covariance)
    mean, root = tasks.draw_task(rng(4))
    expected = root @ root.T
    variances = np.linalg.eigvalsh(expected)
    drawn = points(tasks, n, seed=4)
    assert drawn.mean(axis=0) == pytest.approx(mean, abs=5 * np.sqrt(variances.max() / n))
    assert np.cov(drawn.T) == pytest.approx(expected, abs=5 * variances.max() * np.sqrt(2 / n))
    assert 0.1**2 <= variances.min() <= variances.max() <= 0.5**2
    assert (np.abs(mean) <= 2).all()
    correlated = np.abs(expected - np.diag(np.diag(expected))).max() > 1e-9
    assert correlated == (covariance == "full")
    assert (np.ptp(variances) < 1e-12) == (covariance == "isotropic")


def test_axes_are_turned_uniformly():
    # Over uniformly random axes the mean covariance is E[s^2] times the identity, s log-uniform in [a, b].
    n, low, high = 1000, 0.1, 0.5
    roots = np.array([Gaussians().draw_task(rng(seed))[1] for seed in range(n)])
    second = (high**2 - low**2) / (2 * np.log(high / low))
    assert np.mean(roots @ roots.transpose(0, 2, 1), axis=0) == pytest.approx(second * np.eye(2), abs=5 * high**2 / np.sqrt(n))


# ------------------------------------------------------------------ rings and grids
def test_the_ring_of_pacgan_is_the_same_for_all_tasks():
    eighths = np.exp(2j * np.pi * np.arange(8) / 8)
    for seed in range(5):
        modes = GaussianRings(**PACGAN_RING).episode("meta-test", seed, shots=1, query=1, rng=rng(seed)).modes
        assert modes.centres == pytest.approx(np.stack([eighths.real, eighths.imag], axis=1), abs=1e-12)
        assert modes.scale == 0.01


def test_the_grid_of_pacgan_is_the_same_for_all_tasks():
    expected = {(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)}
    for seed in range(5):
        modes = GaussianGrid(**PACGAN_GRID).episode("meta-test", seed, shots=1, query=1, rng=rng(seed)).modes
        assert {tuple(centre) for centre in modes.centres} == expected
        assert modes.scale == 0.05


def test_grid_points_have_the_moments_of_their_mixture():
    n = 40_000
    episode = GaussianGrid(side=4).episode("meta-train", 0, shots=n, query=0, rng=rng(1))
    drawn, centres = episode.support["x"].astype(np.float64), episode.modes.centres
    spacing = np.sort(np.linalg.norm(centres - centres[0], axis=1))[1]
    variance = spacing**2 * (4**2 - 1) / 12 + 0.05**2  # of a discrete uniform law, in every direction
    assert drawn.mean(axis=0) == pytest.approx(centres.mean(axis=0), abs=5 * np.sqrt(variance / n))
    assert np.cov(drawn.T) == pytest.approx(variance * np.eye(2), abs=5 * variance * np.sqrt(2 / n))
    nearest = np.linalg.norm(drawn[:, None] - centres, axis=2).argmin(axis=1)
    assert np.bincount(nearest, minlength=16) / n == pytest.approx(np.full(16, 1 / 16), abs=5 * np.sqrt(1 / 16 / n))


def test_grids_differ_within_the_documented_ranges():
    drawn = [GaussianGrid().episode("meta-train", 0, shots=1, query=1, rng=rng(seed)).modes.centres for seed in range(300)]
    middles, edges = np.array([grid[12] for grid in drawn]), np.array([grid[1] - grid[0] for grid in drawn])
    spacings, angles = np.linalg.norm(edges, axis=1), np.arctan2(-edges[:, 0], edges[:, 1])
    assert 1.5 <= spacings.min() < 1.55 < 2.45 < spacings.max() <= 2.5
    assert 0 <= angles.min() < 0.05 < np.pi / 2 - 0.05 < angles.max() <= np.pi / 2
    assert -1 <= middles.min() < -0.95 < 0.95 < middles.max() <= 1


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (GaussianRings, {"radius": (2.0, 1.0)}),
        (GaussianGrid, {"zoom": (2.0, 1.0)}),
        (Gaussians, {"scale": (2.0, 1.0)}),
        (Spirals, {"turns": (2.0, 1.0)}),
    ],
)
def test_an_interval_the_wrong_way_round_is_refused(make, settings):
    with pytest.raises(ContractError, match=rf"{next(iter(settings))} is \[lowest, highest\], got \[2, 1\]; write \[1, 2\]"):
        make(**settings)


# ------------------------------------------------------------------ spirals
@pytest.mark.parametrize("arms", [2, 3])
def test_spirals_have_the_documented_moments(arms):
    n = 40_000
    drawn = points(Spirals(arms=arms, noise=0.1), n)
    squared = np.square(drawn).sum(axis=1)
    assert drawn.mean(axis=0) == pytest.approx([0, 0], abs=5 * np.sqrt(0.4 / n))
    assert squared.mean() == pytest.approx(1 / 3 + 2 * 0.1**2, abs=5 * squared.std() / np.sqrt(n))


def test_without_noise_the_angle_grows_with_the_radius():
    senses, rotations = [], []
    for seed in range(60):
        position = points(Spirals(arms=3, turns=(1.25, 1.25), noise=0.0), 50, seed=seed) @ [1, 1j]
        radius = np.abs(position)
        # Unwound the right way round, the three arms are three directions 120 degrees apart: equal as cubes.
        unwound = {sense: (position / radius * np.exp(-2j * np.pi * sense * 1.25 * radius)) ** 3 for sense in (-1, 1)}
        sense = min(unwound, key=lambda sense: np.abs(unwound[sense] - unwound[sense][0]).max())
        assert unwound[sense] == pytest.approx(unwound[sense][0], abs=1e-3)
        senses.append(sense)
        rotations.append(unwound[sense][0])
    assert 15 < senses.count(1) < 45
    assert np.abs(np.mean(rotations)) < 0.4  # uniform on the circle: 3 / sqrt(60)


# ------------------------------------------------------------------ waveforms
def test_the_coefficients_are_those_of_the_four_waves():
    turn = (np.arange(200_000) + 0.5) / 200_000
    waves = [
        np.sin(2 * np.pi * turn),
        np.sign(0.5 - turn),
        2 * ((turn + 0.5) % 1) - 1,
        1 - np.abs(4 * ((turn + 0.25) % 1) - 2),
    ]
    for known, wave in zip(fourier(), waves, strict=True):
        measured = [2 * np.mean(wave * np.sin(2 * np.pi * n * turn)) for n in range(1, HARMONICS + 1)]
        assert known == pytest.approx(measured, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_waveforms_have_the_documented_mean_and_variance_at_every_time(seed):
    n, tasks = 10_000, Waveforms(noise=0.1)
    _, _, envelope = tasks.draw_task(rng(seed))
    drawn = points(tasks, n, seed=seed)[:, 0]
    variance = 7 / 12 * envelope**2 + 0.1**2
    assert np.abs(drawn.mean(axis=0) / np.sqrt(variance / n)).max() < 5
    fourth = (drawn**4).mean(axis=0)
    assert (np.abs(drawn.var(axis=0) - variance) < 5 * np.sqrt((fourth - variance**2) / n)).all()


def test_a_waveform_stays_below_the_highest_frequency_that_its_steps_hold():
    for seed in range(300):
        spectrum, lowest, envelope = Waveforms().draw_task(rng(seed))
        assert np.square(spectrum).sum() / 2 == pytest.approx(1)
        assert np.flatnonzero(spectrum).max() + 1 <= HARMONICS
        assert HARMONICS * 1.2 * lowest < 64 / 2
        assert 0 <= envelope.min() <= envelope.max() <= 1


@pytest.mark.parametrize("seed", range(3))
def test_a_sample_is_its_spectrum_under_its_envelope_at_a_pitch_of_the_band(seed):
    tasks = Waveforms(length=256, noise=0.0)
    spectrum, lowest, envelope = tasks.draw_task(rng(seed))
    number = np.flatnonzero(spectrum) + 1
    for signal in points(tasks, 2, seed=seed)[:, 0]:
        unexplained = []
        for pitch in np.linspace(lowest, 1.2 * lowest, 150):
            angles = 2 * np.pi * pitch * tasks.times[:, None] * number
            basis = np.concatenate([np.sin(angles), np.cos(angles)], axis=1) * envelope[:, None]
            fitted, *_ = np.linalg.lstsq(basis, signal)
            unexplained.append((np.square(signal - basis @ fitted).mean() / np.square(signal).mean(), fitted))
        share, fitted = min(unexplained, key=lambda pair: pair[0])
        assert share < 0.002
        amplitudes = np.hypot(*np.split(fitted, 2))  # of the harmonics: the spectrum's, at the sample's own loudness
        assert amplitudes / np.linalg.norm(amplitudes) == pytest.approx(np.abs(spectrum[number - 1]) / np.sqrt(2), abs=0.05)
        assert 0.5 - 0.03 < np.linalg.norm(amplitudes) / np.sqrt(2) < 1 + 0.03


# ------------------------------------------------------------------ stacked digits
def test_every_triple_of_digits_is_in_one_split_and_in_one_task():
    by_split = {split: stacked.triples(split) for split in SPLITS}
    assert [len(by_split[split]) for split in SPLITS] == [600, 200, 200]
    assert len({triple for listed in by_split.values() for triple in listed}) == 1000
    assert [StackedDigits().size(split) for split in SPLITS] == [120, 40, 40]
    for listed in by_split.values():
        # No digit of any channel tells the split.
        assert np.array_equal(np.apply_along_axis(np.bincount, 0, np.array(listed)), np.full((10, 3), len(listed) // 10))
        for start in range(0, len(listed), 5):
            assert all(len(set(channel)) == 5 for channel in zip(*listed[start : start + 5], strict=True))
    permutations = {tuple(sorted(triple)): split for split, listed in by_split.items() for triple in listed}
    assert all(permutations[tuple(sorted(triple))] == split for split, listed in by_split.items() for triple in listed)


def test_stacks_show_permitted_triples_of_images_that_no_other_split_has():
    known = {
        image.tobytes(): (number, int(digit)) for number, (image, digit) in enumerate(zip(enlarged(8)[:, 0], grey_levels()[1], strict=True))
    }
    seen = {split: set() for split in SPLITS}
    for split in SPLITS:
        for task in (0, 7, 39):
            episode = StackedDigits().episode(split, task, shots=200, query=200, rng=rng(task))
            permitted = set(stacked.triples(split)[5 * task : 5 * task + 5])
            shown = [[known[channel.tobytes()] for channel in stack] for part in (episode.support, episode.query) for stack in part["x"]]
            assert {tuple(digit for _, digit in stack) for stack in shown} == permitted
            seen[split] |= {number for stack in shown for number, _ in stack}
    assert not any(seen[one] & seen[other] for one, other in combinations(SPLITS, 2))


def test_triples_of_a_task_are_equally_likely():
    drawn = StackedDigits(combinations=2).episode("meta-train", 0, shots=2000, query=0, rng=rng()).support["x"][:, 0]
    first = stacked.pools("meta-train", 8)[stacked.triples("meta-train")[0][0]]
    share = np.mean((drawn[:, None] == first).all(axis=(2, 3)).any(axis=1))
    assert share == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(2000))


def test_a_stack_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match="meta-val has 40 tasks, numbered from 0: there is no task 40"):
        StackedDigits().episode("meta-val", 40, shots=1, query=1, rng=rng())
    with pytest.raises(DataError, match=r"stack-\d{3} has 42875 samples, but shots \+ query = 42875 \+ 1"):
        StackedDigits(combinations=1).episode("meta-test", 0, shots=42_875, query=1, rng=rng())


def test_the_default_extractor_learns_from_colour_images(tmp_path, monkeypatch):
    monkeypatch.setattr(conv4, "certify", partial(conv4.certify, rounds=2))
    monkeypatch.setattr(conv4, "WAYS", 4)
    tasks, extractor = StackedDigits(), ProtoNetConv4(episodes=1, force=True)
    extractor.prepare(tasks, tmp_path)
    images = tasks.episode("meta-test", 0, shots=6, query=0, rng=rng()).support["x"]
    features = extractor.features(images)
    assert features.shape == (6, 64)
    assert np.isfinite(features).all()
    # A feature depends on every channel.
    for channel in range(3):
        changed = images.copy()
        changed[:, channel] = -1
        assert (np.abs(extractor.features(changed) - features).max(axis=1) > 1e-6).all()


# ------------------------------------------------------------------ drawing without replacement
def test_support_and_query_numbers_exhaust_what_there_is():
    for shots in range(8):
        support, query = draw_numbers("task", 7, shots=shots, query=7 - shots, rng=rng(shots))
        assert sorted([*support, *query]) == list(range(7))


def test_each_pair_of_support_and_query_is_equally_likely():
    n, random = 4000, rng(3)
    drawn = np.array([np.concatenate(draw_numbers("task", 4, shots=1, query=1, rng=random)) for _ in range(n)])
    counts = np.bincount(drawn @ [4, 1], minlength=16).reshape(4, 4)
    assert not np.diag(counts).any()
    assert counts[~np.eye(4, dtype=bool)] / n == pytest.approx(np.full(12, 1 / 12), abs=5 * np.sqrt(1 / 12 / n))

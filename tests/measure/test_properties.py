"""What every measure answers to samples that are bad, few, equal or repeated, and what must not matter to any of them.

Samples are small integers, so that ties, repetitions and constant sets are common rather than rare; hypothesis chooses sizes, range
and seed, which is cheaper than every number.
"""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import MetricError
from bench.measure import (
    count_modes,
    data_copying,
    different_bins,
    duplicate_fraction,
    energy_distance,
    fid_infinity,
    frechet_distance,
    kid,
    nearest_support_ratio,
    pairwise_distance_ratio,
    precision_recall,
    recognised,
    reverse_kl,
    sliced_wasserstein,
    support_query_gap,
    vendi_ratio,
    vendi_score,
)

TASKS = 3
QUICK = settings(deadline=None, max_examples=20)


def known_modes(samples, what):
    centres = np.array([-2.137, 0.291, 2.713])[:, None] + np.zeros((len(samples), 1, samples.shape[2]))  # as near as another to no sample
    counts = count_modes(samples, centres, np.ones(len(samples)))
    return reverse_kl(counts) if what == "reverse-kl" else getattr(counts, what)()


# Each takes generated samples, held-out real ones and the support, (T, ., F), and answers (T,).
PAIRED = {
    "energy": lambda fake, query, support: energy_distance(fake, query),
    "kid": lambda fake, query, support: kid(fake, query),
    "frechet": lambda fake, query, support: frechet_distance(fake, query),
    "sliced-wasserstein": lambda fake, query, support: sliced_wasserstein(fake, query, directions=8),
    "precision": lambda fake, query, support: precision_recall(fake, query).precision,
    "recall": lambda fake, query, support: precision_recall(fake, query).recall,
    "density": lambda fake, query, support: precision_recall(fake, query).density,
    "coverage": lambda fake, query, support: precision_recall(fake, query).coverage,
    "vendi": lambda fake, query, support: vendi_score(fake),
    "vendi-ratio": lambda fake, query, support: vendi_ratio(fake, query, support.mean(axis=1)),
    "pairwise-distance": lambda fake, query, support: pairwise_distance_ratio(fake, query),
    "duplicates": lambda fake, query, support: duplicate_fraction(fake, query),
    "bins": lambda fake, query, support: different_bins(fake, query),
    "novelty": nearest_support_ratio,
    "data-copying": data_copying,
    "gap": support_query_gap,
    "modes": lambda fake, query, support: known_modes(fake, "found"),
    "high-quality": lambda fake, query, support: known_modes(fake, "high_quality"),
    "reverse-kl": lambda fake, query, support: known_modes(fake, "reverse-kl"),
}
ACROSS = {"recognised": lambda fake, query, support: recognised(fake, support)}  # a task's value depends on the other tasks by design
ORDERED = {"fid-infinity": lambda fake, query, support: fid_infinity(fake, query)}  # cuts samples into blocks by their place
SEPARATE = PAIRED | ORDERED
EVERY = SEPARATE | ACROSS


@st.composite
def sets(draw, least=2, most=7, features=4, equal=False):
    """Generated, held-out and support samples of TASKS tasks; equal counts of the first two on demand."""
    fake, query, support = (draw(st.integers(least, most)) for _ in range(3))
    f, largest = draw(st.integers(1, features)), draw(st.sampled_from([0, 1, 3]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    counts = (fake, fake if equal else query, support)
    return tuple(rng.integers(-largest, largest, endpoint=True, size=(TASKS, n, f)).astype(np.float64) for n in counts)


ENOUGH = sets(least=20, most=24, features=2)  # for two bins, and for a line through blocks


def same(values, others, scale=1.0):
    np.testing.assert_allclose(values, others, rtol=1e-7, atol=1e-6 * scale)  # a root of an eigenvalue keeps half of the digits


# ------------------------------------------------------------------ any samples
@pytest.mark.parametrize("name", EVERY)
@QUICK
@given(data=st.data())
def test_any_finite_samples_have_an_answer_per_task_that_is_never_infinite(name, data):
    drawn = data.draw(ENOUGH if name in ORDERED else sets())
    values = EVERY[name](*drawn)
    assert values.shape == (TASKS,)
    assert values.dtype == np.float64
    assert not np.isinf(values).any()


@pytest.mark.parametrize("name", EVERY)
@QUICK
@given(data=st.data(), bad=st.sampled_from([np.nan, np.inf, -np.inf, 1e200]), task=st.integers(0, TASKS - 1))
def test_a_bad_task_is_undefined_and_the_others_keep_their_bits(name, data, bad, task):
    fake, query, support = data.draw(ENOUGH)
    clean = EVERY[name](fake, query, support)
    spoiled = fake.copy()
    spoiled[task, data.draw(st.integers(0, fake.shape[1] - 1)), data.draw(st.integers(0, fake.shape[2] - 1))] = bad
    values = EVERY[name](spoiled, query, support)
    assert np.isnan(values[task])
    others = np.arange(TASKS) != task
    np.testing.assert_array_equal(values[others], clean[others])


@pytest.mark.parametrize("name", PAIRED | ACROSS)
@QUICK
@given(data=st.data(), seed=st.integers(0, 100))
def test_the_order_of_samples_does_not_matter(name, data, seed):
    drawn = data.draw(ENOUGH if name == "bins" else sets(equal=True))  # of unequal counts some measures take the first ones only
    rng = np.random.default_rng(seed)
    mixed = [samples[:, rng.permutation(samples.shape[1])] for samples in drawn]
    same(EVERY[name](*mixed), EVERY[name](*drawn), scale=100)


@pytest.mark.parametrize("name", EVERY)
@QUICK
@given(data=st.data(), order=st.permutations(range(TASKS)))
def test_the_order_of_tasks_does_not_matter(name, data, order):
    drawn = data.draw(ENOUGH if name in ("bins", "fid-infinity") else sets())
    same(EVERY[name](*(samples[list(order)] for samples in drawn)), EVERY[name](*drawn)[list(order)])


@pytest.mark.parametrize("name", SEPARATE)
@QUICK
@given(data=st.data())
def test_a_batch_equals_its_tasks_one_by_one(name, data):
    drawn = data.draw(ENOUGH if name in ("bins", "fid-infinity") else sets())
    alone = [EVERY[name](*(samples[[task]] for samples in drawn)) for task in range(TASKS)]
    same(np.concatenate(alone), EVERY[name](*drawn))


# ------------------------------------------------------------------ identical sets
@QUICK
@given(drawn=sets())
def test_identical_sets_have_the_documented_answers(drawn):
    samples, _, support = drawn
    n, spread = samples.shape[1], np.square(samples - samples.mean(axis=1, keepdims=True)).sum(axis=(1, 2))
    same(frechet_distance(samples, samples), np.zeros(TASKS), scale=10)
    same(sliced_wasserstein(samples, samples), np.zeros(TASKS))
    # A sample is at distance 0 from its copy in the other set, which the unbiased mean within a set leaves out.
    off_diagonal = np.linalg.norm(samples[:, :, None] - samples[:, None], axis=3).sum(axis=(1, 2))
    same(energy_distance(samples, samples), -2 * off_diagonal / (n**2 * (n - 1)))
    undefined = np.where(spread > 0, 1.0, np.nan)
    same(pairwise_distance_ratio(samples, samples), undefined)
    same(data_copying(samples, samples, support), np.zeros(TASKS))
    shares = precision_recall(samples, samples)
    for values in (shares.precision, shares.recall, shares.coverage):
        same(values, np.full(TASKS, 1.0 if n > 2 else np.nan))
    assert (shares.density[~np.isnan(shares.density)] >= 1).all()


@QUICK
@given(drawn=ENOUGH)
def test_identical_sets_have_no_different_bins_and_no_distance_at_any_count(drawn):
    samples, _, _ = drawn
    assert (different_bins(samples, samples) <= 0).all()  # chance alone would make some
    same(fid_infinity(samples, samples), np.zeros(TASKS), scale=10)


# ------------------------------------------------------------------ constant and repeated samples
@QUICK
@given(drawn=sets(), value=st.integers(-3, 3))
def test_a_constant_generator_has_the_documented_answers(drawn, value):
    fake, query, support = drawn
    fake = np.full_like(fake, value)
    squared = np.square(query - value).sum(axis=2)
    spread = np.square(query - query.mean(axis=1, keepdims=True)).sum(axis=(1, 2))
    n = query.shape[1]
    same(sliced_wasserstein(fake, query), squared.mean(axis=1))
    same(frechet_distance(fake, query), squared.mean(axis=1) - spread / n + spread / (n - 1))
    within = np.linalg.norm(query[:, :, None] - query[:, None], axis=3).sum(axis=(1, 2)) / (n * (n - 1))
    same(energy_distance(fake, query), 2 * np.sqrt(squared).mean(axis=1) - within)
    same(vendi_score(fake), np.ones(TASKS))
    same(duplicate_fraction(fake, query), np.ones(TASKS))
    differ = np.ptp(query[:, : fake.shape[1]], axis=1).any(axis=1)  # among the first ones, as many as there are generated samples
    same(pairwise_distance_ratio(fake, query), np.where(differ, 0.0, np.nan))
    recall = precision_recall(fake, query).recall
    same(recall, (squared == 0).mean(axis=1) if fake.shape[1] > 2 else np.full(TASKS, np.nan))
    nearest = np.linalg.norm(support - value, axis=2).min(axis=1)
    held_out = np.linalg.norm(query[:, :, None] - support[:, None], axis=3).min(axis=2).mean(axis=1)
    same(nearest_support_ratio(fake, query, support), np.divide(nearest, held_out, out=np.full(TASKS, np.nan), where=held_out > 0))


@QUICK
@given(a=st.integers(-3, 3), b=st.integers(-3, 3), n=st.integers(3, 6))
def test_two_constant_sets_have_the_documented_answers(a, b, n):
    fake, real = np.full((1, n, 1), float(a)), np.full((1, n + 1, 1), float(b))
    same(energy_distance(fake, real), [2 * abs(a - b)])
    same(kid(fake, real), [(a * a + 1) ** 3 + (b * b + 1) ** 3 - 2 * (a * b + 1) ** 3])
    for distance in (frechet_distance, sliced_wasserstein):
        same(distance(fake, real), [(a - b) ** 2])
    shares = precision_recall(fake, real)
    same(np.array(astuple(shares))[[0, 1, 3], 0], np.full(3, float(a == b)))
    assert np.isnan(pairwise_distance_ratio(fake, real)).all()
    same(data_copying(fake, real, real + 1), [np.sign(abs(a - b - 1) - 1) * np.sqrt(2 * n)])  # all of one rank, and all of another
    same(duplicate_fraction(fake, real), [1.0])


@QUICK
@given(drawn=sets(), times=st.integers(2, 3))
def test_repeating_all_samples_changes_nothing_where_counts_do_not_enter(drawn, times):
    fake, query, support = drawn
    repeated = np.repeat(fake, times, axis=1)
    same(sliced_wasserstein(repeated, query), sliced_wasserstein(fake, query))
    same(vendi_score(repeated), vendi_score(fake))
    same(nearest_support_ratio(repeated, query, support), nearest_support_ratio(fake, query, support))
    same(recognised(repeated, support), recognised(fake, support))
    same(precision_recall(repeated, query).precision, precision_recall(fake, query).precision)
    same(precision_recall(repeated, query).coverage, precision_recall(fake, query).coverage)


# ------------------------------------------------------------------ too few samples
NEED_TWO = ("energy", "kid", "frechet", "vendi-ratio", "pairwise-distance", "duplicates", "gap")
NAN_BELOW_THREE = {"recall": 0, "precision": 1, "density": 1, "coverage": 1}  # which of the two sets decides


@pytest.mark.parametrize("name", NEED_TWO)
@pytest.mark.parametrize("which", [0, 1])
def test_one_sample_is_refused_where_two_make_the_measure(name, which):
    drawn = [np.zeros((TASKS, 1 if part == which else 5, 2)) for part in range(3)]
    with pytest.raises(MetricError, match="2 or more (generated|real) samples a task, got 1; raise"):
        EVERY[name](*drawn)


@pytest.mark.parametrize("name", sorted(NAN_BELOW_THREE))
def test_two_samples_have_no_neighbourhoods(name):
    for n, undefined in ((2, True), (3, False)):
        drawn = [np.zeros((TASKS, n if part == NAN_BELOW_THREE[name] else 5, 2)) for part in range(3)]
        assert np.isnan(EVERY[name](*drawn)).all() == undefined


@pytest.mark.parametrize("name", sorted(set(EVERY) - {*NEED_TWO, *NAN_BELOW_THREE, "bins", "fid-infinity"}))
def test_one_sample_is_enough_for_the_others(name):
    rng = np.random.default_rng(0)
    values = EVERY[name](*(rng.normal(size=(TASKS, 1, 2)) for _ in range(3)))
    # One sample far from all modes is of no mode, so nothing is known of the balance between them.
    assert np.isfinite(values).all() or name == "reverse-kl"


@pytest.mark.parametrize("name", EVERY)
def test_no_sample_at_all_is_refused(name):
    with pytest.raises(MetricError, match=r"or more .*samples"):
        EVERY[name](np.zeros((TASKS, 0, 2)), np.zeros((TASKS, 20, 2)), np.zeros((TASKS, 3, 2)))

"""Samples per known mode, against counts and expectations that are known."""

import numpy as np
import pytest

from bench.measure import expected_high_quality
from bench.report.kept import Samples
from bench.report.modes import mode_bars, ordered_counts, perfect_counts
from bench.report.study import Slice
from bench.report.style import Look, figure_formats

CENTRES = np.array([[[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]])
SCALE = 0.1
QUALITY = expected_high_quality(2)


def kept(generated, *, centres=CENTRES, seed=0):
    rng = np.random.default_rng(seed)
    real = np.repeat(centres, 200, axis=1) + rng.normal(0, SCALE, (len(centres), 200 * centres.shape[1], 2))
    return Samples((0, 5), ("a",), real[:, ::2], real[:, 1::2], np.stack([np.zeros_like(generated), generated]), centres)


def test_samples_are_counted_by_mode_most_first_and_beyond_three_deviations_not_at_all():
    far, lost = CENTRES[0, 2] + [0, 3.6 * SCALE], [np.nan, 0.0]
    at = [CENTRES[0, 1]] * 4 + [CENTRES[0, 0]] + [CENTRES[0, 2]] * 2 + [far, lost]
    assert ordered_counts([kept(np.array([at]))], 5).tolist() == [[4, 2, 1]]


def test_all_trials_and_tasks_have_a_row():
    one = kept(np.repeat(CENTRES, 2, axis=1))
    assert ordered_counts([one, one], 5).tolist() == [[2, 2, 2]] * 2
    assert ordered_counts([one], 7).size == 0


def test_a_perfect_sampler_of_one_mode_hits_it_with_its_share_of_high_quality():
    assert perfect_counts(1, 64) == pytest.approx([64 * QUALITY], rel=1e-3)


@pytest.mark.parametrize(("modes", "samples"), [(5, 64), (25, 64)])
def test_expected_counts_fall_and_add_up_to_the_samples_of_high_quality(modes, samples):
    counts = perfect_counts(modes, samples)
    assert (np.diff(counts) < 0).all()
    assert counts.sum() == pytest.approx(samples * QUALITY, rel=1e-3)


def test_two_samples_of_two_modes_by_hand():
    both_found = QUALITY**2 / 2  # the second has at least one only if each has one
    assert perfect_counts(2, 2) == pytest.approx([2 * QUALITY - both_found, both_found], abs=0.01)


def test_samples_of_the_true_mixture_lie_on_the_line_of_a_perfect_sampler():
    rng = np.random.default_rng(3)
    centres = np.repeat(CENTRES, 400, axis=0)
    chosen = rng.integers(3, size=(400, 64))
    generated = np.take_along_axis(centres, chosen[..., None], axis=1) + rng.normal(0, SCALE, (400, 64, 2))
    counts = ordered_counts([kept(generated, centres=centres)], 5)
    assert counts.mean(axis=0) == pytest.approx(perfect_counts(3, 64), abs=0.6)  # four standard errors of 400 tasks


def test_the_figure_tells_how_many_modes_are_found():
    collapsed = kept(np.repeat(CENTRES[:, :1], 64, axis=1))
    whole = kept(np.repeat(CENTRES, 22, axis=1)[:, :64])
    styles = {name: Look("#009E73", "o", dashed=False) for name in ("collapsed", "whole")}
    with figure_formats(()):
        picture = mode_bars(Slice("rings", ()), {"collapsed": [collapsed], "whole": [whole]}, styles, step=5, drawn=64)
    assert "collapsed 1.0; whole 3.0; a perfect sampler 3.0" in picture.alt


def test_samples_without_known_modes_have_no_bars():
    without = Samples((0,), ("a",), np.zeros((1, 2, 2)), np.zeros((1, 2, 2)), np.zeros((1, 1, 2, 2)), None)
    assert mode_bars(Slice("rings", ()), {"maml": [without]}, {}, step=0, drawn=2) is None

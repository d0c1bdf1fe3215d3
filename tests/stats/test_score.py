"""Scores: 0 at the base, 1 at the ideal, whichever way a metric reads."""

import numpy as np
import pandas as pd
import pytest

from bench.errors import MetricError
from bench.stats import score_scale


def rows(values_TK, ceilings_T=None, steps=(0, 5)):
    ceilings_T = [np.nan] * len(values_TK) if ceilings_T is None else ceilings_T
    return pd.DataFrame(
        {"replicate": 0, "task_id": f"t{t}", "adaptation_step": step, "value": value, "ceiling": ceilings_T[t]}
        for t, values in enumerate(values_TK)
        for step, value in zip(steps, values, strict=True)
    )


def scores(frame, value, **reading):
    scale = score_scale(frame, **reading)
    return scale.scores(pd.DataFrame({"task_id": ["t0", "t1"], "value": value}))["value"].to_numpy()


def test_a_constant_generator_scores_nothing_and_the_ideal_one():
    frame = rows([[9, 4], [5, 2]], ceilings_T=[10.0, 6.0])
    np.testing.assert_allclose(scores(frame, [10.0, 6.0]), 0, atol=1e-12)
    assert scores(frame, [0.0, 0.0]).mean() == pytest.approx(1)
    assert scores(frame, [5.0, 3.0]).mean() == pytest.approx(0.5)
    assert score_scale(frame).span == 8  # of both tasks together: an easy task weighs no more than a hard one


def test_without_a_ceiling_the_base_is_where_all_arms_start():
    frame = pd.concat([rows([[9, 4], [5, 2]]), rows([[7, 4], [3, 2]])])
    scale = score_scale(frame)
    assert "step 0" in scale.meaning
    assert scale.base.to_dict() == {"t0": 8, "t1": 4}


def test_an_unknown_ceiling_of_one_task_gives_the_other_base_to_all():
    assert "step 0" in score_scale(rows([[9, 4], [5, 2]], ceilings_T=[10.0, np.nan])).meaning


def test_higher_and_closer_metrics_read_their_own_way():
    frame = rows([[0.2, 0.6], [0.4, 0.8]])
    np.testing.assert_allclose(scores(frame, [0.55, 0.75], better="higher", ideal=1.0), [0.5, 0.5])
    frame = rows([[1.5, 1.2], [0.5, 0.8]])
    np.testing.assert_allclose(scores(frame, [0.75, 1.25], better="closer", ideal=1.0), [0.5, 0.5])


def test_a_constant_generator_with_full_coverage_is_no_base():
    frame = rows([[0.2, 0.6], [0.4, 0.8]], ceilings_T=[1.0, 1.0])
    assert "step 0" in score_scale(frame, better="higher", ideal=1.0).meaning


@pytest.mark.parametrize(
    ("frame", "reading", "told"),
    [
        (rows([[0.0, 1.0]]), {}, "worse than the ideal value 0"),
        (rows([[1.0]], steps=(5,)), {}, "neither"),
        (rows([[1.0, 0.5]]), {"ideal": float("nan")}, "ideal value"),
    ],
)
def test_a_scale_that_cannot_be_made_says_why(frame, reading, told):
    with pytest.raises(MetricError, match=told):
        score_scale(frame, **reading)

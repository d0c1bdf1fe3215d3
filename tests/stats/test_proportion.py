"""Wilson's interval equals SciPy's."""

import numpy as np
import pytest
from scipy import stats

from bench.errors import MetricError
from bench.stats import wilson_interval


@pytest.mark.parametrize(("successes", "n"), [(0, 5), (5, 5), (1, 3), (37, 100), (1, 1)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_wilson_is_scipys(successes, n, level):
    expected = stats.binomtest(successes, n).proportion_ci(level, method="wilson")
    assert wilson_interval(successes, n, level=level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_no_trial_has_no_interval_and_impossible_counts_are_refused():
    assert np.isnan(wilson_interval(0, 0)).all()
    with pytest.raises(MetricError, match="successes"):
        wilson_interval(4, 3)

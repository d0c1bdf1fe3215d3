"""Intervals of a share, such as the rate of divergence."""

from __future__ import annotations

import math

from scipy import stats

from bench.errors import MetricError


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of ``successes`` out of ``n``; (NaN, NaN) for n = 0.

    Raises:
        MetricError: ``successes`` is not between 0 and ``n``.

    Source: Wilson, 1927, https://doi.org/10.1080/01621459.1927.10502953.
    """
    if not 0 <= successes <= n:
        raise MetricError(f"a share needs 0 <= successes <= n, got {successes} of {n}")
    if n == 0:
        return float("nan"), float("nan")
    z = float(stats.norm.ppf((1 + level) / 2))
    share = successes / n
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # The ends are exactly 0 and 1 there; rounding would miss them by 1e-17.
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == n else middle + half)

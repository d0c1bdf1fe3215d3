"""How fast a curve over adaptation steps falls, and how a run goes wrong.

No plugins, files or global random state. Curves are lower-is-better.
Shape suffixes: T tasks, K evaluations, M generated samples, N real samples.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bench.errors import MetricError
from bench.measure.sets import Array, Mask

CONSTANT = 1e-6
"""Output is constant below this share of the real standard deviation."""
EXPLODED = 10.0
"""Output has exploded beyond this many real ranges from the middle of the range."""


def area_under_curve(steps_K: npt.ArrayLike, values_TK: npt.ArrayLike) -> Array:
    """Mean height of a curve over log(1 + step), by the trapezoid rule: early progress counts.

    Args:
        steps_K: adaptation steps, >= 0, strictly increasing.
        values_TK: values at these steps; any number of leading axes.

    Returns:
        (T,): c for a constant curve c, the mean of both ends for a line in log(1 + step), the value itself for K = 1.

    Raises:
        MetricError: steps do not increase, or their number is not that of the values.
    """
    steps, values = _curve(steps_K, values_TK)
    if steps.size == 1:
        return values[..., 0].copy()
    x = np.log1p(steps)
    return np.asarray(np.trapezoid(values, x, axis=-1) / (x[-1] - x[0]), dtype=np.float64)


def steps_to_target(steps_K: npt.ArrayLike, values_TK: npt.ArrayLike, target_T: npt.ArrayLike, *, sustain: int = 2) -> Array:
    """First evaluated step at which a curve is at or below its target and stays there.

    Args:
        steps_K: adaptation steps, >= 0, strictly increasing.
        values_TK: values at these steps; NaN is above any target.
        target_T: target per task, or one for all.
        sustain: number of following evaluations that must hold the target too; near the end, all that remain.

    Returns:
        (T,): the right end of the interval in which the target was reached; inf where it was not (censored at the last step).

    Raises:
        MetricError: steps do not increase, their number is not that of the values, or ``sustain`` is negative.
    """
    steps, values = _curve(steps_K, values_TK)
    if sustain < 0:
        raise MetricError(f"sustain must be 0 or more evaluations, got {sustain}")
    held_TK = values <= np.asarray(target_T, dtype=np.float64)[..., None]
    sustained_TK = held_TK.copy()
    for later in range(1, min(sustain, steps.size - 1) + 1):
        sustained_TK[..., :-later] &= held_TK[..., later:]
    return np.where(sustained_TK.any(axis=-1), steps[sustained_TK.argmax(axis=-1)], np.inf)


def collapse_onset(steps_K: npt.ArrayLike, variety_TK: npt.ArrayLike, threshold: float) -> Array:
    """First evaluated step from which a measure of variety stays below ``threshold`` to the end.

    Args:
        steps_K: adaptation or outer steps, >= 0, strictly increasing.
        variety_TK: a measure that falls with collapse, such as a Vendi ratio; NaN, where it is undefined, is below any threshold: what
            has no numbers shows no variety either.
        threshold: value that a sample which has not collapsed has at least.

    Returns:
        (T,): inf where the last value is not below the threshold (it may have been below before: that was no collapse but a phase).

    Raises:
        MetricError: steps do not increase, or their number is not that of the values.
    """
    steps, variety = _curve(steps_K, variety_TK)
    below_to_the_end_TK = np.logical_and.accumulate(~(variety >= threshold)[..., ::-1], axis=-1)[..., ::-1]
    return np.where(below_to_the_end_TK[..., -1], steps[below_to_the_end_TK.argmax(axis=-1)], np.inf)


def restricted_mean_steps(reached_T: npt.ArrayLike, budget: float) -> float:
    """Mean number of steps to the target, each run counted up to ``budget`` (restricted mean survival time).

    A run that diverged counts with the whole budget, not with the step at which it diverged: that censoring would be informative.

    Raises:
        MetricError: no run.
    """
    return float(np.minimum(_runs(reached_T), budget).mean())


def expected_running_time(reached_T: npt.ArrayLike, budget: float) -> float:
    """Steps spent by all runs over the number of runs that reached the target; inf where none did.

    Raises:
        MetricError: no run.

    Source: Hansen et al., 2021 (COCO), https://arxiv.org/abs/1603.08785.
    """
    reached = _runs(reached_T)
    successes = int((reached <= budget).sum())
    return float(np.minimum(reached, budget).sum() / successes) if successes else float("inf")


def drawdown(values_TK: npt.ArrayLike) -> Array:
    """Largest rise above the best value so far, (T,): 0 for a curve that never rises."""
    values = np.asarray(values_TK, dtype=np.float64)
    return np.asarray((values - np.minimum.accumulate(values, axis=-1)).max(axis=-1), dtype=np.float64)


def divergence_class(
    fake: npt.ArrayLike, real: npt.ArrayLike, *, params_finite_T: Mask | None = None, curve_TK: npt.ArrayLike | None = None
) -> list[str]:
    """What is wrong with a task's generated samples, the gravest class first; '' where nothing is.

    Classes: nan_param, nan_sample, inf, exploded (further than ``EXPLODED`` real ranges from the middle of the real range),
    constant_output (standard deviation below ``CONSTANT`` of the real one), stalled (the curve never falls below its first value).

    Args:
        fake: generated samples (T, M, ...).
        real: real samples (T, N, ...), finite. Tasks of equal real samples have no scale: neither exploded nor constant.
        params_finite_T: whether a task's adapted parameters are finite; default: all are.
        curve_TK: lower-is-better values over adaptation; default: not looked at.

    Raises:
        MetricError: the sets differ in tasks.
    """
    generated, reference = np.asarray(fake, dtype=np.float64), np.asarray(real, dtype=np.float64)
    if generated.shape[0] != reference.shape[0]:
        raise MetricError(f"divergence class needs equal tasks, got {generated.shape[0]} (generated) and {reference.shape[0]} (real)")
    finite_T = np.ones(generated.shape[0], dtype=np.bool_) if params_finite_T is None else np.asarray(params_finite_T, dtype=np.bool_)
    stalled_T = np.zeros_like(finite_T) if curve_TK is None else _stalled(np.asarray(curve_TK, dtype=np.float64))
    return [
        "nan_param" if not finite else _sample_class(samples, reals) or ("stalled" if stalled else "")
        for samples, reals, finite, stalled in zip(generated, reference, finite_T, stalled_T, strict=True)
    ]


def _sample_class(samples: Array, reals: Array) -> str:
    if np.isnan(samples).any():
        return "nan_sample"
    if np.isinf(samples).any():
        return "inf"
    low, high = float(reals.min()), float(reals.max())
    if low == high:
        return ""
    if np.abs(samples - (low + high) / 2).max() > EXPLODED * (high - low):
        return "exploded"
    if samples.shape[0] > 1 and np.sqrt(samples.var(axis=0).mean()) < CONSTANT * np.sqrt(reals.var(axis=0).mean()):
        return "constant_output"
    return ""


def _stalled(curve_TK: Array) -> Mask:
    if curve_TK.shape[-1] < 2:
        return np.zeros(curve_TK.shape[0], dtype=np.bool_)
    return np.asarray(~(curve_TK[:, 1:] < curve_TK[:, :1]).any(axis=1), dtype=np.bool_)


def _curve(steps_K: npt.ArrayLike, values_TK: npt.ArrayLike) -> tuple[Array, Array]:
    steps, values = np.asarray(steps_K, dtype=np.float64), np.asarray(values_TK, dtype=np.float64)
    if steps.ndim != 1 or steps.size == 0 or steps[0] < 0 or not (np.diff(steps) > 0).all():
        raise MetricError(f"a curve needs strictly increasing steps from 0 on, got {steps.tolist()}")
    if values.shape[-1:] != steps.shape:
        raise MetricError(f"a curve needs one value a step, got {steps.size} steps and values of shape {values.shape}")
    return steps, values


def _runs(reached_T: npt.ArrayLike) -> Array:
    reached = np.asarray(reached_T, dtype=np.float64)
    if reached.size == 0:
        raise MetricError("time to target needs at least one run, got none")
    return reached

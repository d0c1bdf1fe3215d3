"""What every metric owes its users. Suffixes: T tasks, M generated, Q real, S support samples, F features."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from bench.contracts import Adapted, Kind, Modes
from bench.testing.contract import Contract, global_state_untouched
from bench.testing.network import SPECS

TASKS, FAKES, QUERIES, SHOTS, CLASSES = 4, 24, 20, 8, 2


def small_adapted(kind: Kind = "points", *, labelled: bool = False, predictions: bool = False) -> Adapted:
    """What a metric looks at when a perfect sampler has adapted: support, query and fakes of each task from one distribution.

    A task is two Gaussians of standard deviation 0.3 about known, equally likely modes; features are the flattened samples. With
    ``predictions``, ``fake`` holds targets with a little noise on them.
    """
    rng = np.random.default_rng(0)
    shape = SPECS[kind].shape
    centres = rng.normal(0, 2, (TASKS, CLASSES, *shape))

    def draw(n: int) -> np.ndarray:
        chosen = np.arange(n) % CLASSES
        return (centres[:, chosen] + 0.3 * rng.standard_normal((TASKS, n, *shape))).astype(np.float32)

    def labels(n: int) -> np.ndarray | None:
        return np.tile(np.eye(CLASSES, dtype=np.float32)[np.arange(n) % CLASSES], (TASKS, 1, 1)) if labelled else None

    fake, query, support = draw(FAKES), draw(QUERIES), draw(SHOTS)
    targets = None
    if predictions:
        truth = labels(QUERIES)
        targets = rng.normal(size=(TASKS, QUERIES, 2)).astype(np.float32) if truth is None else truth
        fake = (targets + 0.01 * rng.standard_normal(targets.shape)).astype(np.float32)
    return Adapted(
        fake=fake,
        query=query,
        support=support,
        fake_features=_flat(fake),
        query_features=_flat(query if targets is None else targets),
        support_features=_flat(support),
        modes=[Modes(own.reshape(CLASSES, -1), 0.3) for own in centres],
        targets=targets,
        support_labels=labels(SHOTS),
        query_labels=labels(QUERIES),
        fake_labels=None if predictions else labels(FAKES),
        features=_flat,
    )


def with_fakes(adapted: Adapted, fake: np.ndarray) -> Adapted:
    """The same look at other samples, or predictions (T, M, ...)."""
    return replace(adapted, fake=fake, fake_features=_flat(fake))


class MetricContract(Contract):
    """What every metric owes its users. Give a fixture ``metric``; ``adapted`` and ``worse`` may be overridden.

    ``worse`` are samples that the metric must call worse than those of ``adapted``: by default far away from the data, and all the same.
    """

    @pytest.fixture
    def adapted(self, metric: Any) -> Adapted:
        """A perfect sampler's samples, see :func:`small_adapted`."""
        if getattr(metric, "judge", None):
            pytest.skip("this metric asks a classifier that `bench run` trains; override `adapted`")
        labelled = getattr(metric, "needs_labels", False)
        kind = min(metric.kinds, key=list(SPECS).index)  # points before images: with few features, few samples say enough
        return small_adapted(kind, labelled=labelled, predictions=getattr(metric, "needs_predictions", False))

    @pytest.fixture
    def worse(self, adapted: Adapted) -> Adapted:
        """Every sample is the same, far away from the data; predictions are those of the opposite."""
        if adapted.targets is not None:
            return with_fakes(adapted, -adapted.fake)
        return with_fakes(adapted, np.full_like(adapted.fake, 8.0))

    def test_values_are_those_it_promises(self, metric: Any, adapted: Adapted) -> None:
        """Each of ``outputs`` and no other: one value a task, or one over all where ``pooled`` says so."""
        values = metric.measure(adapted)
        assert values.keys() == metric.outputs.keys()
        for name, value in values.items():
            assert np.shape(value) == (() if name in getattr(metric, "pooled", ()) else (TASKS,))
            assert np.isfinite(value).all(), f"{name} is {value} for a perfect sampler"
            low, high = metric.outputs[name].range or (-np.inf, np.inf)
            assert ((low <= value) & (value <= high)).all(), f"{name} is {value}, outside of its range from {low} to {high}"

    def test_better_is_what_it_says(self, metric: Any, adapted: Adapted, worse: Adapted) -> None:
        """At least one of its values is worse, by its own reading, for worse samples; and none of them is better."""
        good, bad = metric.measure(adapted), metric.measure(worse)
        judged = {
            name: _loss(output, good[name]) < _loss(output, bad[name])
            for name, output in metric.outputs.items()
            if np.isfinite(np.mean(good[name])) and np.isfinite(np.mean(bad[name])) and np.mean(good[name]) != np.mean(bad[name])
        }
        assert any(judged.values()), f"worse samples are not called worse: {good} against {bad}"

    def test_one_bad_task_does_not_spoil_the_others(self, metric: Any, adapted: Adapted, worse: Adapted) -> None:
        """NaN where samples are not finite, unless a value does not look at them; no exception, and other tasks keep their values."""
        fake = adapted.fake.copy()
        fake[0] = np.nan
        good, bad, other = (metric.measure(look) for look in (adapted, with_fakes(adapted, fake), worse))
        for name in set(metric.outputs) - set(getattr(metric, "pooled", ())):
            blind = good[name][0] == bad[name][0] == other[name][0]
            assert blind or np.isnan(bad[name][0]), f"{name} of samples that are not finite is {bad[name][0]}, not NaN"
            assert np.allclose(bad[name][1:], good[name][1:], rtol=1e-9, atol=1e-9)

    def test_a_task_does_not_depend_on_its_neighbours(self, metric: Any, adapted: Adapted) -> None:
        """Tasks in another order have the same values in that order."""
        straight, turned = metric.measure(adapted), metric.measure(_reversed(adapted))
        for name, value in straight.items():
            if name in getattr(metric, "pooled", ()):  # may look at parts of the pool, which are others then
                assert np.allclose(turned[name], value, rtol=0.05, atol=0.05)
            else:
                assert np.allclose(turned[name], value[::-1], rtol=1e-9, atol=1e-9)

    def test_it_is_nothing_but_its_settings(self, metric: Any, adapted: Adapted) -> None:
        """The same samples have the same values, stay as they are, and nothing that other components share is touched."""
        kept = {name: value.copy() for name, value in vars(adapted).items() if isinstance(value, np.ndarray)}
        with global_state_untouched():
            first, second = metric.measure(adapted), metric.measure(adapted)
        assert all(np.array_equal(first[name], second[name], equal_nan=True) for name in first)
        assert all(np.array_equal(getattr(adapted, name), value) for name, value in kept.items())


def _flat(samples: np.ndarray) -> np.ndarray:
    return samples.reshape(*samples.shape[:2], -1).astype(np.float64)


def _loss(output: Any, value: np.ndarray) -> float:
    """How bad a value is, over all tasks: lower is better whatever ``output`` says is better."""
    mean = float(np.mean(value))
    losses: dict[str, float] = {"lower": mean, "higher": -mean, "closer": abs(mean - output.ideal)}
    return losses[output.better]


def _reversed(adapted: Adapted) -> Adapted:
    turned: dict[str, Any] = {name: value[::-1] for name, value in vars(adapted).items() if isinstance(value, np.ndarray | list)}
    return replace(adapted, **turned)

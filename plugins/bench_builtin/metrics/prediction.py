"""How well a game that predicts does so, on the query of each task. Shape suffix: T tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from bench.contracts import Adapted, Kind, MetricError, Output
from bench.measure import accuracy, defined_tasks
from bench_builtin.kinds import GENERATIVE


class MeanSquaredError:
    """Mean squared error of predictions at the query inputs."""

    outputs: ClassVar[Mapping[str, Output]] = {"mse": Output("lower", 0.0, "mean squared error")}
    kinds: ClassVar[tuple[Kind, ...]] = ("regression",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    needs_predictions: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The error, (T,); NaN where a prediction is not finite.

        Raises:
            MetricError: there are no targets, or predictions of another shape.
        """
        if adapted.targets is None or adapted.targets.shape != adapted.fake.shape:
            targets = None if adapted.targets is None else adapted.targets.shape
            raise MetricError(f"mse needs one target a prediction, got targets {targets} for predictions {adapted.fake.shape}")
        defined_T = defined_tasks(adapted.fake)
        mask = defined_T.reshape(-1, *(1,) * (adapted.fake.ndim - 1))
        error = np.where(mask, adapted.fake, 0.0).astype(np.float64) - adapted.targets
        return {"mse": np.where(defined_T, np.square(error).mean(axis=tuple(range(1, error.ndim))), np.nan)}


class Accuracy:
    """Share of the query whose largest logit is that of its class; chance is 1 / ways."""

    outputs: ClassVar[Mapping[str, Output]] = {"accuracy": Output("higher", 1.0, "query accuracy", range=(0, 1))}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    needs_predictions: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The share, (T,); NaN where a logit is not finite.

        Raises:
            MetricError: there are no labels, or logits of other classes.
        """
        if adapted.targets is None or adapted.targets.shape != adapted.fake.shape:
            labels = None if adapted.targets is None else adapted.targets.shape
            raise MetricError(f"accuracy needs one-hot labels for all logits, got labels {labels} for logits {adapted.fake.shape}")
        return {"accuracy": accuracy(adapted.fake, adapted.targets)}

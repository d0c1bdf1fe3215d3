"""What classifiers make of generated samples: are they told apart, and do they help to tell real ones apart?

Shape suffixes: T tasks, M generated samples, S support samples, C classes, F features.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from bench.contracts import Adapted, Kind, MetricError, Output
from bench.measure import (
    accuracy,
    class_means,
    defined_tasks,
    inception_score,
    logistic_logits,
    logistic_weights,
    prototype_logits,
)
from bench_builtin.metrics.generation import GENERATIVE


class InceptionScore:
    """Inception score over all tasks' samples, by a classifier that knows the tasks by their queries' mean features.

    p(task | sample) = softmax of minus the squared feature distances to the mean features of the T tasks' queries; between 1 and T. It
    says whether samples of different tasks can be told apart, and nothing about variety within a task: one sharp sample per task,
    copied, scores best, and so does memorising. It depends on T, and real samples need not reach T, so read it beside the energy
    distance and compare it within one protocol only.

    Source: Salimans et al., 2016, https://arxiv.org/abs/1606.03498, section 4; weaknesses: Barratt and Sharma, 2018,
    https://arxiv.org/abs/1801.01973.
    """

    outputs: ClassVar[Mapping[str, Output]] = {"inception-score": Output("higher", float("nan"), "inception score of tasks")}
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ("inception-score",)
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """The score, (); NaN if a sample of any task is not finite."""
        fake = adapted.fake_features
        if not defined_tasks(fake).all():
            return {"inception-score": np.array(np.nan)}
        tasks_1TF = adapted.query_features.mean(axis=1)[None]
        logits = prototype_logits(fake.reshape(1, -1, fake.shape[2]), tasks_1TF)[0]
        return {"inception-score": np.array(inception_score(logits))}


class AugmentedAccuracy:
    """Do generated samples help a classifier that has few real ones? Its accuracy on the query of a labelled task, three times.

    It learns from the support alone (none), from support and transformed copies of it (classical), and from support and generated
    samples (generated); copies are as many as generated samples, and both have ``weight``. Gains are differences of accuracies. What a
    generated sample is worth must show in the gain over classical copies, which cost nothing.

    Source: the low-data tables of Antoniou et al., 2017, https://arxiv.org/abs/1711.04340 (DAGAN), and of the papers that follow it,
    with a classifier small enough to be trained for every task and step.

    Args:
        classifier: on frozen features. ``protonet``: nearest class mean (Snell et al., 2017). ``logistic``: multinomial logistic
            regression with a ridge penalty, trained from scratch for each task.
        weight: of a copy or a generated sample, relative to a real one. At the default, a third, it takes three generated samples to
            outweigh a real one; with much more, poor samples hurt more than good ones help.
        shift: largest shift of a copy, up or down and left or right, in sides of the image.
        degrees: largest turn of a copy, either way.
        ridge: ``logistic`` only.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "accuracy-none": Output("higher", 1.0, "accuracy from the support"),
        "accuracy-classical": Output("higher", 1.0, "accuracy with transformed copies"),
        "accuracy-generated": Output("higher", 1.0, "accuracy with generated samples"),
        "gain-over-none": Output("higher", 1.0, "gain of generated samples over none"),
        "gain-over-classical": Output("higher", 1.0, "gain of generated samples over copies"),
    }
    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        classifier: Literal["protonet", "logistic"] = "protonet",
        weight: Annotated[float, Field(gt=0, le=1)] = 1 / 3,
        shift: Annotated[float, Field(ge=0, lt=1)] = 0.1,
        degrees: Annotated[float, Field(ge=0, le=180)] = 15.0,
        ridge: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        self.classifier, self.weight, self.shift, self.degrees, self.ridge = classifier, weight, shift, degrees, ridge

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Accuracies and gains, (T,); NaN where a generated sample is not finite, but for what was not made from it.

        Raises:
            MetricError: the tasks are not labelled.
        """
        labels = adapted.support_labels, adapted.fake_labels
        if adapted.features is None or adapted.query_labels is None or labels[0] is None or labels[1] is None:
            raise MetricError("augmented-accuracy needs labelled tasks; leave it out, or name a task distribution such as n-way")
        rows = np.arange(adapted.fake.shape[1]) % adapted.support.shape[1]  # every support sample in turn, with its label
        copies = transformed(adapted.support[:, rows], shift=self.shift, degrees=self.degrees)
        defined_T = defined_tasks(adapted.fake_features)
        fake_features = np.where(defined_T[:, None, None], adapted.fake_features, 0.0)
        none_T = self._accuracy(adapted, np.zeros_like(fake_features[:, :0]), labels[1][:, :0])
        classical_T = self._accuracy(adapted, adapted.features(copies), labels[0][:, rows])
        generated_T = np.where(defined_T, self._accuracy(adapted, fake_features, labels[1]), np.nan)
        return {
            "accuracy-none": none_T,
            "accuracy-classical": classical_T,
            "accuracy-generated": generated_T,
            "gain-over-none": generated_T - none_T,
            "gain-over-classical": generated_T - classical_T,
        }

    def _accuracy(self, adapted: Adapted, more_TMF: np.ndarray, more_labels_TMC: np.ndarray) -> np.ndarray:
        """On the query, (T,), of what learns from the support and ``more``."""
        features = np.concatenate([adapted.support_features, more_TMF], axis=1)
        labels = np.concatenate([adapted.support_labels, more_labels_TMC], axis=1)
        weights = np.r_[np.ones(adapted.support_features.shape[1]), np.full(more_TMF.shape[1], self.weight)]
        if self.classifier == "protonet":
            logits = prototype_logits(adapted.query_features, class_means(features, labels, weights))
        else:
            logits = logistic_logits(adapted.query_features, logistic_weights(features, labels, weights, ridge=self.ridge))
        return accuracy(logits, adapted.query_labels)


def transformed(images: np.ndarray, *, shift: float, degrees: float) -> np.ndarray:
    """Images (T, N, C, H, W), each shifted and turned at random about its middle, bilinearly interpolated, the border repeated outside.

    The transforms are always the same ones, so that arms and steps are compared with equal copies.

    Args:
        images: what is copied.
        shift: largest shift, in sides of an image.
        degrees: largest turn, either way.
    """
    from scipy.ndimage import map_coordinates

    tasks, n, channels, height, width = images.shape
    rng = np.random.default_rng(0)
    angle = np.deg2rad(degrees) * rng.uniform(-1, 1, (tasks * n, 1, 1))
    moved = shift * rng.uniform(-1, 1, (2, tasks * n, 1, 1)) * np.array([height, width]).reshape(2, 1, 1, 1)
    down, right = (np.arange(side) - (side - 1) / 2 for side in (height, width))
    rows = np.cos(angle) * down[:, None] + np.sin(angle) * right + (height - 1) / 2 - moved[0]
    columns = np.cos(angle) * right - np.sin(angle) * down[:, None] + (width - 1) / 2 - moved[1]
    sample = np.broadcast_to(np.arange(tasks * n)[:, None, None], rows.shape)
    flat = images.reshape(tasks * n, channels, height, width)
    turned = [map_coordinates(flat[:, c], [sample, rows, columns], order=1, mode="nearest") for c in range(channels)]
    return np.stack(turned, axis=1).reshape(images.shape).astype(images.dtype)

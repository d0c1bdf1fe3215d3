"""What classifiers make of generated samples: are they told apart, and do they help to tell real ones apart?

Shape suffixes: T tasks, M generated samples, S support samples, C classes, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

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
    recognised,
)
from bench_builtin.kinds import GENERATIVE

Weight = Annotated[float, Field(gt=0, le=1)]
Shift = Annotated[float, Field(ge=0, lt=1)]
Degrees = Annotated[float, Field(ge=0, le=180)]


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


class Recognisability:
    """Share of generated samples that a nearest-prototype classifier over the tasks' supports takes for their own task's.

    Beside it stands the same of real samples, held out: generated ones need not be recognised more often, and where they are they may be
    stereotypes, which diversity shows. It depends on the number of tasks: compare within one protocol only.

    Source: Boutin et al., 2022, https://arxiv.org/abs/2205.10370.
    """

    outputs: ClassVar[Mapping[str, Output]] = {
        "recognisability": Output("higher", 1.0, "recognised as their task's", range=(0, 1)),
        "recognisability-real": Output("higher", 1.0, "real samples recognised as their task's", range=(0, 1)),
    }
    kinds: ClassVar[tuple[Kind, ...]] = GENERATIVE
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    version: ClassVar[int] = 1

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Both shares, (T,)."""
        return {
            "recognisability": recognised(adapted.fake_features, adapted.support_features),
            "recognisability-real": recognised(adapted.query_features, adapted.support_features),
        }


class _More(NamedTuple):
    """Samples beside the real support: (T, M, ...), their features (T, M, F) when asked for, and labels (T, M, C)."""

    images: np.ndarray
    features: Callable[[], np.ndarray]
    labels: np.ndarray


def _outputs(prefix: str, who: str) -> dict[str, Output]:
    return {
        f"{prefix}accuracy-none": Output("higher", 1.0, f"{who} from the support", range=(0, 1)),
        f"{prefix}accuracy-classical": Output("higher", 1.0, f"{who} with transformed copies", range=(0, 1)),
        f"{prefix}accuracy-generated": Output("higher", 1.0, f"{who} with generated samples", range=(0, 1)),
        f"{prefix}gain-over-none": Output("higher", 1.0, f"{who}: gain of generated samples over none", range=(-1, 1)),
        f"{prefix}gain-over-classical": Output("higher", 1.0, f"{who}: gain of generated samples over copies", range=(-1, 1)),
    }


class _Augmented:
    """Do generated samples help a classifier that has few real ones? Its accuracy on the query of a labelled task, three times.

    It learns from the support alone (none), from support and transformed copies of it (classical), and from support and generated
    samples (generated); copies are as many as generated samples, and both have ``weight``. Gains are differences of accuracies. What a
    generated sample is worth must show in the gain over classical copies, which cost nothing.

    Source: the low-data tables of Antoniou et al., 2017, https://arxiv.org/abs/1711.04340 (DAGAN), and of the papers that follow it,
    with a classifier small enough to be trained for every task and step.

    Args:
        weight: of a copy or a generated sample, relative to a real one. At the default, a third, it takes three generated samples to
            outweigh a real one; with much more, poor samples hurt more than good ones help.
        shift: largest shift of a copy, up or down and left or right, in sides of the image.
        degrees: largest turn of a copy, either way.
    """

    prefix: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]] = ("image",)
    pooled: ClassVar[tuple[str, ...]] = ()
    needs_modes: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = True

    def __init__(self, *, weight: float, shift: float, degrees: float) -> None:
        self.weight, self.shift, self.degrees = weight, shift, degrees
        self._without: tuple[np.ndarray, int, np.ndarray, np.ndarray] | None = None

    def measure(self, adapted: Adapted) -> dict[str, np.ndarray]:
        """Accuracies and gains, (T,); NaN where a generated sample is not finite, but for what was not made from it.

        Raises:
            MetricError: the tasks are not labelled.
        """
        if adapted.features is None or adapted.query_labels is None or adapted.support_labels is None or adapted.fake_labels is None:
            raise MetricError(f"{self.prefix}accuracy-generated needs labelled tasks; leave it out, or name a task distribution like n-way")
        none_T, classical_T = self._without_generated(adapted, adapted.features)
        defined_T = defined_tasks(adapted.fake) & defined_tasks(adapted.fake_features)
        fakes, features = (
            np.where(defined_T.reshape(-1, *(1,) * (values.ndim - 1)), values, 0.0) for values in (adapted.fake, adapted.fake_features)
        )
        generated_T = np.where(defined_T, self._scored(adapted, _More(fakes, lambda: features, adapted.fake_labels)), np.nan)
        return {
            f"{self.prefix}accuracy-none": none_T,
            f"{self.prefix}accuracy-classical": classical_T,
            f"{self.prefix}accuracy-generated": generated_T,
            f"{self.prefix}gain-over-none": generated_T - none_T,
            f"{self.prefix}gain-over-classical": generated_T - classical_T,
        }

    def _without_generated(self, adapted: Adapted, features: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Accuracies from the support alone and with copies: the same after every adaptation step, so computed once for a support."""
        support, n = adapted.support, adapted.fake.shape[1]
        if self._without is None or self._without[0] is not support or self._without[1] != n:
            rows = np.arange(n) % support.shape[1]  # every support sample in turn, with its label
            copies = transformed(support[:, rows], shift=self.shift, degrees=self.degrees)
            nothing = _More(copies[:, :0], lambda: adapted.support_features[:, :0], adapted.support_labels[:, :0])
            among = _More(copies, lambda: features(copies), adapted.support_labels[:, rows])
            self._without = support, n, self._scored(adapted, nothing), self._scored(adapted, among)
        return self._without[2:]

    def _scored(self, adapted: Adapted, more: _More) -> np.ndarray:
        """Accuracy on the query, (T,), of what learns from the support and ``more``."""
        weights = np.r_[np.ones(adapted.support.shape[1]), np.full(more.images.shape[1], self.weight)]
        labels = np.concatenate([adapted.support_labels, more.labels], axis=1)
        return accuracy(self._logits(adapted, more, labels, weights), adapted.query_labels)

    def _logits(self, adapted: Adapted, more: _More, labels_TNC: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
        """(T, Q, C) at the query, having learned from the support and ``more`` with these labels and weights."""
        raise NotImplementedError


class AugmentedAccuracy(_Augmented):
    """Do generated samples help a classifier on frozen features that has few real ones? See the gains.

    Accuracy on the query of a labelled task after learning from the support alone, with transformed copies, with generated samples.

    Args:
        classifier: on frozen features. ``protonet``: nearest class mean (Snell et al., 2017). ``logistic``: multinomial logistic
            regression with a ridge penalty, trained from scratch for each task.
        weight, shift, degrees: of copies and generated samples: a sample's weight beside a real one's, and how far copies are moved, in
            sides of the image, and turned.
        ridge: ``logistic`` only.
    """

    prefix: ClassVar[str] = ""
    outputs: ClassVar[Mapping[str, Output]] = _outputs("", "accuracy")
    version: ClassVar[int] = 1
    ignored_when: ClassVar[Mapping[str, Mapping[str, object]]] = {"ridge": {"classifier": "protonet"}}

    def __init__(
        self,
        *,
        classifier: Literal["protonet", "logistic"] = "protonet",
        weight: Weight = 1 / 3,
        shift: Shift = 0.1,
        degrees: Degrees = 15.0,
        ridge: Annotated[float, Field(gt=0)] = 1.0,
    ) -> None:
        super().__init__(weight=weight, shift=shift, degrees=degrees)
        self.classifier, self.ridge = classifier, ridge

    def _logits(self, adapted: Adapted, more: _More, labels_TNC: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
        features = np.concatenate([adapted.support_features, more.features()], axis=1)
        if self.classifier == "protonet":
            return prototype_logits(adapted.query_features, class_means(features, labels_TNC, weights_N))
        return logistic_logits(adapted.query_features, logistic_weights(features, labels_TNC, weights_N, ridge=self.ridge))


class AugmentedCnnAccuracy(_Augmented):
    """Do generated samples help a meta-learned CNN that has few real ones? See the gains.

    The classifier is a network of strided convolutions that MAML meta-trains on the meta-train tasks, once for all cells; then it adapts
    to the support alone, with transformed copies, with generated samples.

    Args:
        weight: of a copy or a generated sample, relative to a real one.
        shift: largest shift of a copy, in sides of the image.
        degrees: largest turn of a copy, either way.
        outer_steps: of the classifier's meta-training.
        adaptation_steps: of the classifier, in meta-training and when it judges.

    Source: Finn et al., 2017, https://arxiv.org/abs/1703.03400, section 5.2, here with 3 smaller steps and without batch norm.
    """

    prefix: ClassVar[str] = "cnn-"
    outputs: ClassVar[Mapping[str, Output]] = _outputs("cnn-", "CNN accuracy")
    judge: ClassVar[Mapping[str, Any]] = {
        "games": {"classifier": {}},
        "networks": {"dcgan": {"width": 16}},
        "meta_learners": {"maml": {"inner_lr": 0.03, "outer_lr": 0.0015}},
    }
    version: ClassVar[int] = 1

    def __init__(
        self,
        *,
        weight: Weight = 1 / 3,
        shift: Shift = 0.1,
        degrees: Degrees = 15.0,
        outer_steps: Annotated[int, Field(ge=0)] = 1000,
        adaptation_steps: Annotated[int, Field(ge=1)] = 3,
    ) -> None:
        super().__init__(weight=weight, shift=shift, degrees=degrees)
        self.outer_steps, self.adaptation_steps = outer_steps, adaptation_steps

    def _logits(self, adapted: Adapted, more: _More, labels_TNC: np.ndarray, weights_N: np.ndarray) -> np.ndarray:
        if adapted.judge is None:
            raise MetricError("augmented-cnn-accuracy has no classifier: `bench run` meta-trains it; give Adapted.judge")
        # The loss is a mean over samples, so weights of mean 1 make it the weighted mean.
        weighted = labels_TNC * (weights_N / weights_N.mean())[:, None]
        return adapted.judge(np.concatenate([adapted.support, more.images], axis=1), weighted, adapted.query)


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

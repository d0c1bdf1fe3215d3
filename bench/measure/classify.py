"""Classifiers of features: prototypes and logistic regression, their accuracy, and the inception score.

Shape suffixes: T tasks, N samples, C classes, F features, D = F + 1.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax, softmax

from bench.errors import MetricError
from bench.measure.sets import defined_tasks, pairwise_distances

Array = npt.NDArray[np.float64]

TOLERANCE, MOST_ROUNDS = 1e-6, 2000  # of the largest entry of the gradient; some hundred rounds are usual


def accuracy(scores_TNC: npt.ArrayLike, labels_TNC: npt.ArrayLike) -> Array:
    """Share of samples whose largest score is that of their class, (T,); NaN for a task with a score that is not finite.

    Of equal scores the first counts, so constant scores find the first class only.

    Args:
        scores_TNC: any numbers that order the classes.
        labels_TNC: one-hot rows.
    """
    scores = np.asarray(scores_TNC, dtype=np.float64)
    right_TN = scores.argmax(axis=2) == np.asarray(labels_TNC).argmax(axis=2)
    return np.where(defined_tasks(scores), right_TN.mean(axis=1), np.nan)


def class_means(features_TNF: npt.ArrayLike, labels_TNC: npt.ArrayLike, weights_N: npt.ArrayLike | None = None) -> Array:
    """Weighted mean feature of each class (T, C, F), its prototype; weights default to 1.

    Source: Snell et al., 2017, https://arxiv.org/abs/1703.05175, eq. 1.

    Raises:
        MetricError: a class has no sample.
    """
    features, shares_TNC = np.asarray(features_TNF, dtype=np.float64), np.asarray(labels_TNC, dtype=np.float64)
    if weights_N is not None:
        shares_TNC = shares_TNC * np.asarray(weights_N, dtype=np.float64)[:, None]
    totals_TC = shares_TNC.sum(axis=1)
    if not totals_TC.all():
        raise MetricError(f"every class needs a sample to have a mean, got as few as {int(totals_TC.min())}; raise protocol.shots")
    # einsum without BLAS: the same bits for every number of threads.
    return np.asarray(np.einsum("tnc,tnf->tcf", shares_TNC, features) / totals_TC[:, :, None], dtype=np.float64)


def prototype_logits(features_TNF: npt.ArrayLike, prototypes_TCF: npt.ArrayLike) -> Array:
    """Logits (T, N, C) of the classes: minus the squared distances to their prototypes.

    Source: Snell et al., 2017, eq. 2.
    """
    features, prototypes = (np.asarray(values, dtype=np.float64) for values in (features_TNF, prototypes_TCF))
    return -np.square(pairwise_distances(features, prototypes))


def logistic_weights(
    features_TNF: npt.ArrayLike, labels_TNC: npt.ArrayLike, weights_N: npt.ArrayLike | None = None, *, ridge: float = 1.0
) -> Array:
    """Multinomial logistic regression, (T, D, C), biases last: argmin of sum_N w_n cross-entropy + ridge / 2 |weights without biases|^2.

    The strictly convex problem is solved to its optimum by accelerated steps of a majorising quadratic, which need no step size: half
    the weighted scatter of the inputs is above every Hessian. Where acceleration leads uphill it starts again.

    Source: Böhning, 1992, for the bound; O'Donoghue and Candès, 2015, https://arxiv.org/abs/1204.3982, for the restarts.
    """
    features, labels = np.asarray(features_TNF, dtype=np.float64), np.asarray(labels_TNC, dtype=np.float64)
    tasks, n, _ = features.shape
    shares_N1 = np.ones((n, 1)) if weights_N is None else np.asarray(weights_N, dtype=np.float64)[:, None]
    x_TND = np.concatenate([features, np.ones((tasks, n, 1))], axis=2)
    penalty_D1 = np.r_[np.full(features.shape[2], ridge), 0.0][:, None]
    step_TDD = np.linalg.inv(0.5 * x_TND.swapaxes(1, 2) @ (shares_N1 * x_TND) + np.diag(penalty_D1[:, 0]))
    now = ahead = np.zeros((tasks, x_TND.shape[2], labels.shape[2]))
    age_T = np.zeros(tasks)
    for _ in range(MOST_ROUNDS):
        gradient = x_TND.swapaxes(1, 2) @ (shares_N1 * (softmax(x_TND @ ahead, axis=2) - labels)) + penalty_D1 * ahead
        if np.abs(gradient).max() < TOLERANCE:
            break
        before, now = now, ahead - step_TDD @ gradient
        moved = now - before
        age_T = np.where((gradient * moved).sum(axis=(1, 2)) > 0, 0.0, age_T + 1)
        ahead = now + (age_T / (age_T + 3))[:, None, None] * moved
    return ahead


def logistic_logits(features_TNF: npt.ArrayLike, weights_TDC: Array) -> Array:
    """Logits (T, N, C) of samples by what :func:`logistic_weights` returned."""
    logits: Array = np.asarray(features_TNF, dtype=np.float64) @ weights_TDC[:, :-1] + weights_TDC[:, -1:]
    return logits


def inception_score(logits_NC: npt.ArrayLike) -> float:
    """Exponential of the mean over samples of KL(p(class | sample) || p(class)), with p(class) the mean of p(class | sample).

    1 where all samples look alike to the classifier, C where it is sure of each and finds all classes equally often.

    Source: Salimans et al., 2016, https://arxiv.org/abs/1606.03498, section 4; over all samples at once, without splits, whose
    results depend on their number.

    Args:
        logits_NC: of the classes, for each sample; finite.
    """
    log_p_NC = log_softmax(np.asarray(logits_NC, dtype=np.float64), axis=1)
    p_NC = np.exp(log_p_NC)
    p_C = p_NC.mean(axis=0)
    entropy = -float((p_C * np.log(np.maximum(p_C, np.finfo(np.float64).tiny))).sum())
    return float(np.exp(float((p_NC * log_p_NC).sum(axis=1).mean()) + entropy))

"""Recognisability: do generated samples pass for their own task among all tasks?

No plugins, files or global random state. A task with non-finite samples gives NaN.
Shape suffixes: T tasks, N samples, S support samples, F features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import cdist

from bench.measure.sets import Array, as_sets, defined_tasks, match


def recognised(samples_TNF: npt.ArrayLike, support_TSF: npt.ArrayLike) -> Array:
    """Share of a task's samples whose nearest prototype, among those of all T tasks, is their own task's.

    A prototype is the mean of a task's support. Where several are nearest a sample counts by the chance to pick its own of them. For
    held-out real samples it is the accuracy that generated ones are read beside; both depend on T, and so compare within one
    protocol only.

    Args:
        samples_TNF: generated, or held-out real, samples' features.
        support_TSF: features of the samples that were adapted to.

    Returns:
        (T,): 1 / T by chance, higher is better. Bad samples of a task harm no other; a bad support is no candidate for others.

    Raises:
        MetricError: shapes differ.

    Source: Boutin et al., 2022, https://arxiv.org/abs/2205.10370, with prototypes by Snell et al., 2017, as classifier.
    """
    samples = as_sets(samples_TNF, measure="recognisability", who="generated")
    support = as_sets(support_TSF, measure="recognisability", who="support")
    match(samples.shape, support.shape, measure="recognisability")
    known_T = defined_tasks(support)
    prototypes_TF = support[known_T].mean(axis=1)
    values_T = np.full(len(samples), np.nan)
    for own, task in enumerate(np.flatnonzero(known_T)):
        if defined_tasks(samples[task][None])[0]:
            distances_NT = cdist(samples[task], prototypes_TF)
            nearest_NT = distances_NT == distances_NT.min(axis=1, keepdims=True)
            values_T[task] = (nearest_NT[:, own] / nearest_NT.sum(axis=1)).mean()
    return values_T

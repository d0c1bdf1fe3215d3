"""Measures of generated samples: pure functions of NumPy arrays, float64, batched over tasks."""

from bench.measure.bins import different_bins
from bench.measure.classify import accuracy, class_means, inception_score, logistic_logits, logistic_weights, prototype_logits
from bench.measure.convergence import (
    area_under_curve,
    collapse_onset,
    divergence_class,
    drawdown,
    expected_running_time,
    restricted_mean_steps,
    steps_to_target,
)
from bench.measure.diagnosis import name_fault
from bench.measure.distances import energy_distance, kid, sliced_wasserstein
from bench.measure.diversity import duplicate_fraction, pairwise_distance_ratio, vendi_ratio, vendi_score
from bench.measure.frechet import FrechetReference, fid_infinity, fid_infinity_needs, frechet_distance
from bench.measure.modes import ModeCounts, count_modes, expected_high_quality, expected_modes, pad_centres, reverse_kl
from bench.measure.novelty import data_copying, nearest_support_ratio, support_query_gap
from bench.measure.precision_recall import PrecisionRecall, expected_coverage, neighbours, precision_recall
from bench.measure.recognition import recognised
from bench.measure.sets import defined_tasks

__all__ = [
    "FrechetReference",
    "ModeCounts",
    "PrecisionRecall",
    "accuracy",
    "area_under_curve",
    "class_means",
    "collapse_onset",
    "count_modes",
    "data_copying",
    "defined_tasks",
    "different_bins",
    "divergence_class",
    "drawdown",
    "duplicate_fraction",
    "energy_distance",
    "expected_coverage",
    "expected_high_quality",
    "expected_modes",
    "expected_running_time",
    "fid_infinity",
    "fid_infinity_needs",
    "frechet_distance",
    "inception_score",
    "kid",
    "logistic_logits",
    "logistic_weights",
    "name_fault",
    "nearest_support_ratio",
    "neighbours",
    "pad_centres",
    "pairwise_distance_ratio",
    "precision_recall",
    "prototype_logits",
    "recognised",
    "restricted_mean_steps",
    "reverse_kl",
    "sliced_wasserstein",
    "steps_to_target",
    "support_query_gap",
    "vendi_ratio",
    "vendi_score",
]

"""Measures of generated samples: pure functions of NumPy arrays, float64, batched over tasks."""

from bench.measure.classify import accuracy, class_means, inception_score, logistic_logits, logistic_weights, prototype_logits
from bench.measure.convergence import (
    area_under_curve,
    divergence_class,
    drawdown,
    expected_running_time,
    restricted_mean_steps,
    steps_to_target,
)
from bench.measure.distances import energy_distance, frechet_distance, kid
from bench.measure.diversity import pairwise_distance_ratio, vendi_ratio, vendi_score
from bench.measure.modes import ModeCounts, count_modes, expected_high_quality, expected_modes, pad_centres, reverse_kl
from bench.measure.novelty import nearest_support_ratio, support_query_gap
from bench.measure.precision_recall import PrecisionRecall, expected_coverage, neighbours, precision_recall
from bench.measure.sets import defined_tasks

__all__ = [
    "ModeCounts",
    "PrecisionRecall",
    "accuracy",
    "area_under_curve",
    "class_means",
    "count_modes",
    "defined_tasks",
    "divergence_class",
    "drawdown",
    "energy_distance",
    "expected_coverage",
    "expected_high_quality",
    "expected_modes",
    "expected_running_time",
    "frechet_distance",
    "inception_score",
    "kid",
    "logistic_logits",
    "logistic_weights",
    "nearest_support_ratio",
    "neighbours",
    "pad_centres",
    "pairwise_distance_ratio",
    "precision_recall",
    "prototype_logits",
    "restricted_mean_steps",
    "reverse_kl",
    "steps_to_target",
    "support_query_gap",
    "vendi_ratio",
    "vendi_score",
]

"""Statistics of measurements: pure functions of tidy frames with named columns."""

from bench.stats.aggregate import Estimate, iqm, optimality_gap, performance_profile, these_tasks_interval, two_way_interval
from bench.stats.bootstrap import pigeonhole_interval
from bench.stats.compare import (
    Difference,
    EqualMeansTest,
    holm,
    permutation_test,
    probability_of_improvement,
    replication_warning,
    two_way_difference,
    welch_test,
)
from bench.stats.conditional import RankComparison, compare_ranks, critical_difference, signed_rank_test
from bench.stats.direction import as_loss
from bench.stats.improvement import ProfileBand, improvement_interval, profile_band
from bench.stats.impute import with_caps
from bench.stats.power import Decision, can_decide, detectable_difference, spread_of_difference
from bench.stats.proportion import wilson_interval
from bench.stats.score import Scale, score_scale
from bench.stats.summary import summarise
from bench.stats.survival import log_rank_test, survival

__all__ = [
    "Decision",
    "Difference",
    "EqualMeansTest",
    "Estimate",
    "ProfileBand",
    "RankComparison",
    "Scale",
    "as_loss",
    "can_decide",
    "compare_ranks",
    "critical_difference",
    "detectable_difference",
    "holm",
    "improvement_interval",
    "iqm",
    "log_rank_test",
    "optimality_gap",
    "performance_profile",
    "permutation_test",
    "pigeonhole_interval",
    "probability_of_improvement",
    "profile_band",
    "replication_warning",
    "score_scale",
    "signed_rank_test",
    "spread_of_difference",
    "summarise",
    "survival",
    "these_tasks_interval",
    "two_way_difference",
    "two_way_interval",
    "welch_test",
    "wilson_interval",
    "with_caps",
]
